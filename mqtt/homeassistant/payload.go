package homeassistant

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

const (
	// MaxState is the number of characters that Home Assistant takes as a state.
	MaxState = entity.MaxText
	// MaxAttributes is the number of bytes that attributes may have. Home Assistant's recorder drops what has more than 16,384 together
	// with the attributes that it adds.
	MaxAttributes = 12 << 10
)

// Reserved reports whether Home Assistant silently removes an attribute because it has one of its own with that name
// (homeassistant/components/mqtt/entity.py, MQTT_ATTRIBUTES_BLOCKED).
func Reserved(key string) bool {
	switch key {
	case "assumed_state", "available", "device_class", "device_info", "entity_category", "entity_picture",
		"entity_registry_enabled_default", "extra_state_attributes", "force_update", "friendly_name", "icon", "name",
		"should_poll", "state", "supported_features", "unique_id", "unit_of_measurement":
		return true
	}
	return false
}

// StatePayload returns the message of a state topic: a flat JSON object with the value of every entity that shows one, and of every other key
// of s. Unknown is null, but "" where only a text entity shows the value, since Home Assistant would show the word None; an empty text is null
// where no text entity shows it. Strings are shortened as Shorten does; an option that an entity does not list is unknown.
func StatePayload(entities []entity.Entity, s entity.State) []byte {
	type use struct {
		text, other bool
		options     [][]string
	}
	uses := make(map[string]use, len(entities))
	for _, e := range entities {
		if !e.ShowsValue() {
			continue
		}
		u := uses[e.StateKey()]
		if e.Platform == "text" {
			u.text = true
		} else {
			u.other = true
			if len(e.Options) > 0 {
				u.options = append(u.options, e.Options)
			}
		}
		uses[e.StateKey()] = u
	}
	values := make(map[string]any, len(s.Values)+len(uses))
	for key := range uses {
		values[key] = nil // also where s lacks it
	}
	for key, v := range s.Values {
		values[key] = plain(v)
	}
	for key, v := range values {
		u := uses[key]
		if text, ok := v.(string); ok {
			switch {
			case slices.ContainsFunc(u.options, func(options []string) bool { return !slices.Contains(options, text) }):
				v = nil
			case u.text:
				shown, _ := entity.Box(text)
				v = Shorten(withoutControls(shown))
			default:
				if text = oneLine(text); text == "" {
					v = nil
				} else {
					v = Shorten(text)
				}
			}
		}
		if v == nil && u.text && !u.other {
			v = ""
		}
		values[key] = v
	}
	return encode(values)
}

// ItemsPayload returns the message of an items topic: all of s.Items, unshortened.
func ItemsPayload(s entity.State) []byte {
	items := make([]any, 0, len(s.Items))
	for _, item := range s.Items {
		items = append(items, plain(item))
	}
	return encode(items)
}

// EventPayload returns the message of an event entity: the event's type and its data, shortened like attributes.
func EventPayload(e entity.Event) []byte {
	data := object(e.Data)
	data["event_type"] = e.Type
	for level := range levels {
		if b := encode(levels[level].apply("", data)); len(b) <= MaxAttributes {
			return b
		}
	}
	for _, limit := range limits {
		if b := encode(clipped(data, limit)); len(b) <= MaxAttributes {
			return b
		}
	}
	return encode(map[string]any{"event_type": e.Type})
}

// Shorten cuts a text to what Home Assistant takes as a state. A text that was cut ends in "…".
func Shorten(text string) string { return clip(text, MaxState) }

// A level is a degree of shortening.
type level struct {
	prose int // characters of descriptions and bodies
	list  int // elements of lists within an item, such as attendees
	omit  int // 1: links and ids that no request takes become null; 2: the second name of an id too
}

// levels are tried one after the other until every item fits: first descriptions and bodies are shortened, then lists, then links go. What
// does not fit with the last is left out.
var levels = [...]level{
	{MaxAttributes, 1 << 30, 0}, {2048, 1 << 30, 0}, {1024, 1 << 30, 0}, {512, 1 << 30, 0}, {MaxState, 1 << 30, 0},
	{100, 1 << 30, 0}, {100, 8, 0}, {100, 5, 0}, {64, 2, 0}, {16, 0, 0}, {16, 0, 1}, {16, 0, 2},
}

// isProse reports whether a key holds text to be read rather than a name or an id.
func isProse(key string) bool {
	switch key {
	case "description", "body", "content", "preview", "last_message", "internal_reply", "external_reply":
		return true
	}
	return false
}

// isLink reports whether a key holds a link or an id that no request takes.
func isLink(key string) bool {
	switch key {
	case "web_link", "dial_in", "ical_uid", "series_id", "conversation_id":
		return true
	}
	return false
}

// apply returns v, which stands at key in an item, shortened. A list that is cut has its length beside it: attendees_total.
func (l level) apply(key string, v any) any {
	switch v := v.(type) {
	case string:
		if isProse(key) {
			return clip(v, l.prose)
		}
		return clip(v, MaxAttributes)
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, value := range v {
			list, isList := value.([]any)
			switch {
			case isList && len(list) > l.list:
				m[k], m[k+"_total"] = l.apply(k, list[:l.list]), len(list)
			case l.omit >= 1 && isLink(k), l.omit >= 2 && k == "uid":
				m[k] = nil
			default:
				m[k] = l.apply(k, value)
			}
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = l.apply(key, v[i])
		}
		return list
	}
	return v
}

// limits are the lengths that every text is cut to, one after the other, where not even one item fits otherwise.
var limits = [...]int{4096, 2048, 1024, 512, MaxState, 64}

// AttributesPayload returns the message of an attributes topic: s.Attributes, and under s.ItemsKey as many of s.Items as fit, with their number
// as "total". Items are shortened before any is left out; "truncated" says whether something was shortened or left out. The cost depends on
// what fits, not on the number of items.
func AttributesPayload(s entity.State) []byte {
	attributes := object(s.Attributes)
	if s.ItemsKey == "" {
		return fitAttributes(attributes, "", &fitter{})
	}
	attributes["total"] = len(s.Items)
	f := fitter{s: s, attributes: attributes}
	if b, all := f.fill(levels[0], len(s.Items)); all {
		return b
	}
	// As many as fit when everything is shortened as far as it may be.
	shown := f.count(levels[len(levels)-1], len(s.Items))
	if shown == 0 {
		return fitAttributes(attributes, s.ItemsKey, &f)
	}
	var fits []byte
	sort.Search(len(levels)-1, func(i int) bool {
		b, all := f.fill(levels[i+1], shown)
		if all {
			fits = b // of the lowest level so far
		}
		return all
	})
	if fits != nil {
		return fits
	}
	return fitAttributes(attributes, s.ItemsKey, &f)
}

// A fitter puts items into attributes.
type fitter struct {
	s          entity.State
	attributes map[string]any
	normal     []any // the first items as JSON has them
}

// items returns the first n items as JSON has them.
func (f *fitter) items(n int) []any {
	for len(f.normal) < n {
		f.normal = append(f.normal, normal(f.s.Items[len(f.normal)]))
	}
	return f.normal[:n]
}

// base returns the attributes at a level with an empty list, and their size.
func (f *fitter) base(l level) (map[string]any, int) {
	attributes := l.apply("", f.attributes).(map[string]any)
	// The longer spelling of "truncated" is reserved, so that setting it cannot break the limit.
	attributes["truncated"], attributes[f.s.ItemsKey] = false, []any{}
	return attributes, len(encode(attributes))
}

// count returns how many items fit at a level.
func (f *fitter) count(l level, most int) int {
	_, size := f.base(l)
	for n := range most {
		if size += len(encode(l.apply("", f.items(n + 1)[n]))) + 1; size > MaxAttributes {
			return n
		}
	}
	return most
}

// fill returns the attributes with the first n items at a level. It reports false if they do not fit.
func (f *fitter) fill(l level, n int) ([]byte, bool) {
	attributes, size := f.base(l)
	if size > MaxAttributes {
		return nil, false
	}
	list := make([]json.RawMessage, 0, min(n, 64))
	for i := range n {
		b := encode(l.apply("", f.items(i + 1)[i]))
		if size += len(b) + 1; size > MaxAttributes {
			return nil, false
		}
		list = append(list, b)
	}
	attributes[f.s.ItemsKey] = list
	attributes["truncated"] = l != levels[0] || n < len(f.s.Items) || f.cut(n)
	b := encode(attributes)
	return b, len(b) <= MaxAttributes
}

// cut reports whether even the first level shortens something: a text as long as all attributes may be.
func (f *fitter) cut(n int) bool {
	return slices.ContainsFunc(f.items(n), hasLongText) || hasLongText(f.attributes)
}

func hasLongText(v any) bool {
	switch v := v.(type) {
	case string:
		return len(v) > MaxAttributes
	case map[string]any:
		for _, value := range v {
			if hasLongText(value) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasLongText)
	}
	return false
}

// fitAttributes shortens every text until the attributes fit, and at least one item with them. Only attributes that do not fit otherwise get
// here, and a first item that does not.
func fitAttributes(attributes map[string]any, itemsKey string, f *fitter) []byte {
	if itemsKey == "" {
		for _, l := range levels {
			short := l.apply("", attributes).(map[string]any)
			short["truncated"] = l != levels[0] || hasLongText(attributes)
			if b := encode(short); len(b) <= MaxAttributes {
				return b
			}
		}
	}
	with := func(short map[string]any, list []json.RawMessage) []byte {
		short["truncated"] = true
		if itemsKey != "" {
			short[itemsKey] = list
		}
		return encode(short)
	}
	for _, limit := range limits {
		short := clipped(attributes, limit).(map[string]any)
		size := len(with(short, []json.RawMessage{}))
		list := []json.RawMessage{}
		for n := range f.s.Items {
			b := encode(clipped(f.items(n + 1)[n], limit))
			if size += len(b) + 1; size > MaxAttributes {
				break
			}
			list = append(list, b)
		}
		if len(list) == 0 && len(f.s.Items) > 0 {
			continue
		}
		if b := with(short, list); len(b) <= MaxAttributes {
			return b
		}
	}
	// Only a great many attributes get here: the largest go first.
	short := clipped(attributes, limits[len(limits)-1]).(map[string]any)
	delete(short, itemsKey)
	sizes := map[string]int{}
	for key, v := range short {
		sizes[key] = len(encode(v)) + len(key)
	}
	keys := slices.SortedFunc(maps.Keys(short), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), strings.Compare(a, b))
	})
	for i, key := range keys {
		if key == "total" || key == "truncated" {
			continue
		}
		delete(short, key)
		if i%16 != 0 && len(keys)-i > 16 {
			continue // encoding after each would take too long
		}
		if b := with(short, []json.RawMessage{}); len(b) <= MaxAttributes {
			return b
		}
	}
	return encode(map[string]any{"truncated": true})
}

// clipped returns a copy of v, of JSON, with every text in it cut to limit characters.
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
	if longest := (limit + 1) * utf8.UTFMax; len(text) > longest {
		text = text[:longest] // enough to be cut below; the rest need not be read
	}
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

func oneLine(text string) string { return strings.TrimSpace(withoutControls(text)) }

func withoutControls(text string) string {
	if strings.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}

// object returns m as JSON has it, without the keys that Home Assistant would remove.
func object(m map[string]any) map[string]any {
	o := make(map[string]any, len(m)+4)
	for key, v := range m {
		if !Reserved(key) {
			o[key] = normal(v)
		}
	}
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

// normal returns v as JSON has it: nothing but maps, lists, texts, numbers, truth values and nil.
func normal(v any) any {
	switch v := v.(type) {
	case nil, bool, string, int, int64, float64, json.Number:
		return v
	case time.Time, *time.Time, entity.Date:
		return plain(v)
	case *string:
		if v == nil {
			return nil
		}
		return *v
	case []string:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = normal(v[i])
		}
		return list
	case []map[string]any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = normal(v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key := range v {
			m[key] = normal(v[key])
		}
		return m
	}
	d := json.NewDecoder(bytes.NewReader(encode(v)))
	d.UseNumber()
	var out any
	_ = d.Decode(&out) // it decodes what encode has just written
	return out
}

// encode is deterministic: the keys of a map are sorted. What JSON cannot express, such as a number that is not finite, is null.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		switch v := v.(type) {
		case map[string]any:
			rest := make(map[string]any, len(v))
			for key := range v {
				rest[key] = json.RawMessage(encode(v[key]))
			}
			return encode(rest)
		case []any:
			rest := make([]json.RawMessage, len(v))
			for i := range v {
				rest[i] = encode(v[i])
			}
			return encode(rest)
		}
		return []byte("null")
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
