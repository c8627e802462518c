package graph_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func TestLookupScope(t *testing.T) {
	for _, tt := range []struct {
		scope    string
		byUser   bool
		accounts []string
	}{
		{"User.Read", true, []string{"work", "personal"}},
		{"Calendars.Read", false, []string{"work", "personal"}},
		{"Calendars.ReadBasic", false, []string{"work", "personal"}},
		{"Mail.Send", true, []string{"work", "personal"}},
		{"Presence.Read", true, []string{"work"}},
		{"Chat.ReadBasic", true, []string{"work"}},
		{"Chat.Read", false, []string{"work"}},
		{"Group.Read.All", false, []string{"work"}},
	} {
		f, ok := graph.LookupScope(tt.scope)
		if !ok || len(f.ID) != 36 || f.UserConsentable() != tt.byUser || !slices.Equal(f.Accounts(), tt.accounts) {
			t.Errorf("%s: got %+v, %v, want %+v", tt.scope, f, ok, tt)
		}
	}
	if f, ok := graph.LookupScope("Calendars.Delete"); ok || cmp.Diff(graph.ScopeInfo{}, f) != "" {
		t.Errorf("an unknown scope has the facts %+v", f)
	}
}
