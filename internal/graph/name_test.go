package graph_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// TestNameInErrors pins that the error about a name stays short, however long the name is and however many there are.
func TestNameInErrors(t *testing.T) {
	var many []string
	for i := range 60 {
		many = append(many, fmt.Sprintf("%02d", i))
	}
	same := func(s string) string { return s }
	for _, tt := range []struct {
		name string
		all  []string
		want string
	}{
		{"x", nil, "find the chat: there is no chat x; there are none"},
		{"x", []string{"b", "a"}, "find the chat: there is no chat x; there are: a, b"},
		{"x", many, "find the chat: there is no chat x; there are: " + strings.Join(many[:50], ", ") + ", …"},
		{strings.Repeat("x", 1000), nil, "find the chat: there is no chat " + strings.Repeat("x", 99) + "…; there are none"},
	} {
		_, err := graph.FindByName("chat", tt.name, tt.all, same, same, func(s string) bool { return s == tt.name })
		if !graph.Is(err, graph.NotFound) || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// TestMatching pins that a later rule counts only where no earlier one does.
func TestMatching(t *testing.T) {
	all := []string{"News", "news", "NEWS"}
	exactly := func(s string) bool { return s == "news" }
	anyhow := func(s string) bool { return strings.EqualFold(s, "news") }
	if got := graph.Matching(all, exactly, anyhow); !slices.Equal(got, []string{"news"}) {
		t.Errorf("exactly: %q", got)
	}
	if got := graph.Matching(all, func(string) bool { return false }, anyhow); !slices.Equal(got, all) {
		t.Errorf("in any case: %q", got)
	}
}
