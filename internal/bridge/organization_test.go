package bridge_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

const (
	application = "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11"
	berlin      = "berlin@contoso.example"
	paris       = "paris@contoso.example"
)

// writeCredential writes the certificate of the organization with its key, and returns what is to be registered.
func (h *harness) writeCredential() string {
	h.t.Helper()
	certificate, withKey, err := simulator.NewCertificate(time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path("contoso.pem"), withKey, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return string(certificate)
}

// organize configures the organization contoso, with the rooms Berlin and Paris, and these keys.
func organize(t *testing.T, keys string) *harness {
	t.Helper()
	h := newHarness(t)
	h.Microsoft.Register(simulator.Registration{ClientID: application, Tenant: simulator.ContosoTenant, Certificates: h.writeCredential()})
	for _, r := range []simulator.Room{{Address: berlin, Name: "Berlin"}, {Address: paris, Name: "Paris"}} {
		h.Microsoft.AddRoom(r)
	}
	h.configureOrganization(keys)
	return h
}

func (h *harness) configureOrganization(keys string) {
	h.t.Helper()
	h.Configure("  {}\n")
	text, err := os.ReadFile(h.path("graph2mqtt.yaml"))
	if err != nil {
		h.t.Fatal(err)
	}
	organization := fmt.Sprintf("organizations:\n  contoso:\n    tenant: contoso.example\n    client_id: %s\n    certificate_file: %q\n    timezone: Europe/Berlin\n"+
		"    cloud: {login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}\n", application, h.path("contoso.pem"), h.Microsoft.LoginURL(), h.Microsoft.GraphURL(), h.path("ca.pem"))
	for line := range strings.Lines(keys) {
		organization += "    " + strings.TrimSuffix(line, "\n") + "\n"
	}
	if err := os.WriteFile(h.path("graph2mqtt.yaml"), []byte(strings.Replace(string(text), "accounts:\n  {}\n", organization, 1)), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// roomID returns the id of the sensor of a room in the list of rooms.
func roomID(address string) string { return runtime.MemberID("rooms", sensors.Member{ID: address}) }

// An organization needs no user: its rooms are read by the application. A room that Exchange excludes is offline with the reason, and
// the others do not notice.
func TestOrganization(t *testing.T) {
	h := organize(t, "rooms: {addresses: ["+berlin+", "+paris+"]}")
	h.Microsoft.SetMailboxRoles(application, berlin, "Calendars.Read")
	now := time.Now().Truncate(time.Minute)
	h.Microsoft.AddEvent(berlin, "", simulator.Event{Subject: "Secret plan", Start: now.Add(-time.Minute), End: now.Add(time.Hour), Organizer: simulator.Adele})
	h.Start()
	b, p := "graph2mqtt/contoso/"+roomID(berlin), "graph2mqtt/contoso/"+roomID(paris)
	h.Shows("graph2mqtt/contoso/state", "online")
	h.Values(b+"/state", map[string]any{"busy": true, "current": "Busy", "organizer": "Adele Vance", "free_until": nil})
	h.Shows(b+"/availability", "online")
	h.Shows(p+"/availability", "offline")
	const reason = "the application has no access to the mailbox paris@contoso.example; an administrator assigns it the Exchange role Application Calendars.Read for this mailbox, which takes up to two hours to have an effect"
	h.Holds(p+"/status", func(s string) bool {
		return includes(s, map[string]any{"problem": true, "code": "permission_missing", "message": reason})
	})
	h.Holds("graph2mqtt/contoso/status", func(s string) bool {
		return includes(s, map[string]any{"connected": true, "user": nil, "missing": "[]"}) && strings.Contains(s, `"state":"signed_in"`) && strings.Contains(s, reason)
	})
	for topic, payload := range map[string]string{
		"homeassistant/device/graph2mqtt-contoso/config":                        "",
		"homeassistant/device/graph2mqtt-contoso-" + roomID(berlin) + "/config": "Contoso Berlin",
	} {
		announced := h.Holds(topic, func(p string) bool { return strings.Contains(p, payload) && p != "" })
		for _, err := range mqtttest.Check(topic, []byte(announced), "2025.4") {
			t.Error(err)
		}
		if strings.Contains(announced, "sign_in_code") || strings.Contains(announced, "book") {
			t.Errorf("%s: %s", topic, announced)
		}
	}

	// Exchange assigns the role, later takes another one away: no restart, and at once.
	h.Microsoft.SetMailboxRoles(application, paris, "Calendars.Read")
	h.Publish("graph2mqtt/contoso/request/refresh", "{}")
	h.Shows(p+"/availability", "online")
	h.Values(p+"/state", map[string]any{"busy": false, "current": nil})
	h.Microsoft.SetMailboxRoles(application, berlin)
	h.Publish("graph2mqtt/contoso/request/refresh", "{}")
	h.Shows(b+"/availability", "offline")
	h.Shows(p+"/availability", "online")
	h.Shows("graph2mqtt/contoso/state", "online")

	h.mu.Lock()
	for topic, payload := range h.retained {
		if strings.Contains(payload, "Secret plan") {
			t.Errorf("%s shows the subject", topic)
		}
	}
	h.mu.Unlock()
	for _, r := range h.Microsoft.Requests() {
		if strings.HasPrefix(r.Path, "/v1.0/me") || strings.Contains(r.Query.Get("$select"), "subject") {
			t.Errorf("%s %s %v", r.Method, r.Path, r.Query)
		}
	}
	mark := h.mark()
	h.Publish("graph2mqtt/contoso/request/sign_in", "{}")
	h.Next(mark, "graph2mqtt/contoso/response/sign_in", func(p string) bool {
		return strings.Contains(p, `account contoso has no operation \"sign_in\"; known: refresh, rescan`)
	})
}

// The certificate is replaced while the bridge runs.
func TestOrganizationCertificate(t *testing.T) {
	h := organize(t, "rooms: {addresses: ["+berlin+"]}")
	h.Microsoft.GrantRoles(application, "Calendars.Read")
	h.Start()
	topic := "graph2mqtt/contoso/" + roomID(berlin)
	h.Shows(topic+"/availability", "online")
	h.Holds("graph2mqtt/contoso/status", func(s string) bool { return strings.Contains(s, `"granted":["Calendars.Read"]`) })
	registered := h.writeCredential()
	h.Microsoft.Register(simulator.Registration{ClientID: application, Tenant: simulator.ContosoTenant, Certificates: registered, Roles: []string{"Calendars.Read"}})
	h.Reload() // the watcher has seen the new file
	h.Microsoft.ExpireAccessTokens()
	h.Microsoft.AddEvent(berlin, "", simulator.Event{Subject: "Review", Start: time.Now().Add(-time.Minute), End: time.Now().Add(time.Hour)})
	h.Publish("graph2mqtt/contoso/request/refresh", "{}")
	h.Values(topic+"/state", map[string]any{"busy": true})
	if n := h.Microsoft.Count("POST", "/contoso.example/oauth2/v2.0/token"); n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
	log := h.Log.String()
	if strings.Contains(log, "refused") {
		t.Error("the sign-in was refused meanwhile")
	}
	if strings.Contains(log, "configuration reloaded") || !strings.Contains(log, "configuration unchanged") {
		t.Errorf("a new certificate is not a new configuration:\n%s", log)
	}
	if n := strings.Count(log, "signed in"); n != 1 || !strings.Contains(log, `msg="signed in as an application" account=contoso granted_in_entra_id=Calendars.Read`) {
		t.Errorf("the sign-in is logged %d times:\n%s", n, log)
	}
}

// The rooms of a list are found, also those that come later, and go when they are taken off the list.
func TestOrganizationRoomList(t *testing.T) {
	t.Parallel()
	h := organize(t, "rooms: {list: building7@contoso.example, except: [Storage]}")
	h.Microsoft.GrantRoles(application, "Place.Read.All", "Calendars.Read")
	for _, name := range []string{"Rome", "Oslo", "Storage"} {
		h.Microsoft.AddRoom(simulator.Room{Address: strings.ToLower(name) + "@contoso.example", Name: name + " room", Lists: []string{"building7@contoso.example"}})
	}
	h.configureOrganization("rooms: {list: building7@contoso.example, except: [storage@contoso.example]}")
	h.Start()
	rome, oslo := "graph2mqtt/contoso/"+roomID("rome@contoso.example"), "graph2mqtt/contoso/"+roomID("oslo@contoso.example")
	h.Shows(rome+"/availability", "online")
	h.Shows(oslo+"/availability", "online")
	h.Microsoft.AddRoom(simulator.Room{Address: "lima@contoso.example", Name: "Lima", Lists: []string{"building7@contoso.example"}})
	h.Microsoft.RemoveRoom("rome@contoso.example")
	h.Publish("graph2mqtt/contoso/request/rescan", "{}")
	h.Shows("graph2mqtt/contoso/"+roomID("lima@contoso.example")+"/availability", "online")
	h.Gone(roomID("rome@contoso.example"))
	h.Shows(oslo+"/availability", "online")
	h.Gone(roomID("storage@contoso.example"))
	h.Gone(roomID(berlin))
}

// A panel books the room in its own calendar, and sees it at once.
func TestOrganizationBooking(t *testing.T) {
	h := organize(t, "enable_update: true\nrooms: {addresses: ["+berlin+", "+paris+"]}")
	h.pause = time.Hour // what is shown is the effect of the request
	h.Microsoft.SetMailboxRoles(application, berlin, "Calendars.ReadWrite")
	h.Microsoft.SetMailboxRoles(application, paris, "Calendars.Read")
	h.Start()
	topic := "graph2mqtt/contoso/" + roomID(berlin)
	h.Values(topic+"/state", map[string]any{"busy": false})
	h.Shows(topic+"/commands", "online")
	for range 2 {
		mark := h.settledMark()
		h.Publish(topic+"/request/book", `{"minutes": 30, "transaction": "panel-1"}`)
		h.Next(mark, topic+"/response/book", func(p string) bool { return strings.Contains(p, `"status":"ok"`) })
	}
	h.Values(topic+"/state", map[string]any{"busy": true, "organizer": nil})
	if n := h.Microsoft.Count("POST", "/v1.0/users/"+berlin+"/events"); n != 1 {
		t.Errorf("%d bookings, want 1", n)
	}
	mark := h.mark()
	h.Publish("graph2mqtt/contoso/rooms/request/book", `{"room": "Berlin"}`)
	h.Next(mark, "graph2mqtt/contoso/rooms/response/book", func(p string) bool { return strings.Contains(p, `"code":"conflict"`) })
	mark = h.mark()
	h.Publish(topic+"/request/end", `{}`)
	h.Next(mark, topic+"/response/end", func(p string) bool { return strings.Contains(p, `"status":"ok"`) })
	h.Values(topic+"/state", map[string]any{"busy": false})
	mark = h.mark()
	h.Publish("graph2mqtt/contoso/"+roomID(paris)+"/request/book", `{}`)
	h.Next(mark, "graph2mqtt/contoso/"+roomID(paris)+"/response/book", func(p string) bool {
		return strings.Contains(p, `"code":"permission_missing"`) && strings.Contains(p, "Application Calendars.ReadWrite")
	})
}

// The mailboxes of an organization have the kinds of accounts, without a user: each reads its own mailbox, and nothing else. One that Exchange
// excludes is offline with the reason.
func TestOrganizationMailboxes(t *testing.T) {
	keys := "enable_update: true\nsensors:\n"
	for _, s := range []string{
		"calendar: {type: calendar, user: " + simulator.Adele + ", on_demand: true, allow: [default, expand_groups, contacts_search, person]}",
		"calendars: {type: calendar, calendar: all, user: " + simulator.Adele + "}",
		"inbox: {type: email, user: " + simulator.Adele + ", folder: Inbox}",
		"urgent: {type: query, user: " + simulator.Adele + ", importance: high}",
		"away: {type: auto_reply, user: " + simulator.Adele + "}",
		"tasks: {type: todo, user: " + simulator.Adele + ", list: defaultList}",
		"presence: {type: status, user: " + simulator.Adele + "}",
		"excluded: {type: email, user: " + simulator.Megan + "}",
		"nobody: {type: todo, user: nobody@contoso.example, list: defaultList}",
	} {
		keys += "  " + s + "\n"
	}
	h := organize(t, keys)
	h.pause = time.Hour // what is shown is the effect of the request
	h.Microsoft.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
	h.Microsoft.GrantRoles(application, "Presence.Read.All", "User.ReadBasic.All", "Tasks.ReadWrite.All", "GroupMember.Read.All")
	h.Microsoft.SetMailboxRoles(application, simulator.Adele, "Calendars.ReadWrite", "Contacts.Read", "Mail.ReadWrite", "Mail.Send", "MailboxSettings.ReadWrite")
	now := time.Now()
	h.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Budget", Start: now.Add(-time.Hour), End: now.Add(time.Hour)})
	h.Microsoft.DeliverMail(simulator.Adele, simulator.Mail{Subject: "Report", From: simulator.Megan, Importance: "high", Received: now})
	h.Microsoft.AddContact(simulator.Adele, simulator.Contact{Given: "Peter", Surname: "Miller", Address: "peter@fabrikam.example"})
	h.Microsoft.AddGroup(simulator.Group{Name: "Board", Address: "board@contoso.example", Members: []string{simulator.Adele, simulator.Megan}})
	h.Start()
	const root = "graph2mqtt/contoso/"
	for sensor, want := range map[string]map[string]any{
		"calendar": {"busy": true, "current": "Budget"}, "inbox": {"latest_subject": "Report"}, "urgent": {"matching": 1.0},
		"away": {"mode": "disabled"}, "tasks": {"overdue": 0.0}, "presence": {"availability": "Available"},
	} {
		h.Values(root+sensor+"/state", want)
		h.Shows(root+sensor+"/availability", "online")
	}
	h.Shows(root+runtime.MemberID("calendars", sensors.Member{ID: h.Microsoft.Calendars(simulator.Adele)[0].ID})+"/availability", "online")
	for sensor, message := range map[string]string{
		"excluded": "the application has no access to the mailbox " + simulator.Megan + "; an administrator assigns it the Exchange role Application Mail.Read for this mailbox, which takes up to two hours to have an effect",
		"nobody":   "there is no mailbox nobody@contoso.example",
	} {
		h.Shows(root+sensor+"/availability", "offline")
		h.Holds(root+sensor+"/status", func(s string) bool { return includes(s, map[string]any{"problem": true, "message": message}) })
	}
	h.Shows("graph2mqtt/contoso/state", "online")

	request := func(sensor, operation, payload, want string) {
		t.Helper()
		mark := h.mark()
		h.Publish(root+sensor+"/request/"+operation, payload)
		if answer := h.Next(mark, root+sensor+"/response/"+operation, func(string) bool { return true }); !strings.Contains(answer, want) {
			t.Errorf("%s of %s: %s\nwant %s", operation, sensor, answer, want)
		}
	}
	const ok = `"status":"ok"`
	request("away", "enable", `{"internal_reply": "Away"}`, ok)
	request("tasks", "new", `{"subject": "Water the plants"}`, ok)
	request("inbox", "send", `{"subject": "To myself", "message": "Hello"}`, ok)
	request("calendar", "free_busy", `{"attendees": ["`+simulator.Megan+`"], "start": "2026-01-01T10:00:00", "end": "2026-01-01T11:00:00"}`, ok)
	request("calendar", "contacts_search", `{"surname": "Miller"}`, "peter@fabrikam.example")
	request("calendar", "person", `{"address": "`+simulator.Megan+`"}`, "Megan")
	request("calendar", "expand_groups", `{"subject": "Board", "start": "2026-12-01T10:00:00", "end": "2026-12-01T11:00:00", "attendees": [{"email": "board@contoso.example"}]}`, `"expanded":["board@contoso.example"]`)
	request("excluded", "send", `{"to": ["`+simulator.Adele+`"], "subject": "x", "message": "x"}`, "Exchange role Application Mail.Send for this mailbox")
	request("calendar", "find_times", "{}", "find_times is not offered: Microsoft finds times for a user who is signed in only")
	if m := h.Microsoft.SentMails(simulator.Adele); len(m) != 1 || m[0].Subject != "To myself" {
		t.Errorf("sent: %+v", m)
	}
	for _, r := range h.Microsoft.Requests() {
		if strings.HasPrefix(r.Path, "/v1.0/me") || strings.HasPrefix(r.Path, "/v1.0/users/"+simulator.Megan+"/calendar") {
			t.Errorf("%s %s", r.Method, r.Path)
		}
	}

	// The sensor of another mailbox shows nothing of the one before.
	h.configureOrganization(strings.ReplaceAll(keys, "inbox: {type: email, user: "+simulator.Adele, "inbox: {type: email, user: "+simulator.Megan))
	h.Reload()
	h.Shows(root+"inbox/availability", "offline")
	h.Values(root+"inbox/state", map[string]any{"latest_subject": nil})
}
