// Package entra describes the tenants and clouds of Microsoft Entra ID.
package entra

import (
	"net/url"
	"regexp"
	"strings"
)

// personalID is the tenant id of all personal accounts.
//
// https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference
const personalID = "9188040d-6c67-4c5b-b112-36a304b66dad"

// IsPersonalTenant reports whether a tenant, by name or id, has personal Microsoft accounts only.
func IsPersonalTenant(tenant string) bool {
	return strings.EqualFold(tenant, "consumers") || strings.EqualFold(tenant, personalID)
}

// IsOrganization reports whether a tenant, by name or id, is that of one organization, whose administrators alone name its users.
func IsOrganization(tenant string) bool {
	switch strings.ToLower(tenant) {
	case "", "common", "organizations":
		return false
	}
	return !IsPersonalTenant(tenant)
}

// AllowsPersonal reports whether personal accounts can sign in to a tenant at a sign-in address. National clouds have none.
func AllowsPersonal(tenant, login string) bool {
	return (strings.EqualFold(tenant, "common") || IsPersonalTenant(tenant)) && CloudOf(login) != USGovernment && CloudOf(login) != China
}

var objectID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// IsMailbox reports whether s can name a mailbox: it is an address, or the object id of its user.
func IsMailbox(s string) bool {
	name, domain, ok := strings.Cut(s, "@")
	return objectID.MatchString(s) || ok && name != "" && domain != "" && !strings.ContainsAny(s, " /\\#?%<>\"") && !strings.Contains(domain, "@")
}

// Cloud is a cloud of Microsoft.
type Cloud int

// The clouds. Custom is any other, such as a simulated one.
const (
	Custom Cloud = iota
	Global
	USGovernment
	China
)

// CloudOf returns the cloud of a sign-in address.
//
// https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud
func CloudOf(login string) Cloud {
	u, err := url.Parse(login)
	if err != nil {
		return Custom
	}
	switch strings.ToLower(u.Hostname()) {
	case "login.microsoftonline.com":
		return Global
	case "login.microsoftonline.us":
		return USGovernment
	case "login.partner.microsoftonline.cn", "login.chinacloudapi.cn":
		return China
	}
	return Custom
}
