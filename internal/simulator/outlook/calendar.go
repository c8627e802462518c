package outlook

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Calendar belongs to the mailbox of a user or group.
type Calendar struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Default  bool   `json:"default"`
	ReadOnly bool   `json:"readOnly"`
}

// AddCalendar adds a calendar to the mailbox of a user or group.
func (s *Service) AddCalendar(address, name string) Calendar {
	s.directory.Lock()
	defer s.directory.Unlock()
	return *s.mustMailbox(address).addCalendar(Calendar{Name: name})
}

// Calendars returns the calendars of a mailbox, the default calendar first.
func (s *Service) Calendars(address string) []Calendar {
	s.directory.Lock()
	defer s.directory.Unlock()
	var all []Calendar
	for _, c := range s.mustMailbox(address).calendars {
		all = append(all, *c)
	}
	return all
}

// RenameCalendar renames the calendar with this id or name.
func (s *Service) RenameCalendar(address, calendar, name string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustCalendar(address, calendar).Name = name
}

// SetReadOnly makes the calendar with this id or name read-only for everyone, like birthdays and holidays.
func (s *Service) SetReadOnly(address, calendar string, readOnly bool) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustCalendar(address, calendar).ReadOnly = readOnly
}

// RemoveCalendar removes the calendar with this id or name and its events. The default calendar cannot be removed.
func (s *Service) RemoveCalendar(address, calendar string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	b, c := s.mustMailbox(address), s.mustCalendar(address, calendar)
	if c.Default {
		panic(control.Conflict("the default calendar cannot be removed"))
	}
	b.calendars = slices.DeleteFunc(b.calendars, func(d *Calendar) bool { return d == c })
	b.events = slices.DeleteFunc(b.events, func(e *storedEvent) bool { return e.calendar == c })
}

func (s *Service) mustCalendar(address, calendar string) *Calendar {
	c := s.mustMailbox(address).calendar(calendar)
	if c == nil {
		panic(control.NotFound("no calendar %q in the mailbox %s", calendar, address))
	}
	return c
}

// listOptions returns the query options of lists.
func listOptions() []string {
	return []string{"$select", "$expand", "$top", "$skip", "$filter", "$orderby", "$count"}
}

func (s *Service) calendarRoutes() []odata.Route {
	calendar, event := s.types.calendar, s.types.event
	var routes []odata.Route
	for _, root := range []string{"/me", "/users/{user}", "/groups/{group}"} {
		add := func(method, path string, t *odata.Type, do func(*call) (odata.Response, error), options ...string) {
			routes = append(routes, odata.Route{Method: method, Path: root + path, Type: t, Options: options, Do: s.handle(do)})
		}
		parents := []string{"", "/calendar"}
		add("GET", "/calendar", calendar, getCalendar, "$select", "$expand")
		if root != "/groups/{group}" {
			parents = append(parents, "/calendars/{calendar}")
			add("GET", "/calendars", calendar, listCalendars, listOptions()...)
			add("GET", "/calendars/$count", calendar, listCalendars, "$filter")
			add("GET", "/calendars/{calendar}", calendar, getCalendar, "$select", "$expand")
			add("POST", "/calendar/getSchedule", event, getSchedule)
			add("POST", "/findMeetingTimes", event, findMeetingTimes)
		}
		for _, parent := range parents {
			add("GET", parent+"/calendarView", event, viewEvents, listOptions()...)
			add("GET", parent+"/events", event, listEvents, listOptions()...)
			add("GET", parent+"/events/$count", event, listEvents, "$filter")
			if root != "/groups/{group}" {
				add("GET", parent+"/calendarView/delta", event, deltaEvents, odata.DeltaOptions()...)
				add("GET", parent+"/events/delta", event, deltaEvents, odata.DeltaOptions()...)
			}
			add("POST", parent+"/events", event, createEvent)
			add("GET", parent+"/events/{event}", event, getEvent, "$select", "$expand")
			add("GET", parent+"/events/{event}/instances", event, listInstances, listOptions()...)
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
	id, ok := c.Params["calendar"]
	if !ok {
		return calendarRef{b, b.calendar(""), strings.Contains(strings.ToLower(c.Route.Path), "/calendar/")}, nil
	}
	if err := odata.CheckItemID(id); err != nil {
		return calendarRef{}, err
	}
	if a := c.acceptedCalendarInPath(); a != nil {
		if c.Route.Method != http.MethodGet && !c.s.shares[a.share] {
			return calendarRef{}, odata.AccessDenied()
		}
		return calendarRef{a.owner, a.calendar, true}, nil
	}
	i := slices.IndexFunc(b.calendars, func(c *Calendar) bool { return c.ID == id })
	if i < 0 {
		return calendarRef{}, odata.ItemNotFound()
	}
	return calendarRef{b, b.calendars[i], true}, nil
}

// json returns the calendar as the guest sees it.
func (a *acceptedCalendar) json(s *Service) map[string]any {
	out := a.owner.calendarJSON(a.calendar)
	maps.Copy(out, map[string]any{
		"id": a.id, "name": a.name, "isDefaultCalendar": false, "canShare": false, "canViewPrivateItems": false, "isRemovable": true,
		"canEdit": s.shares[a.share] && !a.calendar.ReadOnly,
	})
	return out
}

func (b *mailbox) calendarJSON(c *Calendar) map[string]any {
	return map[string]any{
		"id": c.ID, "name": c.Name, "color": "auto", "hexColor": "", "isDefaultCalendar": c.Default, "changeKey": changeKey(c.ID + c.Name)[:27] + "=",
		"canShare": true, "canViewPrivateItems": true, "canEdit": !c.ReadOnly, "allowedOnlineMeetingProviders": []string{"teamsForBusiness"},
		"defaultOnlineMeetingProvider": "teamsForBusiness", "isTallyingResponses": c.Default, "isRemovable": !c.Default,
		"owner": map[string]any{"name": b.name, "address": b.address},
	}
}

// setName returns the entity set of the mailbox for @odata.context.
func (c *call) setName(set string) string {
	if id := c.Params["group"]; id != "" {
		return "groups('" + id + "')/" + set
	}
	return "users('" + c.Owner() + "')/" + set
}

func listCalendars(c *call) (odata.Response, error) {
	b, err := c.targetMailbox()
	if err != nil {
		return odata.Response{}, err
	}
	var all []map[string]any
	for _, d := range b.calendars {
		all = append(all, b.calendarJSON(d))
	}
	for _, a := range c.acceptedCalendars() {
		all = append(all, a.json(c.s))
	}
	return c.Collection(c.setName("calendars"), all)
}

func getCalendar(c *call) (odata.Response, error) {
	p, err := c.calendarRef()
	if err != nil {
		return odata.Response{}, err
	}
	body := p.calendarJSON(p.in)
	if a := c.acceptedCalendarInPath(); a != nil {
		body = a.json(c.s)
	}
	if body, err = c.Project(body); err != nil {
		return odata.Response{}, err
	}
	return c.Entity(c.setName("calendars"), body), nil
}
