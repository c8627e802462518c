package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// An eventHolder is implemented by the options of kinds whose snapshot holds the events of a calendar.
type eventHolder interface {
	// HeldEvents returns the events that the options show, and the span in which none is missing.
	HeldEvents(snapshot any) (events []calendars.Event, from, to time.Time)
	// ReadEvents reads the events of another span that the options show.
	ReadEvents(ctx context.Context, g *graph.Client, snapshot any, from, to time.Time) ([]calendars.Event, error)
	// CalendarInfo returns the properties of the calendar, nil if they are not known.
	CalendarInfo(snapshot any) *calendars.Info
}

// A taskHolder is implemented by the options of kinds whose snapshot holds tasks.
type taskHolder interface {
	// HeldTasks returns the open tasks and the completed ones that the options show. They must not be changed.
	HeldTasks(snapshot any) []tasks.Task
	// ReadCompleted reads the completed tasks.
	ReadCompleted(ctx context.Context, g *graph.Client, snapshot any) ([]tasks.Task, error)
}

// A Collection is a sensor that holds the events of a calendar or tasks.
type Collection struct{ sensor *sensor }

// Collections returns the collections of an account by their ids, also those that have no answer yet. ok is false if there is no such
// account. The error says why the list is not known.
func (r *Runtime) Collections(account string) (all []Collection, ok bool, err error) {
	a := r.account(account)
	if a == nil {
		return nil, false, nil
	}
	for _, s := range a.all() {
		c := Collection{s}
		switch {
		case !c.holds():
		case s.group == nil:
			all = append(all, c)
		case !s.group.isListed():
			return nil, true, c.missing()
		}
	}
	return all, true, nil
}

// User returns the address of the user who is signed in to an account, "" if it is not known.
func (r *Runtime) User(account string) string {
	if a := r.account(account); a != nil {
		return a.session.Status().User.Address
	}
	return ""
}

// isListed reports whether the members of the group are known.
func (g *group) isListed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.listed && g.err == nil || len(g.members) > 0
}

// holds reports whether the sensor reads events or tasks.
func (c Collection) holds() bool {
	if !c.sensor.config.Read {
		return false
	}
	options := c.sensor.source.Options()
	_, events := options.(eventHolder)
	_, tasks := options.(taskHolder)
	return events || tasks
}

// ID returns the sensor's id.
func (c Collection) ID() string { return c.sensor.config.ID }

// Name returns the name of the sensor's device.
func (c Collection) Name() string { return c.sensor.device().Name }

// Kind returns the sensor's type.
func (c Collection) Kind() string { return c.sensor.kind.Name }

// HoldsTasks reports whether it holds tasks rather than events.
func (c Collection) HoldsTasks() bool {
	_, ok := c.sensor.source.Options().(taskHolder)
	return ok
}

// Location returns the account's time zone.
func (c Collection) Location() *time.Location { return c.sensor.account.location() }

// Check returns the reason why an operation cannot be requested now, or nil.
func (c Collection) Check(operation string) error {
	if _, err := c.sensor.Operation(operation); err != nil {
		return err
	}
	if info := c.info(); info != nil && info.ReadOnly() {
		return &services.Error{Code: services.UpdatesDisabled, Message: fmt.Sprintf("you may read the calendar %s but not change it", info.Name)}
	}
	return nil
}

// Color returns the color of the calendar, such as #0078d4, or "".
func (c Collection) Color() string {
	if info := c.info(); info != nil {
		return info.Hex
	}
	return ""
}

func (c Collection) info() *calendars.Info {
	holder, ok := c.sensor.source.Options().(eventHolder)
	if snapshot := c.snapshot(); ok && snapshot != nil {
		return holder.CalendarInfo(snapshot)
	}
	return nil
}

// Version returns a value that changes whenever the events or tasks that the sensor holds do. The error says why there are none.
func (c Collection) Version() (any, error) { return c.current() }

// Events returns the events that the sensor holds, their version, and the span in which none is missing.
// The error says why there are none.
func (c Collection) Events() (events []calendars.Event, from, to time.Time, version any, err error) {
	snapshot, err := c.current()
	if err != nil {
		return nil, from, to, nil, err
	}
	events, from, to = c.sensor.source.Options().(eventHolder).HeldEvents(snapshot)
	return events, from, to, snapshot, nil
}

// ReadEvents reads the events of another span from Graph, if the configuration allows that. All-day events are not cut to the span.
func (c Collection) ReadEvents(ctx context.Context, from, to time.Time) ([]calendars.Event, error) {
	snapshot, err := c.current()
	if err != nil {
		return nil, err
	}
	if err := c.OnDemand(); err != nil {
		return nil, err
	}
	return c.sensor.source.Options().(eventHolder).ReadEvents(ctx, c.sensor.graph, snapshot, from, to)
}

// Tasks returns the tasks that the sensor holds, the open ones and completed ones if it shows them, and their version. They must not be
// changed. The error says why there are none.
func (c Collection) Tasks() (all []tasks.Task, version any, err error) {
	snapshot, err := c.current()
	if err != nil {
		return nil, nil, err
	}
	return c.sensor.source.Options().(taskHolder).HeldTasks(snapshot), snapshot, nil
}

// ReadCompleted reads the completed tasks from Graph, if the configuration allows that.
func (c Collection) ReadCompleted(ctx context.Context) ([]tasks.Task, error) {
	snapshot, err := c.current()
	if err != nil {
		return nil, err
	}
	if err := c.OnDemand(); err != nil {
		return nil, err
	}
	return c.sensor.source.Options().(taskHolder).ReadCompleted(ctx, c.sensor.graph, snapshot)
}

// OnDemand returns an error unless more than the sensor holds may be read.
func (c Collection) OnDemand() error {
	if c.sensor.config.OnDemand {
		return nil
	}
	return &services.Error{Code: services.NotOnDemand, Message: fmt.Sprintf("it is not read without on_demand: true (accounts.%s.sensors.%s)", c.sensor.account.config.ID, c.sensor.config.ID)}
}

// snapshot returns the newest snapshot, nil before the first answer.
func (c Collection) snapshot() any {
	c.sensor.mu.Lock()
	defer c.sensor.mu.Unlock()
	if c.sensor.state == nil {
		return nil
	}
	return c.sensor.state.Snapshot
}

// current returns the newest snapshot, or an error if it is missing or too old to be shown.
func (c Collection) current() (any, error) {
	snapshot := c.snapshot()
	if available, _ := c.sensor.available(time.Now()); !available || snapshot == nil {
		return nil, c.missing()
	}
	return snapshot, nil
}

// missing returns the reason why nothing is known.
func (c Collection) missing() error {
	s := c.sensor
	if !s.account.signedIn() {
		return fmt.Errorf("account %[1]s is not signed in; run: graph2mqtt login %[1]s", s.account.config.ID)
	}
	if p := s.problem(); p != nil {
		return errors.New(p.Message)
	}
	return errors.New("the sensor has not been read yet")
}
