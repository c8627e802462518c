package main

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// callJSON runs call and returns the response without its times.
func (h *harness) callJSON(t *testing.T, stdin string, args ...string) (code int, r services.Response, stderr string) {
	t.Helper()
	p := h.start(t, append([]string{"call"}, args...)...)
	go func() {
		_, _ = p.stdin.Write([]byte(stdin))
		_ = p.stdin.Close()
	}()
	code = p.wait(t)
	if err := json.Unmarshal([]byte(p.stdout.String()), &r); err != nil {
		t.Errorf("%v: %s%s", err, p.stdout, p.stderr)
	}
	if r.ReceivedAt.IsZero() || r.CompletedAt.Before(r.ReceivedAt) {
		t.Errorf("received at %s, completed at %s", r.ReceivedAt, r.CompletedAt)
	}
	r.ReceivedAt, r.CompletedAt = time.Time{}, time.Time{}
	return code, r, p.stderr.String()
}

func TestCall(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "enable_update: true", "{calendar: {type: calendar}, out_of_office: {type: auto_reply}}")
	h.login(t)
	code, r, stderr := h.callJSON(t, "", "work/out_of_office", "enable", "internal_reply=Back on Monday, perhaps", "transaction=1")
	if code != 0 || stderr != "" || r.Status != "ok" || r.Op != "enable" || r.Transaction != "1" {
		t.Errorf("%d, %+v, %s", code, r, stderr)
	}
	if got := h.simulator.AutomaticReplies(simulator.Adele); got.Status != "alwaysEnabled" || !strings.Contains(got.InternalReply, "Back on Monday, perhaps") {
		t.Errorf("at Microsoft: %+v", got)
	}

	// Times without a zone are in the mailbox's; lists have commas, numbers and booleans are as in JSON.
	code, r, stderr = h.callJSON(t, "", "work/calendar", "create", "subject=12", "start=2030-07-01T10:00", "end=2030-07-01T11:00",
		"categories=Private,Health", "remind_before_minutes=5", "is_reminder_on=true", `attendees=[{"email": "megan@contoso.example", "type": "required"}]`)
	if code != 0 || stderr != "" || r.Status != "ok" {
		t.Fatalf("%d, %+v, %s", code, r, stderr)
	}
	events := h.simulator.Events(simulator.Adele, "")
	i := slices.IndexFunc(events, func(e map[string]any) bool { return e["subject"] == "12" })
	if i < 0 {
		t.Fatalf("no such event among %v", events)
	}
	b, err := json.Marshal(events[i])
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Start      struct{ DateTime, TimeZone string }
		Categories []string
		Reminder   int `json:"reminderMinutesBeforeStart"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	if cmp.Diff([]string{"Private", "Health"}, e.Categories) != "" || e.Reminder != 5 || !strings.HasPrefix(e.Start.DateTime, "2030-07-01T08:00:00") {
		t.Errorf("at Microsoft: %s", b)
	}

	code, r, stderr = h.callJSON(t, `{"mode": "disabled", "transaction": "2"}`, "work/out_of_office", "update", "--json")
	if code != 0 || stderr != "" || r.Status != "ok" || r.Transaction != "2" || h.simulator.AutomaticReplies(simulator.Adele).Status != "disabled" {
		t.Errorf("%d, %+v, %s", code, r, stderr)
	}
}

// A request to all calendars names one of them.
func TestCallMember(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "enable_update: true", "{calendars: {type: calendar, calendar: all}}")
	h.login(t)
	event := []string{"subject=Cake", "start=2030-07-01T10:00", "end=2030-07-01T11:00"}
	code, r, stderr := h.callJSON(t, "", append([]string{"work/calendars", "create", "calendar=birthdays"}, event...)...)
	if code != 0 || stderr != "" || r.Status != "ok" {
		t.Errorf("%d, %+v, %s", code, r, stderr)
	}
	code, r, _ = h.callJSON(t, "", append([]string{"work/calendars", "create"}, event...)...)
	if code != 1 || r.Error == nil || r.Error.Message != "calendar is required, as a text, because calendars stands for several; known: Birthdays, Calendar" {
		t.Errorf("%d, %+v", code, r.Error)
	}
	h.simulator.Fail(simulator.Fault{Path: "/v1.0/me/calendars", Status: 503, Times: -1})
	code, r, _ = h.callJSON(t, "", append([]string{"work/calendars", "create", "calendar=birthdays"}, event...)...)
	if code != 2 || r.Error == nil || r.Status != "error" {
		t.Errorf("without the list of calendars: %d, %+v", code, r)
	}
}

// A member's own sensor can be called, too.
func TestCallMemberSensor(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "timezone: local", "{calendars: {type: calendar, calendar: all, on_demand: true}}")
	h.login(t)
	_, stdout, stderr := h.call(t, "discover", "work")
	m := regexp.MustCompile(`(?m)^      # members of calendars:\n(?:      #   .*\n)*      #   (calendars_[a-z2-7]{8}): Birthdays$`).FindStringSubmatch(stdout)
	if m == nil {
		t.Fatalf("no member in %s%s", stdout, stderr)
	}
	code, r, stderr := h.callJSON(t, "", "work/"+m[1], "list", "start=2030-07-01", "end=2030-07-02")
	if code != 0 || stderr != "" || r.Status != "ok" {
		t.Errorf("%d, %+v, %s", code, r, stderr)
	}
	code, r, _ = h.callJSON(t, "", "work/calendars_aaaaaaaa", "list")
	if code != 1 || r.Error == nil || r.Error.Code != "unknown_sensor" {
		t.Errorf("%d, %+v", code, r)
	}
}

// Call rejects what a bridge would reject, for the same reasons.
func TestCallRefused(t *testing.T) {
	h := newHarness(t)
	requests := func() int { return len(h.simulator.Requests()) }
	refused := func(code services.Code, exit int, message, stdin string, args ...string) {
		t.Helper()
		before := requests()
		got, r, stderr := h.callJSON(t, stdin, args...)
		want := services.Response{Op: args[1], Status: "error", Error: &services.Failure{Code: code, Message: message}}
		if diff := cmp.Diff(want, r); diff != "" || got != exit || stderr != "graph2mqtt: "+message+"\n" {
			t.Errorf("%v: exit code %d, %s, %s", args, got, diff, stderr)
		}
		if n := requests() - before; n > 0 {
			t.Errorf("%v: %d requests to Microsoft", args, n)
		}
	}
	refused("sign_in_required", 2, "not signed in; run: graph2mqtt login work", "", "work/out_of_office", "enable")
	h.simulator.SetSignIn(simulator.SignIn{Declines: []string{"MailboxSettings.ReadWrite"}})
	h.login(t)
	refused("permission_missing", 2, "minimum required permissions not granted: MailboxSettings.ReadWrite; run: graph2mqtt login work", "", "work/out_of_office", "enable")
	refused("updates_disabled", 1, "create is not offered without enable_update: true (accounts.work.sensors.calendar)", "", "work/calendar", "create", "subject=x")
	refused("unknown_sensor", 1, `account work has no sensor "calender"; known: calendar, out_of_office`, "", "work/calender", "create")
	refused("unknown_op", 1, `a sensor of type auto_reply has no operation "enabel"; known: contacts_search, disable, enable, people_search, person, person_full, update`, "", "work/out_of_office", "enabel")
	h.simulator.SetSignIn(simulator.SignIn{})
	h.login(t)
	// The mailbox's zone is read before the request is decoded.
	for args, want := range map[string]string{
		"internal_repy=x":  "internal_repy: unknown field; did you mean internal_reply? known fields: end, expires, external_audience, external_reply, internal_reply, start, transaction",
		"--json":           "want a JSON object, such as {}, not [1]",
		"external_reply=1": "",
	} {
		code, r, _ := h.callJSON(t, "[1]", "work/out_of_office", "enable", args)
		if want == "" && (code != 0 || r.Error != nil) || want != "" && (code != 1 || r.Error == nil || r.Error.Message != want) {
			t.Errorf("%s: %d, %+v", args, code, r.Error)
		}
	}
	for args, want := range map[string]string{
		"work enable":                               "want ACCOUNT/SENSOR, such as work/calendar, not \"work\"; the configuration offers:\n  work/out_of_office: enable, disable, update",
		"home/calendar create":                      "there is no account \"home\"; the configuration has: work",
		"work/out_of_office enable x":               "want FIELD=VALUE, such as subject=Dentist, not \"x\"",
		"work/out_of_office enable start=1 start=2": "start is given twice",
		"work/out_of_office enable start=1 --json":  "--json reads the request from standard input; do not give fields as arguments",
	} {
		code, stdout, stderr := h.call(t, append([]string{"call"}, strings.Fields(args)...)...)
		if code != 1 || stdout != "" || stderr != "graph2mqtt: "+want+"\n" {
			t.Errorf("%s: %d, %s, %s", args, code, stdout, stderr)
		}
	}
}

func TestDiscover(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "timezone: local", "{birthdays: {type: calendar, calendar: Birthdays}, out_of_office: {type: auto_reply}}")
	code, stdout, stderr := h.call(t, "discover", "work")
	if code != 2 || stdout != "" || stderr != "graph2mqtt: not signed in; run: graph2mqtt login work\n" {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	for _, name := range []string{"State", "Müller & Söhne: \"all\"", "all", "yes"} {
		h.simulator.AddCalendar(simulator.Adele, name)
	}
	h.login(t)
	code, stdout, stderr = h.call(t, "discover", "work")
	want := "group_calendar: minimum required permissions not granted: Group.Read.All (or Group.ReadWrite.All); run: graph2mqtt login work --for group_calendar\n" +
		"channel: minimum required permissions not granted: Team.ReadBasic.All, Channel.ReadBasic.All; run: graph2mqtt login work --for channel\n" +
		"chat: minimum required permissions not granted: Chat.Read (or Chat.ReadWrite); run: graph2mqtt login work --for chat\n" +
		"email: minimum required permissions not granted: Mail.Read (or Mail.ReadWrite); run: graph2mqtt login work --for email\n" +
		"planner: minimum required permissions not granted: Tasks.Read (or Tasks.ReadWrite); run: graph2mqtt login work --for planner\n" +
		"status: minimum required permissions not granted: Presence.Read (or Presence.Read.All); run: graph2mqtt login work --for status\n" +
		"todo: minimum required permissions not granted: Tasks.Read (or Tasks.ReadWrite); run: graph2mqtt login work --for todo\n"
	if code != 0 || stderr != want {
		t.Fatalf("%d, %s", code, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var ids []string
	for _, line := range lines[1:] {
		id, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		ids = append(ids, id)
	}
	if diff := cmp.Diff([]string{"calendar", "# Birthdays is configured already", "state_2", "muller_sohne_all", "all", "yes"}, ids); diff != "" || lines[0] != "# calendar: 6 found, to be pasted below accounts.work.sensors" {
		t.Errorf("%s: %s", diff, stdout)
	}
	for _, want := range []string{
		"\n      calendar: {type: calendar, calendar: Calendar}\n", "\n      state_2: {type: calendar, calendar: State}\n",
		"\n      yes: {type: calendar, calendar: \"yes\"}\n", "calendar: \"Müller \\u0026 Söhne: \\\"all\\\"\"}\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in %s", want, stdout)
		}
	}
	if strings.Contains(stdout, "calendar: all}") {
		t.Error("a calendar of the name all is taken for all calendars")
	}
	// The default calendar needs no name.
	h.configureWork(t, "timezone: local", "{mine: {type: calendar}, state_2: {type: calendar, calendar: State, shared_mailbox: alex@contoso.example}}")
	_, other, _ := h.call(t, "discover", "work")
	if !strings.Contains(other, "\n      # Calendar is configured already: mine\n") || !strings.Contains(other, "{type: calendar, calendar: State}\n") {
		t.Errorf("discover: %s", other)
	}
	// The lines can be pasted, and mean what they say.
	h.configureWork(t, "timezone: local", "\n"+stdout)
	if code, stdout, stderr := h.call(t, "check"); code != 0 {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}

func TestDiscoverConfigured(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "timezone: local", "{mail: {type: email}, team: {type: email, folder: Archive, shared_mailbox: alex@contoso.example}, chores: {type: todo, list: tasks}}")
	h.login(t)
	code, stdout, stderr := h.call(t, "discover", "work")
	for _, want := range []string{"      # Inbox is configured already: mail\n", "{type: email, folder: Archive}", "      # Tasks is configured already: chores\n", "{type: todo, list: Flagged Emails}"} {
		if !strings.Contains(stdout, want) || code != 0 {
			t.Errorf("%d, no %q in %s%s", code, want, stdout, stderr)
		}
	}
}

// What is configured is not proposed again, whether by id, name or address, alone or as one of all.
func TestDiscoverProposesNothingTwice(t *testing.T) {
	h := newHarness(t)
	s := h.simulator
	s.AddUser(simulator.User{Address: simulator.Alex, Name: "Alex Wilber", Tenant: simulator.ContosoTenant})
	s.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen", Tenant: simulator.ContosoTenant})
	s.AddPlan(simulator.PlannerPlan{Title: "Office move", Members: []string{simulator.Adele}})
	s.AddPlan(simulator.PlannerPlan{Title: "Fair", Members: []string{simulator.Adele}})
	for _, name := range []string{"Project", "Board"} {
		s.AddGroup(simulator.Group{Name: name, Address: strings.ToLower(name) + "@contoso.example", Members: []string{simulator.Adele}})
	}
	s.AddChat(simulator.Chat{Members: []string{simulator.Adele, simulator.Alex}})
	s.AddChat(simulator.Chat{Topic: "Release", Members: []string{simulator.Adele, simulator.Alex, simulator.Megan}})
	s.AddTeam(simulator.Team{Name: "Contoso", Members: []string{simulator.Adele}, Channels: []simulator.Channel{{Name: "General"}, {Name: "News"}}})
	h.configureWork(t, "timezone: local", "{mine: {type: status}, first: {type: calendar}, folder: {type: email, folder: Inbox}, tasks: {type: todo, list: Tasks}, "+
		"group: {type: group_calendar, group: Board}, plan: {type: planner, plan: office move}, chat: {type: chat, chats: ["+simulator.Alex+"]}, channel: {type: channel, team: contoso, read: true}}")
	h.login(t)
	_, stdout, stderr := h.call(t, "discover", "work")
	for _, want := range []string{"My status is configured already: mine", "Calendar is configured already: first", "Inbox is configured already: folder", "Tasks is configured already: tasks",
		"Board is configured already: group", "Office move is configured already: plan", "Alex Wilber is configured already: chat", "Contoso General is configured already: channel"} {
		if !strings.Contains(stdout, "      # "+want+"\n") {
			t.Errorf("no %q in %s%s", want, stdout, stderr)
		}
	}
	proposed := func(kinds ...string) (lines []string) {
		_, stdout, _ := h.call(t, "discover", "work")
		for line := range strings.Lines(stdout) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && slices.ContainsFunc(kinds, func(kind string) bool { return strings.Contains(line, "{type: "+kind+",") }) {
				lines = append(lines, line)
			}
		}
		return lines
	}
	kinds := []string{"status", "calendar", "email", "todo", "group_calendar", "planner", "chat", "channel"}
	rest := proposed(kinds...)
	h.configureWork(t, "timezone: local", "\n"+stdout)
	for _, line := range proposed(kinds...) {
		if slices.Contains(rest, line) {
			t.Errorf("proposed though it was pasted: %s", line)
		}
	}
	if len(rest) < 8 {
		t.Errorf("proposed %q", rest)
	}
	h.configureWork(t, "timezone: local", "{calendars: {type: calendar, calendar: all, except: [Birthdays]}, lists: {type: todo, list: all}, groups: {type: group_calendar, group: all, except: [Board]}}")
	want := []string{"birthdays: {type: calendar, calendar: Birthdays}", "board: {type: group_calendar, group: board@contoso.example}"}
	if d := cmp.Diff(want, proposed("calendar", "todo", "group_calendar")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestDiscoverPlans(t *testing.T) {
	h := newHarness(t)
	p := h.simulator.AddPlan(simulator.PlannerPlan{Title: "Office move", Members: []string{simulator.Adele}})
	h.configureWork(t, "timezone: local", "{planner: {type: planner}}")
	h.login(t)
	code, stdout, _ := h.call(t, "discover", "work")
	want := "      # planner: 1 found, to be pasted below accounts.work.sensors\n      office_move: {type: planner, plan: "
	if code != 0 || !strings.HasPrefix(stdout, want) || !strings.Contains(stdout, p.ID) {
		t.Fatalf("%d, %s, want %s", code, stdout, want)
	}
	h.configureWork(t, "timezone: local", "\n"+stdout)
	if code, stdout, stderr := h.call(t, "check"); code != 0 {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}

// The folders of the mailbox are listed with their paths; how many mails they have is a comment and not part of the id.
func TestDiscoverMail(t *testing.T) {
	h := newHarness(t)
	h.simulator.AddMailFolder(simulator.Adele, "Bills/Power")
	h.simulator.DeliverMail(simulator.Adele, simulator.Mail{Subject: "a"})
	h.simulator.DeliverMail(simulator.Adele, simulator.Mail{Subject: "b", Read: true})
	h.configureWork(t, "timezone: local", "{mail: {type: email, folder: Archive}}")
	h.login(t)
	code, stdout, _ := h.call(t, "discover", "work")
	for _, want := range []string{"      inbox: {type: email, folder: Inbox} # 1 unread of 2\n", "      power: {type: email, folder: \"Bills/Power\"} # 0 unread of 0\n"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%d, no %q in %s", code, want, stdout)
		}
	}
	h.configureWork(t, "timezone: local", "\n"+stdout)
	if code, stdout, stderr := h.call(t, "check"); code != 0 {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}

func TestDiscoverWithoutPermission(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "timezone: local", "{out_of_office: {type: auto_reply}}")
	h.login(t)
	code, stdout, stderr := h.call(t, "discover", "work")
	want := "graph2mqtt: calendar: minimum required permissions not granted: Calendars.Read (or Calendars.ReadWrite); run: graph2mqtt login work --for calendar\n" +
		"group_calendar: minimum required permissions not granted: Group.Read.All (or Group.ReadWrite.All); run: graph2mqtt login work --for group_calendar\n" +
		"channel: minimum required permissions not granted: Team.ReadBasic.All, Channel.ReadBasic.All; run: graph2mqtt login work --for channel\n" +
		"chat: minimum required permissions not granted: Chat.Read (or Chat.ReadWrite); run: graph2mqtt login work --for chat\n" +
		"email: minimum required permissions not granted: Mail.Read (or Mail.ReadWrite); run: graph2mqtt login work --for email\n" +
		"planner: minimum required permissions not granted: Tasks.Read (or Tasks.ReadWrite); run: graph2mqtt login work --for planner\n" +
		"status: minimum required permissions not granted: Presence.Read (or Presence.Read.All); run: graph2mqtt login work --for status\n" +
		"todo: minimum required permissions not granted: Tasks.Read (or Tasks.ReadWrite); run: graph2mqtt login work --for todo\n"
	if code != 2 || stdout != "" || stderr != want {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	p := h.start(t, "login", "work", "--for", "calendar")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatal(p.stderr)
	}
	if code, stdout, stderr := h.call(t, "discover", "work"); code != 0 || !strings.Contains(stdout, "{type: calendar, calendar: Birthdays}") {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}

func TestDiscoverLogsWarningsOnce(t *testing.T) {
	h := newHarness(t)
	h.login(t)
	var stderr bytes.Buffer
	code := run(t.Context(), appPaths{}, []string{"discover", "work"}, append(h.environ(), "TZ=Nowhere/City"), strings.NewReader(""), io.Discard, &stderr)
	if n := strings.Count(stderr.String(), "Nowhere/City"); code != 0 || n != 1 {
		t.Errorf("%d, %d warnings: %s", code, n, &stderr)
	}
}

// A cursor leads from one run of the program to the next page in another.
func TestCallPages(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "timezone: local", "{mail: {type: email, on_demand: true, allow: [default, attachment]}, archive: {type: email, folder: Archive, on_demand: true}}")
	for _, subject := range []string{"a", "b", "c"} {
		h.simulator.DeliverMail(simulator.Adele, simulator.Mail{Subject: subject, Received: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Attachments: []simulator.Attachment{{Name: subject, Content: make([]byte, 400<<10)}}})
	}
	h.login(t)
	all := func(sensor, operation string, fields ...string) (pages []map[string]any) {
		t.Helper()
		cursor := ""
		for {
			code, r, stderr := h.callJSON(t, "", append([]string{sensor, operation, "cursor=" + cursor}, fields...)...)
			if code != 0 || stderr != "" {
				t.Fatalf("%d, %+v, %s", code, r.Error, stderr)
			}
			pages = append(pages, r.Data.(map[string]any))
			if cursor = r.Cursor; cursor == "" {
				return pages
			}
		}
	}
	found := map[any]any{}
	pages := all("work/mail", "list", "limit=1", "start=2026-01-01", "end=2026-01-02")
	for _, page := range pages {
		for _, m := range page["mails"].([]any) {
			found[m.(map[string]any)["subject"]] = m.(map[string]any)["message_id"]
		}
	}
	if len(pages) != 3 || len(found) != 3 {
		t.Errorf("%d pages, %v", len(pages), found)
	}
	message := "message_id=" + found["b"].(string)
	attachment := all("work/mail", "attachments", message)[0]["attachments"].([]any)[0].(map[string]any)["attachment_id"].(string)
	if parts := all("work/mail", "attachment", message, "attachment_id="+attachment); len(parts) != 3 || parts[0]["name"] != "b" || len(parts[2]["content"].(string)) != 16<<10/3*4+4 {
		t.Errorf("%d parts of the attachment", len(parts))
	}
	_, r, _ := h.callJSON(t, "", "work/mail", "list", "limit=1")
	for args, want := range map[string]string{
		"work/mail list limit=2":    "cursor: want the same fields as in the request before",
		"work/archive list limit=1": "cursor: it belongs to the operation list of work/mail",
	} {
		code, r, _ := h.callJSON(t, "", append(strings.Fields(args), "cursor="+r.Cursor)...)
		if code != 1 || r.Error == nil || r.Error.Message != want {
			t.Errorf("%s: %d, %+v, want %s", args, code, r.Error, want)
		}
	}
}
