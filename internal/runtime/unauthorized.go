package runtime

import (
	"errors"
	"net/http"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A reading describes the last poll of a sensor.
type reading struct {
	sensor       *sensor
	err          error
	polledAt     time.Time // when it began; zero: there was none
	unauthorized time.Time // when the first of the polls began that Graph answered with 401; zero: the last one was not
}

// accepted reports whether Graph accepted the sign-in.
func (r reading) accepted() bool {
	var e *graph.Error
	switch {
	case r.polledAt.IsZero():
		return false
	case r.err == nil:
		return true
	}
	return errors.As(r.err, &e) && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusUnauthorized && e.Reason != graph.Throttled
}

// everySensor stands for all sensors of an account in unauthorized.reported.
const everySensor = ""

// unauthorized finds out whether Graph rejects the sign-in for one sensor or for the account. Only the account's Run uses it.
type unauthorized struct {
	reported map[string]bool // sensors whose rejection was logged
	probed   time.Time       // the newest rejection because of which the other sensors were polled
}

// evaluate returns the sensors whose own rejection is certain, and whether that of the account is. undecided are sensors to be polled
// before one or the other can be said.
func (u *unauthorized) evaluate(all []reading) (own []reading, account bool, undecided []reading) {
	var rejected, others []reading
	var newest time.Time
	for _, r := range all {
		if r.unauthorized.IsZero() {
			others = append(others, r)
			continue
		}
		rejected = append(rejected, r)
		if r.unauthorized.After(newest) {
			newest = r.unauthorized
		}
	}
	if len(rejected) == 0 {
		return nil, false, nil
	}
	account = true
	for _, other := range others {
		switch {
		case other.polledAt.Before(newest):
			account = false
			if newest.After(u.probed) {
				undecided = append(undecided, other)
			}
		case other.accepted():
			account = false
		}
	}
	u.probed = newest
	for _, r := range rejected {
		for _, other := range others {
			// The sensor was rejected before and after Graph accepted the sign-in for the other one: sensors do not recover all at once.
			if other.accepted() && !other.polledAt.Before(r.unauthorized) && !r.polledAt.Before(other.polledAt) {
				own = append(own, r)
				break
			}
		}
	}
	return own, account, undecided
}

// reportUnauthorized logs once that Graph rejects renewed tokens, and once that it accepts them again: for the account where that
// concerns all its sensors, otherwise for the sensor. It returns the rejection of the account, nil if there is none.
func (a *account) reportUnauthorized(all []reading) error {
	own, account, undecided := a.unauthorized.evaluate(all)
	a.rejected.Store(account)
	for _, r := range undecided {
		r.sensor.refresh()
	}
	if a.unauthorized.reported == nil {
		a.unauthorized.reported = map[string]bool{}
	}
	reported := a.unauthorized.reported
	var rejection error
	for _, r := range all {
		switch {
		case !r.unauthorized.IsZero() && rejection == nil:
			rejection = r.err
		case r.accepted() && reported[everySensor]:
			delete(reported, everySensor)
			a.log.Info("sign-in accepted again by Microsoft Graph")
		}
		if id := r.sensor.config.ID; r.accepted() && reported[id] {
			delete(reported, id)
			r.sensor.log.Info("sign-in accepted again by Microsoft Graph")
		}
	}
	if account {
		if !reported[everySensor] {
			reported[everySensor] = true
			a.log.Warn("sign-in rejected by Microsoft Graph", "error", rejection)
			a.runtime.options.Hub.Emit(a.id(), entity.Event{Type: signInRequired, Data: map[string]any{"message": rejection.Error()}})
		}
		return rejection
	}
	for _, r := range own {
		if id := r.sensor.config.ID; !reported[id] {
			reported[id] = true
			r.sensor.log.Warn("sign-in rejected by Microsoft Graph", "error", r.err)
		}
	}
	return nil
}
