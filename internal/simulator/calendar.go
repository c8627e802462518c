package simulator

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// A Calendar belongs to the mailbox of a user or group.
type Calendar struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Default  bool   `json:"default"`
	ReadOnly bool   `json:"readOnly"`
}

// AddCalendar adds a calendar to the mailbox of a user or group.
func (s *Simulator) AddCalendar(address, name string) Calendar {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *s.mustMailbox(address).addCalendar(Calendar{Name: name})
}

// Calendars returns the calendars of a mailbox, the default calendar first.
func (s *Simulator) Calendars(address string) []Calendar {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Calendar
	for _, c := range s.mustMailbox(address).calendars {
		all = append(all, *c)
	}
	return all
}

// RenameCalendar renames the calendar with this id or name.
func (s *Simulator) RenameCalendar(address, calendar, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustCalendar(address, calendar).Name = name
}

// SetReadOnly makes the calendar with this id or name read-only for everyone, like birthdays and holidays.
func (s *Simulator) SetReadOnly(address, calendar string, readOnly bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mustCalendar(address, calendar).ReadOnly = readOnly
}

// RemoveCalendar removes the calendar with this id or name and its events. The default calendar cannot be removed.
func (s *Simulator) RemoveCalendar(address, calendar string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, c := s.mustMailbox(address), s.mustCalendar(address, calendar)
	if c.Default {
		panic(&usageError{http.StatusConflict, "the default calendar cannot be removed"})
	}
	b.calendars = slices.DeleteFunc(b.calendars, func(d *Calendar) bool { return d == c })
	b.events = slices.DeleteFunc(b.events, func(e *storedEvent) bool { return e.calendar == c })
}

func (s *Simulator) mustCalendar(address, calendar string) *Calendar {
	c := s.mustMailbox(address).calendar(calendar)
	if c == nil {
		panic(&usageError{http.StatusNotFound, fmt.Sprintf("no calendar %q in the mailbox %s", calendar, address)})
	}
	return c
}

func calendarRoutes() []route {
	list := []string{"$select", "$expand", "$top", "$skip", "$filter", "$orderby", "$count"}
	var routes []route
	for _, root := range []string{"/me", "/users/{user}", "/groups/{group}"} {
		add := func(method, path string, k kind, do func(*call) (response, error), options ...string) {
			routes = append(routes, route{method: method, path: root + path, kind: k, options: options, do: do})
		}
		parents := []string{"", "/calendar"}
		add("GET", "/calendar", calendar, getCalendar, "$select", "$expand")
		if root != "/groups/{group}" {
			parents = append(parents, "/calendars/{calendar}")
			add("GET", "/calendars", calendar, listCalendars, list...)
			add("GET", "/calendars/$count", calendar, listCalendars, "$filter")
			add("GET", "/calendars/{calendar}", calendar, getCalendar, "$select", "$expand")
			add("POST", "/calendar/getSchedule", event, getSchedule)
		}
		for _, parent := range parents {
			add("GET", parent+"/calendarView", event, viewEvents, list...)
			add("GET", parent+"/events", event, listEvents, list...)
			add("GET", parent+"/events/$count", event, listEvents, "$filter")
			add("POST", parent+"/events", event, createEvent)
			add("GET", parent+"/events/{event}", event, getEvent, "$select", "$expand")
			add("GET", parent+"/events/{event}/instances", event, listInstances, list...)
			add("PATCH", parent+"/events/{event}", event, updateEvent)
			add("DELETE", parent+"/events/{event}", event, deleteEvent)
			for _, action := range []string{"accept", "tentativelyAccept", "decline", "cancel"} {
				if action == "cancel" || root != "/groups/{group}" {
					add("POST", parent+"/events/{event}/"+action, event, respondToEvent)
				}
			}
		}
	}
	return routes
}

// A calendarRef is the mailbox and calendar that a path refers to.
type calendarRef struct {
	*mailbox
	in   *Calendar
	only bool // limited to the calendar; otherwise the path refers to the whole mailbox
}

// calendarRef resolves the path to a mailbox and calendar; the default calendar unless the path names one.
func (c *call) calendarRef() (calendarRef, error) {
	b, err := c.targetMailbox()
	if err != nil {
		return calendarRef{}, err
	}
	id, ok := c.params["calendar"]
	if !ok {
		return calendarRef{b, b.calendar(""), strings.Contains(strings.ToLower(c.route.path), "/calendar/")}, nil
	}
	if err := wellFormed(id); err != nil {
		return calendarRef{}, err
	}
	if a := c.acceptedCalendarInPath(); a != nil {
		if c.route.method != http.MethodGet && !c.s.outlook.shares[a.share] {
			return calendarRef{}, event.denied()
		}
		return calendarRef{a.owner, a.calendar, true}, nil
	}
	i := slices.IndexFunc(b.calendars, func(c *Calendar) bool { return c.ID == id })
	if i < 0 {
		return calendarRef{}, notFound()
	}
	return calendarRef{b, b.calendars[i], true}, nil
}

// json returns the calendar as the guest sees it.
func (a *acceptedCalendar) json(s *Simulator) map[string]any {
	out := a.owner.calendarJSON(a.calendar)
	maps.Copy(out, map[string]any{
		"id": a.id, "name": a.name, "isDefaultCalendar": false, "canShare": false, "canViewPrivateItems": false, "isRemovable": true,
		"canEdit": s.outlook.shares[a.share] && !a.calendar.ReadOnly,
	})
	return out
}

func (b *mailbox) calendarJSON(c *Calendar) map[string]any {
	return map[string]any{
		"id": c.ID, "name": c.Name, "color": "auto", "hexColor": "", "isDefaultCalendar": c.Default, "changeKey": hash(c.ID + c.Name)[:27] + "=",
		"canShare": true, "canViewPrivateItems": true, "canEdit": !c.ReadOnly, "allowedOnlineMeetingProviders": []string{"teamsForBusiness"},
		"defaultOnlineMeetingProvider": "teamsForBusiness", "isTallyingResponses": c.Default, "isRemovable": !c.Default,
		"owner": map[string]any{"name": b.name, "address": b.address},
	}
}

// setName returns the entity set of the mailbox for @odata.context.
func (c *call) setName(set string) string {
	if id := c.params["group"]; id != "" {
		return "groups('" + id + "')/" + set
	}
	return "users('" + c.mailbox() + "')/" + set
}

func listCalendars(c *call) (response, error) {
	b, err := c.targetMailbox()
	if err != nil {
		return response{}, err
	}
	var all []map[string]any
	for _, d := range b.calendars {
		all = append(all, b.calendarJSON(d))
	}
	for _, a := range c.acceptedCalendars() {
		all = append(all, a.json(c.s))
	}
	return c.collection(c.setName("calendars"), all, 10)
}

func getCalendar(c *call) (response, error) {
	p, err := c.calendarRef()
	if err != nil {
		return response{}, err
	}
	body := p.calendarJSON(p.in)
	if a := c.acceptedCalendarInPath(); a != nil {
		body = a.json(c.s)
	}
	if body, err = c.project(body); err != nil {
		return response{}, err
	}
	return c.entity(c.setName("calendars"), body), nil
}
