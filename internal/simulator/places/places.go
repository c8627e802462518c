// Package places simulates the rooms and the room lists of the tenants.
package places

import (
	"net/http"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the rooms of all tenants. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	share     func(owner, guest string, write bool)
	rooms     []*Room
	unpaged   bool
}

// New returns no rooms. share gives a user access to the calendars of another.
func New(d *directory.Directory, share func(owner, guest string, write bool)) *Service {
	return &Service{directory: d, share: share}
}

// A Room is a meeting room with a mailbox.
type Room struct {
	Address  string   `json:"address"`
	Name     string   `json:"name"`
	Lists    []string `json:"lists"` // addresses of the room lists that it is in
	Capacity int      `json:"capacity"`
	Hidden   bool     `json:"hidden"`   // from address lists, and therefore from Graph's
	Managers []string `json:"managers"` // addresses of users who may book it in its own calendar
}

// AddRoom adds a room with a mailbox.
func (s *Service) AddRoom(r Room) Room {
	s.add(r)
	for _, m := range r.Managers {
		s.share(r.Address, m, true)
	}
	return r
}

func (s *Service) add(r Room) {
	s.directory.Lock()
	defer s.directory.Unlock() // Add panics if the address is in use
	s.directory.Add(directory.User{Address: r.Address, Name: r.Name})
	s.rooms = append(s.rooms, &r)
}

// RemoveRoom takes the room with this address off all lists. Its mailbox stays.
func (s *Service) RemoveRoom(address string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.rooms = slices.DeleteFunc(s.rooms, func(r *Room) bool { return strings.EqualFold(r.Address, address) })
}

// OmitNextLinks makes Graph leave out the links to the next pages of rooms, as it sometimes does.
func (s *Service) OmitNextLinks(omit bool) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.unpaged = omit
}

// Resource returns the places of Graph.
//
// https://learn.microsoft.com/graph/api/place-list
func (s *Service) Resource() odata.Resource {
	room := &odata.Type{
		Name: "microsoft.graph.room", Properties: odata.Properties{
			"id": odata.String().Computed(), "displayName": odata.String(), "emailAddress": odata.String(), "capacity": odata.Int32(), "building": odata.String(), "floorLabel": odata.String(),
		},
		Denied: odata.NewError(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again."),
	}
	options := []string{"$select", "$top", "$skip", "$filter", "$count"}
	allowed := []string{"Place.Read.All", "Place.ReadWrite.All"}
	return odata.Resource{
		Routes: []odata.Route{
			{Method: "GET", Path: "/places/microsoft.graph.room", Type: room, Options: options, Do: s.listRooms},
			{Method: "GET", Path: "/places/microsoft.graph.roomlist", Type: room, Options: options, Do: s.listLists},
			{Method: "GET", Path: "/places/{place}/microsoft.graph.roomlist/rooms", Type: room, Options: options, Do: s.listRooms},
		},
		Exceptions: func(_, _ string, personal bool) []string {
			if personal {
				return []string{} // not supported
			}
			return allowed
		},
		Application: func(string, string) []string { return allowed },
		Controls: []control.Operation{
			{Method: "POST", Path: "/control/rooms", Description: "add a room with a mailbox, to room lists", Do: s.postRoom},
			{Method: "DELETE", Path: "/control/rooms/{room}", Description: "take a room off all lists", Do: func(r *http.Request) (any, error) {
				s.RemoveRoom(r.PathValue("room"))
				return nil, nil
			}},
		},
	}
}

func (s *Service) postRoom(r *http.Request) (any, error) {
	in, err := control.Decode[Room](r)
	if err != nil {
		return nil, err
	}
	if err := control.CheckAddress(in.Address, "berlin@contoso.example"); err != nil {
		return nil, err
	}
	return s.AddRoom(in), nil
}

// visible returns the rooms of the caller's tenant that address lists show.
func (s *Service) visible(c *odata.Call) []*Room {
	return slices.DeleteFunc(slices.Clone(s.rooms), func(r *Room) bool { return r.Hidden || s.directory.TenantOf(r.Address) != c.User.Tenant })
}

func (s *Service) listRooms(c *odata.Call) (odata.Response, error) {
	rooms := s.visible(c)
	if list, ok := c.Params["place"]; ok {
		known := slices.ContainsFunc(rooms, func(r *Room) bool { return r.in(list) })
		if rooms = slices.DeleteFunc(rooms, func(r *Room) bool { return !r.in(list) }); !known {
			return odata.Response{}, odata.NewError(http.StatusNotFound, "ErrorItemNotFound", "The requested list '%s' was not found.", list)
		}
	}
	all := []map[string]any{}
	for _, r := range rooms {
		all = append(all, map[string]any{
			"id": directory.NewGUID("place:" + r.Address), "displayName": r.Name, "emailAddress": r.Address, "capacity": r.Capacity, "building": nil, "floorLabel": nil,
		})
	}
	resp, err := c.Collection("places/microsoft.graph.room", all)
	if body, ok := resp.Body.(map[string]any); ok && s.unpaged {
		delete(body, "@odata.nextLink")
	}
	return resp, err
}

func (r *Room) in(list string) bool {
	return slices.ContainsFunc(r.Lists, func(l string) bool { return strings.EqualFold(l, list) })
}

func (s *Service) listLists(c *odata.Call) (odata.Response, error) {
	var addresses []string
	for _, r := range s.visible(c) {
		addresses = append(addresses, r.Lists...)
	}
	slices.Sort(addresses)
	all := []map[string]any{}
	for _, a := range slices.Compact(addresses) {
		name, _, _ := strings.Cut(a, "@")
		all = append(all, map[string]any{"id": directory.NewGUID("place:" + a), "displayName": name, "emailAddress": a})
	}
	return c.Collection("places/microsoft.graph.roomList", all)
}
