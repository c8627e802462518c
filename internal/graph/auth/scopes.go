package auth

import (
	"slices"
	"strings"
)

// oidc are the scopes that are about the sign-in and not about Graph.
var oidc = [...]string{"openid", "profile", "offline_access", "email"}

// long are Graph's scopes as Entra ID wants them where the audience is not its default.
func (s *Session) long(scopes []string) []string {
	out := make([]string, len(scopes))
	for i, scope := range scopes {
		out[i] = s.o.Audience + "/" + scope
	}
	return out
}

// short are the scopes of an answer by their names in the documentation, sorted. An answer without any grants what was asked for.
// See https://www.rfc-editor.org/rfc/rfc6749#section-3.3.
func (s *Session) short(answered string, asked []string) []string {
	scopes := strings.Fields(answered)
	if len(scopes) == 0 {
		scopes = slices.Clone(asked)
	}
	var out []string
	for _, scope := range scopes {
		if prefix := s.o.Audience + "/"; len(scope) > len(prefix) && strings.EqualFold(scope[:len(prefix)], prefix) {
			scope = scope[len(prefix):]
		}
		if strings.Contains(scope, "://") || slices.Contains(oidc[:], strings.ToLower(scope)) {
			continue
		}
		out = append(out, scope)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// missing are the scopes of want that are not in have; nil where there are none.
func missing(want, have []string) []string {
	var out []string
	for _, scope := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, scope) }) {
			out = append(out, scope)
		}
	}
	return out
}
