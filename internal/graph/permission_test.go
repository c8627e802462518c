package graph_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func need(scope string, or ...string) graph.Permission {
	return graph.Permission{Scope: scope, Alternatives: or}
}

func TestScopes(t *testing.T) {
	read := need("Calendars.Read", "Calendars.ReadWrite")
	basic := need("Calendars.ReadBasic", "Calendars.Read", "Calendars.ReadWrite")
	write := need("Calendars.ReadWrite")
	for _, test := range []struct {
		name        string
		permissions []graph.Permission
		want        []string
	}{
		{"nothing", nil, nil},
		{"one", []graph.Permission{read}, []string{"Calendars.Read"}},
		{"twice", []graph.Permission{read, read}, []string{"Calendars.Read"}},
		{"writing reads", []graph.Permission{basic, read, write}, []string{"Calendars.ReadWrite"}},
		{"reading chats does not send", []graph.Permission{need("Chat.Read", "Chat.ReadWrite"), need("ChatMessage.Send", "Chat.ReadWrite")}, []string{"Chat.Read", "ChatMessage.Send"}},
		{"writing chats sends", []graph.Permission{need("Chat.Read", "Chat.ReadWrite"), need("ChatMessage.Send", "Chat.ReadWrite"), need("Chat.ReadWrite")}, []string{"Chat.ReadWrite"}},
		{"each other", []graph.Permission{need("A", "B"), need("B", "A")}, []string{"B"}},
		{"one that others need", []graph.Permission{need("A", "B"), need("B", "C"), need("C"), need("D", "B")}, []string{"B", "C"}},
	} {
		if diff := cmp.Diff(test.want, graph.Scopes(test.permissions)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// FuzzScopes: the result satisfies every permission, has no superfluous scope, and does not depend on the order.
func FuzzScopes(f *testing.F) {
	for seed := range uint64(500) {
		f.Add(seed, uint8(seed%9))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		random := rand.New(rand.NewPCG(seed, 0))
		letter := func() string { return string(rune('A' + random.IntN(6))) }
		var permissions []graph.Permission
		for range n % 12 {
			one := need(letter())
			for range random.IntN(4) {
				one.Alternatives = append(one.Alternatives, letter())
			}
			permissions = append(permissions, one)
		}
		satisfied := func(scopes []string) bool {
			return !slices.ContainsFunc(permissions, func(n graph.Permission) bool { return !n.Satisfied(scopes) })
		}
		scopes := graph.Scopes(permissions)
		if !satisfied(scopes) {
			t.Fatalf("%v does not satisfy %v", scopes, permissions)
		}
		for i, scope := range scopes {
			if satisfied(slices.Delete(slices.Clone(scopes), i, i+1)) {
				t.Fatalf("%s of %v is superfluous for %v", scope, scopes, permissions)
			}
		}
		random.Shuffle(len(permissions), func(i, j int) { permissions[i], permissions[j] = permissions[j], permissions[i] })
		if again := graph.Scopes(permissions); !slices.Equal(again, scopes) {
			t.Fatalf("%v in another order: %v", scopes, again)
		}
	})
}
