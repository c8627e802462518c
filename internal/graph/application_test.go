package graph_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// An application has permissions of its own, some of other names, and none for what only a user may do.
func TestApplicationPermissions(t *testing.T) {
	for scope, want := range map[string]string{
		"Calendars.Read": "Calendars.Read", "Calendars.Read.Shared": "Calendars.Read", "Calendars.ReadWrite.Shared": "Calendars.ReadWrite", "Mail.Send.Shared": "Mail.Send",
		"Presence.Read": "Presence.Read.All", "Tasks.ReadWrite": "Tasks.ReadWrite.All", "Place.Read.All": "Place.Read.All", "MailboxSettings.Read": "MailboxSettings.Read",
	} {
		p, ok := graph.Permission{Scope: scope}.Application()
		if info, known := graph.LookupRole(p.Scope); !ok || p.Scope != want || !known || len(info.ID) != 36 {
			t.Errorf("%s: got %q, %v, want %q", scope, p.Scope, ok, want)
		}
	}
	for _, scope := range []string{"Chat.Read", "ChatMessage.Send", "User.Read", "People.Read", "Presence.ReadWrite", "Group.ReadWrite.All", "OnlineMeetings.Read"} {
		if p, ok := (graph.Permission{Scope: scope}).Application(); ok {
			t.Errorf("%s: applications have %s", scope, p.Scope)
		}
	}
	p, _ := graph.Permission{Scope: "Calendars.Read.Shared", Alternatives: []string{"Calendars.ReadWrite.Shared", "Calendars.Read"}}.Application()
	if diff := cmp.Diff([]string{"Calendars.ReadWrite"}, p.Alternatives); diff != "" {
		t.Error(diff)
	}
	p, _ = graph.Permission{Scope: "GroupMember.Read.All"}.Application()
	if !p.Satisfied([]string{"Directory.Read.All"}) {
		t.Error("Directory.Read.All does not satisfy GroupMember.Read.All")
	}
	exchange, directory := graph.ExchangeRoles(), graph.DirectoryRoles()
	if !slices.Contains(exchange, "Calendars.Read") || !slices.Contains(directory, "Place.Read.All") || slices.Contains(directory, "Calendars.Read") {
		t.Errorf("Exchange assigns %v, Entra ID %v", exchange, directory)
	}
}

// The client of a mailbox asks for that mailbox what others ask for the signed-in user. Without a mailbox nothing is sent.
func TestForMailbox(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	g := graphtest.Application(t, s, "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11", "MailboxSettings.Read")
	of := g.ForMailbox(simulator.Adele)
	if of != g.ForMailbox(strings.ToUpper(simulator.Adele)) || of == g.ForMailbox("megan@contoso.example") {
		t.Error("a mailbox does not have one client")
	}
	if _, err := mailbox.TimeZone(t.Context(), of); err != nil || s.Count("GET", "/v1.0/users/"+simulator.Adele+"/mailboxSettings") != 1 {
		t.Errorf("%v, %v", err, s.Requests())
	}
	if n := g.Stats().Requests; n != 1 {
		t.Errorf("the application counts %d requests, want 1", n)
	}
	_, err := mailbox.TimeZone(t.Context(), g)
	if err == nil || !strings.Contains(err.Error(), "an application has no signed-in user") || s.Total() != 1 {
		t.Errorf("without a mailbox: %v, %d requests", err, s.Total())
	}
	if u, err := directory.SignedIn(t.Context(), of); err != nil || u.Address != simulator.Adele || s.Total() != 1 {
		t.Errorf("got %+v, %v", u, err)
	}
	id := s.AddUser(simulator.User{Address: "ann@contoso.example", Name: "Ann"}).ID
	_, err = directory.SignedIn(t.Context(), g.ForMailbox(id))
	if err == nil || !strings.Contains(err.Error(), "name the mailbox by its address") {
		t.Errorf("an id without the right to read users: %v", err)
	}
}
