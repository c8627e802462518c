// Package autoreply shows the automatic replies of the signed-in user's mailbox.
package autoreply

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/autoreply"
)

// Kind is auto_reply.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name:  "auto_reply",
		Title: "Automatic replies",
		Doc: "The automatic replies (out of office) of your own mailbox: whether they are sent, to whom, from when to when, and " +
			"their texts. With updates they can be switched, scheduled and rewritten.",
		Interval: 120 * time.Second,
		New:      func() sensors.Sensor { return new(Sensor) },
	}
}

const changed = "auto_reply_changed"

// Sensor is one auto_reply.
type Sensor struct {
	memory memory
}

type memory struct {
	Setting *mailbox.AutomaticReplies // nil before the first answer
}

// Permissions implements sensors.Sensor.
func (s *Sensor) Permissions() []graph.Permission {
	return []graph.Permission{{
		Scope:        "MailboxSettings.Read",
		Alternatives: []string{"MailboxSettings.ReadWrite"},
		Purpose:      "reads the automatic replies",
		Impact:       "the automatic replies are unavailable",
	}}
}

// Entities implements sensors.Sensor.
func (s *Sensor) Entities() []entity.Entity {
	update := []string{"update"}
	field := func(name string) func(string) (string, map[string]any, error) {
		return func(payload string) (string, map[string]any, error) {
			return "update", map[string]any{name: payload}, nil
		}
	}
	return []entity.Entity{
		{Key: "mode", Platform: "sensor", Name: "Mode", DeviceClass: "enum", Options: mailbox.Modes(), Icon: "mdi:reply-all", Primary: true},
		{Key: "active", Platform: "binary_sensor", Name: "Active", Icon: "mdi:reply-all"},
		{Key: "audience", Platform: "sensor", Name: "External audience", DeviceClass: "enum", Options: mailbox.Audiences(), Icon: "mdi:account-group"},
		{Key: "start", Platform: "sensor", Name: "Start", DeviceClass: "timestamp"},
		{Key: "end", Platform: "sensor", Name: "End", DeviceClass: "timestamp"},
		{Key: "event", Platform: "event", Name: "Event", Options: []string{changed}, Icon: "mdi:reply-all"},

		{Key: "enabled", Platform: "switch", Name: "Enabled", Icon: "mdi:reply-all", Operations: []string{"enable", "disable"}, Parse: onOff},
		{Key: "set_mode", Platform: "select", Name: "Set mode", Options: mailbox.Modes(), Icon: "mdi:reply-all", Category: "config",
			ValueKey: "mode", Operations: update, Parse: field("mode")},
		{Key: "set_audience", Platform: "select", Name: "Set external audience", Options: mailbox.Audiences(), Icon: "mdi:account-group", Category: "config",
			ValueKey: "audience", Operations: update, Parse: field("external_audience")},
		{Key: "internal_text", Platform: "text", Name: "Internal reply", Icon: "mdi:text", Category: "config", Operations: update, Parse: field("internal_reply")},
		{Key: "external_text", Platform: "text", Name: "External reply", Icon: "mdi:text", Category: "config", Operations: update, Parse: field("external_reply")},
		{Key: "set_start", Platform: "datetime", Name: "Set start", Category: "config", ValueKey: "start", Operations: update, Parse: field("start")},
		{Key: "set_end", Platform: "datetime", Name: "Set end", Category: "config", ValueKey: "end", Operations: update, Parse: field("end")},
		{Key: "long_internal", Platform: "notify", Name: "Long internal reply", Icon: "mdi:text-long", Category: "config", Operations: update, MessageField: "internal_reply"},
		{Key: "long_external", Platform: "notify", Name: "Long external reply", Icon: "mdi:text-long", Category: "config", Operations: update, MessageField: "external_reply"},
	}
}

func onOff(payload string) (string, map[string]any, error) {
	switch payload {
	case "ON":
		return "enable", nil, nil
	case "OFF":
		return "disable", nil, nil
	}
	return "", nil, fmt.Errorf("want ON or OFF, not %s", services.QuoteForError(payload))
}

// Poll implements sensors.Sensor.
func (s *Sensor) Poll(ctx context.Context, g *graph.Client, now time.Time) (sensors.Take, error) {
	setting, err := mailbox.ReadAutomaticReplies(ctx, g, now.Location())
	if err != nil {
		return nil, err
	}
	return func(now time.Time) []entity.Event { return s.take(now, setting) }, nil
}

// Apply implements sensors.Applier.
func (s *Sensor) Apply(now time.Time, operation string, result any) []entity.Event {
	if setting, ok := result.(mailbox.AutomaticReplies); ok {
		return s.take(now, setting)
	}
	return nil
}

func (s *Sensor) take(now time.Time, setting mailbox.AutomaticReplies) []entity.Event {
	old := s.memory.Setting
	s.memory.Setting = &setting
	if old == nil || old.Equal(setting) {
		return nil
	}
	if before := *old; setting.IsPlaceholderSchedule(now) {
		before.Start, before.End = setting.Start, setting.End // it moves on by itself
		if before.Equal(setting) {
			return nil
		}
	}
	data := setting.InLocation(now.Location()).Attributes()
	// The replies are attributes of the mode; they would make an event longer than it need be.
	delete(data, "internal_reply")
	delete(data, "external_reply")
	data["previous_mode"] = old.Attributes()["mode"]
	return []entity.Event{{Type: changed, Data: data}}
}

// Operations implements sensors.Commander.
func (s *Sensor) Operations() []services.Operation { return autoreply.Operations() }

// Memory implements sensors.Rememberer.
func (s *Sensor) Memory() any { return &s.memory }

// State implements sensors.Sensor.
func (s *Sensor) State(since, now time.Time) entity.State {
	st := entity.State{Values: map[string]any{
		"mode": nil, "active": nil, "audience": nil, "start": nil, "end": nil, "enabled": nil, "internal_text": nil, "external_text": nil,
	}}
	if s.memory.Setting == nil {
		return st
	}
	m := s.memory.Setting.InLocation(now.Location())
	facts := m.Attributes()
	v := st.Values
	v["mode"], v["audience"] = option(m.Mode, mailbox.Modes()), option(m.Audience, mailbox.Audiences())
	v["start"], v["end"] = facts["start"], facts["end"]
	v["internal_text"] = autoreply.Short(facts["internal_reply"].(string))
	v["external_text"] = autoreply.Short(facts["external_reply"].(string))
	delete(facts, "mode")
	st.Attributes = facts
	switch m.Mode {
	case mailbox.Disabled:
		v["active"], v["enabled"] = false, false
	case mailbox.AlwaysEnabled:
		v["active"], v["enabled"] = true, true
	case mailbox.Scheduled:
		if m.Start.IsZero() || m.End.IsZero() {
			break
		}
		v["active"] = !now.Before(m.Start) && now.Before(m.End)
		v["enabled"] = now.Before(m.End)
		if now.Before(m.Start) && m.Start.Before(m.End) {
			st.Next = m.Start
		} else if now.Before(m.End) {
			st.Next = m.End
		}
	}
	return st
}

// option is what an enum entity shows of a value: Home Assistant refuses what is not in the list.
func option(s string, options []string) any {
	if slices.Contains(options, s) {
		return s
	}
	return nil
}
