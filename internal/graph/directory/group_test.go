package directory_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// groups returns a simulator with groups of Adele and of others.
func groups() (s *simulator.Simulator, byName map[string]simulator.Group) {
	s = simulator.ContosoWithColleagues(simulator.Options{})
	byName = map[string]simulator.Group{}
	for _, g := range []simulator.Group{
		{Name: "Project", Address: "project@contoso.example", Members: []string{simulator.Adele}},
		{Name: "Bob's \"group\" / 2", Address: "bob@contoso.example", Members: []string{simulator.Adele}},
		{Name: "Admins", Address: "admins@contoso.example", Members: []string{simulator.Adele}, Security: true},
		{Name: "Twin", Address: "twin1@contoso.example", Members: []string{simulator.Adele}},
		{Name: "Twin", Address: "twin2@contoso.example"},
		{Name: "Board", Address: "board@contoso.example", Members: []string{simulator.Megan}},
	} {
		g = s.AddGroup(g)
		byName[g.Name+" "+g.Address] = g
	}
	return s, byName
}

func TestGroups(t *testing.T) {
	s, _ := groups()
	for i := range 120 {
		s.AddGroup(simulator.Group{Name: fmt.Sprintf("Z%03d", i), Address: fmt.Sprintf("z%d@contoso.example", i), Members: []string{simulator.Adele}})
	}
	all, err := directory.Groups(t.Context(), graphtest.Client(t, s, simulator.Adele, "Group.Read.All"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range all[:4] {
		names = append(names, g.Name+" "+g.Address)
	}
	want := []string{`Bob's "group" / 2 bob@contoso.example`, "Marketing marketing@contoso.example", "Project project@contoso.example", "Twin twin1@contoso.example"}
	if d := cmp.Diff(want, names); d != "" || len(all) != 124 {
		t.Errorf("%d groups (-want +got):\n%s", len(all), d)
	}
}

func TestFindGroup(t *testing.T) {
	s, byName := groups()
	twins := []string{byName["Twin twin1@contoso.example"].ID + " (twin1@contoso.example)", byName["Twin twin2@contoso.example"].ID + " (twin2@contoso.example)"}
	if twins[1] < twins[0] {
		twins[0], twins[1] = twins[1], twins[0]
	}
	security := byName["Admins admins@contoso.example"].ID
	const nobody = "00000000-0000-0000-0000-000000000001"
	for group, want := range map[string]string{
		"project@contoso.example":                "Project",
		"PROJECT@contoso.example":                "Project",
		" Project ":                              "Project",
		`Bob's "group" / 2`:                      `Bob's "group" / 2`,
		byName["Board board@contoso.example"].ID: "Board",
		"Board":                                  "Board",
		"Twin":                                   fmt.Sprintf("find the group: 2 groups are named Twin; want the id or address of one of them: %s, %s", twins[0], twins[1]),
		"Nothing":                                "find the group: there is no group Nothing in your organization; want the id, address or name of a Microsoft 365 group",
		"Admins":                                 "find the group: Admins is not a Microsoft 365 group, and so has no calendar",
		security:                                 "find the group: " + security + " is not a Microsoft 365 group, and so has no calendar",
		nobody:                                   "find the group: there is no group with the id " + nobody + " in your organization (Graph answered 404 Request_ResourceNotFound)",
	} {
		g, err := directory.FindGroup(t.Context(), graphtest.Client(t, s, simulator.Adele, "Group.Read.All"), group)
		got := g.Name
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", group, got, want)
		}
	}
}

func TestDamagedGroups(t *testing.T) {
	for body, want := range map[string]string{
		`{"value": [{"id": "x", "groupTypes": ["Unified"]}]}`: "id of a group",
		`{"value": [{"groupTypes": ["Unified"]}]}`:            "id of a group",
		`{}`: "",
	} {
		c := client(t, func(*http.Request) (*http.Response, error) { return graphtest.Answer(200, body), nil })
		for what, call := range map[string]func() error{
			"find the group":  func() error { _, err := directory.FindGroup(t.Context(), c, "Project"); return err },
			"list the groups": func() error { _, err := directory.Groups(t.Context(), c); return err },
		} {
			text := what + ": the answer has no " + want
			if want == "" {
				text = what + ": the answer is not a list"
			}
			if err := call(); err == nil || err.Error() != text {
				t.Errorf("%s: got %v, want %s", body, err, text)
			}
		}
	}
	c := client(t, func(*http.Request) (*http.Response, error) {
		return graphtest.Answer(200, `{"value": [{"id": "01D4EE64-15ce-491e-bad1-b91aa3223df4", "displayName": null, "mail": null, "groupTypes": ["Unified", "SomethingNew"]}, {"id": "11d4ee64-15ce-491e-bad1-b91aa3223df4", "groupTypes": null}]}`), nil
	})
	g, err := directory.FindGroup(t.Context(), c, "x")
	if want := (directory.Group{ID: "01d4ee64-15ce-491e-bad1-b91aa3223df4", Name: "01D4EE64-15ce-491e-bad1-b91aa3223df4"}); err != nil || g != want {
		t.Errorf("got %+v, %v", g, err)
	}
}
