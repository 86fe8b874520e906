// Package thrift2 is the client of HBase's Thrift2 gateway, made by the Thrift
// compiler from hbase.thrift.
package thrift2

//go:generate thrift --gen go:skip_remote -out .. hbase.thrift
//go:generate gofmt -w .
