package services_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

func TestCommits(t *testing.T) {
	for _, test := range []struct {
		name, operation string
		retry           services.RetryPolicy
		persist         func(services.Tx)
		commits         int
	}{
		{"idempotent", "set", services.Idempotent, nil, 2},
		{"idempotency key", "set", services.IdempotencyKey, nil, 2},
		{"at most once", "set", services.AtMostOnce, nil, 3},
		{"with a snapshot", "set", services.Idempotent, func(tx services.Tx) { tx.Put("snapshots", "home/lamp", []byte("on")) }, 2},
		{"reading", "list", services.Idempotent, nil, 0},
		{"immediate", "ping", services.Idempotent, nil, 0},
		{"rejected", "dim", services.Idempotent, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &dispatcherHarness{retry: test.retry, persist: test.persist}
				h.open(t)
				for range 10 {
					r := h.inbound(`{"mode": "on"}`)
					r.Operation = test.operation
					h.dispatcher.Submit(r)
					synctest.Wait()
				}
				if h.disk.commits != 10*test.commits || len(h.answers) != 10 || h.acked != 10 {
					t.Errorf("%d commits for 10 requests, want %d each; %d answers", h.disk.commits, test.commits, len(h.answers))
				}
				if test.persist != nil && string(h.disk.values["snapshots/home/lamp"]) != "on" {
					t.Error("the snapshot is not on disk")
				}
			})
		})
	}
}

// The effect of an operation on a sensor is on disk together with its response, or neither is.
func TestTheSnapshotAndTheResponseAreOneTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{persist: func(tx services.Tx) { tx.Put("snapshots", "home/lamp", []byte("on")) }}
		var before *disk
		h.step = func(s string) {
			switch s {
			case "called":
				h.disk.fill(true)
			case "recorded":
				before = h.disk.copy()
				h.disk.fill(false)
			}
		}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		if before.values["snapshots/home/lamp"] != nil || strings.Contains(strings.Join(before.entries(), ""), `"stage":"done"`) {
			t.Errorf("on a full disk: %v", before.entries())
		}
		sleep(2 * time.Second)
		if string(h.disk.values["snapshots/home/lamp"]) != "on" || h.code(0) != "ok" {
			t.Errorf("the snapshot is not on disk; answers %+v", h.answers)
		}
	})
}

// A sensor that is replaced while a request is executed would not show the effect before its next poll.
func TestTheEffectOnAReplacedSensor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		replacement := &dispatcherHarness{}
		h.call = func(set, services.Attempt) (any, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.replacement = replacement
			return nil, nil
		}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		if h.code(0) != "ok" || len(h.shown) != 0 || !slices.Equal(replacement.shown, []string{"succeeded"}) {
			t.Errorf("the replaced sensor shows %q, its replacement %q; answers %+v", h.shown, replacement.shown, h.answers)
		}
	})
}

// Many accounts share transactions.
func TestCommandsPerSecond(t *testing.T) {
	perSecond := func(accounts int) (n int) {
		synctest.Test(t, func(t *testing.T) {
			h := &dispatcherHarness{disk: &disk{delay: 5 * time.Millisecond}}
			h.open(t)
			var mu sync.Mutex
			over := false
			var next func(account int)
			next = func(account int) {
				r := h.inbound(`{"mode": "on"}`)
				r.Target.Account, r.ReplyTo = fmt.Sprint("account", account), ""
				r.Done = func(r services.Response) {
					mu.Lock()
					defer mu.Unlock()
					if r.Status != "ok" {
						t.Errorf("response %+v", r.Error)
					}
					if !over {
						n++
						go next(account)
					}
				}
				h.dispatcher.Submit(r)
			}
			for account := range accounts {
				next(account)
			}
			sleep(time.Second)
			mu.Lock()
			over = true
			mu.Unlock()
			sleep(time.Second) // what was submitted last is executed
			h.stop()
		})
		return n
	}
	one, fifty := perSecond(1), perSecond(50)
	t.Logf("%d and %d commands per second", one, fifty)
	if one < 50 || fifty < 10*one {
		t.Errorf("1 account: %d commands per second, 50 accounts: %d; want at least 50, and 10 times as many", one, fifty)
	}
}

// Nothing but the request itself waits for the disk.
func TestNothingIsHeldOverADiskWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{disk: &disk{delay: time.Minute}, maxQueue: 5}
		h.open(t)
		begun := time.Now()
		h.submit(`{"mode": "on"}`)
		h.submit(`noon`)
		read := h.list()
		read.Target.Account = "other"
		h.dispatcher.Submit(read)
		h.dispatcher.Submit(h.immediate(`{"mode": "on"}`))
		h.journal.Release("1")
		synctest.Wait()
		h.mu.Lock()
		if len(h.answers) != 3 || time.Since(begun) != 0 {
			t.Errorf("answers %+v after %s", h.answers, time.Since(begun))
		}
		h.mu.Unlock()
		sleep(10 * time.Minute)
		if h.code(3) != "ok" || h.acked != 4 {
			t.Errorf("answers %+v, accepted %d", h.answers, h.acked)
		}
	})
}

func TestLimitsThatChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		r := h.inbound(`{"mode": "on"}`)
		r.Age = 10 * time.Minute
		h.dispatcher.Submit(r)
		synctest.Wait()
		h.dispatcher.SetLimits(5*time.Minute, 0)
		h.dispatcher.Submit(r)
		synctest.Wait() // rejections are answered side by side
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		if h.code(0) != "ok" || h.code(1) != services.Expired || h.code(2) != services.Overloaded {
			t.Errorf("answers %+v", h.answers)
		}
	})
}

// After a crash only an account's oldest request can have begun.
func TestOnlyTheOldestRequestIsRepeatedAfterACrash(t *testing.T) {
	for _, test := range []struct {
		retry services.RetryPolicy
		want  []bool
	}{{services.Idempotent, []bool{true, false}}, {services.IdempotencyKey, []bool{true, false}}, {services.AtMostOnce, []bool{false, false}}} {
		synctest.Test(t, func(t *testing.T) {
			h := &dispatcherHarness{maxQueue: 5, retry: test.retry}
			h.prepare(t) // and never run
			h.submit(`{"mode": "on"}`)
			h.submit(`{"mode": "off"}`)
			r := h.inbound(`{"mode": "on"}`)
			r.Target.Account = "away"
			h.dispatcher.Submit(r)
			synctest.Wait()
			h.disk = h.disk.copy()
			h.open(t)
			synctest.Wait()
			got := []bool{}
			for _, a := range h.calls {
				got = append(got, a.Repeated)
			}
			want := append(slices.Clone(test.want), test.want[0])
			slices.SortFunc(got, compareBools) // accounts run beside each other
			slices.SortFunc(want, compareBools)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v: repeated (-want +got):\n%s", test.retry, diff)
			}
		})
	}
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func TestRequestsOfAnAccountAreExecutedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 100}
		var modes []string
		h.call = func(s set, _ services.Attempt) (any, error) {
			modes = append(modes, s.Names[0])
			time.Sleep(time.Millisecond)
			return nil, nil
		}
		var want []string
		h.prepare(t)
		for i := range 40 {
			if i == 20 { // the others wait in the journal
				synctest.Wait()
				h.open(t)
			}
			want = append(want, fmt.Sprint(i))
			h.submit(fmt.Sprintf(`{"mode": "on", "names": ["%d"]}`, i))
		}
		sleep(time.Minute)
		if diff := cmp.Diff(want, modes); diff != "" {
			t.Error(diff)
		}
	})
}

// Accepted requests for a sensor that is no longer configured are answered, also those that may have been executed.
func TestASensorThatWasRemoved(t *testing.T) {
	for _, test := range []struct {
		retry services.RetryPolicy
		crash string
		code  services.Code
	}{
		{services.Idempotent, "", services.UnknownSensor},
		{services.AtMostOnce, "", services.UnknownSensor},
		{services.AtMostOnce, "started", services.InDoubt},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &dispatcherHarness{retry: test.retry, sensors: []string{"fan"}}
			var crashed *disk
			h.step = func(s string) {
				if s == test.crash {
					crashed = h.disk.copy()
				}
			}
			h.prepare(t)
			if test.crash != "" {
				h.run(t)
			}
			r := h.inbound(`{"mode": "on", "member": "fan"}`)
			h.dispatcher.Submit(r)
			synctest.Wait()
			if h.acked != 1 {
				t.Fatalf("acknowledged %d times", h.acked)
			}
			h.mu.Lock()
			h.sensors, h.answers = nil, nil
			h.mu.Unlock()
			if crashed == nil {
				crashed = h.disk.copy()
			}
			h.step, h.disk = nil, crashed
			h.open(t)
			synctest.Wait()
			if h.code(0) != test.code || len(h.answers) != 1 {
				t.Errorf("%v %s: answers %+v, want %s", test.retry, test.crash, h.answers, test.code)
			}
		})
	}
}

func TestAnUnknownOutcomeIsNotRetryable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{retry: services.IdempotencyKey}
		h.find = func(services.Attempt) (any, bool, error) { return nil, false, nil }
		h.call = func(set, services.Attempt) (any, error) {
			return nil, &graph.Error{Reason: graph.Timeout, Message: "no answer in time", OutcomeUnknown: len(h.calls) == 1}
		}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		sleep(2 * time.Minute)
		if h.code(0) != services.InDoubt || h.answers[0].Error.Retryable || len(h.calls) < 3 {
			t.Errorf("%d calls, answers %+v", len(h.calls), h.answers)
		}
	})
}

// A request that would have to be retried when the program stops is retried after the next start, with the same id.
func TestARequestThatIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{retry: services.IdempotencyKey}
		h.call = func(set, services.Attempt) (any, error) {
			if len(h.calls) < 3 {
				return nil, &graph.Error{Reason: graph.Network, OutcomeUnknown: true}
			}
			return nil, nil
		}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		h.stop()
		if len(h.answers) != 0 || len(h.calls) != 1 {
			t.Fatalf("%d calls, answers %+v", len(h.calls), h.answers)
		}
		h.open(t)
		sleep(time.Minute)
		if h.code(0) != "ok" || len(h.calls) != 3 || !h.calls[1].Repeated || h.calls[1].ID != h.calls[0].ID {
			t.Errorf("calls %+v, answers %+v", h.calls, h.answers)
		}
	})
}

// immediate is a request to ping of the account.
func (h *dispatcherHarness) immediate(payload string) services.Inbound {
	r := h.inbound(payload)
	r.Target, r.Operation = services.Ref{Account: "other"}, "ping"
	return r
}

// Operations of the bridge and of accounts run beside the worker of their account.
func TestImmediateRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		release := make(chan struct{})
		h.call = func(s set, _ services.Attempt) (any, error) {
			if s.Names != nil {
				<-release
			}
			return "pong", nil
		}
		h.open(t)
		r := h.inbound(`{"mode": "on", "names": []}`)
		r.Target.Account = "other"
		h.dispatcher.Submit(r)
		synctest.Wait()
		h.dispatcher.Submit(h.immediate(`{"mode": "on", "transaction": "abc"}`))
		synctest.Wait()
		if h.code(0) != "ok" || h.answers[0].Op != "ping" || h.answers[0].Transaction != "abc" || h.answers[0].Data != "pong" || h.acked != 2 {
			t.Errorf("answers %+v, acknowledged %d", h.answers, h.acked)
		}
		close(release)
		synctest.Wait()
		// They are as strict as all others.
		for _, test := range []struct {
			payload string
			code    services.Code
		}{
			{`{}`, services.InvalidArgument},
			{`{"mode": "on", "nams": 1}`, services.InvalidArgument},
			{`[]`, services.InvalidJSON},
			{`{"mode": "on", "expires": "1999-12-31T23:59:59Z"}`, services.Expired},
			{`{"mode": "on", "names": ["` + strings.Repeat("x", 20<<20) + `"]}`, services.TooLarge},
			{`{"mode": "on", "transaction": "abc"}`, "ok"}, // not journalled: executed again
		} {
			h.answers = nil
			h.dispatcher.Submit(h.immediate(test.payload))
			synctest.Wait()
			if h.code(0) != test.code || h.answers[0].Duplicate {
				t.Errorf("%.50s: answers %+v, want %s", test.payload, h.answers, test.code)
			}
		}
		if h.disk.commits != 2 {
			t.Errorf("%d commits, want those of one request", h.disk.commits)
		}
	})
}

func TestImmediateRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 2}
		h.call = func(set, services.Attempt) (any, error) { time.Sleep(time.Second); return nil, nil }
		h.open(t)
		for range 3 {
			h.dispatcher.Submit(h.immediate(`{"mode": "on"}`))
		}
		synctest.Wait()
		if h.code(0) != services.Overloaded || h.acked != 3 {
			t.Errorf("answers %+v", h.answers)
		}
		sleep(2 * time.Second)
		if h.code(1) != "ok" || h.code(2) != "ok" {
			t.Errorf("answers %+v", h.answers)
		}
	})
}

// waits is a request that waits until it is canceled.
type waits struct{}

func (waits) Execute(ctx context.Context, _ *graph.Client, _ services.Attempt) (any, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestImmediateRequestsAreAnsweredAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{request: func() services.Request { return &waits{} }}
		h.open(t)
		h.dispatcher.Submit(h.immediate(`{}`))
		synctest.Wait()
		h.stop()
		if h.code(0) != services.ShuttingDown {
			t.Errorf("answers %+v", h.answers)
		}
	})
}

func TestImmediateRequestsAreTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.call = func(set, services.Attempt) (any, error) {
			return nil, &graph.Error{Reason: graph.Network, Message: "no route"}
		}
		h.open(t)
		h.dispatcher.Submit(h.immediate(`{"mode": "on"}`))
		synctest.Wait()
		if h.code(0) != services.Code(graph.Network) || len(h.calls) != 1 {
			t.Errorf("%d calls, answers %+v", len(h.calls), h.answers)
		}
	})
}

func TestAcceptedIsCalledInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 10, hold: make(chan struct{})}
		h.open(t)
		var got []string
		submit := func(name, operation, payload string) {
			r := h.inbound(payload)
			r.Operation = operation
			r.Accepted = func(error) { got = append(got, name) }
			h.dispatcher.Submit(r)
		}
		submit("journalled", "set", `{"mode": "on"}`)
		submit("rejected", "set", `noon`)
		submit("read", "list", `{"mode": "on"}`)
		submit("journalled too", "set", `{"mode": "on"}`)
		synctest.Wait()
		if diff := cmp.Diff([]string{"journalled"}, got); diff != "" {
			t.Errorf("before the rejection is answered: %s", diff)
		}
		close(h.hold)
		synctest.Wait()
		if diff := cmp.Diff([]string{"journalled", "rejected", "read", "journalled too"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// Many rejections, whose acknowledgement no client waits for, do not delay a real request.
func TestManyRejectionsDoNotDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		h.dispatcher.Register("slow", replier(func() error { time.Sleep(50 * time.Millisecond); return nil }))
		for range 5000 {
			r := h.inbound(`{"mode": "on"}`)
			r.Refused, r.Accepted, r.ReplyTo = &services.Error{Code: services.RetainedRefused, Message: "retained"}, nil, "slow:x"
			h.dispatcher.Submit(r)
		}
		begun := time.Now()
		r := h.inbound(`{"mode": "on"}`)
		var took time.Duration
		r.Done = func(services.Response) { took = time.Since(begun) }
		h.dispatcher.Submit(r)
		bad := h.inbound(`noon`)
		h.dispatcher.Submit(bad)
		sleep(time.Second)
		if h.acked != 2 || len(h.answers) != 2 || took > time.Second {
			t.Errorf("acknowledged %d, answers %+v after %s", h.acked, h.answers, took)
		}
	})
}

type replier func() error

func (f replier) Reply(context.Context, string, services.Response) error { return f() }

func TestCallersInTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 5}
		h.call = func(s set, _ services.Attempt) (any, error) { time.Sleep(time.Second); return "done", nil }
		h.open(t)
		var told []services.Response
		submit := func(payload string) {
			r := h.inbound(payload)
			r.ReplyTo, r.Done = "", func(r services.Response) { told = append(told, r) }
			h.dispatcher.Submit(r)
		}
		submit(`{"transaction": "abc", "mode": "on"}`)
		submit(`{"transaction": "abc", "mode": "on"}`) // not on disk yet
		synctest.Wait()
		submit(`{"transaction": "abc", "mode": "on"}`)   // runs
		h.submit(`{"transaction": "abc", "mode": "on"}`) // by another transport
		sleep(2 * time.Second)
		submit(`{"transaction": "abc", "mode": "on"}`)
		submit(`{"transaction": "abc", "mode": "off"}`)
		submit(`noon`)
		synctest.Wait()
		var codes []string
		for _, r := range told {
			code := r.Status
			if r.Error != nil {
				code = string(r.Error.Code)
			}
			codes = append(codes, fmt.Sprint(code, r.Duplicate))
		}
		if diff := cmp.Diff([]string{"okfalse", "okfalse", "okfalse", "oktrue", "conflictfalse", "invalid_jsonfalse"}, codes); diff != "" {
			t.Error(diff)
		}
		if len(h.calls) != 1 || h.code(0) != "ok" || len(h.answers) != 1 || h.acked != 7 {
			t.Errorf("%d calls, answers %+v, accepted %d", len(h.calls), h.answers, h.acked)
		}
	})
}

func TestExecute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.prepare(t)
		execute := func(payload string) services.Response {
			return h.dispatcher.Execute(t.Context(), services.Inbound{Target: services.Ref{Account: "home", Sensor: "lamp"}, Operation: "set", Payload: []byte(payload), Received: time.Now()})
		}
		if r := execute(`{"mode": "ON", "transaction": "abc"}`); r.Status != "ok" || r.Transaction != "abc" || r.Op != "set" {
			t.Errorf("response %+v", r)
		}
		for payload, code := range map[string]services.Code{
			`noon`: services.InvalidJSON, `{"mode": "dim"}`: services.InvalidArgument,
			`{"mode": "on", "expires": "1999-12-31T23:59:59Z"}`: services.Expired,
		} {
			if r := execute(payload); r.Error == nil || r.Error.Code != code {
				t.Errorf("%s: response %+v, want %s", payload, r, code)
			}
		}
		h.call = func(set, services.Attempt) (any, error) {
			return nil, &graph.Error{Reason: graph.Network, Message: "no route"}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := h.dispatcher.Execute(ctx, h.inbound(`{"mode": "on"}`))
		if r.Error == nil || r.Error.Code != services.Code(graph.Network) {
			t.Errorf("interrupted: response %+v", r)
		}
		if h.disk.commits != 0 || len(h.shown) != 0 || h.logged() != "" {
			t.Errorf("%d commits, shown %v, logged %s", h.disk.commits, h.shown, h.logged())
		}
	})
}

func TestAResponseThatCannotBeEncoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{call: func(set, services.Attempt) (any, error) { return func() {}, nil }}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		h.dispatcher.Submit(h.list())
		synctest.Wait()
		for i := range 2 {
			if h.code(i) != services.Internal || !strings.HasPrefix(h.answers[i].Error.Message, "the response cannot be encoded as JSON: ") {
				t.Errorf("answer %d: %+v", i, h.answers)
			}
		}
	})
}

func TestConcurrentRequests(t *testing.T) {
	h := &dispatcherHarness{maxQueue: 1000}
	h.open(t)
	var all sync.WaitGroup
	done := make(chan services.Response, 400)
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				r := h.inbound(fmt.Sprintf(`{"mode": "on", "transaction": "%d"}`, n))
				r.Target.Account, r.Done = fmt.Sprint("account", i%4), func(r services.Response) { done <- r }
				h.dispatcher.Submit(r)
			}
		})
	}
	all.Wait()
	for range 400 {
		if r := <-done; r.Status != "ok" {
			t.Errorf("response %+v", r.Error)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.calls) != 200 {
		t.Errorf("%d calls, want each transaction of each account once", len(h.calls))
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{`{}`, `{"transaction": "abc", "expires": "2026-01-01T12:00:00Z", "mode": "on"}`, `{"transaction": 1}`, `[]`, `null`, `{"expires": null}`, `{"transaction": null, "Transaction": "x"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		transaction, _, fields, err := services.ParseEnvelope(payload)
		if len(transaction) > services.MaxTransaction {
			t.Errorf("a transaction of %d bytes", len(transaction))
		}
		if _, ok := fields["transaction"]; ok || fields == nil && err == nil {
			t.Errorf("fields %v, error %v", fields, err)
		}
		var e *services.Error
		var g *graph.Error
		if err != nil && !errors.As(err, &e) && !errors.As(err, &g) {
			t.Errorf("an error without a code: %v", err)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("a long error: %v", err)
		}
	})
}

func TestOwnerOnlyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		forget := h.inbound(`{"mode": "on"}`)
		forget.Operation = "forget"
		h.dispatcher.Submit(forget)
		synctest.Wait()
		if h.code(0) != services.UnknownOp || h.answers[0].Error.Message != "forget is accepted only from the status page" || len(h.calls) != 0 {
			t.Errorf("answers %+v, %d calls", h.answers, len(h.calls))
		}
		var told []services.Response
		forget.Owner, forget.ReplyTo, forget.Done = true, "", func(r services.Response) { told = append(told, r) }
		h.dispatcher.Submit(forget)
		synctest.Wait()
		if len(told) != 1 || told[0].Status != "ok" || len(h.calls) != 1 || !h.calls[0].Owner {
			t.Errorf("responses %+v, calls %+v", told, h.calls)
		}
	})
}

// A permission is a Guard whose permission a test ends.
type permission struct {
	lifetime func() context.Context
	end      context.CancelFunc
}

func newPermission() *permission {
	ctx, cancel := context.WithCancel(context.Background())
	return &permission{func() context.Context { return ctx }, cancel}
}

func (p *permission) Context() context.Context { return p.lifetime() }
func (p *permission) Err() error               { return p.lifetime().Err() }

// When another process has the journal, a request is not answered here: the other process executes or verifies it, and answers.
func TestARequestThatAnotherProcessHas(t *testing.T) {
	for _, test := range []struct {
		step  string // at which the permission ends
		retry services.RetryPolicy
		calls int // here
		code  services.Code
	}{
		{"delivered", services.Idempotent, 0, ""}, // the broker delivers it again
		{"acknowledged", services.AtMostOnce, 0, "ok"},
		{"started", services.AtMostOnce, 1, services.InDoubt},
		{"called", services.Idempotent, 1, "ok"},
		{"called", services.AtMostOnce, 1, services.InDoubt},
	} {
		t.Run(fmt.Sprint(test.step, test.retry), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPermission()
				h := &dispatcherHarness{retry: test.retry, guard: p, find: func(services.Attempt) (any, bool, error) { return nil, false, nil }}
				h.step = func(s string) {
					if s == test.step {
						h.disk.fill(true) // nothing is stored any more
						p.end()
					}
				}
				h.call = func(set, services.Attempt) (any, error) {
					if p.Err() != nil && test.step == "started" {
						return nil, &graph.Error{Reason: graph.Network, OutcomeUnknown: true}
					}
					return nil, nil
				}
				h.open(t)
				h.submit(`{"mode": "on"}`)
				sleep(20 * time.Second)
				begun := time.Now()
				h.stop()
				if len(h.answers) != 0 || len(h.calls) != test.calls || time.Since(begun) != 0 {
					t.Errorf("%d calls, answers %+v, stopped after %s", len(h.calls), h.answers, time.Since(begun))
				}
				if wasStored := test.step != "delivered"; (h.acked == 1) != wasStored {
					t.Errorf("acknowledged %d times", h.acked)
				}

				h.step, h.guard, h.call = nil, nil, nil
				h.disk.fill(false)
				h.open(t)
				sleep(time.Minute)
				if test.step == "delivered" {
					if len(h.answers) != 0 {
						t.Errorf("answers %+v", h.answers)
					}
				} else if h.code(0) != test.code || len(h.answers) != 1 || h.answers[0].Duplicate {
					t.Errorf("the other process: answers %+v", h.answers)
				}
			})
		})
	}
}

// What is being executed when the permission ends is canceled, and does not delay the end of the dispatcher.
func TestACanceledRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPermission()
		h := &dispatcherHarness{retry: services.AtMostOnce, guard: p, request: func() services.Request { return new(waiting) }}
		h.open(t)
		h.submit(`{}`)
		synctest.Wait()
		begun := time.Now()
		h.disk.fill(true)
		p.end()
		h.stop()
		if len(h.answers) != 0 || time.Since(begun) != 0 {
			t.Errorf("stopped after %s, answers %+v", time.Since(begun), h.answers)
		}
	})
}

// waiting is a request whose outcome never becomes known.
type waiting struct{}

func (waiting) Execute(ctx context.Context, _ *graph.Client, _ services.Attempt) (any, error) {
	<-ctx.Done()
	return nil, &graph.Error{Reason: graph.Network, OutcomeUnknown: true}
}

func (waiting) Verify(ctx context.Context, _ *graph.Client, _ services.Attempt) (any, bool, error) {
	<-ctx.Done()
	return nil, false, ctx.Err()
}
