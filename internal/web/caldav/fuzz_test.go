package caldav

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
)

// Any iCalendar is read or refused, and what was read can be stored.
func FuzzInput(f *testing.F) {
	for _, seed := range []string{
		"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART;TZID=Europe/Berlin:20270328T020000\r\nDURATION:PT1H\r\nRRULE:FREQ=WEEKLY;BYDAY=MO\r\nBEGIN:VALARM\r\nTRIGGER:-PT10M\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
		"BEGIN:VCALENDAR\r\nBEGIN:VTODO\r\nUID:2\r\nSUMMARY:a\\, b\\n c\r\n  d\r\nDUE;VALUE=DATE:20270101\r\nSTATUS:COMPLETED\r\nPRIORITY:1\r\nCATEGORIES:A,B\r\nEND:VTODO\r\nEND:VCALENDAR\r\n",
		"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:0\nDTSTART:00000101T000000\nDURATION:P9999999W\nEND:VEVENT\nEND:VCALENDAR",
		"BEGIN:VCALENDAR\r\nX;Y=\"a\"b:1\r\n", "BEGIN:VCALENDAR\r\nX;Y=", "BEGIN:V\r\n CALENDAR\r\nEND:VCALENDAR",
	} {
		f.Add([]byte(seed))
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxObject {
			t.Skip("the handler refuses it before")
		}
		for _, kind := range []string{"VEVENT", "VTODO"} {
			in, err := newInput(data, kind, berlin)
			if err != nil {
				if strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
					t.Errorf("the error is %q", err)
				}
				continue
			}
			if in.digest() == "" || in.uid == "" {
				t.Error("it has no digest or no UID")
			}
			if fields := in.creation(); fields["subject"] == nil {
				t.Error("it has no subject")
			}
			if in.recurrence != nil {
				if err := in.recurrence.Validate("recurrence"); err != nil {
					t.Error(err)
				}
			}
			// What it becomes can be served, and written back without a change.
			o := eventObject(&calendars.Event{ID: "1", Subject: in.fields.summary, Description: in.fields.description, Location: in.fields.location, Start: in.fields.start, End: in.fields.end, AllDay: in.fields.allDay}, nil)
			if kind == "VTODO" {
				o = taskObject(&tasks.Task{ID: "1", Subject: in.fields.summary, Description: in.fields.description, DueZoned: in.fields.due}, nil, berlin)
			}
			encoded := o.appendCalendar(nil)
			again, err := newInput(encoded, kind, berlin)
			if err != nil {
				t.Fatalf("%v: %q", err, encoded)
			}
			if changed, err := again.changes(o.fields, o.fields); err != nil || len(changed) > 0 {
				t.Errorf("written back it changes %v, %v: %q", changed, err, encoded)
			}
			checkEncoding(t, encoded)
		}
	})
}

// Any request in XML is answered, with XML or an error of the client.
func FuzzReport(f *testing.F) {
	for _, seed := range []string{
		`<C:calendar-query xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/><C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"><C:time-range start="20260101T000000Z"/><C:prop-filter name="SUMMARY"><C:text-match negate-condition="yes">a</C:text-match></C:prop-filter></C:comp-filter></C:comp-filter></C:filter></C:calendar-query>`,
		`<C:calendar-multiget xmlns:C="urn:ietf:params:xml:ns:caldav" xmlns:D="DAV:"><D:prop><D:getetag/></D:prop><D:href>/dav/work/calendar/1.ics</D:href></C:calendar-multiget>`,
		`<D:sync-collection xmlns:D="DAV:"><D:sync-token/><D:sync-level>1</D:sync-level><D:limit><D:nresults>1</D:nresults></D:limit><D:prop><D:getetag/></D:prop></D:sync-collection>`,
		`<D:propfind xmlns:D="DAV:"><D:prop><x xmlns="&#34;"/></D:prop></D:propfind>`, `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><a/></D:prop></D:set></D:propertyupdate>`,
	} {
		f.Add(seed)
	}
	at := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	h, password := newHandler(f, &held{id: "calendar", events: []calendars.Event{{ID: "1", Subject: "a<b", Start: at, End: at.Add(time.Hour)}}}, &held{id: "tasks", isList: true, tasks: []tasks.Task{{ID: "1", Subject: "]]>"}}})
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/dav/work/calendar/", "/dav/work/tasks/"} {
			for _, method := range []string{"REPORT", "PROPFIND", "PROPPATCH"} {
				w := request(h, password, method, path, body, "Depth", "1")
				if w.Code != 207 && (w.Code < 400 || w.Code >= 500) && !(w.Code == 503 && strings.Contains(w.Body.String(), "on demand")) {
					t.Errorf("%s answers %d: %s", method, w.Code, w.Body)
				}
				if strings.Contains(w.Header().Get("Content-Type"), "xml") {
					if _, err := parse(bytes.NewReader(w.Body.Bytes())); err != nil {
						t.Errorf("%s answers with %v: %s", method, err, w.Body)
					}
				}
			}
		}
	})
}
