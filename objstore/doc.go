// Package objstore is a library of typed objects with generated ids: metadata
// in an embedded store, contents as files beside it; or, with the same calls,
// metadata in HBase and contents in S3.
//
// # Nouns
//
// A [Library] is a directory of objects; [Open] opens one. A [Type] declares a
// type of objects: number, name, codec, rules. A [Collection] is the objects of
// one type, [Object]s: standard [Meta]data and a typed value. An [ID] names an
// object, "1042:4404101091169383"; a [Generator] makes the numbers. A content is
// bytes of any size that belong to an object, described by a [ContentInfo]. A
// [Store] is an engine for metadata, a [Content] one for contents.
//
//	lib, err := objstore.Open(dir, nil)
//	...
//	defer lib.Close()
//	pictures, err := objstore.NewCollection(lib, objstore.Type[Picture]{Number: 1042, Name: "image"})
//	...
//	upload, err := pictures.Upload(ctx, "original", body, &objstore.UploadOptions{Type: "image/jpeg"})
//	...
//	picture := &objstore.Object[Picture]{Value: Picture{Width: 640}}
//	picture.Contents = []objstore.ContentInfo{upload}
//	err = pictures.Create(ctx, picture)
//
// # Guarantees
//
//	durable        Create, Update, Delete, Undelete, Purge and Upload return when the disk
//	               has it; writers that wait together share a sync
//	atomic         an object changes as a whole, with its contents and with whatever leads
//	               to it
//	versions       Update stores over the version it names and no other; Create over none
//	contents       no object ever has a content that is not there, whole and durable; a
//	               content without an object is collected after Options.Grace
//	verified       a content read from start to end is what was uploaded, by SHA-256 and
//	               CRC-32C, or ends in ErrCorrupt; a part of it, or with Options.SkipSHA256
//	               all of it, by the CRC-32C of its blocks; VerifyContent by both, always
//	crash          every acknowledged change is there; others are there whole or not at all
//	ids            never twice, across restarts and set-back clocks
//	memory         a content needs 256 KiB while it is stored, and one block after a Seek:
//	               1 MiB, or a 256th to a 512th of a content of more than 512 MiB
//	disk failure   a failed write of the metadata's log ends the process: what was promised
//	               is in doubt
//
// # Contents
//
// Upload first writes down, durably, that a content is on its way; then it
// stores the content; Create or Update then replace the note by the object, in
// one step. A crash between these leaves a note, and a [Library.Sweep] finds the
// content by it. Contents never change, their keys are never used twice, and
// those that an object has lost stay readable for Options.Grace. With
// Options.Dedupe equal contents are stored once.
//
// A range is verified, too: with each content its CRC-32C for every block is
// kept, and after a Seek whole blocks are read and compared. What was stored
// before there were block sums, and is larger than 1 MiB, is not.
//
// Files are the default; package s3content keeps contents in a bucket. There
// clients can also read and write by themselves, through [Library.ContentURL] and
// [Collection.InviteUpload]; AcceptUpload sums up what they wrote before it can
// become part of an object.
//
// # Values
//
// The codec is stored with each value: a type can change from JSON to protobuf,
// and what it wrote before stays readable. Type.Schema and Type.Upgrade are for
// changes of the value's shape. Type.Check sees an object before it is stored and
// may correct it, Type.Committed after. record.proto describes the stored bytes.
//
// # Ids
//
// A number has Weibo's layout and says when and where it was made. Ids can also be
// digests, [URLID] and [ContentID]: creating the same thing a second time then
// fails with [ErrExists], and Get finds the first.
//
// # Finding
//
// [Collection.Scan] goes through a type by time, [Collection.Find] and FindRange
// through what an [Index] leads to, [Library.Changes] through what has changed
// since; the last needs Options.Feed. GetVersion and Versions look at what
// Type.History has kept. Export and Import move everything elsewhere.
//
// # Deleting
//
// Delete makes an object invisible and Undelete brings it back, until a sweep
// purges it after Options.Retention. An object whose Expires has passed is
// invisible at once and purged by the next sweep. After Purge nothing is left,
// and an id that is used again begins at version 1, so that whoever still has a
// version of the object before must not update with it: let generated ids be.
//
// # Engines
//
// A [PebbleStore] changes all of a Change in one step. Package hbasestore changes
// the object's row in one step, its entries before and after it: a process that
// ends between may leave an entry that leads to no object, which nobody sees, and
// in the feed an event of a change that did not take place. Many processes can
// use a table at once, each with a directory and a Generator node of its own;
// then leave Options.Cache and Options.Feed alone, which are for one.
//
// # Limits
//
// A value has at most Type.MaxValue bytes, metadata 64 KiB: a string 4 KiB, a list
// 256 items. A [PebbleStore] belongs to one process. Reads do not wait for the
// disk: they may see a change a moment before it is durable.
//
// # Performance
//
// CPU time per operation on two shared cores, values of 1,000 bytes in the cache,
// one index, puts of 50 goroutines that share syncs; beside it Pebble for the
// same bytes. go test -run '^$' -bench 'Get|Put$' ./objstore
//
//	              objstore   Pebble
//	Get             2.4 µs   2.1 µs
//	MultiGet 50     100 µs   113 µs
//	Create           13 µs    10 µs
//	Next             7 ns             -bench Next
//
// A content of 1 MiB in S3 beside minio-go on the same server, in peers/, medians
// of four: go test -run '^$' -bench Content -benchtime 200x -count 4 ./objects
//
//	                     objstore   minio-go
//	put                  172 MB/s   176 MB/s   2.4 and 2.2 ms of CPU, with the object's two
//	                                           commits; the note of the upload is synced
//	                                           while the bytes go out
//	get                  560 MB/s   906 MB/s   1.7 and 0.9 ms; half of ours is SHA-256, and
//	                                           minio-go verifies nothing
//	get, SkipSHA256    1,290 MB/s              0.6 ms; verified by CRC-32C
//
// # Reading order
//
// id.go, generator.go, statefile.go; meta.go, type.go, codec.go, record.go,
// blocks.go, recordmeta.go; store.go, keys.go, pebble.go, frontier.go; content.go,
// filecontent; library.go, collection.go, read.go, write.go, multiput.go;
// upload.go, dedupe.go, contentreader.go, presign.go; index.go, scan.go,
// history.go, feed.go, cache.go; sweep.go, export.go.
package objstore
