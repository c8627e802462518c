package graph_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

type event struct{ ID string }

func events(t *testing.T, c *graph.Client) *abstractions.RequestInformation {
	t.Helper()
	headers := abstractions.NewRequestHeaders()
	graph.PreferImmutableIDs(headers)
	headers.Add("Prefer", `outlook.timezone="UTC"`)
	r, err := c.Me().Events().ToGetRequestInformation(t.Context(), &users.ItemEventsRequestBuilderGetRequestConfiguration{Headers: headers})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestList(t *testing.T) {
	var host string
	var asked []string
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
		prefer := slices.Sorted(slices.Values(r.Header["Prefer"]))
		if want := []string{`IdType="ImmutableId"`, `outlook.timezone="UTC"`}; !cmp.Equal(prefer, want) {
			t.Errorf("%s: preferences %q", r.RequestURI, prefer)
		}
		if got := r.Header["Authorization"]; !cmp.Equal(got, []string{"Bearer secret-token-0"}) {
			t.Errorf("%s: authorization %q", r.RequestURI, got)
		}
		switch r.URL.Query().Get("$skip") {
		case "":
			fmt.Fprintf(w, `{"value": [{"id": "1"}, {"id": "2"}], "@odata.nextLink": "%s/v1.0/users('1')/events?$skip=2&x=a%%2Fb"}`, host)
		case "2": // a page may be empty
			fmt.Fprintf(w, `{"value": [], "@odata.nextLink": "%s/v1.0/me/events?$skip=3"}`, host)
		default:
			fmt.Fprint(w, `{"value": [{"id": "3"}]}`)
		}
	})
	host = srv.URL
	got, err := graph.List[event](t.Context(), c, "read the events", events(t, c))
	if want := []event{{"1"}, {"2"}, {"3"}}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if want := []string{"/v1.0/me/events", "/v1.0/users('1')/events?$skip=2&x=a%2Fb", "/v1.0/me/events?$skip=3"}; !cmp.Equal(asked, want) {
		t.Errorf("asked for %q", asked)
	}
}

func TestListFaults(t *testing.T) {
	var elsewhere int
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	t.Cleanup(other.Close)
	const mine = "https://graph.example"
	page := func(link string) string { return fmt.Sprintf(`{"value": [{"id": "1"}], "@odata.nextLink": %q}`, link) }
	for _, test := range []struct {
		first, next, want string
		status            int
	}{
		{`{"value": []}`, "", "", 0},
		{`{"error": "odd"}`, "", "read the events: the answer is not a list", 0},
		{`{"value": null}`, "", "read the events: the answer is not a list", 0},
		{`{"value": {}}`, "", `read the events: Graph answered 200: the answer cannot be read: "value" is of type object`, 200},
		{page(other.URL + "/v1.0/me/events?secret"), "", "read the events: Graph's answer leads to another server, " + other.URL, 0},
		{page("http://graph.example/v1.0/me/events"), "", "read the events: Graph's answer leads to another server, http://graph.example", 0},
		{page("/v1.0/a"), page("/v1.0/a"), "read the events: the pages of the answer lead in a circle", 0},
		{page("https://graph.example/%zz?secret"), "", "read the events: the address of the next page cannot be read", 0},
		{page(mine + "/v1.0/a"), page(mine + "/v1.0/a"), "read the events: the pages of the answer lead in a circle", 0},
		{page(mine + "/v1.0/a"), `{`, "read the events: Graph answered 200: the answer cannot be read: unexpected end of JSON input", 200},
	} {
		asked := 0
		c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != "graph.example" {
				return http.DefaultTransport.RoundTrip(r)
			}
			if asked++; asked == 1 {
				return graphtest.Answer(200, test.first), nil
			}
			return graphtest.Answer(200, test.next), nil
		})})
		got, err := graph.List[event](t.Context(), c, "read the events", events(t, c))
		if test.want == "" {
			if err != nil || len(got) != 0 {
				t.Errorf("%s: %v, %v", test.first, got, err)
			}
			continue
		}
		if got != nil {
			t.Errorf("%s: half an answer: %v", test.first, got)
		}
		wants(t, err, test.want, graph.Error{Reason: graph.Refused, Status: test.status})
	}
	if elsewhere != 0 {
		t.Error("a link to another server was followed")
	}
}

// An answer without an end does not fill the memory.
func TestListIsBounded(t *testing.T) {
	for _, test := range []struct {
		fill  int
		pages int
		want  string
	}{
		{0, 500, "read the events: the answer has more than 500 pages"},
		{900 << 10, 3, "read the events: the pages of the answer are larger than 2 MiB"},
	} {
		asked := 0
		filler := strings.Repeat(" ", test.fill)
		c := client(t, graph.Options{Transport: graphtest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			asked++
			return graphtest.Answer(200, fmt.Sprintf(`{"value": [{"id": "1"}], %s"@odata.nextLink": "https://graph.example/v1.0/me/events?$skip=%d"}`, filler, asked)), nil
		})})
		graph.SetBounds(c, 1<<20, 2<<20)
		got, err := graph.List[event](t.Context(), c, "read the events", events(t, c))
		if got != nil || asked != test.pages {
			t.Errorf("%d items after %d pages", len(got), asked)
		}
		wants(t, err, test.want, graph.Error{Reason: graph.Refused})
	}
}
