package mailbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
)

func client(t *testing.T, f graphtest.RoundTripper) *graph.Client {
	t.Helper()
	g, err := graph.New(graph.Options{Root: "https://graph.example", Transport: f, Tokens: graphtest.Tokens{}})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestTimeZone(t *testing.T) {
	for _, test := range []struct{ answer, want, wantErr string }{
		{`{"timeZone": "W. Europe Standard Time"}`, "Europe/Berlin", ""},
		{`{"timeZone": "Europe/Vienna"}`, "Europe/Vienna", ""},
		{`{"timeZone": "UTC"}`, "UTC", ""},
		{`{"timeZone": "tzone://Microsoft/Custom"}`, "", `read the time zone of the mailbox: unknown time zone "tzone://Microsoft/Custom"`},
		{`{"timeZone": "Customized Time Zone"}`, "", `read the time zone of the mailbox: unknown time zone "Customized Time Zone"`},
		{`{"timeZone": "Local"}`, "", `read the time zone of the mailbox: unknown time zone "Local"`},
		{`{}`, "", `read the time zone of the mailbox: the answer has no time zone`},
		{`null`, "", `read the time zone of the mailbox: the answer has no time zone`},
	} {
		c := client(t, func(r *http.Request) (*http.Response, error) {
			if r.URL.String() != "https://graph.example/v1.0/me/mailboxSettings?$select=timeZone" {
				t.Errorf("asked for %s", r.URL)
			}
			return graphtest.Answer(200, test.answer), nil
		})
		got, err := mailbox.TimeZone(t.Context(), c)
		switch {
		case err != nil && err.Error() != test.wantErr, err == nil && test.wantErr != "":
			t.Errorf("%s: error %v, want %s", test.answer, err, test.wantErr)
		case err == nil && got.String() != test.want:
			t.Errorf("%s: got %v, want %s", test.answer, got, test.want)
		}
	}
}

func TestReadAutomaticReplies(t *testing.T) {
	for _, tt := range []struct {
		body, want string // an error
	}{
		{`{"automaticRepliesSetting": {"status": "disabled"}}`, ""},
		{`{"automaticRepliesSetting": {"status": "somethingNew"}}`, ""},
		{`{"automaticRepliesSetting": {}}`, "read the automatic replies: the answer has no status"},
		{`{}`, "read the automatic replies: the answer has no status"},
		{`null`, "read the automatic replies: the answer has no status"},
		{``, "read the automatic replies: Graph answered 200: the answer is empty"},
	} {
		c := client(t, func(*http.Request) (*http.Response, error) { return graphtest.Answer(200, tt.body), nil })
		_, err := mailbox.ReadAutomaticReplies(t.Context(), c, time.UTC)
		if err == nil && tt.want != "" || err != nil && err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.body, err, tt.want)
		}
	}
}

// Graph's answer to a write is used as the state only if it is complete; otherwise the state is read.
func TestWriteAutomaticReplies(t *testing.T) {
	start := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	old := mailbox.AutomaticReplies{Mode: mailbox.Disabled, Audience: "none", Start: start, End: start.Add(time.Hour)}
	want := old
	want.Mode = mailbox.Scheduled
	const stored = `{"automaticRepliesSetting": {"status": "scheduled", "externalAudience": "none", "internalReplyMessage": "", "externalReplyMessage": "",
		"scheduledStartDateTime": {"dateTime": "2026-01-15T12:00:00", "timeZone": "UTC"}, "scheduledEndDateTime": {"dateTime": "2026-01-15T13:00:00", "timeZone": "UTC"}}}`
	for _, answer := range []string{stored, "", "{}", "null", `{"automaticRepliesSetting": {"status": "scheduled"}}`} {
		var sent string
		c := client(t, func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet {
				return graphtest.Answer(200, stored), nil
			}
			b, _ := io.ReadAll(r.Body)
			sent = string(b)
			return graphtest.Answer(200, answer), nil
		})
		got, err := mailbox.WriteAutomaticReplies(t.Context(), c, old, want, time.UTC)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: got %+v, %v", answer, got, err)
		}
		if diff := cmp.Diff(`{"automaticRepliesSetting":{"scheduledEndDateTime":{"dateTime":"2026-01-15T13:00:00.0000000","timeZone":"UTC"},"scheduledStartDateTime":{"dateTime":"2026-01-15T12:00:00.0000000","timeZone":"UTC"},"status":"scheduled"}}`, sortedJSON(t, sent)); diff != "" {
			t.Errorf("a mode without its times was sent (-want +got):\n%s", diff)
		}
	}
}

func sortedJSON(t *testing.T, s string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
