package services_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// disk is a Store in memory that outlives its dispatcher.
type disk struct {
	mu      sync.Mutex
	values  map[string][]byte
	lazy    []func(map[string][]byte)
	queue   []commit
	active  bool
	full    bool
	delay   time.Duration // of a transaction
	commits int           // transactions
}

type commit struct {
	changes changes
	done    func(error)
}

type changes []func(map[string][]byte)

func (c *changes) Put(bucket, key string, value []byte) {
	value = slices.Clone(value)
	*c = append(*c, func(m map[string][]byte) { m[bucket+"/"+key] = value })
}

func (c *changes) Delete(bucket, key string) {
	*c = append(*c, func(m map[string][]byte) { delete(m, bucket+"/"+key) })
}

func (d *disk) Commit(write func(services.Tx), done func(error)) {
	var c changes
	write(&c)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = append(d.queue, commit{c, done})
	if !d.active {
		d.active = true
		go d.write()
	}
}

func (d *disk) CommitLazily(write func(services.Tx)) {
	var c changes
	write(&c)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lazy = append(d.lazy, c...)
}

// write writes the queued changes in transactions.
func (d *disk) write() {
	for {
		d.mu.Lock()
		batch := d.queue
		d.queue = nil
		if len(batch) == 0 {
			d.active = false
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		time.Sleep(d.delay)
		d.mu.Lock()
		d.commits++
		var err error
		if d.full {
			err = errors.New("no space left on device")
		} else {
			for _, c := range batch {
				d.apply(c.changes)
			}
			d.apply(d.lazy)
			d.lazy = nil
		}
		d.mu.Unlock()
		for _, c := range batch {
			if c.done != nil {
				c.done(err)
			}
		}
	}
}

func (d *disk) apply(c changes) {
	if d.values == nil {
		d.values = map[string][]byte{}
	}
	for _, f := range c {
		f(d.values)
	}
}

// flush writes the lazy changes, as closing a database does.
func (d *disk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.apply(d.lazy)
	d.lazy = nil
}

func (d *disk) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// copy returns what is on disk.
func (d *disk) copy() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &disk{values: maps.Clone(d.values)}
}

// entries returns what the journal has on disk, without its clock.
func (d *disk) entries() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for key, value := range d.values {
		if key != "journal/clock" {
			all = append(all, key+" "+string(value))
		}
	}
	return all
}

func (d *disk) each(f func(string, []byte) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(d.values)) {
		if key, ok := strings.CutPrefix(key, services.JournalBucket+"/"); ok {
			if err := f(key, d.values[services.JournalBucket+"/"+key]); err != nil {
				return err
			}
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

// A dispatcherHarness is a dispatcher with sensors of which "lamp" is one, whose operations are set and list, and what was seen of it.
type dispatcherHarness struct {
	disk     *disk
	retry    services.RetryPolicy
	call     func(set, services.Attempt) (any, error)
	find     func(services.Attempt) (any, bool, error)
	offered  func(name string) error
	request  func() services.Request // instead of set
	persist  func(services.Tx)
	step     func(string)
	guard    services.Guard
	away     bool          // the broker
	hold     chan struct{} // no response is taken before it is closed
	maxQueue int
	sensors  []string // "lamp"
	user     string   // id of who is signed in
	log      strings.Builder

	mu         sync.Mutex
	dispatcher *services.Dispatcher
	journal    *services.Journal
	calls      []services.Attempt
	answers    []services.Response
	topics     []string
	shown      []string
	acked      int
	stop       func()
	graph      *graph.Client
	completed  []string
	counted    []string // of all responses: "operation code"

	replacement *dispatcherHarness // of the lamp, by a new configuration
}

func (h *dispatcherHarness) Parse(entity, value string) (string, map[string]json.RawMessage, error) {
	if entity != "mode" {
		return "", nil, &services.Error{Code: services.UnknownOp, Message: "no entity " + entity}
	}
	switch value {
	case "PRESS":
		return "list", nil, nil
	case "":
		return "", nil, services.ErrEmptyValue
	}
	raw, err := json.Marshal(value)
	return "set", map[string]json.RawMessage{"mode": raw}, err
}

func (h *dispatcherHarness) Operation(name string) (services.Operation, error) {
	if h.offered != nil {
		if err := h.offered(name); err != nil {
			return services.Operation{}, err
		}
	}
	op := services.Operation{Name: name, Retry: h.retry, Reads: name == "list", Immediate: name == "ping" || name == "forget", OwnerOnly: name == "forget", New: func() services.Request {
		return &set{call: func(s set, a services.Attempt) (any, error) {
			h.mu.Lock()
			h.calls = append(h.calls, a)
			h.mu.Unlock()
			return h.call(s, a)
		}, find: h.find}
	}}
	if h.request != nil {
		op.New = h.request
	}
	if name != "set" && name != "list" && name != "ping" && name != "forget" {
		return op, &services.Error{Code: services.UnknownOp, Message: "no operation " + name}
	}
	return op, nil
}

// Resolve takes a field member for the name of the sensor.
func (h *dispatcherHarness) Resolve(_ context.Context, fields map[string]json.RawMessage) (services.Ref, services.Target, error) {
	sensor := "lamp"
	if raw, ok := fields["member"]; ok {
		if err := json.Unmarshal(raw, &sensor); err != nil {
			return services.Ref{}, nil, err
		}
		delete(fields, "member")
	}
	return services.Ref{Account: "home", Sensor: sensor}, h, nil
}

func (h *dispatcherHarness) Graph() *graph.Client { return h.graph }
func (h *dispatcherHarness) User() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.user
}

func (h *dispatcherHarness) Location() *time.Location { return time.UTC }
func (h *dispatcherHarness) OnSuccess(context.Context, string, any) func(services.Tx) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown = append(h.shown, "succeeded")
	return h.persist
}

func (h *dispatcherHarness) OnRejected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shown = append(h.shown, "failed")
}

// resolver returns the target of any account.
type resolver struct{ *dispatcherHarness }

func (r resolver) Resolve(ref services.Ref) (services.Target, error) {
	h := r.dispatcherHarness
	h.mu.Lock()
	defer h.mu.Unlock()
	if ref.Sensor != "" && ref.Sensor != "lamp" && !slices.Contains(h.sensors, ref.Sensor) {
		return nil, &services.Error{Code: services.UnknownSensor, Message: "no sensor " + ref.Sensor}
	}
	if ref.Account != "home" {
		return accountTarget{h, ref}, nil
	}
	if h.replacement != nil {
		return h.replacement, nil
	}
	return h, nil
}

// An accountTarget is a sensor of another account, or an account.
type accountTarget struct {
	*dispatcherHarness
	ref services.Ref
}

func (t accountTarget) Resolve(context.Context, map[string]json.RawMessage) (services.Ref, services.Target, error) {
	return t.ref, t, nil
}

// Reply sends a response as a transport would.
func (h *dispatcherHarness) Reply(_ context.Context, to string, r services.Response) error {
	if h.hold != nil {
		<-h.hold
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.away {
		return errors.New("not connected")
	}
	var decoded services.Response
	if err := json.Unmarshal(r.Encode(), &decoded); err != nil {
		return err
	}
	h.answers = append(h.answers, decoded)
	h.topics = append(h.topics, to)
	return nil
}

// open starts the program: a dispatcher over the journal on disk.
func (h *dispatcherHarness) open(t *testing.T) {
	t.Helper()
	h.prepare(t)
	h.run(t)
}

// prepare makes a dispatcher that does not run yet.
func (h *dispatcherHarness) prepare(t *testing.T) {
	t.Helper()
	if h.disk == nil {
		h.disk = &disk{}
	}
	if h.call == nil {
		h.call = func(s set, _ services.Attempt) (any, error) { return map[string]any{"mode": s.Mode}, nil }
	}
	log := slog.New(slog.NewTextHandler(&lockedWriter{h: h}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	var err error
	if h.journal, err = services.OpenJournal(h.disk, h.disk.each, log); err != nil {
		t.Fatal(err)
	}
	if h.graph, err = graph.New(graph.Options{Root: "https://graph.example", Transport: graphtest.Unreachable{}, Tokens: graphtest.Tokens{Scopes: []string{"User.Read"}}}); err != nil {
		t.Fatal(err)
	}
	h.dispatcher = services.NewDispatcher(services.DispatcherOptions{
		Journal: h.journal, MaxAge: 15 * time.Minute, Queue: max(h.maxQueue, 1), Log: log, Resolver: resolver{h}, OnStep: h.step, Guard: h.guard,
		OnCompleted: func(_ services.Ref, r services.Response) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.completed = append(h.completed, r.Status)
		},
		OnResponse: func(target services.Ref, operation string, r services.Response) {
			h.mu.Lock()
			defer h.mu.Unlock()
			code := r.Status
			if r.Error != nil {
				code = string(r.Error.Code)
			}
			h.counted = append(h.counted, target.Account+" "+operation+" "+code)
		},
	})
	h.dispatcher.Register("mqtt", h)
}

// run runs the dispatcher until stop is called.
func (h *dispatcherHarness) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.dispatcher.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	h.stop = func() { cancel(); running.Wait(); h.disk.flush() }
	t.Cleanup(h.stop)
}

// A lockedWriter records the log.
type lockedWriter struct{ h *dispatcherHarness }

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.h.mu.Lock()
	defer w.h.mu.Unlock()
	return w.h.log.Write(p)
}

// logged returns the log.
func (h *dispatcherHarness) logged() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// inbound is a request to set of the lamp.
func (h *dispatcherHarness) inbound(payload string) services.Inbound {
	return services.Inbound{
		Target: services.Ref{Account: "home", Sensor: "lamp"}, Operation: "set", ReplyTo: "mqtt:graph2mqtt/home/lamp/response/set",
		Payload: []byte(payload), Received: time.Now(),
		Accepted: func(err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if err == nil {
				h.acked++
			}
		},
	}
}

// sleep lets time pass and waits until everything that was due is done.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// list is a request to list of the lamp, which changes nothing.
func (h *dispatcherHarness) list() services.Inbound {
	r := h.inbound(`{"mode": "on"}`)
	r.Operation = "list"
	return r
}

func (h *dispatcherHarness) submit(payload string) { h.dispatcher.Submit(h.inbound(payload)) }

func (h *dispatcherHarness) code(i int) services.Code {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case i >= len(h.answers):
		return services.Code(fmt.Sprintf("%d answers", len(h.answers)))
	case h.answers[i].Error != nil:
		return h.answers[i].Error.Code
	}
	return services.Code(h.answers[i].Status)
}

func TestARequestIsExecutedAndAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		h.submit(`{"transaction": "abc", "mode": "ON"}`)
		synctest.Wait()
		now := time.Now().UTC()
		want := []services.Response{{Transaction: "abc", Op: "set", Status: "ok", Data: map[string]any{"mode": "on"}, ReceivedAt: now, CompletedAt: now}}
		if diff := cmp.Diff(want, h.answers); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"graph2mqtt/home/lamp/response/set"}, h.topics); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"succeeded"}, h.shown); diff != "" {
			t.Error(diff)
		}
		if h.acked != 1 || len(h.calls) != 1 || len(h.completed) != 1 {
			t.Errorf("acknowledged %d times, called %d times, completed %d", h.acked, len(h.calls), len(h.completed))
		}
	})
}

// Every response is reported once, with the operation only if there is one.
func TestResponsesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		proceed := make(chan struct{})
		h := &dispatcherHarness{maxQueue: 10, call: func(s set, _ services.Attempt) (any, error) {
			<-proceed
			return nil, nil
		}}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		h.dispatcher.Submit(h.list())
		ping := h.list()
		ping.Operation, ping.Target = "ping", services.Ref{Account: "home"}
		h.dispatcher.Submit(ping)
		synctest.Wait()
		if diff := cmp.Diff(map[string]int{"home": 3}, h.dispatcher.Waiting()); diff != "" {
			t.Errorf("waiting: %s", diff)
		}
		h.submit(`{"mode": "dim"}`)
		unknown := h.inbound(`{}`)
		unknown.Refused = &services.Error{Code: services.RetainedRefused, Message: "retained"}
		unknown.Operation = "any text"
		h.dispatcher.Submit(unknown)
		synctest.Wait()
		close(proceed)
		synctest.Wait()
		slices.Sort(h.counted)
		want := []string{"home  retained_refused", "home list ok", "home ping ok", "home set invalid_argument", "home set ok"}
		if diff := cmp.Diff(want, h.counted); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[string]int{"home": 0}, h.dispatcher.Waiting()); diff != "" {
			t.Errorf("waiting: %s", diff)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name    string
		change  func(*services.Inbound)
		offered error
		code    services.Code
		message string
	}{
		{name: "not JSON", change: func(d *services.Inbound) { d.Payload = []byte("noon") }, code: "invalid_json", message: `want a JSON object, such as {}, not noon`},
		{name: "not an object", change: func(d *services.Inbound) { d.Payload = []byte("[]") }, code: "invalid_json", message: `want a JSON object, such as {}, not []`},
		{name: "null", change: func(d *services.Inbound) { d.Payload = []byte("null") }, code: "invalid_json", message: `want a JSON object, such as {}, not null`},
		{name: "a long text", change: func(d *services.Inbound) { d.Payload = []byte(`"` + strings.Repeat("secret ", 9) + `"`) }, code: "invalid_json", message: `want a JSON object, such as {}, not a value of 65 characters`},
		{name: "a long value", change: func(d *services.Inbound) {
			d.Payload = []byte(`{"mode": "` + strings.Repeat("secret ", 9) + `"}`)
		}, code: "invalid_argument", message: `mode: want one of on, off, not text of 63 characters`},
		{name: "unknown value", change: func(d *services.Inbound) { d.Payload = []byte(`{"mode": "dim"}`) }, code: "invalid_argument", message: `mode: want one of on, off, not "dim"`},
		{name: "unknown field", change: func(d *services.Inbound) { d.Payload = []byte(`{"mode": "on", "nams": []}`) }, code: "invalid_argument", message: `nams: unknown field; did you mean names? known fields: expires, mode, names, transaction`},
		{name: "unknown transaction", change: func(d *services.Inbound) { d.Payload = []byte(`{"mode": "on", "transacton": "1"}`) }, code: "invalid_argument", message: `transacton: unknown field; did you mean transaction? known fields: expires, mode, names, transaction`},
		{name: "missing field", change: func(d *services.Inbound) { d.Payload = []byte(`{}`) }, code: "invalid_argument", message: `mode is required`},
		{name: "several", change: func(d *services.Inbound) { d.Payload = []byte(`{"names": "x", "mode": 1}`) }, code: "invalid_argument", message: `mode: want one of on, off, not 1; names: want a list of text, not "x"`},
		{name: "transaction", change: func(d *services.Inbound) { d.Payload = []byte(`{"transaction": 1, "mode": "on"}`) }, code: "invalid_argument", message: `transaction: want text, not 1`},
		{name: "expires", change: func(d *services.Inbound) { d.Payload = []byte(`{"expires": "noon", "mode": "on"}`) }, code: "invalid_argument", message: `expires: want a time with zone, such as 2026-01-01T12:00:00Z, not "noon"`},
		{name: "expired", change: func(d *services.Inbound) {
			d.Payload = []byte(`{"expires": "1999-12-31T23:59:59Z", "mode": "on"}`)
		}, code: "expired", message: "expired at 1999-12-31T23:59:59Z"},
		{name: "waited", change: func(d *services.Inbound) { d.Age = 20 * time.Minute }, code: "expired", message: "waited for up to 20m0s before it arrived, longer than commands.max_age (15m0s)"},
		{name: "too large", change: func(d *services.Inbound) { d.Payload = make([]byte, 5<<20) }, code: "too_large", message: "5242880 bytes are more than the 4194304 that a request may have"},
		{name: "too large for an entity", change: func(d *services.Inbound) {
			d.Operation, d.Entity, d.Payload = "", "mode", make([]byte, 5<<20)
		}, code: "too_large", message: "5242880 bytes are more than the 4194304 that a request may have"},
		{name: "unknown sensor", change: func(d *services.Inbound) { d.Target.Sensor = "lamb" }, code: "unknown_sensor", message: "no sensor lamb"},
		{name: "unknown operation", change: func(d *services.Inbound) { d.Operation = "dim" }, code: "unknown_op", message: "no operation dim"},
		{name: "unknown entity", change: func(d *services.Inbound) { d.Operation, d.Entity = "", "colour" }, code: "unknown_op", message: "no entity colour"},
		{name: "entity's value without fields", change: func(d *services.Inbound) { d.Operation, d.Entity, d.Payload = "", "mode", []byte("PRESS") }, code: "invalid_argument", message: "mode is required"},
		{name: "entity's value", change: func(d *services.Inbound) { d.Operation, d.Entity, d.Payload = "", "mode", []byte("dim") }, code: "invalid_argument", message: `mode: want one of on, off, not "dim"`},
		{name: "signed out", offered: &graph.Error{Reason: graph.SignInRequired, Message: "run: graph2mqtt login home"}, code: "sign_in_required", message: "run: graph2mqtt login home"},
		{name: "not granted before malformed", offered: &graph.Error{Reason: graph.PermissionMissing, Message: "not granted"}, change: func(d *services.Inbound) { d.Payload = []byte("noon") }, code: "permission_missing", message: "not granted"},
		{name: "retained", change: func(d *services.Inbound) {
			d.Refused = &services.Error{Code: services.RetainedRefused, Message: "a request must not be published as retained"}
		}, code: "retained_refused", message: "a request must not be published as retained"},
		{name: "received long ago", change: func(d *services.Inbound) { d.Received = d.Received.Add(-20 * time.Minute) }, code: "expired", message: "waited for 20m0s, longer than commands.max_age (15m0s)"},
		{name: "an age that is not known", change: func(d *services.Inbound) { d.Age = math.MaxInt64 }, code: "expired", message: "waited before it arrived, for a time that is not known and may be longer than commands.max_age (15m0s)"},
		{name: "a long transaction", change: func(d *services.Inbound) {
			d.Payload = []byte(`{"mode": "on", "transaction": "` + strings.Repeat("x", 257) + `"}`)
		}, code: "invalid_argument", message: "transaction: want at most 256 bytes, not 257"},
		{name: "a long name", change: func(d *services.Inbound) { d.Operation = strings.Repeat("ä", 65) }, code: "unknown_op", message: "want a name of one level and at most 64 characters"},
		{name: "a name with levels", change: func(d *services.Inbound) { d.Operation, d.Entity = "", "a/b" }, code: "unknown_op", message: "want a name of one level and at most 64 characters"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &dispatcherHarness{offered: func(string) error { return test.offered }}
				h.open(t)
				d := h.inbound(`{"mode": "on"}`)
				if test.change != nil {
					test.change(&d)
				}
				h.dispatcher.Submit(d)
				synctest.Wait()
				if len(h.answers) != 1 || h.answers[0].Status != "error" || len(h.calls) != 0 || h.acked != 1 {
					t.Fatalf("answers %+v, %d calls, acknowledged %d times", h.answers, len(h.calls), h.acked)
				}
				got := h.answers[0].Error
				if got.Code != test.code || got.Message != test.message {
					t.Errorf("got %s: %s\nwant %s: %s", got.Code, got.Message, test.code, test.message)
				}
				if entries := h.disk.entries(); len(entries) > 0 {
					t.Errorf("on disk: %v", entries)
				}
				want := 1
				if d.Refused != nil { // reported by the transport
					want = 0
				}
				if n := strings.Count(h.logged(), "\n"); n != want || len(h.completed) != want {
					t.Errorf("completed %v, logged %d lines: %s", h.completed, n, h.logged())
				}
			})
		})
	}
}

// A script that sends bad requests in a loop gets all its answers, but fills no log.
func TestTheSameRejectionIsLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		const first = `level=WARN msg="request rejected" account=home sensor=lamp operation=set code=invalid_argument error="mode: want one of on, off, not \"dim\""`
		const further = `level=WARN msg="further requests rejected" account=home sensor=lamp operation=set code=invalid_argument count=`
		read := 0
		wantLogged := func(want ...string) {
			t.Helper()
			lines := strings.Split(strings.TrimSuffix(h.logged()[read:], "\n"), "\n")
			if lines[0] == "" {
				lines = nil
			}
			read = len(h.logged())
			if diff := cmp.Diff(want, lines); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		}
		for range 180 {
			h.submit(`{"mode": "dim"}`)
			sleep(time.Second)
		}
		wantLogged(first, further+"59", further+"60", further+"60")
		h.submit(`[]`) // another code
		sleep(time.Second)
		wantLogged(`level=WARN msg="request rejected" account=home sensor=lamp operation=set code=invalid_json error="want a JSON object, such as {}, not []"`)
		sleep(time.Hour)
		wantLogged()
		h.submit(`{"mode": "dim"}`)
		h.submit(`{"mode": "dim"}`)
		synctest.Wait()
		wantLogged(first)
		if len(h.answers) != 183 || len(h.completed) != 183 {
			t.Errorf("%d answers, %d completed, want 183", len(h.answers), len(h.completed))
		}

		// Names can be invented.
		for i := range 1000 {
			r := h.inbound("{}")
			r.Operation = fmt.Sprint("operation", i)
			h.dispatcher.Submit(r)
		}
		synctest.Wait()
		if n := strings.Count(h.logged()[read:], "\n"); n != 99 {
			t.Errorf("%d lines about invented names, want 99", n)
		}
		read = len(h.logged())
		h.stop()
		got := strings.Split(strings.TrimSuffix(h.logged()[read:], "\n"), "\n")
		slices.Sort(got)
		want := []string{further + "1", `level=WARN msg="further requests rejected" count=901`}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("log at the end (-want +got):\n%s", diff)
		}
	})
}

// While responses are not sent, rejected requests are accepted early rather than kept without a bound.
func TestLargeRejectionsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{hold: make(chan struct{})}
		h.open(t)
		large := `{"mode": "on", "transaction": "` + strings.Repeat("x", 3_900_000) + `"}`
		h.submit(`{"mode": "dim"}`)
		for range 20 {
			h.submit(large)
		}
		synctest.Wait()
		h.mu.Lock()
		acked := h.acked
		h.mu.Unlock()
		if acked != 17 { // four large ones are less than 16 MiB
			t.Errorf("%d accepted before any was answered, want 17", acked)
		}
		close(h.hold)
		synctest.Wait()
		if h.acked != 21 || len(h.answers) != 21 {
			t.Errorf("%d accepted, %d answered, want 21", h.acked, len(h.answers))
		}
	})
}

func TestAnEmptyValueIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		r := h.inbound("")
		r.Operation, r.Entity = "", "mode"
		h.dispatcher.Submit(r)
		synctest.Wait()
		if len(h.answers) != 0 || h.acked != 1 {
			t.Errorf("answers %v, acknowledged %d times", h.answers, h.acked)
		}
	})
}

func TestTheSameTransactionIsExecutedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		h.submit(`{"transaction": "abc", "mode": "on"}`)
		synctest.Wait()
		h.submit(`{"transaction": "abc", "mode": "on"}`)
		synctest.Wait()
		h.stop()
		h.open(t) // it is known over a restart
		h.submit(`{"transaction": "abc", "mode": "on"}`)
		synctest.Wait()
		h.submit(`{"transaction": "abc", "mode": "off"}`)
		synctest.Wait()
		if len(h.calls) != 1 || len(h.answers) != 4 {
			t.Fatalf("%d calls, answers %+v", len(h.calls), h.answers)
		}
		for i, duplicate := range []bool{false, true, true} {
			if r := h.answers[i]; r.Duplicate != duplicate || r.Status != "ok" || r.Transaction != "abc" {
				t.Errorf("answer %d: %+v", i, r)
			}
		}
		if r := h.answers[3]; r.Error == nil || r.Error.Code != services.Conflict || r.Transaction != "abc" {
			t.Errorf("another request with the transaction: %+v", r)
		}
		sleep(25 * time.Hour)
		h.submit(`{"transaction": "abc", "mode": "off"}`)
		synctest.Wait()
		if len(h.calls) != 2 {
			t.Errorf("%d calls, want the transaction to be free again after a day", len(h.calls))
		}
	})
}

// A client may send the request again before the dispatcher knows that the response was delivered.
func TestTheSameTransactionWhileItIsAnswered(t *testing.T) {
	for _, step := range []string{"answering", "answered"} {
		t.Run(step, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, repeated := &dispatcherHarness{}, false
				h.step = func(s string) {
					if s == step && !repeated {
						repeated = true
						h.submit(`{"transaction": "abc", "mode": "on"}`)
					}
				}
				h.open(t)
				h.submit(`{"transaction": "abc", "mode": "on"}`)
				synctest.Wait()
				if len(h.calls) != 1 || len(h.answers) != 2 || h.answers[0].Duplicate || !h.answers[1].Duplicate {
					t.Errorf("%d calls, answers %+v", len(h.calls), h.answers)
				}
				if h.acked != 2 {
					t.Errorf("acknowledged %d times", h.acked)
				}
			})
		})
	}
}

func TestRedeliveries(t *testing.T) {
	for _, test := range []struct {
		name   string
		origin string
		forget bool
		calls  int
	}{
		{"delivered again", "1/1", false, 1},
		{"another delivery", "1/2", false, 2},
		{"without an origin", "", false, 2},
		{"an origin that was released", "1/1", true, 2},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprint(test.name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := &dispatcherHarness{}
					h.open(t)
					r := h.inbound(`{"mode": "on"}`)
					r.Origin = "1/1"
					h.dispatcher.Submit(r)
					synctest.Wait()
					if diff := cmp.Diff([]string{"1/1"}, h.journal.Origins()); diff != "" {
						t.Error(diff)
					}
					if test.forget {
						h.journal.Release("1/1")
					}
					if restart {
						h.stop()
						h.open(t)
					}
					r.Origin = test.origin
					h.dispatcher.Submit(r)
					synctest.Wait()
					if len(h.calls) != test.calls || len(h.answers) != 2 || h.answers[1].Duplicate != (test.calls == 1) {
						t.Errorf("%d calls, want %d; answers %+v", len(h.calls), test.calls, h.answers)
					}
				})
			})
		}
	}
}

// A request is executed once and answered, whichever step the program dies at.
func TestACrashAtEveryStep(t *testing.T) {
	steps := []string{"delivered", "decoded", "journalled", "acknowledged", "started", "called", "shown", "recorded", "answering", "answered"}
	for _, step := range steps {
		for _, unknown := range []services.RetryPolicy{services.Idempotent, services.IdempotencyKey, services.AtMostOnce} {
			t.Run(fmt.Sprint(step, unknown), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					done := map[string]int{} // at Graph, by key
					h := &dispatcherHarness{retry: unknown}
					h.call = func(_ set, c services.Attempt) (any, error) { done[c.ID]++; return nil, nil }
					h.find = func(c services.Attempt) (any, bool, error) { return nil, done[c.ID] > 0, nil }
					var crash sync.Mutex
					crashed, restarted := false, false
					h.step = func(s string) {
						crash.Lock()
						defer crash.Unlock()
						if s == step && !crashed {
							crashed = true
							h.disk = h.disk.copy() // what is written from now on is lost
						}
						if crashed && !restarted {
							runtime.Goexit()
						}
					}
					h.open(t)
					d := h.inbound(`{"mode": "on"}`)
					d.Origin = "1/1"
					receive := func(d services.Inbound) {
						over := make(chan struct{})
						go func() { defer close(over); h.dispatcher.Submit(d) }()
						<-over
					}
					receive(d)
					synctest.Wait()
					h.stop()
					if !crashed {
						t.Fatalf("step %s was never reached", step)
					}
					acked := h.acked > 0
					restarted = true
					h.open(t)
					if !acked { // the broker delivers it again
						receive(d)
					}
					synctest.Wait()
					h.stop()
					if len(h.answers) == 0 {
						t.Fatal("never answered")
					}
					last := h.answers[len(h.answers)-1]
					if len(h.answers) > 1 && !last.Duplicate {
						t.Errorf("answered %d times, the last one not as a duplicate", len(h.answers))
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
				h := &dispatcherHarness{retry: test.unknown, find: test.find}
				h.call = func(set, services.Attempt) (any, error) {
					if n := len(h.calls) - 1; n < len(test.errs) {
						return nil, test.errs[n]
					}
					return nil, nil
				}
				h.open(t)
				h.submit(`{"mode": "on"}`)
				sleep(2 * time.Minute)
				synctest.Wait()
				if h.code(0) != test.code || len(h.answers) != 1 || test.calls >= 0 && len(h.calls) != test.calls {
					t.Errorf("answered %+v after %d calls, want %s after %d", h.answers, len(h.calls), test.code, test.calls)
				}
				if last := h.calls[len(h.calls)-1]; last.Repeated != test.again || last.ID != h.calls[0].ID {
					t.Errorf("last call %+v", last)
				}
			})
		})
	}
}

func TestAnswersWaitForTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{away: true}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		sleep(time.Minute)
		h.stop()
		h.away = false
		h.open(t)
		synctest.Wait()
		if h.code(0) != "ok" || len(h.calls) != 1 {
			t.Errorf("answers %+v after %d calls", h.answers, len(h.calls))
		}
	})
}

func TestTheQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 2}
		h.call = func(set, services.Attempt) (any, error) { time.Sleep(time.Second); return nil, nil }
		h.open(t)
		for range 4 {
			h.submit(`{"mode": "on"}`)
		}
		sleep(time.Minute)
		var codes []services.Code
		for i := range 4 {
			codes = append(codes, h.code(i))
		}
		slices.Sort(codes)
		if diff := cmp.Diff([]services.Code{"ok", "ok", "overloaded", "overloaded"}, codes); diff != "" {
			t.Error(diff)
		}
	})
}

// A request that cannot be written is neither executed nor acknowledged, written soon before later ones, or answered.
func TestAFullDisk(t *testing.T) {
	for _, test := range []struct {
		name string
		full time.Duration
		code services.Code
	}{
		{"for a moment", 5 * time.Second, "ok"},
		{"for long", 15 * time.Second, services.Internal},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &dispatcherHarness{disk: &disk{full: true}, maxQueue: 5}
				var modes []string
				h.call = func(s set, _ services.Attempt) (any, error) { modes = append(modes, s.Mode); return nil, nil }
				h.open(t)
				h.submit(`{"mode": "on"}`)
				synctest.Wait()
				h.submit(`{"mode": "off"}`)
				synctest.Wait()
				h.mu.Lock()
				if h.acked != 0 || len(h.calls) != 0 {
					t.Errorf("acknowledged %d times, called %d times", h.acked, len(h.calls))
				}
				h.mu.Unlock()
				sleep(test.full)
				h.disk.fill(false)
				sleep(2 * time.Second)
				if h.code(0) != test.code || h.code(1) != test.code || h.acked != 2 {
					t.Errorf("answers %+v, acknowledged %d times", h.answers, h.acked)
				}
				if want := []string{"on", "off"}; test.code == "ok" && !slices.Equal(modes, want) {
					t.Errorf("executed %v, want %v", modes, want)
				}
				h.submit(`{"mode": "on"}`)
				synctest.Wait()
				if h.code(2) != "ok" {
					t.Errorf("answers %+v, want the dispatcher to go on", h.answers)
				}
				h.stop()
				h.open(t)
				synctest.Wait()
				if len(h.answers) != 3 {
					t.Errorf("after a restart: answers %+v", h.answers)
				}
			})
		})
	}
}

func TestAFullDiskMakesNoRequestYounger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{disk: &disk{full: true}}
		h.open(t)
		r := h.inbound(`{"mode": "on"}`)
		r.Age = 15*time.Minute - 5*time.Second
		h.dispatcher.Submit(r)
		sleep(7 * time.Second)
		h.disk.fill(false)
		sleep(5 * time.Second)
		if h.code(0) != services.Expired || len(h.calls) != 0 {
			t.Errorf("%d calls, answers %+v", len(h.calls), h.answers)
		}
	})
}

// A request whose response cannot be written is not executed again.
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
				h := &dispatcherHarness{retry: test.unknown}
				h.step = func(s string) {
					if s == test.step {
						h.disk.fill(true)
					}
				}
				h.open(t)
				h.submit(`{"transaction": "1", "mode": "on"}`)
				sleep(time.Minute)
				if h.code(0) != test.code || len(h.answers) != 1 || len(h.calls) != test.calls {
					t.Errorf("%d calls, answers %+v", len(h.calls), h.answers)
				}
				h.step = nil
				h.disk.fill(false)
				sleep(time.Minute)
				h.stop()
				h.open(t)
				sleep(time.Minute)
				if len(h.calls) != test.calls || len(h.answers) != 1 {
					t.Errorf("after a restart %d calls, answers %+v", len(h.calls), h.answers)
				}
			})
		})
	}
}

func TestOldRequestsOfTheJournalExpire(t *testing.T) {
	for _, test := range []struct {
		payload, message string
		away             time.Duration
	}{
		{`{"mode": "on"}`, "", 14 * time.Minute},
		{`{"mode": "on"}`, "waited for 16m0s, longer than commands.max_age (15m0s)", 16 * time.Minute},
		{`{"mode": "on", "expires": "2000-01-01T00:01:00Z"}`, "expired at 2000-01-01T00:01:00Z", 2 * time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &dispatcherHarness{}
			h.open(t)
			h.stop()
			h.submit(test.payload)
			sleep(test.away)
			h.open(t)
			synctest.Wait()
			if len(h.answers) != 1 {
				t.Fatalf("answers %+v", h.answers)
			}
			got := ""
			if e := h.answers[0].Error; e != nil {
				got = e.Message
			}
			if got != test.message || (len(h.calls) == 0) != (test.message != "") {
				t.Errorf("%d calls, answer %q, want %q", len(h.calls), got, test.message)
			}
		})
	}
}

// A request that may have been executed before a crash is not answered expired: the client would send it again.
func TestAnAttemptedRequestThatExpiresIsInDoubt(t *testing.T) {
	for retry, code := range map[services.RetryPolicy]services.Code{
		services.Idempotent: services.Expired, services.IdempotencyKey: services.InDoubt, services.AtMostOnce: services.InDoubt,
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &dispatcherHarness{retry: retry, find: func(services.Attempt) (any, bool, error) { return nil, false, nil }}
			var crashed *disk
			h.step = func(s string) {
				if s == "called" && crashed == nil {
					crashed = h.disk.copy()
				}
			}
			h.open(t)
			h.submit(`{"mode": "on"}`)
			synctest.Wait()
			h.stop()
			h.mu.Lock()
			h.answers = nil
			h.mu.Unlock()
			h.step, h.disk = nil, crashed
			sleep(16 * time.Minute)
			h.open(t)
			synctest.Wait()
			if h.code(0) != code || len(h.answers) != 1 || len(h.calls) != 1 {
				t.Errorf("retry policy %v: %d calls, answers %+v, want %s", retry, len(h.calls), h.answers, code)
			}
		})
	}
}

func (h *dispatcherHarness) signIn(user string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.user = user
}

func TestAWaitingRequestIsNotExecutedForAnotherUser(t *testing.T) {
	for now, want := range map[string]services.Code{"adele": "ok", "": "ok", "megan": services.Conflict} {
		synctest.Test(t, func(t *testing.T) {
			h := &dispatcherHarness{maxQueue: 2, user: "adele"}
			h.call = func(set, services.Attempt) (any, error) { time.Sleep(time.Second); return nil, nil }
			h.open(t)
			h.submit(`{"mode": "on"}`)
			h.submit(`{"mode": "off"}`)
			synctest.Wait()
			h.signIn(now)
			sleep(time.Minute)
			calls := map[services.Code]int{"ok": 2, services.Conflict: 1}[want]
			if h.code(0) != "ok" || h.code(1) != want || len(h.calls) != calls {
				t.Errorf("signed in as %q: %d calls, answers %+v", now, len(h.calls), h.answers)
			}
		})
	}
}

func TestABegunRequestIsNotRepeatedForAnotherUser(t *testing.T) {
	for _, retry := range []services.RetryPolicy{services.Idempotent, services.IdempotencyKey, services.AtMostOnce} {
		synctest.Test(t, func(t *testing.T) {
			h := &dispatcherHarness{retry: retry, user: "adele"}
			var crashed *disk
			h.step = func(s string) {
				if s == "called" && crashed == nil {
					crashed = h.disk.copy()
				}
			}
			h.open(t)
			h.submit(`{"mode": "on"}`)
			synctest.Wait()
			h.stop()
			h.mu.Lock()
			h.answers = nil
			h.mu.Unlock()
			h.step, h.disk = nil, crashed
			h.signIn("megan")
			h.open(t)
			synctest.Wait()
			if h.code(0) != services.InDoubt || len(h.answers) != 1 || len(h.calls) != 1 {
				t.Errorf("retry policy %v: %d calls, answers %+v", retry, len(h.calls), h.answers)
			}
		})
	}
}

// The broker does not accept responses while one of its messages is handled.
func TestTooManyReadingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 2}
		h.call = func(set, services.Attempt) (any, error) { time.Sleep(time.Second); return nil, nil }
		h.open(t)
		received := make(chan struct{})
		h.hold = received
		for range 4 {
			h.dispatcher.Submit(h.list())
			synctest.Wait()
		}
		close(received)
		sleep(time.Minute)
		var codes []services.Code
		for i := range 4 {
			codes = append(codes, h.code(i))
		}
		slices.Sort(codes)
		if diff := cmp.Diff([]services.Code{"ok", "ok", "ok", "overloaded"}, codes); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReadingRequestsAreAnsweredAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{maxQueue: 5}
		h.call = func(set, services.Attempt) (any, error) { time.Sleep(time.Second); return nil, nil }
		h.open(t)
		for range 2 {
			h.dispatcher.Submit(h.list())
			synctest.Wait()
		}
		h.stop()
		if h.code(0) != "ok" || h.code(1) != services.ShuttingDown || h.acked != 2 {
			t.Errorf("answers %+v", h.answers)
		}
		// No response is sent any more: it is not acknowledged, and is delivered again.
		r := h.list()
		var told services.Response
		r.Done = func(r services.Response) { told = r }
		h.dispatcher.Submit(r)
		synctest.Wait()
		if h.acked != 2 || told.Error == nil || told.Error.Code != services.ShuttingDown {
			t.Errorf("acknowledged %d times, response %+v", h.acked, told)
		}
	})
}

func TestReadingIsNotJournalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{}
		h.open(t)
		h.dispatcher.Submit(h.list())
		synctest.Wait()
		if h.code(0) != "ok" || len(h.disk.values) != 0 || h.acked != 1 {
			t.Errorf("answers %+v, on disk %d", h.answers, len(h.disk.values))
		}
	})
}

func TestAPanicIsTheRequestsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{call: func(set, services.Attempt) (any, error) { panic("an unexpected answer") }}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		if h.code(0) != services.Internal || h.answers[0].Error.Message != "panic: an unexpected answer" || !slices.Equal(h.shown, []string{"failed"}) {
			t.Errorf("answers %+v, shown %v", h.answers, h.shown)
		}
	})
}

func TestAPanicWhileLookingOrDecodingIsTheRequestsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{retry: services.AtMostOnce}
		h.call = func(set, services.Attempt) (any, error) {
			return nil, &graph.Error{Reason: graph.Network, OutcomeUnknown: true}
		}
		h.find = func(services.Attempt) (any, bool, error) { panic("nothing to look for") }
		h.open(t)
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		h.offered = func(string) error { panic("an unexpected operation") }
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		if h.code(0) != services.InDoubt || h.code(1) != services.Internal || h.acked != 2 {
			t.Errorf("answers %+v, acknowledged %d times", h.answers, h.acked)
		}
	})
}

func TestACorruptEntryDoesNotAffectTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &dispatcherHarness{away: true}
		h.open(t)
		h.submit(`{"mode": "on"}`)
		synctest.Wait()
		h.stop()
		h.disk.values["journal/00000000"] = []byte("{")
		journal, err := services.OpenJournal(h.disk, h.disk.each, slog.New(slog.DiscardHandler))
		if journal == nil || err == nil || !strings.HasPrefix(err.Error(), "read the journal: entry 00000000: ") {
			t.Fatalf("opened with %v", err)
		}
		delete(h.disk.values, "journal/00000000")
		h.away = false
		h.open(t)
		synctest.Wait()
		if h.code(0) != "ok" {
			t.Errorf("answers %+v", h.answers)
		}
	})
}
