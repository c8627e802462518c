package mqtt

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

const (
	// MaxState is how many characters Home Assistant takes as a state.
	MaxState = 255
	// MaxAttributes is how many bytes the attributes may have. Home Assistant's recorder drops what has more than 16,384
	// with the attributes that it adds.
	MaxAttributes = 12 << 10
)

// blocked are the attributes that Home Assistant removes silently, since they are its own
// (homeassistant/components/mqtt/entity.py, MQTT_ATTRIBUTES_BLOCKED).
func blocked(key string) bool {
	switch key {
	case "assumed_state", "available", "device_class", "device_info", "entity_category", "entity_picture",
		"entity_registry_enabled_default", "extra_state_attributes", "force_update", "friendly_name", "icon", "name",
		"should_poll", "state", "supported_features", "unique_id", "unit_of_measurement":
		return true
	}
	return false
}

// StatePayload is the state topic's: a flat JSON object with the value of every entity that shows one, and of every other
// key of s. Unknown is null, but "" where only a text shows it, since Home Assistant would show the word None. Strings are
// shortened as Shorten does; an option that an entity does not list is unknown.
func StatePayload(entities []entity.Entity, s entity.State) []byte {
	values := make(map[string]any, len(s.Values))
	for key, v := range s.Values {
		values[key] = plain(v)
	}
	shown := map[string][]entity.Entity{}
	for _, e := range entities {
		if showsValue(e.Platform) {
			shown[e.StateKey()] = append(shown[e.StateKey()], e)
		}
	}
	for key, by := range shown {
		if text, ok := values[key].(string); ok && slices.ContainsFunc(by, func(e entity.Entity) bool {
			return e.Platform != "text" && len(e.Options) > 0 && !slices.Contains(e.Options, text)
		}) {
			values[key] = nil
		}
		if values[key] == nil {
			values[key] = nil // also where the key was missing
			if !slices.ContainsFunc(by, isNot("text")) {
				values[key] = ""
			}
		}
	}
	for key, v := range values {
		if text, ok := v.(string); ok {
			// A text keeps its lines: what the user sees is what the user edits.
			if slices.ContainsFunc(shown[key], isNot("text")) {
				text = oneLine(text)
			}
			values[key] = Shorten(text)
		}
	}
	return encode(values)
}

// AttributesPayload is the attributes topic's: s.Attributes, and under s.ItemsKey as many of s.Items as fit, with their
// number as "total"; "truncated" says whether anything was left out. Where not even one item fits, long texts are shortened
// first.
func AttributesPayload(s entity.State) []byte {
	attributes := object(s.Attributes)
	var items []any
	for _, item := range s.Items {
		items = append(items, decoded(plain(item)))
	}
	if s.ItemsKey != "" {
		attributes["total"] = len(items)
	}
	return fit(attributes, s.ItemsKey, items)
}

// ItemsPayload is the items topic's: all of s.Items, whole.
func ItemsPayload(s entity.State) []byte {
	items := make([]any, 0, len(s.Items))
	for _, item := range s.Items {
		items = append(items, plain(item))
	}
	return encode(items)
}

// EventPayload is what an event entity takes: the event's type and its data, shortened like attributes.
func EventPayload(e entity.Event) []byte {
	data := object(e.Data)
	data["event_type"] = e.Type
	for _, limit := range limits {
		if b := encode(clipped(data, limit)); len(b) <= MaxAttributes {
			return b
		}
	}
	return encode(map[string]any{"event_type": e.Type})
}

// Shorten cuts a text to what Home Assistant takes as a state. A text that was cut ends in "…".
func Shorten(text string) string { return clip(text, MaxState) }

// limits are the lengths that texts are cut to, one after the other, until all fits.
var limits = [...]int{MaxAttributes, 4096, 2048, 1024, 512, MaxState, 64}

func fit(attributes map[string]any, itemsKey string, items []any) []byte {
	for _, limit := range limits {
		short := clipped(attributes, limit).(map[string]any)
		if b, ok := fill(short, itemsKey, items, limit, len(encode(short)) != len(encode(attributes))); ok {
			return b
		}
	}
	// Nothing but a great many attributes comes here: the largest go first.
	short := clipped(attributes, limits[len(limits)-1]).(map[string]any)
	keys := slices.SortedFunc(maps.Keys(short), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(encode(short[b])), len(encode(short[a]))), strings.Compare(a, b))
	})
	for _, key := range keys {
		if key == "total" {
			continue
		}
		delete(short, key)
		if b, ok := fill(short, itemsKey, nil, 0, true); ok {
			return b
		}
	}
	return encode(map[string]any{"truncated": true})
}

// fill puts in as many items as fit. It reports false where the attributes do not fit, or there are items and not one does.
func fill(attributes map[string]any, itemsKey string, items []any, limit int, truncated bool) ([]byte, bool) {
	if itemsKey == "" {
		attributes["truncated"] = truncated
		b := encode(attributes)
		return b, len(b) <= MaxAttributes
	}
	// The longer spelling of "truncated" is reserved, so that setting it cannot break the limit.
	attributes["truncated"], attributes[itemsKey] = false, []any{}
	size := len(encode(attributes))
	list := []any{}
	for _, item := range items {
		short := clipped(item, limit)
		b := encode(short)
		if size+len(b)+1 > MaxAttributes {
			break
		}
		size += len(b) + 1
		list = append(list, short)
		truncated = truncated || len(b) != len(encode(item))
	}
	attributes[itemsKey] = list
	attributes["truncated"] = truncated || len(list) < len(items)
	b := encode(attributes)
	return b, len(b) <= MaxAttributes && (len(list) > 0 || len(items) == 0)
}

// clipped is a copy of v, of decoded JSON, with every text in it cut to limit characters.
func clipped(v any, limit int) any {
	switch v := v.(type) {
	case string:
		return clip(v, limit)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = clipped(v[i], limit)
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key := range v {
			m[key] = clipped(v[key], limit)
		}
		return m
	}
	return v
}

// clip counts code points, as Home Assistant does.
func clip(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	count := 0
	for i := range text {
		if count++; count == limit {
			return text[:i] + "…"
		}
	}
	return text
}

func oneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text))
}

// object is m as JSON sees it, without the keys that Home Assistant would remove.
func object(m map[string]any) map[string]any {
	o, _ := decoded(plain(m)).(map[string]any)
	if o == nil {
		o = map[string]any{}
	}
	maps.DeleteFunc(o, func(key string, _ any) bool { return blocked(key) })
	return o
}

// plain replaces times by their text: RFC 3339, to the second.
func plain(v any) any {
	switch v := v.(type) {
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return v.Format(time.RFC3339)
	case *time.Time:
		if v == nil {
			return nil
		}
		return plain(*v)
	case entity.Date:
		return string(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key := range v {
			m[key] = plain(v[key])
		}
		return m
	}
	return v
}

// decoded is v after a way through JSON: what is in a struct, too, is then a map.
func decoded(v any) any {
	d := json.NewDecoder(bytes.NewReader(encode(v)))
	d.UseNumber()
	var out any
	_ = d.Decode(&out) // it decodes what encode has just written
	return out
}

// encode is deterministic: the keys of a map are sorted. What JSON cannot express, such as a number that is not finite, is
// null.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		m, ok := v.(map[string]any)
		if !ok {
			return []byte("null")
		}
		rest := make(map[string]any, len(m))
		for key := range m {
			rest[key] = json.RawMessage(encode(m[key]))
		}
		return encode(rest)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

func isNot(platform string) func(entity.Entity) bool {
	return func(e entity.Entity) bool { return e.Platform != platform }
}

func showsValue(platform string) bool {
	switch platform {
	case "event", "button", "notify":
		return false
	}
	return true
}
