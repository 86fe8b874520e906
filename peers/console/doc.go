// Package console drives watchman's console in a real Chromium. It needs the
// browser (Debian: apt-get install chromium):
//
//	HEDDLE_TEST_CHROMIUM=/usr/bin/chromium go test ./console
//
// With HEDDLE_TEST_SCREENSHOTS=DIR it leaves a picture of every page there,
// wide and narrow, light and dark.
package console
