// Package autoreply has the operations of the automatic replies of the signed-in user's mailbox.
package autoreply

import (
	"context"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Operations returns the operations of the automatic replies. Each of them is idempotent.
func Operations() []services.Operation {
	permissions := []graph.Permission{{
		Scope:   "MailboxSettings.ReadWrite",
		Purpose: "sets the automatic replies",
		Impact:  "the automatic replies are shown but cannot be set",
	}}
	return []services.Operation{
		{
			Name: "enable",
			Doc: "Switches automatic replies on: from start to end if these are given, otherwise from now on until switched off. " +
				"If a future schedule is stored, that schedule is activated instead.",
			Permissions: permissions,
			Example:     `{"internal_reply": "I am back on Monday.", "start": "2026-12-21", "end": "2027-01-04"}`,
			Returns:     SettingFields(),
			New:         func() services.Request { return new(Enable) },
		},
		{
			Name:        "disable",
			Doc:         "Switches automatic replies off. The texts and the schedule stay stored.",
			Permissions: permissions,
			Example:     `{}`,
			Returns:     SettingFields(),
			New:         func() services.Request { return new(Disable) },
		},
		{
			Name: "update",
			Doc: "Changes only the given fields. A start after the stored end moves the end as well, so that the schedule keeps " +
				"its length.",
			Permissions: permissions,
			Example:     `{"external_audience": "contactsOnly"}`,
			Returns:     SettingFields(),
			New:         func() services.Request { return new(Update) },
		},
	}
}

// SettingFields documents [mailbox.AutomaticReplies.Attributes], which every operation returns as its response.
func SettingFields() []schema.Field {
	return []schema.Field{
		{Key: "mode", Type: "text", Doc: "Mode: `disabled`, `alwaysEnabled` or `scheduled`."},
		{Key: "internal_reply", Type: "text", Doc: "Reply to people in your organization, as text."},
		{Key: "external_reply", Type: "text", Doc: "Reply to everybody else, as text."},
		{Key: "external_audience", Type: "text", Doc: "Who outside of your organization gets a reply: `none`, `contactsOnly` or `all`."},
		{Key: "start", Type: "time", Doc: "Start of the schedule."},
		{Key: "end", Type: "time", Doc: "End of the schedule."},
	}
}

// Fields has what a request may change beside the mode.
type Fields struct {
	Internal *string `json:"internal_reply" doc:"Reply to people in your organization, as text or HTML. Default: the stored one."`
	External *string `json:"external_reply" doc:"Reply to everybody else, as text or HTML. Default: the stored one."`
	Audience *string `json:"external_audience" doc:"Who outside of your organization gets a reply. Default: as stored." enum:"none,contactsOnly,all"`
	Start    *string `json:"start" doc:"Start of the schedule: a time, in the account's time zone unless an offset is given, or a date, which means midnight."`
	End      *string `json:"end" doc:"End of the schedule, like start. A date is not included."`
}

// Validate returns an error for values that are no times.
func (f *Fields) Validate() error {
	if f.Start != nil {
		if _, err := services.ParseTimeOrDate("start", *f.Start, time.UTC); err != nil {
			return err
		}
	}
	if f.End != nil {
		if _, err := services.ParseTimeOrDate("end", *f.End, time.UTC); err != nil {
			return err
		}
	}
	return nil
}

// change sets the given fields in s.
func (f *Fields) change(s *mailbox.AutomaticReplies, loc *time.Location) (err error) {
	if f.Internal != nil {
		s.Internal = markup(s.Internal, *f.Internal)
	}
	if f.External != nil {
		s.External = markup(s.External, *f.External)
	}
	if f.Audience != nil {
		s.Audience = *f.Audience
	}
	if f.Start != nil {
		if s.Start, err = services.ParseTimeOrDate("start", *f.Start, loc); err != nil {
			return err
		}
	}
	if f.End != nil {
		if s.End, err = services.ParseTimeOrDate("end", *f.End, loc); err != nil {
			return err
		}
	}
	if (f.Start != nil || f.End != nil) && !s.End.After(s.Start) {
		return graph.Invalid("end: want a time after the start, %s, not %s", s.Start.Format(time.RFC3339), s.End.Format(time.RFC3339))
	}
	return nil
}

// Enable switches automatic replies on.
type Enable struct{ Fields }

// Validate returns an error for a schedule with only one end.
func (e *Enable) Validate() error {
	switch {
	case e.Start != nil && e.End == nil:
		return graph.Invalid("end: want both start and end, or neither of them")
	case e.Start == nil && e.End != nil:
		return graph.Invalid("start: want both start and end, or neither of them")
	}
	return e.Fields.Validate()
}

// Execute implements services.Request.
func (e *Enable) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	return modify(ctx, g, c, func(s *mailbox.AutomaticReplies) error {
		if e.Start != nil || s.HasUpcomingSchedule(c.Now) {
			s.Mode = mailbox.Scheduled
		} else {
			s.Mode = mailbox.AlwaysEnabled
		}
		if err := e.change(s, c.Now.Location()); err != nil {
			return err
		}
		if e.End != nil && !s.End.After(c.Now) {
			return graph.Invalid("end: want a time in the future, not %s", s.End.Format(time.RFC3339))
		}
		return nil
	})
}

// Disable switches automatic replies off.
type Disable struct{}

// Execute implements services.Request.
func (*Disable) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	return modify(ctx, g, c, func(s *mailbox.AutomaticReplies) error {
		s.Mode = mailbox.Disabled
		return nil
	})
}

// Update changes the given fields.
type Update struct {
	Mode *string `json:"mode" doc:"Whether replies are sent: never, always, or from start to end." enum:"disabled,alwaysEnabled,scheduled"`
	Fields
}

// Validate returns an error for a request without anything to change.
func (u *Update) Validate() error {
	if *u == (Update{}) {
		return graph.Invalid("want at least one of mode, internal_reply, external_reply, external_audience, start, end")
	}
	return u.Fields.Validate()
}

// Execute implements services.Request.
func (u *Update) Execute(ctx context.Context, g *graph.Client, c services.Attempt) (any, error) {
	return modify(ctx, g, c, func(s *mailbox.AutomaticReplies) error {
		if u.Mode != nil {
			s.Mode = *u.Mode
		}
		scheduling := s.Mode == mailbox.Scheduled || u.Start != nil || u.End != nil
		// The schedule that Exchange shows of a mailbox that never had one.
		if scheduling && (s.Start.IsZero() || !s.End.After(s.Start)) {
			s.Start = c.Now.Truncate(time.Second)
			s.End = s.Start.Add(24 * time.Hour)
		}
		if u.Start != nil && u.End == nil {
			start, err := services.ParseTimeOrDate("start", *u.Start, c.Now.Location())
			if err != nil {
				return err
			}
			if !start.Before(s.End) {
				s.End = start.Add(s.End.Sub(s.Start))
			}
		}
		return u.change(s, c.Now.Location())
	})
}

// modify reads the setting, changes it and writes the difference.
func modify(ctx context.Context, g *graph.Client, c services.Attempt, change func(*mailbox.AutomaticReplies) error) (any, error) {
	old, err := mailbox.ReadAutomaticReplies(ctx, g, c.Now.Location())
	if err != nil {
		return nil, err
	}
	s := old
	if err := change(&s); err != nil {
		return nil, err
	}
	return mailbox.WriteAutomaticReplies(ctx, g, old, s, c.Now.Location())
}
