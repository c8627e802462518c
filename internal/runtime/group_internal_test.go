package runtime

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

type panickingGroup struct{ sensors.Group }

func (panickingGroup) Members(context.Context, *graph.Client) ([]sensors.Member, error) {
	panic("an unexpected answer")
}

func TestPanicWhileListing(t *testing.T) {
	g := &group{sensor: &sensor{account: &account{}, log: slog.New(slog.DiscardHandler)}, source: panickingGroup{}}
	if _, err := g.ask(t.Context()); err == nil || err.Error() != "panic: an unexpected answer" {
		t.Errorf("error %v", err)
	}
}

func TestLongNamesOfMembers(t *testing.T) {
	long := strings.Repeat("Büro & Küche ", 20)
	slugs := slugSet{}
	first, second := slugs.add(long), slugs.add(long)
	if want := strings.TrimSuffix(strings.Repeat("buro_kuche_", 6)[:60], "_"); first != want || second != want+"_2" {
		t.Errorf("slugs %q, %q, want %q", first, second, want)
	}
}

func TestMatchMembers(t *testing.T) {
	g := &group{members: []member{
		{Member: sensors.Member{ID: "1", Name: "Home"}}, {Member: sensors.Member{ID: "2", Name: "home"}},
		{Member: sensors.Member{ID: "3", Name: "Team", Address: "team@contoso.example"}}, {Member: sensors.Member{ID: "4", Name: "Team"}},
	}}
	for name, want := range map[string][]string{
		"1": {"1"}, "Home": {"1"}, "home": {"2"}, "HOME": {"1", "2"}, "Team": {"3", "4"}, "team": {"3", "4"}, "4": {"4"}, "Work": nil, "": nil,
		"Team@contoso.example": {"3"},
	} {
		found, names := g.matchMembers(name)
		var ids []string
		for _, m := range found {
			ids = append(ids, m.ID)
		}
		if diff := cmp.Diff(want, ids); diff != "" || len(names) != 4 {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
