package odata_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// notes is a resource of its own: everything that Graph needs to know of it is here.
type notes struct {
	texts map[string]string // by id
	typ   *odata.Type
}

func newNotes() *notes {
	return &notes{texts: map[string]string{}, typ: &odata.Type{
		Name:       "microsoft.graph.note",
		Properties: map[string]odata.Property{"id": odata.String().Computed(), "text": odata.String().NotNull(), "length": odata.Int32().Computed()},
		Denied:     odata.NewError(http.StatusForbidden, "Forbidden", "No."),
	}}
}

func (n *notes) resource() odata.Resource {
	return odata.Resource{
		Routes: []odata.Route{
			{Method: "GET", Path: "/me/notes", Type: n.typ, Options: []string{"$filter", "$orderby"}, Do: func(c *odata.Call) (odata.Response, error) {
				return c.Collection("notes", n.all())
			}},
			{Method: "GET", Path: "/me/notes/delta", Type: n.typ, Options: odata.DeltaOptions("$select"), Do: func(c *odata.Call) (odata.Response, error) {
				return c.Delta(func() ([]map[string]any, error) { return n.all(), nil })
			}},
			{Method: "POST", Path: "/me/notes/{note}", Type: n.typ, Do: func(c *odata.Call) (odata.Response, error) {
				body, err := c.Decode()
				if err != nil {
					return odata.Response{}, err
				}
				n.texts[c.Params["note"]], _ = body["text"].(string)
				return odata.Response{Status: http.StatusNoContent}, nil
			}},
		},
		Permissions: []byte(`{"GET /me/notes": {"work": ["Notes.Read"]}}`),
		Exceptions: func(method, _ string, _ bool) []string {
			if method == http.MethodPost {
				return []string{"Notes.ReadWrite"}
			}
			return nil
		},
	}
}

func (n *notes) all() []map[string]any {
	var all []map[string]any
	for _, id := range slices.Sorted(maps.Keys(n.texts)) {
		all = append(all, map[string]any{"id": id, "text": n.texts[id], "length": len(n.texts[id])})
	}
	return all
}

// A client calls the service as a user with scopes.
type client struct {
	t       *testing.T
	service *odata.Service
	scopes  *[]string
}

func newClient(t *testing.T, r odata.Resource) client {
	t.Helper()
	scopes := &[]string{}
	d := directory.New(time.Now)
	d.Lock()
	d.Add(directory.User{Address: "lee@contoso.example"})
	d.Unlock()
	s := odata.New(d, func(string) *directory.AccessToken {
		return &directory.AccessToken{User: d.ByAddress("lee@contoso.example"), Scopes: *scopes, Expires: d.Now().Add(time.Hour)}
	})
	s.Register(r)
	return client{t, s, scopes}
}

// do returns the status, the body and the headers.
func (c client) do(method, path, body string) (int, map[string]any, http.Header) {
	c.t.Helper()
	if !strings.HasPrefix(path, "https:") {
		path = "https://graph.example/v1.0" + path
	}
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer x")
	resp, address, release := c.service.Serve(r, []byte(body), false)
	release()
	if address != "lee@contoso.example" {
		c.t.Errorf("user %q", address)
	}
	b, _ := odata.Finish(resp, r).Encode()
	var out map[string]any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			c.t.Fatal(err)
		}
	}
	return resp.Status, out, resp.Header
}

func (c client) want(status int, method, path, body string) map[string]any {
	c.t.Helper()
	got, out, _ := c.do(method, path, body)
	if got != status {
		c.t.Fatalf("%s %s: %d %v, want %d", method, path, got, out, status)
	}
	return out
}

// A new resource brings its own routes, types and permissions, and gets bodies, queries and delta queries for free.
func TestResource(t *testing.T) {
	n := newNotes()
	c := newClient(t, n.resource())
	*c.scopes = []string{"Notes.Read"}
	c.want(403, "POST", "/me/notes/a", `{"text":"milk"}`)
	*c.scopes = []string{"Notes.ReadWrite"}
	c.want(403, "GET", "/me/notes", "")
	*c.scopes = []string{"Notes.Read", "Notes.ReadWrite"}
	c.want(204, "POST", "/me/notes/a", `{"text":"milk","length":1}`)
	c.want(204, "POST", "/me/notes('b')", `{"text":"bread"}`)
	c.want(400, "POST", "/me/notes/c", `{"text":null}`)
	c.want(400, "POST", "/me/notes/c", `{"colour":"red"}`)
	c.want(400, "GET", "/me/notes?$filter=length+eq+'4'", "")
	c.want(501, "GET", "/me/notes/a", "")
	page := c.want(200, "GET", "/me/notes?$filter=length+ge+4&$orderby=length+desc", "")["value"].([]any)
	if len(page) != 2 || page[0].(map[string]any)["text"] != "bread" {
		t.Errorf("page: %v", page)
	}
}

// Entities without an etag are compared by content. Other services than Exchange answer expired tokens with resyncRequired.
func TestDeltaWithoutEtag(t *testing.T) {
	n := newNotes()
	n.texts = map[string]string{"a": "milk", "b": "bread"}
	c := newClient(t, n.resource())
	*c.scopes = []string{"Notes.Read"}
	first := c.want(200, "GET", "/me/notes/delta?$select=text", "")
	if want := []any{map[string]any{"id": "a", "text": "milk"}, map[string]any{"id": "b", "text": "bread"}}; !cmp.Equal(first["value"], any(want)) {
		t.Errorf("first: %v", first["value"])
	}
	n.texts["a"] = "oats"
	delete(n.texts, "b")
	link := first["@odata.deltaLink"].(string)
	second := c.want(200, "GET", link, "")
	if want := []any{map[string]any{"id": "a", "text": "oats"}, map[string]any{"id": "b", "@removed": map[string]any{"reason": "deleted"}}}; !cmp.Equal(second["value"], any(want)) {
		t.Errorf("changes: %v", second["value"])
	}
	c.want(400, "GET", "/me/notes/delta?$filter=length+eq+1", "")
	c.service.ExpireDeltaTokens()
	status, out, header := c.do("GET", link, "")
	if e := out["error"].(map[string]any); status != 410 || e["code"] != "resyncRequired" || header.Get("Location") != "https://graph.example/v1.0/me/notes/delta" {
		t.Errorf("%d %v %v", status, out, header)
	}
}
