// Package mailbox is a client for the settings of the signed-in user's mailbox in Microsoft Graph.
package mailbox

import (
	"context"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
)

// The modes that Microsoft documents.
const (
	Disabled      = "disabled"
	AlwaysEnabled = "alwaysEnabled"
	Scheduled     = "scheduled"
)

// Modes returns the known modes, in Microsoft's spelling.
func Modes() []string { return []string{Disabled, AlwaysEnabled, Scheduled} }

// Audiences returns the known sets of outside senders who get a reply, in Microsoft's spelling.
func Audiences() []string { return []string{"none", "contactsOnly", "all"} }

// AutomaticReplies is the automaticRepliesSetting of a mailbox.
type AutomaticReplies struct {
	Mode     string // one of Modes, or one that Microsoft added since; "" is unknown
	Audience string // one of Audiences, or one that Microsoft added since; "" is unknown
	Internal string // HTML
	External string // HTML
	Start    time.Time
	End      time.Time // zero is unknown, as in Start
}

// Equal reports whether s and o are equal.
func (s AutomaticReplies) Equal(o AutomaticReplies) bool {
	return s.Mode == o.Mode && s.Audience == o.Audience && s.Internal == o.Internal && s.External == o.External &&
		s.Start.Equal(o.Start) && s.End.Equal(o.End)
}

// InLocation returns s with its times in loc.
func (s AutomaticReplies) InLocation(loc *time.Location) AutomaticReplies {
	for _, t := range []*time.Time{&s.Start, &s.End} {
		if !t.IsZero() {
			*t = t.In(loc)
		}
	}
	return s
}

// Data returns Attributes, which answer a request that changed s.
func (s AutomaticReplies) Data() any { return s.Attributes() }

// Attributes returns s as it is shown: the replies as text, unknown values as nil.
func (s AutomaticReplies) Attributes() map[string]any {
	return map[string]any{
		"mode":              graph.NullIfZero(s.Mode),
		"internal_reply":    htmltext.Text(s.Internal),
		"external_reply":    htmltext.Text(s.External),
		"external_audience": graph.NullIfZero(s.Audience),
		"start":             graph.NullIfZero(s.Start),
		"end":               graph.NullIfZero(s.End),
	}
}

// HasUpcomingSchedule reports whether a stored schedule that a user made begins after now.
func (s AutomaticReplies) HasUpcomingSchedule(now time.Time) bool {
	return s.Start.After(now) && s.End.After(s.Start) && !s.IsPlaceholderSchedule(now)
}

// IsPlaceholderSchedule reports whether no user made the schedule. For a mailbox without one Exchange returns the 24 hours from the
// next full hour, computed each time: activating them would leave the replies off when a user switches them on.
func (s AutomaticReplies) IsPlaceholderSchedule(now time.Time) bool {
	next := now.UTC().Truncate(time.Hour).Add(time.Hour)
	return s.Mode != Scheduled && s.End.Sub(s.Start) == 24*time.Hour && !s.Start.After(next) && s.Start.Equal(s.Start.Truncate(time.Hour))
}

// ReadAutomaticReplies returns the setting with its times in loc.
func ReadAutomaticReplies(ctx context.Context, g *graph.Client, loc *time.Location) (AutomaticReplies, error) {
	const op = "read the automatic replies"
	d, err := graph.Get[settingsDTO](ctx, g, op, g.Me().MailboxSettings().ToGetRequestInformation, &users.ItemMailboxSettingsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMailboxSettingsRequestBuilderGetQueryParameters{Select: []string{"automaticRepliesSetting"}},
	})
	switch {
	case err != nil:
		return AutomaticReplies{}, err
	case valueOrEmpty(d.Setting.Status) == "":
		return AutomaticReplies{}, graph.Incomplete(op, "status")
	}
	return d.setting(loc), nil
}

// WriteAutomaticReplies changes what differs between old and s, and returns what is stored then, with its times in loc.
func WriteAutomaticReplies(ctx context.Context, g *graph.Client, old, s AutomaticReplies, loc *time.Location) (AutomaticReplies, error) {
	if s.Equal(old) {
		return old, nil
	}
	m := models.NewAutomaticRepliesSetting()
	if s.Mode != old.Mode {
		mode, err := models.ParseAutomaticRepliesStatus(s.Mode)
		if err != nil || mode == nil {
			return AutomaticReplies{}, graph.Invalid("mode: unknown value %q", s.Mode)
		}
		m.SetStatus(mode.(*models.AutomaticRepliesStatus))
	}
	if s.Audience != old.Audience {
		audience, err := models.ParseExternalAudienceScope(s.Audience)
		if err != nil || audience == nil {
			return AutomaticReplies{}, graph.Invalid("external_audience: unknown value %q", s.Audience)
		}
		m.SetExternalAudience(audience.(*models.ExternalAudienceScope))
	}
	if s.Internal != old.Internal {
		m.SetInternalReplyMessage(&s.Internal)
	}
	if s.External != old.External {
		m.SetExternalReplyMessage(&s.External)
	}
	// Exchange checks the end against the start that it is given, and a new mode against both, so they go together.
	if !s.Start.Equal(old.Start) || !s.End.Equal(old.End) || s.Mode == Scheduled && s.Mode != old.Mode {
		m.SetScheduledStartDateTime(graph.FormatUTC(s.Start))
		m.SetScheduledEndDateTime(graph.FormatUTC(s.End))
	}
	var settings models.MailboxSettingsable = models.NewMailboxSettings()
	settings.SetAutomaticRepliesSetting(m)
	d, err := graph.Send[settingsDTO](ctx, g, "set the automatic replies", g.Me().MailboxSettings().ToPatchRequestInformation, settings, nil)
	if err != nil {
		return AutomaticReplies{}, err
	}
	if !d.complete() {
		stored, err := ReadAutomaticReplies(ctx, g, loc)
		return stored, graph.Unconfirmed(err)
	}
	return d.setting(loc), nil
}

// settingsDTO is the part of a mailboxSettings that is read. Null or missing parts stay nil.
type settingsDTO struct {
	Setting struct {
		Status   *string                 `json:"status"`
		Audience *string                 `json:"externalAudience"`
		Internal *string                 `json:"internalReplyMessage"`
		External *string                 `json:"externalReplyMessage"`
		Start    *graph.DateTimeTimeZone `json:"scheduledStartDateTime"`
		End      *graph.DateTimeTimeZone `json:"scheduledEndDateTime"`
	} `json:"automaticRepliesSetting"`
}

func (d settingsDTO) complete() bool {
	s := d.Setting
	return s.Status != nil && s.Audience != nil && s.Internal != nil && s.External != nil && s.Start != nil && s.End != nil
}

func (d settingsDTO) setting(loc *time.Location) AutomaticReplies {
	s := d.Setting
	return AutomaticReplies{
		Mode:     graph.Spell(valueOrEmpty(s.Status), Modes()),
		Audience: graph.Spell(valueOrEmpty(s.Audience), Audiences()),
		Internal: valueOrEmpty(s.Internal),
		External: valueOrEmpty(s.External),
		Start:    instant(s.Start, loc),
		End:      instant(s.End, loc),
	}
}

func valueOrEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// instant returns the time in loc, or the zero time if it cannot be read: the rest of the setting is shown nevertheless.
func instant(d *graph.DateTimeTimeZone, loc *time.Location) time.Time {
	if d == nil {
		return time.Time{}
	}
	t, err := d.Time()
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.In(loc)
}
