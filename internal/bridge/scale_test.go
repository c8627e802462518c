package bridge_test

import (
	"fmt"
	"math"
	stdruntime "runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A poll without a change writes nothing, and encodes only the time of the last read every five minutes.
func TestUnchangedPollsCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts, minutes = 20, 20
		f := newFleet(t, accounts, "", fleetSensors)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := f.Published.holding("availability", "online"); n != accounts*sensorsPerAccount {
			t.Fatalf("%d sensors are online, want %d", n, accounts*sensorsPerAccount)
		}
		before, requests, encoded := f.Database.Stats(), f.Requests(), f.Published.Encoded()
		t.Logf("start: %d commits, %d KiB", before.Commits, before.Bytes>>10)
		if before.Commits > 20 {
			t.Errorf("the start of %d sensors took %d commits, want at most 20", accounts*sensorsPerAccount, before.Commits)
		}
		time.Sleep(minutes * time.Minute)
		synctest.Wait()
		requests, encoded = f.Requests()-requests, f.Published.Encoded()-encoded
		if requests < accounts*sensorsPerAccount*minutes {
			t.Fatalf("%d requests in %d minutes: the sensors do not poll", requests, minutes)
		}
		if n := f.Database.Stats().Commits - before.Commits; n != 0 {
			t.Errorf("%d commits for %d requests that brought nothing new", n, requests)
		}
		if most := accounts * (minutes/5 + 1); encoded > most {
			t.Errorf("%d payloads encoded for %d requests that brought nothing new, want at most %d", encoded, requests, most)
		}
	})
}

// The parts of snapshots that change by themselves are written once an hour, together.
func TestIdleHoursOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts, hours = 5, 4
		f := newFleet(t, accounts, "", fleetSensors)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		before := f.Database.Stats()
		time.Sleep(hours * time.Hour)
		synctest.Wait()
		after := f.Database.Stats()
		commits, bytes := after.Commits-before.Commits, after.Bytes-before.Bytes
		t.Logf("%d commits and %d KiB an hour", commits/hours, bytes>>10/hours)
		if commits > 3*hours {
			t.Errorf("%d commits in %d hours in which nothing changed, want at most 3 an hour", commits, hours)
		}
		if bytes > hours*60*64<<10 {
			t.Errorf("%d bytes in %d hours, want at most 64 KiB a minute", bytes, hours)
		}
	})
}

// Between polls next to nothing runs: one look for changed sign-ins every two seconds, and the upkeep of accounts every five minutes.
func TestWakeUpsWithNothingPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts, minutes = 20, 10
		f := newFleet(t, accounts, "", idleSensors)
		time.Sleep(time.Hour)
		synctest.Wait()
		requests := f.Requests()
		// The scheduler also counts the collector and what earlier tests left behind. The quietest of several spans has the least of them.
		n := uint64(math.MaxUint64)
		for range 6 {
			before := wakeUps()
			time.Sleep(minutes * time.Minute)
			synctest.Wait()
			n = min(n, (wakeUps()-before)/minutes)
		}
		if got := f.Requests() - requests; got != 0 {
			t.Fatalf("%d requests", got)
		}
		t.Logf("%d wake-ups a minute", n)
		if n > 170 { // it was 208 with a look a second
			t.Errorf("%d wake-ups a minute, want at most 170", n)
		}
	})
}

func TestCostOfAnAccount(t *testing.T) {
	small, large := 10, 60
	measure := func(n int) (memory uint64, goroutines int) {
		f := newFleetBridge(t, n, "", idleSensors)
		f.Start()
		memory, goroutines = liveMemory(), stdruntime.NumGoroutine()
		// 60 commits and 60 MB are the limits for 300 accounts.
		if s := f.StoreStats(); s.Commits > 20 || s.Bytes > uint64(2+n/5)*1e6 {
			t.Errorf("the start of %d accounts took %d commits and %d bytes", n, s.Commits, s.Bytes)
		}
		f.Stop()
		return memory, goroutines
	}
	m1, g1 := measure(small)
	m2, g2 := measure(large)
	memory := float64(int64(m2)-int64(m1)) / float64(large-small) / (1 << 20)
	goroutines := float64(g2-g1) / float64(large-small)
	t.Logf("a further account: %.3f MiB, %.1f goroutines", memory, goroutines)
	if memory > 0.45 {
		t.Errorf("a further account takes %.2f MiB, want at most 0.45", memory)
	}
	if goroutines > sensorsPerAccount+3.5 {
		t.Errorf("a further account takes %.1f goroutines, want its %d sensors and 3", goroutines, sensorsPerAccount)
	}
}

// Each account costs the same number of messages, however many there are. Package mqtt tests the cost of each.
func TestMessagesOfAReconnectAndABirth(t *testing.T) {
	measure := func(n int) (reconnect, birth float64) {
		f := newFleetBridge(t, n, "", idleSensors)
		f.Start()
		defer f.Stop()
		before := f.MQTTStats().Published
		f.Reconnect()
		reconnect = float64(f.MQTTStats().Published - before)
		before = f.MQTTStats().Published
		f.Birth(f.publisher(), uint64(reconnect*0.9))
		return reconnect, float64(f.MQTTStats().Published - before)
	}
	reconnect1, birth1 := measure(10)
	reconnect3, birth3 := measure(30)
	t.Logf("10 accounts: %.0f messages after a reconnect, %.0f after a birth; 30 accounts: %.0f, %.0f", reconnect1, birth1, reconnect3, birth3)
	if reconnect3 > 3.2*reconnect1 || birth3 > 3.2*birth1 {
		t.Error("three times the accounts take more than three times the messages")
	}
}

// A command is on disk before it is acknowledged and before it is answered, and where it must not be repeated before Graph is asked.
func TestCommitsOfACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// No other sensor shows what they change.
		f := newFleet(t, 1, "    enable_update: true\n", "      out_of_office: {type: auto_reply}\n      calendar: {type: calendar}\n")
		time.Sleep(10 * time.Minute)
		count := func(name string, want uint64, execute func(i int)) {
			const n = 10
			synctest.Wait()
			before := f.Database.Stats()
			for i := range n {
				execute(i)
				time.Sleep(2 * time.Minute) // until it was polled again
			}
			synctest.Wait()
			after := f.Database.Stats()
			t.Logf("%s: %.1f commits, %d bytes", name, float64(after.Commits-before.Commits)/n, (after.Bytes-before.Bytes)/n)
			if got := after.Commits - before.Commits; got > want*n {
				t.Errorf("%s: %d commands took %d commits, want at most %d each", name, n, got, want)
			}
		}
		count("idempotent", 2, func(i int) {
			f.Execute(t, "a000", "out_of_office", []string{"enable", "disable"}[i%2], "{}")
		})
		start := time.Now().Add(time.Hour)
		var events []string
		for i := range 10 {
			events = append(events, f.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{
				Subject: fmt.Sprint("Meeting ", i), Start: start, End: start.Add(time.Hour), Organizer: simulator.Megan,
			}))
		}
		time.Sleep(10 * time.Minute)
		count("at most once", 3, func(i int) {
			f.Execute(t, "a000", "calendar", "respond", fmt.Sprintf(`{"event_id": %q, "response": "accept"}`, events[i]))
		})
	})
}

// Accounts do not wait for each other's writes: these share transactions.
func TestCommandsOfManyAccountsOnASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const accounts, each = 50, 20
		f := newFleetOn(t, &slowStore{commit: 5 * time.Millisecond}, accounts, "    enable_update: true\n", "      out_of_office: {type: auto_reply, interval: 24h}\n")
		time.Sleep(time.Minute)
		perSecond := func(n int) float64 {
			begun := time.Now()
			var done sync.WaitGroup
			for i := range n {
				done.Go(func() {
					for k := range each {
						f.Execute(t, fmt.Sprintf("a%03d", i), "out_of_office", []string{"enable", "disable"}[k%2], "{}")
					}
				})
			}
			done.Wait()
			return float64(n*each) / time.Since(begun).Seconds()
		}
		one, many := perSecond(1), perSecond(accounts)
		t.Logf("commands a second: one account %.0f, %d accounts %.0f, ratio %.1f", one, accounts, many, many/one)
		if many < 10*one {
			t.Errorf("%d accounts do %.0f commands a second, one %.0f; want at least 10 times as many", accounts, many, one)
		}
	})
}

var _ services.Store = (*slowStore)(nil)
