//go:build race

package ssdcache_test

// The race detector makes everything slow; what is left is enough for races.
const (
	killRounds  = 10
	crashPoints = 15
	boundsSets  = 450_000
)
