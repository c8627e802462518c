package runtime

import (
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func TestUnauthorizedSensorsAndAccounts(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	answered := func(id string, polled int, err error) reading {
		return reading{sensor: &sensor{config: &config.Sensor{ID: id}}, err: err, polledAt: at(polled)}
	}
	rejected := func(id string, since, polled int) reading {
		r := answered(id, polled, &graph.Error{Reason: graph.Refused, Status: http.StatusUnauthorized})
		r.unauthorized = at(since)
		return r
	}
	missing := &graph.Error{Reason: graph.PermissionMissing} // not sent
	for _, test := range []struct {
		name    string
		all     []reading
		own     []string
		account bool
		poll    []string
	}{
		{name: "accepted", all: []reading{answered("a", 1, nil), answered("b", 1, errors.New("panic"))}},
		{name: "the only sensor", all: []reading{rejected("a", 5, 5)}, account: true},
		{name: "others not polled since", all: []reading{rejected("a", 5, 5), answered("b", 4, nil), {sensor: &sensor{config: &config.Sensor{ID: "c"}}}}, poll: []string{"b", "c"}},
		{name: "another accepted since, and not polled again", all: []reading{rejected("a", 5, 5), answered("b", 6, nil)}},
		{name: "rejected before and after another was accepted", all: []reading{rejected("a", 5, 8), answered("b", 6, nil)}, own: []string{"a"}},
		{name: "a refusal is an acceptance", all: []reading{rejected("a", 5, 8), answered("b", 6, &graph.Error{Reason: graph.PermissionMissing, Status: http.StatusForbidden})}, own: []string{"a"}},
		{name: "no answer is none", all: []reading{rejected("a", 5, 8), answered("b", 6, &graph.Error{Reason: graph.Network})}, account: true},
		{name: "throttling is none", all: []reading{rejected("a", 5, 8), answered("b", 6, &graph.Error{Reason: graph.Throttled, Status: http.StatusTooManyRequests})}, account: true},
		{name: "nothing granted", all: []reading{rejected("a", 5, 5), answered("b", 6, missing)}, account: true},
		{name: "one before the others", all: []reading{rejected("a", 5, 20), answered("b", 9, nil), rejected("c", 10, 10)}, own: []string{"a"}, poll: []string{"b"}},
		{name: "all, one of them before", all: []reading{rejected("a", 5, 20), rejected("b", 11, 11), rejected("c", 10, 10)}, account: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var u unauthorized
			ids := func(all []reading) (ids []string) {
				for _, r := range all {
					ids = append(ids, r.sensor.config.ID)
				}
				slices.Sort(ids)
				return ids
			}
			own, account, undecided := u.evaluate(test.all)
			if diff := cmp.Diff(test.own, ids(own)); diff != "" {
				t.Errorf("own (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.poll, ids(undecided)); diff != "" {
				t.Errorf("to be polled (-want +got):\n%s", diff)
			}
			if account != test.account {
				t.Errorf("of the account: %v", account)
			}
			if _, _, again := u.evaluate(test.all); len(again) > 0 {
				t.Errorf("polled twice because of the same rejection: %v", ids(again))
			}
		})
	}
}
