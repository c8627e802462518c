package bridge

import (
	"errors"
	"fmt"
	"slices"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/autoreply"
	"github.com/graph2mqtt/graph2mqtt/sensors/calendar"
	teams "github.com/graph2mqtt/graph2mqtt/sensors/status"
)

// Kinds lists every kind of sensor.
func Kinds() []sensors.Kind {
	return []sensors.Kind{
		autoreply.Kind(),
		calendar.Kind(),
		teams.Kind(),
	}
}

// Load loads the configuration of these kinds.
func Load(s config.Sources, kinds []sensors.Kind) (*config.Config, error) {
	return config.Load(s, ConfigKinds(kinds))
}

// ConfigKinds returns the kinds as the configuration knows them.
func ConfigKinds(kinds []sensors.Kind) []config.Kind {
	aliases := map[string][]string{
		"auto_reply": {"oof", "out_of_office", "automatic_replies", "auto_replies", "vacation", "away_message"},
		"calendar":   {"events", "agenda", "schedule", "outlook_calendar"},
		"status":     {"presence", "availability", "teams", "teams_status", "user_status"},
	}
	var ks []config.Kind
	for _, k := range kinds {
		ks = append(ks, config.Kind{
			Name: k.Name, Doc: k.Doc, Aliases: aliases[k.Name], Interval: k.Interval, OwnUpdates: k.OwnUpdates, WorkOnly: k.WorkOnly,
			New:   func() any { return k.New() },
			Check: check,
		})
	}
	return ks
}

// check finds what a configured sensor names and its kind does not have.
func check(c *config.Sensor) error {
	s := c.Options.(sensors.Sensor)
	var errs []error
	var operations []string
	if commander, ok := s.(sensors.Commander); ok {
		for _, op := range commander.Operations() {
			operations = append(operations, op.Name)
		}
	}
	if c.OwnUpdate && c.EnableUpdate && len(operations) == 0 {
		errs = append(errs, config.At("enable_update", errors.New("there is nothing that this sensor could change")))
	}
	for i, name := range c.Allow {
		if !slices.Contains(operations, name) {
			errs = append(errs, config.At(fmt.Sprintf("allow[%d]", i), fmt.Errorf("unknown operation %q; type %s has: %s", name, c.Type, list(operations))))
		}
	}
	var keys []string
	for _, e := range s.Entities() {
		keys = append(keys, e.Key)
	}
	for key := range config.Sorted(c.Entities) {
		if !slices.Contains(keys, key) {
			errs = append(errs, config.At("entities."+key, fmt.Errorf("unknown entity; type %s has: %s", c.Type, list(keys))))
		}
	}
	if !c.Read && len(offered(c, s)) == 0 {
		errs = append(errs, config.At("read", errors.New("false leaves nothing: the sensor offers no operation without enable_update")))
	}
	return errors.Join(errs...)
}
