// Package cache measures ssdcache beside other caches, and its policy on traces:
//
//	go test -run '^$' -bench 'Served$' -benchtime 25000x ./cache
//	go test -run '^$' -bench ServedFill -benchtime 1x ./cache
//	go test -run '^$' -bench Engine -benchtime 1000000x ./cache
//	go test -run '^$' -bench Policy -benchtime 1x ./cache
//
// Served is examples/ssdcached beside memcached with extstore (on Debian: apt-get
// install memcached), each a process of its own on loopback, with the same items,
// connections and size of the file, and both through the page cache. Cold runs
// begin with nothing there; both then read the disk 0.88 times a key, 4.7 KB.
// ServedFill sets as fast as the server answers and counts what is there then.
// Engine is one process and one goroutine: it sets new items over a full cache and
// gets the newest. Policy counts loads and writes on public traces beside an LRU on
// SSD of the same size.
//
// The figures of Served, of Engine beside Pebble and of Policy are in the
// documentation of package ssdcache. The others, on two cores of an Intel Xeon:
//
//	ServedFill          sets/s  kept   the server's CPU a set
//	ssdcached          143,000  100 %  7.6 µs
//	extstore           147,000   26 %  7.5 µs
//
//	Engine, in memory   set      get, found
//	fastcache           0.7 µs   1.0 µs, 100 %
//	ristretto           1.9 µs   0.7 µs,  28 %
//	otter               1.5 µs   0.1 µs,   3 %
//
// Engine's times are CPU. ristretto and otter do not let in all that is new, which
// is right for a cache that is read; ssdcache's on disk takes 0.6 and 1.1 µs.
package cache
