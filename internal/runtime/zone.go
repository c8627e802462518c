package runtime

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/thlib/go-timezone-local/tzlocal"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	zoneInterval = time.Hour   // between two reads of the mailbox's time zone
	zoneRetry    = time.Minute // after a read that failed
)

// configuredZone returns the time zone that the configuration names, otherwise the machine's.
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

// machineZone returns the machine's time zone under its IANA name, which Graph needs: time.Local is named "Local".
func machineZone() *time.Location {
	if name, err := tzlocal.RuntimeTZ(); err == nil {
		if loc, err := time.LoadLocation(name); err == nil {
			return loc
		}
	}
	// In a container /etc/localtime may be a copy.
	text, err := os.ReadFile("/etc/timezone")
	if name := strings.TrimSpace(string(text)); err == nil && name != "" {
		if loc, err := time.LoadLocation(name); err == nil && equalZones(loc, time.Local) {
			return loc
		}
	}
	return time.Local
}

// equalZones reports whether the clocks of two zones show the same, in winter and in summer.
func equalZones(a, b *time.Location) bool {
	year := time.Now().Year()
	for _, month := range []time.Month{time.January, time.July} {
		t := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
		_, offsetA := t.In(a).Zone()
		_, offsetB := t.In(b).Zone()
		if offsetA != offsetB {
			return false
		}
	}
	return true
}

// location returns the account's time zone.
func (a *account) location() *time.Location { return a.zone.Load() }

// knownZone returns the account's time zone as far as it is known without asking Graph.
func (a *account) knownZone() *time.Location {
	if a.readsZone() {
		value, err := a.runtime.options.Store.Get(zonesBucket, a.config.ID)
		if err == nil && value != nil {
			if stored, err := time.LoadLocation(string(value)); err == nil {
				return stored
			}
		}
	}
	return configuredZone(a.config.Timezone)
}

// warnOfUTC logs a warning where the machine's time zone counts and is probably not set.
func (a *account) warnOfUTC() {
	if slices.Contains([]string{"auto", "local"}, a.config.Timezone) && !a.readsZone() && os.Getenv("TZ") == "" && equalZones(a.location(), time.UTC) {
		what := "account"
		if a.config.Application {
			what = "organization"
		}
		a.log.Warn("the machine's time zone is UTC; if that is wrong, set TZ or the timezone of the " + what)
	}
}

// readsZone reports whether the time zone is read from the mailbox: where that is configured, or permitted anyway.
func (a *account) readsZone() bool {
	switch a.config.Timezone {
	case "mailbox":
		return true
	case "auto":
		return slices.ContainsFunc(AccountPermissions(a.current.Load()), func(p graph.Permission) bool { return zonePermission.Satisfied([]string{p.Scope}) })
	}
	return false
}

// readZone reads the time zone from the mailbox where the account does that and it is permitted, and reports whether it did.
func (a *account) readZone(ctx context.Context) (read bool, err error) {
	if !a.readsZone() || a.checkGranted([]graph.Permission{zonePermission}) != nil {
		return false, nil
	}
	loc, err := mailbox.TimeZone(ctx, a.graph)
	if err != nil {
		return false, err
	}
	if loc.String() != a.location().String() {
		a.zone.Store(loc)
		a.runtime.options.Store.Commit(func(tx services.Tx) { tx.Put(zonesBucket, a.config.ID, []byte(loc.String())) }, a.logStoreError)
		a.refresh()
	}
	return true, nil
}

// zoneRejected stands for a failure that was not logged.
const zoneRejected = "401"

// followZone reads the mailbox's time zone and returns how long to wait until the next read. A failure is logged once.
func (a *account) followZone(ctx context.Context, logged *string) time.Duration {
	read, err := a.readZone(ctx)
	switch {
	case err == nil && read, !a.readsZone():
		*logged = ""
		return zoneInterval
	case graph.IsUnauthorized(err) && (*logged == "" || a.rejected.Load()):
		*logged = zoneRejected // by the next read it is known whether that concerns the account, which logs it then
	case err != nil && ctx.Err() == nil && err.Error() != *logged:
		*logged = err.Error()
		a.log.Warn("mailbox time zone unknown", "using", a.location().String(), "error", err)
	}
	return zoneRetry
}
