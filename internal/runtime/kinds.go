package runtime

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/autoreply"
	"github.com/graph2mqtt/graph2mqtt/sensors/calendar"
	"github.com/graph2mqtt/graph2mqtt/sensors/chat"
	"github.com/graph2mqtt/graph2mqtt/sensors/mail"
	"github.com/graph2mqtt/graph2mqtt/sensors/planner"
	"github.com/graph2mqtt/graph2mqtt/sensors/room"
	"github.com/graph2mqtt/graph2mqtt/sensors/status"
	"github.com/graph2mqtt/graph2mqtt/sensors/todo"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/people"
)

// Kinds returns every kind of sensor.
func Kinds() []sensors.Kind { return slices.Clone(kinds()) }

// kinds makes the kinds once: their fields and operations take 0.1 MB.
var kinds = sync.OnceValue(func() []sensors.Kind {
	return []sensors.Kind{
		autoreply.Kind(),
		calendar.Kind(),
		calendar.GroupKind(),
		chat.ChannelKind(),
		chat.ChatKind(),
		mail.Email(),
		mail.Filter(),
		planner.Kind(),
		room.Kind(),
		status.Kind(),
		todo.Kind(),
	}
})

// Load loads the configuration of these kinds.
func Load(s config.Sources, kinds []sensors.Kind) (*config.Config, error) {
	c, err := config.Load(s, ConfigKinds(kinds))
	if err != nil {
		return nil, err
	}
	for _, a := range c.Accounts {
		for _, s := range a.Sensors {
			if o, ok := s.Options.(sensors.Sensor).Options().(fileSender); ok {
				o.SendFiles(c.Attachments.Directories, s.Allow)
			}
			if o, ok := s.Options.(sensors.Sensor).Options().(allower); ok {
				o.SetAllowed(s.Allow)
			}
			if o, ok := s.Options.(sensors.Sensor).Options().(offerUser); ok {
				o.Offer(operationNames(Operations(s)))
			}
		}
	}
	return c, nil
}

// A fileSender is implemented by the options of kinds whose operations send files.
type fileSender interface {
	// SendFiles sets the only directories that files are sent from, and what the sensor allows.
	SendFiles(directories, allow []string)
}

// An allower is implemented by options whose operations depend on what else is allowed.
type allower interface {
	// SetAllowed sets what the sensor allows.
	SetAllowed(allow []string)
}

// An onDemandChecker is implemented by options with which nothing can be read on demand.
type onDemandChecker interface {
	// CheckOnDemand returns an error for options that do not go with on_demand: true.
	CheckOnDemand() error
}

// allOperations returns the operations of a sensor: those of its kind, and those of every sensor.
func allOperations(s sensors.Sensor) []services.Operation {
	return append(slices.Clip(s.Operations()), people.Operations()...)
}

// An offerUser is implemented by options whose polls depend on the offered operations.
type offerUser interface {
	// Offer sets which operations the configuration offers.
	Offer(operations []string)
}

// workOptions is implemented by options that personal accounts do not have completely.
type workOptions interface {
	// WorkOptions returns the options in use that personal accounts do not have.
	WorkOptions() []string
}

// A sensorChecker is implemented by options that depend on the keys of every sensor.
type sensorChecker interface {
	// CheckSensor returns an error for options that do not go with these keys.
	CheckSensor(enableUpdate bool, allow []string) error
}

// ConfigKinds returns the kinds as the configuration declares them.
func ConfigKinds(kinds []sensors.Kind) []config.Kind {
	var ks []config.Kind
	for _, k := range kinds {
		ks = append(ks, config.Kind{
			Name: k.Name, Doc: k.Doc, Aliases: k.Aliases, Interval: k.Interval, AdvisedInterval: k.AdvisedInterval, OwnUpdates: k.OwnUpdates, WorkOnly: k.WorkOnly, WriteOnly: k.WriteOnly,
			Application: k.Application, OfMailbox: k.OfMailbox, UserOnly: k.UserOnly,
			New:   func() any { return k.New() },
			Check: check,
		})
	}
	return ks
}

// An applicationChecker is implemented by options that an organization cannot use completely.
type applicationChecker interface {
	// CheckApplication returns an error for options that an organization cannot use.
	CheckApplication() error
}

// userOnly returns why a sensor of an organization does not have an operation, or "".
func userOnly(c *config.Sensor, op services.Operation) string {
	isPeople := slices.ContainsFunc(people.Operations(), func(o services.Operation) bool { return o.Name == op.Name })
	switch {
	case !c.Application:
	case op.UserOnly != "":
		return op.UserOnly
	case slices.ContainsFunc(op.Permissions, func(p graph.Permission) bool { _, ok := p.Application(); return !ok }):
		return "applications do not have its permission"
	case isPeople && c.User == "":
		return "in an organization, the sensors of mailboxes have it, which are those with the key user, except status"
	}
	return ""
}

// An operationChecker explains why its kind does not offer an operation with these options although it has it.
type operationChecker interface {
	CheckOperation(name string) error
}

// check returns the problems of a configured sensor that only its kind can tell: names that it does not have, and a sensor that
// would do nothing.
func check(c *config.Sensor) error {
	s := c.Options.(sensors.Sensor)
	var errs []error
	all := allOperations(s)
	operations := operationNames(all)
	if c.OwnUpdate && c.EnableUpdate && len(s.Operations()) == 0 {
		errs = append(errs, config.At("enable_update", errors.New("this sensor has nothing that could be changed")))
	}
	for i, name := range c.Allow {
		at := fmt.Sprintf("allow[%d]", i)
		if o, ok := s.Options().(operationChecker); ok {
			if err := o.CheckOperation(name); err != nil {
				errs = append(errs, config.At(at, err))
				continue
			}
		}
		switch j := slices.Index(operations, name); {
		case name == allowDefault:
		case j < 0:
			errs = append(errs, config.At(at, fmt.Errorf("unknown operation %q; type %s has: %s", name, c.Type, list(operations))))
		case userOnly(c, all[j]) != "":
			errs = append(errs, config.At(at, fmt.Errorf("%s is not offered: %s", name, userOnly(c, all[j]))))
		case all[j].WorkOnly && c.Personal:
			errs = append(errs, config.At(at, fmt.Errorf("%s is for work and school accounts: the tenant consumers has personal ones only", name)))
		}
	}
	var keys []string
	for _, e := range s.Entities() {
		keys = append(keys, e.Key)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	for key := range config.Sorted(c.Entities) {
		if !slices.Contains(keys, key) {
			errs = append(errs, config.At("entities."+key, fmt.Errorf("unknown entity; type %s has: %s", c.Type, list(keys))))
		}
	}
	if o, ok := s.Options().(workOptions); ok && c.Personal {
		for _, key := range o.WorkOptions() {
			errs = append(errs, config.At(key, errors.New("only for work and school accounts: the tenant consumers has personal ones only")))
		}
	}
	if o, ok := s.Options().(applicationChecker); ok && c.Application {
		errs = append(errs, o.CheckApplication())
	}
	if o, ok := s.Options().(sensorChecker); ok {
		errs = append(errs, o.CheckSensor(c.EnableUpdate, c.Allow))
	}
	if o, ok := s.Options().(onDemandChecker); ok && c.OnDemand {
		errs = append(errs, o.CheckOnDemand())
	}
	if !c.Read && len(Operations(c)) == 0 {
		errs = append(errs, config.At("read", errors.New("false leaves nothing to do: the sensor offers no operation without enable_update")))
	}
	return errors.Join(errs...)
}
