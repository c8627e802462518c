package services_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// A pagedResolver resolves every request: sensors that list numbers in pages.
type pagedResolver struct{ graph *graph.Client }

func (s pagedResolver) Resolve(ref services.Ref) (services.Target, error) { return row{s, ref}, nil }

// A row is a sensor of a pagedResolver.
type row struct {
	pagedResolver
	ref services.Ref
}

func (r row) Operation(name string) (services.Operation, error) {
	return services.Operation{Name: name, Reads: true, Paged: name != "get", New: func() services.Request { return &count{Limit: 2} }}, nil
}

func (r row) Parse(string, string) (string, map[string]json.RawMessage, error) {
	return "list", nil, nil
}

// Resolve takes a field member for the name of the sensor.
func (r row) Resolve(_ context.Context, fields map[string]json.RawMessage) (services.Ref, services.Target, error) {
	if raw, ok := fields["member"]; ok {
		if err := json.Unmarshal(raw, &r.ref.Sensor); err != nil {
			return r.ref, r, err
		}
		delete(fields, "member")
	}
	return r.ref, r, nil
}
func (r row) Graph() *graph.Client                                     { return r.graph }
func (r row) User() string                                             { return "" }
func (r row) Location() *time.Location                                 { return time.UTC }
func (r row) OnSuccess(context.Context, string, any) func(services.Tx) { return nil }
func (r row) OnRejected()                                              {}

// A count lists the numbers below five.
type count struct {
	Word  string `json:"word"`
	Mode  string `json:"mode" enum:"up,down"`
	Limit int    `json:"limit"`
}

func (c *count) Execute(_ context.Context, _ *graph.Client, a services.Attempt) (any, error) {
	var first int
	if err := a.Resume(&first); err != nil {
		return nil, err
	}
	page, next := []int{}, first
	for ; next < 5 && len(page) < c.Limit; next++ {
		page = append(page, next)
	}
	result := services.Page{Value: map[string]any{"numbers": page}}
	if next < 5 {
		result.Next = next
	}
	return result, nil
}

// xor is a Sealer that only its own purpose opens.
type xor struct{ key string }

func (x xor) Seal(plain []byte, purpose string) []byte {
	return append([]byte(x.key+purpose+"|"), plain...)
}

func (x xor) Unseal(sealed []byte, purpose string) ([]byte, error) {
	plain, ok := strings.CutPrefix(string(sealed), x.key+purpose+"|")
	if !ok {
		return nil, fmt.Errorf("not sealed with this key")
	}
	return []byte(plain), nil
}

// ask executes a request of home/lamp, or of the sensor that member names.
func ask(t *testing.T, d *services.Dispatcher, operation, fields, cursor string) services.Response {
	t.Helper()
	payload := "{" + fields + "}"
	if cursor != "" {
		if fields != "" {
			fields += ", "
		}
		payload = fmt.Sprintf(`{%s"cursor": %q}`, fields, cursor)
	}
	r := d.Execute(t.Context(), services.Inbound{Target: services.Ref{Account: "home", Sensor: "lamp"}, Operation: operation, Payload: []byte(payload)})
	var decoded services.Response
	if err := json.Unmarshal(r.Encode(), &decoded); err != nil {
		t.Fatal(err)
	}
	return decoded
}

// Cursors lead through all pages, over a restart, and only with the request that they belong to.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := func(key string) *services.Dispatcher {
			return services.NewDispatcher(services.DispatcherOptions{Resolver: pagedResolver{}, Sealer: xor{key}})
		}
		d := start("key")
		var got []string
		r := ask(t, d, "list", `"mode": "UP"`, "")
		first := r.Cursor
		for {
			got = append(got, fmt.Sprint(r.Data, r.Cursor == ""))
			if r.Cursor == "" {
				break
			}
			d = start("key")
			r = ask(t, d, "list", `"mode": "up", "limit": 2, "transaction": "2"`, r.Cursor)
		}
		if diff := cmp.Diff([]string{"map[numbers:[0 1]] false", "map[numbers:[2 3]] false", "map[numbers:[4]] true"}, got); diff != "" {
			t.Error(diff)
		}
		again := func() services.Response { return ask(t, d, "list", `"mode": "up"`, first) }
		if r := again(); fmt.Sprint(r.Data) != "map[numbers:[2 3]]" {
			t.Errorf("the same page again: %+v, %+v", r, r.Error)
		}
		const unknown = "cursor: want the cursor of a response, unchanged; for the first page, leave it out"
		for _, tt := range []struct{ what, operation, fields, cursor, want string }{
			{"tampered", "list", `"mode": "up"`, "A" + first[1:], unknown},
			{"cut", "list", `"mode": "up"`, first[:20], unknown},
			{"not base64", "list", `"mode": "up"`, "*", unknown},
			{"other operation", "search", `"mode": "up"`, first, "cursor: it belongs to the operation list of home/lamp"},
			{"other sensor", "list", `"mode": "up", "member": "desk"`, first, "cursor: it belongs to the operation list of home/lamp"},
			{"other fields", "list", `"mode": "down"`, first, "cursor: want the same fields as in the request before"},
			{"fewer fields", "list", ``, first, "cursor: want the same fields as in the request before"},
			{"no pages", "get", `"mode": "up"`, first, "cursor: unknown field; known fields: expires, limit, mode, transaction, word"},
			{"unknown field", "list", `"mod": "up"`, "", "mod: unknown field; did you mean mode? known fields: cursor, expires, limit, mode, transaction, word"},
			{"unknown field of a member", "list", `"member": "desk", "cursr": "x"`, "", "cursr: unknown field; did you mean cursor? known fields: cursor, expires, limit, member, mode, transaction, word"},
			{"no text", "list", `"cursor": 5`, "", "cursor: want text, not 5"},
		} {
			if r := ask(t, d, tt.operation, tt.fields, tt.cursor); r.Error == nil || r.Error.Message != tt.want || r.Error.Code != services.InvalidArgument {
				t.Errorf("%s: %+v, want %s", tt.what, r.Error, tt.want)
			}
		}
		if r := ask(t, start("another"), "list", `"mode": "up"`, first); r.Error == nil || r.Error.Message != unknown {
			t.Errorf("another key: %+v", r.Error)
		}
		for _, none := range []string{`"cursor": null`, `"cursor": ""`} {
			if r := ask(t, d, "list", none, ""); fmt.Sprint(r.Data) != "map[numbers:[0 1]]" {
				t.Errorf("%s: %+v", none, r.Error)
			}
		}
		time.Sleep(24*time.Hour - time.Second)
		if r := again(); r.Error != nil {
			t.Errorf("within a day: %+v", r.Error)
		}
		expiry := time.Now().Add(time.Second).UTC().Format(time.RFC3339)
		time.Sleep(time.Second)
		if r, want := again(), "cursor: it expired at "+expiry+", after 24h0m0s; begin with the first page again"; r.Error == nil || r.Error.Code != services.Expired || r.Error.Message != want {
			t.Errorf("after a day: %+v, want %s", r.Error, want)
		}
	})
}

// Without a Sealer cursors are valid as long as the process lives.
func TestPagesWithoutSealer(t *testing.T) {
	d := services.NewDispatcher(services.DispatcherOptions{Resolver: pagedResolver{}})
	r := ask(t, d, "list", "", "")
	if r := ask(t, d, "list", "", r.Cursor); r.Error != nil || fmt.Sprint(r.Data) != "map[numbers:[2 3]]" {
		t.Errorf("got %+v", r)
	}
	other := services.NewDispatcher(services.DispatcherOptions{Resolver: pagedResolver{}})
	if r := ask(t, other, "list", "", r.Cursor); r.Error == nil {
		t.Errorf("got %+v", r)
	}
}

// A submitted request is answered like an executed one.
func TestSubmittedPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal, err := services.OpenJournal(&disk{}, (&disk{}).each, nil)
		if err != nil {
			t.Fatal(err)
		}
		d := services.NewDispatcher(services.DispatcherOptions{Journal: journal, Resolver: pagedResolver{}, MaxAge: time.Minute, Queue: 10})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := d.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer func() { cancel(); running.Wait() }()
		submit := func(payload string) services.Response {
			done := make(chan services.Response, 1)
			d.Submit(services.Inbound{Target: services.Ref{Account: "home", Sensor: "lamp"}, Operation: "list", Payload: []byte(payload), Done: func(r services.Response) { done <- r }})
			return <-done
		}
		first := submit(`{"transaction": "1"}`)
		second := submit(fmt.Sprintf(`{"transaction": "2", "cursor": %q}`, first.Cursor))
		if fmt.Sprint(first.Data, second.Data) != "map[numbers:[0 1]] map[numbers:[2 3]]" || second.Cursor == "" {
			t.Errorf("got %+v, %+v", first, second)
		}
	})
}

func TestPageItems(t *testing.T) {
	var page services.PageItems[string]
	add := func(n int) bool {
		ok, err := page.Add(strings.Repeat("<", n)) // six bytes each
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !add(100<<10) || add(1) {
		t.Error("a first item that is too large is alone on its page")
	}
	page = services.PageItems[string]{}
	n := 0
	for ; add(1000); n++ {
	}
	if got := len(services.Response{}.Succeed(page.All).Encode()); got > 500<<10 || got < 480<<10 || n != len(page.All) {
		t.Errorf("%d items of %d bytes", n, got)
	}
}
