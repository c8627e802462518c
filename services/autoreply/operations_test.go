package autoreply_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/htmltext"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/autoreply"
)

const settingsPath = "/v1.0/me/mailboxSettings"

// now is the moment of every test: a winter's noon in Berlin.
func now(t testing.TB) time.Time {
	return time.Date(2026, 1, 15, 12, 0, 0, 0, graphtest.Zone(t, "Europe/Berlin"))
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func contoso(t testing.TB, r simulator.AutomaticReplies) *simulator.Simulator {
	s := simulator.Contoso(simulator.Options{Now: func() time.Time { return now(t) }})
	s.SetAutomaticReplies(simulator.Adele, r)
	return s
}

func operation(t testing.TB, name string) services.Operation {
	t.Helper()
	for _, op := range autoreply.Operations() {
		if op.Name == name {
			return op
		}
	}
	t.Fatalf("no operation %q", name)
	return services.Operation{}
}

func call(t testing.TB, s *simulator.Simulator, name, request string, scopes ...string) (mailbox.AutomaticReplies, error) {
	t.Helper()
	r, err := services.Decode(operation(t, name), []byte(request))
	if err != nil {
		return mailbox.AutomaticReplies{}, err
	}
	result, err := r.Execute(t.Context(), graphtest.Client(t, s, simulator.Adele, scopes...), services.Attempt{ID: "1", Now: now(t)})
	if err != nil {
		return mailbox.AutomaticReplies{}, err
	}
	return result.(mailbox.AutomaticReplies), nil
}

// sent are the bodies of the writes.
func sent(s *simulator.Simulator) []string {
	var bodies []string
	for _, r := range s.Requests() {
		if r.Method != http.MethodGet {
			var b bytes.Buffer
			if json.Compact(&b, r.Body) != nil {
				b.Write(r.Body)
			}
			bodies = append(bodies, r.Method+" "+r.Path+" "+b.String())
		}
	}
	return bodies
}

// TestSent pins what each request changes, and that nothing else is sent.
func TestSent(t *testing.T) {
	ahead := simulator.AutomaticReplies{Start: at("2026-02-01T08:00:00Z"), End: at("2026-02-08T08:00:00Z")}
	over := simulator.AutomaticReplies{Start: at("2026-01-01T08:00:00Z"), End: at("2026-01-08T08:00:00Z")}
	with := func(r simulator.AutomaticReplies, status string) simulator.AutomaticReplies {
		r.Status = status
		return r
	}
	for _, tt := range []struct {
		name     string
		before   simulator.AutomaticReplies
		op, json string
		want     string // the automaticRepliesSetting that is sent; "": nothing is
	}{
		{"on at once", over, "enable", `{}`, `{"status":"alwaysEnabled"}`},
		{"on in a schedule that has begun", simulator.AutomaticReplies{Start: at("2026-01-15T10:59:59Z"), End: at("2026-02-08T08:00:00Z")}, "enable", `{}`, `{"status":"alwaysEnabled"}`},
		{"on arms a schedule that lies ahead", ahead, "enable", `{}`,
			`{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2026-02-01T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-02-08T08:00:00.0000000","timeZone":"UTC"}}`},
		{"on in a mailbox without a schedule", simulator.AutomaticReplies{Start: at("2026-01-15T12:00:00Z"), End: at("2026-01-16T12:00:00Z")}, "enable", `{}`, `{"status":"alwaysEnabled"}`},
		{"on before a day that somebody chose", simulator.AutomaticReplies{Start: at("2026-01-15T13:00:00Z"), End: at("2026-01-16T13:00:00Z")}, "enable", `{}`,
			`{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2026-01-15T13:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-01-16T13:00:00.0000000","timeZone":"UTC"}}`},
		{"on while on", with(over, "alwaysEnabled"), "enable", `{}`, ``},
		{"on for a time", over, "enable", `{"start": "2026-03-01T09:00:00", "end": "2026-07-01 09:00"}`,
			`{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2026-03-01T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-07-01T07:00:00.0000000","timeZone":"UTC"}}`},
		{"on for a time with a zone", over, "enable", `{"start": "2026-03-01T09:00:00-05:00", "end": "2026-03-02T09:00:00Z"}`,
			`{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2026-03-01T14:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-03-02T09:00:00.0000000","timeZone":"UTC"}}`},
		{"on for a time that is stored", ahead, "enable", `{"start": "2026-02-01T08:00:00Z", "end": "2026-02-08T08:00:00Z"}`,
			`{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2026-02-01T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-02-08T08:00:00.0000000","timeZone":"UTC"}}`},
		{"on for days", over, "enable", `{"start": "2026-03-01", "end": "2026-07-01"}`,
			`{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2026-02-28T23:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-06-30T22:00:00.0000000","timeZone":"UTC"}}`},
		{"on with everything", over, "enable", `{"external_reply": "out", "internal_reply": "in", "external_audience": "CONTACTSONLY"}`,
			`{"status":"alwaysEnabled","externalAudience":"contactsOnly","internalReplyMessage":"in","externalReplyMessage":"out"}`},
		{"off", with(over, "alwaysEnabled"), "disable", `{}`, `{"status":"disabled"}`},
		{"off while off", over, "disable", `{}`, ``},
		{"mode", ahead, "update", `{"mode": "Scheduled"}`,
			`{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2026-02-01T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-02-08T08:00:00.0000000","timeZone":"UTC"}}`},
		{"audience", over, "update", `{"external_audience": "none"}`, `{"externalAudience":"none"}`},
		{"the same audience", over, "update", `{"external_audience": "all"}`, ``},
		{"plain text", over, "update", `{"internal_reply": "1 < 2\nTom & Jerry's\r\n"}`, `{"internalReplyMessage":"1 &lt; 2<br>Tom &amp; Jerry&#39;s<br>"}`},
		{"HTML", over, "update", `{"internal_reply": "<p>Hello</p>"}`, `{"internalReplyMessage":"<p>Hello</p>"}`},
		{"HTML within a text", over, "update", `{"external_reply": "one<br/>two"}`, `{"externalReplyMessage":"one<br/>two"}`},
		{"no text", over, "update", `{"external_reply": ""}`, `{"externalReplyMessage":""}`},
		{"the text that is shown", over, "update", `{"internal_reply": "I am away. Please ask Megan."}`, ``},
		{"the HTML that is stored", over, "update", `{"internal_reply": "<html>\n<body>\n<p>I am away. Please ask Megan.</p>\n</body>\n</html>\n"}`, ``},
		{"start before the end", ahead, "update", `{"start": "2026-02-02T09:00:00"}`,
			`{"scheduledStartDateTime":{"dateTime":"2026-02-02T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-02-08T08:00:00.0000000","timeZone":"UTC"}}`},
		{"start behind the end", ahead, "update", `{"start": "2026-03-01T09:00:00"}`,
			`{"scheduledStartDateTime":{"dateTime":"2026-03-01T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-03-08T08:00:00.0000000","timeZone":"UTC"}}`},
		{"start at the end", ahead, "update", `{"start": "2026-02-08T08:00:00Z"}`,
			`{"scheduledStartDateTime":{"dateTime":"2026-02-08T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-02-15T08:00:00.0000000","timeZone":"UTC"}}`},
		{"end", ahead, "update", `{"end": "2026-02-03T08:00:00Z"}`,
			`{"scheduledStartDateTime":{"dateTime":"2026-02-01T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-02-03T08:00:00.0000000","timeZone":"UTC"}}`},
		{"start where no schedule makes sense", simulator.AutomaticReplies{Start: at("2026-02-01T08:00:00Z"), End: at("2026-01-01T08:00:00Z")}, "update", `{"start": "2026-02-01T08:00:00Z"}`,
			`{"scheduledStartDateTime":{"dateTime":"2026-02-01T08:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-02-02T08:00:00.0000000","timeZone":"UTC"}}`},
		{"scheduled where no schedule makes sense", simulator.AutomaticReplies{Start: at("2026-02-01T08:00:00Z"), End: at("2026-01-01T08:00:00Z")}, "update", `{"mode": "scheduled"}`,
			`{"status":"scheduled","scheduledStartDateTime":{"dateTime":"2026-01-15T11:00:00.0000000","timeZone":"UTC"},"scheduledEndDateTime":{"dateTime":"2026-01-16T11:00:00.0000000","timeZone":"UTC"}}`},
		{"audience where no schedule makes sense", simulator.AutomaticReplies{Start: at("2026-02-01T08:00:00Z"), End: at("2026-01-01T08:00:00Z")}, "update", `{"external_audience": "none"}`,
			`{"externalAudience":"none"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := contoso(t, tt.before)
			setting, err := call(t, s, tt.op, tt.json, "MailboxSettings.ReadWrite")
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if tt.want != "" {
				want = []string{"PATCH " + settingsPath + ` {"automaticRepliesSetting":` + tt.want + `}`}
			}
			if d := cmp.Diff(canonical(t, want), canonical(t, sent(s))); d != "" {
				t.Errorf("sent (-want +got):\n%s", d)
			}
			stored := s.AutomaticReplies(simulator.Adele)
			if d := cmp.Diff(mailbox.AutomaticReplies{
				Mode: stored.Status, Audience: stored.ExternalAudience, Internal: stored.InternalReply, External: stored.ExternalReply, Start: stored.Start, End: stored.End,
			}, setting); d != "" {
				t.Errorf("the result is not what is stored (-stored +result):\n%s", d)
			}
			if setting.Start.Location().String() != "Europe/Berlin" {
				t.Errorf("start is in %s", setting.Start.Location())
			}
			if n := s.Total(); n > 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// canonical orders the properties of JSON objects: the SDK writes them in any order.
func canonical(t *testing.T, bodies []string) []string {
	t.Helper()
	var out []string
	for _, b := range bodies {
		i := bytes.IndexByte([]byte(b), '{')
		var v any
		if err := json.Unmarshal([]byte(b[i:]), &v); err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b[:i]+string(j))
	}
	return out
}

func TestLongText(t *testing.T) {
	long := string(bytes.Repeat([]byte("äbc "), 100))
	s := contoso(t, simulator.AutomaticReplies{InternalReply: "<html><body><p><b>" + long + "</b></p></body></html>"})
	shown := autoreply.Short(htmltext.Text(s.AutomaticReplies(simulator.Adele).InternalReply))
	if n := len([]rune(shown)); n != 255 {
		t.Fatalf("shown with %d characters", n)
	}
	request, err := json.Marshal(map[string]string{"internal_reply": shown})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := call(t, s, "update", string(request), "MailboxSettings.ReadWrite"); err != nil {
		t.Fatal(err)
	}
	if got := sent(s); got != nil {
		t.Errorf("setting what is shown sent %s", got)
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ op, json, want string }{
		{"enable", `{"start": "2026-03-01T09:00:00"}`, `end: want both start and end, or neither of them`},
		{"enable", `{"end": "2026-03-01T09:00:00"}`, `start: want both start and end, or neither of them`},
		{"enable", `{"start": "noon", "end": "2026-03-01T09:00:00"}`, `start: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not "noon"`},
		{"enable", `{"start": "2026-03-01T09:00:00", "end": "2026-03-01"}`, `end: want a time after the start, 2026-03-01T09:00:00+01:00, not 2026-03-01T00:00:00+01:00`},
		{"enable", `{"start": "2026-03-01T09:00:00", "end": "2026-03-01T09:00:00"}`, `end: want a time after the start, 2026-03-01T09:00:00+01:00, not 2026-03-01T09:00:00+01:00`},
		{"enable", `{"start": "2026-03-02T09:00:00", "end": "2026-03-01T09:00:00Z"}`, `end: want a time after the start, 2026-03-02T09:00:00+01:00, not 2026-03-01T09:00:00Z`},
		{"enable", `{"start": "2025-03-02T09:00:00", "end": "2026-01-15T11:59:59"}`, `end: want a time in the future, not 2026-01-15T11:59:59+01:00`},
		{"enable", `{"external_audience": "everybody"}`, `external_audience: want one of none, contactsOnly, all, not "everybody"`},
		{"update", `{}`, `want at least one of mode, internal_reply, external_reply, external_audience, start, end`},
		{"update", `{"mode": null}`, `want at least one of mode, internal_reply, external_reply, external_audience, start, end`},
		{"update", `{"mode": "on"}`, `mode: want one of disabled, alwaysEnabled, scheduled, not "on"`},
		{"update", `{"end": "2026-01-31T08:00:00Z"}`, `end: want a time after the start, 2026-02-01T09:00:00+01:00, not 2026-01-31T08:00:00Z`},
		{"update", `{"end": "soon"}`, `end: want a time or a date, such as 2026-01-01T12:00:00 or 2026-01-01, not "soon"`},
	} {
		s := contoso(t, simulator.AutomaticReplies{Start: at("2026-02-01T08:00:00Z"), End: at("2026-02-08T08:00:00Z")})
		_, err := call(t, s, tt.op, tt.json, "MailboxSettings.ReadWrite")
		if err == nil || err.Error() != tt.want || !graph.Is(err, graph.InvalidArgument) {
			t.Errorf("%s %s:\n got %v\nwant %s", tt.op, tt.json, err, tt.want)
		}
		if got := sent(s); got != nil {
			t.Errorf("%s %s: sent %s", tt.op, tt.json, got)
		}
	}
}

// TestNeeds pins that what an operation says it needs is enough, and not more than that.
func TestNeeds(t *testing.T) {
	for _, op := range autoreply.Operations() {
		request := map[string]string{"enable": `{}`, "disable": `{}`, "update": `{"external_audience": "none"}`}[op.Name]
		before := simulator.AutomaticReplies{Status: "scheduled", Start: at("2026-01-01T08:00:00Z"), End: at("2026-01-08T08:00:00Z")}
		if _, err := call(t, contoso(t, before), op.Name, request, graph.Scopes(op.Permissions)...); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
		for i := range op.Permissions {
			_, err := call(t, contoso(t, before), op.Name, request, append(graph.Scopes(slices.Delete(slices.Clone(op.Permissions), i, i+1)), "MailboxSettings.Read")...)
			if !graph.Is(err, graph.PermissionMissing) {
				t.Errorf("%s without %s: %v", op.Name, op.Permissions[i].Scope, err)
			}
		}
		if op.Retry != services.Idempotent {
			t.Errorf("%s: an unknown outcome must be tried again", op.Name)
		}
	}
}

func TestFaults(t *testing.T) {
	before := simulator.AutomaticReplies{Start: at("2026-01-01T08:00:00Z"), End: at("2026-01-08T08:00:00Z")}
	t.Run("the answer is lost", func(t *testing.T) {
		s := contoso(t, before)
		s.Fail(simulator.Fault{Method: http.MethodPatch, Path: settingsPath, Status: http.StatusGatewayTimeout, Done: true})
		if _, err := call(t, s, "enable", `{}`, "MailboxSettings.ReadWrite"); err == nil {
			t.Fatal("no error")
		}
		setting, err := call(t, s, "enable", `{}`, "MailboxSettings.ReadWrite")
		if err != nil || setting.Mode != mailbox.AlwaysEnabled {
			t.Errorf("done again: %v, %v", setting.Mode, err)
		}
	})
	for name, fault := range map[string]simulator.Fault{
		"empty answer":   {Status: http.StatusNoContent, Done: true, Body: new(string)},
		"another answer": {Change: func(body map[string]any) { delete(body, "automaticRepliesSetting") }},
		"half an answer": {Change: func(body map[string]any) {
			delete(body["automaticRepliesSetting"].(map[string]any), "internalReplyMessage")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := contoso(t, before)
			fault.Method, fault.Path = http.MethodPatch, settingsPath
			s.Fail(fault)
			setting, err := call(t, s, "enable", `{}`, "MailboxSettings.ReadWrite")
			if err != nil {
				t.Fatal(err)
			}
			if setting.Mode != mailbox.AlwaysEnabled || setting.Internal == "" {
				t.Errorf("got %+v", setting)
			}
		})
	}
}

func TestData(t *testing.T) {
	s := contoso(t, simulator.AutomaticReplies{Start: at("2026-02-01T08:00:00Z"), End: at("2026-07-08T08:00:00Z")})
	setting, err := call(t, s, "enable", `{}`, "MailboxSettings.ReadWrite")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(setting.Data())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"end":"2026-07-08T10:00:00+02:00","external_audience":"all","external_reply":"I am away and will answer when I am back.",` +
		`"internal_reply":"I am away. Please ask Megan.","mode":"scheduled","start":"2026-02-01T09:00:00+01:00"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got, err = json.Marshal(mailbox.AutomaticReplies{}.Data())
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"end":null,"external_audience":null,"external_reply":"","internal_reply":"","mode":null,"start":null}`; string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
