// Package hbasestore keeps the metadata of an objstore Library in HBase.
//
// A [Store] is an objstore.Store in one table of an HBase cluster, reached
// through its Thrift2 gateways. Any number of processes may use a table at the
// same time, within the bounds that objstore.Options sets for Cache and Feed.
//
//	store, err := hbasestore.Open(ctx, []string{"gateway1:9090", "gateway2:9090"}, nil)
//	...
//	defer store.Close()
//	lib, err := objstore.Open(dir, &objstore.Options{Store: store})
//
// # Guarantees
//
//	durable      a write is in the log of a region server, which has synced it to disk,
//	             before Commit returns (FSYNC_WAL)
//	one row      a row changes as a whole, by checkAndMutate on its version; the
//	             entries of a Change are written before it and removed after it
//	told right   a checkAndMutate whose answer was lost is asked again, and known by a
//	             number of its own: Commit says ErrConflict only if nothing was written,
//	             and fails where it cannot know
//	removed      Commit removes an entry as it was when Commit began: who writes it
//	             anew meanwhile keeps it
//	bounded      memory by Options.MaxMessage for each call, connections by Options.Conns
//
// # The table
//
// Open makes the table if there is none: one family, o, of one version, split at
// the salts. A row's key is one byte of salt and the key that objstore gave it.
// The salt is a sum of the key, so that keys that rise in time are spread over
// all regions; of a key that is looked for together with others, a version of an
// object or an index entry of one value, the sum is that of what they have in
// common, and one region has them all. The number of salts stays as it was when
// the table was made, which a row under salt 255 notes.
//
// The family must have NEW_VERSION_BEHAVIOR, which orders writes and deletes by
// their arrival and not by the clock: otherwise what is written in the
// millisecond of a delete would be deleted too. A table that an administrator
// makes beforehand looks like this; any further attributes are free:
//
//	create 'objstore', {NAME => 'o', VERSIONS => 1, NEW_VERSION_BEHAVIOR => 'true'},
//	  SPLITS => ["\x01", "\x02", …, "\x0f"]
//
// # Cost
//
// In requests to the gateway: a Get of up to 128 keys one, for which the gateway
// asks each region server once; a Commit one for what it puts, one for each row
// with a condition, of which up to Options.Conns are under way together, and two
// if it removes something. A Scan of one object's versions or one index value
// costs one for each page, any other one for each salt, together.
//
// # Gateways
//
// A call that finds no gateway, or loses its connection, is tried again, at the
// next address, until its time is up: a gateway can be restarted under load.
// Errors that a gateway answers are returned; it has tried again itself. The
// client speaks the binary protocol, framed if Options.Framed, over TLS if
// Options.TLS is set. Kerberos is not supported.
package hbasestore
