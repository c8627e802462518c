package bridge_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestPeopleOverMQTT: any sensor looks people up if allow names it, and with its own permission only.
func TestPeopleOverMQTT(t *testing.T) {
	h := newHarness(t)
	h.one("", "out_of_office: {type: auto_reply, on_demand: true, allow: [people_search, contacts_search]}")
	want := []string{"Contacts.Read", "MailboxSettings.Read", "People.Read", "User.Read"}
	if d := cmp.Diff(want, runtime.SignInScopes(h.load().Accounts["work"])[0]); d != "" {
		t.Errorf("scopes (-want +got):\n%s", d)
	}
	h.Microsoft.AddContact(simulator.Adele, simulator.Contact{Given: "Peter", Surname: "Miller", Address: "peter@fabrikam.example"})
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	for operation, request := range map[string]string{"people_search": `{"query": "peter"}`, "contacts_search": `{"surname": "Miller"}`} {
		mark := h.mark()
		h.Publish("graph2mqtt/work/out_of_office/request/"+operation, request)
		if response := h.Next(mark, "graph2mqtt/work/out_of_office/response/"+operation, func(string) bool { return true }); !strings.Contains(response, "peter@fabrikam.example") {
			t.Errorf("%s: %s", operation, response)
		}
	}
	a := h.ask("out_of_office", "person", `{"address": "megan@contoso.example"}`)
	if want := "person is offered only where allow names it (accounts.work.sensors.out_of_office)"; a.Error.Code != "not_on_demand" || a.Error.Message != want {
		t.Errorf("answered %+v, want %s", a, want)
	}
}

// TestListsAreExpandedOverMQTT: create invites members only if allow names expand_groups.
func TestListsAreExpandedOverMQTT(t *testing.T) {
	h := newHarness(t)
	h.Microsoft.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
	h.Microsoft.AddList(simulator.List{Name: "Sales", Address: "sales@contoso.example", Members: []string{simulator.Megan}})
	h.one("enable_update: true", "calendar: {type: calendar, allow: [default, expand_groups]}", "plain: {type: calendar}")
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/calendar/commands", "online")
	h.Shows("graph2mqtt/work/plain/commands", "online")
	const request = `{"subject": "Review", "start": "2030-01-01T10:00:00", "end": "2030-01-01T11:00:00", "attendees": [{"email": "sales@contoso.example"}], "expand_groups": true}`
	if a := h.ask("calendar", "create", request); a.Status != "ok" {
		t.Errorf("answered %+v", a)
	}
	if n := h.Microsoft.Count("GET", "/v1.0/groups/"); n != 1 {
		t.Errorf("members were read %d times", n)
	}
	if a := h.ask("plain", "create", request); a.Error.Code != "invalid_argument" || !strings.HasPrefix(a.Error.Message, "expand_groups: ") {
		t.Errorf("answered %+v", a)
	}
}

// TestAnotherUser: what was kept or shown for one user is not continued for the next who signs in, whether the bridge runs meanwhile or
// not.
func TestAnotherUser(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{true, false} {
		h := newHarness(t)
		h.Microsoft.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
		h.Microsoft.AddCalendar(simulator.Megan, "Hers")
		h.one("", "presence: {type: status, enable_update: true}", "calendars: {type: calendar, calendar: all}")
		h.SignIn("work")
		h.Start()
		h.Shows("graph2mqtt/work/presence/availability", "online")
		if a := h.ask("presence", "update_user_status", `{"availability": "Busy", "activity": "InACall", "expiration_duration": "12h", "keep": true}`); a.Status != "ok" {
			t.Fatalf("answered %+v", a)
		}
		attributes := "graph2mqtt/work/presence/attributes"
		h.Holds(attributes, func(payload string) bool { return strings.Contains(payload, `"kept_until":"`) })
		h.Next(0, "graph2mqtt/work/presence/event", func(payload string) bool { return strings.Contains(payload, "call_started") })
		var members []string // topics
		h.mu.Lock()
		for topic := range h.retained {
			if strings.HasPrefix(topic, "graph2mqtt/work/calendars_") {
				members = append(members, topic)
			}
		}
		h.mu.Unlock()
		if len(members) == 0 {
			t.Fatal("no topics of calendars")
		}
		if !running {
			h.Stop()
		}
		mark := h.mark()
		c := h.load()
		session, err := runtime.OpenSession(c.Accounts["work"], h.open(c), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.SignOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.Microsoft.SetSignIn(simulator.SignIn{User: simulator.Megan})
		h.SignIn("work")
		if !running {
			h.Start()
		}
		i := slices.IndexFunc(h.Microsoft.Users(), func(u simulator.User) bool { return u.Address == simulator.Megan })
		id := h.Microsoft.Users()[i].ID
		h.Holds(attributes, func(payload string) bool {
			return strings.Contains(payload, `"user_id":"`+id+`"`) && strings.Contains(payload, `"kept_until":null`)
		})
		h.Members("Work Calendar", "Work Hers")
		h.Shows("graph2mqtt/work/presence/availability", "online")
		for _, m := range h.since(mark) {
			if strings.HasSuffix(m.Topic, "/presence/event") {
				t.Errorf("running %v: an event although nothing changed: %s", running, m.Payload)
			}
			if !running && len(m.Payload) > 0 && slices.Contains(members, m.Topic) {
				t.Errorf("a calendar of the user before is published: %s %s", m.Topic, m.Payload)
			}
		}
		if a := h.ask("presence", "set_status_message", `{"message": "hers"}`); a.Status != "ok" || h.Microsoft.Presence(simulator.Megan).Message != "hers" {
			t.Errorf("running %v: answered %+v", running, a)
		}
	}
}

// TestOperationsRuledOut: a request for an operation that the options rule out is answered with the reason, and offering everything
// else needs no permission for it.
func TestOperationsRuledOut(t *testing.T) {
	h := newHarness(t)
	h.one("enable_update: true",
		"room: {type: calendar, shared_mailbox: room@contoso.example, on_demand: true}",
		"mail: {type: email, basic: true, on_demand: true, enable_update: false}",
		"boss: {type: status, user: 87d349ed-44d7-43e1-9a83-5f2406dee5bd}")
	if d := cmp.Diff([]string{"Calendars.ReadWrite.Shared", "Mail.ReadBasic", "Presence.Read.All", "User.Read"}, runtime.SignInScopes(h.load().Accounts["work"])[0]); d != "" {
		t.Errorf("scopes (-want +got):\n%s", d)
	}
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/mail/availability", "online")
	for _, tt := range []struct{ sensor, operation, want string }{
		{"room", "free_busy", "free_busy is not offered with shared_mailbox, for Microsoft has no such permission; ask a calendar without it"},
		{"room", "create_meeting", "create_meeting is not offered with shared_mailbox, because the meeting is your own; ask a calendar without it"},
		{"boss", "clear_status", "clear_status is not offered with user, because you can set only your own status"},
		{"mail", "search", "search is not offered with basic: Mail.ReadBasic does not give that"},
	} {
		if a := h.ask(tt.sensor, tt.operation, `{}`); a.Error.Code != "unknown_op" || a.Error.Message != tt.want {
			t.Errorf("%s %s: answered %+v, want %s", tt.sensor, tt.operation, a, tt.want)
		}
	}
}

// TestKeepOverMQTT: a kept status is shown, continues after a restart and ends with clear_status.
func TestKeepOverMQTT(t *testing.T) {
	h := startOne(t, "", "presence: {type: status, enable_update: true}")
	h.Shows("graph2mqtt/work/presence/availability", "online")
	if a := h.ask("presence", "update_user_status", `{"availability": "Busy", "activity": "InACall", "expiration_duration": "12h", "keep": true}`); a.Status != "ok" {
		t.Fatalf("answered %+v", a)
	}
	kept := func(payload string) bool { return strings.Contains(payload, `"kept_until":"`) }
	attributes := "graph2mqtt/work/presence/attributes"
	h.Holds(attributes, kept)
	h.Stop()
	h.Start()
	h.Holds(attributes, kept)
	if a := h.ask("presence", "clear_status", `{}`); a.Status != "ok" {
		t.Fatalf("answered %+v", a)
	}
	h.Holds(attributes, func(payload string) bool { return strings.Contains(payload, `"kept_until":null`) })
	if s := h.Microsoft.PresenceSession(simulator.Adele, simulator.ContosoClient); s.Availability != "" {
		t.Errorf("at Microsoft: %+v", s)
	}
	if !slices.ContainsFunc(h.Microsoft.Requests(), func(r simulator.Request) bool { return strings.HasSuffix(r.Path, "/clearPresence") }) {
		t.Error("the status was not cleared at Microsoft")
	}
}
