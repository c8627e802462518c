package services_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime"
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

// disk is a store that outlives its desk.
type disk struct {
	mu     sync.Mutex
	values map[string][]byte
	full   bool
}

func (d *disk) Put(key string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return errors.New("no space left on device")
	}
	if d.values == nil {
		d.values = map[string][]byte{}
	}
	d.values[key] = slices.Clone(value)
	return nil
}

func (d *disk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func (d *disk) copy() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &disk{values: maps.Clone(d.values)}
}

func (d *disk) Delete(key string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.values, key)
	return nil
}

func (d *disk) Each(f func(string, []byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(d.values)) {
		if err := f(key, d.values[key]); err != nil {
			return err
		}
	}
	return nil
}

// set is a request that sets a mode.
type set struct {
	Mode  string   `json:"mode" enum:"on,off" required:"true"`
	Names []string `json:"names"`
	call  func(set, services.Attempt) (any, error)
	find  func(services.Attempt) (any, bool, error)
}

func (s *set) Execute(_ context.Context, _ *graph.Client, c services.Attempt) (any, error) {
	return s.call(*s, c)
}

func (s *set) Verify(_ context.Context, _ *graph.Client, c services.Attempt) (any, bool, error) {
	return s.find(c)
}

type tokens struct{}

func (tokens) Token(context.Context) (string, error)                 { return "token", nil }
func (tokens) Renew(context.Context, string, string) (string, error) { return "token", nil }
func (tokens) Personal() bool                                        { return false }
func (tokens) Granted() []string                                     { return []string{"User.Read"} }

type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nobody answers")
}

// office is a desk with a sensor "lamp" whose operations are set and list, and what was seen of it.
type office struct {
	disk     *disk
	unknown  services.RetryPolicy
	call     func(set, services.Attempt) (any, error)
	find     func(services.Attempt) (any, bool, error)
	offered  func(name string) error
	step     func(string)
	away     bool // the broker
	maxQueue int

	mu       sync.Mutex
	desk     *services.Desk
	journal  *services.Journal
	calls    []services.Attempt
	answers  []services.Response
	topics   []string
	emptied  []string
	shown    []string
	acked    int
	stop     func()
	graph    *graph.Client
	ended    []string
	packetID uint16
}

func (o *office) Set(entity, payload string) (string, map[string]any, error) {
	if entity != "mode" {
		return "", nil, &services.Error{Code: services.UnknownOp, Message: "no entity " + entity}
	}
	if payload == "PRESS" {
		return "list", nil, nil
	}
	return "set", map[string]any{"mode": payload}, nil
}

func (o *office) Operation(name string) (services.Operation, error) {
	if o.offered != nil {
		if err := o.offered(name); err != nil {
			return services.Operation{}, err
		}
	}
	op := services.Operation{Name: name, Retry: o.unknown, Reads: name == "list", New: func() services.Request {
		return &set{call: func(s set, c services.Attempt) (any, error) {
			o.mu.Lock()
			o.calls = append(o.calls, c)
			o.mu.Unlock()
			return o.call(s, c)
		}, find: o.find}
	}}
	if name != "set" && name != "list" {
		return op, &services.Error{Code: services.UnknownOp, Message: "no operation " + name}
	}
	return op, nil
}
func (o *office) Member(request json.RawMessage) (string, json.RawMessage, error) {
	return "lamp", request, nil
}

func (o *office) Graph() *graph.Client { return o.graph }
func (o *office) Zone() *time.Location { return time.UTC }
func (o *office) OnSuccess(context.Context, string, any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shown = append(o.shown, "succeeded")
}

func (o *office) OnRejected() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shown = append(o.shown, "failed")
}

// open starts the program: a desk over the journal on disk.
func (o *office) open(t *testing.T) {
	t.Helper()
	if o.disk == nil {
		o.disk = &disk{}
	}
	if o.call == nil {
		o.call = func(s set, _ services.Attempt) (any, error) { return map[string]any{"mode": s.Mode}, nil }
	}
	var err error
	if o.journal, err = services.OpenJournal(o.disk); err != nil {
		t.Fatal(err)
	}
	if o.graph, err = graph.New(graph.Options{Root: "https://graph.example", Transport: nobody{}, Tokens: tokens{}}); err != nil {
		t.Fatal(err)
	}
	o.desk = &services.Desk{
		Account: "home", Journal: o.journal, MaxAge: 15 * time.Minute, Queue: max(o.maxQueue, 1), Step: o.step, Log: slog.New(slog.DiscardHandler),
		Targets: func(sensor string) (services.Target, error) {
			if sensor != "lamp" {
				return nil, &services.Error{Code: services.UnknownSensor, Message: "no sensor " + sensor}
			}
			return o, nil
		},
		Publish: func(_ context.Context, topic string, payload []byte) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.away {
				return errors.New("not connected")
			}
			var r services.Response
			if err := json.Unmarshal(payload, &r); err != nil {
				return err
			}
			o.answers = append(o.answers, r)
			o.topics = append(o.topics, topic)
			return nil
		},
		Empty: func(topic string) { o.emptied = append(o.emptied, topic) },
		Ended: func(_ string, r services.Response) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.ended = append(o.ended, r.Status)
		},
	}
	o.desk.Open()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.desk.Run(ctx) })
	o.stop = func() { cancel(); running.Wait() }
	t.Cleanup(o.stop)
}

// delivery is a request to graph2mqtt/home/lamp/request/set.
func (o *office) delivery(payload string) services.Delivery {
	o.packetID++
	return services.Delivery{
		Topic: "graph2mqtt/home/lamp/request/set", Answer: "graph2mqtt/home/lamp/response/set", Account: "home", Sensor: "lamp", Operation: "set",
		Payload: []byte(payload), PacketID: o.packetID, Connection: 1, Received: time.Now(),
		Ack: func() { o.mu.Lock(); o.acked++; o.mu.Unlock() },
	}
}

func (o *office) code(i int) services.Code {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case i >= len(o.answers):
		return services.Code(fmt.Sprintf("%d answers", len(o.answers)))
	case o.answers[i].Error != nil:
		return o.answers[i].Error.Code
	}
	return services.Code(o.answers[i].Status)
}

func TestARequestIsCarriedOutAndAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{}
		o.open(t)
		d := o.delivery(`{"transaction": "abc", "mode": "ON"}`)
		o.desk.Receive(d)
		synctest.Wait()
		now := time.Now().UTC()
		want := []services.Response{{Transaction: "abc", Op: "set", Status: "ok", Data: map[string]any{"mode": "on"}, ReceivedAt: now, CompletedAt: now}}
		if diff := cmp.Diff(want, o.answers); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"graph2mqtt/home/lamp/response/set"}, o.topics); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"succeeded"}, o.shown); diff != "" {
			t.Error(diff)
		}
		if o.acked != 1 || len(o.calls) != 1 || len(o.ended) != 1 {
			t.Errorf("acknowledged %d times, called %d times, told of %d", o.acked, len(o.calls), len(o.ended))
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*services.Delivery)
		offered error
		code    services.Code
		message string
	}{
		{name: "not JSON", change: func(d *services.Delivery) { d.Payload = []byte("noon") }, code: "invalid_json", message: `want a JSON object, such as {}, not noon`},
		{name: "not an object", change: func(d *services.Delivery) { d.Payload = []byte("[]") }, code: "invalid_json", message: `want a JSON object, such as {}, not []`},
		{name: "repeated field", change: func(d *services.Delivery) { d.Payload = []byte(`{"mode": "on", "mode": "off"}`) }, code: "invalid_json", message: `key "mode" is given twice`},
		{name: "repeated field below", change: func(d *services.Delivery) { d.Payload = []byte(`{"mode": "on", "x": [{"a": 1, "a": 2}]}`) }, code: "invalid_json", message: `key "a" is given twice`},
		{name: "two objects", change: func(d *services.Delivery) { d.Payload = []byte(`{"mode": "on"} {}`) }, code: "invalid_json", message: `want a JSON object, such as {}, not {"mode": "on"} {}`},
		{name: "null", change: func(d *services.Delivery) { d.Payload = []byte("null") }, code: "invalid_json", message: `want a JSON object, such as {}, not null`},
		{name: "a long text", change: func(d *services.Delivery) { d.Payload = []byte(`"` + strings.Repeat("secret ", 9) + `"`) }, code: "invalid_json", message: `want a JSON object, such as {}, not a value of 65 characters`},
		{name: "a long value", change: func(d *services.Delivery) {
			d.Payload = []byte(`{"mode": "` + strings.Repeat("secret ", 9) + `"}`)
		}, code: "invalid_argument", message: `mode: want one of on, off, not text of 63 characters`},
		{name: "unknown value", change: func(d *services.Delivery) { d.Payload = []byte(`{"mode": "dim"}`) }, code: "invalid_argument", message: `mode: want one of on, off, not "dim"`},
		{name: "unknown field", change: func(d *services.Delivery) { d.Payload = []byte(`{"mode": "on", "nams": []}`) }, code: "invalid_argument", message: `nams: unknown field; did you mean names? known fields: mode, names`},
		{name: "missing field", change: func(d *services.Delivery) { d.Payload = []byte(`{}`) }, code: "invalid_argument", message: `mode is required`},
		{name: "several", change: func(d *services.Delivery) { d.Payload = []byte(`{"names": "x", "mode": 1}`) }, code: "invalid_argument", message: `mode: want one of on, off, not 1; names: want a list of text, not "x"`},
		{name: "transaction", change: func(d *services.Delivery) { d.Payload = []byte(`{"transaction": 1, "mode": "on"}`) }, code: "invalid_argument", message: `transaction: want text, not 1`},
		{name: "expires", change: func(d *services.Delivery) { d.Payload = []byte(`{"expires": "noon", "mode": "on"}`) }, code: "invalid_argument", message: `expires: want a time with zone, such as 2026-01-01T12:00:00Z, not "noon"`},
		{name: "expired", change: func(d *services.Delivery) {
			d.Payload = []byte(`{"expires": "1999-12-31T23:59:59Z", "mode": "on"}`)
		}, code: "expired", message: "expired at 1999-12-31T23:59:59Z"},
		{name: "waited", change: func(d *services.Delivery) { d.Waited = 20 * time.Minute }, code: "expired", message: "waited in the broker while graph2mqtt was away for 20m0s, longer than commands.max_age (15m0s)"},
		{name: "too large", change: func(d *services.Delivery) { d.Payload = make([]byte, 5<<20) }, code: "too_large", message: "5242880 bytes are more than the 4194304 that a request may have"},
		{name: "too large for an entity", change: func(d *services.Delivery) {
			d.Operation, d.Entity, d.Payload = "", "mode", make([]byte, 5<<20)
		}, code: "too_large", message: "5242880 bytes are more than the 4194304 that a request may have"},
		{name: "unknown sensor", change: func(d *services.Delivery) { d.Sensor = "lamb" }, code: "unknown_sensor", message: "no sensor lamb"},
		{name: "unknown operation", change: func(d *services.Delivery) { d.Operation = "dim" }, code: "unknown_op", message: "no operation dim"},
		{name: "unknown entity", change: func(d *services.Delivery) { d.Operation, d.Entity = "", "colour" }, code: "unknown_op", message: "no entity colour"},
		{name: "entity's value without fields", change: func(d *services.Delivery) { d.Operation, d.Entity, d.Payload = "", "mode", []byte("PRESS") }, code: "invalid_argument", message: "mode is required"},
		{name: "entity's value", change: func(d *services.Delivery) { d.Operation, d.Entity, d.Payload = "", "mode", []byte("dim") }, code: "invalid_argument", message: `mode: want one of on, off, not "dim"`},
		{name: "signed out", offered: &graph.Error{Reason: graph.SignInRequired, Message: "run: graph2mqtt login home"}, code: "sign_in_required", message: "run: graph2mqtt login home"},
		{name: "not granted before malformed", offered: &graph.Error{Reason: graph.PermissionMissing, Message: "not granted"}, change: func(d *services.Delivery) { d.Payload = []byte("noon") }, code: "permission_missing", message: "not granted"},
		{name: "retained", change: func(d *services.Delivery) { d.Retained = true }, code: "retained_refused", message: "a request must not be published as retained"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &office{offered: func(string) error { return test.offered }}
				o.open(t)
				d := o.delivery(`{"mode": "on"}`)
				if test.change != nil {
					test.change(&d)
				}
				o.desk.Receive(d)
				synctest.Wait()
				if len(o.answers) != 1 || o.answers[0].Status != "error" || len(o.calls) != 0 || o.acked != 1 {
					t.Fatalf("answers %+v, %d calls, acknowledged %d times", o.answers, len(o.calls), o.acked)
				}
				got := o.answers[0].Error
				if got.Code != test.code || got.Message != test.message {
					t.Errorf("got %s: %s\nwant %s: %s", got.Code, got.Message, test.code, test.message)
				}
				if d.Retained != (len(o.emptied) == 1) {
					t.Errorf("emptied %v", o.emptied)
				}
			})
		})
	}
}

func TestAnEmptyPayloadIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{}
		o.open(t)
		o.desk.Receive(o.delivery(""))
		synctest.Wait()
		if len(o.answers) != 0 || o.acked != 1 {
			t.Errorf("answers %v, acknowledged %d times", o.answers, o.acked)
		}
	})
}

func TestTheSameTransactionIsDoneOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{}
		o.open(t)
		o.desk.Receive(o.delivery(`{"transaction": "abc", "mode": "on"}`))
		synctest.Wait()
		o.desk.Receive(o.delivery(`{"transaction": "abc", "mode": "on"}`))
		synctest.Wait()
		o.stop()
		o.open(t) // it is known over a restart
		o.desk.Receive(o.delivery(`{"transaction": "abc", "mode": "on"}`))
		synctest.Wait()
		o.desk.Receive(o.delivery(`{"transaction": "abc", "mode": "off"}`))
		synctest.Wait()
		if len(o.calls) != 1 || len(o.answers) != 4 {
			t.Fatalf("%d calls, answers %+v", len(o.calls), o.answers)
		}
		for i, duplicate := range []bool{false, true, true} {
			if r := o.answers[i]; r.Duplicate != duplicate || r.Status != "ok" || r.Transaction != "abc" {
				t.Errorf("answer %d: %+v", i, r)
			}
		}
		if r := o.answers[3]; r.Error == nil || r.Error.Code != services.Conflict || r.Transaction != "abc" {
			t.Errorf("another request with the transaction: %+v", r)
		}
		time.Sleep(25 * time.Hour)
		o.desk.Receive(o.delivery(`{"transaction": "abc", "mode": "off"}`))
		synctest.Wait()
		if len(o.calls) != 2 {
			t.Errorf("%d calls, want the transaction to be free again after a day", len(o.calls))
		}
	})
}

// Whoever waits for the answer may ask again before the desk knows that the broker has it.
func TestTheSameTransactionWhileItIsAnswered(t *testing.T) {
	for _, step := range []string{"answering", "answered"} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, repeated := &office{}, false
				o.step = func(s string) {
					if s == step && !repeated {
						repeated = true
						o.desk.Receive(o.delivery(`{"transaction": "abc", "mode": "on"}`))
					}
				}
				o.open(t)
				o.desk.Receive(o.delivery(`{"transaction": "abc", "mode": "on"}`))
				synctest.Wait()
				if len(o.calls) != 1 || len(o.answers) != 2 || o.answers[0].Duplicate || !o.answers[1].Duplicate {
					t.Errorf("%d calls, answers %+v", len(o.calls), o.answers)
				}
				if o.acked != 2 {
					t.Errorf("acknowledged %d times", o.acked)
				}
			})
		})
	}
}

func TestRedeliveries(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*services.Delivery)
		forget bool
		calls  int
	}{
		{"delivered again", func(*services.Delivery) {}, false, 1},
		{"pressed again", func(d *services.Delivery) { d.Duplicate, d.PacketID = false, 2 }, false, 2},
		{"pressed again, and delivered again before we ever saw it", func(d *services.Delivery) { d.PacketID = 2 }, false, 2},
		{"another value on the packet id", func(d *services.Delivery) { d.Payload = []byte(`{"mode": "off"}`) }, false, 2},
		{"the same connection", func(d *services.Delivery) { d.Connection = 1 }, false, 2},
		{"a broker that lost its session", func(*services.Delivery) {}, true, 2},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					o := &office{}
					o.open(t)
					d := o.delivery(`{"mode": "on"}`)
					o.desk.Receive(d)
					synctest.Wait()
					if restart {
						o.stop()
						o.open(t)
					}
					if test.forget {
						if err := o.journal.Session(2); err != nil {
							t.Fatal(err)
						}
					}
					d.Duplicate, d.Connection = true, 2
					test.change(&d)
					o.desk.Receive(d)
					synctest.Wait()
					if len(o.calls) != test.calls || len(o.answers) != 2 || o.answers[1].Duplicate != (test.calls == 1) {
						t.Errorf("%d calls, want %d; answers %+v", len(o.calls), test.calls, o.answers)
					}
				})
			})
		}
	}
}

// Whatever step the program dies at, a request is done once and answered.
func TestACrashAtEveryStep(t *testing.T) {
	steps := []string{"delivered", "decoded", "journalled", "acknowledged", "started", "called", "recorded", "shown", "answering", "answered"}
	for _, step := range steps {
		for _, unknown := range []services.RetryPolicy{services.Idempotent, services.IdempotencyKey, services.AtMostOnce} {
			t.Run(fmt.Sprint(step, unknown), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					done := map[string]int{} // at Graph, by key
					o := &office{unknown: unknown}
					o.call = func(_ set, c services.Attempt) (any, error) { done[c.ID]++; return nil, nil }
					o.find = func(c services.Attempt) (any, bool, error) { return nil, done[c.ID] > 0, nil }
					var crash sync.Mutex
					crashed, restarted := false, false
					o.step = func(s string) {
						crash.Lock()
						defer crash.Unlock()
						if s == step && !crashed {
							crashed = true
							o.disk = o.disk.copy() // what is written from now on is lost
						}
						if crashed && !restarted {
							runtime.Goexit()
						}
					}
					o.open(t)
					d := o.delivery(`{"mode": "on"}`)
					receive := func(d services.Delivery) {
						over := make(chan struct{})
						go func() { defer close(over); o.desk.Receive(d) }()
						<-over
					}
					receive(d)
					synctest.Wait()
					o.stop()
					if !crashed {
						t.Fatalf("step %s was never reached", step)
					}
					acked := o.acked > 0
					restarted = true
					o.open(t)
					if !acked { // the broker delivers it again
						d.Duplicate, d.Connection = true, 2
						receive(d)
					}
					synctest.Wait()
					o.stop()
					if len(o.answers) == 0 {
						t.Fatal("never answered")
					}
					last := o.answers[len(o.answers)-1]
					if len(o.answers) > 1 && !last.Duplicate {
						t.Errorf("answered %d times, the last one not as a duplicate", len(o.answers))
					}
					if unknown == services.AtMostOnce {
						for id, n := range done {
							if n > 1 {
								t.Errorf("%s was done %d times", id, n)
							}
						}
						if step == "started" {
							if last.Error == nil || last.Error.Code != services.InDoubt {
								t.Errorf("answer %+v, want in_doubt", last)
							}
							return
						}
					}
					if len(done) != 1 || last.Status != "ok" {
						t.Errorf("done %v, answer %+v", done, last)
					}
				})
			})
		}
	}
}

func TestUnknownOutcomes(t *testing.T) {
	lost := &graph.Error{Reason: graph.Network, Message: "the connection broke", OutcomeUnknown: true}
	for _, test := range []struct {
		name    string
		unknown services.RetryPolicy
		errs    []error // of the calls
		find    func(services.Attempt) (any, bool, error)
		code    services.Code
		calls   int
		again   bool // the last call knows that it is not the first
	}{
		{"again", services.Idempotent, []error{lost}, nil, "ok", 2, true},
		{"again with key", services.IdempotencyKey, []error{lost, lost}, nil, "ok", 3, true},
		{"never sent", services.AtMostOnce, []error{&graph.Error{Reason: graph.Network, Message: "no route"}}, nil, "ok", 2, false},
		{"doubt, found", services.AtMostOnce, []error{lost}, func(services.Attempt) (any, bool, error) { return "it", true, nil }, "ok", 1, false},
		{"doubt, not found", services.AtMostOnce, []error{lost}, func(services.Attempt) (any, bool, error) { return nil, false, nil }, services.InDoubt, 1, false},
		{"doubt, cannot look", services.AtMostOnce, []error{lost}, func(services.Attempt) (any, bool, error) { return nil, false, errors.New("no permission") }, services.InDoubt, 1, false},
		{"refused", services.Idempotent, []error{&graph.Error{Reason: graph.NotFound, Status: 404}}, nil, "not_found", 1, false},
		{"throttled", services.Idempotent, []error{&graph.Error{Reason: graph.Throttled, Status: 429, RetryAfter: 20 * time.Second}}, nil, "ok", 2, false},
		{"throttled for long", services.Idempotent, []error{&graph.Error{Reason: graph.Throttled, Status: 429, RetryAfter: time.Hour}}, nil, "throttled", 1, false},
		{"away for long", services.Idempotent, slices.Repeat([]error{&graph.Error{Reason: graph.Timeout}}, 99), nil, "timeout", -1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &office{unknown: test.unknown, find: test.find}
				o.call = func(set, services.Attempt) (any, error) {
					if n := len(o.calls) - 1; n < len(test.errs) {
						return nil, test.errs[n]
					}
					return nil, nil
				}
				o.open(t)
				o.desk.Receive(o.delivery(`{"mode": "on"}`))
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if o.code(0) != test.code || len(o.answers) != 1 || test.calls >= 0 && len(o.calls) != test.calls {
					t.Errorf("answered %+v after %d calls, want %s after %d", o.answers, len(o.calls), test.code, test.calls)
				}
				if last := o.calls[len(o.calls)-1]; last.Repeated != test.again || last.ID != o.calls[0].ID {
					t.Errorf("last call %+v", last)
				}
			})
		})
	}
}

func TestAnswersWaitForTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{away: true}
		o.open(t)
		o.desk.Receive(o.delivery(`{"mode": "on"}`))
		time.Sleep(time.Minute)
		o.stop()
		o.away = false
		o.open(t)
		synctest.Wait()
		if o.code(0) != "ok" || len(o.calls) != 1 {
			t.Errorf("answers %+v after %d calls", o.answers, len(o.calls))
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{maxQueue: 2}
		o.call = func(set, services.Attempt) (any, error) { time.Sleep(time.Second); return nil, nil }
		o.open(t)
		for range 4 {
			o.desk.Receive(o.delivery(`{"mode": "on"}`))
		}
		time.Sleep(time.Minute)
		var codes []services.Code
		for i := range 4 {
			codes = append(codes, o.code(i))
		}
		slices.Sort(codes)
		if diff := cmp.Diff([]services.Code{"ok", "ok", "overloaded", "overloaded"}, codes); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFullDiskLeavesTheRequestWithTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{disk: &disk{full: true}}
		o.open(t)
		o.desk.Receive(o.delivery(`{"mode": "on"}`))
		synctest.Wait()
		if o.acked != 0 || len(o.calls) != 0 {
			t.Errorf("acknowledged %d times, called %d times", o.acked, len(o.calls))
		}
	})
}

// What could not be written down is not done again for that.
func TestADiskThatFillsUpMeanwhile(t *testing.T) {
	for _, test := range []struct {
		step    string // at which the disk is full
		unknown services.RetryPolicy
		code    services.Code
		calls   int
	}{
		{"acknowledged", services.Idempotent, "ok", 1},
		{"acknowledged", services.AtMostOnce, services.Internal, 0},
		{"called", services.AtMostOnce, "ok", 1},
		{"answering", services.AtMostOnce, "ok", 1},
	} {
		t.Run(fmt.Sprint(test.step, test.unknown), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &office{unknown: test.unknown}
				o.step = func(s string) {
					if s == test.step {
						o.disk.fill(true)
					}
				}
				o.open(t)
				o.desk.Receive(o.delivery(`{"transaction": "1", "mode": "on"}`))
				time.Sleep(time.Minute)
				if o.code(0) != test.code || len(o.answers) != 1 || len(o.calls) != test.calls {
					t.Errorf("%d calls, answers %+v", len(o.calls), o.answers)
				}
				o.step = nil
				o.disk.fill(false)
				time.Sleep(time.Minute)
				o.stop()
				o.open(t)
				time.Sleep(time.Minute)
				if len(o.calls) != test.calls || len(o.answers) != 1 {
					t.Errorf("after a restart %d calls, answers %+v", len(o.calls), o.answers)
				}
			})
		})
	}
}

func TestWhatWaitedInTheJournalForTooLongIsExpired(t *testing.T) {
	for _, test := range []struct {
		payload, message string
		away             time.Duration
	}{
		{`{"mode": "on"}`, "", 14 * time.Minute},
		{`{"mode": "on"}`, "waited for 16m0s, longer than commands.max_age (15m0s)", 16 * time.Minute},
		{`{"mode": "on", "expires": "2000-01-01T00:01:00Z"}`, "expired at 2000-01-01T00:01:00Z", 2 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := &office{}
			o.open(t)
			o.stop()
			o.desk.Receive(o.delivery(test.payload))
			time.Sleep(test.away)
			o.open(t)
			synctest.Wait()
			if len(o.answers) != 1 {
				t.Fatalf("answers %+v", o.answers)
			}
			got := ""
			if e := o.answers[0].Error; e != nil {
				got = e.Message
			}
			if got != test.message || (len(o.calls) == 0) != (test.message != "") {
				t.Errorf("%d calls, answer %q, want %q", len(o.calls), got, test.message)
			}
		})
	}
}

// The broker does not take answers while one of its messages is handled.
func TestTooManyReadingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{maxQueue: 2}
		o.call = func(set, services.Attempt) (any, error) { time.Sleep(time.Second); return nil, nil }
		o.open(t)
		received := make(chan struct{})
		publish := o.desk.Publish
		o.desk.Publish = func(ctx context.Context, topic string, payload []byte) error {
			<-received
			return publish(ctx, topic, payload)
		}
		for range 4 {
			d := o.delivery(`{"mode": "on"}`)
			d.Operation = "list"
			o.desk.Receive(d)
			synctest.Wait()
		}
		close(received)
		time.Sleep(time.Minute)
		var codes []services.Code
		for i := range 4 {
			codes = append(codes, o.code(i))
		}
		slices.Sort(codes)
		if diff := cmp.Diff([]services.Code{"ok", "ok", "ok", "overloaded"}, codes); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReadingRequestsAreAnsweredAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{maxQueue: 5}
		o.call = func(set, services.Attempt) (any, error) { time.Sleep(time.Second); return nil, nil }
		o.open(t)
		list := func() {
			d := o.delivery(`{"mode": "on"}`)
			d.Operation = "list"
			o.desk.Receive(d)
			synctest.Wait()
		}
		list()
		list()
		o.stop()
		if o.code(0) != "ok" || o.code(1) != services.ShuttingDown {
			t.Errorf("answers %+v", o.answers)
		}
		list() // a reload may be under way: the next desk answers
		o.open(t)
		synctest.Wait()
		if o.code(2) != services.ShuttingDown {
			t.Errorf("answers %+v", o.answers)
		}
	})
}

func TestReadingIsNotJournalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{}
		o.open(t)
		d := o.delivery(`{"mode": "on"}`)
		d.Operation = "list"
		o.desk.Receive(d)
		synctest.Wait()
		if o.code(0) != "ok" || len(o.disk.values) != 0 || o.acked != 1 {
			t.Errorf("answers %+v, on disk %d", o.answers, len(o.disk.values))
		}
	})
}

func TestAPanicIsTheRequestsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{call: func(set, services.Attempt) (any, error) { panic("an answer that nobody expected") }}
		o.open(t)
		o.desk.Receive(o.delivery(`{"mode": "on"}`))
		synctest.Wait()
		if o.code(0) != services.Internal || o.answers[0].Error.Message != "panic: an answer that nobody expected" || !slices.Equal(o.shown, []string{"failed"}) {
			t.Errorf("answers %+v, shown %v", o.answers, o.shown)
		}
	})
}

func TestAPanicWhileLookingOrDecodingIsTheRequestsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{unknown: services.AtMostOnce}
		o.call = func(set, services.Attempt) (any, error) {
			return nil, &graph.Error{Reason: graph.Network, OutcomeUnknown: true}
		}
		o.find = func(services.Attempt) (any, bool, error) { panic("nothing to look for") }
		o.open(t)
		o.desk.Receive(o.delivery(`{"mode": "on"}`))
		synctest.Wait()
		o.offered = func(string) error { panic("an operation that nobody expected") }
		o.desk.Receive(o.delivery(`{"mode": "on"}`))
		synctest.Wait()
		if o.code(0) != services.InDoubt || o.code(1) != services.Internal || o.acked != 2 {
			t.Errorf("answers %+v, acknowledged %d times", o.answers, o.acked)
		}
	})
}

func TestASpoiltEntryLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &office{away: true}
		o.open(t)
		o.desk.Receive(o.delivery(`{"mode": "on"}`))
		synctest.Wait()
		o.stop()
		if err := o.disk.Put("00000000", []byte("{")); err != nil {
			t.Fatal(err)
		}
		journal, err := services.OpenJournal(o.disk)
		if journal == nil || err == nil || !strings.HasPrefix(err.Error(), "read the journal: entry 00000000: ") {
			t.Fatalf("opened with %v", err)
		}
		if err := o.disk.Delete("00000000"); err != nil {
			t.Fatal(err)
		}
		o.away = false
		o.open(t)
		synctest.Wait()
		if o.code(0) != "ok" {
			t.Errorf("answers %+v", o.answers)
		}
	})
}
