// Package graphtest gives tests a client of a simulated Microsoft Graph.
package graphtest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// Client reaches s in memory, as the user with this address, who granted exactly these scopes.
func Client(t testing.TB, s *simulator.Simulator, address string, scopes ...string) *graph.Client {
	t.Helper()
	return ClientVia(t, s, s.Transport(), address, scopes...)
}

// Counted is Client, whose answers are counted.
func Counted(t testing.TB, s *simulator.Simulator, address string, scopes ...string) (*graph.Client, *Counter) {
	t.Helper()
	c := NewCounter(s.Transport())
	return ClientVia(t, s, c, address, scopes...), c
}

// ClientVia is Client with a transport of its own.
func ClientVia(t testing.TB, s *simulator.Simulator, transport http.RoundTripper, address string, scopes ...string) *graph.Client {
	t.Helper()
	c, err := graph.New(graph.Options{Root: s.GraphURL(), Transport: transport, ClientID: simulator.ContosoClient, Tokens: &tokens{s, address, scopes}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Application returns a client of an application of the simulator's tenant with these roles of the whole organization.
func Application(t testing.TB, s *simulator.Simulator, clientID string, roles ...string) *graph.Client {
	t.Helper()
	s.Register(simulator.Registration{ClientID: clientID, Roles: roles})
	c, err := graph.New(graph.Options{Root: s.GraphURL(), Transport: s.Transport(), ClientID: clientID, Application: true, Tokens: applicationTokens{s, clientID}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type applicationTokens struct {
	s        *simulator.Simulator
	clientID string
}

func (t applicationTokens) Token(context.Context) (string, error) {
	return t.s.ApplicationToken(t.clientID, simulator.ContosoTenant), nil
}
func (t applicationTokens) Renew(ctx context.Context, _, _ string) (string, error) {
	return t.Token(ctx)
}
func (t applicationTokens) Personal() bool { return false }
func (t applicationTokens) Granted() []string {
	return append(graph.ExchangeRoles(), graph.DirectoryRoles()...)
}

type tokens struct {
	s       *simulator.Simulator
	address string
	scopes  []string
}

func (t *tokens) Token(context.Context) (string, error) {
	return t.s.Token(t.address, t.scopes...), nil
}
func (t *tokens) Renew(context.Context, string, string) (string, error) {
	return t.s.Token(t.address, t.scopes...), nil
}
func (t *tokens) Personal() bool {
	return slices.ContainsFunc(t.s.Users(), func(u simulator.User) bool { return strings.EqualFold(u.Address, t.address) && u.Personal })
}
func (t *tokens) Granted() []string { return slices.Clone(t.scopes) }

// Tokens are tokens of a user who granted these scopes. They are not verified.
type Tokens struct {
	Scopes   []string
	OfPerson bool // of a personal Microsoft account
}

// Token implements graph.Tokens.
func (Tokens) Token(context.Context) (string, error) { return "secret", nil }

// Renew implements graph.Tokens.
func (Tokens) Renew(context.Context, string, string) (string, error) { return "secret", nil }

// Personal implements graph.Tokens.
func (t Tokens) Personal() bool { return t.OfPerson }

// Granted implements graph.Tokens.
func (t Tokens) Granted() []string { return slices.Clone(t.Scopes) }

// Zone finds a time zone, or fails the test.
func Zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// Damaged calls f with every variant of a JSON document in which one property, at any depth, is null, missing or, where it is a text,
// one that Microsoft may add some day. The name says which.
func Damaged(t testing.TB, document []byte, f func(name string, document []byte)) {
	t.Helper()
	var root any
	if err := json.Unmarshal(document, &root); err != nil {
		t.Fatal(err)
	}
	emit := func(name string) {
		b, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		f(name, b)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s[%d]", path, i), item)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				whole, name := v[key], path+"."+key
				v[key] = nil
				emit(name + " is null")
				delete(v, key)
				emit(name + " is missing")
				if _, ok := whole.(string); ok {
					v[key] = "somethingNew"
					emit(name + " is something new")
				}
				v[key] = whole
				walk(name, whole)
			}
		}
	}
	walk("", root)
}
