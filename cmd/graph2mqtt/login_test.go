package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// after returns the text after a marker.
func after(t *testing.T, text, marker string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, marker)
	if !ok {
		t.Fatalf("no %q in:\n%s", marker, text)
	}
	return rest
}

const allGranted = ` work is signed in as adele@contoso.example (Adele Vance).
  work: reads who is signed in (User.Read)
  calendar: reads the events of the calendar (Calendars.Read)
  out_of_office: reads the automatic replies (MailboxSettings.Read); sets the automatic replies (MailboxSettings.ReadWrite)
`

func TestLogin(t *testing.T) {
	h := newHarness(t)
	p := h.start(t, "login", "work")
	page := h.openURL(t, p.stdout.find(t, linkPattern))
	if !strings.Contains(page, "Signed in as adele@contoso.example") {
		t.Errorf("the browser shows %s", page)
	}
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if diff := cmp.Diff(allGranted, after(t, p.stdout.String(), "✓")); diff != "" {
		t.Error(diff)
	}
	code, stdout, stderr := h.call(t, "accounts")
	want := regexp.MustCompile(`^work\tadele@contoso\.example\tsigned_in\tCalendars\.Read MailboxSettings\.ReadWrite User\.Read\t\t\d{4}-\d\d-\d\d\n$`)
	if code != 0 || !want.MatchString(stdout) || stderr != "" {
		t.Errorf("accounts: %d, %q, %s", code, stdout, stderr)
	}

	code, stdout, stderr = h.call(t, "logout", "work")
	if diff := cmp.Diff("Signed out of work. Microsoft still remembers which permissions were granted; take them back at https://myapps.microsoft.com.\n", stdout); code != 0 || diff != "" || stderr != "" {
		t.Errorf("logout: %d, %s, %s", code, diff, stderr)
	}
	if code, stdout, _ := h.call(t, "accounts"); code != 0 || stdout != "work\t\tsigned_out\t\t\t\n" {
		t.Errorf("accounts: %d, %q", code, stdout)
	}
	if code, stdout, stderr := h.call(t, "logout", "work"); code != 0 || stdout+stderr != "" {
		t.Errorf("a second logout: %d, %q, %s", code, stdout, stderr)
	}
}

func TestLoginPasted(t *testing.T) {
	h := newHarness(t)
	p := h.start(t, "login", "work")
	link := p.stdout.find(t, linkPattern)
	// The browser runs on another machine, where the redirect address does not load.
	browser := &http.Client{Transport: h.web.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if _, err := p.stdin.Write([]byte("\nhello\n")); err != nil {
		t.Fatal(err)
	}
	p.stdout.find(t, regexp.MustCompile(`This address cannot be used: this is not a redirect address`))
	if _, err := p.stdin.Write([]byte(answer.Header.Get("Location") + "\n")); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if diff := cmp.Diff(allGranted, after(t, p.stdout.String(), "✓")); diff != "" {
		t.Error(diff)
	}
}

func TestLoginByDeviceCode(t *testing.T) {
	h := newHarness(t)
	h.simulator.Fail(simulator.Fault{Path: "/common/oauth2/v2.0/devicecode", Merge: map[string]any{"interval": 1}}) // instead of 5 s
	p := h.start(t, "login", "work", "--device-code")
	if err := h.simulator.ApproveDevice(p.stdout.find(t, regexp.MustCompile(`enter the code (\w+) before \d\d:\d\d\.`))); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if diff := cmp.Diff(allGranted, after(t, p.stdout.String(), "✓")); diff != "" {
		t.Error(diff)
	}
}

func TestPromptAfterRefusals(t *testing.T) {
	for _, test := range []struct {
		refused []string
		want    string
	}{
		{[]string{"Calendars.Read"}, "\nMicrosoft refused Calendars.Read: no.\nContinue without it:\n"},
		{[]string{"Calendars.Read", "Mail.Read"}, "\nMicrosoft refused Calendars.Read, Mail.Read: no.\nContinue without them:\n"},
	} {
		var out bytes.Buffer
		p := &program{stdout: &out}
		p.prompt(auth.Prompt{URL: "https://login.example/", Refused: test.refused, Why: "no"})
		if !strings.HasPrefix(out.String(), test.want) {
			t.Errorf("got %q, want %q", out.String(), test.want)
		}
	}
}

func TestLoginRetriesWithFewerPermissions(t *testing.T) {
	h := newHarness(t)
	h.simulator.SetSignIn(simulator.SignIn{Declines: []string{"MailboxSettings.ReadWrite"}})
	p := h.start(t, "login", "work")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	out := p.stdout.String()
	if want := "\nMicrosoft refused MailboxSettings.ReadWrite: the permissions were declined (AADSTS65004).\nContinue without it:\n"; !strings.Contains(out, want) {
		t.Errorf("no %q in %s", want, out)
	}
	const want = ` work is signed in as adele@contoso.example (Adele Vance).
  work: reads who is signed in (User.Read)
  calendar: reads the events of the calendar (Calendars.Read)
  out_of_office: reads the automatic replies (MailboxSettings.Read); MailboxSettings.ReadWrite was not granted: the automatic replies are shown but cannot be set
`
	if diff := cmp.Diff(want, after(t, out, "✓")); diff != "" {
		t.Error(diff)
	}
	if _, stdout, _ := h.call(t, "accounts"); !strings.Contains(stdout, "\tCalendars.Read MailboxSettings.Read User.Read\tMailboxSettings.ReadWrite\t") {
		t.Errorf("accounts: %s", stdout)
	}
}

func TestLoginRefused(t *testing.T) {
	h := newHarness(t)
	h.simulator.SetSignIn(simulator.SignIn{Refuse: simulator.Declined})
	p := h.start(t, "login", "work")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 2 {
		t.Errorf("exit code %d", code)
	}
	const want = "graph2mqtt: sign in to work: Microsoft refused even the smallest set of permissions: the permissions were declined (AADSTS65004)\n"
	if diff := cmp.Diff(want, p.stderr.String()); diff != "" {
		t.Error(diff)
	}
}

func TestLoginInterrupted(t *testing.T) {
	h := newHarness(t)
	p := h.start(t, "login", "work")
	p.stdout.find(t, linkPattern)
	p.interrupt()
	if code := p.wait(t); code != 130 || p.stderr.String() != "" {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// In an organization with Microsoft's default policy, login gets the permissions that users can grant themselves.
func TestLoginWithoutAdministrator(t *testing.T) {
	h := newHarness(t)
	h.simulator.SetSignIn(simulator.SignIn{AdminOnly: simulator.AdminConsentScopes()})
	h.configureWork(t, "enable_update: true", "{calendar: {type: calendar}, presence: {type: status}}")
	p := h.start(t, "login", "work")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	out := p.stdout.String()
	const why = "an administrator of the organization must consent; for a link to send them, run: graph2mqtt permissions work --format link (AADSTS90094).\nContinue without it:\n"
	for _, refused := range []string{"Calendars.ReadWrite", "Calendars.Read"} {
		if want := "\nMicrosoft refused " + refused + ": " + why; !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}
	const want = ` work is signed in as adele@contoso.example (Adele Vance).
  work: reads who is signed in (User.Read)
  calendar: Calendars.Read was not granted: the calendar is unavailable; Calendars.ReadWrite was not granted: the calendar is shown but its events cannot be changed
  presence: reads your presence (Presence.Read)
`
	if diff := cmp.Diff(want, after(t, out, "✓")); diff != "" {
		t.Error(diff)
	}
}

func TestLoginForMoreKinds(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "enable_update: true", "{out_of_office: {type: auto_reply}}")
	p := h.start(t, "login", "work", "--for", "calendar,status")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	const want = ` work is signed in as adele@contoso.example (Adele Vance).
  work: reads who is signed in (User.Read)
  out_of_office: reads the automatic replies (MailboxSettings.Read); sets the automatic replies (MailboxSettings.ReadWrite)
  calendar: reads the events of the calendar (Calendars.Read)
  status: reads your presence (Presence.Read)
`
	if diff := cmp.Diff(want, after(t, p.stdout.String(), "✓")); diff != "" {
		t.Error(diff)
	}
	if _, stdout, _ := h.call(t, "accounts"); !strings.Contains(stdout, "\tCalendars.Read MailboxSettings.ReadWrite Presence.Read User.Read\t\t") {
		t.Errorf("accounts: %s", stdout)
	}
	code, stdout, stderr := h.call(t, "login", "work", "--for", "calendar,pigeons")
	if code != 1 || stdout != "" || stderr != "graph2mqtt: --for: want sensor types ("+strings.Join(kindNames(), ", ")+"), not \"pigeons\"\n" {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	h.configureWork(t, "tenant: consumers", "{out_of_office: {type: auto_reply}}")
	code, stdout, stderr = h.call(t, "login", "work", "--for", "status")
	if code != 1 || stdout != "" || stderr != "graph2mqtt: --for: status needs a work or school account, and the tenant consumers has only personal ones\n" {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}

func TestLoginPersonal(t *testing.T) {
	h := newHarness(t)
	h.simulator.AddUser(simulator.User{Address: "lee@outlook.example", Name: "Lee", Personal: true})
	h.simulator.SetSignIn(simulator.SignIn{User: "lee@outlook.example"})
	h.configureWork(t, "tenant: common", "{calendar: {type: calendar}, presence: {type: status}, theirs: {type: calendar, shared_mailbox: ann@outlook.example, enable_update: true}}")
	p := h.start(t, "login", "work")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	const want = ` work is signed in as lee@outlook.example (Lee).
  work: reads who is signed in (User.Read)
  calendar: reads the events of the calendar (Calendars.Read)
  presence: sensors of type status need a work or school account, and this is a personal one
  theirs: reads the events of a calendar that others share (Calendars.Read.Shared); personal accounts do not have Calendars.ReadWrite.Shared: the calendar is shown but its events cannot be changed
`
	if diff := cmp.Diff(want, after(t, p.stdout.String(), "✓")); diff != "" {
		t.Error(diff)
	}
	if code, _, stderr := h.call(t, "logout", "work"); code != 0 {
		t.Fatal(stderr)
	}

	// If only personal accounts can sign in, the message comes first.
	h.configureWork(t, "tenant: consumers", "{theirs: {type: calendar, shared_mailbox: ann@outlook.example, enable_update: true}}")
	p = h.start(t, "login", "work")
	p.stdout.find(t, linkPattern)
	if out := p.stdout.String(); !strings.HasPrefix(out, "theirs: personal accounts do not have Calendars.ReadWrite.Shared: the calendar is shown but its events cannot be changed\nOpen this link") {
		t.Errorf("it begins with %s", out)
	}
}

// If a policy blocks one way to sign in, the other one is suggested.
func TestLoginBlocked(t *testing.T) {
	h := newHarness(t)
	h.simulator.BlockDeviceCode(true)
	h.simulator.Fail(simulator.Fault{Path: "/common/oauth2/v2.0/devicecode", Merge: map[string]any{"interval": 1}}) // instead of 5 s
	p := h.start(t, "login", "work", "--device-code")
	if err := h.simulator.ApproveDevice(p.stdout.find(t, regexp.MustCompile(`enter the code (\w+) before \d\d:\d\d\.`))); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 2 {
		t.Errorf("exit code %d", code)
	}
	const device = "graph2mqtt: sign in to work: Conditional Access, a policy of the organization, blocks this sign-in; try a browser sign-in, without --device-code (AADSTS53003)\n"
	if diff := cmp.Diff(device, p.stderr.String()); diff != "" {
		t.Error(diff)
	}
	for code, want := range map[simulator.AADSTS]string{
		simulator.Blocked:        "Conditional Access, a policy of the organization, blocks this sign-in; try the other flow: graph2mqtt login work --device-code (AADSTS53003)",
		simulator.DeviceRequired: "the organization requires a managed device; try the other flow: graph2mqtt login work --device-code (AADSTS50097)",
	} {
		h.simulator.SetSignIn(simulator.SignIn{Refuse: code})
		p := h.start(t, "login", "work")
		h.openURL(t, p.stdout.find(t, linkPattern))
		if code := p.wait(t); code != 2 || p.stderr.String() != "graph2mqtt: sign in to work: "+want+"\n" {
			t.Errorf("%d, %s", code, p.stderr)
		}
	}
}

func TestLoginAsAnotherUser(t *testing.T) {
	h := newHarness(t)
	for user, ok := range map[string]bool{"megan@contoso.example": false, "ADELE@contoso.example": true, "87d349ed-44d7-43e1-9a83-5f2406dee5bd": true} {
		h.configureWork(t, "user: "+user, "{calendar: {type: calendar}}")
		p := h.start(t, "login", "work")
		h.openURL(t, p.stdout.find(t, linkPattern))
		code := p.wait(t)
		const want = "graph2mqtt: sign in to work: adele@contoso.example signed in, but the configuration expects megan@contoso.example; sign in as megan@contoso.example, or change accounts.work.user\n"
		switch {
		case ok && code != 0, !ok && (code != 2 || p.stderr.String() != want):
			t.Errorf("%s: %d, %s", user, code, p.stderr)
		}
	}
}

func TestAccountsJSON(t *testing.T) {
	h := newHarness(t)
	if code, stdout, stderr := h.call(t, "accounts", "--json"); code != 0 || stderr != "" || stdout != `{
  "work": {
    "user": "",
    "name": "",
    "personal": false,
    "state": "signed_out",
    "message": "not signed in; run: graph2mqtt login work",
    "granted": [],
    "missing": [],
    "signed_in": null,
    "expires": null
  }
}
` {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	h.simulator.SetSignIn(simulator.SignIn{Declines: []string{"MailboxSettings.ReadWrite"}})
	h.login(t)
	_, stdout, _ := h.call(t, "accounts", "--json")
	var got map[string]accountStatus
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	work := got["work"]
	if work.SignedIn == nil || work.Expires == nil || work.Expires.Sub(*work.SignedIn) != 90*24*time.Hour {
		t.Errorf("signed in %v, expires %v", work.SignedIn, work.Expires)
	}
	work.SignedIn, work.Expires = nil, nil
	want := accountStatus{
		User: "adele@contoso.example", Name: "Adele Vance", State: "signed_in", Granted: []string{"Calendars.Read", "MailboxSettings.Read", "User.Read"},
		Missing: []missingPermission{{"MailboxSettings.ReadWrite", "out_of_office", "the automatic replies are shown but cannot be set"}},
	}
	if diff := cmp.Diff(want, work); diff != "" {
		t.Error(diff)
	}
}

// TestLoginNamesNoAdministrator pins that a permission is not named if a requested one to which users can consent includes it:
// Calendars.ReadBasic, to which only an administrator can, is part of Calendars.ReadWrite.
func TestLoginNamesNoAdministrator(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "enable_update: true", "{calendar: {type: calendar, on_demand: true}}")
	p := h.start(t, "login", "work")
	link := p.stdout.find(t, linkPattern)
	if before, _, _ := strings.Cut(p.stdout.String(), link); strings.Contains(before, "administrator") {
		t.Error(before)
	}
	h.openURL(t, link)
	if code := p.wait(t); code != 0 {
		t.Fatal(p.stderr)
	}
}

// TestLoginNamesEachScopeOnce pins that only the scope that is requested is named, not those that it includes, and once for each sensor.
func TestLoginNamesEachScopeOnce(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "timezone: local\n    enable_update: true", "{calendar: {type: calendar, allow: [default, expand_groups]}, project: {type: group_calendar, group: Project}}")
	p := h.start(t, "login", "work")
	link := p.stdout.find(t, linkPattern)
	before, _, _ := strings.Cut(p.stdout.String(), link)
	want := "calendar: an administrator of the organization must consent to Group.ReadWrite.All; without it, distribution lists are invited as they are\n" +
		"project: an administrator of the organization must consent to Group.ReadWrite.All; without it, the calendar is unavailable\n"
	if !strings.Contains(before, want) || strings.Count(before, "must consent to") != 2 {
		t.Error(before)
	}
	h.openURL(t, link)
	if code := p.wait(t); code != 0 {
		t.Fatal(p.stderr)
	}
}

// TestLoginNamesAdministrator pins that permissions to which only an administrator can consent are named before the sign-in, and not
// once they are granted; and that discover then lists the groups.
func TestLoginNamesAdministrator(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "timezone: local", "{project: {type: group_calendar, group: Project}}")
	h.simulator.AddGroup(simulator.Group{Name: "Project", Address: "project@contoso.example", Members: []string{simulator.Adele}})
	h.simulator.AddGroup(simulator.Group{Name: "Others", Address: "others@contoso.example"})
	const sentence = "project: an administrator of the organization must consent to Group.Read.All; without it, the calendar is unavailable\n" +
		"For a link to send them, run: graph2mqtt permissions work --format link. If they have consented already, just sign in.\n"
	for i, want := range []bool{true, false} {
		p := h.start(t, "login", "work")
		link := p.stdout.find(t, linkPattern)
		before, _, _ := strings.Cut(p.stdout.String(), link)
		if strings.Contains(before, sentence) != want || strings.Contains(before, "administrator") != want {
			t.Errorf("sign-in %d: %s", i, before)
		}
		h.openURL(t, link)
		if code := p.wait(t); code != 0 {
			t.Fatal(p.stderr)
		}
	}
	code, stdout, _ := h.call(t, "discover", "work")
	if want := "      # group_calendar: 1 found, to be pasted below accounts.work.sensors\n      # Project is configured already: project\n"; code != 0 || stdout != want {
		t.Errorf("%d, %s", code, stdout)
	}
	h.configureWork(t, "timezone: local", "{groups: {type: group_calendar, group: all}}")
	code, stdout, _ = h.call(t, "discover", "work")
	if !strings.Contains(stdout, "      # members of groups:\n") || !strings.Contains(stdout, ": Project\n") || code != 0 {
		t.Errorf("%d, %s", code, stdout)
	}
}

// With user, other users are refused, in every way of signing in. The user can be given as principal name, mail address or object id.
func TestLoginOfExpectedUser(t *testing.T) {
	const ben, benMail = "ben@contoso.example", "Ben.Novak@Contoso.example"
	for name, test := range map[string]struct {
		tenant, user, signsIn string
		args                  []string
		want                  string // error; "": it is accepted
	}{
		"principal name":      {simulator.ContosoTenant, "BEN@contoso.example", ben, nil, ""},
		"mail address":        {simulator.ContosoTenant, "ben.novak@contoso.example", ben, nil, ""},
		"object id":           {simulator.ContosoTenant, "7B7C6C4E-0B5C-4F5E-9E35-1D3A5E0F0001", ben, nil, ""},
		"another user":        {simulator.ContosoTenant, benMail, simulator.Adele, nil, "adele@contoso.example signed in, but the configuration expects " + benMail + "; sign in as " + benMail + ", or change accounts.work.user"},
		"another user's code": {simulator.ContosoTenant, ben, simulator.Adele, []string{"--device-code"}, "adele@contoso.example signed in, but the configuration expects " + ben + "; sign in as " + ben + ", or change accounts.work.user"},
		// Any tenant could claim this address for one of its users.
		"mail address in any tenant": {"common", benMail, ben, nil, "ben@contoso.example signed in, but the configuration expects " + benMail + "; sign in as " + benMail + ", or change accounts.work.user"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.simulator.AddUser(simulator.User{ID: "7b7c6c4e-0b5c-4f5e-9e35-1d3a5e0f0001", Address: ben, Mail: benMail, Name: "Ben Novak", Tenant: simulator.ContosoTenant})
			h.simulator.SetSignIn(simulator.SignIn{User: test.signsIn})
			h.configureWork(t, "tenant: "+test.tenant+"\n    user: "+test.user, "{calendar: {type: calendar}}")
			h.simulator.Fail(simulator.Fault{Path: "/" + test.tenant + "/oauth2/v2.0/devicecode", Merge: map[string]any{"interval": 1}}) // instead of 5 s
			p := h.start(t, append([]string{"login", "work"}, test.args...)...)
			p.stdout.find(t, regexp.MustCompile(`Sign in as `+regexp.QuoteMeta(test.user)+`\. Other users are refused\.`))
			if test.args == nil {
				h.openURL(t, p.stdout.find(t, linkPattern))
			} else if err := h.simulator.ApproveDevice(p.stdout.find(t, regexp.MustCompile(`enter the code (\w+) before \d\d:\d\d\.`))); err != nil {
				t.Fatal(err)
			}
			code := p.wait(t)
			if _, err := os.Stat(filepath.Join(h.dir, "state", "tokens-work")); err == nil != (test.want == "") {
				t.Errorf("stored sign-in: %v", err)
			}
			if test.want != "" {
				if want := "graph2mqtt: sign in to work: " + test.want + "\n"; code != exitFailed || p.stderr.String() != want {
					t.Errorf("%d, %s", code, p.stderr)
				}
				return
			}
			if code != exitOK {
				t.Fatalf("%d, %s", code, p.stderr)
			}
			// It is still the expected one when the token is used, and for another process.
			if code, stdout, _ := h.call(t, "accounts"); code != exitOK || !strings.HasPrefix(stdout, "work\t"+ben+"\tsigned_in\t") {
				t.Errorf("%d, %s", code, stdout)
			}
		})
	}
}

// If Graph cannot tell the mail address, nothing is kept.
func TestLoginWithoutTheMailAddress(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "tenant: "+simulator.ContosoTenant+"\n    user: somebody@contoso.example", "{calendar: {type: calendar}}")
	h.simulator.Fail(simulator.Fault{Path: "/v1.0/me", Status: http.StatusForbidden, Times: -1})
	p := h.start(t, "login", "work")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != exitFailed || !strings.HasPrefix(p.stderr.String(), "graph2mqtt: sign in to work: check that adele@contoso.example is the expected user: ") {
		t.Errorf("%d, %s", code, p.stderr)
	}
	if _, err := os.Stat(filepath.Join(h.dir, "state", "tokens-work")); err == nil {
		t.Error("a sign-in is stored")
	}
}
