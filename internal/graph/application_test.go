package graph_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
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
