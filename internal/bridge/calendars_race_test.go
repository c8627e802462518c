package bridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// What clients write of one object at the same time happens in some order, as if each had waited for the one before.
func TestCalendarChangesOfOneObject(t *testing.T) {
	c := startCalendars(t, "calendar: {type: calendar, on_demand: true}")
	const calendar = "/dav/work/calendar/"
	c.eventually("the calendar is read", func() bool { return c.do("GET", calendar, "", "").code == http.StatusOK })
	start := time.Now().UTC().AddDate(0, 0, 3).Truncate(time.Hour)
	body := func(uid, summary string) string {
		return fmt.Sprintf(berlinEvent, uid, ":"+utc(start), ":"+utc(start.Add(time.Hour)), "", summary)
	}
	events := func() (subjects []string) {
		for _, e := range c.Microsoft.Events(simulator.Adele, "") {
			subjects = append(subjects, fmt.Sprint(e["subject"]))
		}
		return subjects
	}
	// at sends n requests at the same time, and returns the codes.
	at := func(n int, send func(i int) int) []int {
		codes := make([]int, n)
		var requests sync.WaitGroup
		for i := range n {
			requests.Go(func() { codes[i] = send(i) })
		}
		requests.Wait()
		return codes
	}

	c.want(http.StatusCreated, "PUT", calendar+"quick.ics", "", body("quick", "Quick"))
	c.want(http.StatusNoContent, "PUT", calendar+"quick.ics", "", body("quick", "Quicker"))
	if got := events(); len(got) != 1 || got[0] != "Quicker" {
		t.Fatalf("after a change at once: %q", got)
	}
	c.want(http.StatusNoContent, "DELETE", calendar+"quick.ics", "", "")
	if got := events(); len(got) != 0 {
		t.Fatalf("after a removal at once: %q", got)
	}

	codes := at(4, func(i int) int { return c.do("PUT", calendar+"new.ics", "", body("new", fmt.Sprint("New ", i))).code })
	if got := events(); len(got) != 1 {
		t.Errorf("four PUTs of a new event with different titles: %v, events %q", codes, got)
	}
	etag := c.want(http.StatusOK, "GET", calendar+"new.ics", "", "").header.Get("ETag")
	codes = at(4, func(i int) int {
		return c.do("PUT", calendar+"new.ics", "", body("new", fmt.Sprint("Changed ", i)), "If-Match", etag).code
	})
	if got := strings.Count(fmt.Sprint(codes), "204"); got != 1 {
		t.Errorf("four PUTs of one version: %v", codes)
	}
}
