package state_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// BenchmarkCommit measures durable changes of a database with 2,000 entries.
func BenchmarkCommit(b *testing.B) {
	value := make([]byte, 500)
	for _, callers := range []int{1, 50} {
		b.Run(strconv.Itoa(callers)+" callers", func(b *testing.B) {
			d, _ := open(b, b.TempDir(), "")
			db := openDatabase(b, d)
			err := db.CommitSync(func(tx state.Tx) {
				for i := range 2000 {
					tx.Put("journal", fmt.Sprintf("%04d", i), value)
				}
			})
			if err != nil {
				b.Fatal(err)
			}
			before := db.Stats()
			slots := make(chan struct{}, callers)
			b.ResetTimer()
			for i := range b.N {
				slots <- struct{}{}
				db.Commit(func(tx state.Tx) { tx.Put("journal", fmt.Sprintf("%04d", i%2000), value) }, func(err error) {
					if err != nil {
						b.Error(err)
					}
					<-slots
				})
			}
			for range callers {
				slots <- struct{}{}
			}
			b.StopTimer()
			stats := db.Stats()
			b.ReportMetric(float64(stats.Bytes-before.Bytes)/float64(b.N), "disk-B/op")
			b.ReportMetric(float64(stats.Commits-before.Commits)/float64(b.N), "commits/op")
		})
	}
}
