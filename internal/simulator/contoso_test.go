package simulator_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func TestContosoWithColleagues(t *testing.T) {
	s := simulator.ContosoWithColleagues(simulator.Options{Now: func() time.Time { return time.Date(2026, 7, 1, 9, 20, 0, 0, time.UTC) }})
	v := graphClient{t, s, s.Token(simulator.Adele, "Calendars.Read"), &http.Client{Transport: s.Transport()}}
	page := v.want(200, "GET", "/me/calendarView?"+url.Values{"startDateTime": {"2026-07-01T09:20:00Z"}, "endDateTime": {"2026-07-15T00:00:00Z"}}.Encode(), "")
	if got, want := names(page, "subject"), []string{"Board meeting", "Budget", "Design review", "Lunch with Ann", "Train to Leeds"}; !cmp.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, address := range []string{simulator.Megan, simulator.Alex} {
		v.token = s.Token(simulator.Adele, "User.ReadBasic.All")
		if got := v.want(200, "GET", "/users/"+address, ""); got["mail"] != address {
			t.Errorf("%s: %v", address, got)
		}
		v.token = s.Token(address, "User.Read", "Calendars.Read")
		if got := v.want(200, "GET", "/me", ""); got["mail"] != address {
			t.Errorf("%s is %v", address, got)
		}
		v.want(200, "GET", "/me/events", "")
	}
	v.refused(404, "Request_ResourceNotFound", "GET", "/users/"+simulator.Ann, "") // of another tenant
}
