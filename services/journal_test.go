package services_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/services"
)

// A transaction is remembered for 24 hours in which the program runs: neither a day without it nor a clock that jumps repeats it.
func TestATransactionIsRememberedInRunningTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		again := func(calls int, when string) {
			t.Helper()
			h.submit(`{"transaction": "abc", "mode": "on"}`)
			synctest.Wait()
			if len(h.calls) != calls {
				t.Errorf("%s: %d calls, want %d", when, len(h.calls), calls)
			}
		}
		h.open(t)
		again(1, "first")
		sleep(12 * time.Hour)
		h.stop()
		sleep(300 * time.Hour) // or the clock of a board was wrong by that
		h.open(t)
		again(1, "after a long stop")
		sleep(11 * time.Hour)
		again(1, "after 23 hours of running time")
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		h.calls = h.calls[:1]
		// A crash loses the running time since the last commit.
		h.disk = h.disk.copy()
		h.open(t)
		again(1, "after a crash")
		sleep(3 * time.Hour)
		again(2, "after more than 24 hours of running time")
	})
}

// A clock that was set back makes no request younger.
func TestAClockThatWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 2}
		h.call = func(set, services.Attempt) (any, error) { time.Sleep(20 * time.Second); return nil, nil }
		h.open(t)
		r := h.inbound(`{"mode": "on"}`)
		h.dispatcher.Submit(r)
		r.Received = time.Now().Add(time.Hour) // before it was set back
		r.Age = 15*time.Minute - 10*time.Second
		h.dispatcher.Submit(r)
		sleep(time.Minute)
		if h.code(0) != "ok" || h.code(1) != services.Expired || len(h.calls) != 1 {
			t.Errorf("%d calls, answers %+v", len(h.calls), h.answers)
		}
	})
}

func TestTheJournalHasAtMostSoManyEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: services.MaxEntries + 10}
		h.open(t)
		for i := range 100 {
			h.submit(fmt.Sprintf(`{"transaction": "%d", "mode": "on"}`, i))
		}
		synctest.Wait()
		release := make(chan struct{})
		h.call = func(set, services.Attempt) (any, error) { <-release; return nil, nil }
		for range services.MaxEntries + 5 {
			h.submit(`{"mode": "on"}`)
		}
		synctest.Wait()
		if n, _ := h.journal.Size(); n != services.MaxEntries {
			t.Errorf("%d entries, want the answered ones to be dropped", n)
		}
		if got := len(h.answers); got != 105 || h.code(104) != services.Overloaded {
			t.Errorf("%d answers, the last %s", got, h.code(got-1))
		}
		close(release)
		synctest.Wait()
		h.stop()
		if n := len(h.disk.entries()); n != services.MaxEntries {
			t.Errorf("%d entries on disk", n)
		}
	})
}

func TestTheJournalHasAtMostSoManyBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 100}
		large := strings.Repeat("x", 96<<10)
		h.call = func(set, services.Attempt) (any, error) { return large, nil }
		h.open(t)
		if services.MaxJournalBytes != 32<<20 {
			t.Errorf("the journal has at most %d bytes", services.MaxJournalBytes)
		}
		const most = 1 << 20 // is quicker
		h.journal.SetMaxBytes(most)
		bounded := func(what string) {
			t.Helper()
			if n, bytes := h.journal.Size(); bytes > most {
				t.Errorf("%s: %d entries with %d bytes", what, n, bytes)
			}
		}
		for range 12 { // answered ones make room
			h.submit(`{"mode": "on"}`)
			synctest.Wait()
			bounded("large responses")
		}
		release := make(chan struct{})
		h.call = func(set, services.Attempt) (any, error) { <-release; return nil, nil }
		for range 12 {
			h.submit(`{"mode": "on", "names": ["` + large + `"]}`)
			synctest.Wait()
			bounded("large requests")
		}
		if got := h.code(len(h.answers) - 1); got != services.Overloaded {
			t.Errorf("the last answer is %s", got)
		}
		close(release)
		synctest.Wait()
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		if got := h.code(len(h.answers) - 1); got != "ok" {
			t.Errorf("afterwards: %s", got)
		}
	})
}

// Rejected requests stay neither in memory nor on disk, however large they are.
func TestRejectedRequestsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		long := strings.Repeat("x", 3900<<10)
		for range 5 {
			h.submit(`{"transaction": "` + long + `"}`)
			synctest.Wait()
		}
		r := h.inbound(`{}`)
		r.Operation = strings.Repeat("ä", 32<<10)
		h.dispatcher.Submit(r)
		synctest.Wait()
		entries, bytes := h.journal.Size()
		if entries != 0 || bytes != 0 || h.disk.commits != 0 || h.acked != 6 {
			t.Errorf("%d entries with %d bytes, %d commits, acknowledged %d", entries, bytes, h.disk.commits, h.acked)
		}
		for _, a := range h.answers {
			if n := len(a.Encode()); n > 1000 {
				t.Errorf("an answer of %d bytes", n)
			}
		}
		if n := len(h.logged()); n > 6*400 {
			t.Errorf("%d bytes were logged", n)
		}
	})
}

// The data of a response is the same after a restart.
func TestAStoredResponseKeepsItsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := `{"id":12345678901234567890,"z":null,"a":1.10}`
		h := &dispatcherHarness{call: func(set, services.Attempt) (any, error) { return json.RawMessage(data), nil }}
		h.open(t)
		h.submit(`{"transaction": "abc", "mode": "on"}`)
		synctest.Wait()
		h.stop()
		h.open(t)
		var got services.Response
		r := h.inbound(`{"transaction": "abc", "mode": "on"}`)
		r.Done = func(r services.Response) { got = r }
		h.dispatcher.Submit(r)
		synctest.Wait()
		if raw, _ := got.Data.(json.RawMessage); string(raw) != data || !got.Duplicate {
			t.Errorf("got %+v", got)
		}
	})
}

func TestOriginsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 5}
		h.open(t)
		for i := range 3 {
			r := h.inbound(`{"mode": "on"}`)
			r.Origin = fmt.Sprint(i)
			h.dispatcher.Submit(r)
		}
		synctest.Wait()
		h.journal.Release("1", "7")
		h.stop()
		h.open(t)
		if diff := cmp.Diff([]string{"0", "2"}, h.journal.Origins()); diff != "" {
			t.Error(diff)
		}
		h.journal.Release("0", "2")
		sleep(25 * time.Hour)
		h.stop()
		if entries := h.disk.entries(); len(entries) != 0 {
			t.Errorf("after a day: %v", entries)
		}
	})
}

// Data that belongs to no entry is removed.
func TestAnOriginWithoutAnEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{values: map[string][]byte{"journal/origin/1": []byte("1")}}
		j, err := services.OpenJournal(d, d.each, slog.New(slog.DiscardHandler))
		if err != nil || len(j.Origins()) != 0 {
			t.Errorf("origins %v, error %v", j.Origins(), err)
		}
		d.flush()
		if len(d.values) != 0 {
			t.Errorf("on disk: %v", d.values)
		}
	})
}

// A full disk is logged once, and so is its end.
func TestAFullDiskIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{disk: &disk{full: true}, maxQueue: 5}
		h.open(t)
		for range 3 {
			h.submit(`{"mode": "on"}`)
			sleep(time.Second)
		}
		h.disk.fill(false)
		sleep(2 * time.Second)
		log := h.logged()
		if strings.Count(log, "the journal could not be written") != 1 || strings.Count(log, "the journal can be written again") != 1 {
			t.Errorf("logged:\n%s", log)
		}
		if n := h.disk.commits; n > 15 {
			t.Errorf("%d commits", n)
		}
	})
}

// Home Assistant's messages repeat; a program that was killed while the disk was full executes none of them twice.
func TestADuplicateOfARequestThatIsNotOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{disk: &disk{full: true}, maxQueue: 5}
		h.open(t)
		h.submit(`{"transaction": "abc", "mode": "on"}`)
		synctest.Wait()
		h.submit(`{"transaction": "abc", "mode": "on"}`)
		sleep(20 * time.Second)
		if h.code(0) != services.Internal || h.code(1) != services.Internal || h.acked != 2 || len(h.calls) != 0 {
			t.Errorf("answers %+v, acknowledged %d, %d calls", h.answers, h.acked, len(h.calls))
		}
	})
}

func TestNewestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 5}
		h.call = func(s set, _ services.Attempt) (any, error) {
			if s.Mode == "off" {
				time.Sleep(time.Minute)
			}
			return map[string]any{"text": "private"}, nil
		}
		h.open(t)
		for range 3 {
			h.submit(`{"mode": "on"}`)
			sleep(time.Second)
		}
		h.submit(`{"mode": "off"}`)
		synctest.Wait()
		got := h.journal.Newest(3)
		if len(got) != 3 || got[0].Response != nil || got[1].Response == nil || got[1].Response.Status != "ok" || got[1].Response.Data != nil {
			t.Fatalf("got %+v", got)
		}
		if got[0].Target != (services.Ref{Account: "home", Sensor: "lamp"}) || got[0].Operation != "set" || !got[0].Received.After(got[1].Received) {
			t.Errorf("got %+v", got)
		}
		if all := h.journal.Newest(10); len(all) != 4 {
			t.Errorf("%d of 4", len(all))
		}
		sleep(time.Minute)
	})
}
