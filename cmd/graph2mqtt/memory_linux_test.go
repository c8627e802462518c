package main

import (
	"testing"

	"github.com/prometheus/procfs"
)

// The pages of the program are unmapped, and the program goes on.
func TestReleaseStartPages(t *testing.T) {
	resident := func() uint64 {
		t.Helper()
		self, err := procfs.Self()
		if err != nil {
			t.Fatal(err)
		}
		status, err := self.NewStatus()
		if err != nil {
			t.Fatal(err)
		}
		return status.RssFile
	}
	before := resident()
	if err := releaseStartPages(); err != nil {
		t.Fatal(err)
	}
	if after := resident(); after >= before {
		t.Errorf("%d bytes of files are resident, before %d", after, before)
	}
}
