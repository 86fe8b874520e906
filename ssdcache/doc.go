// Package ssdcache is a bounded cache on disk and a tiered read path over it.
package ssdcache
