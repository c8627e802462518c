package services

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// longest is the number of characters of a request that an error shows.
const longest = 40

// QuoteForError is a text of a request as an error shows it. A long one may be a mail or a reply, and errors are logged: it is only
// counted.
func QuoteForError(s string) string {
	if n := utf8.RuneCountInString(s); n > longest {
		return fmt.Sprintf("a text of %d characters", n)
	}
	return strconv.Quote(s)
}

// Truncate shortens a text to this many characters, of which the last one says that there was more.
func Truncate(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
