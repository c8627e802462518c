package calendars_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

// tokens returns the tokens of a user who granted everything about calendars.
func tokens() graph.Tokens {
	return graphtest.Tokens{Scopes: []string{"Calendars.ReadWrite", "Calendars.ReadWrite.Shared"}}
}

// serve returns a client of a server.
func serve(t *testing.T, h http.HandlerFunc) *graph.Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	g, err := graph.New(graph.Options{Root: srv.URL, Tokens: tokens()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error": {"code": %q, "message": "Access is denied. Check credentials and try again."}}`, code)
}

const (
	ann     = "ann@contoso.com"
	meeting = `{"id": "1", "subject": "x", "start": {"dateTime": "2026-03-01T09:00:00", "timeZone": "UTC"}, "end": {"dateTime": "2026-03-01T10:00:00", "timeZone": "UTC"}}`
)

// fields are of an hour in a zone.
func fields(t *testing.T, zoneName string) calendars.Fields {
	subject := "x"
	start := time.Date(2026, 3, 1, 10, 0, 0, 0, graphtest.Zone(t, zoneName))
	return calendars.Fields{Subject: &subject, Start: start, End: start.Add(time.Hour)}
}

// The error of an unreadable calendar explains the reason to the user.
func TestReadExplained(t *testing.T) {
	named := calendars.Calendar{Name: strings.Repeat("A", 61)}
	for _, tt := range []struct {
		c      calendars.Calendar
		status int
		code   string
		want   string
	}{
		{calendars.Calendar{Mailbox: ann}, 403, "ErrorAccessDenied", "read the calendar: ann@contoso.com does not share this calendar with you (Graph answered 403 ErrorAccessDenied)"},
		{calendars.Calendar{Mailbox: ann}, 404, "ErrorItemNotFound", "read the calendar: ann@contoso.com has no such calendar, or does not share it with you (Graph answered 404 ErrorItemNotFound)"},
		{calendars.Calendar{Mailbox: ann}, 404, "ErrorInvalidUser", "read the calendar: there is no mailbox ann@contoso.com; for the calendar of a group use type: group_calendar (Graph answered 404 ErrorInvalidUser)"},
		{calendars.Calendar{Mailbox: ann}, 404, "Request_ResourceNotFound", "read the calendar: there is no mailbox ann@contoso.com; for the calendar of a group use type: group_calendar (Graph answered 404 Request_ResourceNotFound)"},
		{named, 404, "ErrorItemNotFound", "read the calendar: there is no calendar with this id: " + named.Name + " (Graph answered 404 ErrorItemNotFound)"},
		{calendars.Calendar{}, 403, "ErrorAccessDenied", "read the calendar: Graph answered 403 ErrorAccessDenied: Access is denied. Check credentials and try again."},
		{calendars.Calendar{Mailbox: ann}, 502, "BadGateway", "read the calendar: Graph answered 502 BadGateway: Access is denied. Check credentials and try again."},
	} {
		g := serve(t, func(w http.ResponseWriter, r *http.Request) { refuse(w, tt.status, tt.code) })
		_, err := tt.c.View(t.Context(), g, tt.c.Name, time.Now(), time.Now().Add(time.Hour))
		if err == nil || err.Error() != tt.want {
			t.Errorf("got %v\nwant %s", err, tt.want)
		}
	}
}

// An answer without the essentials is an error: the missing events must not count as removed.
func TestIncomplete(t *testing.T) {
	for body, want := range map[string]string{
		`{}`:           "read the calendar: the answer is not a list",
		`null`:         "read the calendar: the answer is not a list",
		`{"value": 1}`: `read the calendar: Graph answered 200: the answer cannot be read: "value" is of type number`,
		`{"value": [` + meeting + `, {"start": {"dateTime": "2026-03-01T09:00:00"}}]}`: "read the calendar: the answer has no id of an event",
		`{"value": [{"id": "1"}]}`: "read the calendar: the answer has no start of an event",
		`{"value": [null]}`:        "read the calendar: the answer has no id of an event",
		`<html></html>`:            "read the calendar: Graph answered 200: the answer is a web page, not Graph's",
	} {
		g := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		got, err := calendars.Calendar{}.View(t.Context(), g, "", time.Now(), time.Now().Add(time.Hour))
		if got != nil || err == nil || err.Error() != want {
			t.Errorf("%s: got %v, %v\nwant %s", body, got, err, want)
		}
	}
	g := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"value": [{"name": "x"}]}`) })
	if _, err := (calendars.Calendar{}).List(t.Context(), g); err == nil || err.Error() != "list the calendars: the answer has no id of a calendar" {
		t.Errorf("a calendar without an id: %v", err)
	}
	g = serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{}`) })
	if _, err := calendars.GetSchedule(t.Context(), g, []string{ann}, time.Now(), time.Now().Add(time.Hour), 30); err == nil || err.Error() != "read when others are free: the answer is not a list" {
		t.Errorf("an answer that is no schedule: %v", err)
	}
	if _, err := (calendars.Calendar{}).Get(t.Context(), g, ""); err == nil || err.Error() != "read the calendar's properties: the answer has no id" {
		t.Errorf("an answer that is no calendar: %v", err)
	}
}

// After any failure at which Graph may have created the event already, the outcome is unknown, the error is not retryable, and a
// repetition sends the same key.
func TestOutcomeUnknown(t *testing.T) {
	cut := func(w http.ResponseWriter, body string) {
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, body)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"504":     func(w http.ResponseWriter, r *http.Request) { refuse(w, 504, "GatewayTimeout") },
		"502":     func(w http.ResponseWriter, r *http.Request) { refuse(w, 502, "BadGateway") },
		"reset":   func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"no body": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusCreated) },
		"half": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, meeting[:20])
		},
		"truncated": func(w http.ResponseWriter, r *http.Request) { cut(w, meeting) },
		"{}": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, "{}")
		},
		"null": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, "null")
		},
		"HTML": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<html>sign in to this network</html>")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var keys []string
			g := serve(t, func(w http.ResponseWriter, r *http.Request) {
				var sent struct{ TransactionID string }
				if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
					t.Error(err)
				}
				if keys = append(keys, sent.TransactionID); len(keys) > 1 {
					w.WriteHeader(http.StatusCreated)
					io.WriteString(w, meeting)
					return
				}
				answer(w, r)
			})
			_, err := calendars.Calendar{}.Create(t.Context(), g, calendars.Info{}, fields(t, "Europe/Berlin"), "key")
			var e *graph.Error
			if !errors.As(err, &e) || !e.OutcomeUnknown || e.Retryable() || !e.Transient() {
				t.Fatalf("got %+v", err)
			}
			if made, err := (calendars.Calendar{}).Create(t.Context(), g, calendars.Info{}, fields(t, "Europe/Berlin"), "key"); err != nil || made.ID != "1" {
				t.Errorf("again: %+v, %v", made, err)
			}
			if diff := cmp.Diff([]string{"key", "key"}, keys); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadOnly(t *testing.T) {
	no := false
	id := strings.Repeat("A", 61)
	var asked []string
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method)
		if r.Method == http.MethodGet {
			io.WriteString(w, `{"id": "1", "name": "Birthdays", "canEdit": false}`)
			return
		}
		refuse(w, 403, "ErrorAccessDenied")
	})
	for _, tt := range []struct {
		c     calendars.Calendar
		in    calendars.Info
		want  string
		asked []string
	}{
		{calendars.Calendar{Name: "Birthdays"}, calendars.Info{ID: id, Name: "Birthdays", CanEdit: &no}, "create the event: the calendar Birthdays is read-only", nil},
		{calendars.Calendar{Name: id}, calendars.Info{ID: id}, "create the event: the calendar Birthdays is read-only", []string{"POST", "GET"}},
		{calendars.Calendar{Mailbox: ann}, calendars.Info{}, "create the event: the calendar Birthdays is read-only for you: ann@contoso.com shares it that way", []string{"POST", "GET"}},
	} {
		asked = nil
		_, err := tt.c.Create(t.Context(), g, tt.in, fields(t, "UTC"), "key")
		if err == nil || err.Error() != tt.want || !graph.Is(err, graph.InvalidArgument) {
			t.Errorf("got %v\nwant %s", err, tt.want)
		}
		if diff := cmp.Diff(tt.asked, asked); diff != "" {
			t.Errorf("%s: asked (-want +got):\n%s", tt.want, diff)
		}
	}
	g = serve(t, func(w http.ResponseWriter, r *http.Request) { refuse(w, 403, "ErrorAccessDenied") })
	err := calendars.Calendar{Mailbox: ann}.Delete(t.Context(), g, "1")
	if want := "remove the event: ann@contoso.com does not let you change this event (Graph answered 403 ErrorAccessDenied)"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// sentStart returns how a start is written.
func sentStart(t *testing.T, f calendars.Fields) (string, error) {
	var sent struct {
		Start struct{ DateTime, TimeZone string }
	}
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		io.WriteString(w, meeting)
	})
	_, err := calendars.Calendar{}.Create(t.Context(), g, calendars.Info{}, f, "key")
	return sent.Start.DateTime + " " + sent.Start.TimeZone, err
}

// A series keeps its hour in a zone that is an alias, and is refused in one that Graph does not know.
func TestZones(t *testing.T) {
	for name, want := range map[string]string{
		"Europe/Berlin":    "2026-03-01T10:00:00.0000000 W. Europe Standard Time",
		"GB":               "2026-03-01T10:00:00.0000000 GMT Standard Time",
		"US/Eastern":       "2026-03-01T10:00:00.0000000 Eastern Standard Time",
		"EST5EDT":          "2026-03-01T10:00:00.0000000 Eastern Standard Time",
		"Etc/UTC":          "2026-03-01T10:00:00.0000000 UTC",
		"Antarctica/Troll": "2026-03-01T10:00:00.0000000 UTC", // as the same instant, no series
	} {
		f := fields(t, name)
		got, err := sentStart(t, f)
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, want)
		}
		f.Recurrence = &graph.Recurrence{Type: "weekly", Start: f.Start}
		_, err = sentStart(t, f)
		if name != "Antarctica/Troll" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if want := "timezone: Microsoft does not know the time zone Antarctica/Troll, so a series in it would move when its clocks change; want another one, such as Europe/Berlin"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v", name, err)
		}
		f.WholeDays = true
		if got, err := sentStart(t, f); err != nil || got != "2026-03-01T00:00:00.0000000 UTC" {
			t.Errorf("%s: whole days: %s, %v", name, got, err)
		}
	}
	f := fields(t, "Antarctica/Troll")
	if _, err := (calendars.Calendar{}).Update(t.Context(), serve(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") }), "1", f, true); !graph.Is(err, graph.InvalidArgument) {
		t.Errorf("a series that is moved: %v", err)
	}
}

// A long range is read in parts, and an event on a border once.
func TestViewInParts(t *testing.T) {
	var spans []string
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		spans = append(spans, q.Get("startDateTime")+" "+q.Get("endDateTime"))
		io.WriteString(w, `{"value": [`+meeting+`]}`)
	})
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	events, err := calendars.Calendar{}.View(t.Context(), g, "", from, from.AddDate(6, 0, 0))
	if err != nil || len(events) != 1 {
		t.Errorf("%d events, %v", len(events), err)
	}
	if diff := cmp.Diff([]string{"2020-01-01T00:00:00Z 2024-12-30T00:00:00Z", "2024-12-30T00:00:00Z 2026-01-01T00:00:00Z"}, spans); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDialIn(t *testing.T) {
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, meeting[:len(meeting)-1]+`, "onlineMeeting": {"joinUrl": "https://teams.example/1", "conferenceId": "425", "quickDial": "+1,,425#", "tollNumber": "+1", "tollFreeNumbers": ["+2", "+3"]}}`)
	})
	e, err := calendars.Calendar{}.Read(t.Context(), g, "1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(e.Item(time.UTC).DialIn)
	if want := `{"toll_number":"+1","toll_free_number":"+2","conference_id":"425","quick_dial":"+1,,425#"}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
}

const joinURL = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_Y2Zi%40thread.v2/0?context=%7b%22Tid%22%3a%221%22%7d"

const (
	line  = `<div style="width:100%"><span style="white-space:nowrap; color:#5F5F5F; opacity:.36">________________________________________________________________________________</span></div>`
	block = line + `<div class="me-email-text" lang="en-US"><div><span>Microsoft Teams meeting</span></div><div><a href="` + joinURL + `">Join the meeting</a></div><div>Meeting ID: 234 567</div></div>` + line
)

// A new body of an online meeting keeps its join block.
func TestMeetingIsKept(t *testing.T) {
	const refused = "body: want no body: the instructions for joining this online meeting are in its body and cannot be kept; change the body in Outlook"
	page := func(s string) string { return "<html><head></head><body>" + s + "</body></html>" }
	for _, tt := range []struct {
		name, old, content string
		html               bool
		want               string // the content that is sent, as HTML
		wantErr            string
	}{
		{"text", page("<p>old</p>" + block), "a < b\nc", false, page("a &lt; b<br/>c" + block), ""},
		{"HTML", page("<p>old</p>" + block), "<p>new</p>", true, page("<p>new</p>" + block), ""},
		{"a whole page", page("<p>old</p>" + block), page("<p>new</p>"), true, page("<p>new</p>" + block), ""},
		{"nothing", page("<p>old</p>" + block), "", false, page(block), ""},
		{"in a wrapper, with text below", page(`<div class="WordSection1"><p>old</p>` + block + "<p>below</p></div>"), "new", false, page("new" + block), ""},
		{"without lines", page(`<p>old</p><div class="me-email-text"><a href="` + joinURL + `">Join</a></div>`), "new", false, page(`new<div class="me-email-text"><a href="` + joinURL + `">Join</a></div>`), ""},
		{"through a service that checks links", page("<p>old</p>" + line + `<p><a href="https://eur01.safelinks.protection.outlook.com/?url=` + escape(joinURL) + `&amp;data=1">Join</a></p>` + line),
			"new", false, page("new" + line + `<p><a href="https://eur01.safelinks.protection.outlook.com/?url=` + escape(joinURL) + `&amp;data=1">Join</a></p>` + line), ""},
		{"the old one, changed", page("<p>old</p>" + block), page("<p>new</p>" + block), true, page("<p>new</p>" + block), ""},
		{"nothing to keep", page("<p>old</p>"), "new", false, "new", ""},
		{"a link in a form that is not known", page(`<p>Join: ` + joinURL + `</p>`), "new", false, "", refused},
		{"a link amid the text", page(`<p>Join <a href="` + joinURL + `">here</a></p>`), "new", false, "", refused},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent *struct {
				Body struct{ ContentType, Content string }
			}
			g := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					if !strings.Contains(strings.Join(r.Header["Prefer"], ","), `outlook.body-content-type="html"`) {
						t.Errorf("prefers %q", r.Header["Prefer"])
					}
					json.NewEncoder(w).Encode(map[string]any{"id": "1", "isOnlineMeeting": true, "onlineMeeting": map[string]any{"joinUrl": joinURL}, "body": map[string]any{"contentType": "html", "content": tt.old}})
					return
				}
				if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
					t.Error(err)
				}
				io.WriteString(w, meeting)
			})
			_, err := calendars.Calendar{}.Update(t.Context(), g, "1", calendars.Fields{Body: &calendars.Body{Content: tt.content, HTML: tt.html}}, false)
			if tt.wantErr != "" {
				if sent != nil || err == nil || err.Error() != tt.wantErr {
					t.Errorf("got %v, sent %v", err, sent)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, sent.Body.Content); diff != "" || (sent.Body.ContentType == "html") != strings.HasPrefix(tt.want, "<") {
				t.Errorf("sent as %s (-want +got):\n%s", sent.Body.ContentType, diff)
			}
		})
	}
	g := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			io.WriteString(w, `{"id": "1", "isOnlineMeeting": false, "body": {"contentType": "html", "content": "`+strings.Repeat("_", 30)+`"}}`)
			return
		}
		b, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(b), `"content":"new","contentType":"text"`) && !strings.Contains(string(b), `"contentType":"text","content":"new"`) {
			t.Errorf("sent %s", b)
		}
		io.WriteString(w, meeting)
	})
	if _, err := (calendars.Calendar{}).Update(t.Context(), g, "1", calendars.Fields{Body: &calendars.Body{Content: "new"}}, false); err != nil {
		t.Error(err)
	}
}

// An event whose properties are unknown may be an online meeting.
func TestMeetingIsNotKnown(t *testing.T) {
	for _, body := range []string{"{}", "null"} {
		g := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				t.Errorf("%s: sent %s", body, r.Method)
			}
			io.WriteString(w, body)
		})
		_, err := calendars.Calendar{}.Update(t.Context(), g, "1", calendars.Fields{Body: &calendars.Body{Content: "new"}}, false)
		if want := "read the event's body: the answer has no id"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", body, err, want)
		}
	}
}

func escape(s string) string {
	return strings.NewReplacer("%", "%25", ":", "%3A", "/", "%2F", "?", "%3F", "=", "%3D").Replace(s)
}
