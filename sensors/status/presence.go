package status

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/microsoftgraph/msgraph-sdk-go/communications"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services/status"
)

// presence is what is shown of a presence. What was null or missing is zero; of the booleans, nil.
type presence struct {
	ID                 string
	Availability       string // one of availabilities, or one that Microsoft added since
	Activity           string // one of activities, or one that Microsoft added since
	Message            status.Message
	OutOfOffice        *bool
	OutOfOfficeMessage string
	WorkLocation       string
	WorkLocationSource string
	Place              string
}

// availabilities are the values that Microsoft has documented, now and before.
//
// https://learn.microsoft.com/graph/api/resources/presence
func availabilities() []string {
	return []string{
		"Available", "AvailableIdle", "Away", "BeRightBack", "Busy", "BusyIdle", "DoNotDisturb", "Focusing", "InACall", "InAMeeting", "Offline", "Presenting",
		unknown,
	}
}

// activities are the values that Microsoft has documented, now and before.
func activities() []string {
	return []string{
		"Available", "AvailableInactive", "Away", "BeRightBack", "Busy", "BusyInactive", "DoNotDisturb", "Focusing", "InACall", "InAConferenceCall", "Inactive",
		"InAMeeting", "Offline", "OffWork", "OutOfOffice", unknown, "Presenting", "UrgentInterruptionsOnly",
	}
}

const unknown = "PresenceUnknown"

// inCall reports whether the user is in a call; nil where it is not known. InAMeeting is none: Teams takes it from the calendar,
// whether or not anybody has joined. Who presents does so in a call.
//
// https://learn.microsoft.com/microsoftteams/presence-admins
func (p *presence) inCall() any {
	in := []string{"InACall", "InAConferenceCall", "Presenting"}
	switch {
	case slices.Contains(in, p.Activity), slices.Contains(in, p.Availability):
		return true
	case p.Activity == unknown, !slices.Contains(activities(), p.Activity):
		return nil
	}
	return false
}

// differs reports whether somebody would want to know of what is new in o.
func (p *presence) differs(o *presence) bool {
	return p.Availability != o.Availability || p.Activity != o.Activity || p.Message.Text != o.Message.Text || p.WorkLocation != o.WorkLocation ||
		known(p.OutOfOffice) != known(o.OutOfOffice)
}

// answer is the part of a presence that is read. What is null or missing stays zero.
type answer struct {
	ID           string      `json:"id"`
	Availability string      `json:"availability"`
	Activity     string      `json:"activity"`
	Message      status.Told `json:"statusMessage"`
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

func (a answer) presence() *presence {
	return &presence{
		ID: a.ID, Availability: spell(a.Availability, availabilities()), Activity: spell(a.Activity, activities()),
		Message:     a.Message.Value(),
		OutOfOffice: a.OutOfOffice.Is, OutOfOfficeMessage: a.OutOfOffice.Message,
		WorkLocation: a.Location.Type, WorkLocationSource: a.Location.Source, Place: a.Location.Place,
	}
}

// spell gives a value of an enumeration the spelling that it always had: newer pages of Microsoft's begin it in lower case.
func spell(s string, values []string) string {
	if i := slices.IndexFunc(values, func(v string) bool { return strings.EqualFold(v, s) }); i >= 0 {
		return values[i]
	}
	return s
}

// own asks for the presence of the signed-in user.
func own(ctx context.Context, g *graph.Client) (*presence, error) {
	r, err := g.Me().Presence().ToGetRequestInformation(ctx, nil)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := g.Do(ctx, "read the status", r, &a); err != nil {
		return nil, err
	}
	return a.presence(), nil
}

// most is how many users Graph takes in one request.
//
// https://learn.microsoft.com/graph/api/cloudcommunications-getpresencesbyuserid
const most = 650

// others asks for the presences of several users by their ids.
func others(g *graph.Client) func(context.Context, []string) (map[string]*presence, error) {
	return func(ctx context.Context, ids []string) (map[string]*presence, error) {
		found := map[string]*presence{}
		for some := range slices.Chunk(ids, most) {
			body := communications.NewGetPresencesByUserIdPostRequestBody()
			body.SetIds(some)
			r, err := communications.NewGetPresencesByUserIdRequestBuilderInternal(map[string]string{}, g.Adapter()).ToPostRequestInformation(ctx, body, nil)
			if err != nil {
				return nil, err
			}
			answers, err := graph.List[answer](ctx, g, "read the status of others", r)
			if err != nil {
				return nil, err
			}
			for _, a := range answers {
				found[strings.ToLower(a.ID)] = a.presence()
			}
		}
		return found, nil
	}
}

// A user is somebody who is watched.
type user struct {
	ID    string
	Found time.Time // when their address was looked up
}

// find looks a user up by their address.
func find(ctx context.Context, g *graph.Client, address string, now time.Time) (user, error) {
	const op = "look up the user whose status is shown"
	r, err := g.User(address).ToGetRequestInformation(ctx, &users.UserItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: []string{"id"}},
	})
	if err != nil {
		return user{}, err
	}
	var a struct{ ID string }
	if err := g.Do(ctx, op, r, &a); err != nil {
		return user{}, err
	}
	if uuid.Validate(a.ID) != nil {
		return user{}, &graph.Error{Reason: graph.Refused, Op: op, Err: errors.New("the answer does not say")}
	}
	return user{strings.ToLower(a.ID), now}, nil
}
