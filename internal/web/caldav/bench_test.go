package caldav

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
)

// BenchmarkReports measures each report with 500 events and 2,000 tasks. cold: everything that the sensor holds has changed since the last one.
func BenchmarkReports(b *testing.B) {
	at := time.Date(2027, 1, 4, 9, 0, 0, 0, time.UTC)
	calendar, list := &held{id: "calendar"}, &held{id: "tasks", isList: true}
	for i := range 500 {
		start := at.Add(time.Duration(i) * 3 * time.Hour)
		calendar.events = append(calendar.events, calendars.Event{
			ID: "AAMkAGI1" + strconv.Itoa(i), SeriesID: "AAMkAGI1series", Subject: "Weekly planning " + strconv.Itoa(i), Description: strings.Repeat("What was done, and what is next. ", 5),
			Location: "Room 1", Start: start, End: start.Add(time.Hour), ShowAs: "busy", Sensitivity: "normal", WebLink: "https://outlook.office365.com/owa/?itemid=AAMkAGI1" + strconv.Itoa(i),
		})
	}
	for i := range 2000 {
		list.tasks = append(list.tasks, tasks.Task{
			ID: "AAMkAGI1task" + strconv.Itoa(i), Subject: "Water the plants " + strconv.Itoa(i), Description: "All of them, with the small can.", Status: "notStarted", Importance: "normal",
			DueZoned: at.AddDate(0, 0, i%100).Format(time.DateOnly), Created: at, Modified: at.Add(time.Duration(i) * time.Second),
		})
	}
	h, password := newHandler(b, calendar, list)
	var hrefs strings.Builder
	for i := range list.tasks {
		name, _ := identity(list.tasks[i].ID)
		hrefs.WriteString("<D:href>/dav/work/tasks/" + name + "</D:href>")
	}
	const spaces = `xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"`
	data := `<D:prop><D:getetag/><C:calendar-data/></D:prop>`
	filter := func(kind, inner string) string {
		return `<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="` + kind + `">` + inner + `</C:comp-filter></C:comp-filter></C:filter>`
	}
	span := func(days int) string {
		return fmt.Sprintf(`<C:time-range start="%s" end="%s"/>`, at.Format("20060102T150405Z"), at.AddDate(0, 0, days).Format("20060102T150405Z"))
	}
	_, uid := identity(list.tasks[1000].ID)
	for _, r := range []struct{ name, path, body string }{
		{"events_all", "/dav/work/calendar/", `<C:calendar-query ` + spaces + `>` + data + filter("VEVENT", span(365)) + `</C:calendar-query>`},
		{"events_week", "/dav/work/calendar/", `<C:calendar-query ` + spaces + `>` + data + filter("VEVENT", span(7)) + `</C:calendar-query>`},
		{"tasks_all", "/dav/work/tasks/", `<C:calendar-query ` + spaces + `>` + data + filter("VTODO", "") + `</C:calendar-query>`},
		{"tasks_uid", "/dav/work/tasks/", `<C:calendar-query ` + spaces + `>` + data + filter("VTODO", `<C:prop-filter name="UID"><C:text-match>`+uid+`</C:text-match></C:prop-filter>`) + `</C:calendar-query>`},
		{"tasks_etags", "/dav/work/tasks/", `<C:calendar-query ` + spaces + `><D:prop><D:getetag/></D:prop>` + filter("VTODO", "") + `</C:calendar-query>`},
		{"tasks_multiget", "/dav/work/tasks/", `<C:calendar-multiget ` + spaces + `>` + data + hrefs.String() + `</C:calendar-multiget>`},
		{"tasks_sync", "/dav/work/tasks/", `<D:sync-collection ` + spaces + `><D:sync-token/><D:sync-level>1</D:sync-level><D:prop><D:getetag/></D:prop></D:sync-collection>`},
	} {
		for _, way := range []struct {
			name, accept string
			cold         bool
		}{{"plain", "", false}, {"gzip", "gzip", false}, {"cold", "", true}} {
			b.Run(r.name+"/"+way.name, func(b *testing.B) {
				size := 0
				for b.Loop() {
					if way.cold {
						for _, s := range h.states {
							s.held, s.latest = nil, nil
						}
					}
					w := request(h, password, "REPORT", r.path, r.body, "Accept-Encoding", way.accept)
					if w.Code != 207 {
						b.Fatal(w.Code, w.Body)
					}
					size = w.Body.Len()
				}
				b.ReportMetric(float64(size), "bytes")
			})
		}
	}
}
