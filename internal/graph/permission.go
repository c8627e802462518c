package graph

import (
	"slices"
	"strings"
)

// A Permission is a delegated permission and its reason. See Permission.Application.
type Permission struct {
	Scope        string   // the least one: "Calendars.Read"
	Alternatives []string // higher ones that also satisfy it
	Purpose      string   // what it is for: "reads the events of the calendar"
	Impact       string   // what is lost without it: "the calendar is unavailable"
}

// Satisfied reports whether one of the granted scopes will do.
func (p Permission) Satisfied(granted []string) bool {
	return slices.Contains(granted, p.Scope) || slices.ContainsFunc(p.Alternatives, func(s string) bool { return slices.Contains(granted, s) })
}

// Scopes returns a minimal sorted set of scopes that satisfies all permissions.
func Scopes(permissions []Permission) []string {
	var ask []string
	for _, n := range permissions {
		ask = append(ask, n.Scope)
	}
	slices.Sort(ask)
	ask = slices.Compact(ask)
	// A scope that is lower for one permission may be the only one that satisfies another, so a scope is dropped only if every
	// permission is satisfied without it.
	for _, scope := range slices.Clone(ask) {
		rest := slices.DeleteFunc(slices.Clone(ask), func(s string) bool { return s == scope })
		if !slices.ContainsFunc(permissions, func(n Permission) bool { return !n.Satisfied(rest) }) {
			ask = rest
		}
	}
	return ask
}

// MissingError returns an *Error that names the permissions that the granted scopes do not satisfy, or nil.
func MissingError(granted []string, permissions []Permission) error {
	var missing []string
	for _, n := range permissions {
		if n.Satisfied(granted) {
			continue
		}
		s := n.Scope
		if len(n.Alternatives) > 0 {
			s += " (or " + strings.Join(n.Alternatives, " or ") + ")"
		}
		missing = append(missing, s)
	}
	if len(missing) == 0 {
		return nil
	}
	return &Error{Reason: PermissionMissing, Message: "minimum required permissions not granted: " + strings.Join(missing, ", ")}
}

// CheckGranted returns an *Error if the account is not signed in or a permission is not granted.
func (c *Client) CheckGranted(permissions []Permission) error {
	granted := c.tokens.Granted()
	if len(granted) == 0 {
		return &Error{Reason: SignInRequired, Message: "not signed in"}
	}
	if c.application {
		permissions = ApplicationPermissions(permissions)
	}
	return MissingError(granted, permissions)
}
