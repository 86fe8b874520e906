// Package ssdcache is a bounded cache on disk, and one call that reads through
// memory, this cache and a loader, so that misses do not reach the database.
//
// # Nouns
//
// A [Cache] is a file of fixed size with the newest items in it; it maps bytes
// to bytes. A segment is the unit in which it writes and evicts. A [Tiered] reads
// values of one type through all tiers: memory, a [Tier] shared with other
// processes if there is one, the Cache, and a loader, which asks the database. A
// flight is one load that all who want the key wait for. A [Codec] turns values
// into bytes. A [KeyFilter] knows which keys exist. A [Batch] is room for several
// values.
//
//	cache, err := ssdcache.Open("/var/cache/users", 64<<30, nil)
//	...
//	users, err := ssdcache.NewTiered(cache, loadUser, &ssdcache.TieredOptions{Name: "users", TTL: time.Hour})
//	...
//	u, err := users.Get(ctx, "7")        // calls loadUser(ctx, "7") if need be
//	err = users.Invalidate(ctx, "7")     // after it has changed in the database
//
// # Guarantees
//
//	right bytes    a Get returns what was last Set, checked with CRC-32C and the whole key, or
//	               nothing; never what was replaced, deleted, invalidated or has expired
//	after Close    the next Open finds everything
//	after SIGKILL  all but what was in the write buffers, and still nothing that was replaced or
//	               deleted when Set or Delete had returned (Linux; elsewhere empty)
//	power cut      empty
//	damage         costs the items concerned, at worst all; counted in Stats
//	disk           the given size, reserved at Open; a second file of 12 bytes an item after Close
//	memory         at most 16 bytes an item for the index, Options.Buffers segments, with
//	               Options.Direct 16 reads; a Tiered: TieredOptions.Memory, a quarter of it
//	               more for what is pinned, and what is being loaded
//	goroutines     one a Cache, one a load
//	overload       when sets outrun the disk, Options.Full says: wait, drop and count, or fail
//	one flight     of all who miss a key at the same time one loads
//	invalidation   a Get that begins after Invalidate returned does not see an older value,
//	               whatever load was under way
//	one process    a file is one Cache's; another gets ErrLocked
//
// # Deadlines and a database that is away
//
// A load has LoadTimeout and goes on when the caller that began it leaves, as
// long as others wait. Nobody waits longer than his own ctx or LoadTimeout. With
// StaleIfError a key that is cached is answered for that long after its TTL
// whatever the database does; other keys get a [LoadError]. The switch
// "ssdcache.stale NAME" of watchman keeps the database from being asked at all
// for what is cached. ErrNotFound of the loader is no failure: it removes the
// value and is itself remembered for NegativeTTL.
//
// Two things keep a key from being loaded by many at once when its time is over:
// one of its readers loads it a little early (Early), and Jitter spreads the ends
// of what was loaded together.
//
// # Hot keys
//
// A Tiered with memory looks at one get in 32 and counts, in as many counters as
// HotShare asks for, which keys are wanted most. A key that makes up HotShare of
// the gets is pinned: it stays in memory for its TTL even when the policy there
// would let it go, and is loaded anew in the last tenth of it. Invalidate takes it
// out in the same step as the rest of memory. Stats tells how many there are and
// HotKeys which, for keys may be secrets.
//
// # Several keys at once
//
// Cache.GetMany and Tiered.GetMany read what is in the file in the order in which
// it lies there. Items within 16 KiB of each other take one pread, so what was
// loaded together is read together; on Linux and with Options.Direct the disk
// reads the others at the same time.
//
// # A database that refuses
//
// When the loader's error wraps watchman.ErrRejected, as that of a control.Limiter
// does, Get's [LoadError] wraps it too, and the operation "ssdcache.load NAME"
// counts the load as rejected besides failed. What is cached is answered for as
// far as StaleIfError allows.
//
// # Memory of values
//
// Cache copies what it is given and what it returns. A Tiered with memory hands
// the same value to all callers: treat what it refers to as read-only.
//
// # Caveats
//
// Eviction goes by segment, oldest first; what was read since it was written may
// stay once more, up to Options.Keep of a segment. Items of a few dozen bytes
// waste the disk: each takes a multiple of 64 bytes and 16 more. Two keys that
// share 36 bits of their hash evict each other; with 100 million items that is
// one item in 700. Invalidate reaches the memory and disk of this process only,
// and the shared tier; tell other processes, or let TTL bound how long they see
// the older value.
//
// # What is written
//
// RejectFirst writes a key only when it is set for the second time; WriteBudget
// bounds the bytes of a day; Keep is how much of a segment may stay because it
// was read; Compress makes values smaller. On three public traces, with memory
// for 1 % of the keys and a Cache for 10 %, RejectFirst sends 1.0, -1.1 and -0.3
// more of 100 requests to the database than an LRU on SSD of the same size, and
// writes 0.31, 0.44 and 0.30 times as many items
// (cd peers && go test -run '^$' -bench Policy -benchtime 1x ./cache).
//
// # More than one process
//
// ssdcache/memcachedtier and ssdcache/redistier are Tiers of several servers and
// processes, with leases. examples/ssdcached serves a Cache over the memcached
// protocol; memcachedtier makes a ring of such nodes.
//
// # Performance
//
// A Set is one copy into memory; the disk sees writes of 1 MiB. A Get from the
// file is one pread, through the page cache unless Options.Direct is set. On Linux
// at most half of GOMAXPROCS, and no more than four, of the Gets wait in it for the
// disk; the others have begun their reads too and need no thread meanwhile.
// Replacing and deleting cost a write of 16 bytes to the page cache besides,
// unless Options.Restart says otherwise. Two shared cores, 1 KB values, a file of
// 1 GiB, 38 MiB of memory for the Cache; rates move by half with the neighbours:
//
//	go test -run '^$' -bench . ./ssdcache
//
//	Get, from the page cache       1,160,000/s   1.6 µs of CPU
//	Get, nothing in it               112,000/s   7.8 µs   50 at a time: -bench GetCold -benchtime 25000x
//	Get, Options.Direct               25,000/s    23 µs
//	Get, nothing there            18,000,000/s   0.1 µs
//	Set of a new item, evicting    2,200,000/s   0.8 µs   1.07 bytes written a byte
//	the same, Options.Direct       1,000,000/s   0.8 µs   1.07
//	the same, keeping what is read 1,400,000/s   1.3 µs   1.12
//	Set that replaces              1,000,000/s   1.2 µs   1.09
//	Tiered.Get from memory         6,000,000/s   0.3 µs
//	Tiered.Get from the disk       1,000,000/s   1.9 µs
//	Open after Close                  22 ns an item, after SIGKILL 184 ns
//
// Beside Pebble used as a cache a set takes 0.13 of the CPU time, 0.10 if Pebble
// keeps its log, and a get 0.21
// (cd peers && go test -run '^$' -bench 'Engine/(ssdcache|pebble)' -benchtime 3000000x ./cache).
//
// examples/ssdcached beside memcached 1.6.18 with extstore: 400,000 items, 50
// clients on the same two cores, memory of 77 to 96 and 104 MB, all keys found in
// both and read from their files; medians of six, taken in turn
// (cd peers && go test -run '^$' -bench 'Served$' -benchtime 25000x ./cache):
//
//	                              keys/s             the server's CPU a key
//	                              ssdcached extstore ssdcached extstore
//	1 key, nothing in page cache    62,700   57,400   18.8 µs   20.8 µs
//	1 key, all in page cache       128,000   90,400    8.8 µs   15.4 µs
//	20 keys, nothing               338,000  221,000    3.8 µs    5.8 µs
//	20 keys, all                   557,000  348,000    2.8 µs    4.6 µs
//
// The rates of Set without Direct are while the page cache takes the writes; a
// disk that is slower than that is what Options.Full is about. Into a
// new file a Set takes 0.7 µs of CPU (-bench Set/fill -benchtime 800000x), and the
// disk bounds it: into 1 GiB of fallocated room that was never written,
// dd bs=1M conv=notrunc wrote 500 to 650 MB/s on the machine while it was busy, and
// 530 to 980 with oflag=direct. A set of 1 KB writes 1.1.
//
// # Reading order
//
// cache.go, batch.go, record.go, index.go, segment.go, flusher.go, io.go, reads.go,
// file_linux.go; footer.go, journal.go, superblock.go, snapshot.go, recover.go;
// admission.go, compress.go; tiered.go, load.go, many.go, flight.go, entry.go,
// memory.go, hotkeys.go, tier.go, keyfilter.go, codec.go.
package ssdcache
