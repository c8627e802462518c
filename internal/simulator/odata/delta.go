package odata

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
)

// maxDeltas bounds the delta tokens that are kept; the oldest expire first.
const maxDeltas = 10_000

// A deltaState is the state that a $skiptoken or $deltatoken stands for. It does not change, so that a client can repeat a request.
type deltaState struct {
	owner    string // user of the token
	path     string
	query    url.Values        // of the first request
	snapshot map[string]string // version by id, as the client knows them after the last page
	pending  []map[string]any  // what the next pages return; nil: a $deltatoken
	custom   any               // of a resource that keeps its own change log
}

func (c *Call) isDelta() bool { return strings.HasSuffix(c.Route.Path, "/delta") }

// DeltaOptions returns the query options that every delta query supports.
func DeltaOptions(also ...string) []string {
	return append([]string{"$skiptoken", "$deltatoken"}, also...)
}

// Delta answers a delta query over the collection that list returns, which is called with the query of the first request. Entities are
// compared by id and etag, so that a resource needs no change log of its own.
// See https://learn.microsoft.com/graph/delta-query-overview.
func (c *Call) Delta(list func() ([]map[string]any, error)) (Response, error) {
	state, err := c.deltaState()
	if err != nil {
		return Response{}, err
	}
	if state.pending == nil {
		next, err := c.changes(state, list)
		if err != nil {
			return Response{}, err
		}
		state = next
	}
	size := min(c.PageSize(), len(state.pending))
	rest := *state
	rest.pending = state.pending[size:]
	more := len(rest.pending) > 0
	if !more {
		rest.pending = nil
	}
	return c.deltaPage(state.pending[:size], &rest, more), nil
}

// deltaState returns the state that the token of the request stands for, and makes the query of the first request that of the call. Without a
// token it returns a new state.
func (c *Call) deltaState() (*deltaState, error) {
	if c.Query.Has("$skiptoken") && c.Query.Has("$deltatoken") {
		return nil, BadRequest("$skiptoken and $deltatoken cannot be combined.")
	}
	token := c.Query.Get("$skiptoken") + c.Query.Get("$deltatoken")
	state := &deltaState{owner: c.User.ID, path: strings.ToLower(c.Request.URL.Path), query: c.Query}
	if token == "" {
		return state, nil
	}
	known := c.service.deltas[token]
	if known == nil || known.owner != state.owner || known.path != state.path {
		return nil, c.resync()
	}
	c.Query = known.query
	return known, nil
}

// ResumeDelta is for resources with a change log of their own. It returns the state that DeltaPage stored under the token of the request; nil for
// the first request.
func (c *Call) ResumeDelta() (any, error) {
	state, err := c.deltaState()
	if err != nil {
		return nil, err
	}
	return state.custom, nil
}

// DeltaPage returns a page of a delta query and stores the state that ResumeDelta returns in the next request. more reports whether that request
// is for another page of the round.
func (c *Call) DeltaPage(value []map[string]any, next any, more bool) Response {
	return c.deltaPage(value, &deltaState{owner: c.User.ID, path: strings.ToLower(c.Request.URL.Path), query: c.Query, custom: next}, more)
}

func (c *Call) deltaPage(value []map[string]any, next *deltaState, more bool) Response {
	token := c.service.storeDelta(next)
	link, option := "@odata.deltaLink", "$deltatoken"
	if more {
		link, option = "@odata.nextLink", "$skiptoken"
	}
	c.Applied("odata.track-changes")
	return Response{Status: http.StatusOK, Body: map[string]any{
		"@odata.context": c.Context("Collection(" + strings.TrimPrefix(c.Route.Type.Name, "microsoft.graph.") + ")"),
		"value":          value, link: c.link(url.Values{option: {token}}),
	}}
}

// changes compares the collection with what the client knows.
func (c *Call) changes(known *deltaState, list func() ([]map[string]any, error)) (*deltaState, error) {
	all, err := list()
	if err != nil {
		return nil, err
	}
	next := &deltaState{owner: known.owner, path: known.path, query: known.query, snapshot: map[string]string{}, pending: []map[string]any{}}
	for _, e := range all {
		id, _ := e["id"].(string)
		version := versionOf(e)
		next.snapshot[id] = version
		if known.snapshot[id] == version {
			continue
		}
		projected, err := c.Project(e)
		if err != nil {
			return nil, err
		}
		projected["id"] = id
		next.pending = append(next.pending, projected)
	}
	for _, id := range slices.Sorted(maps.Keys(known.snapshot)) {
		if _, ok := next.snapshot[id]; !ok {
			next.pending = append(next.pending, map[string]any{"id": id, "@removed": map[string]any{"reason": "deleted"}})
		}
	}
	return next, nil
}

// versionOf returns the etag of an entity, or a hash if it has none.
func versionOf(e map[string]any) string {
	if tag, ok := e["@odata.etag"].(string); ok {
		return tag
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // the simulator's own values
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// storeDelta stores a state and returns its token.
func (s *Service) storeDelta(state *deltaState) string {
	token := directory.Random(200) // about as long as Exchange's
	s.deltas[token] = state
	s.deltaTokens = append(s.deltaTokens, token)
	if len(s.deltaTokens) > maxDeltas {
		delete(s.deltas, s.deltaTokens[0])
		s.deltaTokens = s.deltaTokens[1:]
	}
	return token
}

// ExpireDeltaTokens makes Graph forget all delta tokens: their links are answered 410 from now on.
func (s *Service) ExpireDeltaTokens() {
	s.Directory.Lock()
	defer s.Directory.Unlock()
	clear(s.deltas)
	s.deltaTokens = nil
}

// resync returns the error for an unknown or expired token: the client must start again, at the address in Location.
func (c *Call) resync() *Error {
	e := NewError(http.StatusGone, "resyncRequired", "Resync required. Replace any local items with the server's version (including deletes).")
	if c.Route.Type.Mailbox {
		e = NewError(http.StatusGone, "SyncStateNotFound", "The sync state generation is not found.")
	}
	return e.With("Location", "https://"+c.Request.Host+c.Request.URL.EscapedPath())
}
