package simulator

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
	_ "time/tzdata" // minimal container images have no time zone database
)

//go:embed zones.json
var zonesJSON []byte

// windowsZones returns CLDR's IANA names by Windows names.
func windowsZones() map[string]string {
	zones := map[string]string{}
	if err := json.Unmarshal(zonesJSON, &zones); err != nil {
		panic(err) // embedded file
	}
	return zones
}

// zone returns the location of a Windows or IANA time zone name.
func (s *Simulator) zone(name string) (*time.Location, bool) {
	if iana, ok := s.zones[name]; ok {
		name = iana
	} else if name == "" || strings.EqualFold(name, "local") {
		return nil, false
	}
	location, err := time.LoadLocation(name)
	return location, err == nil
}

const dateTimeLayout = "2006-01-02T15:04:05.0000000"

// A dateTimeTimeZone is wall-clock time plus time zone.
type dateTimeTimeZone struct {
	wall time.Time
	name string
	zone *time.Location
}

// instant returns the time. Wall-clock times skipped by daylight saving are an hour later, as in time.Date.
func (m dateTimeTimeZone) instant() time.Time {
	w := m.wall
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), m.zone)
}

func (m dateTimeTimeZone) midnight() bool { return m.wall.Equal(m.wall.Truncate(24 * time.Hour)) }

func dateTimeIn(t time.Time, name string, zone *time.Location) dateTimeTimeZone {
	t = t.In(zone)
	return dateTimeTimeZone{time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC), name, zone}
}

func (m dateTimeTimeZone) json() map[string]any {
	return map[string]any{"dateTime": m.wall.Format(dateTimeLayout), "timeZone": m.name}
}

// parseDateTime parses a dateTimeTimeZone.
func (s *Simulator) parseDateTime(name string, v any) (dateTimeTimeZone, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return dateTimeTimeZone{}, badRequest("The value of '%s' must be a dateTimeTimeZone.", name)
	}
	text, _ := m["dateTime"].(string)
	zoneName, _ := m["timeZone"].(string)
	if zoneName == "" {
		zoneName = "UTC"
	}
	zone, ok := s.zone(zoneName)
	if !ok {
		return dateTimeTimeZone{}, unknownZone(zoneName)
	}
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return dateTimeTimeZone{t, zoneName, zone}, nil
		}
	}
	// With an offset it is an instant, shown in the given zone.
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return dateTimeIn(t, zoneName, zone), nil
	}
	return dateTimeTimeZone{}, &failure{http.StatusBadRequest, "ErrorPropertyValidationFailure", fmt.Sprintf("'%s' is not a valid value for the property '%s/DateTime'.", text, name)}
}

func unknownZone(name string) *failure {
	return &failure{http.StatusBadRequest, "TimeZoneNotSupportedException", fmt.Sprintf("A valid TimeZone value must be specified. The following TimeZone value is not supported: '%s'.", name)}
}
