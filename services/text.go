package services

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// MaxState is the maximum length of a state in Home Assistant, in characters.
const MaxState = 255

// maxQuoted bounds the characters of a request that an error shows.
const maxQuoted = 40

// QuoteForError quotes a text of a request for an error. Of a long one, which may be a mail or a reply, it gives only the length,
// because errors are logged.
func QuoteForError(s string) string {
	if n := utf8.RuneCountInString(s); n > maxQuoted {
		return fmt.Sprintf("a text of %d characters", n)
	}
	return strconv.Quote(s)
}

// Truncate is [graph.Truncate], for packages that do not know Graph.
func Truncate(s string, most int) string { return graph.Truncate(s, most) }

// maxSubject is the length of the longest subject that Exchange and To Do accept, in characters.
const maxSubject = 255

// CheckSubject returns an error for the subject of an event, a mail or a task that Microsoft refuses because of its length.
func CheckSubject(field, s string) error {
	if n := utf8.RuneCountInString(s); n > maxSubject {
		return graph.Invalid("%s: want at most %d characters, not %d", field, maxSubject, n)
	}
	return nil
}
