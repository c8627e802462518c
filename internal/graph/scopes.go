package graph

import "slices"

// ScopeInfo describes one delegated permission.
type ScopeInfo struct {
	ID                        string // by which an app registration names it
	Admin                     bool   // in every tenant an administrator must consent
	RestrictedByDefaultPolicy bool   // where Microsoft manages the policy of consent, as in every new tenant, users cannot consent
	Personal                  bool   // personal accounts have it too
}

// UserConsentable reports whether users of a work tenant can consent under the default policy.
func (f ScopeInfo) UserConsentable() bool { return !f.Admin && !f.RestrictedByDefaultPolicy }

// Accounts returns the kinds of accounts that have the permission.
func (f ScopeInfo) Accounts() []string {
	if f.Personal {
		return []string{"work", "personal"}
	}
	return []string{"work"}
}

// LookupScope returns the ScopeInfo of a permission by its short name.
//
// The ids and what needs an administrator are those of permissions-descriptions.json, the account types those of permissions.json
// of github.com/microsoftgraph/microsoft-graph-devx-content; what users cannot consent to by default is the list of
// https://learn.microsoft.com/entra/identity/enterprise-apps/manage-app-consent-policies.
func LookupScope(scope string) (ScopeInfo, bool) {
	i := slices.IndexFunc(scopeInfos[:], func(f namedScope) bool { return f.scope == scope })
	if i < 0 {
		return ScopeInfo{}, false
	}
	return scopeInfos[i].info, true
}

type namedScope struct {
	scope string
	info  ScopeInfo
}

// scopeInfos holds the permissions that a sensor or an operation may need.
var scopeInfos = [...]namedScope{
	// Scopes of every sign-in beside Graph's own.
	{"openid", ScopeInfo{ID: "37f7f235-527c-4136-accd-4a02d197296e", Personal: true}},
	{"profile", ScopeInfo{ID: "14dad69e-099b-42c9-810b-d002981feec1", Personal: true}},
	{"offline_access", ScopeInfo{ID: "7427e0e9-2fba-42fe-b0c0-848c9e6a8182", Personal: true}},

	{"User.Read", ScopeInfo{ID: "e1fe6dd8-ba31-4d61-89e7-88639da4683d", Personal: true}},
	{"User.ReadBasic.All", ScopeInfo{ID: "b340eb25-3456-403f-be2f-af7a0d370277"}},

	{"User.Read.All", ScopeInfo{ID: "a154be20-db9c-4678-8ab7-66f6cc099a59", Admin: true}},
	{"People.Read", ScopeInfo{ID: "ba47897c-39ec-4d83-8086-ee8256fa737d", RestrictedByDefaultPolicy: true, Personal: true}},
	{"Contacts.Read", ScopeInfo{ID: "ff74d97f-43af-4b68-9f2a-b77ee6968c5d", Personal: true}},
	{"Contacts.ReadWrite", ScopeInfo{ID: "d56682ec-c09e-4743-aaf4-1a3aac4caa21", RestrictedByDefaultPolicy: true, Personal: true}},

	{"Calendars.ReadBasic", ScopeInfo{ID: "662d75ba-a364-42ad-adee-f5f880ea4878", Admin: true, RestrictedByDefaultPolicy: true, Personal: true}},
	{"Calendars.Read", ScopeInfo{ID: "465a38f9-76ea-45b9-9f34-9e8b0d4b0b42", RestrictedByDefaultPolicy: true, Personal: true}},
	{"Calendars.Read.Shared", ScopeInfo{ID: "2b9c4092-424d-4249-948d-b43879977640", RestrictedByDefaultPolicy: true, Personal: true}},
	{"Calendars.ReadWrite", ScopeInfo{ID: "1ec239c2-d7c9-4623-a91a-a9775856bb36", RestrictedByDefaultPolicy: true, Personal: true}},
	{"Calendars.ReadWrite.Shared", ScopeInfo{ID: "12466101-c9b8-439a-8589-dd09ee67e8e9", RestrictedByDefaultPolicy: true}},

	{"Mail.ReadBasic", ScopeInfo{ID: "a4b8392a-d8d1-4954-a029-8e668a39a170", RestrictedByDefaultPolicy: true, Personal: true}},
	{"Mail.Read", ScopeInfo{ID: "570282fd-fa5c-430d-a7fd-fc8dc98a9dca", RestrictedByDefaultPolicy: true, Personal: true}},
	{"Mail.Read.Shared", ScopeInfo{ID: "7b9103a5-4610-446b-9670-80643382c1fa", RestrictedByDefaultPolicy: true}},
	{"Mail.ReadWrite", ScopeInfo{ID: "024d486e-b451-40bb-833d-3e66d98c5c73", RestrictedByDefaultPolicy: true, Personal: true}},
	{"Mail.ReadWrite.Shared", ScopeInfo{ID: "5df07973-7d5d-46ed-9847-1271055cbd51", RestrictedByDefaultPolicy: true}},
	{"Mail.Send", ScopeInfo{ID: "e383f46e-2787-4529-855e-0e479a3ffac0", Personal: true}},
	{"Mail.Send.Shared", ScopeInfo{ID: "a367ab51-6b49-43bf-a716-a1fb06d2a174"}},

	{"MailboxSettings.Read", ScopeInfo{ID: "87f447af-9fa4-4c32-9dfa-4a57a73d18ce", RestrictedByDefaultPolicy: true, Personal: true}},
	{"MailboxSettings.ReadWrite", ScopeInfo{ID: "818c620a-27a9-40bd-a6a5-d96f7d610b4b", RestrictedByDefaultPolicy: true, Personal: true}},

	{"Presence.Read", ScopeInfo{ID: "76bc735e-aecd-4a1d-8b4c-2b915deabb79"}},
	{"Presence.Read.All", ScopeInfo{ID: "9c7a330d-35b3-4aa1-963d-cb2b9f927841"}},
	{"Presence.ReadWrite", ScopeInfo{ID: "8d3c54a7-cf58-4773-bf81-c0cd6ad522bb"}},

	{"Chat.ReadBasic", ScopeInfo{ID: "9547fcb5-d03f-419d-9948-5928bbf71b0f"}},
	{"Chat.Read", ScopeInfo{ID: "f501c180-9344-439a-bca0-6cbf209fd270", RestrictedByDefaultPolicy: true}},
	{"Chat.ReadWrite", ScopeInfo{ID: "9ff7295e-131b-4d94-90e1-69fde507ac11", RestrictedByDefaultPolicy: true}},
	{"Chat.Create", ScopeInfo{ID: "38826093-1258-4dea-98f0-00003be2b8d0"}},
	{"ChatMessage.Send", ScopeInfo{ID: "116b7235-7cc6-461e-b163-8e55691d839e"}},

	{"Team.ReadBasic.All", ScopeInfo{ID: "485be79e-c497-4b35-9400-0e3fa7f2a5d4"}},
	{"Channel.ReadBasic.All", ScopeInfo{ID: "9d8982ae-4365-4f57-95e9-d6032a4c0b87"}},
	{"ChannelMessage.Read.All", ScopeInfo{ID: "767156cb-16ae-4d10-8f8b-41b657c8c8c8", Admin: true}},
	{"ChannelMessage.Send", ScopeInfo{ID: "ebf0f66e-9fb1-49e4-a278-222f76911cf4"}},

	{"Tasks.Read", ScopeInfo{ID: "f45671fb-e0fe-4b4b-be20-3d3ce43f1bcb", RestrictedByDefaultPolicy: true, Personal: true}},
	{"Tasks.ReadWrite", ScopeInfo{ID: "2219042f-cab5-40cc-b0d2-16b1540b4c5f", RestrictedByDefaultPolicy: true, Personal: true}},

	{"OnlineMeetings.Read", ScopeInfo{ID: "9be106e1-f4e3-4df5-bdff-e4bc531cbe43", RestrictedByDefaultPolicy: true}},
	{"OnlineMeetings.ReadWrite", ScopeInfo{ID: "a65f2972-a4f8-4f5e-afd7-69ccb046d5dc", RestrictedByDefaultPolicy: true}},

	{"Place.Read.All", ScopeInfo{ID: "cb8f45a0-5c2e-4ea1-b803-84b870a7d7ec", Admin: true}},
	{"GroupMember.Read.All", ScopeInfo{ID: "bc024368-1153-4739-b217-4326f2e966d0", Admin: true}},
	{"Group.Read.All", ScopeInfo{ID: "5f8c59db-677d-491f-a6b8-5f174b11ec1d", Admin: true}},
	{"Group.ReadWrite.All", ScopeInfo{ID: "4e46008b-f24c-477d-8fff-7bb4ec7aafe0", Admin: true}},
}
