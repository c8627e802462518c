package calendar

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
)

// all stands for each calendar of the mailbox, or for each group.
const all = "all"

// Options are the options of a calendar. They are the sensors.Source of its events.
type Options struct {
	Calendar      string   `koanf:"calendar" form:"true" doc:"The name or id of the calendar, or all for every calendar; new ones are added automatically. Default: the default calendar."`
	Except        []string `koanf:"except" doc:"With calendar: all, the names or ids of calendars to leave out."`
	SharedMailbox string   `koanf:"shared_mailbox" form:"true" doc:"The address or id of another user's or a room's mailbox that you have access to. For the calendar of a group, use type: group_calendar."`
	BasicCalendar bool     `koanf:"basic_calendar" doc:"Request only Calendars.ReadBasic, which gives no access to descriptions."`
	Meetings      bool     `koanf:"meetings" doc:"Show meeting id, passcode, lobby, presenters and recording of online meetings. Requests OnlineMeetings.Read. Work accounts only."`
	View

	offered []string // operations
}

// GroupOptions are the options of the calendar of a group. They are the sensors.Source of its events.
type GroupOptions struct {
	Group  string   `koanf:"group" form:"true" required:"true" example:"marketing@contoso.example" doc:"The id, address or name of a Microsoft 365 group that you are a member of, or all for every one; new ones are added automatically."`
	Except []string `koanf:"except" doc:"With group: all, the names, addresses or ids of groups to leave out."`
	View
}

// A View holds the options that select and show events, and the functions over their snapshot.
type View struct {
	Search             string        `koanf:"search" doc:"Show only events whose subject contains this text, ignoring case."`
	Exclude            []string      `koanf:"exclude" doc:"Leave out events whose subject matches one of these regular expressions, ignoring case."`
	SensitivityExclude []string      `koanf:"sensitivity_exclude" doc:"Leave out events of these sensitivities." enum:"normal,personal,private,confidential"`
	ShowAsExclude      []string      `koanf:"show_as_exclude" doc:"Leave out events that are shown with one of these availabilities." enum:"free,tentative,busy,oof,workingElsewhere,unknown"`
	SensitivityMask    bool          `koanf:"sensitivity_mask" doc:"Show only the times of private events, with the subject Private."`
	IncludeCancelled   bool          `koanf:"include_cancelled" doc:"Show canceled events."`
	IncludeDeclined    bool          `koanf:"include_declined" doc:"Show events that you declined."`
	StartOffset        time.Duration `koanf:"start_offset" doc:"Start of the event list relative to now; negative values include past events." min:"-8784h" max:"8784h"`
	EndOffset          time.Duration `koanf:"end_offset" doc:"End of the event list relative to now." min:"-8784h" max:"8784h"`
	MaxResults         int           `koanf:"max_results" doc:"Maximum number of events in the list. 0: all." min:"0"`
}

func defaultView() View { return View{IncludeDeclined: true, EndOffset: 24 * time.Hour} }

// Validate returns an error for options that cannot work together.
func (o *Options) Validate() error {
	var errs []error
	if o.BasicCalendar && o.SharedMailbox != "" {
		errs = append(errs, schema.At("basic_calendar", errors.New("not with shared_mailbox, because Microsoft has no such permission")))
	}
	if o.Meetings && o.SharedMailbox != "" {
		errs = append(errs, schema.At("meetings", errors.New("not with shared_mailbox, because Teams tells only you about your meetings")))
	}
	if len(o.Except) > 0 && o.Calendar != all {
		errs = append(errs, schema.At("except", errors.New("only with calendar: all")))
	}
	return errors.Join(append(errs, o.View.Validate())...)
}

// Validate returns an error for options that cannot work together.
func (o *GroupOptions) Validate() error {
	var errs []error
	if len(o.Except) > 0 && o.Group != all {
		errs = append(errs, schema.At("except", errors.New("only with group: all")))
	}
	return errors.Join(append(errs, o.View.Validate())...)
}

// Validate returns an error for options that cannot work together.
func (o *View) Validate() error {
	var errs []error
	for i, s := range o.Exclude {
		if _, err := pattern(s); err != nil {
			errs = append(errs, schema.At(fmt.Sprintf("exclude[%d]", i), fmt.Errorf("want a regular expression, not %q: %w", s, err)))
		}
	}
	if o.EndOffset <= o.StartOffset {
		errs = append(errs, schema.At("end_offset", fmt.Errorf("want more than start_offset, %s, not %s", o.StartOffset, o.EndOffset)))
	}
	return errors.Join(errs...)
}

// CheckApplication returns an error for options that an organization cannot use.
func (o *Options) CheckApplication() error {
	var errs []error
	if o.SharedMailbox != "" {
		errs = append(errs, schema.At("shared_mailbox", errors.New("not in an organization: user names the mailbox")))
	}
	if o.BasicCalendar {
		errs = append(errs, schema.At("basic_calendar", errors.New("not in an organization: Exchange has no such role for applications")))
	}
	if o.Meetings {
		errs = append(errs, schema.At("meetings", errors.New("not in an organization: Teams tells applications about meetings only if an administrator makes a policy for them")))
	}
	return errors.Join(errs...)
}

// WorkOptions returns the options in use that personal accounts do not have.
func (o *Options) WorkOptions() []string {
	if o.Meetings {
		return []string{"meetings"}
	}
	return nil
}

func pattern(s string) (*regexp.Regexp, error) { return regexp.Compile("(?i)" + s) }

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, s) })
}

// filter returns a function that makes the entry of an event: whether it is shown, and masked if necessary.
func (o *View) filter() (func(calendars.Event) Entry, error) {
	var exclude []*regexp.Regexp
	for _, s := range o.Exclude {
		re, err := pattern(s)
		if err != nil {
			return nil, fmt.Errorf("exclude: %w", err)
		}
		exclude = append(exclude, re)
	}
	search := strings.ToLower(o.Search)
	shown := func(e *calendars.Event) bool {
		switch {
		case e.Cancelled && !o.IncludeCancelled,
			e.Response == "declined" && !o.IncludeDeclined,
			!strings.Contains(strings.ToLower(e.Subject), search),
			containsFold(o.SensitivityExclude, e.Sensitivity),
			containsFold(o.ShowAsExclude, e.ShowAs):
			return false
		}
		return !slices.ContainsFunc(exclude, func(re *regexp.Regexp) bool { return re.MatchString(e.Subject) })
	}
	return func(e calendars.Event) Entry {
		entry := Entry{Event: e, Shown: shown(&e)}
		if o.masks(e) {
			entry.Event = mask(e)
		}
		return entry
	}, nil
}

// masks reports whether only the times of an event are shown.
func (o *View) masks(e calendars.Event) bool {
	return o.SensitivityMask && strings.EqualFold(e.Sensitivity, private)
}

const private = "private"

// mask reduces an event to its times and ids, so that nothing else of it is stored or compared.
func mask(e calendars.Event) calendars.Event {
	return calendars.Event{
		ID: e.ID, SeriesID: e.SeriesID, Subject: "Private", Start: e.Start, End: e.End, AllDay: e.AllDay, Sensitivity: private, Cancelled: e.Cancelled,
	}
}
