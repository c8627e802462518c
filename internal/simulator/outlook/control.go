package outlook

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

func (s *Service) controls() []control.Operation {
	return append([]control.Operation{
		{Method: "DELETE", Path: "/control/users/{user}/mailbox", Description: "remove the user's Exchange license", Do: s.deleteMailbox},
		{Method: "GET", Path: "/control/users/{user}/mailboxSettings", Description: "read the mailbox settings as Graph shows them", Do: s.readMailboxSettings},
		{Method: "PATCH", Path: "/control/users/{user}/mailboxSettings", Description: "change the given settings, as in Outlook", Do: s.changeMailboxSettings},

		{Method: "GET", Path: "/control/users/{user}/calendars", Description: "list the user's own calendars", Do: s.getCalendars},
		{Method: "POST", Path: "/control/users/{user}/calendars", Description: "add a calendar", Do: s.addCalendar},
		{Method: "PATCH", Path: "/control/users/{user}/calendars/{calendar}", Description: "rename a calendar, or make it read-only for everyone", Do: s.patchCalendar},
		{Method: "DELETE", Path: "/control/users/{user}/calendars/{calendar}", Description: "remove a calendar and its events", Do: s.removeCalendar},
		{Method: "GET", Path: "/control/users/{user}/calendars/{calendar}/events", Description: "list the events of a calendar as Graph shows them, series not expanded", Do: s.getEvents},
		{Method: "POST", Path: "/control/users/{user}/calendars/{calendar}/events", Description: "add an event in Graph's format", Do: s.addEvent},
		{Method: "PATCH", Path: "/control/users/{user}/events/{event}", Description: "change the given properties of an event or occurrence", Do: s.changeEvent},
		{Method: "DELETE", Path: "/control/users/{user}/events/{event}", Description: "remove an event, series or occurrence", Do: s.deleteEvent},
		{Method: "PUT", Path: "/control/users/{user}/shares/{guest}", Description: "give another user read or write access to the calendars", Do: s.putShare},
		{Method: "POST", Path: "/control/users/{user}/accepted", Description: "accept a shared calendar, which adds it to the user's own", Do: s.acceptCalendar},
	}, s.groupControls()...)
}

func (s *Service) deleteMailbox(r *http.Request) (any, error) {
	s.RemoveMailbox(r.PathValue("user"))
	return nil, nil
}

// settingsCall applies a request to the user's mailbox as Graph would.
func (s *Service) settingsCall(r *http.Request, body []byte, do func(*call) (odata.Response, error)) error {
	s.directory.Lock()
	defer s.directory.Unlock()
	_, err := do(&call{s: s, Call: &odata.Call{
		Request: r, Route: odata.Route{Type: s.types.mailboxSettings}, Now: s.directory.Now(), User: s.directory.MustUser(r.PathValue("user")),
		Query: url.Values{}, Body: body, Header: http.Header{},
	}})
	return err
}

func (s *Service) readMailboxSettings(r *http.Request) (out any, err error) {
	err = s.settingsCall(r, nil, func(c *call) (odata.Response, error) {
		resp, err := getMailboxSettings(c)
		if body, ok := resp.Body.(map[string]any); ok {
			delete(body, "@odata.context")
			out = body
		}
		return resp, err
	})
	return out, err
}

func (s *Service) changeMailboxSettings(r *http.Request) (any, error) {
	in, err := control.Decode[map[string]any](r)
	if err != nil {
		return nil, err
	}
	if err := knownProperties(s.types.mailboxSettings, in); err != nil {
		return nil, err
	}
	zone, zoned := in["timeZone"]
	name, isText := zone.(string)
	if zoned && !isText {
		return nil, control.Invalid("timeZone: want a string")
	}
	delete(in, "timeZone") // Graph refuses unknown zones; mailboxes can have them
	body, err := json.Marshal(in)
	if err != nil {
		return nil, control.Invalid("the body is not JSON: %v", err)
	}
	if err := s.settingsCall(r, body, patchMailboxSettings); err != nil {
		return nil, err
	}
	if zoned {
		s.SetTimeZone(r.PathValue("user"), name)
	}
	return s.readMailboxSettings(r)
}

// knownProperties refuses properties that the type does not have.
func knownProperties(t *odata.Type, in map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if _, ok := t.Properties[name]; !ok {
			return control.Invalid("unknown property %q of %s; known properties: %s", name, strings.TrimPrefix(t.Name, "microsoft.graph."), strings.Join(slices.Sorted(maps.Keys(t.Properties)), ", "))
		}
	}
	return nil
}

func (s *Service) getCalendars(r *http.Request) (any, error) {
	return control.ListOf(s.Calendars(r.PathValue("user"))), nil
}

func (s *Service) addCalendar(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Name string `json:"name"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.Name == "" {
		return nil, control.Invalid("name is required")
	}
	return s.AddCalendar(r.PathValue("user"), in.Name), nil
}

func (s *Service) patchCalendar(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Name     *string `json:"name"`
		ReadOnly *bool   `json:"readOnly"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.Name != nil && *in.Name == "" {
		return nil, control.Invalid("name: want at least one character")
	}
	user, calendar := r.PathValue("user"), r.PathValue("calendar")
	if in.ReadOnly != nil {
		s.SetReadOnly(user, calendar, *in.ReadOnly)
	}
	if in.Name != nil {
		s.RenameCalendar(user, calendar, *in.Name)
	}
	return s.getCalendars(r)
}

func (s *Service) removeCalendar(r *http.Request) (any, error) {
	s.RemoveCalendar(r.PathValue("user"), r.PathValue("calendar"))
	return nil, nil
}

func (s *Service) getEvents(r *http.Request) (any, error) {
	return control.ListOf(s.Events(r.PathValue("user"), r.PathValue("calendar"))), nil
}

// eventBody reads properties of an event. They must exist, but may have any value.
func (s *Service) eventBody(r *http.Request) (map[string]any, error) {
	in, err := control.Decode[map[string]any](r)
	if err != nil {
		return nil, err
	}
	return in, knownProperties(s.types.event, in)
}

func (s *Service) addEvent(r *http.Request) (any, error) {
	in, err := s.eventBody(r)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"start", "end"} {
		if in[name] == nil {
			return nil, control.Invalid(`%s is required, such as {"dateTime": "2026-07-01T09:00:00", "timeZone": "UTC"}`, name)
		}
	}
	id, err := s.AddEventJSON(r.PathValue("user"), r.PathValue("calendar"), in)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": id}, nil
}

func (s *Service) changeEvent(r *http.Request) (any, error) {
	in, err := s.eventBody(r)
	if err != nil {
		return nil, err
	}
	return nil, s.ChangeEvent(r.PathValue("user"), r.PathValue("event"), in)
}

func (s *Service) deleteEvent(r *http.Request) (any, error) {
	if !s.RemoveEvent(r.PathValue("user"), r.PathValue("event")) {
		return nil, odata.ItemNotFound()
	}
	return nil, nil
}

func (s *Service) putShare(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Write bool `json:"write"`
	}](r)
	if err != nil {
		return nil, err
	}
	s.Share(r.PathValue("user"), r.PathValue("guest"), in.Write)
	return nil, nil
}

func (s *Service) acceptCalendar(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Owner    string `json:"owner"`
		Calendar string `json:"calendar"`
	}](r)
	if err != nil {
		return nil, err
	}
	return s.AcceptCalendar(r.PathValue("user"), in.Owner, in.Calendar), nil
}
