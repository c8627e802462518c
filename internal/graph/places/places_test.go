package places_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/places"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const application = "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11"

// Every page is read, with and without links between them.
func TestRooms(t *testing.T) {
	for _, omit := range []bool{false, true} {
		s := simulator.Contoso(simulator.Options{})
		s.OmitNextLinks(omit)
		for i := range 200 {
			r := simulator.Room{Address: fmt.Sprintf("room%03d@contoso.example", i), Name: fmt.Sprintf("Room %d", i), Hidden: i == 7}
			if i < 3 {
				r.Lists = []string{"building7@contoso.example"}
			}
			s.AddRoom(r)
		}
		g := graphtest.Application(t, s, application, places.Permission().Scope)
		all, err := places.Rooms(t.Context(), g, "")
		if err != nil || len(all) != 199 || all[0] != (places.Room{Address: "room000@contoso.example", Name: "Room 0"}) {
			t.Errorf("%d rooms: %v", len(all), err)
		}
		in, err := places.Rooms(t.Context(), g, "building7@contoso.example")
		if err != nil || len(in) != 3 {
			t.Errorf("%d rooms in the list: %v", len(in), err)
		}
	}
}

// What cannot be listed is said in words, and an empty list is none.
func TestRoomsNotListed(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	g := graphtest.Application(t, s, application, places.Permission().Scope)
	if _, err := places.Rooms(t.Context(), g, ""); err == nil || !strings.Contains(err.Error(), "Microsoft lists no room") {
		t.Errorf("no rooms: %v", err)
	}
	s.AddRoom(simulator.Room{Address: "berlin@contoso.example", Name: "Berlin"})
	if _, err := places.Rooms(t.Context(), g, "none@contoso.example"); err == nil || !strings.Contains(err.Error(), "there is no room list none@contoso.example") {
		t.Errorf("an unknown list: %v", err)
	}
}

// A group has rooms; without the permission to read users, their ids do.
func TestMembers(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	var members []string
	for _, name := range []string{"Berlin", "Paris"} {
		r := s.AddRoom(simulator.Room{Address: strings.ToLower(name) + "@contoso.example", Name: name})
		members = append(members, r.Address)
	}
	group := s.AddGroup(simulator.Group{Name: "Rooms", Address: "rooms@contoso.example", Members: members, Security: true})
	s.AddGroup(simulator.Group{Name: "Empty", Address: "empty@contoso.example", Security: true})
	g := graphtest.Application(t, s, application, places.MemberPermission().Scope, "User.ReadBasic.All")
	for _, name := range []string{group.ID, "rooms@contoso.example"} {
		got, err := places.Members(t.Context(), g, name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]places.Room{{Address: "berlin@contoso.example", Name: "Berlin"}, {Address: "paris@contoso.example", Name: "Paris"}}, got); diff != "" {
			t.Error(diff)
		}
	}
	for name, want := range map[string]string{
		"none@contoso.example":                 "there is no group none@contoso.example",
		"00000000-0000-0000-0000-000000000001": "there is no group 00000000-0000-0000-0000-000000000001",
		"empty@contoso.example":                "the group has no members with a mailbox",
	} {
		if _, err := places.Members(t.Context(), g, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	g = graphtest.Application(t, s, application, places.MemberPermission().Scope)
	got, err := places.Members(t.Context(), g, group.ID)
	if err != nil || len(got) != 2 || len(got[0].Address) != 36 {
		t.Errorf("without the permission to read users: %v, %v", got, err)
	}
}

// 10,000 rooms are not too many, although the last page is full.
func TestManyRooms(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	const n = 10_000
	for i := range n {
		s.AddRoom(simulator.Room{Address: fmt.Sprintf("room%d@contoso.example", i), Name: fmt.Sprint("Room ", i)})
	}
	g := graphtest.Application(t, s, application, places.Permission().Scope)
	if all, err := places.Rooms(t.Context(), g, ""); err != nil || len(all) != n {
		t.Errorf("%d rooms: %v", len(all), err)
	}
}
