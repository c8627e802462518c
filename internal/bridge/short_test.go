package bridge_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/sensors/autoreply"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Setting the text that an entity shows, even a shortened one, changes nothing.
func TestSettingTheTextThatIsShownChangesNothing(t *testing.T) {
	for name, markup := range map[string]string{
		"short":          "<html>\n<body>\n<p>I am away.</p>\n</body>\n</html>\n",
		"lines":          "<p>I am away.</p><p>Ask Megan,<br>or Alex.</p>",
		"long":           "<p>" + strings.Repeat("I am away. ", 60) + "</p>",
		"long lines":     strings.Repeat("<p class=\"x\">one&nbsp;two</p>", 60),
		"cut at a space": strings.Repeat("x", 253) + " " + strings.Repeat("y", 99),
		"cut at a line":  strings.Repeat("x", 253) + "<br>" + strings.Repeat("y", 99),
		"wide":           strings.Repeat("ä€👩‍👩‍👧é ", 60),
		"fits":           strings.Repeat("ä", 255),
		"one too many":   strings.Repeat("ä", 256),
		"entities":       strings.Repeat("&lt;b&gt; &amp; ", 60),
		"controls":       "a\u0001b\tc&#11;d&#13;e " + strings.Repeat("x", 300),
		"spoilt":         "a\ufffdb" + strings.Repeat("\ufffd", 300),
		"spaces":         "&nbsp; &#8195;a" + strings.Repeat(" &#8195; b", 300),
	} {
		t.Run(name, func(t *testing.T) {
			m := simulator.Contoso(simulator.Options{})
			replies := m.AutomaticReplies(simulator.Adele)
			replies.InternalReply = markup
			m.SetAutomaticReplies(simulator.Adele, replies)
			g := graphtest.Client(t, m, simulator.Adele, "MailboxSettings.ReadWrite")
			now := time.Now()

			source := autoreply.Kind().New().Options().(*autoreply.Options)
			snapshot, err := source.Poll(t.Context(), g, nil, now)
			if err != nil {
				t.Fatal(err)
			}
			entities := source.Entities()
			current := sensors.Complete(entities, source.State(snapshot, now, now))
			var state struct {
				Text string `json:"internal_reply"`
			}
			if err := json.Unmarshal(homeassistant.StatePayload(entities, current), &state); err != nil {
				t.Fatal(err)
			}
			shown := strings.TrimSpace(state.Text) // as templates do

			box := entities[slices.IndexFunc(entities, func(e entity.Entity) bool { return e.Key == "internal_reply" && e.Platform == "text" })]
			operation, fields, err := box.Request(shown, current)
			if long := strings.HasSuffix(shown, "…"); long != (err != nil) {
				t.Fatalf("%q: error %v", shown, err)
			} else if long {
				return
			}
			operations := source.Operations()
			update := operations[slices.IndexFunc(operations, func(op services.Operation) bool { return op.Name == operation })]
			payload, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			request, err := services.Decode(update, payload)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := request.Execute(t.Context(), g, services.Attempt{Now: now}); err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(m.Requests(), func(r simulator.Request) bool { return r.Method != http.MethodGet }) {
				t.Errorf("setting %q wrote %q", shown, m.AutomaticReplies(simulator.Adele).InternalReply)
			}
		})
	}
}
