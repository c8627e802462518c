package graph

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// Matching returns the items for which the first of matches is true, or those for the next one if it is true for none.
func Matching[T any](all []T, matches ...func(T) bool) []T {
	for _, match := range matches {
		var found []T
		for _, v := range all {
			if match(v) {
				found = append(found, v)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// FindByName returns the only item of those that Matching returns. The error lists the ids of several, or the names of all items if there
// is none. what is the noun for an item: "calendar".
func FindByName[T any](what, name string, all []T, id, nameOf func(T) string, matches ...func(T) bool) (T, error) {
	fail := func(format string, args ...any) (T, error) {
		return *new(T), &Error{Reason: NotFound, Op: "find the " + what, Explanation: fmt.Sprintf(format, args...)}
	}
	found := Matching(all, matches...)
	switch len(found) {
	case 0:
		if len(all) == 0 {
			return fail("there is no %s %s; there are none", what, Truncate(name, maxNameInError))
		}
		return fail("there is no %s %s; there are: %s", what, Truncate(name, maxNameInError), Names(all, nameOf))
	case 1:
		return found[0], nil
	}
	var ids []string
	for _, v := range found {
		ids = append(ids, id(v))
	}
	return fail("%d %ss are named %s; want the id of one of them: %s", len(found), what, Truncate(name, maxNameInError), strings.Join(ids, ", "))
}

const (
	maxNameInError  = 100 // characters of a name that matches nothing
	maxNamesInError = 50
)

// Names returns the names of all items for an error, sorted and separated by commas.
func Names[T any](all []T, nameOf func(T) string) string {
	var names []string
	for _, v := range all {
		names = append(names, nameOf(v))
	}
	slices.Sort(names)
	if len(names) > maxNamesInError {
		names = append(names[:maxNamesInError], "…")
	}
	return strings.Join(names, ", ")
}

// UniqueName returns the name of all[i], or its id if the name is empty, reserved or, in any case, also that of another.
func UniqueName[T any](all []T, i int, id, nameOf func(T) string, reserved ...string) string {
	name := nameOf(all[i])
	if name == "" || slices.Contains(reserved, name) ||
		slices.ContainsFunc(slices.Concat(all[:i], all[i+1:]), func(other T) bool { return strings.EqualFold(nameOf(other), name) }) {
		return id(all[i])
	}
	return name
}

// IsObjectID reports whether a text is the id of a user, a group or a team in Entra, in any case.
func IsObjectID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }

// IsOutlookID reports whether a name is an id of Outlook or To Do, which is long and has no spaces.
func IsOutlookID(name string) bool { return len(name) > 60 && !strings.Contains(name, " ") }
