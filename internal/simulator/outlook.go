package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// outlookState is the state of Exchange.
type outlookState struct {
	inflight  map[string]int      // requests in progress, by mailbox
	mailboxes map[string]*mailbox // by id of the user or group
	shares    map[share]bool      // value: may write
}

// A share gives a guest access to the calendars of a mailbox.
type share struct{ owner, guest string }

// A mailbox holds the calendars of a user or group.
type mailbox struct {
	name, address string
	calendars     []*Calendar
	accepted      []*acceptedCalendar
	events        []*storedEvent
	transactions  map[string]transaction
}

func newOutlookState() outlookState {
	return outlookState{inflight: map[string]int{}, mailboxes: map[string]*mailbox{}, shares: map[share]bool{}}
}

// addMailbox adds a mailbox with its default calendar.
func (o *outlookState) addMailbox(id, name, address string) *mailbox {
	b := &mailbox{name: name, address: address, transactions: map[string]transaction{}}
	b.addCalendar(Calendar{Name: "Calendar", Default: true})
	o.mailboxes[id] = b
	return b
}

// acquire counts a request in progress and returns the function that ends it.
func (o *outlookState) acquire(mu *sync.Mutex, mailbox string) func() {
	o.inflight[mailbox]++
	return func() {
		mu.Lock()
		defer mu.Unlock()
		o.inflight[mailbox]--
	}
}

// Share gives another user read or write access to the owner's calendars.
func (s *Simulator) Share(owner, guest string, write bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outlook.shares[share{s.mustUser(owner).ID, s.mustUser(guest).ID}] = write
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
func (s *Simulator) AcceptCalendar(guest, owner, calendar string) Calendar {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &acceptedCalendar{
		id: newOutlookID("AAMk", 72), share: share{s.mustUser(owner).ID, s.mustUser(guest).ID}, owner: s.mustMailbox(owner), calendar: s.mustCalendar(owner, calendar),
	}
	write, shared := s.outlook.shares[a.share]
	if !shared {
		panic(&usageError{http.StatusConflict, fmt.Sprintf("%s shares nothing with %s", owner, guest)})
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
	if c.mailbox() != c.user.ID {
		return nil
	}
	for _, a := range c.s.outlook.mailboxes[c.user.ID].accepted {
		if _, shared := c.s.outlook.shares[a.share]; shared && slices.Contains(a.owner.calendars, a.calendar) {
			all = append(all, a)
		}
	}
	return all
}

// acceptedCalendarInPath returns the accepted calendar that the path refers to, or nil.
func (c *call) acceptedCalendarInPath() *acceptedCalendar {
	for _, a := range c.acceptedCalendars() {
		if a.id == c.params["calendar"] {
			return a
		}
	}
	return nil
}

// A Group is a Microsoft 365 group with a calendar.
type Group struct {
	ID      string // "": derived from the address
	Name    string
	Address string
	Members []string // addresses
}

// AddGroup adds a group with an empty calendar and returns it with its id.
func (s *Simulator) AddGroup(g Group) Group {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.ID == "" {
		g.ID = newGUID(g.Address)
	}
	s.outlook.addMailbox(g.ID, g.Name, g.Address)
	for _, m := range g.Members {
		s.outlook.shares[share{g.ID, s.mustUser(m).ID}] = true
	}
	return g
}

// targetMailbox returns the mailbox in the path: the user's own, a shared one or a group's.
func (c *call) targetMailbox() (*mailbox, error) {
	id := c.mailbox()
	b := c.s.outlook.mailboxes[id]
	if id == c.user.ID {
		return b, nil
	}
	write, shared := c.s.outlook.shares[share{id, c.user.ID}]
	switch {
	case b == nil && c.params["group"] == "":
		return nil, &failure{http.StatusNotFound, "ErrorInvalidUser", fmt.Sprintf("The requested user '%s' is invalid.", id)}
	case b == nil:
		return nil, &failure{http.StatusNotFound, "Request_ResourceNotFound", fmt.Sprintf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)}
	case !shared, !write && c.route.method != http.MethodGet:
		return nil, event.denied()
	}
	return b, nil
}

// mustMailbox returns the mailbox of a user or group, and panics if there is none.
func (s *Simulator) mustMailbox(address string) *mailbox {
	if b := s.mailboxByAddress(address); b != nil {
		return b
	}
	panic(&usageError{http.StatusNotFound, fmt.Sprintf("no mailbox %q", address)})
}

func (s *Simulator) mailboxByAddress(address string) *mailbox {
	for _, b := range s.outlook.mailboxes {
		if strings.EqualFold(b.address, address) {
			return b
		}
	}
	return nil
}

func (b *mailbox) addCalendar(c Calendar) *Calendar {
	c.ID = newOutlookID("AAMk", 72)
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

// newOutlookID returns an id as Exchange writes them: long, with characters that need escaping in a URL.
func newOutlookID(prefix string, n int) string { return prefix + random(n) + "=" }

func notFound() *failure {
	return &failure{http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store."}
}

// wellFormed refuses strings that cannot be an Exchange id, such as a name.
func wellFormed(id string) error {
	if !strings.HasPrefix(id, "AA") || len(id) < 16 {
		return &failure{http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed."}
	}
	return nil
}
