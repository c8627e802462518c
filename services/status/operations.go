// Package status has the operations of the signed-in user's presence in Teams.
package status

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// The names of the operations that entities use.
const (
	Update          = "update_user_status"
	UpdatePreferred = "update_user_preferred_status"
	ClearPreferred  = "clear_preferred_status"
	SetMessage      = "set_status_message"
)

// permission returns the permission that every operation needs.
func permission() graph.Permission {
	return graph.Permission{
		Scope:   "Presence.ReadWrite",
		Purpose: "sets your presence and your status message",
		Impact:  "your presence is shown but cannot be set",
	}
}

// Operations returns the operations of one's own presence. Each of them is idempotent. The keeper repeats sessions.
func Operations(keeper *Keeper) []services.Operation {
	permissions := []graph.Permission{permission()}
	return append([]services.Operation{
		{
			Name: Update,
			Doc: "Sets your presence as if reported by a device. Teams shows the highest-ranking of all reports, in the order " +
				"DoNotDisturb, Busy, Available, Away; a change can take a few minutes to appear. Available changes to Away within ten minutes. " +
				"Only these combinations of availability and activity are possible: Available and Available, Busy and InACall, Busy and " +
				"InAConferenceCall, Away and Away, DoNotDisturb and Presenting. With keep, the bridge repeats the report every four minutes, " +
				"also after a restart, until it expires, clear_status withdraws it, or another update_user_status replaces it. For this " +
				"the sensor must read your presence. graph2mqtt call does not support keep.",
			Permissions: permissions,
			Example:     `{"availability": "Busy", "activity": "InACall", "expiration_duration": "1h"}`,
			Returns:     presenceResult(),
			New:         func() services.Request { return &UpdateUserStatus{keeper: keeper} },
		},
		{
			Name: UpdatePreferred,
			Doc: "Shows an availability regardless of what you are doing, as if you had chosen it in Teams. It takes effect only while you are signed in " +
				"to Teams on some device, or a presence set with update_user_status applies; otherwise you are Offline.",
			Permissions: permissions,
			Example:     `{"availability": "DoNotDisturb", "expiration_duration": "90m"}`,
			Returns:     presenceResult(),
			New:         func() services.Request { return new(UpdateUserPreferredStatus) },
		},
		{
			Name:        "clear_status",
			Doc:         "Withdraws the presence that update_user_status reported.",
			Permissions: permissions,
			Example:     `{}`,
			Returns:     presenceResult(),
			New:         func() services.Request { return &ClearStatus{keeper: keeper} },
		},
		{
			Name:        ClearPreferred,
			Doc:         "Clears the preferred status, so that Teams decides again.",
			Permissions: permissions,
			Example:     `{}`,
			Returns:     presenceResult(),
			New:         func() services.Request { return new(ClearPreferredStatus) },
		},
		{
			Name:        SetMessage,
			Doc:         "Sets the status message, or clears it with an empty one.",
			Permissions: permissions,
			Example:     `{"message": "In the workshop", "expiry": "2026-12-01T17:00:00"}`,
			Returns:     messageResult(),
			New:         func() services.Request { return new(SetStatusMessage) },
		},
	}, locationOperations(permissions)...)
}

// presenceResult documents the response of operations that set a presence.
func presenceResult() []schema.Field {
	return []schema.Field{
		{Key: "availability", Type: "text", Doc: "Availability that was set; null: none."},
		{Key: "activity", Type: "text", Doc: "Activity that was set; null: none."},
		{Key: "until", Type: "time", Doc: "When it expires; null: nothing was set."},
	}
}

// messageResult documents the response of SetStatusMessage.
func messageResult() []schema.Field {
	return []schema.Field{
		{Key: "status_message", Type: "text", Doc: "The message."},
		{Key: "expiry", Type: "time", Doc: "When it disappears; null: never."},
	}
}

// UpdateUserStatus reports a presence as this program's own session.
type UpdateUserStatus struct {
	keeper *Keeper

	Availability string  `json:"availability" required:"true" doc:"How available you are." enum:"Available,Busy,Away,DoNotDisturb"`
	Activity     string  `json:"activity" required:"true" doc:"Your activity. Not every activity is possible with every availability." enum:"Available,InACall,InAConferenceCall,Away,Presenting"`
	Expiration   *string `json:"expiration_duration" doc:"For how long, such as PT1H or 1h, from 5 minutes to 4 hours, with keep to 12 hours. Default: PT5M."`
	Keep         bool    `json:"keep" doc:"Repeat the report until it expires, so that Available does not change to Away. Needs an expiration_duration. Default: false."`
}

// Validate returns an error for combinations and durations that Graph would refuse.
func (u *UpdateUserStatus) Validate() error {
	if fit := presence.AllowedActivities(u.Availability); !slices.Contains(fit, u.Activity) {
		return graph.Invalid("activity: want %s with the availability %s, not %s", strings.Join(fit, " or "), u.Availability, u.Activity)
	}
	_, err := u.duration()
	return err
}

func (u *UpdateUserStatus) duration() (time.Duration, error) {
	longest, limits := maxSession, "PT5M to PT4H, with keep to PT12H"
	if u.Keep {
		longest, limits = maxKept, "PT5M to PT12H"
	}
	switch {
	case u.Expiration == nil && u.Keep:
		return 0, graph.Invalid("expiration_duration is required with keep: want %s", limits)
	case u.Expiration == nil:
		return minSession, nil
	}
	d, err := services.ParseDuration("expiration_duration", *u.Expiration)
	if err == nil && (d < minSession || d > longest) {
		return 0, graph.Invalid("expiration_duration: want %s, not %q", limits, *u.Expiration)
	}
	return d, err
}

// Execute implements services.Request.
func (u *UpdateUserStatus) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	duration, err := u.duration()
	if err != nil {
		return nil, err
	}
	set := presence.Session{Availability: u.Availability, Activity: u.Activity, Until: a.Now.Truncate(time.Second).Add(duration), Kept: u.Keep}
	err = u.keeper.decide(ctx, set, func() error { return presence.SetSession(ctx, g, u.Availability, u.Activity, session(duration)) })
	if err != nil {
		return nil, err
	}
	return set, nil
}

// UpdateUserPreferredStatus sets the preferred presence.
type UpdateUserPreferredStatus struct {
	Availability string  `json:"availability" required:"true" doc:"What to show." enum:"Available,Busy,DoNotDisturb,BeRightBack,Away,Offline"`
	Expiration   *string `json:"expiration_duration" doc:"For how long, such as PT8H or 8h. Default, as in Teams: one day for Busy and DoNotDisturb, seven days for the others."`
}

// Validate returns an error for values that are no durations.
func (u *UpdateUserPreferredStatus) Validate() error {
	_, err := u.duration()
	return err
}

func (u *UpdateUserPreferredStatus) duration() (time.Duration, error) {
	switch {
	case u.Expiration != nil:
		return services.ParseDuration("expiration_duration", *u.Expiration)
	case u.Availability == "Busy" || u.Availability == "DoNotDisturb":
		return 24 * time.Hour, nil
	}
	return 7 * 24 * time.Hour, nil
}

// Execute implements services.Request.
func (u *UpdateUserPreferredStatus) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	duration, err := u.duration()
	if err != nil {
		return nil, err
	}
	if err := presence.SetPreferred(ctx, g, u.Availability, duration); err != nil {
		return nil, err
	}
	return presence.Preferred{Availability: u.Availability, Until: a.Now.Truncate(time.Second).Add(duration)}, nil
}

// ClearStatus ends this program's own session.
type ClearStatus struct{ keeper *Keeper }

// Execute implements services.Request.
func (c *ClearStatus) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := c.keeper.decide(ctx, presence.Session{}, func() error { return presence.ClearSession(ctx, g) }); err != nil {
		return nil, err
	}
	return presence.Session{}, nil
}

// ClearPreferredStatus clears the preferred presence, so that Teams decides again.
type ClearPreferredStatus struct{}

// Execute implements services.Request.
func (*ClearPreferredStatus) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if err := presence.ClearPreferred(ctx, g); err != nil {
		return nil, err
	}
	return presence.Preferred{}, nil
}

// SetStatusMessage sets or clears the status message.
type SetStatusMessage struct {
	Message string  `json:"message" required:"true" doc:"The message as plain text, at most 280 characters. Empty: none."`
	Expiry  *string `json:"expiry" doc:"When the message disappears, in the account's time zone unless an offset is given. Default: never."`
}

// Validate returns an error for values that Graph would refuse.
func (s *SetStatusMessage) Validate() error {
	if n := utf8.RuneCountInString(s.text()); n > presence.MaxMessage {
		return graph.Invalid("message: want at most %d characters, not %d", presence.MaxMessage, n)
	}
	if s.Expiry == nil {
		return nil
	}
	if s.text() == "" {
		return graph.Invalid("expiry: there is no message that could expire")
	}
	_, err := services.ParseTime("expiry", *s.Expiry, time.UTC)
	return err
}

func (s *SetStatusMessage) text() string { return strings.TrimSpace(s.Message) }

// Execute implements services.Request.
func (s *SetStatusMessage) Execute(ctx context.Context, g *graph.Client, a services.Attempt) (any, error) {
	set := presence.Message{Text: s.text()}
	if s.Expiry != nil {
		expiry, err := services.ParseTime("expiry", *s.Expiry, a.Now.Location())
		if err != nil {
			return nil, err
		}
		if !expiry.After(a.Now) {
			return nil, graph.Invalid("expiry: want a time in the future, not %s", expiry.Format(time.RFC3339))
		}
		set.Expiry = expiry.In(a.Now.Location())
	}
	// A message that is too long for a state of Home Assistant is shown shortened: to set what is shown is no change.
	if s.Expiry == nil && utf8.RuneCountInString(set.Text) == services.MaxState && strings.HasSuffix(set.Text, "…") {
		p, err := presence.ReadOwn(ctx, g)
		if err != nil {
			return nil, err
		}
		if services.Truncate(p.Message.Text, services.MaxState) == set.Text {
			return p.Message, nil
		}
	}
	if err := presence.SetMessage(ctx, g, set); err != nil {
		return nil, err
	}
	if set.Text != "" {
		set.Published = a.Now
	}
	return set, nil
}
