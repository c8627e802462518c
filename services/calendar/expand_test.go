package calendar_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

// organization has the lists staff, with Megan and the list sales, sales, with Alex and Adele, and the dynamic list all.
func organization(t testing.TB) *simulator.Simulator {
	s := contoso(t)
	for _, address := range []string{simulator.Megan, simulator.Alex} {
		s.AddUser(simulator.User{Address: address, Name: address, Tenant: simulator.ContosoTenant})
	}
	s.AddList(simulator.List{Name: "Sales", Address: "sales@contoso.example", Members: []string{simulator.Alex, simulator.Adele}})
	s.AddList(simulator.List{Name: "Staff", Address: "staff@contoso.example", Members: []string{simulator.Megan, "sales@contoso.example"}})
	s.AddList(simulator.List{Name: "Empty", Address: "empty@contoso.example"})
	s.AddList(simulator.List{Name: "All", Address: "all@contoso.example", Members: []string{simulator.Alex}, Dynamic: true})
	return s
}

// review returns a request that invites these addresses.
func review(more string, addresses ...string) string {
	var attendees []string
	for _, a := range addresses {
		attendees = append(attendees, fmt.Sprintf(`{"email": %q, "type": "optional"}`, a))
	}
	return `{"subject": "Review", "start": "2026-03-02T10:00:00", "end": "2026-03-02T11:00:00", "attendees": [` + strings.Join(attendees, ", ") + `]` + more + `}`
}

// createWith executes create or expand_groups of a calendar that offers both.
func createWith(t testing.TB, s *simulator.Simulator, address, op, request string, scopes ...string) (any, error) {
	t.Helper()
	all := calendar.Operations(calendars.Calendar{}, calendar.ExpandGroups)
	r, err := services.Decode(all[slices.IndexFunc(all, func(o services.Operation) bool { return o.Name == op })], []byte(request))
	if err != nil {
		return nil, err
	}
	return r.Execute(t.Context(), graphtest.Client(t, s, address, append(scopes, "User.Read")...), circumstances(t))
}

// invited returns the attendees of all events in Adele's calendar that were sent to Graph, with their roles.
func invited(t testing.TB, s *simulator.Simulator) []string {
	t.Helper()
	var all []string
	for _, r := range s.Requests() {
		if r.Method != http.MethodPost {
			continue
		}
		var body struct {
			Attendees []struct {
				Type         string
				EmailAddress struct{ Address string }
			}
		}
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatal(err)
		}
		for _, a := range body.Attendees {
			all = append(all, a.EmailAddress.Address+" "+a.Type)
		}
	}
	return all
}

func expandScopes() []string {
	return []string{"Calendars.ReadWrite", "GroupMember.Read.All", "User.ReadBasic.All"}
}

func TestExpandGroups(t *testing.T) {
	for _, tt := range []struct {
		attendees, want   []string
		expanded, unknown []any
	}{
		{[]string{"Staff@contoso.example"}, []string{"megan@contoso.example optional", "alex@contoso.example optional"}, []any{"Staff@contoso.example"}, []any{}},
		{[]string{"sales@contoso.example", simulator.Alex, "x@fabrikam.example"}, []string{"alex@contoso.example optional", "x@fabrikam.example optional"},
			[]any{"sales@contoso.example"}, []any{"x@fabrikam.example"}},
		{[]string{"all@contoso.example"}, []string{"all@contoso.example optional"}, []any{}, []any{"all@contoso.example"}},
		{[]string{"empty@contoso.example"}, []string{"empty@contoso.example optional"}, []any{}, []any{"empty@contoso.example"}},
		{nil, nil, []any{}, []any{}},
	} {
		for op, request := range map[string]string{"create": review(`, "expand_groups": true`, tt.attendees...), "expand_groups": review("", tt.attendees...)} {
			s := organization(t)
			result, err := createWith(t, s, simulator.Adele, op, request, expandScopes()...)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, invited(t, s)); d != "" {
				t.Errorf("%s %q (-want +got):\n%s", op, tt.attendees, d)
			}
			b, err := json.Marshal(result.(calendar.Expanded).Data())
			if err != nil {
				t.Fatal(err)
			}
			var data map[string]any
			if err := json.Unmarshal(b, &data); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]any{tt.expanded, tt.unknown}, []any{data["expanded"], data["not_expanded"]}); d != "" || data["event_id"] == nil {
				t.Errorf("%s %q: %v (-want +got):\n%s", op, tt.attendees, data, d)
			}
		}
	}
}

// TestListsAreInvited: without expand_groups a list is invited as it is, and nothing is looked up.
func TestListsAreInvited(t *testing.T) {
	for _, more := range []string{``, `, "expand_groups": false`} {
		s := organization(t)
		if _, err := createWith(t, s, simulator.Adele, "create", review(more, "staff@contoso.example"), "Calendars.ReadWrite"); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{"staff@contoso.example optional"}, invited(t, s)); d != "" || s.Count(http.MethodGet, "/v1.0/groups") > 0 {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

// TestExpandGroupsTwice: a request whose answer was lost is repeated, and there is one event.
func TestExpandGroupsTwice(t *testing.T) {
	s := organization(t)
	s.Fail(simulator.Fault{Method: http.MethodPost, Status: http.StatusGatewayTimeout, Done: true})
	if _, err := createWith(t, s, simulator.Adele, "expand_groups", review("", "staff@contoso.example"), expandScopes()...); err == nil {
		t.Error("no error though the answer was lost")
	}
	if _, err := createWith(t, s, simulator.Adele, "expand_groups", review("", "staff@contoso.example"), expandScopes()...); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Events(simulator.Adele, "")); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestExpandGroupsNeeds pins the permissions. Without one of them nothing is created, and Graph refuses each request by itself, too.
func TestExpandGroupsNeeds(t *testing.T) {
	op := operation(t, calendars.Calendar{}, "expand_groups")
	if d := cmp.Diff(expandScopes(), graph.Scopes(op.Permissions)); d != "" || !op.Optional || !op.WorkOnly || op.Reads || op.Retry != services.IdempotencyKey {
		t.Errorf("%+v (-want +got):\n%s", op, d)
	}
	for i := range expandScopes() {
		s := organization(t)
		scopes := slices.Delete(expandScopes(), i, i+1)
		_, err := createWith(t, s, simulator.Adele, "expand_groups", review("", "staff@contoso.example", simulator.Megan), scopes...)
		if !graph.Is(err, graph.PermissionMissing) || len(s.Events(simulator.Adele, "")) > 0 {
			t.Errorf("with %q: %v", scopes, err)
		}
	}
	for path, scope := range map[string]string{"/groups": "User.ReadBasic.All", "/users/" + simulator.Megan: "GroupMember.Read.All"} {
		s := organization(t)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.GraphURL()+"/v1.0"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.Token(simulator.Adele, "User.Read", scope))
		response, err := (&http.Client{Transport: s.Transport()}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("%s with %s: %s", path, scope, response.Status)
		}
	}
	s := contoso(t)
	s.AddUser(simulator.User{Address: simulator.Ann, Name: "Ann Example", Personal: true})
	_, err := createWith(t, s, simulator.Ann, "expand_groups", review("", "x@outlook.example"), expandScopes()...)
	if want := "a personal Microsoft account has no distribution lists"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestGroupsOfferLess: the calendar of a group has no operations that need permissions of one's own calendar or directory.
func TestGroupsOfferLess(t *testing.T) {
	group := calendars.Calendar{Group: "sales@contoso.example"}
	for _, op := range calendar.Operations(group, calendar.ExpandGroups) {
		if slices.Contains([]string{"find_times", "create_meeting", "expand_groups"}, op.Name) {
			t.Errorf("it offers %s", op.Name)
		}
	}
	_, err := call(t, organization(t), group, "create", review(`, "expand_groups": true`, "staff@contoso.example"), false, "Group.ReadWrite.All")
	if want := "expand_groups: want false, because the calendar of a group cannot invite the members of distribution lists"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestExpandGroupsRefused(t *testing.T) {
	_, err := call(t, organization(t), calendars.Calendar{}, "create", review(`, "expand_groups": true`, "staff@contoso.example"), false, expandScopes()...)
	if want := "expand_groups: want false, which invites a distribution list as it is, or name expand_groups in allow"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	s := organization(t)
	var many []string
	for i := range 501 {
		u := s.AddUser(simulator.User{Address: fmt.Sprintf("user%d@contoso.example", i), Name: "User"})
		many = append(many, u.Address)
	}
	s.AddList(simulator.List{Name: "Many", Address: "many@contoso.example", Members: many})
	_, err = createWith(t, s, simulator.Adele, "expand_groups", review("", "many@contoso.example"), expandScopes()...)
	if want := "attendees: want at most 500 people, not 501 with the members of many@contoso.example"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
