package bridge_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// ask asks for an operation and waits for its answer.
func (h *harness) ask(sensor, operation, request string) (answer struct {
	Status string
	Data   struct {
		Events []struct{ Summary string }
		Mails  []struct{ Subject string }
	}
	Error  struct{ Code, Message string }
	Cursor string
}) {
	h.t.Helper()
	mark := h.mark()
	h.Publish("graph2mqtt/work/"+sensor+"/request/"+operation, request)
	payload := h.Next(mark, "graph2mqtt/work/"+sensor+"/response/"+operation, func(string) bool { return true })
	if err := json.Unmarshal([]byte(payload), &answer); err != nil {
		h.t.Fatalf("%s: %v", payload, err)
	}
	return answer
}

const nextDecade = `{"transaction": "1", "start": "2030-01-01T00:00:00", "end": "2039-01-01T00:00:00"}`

// What is asked on demand is answered without a permission to write, and nothing of it is kept.
func TestReadingOnDemand(t *testing.T) {
	h := newHarness(t)
	at := time.Date(2037, 3, 1, 9, 0, 0, 0, time.UTC)
	h.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Jubilee", Start: at, End: at.Add(time.Hour)})
	h.one("", "calendar: {type: calendar, on_demand: true}", "plain: {type: calendar}")
	if d := cmp.Diff([]string{"Calendars.Read", "User.Read"}, runtime.SignInScopes(h.load().Accounts["work"])[0]); d != "" {
		t.Errorf("scopes (-want +got):\n%s", d)
	}
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/calendar/availability", "online")

	for range 2 { // the same transaction is no reason to tell what is old
		a := h.ask("calendar", "list", nextDecade)
		if a.Status != "ok" || len(a.Data.Events) != 1 || a.Data.Events[0].Summary != "Jubilee" {
			t.Errorf("answered %+v", a)
		}
	}
	if got := h.Broker.Retained("graph2mqtt/work/calendar/response/list"); len(got) > 0 {
		t.Errorf("the broker keeps %s", got)
	}
	a := h.ask("plain", "list", nextDecade)
	if want := "list is not offered without on_demand: true (accounts.work.sensors.plain)"; a.Error.Code != "not_on_demand" || a.Error.Message != want {
		t.Errorf("answered %+v, want %s", a, want)
	}
	a = h.ask("calendar", "create", `{"subject": "x", "start": "2030-01-01T00:00:00", "end": "2030-01-01T00:00:00"}`)
	if want := "create is not offered without enable_update: true (accounts.work.sensors.calendar)"; a.Error.Code != "updates_disabled" || a.Error.Message != want {
		t.Errorf("answered %+v, want %s", a, want)
	}

	h.Stop()
	database, err := h.open(h.load()).OpenDatabase()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := database.Close(); err != nil {
			t.Error(err)
		}
	}()
	var journalled []string
	if err := database.Bucket("journal").Each(func(_ string, value []byte) error {
		var e struct{ Sensor, Operation string }
		if json.Unmarshal(value, &e) == nil && e.Operation != "" { // else it is no request
			journalled = append(journalled, e.Sensor+" "+e.Operation)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(journalled)
	// Neither reads nor rejected requests are journalled.
	if len(journalled) > 0 {
		t.Errorf("journalled: %v", journalled)
	}
}

// Topics are subscribed to where nothing but reading is offered, and what is asked of all calendars is asked of the one that is named.
func TestReadingOneOfAllCalendarsOnDemand(t *testing.T) {
	h := newHarness(t)
	at := time.Date(2037, 3, 1, 9, 0, 0, 0, time.UTC)
	h.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Jubilee", Start: at, End: at.Add(time.Hour)})
	h.Microsoft.AddEvent(simulator.Adele, "Birthdays", simulator.Event{Subject: "Ann", Start: at, End: at.Add(time.Hour)})
	h.one("", "calendars: {type: calendar, calendar: all, on_demand: true}")
	h.SignIn("work")
	h.Start()
	h.Members("Work Calendar", "Work Birthdays")

	a := h.ask("calendars", "list", `{"calendar": "birthdays", "start": "2037-01-01T00:00:00", "end": "2038-01-01T00:00:00"}`)
	if a.Status != "ok" || len(a.Data.Events) != 1 || a.Data.Events[0].Summary != "Ann" {
		t.Errorf("answered %+v", a)
	}
	a = h.ask("calendars", "list", nextDecade)
	if want := "calendar is required, as a text, because calendars stands for several; known: Birthdays, Calendar"; a.Error.Code != "invalid_argument" || a.Error.Message != want {
		t.Errorf("answered %+v, want %s", a, want)
	}
}

// A whole mailbox comes in pages, over a restart of the bridge, and none of them is larger than a script can take.
func TestReadingPagesOnDemand(t *testing.T) {
	h := newHarness(t)
	var to []string
	for i := range 400 {
		to = append(to, fmt.Sprintf("somebody.with.a.long.name.%03d@contoso.example", i))
	}
	const total = 60
	for i := range total {
		h.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: fmt.Sprint("mail ", i), To: to})
	}
	h.one("", "mail: {type: email, on_demand: true}", "other: {type: email, on_demand: true}")
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/mail/availability", "online")
	found := map[string]int{}
	cursor, pages, first := "", 0, ""
	for {
		a := h.ask("mail", "list", fmt.Sprintf(`{"folder": "all", "limit": 200, "cursor": %q}`, cursor))
		if a.Status != "ok" {
			t.Fatalf("page %d: %+v", pages, a.Error)
		}
		for _, m := range a.Data.Mails {
			found[m.Subject]++
		}
		pages++
		if cursor = a.Cursor; cursor == "" {
			break
		}
		if pages == 1 {
			first = cursor
			h.Stop()
			h.Start()
			h.Shows("graph2mqtt/work/mail/availability", "online")
		}
	}
	for i := range total {
		if n := found[fmt.Sprint("mail ", i)]; n != 1 {
			t.Errorf("mail %d came %d times", i, n)
		}
	}
	if pages < 3 {
		t.Errorf("%d pages", pages)
	}
	h.mu.Lock()
	for _, m := range h.messages {
		if strings.HasSuffix(m.Topic, "/response/list") && (len(m.Payload) > 512<<10 || m.Retained) {
			t.Errorf("a response of %d bytes, retained: %v", len(m.Payload), m.Retained)
		}
	}
	h.mu.Unlock()
	a := h.ask("other", "list", fmt.Sprintf(`{"folder": "all", "limit": 200, "cursor": %q}`, first))
	if want := "cursor: it belongs to the operation list of work/mail"; a.Error.Code != "invalid_argument" || a.Error.Message != want {
		t.Errorf("answered %+v, want %s", a.Error, want)
	}
}
