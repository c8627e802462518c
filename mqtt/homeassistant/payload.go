package homeassistant

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sort"
	"strconv"
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
		values[key] = formatTimes(v)
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
		items = append(items, formatTimes(item))
	}
	return encode(items)
}

// EventPayload returns the message of an event entity: the event's type and its data, shortened like attributes.
func EventPayload(e entity.Event) []byte {
	data := object(e.Data)
	data["event_type"] = e.Type
	w := newWriter()
	for _, l := range slices.Concat(levels, limits) {
		if b := w.encode(l, data); len(b) <= MaxAttributes {
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
	text  int // characters of every other text; 0: MaxAttributes
}

// levels are tried one after the other until every item fits: first descriptions and bodies are shortened, then lists, then links go. What
// does not fit with the last is left out.
var levels = []level{
	{prose: MaxAttributes, list: whole}, {prose: 2048, list: whole}, {prose: 1024, list: whole}, {prose: 512, list: whole},
	{prose: MaxState, list: whole}, {prose: 100, list: whole}, {prose: 100, list: 8}, {prose: 100, list: 5}, {prose: 64, list: 2},
	{prose: 16}, {prose: 16, omit: 1}, {prose: 16, omit: 2},
}

// limits cut every text, one after the other, where not even one item fits otherwise.
var limits = []level{cutTo(4096), cutTo(2048), cutTo(1024), cutTo(512), cutTo(MaxState), cutTo(64)}

// whole is a length that no list has.
const whole = 1 << 30

func cutTo(limit int) level { return level{prose: limit, list: whole, text: limit} }

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

// AttributesPayload returns the message of an attributes topic: s.Attributes, and under s.ItemsKey as many of s.Items as fit, with their number
// as "total". Items are shortened before any is left out; "truncated" says whether something was shortened or left out. With
// s.FirstComplete the first item is shortened only as far as it takes more than half of the room. The cost depends on
// what fits, not on the number of items.
func AttributesPayload(s entity.State) []byte {
	f := fitter{items: s.Items, key: s.ItemsKey, attributes: object(s.Attributes), w: newWriter()}
	if s.ItemsKey == "" {
		for _, l := range levels {
			f.attributes["truncated"] = l != levels[0] || hasLongText(f.attributes)
			if b := f.w.encode(l, f.attributes); len(b) <= MaxAttributes {
				return b
			}
		}
		return f.cutTexts()
	}
	f.attributes["total"] = len(s.Items)
	if b, all := f.fill(levels[0], len(s.Items)); all {
		return b
	}
	if s.FirstComplete && len(s.Items) > 0 {
		f.reserve()
	}
	// As many as fit when everything is shortened as far as it may be.
	shown := f.take(levels[len(levels)-1], len(s.Items))
	if shown == 0 {
		return f.cutTexts()
	}
	var fits []byte
	sort.Search(len(levels)-1, func(i int) bool {
		b, all := f.fill(levels[i+1], shown)
		if all {
			fits = bytes.Clone(b) // of the lowest level so far
		}
		return all
	})
	if fits != nil {
		return fits
	}
	return f.cutTexts()
}

// A fitter puts items into attributes. The bytes that its methods return are valid until the next call.
type fitter struct {
	items      []any
	key        string // of the items; "": there are none
	attributes map[string]any
	normal     []any  // the first items as JSON has them
	first      []byte // the first item where it does not depend on the level
	list       []byte
	w          *writer
}

// item returns an item as JSON has it.
func (f *fitter) item(i int) any {
	for len(f.normal) <= i {
		f.normal = append(f.normal, normal(f.items[len(f.normal)]))
	}
	return f.normal[i]
}

// encode returns the attributes with a list of items at a level.
func (f *fitter) encode(l level, list []byte, truncated bool) []byte {
	f.attributes["truncated"] = truncated
	if f.key != "" {
		f.attributes[f.key] = json.RawMessage(list)
	}
	return f.w.encode(l, f.attributes)
}

// reserve fixes the first item at the lowest level at which it takes at most half of the room, if there is one.
func (f *fitter) reserve() {
	for _, l := range levels {
		if b := f.w.encode(l, f.item(0)); len(b) <= MaxAttributes/2 {
			f.first = bytes.Clone(b)
			return
		}
	}
}

// take puts at most n items into the list, as many as fit at a level with the attributes, and returns how many.
func (f *fitter) take(l level, n int) int {
	// The longer spelling of "truncated" is reserved, so that setting it cannot break the limit.
	size := len(f.encode(l, []byte("[]"), false))
	f.list = append(f.list[:0], '[')
	taken := 0
	for ; taken < n && size <= MaxAttributes; taken++ {
		b := f.first
		if taken > 0 || b == nil {
			b = f.w.encode(l, f.item(taken))
		}
		if size += len(b) + 1; size > MaxAttributes {
			break
		}
		if taken > 0 {
			f.list = append(f.list, ',')
		}
		f.list = append(f.list, b...)
	}
	f.list = append(f.list, ']')
	return taken
}

// fill returns the attributes with the first n items at a level. It reports false if they do not fit.
func (f *fitter) fill(l level, n int) ([]byte, bool) {
	if f.take(l, n) < n {
		return nil, false
	}
	b := f.encode(l, f.list, f.first != nil || l != levels[0] || n < len(f.items) || f.mustShorten(n))
	return b, len(b) <= MaxAttributes
}

// mustShorten reports whether one of the first n items or another attribute has a text that does not fit by itself.
func (f *fitter) mustShorten(n int) bool {
	for i := range n {
		if hasLongText(f.item(i)) {
			return true
		}
	}
	return hasLongText(f.attributes)
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

// cutTexts shortens every text until the attributes fit, and at least one item with them. Only attributes that do not fit otherwise get
// here, and a first item that does not.
func (f *fitter) cutTexts() []byte {
	f.first = nil
	for _, l := range limits {
		if f.take(l, len(f.items)) == 0 && len(f.items) > 0 && f.key != "" {
			continue
		}
		if b := f.encode(l, f.list, true); len(b) <= MaxAttributes {
			return b
		}
	}
	// Only a great many attributes get here: the largest go first.
	last := limits[len(limits)-1]
	delete(f.attributes, f.key)
	delete(f.attributes, "truncated")
	sizes := map[string]int{}
	for key, v := range f.attributes {
		sizes[key] = len(f.w.encode(last, v)) + len(key)
	}
	keys := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), strings.Compare(a, b))
	})
	for i, key := range keys {
		if key == "total" {
			continue
		}
		delete(f.attributes, key)
		if i%16 != 0 && len(keys)-i > 16 {
			continue // encoding after each would take too long
		}
		if b := f.encode(last, []byte("[]"), true); len(b) <= MaxAttributes {
			return b
		}
	}
	return encode(map[string]any{"truncated": true})
}

// A writer encodes shortened values as JSON.
type writer struct {
	b     bytes.Buffer
	json  *json.Encoder
	names []string // of the members of the objects that are being written
}

func newWriter() *writer {
	w := new(writer)
	w.json = json.NewEncoder(&w.b)
	w.json.SetEscapeHTML(false)
	return w
}

// encode returns v, which is as JSON has it, at a level. The bytes are valid until the next call.
func (w *writer) encode(l level, v any) []byte {
	w.b.Reset()
	w.write(l, "", v)
	return w.b.Bytes()
}

// write writes v, which stands at key in an object.
func (w *writer) write(l level, key string, v any) {
	switch value := v.(type) {
	case string:
		limit := cmp.Or(l.text, MaxAttributes)
		if isProse(key) {
			limit = l.prose
		}
		if text := clip(value, limit); text != value {
			v = text
		}
		w.scalar(v)
	case map[string]any:
		w.object(l, value)
	case []any:
		w.b.WriteByte('[')
		for i := range value {
			if i > 0 {
				w.b.WriteByte(',')
			}
			w.write(l, key, value[i])
		}
		w.b.WriteByte(']')
	case json.RawMessage:
		w.b.Write(value)
	default:
		w.scalar(v)
	}
}

// object writes the members of m, sorted. A list that is cut has its length beside it: attendees_total.
func (w *writer) object(l level, m map[string]any) {
	start := len(w.names)
	for name, v := range m {
		w.names = append(w.names, name)
		if list, ok := v.([]any); ok && len(list) > l.list {
			if _, ok := m[name+totalSuffix]; !ok {
				w.names = append(w.names, name+totalSuffix)
			}
		}
	}
	end := len(w.names)
	slices.Sort(w.names[start:end])
	w.b.WriteByte('{')
	for i := start; i < end; i++ {
		if i > start {
			w.b.WriteByte(',')
		}
		name := w.names[i]
		w.name(name)
		v, isMember := m[name]
		list, isList := v.([]any)
		switch {
		case !isMember:
			cut, _ := m[strings.TrimSuffix(name, totalSuffix)].([]any)
			w.b.WriteString(strconv.Itoa(len(cut)))
		case isList && len(list) > l.list:
			w.write(l, name, list[:l.list])
		case l.omit >= 1 && isLink(name), l.omit >= 2 && name == "uid":
			w.b.WriteString("null")
		default:
			w.write(l, name, v)
		}
	}
	w.b.WriteByte('}')
	w.names = w.names[:start]
}

// totalSuffix ends the name of the length of a list that was cut.
const totalSuffix = "_total"

// name writes the name of a member.
func (w *writer) name(name string) {
	if strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}) {
		w.scalar(name)
	} else {
		w.b.WriteByte('"')
		w.b.WriteString(name)
		w.b.WriteByte('"')
	}
	w.b.WriteByte(':')
}

// scalar writes a text, number, truth value or nil. What JSON cannot express, such as a number that is not finite, is null.
func (w *writer) scalar(v any) {
	if err := w.json.Encode(v); err != nil {
		w.b.WriteString("null")
		return
	}
	w.b.Truncate(w.b.Len() - 1) // the encoder ends each value with a newline
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

// formatTimes replaces times with their text: RFC 3339, to the second.
func formatTimes(v any) any {
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
		return formatTimes(*v)
	case entity.Date:
		return string(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = formatTimes(v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key := range v {
			m[key] = formatTimes(v[key])
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
		return formatTimes(v)
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
