package page

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
)

// Kinds of values.
const (
	unknownValue = "unknown"
	hiddenValue  = "hidden" // a text that people wrote to each other
	flagValue    = "flag"   // true or false
	timeValue    = "time"   // RFC 3339
	dateValue    = "date"   // 2006-01-02
	textValue    = "text"   // also numbers
)

// A value describes the value of an entity in words.
type value struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Value string `json:"value"`
}

// values describes what the entities of a sensor show, that of the primary one first.
func values(entities []entity.Entity, s entity.State) []value {
	var all []value
	shown := map[string]bool{}
	ordered := slices.Clone(entities)
	slices.SortStableFunc(ordered, func(a, b entity.Entity) int { return cmp.Compare(rank(a), rank(b)) })
	for _, e := range ordered {
		if !e.ShowsValue() || shown[e.StateKey()] {
			continue
		}
		shown[e.StateKey()] = true
		// Of a value that can be set, one of the two entities knows more about it.
		for _, twin := range entities {
			if twin.Key == e.Key {
				e.Private = e.Private || twin.Private || twin.Platform == "text"
				e.Identifiers = e.Identifiers || twin.Identifiers
				if e.Labels == nil {
					e.Labels = twin.Labels
				}
			}
		}
		v := value{Name: e.Name, Kind: textValue}
		v.Kind, v.Value = describeValue(e, s.Values[e.StateKey()])
		all = append(all, v)
	}
	return all
}

// rank puts the primary entity first, and those whose value is hidden last.
func rank(e entity.Entity) int {
	switch {
	case e.Private || e.Platform == "text":
		return 2
	case e.Primary:
		return 0
	}
	return 1
}

func describeValue(e entity.Entity, v any) (kind, text string) {
	switch v := v.(type) {
	case nil:
		return unknownValue, ""
	case bool:
		return flagValue, strconv.FormatBool(v)
	case time.Time:
		return timeValue, v.UTC().Format(time.RFC3339)
	case entity.Date:
		return dateValue, string(v)
	}
	text = fmt.Sprint(v)
	switch label, labeled := e.Labels[text]; {
	case text == "":
		return textValue, "empty"
	case e.Private:
		return hiddenValue, ""
	case labeled:
		text = label
	case e.Identifiers:
		text = splitIdentifier(text)
	}
	return textValue, text
}

// splitIdentifier writes an identifier of Microsoft as words: "Do not disturb" for DoNotDisturb.
func splitIdentifier(identifier string) string {
	var b strings.Builder
	for i, r := range identifier {
		switch {
		case i == 0:
			b.WriteRune(unicode.ToUpper(r))
		case unicode.IsUpper(r):
			b.WriteByte(' ')
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// items counts the items of a list.
func items(n int) string {
	if n == 1 {
		return "1 item"
	}
	return strconv.Itoa(n) + " items"
}
