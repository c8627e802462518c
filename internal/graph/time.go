package graph

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/zones"
)

// Location returns a time zone by its Windows or IANA name. The database of zones is the system's, or time/tzdata where the
// program imports it.
func Location(name string) (*time.Location, error) {
	if name == "UTC" || name == "tzone://Microsoft/Utc" { // the latter where a calendar program did not care
		return time.UTC, nil
	}
	if iana := zones.IANA(name); iana != "" {
		return time.LoadLocation(iana)
	}
	if name != "" && name != "Local" { // which mean something to Go alone
		if zone, err := time.LoadLocation(name); err == nil {
			return zone, nil
		}
	}
	return nil, fmt.Errorf("unknown time zone %q", name)
}

// A DateTimeTimeZone is a time in Graph's JSON.
//
// https://learn.microsoft.com/graph/api/resources/datetimetimezone
type DateTimeTimeZone struct {
	DateTime string `json:"dateTime"`
	TimeZone string `json:"timeZone"`
}

// Time returns the instant, in its own zone; UTC where none is named. The zero time stands for no value.
func (d DateTimeTimeZone) Time() (time.Time, error) {
	if d.DateTime == "" || strings.HasPrefix(d.DateTime, "0001-01-01T00:00:00") {
		return time.Time{}, nil
	}
	zone := time.UTC
	if d.TimeZone != "" {
		var err error
		if zone, err = Location(d.TimeZone); err != nil {
			return time.Time{}, err
		}
	}
	if t, err := time.ParseInLocation("2006-01-02T15:04:05", d.DateTime, zone); err == nil { // nearly always
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, d.DateTime)
	if err != nil {
		return time.Time{}, fmt.Errorf("not a time: %q", sanitize(d.DateTime))
	}
	return t.In(zone), nil
}

// Date returns the day of an all-day value, as written: such a day has no zone. The empty string stands for no value.
func (d DateTimeTimeZone) Date() (string, error) {
	if d.DateTime == "" || strings.HasPrefix(d.DateTime, "0001-01-01T00:00:00") {
		return "", nil
	}
	date, _, _ := strings.Cut(d.DateTime, "T")
	if _, err := time.Parse(time.DateOnly, date); err != nil {
		return "", fmt.Errorf("not a date: %q", sanitize(d.DateTime))
	}
	return date, nil
}

// timeFormat is the layout of the times that are written to Graph.
const timeFormat = "2006-01-02T15:04:05.0000000"

// FormatUTC returns a time as it is written to Graph, in UTC.
func FormatUTC(t time.Time) models.DateTimeTimeZoneable {
	return dateTime(t.UTC().Format(timeFormat), "UTC")
}

// FormatTime returns a time as it is written to Graph, in its own zone: a series keeps its hour in its zone, and Outlook shows in
// which zone an event was made. It is in UTC where Graph does not know the zone, or where the hour comes twice because clocks are
// set back.
func FormatTime(t time.Time) models.DateTimeTimeZoneable {
	zone := ZoneName(t.Location())
	wall := t.Format(timeFormat)
	if zone == "" || t.Add(time.Hour).Format(timeFormat) == wall || t.Add(-time.Hour).Format(timeFormat) == wall {
		return FormatUTC(t)
	}
	return dateTime(wall, zone)
}

// FormatDate returns the first or the last day of an all-day value as it is written to Graph: the date of t in its own zone, which
// both must share. It is a midnight in UTC if Graph does not know the zone, because a date is the same everywhere.
func FormatDate(t time.Time) models.DateTimeTimeZoneable {
	return dateTime(t.Format(time.DateOnly)+"T00:00:00.0000000", cmp.Or(ZoneName(t.Location()), "UTC"))
}

// ZoneName returns Graph's name of a time zone, which is that of Windows. It is "" for IANA names that Graph does not know and for
// a machine's zone whose name is unknown.
func ZoneName(loc *time.Location) string { return zones.Windows(loc.String()) }

func dateTime(s, zone string) models.DateTimeTimeZoneable {
	d := models.NewDateTimeTimeZone()
	d.SetDateTime(&s)
	d.SetTimeZone(&zone)
	return d
}

// FormatDuration returns a duration of OData: ISO 8601 without weeks. Kiota's type would write seven days as P1W.
func FormatDuration(d time.Duration) string { return "PT" + strings.ToUpper(d.String()) }
