package main

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// after is what was written after the marker.
func after(t *testing.T, text, marker string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, marker)
	if !ok {
		t.Fatalf("no %q in:\n%s", marker, text)
	}
	return rest
}

const everything = ` work is signed in as adele@contoso.example (Adele Vance).
  work: tells who signed in (User.Read)
  calendar: reads the events of the calendar (Calendars.Read)
  out_of_office: reads the automatic replies (MailboxSettings.Read); sets the automatic replies (MailboxSettings.ReadWrite)
`

func TestLogin(t *testing.T) {
	h := newHome(t)
	p := h.start(t, "login", "work")
	page := h.visit(t, p.stdout.find(t, linkPattern))
	if !strings.Contains(page, "Signed in as adele@contoso.example") {
		t.Errorf("the browser shows %s", page)
	}
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if diff := cmp.Diff(everything, after(t, p.stdout.String(), "✓")); diff != "" {
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
	h := newHome(t)
	p := h.start(t, "login", "work")
	link := p.stdout.find(t, linkPattern)
	// The browser runs on another machine: it ends on an address that nothing answers.
	browser := &http.Client{Transport: h.web.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if _, err := p.stdin.Write([]byte("\nhello\n")); err != nil {
		t.Fatal(err)
	}
	p.stdout.find(t, regexp.MustCompile(`That cannot be used: this is not the address on which the browser ends`))
	if _, err := p.stdin.Write([]byte(answer.Header.Get("Location") + "\n")); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if diff := cmp.Diff(everything, after(t, p.stdout.String(), "✓")); diff != "" {
		t.Error(diff)
	}
}

func TestLoginByDeviceCode(t *testing.T) {
	h := newHome(t)
	p := h.start(t, "login", "work", "--device-code")
	if err := h.simulator.ApproveDevice(p.stdout.find(t, regexp.MustCompile(`enter the code (\w+) before \d\d:\d\d\.`))); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if diff := cmp.Diff(everything, after(t, p.stdout.String(), "✓")); diff != "" {
		t.Error(diff)
	}
}

func TestLoginStepsDown(t *testing.T) {
	h := newHome(t)
	h.simulator.OnSignIn(simulator.SignIn{Declines: []string{"MailboxSettings.ReadWrite"}})
	p := h.start(t, "login", "work")
	h.visit(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	out := p.stdout.String()
	if want := "\nMicrosoft refused MailboxSettings.ReadWrite: the permissions were declined (AADSTS65004).\nNow the same without it:\n"; !strings.Contains(out, want) {
		t.Errorf("no %q in %s", want, out)
	}
	const want = ` work is signed in as adele@contoso.example (Adele Vance).
  work: tells who signed in (User.Read)
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
	h := newHome(t)
	h.simulator.OnSignIn(simulator.SignIn{Refuse: simulator.Declined})
	p := h.start(t, "login", "work")
	h.visit(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != 2 {
		t.Errorf("exit code %d", code)
	}
	const want = "graph2mqtt: sign in to work: Microsoft refused even the smallest set of permissions: the permissions were declined (AADSTS65004)\n"
	if diff := cmp.Diff(want, p.stderr.String()); diff != "" {
		t.Error(diff)
	}
}

func TestLoginInterrupted(t *testing.T) {
	h := newHome(t)
	p := h.start(t, "login", "work")
	p.stdout.find(t, linkPattern)
	p.interrupt()
	if code := p.wait(t); code != 130 || p.stderr.String() != "" {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
