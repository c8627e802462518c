package entity_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

func TestBox(t *testing.T) {
	fits := strings.Repeat("ä", entity.MaxText)
	for _, tt := range []struct {
		name, text, want string
		complete         bool
	}{
		{"empty", "", "", true},
		{"one line", "Back on Monday", "Back on Monday", true},
		{"lines", "Hello,\n\nI am away.\r\nAnn", "Hello, ⏎  ⏎ I am away. ⏎ Ann", true},
		{"as long as the box", fits, fits, true},
		{"longer", fits + "b", fits[:2*(entity.MaxText-1)] + "…", false},
		{"longer for its line breaks", strings.Repeat("a\n", 100), strings.Repeat("a ⏎ ", 63) + "a …", false},
	} {
		shown, complete := entity.Box(tt.text)
		if shown != tt.want || complete != tt.complete {
			t.Errorf("%s: got %q, %v, want %q, %v", tt.name, shown, complete, tt.want, tt.complete)
		}
	}
}

// setText sets a text entity that shows current.
func setText(payload, current string) (string, error) {
	e := entity.Text("internal_reply", "Internal reply").SetsField("update", "internal_reply").WithLongTexts("Long internal reply")
	var s entity.State
	if _, complete := entity.Box(current); !complete {
		s.Texts = map[string]string{"internal_reply": current}
	}
	operation, request, err := e.Request(payload, s)
	if err != nil {
		return "", err
	}
	return operation + ": " + request["internal_reply"].(string), nil
}

func TestText(t *testing.T) {
	long := strings.Repeat("word ", 60)
	boxed, _ := entity.Box(long)
	const refused = `want a text that does not end in …: the stored one is longer than this box shows, and its end would be lost; ` +
		`set long texts with the notify entity "Long internal reply" or the request update`
	for _, tt := range []struct{ name, payload, current, want, err string }{
		{"plain", "Back soon", "", "update: Back soon", ""},
		{"empty", "", "Back soon", "update: ", ""},
		{"lines come back", "Hello, ⏎  ⏎ I am away.⏎Ann", "", "update: Hello,\n\nI am away.\nAnn", ""},
		{"what is shown of a long text", boxed, long, "", refused},
		{"an edited beginning", "Well, " + boxed, long, "", refused},
		{"a space behind it", boxed + " ", long, "", refused},
		{"a new text", "Short", long, "update: Short", ""},
		{"an ellipsis of the user", "To be continued…", "Short", "update: To be continued…", ""},
	} {
		got, err := setText(tt.payload, tt.current)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got != tt.want || message != tt.err {
			t.Errorf("%s: got %q, %q, want %q, %q", tt.name, got, message, tt.want, tt.err)
		}
	}
}

// A text that fits into the box is returned unchanged.
func FuzzBox(f *testing.F) {
	f.Add("one\n\ntwo ")
	f.Add(" ⏎ ")
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\r⏎") {
			return
		}
		shown, complete := entity.Box(text)
		if utf8.RuneCountInString(shown) > entity.MaxText {
			t.Fatalf("%d characters", utf8.RuneCountInString(shown))
		}
		if !complete {
			return
		}
		if got, err := setText(shown, text); err != nil || got != "update: "+text {
			t.Errorf("%q is shown as %q and comes back as %q, %v", text, shown, got, err)
		}
	})
}

func TestSelect(t *testing.T) {
	e := entity.Select("mode", "Mode", "disabled", "alwaysEnabled").
		WithLabels(map[string]string{"disabled": "Off", "alwaysEnabled": "Always"}).SetsField("update", "mode")
	for payload, want := range map[string]string{"Off": "disabled", "disabled": "disabled", "always": "alwaysEnabled", "Sometimes": "Sometimes"} {
		_, request, err := e.Request(payload, entity.State{})
		if err != nil || request["mode"] != want {
			t.Errorf("%s: got %v, %v, want %s", payload, request, err, want)
		}
	}
}

func TestReadOnlyCannotBeSet(t *testing.T) {
	if _, _, err := entity.Timestamp("start", "Start").Request("2026-01-01T12:00:00", entity.State{}); err == nil || err.Error() != "Start cannot be set" {
		t.Errorf("got %v", err)
	}
}

func TestConstructors(t *testing.T) {
	got := []entity.Entity{
		entity.Count("today", "Events today").WithIcon("mdi:calendar"),
		entity.Enum("mode", "Mode", "a", "b").AsPrimary(),
		entity.Button("clear", "Clear", "set", map[string]any{"message": ""}).InCategory("config"),
		entity.Notify("send", "Send", "send", "message"),
		entity.BinarySensor("problem", "Problem").WithDeviceClass("problem").Showing("wrong"),
	}
	want := []entity.Entity{
		{Key: "today", Platform: "sensor", Name: "Events today", StateClass: "measurement", Icon: "mdi:calendar"},
		{Key: "mode", Platform: "sensor", Name: "Mode", DeviceClass: "enum", Options: []string{"a", "b"}, Identifiers: true, Primary: true},
		{Key: "clear", Platform: "button", Name: "Clear", Operations: []string{"set"}, DefaultFields: map[string]any{"message": ""}, Category: "config"},
		{Key: "send", Platform: "notify", Name: "Send", Operations: []string{"send"}, MessageField: "message"},
		{Key: "problem", Platform: "binary_sensor", Name: "Problem", DeviceClass: "problem", ValueKey: "wrong"},
	}
	if d := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "Parse" }, cmp.Ignore())); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if got[4].StateKey() != "wrong" || got[0].ShowsValue() == got[3].ShowsValue() {
		t.Error("wrong keys")
	}
}

func TestSlug(t *testing.T) {
	for name, want := range map[string]string{
		"Work Calendar": "work_calendar", "Büro & Küche!": "buro_kuche", "  ": "", "Ünï_côdé 2": "uni_code_2", "日本": "",
	} {
		if got := entity.Slug(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
