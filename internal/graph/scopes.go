package graph

import "slices"

// ScopeFacts are what Microsoft says of one delegated permission.
type ScopeFacts struct {
	ID       string // by which an app registration names it
	Admin    bool   // in every tenant an administrator must consent
	Blocked  bool   // where Microsoft manages the policy of consent, as in every new tenant, users cannot consent
	Personal bool   // personal accounts have it too
}

// UserByDefault reports whether a user of a work tenant can consent as long as nobody changed the tenant's policy.
func (f ScopeFacts) UserByDefault() bool { return !f.Admin && !f.Blocked }

// Accounts are the kinds of accounts that have the permission.
func (f ScopeFacts) Accounts() []string {
	if f.Personal {
		return []string{"work", "personal"}
	}
	return []string{"work"}
}

// Describe tells the facts of a permission by its short name; false where it is not known.
//
// The ids and what needs an administrator are those of permissions-descriptions.json, the account types those of permissions.json
// of github.com/microsoftgraph/microsoft-graph-devx-content; what users cannot consent to by default is the list of
// https://learn.microsoft.com/entra/identity/enterprise-apps/manage-app-consent-policies.
func Describe(scope string) (ScopeFacts, bool) {
	i := slices.IndexFunc(scopeFacts[:], func(f namedFacts) bool { return f.scope == scope })
	if i < 0 {
		return ScopeFacts{}, false
	}
	return scopeFacts[i].facts, true
}
