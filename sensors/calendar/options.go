package calendar

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
)

// Options are how a calendar is configured.
type Options struct {
	Calendar           string        `koanf:"calendar" doc:"The name or id of the calendar, or all: each of them, new ones found by themselves. Default: the default calendar."`
	SharedMailbox      string        `koanf:"shared_mailbox" doc:"The address or id of somebody else's mailbox, or of a room's, to which you have access."`
	BasicCalendar      bool          `koanf:"basic_calendar" doc:"Whether only Calendars.ReadBasic is asked for, which gives no descriptions."`
	Search             string        `koanf:"search" doc:"Only events whose subject contains this are shown, in any case."`
	Exclude            []string      `koanf:"exclude" doc:"Events whose subject matches one of these regular expressions are not shown, in any case."`
	SensitivityExclude []string      `koanf:"sensitivity_exclude" doc:"Events of these sensitivities are not shown." enum:"normal,personal,private,confidential"`
	ShowAsExclude      []string      `koanf:"show_as_exclude" doc:"Events that are shown as one of these are left out." enum:"free,tentative,busy,oof,workingElsewhere,unknown"`
	IncludeCancelled   bool          `koanf:"include_cancelled" doc:"Whether events that were cancelled are shown."`
	IncludeDeclined    bool          `koanf:"include_declined" doc:"Whether events that you declined are shown."`
	StartOffset        time.Duration `koanf:"start_offset" doc:"From now to where the list of events begins. Below 0 it begins in the past." min:"-8784h" max:"8784h"`
	EndOffset          time.Duration `koanf:"end_offset" doc:"From now to where the list of events ends." min:"-8784h" max:"8784h"`
	MaxResults         int           `koanf:"max_results" doc:"The most events in the list. 0: all." min:"0"`
}

// Validate finds what cannot work.
func (o *Options) Validate() error {
	var errs []error
	for i, s := range o.Exclude {
		if _, err := pattern(s); err != nil {
			errs = append(errs, config.At(fmt.Sprintf("exclude[%d]", i), fmt.Errorf("want a regular expression, not %q: %w", s, err)))
		}
	}
	if o.EndOffset <= o.StartOffset {
		errs = append(errs, config.At("end_offset", fmt.Errorf("want more than start_offset, %s, not %s", o.StartOffset, o.EndOffset)))
	}
	if o.BasicCalendar && o.SharedMailbox != "" {
		errs = append(errs, config.At("basic_calendar", errors.New("not with shared_mailbox, for Microsoft has no such permission")))
	}
	return errors.Join(errs...)
}

func pattern(s string) (*regexp.Regexp, error) { return regexp.Compile("(?i)" + s) }

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, s) })
}

// filter returns what says whether an event is shown.
func (o *Options) filter() (func(calendars.Event) bool, error) {
	var exclude []*regexp.Regexp
	for _, s := range o.Exclude {
		re, err := pattern(s)
		if err != nil {
			return nil, fmt.Errorf("exclude: %w", err)
		}
		exclude = append(exclude, re)
	}
	search := strings.ToLower(o.Search)
	return func(e calendars.Event) bool {
		switch {
		case e.Cancelled && !o.IncludeCancelled,
			e.Response == "declined" && !o.IncludeDeclined,
			!strings.Contains(strings.ToLower(e.Subject), search),
			containsFold(o.SensitivityExclude, e.Sensitivity),
			containsFold(o.ShowAsExclude, e.ShowAs):
			return false
		}
		return !slices.ContainsFunc(exclude, func(re *regexp.Regexp) bool { return re.MatchString(e.Subject) })
	}, nil
}
