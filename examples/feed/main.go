// Feed is a small social feed on the six Heddle packages.
//
//	go run ./examples/feed
//
// starts all its tiers in one process on loopback and prints three curl
// commands. With -role web, service, queue or processor it runs one tier alone,
// so that the tiers can be separate processes that speak HTTP, Motan2 and the
// memcached protocol to each other. -h lists the flags.
package main

import (
	"os"

	"github.com/heddle-go/heddle/examples/internal/feed"
)

func main() { os.Exit(feed.Main(os.Args[1:], os.Stdout, os.Stderr)) }
