package auth

import (
	"slices"
	"strings"
)

// oidc lists the OpenID Connect scopes, which are not permissions of Graph.
var oidc = [...]string{"openid", "profile", "offline_access", "email"}

// qualify returns scopes with the audience, as required for any audience but the default.
func (s *Session) qualify(scopes []string) []string {
	out := make([]string, len(scopes))
	for i, scope := range scopes {
		out[i] = s.o.Audience + "/" + scope
	}
	return out
}

// shorten returns the scopes of an answer without their audience, sorted. An answer without scopes grants those that were requested.
// See https://www.rfc-editor.org/rfc/rfc6749#section-3.3.
func (s *Session) shorten(answered string, asked []string) []string {
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

// missing returns the scopes of want that are not in have.
func missing(want, have []string) []string {
	var out []string
	for _, scope := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, scope) }) {
			out = append(out, scope)
		}
	}
	return out
}
