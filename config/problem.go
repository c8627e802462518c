package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
)

// A Problem is one thing that is wrong with the configuration.
type Problem struct {
	Path    string // of the key: "accounts.work.tenant"; or the name of the file; "" where it is about no one place
	Message string // what is wrong, and what would be right
}

// Error is the path and the message, on one line.
func (p Problem) Error() string {
	message := strings.NewReplacer("\n", " ", "\r", " ").Replace(p.Message)
	if p.Path == "" {
		return message
	}
	return p.Path + ": " + message
}

// Problems lists everything that is wrong, sorted by path.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// At says that err is about the key at path, below the struct whose Validate returns it. Errors that were joined stay apart.
// It is nil for nil.
func At(path string, err error) error {
	if err == nil {
		return nil
	}
	return flatten(path, err)
}

// flatten returns the single problems of a joined error.
func flatten(path string, err error) Problems {
	switch e := err.(type) {
	case nil:
		return nil
	case Problem:
		return Problems{{join(path, e.Path), e.Message}}
	case Problems:
		var all Problems
		for _, p := range e {
			all = append(all, flatten(path, p)...)
		}
		return all
	case interface{ Unwrap() []error }:
		var all Problems
		for _, one := range e.Unwrap() {
			all = append(all, flatten(path, one)...)
		}
		return all
	}
	return Problems{{path, err.Error()}}
}

// join returns the path of a key below another.
func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key == "":
		return path
	}
	return path + "." + key
}

// quoteKey returns a key as it appears in a path: quoted if it contains a dot, a space or anything unprintable.
func quoteKey(key string) string {
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r == '.' || r == ' ' || !strconv.IsPrint(r) }) {
		return strconv.Quote(key)
	}
	return key
}

// joinWords lists alternatives: "a, b or c".
func joinWords(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " " + last + " " + words[n]
}

// nearest returns the most similar of words, or "" if none is similar.
func nearest(word string, words []string) string {
	fold := strings.NewReplacer("-", "_", " ", "_").Replace
	word = fold(strings.ToLower(word))
	best, least := "", 2+len(word)/4 // a slip every four letters, and one more
	for _, w := range words {
		if d := levenshtein.ComputeDistance(word, fold(strings.ToLower(w))); d < least {
			best, least = w, d
		}
	}
	return best
}

// didYouMean returns the end of a message about a word that is not among words.
func didYouMean(word string, words []string) string {
	if near := nearest(word, words); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// matchEnum returns the spelling of word among words, ignoring case. Its error lists them all.
func matchEnum(word string, words []string) (string, error) {
	if i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, word) }); i >= 0 {
		return words[i], nil
	}
	return "", fmt.Errorf("want %s, not %q%s", joinWords(words, "or"), word, didYouMean(word, words))
}
