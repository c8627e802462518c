package graph

import (
	"slices"
	"strings"
)

// A Need is a permission and the reason for it.
type Need struct {
	Scope   string   // the least one: "Calendars.Read"
	Or      []string // higher ones that also satisfy it
	Why     string   // what it is for: "reads the events of the calendar"
	Without string   // what is lost without it: "the calendar is unavailable"
}

// Satisfied reports whether one of the granted scopes will do.
func (n Need) Satisfied(granted []string) bool {
	return slices.Contains(granted, n.Scope) || slices.ContainsFunc(n.Or, func(s string) bool { return slices.Contains(granted, s) })
}

// Scopes is what to ask for, sorted: it satisfies every need, and would not without any one of its scopes.
func Scopes(needs []Need) []string {
	var ask []string
	for _, n := range needs {
		ask = append(ask, n.Scope)
	}
	slices.Sort(ask)
	ask = slices.Compact(ask)
	// What one need calls a lower scope may be the only thing that satisfies another, so a scope goes only where every
	// need is satisfied without it.
	for _, scope := range slices.Clone(ask) {
		rest := slices.DeleteFunc(slices.Clone(ask), func(s string) bool { return s == scope })
		if !slices.ContainsFunc(needs, func(n Need) bool { return !n.Satisfied(rest) }) {
			ask = rest
		}
	}
	return ask
}

// Missing is the error of needs that the granted scopes do not satisfy: nil, or an *Error.
func Missing(granted []string, needs []Need) error {
	var missing []string
	for _, n := range needs {
		if n.Satisfied(granted) {
			continue
		}
		s := n.Scope
		if len(n.Or) > 0 {
			s += " (or " + strings.Join(n.Or, " or ") + ")"
		}
		missing = append(missing, s)
	}
	if len(missing) == 0 {
		return nil
	}
	return &Error{Reason: PermissionMissing, Message: "minimum required permissions not granted: " + strings.Join(missing, ", ")}
}

// Ready says why needs cannot be had now: nil, or an *Error.
func (c *Client) Ready(needs []Need) error {
	granted := c.tokens.Granted()
	if len(granted) == 0 {
		return &Error{Reason: SignInRequired, Message: "not signed in"}
	}
	return Missing(granted, needs)
}
