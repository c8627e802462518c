// Package presence simulates the presence of Teams.
package presence

import (
	"cmp"
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the presence of all users. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	presences map[*directory.User]*presence
}

// New returns the presence of the directory's users.
func New(d *directory.Directory) *Service {
	s := &Service{directory: d, presences: map[*directory.User]*presence{}}
	d.OnAdd(func(u *directory.User) { s.presences[u] = &presence{} })
	return s
}

// A call is a request to Graph.
type call struct {
	*odata.Call
	s *Service
}

//go:embed permissions.json
var permissions []byte

// Resource returns the presence of Graph.
func (s *Service) Resource() odata.Resource {
	return odata.Resource{Routes: s.routes(), Permissions: permissions, Exceptions: exceptions, Application: application, Controls: s.controls(), Seed: s.seed}
}

func (s *Service) seed(colleagues bool) {
	s.SetPresence(directory.Adele, Presence{Availability: "Available", WorkLocation: "office", WorkLocationSource: "scheduled"})
	if colleagues {
		s.SetPresence(directory.Megan, Presence{Availability: "Busy", Activity: "InAMeeting"})
		s.SetPresence(directory.Alex, Presence{Availability: "DoNotDisturb", Activity: "Presenting"})
	}
}

func presenceType() *odata.Type {
	status := odata.ComplexType("presenceStatusMessage", odata.Properties{
		"message": odata.ItemBody(), "expiryDateTime": odata.Of(odata.DateTimeType()), "publishedDateTime": odata.DateTimeOffset().Computed(),
	})
	outOfOffice := odata.ComplexType("outOfOfficeSettings", odata.Properties{"isOutOfOffice": odata.Boolean(), "message": odata.String()})
	location := odata.ComplexType("userWorkLocation", odata.Properties{
		"placeId": odata.String(), "workLocationType": odata.String(), "source": odata.String(),
	})
	return &odata.Type{
		Name: "microsoft.graph.presence",
		Properties: odata.Properties{
			"id": odata.String().Computed(), "availability": odata.String(), "activity": odata.String(), "statusMessage": odata.Of(status),
			"outOfOfficeSettings": odata.Of(outOfOffice), "workLocation": odata.Of(location), "sequenceNumber": odata.String(),
		},
		Denied: odata.NewError(http.StatusForbidden, "Forbidden", "The application lacks a permission that the request needs."),
	}
}

// A Presence holds the availability and status of a user in Teams. See https://learn.microsoft.com/graph/api/resources/presence.
type Presence struct {
	Availability       string // Available, Busy, DoNotDisturb …; "": Offline
	Activity           string // "": same as the availability
	Message            string // the status message
	MessagePublished   time.Time
	MessageExpires     time.Time // zero: never
	OutOfOffice        bool
	OutOfOfficeMessage string
	WorkLocation       string // office, remote, timeOff; "": unspecified
	WorkLocationSource string // manual, scheduled, automatic; "": none
}

// A Session is a presence set by an app, and how long it lasts.
type Session struct {
	Availability, Activity string
	Set, Expires           time.Time
}

// presence is the stored presence of a user.
type presence struct {
	teams      Presence           // reported by the user's clients and calendar
	sessions   map[string]Session // set by apps, by application id
	preferred  Session            // zero: none
	locations  locations          // set by apps
	version    int
	unlicensed bool // for Teams
}

func (s *Service) mustPresence(address string) *presence {
	return s.presences[s.directory.MustUser(address)]
}

// SetPresence changes what the user's Teams clients and calendar report. Sessions of apps and the preferred presence stay.
func (s *Service) SetPresence(address string, p Presence) {
	s.directory.Lock()
	defer s.directory.Unlock()
	stored := s.mustPresence(address)
	stored.teams = p
	stored.version++
	s.announce(s.directory.MustUser(address))
}

// announce reports a change of a user's presence.
func (s *Service) announce(u *directory.User) {
	s.directory.Changed(func() directory.Change {
		return directory.Change{Collections: []string{"communications/presences"}, ID: u.ID, Type: "updated"}
	})
}

// Presence returns the presence that Graph shows.
func (s *Service) Presence(address string) Presence {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.mustPresence(address).shown(s.directory.Now())
}

// PreferredPresence returns the preferred presence; zero if none is set.
func (s *Service) PreferredPresence(address string) Session {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.mustPresence(address).preferred
}

// PresenceSession returns the presence set by an app; zero if none is set.
func (s *Service) PresenceSession(address, id string) Session {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.mustPresence(address).sessions[id]
}

// RemoveTeams removes the user's Teams license: users without one, and shared mailboxes, have no presence.
func (s *Service) RemoveTeams(address string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustPresence(address).unlicensed = true
}

// shown merges everything that was set: the preferred presence if there is any session, else
// the highest-ranking session.
//
// https://learn.microsoft.com/graph/api/presence-setpresence, "presence sessions"
func (p *presence) shown(now time.Time) Presence {
	shown := p.teams
	var active []Session
	if a := p.teams.Availability; a != "" && a != "Offline" {
		active = append(active, Session{Availability: a, Activity: p.teams.Activity})
	}
	for _, id := range slices.Sorted(maps.Keys(p.sessions)) {
		if s := p.sessions[id]; now.Before(s.Expires) {
			active = append(active, s.aged(now))
		}
	}
	switch {
	case len(active) == 0:
		shown.Availability = "Offline"
	case now.Before(p.preferred.Expires):
		shown.Availability, shown.Activity = p.preferred.Availability, p.preferred.Activity
	default:
		first := slices.MinFunc(active, func(a, b Session) int { return a.rank() - b.rank() })
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

// aged returns the session as shown: Available fades unless the app repeats it.
func (s Session) aged(now time.Time) Session {
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

// json returns the presence as JSON. Only the user sees when a message was published and when it expires.
func (p *presence) json(id string, now time.Time, own bool) map[string]any {
	shown := p.shown(now)
	var message any
	if shown.Message != "" {
		m := map[string]any{"message": map[string]any{"content": shown.Message, "contentType": "text"}}
		if own && !shown.MessagePublished.IsZero() {
			m["publishedDateTime"] = shown.MessagePublished.UTC().Format("2006-01-02T15:04:05.0000000Z")
		}
		if own && !shown.MessageExpires.IsZero() {
			m["expiryDateTime"] = odata.DateTimeIn(shown.MessageExpires, "UTC", time.UTC).JSON()
		}
		message = m
	}
	return map[string]any{
		"id": id, "availability": shown.Availability, "activity": shown.Activity, "statusMessage": message,
		"outOfOfficeSettings": map[string]any{"isOutOfOffice": shown.OutOfOffice, "message": orNil(shown.OutOfOfficeMessage)},
		"workLocation": map[string]any{"placeId": orNil(p.locations.apply(&shown)),
			"workLocationType": cmp.Or(shown.WorkLocation, "unspecified"), "source": cmp.Or(shown.WorkLocationSource, "none")},
		"sequenceNumber": fmt.Sprintf("A%019d", p.version),
	}
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// unknownPresence returns the presence of an unknown user.
func unknownPresence(id string) map[string]any {
	return map[string]any{
		"id": id, "availability": "PresenceUnknown", "activity": "PresenceUnknown", "statusMessage": nil, "outOfOfficeSettings": nil, "workLocation": nil,
		"sequenceNumber": nil,
	}
}

func (s *Service) routes() []odata.Route {
	resource := presenceType()
	route := func(method, path string, do func(*call) (odata.Response, error)) odata.Route {
		return odata.Route{Method: method, Path: path, Type: resource, Do: func(c *odata.Call) (odata.Response, error) { return do(&call{c, s}) }}
	}
	routes := []odata.Route{route("POST", "/communications/getPresencesByUserId", getPresences)}
	for _, root := range []string{"/me", "/users/{user}"} {
		routes = append(routes,
			route("GET", root+"/presence", getPresence),
			route("POST", root+"/presence/setPresence", setPresence),
			route("POST", root+"/presence/clearPresence", clearPresence),
			route("POST", root+"/presence/setUserPreferredPresence", setPreferredPresence),
			route("POST", root+"/presence/clearUserPreferredPresence", clearPreferredPresence),
			route("POST", root+"/presence/setStatusMessage", setStatusMessage),
			route("POST", root+"/presence/setManualLocation", setLocation(func(l *locations) **location { return &l.manual })),
			route("POST", root+"/presence/setAutomaticLocation", setLocation(func(l *locations) **location { return &l.automatic })),
			route("POST", root+"/presence/clearLocation", clearLocation),
		)
	}
	return routes
}

// application returns the application permissions for an operation.
func application(method, path string) []string {
	if path == "/communications/getpresencesbyuserid" || method == http.MethodGet {
		return []string{"Presence.Read.All", "Presence.ReadWrite.All"}
	}
	return nil // not simulated
}

// exceptions returns the rows in which the permission table is wrong.
func exceptions(_, path string, personal bool) []string {
	switch {
	case personal:
		return nil
	case path == "/users/{id}/presence":
		// Another user's, for which the table lists too little. See the examples of https://learn.microsoft.com/graph/api/presence-get.
		return []string{"Presence.Read.All"}
	case strings.HasPrefix(path, "/me/presence/"):
		return []string{"Presence.ReadWrite"} // the table has them below /users/{id} only
	case strings.HasSuffix(strings.ToLower(path), "location"):
		return []string{"Presence.ReadWrite"} // as https://learn.microsoft.com/graph/api/presence-setmanuallocation says
	}
	return nil
}

// targetUser returns the user in the path, who must be given by id.
func (c *call) targetUser() (*directory.User, error) {
	a := c.User
	if id, ok := c.Params["user"]; ok {
		if uuid.Validate(id) != nil {
			return nil, odata.BadRequest("Invalid user id '%s': an object id is expected.", id)
		}
		if a = c.s.directory.ByID(id); a == nil || a.Tenant != c.User.Tenant {
			return nil, odata.NewError(http.StatusNotFound, "NotFound", "The user '%s' was not found.", id)
		}
	}
	if c.s.presences[a].unlicensed {
		return nil, odata.NewError(http.StatusForbidden, "Forbidden", "The user has no Teams.")
	}
	return a, nil
}

func getPresence(c *call) (odata.Response, error) {
	a, err := c.targetUser()
	if err != nil {
		return odata.Response{}, err
	}
	body := c.s.presences[a].json(a.ID, c.Now, a == c.User)
	body["@odata.context"] = c.Context(fmt.Sprintf("users('%s')/presence/$entity", a.ID))
	return odata.Response{Status: http.StatusOK, Body: body}, nil
}

func getPresences(c *call) (odata.Response, error) {
	p, err := c.Parameters(&odata.Type{Properties: odata.Properties{"ids": odata.String().Many()}})
	if err != nil {
		return odata.Response{}, err
	}
	ids, ok := p["ids"].([]any)
	if !ok || len(ids) == 0 || len(ids) > 650 {
		return odata.Response{}, odata.BadRequest("The parameter 'ids' must have 1 to 650 items.")
	}
	value := []map[string]any{}
	for _, v := range ids {
		id, _ := v.(string)
		if uuid.Validate(id) != nil {
			return odata.Response{}, odata.BadRequest("Invalid user id '%s': an object id is expected.", id)
		}
		if a := c.s.directory.ByID(id); a == nil || a.Tenant != c.User.Tenant || c.s.presences[a].unlicensed {
			value = append(value, unknownPresence(id))
		} else {
			value = append(value, c.s.presences[a].json(a.ID, c.Now, a == c.User))
		}
	}
	return odata.Response{Status: http.StatusOK, Body: map[string]any{"@odata.context": c.Context("Collection(microsoft.graph.presence)"), "value": value}}, nil
}

// parameters is the type of the parameters of an action.
func parameters(names ...string) *odata.Type {
	t := &odata.Type{Name: "parameters", Properties: odata.Properties{}}
	for _, name := range names {
		t.Properties[name] = odata.String()
	}
	return t
}

// ownPresence returns the presence that an action changes: only the signed-in user's own can be changed.
func (c *call) ownPresence() (*presence, error) {
	a, err := c.targetUser()
	if err != nil {
		return nil, err
	}
	if a != c.User {
		return nil, odata.NewError(http.StatusForbidden, "Forbidden", "The presence of another user cannot be changed.")
	}
	p := c.s.presences[a]
	p.version++
	c.s.announce(a)
	return p, nil
}

// session parses the parameters that setPresence and setUserPreferredPresence share.
func (c *call) session(p map[string]any, pairs [][2]string, fallback func(availability string) time.Duration) (Session, error) {
	availability, _ := p["availability"].(string)
	activity, _ := p["activity"].(string)
	s := Session{Availability: availability, Activity: activity, Set: c.Now}
	if !slices.Contains(pairs, [2]string{availability, activity}) {
		return s, odata.BadRequest("The combination of availability '%s' and activity '%s' is not supported.", availability, activity)
	}
	lasts := fallback(availability)
	if d := p["expirationDuration"]; d != nil {
		text, _ := d.(string)
		var ok bool
		if lasts, ok = odata.ParseDuration(text); !ok {
			return s, odata.BadRequest("Cannot convert the literal '%v' to the expected type 'Edm.Duration'.", d)
		}
	}
	s.Expires = c.Now.Add(lasts)
	return s, nil
}

// setPresence: see https://learn.microsoft.com/graph/api/presence-setpresence.
func setPresence(c *call) (odata.Response, error) {
	params, err := c.Parameters(parameters("sessionId", "availability", "activity", "expirationDuration"))
	if err != nil {
		return odata.Response{}, err
	}
	id, err := sessionID(params)
	if err != nil {
		return odata.Response{}, err
	}
	s, err := c.session(params, [][2]string{
		{"Available", "Available"}, {"Busy", "InACall"}, {"Busy", "InAConferenceCall"}, {"Away", "Away"}, {"DoNotDisturb", "Presenting"},
	}, func(string) time.Duration { return 5 * time.Minute })
	if err != nil {
		return odata.Response{}, err
	}
	if lasts := s.Expires.Sub(s.Set); lasts < 5*time.Minute || lasts > 4*time.Hour {
		return odata.Response{}, odata.BadRequest("The expirationDuration must be from PT5M to PT4H.")
	}
	p, err := c.ownPresence()
	if err != nil {
		return odata.Response{}, err
	}
	if p.sessions == nil {
		p.sessions = map[string]Session{}
	}
	p.sessions[id] = s
	return odata.Response{Status: http.StatusOK}, nil
}

func sessionID(params map[string]any) (string, error) {
	id, _ := params["sessionId"].(string)
	if uuid.Validate(id) != nil {
		return "", odata.BadRequest("The sessionId must be the id of the application.")
	}
	return id, nil
}

func clearPresence(c *call) (odata.Response, error) {
	params, err := c.Parameters(parameters("sessionId"))
	if err != nil {
		return odata.Response{}, err
	}
	id, err := sessionID(params)
	if err != nil {
		return odata.Response{}, err
	}
	p, err := c.ownPresence()
	if err != nil {
		return odata.Response{}, err
	}
	delete(p.sessions, id)
	return odata.Response{Status: http.StatusOK}, nil
}

// setPreferredPresence: see https://learn.microsoft.com/graph/api/presence-setuserpreferredpresence.
func setPreferredPresence(c *call) (odata.Response, error) {
	params, err := c.Parameters(parameters("availability", "activity", "expirationDuration"))
	if err != nil {
		return odata.Response{}, err
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
		return odata.Response{}, err
	}
	p, err := c.ownPresence()
	if err != nil {
		return odata.Response{}, err
	}
	p.preferred = s
	return odata.Response{Status: http.StatusOK}, nil
}

func clearPreferredPresence(c *call) (odata.Response, error) {
	if _, err := c.Parameters(parameters()); err != nil {
		return odata.Response{}, err
	}
	p, err := c.ownPresence()
	if err != nil {
		return odata.Response{}, err
	}
	p.preferred = Session{}
	return odata.Response{Status: http.StatusOK}, nil
}

// setStatusMessage: see https://learn.microsoft.com/graph/api/presence-setstatusmessage.
func setStatusMessage(c *call) (odata.Response, error) {
	params, err := c.Parameters(&odata.Type{Properties: odata.Properties{"statusMessage": presenceType().Properties["statusMessage"]}})
	if err != nil {
		return odata.Response{}, err
	}
	given, ok := params["statusMessage"].(map[string]any)
	if !ok {
		return odata.Response{}, odata.BadRequest("The parameter 'statusMessage' must be an object.")
	}
	message, _ := given["message"].(map[string]any)
	content, ok := message["content"].(string)
	if given["message"] != nil && (!ok || message["contentType"] != "text") {
		return odata.Response{}, odata.BadRequest("The message must have a content of the contentType 'text'.")
	}
	var expires time.Time
	if v := given["expiryDateTime"]; v != nil {
		expiry, err := odata.ParseDateTime("expiryDateTime", v)
		if err != nil {
			return odata.Response{}, err
		}
		expires = expiry.Instant()
	}
	p, err := c.ownPresence()
	if err != nil {
		return odata.Response{}, err
	}
	p.teams.Message, p.teams.MessagePublished, p.teams.MessageExpires = content, c.Now, expires
	return odata.Response{Status: http.StatusOK}, nil
}
