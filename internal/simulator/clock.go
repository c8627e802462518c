package simulator

import (
	"sync"
	"time"
)

// A clock shows the time of the options, moved and perhaps stopped.
type clock struct {
	base func() time.Time

	mu     sync.Mutex // beside the simulator's, which whoever asks for the time may hold
	offset time.Duration
	frozen time.Time // zero: it goes
}

// A ClockState is what the clock shows and why.
type ClockState struct {
	Now    time.Time
	Offset time.Duration // to the clock of the options
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

// Clock tells what the simulator's clock shows.
func (s *Simulator) Clock() ClockState { return s.clock.state() }

// SetClock moves the clock to this distance from that of the options. Delays of faults last as long as ever.
func (s *Simulator) SetClock(offset time.Duration) { s.clock.set(offset) }

// AdvanceClock moves the clock on; below 0: back.
func (s *Simulator) AdvanceClock(d time.Duration) {
	c := s.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	if !c.frozen.IsZero() {
		c.frozen = c.frozen.Add(d)
	}
}

// FreezeClock stops the clock where it is, or lets it go on from there.
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
