package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A Presence is what Teams tells of a user. See https://learn.microsoft.com/graph/api/resources/presence.
type Presence struct {
	Availability       string // Available, Busy, DoNotDisturb …; "": Offline
	Activity           string // "": as the availability
	Message            string // the status message
	MessagePublished   time.Time
	MessageExpires     time.Time // zero: never
	OutOfOffice        bool
	OutOfOfficeMessage string
	WorkLocation       string // office, remote, timeOff; "": unspecified
	WorkLocationSource string // manual, scheduled, automatic; "": none
}

// A Session is a presence that was set and for how long.
type Session struct {
	Availability, Activity string
	Set, Expires           time.Time
}

// presence is what there is of a user.
type presence struct {
	teams     Presence           // what the user's clients and calendar say
	sessions  map[string]Session // those of apps, by id
	preferred Session            // zero: none
	locations locations          // that apps have set
	version   int
	none      bool
}

// SetPresence changes what the user's own Teams clients and calendar say. What apps have set, and what is preferred, stays.
func (s *Simulator) SetPresence(address string, p Presence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.must(address)
	a.presence.teams = p
	a.presence.version++
}

// Presence is what Graph tells now.
func (s *Simulator) Presence(address string) Presence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.must(address).presence.shown(s.now())
}

// PreferredPresence is what was preferred last and not cleared; zero: nothing.
func (s *Simulator) PreferredPresence(address string) Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.must(address).presence.preferred
}

// PresenceSession is what an app has set and not cleared; zero: nothing.
func (s *Simulator) PresenceSession(address, id string) Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.must(address).presence.sessions[id]
}

// RemoveTeams takes Teams away from a user: so is a shared mailbox, or somebody without a licence. They have no presence.
func (s *Simulator) RemoveTeams(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.must(address).presence.none = true
}

// shown is the presence in which all that was set comes together: the preferred one as long as there is a session at all, else
// the session that ranks first.
//
// https://learn.microsoft.com/graph/api/presence-setpresence, "presence sessions"
func (p *presence) shown(now time.Time) Presence {
	shown := p.teams
	var live []Session
	if a := p.teams.Availability; a != "" && a != "Offline" {
		live = append(live, Session{Availability: a, Activity: p.teams.Activity})
	}
	for _, id := range slices.Sorted(maps.Keys(p.sessions)) {
		if s := p.sessions[id]; now.Before(s.Expires) {
			live = append(live, s.faded(now))
		}
	}
	switch {
	case len(live) == 0:
		shown.Availability = "Offline"
	case now.Before(p.preferred.Expires):
		shown.Availability, shown.Activity = p.preferred.Availability, p.preferred.Activity
	default:
		first := slices.MinFunc(live, func(a, b Session) int { return a.rank() - b.rank() })
		shown.Availability, shown.Activity = first.Availability, first.Activity
	}
	if shown.Activity == "" {
		shown.Activity = shown.Availability
	}
	if e := p.teams.MessageExpires; !e.IsZero() && !now.Before(e) {
		shown.Message, shown.MessagePublished, shown.MessageExpires = "", time.Time{}, time.Time{}
	}
	p.locations.apply(&shown)
	return shown
}

func (s Session) rank() int {
	order := []string{"DoNotDisturb", "Busy", "Available", "Away"}
	if i := slices.Index(order, s.Availability); i >= 0 {
		return i
	}
	return len(order)
}

// faded is the session as it is shown: Available lasts only as long as the app goes on saying so.
func (s Session) faded(now time.Time) Session {
	if s.Availability == "Available" {
		switch age := now.Sub(s.Set); {
		case age >= 10*time.Minute:
			s.Availability, s.Activity = "Away", "Away"
		case age >= 5*time.Minute:
			s.Activity = "AvailableInactive"
		}
	}
	return s
}

// presenceJSON is what is told of a user. When a message was published and when it expires is told to nobody else.
func (a *account) presenceJSON(now time.Time, own bool) map[string]any {
	p := a.presence.shown(now)
	var message any
	if p.Message != "" {
		m := map[string]any{"message": map[string]any{"content": p.Message, "contentType": "text"}}
		if own && !p.MessagePublished.IsZero() {
			m["publishedDateTime"] = p.MessagePublished.UTC().Format("2006-01-02T15:04:05.0000000Z")
		}
		if own && !p.MessageExpires.IsZero() {
			m["expiryDateTime"] = momentAt(p.MessageExpires, "UTC", time.UTC).json()
		}
		message = m
	}
	return map[string]any{
		"id": a.ID, "availability": p.Availability, "activity": p.Activity, "statusMessage": message,
		"outOfOfficeSettings": map[string]any{"isOutOfOffice": p.OutOfOffice, "message": orNil(p.OutOfOfficeMessage)},
		"workLocation": map[string]any{"placeId": orNil(a.presence.locations.apply(&p)),
			"workLocationType": cmp.Or(p.WorkLocation, "unspecified"), "source": cmp.Or(p.WorkLocationSource, "none")},
		"sequenceNumber": fmt.Sprintf("A%019d", a.presence.version),
	}
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// unknownPresence is told of somebody of whom nothing is known.
func unknownPresence(id string) map[string]any {
	return map[string]any{
		"id": id, "availability": "PresenceUnknown", "activity": "PresenceUnknown", "statusMessage": nil, "outOfOfficeSettings": nil, "workLocation": nil,
		"sequenceNumber": nil,
	}
}

// presenceRoutes have the actions below the user's id only, as Graph's table has.
func presenceRoutes() []route {
	routes := []route{
		{method: "GET", path: "/me/presence", kind: teamsPresence, do: getPresence},
		{method: "GET", path: "/users/{user}/presence", kind: teamsPresence, do: getPresence},
		{method: "POST", path: "/communications/getPresencesByUserId", kind: teamsPresence, do: getPresences},
	}
	for name, do := range map[string]func(*call) (answer, error){
		"setPresence": setPresence, "clearPresence": clearPresence, "setUserPreferredPresence": setPreferredPresence,
		"clearUserPreferredPresence": clearPreferredPresence, "setStatusMessage": setStatusMessage,
		"setManualLocation":    setLocation(func(l *locations) **location { return &l.manual }),
		"setAutomaticLocation": setLocation(func(l *locations) **location { return &l.automatic }),
		"clearLocation":        clearLocation,
	} {
		routes = append(routes, route{method: "POST", path: "/users/{user}/presence/" + name, kind: teamsPresence, do: do})
	}
	return routes
}

// watched is the user in the path, whom only an id names.
func (c *call) watched() (*account, error) {
	a := c.user
	if id, ok := c.params["user"]; ok {
		if uuid.Validate(id) != nil {
			return nil, badRequest("Invalid user id '%s': an object id is expected.", id)
		}
		if a = c.s.byID(id); a == nil || a.Tenant != c.user.Tenant {
			return nil, &failure{http.StatusNotFound, "NotFound", fmt.Sprintf("The user '%s' was not found.", id)}
		}
	}
	if a.presence.none {
		return nil, &failure{http.StatusForbidden, "Forbidden", "The user has no Teams."}
	}
	return a, nil
}

func getPresence(c *call) (answer, error) {
	a, err := c.watched()
	if err != nil {
		return answer{}, err
	}
	body := a.presenceJSON(c.now, a == c.user)
	body["@odata.context"] = c.context(fmt.Sprintf("users('%s')/presence/$entity", a.ID))
	return answer{status: http.StatusOK, body: body}, nil
}

func getPresences(c *call) (answer, error) {
	p, err := c.parameters("ids")
	if err != nil {
		return answer{}, err
	}
	ids, ok := p["ids"].([]any)
	if !ok || len(ids) == 0 || len(ids) > 650 {
		return answer{}, badRequest("The parameter 'ids' must have 1 to 650 items.")
	}
	value := []map[string]any{}
	for _, v := range ids {
		id, _ := v.(string)
		if uuid.Validate(id) != nil {
			return answer{}, badRequest("Invalid user id '%s': an object id is expected.", id)
		}
		if a := c.s.byID(id); a == nil || a.Tenant != c.user.Tenant || a.presence.none {
			value = append(value, unknownPresence(id))
		} else {
			value = append(value, a.presenceJSON(c.now, a == c.user))
		}
	}
	return answer{status: http.StatusOK, body: map[string]any{"@odata.context": c.context("Collection(microsoft.graph.presence)"), "value": value}}, nil
}

// parameters are those of an action.
func (c *call) parameters(known ...string) (map[string]any, error) {
	p := map[string]any{}
	if len(c.body) > 0 {
		if err := json.Unmarshal(c.body, &p); err != nil || p == nil {
			return nil, unreadable()
		}
	}
	for name := range p {
		if !slices.Contains(known, name) {
			return nil, badRequest("The parameter '%s' in the request payload is not a valid parameter for the operation '%s'.",
				name, c.route.path[strings.LastIndexByte(c.route.path, '/')+1:])
		}
	}
	return p, nil
}

// own is the presence that an action is about: an app without the rights of an administrator sets that of its user only.
func (c *call) own() (*presence, error) {
	a, err := c.watched()
	if err != nil {
		return nil, err
	}
	if a != c.user {
		return nil, &failure{http.StatusForbidden, "Forbidden", "The presence of another user cannot be changed."}
	}
	a.presence.version++
	return &a.presence, nil
}

// session is what setPresence and setUserPreferredPresence have in common.
func (c *call) session(p map[string]any, pairs [][2]string, fallback func(availability string) time.Duration) (Session, error) {
	availability, _ := p["availability"].(string)
	activity, _ := p["activity"].(string)
	s := Session{Availability: availability, Activity: activity, Set: c.now}
	if !slices.Contains(pairs, [2]string{availability, activity}) {
		return s, badRequest("The combination of availability '%s' and activity '%s' is not supported.", availability, activity)
	}
	lasts := fallback(availability)
	if d := p["expirationDuration"]; d != nil {
		text, _ := d.(string)
		var ok bool
		if lasts, ok = edmDuration(text); !ok {
			return s, badRequest("Cannot convert the literal '%v' to the expected type 'Edm.Duration'.", d)
		}
	}
	s.Expires = c.now.Add(lasts)
	return s, nil
}

// setPresence: see https://learn.microsoft.com/graph/api/presence-setpresence.
func setPresence(c *call) (answer, error) {
	params, err := c.parameters("sessionId", "availability", "activity", "expirationDuration")
	if err != nil {
		return answer{}, err
	}
	id, err := sessionID(params)
	if err != nil {
		return answer{}, err
	}
	s, err := c.session(params, [][2]string{
		{"Available", "Available"}, {"Busy", "InACall"}, {"Busy", "InAConferenceCall"}, {"Away", "Away"}, {"DoNotDisturb", "Presenting"},
	}, func(string) time.Duration { return 5 * time.Minute })
	if err != nil {
		return answer{}, err
	}
	if lasts := s.Expires.Sub(s.Set); lasts < 5*time.Minute || lasts > 4*time.Hour {
		return answer{}, badRequest("The expirationDuration must be from PT5M to PT4H.")
	}
	p, err := c.own()
	if err != nil {
		return answer{}, err
	}
	if p.sessions == nil {
		p.sessions = map[string]Session{}
	}
	p.sessions[id] = s
	return answer{status: http.StatusOK}, nil
}

func sessionID(params map[string]any) (string, error) {
	id, _ := params["sessionId"].(string)
	if uuid.Validate(id) != nil {
		return "", badRequest("The sessionId must be the id of the application.")
	}
	return id, nil
}

func clearPresence(c *call) (answer, error) {
	params, err := c.parameters("sessionId")
	if err != nil {
		return answer{}, err
	}
	id, err := sessionID(params)
	if err != nil {
		return answer{}, err
	}
	p, err := c.own()
	if err != nil {
		return answer{}, err
	}
	delete(p.sessions, id)
	return answer{status: http.StatusOK}, nil
}

// setPreferredPresence: see https://learn.microsoft.com/graph/api/presence-setuserpreferredpresence.
func setPreferredPresence(c *call) (answer, error) {
	params, err := c.parameters("availability", "activity", "expirationDuration")
	if err != nil {
		return answer{}, err
	}
	s, err := c.session(params, [][2]string{
		{"Available", "Available"}, {"Busy", "Busy"}, {"DoNotDisturb", "DoNotDisturb"}, {"BeRightBack", "BeRightBack"}, {"Away", "Away"}, {"Offline", "OffWork"},
	}, func(availability string) time.Duration {
		if availability == "DoNotDisturb" || availability == "Busy" {
			return 24 * time.Hour
		}
		return 7 * 24 * time.Hour
	})
	if err != nil {
		return answer{}, err
	}
	p, err := c.own()
	if err != nil {
		return answer{}, err
	}
	p.preferred = s
	return answer{status: http.StatusOK}, nil
}

func clearPreferredPresence(c *call) (answer, error) {
	if _, err := c.parameters(); err != nil {
		return answer{}, err
	}
	p, err := c.own()
	if err != nil {
		return answer{}, err
	}
	p.preferred = Session{}
	return answer{status: http.StatusOK}, nil
}

// setStatusMessage: see https://learn.microsoft.com/graph/api/presence-setstatusmessage.
func setStatusMessage(c *call) (answer, error) {
	params, err := c.parameters("statusMessage")
	if err != nil {
		return answer{}, err
	}
	given, ok := params["statusMessage"].(map[string]any)
	if !ok {
		return answer{}, badRequest("The parameter 'statusMessage' must be an object.")
	}
	var content string
	var expires time.Time
	for name, v := range given {
		switch name {
		case "message":
			m, _ := v.(map[string]any)
			content, ok = m["content"].(string)
			if kind, _ := m["contentType"].(string); !ok || !strings.EqualFold(kind, "text") {
				return answer{}, badRequest("The message must have a content of the contentType 'text'.")
			}
		case "expiryDateTime":
			m, err := c.s.parseMoment(name, v)
			if err != nil {
				return answer{}, err
			}
			expires = m.instant()
		default:
			if !strings.HasPrefix(name, "@odata.") {
				return answer{}, badRequest("The property '%s' does not exist on type 'microsoft.graph.presenceStatusMessage'. "+
					"Make sure to only use property names that are defined by the type.", name)
			}
		}
	}
	p, err := c.own()
	if err != nil {
		return answer{}, err
	}
	p.teams.Message, p.teams.MessagePublished, p.teams.MessageExpires = content, c.now, expires
	return answer{status: http.StatusOK}, nil
}

var dayTime = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?$`)

// edmDuration reads what OData calls a duration: days and what is shorter. The weeks, months and years of ISO 8601 are none.
func edmDuration(s string) (time.Duration, bool) {
	parts := dayTime.FindStringSubmatch(s)
	if parts == nil || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if parts[i+1] != "" {
			n, err := strconv.Atoi(parts[i+1])
			if err != nil || n > 1_000_000 {
				return 0, false
			}
			d += time.Duration(n) * unit
		}
	}
	return d, true
}
