package calendars_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

func tenEvents() string {
	event := `{"id": "AAMkADoes", "iCalUId": "040000", "subject": "Design review", "isAllDay": false, "categories": ["Red"], "sensitivity": "normal", "showAs": "busy", "importance": "normal",
		"start": {"dateTime": "2026-03-01T09:00:00.0000000", "timeZone": "UTC"}, "end": {"dateTime": "2026-03-01T10:00:00.0000000", "timeZone": "UTC"}, "location": {"displayName": "Room 1"},
		"attendees": [{"type": "required", "status": {"response": "accepted"}, "emailAddress": {"name": "Ann", "address": "ann@contoso.com"}}], "organizer": {"emailAddress": {"name": "Ann", "address": "ann@contoso.com"}},
		"responseStatus": {"response": "accepted"}, "isCancelled": false, "isReminderOn": true, "reminderMinutesBeforeStart": 15, "onlineMeeting": {"joinUrl": "https://teams.example/1"},
		"webLink": "https://outlook.example/1", "body": {"contentType": "text", "content": "` + strings.Repeat("Agenda. ", 40) + `"}}`
	return `{"value": [` + strings.Repeat(event+",", 9) + event + `]}`
}

// BenchmarkView reads ten events, with the client and with minimal code.
func BenchmarkView(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, tenEvents())
	}))
	defer srv.Close()
	from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for name, transport := range map[string]http.RoundTripper{"memory": graphtest.JSON(tenEvents()), "loopback": graph.NewTransport()} {
		b.Run(name+"/client", func(b *testing.B) {
			g, err := graph.New(graph.Options{Root: srv.URL, Transport: transport, Tokens: tokens()})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if events, err := (calendars.Calendar{}).View(b.Context(), g, "", from, from.AddDate(0, 0, 1)); err != nil || len(events) != 1 {
					b.Fatal(len(events), err)
				}
			}
		})
		b.Run(name+"/minimal", func(b *testing.B) {
			client := http.Client{Transport: transport}
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, srv.URL+"/v1.0/me/calendarView?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-03-02T00:00:00Z", nil)
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer secret")
				res, err := client.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				var page struct {
					Value []struct {
						ID, Subject, ShowAs string
						Start, End          graph.DateTimeTimeZone
					}
				}
				err = json.NewDecoder(res.Body).Decode(&page)
				res.Body.Close()
				if err != nil || len(page.Value) != 10 {
					b.Fatal(len(page.Value), err)
				}
			}
		})
	}
}
