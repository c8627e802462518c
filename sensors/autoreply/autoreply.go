// Package autoreply shows the automatic replies of the signed-in user's mailbox.
package autoreply

import (
	"context"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/autoreply"
)

// Kind returns the kind auto_reply.
func Kind() sensors.Kind {
	return sensors.Kind{
		Name:    "auto_reply",
		Aliases: []string{"oof", "out_of_office", "automatic_replies", "auto_replies", "vacation", "away_message"},
		Title:   "Automatic replies",
		Doc: "The automatic replies (out of office) of your own mailbox: mode, audience, schedule and texts. With `enable_update` you can " +
			"switch, schedule and change them.",
		Interval:    120 * time.Second,
		Application: true, OfMailbox: true,
		New:        func() sensors.Sensor { return sensors.Of(new(Options)) },
		Attributes: attributeFields(),
		Events:     events(),
		Describe:   describe,
	}
}

const changed = "auto_reply_changed"

// Options are the options of an auto_reply: there are none. It is the sensors.Source of the mailbox's setting, whose times are in
// UTC.
type Options struct{}

// Permissions implements sensors.Source.
func (*Options) Permissions() []graph.Permission {
	return []graph.Permission{{
		Scope:        "MailboxSettings.Read",
		Alternatives: []string{"MailboxSettings.ReadWrite"},
		Purpose:      "reads the automatic replies",
		Impact:       "the automatic replies are unavailable",
	}}
}

// Operations implements sensors.OperationProvider.
func (*Options) Operations() []services.Operation { return autoreply.Operations() }

// Entities implements sensors.Source.
func (*Options) Entities() []entity.Entity {
	const update, config = "update", "config"
	return []entity.Entity{
		entity.Enum("mode", "Mode", mailbox.Modes()...).WithDoc("Whether automatic replies are off, always sent, or sent from start to end.").WithIcon("mdi:reply-all").AsPrimary(),
		entity.BinarySensor("active", "Replying now").WithDoc("Whether replies are sent now: always, or within the schedule.").WithIcon("mdi:reply-all"),
		entity.Enum("external_audience", "External audience", mailbox.Audiences()...).WithDoc("Who outside of your organization gets a reply.").WithIcon("mdi:account-group"),
		entity.Timestamp("start", "Start").WithDoc("Start of the schedule."),
		entity.Timestamp("end", "End").WithDoc("End of the schedule."),
		entity.EventEntity(changed).WithDoc("Fires when the automatic replies were changed.").WithIcon("mdi:reply-all"),

		entity.Switch("enabled", "Automatic replies").WithDoc("Switches automatic replies on and off. It is also on before and during a schedule.").WithIcon("mdi:reply-all").Sets(onOff, "enable", "disable"),
		entity.Select("mode", "Mode", mailbox.Modes()...).WithDoc("Sets the mode.").WithLabels(modeLabels()).WithIcon("mdi:reply-all").InCategory(config).AsPrimary().
			SetsField(update, "mode"),
		entity.Select("external_audience", "External audience", mailbox.Audiences()...).WithDoc("Sets who outside of your organization gets a reply.").WithLabels(audienceLabels()).WithIcon("mdi:account-group").InCategory(config).
			SetsField(update, "external_audience"),
		entity.Text("internal_reply", "Internal reply").WithDoc("Sets the reply to people in your organization.").WithIcon("mdi:text").InCategory(config).WithLongTexts("Long internal reply").
			SetsField(update, "internal_reply"),
		entity.Text("external_reply", "External reply").WithDoc("Sets the reply to everybody else.").WithIcon("mdi:text").InCategory(config).WithLongTexts("Long external reply").
			SetsField(update, "external_reply"),
		entity.DateTime("start", "Start").WithDoc("Sets the start of the schedule. A start after the end moves the end as well.").InCategory(config).SetsField(update, "start"),
		entity.DateTime("end", "End").WithDoc("Sets the end of the schedule.").InCategory(config).SetsField(update, "end"),
		entity.Notify("long_internal_reply", "Long internal reply", update, "internal_reply").WithDoc("Sets an internal reply of any length.").WithIcon("mdi:text-long").InCategory(config),
		entity.Notify("long_external_reply", "Long external reply", update, "external_reply").WithDoc("Sets an external reply of any length.").WithIcon("mdi:text-long").InCategory(config),
	}
}

func modeLabels() map[string]string {
	return map[string]string{mailbox.Disabled: "Off", mailbox.AlwaysEnabled: "Always", mailbox.Scheduled: "Scheduled"}
}

func audienceLabels() map[string]string {
	return map[string]string{"none": "Nobody", "contactsOnly": "Contacts only", "all": "Everyone"}
}

func onOff(value string) (string, map[string]any, error) {
	switch value {
	case "ON":
		return "enable", nil, nil
	case "OFF":
		return "disable", nil, nil
	}
	return "", nil, fmt.Errorf("want ON or OFF, not %s", services.QuoteForError(value))
}

// Poll implements sensors.Source.
func (*Options) Poll(ctx context.Context, g *graph.Client, _ *mailbox.AutomaticReplies, _ time.Time) (*mailbox.AutomaticReplies, error) {
	setting, err := mailbox.ReadAutomaticReplies(ctx, g, time.UTC)
	if err != nil {
		return nil, err
	}
	return &setting, nil
}

// Effects implements sensors.EffectProvider.
func (o *Options) Effects() []sensors.Effect[mailbox.AutomaticReplies] {
	return []sensors.Effect[mailbox.AutomaticReplies]{
		sensors.On(func(s *mailbox.AutomaticReplies, result mailbox.AutomaticReplies, now time.Time) (*mailbox.AutomaticReplies, []entity.Event) {
			after := result.InLocation(time.UTC)
			return &after, o.Events(s, &after, now)
		}),
	}
}

// Events implements sensors.Source.
func (*Options) Events(before, after *mailbox.AutomaticReplies, now time.Time) []entity.Event {
	if before.Equal(*after) {
		return nil
	}
	if moved := *before; after.IsPlaceholderSchedule(now) {
		moved.Start, moved.End = after.Start, after.End // it moves on by itself
		if moved.Equal(*after) {
			return nil
		}
	}
	data := after.InLocation(now.Location()).Attributes()
	// The replies are attributes of the mode; they would make an event needlessly long.
	delete(data, "internal_reply")
	delete(data, "external_reply")
	data["previous_mode"] = before.Attributes()["mode"]
	return []entity.Event{{Type: changed, Data: data}}
}

// State implements sensors.Source.
func (*Options) State(s *mailbox.AutomaticReplies, _, now time.Time) entity.State {
	if s == nil {
		return entity.State{}
	}
	m := s.InLocation(now.Location())
	attributes := m.Attributes()
	values := map[string]any{
		"mode": m.Mode, "external_audience": m.Audience,
		"start": attributes["start"], "end": attributes["end"], "internal_reply": attributes["internal_reply"], "external_reply": attributes["external_reply"],
	}
	delete(attributes, "mode")
	st := entity.State{Values: values, Attributes: attributes}
	switch m.Mode {
	case mailbox.Disabled:
		values["active"], values["enabled"] = false, false
	case mailbox.AlwaysEnabled:
		values["active"], values["enabled"] = true, true
	case mailbox.Scheduled:
		if m.Start.IsZero() || m.End.IsZero() {
			break
		}
		values["active"] = !now.Before(m.Start) && now.Before(m.End)
		values["enabled"] = now.Before(m.End)
		if now.Before(m.Start) && m.Start.Before(m.End) {
			st.Next = m.Start
		} else if now.Before(m.End) {
			st.Next = m.End
		}
	}
	return st
}

func describe(e entity.Event) string {
	if e.Type != changed {
		return ""
	}
	mode, previous := modeLabel(e.Data["mode"]), modeLabel(e.Data["previous_mode"])
	if mode == previous {
		return "settings changed, mode is " + mode
	}
	return fmt.Sprintf("now %s, was %s", mode, previous)
}

func modeLabel(mode any) string {
	name, ok := mode.(string)
	if !ok {
		return "unknown"
	}
	if label, ok := modeLabels()[name]; ok {
		return label
	}
	return name
}
