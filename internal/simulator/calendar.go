package simulator

import (
	"slices"
	"strings"
)

// A Calendar is one in a mailbox.
type Calendar struct {
	ID       string
	Name     string
	Default  bool
	ReadOnly bool
}

// AddCalendar adds a calendar to the mailbox of a user or group.
func (s *Simulator) AddCalendar(address, name string) Calendar {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.named(address).addCalendar(Calendar{Name: name})
}

// Calendars are those of the mailbox, the default one first.
func (s *Simulator) Calendars(address string) []Calendar {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Calendar
	for _, c := range s.named(address).calendars {
		all = append(all, *c)
	}
	return all
}

// RenameCalendar gives the calendar of this id or name another name.
func (s *Simulator) RenameCalendar(address, calendar, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustCalendar(address, calendar).Name = name
}

// RemoveCalendar removes the calendar of this id or name with its events.
func (s *Simulator) RemoveCalendar(address, calendar string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, c := s.named(address), s.mustCalendar(address, calendar)
	b.calendars = slices.DeleteFunc(b.calendars, func(d *Calendar) bool { return d == c })
	b.events = slices.DeleteFunc(b.events, func(e *storedEvent) bool { return e.calendar == c })
}

func (s *Simulator) mustCalendar(address, calendar string) *Calendar {
	c := s.named(address).calendar(calendar)
	if c == nil {
		panic("simulator: no calendar " + calendar + " in the mailbox " + address)
	}
	return c
}

func calendarRoutes() []route {
	list := []string{"$select", "$top", "$skip", "$filter", "$orderby", "$count"}
	var routes []route
	for _, root := range []string{"/me", "/users/{user}", "/groups/{group}"} {
		add := func(method, path string, k kind, do func(*call) (answer, error), options ...string) {
			routes = append(routes, route{method: method, path: root + path, kind: k, options: options, do: do})
		}
		parents := []string{"", "/calendar"}
		add("GET", "/calendar", calendar, getCalendar, "$select")
		if root != "/groups/{group}" {
			parents = append(parents, "/calendars/{calendar}")
			add("GET", "/calendars", calendar, listCalendars, list...)
			add("GET", "/calendars/{calendar}", calendar, getCalendar, "$select")
		}
		for _, parent := range parents {
			add("GET", parent+"/calendarView", event, viewEvents, list...)
			add("GET", parent+"/events", event, listEvents, list...)
			add("POST", parent+"/events", event, createEvent)
			add("GET", parent+"/events/{event}", event, getEvent, "$select", "$expand")
			add("PATCH", parent+"/events/{event}", event, updateEvent)
			add("DELETE", parent+"/events/{event}", event, deleteEvent)
			for _, action := range []string{"accept", "tentativelyAccept", "decline", "cancel"} {
				if action == "cancel" || root != "/groups/{group}" {
					add("POST", parent+"/events/{event}/"+action, event, act)
				}
			}
		}
	}
	return routes
}

// calendar is the one that the path names; without a name the default one, and false for all of them.
func (c *call) calendar(b *mailbox) (*Calendar, bool, error) {
	id, ok := c.params["calendar"]
	if !ok {
		return b.calendar(""), strings.Contains(strings.ToLower(c.route.path), "/calendar/"), nil
	}
	if err := wellFormed(id); err != nil {
		return nil, false, err
	}
	i := slices.IndexFunc(b.calendars, func(c *Calendar) bool { return c.ID == id })
	if i < 0 {
		return nil, false, notFound()
	}
	return b.calendars[i], true, nil
}

func (b *mailbox) calendarJSON(c *Calendar) map[string]any {
	return map[string]any{
		"id": c.ID, "name": c.Name, "color": "auto", "hexColor": "", "isDefaultCalendar": c.Default, "changeKey": hash(c.ID + c.Name)[:27] + "=",
		"canShare": true, "canViewPrivateItems": true, "canEdit": !c.ReadOnly, "allowedOnlineMeetingProviders": []string{"teamsForBusiness"},
		"defaultOnlineMeetingProvider": "teamsForBusiness", "isTallyingResponses": c.Default, "isRemovable": !c.Default,
		"owner": map[string]any{"name": b.name, "address": b.address},
	}
}

// setName is the beginning of @odata.context for what the mailbox holds.
func (c *call) setName(set string) string {
	if id := c.params["group"]; id != "" {
		return "groups('" + id + "')/" + set
	}
	return "users('" + c.mailbox() + "')/" + set
}

func listCalendars(c *call) (answer, error) {
	b, err := c.box()
	if err != nil {
		return answer{}, err
	}
	var all []map[string]any
	for _, d := range b.calendars {
		all = append(all, b.calendarJSON(d))
	}
	return c.collection(c.setName("calendars"), all, 10)
}

func getCalendar(c *call) (answer, error) {
	b, err := c.box()
	if err != nil {
		return answer{}, err
	}
	found, _, err := c.calendar(b)
	if err != nil {
		return answer{}, err
	}
	body, err := c.project(b.calendarJSON(found))
	if err != nil {
		return answer{}, err
	}
	return c.entity(c.setName("calendars"), body), nil
}
