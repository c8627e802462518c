package odata

import (
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // minimal container images have no time zone database

	"github.com/graph2mqtt/graph2mqtt/internal/graph/zones"
)

// Zone returns the location of a Windows or IANA time zone name.
func Zone(name string) (*time.Location, bool) {
	if iana := zones.IANA(name); iana != "" {
		name = iana
	} else if name == "" || strings.EqualFold(name, "local") {
		return nil, false
	}
	location, err := time.LoadLocation(name)
	return location, err == nil
}

const dateTimeLayout = "2006-01-02T15:04:05.0000000"

// DateTimeType is the type dateTimeTimeZone.
func DateTimeType() *Type {
	return ComplexType("dateTimeTimeZone", Properties{"dateTime": String(), "timeZone": String()})
}

// A DateTimeTimeZone is wall-clock time plus time zone.
type DateTimeTimeZone struct {
	Wall     time.Time // in UTC
	ZoneName string
	Location *time.Location
}

// Instant returns the time. Wall-clock times skipped by daylight saving are an hour later, as in time.Date.
func (d DateTimeTimeZone) Instant() time.Time {
	w := d.Wall
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), d.Location)
}

// Midnight reports whether the wall clock shows midnight.
func (d DateTimeTimeZone) Midnight() bool { return d.Wall.Equal(d.Wall.Truncate(24 * time.Hour)) }

// DateTimeIn returns the wall-clock time of t in a time zone.
func DateTimeIn(t time.Time, name string, location *time.Location) DateTimeTimeZone {
	t = t.In(location)
	return DateTimeTimeZone{time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC), name, location}
}

// JSON returns Graph's representation.
func (d DateTimeTimeZone) JSON() map[string]any {
	return map[string]any{"dateTime": d.Wall.Format(dateTimeLayout), "timeZone": d.ZoneName}
}

// ParseDateTime parses a dateTimeTimeZone.
func ParseDateTime(name string, v any) (DateTimeTimeZone, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return DateTimeTimeZone{}, BadRequest("The value of '%s' must be a dateTimeTimeZone.", name)
	}
	text, _ := m["dateTime"].(string)
	zoneName, _ := m["timeZone"].(string)
	if zoneName == "" {
		zoneName = "UTC"
	}
	location, ok := Zone(zoneName)
	if !ok {
		return DateTimeTimeZone{}, UnknownZone(zoneName)
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return DateTimeTimeZone{t, zoneName, location}, nil
		}
	}
	// With an offset it is an instant, shown in the given zone.
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return DateTimeIn(t, zoneName, location), nil
	}
	return DateTimeTimeZone{}, NewError(http.StatusBadRequest, "ErrorPropertyValidationFailure", "'%s' is not a valid value for the property '%s/DateTime'.", text, name)
}

// UnknownZone returns the error for a time zone that Graph does not know.
func UnknownZone(name string) *Error {
	return NewError(http.StatusBadRequest, "TimeZoneNotSupportedException", "A valid TimeZone value must be specified. The following TimeZone value is not supported: '%s'.", name)
}
