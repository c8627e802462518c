// Package autoreply sets the automatic replies of the signed-in user's mailbox.
package autoreply

import (
	"context"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// The modes that Microsoft documents.
const (
	Disabled      = "disabled"
	AlwaysEnabled = "alwaysEnabled"
	Scheduled     = "scheduled"
)

// Modes are the known modes, in Microsoft's spelling.
func Modes() []string { return []string{Disabled, AlwaysEnabled, Scheduled} }

// Audiences are the known sets of outside senders who are answered, in Microsoft's spelling.
func Audiences() []string { return []string{"none", "contactsOnly", "all"} }

// Setting is the automaticRepliesSetting of a mailbox.
type Setting struct {
	Mode     string // one of Modes, or one that Microsoft added since; "" is unknown
	Audience string // one of Audiences, or one that Microsoft added since; "" is unknown
	Internal string // HTML
	External string // HTML
	Start    time.Time
	End      time.Time // zero is unknown, as in Start
}

// Equal reports whether s and o say the same.
func (s Setting) Equal(o Setting) bool {
	return s.Mode == o.Mode && s.Audience == o.Audience && s.Internal == o.Internal && s.External == o.External &&
		s.Start.Equal(o.Start) && s.End.Equal(o.End)
}

// In returns s with its times in loc.
func (s Setting) In(loc *time.Location) Setting {
	for _, t := range []*time.Time{&s.Start, &s.End} {
		if !t.IsZero() {
			*t = t.In(loc)
		}
	}
	return s
}

// Data is what a request is answered.
func (s Setting) Data() any { return s.Facts() }

// Facts are what is told of it: the replies as text, what is unknown as nil.
func (s Setting) Facts() map[string]any {
	return map[string]any{
		"mode":              known(s.Mode),
		"internal_reply":    Text(s.Internal),
		"external_reply":    Text(s.External),
		"external_audience": known(s.Audience),
		"start":             known(s.Start),
		"end":               known(s.End),
	}
}

func known[T comparable](v T) any {
	if v == *new(T) {
		return nil
	}
	return v
}

// Read asks Graph for the setting. Its times are in loc.
func Read(ctx context.Context, g *graph.Client, loc *time.Location) (Setting, error) {
	const op = "read the automatic replies"
	r, err := g.Me().MailboxSettings().ToGetRequestInformation(ctx, &users.ItemMailboxSettingsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMailboxSettingsRequestBuilderGetQueryParameters{Select: []string{"automaticRepliesSetting"}},
	})
	if err != nil {
		return Setting{}, err
	}
	var a answer
	if err := g.Do(ctx, op, r, &a); err != nil {
		return Setting{}, err
	}
	return a.setting(loc), nil
}

// write sends what differs between old and s, and returns what is then in place.
func write(ctx context.Context, g *graph.Client, old, s Setting, loc *time.Location) (Setting, error) {
	if s.Equal(old) {
		return old, nil
	}
	m := models.NewAutomaticRepliesSetting()
	if s.Mode != old.Mode {
		mode, err := models.ParseAutomaticRepliesStatus(s.Mode)
		if err != nil {
			return Setting{}, err
		}
		m.SetStatus(mode.(*models.AutomaticRepliesStatus))
	}
	if s.Audience != old.Audience {
		audience, err := models.ParseExternalAudienceScope(s.Audience)
		if err != nil {
			return Setting{}, err
		}
		m.SetExternalAudience(audience.(*models.ExternalAudienceScope))
	}
	if s.Internal != old.Internal {
		m.SetInternalReplyMessage(&s.Internal)
	}
	if s.External != old.External {
		m.SetExternalReplyMessage(&s.External)
	}
	// Exchange checks the end against the start that it is given, so they go together.
	if !s.Start.Equal(old.Start) || !s.End.Equal(old.End) {
		m.SetScheduledStartDateTime(graph.FormatUTC(s.Start))
		m.SetScheduledEndDateTime(graph.FormatUTC(s.End))
	}
	settings := models.NewMailboxSettings()
	settings.SetAutomaticRepliesSetting(m)
	r, err := g.Me().MailboxSettings().ToPatchRequestInformation(ctx, settings, nil)
	if err != nil {
		return Setting{}, err
	}
	var a answer
	if err := g.Do(ctx, "set the automatic replies", r, &a); err != nil {
		return Setting{}, err
	}
	if !a.complete() {
		return Read(ctx, g, loc)
	}
	return a.setting(loc), nil
}

// answer is the part of a mailboxSettings that is read. What is null or missing stays nil.
type answer struct {
	Setting struct {
		Status   *string                 `json:"status"`
		Audience *string                 `json:"externalAudience"`
		Internal *string                 `json:"internalReplyMessage"`
		External *string                 `json:"externalReplyMessage"`
		Start    *graph.DateTimeTimeZone `json:"scheduledStartDateTime"`
		End      *graph.DateTimeTimeZone `json:"scheduledEndDateTime"`
	} `json:"automaticRepliesSetting"`
}

func (a answer) complete() bool {
	s := a.Setting
	return s.Status != nil && s.Audience != nil && s.Internal != nil && s.External != nil && s.Start != nil && s.End != nil
}

func (a answer) setting(loc *time.Location) Setting {
	s := a.Setting
	return Setting{
		Mode:     spell(s.Status, Modes()),
		Audience: spell(s.Audience, Audiences()),
		Internal: text(s.Internal),
		External: text(s.External),
		Start:    moment(s.Start, loc),
		End:      moment(s.End, loc),
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// spell gives a value of an enumeration the documented spelling: Microsoft's own examples have "Scheduled" as well as
// "scheduled".
func spell(s *string, values []string) string {
	for _, v := range values {
		if strings.EqualFold(v, text(s)) {
			return v
		}
	}
	return text(s)
}

// moment is unknown for a zone that nobody knows: one time less to show is no reason to show nothing.
func moment(d *graph.DateTimeTimeZone, loc *time.Location) time.Time {
	if d == nil {
		return time.Time{}
	}
	t, err := d.Time()
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t.In(loc)
}
