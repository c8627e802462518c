package docs_test

import (
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// Events with the fields of an attribute's items refer to the attribute, and name the fields that they lack.
func TestFieldsOfEventsInReference(t *testing.T) {
	id, title := schema.Field{Key: "id", Type: "text", Doc: "Id."}, schema.Field{Key: "title", Type: "text", Doc: "Title."}
	for _, tt := range []struct {
		fields []schema.Field
		want   string
	}{
		{[]schema.Field{id, title}, "Each of them has the fields of the attribute `tasks[]`.\n"},
		{[]schema.Field{id}, "Each of them has the fields of the attribute `tasks[]`, except for `title`.\n"},
	} {
		var b strings.Builder
		events(&b, target{
			attributes: []schema.Field{{Key: "tasks", Type: "list of objects", Fields: []schema.Field{id, title}}},
			events:     []sensors.EventType{{Name: "task_completed", Doc: "A task was completed.", Fields: tt.fields}},
		})
		if got := b.String(); !strings.HasSuffix(got, "\n\n"+tt.want) {
			t.Errorf("got %q, want %q at the end", got, tt.want)
		}
	}
}
