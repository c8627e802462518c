package autoreply

import (
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services/autoreply"
)

// attributeFields documents the attributes: the setting except for the mode, which is the state.
func attributeFields() []schema.Field {
	return slices.DeleteFunc(autoreply.SettingFields(), func(f schema.Field) bool { return f.Key == "mode" })
}

// events documents the event. It has the fields of the setting, except for the replies.
func events() []sensors.EventType {
	fields := slices.DeleteFunc(autoreply.SettingFields(), func(f schema.Field) bool { return f.Key == "internal_reply" || f.Key == "external_reply" })
	fields = append(fields, schema.Field{Key: "previous_mode", Type: "text", Doc: "Mode before the change."})
	return []sensors.EventType{{Name: changed, Doc: "The automatic replies were changed, here or in Outlook.", Fields: fields}}
}
