package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

const organizationClient = "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11"

// configureOrganization configures the organization contoso with these keys, and registers its certificate.
func (h *harness) configureOrganization(t *testing.T, keys string) {
	t.Helper()
	certificate, withKey, err := simulator.NewCertificate(time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "contoso.pem", string(withKey))
	h.simulator.Register(simulator.Registration{ClientID: organizationClient, Certificates: string(certificate)})
	cloud := strings.Replace(h.cloud(), simulator.ContosoClient, organizationClient, 1)
	h.write(t, "graph2mqtt.yaml", fmt.Sprintf("mqtt: {url: \"mqtt://127.0.0.1:1\"}\norganizations:\n  contoso:\n    %s\n    tenant: contoso.example\n    certificate_file: %s\n    %s\n",
		cloud, filepath.Join(h.dir, "contoso.pem"), keys))
}

// read returns the content of a file.
func (h *harness) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The permissions of an organization are those of an application, and say where they are assigned.
func TestOrganizationPermissions(t *testing.T) {
	h := newHarness(t)
	h.configureOrganization(t, "rooms: {addresses: [berlin@contoso.example], enable_update: true}")
	for file, args := range map[string][]string{
		"permissions-organization.txt":      nil,
		"permissions-organization.md":       {"--format", "markdown"},
		"permissions-organization.json":     {"--format", "json"},
		"permissions-organization.manifest": {"--format", "manifest"},
		"permissions-organization.az":       {"--format", "az"},
	} {
		code, stdout, stderr := h.call(t, append([]string{"permissions", "contoso"}, args...)...)
		if code != 0 {
			t.Errorf("%s: exit code %d: %s", file, code, stderr)
		}
		stdout = strings.NewReplacer(h.dir, "/etc/graph2mqtt", h.simulator.LoginURL(), "https://login.microsoftonline.com", h.simulator.GraphURL(), "https://graph.microsoft.com").Replace(stdout)
		golden(t, filepath.Join("testdata", file), stdout)
	}
	code, stdout, stderr := h.call(t, "permissions", "contoso", "--format", "link")
	if want := "graph2mqtt: organization contoso: there is nothing to consent to in Entra ID; for the commands of Exchange, run: graph2mqtt permissions contoso --format az\n"; code != 1 || stdout != "" || stderr != want {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}

// The sensors of mailboxes need permissions for these alone, and for writing only where they write.
func TestMailboxPermissions(t *testing.T) {
	h := newHarness(t)
	h.configureOrganization(t, `rooms: {addresses: [berlin@contoso.example]}
    sensors:
      ann: {type: calendar, user: ann@contoso.example, on_demand: true, allow: [default, expand_groups, contacts_search, person_full], enable_update: true}
      bob: {type: calendar, user: Bob@contoso.example}
      info: {type: email, user: info@contoso.example, enable_update: true}
      bills: {type: query, user: bob@contoso.example, basic: true}
      away: {type: auto_reply, user: 0f2b7a43-94b6-4a53-8f6c-0d1d0b7c5a11}
      tasks: {type: todo, user: ann@contoso.example}
      presence: {type: status, user: ann@contoso.example}`)
	for file, args := range map[string][]string{
		"permissions-mailboxes.txt":      nil,
		"permissions-mailboxes.md":       {"--format", "markdown"},
		"permissions-mailboxes.json":     {"--format", "json"},
		"permissions-mailboxes.manifest": {"--format", "manifest"},
		"permissions-mailboxes.az":       {"--format", "az"},
		"permissions-mailboxes.link":     {"--format", "link"},
	} {
		code, stdout, stderr := h.call(t, append([]string{"permissions", "contoso"}, args...)...)
		if code != 0 {
			t.Errorf("%s: exit code %d: %s", file, code, stderr)
		}
		golden(t, filepath.Join("testdata", file), strings.NewReplacer(h.dir, "/etc/graph2mqtt", h.simulator.LoginURL(), "https://login.microsoftonline.com", h.simulator.GraphURL(), "https://graph.microsoft.com").Replace(stdout))
	}
}

// login reads from each mailbox, and says what an administrator does about those that it may not read.
func TestCheckMailboxes(t *testing.T) {
	h := newHarness(t)
	h.configureOrganization(t, `sensors:
      away: {type: auto_reply, user: adele@contoso.example}
      calendar: {type: calendar, user: adele@contoso.example}
      calendars: {type: calendar, calendar: all, user: adele@contoso.example}
      inbox: {type: email, user: adele@contoso.example, enable_update: true}
      tasks: {type: todo, user: adele@contoso.example, enable_update: true}
      presence: {type: status, user: adele@contoso.example}`)
	h.simulator.SetMailboxRoles(organizationClient, "adele@contoso.example", "Calendars.Read", "MailboxSettings.Read")
	h.simulator.GrantRoles(organizationClient, "Presence.Read.All", "User.ReadBasic.All", "Tasks.Read.All")
	code, stdout, stderr := h.call(t, "login", "contoso")
	for _, want := range []string{
		"  away: ok\n", "  calendar: ok\n", " (Birthdays): ok\n", "  presence: ok\n", " (Tasks): ok\n",
		"  tasks: new: minimum required permissions not granted: Tasks.ReadWrite.All\n",
		"  inbox: read the folder: the application has no access to the mailbox adele@contoso.example; an administrator assigns it the Exchange role Application Mail.Read for this mailbox, which takes up to two hours to have an effect (Graph answered 403 ErrorAccessDenied)\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no line %s", want)
		}
	}
	if code != 2 || !strings.HasSuffix(stderr, "of the sensors cannot be read or changed\n") {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
}

// What an organization cannot have is refused with the reason.
func TestOrganizationRefusals(t *testing.T) {
	for sensor, want := range map[string]string{
		"chats: {type: chat}":                                          "type (line 9): chat is for accounts, to which a user signs in: Microsoft does not let applications send messages; organizations have auto_reply, calendar, email, query, room, status and todo",
		"channel: {type: channel}":                                     "type (line 9): channel is for accounts, to which a user signs in: Microsoft does not let applications send messages",
		"plan: {type: planner}":                                        "type (line 9): planner is for accounts, to which a user signs in: Planner lists the tasks that are assigned to the user who signs in",
		"group: {type: group_calendar, group: all}":                    "type (line 9): group_calendar is for accounts, to which a user signs in: Microsoft does not let applications use the calendars of groups",
		"me: {type: status}":                                           "user (line 9) is required in an organization, because no user signs in: want the address of a person, such as ann@contoso.com, or an object id",
		"inbox: {type: email}":                                         "user (line 9) is required, such as ann@contoso.com",
		"inbox: {type: email, user: a@b.c, shared_mailbox: d@b.c}":     "shared_mailbox (line 9): not in an organization: user names the mailbox",
		"inbox: {type: email, user: a@b.c, send_as: [d@b.c]}":          "send_as (line 9): not in an organization: an application sends as the owner of the mailbox; add a sensor for each mailbox",
		"ann: {type: calendar, user: a@b.c, meetings: true}":           "meetings (line 9): not in an organization: Teams tells applications about meetings only if an administrator makes a policy for them",
		"ann: {type: calendar, user: a@b.c, basic_calendar: true}":     "basic_calendar (line 9): not in an organization: Exchange has no such role for applications",
		"ann: {type: calendar, user: a@b.c, allow: [find_times]}":      "allow[0] (line 9): find_times is not offered: Microsoft finds times for a user who is signed in only",
		"ann: {type: calendar, user: a@b.c, allow: [create_meeting]}":  "allow[0] (line 9): create_meeting is not offered: Teams creates meetings for a user who is signed in only, unless an administrator makes a policy for the application",
		"ann: {type: calendar, user: a@b.c, allow: [people_search]}":   "allow[0] (line 9): people_search is not offered: it searches the people that a user works with; use person or contacts_search",
		"berlin: {type: room, room: a@b.c, allow: [person]}":           "allow[0] (line 9): person is not offered: in an organization, the sensors of mailboxes have it, which are those with the key user, except status",
		"ann: {type: status, user: a@b.c, allow: [set_work_location]}": "allow[0] (line 9): set_work_location is not offered with user, because you can set only your own status",
		"ann: {type: status, user: a@b.c, enable_update: true}":        "enable_update (line 9): this sensor has nothing that could be changed",
	} {
		h := newHarness(t)
		h.configureOrganization(t, "sensors:\n      "+sensor)
		if code, stdout, stderr := h.call(t, "check"); code != 1 || !strings.Contains(stdout, want) {
			t.Errorf("%s: %d, %s%s\nwant %s", sensor, code, stdout, stderr, want)
		}
	}
}

// Listing rooms needs a permission of Entra ID, and discover prints them.
func TestDiscoverRooms(t *testing.T) {
	h := newHarness(t)
	h.simulator.AddRoom(simulator.Room{Address: "berlin@contoso.example", Name: "Berlin"})
	h.simulator.AddRoom(simulator.Room{Address: "paris@contoso.example", Name: "Paris"})
	h.configureOrganization(t, "sensors: {berlin: {type: room, room: berlin@contoso.example}}")
	if code, _, stderr := h.call(t, "discover", "contoso"); code != 2 || !strings.Contains(stderr, "room: minimum required permissions not granted: Place.Read.All (or Place.ReadWrite.All); see: graph2mqtt permissions contoso") {
		t.Errorf("%d, %s", code, stderr)
	}
	h.simulator.GrantRoles(organizationClient, "Place.Read.All")
	code, stdout, stderr := h.call(t, "discover", "contoso")
	const want = "      # room: 2 found, to be pasted below organizations.contoso.sensors\n      # Berlin is configured already: berlin\n      paris: {type: room, room: paris@contoso.example}\n"
	if code != 0 || stdout != want {
		t.Errorf("%d\n%s%s\nwant\n%s", code, stdout, stderr, want)
	}
	h.configureOrganization(t, "sensors: {berlin: {type: room, room: berlin@contoso.example}, adele: {type: calendar, user: adele@contoso.example, calendar: all}}")
	h.simulator.GrantRoles(organizationClient, "Place.Read.All", "Calendars.Read")
	const members = "      # members of adele:\n"
	if code, stdout, stderr := h.call(t, "discover", "contoso"); code != 0 || !strings.Contains(stdout, members) || !strings.Contains(stdout, ": Birthdays\n") {
		t.Errorf("the calendars of a mailbox: %d\n%s%s", code, stdout, stderr)
	}
	h.configureOrganization(t, "rooms: {except: [Paris]}")
	h.simulator.GrantRoles(organizationClient, "Place.Read.All")
	const excluded = "      # Berlin is configured already: rooms\n      paris: {type: room, room: paris@contoso.example}\n"
	if code, stdout, stderr := h.call(t, "discover", "contoso"); code != 0 || !strings.Contains(stdout, excluded) {
		t.Errorf("an excluded room: %d\n%s%s", code, stdout, stderr)
	}
	h.configureOrganization(t, "rooms: {}")
	for file, args := range map[string][]string{
		"permissions-rooms.manifest": {"--format", "manifest"},
		"permissions-rooms.az":       {"--format", "az"},
		"permissions-rooms.link":     {"--format", "link"},
	} {
		_, stdout, _ := h.call(t, append([]string{"permissions", "contoso"}, args...)...)
		golden(t, filepath.Join("testdata", file), strings.NewReplacer(h.dir, "/etc/graph2mqtt", h.simulator.LoginURL(), "https://login.microsoftonline.com", h.simulator.GraphURL(), "https://graph.microsoft.com").Replace(stdout))
	}
}

// login checks the certificate, and each room.
func TestCheckOrganization(t *testing.T) {
	h := newHarness(t)
	for _, name := range []string{"berlin", "paris"} {
		h.simulator.AddRoom(simulator.Room{Address: name + "@contoso.example", Name: name})
	}
	h.configureOrganization(t, "rooms: {addresses: [berlin@contoso.example, paris@contoso.example]}")
	h.simulator.SetMailboxRoles(organizationClient, "berlin@contoso.example", "Calendars.Read")
	id := func(address string) string { return runtime.MemberID("rooms", sensors.Member{ID: address}) }
	berlin, paris := "  "+id("berlin@contoso.example")+" (Berlin): ", "  "+id("paris@contoso.example")+" (Paris): "
	const denied = "read the calendar of the room: the application has no access to the mailbox paris@contoso.example; an administrator assigns it the Exchange role Application Calendars.Read for this mailbox, which takes up to two hours to have an effect (Graph answered 403 ErrorAccessDenied)\n"
	code, stdout, stderr := h.call(t, "login", "contoso")
	if !strings.HasPrefix(stdout, "✓ contoso signs in as the application "+organizationClient+".\n") || !strings.Contains(stdout, berlin+"ok\n") || !strings.Contains(stdout, paris+denied) ||
		code != 2 || stderr != "graph2mqtt: 1 of the sensors cannot be read or changed\n" {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
	h.simulator.GrantRoles(organizationClient, "Calendars.Read")
	code, stdout, stderr = h.call(t, "login", "contoso")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "Calendars.Read is granted in Entra ID: the application can use it in every mailbox of the organization.\n") || !strings.Contains(stdout, paris+"ok\n") {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
	h.write(t, "token", "workload\n")
	h.write(t, "graph2mqtt.yaml", strings.Replace(h.read(t, "graph2mqtt.yaml"), "certificate_file: "+filepath.Join(h.dir, "contoso.pem"), "federated_token_file: "+filepath.Join(h.dir, "token"), 1))
	h.simulator.Register(simulator.Registration{ClientID: organizationClient, FederatedToken: "workload", Roles: []string{"Calendars.Read"}})
	if code, stdout, stderr := h.call(t, "login", "contoso"); code != 0 || !strings.Contains(stdout, paris+"ok\n") {
		t.Errorf("with the token of a workload: %d\n%s%s", code, stdout, stderr)
	}
	h.configureOrganization(t, "rooms: {addresses: [berlin@contoso.example]}")
	h.simulator.Register(simulator.Registration{ClientID: organizationClient})
	code, _, stderr = h.call(t, "login", "contoso")
	if code != 2 || !strings.Contains(stderr, "organizations.contoso.certificate_file") {
		t.Errorf("a certificate that is not registered: %d, %s", code, stderr)
	}
	for args, want := range map[string]string{
		"login contoso --device-code": "--device-code, --port and --for are for accounts, to which a user signs in",
		"logout contoso":              "contoso is an organization and has no sign-in to delete; to stop it, remove it from the configuration",
	} {
		if code, _, stderr := h.call(t, strings.Fields(args)...); code != 1 || stderr != "graph2mqtt: "+want+"\n" {
			t.Errorf("%s: %d, %s", args, code, stderr)
		}
	}
	_, stdout, _ = h.call(t, "accounts", "--json")
	var accounts map[string]accountStatus
	if err := json.Unmarshal([]byte(stdout), &accounts); err != nil || accounts["contoso"].State != "application" {
		t.Errorf("accounts: %v, %s", err, stdout)
	}
	for _, args := range [][]string{{"link", "contoso"}, {"link", "contoso", "--revoke"}} {
		if code, _, stderr := h.call(t, args...); code != exitUsage || stderr != "graph2mqtt: contoso is an organization: it signs in by itself and needs no link\n" {
			t.Errorf("%s: %d, %s", args, code, stderr)
		}
	}
}
