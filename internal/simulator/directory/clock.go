package directory

import (
	"net/http"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

// A Clock shows the time of Options.Now plus an offset, and can be frozen.
type Clock struct {
	base func() time.Time

	mu     sync.Mutex // not the simulator's lock, which callers may hold
	offset time.Duration
	frozen time.Time // zero: running
}

// A ClockState is a reading of the clock.
type ClockState struct {
	Now    time.Time
	Offset time.Duration // from Options.Now
	Frozen bool
}

// State returns the state of the clock.
func (c *Clock) State() ClockState {
	c.mu.Lock()
	defer c.mu.Unlock()
	base := c.base()
	if !c.frozen.IsZero() {
		return ClockState{c.frozen, c.frozen.Sub(base), true}
	}
	return ClockState{base.Add(c.offset), c.offset, false}
}

// Set sets the offset from Options.Now.
func (c *Clock) Set(offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
	if !c.frozen.IsZero() {
		c.frozen = c.base().Add(offset)
	}
}

// Advance moves the clock forward, or back if by is negative.
func (c *Clock) Advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += by
	if !c.frozen.IsZero() {
		c.frozen = c.frozen.Add(by)
	}
}

// Freeze stops the clock, or resumes it from where it stopped.
func (c *Clock) Freeze(freeze bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case freeze && c.frozen.IsZero():
		c.frozen = c.base().Add(c.offset)
	case !freeze && !c.frozen.IsZero():
		c.offset, c.frozen = c.frozen.Sub(c.base()), time.Time{}
	}
}

func (c *Clock) controls() []control.Operation {
	return []control.Operation{
		{Method: "GET", Path: "/control/clock", Description: "read the simulator's clock", Do: c.get},
		{Method: "PATCH", Path: "/control/clock", Description: "move, freeze or resume the clock", Do: c.patch},
	}
}

func (c *Clock) get(*http.Request) (any, error) {
	state := c.State()
	return struct {
		Now    time.Time `json:"now"`
		Offset string    `json:"offset"`
		Frozen bool      `json:"frozen"`
	}{state.Now.UTC(), state.Offset.String(), state.Frozen}, nil
}

func (c *Clock) patch(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Now     *time.Time `json:"now"`
		Offset  *string    `json:"offset"`
		Advance *string    `json:"advance"`
		Frozen  *bool      `json:"frozen"`
	}](r)
	if err != nil {
		return nil, err
	}
	var offset, advance time.Duration
	given := 0
	if in.Now != nil {
		given++
	}
	if in.Offset != nil {
		given++
		if offset, err = control.Duration("offset", *in.Offset); err != nil {
			return nil, err
		}
	}
	if in.Advance != nil {
		given++
		if advance, err = control.Duration("advance", *in.Advance); err != nil {
			return nil, err
		}
	}
	if given > 1 {
		return nil, control.Invalid("want one of now, offset and advance")
	}
	if in.Frozen != nil {
		c.Freeze(*in.Frozen)
	}
	switch {
	case in.Now != nil:
		c.Advance(in.Now.Sub(c.State().Now))
	case in.Offset != nil:
		c.Set(offset)
	default:
		c.Advance(advance)
	}
	return c.get(r)
}
