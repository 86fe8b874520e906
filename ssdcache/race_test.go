//go:build race

package ssdcache_test

const killRounds = 20
