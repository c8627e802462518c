package page

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

// snapshot is everything that the page shows. It has no secrets, and no texts of messages, tasks and replies.
type snapshot struct {
	Setup         bool              `json:"setup"` // there is no configuration yet
	Program       program           `json:"program"`
	Problems      []problem         `json:"problems"` // of the program
	Accounts      []account         `json:"accounts"`
	Requests      []request         `json:"requests"` // the newest first
	Calendars     *calendars        `json:"calendars"`
	Configuration ConfigDescription `json:"configuration"`
}

type program struct {
	Version string         `json:"version"`
	Started time.Time      `json:"started"`
	Broker  *broker        `json:"broker"`
	Graph   *requestCounts `json:"graph"`
}

type broker struct {
	Address     string `json:"address"`
	Connected   bool   `json:"connected"`
	Connections uint64 `json:"connections"`
}

type requestCounts struct {
	Requests uint64 `json:"requests"`
	Errors   uint64 `json:"errors"`
	Waits    uint64 `json:"waits"`
}

type account struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	State       string           `json:"state"` // of the sign-in: signed_in, …; unreachable: its shard does not answer
	Message     string           `json:"message"`
	SignIn      *signIn          `json:"sign_in"` // one that waits for the user
	Connected   bool             `json:"connected"`
	Online      bool             `json:"online"` // some values are current
	User        string           `json:"user"`
	UserName    string           `json:"user_name"`
	Application bool             `json:"application"` // an organization, to which no user signs in
	Expected    string           `json:"expected"`    // the user who must sign in; "": anyone
	Tenant      string           `json:"tenant"`
	SignedIn    *time.Time       `json:"signed_in"`
	Expires     *time.Time       `json:"expires"`
	LastRead    *time.Time       `json:"last_read"`
	WaitsUntil  *time.Time       `json:"waits_until"` // Microsoft asked to
	Error       string           `json:"error"`
	Permissions []PermissionInfo `json:"permissions"`
	ConsentLink string           `json:"consent_link"`
	Problems    []problem        `json:"problems"` // of sensors that stand for several, and without a sensor of the bridge
	Sensors     []sensor         `json:"sensors"`
}

type signIn struct {
	Browser   bool       `json:"browser"`
	URL       string     `json:"url"`
	Code      string     `json:"code"`
	Expires   *time.Time `json:"expires"`
	Redirect  string     `json:"redirect"`
	Listening bool       `json:"listening"`
	Note      string     `json:"note"`
	Refused   []string   `json:"refused"`
	Why       string     `json:"why"`
}

type problem struct {
	Sensor  string     `json:"sensor,omitempty"`
	Code    string     `json:"code"`
	Message string     `json:"message"`
	Since   *time.Time `json:"since,omitempty"`
}

type sensor struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Type      string     `json:"type"`
	Topic     string     `json:"topic"`
	Available bool       `json:"available"`
	Problem   *problem   `json:"problem"`
	Values    []value    `json:"values"`   // the most important first
	Interval  float64    `json:"interval"` // seconds; 0: it does not poll
	LastRead  *time.Time `json:"last_read"`
	NextRead  *time.Time `json:"next_read"`
	Polls     []poll     `json:"polls"` // oldest first
}

type poll struct {
	At      time.Time `json:"at"`
	Took    int64     `json:"ms"`
	Outcome string    `json:"outcome"` // ok, or the code of the failure
	Text    string    `json:"text"`
}

type request struct {
	Account   string     `json:"account"` // names
	Sensor    string     `json:"sensor"`
	Operation string     `json:"operation"`
	Received  time.Time  `json:"received"`
	Completed *time.Time `json:"completed"`
	Outcome   string     `json:"outcome"` // ok, waiting, or the code of the failure
	Message   string     `json:"message"`
	Advice    string     `json:"advice"`
}

type calendars struct {
	URL      string         `json:"url"`
	Accounts []calendarUser `json:"accounts"`
}

type calendarUser struct {
	Account  string     `json:"account"`
	Name     string     `json:"name"`
	Created  *time.Time `json:"created"` // the password; null: there is none
	LastUsed *time.Time `json:"last_used"`
}

// snapshot describes everything for a browser that sees the page at base.
func (h *StatusPage) snapshot(base string) snapshot {
	o := h.options
	s := snapshot{
		Setup: o.Hub == nil && o.Shards == nil, Program: program{Version: o.Version, Started: o.Started.UTC().Truncate(time.Second)},
		Problems: []problem{}, Accounts: []account{}, Requests: []request{},
	}
	if o.Configuration != nil {
		s.Configuration = o.Configuration.Describe()
	}
	switch {
	case s.Setup:
		return s
	case o.Shards != nil:
		if o.Calendars == nil {
			o.Shards.merge(&s)
			return s
		}
		s.Calendars = &calendars{URL: o.Calendars.URL(base), Accounts: []calendarUser{}}
		o.Shards.merge(&s)
		for i, c := range s.Calendars.Accounts { // a new password is known here first
			s.Calendars.Accounts[i].Created = knownTime(o.Calendars.Created(c.Account))
		}
		return s
	}
	p := o.Program()
	s.Program.Broker = &broker{p.Broker, p.Connected, p.Connections}
	s.Program.Graph = &requestCounts{p.GraphRequests, p.GraphErrors, p.GraphWaits}
	devices := o.Hub.Snapshot()
	names := map[hub.ID]string{}
	for _, d := range devices {
		if d.Device.ID.Account != "" && d.Device.ID.Sensor == "" {
			s.Accounts = append(s.Accounts, h.account(d))
			names[d.Device.ID] = d.Device.Name
		}
	}
	for _, d := range devices {
		id := d.Device.ID
		if id.Sensor == "" {
			continue
		}
		i := slices.IndexFunc(s.Accounts, func(a account) bool { return a.ID == id.Account })
		if i < 0 {
			continue
		}
		described := h.sensor(d, s.Accounts[i].Name, shownPolls(len(devices)))
		names[id] = described.Name
		s.Accounts[i].Sensors = append(s.Accounts[i].Sensors, described)
	}
	for i, a := range s.Accounts {
		s.Accounts[i].Problems = slices.DeleteFunc(a.Problems, func(p problem) bool { return p.Sensor != "" && names[hub.ID{Account: a.ID, Sensor: p.Sensor}] != "" })
		slices.SortStableFunc(a.Sensors, func(a, b sensor) int { return strings.Compare(a.ID, b.ID) })
	}
	slices.SortStableFunc(s.Accounts, func(a, b account) int { return strings.Compare(a.ID, b.ID) })
	s.Requests = o.Requests.describe(names)
	if o.Calendars != nil {
		s.Calendars = &calendars{URL: o.Calendars.URL(base), Accounts: []calendarUser{}}
		for _, a := range s.Accounts {
			s.Calendars.Accounts = append(s.Calendars.Accounts, calendarUser{a.ID, a.Name, knownTime(o.Calendars.Created(a.ID)), utcSecond(o.Calendars.LastUsed(a.ID))})
		}
	}
	return s
}

func (h *StatusPage) account(d hub.Snapshot) account {
	a := account{ID: d.Device.ID.Account, Name: d.Device.Name, Permissions: []PermissionInfo{}, Problems: []problem{}, Sensors: []sensor{}}
	if info, ok := h.options.Account(a.ID); ok {
		a.Application, a.Tenant, a.Expected, a.UserName, a.ConsentLink = info.Application, info.Tenant, info.Expected, info.Name, info.ConsentLink
		a.SignedIn, a.Expires = utcSecond(info.SignedIn), utcSecond(info.Expires)
		a.Permissions = append(a.Permissions, info.Permissions...)
	}
	if d.State == nil || d.State.Account == nil {
		return a
	}
	status := d.State.Account
	a.State, a.Message = status.SignIn.State, valueOrEmpty(status.SignIn.Message)
	a.Connected, a.Online, a.User, a.Error = status.Connected, d.State.Available, valueOrEmpty(status.User), valueOrEmpty(status.Error)
	a.LastRead, a.WaitsUntil = status.LastSync, status.ThrottledUntil
	if p := status.SignIn.Prompt; p != nil {
		a.SignIn = &signIn{
			Browser: p.Browser, URL: valueOrEmpty(status.SignIn.URL), Code: valueOrEmpty(status.SignIn.Code), Expires: status.SignIn.ExpiresAt,
			Redirect: p.Redirect, Listening: p.Listening, Note: p.Note, Refused: append([]string{}, p.Refused...), Why: p.Why,
		}
	}
	for _, p := range status.Problems {
		a.Problems = append(a.Problems, problem{Sensor: p.Sensor, Code: p.Code, Message: p.Message})
	}
	return a
}

// maxPolls is the number of polls that the page shows. Of thousands of sensors it shows the newest of each.
const maxPolls = 6000

// shownPolls returns the number of polls that the page shows of each of n sensors.
func shownPolls(n int) int { return max(1, maxPolls/max(1, n)) }

func (h *StatusPage) sensor(d hub.Snapshot, account string, polls int) sensor {
	s := sensor{
		ID: d.Device.ID.Sensor, Name: shortName(d.Device.Name, account), Type: d.Device.Model, Topic: h.options.Topic(d.Device.ID),
		Interval: d.Device.Interval.Seconds(), Polls: []poll{}, Values: []value{},
	}
	if d.State != nil {
		s.Available, s.LastRead = d.State.Available, utcSecond(d.State.LastSync)
		if p := d.State.Problem; p != nil {
			s.Problem = &problem{Code: p.Code, Message: p.Message, Since: utcSecond(p.Since)}
		}
		s.Values = values(d.Device.Entities, d.State.State)
	}
	for _, p := range d.Polls[max(0, len(d.Polls)-polls):] {
		if p.Failure != nil && p.Failure.Code == "sign_in_required" { // nothing was asked
			continue
		}
		described := poll{At: p.At.UTC(), Took: p.Duration.Milliseconds(), Outcome: "ok", Text: "read"}
		switch {
		case p.Failure != nil:
			described.Outcome, described.Text = p.Failure.Code, p.Failure.Message
		case p.ItemsKey != "":
			described.Text = items(p.Items)
		}
		if p.Failure == nil { // the state has the time of a read only when something else changes
			s.LastRead = utcSecond(p.At)
		}
		s.NextRead = utcSecond(p.Next)
		s.Polls = append(s.Polls, described)
	}
	return s
}

// shortName returns the name of a sensor without that of its account: "Calendar" for "Work calendar".
func shortName(name, account string) string {
	short := strings.TrimPrefix(name, account+" ")
	if short == "" {
		return name
	}
	first, size := utf8.DecodeRuneInString(short)
	return string(unicode.ToUpper(first)) + short[size:]
}

func valueOrEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// utcSecond returns t in UTC to the second, nil for the zero time.
func utcSecond(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// knownTime returns utcSecond(t), nil if t is not known.
func knownTime(t time.Time, ok bool) *time.Time {
	if !ok {
		return nil
	}
	return utcSecond(t)
}
