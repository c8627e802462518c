package graph_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func changes[T any](t *testing.T, c *graph.Client, link string) (graph.DeltaChanges[T], error) {
	t.Helper()
	return graph.Delta[T](t.Context(), c, "ask for changed events", "an event", link, abstractions.NewRequestHeaders(),
		c.Me().CalendarView().Delta().ToGetRequestInformation, (*users.ItemCalendarViewDeltaRequestBuilderGetRequestConfiguration)(nil))
}

// A link that Graph refuses is not asked again and again: another round begins. Other failures leave it valid.
func TestRefusedDeltaLink(t *testing.T) {
	for _, test := range []struct {
		status  int
		expired bool
	}{
		{http.StatusBadRequest, true}, {http.StatusNotFound, true}, {http.StatusGone, true},
		{http.StatusUnauthorized, false}, {http.StatusForbidden, false}, {http.StatusTooManyRequests, false}, {http.StatusInternalServerError, false},
	} {
		c, srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			fmt.Fprint(w, `{"error": {"code": "x", "message": "y"}}`)
		})
		got, err := changes[graph.Item](t, c, srv.URL+"/v1.0/me/calendarView/delta?$deltatoken=x")
		if got.Expired != test.expired || (err == nil) != test.expired {
			t.Errorf("%d: got %+v, %v", test.status, got, err)
		}
		if got, err := changes[graph.Item](t, c, ""); got.Expired || err == nil {
			t.Errorf("%d to the first request: got %+v, %v", test.status, got, err)
		}
	}
}

// An item that cannot be read is no reason to show what it holds.
func TestDeltaErrorsShowNoValue(t *testing.T) {
	type dated struct {
		At time.Time `json:"at"`
	}
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"value": [{"id": "1", "at": "secret"}], "@odata.deltaLink": "x"}`)
	})
	if _, err := changes[dated](t, c, ""); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// Pages that lead back to one that was read are given up at once.
func TestDeltaPagesInACircle(t *testing.T) {
	var host string
	c, srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		next := "b"
		if r.URL.Query().Get("$skiptoken") == "b" {
			next = "a"
		}
		fmt.Fprintf(w, `{"value": [{"id": "1"}], "@odata.nextLink": "%s/v1.0/me/calendarView/delta?$skiptoken=%s"}`, host, next)
	})
	host = srv.URL
	const want = "ask for changed events: the pages of the answer lead in a circle"
	if _, err := changes[graph.Item](t, c, ""); err == nil || err.Error() != want || c.Stats().Requests > 4 {
		t.Errorf("after %d requests: got %v, want %s", c.Stats().Requests, err, want)
	}
}
