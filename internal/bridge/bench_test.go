package bridge_test

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkStart measures the start of many accounts until everything is published, with Microsoft in the same process.
func BenchmarkStart(b *testing.B) {
	for _, n := range []int{1, 100, 300} {
		b.Run(fmt.Sprint(n, " accounts"), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				f := newFleetBridge(b, n, "", fleetSensors)
				before := cpuTime(b)
				b.StartTimer()
				f.Start()
				stats := f.StoreStats()
				b.ReportMetric((cpuTime(b) - before).Seconds(), "cpu-s")
				b.ReportMetric(float64(stats.Commits), "commits")
				b.ReportMetric(float64(stats.Bytes)/1e6, "written-MB")
				b.StopTimer()
				f.Stop()
				b.StartTimer()
			}
		})
	}
}

var _ = time.Now
