package people_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/people"
)

func contoso() *simulator.Simulator { return simulator.ContosoWithColleagues(simulator.Options{}) }

// call executes a request and returns its response as JSON decodes it.
func call(t testing.TB, s *simulator.Simulator, address, name, request string, scopes ...string) (map[string]any, error) {
	t.Helper()
	all := people.Operations()
	op := all[slices.IndexFunc(all, func(op services.Operation) bool { return op.Name == name })]
	r, err := services.Decode(op, []byte(request))
	if err != nil {
		return nil, err
	}
	result, err := r.Execute(t.Context(), graphtest.Client(t, s, address, scopes...), services.Attempt{ID: "1", Now: time.Now()})
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var data map[string]any
	if err := json.Unmarshal(b, &data); err != nil {
		t.Fatal(err)
	}
	return data, nil
}

// names returns the names of the people in a response.
func names(data map[string]any) []string {
	found := []string{}
	list, _ := data["people"].([]any)
	for _, p := range list {
		found = append(found, p.(map[string]any)["name"].(string))
	}
	return found
}

func TestSearches(t *testing.T) {
	for _, tt := range []struct {
		op, request, scope string
		want               []string
	}{
		{"people_search", `{"query": "MEGAN"}`, "People.Read", []string{"Megan Bowen"}},
		{"people_search", `{"query": " fabrikam.example "}`, "People.Read", []string{"Peter Miller", "Petra Millers"}},
		{"people_search", `{"query": "\"megan\\"}`, "People.Read", []string{}},
		{"people_search", `{"query": "nobody"}`, "People.Read", []string{}},
		{"people_search", `{"query": "megan` + strings.Repeat(" ", 300) + `"}`, "People.Read", []string{"Megan Bowen"}},
		{"contacts_search", `{"surname": " mill ", "email": " "}`, "Contacts.Read", []string{"Peter Miller", "Petra Millers"}},
		{"contacts_search", `{"surname": "mill"}`, "Contacts.Read", []string{"Peter Miller", "Petra Millers"}},
		{"contacts_search", `{"surname": "mill", "given_name": "petr"}`, "Contacts.Read", []string{"Petra Millers"}},
		{"contacts_search", `{"given_name": "Pet"}`, "Contacts.ReadWrite", []string{"Peter Miller", "Petra Millers"}},
		{"contacts_search", `{"surname": "O'N"}`, "Contacts.Read", []string{"Ann O'Neill"}},
		{"contacts_search", `{"email": "Peter@fabrikam.example"}`, "Contacts.Read", []string{"Peter Miller"}},
		{"contacts_search", `{"email": "peter@fabrikam.example", "given_name": "Ann"}`, "Contacts.Read", []string{}},
	} {
		data, err := call(t, contoso(), simulator.Adele, tt.op, tt.request, "User.Read", tt.scope)
		if err != nil {
			t.Errorf("%s %s: %v", tt.op, tt.request, err)
		}
		if d := cmp.Diff(tt.want, names(data)); d != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.op, tt.request, d)
		}
	}
}

func TestItems(t *testing.T) {
	data, err := call(t, contoso(), simulator.Adele, "contacts_search", `{"given_name": "Peter"}`, "User.Read", "Contacts.Read")
	if err != nil {
		t.Fatal(err)
	}
	got := data["people"].([]any)[0].(map[string]any)
	delete(got, "id")
	want := map[string]any{
		"name": "Peter Miller", "given_name": "Peter", "surname": "Miller", "email": "peter@fabrikam.example", "emails": []any{"peter@fabrikam.example"},
		"user_name": nil, "job_title": nil, "department": nil, "company": "Fabrikam", "office": nil, "phones": []any{"+1 425 555 0100"}, "type": nil,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestPerson(t *testing.T) {
	s := contoso()
	id := ""
	for _, u := range s.Users() {
		if u.Address == simulator.Megan {
			id = u.ID
		}
	}
	basic := map[string]any{"id": id, "name": "Megan Bowen", "given_name": "Megan", "surname": "Bowen", "email": simulator.Megan, "user_name": simulator.Megan}
	for _, request := range []string{`{"address": "Megan@contoso.example"}`, `{"id": "` + id + `"}`} {
		got, err := call(t, s, simulator.Adele, "person", request, "User.Read", "User.ReadBasic.All")
		if err != nil {
			t.Fatal(err)
		}
		photo, err := base64.StdEncoding.DecodeString(got["photo"].(string))
		if err != nil || !strings.HasPrefix(string(photo), "\xff\xd8\xff") || got["photo_type"] != "image/jpeg" {
			t.Errorf("photo: %v, %q, %v", got["photo_type"], photo, err)
		}
		delete(got, "photo")
		delete(got, "photo_type")
		if d := cmp.Diff(basic, got); d != "" {
			t.Errorf("person %s (-want +got):\n%s", request, d)
		}
		full, err := call(t, s, simulator.Adele, "person_full", request, "User.Read", "User.Read.All")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]any{"Marketing Manager", "Marketing", "Adele Vance"}, []any{full["job_title"], full["department"], full["manager"].(map[string]any)["name"]}); d != "" {
			t.Errorf("person_full %s (-want +got):\n%s", request, d)
		}
	}
	// Alex has neither a photo nor a manager.
	got, err := call(t, s, simulator.Adele, "person", `{"address": "alex@contoso.example"}`, "User.Read", "User.ReadBasic.All")
	if err != nil || got["photo"] != nil || got["photo_type"] != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err = call(t, s, simulator.Adele, "person_full", `{"address": "alex@contoso.example"}`, "User.Read", "User.Read.All"); err != nil || got["manager"] != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// requests are one for each operation.
var requests = map[string]string{
	"people_search":   `{"query": "megan"}`,
	"contacts_search": `{"surname": "Miller"}`,
	"person":          `{"address": "megan@contoso.example"}`,
	"person_full":     `{"address": "megan@contoso.example"}`,
}

// TestPermissions pins what each operation needs: exactly one scope, without which Graph refuses it.
func TestPermissions(t *testing.T) {
	want := map[string]string{
		"people_search": "People.Read", "contacts_search": "Contacts.Read", "person": "User.ReadBasic.All", "person_full": "User.Read.All",
	}
	for _, op := range people.Operations() {
		if got := graph.Scopes(op.Permissions); !slices.Equal(got, []string{want[op.Name]}) || !op.Optional || !op.Reads || !op.WorkOnly {
			t.Errorf("%s needs %q: %+v", op.Name, got, op)
		}
		for _, scope := range append(graph.Scopes(op.Permissions), op.Permissions[0].Alternatives...) {
			if _, err := call(t, contoso(), simulator.Adele, op.Name, requests[op.Name], "User.Read", scope); err != nil {
				t.Errorf("%s with %s: %v", op.Name, scope, err)
			}
		}
		others := []string{"User.Read"}
		for _, other := range people.Operations() {
			if scope := other.Permissions[0].Scope; !op.Permissions[0].Satisfied([]string{scope}) {
				others = append(others, scope)
			}
		}
		if _, err := call(t, contoso(), simulator.Adele, op.Name, requests[op.Name], others...); !graph.Is(err, graph.PermissionMissing) {
			t.Errorf("%s with %q: %v", op.Name, others, err)
		}
	}
}

func TestPersonalAccounts(t *testing.T) {
	for op, request := range requests {
		s := contoso()
		_, err := call(t, s, simulator.Ann, op, request, "User.Read", "People.Read", "Contacts.Read")
		if want := "a personal Microsoft account has no organization whose people could be looked up"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", op, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	long := strings.Repeat("x", 201)
	for _, tt := range []struct{ op, request, want string }{
		{"people_search", `{}`, `query is required`},
		{"people_search", `{"query": " "}`, `query: want a name or an address, not an empty text`},
		{"people_search", `{"query": "` + long + `"}`, `query: want at most 200 characters, not 201`},
		{"people_search", `{"query": "x", "limit": 5}`, `limit: unknown field; known fields: query`},
		{"contacts_search", `{}`, `want given_name, surname or email`},
		{"contacts_search", `{"email": "peter"}`, `email: want an address, such as ann@contoso.com, not "peter"`},
		{"contacts_search", `{"surname": "` + long + `"}`, `surname: want at most 200 characters, not 201`},
		{"person", `{}`, `want either address or id`},
		{"person", `{"address": "a@b", "id": "1"}`, `want either address or id`},
		{"person", `{"id": "me-token-to-replace"}`, `id: want an object id, such as 87d349ed-44d7-43e1-9a83-5f2406dee5bd, not "me-token-to-replace"`},
		{"person_full", `{"id": "megan@contoso.example"}`, `id: want an object id, such as 87d349ed-44d7-43e1-9a83-5f2406dee5bd, not "megan@contoso.example"`},
		{"contacts_search", `{"surname": " ", "given_name": "\t"}`, `want given_name, surname or email`},
		{"people_search", `{"query": "` + strings.Repeat("ä", 201) + `"}`, `query: want at most 200 characters, not 201`},
		{"person", `{"address": "megan"}`, `address: want one such as ann@contoso.com, not "megan"`},
		{"person_full", `{}`, `want either address or id`},
	} {
		s := contoso()
		if _, err := call(t, s, simulator.Adele, tt.op, tt.request); err == nil || err.Error() != tt.want {
			t.Errorf("%s %s:\n got %v\nwant %s", tt.op, tt.request, err, tt.want)
		}
		if n := s.Total(); n > 0 {
			t.Errorf("%s %s: %d requests", tt.op, tt.request, n)
		}
	}
	for _, op := range []string{"person", "person_full"} {
		_, err := call(t, contoso(), simulator.Adele, op, `{"address": "nobody@contoso.example"}`, "User.Read", "User.Read.All")
		if want := "look up the user: there is no user nobody@contoso.example in your organization (Graph answered 404 Request_ResourceNotFound)"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", op, err, want)
		}
	}
}

// TestDamagedAnswers: null or missing parts never fail, apart from the id of a user and the list of a search.
func TestDamagedAnswers(t *testing.T) {
	for op, request := range requests {
		for _, path := range []string{"/v1.0/me/people", "/v1.0/me/contacts", "/v1.0/users"} {
			s := contoso()
			s.Fail(simulator.Fault{Method: http.MethodGet, Path: path, Times: -1, Change: func(body map[string]any) {
				list, ok := body["value"].([]any)
				if !ok {
					list = []any{body}
				}
				for _, p := range list {
					for key := range p.(map[string]any) {
						if key != "id" {
							p.(map[string]any)[key] = nil
						}
					}
				}
			}})
			if _, err := call(t, s, simulator.Adele, op, request, "User.Read", "People.Read", "Contacts.Read", "User.Read.All"); err != nil {
				t.Errorf("%s, %s: %v", op, path, err)
			}
		}
	}
	for op, want := range map[string]string{"people_search": "search for people: the answer is not a list", "contacts_search": "search for contacts: the answer is not a list"} {
		for _, value := range []any{nil, "gone"} {
			s := contoso()
			s.Fail(simulator.Fault{Path: "/v1.0/me/", Change: func(body map[string]any) {
				if delete(body, "value"); value == nil {
					body["value"] = nil
				}
			}})
			if data, err := call(t, s, simulator.Adele, op, requests[op], "User.Read", "People.Read", "Contacts.Read"); err == nil || err.Error() != want {
				t.Errorf("%s: got %v, %v, want %s", op, data, err, want)
			}
		}
	}
	s := contoso()
	s.Fail(simulator.Fault{Path: "/v1.0/users", Change: func(body map[string]any) { delete(body, "id") }})
	_, err := call(t, s, simulator.Adele, "person", requests["person"], "User.Read", "User.ReadBasic.All")
	if want := "look up the user: the answer has no id"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
