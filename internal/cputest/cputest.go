//go:build unix

// Package cputest measures the CPU time of tests and benchmarks.
package cputest

import (
	"syscall"
	"testing"
	"time"
)

// Time returns the CPU time of this process so far.
func Time(t testing.TB) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
