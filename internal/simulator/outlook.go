package simulator

import "sync"

// outlookState is what Exchange keeps, by the id of the mailbox: a user's or a group's.
type outlookState struct {
	flying    map[string]int // requests that are being answered
	calendars map[string][]*Calendar
}

func newOutlookState() outlookState {
	return outlookState{flying: map[string]int{}, calendars: map[string][]*Calendar{}}
}

// fly counts a request in, and gives what counts it out.
func (o *outlookState) fly(mu *sync.Mutex, mailbox string) func() {
	o.flying[mailbox]++
	return func() {
		mu.Lock()
		defer mu.Unlock()
		o.flying[mailbox]--
	}
}

// A Calendar is one in a mailbox.
type Calendar struct {
	ID      string
	Name    string
	Default bool
}

func (o *outlookState) addCalendar(mailbox string, c Calendar) *Calendar {
	o.calendars[mailbox] = append(o.calendars[mailbox], &c)
	return &c
}

func calendarRoutes() []route { return nil }
