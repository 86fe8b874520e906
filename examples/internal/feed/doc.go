// Package feed is the example service of this repository: a small social feed
// made of four tiers that can share one process or run as separate ones.
//
//	client ──HTTP──▶ web ──Motan2──▶ service (×2) ──memcached protocol──▶ queue
//	                                    │  ▲                                │
//	                                    │  └── ssdcache ◀──Motan2── processor ◀─ leases
//	                                    └── objstore (media)            │
//	                                                                 database
//
// Reading order: config.go, status.go, web.go, service.go, media.go, cache.go,
// queue.go, processor.go, database.go, pebble.go, recentkeys.go, mysql.go, tier.go, run.go,
// main.go, admin.go, token.go.
//
// A post is acknowledged once the queue has it on disk. The processor moves it
// into the database in batches, one synced transaction a batch. A client that
// did not see the answer retries with the same Idempotency-Key; the database
// keeps the first copy and lets the second id lead to it, as long as it remembers
// the key: for the next half a million posts.
package feed
