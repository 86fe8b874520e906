// Package objstore is a library of typed objects with generated ids: metadata
// in an embedded store, contents as files beside it.
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
//	               CRC-32C, or ends in ErrCorrupt; a part of it is as the file system has it
//	crash          every acknowledged change is there; others are there whole or not at all
//	ids            never twice, across restarts and set-back clocks
//	memory         a content needs 256 KiB while it is stored, whatever its size
//	disk failure   a failed write of the metadata's log ends the process: what was promised
//	               is in doubt
//
// # Contents
//
// Upload first writes down, durably, that a content is on its way; then it
// stores the content; Create or Update then replace the note by the object, in
// one step. A crash between these leaves a note, and a [Library.Sweep] finds the
// content by it. Contents never change, their keys are never used twice, and
// those that an object has lost stay readable for Options.Grace.
//
// # Values
//
// The codec is stored with each value: a type can change from JSON to protobuf,
// and what it wrote before stays readable. Type.Schema and Type.Upgrade are for
// changes of the value's shape. record.proto describes the stored bytes.
//
// # Deleting
//
// Delete makes an object invisible and Undelete brings it back, until a sweep
// purges it after Options.Retention. An object whose Expires has passed is
// invisible at once and purged by the next sweep. After Purge nothing is left,
// and an id that is used again begins at version 1, so that whoever still has a
// version of the object before must not update with it: let generated ids be.
//
// # Reading order
//
// id.go, generator.go, statefile.go; meta.go, type.go, codec.go, record.go,
// recordmeta.go; store.go, keys.go, pebble.go; content.go, filecontent;
// library.go, collection.go, read.go, write.go, upload.go, contentreader.go,
// sweep.go.
package objstore
