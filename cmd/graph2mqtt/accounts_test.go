package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

// On a terminal, accounts prints the remedy for each account.
func TestAccountsExplained(t *testing.T) {
	h := newHarness(t)
	h.configureRegistrations(t)
	var out bytes.Buffer
	p := &program{environ: h.environ(), stdout: &out}
	c, err := p.load()
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Date(2030, 2, 24, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		account string
		status  auth.Status
	}{
		{"work", auth.Status{
			State: auth.SignedIn, User: auth.User{Address: "adele@contoso.com", Name: "Adele Vance"}, Expires: expires,
			Granted: []string{"Calendars.Read", "Presence.Read.All", "User.Read", "User.ReadBasic.All"},
		}},
		{"basic", auth.Status{State: auth.SignedIn, User: auth.User{Address: "adele@contoso.com"}, Expires: expires, Granted: []string{"Calendars.ReadBasic", "User.Read"}}},
		{"home", auth.Status{
			State: auth.SignedIn, User: auth.User{Address: "ann@outlook.com", Personal: true}, Expires: expires,
			Granted: []string{"Calendars.Read", "Calendars.Read.Shared", "User.Read"},
		}},
		{"china", auth.Status{State: auth.SignedOut, Message: "not signed in; run: graph2mqtt login china"}},
	} {
		p.printAccount(c.Accounts[tt.account], accountStatusOf(c.Accounts[tt.account], tt.status))
	}
	golden(t, filepath.Join("testdata", "accounts-explained.txt"), out.String())
}

// A color that surrounds nothing adds nothing.
func TestLoginInColor(t *testing.T) {
	h := newHarness(t)
	var out bytes.Buffer
	p := &program{environ: h.environ(), stdout: &out, terminal: true}
	c, err := p.load()
	if err != nil {
		t.Fatal(err)
	}
	a := c.Accounts["work"]
	p.signedIn(a, runtime.RequiredPermissions(a), auth.Status{User: auth.User{Address: "adele@contoso.com"}, Granted: []string{"Calendars.Read", "MailboxSettings.Read", "User.Read"}})
	const want = "\n\x1b[32m✓\x1b[0m work is signed in as adele@contoso.com.\n" +
		"  work: reads who is signed in (User.Read)\n" +
		"  calendar: reads the events of the calendar (Calendars.Read)\n" +
		"  out_of_office: reads the automatic replies (MailboxSettings.Read); " +
		"\x1b[33mMailboxSettings.ReadWrite was not granted: the automatic replies are shown but cannot be set\x1b[0m\n"
	if got := out.String(); strings.ReplaceAll(got, "\x1b[0;22m", "\x1b[0m") != want {
		t.Errorf("%q", got)
	}
}
