package graph

import (
	"errors"
	"net/http"
	"time"
)

// A Watch finds out whether a collection may have changed, in one small request: by a delta query, or where Graph refuses that, by a
// probe. JSON can hold it.
type Watch struct {
	Link  string // for the next round of the delta query; "": there is none yet
	Probe *Probe // where there is no delta query; nil: there is none yet

	NoDelta, NoProbe Refusal
}

// A Refusal decides for how long a request that Graph refused is not sent again. The zero one is none.
type Refusal struct {
	At    time.Time
	Times int // in a row
}

// A refusal may be wrong: a request is tried again after firstRetry, and after each further refusal after twice the time, at last after
// lastRetry.
const (
	firstRetry = 5 * time.Minute
	lastRetry  = 24 * time.Hour
)

func (r Refusal) holds(now time.Time) bool {
	const doublings = 10
	return r.Times > 0 && now.Sub(r.At).Abs() < min(firstRetry<<min(r.Times-1, doublings), lastRetry)
}

func (r Refusal) repeated(now time.Time) Refusal { return Refusal{now.UTC(), r.Times + 1} }

// A ChangeReport lists what changed in a collection since a Watch was asked before.
type ChangeReport[T any] struct {
	DeltaChanges[T]      // if ByDelta
	ByDelta         bool // the delta query told them
	Incomplete      bool // something may have changed that is not among them
}

// Any reports whether anything may have changed.
func (c ChangeReport[T]) Any() bool { return c.Incomplete || c.DeltaChanges.Any() }

// Ask asks whether a collection changed. delta asks for the changes since link, "" for all items; nil: Graph has no delta query for it.
// Where Graph offers neither request, everything may have changed. Of an error that is no refusal w takes no note.
func Ask[T any](w *Watch, now time.Time, delta func(link string) (DeltaChanges[T], error), probe func() (Probe, error)) (ChangeReport[T], error) {
	if delta != nil && !w.NoDelta.holds(now) {
		c := ChangeReport[T]{ByDelta: true, Incomplete: w.Link == ""}
		var err error
		c.DeltaChanges, err = delta(w.Link)
		if err == nil && c.Expired {
			w.Link, c.Incomplete = "", true
			c.DeltaChanges, err = delta("")
		}
		switch {
		case err == nil:
			w.Link, w.Probe = c.Link, nil
			if !c.Incomplete { // of some collections Graph answers the first round only
				w.NoDelta = Refusal{}
			}
			return c, nil
		case !IsRefusal(err):
			return ChangeReport[T]{}, err
		}
		w.Link, w.NoDelta = "", w.NoDelta.repeated(now)
	}
	if w.NoProbe.holds(now) {
		return ChangeReport[T]{Incomplete: true}, nil
	}
	p, err := probe()
	switch {
	case err == nil:
		changed := w.Probe == nil || !w.Probe.Equal(p)
		w.Probe, w.NoProbe = &p, Refusal{}
		return ChangeReport[T]{Incomplete: changed}, nil
	case !IsRefusal(err):
		return ChangeReport[T]{}, err
	}
	w.Probe, w.NoProbe = nil, w.NoProbe.repeated(now)
	return ChangeReport[T]{Incomplete: true}, nil
}

// IsRefusal reports whether Graph does not offer a request in this form or for this collection, rather than that it failed this time.
// Whether the collection exists and may be read, the request for its items tells.
func IsRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusNotImplemented ||
		e.Status >= 400 && e.Status < 500 && !e.Transient() && e.Status != http.StatusUnauthorized)
}
