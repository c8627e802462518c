// Package outlook simulates Exchange: mailbox settings, calendars and events.
package outlook

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the mailboxes of users and groups. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	types     types
	mailboxes map[string]*mailbox // by id of the user or group
	shares    map[share]bool      // value: may write
	groups    []*Group
}

// New returns the mailboxes of the directory's users.
func New(d *directory.Directory) *Service {
	s := &Service{directory: d, types: newTypes(), mailboxes: map[string]*mailbox{}, shares: map[share]bool{}}
	d.OnAdd(func(u *directory.User) {
		s.addMailbox(u.ID, u.Name, u.Address).settings = newMailboxSettings(u, d.Now())
	})
	return s
}

// Licensed returns a function that reports whether the user with an id has a mailbox. Call it with the lock held.
func Licensed(s *Service) func(userID string) bool {
	return func(id string) bool { return s.mailboxes[id] != nil && !s.mailboxes[id].removed }
}

//go:embed permissions.json
var permissions []byte

// Resource returns the mailbox settings, calendars and events of Graph.
func (s *Service) Resource() odata.Resource {
	return odata.Resource{
		Routes:      slices.Concat(s.mailboxSettingsRoutes(), s.calendarRoutes(), s.groupRoutes()),
		Permissions: permissions,
		Exceptions:  exceptions,
		Application: application,
		Controls:    s.controls(),
		Seed:        s.seed,
	}
}

// A call is a request to Graph.
type call struct {
	*odata.Call
	s *Service
}

// handle returns do as the handler of a route. It refuses mailboxes that do not exist any more.
func (s *Service) handle(do func(*call) (odata.Response, error)) func(*odata.Call) (odata.Response, error) {
	return func(c *odata.Call) (odata.Response, error) {
		if b := s.mailboxes[c.Owner()]; b != nil && b.removed {
			return odata.Response{}, odata.NoMailbox()
		}
		return do(&call{c, s})
	}
}

// A share gives a guest access to the calendars of a mailbox.
type share struct{ owner, guest string }

// A mailbox holds the calendars of a user or group.
type mailbox struct {
	id            string // of the user or group
	name, address string
	settings      mailboxSettings // of a user
	removed       bool
	calendars     []*Calendar
	accepted      []*acceptedCalendar
	events        []*storedEvent
	transactions  map[string]transaction
}

// addMailbox adds a mailbox with its default calendar.
func (s *Service) addMailbox(id, name, address string) *mailbox {
	b := &mailbox{id: id, name: name, address: address, transactions: map[string]transaction{}}
	b.addCalendar(Calendar{Name: "Calendar", Default: true})
	s.mailboxes[id] = b
	return b
}

// Share gives another user read or write access to the owner's calendars.
func (s *Service) Share(owner, guest string, write bool) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.shares[share{s.directory.MustUser(owner).ID, s.directory.MustUser(guest).ID}] = write
}

// An acceptedCalendar is a shared calendar that the guest accepted.
type acceptedCalendar struct {
	id, name string
	share    share
	owner    *mailbox
	calendar *Calendar
}

// AcceptCalendar adds the owner's calendar with this id or name ("": the default calendar) to the guest's own calendars,
// under an id of its own. The calendar must have been shared before.
func (s *Service) AcceptCalendar(guest, owner, calendar string) Calendar {
	s.directory.Lock()
	defer s.directory.Unlock()
	a := &acceptedCalendar{
		id: newOutlookID("AAMk", folderID), share: share{s.directory.MustUser(owner).ID, s.directory.MustUser(guest).ID}, owner: s.mustMailbox(owner), calendar: s.mustCalendar(owner, calendar),
	}
	write, shared := s.shares[a.share]
	if !shared {
		panic(control.Conflict("%s shares nothing with %s", owner, guest))
	}
	a.name = a.calendar.Name
	if a.calendar.Default {
		a.name = a.owner.name
	}
	b := s.mustMailbox(guest)
	b.accepted = append(b.accepted, a)
	return Calendar{ID: a.id, Name: a.name, ReadOnly: !write || a.calendar.ReadOnly}
}

// acceptedCalendars returns the accepted calendars that still exist and are still shared.
func (c *call) acceptedCalendars() []*acceptedCalendar {
	var all []*acceptedCalendar
	if c.Owner() != c.User.ID {
		return nil
	}
	for _, a := range c.s.mailboxes[c.User.ID].accepted {
		if _, shared := c.s.shares[a.share]; shared && slices.Contains(a.owner.calendars, a.calendar) {
			all = append(all, a)
		}
	}
	return all
}

// acceptedCalendarInPath returns the accepted calendar that the path refers to, or nil.
func (c *call) acceptedCalendarInPath() *acceptedCalendar {
	for _, a := range c.acceptedCalendars() {
		if a.id == c.Params["calendar"] {
			return a
		}
	}
	return nil
}

// targetMailbox returns the mailbox in the path: the user's own, a shared one or a group's.
func (c *call) targetMailbox() (*mailbox, error) {
	id := c.Owner()
	b := c.s.mailboxes[id]
	if id == c.User.ID || c.Application != "" && b != nil {
		return b, nil
	}
	write, shared := c.s.shares[share{id, c.User.ID}]
	switch {
	case b == nil && c.Params["group"] == "":
		return nil, odata.InvalidUser(id)
	case b == nil:
		return nil, odata.NewError(http.StatusNotFound, "Request_ResourceNotFound", "Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
	case !shared, !write && c.Route.Method != http.MethodGet:
		return nil, odata.AccessDenied()
	}
	return b, nil
}

// RemoveMailbox removes the user's Exchange license: the mailbox is no longer available.
func (s *Service) RemoveMailbox(address string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustMailbox(address).removed = true
}

// mustMailbox returns the mailbox of a user or group, and panics if there is none.
func (s *Service) mustMailbox(address string) *mailbox {
	for _, b := range s.mailboxes {
		if strings.EqualFold(b.address, address) {
			return b
		}
	}
	panic(control.NotFound("no mailbox %q", address))
}

func (b *mailbox) addCalendar(c Calendar) *Calendar {
	c.ID = newOutlookID("AAMk", folderID)
	b.calendars = append(b.calendars, &c)
	return &c
}

// calendar returns the calendar with this id or name; "" is the default calendar.
func (b *mailbox) calendar(idOrName string) *Calendar {
	i := slices.IndexFunc(b.calendars, func(c *Calendar) bool {
		return c.ID == idOrName || strings.EqualFold(c.Name, idOrName) || idOrName == "" && c.Default
	})
	if i < 0 {
		return nil
	}
	return b.calendars[i]
}

// folderID is the number of random characters in the id of a calendar, which is a folder: it has 120 characters.
const folderID = 115

// newOutlookID returns an id as Exchange writes them: long, with characters that need escaping in a URL.
func newOutlookID(prefix string, n int) string { return prefix + directory.Random(n) + "=" }

// changeKey returns a key that depends on the version of an item.
func changeKey(version string) string {
	sum := sha256.Sum256([]byte(version))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// exceptions returns the scopes for which Microsoft's permission table is silent or wrong.
func exceptions(method, path string, personal bool) []string {
	readers := []string{"Calendars.ReadBasic", "Calendars.Read", "Calendars.ReadWrite"}
	switch {
	case path == "/groups" || path == "/groups/{id}" || path == "/groups/{id}/transitivemembers" || strings.HasPrefix(path, "/me/memberof") || strings.HasPrefix(path, "/me/transitivememberof"):
		return groupScopes(path, personal)
	case strings.HasPrefix(path, "/groups/"):
		// The table gives Calendars.* for some of these; group calendars have never known them.
		if method == http.MethodGet {
			return []string{"Group.Read.All", "Group.ReadWrite.All"}
		}
		return []string{"Group.ReadWrite.All"}
	case strings.HasSuffix(path, "/calendar/getschedule"):
		if personal {
			return []string{} // not supported
		}
		return readers
	case path == "/me/findmeetingtimes":
		if personal {
			return []string{} // not supported
		}
		return []string{"Calendars.Read.Shared", "Calendars.ReadWrite.Shared"}
	case strings.HasPrefix(path, "/users/{id}/") && strings.Contains(path, "calendar") || strings.HasPrefix(path, "/users/{id}/events"):
		// Somebody else's mailbox. See https://learn.microsoft.com/graph/outlook-get-shared-events-calendars.
		if method == http.MethodGet {
			return []string{"Calendars.Read.Shared", "Calendars.ReadWrite.Shared"}
		}
		return []string{"Calendars.ReadWrite.Shared"}
	case method == http.MethodGet && (path == "/me/calendarview" || path == "/me/calendar" || path == "/me/calendars/{id}"):
		return readers
	case method == http.MethodGet && (strings.HasSuffix(path, "/events/{id}") || strings.HasSuffix(path, "/events/{id}/instances")):
		return readers // the table forgets ReadWrite, and has no instances
	case method == http.MethodPatch && (path == "/me/calendar" || path == "/me/calendars/{id}"):
		return []string{"Calendars.ReadWrite"}
	}
	return nil
}

// application returns the application permissions for an operation.
func application(method, path string) []string {
	switch {
	case strings.HasSuffix(path, "/mailboxsettings") && method == http.MethodPatch:
		return []string{"MailboxSettings.ReadWrite"}
	case strings.Contains(path, "/mailboxsettings"):
		return []string{"MailboxSettings.Read", "MailboxSettings.ReadWrite"}
	case path == "/groups" || path == "/groups/{id}" || path == "/groups/{id}/transitivemembers":
		return groupScopes(path, false)
	case strings.HasPrefix(path, "/groups/"), strings.HasSuffix(path, "/findmeetingtimes"):
		return nil // not supported
	case method == http.MethodGet, strings.HasSuffix(path, "/getschedule"):
		return []string{"Calendars.ReadBasic.All", "Calendars.Read", "Calendars.ReadWrite"}
	}
	return []string{"Calendars.ReadWrite"}
}

func (s *Service) seed(colleagues bool) {
	s.SetAutomaticReplies(directory.Adele, AutomaticReplies{
		ExternalAudience: "all",
		InternalReply:    wrapHTML("<p>I am away. Please ask Megan.</p>"),
		ExternalReply:    wrapHTML("<p>I am away and will answer when I am back.</p>"),
	})
	s.AddCalendar(directory.Adele, "Birthdays")
	if colleagues {
		s.seedColleagues()
	}
}

// seedColleagues adds meetings around the time of the clock, and a series on the second Tuesday of the month.
func (s *Service) seedColleagues() {
	s.Share(directory.Alex, directory.Adele, false)
	s.AcceptCalendar(directory.Adele, directory.Alex, "")

	hour := s.directory.Now().UTC().Truncate(time.Hour)
	at := func(hours float64) time.Time { return hour.Add(time.Duration(hours * float64(time.Hour))) }
	review := []Attendee{{Address: directory.Adele, Name: "Adele Vance", Response: "accepted"}, {Address: directory.Alex, Name: "Alex Wilber"}}
	for _, e := range []Event{
		{Subject: "Budget", Start: at(0), End: at(1), Location: "Room 1"},
		{Subject: "Design review", Start: at(2), End: at(3), Organizer: directory.Megan, Response: "accepted", Attendees: review, JoinURL: "https://teams.example/join/1"},
		{Subject: "Lunch with Ann", Start: at(4), End: at(5), ShowAs: "oof", Sensitivity: "private"},
		{Subject: "Train to Leeds", Start: at(26), End: at(29.5), ShowAs: "workingElsewhere"},
		{Subject: "Board meeting", Start: at(0), End: at(2), Recurrence: map[string]any{
			"pattern": map[string]any{"type": "relativeMonthly", "interval": 1, "daysOfWeek": []string{"tuesday"}, "index": "second"},
			"range":   map[string]any{"type": "noEnd", "startDate": hour.AddDate(0, -1, 0).Format(time.DateOnly)},
		}},
	} {
		s.AddEvent(directory.Adele, "", e)
	}
	s.AddEvent(directory.Adele, "Birthdays", Event{Subject: "Megan's birthday", Start: at(24), End: at(48), AllDay: true})
	s.AddEvent(directory.Megan, "", Event{Subject: "Design review", Start: at(2), End: at(3), Attendees: review, JoinURL: "https://teams.example/join/1"})
	s.AddEvent(directory.Alex, "", Event{Subject: "Presentation", Start: at(0), End: at(1.5)})
	s.AddGroup(Group{Name: "Marketing", Address: directory.Marketing, Members: []string{directory.Adele, directory.Megan}})
	s.AddEvent(directory.Marketing, "", Event{Subject: "Campaign review", Start: at(3), End: at(4)})
	s.AddEvent(directory.Ann, "", Event{Subject: "Dentist", Start: at(20), End: at(21)})
}
