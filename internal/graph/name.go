package graph

import (
	"fmt"
	"slices"
	"strings"
)

// FindByName returns the only item for which the first of matches is true, or the next one if it is true for none. The error lists the
// ids of several such items, or the names of all if there is none. what is the noun for an item: "calendar".
func FindByName[T any](what, name string, all []T, id, nameOf func(T) string, matches ...func(T) bool) (T, error) {
	fail := func(format string, args ...any) (T, error) {
		return *new(T), &Error{Reason: NotFound, Op: "find the " + what, Explanation: fmt.Sprintf(format, args...)}
	}
	for _, match := range matches {
		var found []T
		var ids []string
		for _, v := range all {
			if match(v) {
				found, ids = append(found, v), append(ids, id(v))
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return fail("%d %ss are named %s; want the id of one of them: %s", len(found), what, name, strings.Join(ids, ", "))
		}
	}
	var names []string
	for _, v := range all {
		names = append(names, nameOf(v))
	}
	slices.Sort(names)
	return fail("there is no %s %s; there are: %s", what, name, strings.Join(names, ", "))
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

// IsOutlookID reports whether a name is an id of Outlook or To Do, which is long and has no spaces.
func IsOutlookID(name string) bool { return len(name) > 60 && !strings.Contains(name, " ") }
