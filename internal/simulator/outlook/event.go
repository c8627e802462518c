package outlook

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/k3a/html2text"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// An Event is the input of AddEvent. Empty fields get Outlook's defaults.
type Event struct {
	Subject     string
	Start, End  time.Time // only the dates count for an all-day event; the end is exclusive
	AllDay      bool
	TimeZone    string // original time zone, a Windows or IANA name; "": that of the mailbox, UTC for a group
	ShowAs      string // free, tentative, busy, oof, workingElsewhere
	Sensitivity string // normal, personal, private, confidential
	Importance  string // low, normal, high
	Location    string
	Body        string // HTML
	Categories  []string
	Organizer   string // address; "": the owner of the mailbox
	Attendees   []Attendee
	Response    string // of the mailbox's owner, if someone else is the organizer: accepted, tentativelyAccepted, notResponded …
	Cancelled   bool
	JoinURL     string         // of the online meeting
	Reminder    *time.Duration // before the start; nil: 15 minutes; below 0: none
	Recurrence  map[string]any // a patternedRecurrence as JSON
	Properties  map[string]any // any other properties as JSON, including values that Graph does not define
}

// An Attendee is a person or resource invited to an event.
type Attendee struct {
	Address, Name string
	Type          string // required, optional, resource
	Response      string // none, accepted, …
}

// A storedEvent is a single event, a series, or an exception of a series.
type storedEvent struct {
	id, immutable string
	calendar      *Calendar
	start, end    odata.DateTimeTimeZone
	properties    map[string]any // other properties; values are replaced, never modified
	modified      time.Time
	version       int

	repeats    *recurrence
	exceptions map[string]*storedEvent // of a series, by date; nil: removed
	master     *storedEvent            // of an occurrence
	date       string                  // of an occurrence
}

// A transaction is a transactionId that has been used.
type transaction struct {
	sum   [sha256.Size]byte // hash of the body
	event *storedEvent
}

// AddEvent adds an event to the calendar with this id or name ("": the default calendar) and returns its id.
func (s *Service) AddEvent(address, calendar string, e Event) string {
	s.directory.Lock()
	defer s.directory.Unlock()
	b, in := s.mustMailbox(address), s.mustCalendar(address, calendar)
	stored, err := s.makeEvent(b, in, e)
	if err != nil {
		panic(fmt.Sprintf("simulator: AddEvent: %v", err))
	}
	s.insert(b, stored)
	return stored.id
}

// ChangeEvent changes properties, given as JSON, of the event or occurrence with this id, as its owner would in Outlook. It also accepts
// properties that only Outlook sets, such as isCancelled, and values that Graph does not define.
func (s *Service) ChangeEvent(address, id string, properties map[string]any) error {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	e := b.event(id)
	if e == nil {
		return odata.ItemNotFound()
	}
	if err := s.setUnchecked(e, properties); err != nil {
		return err
	}
	s.touch(b, e)
	return nil
}

// AddEventJSON is AddEvent for an event in Graph's JSON. start and end are required; see ChangeEvent for the others.
func (s *Service) AddEventJSON(address, calendar string, properties map[string]any) (id string, err error) {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	e := s.newEvent(b, s.mustCalendar(address, calendar))
	if err := s.setUnchecked(e, properties); err != nil {
		return "", err
	}
	s.insert(b, e)
	return e.id, nil
}

// setUnchecked sets properties and validates only those from which others are derived.
func (s *Service) setUnchecked(e *storedEvent, properties map[string]any) error {
	known, unchecked := map[string]any{}, map[string]any{}
	for k, v := range properties {
		switch k {
		case "start", "end", "isAllDay", "recurrence", "body", "location":
			known[k] = v
		default:
			unchecked[k] = v
		}
	}
	if err := s.apply(e, odata.Copy(known).(map[string]any)); err != nil {
		return err
	}
	maps.Copy(e.properties, odata.Copy(unchecked).(map[string]any))
	return nil
}

// RemoveEvent removes the event, series or occurrence with this id and reports whether it existed.
func (s *Service) RemoveEvent(address, id string) bool {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	e := b.event(id)
	if e != nil {
		s.removeEvent(b, e)
	}
	return e != nil
}

// Events returns the events of the calendar with this id or name ("": the default calendar) as Graph shows them in UTC, series not expanded.
func (s *Service) Events(address, calendar string) []map[string]any {
	s.directory.Lock()
	defer s.directory.Unlock()
	events := s.mustMailbox(address).list(s.mustCalendar(address, calendar))
	return view{zone: "UTC", location: time.UTC}.entities(events)
}

func (s *Service) makeEvent(b *mailbox, in *Calendar, e Event) (*storedEvent, error) {
	zone := e.TimeZone
	if zone == "" {
		zone = "UTC"
		if b.settings.timeZone != "" {
			zone = b.settings.timeZone
		}
	}
	location, ok := odata.Zone(zone)
	if !ok {
		zone, location = "UTC", time.UTC
	}
	at := func(t time.Time) map[string]any {
		if e.AllDay {
			y, m, d := t.Date()
			return odata.DateTimeTimeZone{Wall: time.Date(y, m, d, 0, 0, 0, 0, time.UTC), ZoneName: zone}.JSON()
		}
		return odata.DateTimeIn(t, zone, location).JSON()
	}
	p := map[string]any{"subject": e.Subject, "start": at(e.Start), "end": at(e.End), "isAllDay": e.AllDay}
	for k, v := range map[string]string{"showAs": e.ShowAs, "sensitivity": e.Sensitivity, "importance": e.Importance} {
		if v != "" {
			p[k] = v
		}
	}
	if e.Body != "" {
		p["body"] = map[string]any{"contentType": "html", "content": e.Body}
	}
	if e.Location != "" {
		p["location"] = map[string]any{"displayName": e.Location}
	}
	if e.Categories != nil {
		p["categories"] = e.Categories
	}
	if e.Recurrence != nil {
		p["recurrence"] = e.Recurrence
	}
	if e.Reminder != nil {
		p["isReminderOn"] = *e.Reminder >= 0
		p["reminderMinutesBeforeStart"] = int(max(*e.Reminder, 0) / time.Minute)
	}
	stored := s.newEvent(b, in)
	if err := s.apply(stored, odata.Copy(p).(map[string]any)); err != nil {
		return nil, err
	}
	unchecked := map[string]any{"isCancelled": e.Cancelled}
	if e.Organizer != "" && !strings.EqualFold(e.Organizer, b.address) {
		response := e.Response
		if response == "" {
			response = "notResponded"
		}
		unchecked["isOrganizer"] = false
		unchecked["organizer"] = odata.RecipientJSON(s.directory.NameOf(e.Organizer), e.Organizer)
		unchecked["responseStatus"] = map[string]any{"response": response, "time": "0001-01-01T00:00:00Z"}
	}
	var attendees []any
	for _, a := range e.Attendees {
		attendees = append(attendees, attendeeJSON(a))
	}
	if attendees != nil {
		unchecked["attendees"] = attendees
	}
	if e.JoinURL != "" {
		unchecked["isOnlineMeeting"], unchecked["onlineMeetingProvider"] = true, "teamsForBusiness"
		unchecked["onlineMeeting"] = map[string]any{"joinUrl": e.JoinURL}
	}
	maps.Copy(unchecked, e.Properties)
	maps.Copy(stored.properties, odata.Copy(unchecked).(map[string]any))
	return stored, nil
}

func attendeeJSON(a Attendee) map[string]any {
	out := odata.RecipientJSON(a.Name, a.Address)
	out["type"], out["status"] = a.Type, map[string]any{"response": a.Response, "time": "0001-01-01T00:00:00Z"}
	if a.Type == "" {
		out["type"] = "required"
	}
	if a.Response == "" {
		out["status"].(map[string]any)["response"] = "none"
	}
	return out
}

// newEvent returns an event with the default value of every property.
func (s *Service) newEvent(b *mailbox, in *Calendar) *storedEvent {
	now := s.directory.Now().UTC()
	uid := strings.ToUpper(strings.ReplaceAll(uuid.NewString(), "-", ""))
	e := &storedEvent{id: newOutlookID("AAMk", 147), immutable: newOutlookID("AAkALg", 100), calendar: in, modified: now, exceptions: map[string]*storedEvent{}}
	e.properties = map[string]any{
		"createdDateTime": now.Format("2006-01-02T15:04:05.0000000Z"), "categories": []any{}, "transactionId": nil,
		"iCalUId": "040000008200E00074C5B7101A82E008" + uid, "reminderMinutesBeforeStart": 15, "isReminderOn": true, "hasAttachments": false,
		"subject": "", "bodyPreview": "", "importance": "normal", "sensitivity": "normal", "isAllDay": false, "isCancelled": false, "isOrganizer": true,
		"responseRequested": true, "seriesMasterId": nil, "showAs": "busy", "type": "singleInstance",
		"webLink":          "https://outlook.office365.com/owa/?itemid=" + url.QueryEscape(e.id) + "&exvsurl=1&path=/calendar/item",
		"onlineMeetingUrl": nil, "isOnlineMeeting": false, "onlineMeetingProvider": "unknown", "allowNewTimeProposals": true, "occurrenceId": nil,
		"isDraft": false, "hideAttendees": false, "responseStatus": map[string]any{"response": "organizer", "time": "0001-01-01T00:00:00Z"},
		"body": map[string]any{"contentType": "html", "content": ""}, "location": locationJSON(nil), "locations": []any{}, "recurrence": nil, "attendees": []any{},
		"organizer": odata.RecipientJSON(b.name, b.address), "onlineMeeting": nil, "attachments": []any{}, "extensions": []any{},
	}
	return e
}

func locationJSON(given map[string]any) map[string]any {
	out := map[string]any{"displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": map[string]any{}, "coordinates": map[string]any{}}
	maps.Copy(out, given)
	return out
}

// A view is the representation of events that a client asked for.
type view struct {
	zone      string
	location  *time.Location
	text      bool // bodies as plain text
	immutable bool // immutable ids
	basic     bool // limited to what Calendars.ReadBasic allows
}

// view reads the Prefer headers and reports those applied.
func (c *call) view() (view, error) {
	v := view{zone: "UTC", location: time.UTC, basic: !c.reads()}
	if name := c.Prefer["outlook.timezone"]; name != "" {
		location, ok := odata.Zone(name)
		if !ok {
			return v, odata.UnknownZone(name)
		}
		v.zone, v.location = name, location
		c.Applied(fmt.Sprintf("outlook.timezone=%q", name))
	}
	if kind, ok := c.Prefer["outlook.body-content-type"]; ok {
		v.text = strings.EqualFold(kind, "text")
		c.Applied(fmt.Sprintf("outlook.body-content-type=%q", kind))
	}
	if strings.EqualFold(c.Prefer["idtype"], "ImmutableId") {
		v.immutable = true
		c.Applied(`IdType="ImmutableId"`)
	}
	return v, nil
}

// reads reports whether the token may read more than Calendars.ReadBasic allows.
func (c *call) reads() bool {
	return c.Granted("Calendars.Read", "Calendars.ReadWrite", "Calendars.Read.Shared", "Calendars.ReadWrite.Shared", "Group.Read.All", "Group.ReadWrite.All")
}

func (e *storedEvent) allDay() bool { return e.properties["isAllDay"] == true }

// json returns the event's representation in Graph.
func (e *storedEvent) json(v view) map[string]any {
	out := maps.Clone(e.properties)
	out["id"] = e.shownID(v)
	if e.master != nil {
		out["seriesMasterId"] = e.master.shownID(v)
	}
	out["changeKey"] = e.changeKey()
	out["@odata.etag"] = e.etag()
	out["lastModifiedDateTime"] = e.modified.Format("2006-01-02T15:04:05.0000000Z")
	show := func(m odata.DateTimeTimeZone) map[string]any {
		if e.allDay() {
			// All-day events are dates: no time zone shifts them.
			return odata.DateTimeTimeZone{Wall: m.Wall, ZoneName: v.zone}.JSON()
		}
		return odata.DateTimeIn(m.Instant(), v.zone, v.location).JSON()
	}
	out["start"], out["end"] = show(e.start), show(e.end)
	if _, unchecked := out["originalStartTimeZone"]; !unchecked {
		out["originalStartTimeZone"], out["originalEndTimeZone"] = e.start.ZoneName, e.end.ZoneName
	}
	switch body, ok := e.properties["body"].(map[string]any); {
	case v.basic:
		delete(out, "body")
		delete(out, "bodyPreview")
	case ok && v.text:
		content, _ := body["content"].(string)
		out["body"] = map[string]any{"contentType": "text", "content": html2text.HTML2Text(content)}
	}
	return out
}

// entities returns the representation of events in Graph.
func (v view) entities(events []*storedEvent) []map[string]any {
	all := make([]map[string]any, 0, len(events))
	for _, e := range events {
		all = append(all, e.json(v))
	}
	return all
}

func (e *storedEvent) shownID(v view) string {
	if v.immutable {
		return e.immutable
	}
	return e.id
}

func (e *storedEvent) changeKey() string { return changeKey(fmt.Sprint(e.id, e.version))[:31] + "=" }

func (e *storedEvent) etag() string { return `W/"` + e.changeKey() + `"` }

// insert adds a new event.
func (s *Service) insert(b *mailbox, e *storedEvent) {
	b.events = append(b.events, e)
	s.announce(b, e, "created")
}

// announce reports a change of an event.
func (s *Service) announce(b *mailbox, e *storedEvent, kind string) {
	s.directory.Changed(func() directory.Change {
		owner := "users/" + b.id
		c := directory.Change{Collections: []string{owner + "/calendars/" + e.calendar.ID + "/events"}, ID: e.id, Type: kind}
		if e.calendar.Default {
			c.Collections = append(c.Collections, owner+"/events", owner+"/calendar/events")
		}
		return c
	})
}

// touch records a change; a changed occurrence becomes an exception of its series.
func (s *Service) touch(b *mailbox, e *storedEvent) {
	e.version++
	e.modified = s.directory.Now().UTC()
	if e.master != nil {
		e.properties["type"] = "exception"
		e.master.exceptions[e.date] = e
		e.master.modified = e.modified // exceptions are a part of the series
	}
	s.announce(b, e, "updated")
}

// removeEvent removes an event, a series or an occurrence.
func (s *Service) removeEvent(b *mailbox, e *storedEvent) {
	s.announce(b, e, "deleted")
	if e.master != nil {
		e.master.exceptions[e.date] = nil
		e.master.modified = s.directory.Now().UTC()
		return
	}
	b.events = slices.DeleteFunc(b.events, func(x *storedEvent) bool { return x == e })
	maps.DeleteFunc(b.transactions, func(_ string, t transaction) bool { return t.event == e })
}

// event returns the event with this id, immutable or not.
func (b *mailbox) event(id string) *storedEvent {
	for _, e := range b.events {
		if e.id == id || e.immutable == id {
			return e
		}
		if e.repeats != nil {
			if o := e.occurrenceByID(id); o != nil {
				return o
			}
		}
	}
	return nil
}

// eventCollection returns a page of events.
func (c *call) eventCollection(set string, events []*storedEvent) (odata.Response, error) {
	v, err := c.view()
	if err != nil {
		return odata.Response{}, err
	}
	return c.Collection(c.setName(set), v.entities(events))
}

// targetEvent returns the event in the path after checking access and If-Match.
func (c *call) targetEvent() (*mailbox, *storedEvent, error) {
	p, err := c.calendarRef()
	if err != nil {
		return nil, nil, err
	}
	if err := odata.CheckItemID(c.Params["event"]); err != nil {
		return nil, nil, err
	}
	e := p.event(c.Params["event"])
	if e == nil || p.only && e.calendar != p.in {
		return nil, nil, odata.ItemNotFound()
	}
	if tag := c.Request.Header.Get("If-Match"); tag != "" && tag != "*" && tag != e.etag() {
		return nil, nil, odata.NewError(http.StatusPreconditionFailed, "ErrorIrresolvableConflict", "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.")
	}
	if c.Route.Method != http.MethodGet && e.calendar.ReadOnly {
		return nil, nil, odata.AccessDenied()
	}
	return p.mailbox, e, nil
}

func viewEvents(c *call) (odata.Response, error) {
	p, err := c.calendarRef()
	if err != nil {
		return odata.Response{}, err
	}
	from, to, err := c.viewWindow()
	if err != nil {
		return odata.Response{}, err
	}
	// The view of a mailbox is that of its default calendar.
	return c.eventCollection("events", p.view(p.in, from, to))
}

// view returns the events of a calendar that overlap [from, to), series expanded.
func (b *mailbox) view(in *Calendar, from, to time.Time) []*storedEvent {
	var found []*storedEvent
	for _, e := range b.events {
		if e.calendar != in {
			continue
		}
		if e.repeats != nil {
			found = append(found, e.occurrences(from, to)...)
		} else if e.overlaps(from, to) {
			found = append(found, e)
		}
	}
	return found
}

// window returns the time range of the query.
func (c *call) window() (from, to time.Time, err error) {
	from, err1 := parseWindow(c.Query.Get("startdatetime"))
	to, err2 := parseWindow(c.Query.Get("enddatetime"))
	if err1 != nil || err2 != nil {
		return from, to, odata.NewError(http.StatusBadRequest, "ErrorInvalidParameter", "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.")
	}
	if to.Before(from) {
		return from, to, odata.NewError(http.StatusBadRequest, "ErrorInvalidParameter", "The StartDateTime must not be later than the EndDateTime.")
	}
	return from, to, nil
}

// maxViewRange is the maximum time range of a calendarView.
const maxViewRange = 1825 * 24 * time.Hour

// viewWindow returns the time range of a calendarView.
func (c *call) viewWindow() (from, to time.Time, err error) {
	from, to, err = c.window()
	if err == nil && to.Sub(from) > maxViewRange {
		err = odata.NewError(http.StatusBadRequest, "ErrorInvalidRequest",
			"Your request can't be completed. The range between the start and end dates is greater than the allowed range. Maximum number of days: %d", maxViewRange/(24*time.Hour))
	}
	return from, to, err
}

// listInstances returns the occurrences and exceptions of a series; none for a single event.
func listInstances(c *call) (odata.Response, error) {
	_, e, err := c.targetEvent()
	if err != nil {
		return odata.Response{}, err
	}
	from, to, err := c.window()
	if err != nil {
		return odata.Response{}, err
	}
	var found []*storedEvent
	if e.repeats != nil {
		found = e.occurrences(from, to)
	}
	return c.eventCollection("events('"+url.PathEscape(c.Params["event"])+"')/instances", found)
}

// overlaps reports whether the event overlaps [from, to). An event without duration overlaps where it starts.
func (e *storedEvent) overlaps(from, to time.Time) bool {
	start, end := e.start.Instant(), e.end.Instant()
	return start.Before(to) && (end.After(from) || start.Equal(end) && !start.Before(from))
}

// parseWindow parses a time; UTC unless it has an offset.
func parseWindow(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time", text)
}

// listEvents returns the events of the calendar in the path, or of the default calendar.
func listEvents(c *call) (odata.Response, error) {
	p, err := c.calendarRef()
	if err != nil {
		return odata.Response{}, err
	}
	return c.eventCollection("events", p.list(p.in))
}

// list returns the events of a calendar, series not expanded.
func (b *mailbox) list(in *Calendar) []*storedEvent {
	var found []*storedEvent
	for _, e := range b.events {
		if e.calendar == in {
			found = append(found, e)
		}
	}
	return found
}

// deltaEvents returns the changes of a calendar or of its view, which must have a time range.
func deltaEvents(c *call) (odata.Response, error) {
	p, err := c.calendarRef()
	if err != nil {
		return odata.Response{}, err
	}
	// Of a calendar of somebody else only the first page can be read, see https://github.com/microsoftgraph/microsoft-graph-docs/issues/3997.
	if c.Application == "" && p.mailbox != c.s.mailboxes[c.User.ID] && (c.Query.Has("$skiptoken") || c.Query.Has("$deltatoken")) {
		return odata.Response{}, odata.AccessDenied()
	}
	v, err := c.view()
	if err != nil {
		return odata.Response{}, err
	}
	return c.Delta(func() ([]map[string]any, error) {
		events := p.list(p.in)
		if strings.Contains(c.Route.Path, "/calendarView/") {
			from, to, err := c.viewWindow()
			if err != nil {
				return nil, err
			}
			events = p.view(p.in, from, to)
		}
		return v.entities(events), nil
	})
}

func getEvent(c *call) (odata.Response, error) {
	v, err := c.view()
	if err != nil {
		return odata.Response{}, err
	}
	_, e, err := c.targetEvent()
	if err != nil {
		return odata.Response{}, err
	}
	return c.eventResponse(e, v, http.StatusOK)
}

// eventResponse returns the response with one event.
func (c *call) eventResponse(e *storedEvent, v view, status int) (odata.Response, error) {
	body, err := c.Project(e.json(v))
	if err != nil {
		return odata.Response{}, err
	}
	a := c.Entity(c.setName("events"), body)
	a.Status = status
	return a, nil
}

func createEvent(c *call) (odata.Response, error) {
	p, err := c.calendarRef()
	if err != nil {
		return odata.Response{}, err
	}
	b, in := p.mailbox, p.in
	if in.ReadOnly {
		return odata.Response{}, odata.AccessDenied()
	}
	body, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	v, err := c.view()
	if err != nil {
		return odata.Response{}, err
	}
	sum := sha256.Sum256(c.Body)
	id, _ := body["transactionId"].(string)
	if t, ok := b.transactions[id]; ok && id != "" {
		if t.sum != sum {
			return odata.Response{}, odata.NewError(http.StatusConflict, "ErrorDuplicateTransactionId", "Your request can't be completed. The TransactionId is already used.")
		}
		return c.eventResponse(t.event, v, http.StatusCreated)
	}
	if body["start"] == nil || body["end"] == nil {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation.")
	}
	e := c.s.newEvent(b, in)
	if err := c.s.apply(e, body); err != nil {
		return odata.Response{}, err
	}
	c.s.insert(b, e)
	if id != "" {
		b.transactions[id] = transaction{sum, e}
	}
	c.Header.Set("Location", "https://"+c.Request.Host+"/v1.0/"+c.setName("events")+"('"+url.PathEscape(e.id)+"')")
	return c.eventResponse(e, v, http.StatusCreated)
}

func updateEvent(c *call) (odata.Response, error) {
	v, err := c.view()
	if err != nil {
		return odata.Response{}, err
	}
	b, e, err := c.targetEvent()
	if err != nil {
		return odata.Response{}, err
	}
	patch, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	delete(patch, "transactionId")
	if err := c.s.apply(e, patch); err != nil {
		return odata.Response{}, err
	}
	c.s.touch(b, e)
	return c.eventResponse(e, v, http.StatusOK)
}

func deleteEvent(c *call) (odata.Response, error) {
	b, e, err := c.targetEvent()
	if err != nil {
		return odata.Response{}, err
	}
	c.s.removeEvent(b, e)
	return odata.Response{Status: http.StatusNoContent}, nil
}

// responseParameters is the type of the parameters of a response to an invitation.
func responseParameters(action string) *odata.Type {
	t := &odata.Type{Name: action, Properties: odata.Properties{"Comment": odata.String()}}
	if action != "cancel" {
		t.Properties["SendResponse"] = odata.Boolean()
	}
	if action == "tentativelyAccept" || action == "decline" {
		t.Properties["ProposedNewTime"] = odata.Of(timeSlot())
	}
	return t
}

// respondToEvent handles accept, tentativelyAccept, decline and cancel.
func respondToEvent(c *call) (odata.Response, error) {
	b, e, err := c.targetEvent()
	if err != nil {
		return odata.Response{}, err
	}
	action := c.Route.Path[strings.LastIndexByte(c.Route.Path, '/')+1:]
	given, err := c.Parameters(responseParameters(action))
	if err != nil {
		return odata.Response{}, err
	}
	refused := func(why string) (odata.Response, error) {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. %s", why)
	}
	organizer := e.properties["isOrganizer"] == true
	if action == "cancel" {
		if !organizer {
			return refused("You need to be an organizer to cancel a meeting.")
		}
		c.s.removeEvent(b, e)
		return odata.Response{Status: http.StatusAccepted}, nil
	}
	switch {
	case organizer:
		return refused("You can't respond to this meeting because you're the meeting organizer.")
	case given["SendResponse"] != false && e.properties["responseRequested"] == false:
		return refused("You can't respond to this meeting because the meeting organizer hasn't requested a response.")
	case given["ProposedNewTime"] != nil && given["SendResponse"] == false:
		return refused("You can't propose a new time without sending a response.")
	case given["ProposedNewTime"] != nil && e.properties["allowNewTimeProposals"] == false:
		return refused("The meeting organizer hasn't allowed new time proposals.")
	}
	if action == "decline" {
		// A declined meeting disappears from the calendar.
		c.s.removeEvent(b, e)
		return odata.Response{Status: http.StatusAccepted}, nil
	}
	status, show := "accepted", "busy"
	if action == "tentativelyAccept" {
		status, show = "tentativelyAccepted", "tentative"
	}
	e.properties["responseStatus"] = map[string]any{"response": status, "time": c.Now.UTC().Format(time.RFC3339)}
	e.properties["showAs"] = show
	c.s.touch(b, e)
	return odata.Response{Status: http.StatusAccepted}, nil
}
