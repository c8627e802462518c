package simulator_test

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestGroups pins who sees which groups, with which permissions.
func TestGroups(t *testing.T) {
	v := newGraphClient(t, "Group.Read.All")
	v.s.AddUser(simulator.User{Address: "megan@contoso.example", Tenant: simulator.ContosoTenant})
	group := v.s.AddGroup(simulator.Group{Name: "Bob's group", Address: "project@contoso.example", Members: []string{simulator.Adele}})
	v.s.AddGroup(simulator.Group{Name: "Admins", Address: "admins@contoso.example", Security: true})
	v.s.AddGroup(simulator.Group{Name: "Elsewhere", Address: "project@fabrikam.example"})
	names := func(path string) (names []any) {
		t.Helper()
		for _, g := range v.want(200, "GET", path, "")["value"].([]any) {
			names = append(names, g.(map[string]any)["displayName"])
		}
		return names
	}
	for path, want := range map[string][]any{
		"/groups": {"Bob's group", "Admins"},
		"/groups?$filter=" + url.QueryEscape("displayName eq 'bob''s GROUP'"):    {"Bob's group"},
		"/groups?$filter=" + url.QueryEscape("mail eq 'admins@contoso.example'"): {"Admins"},
		"/groups?$filter=" + url.QueryEscape("groupTypes/any(t:t eq 'Unified')"): {"Bob's group"},
		"/me/memberOf": {"Bob's group"},
		"/me/transitiveMemberOf/microsoft.graph.group?$select=id,displayName": {"Bob's group"},
		"/me/transitiveMemberOf/graph.group":                                  {"Bob's group"},
	} {
		if d := cmp.Diff(want, names(path)); d != "" {
			t.Errorf("%s (-want +got):\n%s", path, d)
		}
	}
	one := v.want(200, "GET", "/groups/"+group.ID+"?$select=id,displayName,mail,groupTypes", "")
	if one["mail"] != "project@contoso.example" || !cmp.Equal(one["groupTypes"], []any{"Unified"}) || one["securityEnabled"] != nil {
		t.Errorf("the group: %v", one)
	}
	v.refused(404, "Request_ResourceNotFound", "GET", "/groups/00000000-0000-0000-0000-000000000001", "")

	v.token = v.s.Token(simulator.Adele, "User.Read")
	if d := cmp.Diff([]any{nil}, names("/me/memberOf")); d != "" {
		t.Errorf("names without permission (-want +got):\n%s", d)
	}
	v.refused(403, "Authorization_RequestDenied", "GET", "/groups", "")
	v.refused(403, "Authorization_RequestDenied", "GET", "/groups/"+group.ID, "")
	v.token = v.s.Token(simulator.Adele, "Calendars.ReadWrite")
	v.refused(403, "Authorization_RequestDenied", "GET", "/me/memberOf", "")
}

// TestGroupMembership pins that only members reach the calendar of a group.
func TestGroupMembership(t *testing.T) {
	v := newGraphClient(t, "Group.ReadWrite.All")
	group := v.s.AddGroup(simulator.Group{Name: "Project", Address: "project@contoso.example"})
	events := "/groups/" + group.ID + "/events"
	v.refused(403, "ErrorAccessDenied", "GET", events, "")
	v.control(204, "PUT", "/groups/project@contoso.example/members/"+simulator.Adele, "")
	v.want(200, "GET", events, "")
	v.control(204, "DELETE", "/groups/project@contoso.example/members/"+simulator.Adele, "")
	v.refused(403, "ErrorAccessDenied", "GET", events, "")
	v.control(204, "DELETE", "/groups/project@contoso.example", "")
	v.refused(404, "Request_ResourceNotFound", "GET", events, "")
	if all := v.s.Groups(); len(all) != 0 {
		t.Errorf("groups: %v", all)
	}
	v.control(200, "POST", "/groups", `{"name": "Project", "address": "project@contoso.example"}`)
	v.control(409, "POST", "/groups", `{"name": "Project", "address": "project@contoso.example"}`)
	v.control(400, "POST", "/groups", `{"name": "Project", "address": "project"}`)
	v.control(404, "PUT", "/groups/nothing@contoso.example/members/"+simulator.Adele, "")
}

// TestDeltaOfOthers pins that only the first page of a delta query of somebody else's calendar can be read.
func TestDeltaOfOthers(t *testing.T) {
	v := newGraphClient(t, "Calendars.Read.Shared")
	v.s.AddUser(simulator.User{Address: "megan@contoso.example", Tenant: simulator.ContosoTenant})
	v.s.Share("megan@contoso.example", simulator.Adele, false)
	page := v.want(200, "GET", "/users/megan@contoso.example/calendarView/delta"+window(july, "2026-07-02T00:00:00Z"), "")
	v.refused(403, "ErrorAccessDenied", "GET", page["@odata.deltaLink"].(string), "")
}
