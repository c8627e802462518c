package simulator

import (
	"sync"
	"time"
)

// A clock shows the time of Options.Now plus an offset, and can be frozen.
type clock struct {
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

func (c *clock) state() ClockState {
	c.mu.Lock()
	defer c.mu.Unlock()
	base := c.base()
	if !c.frozen.IsZero() {
		return ClockState{c.frozen, c.frozen.Sub(base), true}
	}
	return ClockState{base.Add(c.offset), c.offset, false}
}

func (c *clock) set(offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset = offset
	if !c.frozen.IsZero() {
		c.frozen = c.base().Add(offset)
	}
}

func (s *Simulator) now() time.Time { return s.clock.state().Now }

// Clock returns the state of the simulator's clock.
func (s *Simulator) Clock() ClockState { return s.clock.state() }

// SetClock sets the offset from Options.Now. It does not affect the delays of faults.
func (s *Simulator) SetClock(offset time.Duration) { s.clock.set(offset) }

// AdvanceClock moves the clock forward, or back if d is negative.
func (s *Simulator) AdvanceClock(d time.Duration) {
	c := s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	if !c.frozen.IsZero() {
		c.frozen = c.frozen.Add(d)
	}
}

// FreezeClock stops the clock, or resumes it from where it stopped.
func (s *Simulator) FreezeClock(freeze bool) {
	c := s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case freeze && c.frozen.IsZero():
		c.frozen = c.base().Add(c.offset)
	case !freeze && !c.frozen.IsZero():
		c.offset, c.frozen = c.frozen.Sub(c.base()), time.Time{}
	}
}
