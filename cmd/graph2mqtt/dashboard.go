package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/dashboard"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/status"
)

func (p *program) dashboardCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "dashboard ACCOUNT",
		Short: "Print a view for a Home Assistant dashboard",
		Long: "dashboard prints a view of built-in cards for the configured sensors of an account: work day, presence, automatic replies, mail,\n" +
			"tasks, chats, and the state of the account. To use it in Home Assistant, edit a dashboard, add a view, choose Edit in YAML in its\n" +
			"menu, and paste the output.\n\n" +
			"The view uses the entity ids that Home Assistant assigns to new entities. Sensors for several calendars, groups or lists have\n" +
			"several devices; the command reads them from the discovery messages of the bridge at the broker.",
		Example:           "  graph2mqtt dashboard work\n  graph2mqtt dashboard work --json",
		Args:              optionalArgs(1),
		ValidArgsFunction: p.completeAccount,
		RunE:              p.do(func(ctx context.Context, args []string) error { return p.dashboard(ctx, args, asJSON) }),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (p *program) dashboard(ctx context.Context, args []string, asJSON bool) error {
	c, a, err := p.loadAccount(args)
	if err != nil {
		return err
	}
	if !c.HomeAssistant.Enabled {
		return &usageError{"homeassistant.enabled is false: without discovery there are no entities to show"}
	}
	shown, err := p.shown(ctx, c, a)
	if err != nil {
		return err
	}
	view := dashboard.New(shown)
	if asJSON {
		return p.json(view)
	}
	text, err := config.YAML(view)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "# The view of the account %s. In Home Assistant: edit a dashboard, add a view, choose Edit in YAML in its menu.\n%s", a.ID, text)
	return nil
}

// shown returns the account and its sensors as they are announced. If the members of a group are not known, it prints a warning.
func (p *program) shown(ctx context.Context, c *config.Config, a *config.Account) (dashboard.Content, error) {
	discovery := homeassistant.Discovery{Base: mqtt.Topics(c.MQTT.BaseTopic)}
	account := dashboard.Content{ID: a.ID, Name: a.Name}
	groups := map[string]*config.Sensor{}
	for id, s := range a.Sensors {
		if s.Options.(sensors.Sensor).Group() != nil {
			groups[id] = s
		}
	}
	for _, d := range runtime.Devices(a) {
		if d.ID.Sensor == "" {
			account.Entities = discovery.Announcements(d)
			continue
		}
		s := a.Sensors[d.ID.Sensor]
		presence, ok := s.Options.(sensors.Sensor).Options().(*status.Options)
		account.Sensors = append(account.Sensors, dashboard.Sensor{
			Type: s.Type, Name: s.Name, Other: ok && presence.User != "", Entities: discovery.Announcements(d),
		})
	}
	if len(groups) == 0 {
		return account, nil
	}
	retained, err := announced(ctx, c)
	if err != nil {
		if ctx.Err() != nil {
			return account, err
		}
		fmt.Fprintf(p.stderr, "graph2mqtt: the view lacks %s: their members are announced at the broker: %v\n", strings.Join(slices.Sorted(maps.Keys(groups)), ", "), err)
		return account, nil
	}
	for id, g := range config.Sorted(groups) {
		members := membersOf(discovery.Base.ID(a.ID, id), a, retained)
		if len(members) == 0 {
			fmt.Fprintf(p.stderr, "graph2mqtt: the view lacks %s: nothing is announced for it; start the bridge once, and run this command again\n", id)
		}
		for _, m := range members {
			m.Type = g.Type
			account.Sensors = append(account.Sensors, m)
		}
	}
	return account, nil
}

// A discoveryMessage is an announcement of a device, or of an entity with a topic of its own.
type discoveryMessage struct {
	announcedEntity
	Device     struct{ Name string }
	Components map[string]announcedEntity
}

// An announcedEntity is an entity in a discovery message.
type announcedEntity struct {
	Platform string
	Name     *string
	UniqueID string `json:"unique_id"`
	EntityID string `json:"default_entity_id"`
	Enabled  *bool  `json:"enabled_by_default"`
}

// announced returns the discovery messages at the broker by topic, without the discovery prefix.
func announced(ctx context.Context, c *config.Config) (map[string][]byte, error) {
	broker, err := bridge.Broker(c.MQTT)
	if err != nil {
		return nil, err
	}
	messages, done := make(chan mqtt.Message), make(chan struct{})
	defer close(done)
	topic := c.HomeAssistant.DiscoveryTopic
	observer, err := mqtt.Observe(broker, func(m mqtt.Message) {
		select {
		case messages <- m:
		case <-done:
		}
	}, topic+"/device/+/config", topic+"/+/+/+/config")
	if err != nil {
		return nil, err
	}
	defer observer.Close()
	found := map[string][]byte{}
	quiet := time.NewTimer(initialQuiet)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-observer.Lost():
			return nil, fmt.Errorf("the connection to %s is lost: %w", observer.Broker(), err)
		case m := <-messages:
			if m.Retained {
				found[strings.TrimPrefix(m.Topic, topic+"/")] = m.Payload
				quiet.Reset(initialQuiet)
			}
		case <-quiet.C:
			return found, nil
		}
	}
}

// memberID matches what follows the id of a group in that of a member.
var memberID = regexp.MustCompile(`^_[a-z2-7]{8}$`)

// membersOf returns the announced members of a group, whose device has this id, by name.
func membersOf(group string, a *config.Account, announced map[string][]byte) []dashboard.Sensor {
	members := map[string]*dashboard.Sensor{} // by the id of the device
	for topic, payload := range config.Sorted(announced) {
		device := strings.Split(topic, "/")[1] // device/<device>/config, or <platform>/<device>/<entity>/config
		rest, ok := strings.CutPrefix(device, group)
		if !ok || !memberID.MatchString(rest) || a.Sensors[device[strings.LastIndexByte(device, '-')+1:]] != nil {
			continue
		}
		var m discoveryMessage
		if json.Unmarshal(payload, &m) != nil {
			continue // not one of the bridge's
		}
		s := members[device]
		if s == nil {
			s = &dashboard.Sensor{}
			members[device] = s
		}
		s.Name = strings.TrimSpace(strings.TrimPrefix(m.Device.Name, a.Name))
		if m.Components == nil {
			m.Components = map[string]announcedEntity{"": m.announcedEntity}
		}
		for _, e := range config.Sorted(m.Components) {
			key, ok := strings.CutPrefix(e.UniqueID, device+"-")
			if !ok {
				continue
			}
			platform, _, _ := strings.Cut(e.EntityID, ".")
			name := s.Name
			if e.Name != nil {
				name = *e.Name
			}
			s.Entities = append(s.Entities, homeassistant.Announcement{
				Entity: entity.Entity{Key: key, Platform: platform, Name: name}, EntityID: e.EntityID, Disabled: e.Enabled != nil && !*e.Enabled,
			})
		}
	}
	var sorted []dashboard.Sensor
	for _, s := range members {
		sorted = append(sorted, *s)
	}
	slices.SortFunc(sorted, func(a, b dashboard.Sensor) int { return strings.Compare(a.Name, b.Name) })
	return sorted
}
