package state_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
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

// BenchmarkCluster measures durable changes in a cluster of three servers with 10,000 entries, and reading them all and each.
func BenchmarkCluster(b *testing.B) {
	value := make([]byte, 4096)
	for i := range value {
		value[i] = byte(rand.IntN(256))
	}
	var urls []string
	for _, s := range natstest.NewCluster(b, 3) {
		urls = append(urls, s.ClientURL)
	}
	d, _ := machine(b, urls, func(c *state.ClusterOptions) { c.Lease = time.Minute })
	acquire(b, d)
	db := openDatabase(b, d)
	const entries = 10_000
	for i := range entries {
		db.Commit(func(tx state.Tx) { tx.Put("snapshots", strconv.Itoa(i), value) }, nil)
	}
	if err := db.CommitSync(func(tx state.Tx) { tx.Put("snapshots", "last", value) }); err != nil {
		b.Fatal(err)
	}
	b.Run("commit", func(b *testing.B) {
		for i := range b.N {
			if err := db.Bucket("snapshots").Put(strconv.Itoa(i%entries), value); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		for i := range b.N {
			if _, err := db.Bucket("snapshots").Get(strconv.Itoa(i % entries)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list", func(b *testing.B) {
		for range b.N {
			n := 0
			if err := db.Bucket("snapshots").Each(func(string, []byte) error { n++; return nil }); err != nil || n != entries+1 {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkQuestion measures a question to another machine, with as much as a notification has, through a cluster of three servers.
func BenchmarkQuestion(b *testing.B) {
	servers := natstest.NewCluster(b, 3)
	first, _ := machine(b, []string{servers[0].ClientURL}, nil)
	second, _ := machine(b, []string{servers[2].ClientURL}, nil)
	stop, err := second.Answer("shard.1", func(context.Context, []byte) ([]byte, bool) { return []byte("{}"), true })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	question := make([]byte, 250)
	for end := time.Now().Add(time.Minute); ; {
		if _, err := first.Ask(b.Context(), "shard.1", question); err == nil {
			break
		}
		if time.Now().After(end) {
			b.Fatal("no machine answers")
		}
	}
	for b.Loop() {
		if _, err := first.Ask(b.Context(), "shard.1", question); err != nil {
			b.Fatal(err)
		}
	}
}
