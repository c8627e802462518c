package graph

import (
	"slices"
	"strings"
)

// RoleInfo describes one application permission.
type RoleInfo struct {
	ID string // by which an app registration names it
	// Exchange reports that Exchange can assign it for some mailboxes only. It is in no token then.
	//
	// https://learn.microsoft.com/exchange/permissions-exo/application-rbac
	Exchange bool
}

// LookupRole returns the RoleInfo of an application permission.
//
// The ids are those of applicationScopesList in permissions-descriptions.json of
// github.com/microsoftgraph/microsoft-graph-devx-content.
func LookupRole(role string) (RoleInfo, bool) {
	i := slices.IndexFunc(roleInfos[:], func(r namedRole) bool { return r.role == role })
	if i < 0 {
		return RoleInfo{}, false
	}
	return roleInfos[i].info, true
}

type namedRole struct {
	role string
	info RoleInfo
}

// roleInfos holds the application permissions that a sensor or an operation may need.
var roleInfos = [...]namedRole{
	{"Calendars.Read", RoleInfo{ID: "798ee544-9d2d-430c-a058-570e29e34338", Exchange: true}},
	{"Calendars.ReadWrite", RoleInfo{ID: "ef54d2bf-783f-4e0f-bca1-3210c0444d99", Exchange: true}},
	{"Contacts.Read", RoleInfo{ID: "089fe4d0-434a-44c5-8827-41ba8a0b17f5", Exchange: true}},
	{"Mail.Read", RoleInfo{ID: "810c84a8-4a9e-49e6-bf7d-12d183f40d01", Exchange: true}},
	{"Mail.ReadBasic.All", RoleInfo{ID: "693c5e45-0940-467d-9b8a-1022fb9d42ef", Exchange: true}},
	{"Mail.ReadWrite", RoleInfo{ID: "e2a3a72e-5f79-4c64-b1b1-878b674786c9", Exchange: true}},
	{"Mail.Send", RoleInfo{ID: "b633e1c5-b582-4048-a93e-9f11b44c7e96", Exchange: true}},
	{"MailboxSettings.Read", RoleInfo{ID: "40f97065-369a-49f4-947c-6a255697ae91", Exchange: true}},
	{"MailboxSettings.ReadWrite", RoleInfo{ID: "6931bccd-447a-43d1-b442-00a195474933", Exchange: true}},

	{"GroupMember.Read.All", RoleInfo{ID: "98830695-27a2-44f7-8c18-0c3ebc9698f6"}},
	{"Place.Read.All", RoleInfo{ID: "913b9306-0ce1-42b8-9137-6a7df690a760"}},
	{"Presence.Read.All", RoleInfo{ID: "a70e0c2d-e793-494c-94c4-118fa0a67f42"}},
	{"Tasks.Read.All", RoleInfo{ID: "f10e1f91-74ed-437f-a6fd-d6ae88e26c1f"}},
	{"Tasks.ReadWrite.All", RoleInfo{ID: "44e666d1-d276-445b-a5fc-8815eeb81d55"}},
	{"User.Read.All", RoleInfo{ID: "df021288-bdef-4463-88db-98f22de89214"}},
	{"User.ReadBasic.All", RoleInfo{ID: "97235f07-e226-4f63-ace3-39588e11d3a1"}},
}

// ExchangeRole returns the name of the role with which Exchange assigns an application permission: "Application Calendars.Read".
func ExchangeRole(role string) string { return "Application " + strings.TrimSuffix(role, ".All") }

// ExchangeRoles returns the application permissions that Exchange can assign for some mailboxes only.
func ExchangeRoles() []string { return roles(true) }

// DirectoryRoles returns the other application permissions, which hold for the whole organization.
func DirectoryRoles() []string { return roles(false) }

func roles(exchange bool) []string {
	all := make([]string, 0, len(roleInfos))
	for _, r := range roleInfos {
		if r.info.Exchange == exchange {
			all = append(all, r.role)
		}
	}
	return all
}

// applicationRoles has the application permissions that do for applications what a delegated permission of another name does for users.
// Exchange has no role for the basic properties of calendars.
var applicationRoles = map[string]string{
	"Calendars.Read.Shared": "Calendars.Read", "Calendars.ReadBasic": "Calendars.Read", "Calendars.ReadWrite.Shared": "Calendars.ReadWrite",
	"Mail.Read.Shared": "Mail.Read", "Mail.ReadBasic": "Mail.ReadBasic.All", "Mail.ReadWrite.Shared": "Mail.ReadWrite", "Mail.Send.Shared": "Mail.Send",
	"Presence.Read": "Presence.Read.All", "Tasks.Read": "Tasks.Read.All", "Tasks.ReadWrite": "Tasks.ReadWrite.All",
}

// role returns the application permission for a delegated one.
func role(scope string) string {
	if r, ok := applicationRoles[scope]; ok {
		return r
	}
	return scope
}

// Application returns p for an application. It reports false if applications do not have the permission.
func (p Permission) Application() (Permission, bool) {
	p, ok := p.withRoles()
	p.Purpose, p.Impact = ofMailbox.Replace(p.Purpose), ofMailbox.Replace(p.Impact)
	return p, ok
}

// withRoles is Application with the texts of users.
func (p Permission) withRoles() (Permission, bool) {
	p.Scope = role(p.Scope)
	_, ok := LookupRole(p.Scope)
	var alternatives []string
	for _, a := range p.Alternatives {
		if a = role(a); a != p.Scope && !slices.Contains(alternatives, a) {
			alternatives = append(alternatives, a)
		}
	}
	switch p.Scope { // never requested, because it is much more
	case "GroupMember.Read.All", "User.Read.All", "User.ReadBasic.All":
		alternatives = append(alternatives, "Directory.Read.All")
	}
	p.Alternatives = alternatives
	return p, ok
}

// ofMailbox replaces what the texts of permissions say about the signed-in user, which an application does not have.
var ofMailbox = strings.NewReplacer(
	"sends mails as you and in the name of others", "sends mails as the owner of the mailbox", "sends mails as you", "sends mails as the owner of the mailbox",
	"a mailbox that others share", "the mailbox", "a calendar that others share", "the calendar", "your contacts", "the contacts of the mailbox", "your tasks", "the tasks",
)

// ApplicationPermissions returns permissions for an application, to compare them with those that it has. Their texts are those of users.
func ApplicationPermissions(permissions []Permission) []Permission {
	all := make([]Permission, 0, len(permissions))
	for _, p := range permissions {
		p, _ = p.withRoles()
		all = append(all, p)
	}
	return all
}

// Application reports whether the requests are those of an application, without a user.
func (c *Client) Application() bool { return c.application }
