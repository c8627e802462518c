package bridge

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/thlib/go-timezone-local/tzlocal"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
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
	return machineZone()
}

// machineZone is the machine's time zone by its name, which Graph is told: that of time.Local is "Local".
func machineZone() *time.Location {
	if name, err := tzlocal.RuntimeTZ(); err == nil {
		if loc, err := time.LoadLocation(name); err == nil {
			return loc
		}
	}
	// In a container /etc/localtime may be a copy.
	text, err := os.ReadFile("/etc/timezone")
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		if loc, err := time.LoadLocation(name); err == nil && sameZone(loc, time.Local) {
			return loc
		}
	}
	return time.Local
}

// sameZone reports whether the clocks of two zones show the same, in winter and in summer.
func sameZone(a, b *time.Location) bool {
	year := time.Now().Year()
	for _, month := range []time.Month{time.January, time.July} {
		t := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
		_, one := t.In(a).Zone()
		_, other := t.In(b).Zone()
		if one != other {
			return false
		}
	}
	return true
}

// rememberZone sets the account's time zone as far as it is known without asking.
func (a *account) rememberZone() {
	loc := configuredZone(a.config.Timezone)
	if a.asksZone() {
		value, err := a.bridge.zones.Get(a.zoneKey())
		if err == nil && value != nil {
			if remembered, err := time.LoadLocation(string(value)); err == nil {
				loc = remembered
			}
		}
	}
	a.location.Store(loc)
	if slices.Contains([]string{"auto", "local"}, a.config.Timezone) && !a.asksZone() && os.Getenv("TZ") == "" && sameZone(loc, time.UTC) {
		a.log.Warn("the machine's time zone is UTC; set TZ, or the account's timezone, where that is wrong")
	}
}

func (a *account) zoneKey() string { return a.config.ID }

// asksZone reports whether the mailbox is asked for its time zone: where that is configured, or permitted anyway.
func (a *account) asksZone() bool {
	switch a.config.Timezone {
	case "mailbox":
		return true
	case "auto":
		return slices.ContainsFunc(AccountPermissions(a.current.Load()), func(n graph.Permission) bool { return zoneNeed.Satisfied([]string{n.Scope}) })
	}
	return false
}

func (a *account) zone() *time.Location { return a.location.Load() }

// askZoneAgain has the mailbox asked again: it may be permitted now.
func (a *account) askZoneAgain() {
	select {
	case a.zoneDue <- struct{}{}:
	default:
	}
}

// keepZone follows the mailbox's time zone.
func (a *account) keepZone(ctx context.Context) {
	var told string
	for ctx.Err() == nil {
		wait := zoneRetry
		if !a.asksZone() {
			wait = zoneEvery
		} else if a.ready([]graph.Permission{zoneNeed}) == nil {
			loc, err := mailbox.TimeZone(ctx, a.graph)
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
