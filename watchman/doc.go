// Package watchman is the floor every Heddle product stands on: tracing hooks,
// always-on rate, error and duration figures, and runtime switches.
package watchman
