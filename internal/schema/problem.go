package schema

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// A Problem is one mistake.
type Problem struct {
	Path    string // of the key, such as "accounts.work.tenant"; or the name of a file; "" if it is about no single place
	Message string // what is wrong and what is accepted
	Line    int    // in the file that is decoded; 0 if unknown
	File    string // that Line is in, if several are decoded
}

// Error returns the path, the line and the message on one line.
func (p Problem) Error() string {
	message := strings.NewReplacer("\n", " ", "\r", " ").Replace(p.Message)
	switch path := p.Place(); {
	case path == "":
		return message
	case strings.HasPrefix(message, "is "): // "subject is required"
		return path + " " + message
	default:
		return path + ": " + message
	}
}

// Place returns the path with its line, as far as they are known.
func (p Problem) Place() string {
	switch {
	case p.File != "" && p.Line != 0:
		return fmt.Sprintf("%s (%s, line %d)", p.Path, p.File, p.Line)
	case p.File != "":
		return fmt.Sprintf("%s (%s)", p.Path, p.File)
	case p.Line == 0:
		return p.Path
	case p.Path == "":
		return fmt.Sprintf("line %d", p.Line)
	}
	return fmt.Sprintf("%s (line %d)", p.Path, p.Line)
}

// Problems lists every mistake.
type Problems []Problem

// Error lists the problems, one per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Sort sorts the problems by path.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
}

// At attributes err to the key at path, relative to the struct whose Validate method returns it. Joined errors stay separate.
// It returns nil for nil.
func At(path string, err error) error {
	if err == nil {
		return nil
	}
	return Flatten(path, err)
}

// Flatten returns the single problems of a joined error, below path.
func Flatten(path string, err error) Problems {
	switch e := err.(type) {
	case nil:
		return nil
	case Problem:
		e.Path = Join(path, e.Path)
		return Problems{e}
	case Problems:
		var all Problems
		for _, p := range e {
			all = append(all, Flatten(path, p)...)
		}
		return all
	case interface{ Unwrap() []error }:
		var all Problems
		for _, one := range e.Unwrap() {
			all = append(all, Flatten(path, one)...)
		}
		return all
	}
	return Problems{{Path: path, Message: err.Error()}}
}

// Join returns the path of a key below another.
func Join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "":
		return path
	}
	return path + "." + key
}

// QuoteKey returns a key as it appears in a path: shortened to 40 characters, and quoted if it contains a dot, a space or
// anything unprintable.
func QuoteKey(key string) string {
	key = shorten(key)
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r == '.' || r == ' ' || !strconv.IsPrint(r) }) {
		return strconv.Quote(key)
	}
	return key
}

// maxQuoted is the number of characters of a value that an error shows.
const maxQuoted = 40

func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxQuoted {
		return s
	}
	return string([]rune(s)[:maxQuoted-1]) + "…"
}

// Quote formats text for an error message. Long text may be a message or a secret, and errors are logged: only its length is
// shown.
func Quote(s string) string {
	if n := utf8.RuneCountInString(s); n > maxQuoted {
		return fmt.Sprintf("text of %d characters", n)
	}
	return strconv.Quote(s)
}

// JoinWords lists alternatives: "a, b or c".
func JoinWords(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

// Nearest returns the most similar of words, or "" if none is similar.
func Nearest(word string, words []string) string {
	if len(word) > 4*maxQuoted { // the comparison takes time and memory
		return ""
	}
	fold := strings.NewReplacer("-", "_", " ", "_").Replace
	word = fold(strings.ToLower(word))
	best, least := "", 2+len(word)/4 // a typing error every four letters, and one more
	for _, w := range words {
		if d := levenshtein.ComputeDistance(word, fold(strings.ToLower(w))); d < least {
			best, least = w, d
		}
	}
	return best
}

// didYouMean returns the end of a message about a word that is not among words.
func didYouMean(word string, words []string) string {
	if near := Nearest(word, words); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// MatchEnum returns the spelling of word among words, ignoring case. Its error lists them all.
func MatchEnum(word string, words []string) (string, error) {
	if i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, word) }); i >= 0 {
		return words[i], nil
	}
	return "", fmt.Errorf("want %s, not %s%s", oneOf(words), Quote(word), didYouMean(word, words))
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return "one of " + strings.Join(words, ", ")
}

// unknownKey returns the message about a key that is not among known.
func (d Dialect) unknownKey(key string, known []string) string {
	if len(known) == 0 {
		return fmt.Sprintf("unknown %s; there are no %ss", d.key(), d.key())
	}
	hint := didYouMean(key, known)
	if hint == "" {
		hint = ";"
	}
	return fmt.Sprintf("unknown %s%s known %ss: %s", d.key(), hint, d.key(), strings.Join(known, ", "))
}

func exampleHint(example string) string {
	if example == "" {
		return ""
	}
	return ", such as " + example
}
