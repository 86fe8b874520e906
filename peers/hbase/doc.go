// Package hbase is a small HBase for tests: ZooKeeper, HDFS, master, region
// server and Thrift2 gateway in one Java process, see run. It has no Go code;
// package objstore/hbasestore is tested against it.
package hbase
