package bridge_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// Nothing is written for a poll that brings nothing new, and nothing is encoded.
func TestUnchangedPollsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts = 20
		f := newFleet(t, accounts, "", fleetSensors)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := f.Published.holding("availability", "online"); n != accounts*sensorsPerAccount {
			t.Fatalf("%d sensors are online, want %d", n, accounts*sensorsPerAccount)
		}
		stats, requests := f.Database.Stats(), f.Requests()
		states := f.Published.counts("state", "attributes", "status")
		t.Logf("start: %d commits, %d KiB, %d requests", stats.Commits, stats.Bytes>>10, requests)
		const minutes = 20
		time.Sleep(minutes * time.Minute)
		synctest.Wait()
		after := f.Database.Stats()
		polls := f.Requests() - requests
		commits := after.Commits - stats.Commits
		t.Logf("%d minutes: %d requests, %d commits, %d bytes, %d payloads", minutes, polls, commits, after.Bytes-stats.Bytes, f.Published.counts("state", "attributes", "status")-states)
		if polls < accounts*sensorsPerAccount*minutes/2 {
			t.Fatalf("%d requests in %d minutes: the sensors do not poll", polls, minutes)
		}
		if commits != 0 {
			t.Errorf("%d commits in %d minutes in which nothing changed", commits, minutes)
		}
		if n := f.Published.counts("state", "attributes") - 0; n == 0 {
			t.Error("nothing was ever published")
		}
	})
}

func TestWakeUpsWithNothingPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts = 20
		f := newFleet(t, accounts, "", idleSensors)
		time.Sleep(time.Hour)
		synctest.Wait()
		requests, before := f.Requests(), wakeUps()
		const minutes = 60
		time.Sleep(minutes * time.Minute)
		synctest.Wait()
		t.Logf("%d requests, %d wake-ups a minute", f.Requests()-requests, (wakeUps()-before)/minutes)
	})
}
