package bridge

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const (
	// zoneEvery is how often the mailbox is asked for its time zone.
	zoneEvery = 24 * time.Hour
	// zoneRetry is how soon after a failure.
	zoneRetry = time.Minute
)

// configuredZone is an account's time zone as far as the configuration says it: else the machine's.
func configuredZone(name string) *time.Location {
	switch name {
	case "auto", "mailbox", "local":
	default:
		if loc, err := time.LoadLocation(name); err == nil { // it was checked when the configuration was loaded
			return loc
		}
	}
	return time.Local
}

// rememberZone sets the account's time zone as far as it is known without asking.
func (a *account) rememberZone() {
	a.location.Store(configuredZone(a.config.Timezone))
	if a.asksZone() {
		value, err := a.bridge.zones.Get(a.zoneKey())
		if err == nil && value != nil {
			if loc, err := time.LoadLocation(string(value)); err == nil {
				a.location.Store(loc)
			}
		}
	}
	if a.zone() == time.Local && !a.asksZone() && os.Getenv("TZ") == "" && isUTC(time.Local) {
		a.log.Warn("the machine's time zone is UTC; set TZ, or the account's timezone, where that is wrong")
	}
}

func isUTC(loc *time.Location) bool {
	year := time.Now().Year()
	for _, month := range []time.Month{time.January, time.July} {
		if _, offset := time.Date(year, month, 1, 0, 0, 0, 0, loc).Zone(); offset != 0 {
			return false
		}
	}
	return true
}

func (a *account) zoneKey() string { return a.config.ID }

// asksZone reports whether the mailbox is asked for its time zone: where that is configured, or permitted anyway.
func (a *account) asksZone() bool {
	switch a.config.Timezone {
	case "mailbox":
		return true
	case "auto":
		return slices.ContainsFunc(Needs(a.current.Load()), func(n graph.Need) bool { return zoneNeed.Satisfied([]string{n.Scope}) })
	}
	return false
}

func (a *account) zone() *time.Location { return a.location.Load() }

// keepZone follows the mailbox's time zone.
func (a *account) keepZone(ctx context.Context) {
	if !a.asksZone() {
		return
	}
	var told string
	for ctx.Err() == nil {
		wait := zoneRetry
		if a.ready([]graph.Need{zoneNeed}) == nil {
			loc, err := a.graph.MailboxZone(ctx)
			switch {
			case err == nil:
				wait = zoneEvery
				if loc.String() != a.zone().String() {
					a.location.Store(loc)
					if err := a.bridge.zones.Put(a.zoneKey(), []byte(loc.String())); err != nil {
						a.log.Error("the time zone cannot be remembered", "error", err)
					}
					a.refresh()
				}
			case ctx.Err() == nil && err.Error() != told:
				told = err.Error()
				a.log.Warn("the mailbox's time zone is not known", "using", a.zone().String(), "error", err)
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-a.zoneDue:
		case <-timer.C:
		}
		timer.Stop()
	}
}
