package graph_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

// tokens hands out numbered tokens; Renew makes the next one.
type tokens struct {
	mu       sync.Mutex
	number   int
	failure  error // of Token
	refusal  error // of Renew
	granted  []string
	personal bool
}

func (s *tokens) Token(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("secret-token-%d", s.number), s.failure
}

func (s *tokens) Renew(_ context.Context, rejected, _ string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusal != nil {
		return "", s.refusal
	}
	if rejected == fmt.Sprintf("secret-token-%d", s.number) {
		s.number++
	}
	return fmt.Sprintf("secret-token-%d", s.number), nil
}

func (s *tokens) Granted() []string { return s.granted }

func (s *tokens) Personal() bool { return s.personal }

// serve returns a client of a server.
func serve(t *testing.T, h http.HandlerFunc) (*graph.Client, *httptest.Server) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return client(t, graph.Options{Root: srv.URL}), srv
}

func client(t *testing.T, o graph.Options) *graph.Client {
	t.Helper()
	if o.Root == "" {
		o.Root = "https://graph.example"
	}
	if o.Tokens == nil {
		o.Tokens = new(tokens)
	}
	c, err := graph.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func read(t *testing.T, c *graph.Client) *abstractions.RequestInformation {
	t.Helper()
	r, err := c.Me().MailboxSettings().ToGetRequestInformation(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, c *graph.Client) *abstractions.RequestInformation {
	t.Helper()
	event := models.NewEvent()
	subject := "secret subject"
	event.SetSubject(&subject)
	r, err := c.Me().Events().ToPostRequestInformation(t.Context(), event, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wants compares an error with its text and its fields; Err and Op are in the text.
func wants(t *testing.T, err error, text string, want graph.Error) {
	t.Helper()
	var got *graph.Error
	if !errors.As(err, &got) {
		t.Fatalf("error %v is not a *graph.Error; want %q", err, text)
	}
	if err.Error() != text {
		t.Errorf("error:\n got %s\nwant %s", err, text)
	}
	if diff := cmp.Diff(want, *got, cmpopts.IgnoreFields(graph.Error{}, "Err", "Op", "Message")); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

func TestRead(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if want := "/v1.0/me/calendars/AA%2FBB%2BCC%3D/calendarView?$select=id,subject&endDateTime=2026-01-02T00%3A00%3A00Z&startDateTime=2026-01-01T00%3A00%3A00Z"; sorted(r.RequestURI) != want {
			t.Errorf("asked for\n     %s\nwant %s", sorted(r.RequestURI), want)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer secret-token-0" {
			t.Errorf("authorization %q", got)
		}
		if !strings.HasPrefix(r.Header.Get("SdkVersion"), "graph-go-core/") || r.Header.Get("Client-Request-Id") == "" {
			t.Errorf("telemetry is missing: %v", r.Header)
		}
		if got := r.Header["Prefer"]; !cmp.Equal(got, []string{`IdType="ImmutableId"`}) {
			t.Errorf("preferences %q", got)
		}
		io.WriteString(w, `{"value": [{"id": "1", "subject": "x"}], "more": true}`)
	})
	start, end := "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
	headers := abstractions.NewRequestHeaders()
	graph.PreferImmutableIDs(headers)
	r, err := c.Me().Calendars().ByCalendarId("AA/BB+CC=").CalendarView().ToGetRequestInformation(t.Context(),
		&users.ItemCalendarsItemCalendarViewRequestBuilderGetRequestConfiguration{
			Headers: headers,
			QueryParameters: &users.ItemCalendarsItemCalendarViewRequestBuilderGetQueryParameters{
				StartDateTime: &start, EndDateTime: &end, Select: []string{"id", "subject"},
			},
		})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Value []struct{ ID, Subject string }
	}
	if err := c.Do(t.Context(), "read the calendar", r, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Value) != 1 || got.Value[0].Subject != "x" {
		t.Errorf("got %+v", got)
	}
	if r.Headers.ContainsKey("Authorization") {
		t.Error("the token was left in the request")
	}
}

// sorted is an address with its parameters in order: the SDK keeps them in a map.
func sorted(uri string) string {
	path, query, _ := strings.Cut(uri, "?")
	parameters := strings.Split(query, "&")
	for i := range parameters {
		for j := range i {
			if parameters[i] < parameters[j] {
				parameters[i], parameters[j] = parameters[j], parameters[i]
			}
		}
	}
	return path + "?" + strings.Join(parameters, "&")
}

func TestWrite(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Content-Encoding") != "" || r.ContentLength != int64(len(body)) {
			t.Errorf("the body is encoded or of unknown length: %v", r.Header)
		}
		if got := r.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("content type %q", got)
		}
		var got, want any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		json.Unmarshal([]byte(`{"@odata.type": "#microsoft.graph.event", "subject": "x", "categories": [], "start": {"dateTime": "2026-01-01T10:00:00.0000000", "timeZone": "UTC"}, "location": null}`), &want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, `{"id": "7"}`)
	})
	event := models.NewEvent()
	subject := "x"
	event.SetSubject(&subject)
	event.SetCategories([]string{})
	event.SetStart(graph.FormatUTC(date(t, "2026-01-01T11:00:00+01:00")))
	event.SetLocation(models.NewLocation())
	event.SetLocation(nil)
	r, err := c.Me().Events().ByEventId("7").ToPatchRequestInformation(t.Context(), event, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out struct{ ID string }
	if err := c.Do(t.Context(), "change the event", r, &out); err != nil || out.ID != "7" {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestHTTP2AndCompressedAnswers(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s, accepts %q", r.Proto, r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, `{"timeZone": "UTC"}`)
		z.Close()
	}))
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	transport := graph.NewTransport()
	transport.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	transport.TLSClientConfig.NextProtos = nil
	c := client(t, graph.Options{Root: srv.URL, Transport: transport})
	for range 2 {
		var settings struct{ TimeZone string }
		if err := c.Do(t.Context(), "read", read(t, c), &settings); err != nil || settings.TimeZone != "UTC" {
			t.Errorf("got %v, %v", settings, err)
		}
	}

	c = client(t, graph.Options{Root: srv.URL})
	wants(t, c.Do(t.Context(), "write", write(t, c), nil), "write: tls: failed to verify certificate: x509: certificate signed by unknown authority", graph.Error{Reason: graph.Network})
}

func TestEmptyAnswers(t *testing.T) {
	for _, status := range []int{200, 202, 204} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
		out := struct{ ID string }{"before"}
		if err := c.Do(t.Context(), "accept", write(t, c), &out); err != nil || out.ID != "before" {
			t.Errorf("%d to a write: %v, %+v", status, err, out)
		}
		if err := c.Do(t.Context(), "accept", write(t, c), nil); err != nil {
			t.Errorf("%d to a write: %v", status, err)
		}
		err := c.Do(t.Context(), "read the settings", read(t, c), &out)
		wants(t, err, fmt.Sprintf("read the settings: Graph answered %d: the answer is empty", status), graph.Error{Reason: graph.Refused, Status: status})
	}
}

func TestUnreadableAnswers(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{`<html>secret</html>`, "the answer is a web page, not Graph's"},
		{`Secret`, "the answer cannot be read: invalid character 'S' looking for beginning of value"},
		{`{"id": "1`, "the answer cannot be read: unexpected end of JSON input"},
		{`{"start": {"dateTime": 5}}`, `the answer cannot be read: "Start.dateTime" is of type number`},
		{`{"when": "secret"}`, "the answer cannot be read: it has a value of the wrong type"},
		{strings.Repeat(" ", 1<<20) + "1", "the answer is larger than 1 MiB"},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, test.body) })
		graph.SetBounds(c, 1<<20, 1<<20)
		var out struct {
			ID    string
			Start graph.DateTimeTimeZone
			When  moment
		}
		err := c.Do(t.Context(), "read the event", read(t, c), &out)
		wants(t, err, "read the event: Graph answered 200: "+test.want, graph.Error{Reason: graph.Refused, Status: 200})
		// It has happened, but what came of it is not known.
		err = c.Do(t.Context(), "create the event", write(t, c), &out)
		wants(t, err, "create the event: Graph answered 200: "+test.want, graph.Error{Reason: graph.Refused, Status: 200, OutcomeUnknown: true})
	}
}

// A write whose answer is ignored does not succeed if a proxy in between answers 200.
func TestUnreadableAnswersThatAreIgnored(t *testing.T) {
	for _, test := range []struct{ body, want string }{
		{"", ""},
		{"{}", ""},
		{`{"id": "1"}`, ""},
		{"<html>sign in to the hotel's network</html>", "accept: Graph answered 200: the answer is a web page, not Graph's"},
		{"OK", "accept: Graph answered 200: the answer is not JSON"},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, test.body) })
		err := c.Do(t.Context(), "accept", write(t, c), nil)
		if test.want == "" {
			if err != nil {
				t.Errorf("%q: %v", test.body, err)
			}
			continue
		}
		wants(t, err, test.want, graph.Error{Reason: graph.Refused, Status: 200, OutcomeUnknown: true})
	}
}

type moment struct{}

func (*moment) UnmarshalJSON(b []byte) error { return fmt.Errorf("not a moment: %s", b) }

func TestRefusals(t *testing.T) {
	const body = `{"error": {"code": "SomeCode", "message": "Some\r\n\tmessage.", "innerError": {"request-id": "inner"}}}`
	for _, test := range []struct {
		status         int
		body, wantText string
		want           graph.Error
		wantUnknown    bool // of a write
	}{
		{400, body, "Graph answered 400 SomeCode: Some message.", graph.Error{Reason: graph.InvalidArgument, Code: "SomeCode"}, false},
		{400, `{"error": {"code": "ErrorInvalidIdMalformed"}}`, "Graph answered 400 ErrorInvalidIdMalformed", graph.Error{Reason: graph.NotFound, Code: "ErrorInvalidIdMalformed"}, false},
		{403, body, "Graph answered 403 SomeCode: Some message.", graph.Error{Reason: graph.PermissionMissing, Code: "SomeCode"}, false},
		{404, body, "Graph answered 404 SomeCode: Some message.", graph.Error{Reason: graph.NotFound, Code: "SomeCode"}, false},
		{404, `{"error": {"code": "MailboxNotEnabledForRESTAPI", "message": "x"}}`,
			"the mailbox is not in Exchange Online, or inactive; does the account have a license? (Graph answered 404 MailboxNotEnabledForRESTAPI)",
			graph.Error{Reason: graph.NotFound, Code: "MailboxNotEnabledForRESTAPI", Explanation: "the mailbox is not in Exchange Online, or inactive; does the account have a license?"}, false},
		{410, "", "Graph answered 410", graph.Error{Reason: graph.NotFound}, false},
		{409, body, "Graph answered 409 SomeCode: Some message.", graph.Error{Reason: graph.Conflict, Code: "SomeCode"}, false},
		{412, "", "Graph answered 412", graph.Error{Reason: graph.Conflict}, false},
		{302, "", "Graph answered 302", graph.Error{Reason: graph.Refused}, false},
		{418, "{}", "Graph answered 418", graph.Error{Reason: graph.Refused}, false},
		{500, body, "Graph answered 500 SomeCode: Some message.", graph.Error{Reason: graph.Refused, Code: "SomeCode"}, true},
		{502, "<html>Bad Gateway</html>", "Graph answered 502", graph.Error{Reason: graph.Refused}, true},
		{503, "<html>Sorry</html>", "Graph answered 503", graph.Error{Reason: graph.Refused}, false},
		{504, body, "Graph answered 504 SomeCode: Some message.", graph.Error{Reason: graph.Timeout, Code: "SomeCode"}, true},
		{404, `{"error": {"code": "C", "message": "` + strings.Repeat("ä", 400) + `"}}`, "Graph answered 404 C: " + strings.Repeat("ä", 299) + "…", graph.Error{Reason: graph.NotFound, Code: "C"}, false},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("request-id", "outer")
			if strings.HasPrefix(test.body, "<") {
				w.Header().Set("Content-Type", "text/html")
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		})
		test.want.Status, test.want.RequestID = test.status, "outer"
		wants(t, c.Do(t.Context(), "read", read(t, c), nil), "read: "+test.wantText, test.want)
		test.want.OutcomeUnknown = test.wantUnknown
		wants(t, c.Do(t.Context(), "write", write(t, c), nil), "write: "+test.wantText, test.want)
		if got := c.Stats(); got.Requests != 2 || got.Errors != 2 || got.Throttled != 0 {
			t.Errorf("stats of %d: %+v", test.status, got)
		}
	}
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404); io.WriteString(w, body) })
	wants(t, c.Do(t.Context(), "read", read(t, c), nil), "read: Graph answered 404 SomeCode: Some message.",
		graph.Error{Reason: graph.NotFound, Status: 404, Code: "SomeCode", RequestID: "inner"})
}

// Every request that reached the network is reported.
func TestExchangesAreReported(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }))
	var got []string
	c := client(t, graph.Options{Root: srv.URL, OnExchange: func(method string, status int, took time.Duration) {
		if took <= 0 {
			t.Errorf("took %s", took)
		}
		got = append(got, fmt.Sprint(method, " ", status))
	}})
	for _, do := range []func(){func() {}, srv.Close} {
		do()
		if c.Do(t.Context(), "read", read(t, c), nil) == nil || c.Do(t.Context(), "write", write(t, c), nil) == nil {
			t.Error("no error")
		}
	}
	if diff := cmp.Diff([]string{"GET 404", "POST 404", "GET 0", "POST 0"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadsAreNeverInDoubt(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(504) })
	r, err := c.Me().Calendar().GetSchedule().ToPostRequestInformation(t.Context(), users.NewItemCalendarGetSchedulePostRequestBody(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, c.Do(t.Context(), "read the schedules", r, nil), "read the schedules: Graph answered 504", graph.Error{Reason: graph.Timeout, Status: 504})
}

func TestAnswerLost(t *testing.T) {
	var arrived atomic.Int32
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			arrived.Add(1)
		}
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	wants(t, c.Do(t.Context(), "create the event", write(t, c), nil), "create the event: EOF", graph.Error{Reason: graph.Network, OutcomeUnknown: true})
	wants(t, c.Do(t.Context(), "read the settings", read(t, c), nil), "read the settings: EOF", graph.Error{Reason: graph.Network})
	if arrived.Load() != 1 {
		t.Errorf("the write arrived %d times", arrived.Load())
	}

	c, _ = serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"id": `)
	})
	wants(t, c.Do(t.Context(), "create the event", write(t, c), nil), "create the event: Graph answered 200: the answer broke off: unexpected EOF",
		graph.Error{Reason: graph.Network, Status: 200, OutcomeUnknown: true})
	wants(t, c.Do(t.Context(), "read the settings", read(t, c), nil), "read the settings: Graph answered 200: the answer broke off: unexpected EOF",
		graph.Error{Reason: graph.Network, Status: 200})
}

func TestConnectionRefusedByServer(t *testing.T) {
	c, srv := serve(t, nil)
	srv.Close()
	wants(t, c.Do(t.Context(), "create the event", write(t, c), nil),
		"create the event: dial tcp "+srv.Listener.Addr().String()+": connect: connection refused", graph.Error{Reason: graph.Network})
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		wants(t, c.Do(t.Context(), "read", read(t, c), nil), "read: no answer in time", graph.Error{Reason: graph.Timeout})
		wants(t, c.Do(t.Context(), "write", write(t, c), nil), "write: no answer in time", graph.Error{Reason: graph.Timeout, OutcomeUnknown: true})
		if got := c.Stats(); got.Errors != 2 {
			t.Errorf("stats %+v", got)
		}

		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- c.Do(ctx, "read", read(t, c), nil) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) || err.Error() != "read: context canceled" || graph.Is(err, graph.Network) {
			t.Errorf("a cancelled read: %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		go func() { done <- c.Do(ctx, "write", write(t, c), nil) }()
		synctest.Wait()
		cancel()
		err := <-done
		wants(t, err, "write: context canceled", graph.Error{Reason: graph.Network, OutcomeUnknown: true})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled write: %v", err)
		}
		if got := c.Stats(); got.Errors != 2 {
			t.Errorf("the caller's own errors are counted: %+v", got)
		}
	})
}

func TestRenewedToken(t *testing.T) {
	var asked []string
	h := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, fmt.Sprintf("%s %v", strings.Join(r.Header["Authorization"], "|"), len(body) > 0))
		if r.Header.Get("Authorization") != "Bearer secret-token-1" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="", claims=unquoted`)
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error": {"code": "InvalidAuthenticationToken", "message": "Access token has expired."}}`)
		}
	}
	c, _ := serve(t, h)
	if err := c.Do(t.Context(), "create the event", write(t, c), nil); err != nil {
		t.Error(err)
	}
	if want := []string{"Bearer secret-token-0 true", "Bearer secret-token-1 true"}; !cmp.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}

	srv := httptest.NewServer(http.HandlerFunc(h))
	t.Cleanup(srv.Close)
	const rejected = "read: Microsoft Graph refuses the sign-in (401 InvalidAuthenticationToken) although it was just renewed: Access token has expired."
	c = client(t, graph.Options{Root: srv.URL, Tokens: &tokens{number: 5}})
	wants(t, c.Do(t.Context(), "read", read(t, c), nil), rejected, graph.Error{Reason: graph.Refused, Status: 401, Code: "InvalidAuthenticationToken"})

	c = client(t, graph.Options{Root: srv.URL, Tokens: &tokens{refusal: &graph.Error{Reason: graph.SignInRequired, Op: "renew the token", Message: "sign in again"}}})
	wants(t, c.Do(t.Context(), "write", write(t, c), nil), "write: renew the token: sign in again", graph.Error{Reason: graph.SignInRequired})
	c = client(t, graph.Options{Root: srv.URL, Tokens: &tokens{refusal: errors.New("login.example: no such host")}})
	wants(t, c.Do(t.Context(), "write", write(t, c), nil), "write: login.example: no such host", graph.Error{Reason: graph.Network})
	c = client(t, graph.Options{Root: srv.URL, Tokens: &tokens{failure: &graph.Error{Reason: graph.SignInRequired, Message: "sign in first"}}})
	asked = nil
	wants(t, c.Do(t.Context(), "write", write(t, c), nil), "write: sign in first", graph.Error{Reason: graph.SignInRequired})
	if asked != nil {
		t.Errorf("asked without a token: %q", asked)
	}
}

func TestNothingSecretInErrors(t *testing.T) {
	for name, transport := range map[string]graphtest.RoundTripper{
		"refused": func(*http.Request) (*http.Response, error) {
			return graphtest.Answer(400, `{"error": {"code": "C"}}`), nil
		},
		"html":    func(*http.Request) (*http.Response, error) { return graphtest.Answer(500, "<p>secret-page</p>"), nil },
		"garbage": func(*http.Request) (*http.Response, error) { return graphtest.Answer(200, "secret-page"), nil },
		"address": func(r *http.Request) (*http.Response, error) { return nil, errors.New("broken pipe") },
		"not HTTP": func(r *http.Request) (*http.Response, error) {
			return nil, errors.New(`malformed HTTP response "secret-page"`)
		},
		"deep": func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("no way: %w", errors.New("reset by peer"))
		},
	} {
		c := client(t, graph.Options{Transport: transport})
		filter := "secret eq 'filter'"
		r := write(t, c)
		r.UrlTemplate = "{+baseurl}/me/events{?%24filter}"
		r.QueryParameters["%24filter"] = filter
		var out struct{}
		err := c.Do(t.Context(), "create", r, &out)
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, srv := serve(t, nil)
	srv.Close()
	r := read(t, c)
	r.UrlTemplate = "{+baseurl}/me/events?secret"
	if err := c.Do(t.Context(), "read", r, nil); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// The same failure has the same text each time: it is published.
func TestNetworkErrorsAreAlike(t *testing.T) {
	port := 40000
	for name, transport := range map[string]graphtest.RoundTripper{
		"read the events: read tcp 127.0.0.1:443: connection reset": func(*http.Request) (*http.Response, error) {
			local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
			return nil, &net.OpError{Op: "read", Net: "tcp", Source: local, Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}, Err: errors.New("connection reset")}
		},
		"read the events: stream error: INTERNAL_ERROR; received from peer": func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("stream error: stream ID %d; INTERNAL_ERROR; received from peer", port)
		},
		`read the events: server sent GOAWAY and closed the connection; ErrCode=NO_ERROR, debug=""`: func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf(`server sent GOAWAY and closed the connection; LastStreamID=%d, ErrCode=NO_ERROR, debug=""`, port)
		},
	} {
		c := client(t, graph.Options{Transport: transport})
		for range 2 {
			port++
			if err := c.Do(t.Context(), "read the events", read(t, c), nil); err == nil || err.Error() != name {
				t.Errorf("%v, want %s", err, name)
			}
		}
	}
}

func TestRedirects(t *testing.T) {
	var elsewhere, home atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	target, status := "", http.StatusTemporaryRedirect
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		home.Add(1)
		if r.URL.Path == "/v1.0/moved" {
			io.WriteString(w, `{"id": "1"}`)
			return
		}
		http.Redirect(w, r, target, status)
	})
	target = other.URL + "/v1.0/moved"
	wants(t, c.Do(t.Context(), "read", read(t, c), nil), "read: Graph answered 307", graph.Error{Reason: graph.Refused, Status: 307})
	target = srv.URL + "/v1.0/moved"
	var out struct{ ID string }
	if err := c.Do(t.Context(), "read", read(t, c), &out); err != nil || out.ID != "1" {
		t.Errorf("a redirect on the same host: %v", err)
	}
	status = http.StatusFound // after which a POST would become a GET
	wants(t, c.Do(t.Context(), "write", write(t, c), nil), "write: Graph answered 302", graph.Error{Reason: graph.Refused, Status: 302})
	if elsewhere.Load() != 0 || home.Load() != 4 {
		t.Errorf("asked %d times at home, %d times elsewhere", home.Load(), elsewhere.Load())
	}
}

func TestNew(t *testing.T) {
	for _, root := range []string{"", "graph.microsoft.com", "ftp://graph.microsoft.com", "https://graph.microsoft.com/v1.0", "https://a:b@graph.microsoft.com", "https://"} {
		_, err := graph.New(graph.Options{Root: root, Tokens: new(tokens)})
		if want := fmt.Sprintf("the address of Microsoft Graph: want one such as https://graph.microsoft.com, not %q", root); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", root, err, want)
		}
	}
	if _, err := graph.New(graph.Options{Root: "https://graph.microsoft.com/"}); err == nil || err.Error() != "a Graph client without tokens" {
		t.Errorf("error %v", err)
	}
	c := client(t, graph.Options{ClientID: "app", Tokens: &tokens{granted: []string{"Chat.ReadWrite"}}})
	if !c.Granted(graph.Permission{Scope: "ChatMessage.Send", Alternatives: []string{"Chat.ReadWrite"}}) || c.Granted(graph.Permission{Scope: "Mail.Read"}) || c.ClientID() != "app" {
		t.Error("permissions or id are not the ones given")
	}
}

// One client, many goroutines, builders made afresh.
func TestManyGoroutines(t *testing.T) {
	var flying, most atomic.Int32
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := flying.Add(1)
		defer flying.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		io.WriteString(w, `{"timeZone": "UTC"}`)
	})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				if err := c.Do(t.Context(), "read", read(t, c), new(struct{})); err != nil {
					t.Error(err)
				}
				if err := c.Do(t.Context(), "write", write(t, c), nil); err != nil {
					t.Error(err)
				}
				c.Stats()
			}
		})
	}
	wg.Wait()
	if n := most.Load(); n > 4 {
		t.Errorf("%d requests in flight", n)
	}
	if got := c.Stats(); got != (graph.Stats{Requests: 640}) {
		t.Errorf("stats %+v", got)
	}
}
