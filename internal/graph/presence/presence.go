// Package presence is a client for the presence of users in Microsoft Teams.
package presence

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/communications"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
)

// A Presence holds the availability and status of a user as Teams shows them. Null or missing values are zero, or nil for the
// booleans.
type Presence struct {
	ID                 string
	Availability       string // one of Availabilities, or one that Microsoft added since
	Activity           string // one of Activities, or one that Microsoft added since
	Message            Message
	OutOfOffice        *bool
	OutOfOfficeMessage string
	WorkLocation       string // office, remote, timeOff or unspecified
	WorkLocationSource string
	Place              string
}

// Unknown is the availability and the activity of a user that Teams does not know.
const Unknown = "PresenceUnknown"

// Availabilities returns the values that Microsoft has documented, now and before.
//
// https://learn.microsoft.com/graph/api/resources/presence
func Availabilities() []string {
	return []string{
		"Available", "AvailableIdle", "Away", "BeRightBack", "Busy", "BusyIdle", "DoNotDisturb", "Focusing", "InACall", "InAMeeting", "Offline", "Presenting",
		Unknown,
	}
}

// Activities returns the values that Microsoft has documented, now and before.
func Activities() []string {
	return []string{
		"Available", "AvailableInactive", "Away", "BeRightBack", "Busy", "BusyInactive", "DoNotDisturb", "Focusing", "InACall", "InAConferenceCall", "Inactive",
		"InAMeeting", "Offline", "OffWork", "OutOfOffice", Unknown, "Presenting", "UrgentInterruptionsOnly",
	}
}

// InCall reports whether the user is in a call; nil if that is not known. InAMeeting is not a call: Teams takes it from the calendar,
// whether or not the user has joined. Presenting is one.
//
// https://learn.microsoft.com/microsoftteams/presence-admins
func (p *Presence) InCall() *bool {
	in := []string{"InACall", "InAConferenceCall", "Presenting"}
	call := slices.Contains(in, p.Activity) || slices.Contains(in, p.Availability)
	if !call && (p.Activity == Unknown || !slices.Contains(Activities(), p.Activity)) {
		return nil
	}
	return &call
}

// presenceDTO is the part of a presence that is read. Null or missing parts stay zero.
type presenceDTO struct {
	ID           string           `json:"id"`
	Availability string           `json:"availability"`
	Activity     string           `json:"activity"`
	Message      statusMessageDTO `json:"statusMessage"`
	OutOfOffice  struct {
		Is      *bool  `json:"isOutOfOffice"`
		Message string `json:"message"`
	} `json:"outOfOfficeSettings"`
	Location struct {
		Type   string `json:"workLocationType"`
		Source string `json:"source"`
		Place  string `json:"placeId"`
	} `json:"workLocation"`
}

// presence returns an error for an answer with neither an availability nor an activity.
func (d presenceDTO) presence(op string) (*Presence, error) {
	if d.Availability == "" && d.Activity == "" {
		return nil, graph.Incomplete(op, "availability")
	}
	return &Presence{
		ID: d.ID, Availability: graph.Spell(d.Availability, Availabilities()), Activity: graph.Spell(d.Activity, Activities()),
		Message:     d.Message.message(),
		OutOfOffice: d.OutOfOffice.Is, OutOfOfficeMessage: d.OutOfOffice.Message,
		WorkLocation: d.Location.Type, WorkLocationSource: d.Location.Source, Place: d.Location.Place,
	}, nil
}

// ReadOwn returns the presence of the signed-in user.
func ReadOwn(ctx context.Context, g *graph.Client) (*Presence, error) {
	const op = "read the status"
	d, err := graph.Get[presenceDTO](ctx, g, op, g.Me().Presence().ToGetRequestInformation, nil)
	if err != nil {
		return nil, explainOwn(g, err, "Presence.Read", "Presence.Read.All")
	}
	return d.presence(op)
}

// explainOwn is explain for the signed-in user's own presence.
func explainOwn(g *graph.Client, err error, scope string, higher ...string) error {
	if graph.Is(err, graph.NotFound) {
		return graph.Explain(err, "Microsoft Teams does not know you; does your account have a Teams license?")
	}
	return explain(g, err, scope, higher...)
}

// explain returns an error that explains in the user's words why Teams refuses although a sufficient scope is granted.
func explain(g *graph.Client, err error, scope string, higher ...string) error {
	if graph.Is(err, graph.PermissionMissing) && g.Granted(graph.Permission{Scope: scope, Alternatives: higher}) {
		return graph.Explain(err, "Microsoft Teams refuses; does your account have a Teams license?")
	}
	return err
}

// maxIDs is the maximum number of users in one request.
//
// https://learn.microsoft.com/graph/api/cloudcommunications-getpresencesbyuserid
const maxIDs = 650

// Read returns the presence of another user, by their id in lower case. All that are read at about the same time are read in one
// request.
func Read(ctx context.Context, g *graph.Client, id string) (*Presence, error) {
	const op = "read the status of others"
	type result struct {
		presence *Presence
		err      error
	}
	r, err := graph.Batch(ctx, g, op, id, func(ctx context.Context, ids []string) (map[string]result, error) {
		found := map[string]result{}
		for some := range slices.Chunk(ids, maxIDs) {
			body := communications.NewGetPresencesByUserIdPostRequestBody()
			body.SetIds(some)
			r, err := communications.NewGetPresencesByUserIdRequestBuilderInternal(map[string]string{}, g.Adapter()).ToPostRequestInformation(ctx, body, nil)
			if err != nil {
				return nil, err
			}
			page, err := graph.List[presenceDTO](ctx, g, op, r)
			if err != nil {
				return nil, explain(g, err, "Presence.Read.All")
			}
			for _, d := range page { // an incomplete presence fails only the callers that read it
				p, err := d.presence(op)
				found[strings.ToLower(d.ID)] = result{p, err}
			}
		}
		return found, nil
	})
	if err != nil {
		return nil, err
	}
	return r.presence, r.err
}

// ownID returns the id of the signed-in user: Graph takes changes of the presence only below it.
func ownID(ctx context.Context, g *graph.Client) (string, error) {
	if err := directory.RequireWork(ctx, g, "no presence"); err != nil {
		return "", err
	}
	u, err := directory.SignedIn(ctx, g)
	return u.ID, err
}

// A Message is a status message; the zero one is none.
type Message struct {
	Text      string
	Published time.Time // zero: not known
	Expiry    time.Time // zero: it stays, or not known
}

// MaxMessage is the maximum length of a status message, in characters.
//
// https://learn.microsoft.com/graph/api/presence-setstatusmessage
const MaxMessage = 280

// At returns the message at one moment: none where it has expired.
func (m Message) At(now time.Time) Message {
	if !m.Expiry.IsZero() && !now.Before(m.Expiry) {
		return Message{}
	}
	return m
}

// Data returns the message as it answers the request that set it.
func (m Message) Data() any {
	return map[string]any{"status_message": m.Text, "expiry": graph.NullIfZero(m.Expiry)}
}

// statusMessageDTO is Graph's presenceStatusMessage. Null or missing parts stay zero.
type statusMessageDTO struct {
	Message   struct{ Content string } `json:"message"`
	Published string                   `json:"publishedDateTime"`
	Expiry    graph.DateTimeTimeZone   `json:"expiryDateTime"`
}

// message returns the message. Unreadable parts are zero.
func (d statusMessageDTO) message() Message {
	// Teams marks a text that it shows to people who write to the user.
	m := Message{Text: strings.TrimSpace(strings.ReplaceAll(d.Message.Content, "<pinnednote></pinnednote>", ""))}
	if m.Text == "" {
		return m
	}
	if published, err := time.Parse(time.RFC3339, d.Published); err == nil {
		m.Published = published
	}
	// In Teams, a message without an expiry expires in the year 9999.
	if expiry, err := d.Expiry.Time(); err == nil && expiry.Year() < 9999 {
		m.Expiry = expiry
	}
	return m
}
