// Package objects measures package objstore beside what a program would use
// without it: Pebble and minio-go for objects, bwmarrin/snowflake and
// sony/sonyflake for ids.
//
//	go test -run '^$' -bench ID ./objects
//	go test -run '^$' -bench 'Get|Put' ./objects
//	go test -run '^$' -bench Content ./objects
//
// cpu-ns/op is the CPU time of the whole process, for an object also that of
// compactions behind it. The rows of both sides have the same bytes: 1,000 of
// value and about 80 of metadata. The raw side copies what it read, as the
// library does, and decodes nothing.
//
// The ids of both peers are limited by their layout, 4,096 a millisecond and 256
// in 10 ms, and wait; a Generator has 32,768 a second and borrows from the
// seconds ahead. So compare what one id costs in CPU time.
//
// Content needs an S3 server: HEDDLE_TEST_S3=http://KEY:SECRET@HOST:PORT/BUCKET,
// for which versitygw --access KEY --secret SECRET posix DIR does.
package objects
