package sensors

import (
	"testing"
	"testing/synctest"
	"time"
)

// The poller does not wake up if nothing is due. If a transition is expected, it wakes up once a minute, because clocks can be set.
func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for _, tt := range []struct {
			name       string
			due        time.Duration
			next, save time.Duration // 0: none
			polling    bool
			want       time.Duration // -1: until something happens
		}{
			{"a poll in a day", 24 * time.Hour, 0, 0, false, 24 * time.Hour},
			{"a poll is under way", 0, 0, 0, true, -1},
			{"a poll is under way until a transition", 0, 5 * time.Second, 0, true, 5 * time.Second},
			{"a transition in a day", 48 * time.Hour, 24 * time.Hour, 0, false, time.Minute},
			{"a poll before the transition", 30 * time.Second, 24 * time.Hour, 0, false, 30 * time.Second},
			{"a failed commit", 24 * time.Hour, 0, saveRetry, false, saveRetry},
			{"late", -time.Second, 0, 0, false, 0},
		} {
			r := &run[struct{}]{schedule: &schedule{regular: now.Add(tt.due)}}
			if tt.next != 0 {
				r.next = now.Add(tt.next).Round(0)
			}
			if tt.save != 0 {
				r.saveAt = now.Add(tt.save)
			}
			if tt.polling {
				r.inflight.answer = make(chan answer[struct{}])
			}
			wait, ok := r.wait()
			if !ok {
				wait = -1
			}
			if wait != tt.want {
				t.Errorf("%s: got %s, want %s", tt.name, wait, tt.want)
			}
		}
	})
}

func TestSnapshotHash(t *testing.T) {
	type first struct{ A int }
	type renamed struct{ B int }
	type retyped struct{ A string }
	type deep struct {
		A struct{ T []map[string]*first }
	}
	type deeper struct {
		A struct{ T []map[string]*retyped }
	}
	type loop struct{ Next *loop }
	option := struct{ Calendar string }{"a"}
	hashes := map[string]string{}
	for name, hash := range map[string]string{
		"first": snapshotHash[first](option), "renamed": snapshotHash[renamed](option), "retyped": snapshotHash[retyped](option),
		"deep": snapshotHash[deep](option), "deeper": snapshotHash[deeper](option), "loop": snapshotHash[loop](option),
		"time": snapshotHash[struct{ A time.Time }](option), "option": snapshotHash[first](struct{ Calendar string }{"b"}),
	} {
		if other, ok := hashes[hash]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		hashes[hash] = name
	}
	if again := snapshotHash[first](option); hashes[again] != "first" {
		t.Error("the hash is not always the same")
	}
}
