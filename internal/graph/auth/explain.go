package auth

import "fmt"

// explain returns why Entra ID refused and, unless signing in again is enough, what to do.
// See https://learn.microsoft.com/entra/identity-platform/reference-error-codes.
func (e *oauthError) explain(o Options, device bool) string {
	why := e.explanation(o, device)
	if n := e.number(); n != 0 {
		return fmt.Sprintf("%s (AADSTS%d)", why, n)
	}
	return why
}

func (e *oauthError) explanation(o Options, device bool) string {
	other := "; try the other flow: graph2mqtt login " + o.Account + " --device-code"
	switch {
	case o.confidential():
		other = "" // device code needs a public client
	case device:
		other = "; try a browser sign-in, without --device-code"
	}
	if e.isCanceled() {
		return "the sign-in was canceled"
	}
	switch e.number() {
	case 54005:
		return "this redirect address was already used"
	case 50173, 50133, 50132, 700003:
		return "the sign-in was revoked, or the password was changed"
	case 700082, 700084, 70043, 70044, 70008, 50078:
		return "the sign-in has expired"
	case 50074, 50076, 50079, 50072, 50158, 500121:
		return "the organization requires multi-factor authentication"
	case 50055:
		return "the password has expired; change it at the sign-in page"
	case 53003, 530031, 530032, 530033, 530034, 530035, 53011, 50131:
		return "Conditional Access, a policy of the organization, blocks this sign-in" + other
	case 53004:
		return "the organization considers this sign-in risky; register for multi-factor authentication at the sign-in page, or ask an administrator"
	case 50097, 53000, 53001, 53002, 50155:
		return "the organization requires a managed device" + other
	case 50057:
		return "the account is disabled"
	case 50053:
		return "the account is locked after too many attempts"
	case 50034, 51004, 90072:
		return fmt.Sprintf("there is no such account in the tenant %s; compare tenant with the account", o.Tenant)
	case 50020:
		return fmt.Sprintf("this account cannot sign in to the tenant %s; compare tenant with the account", o.Tenant)
	case 50105:
		return "the app registration is restricted to assigned users; an administrator assigns users in Entra ID under Enterprise applications, Users and groups"
	case 65001:
		return "a permission was withdrawn, or never granted"
	case 65004:
		return "the permissions were declined"
	case 90094, 90093, 90095:
		return "an administrator of the organization must consent; for a link to send them, run: graph2mqtt permissions " + o.Account + " --format link"
	case 500011, 650052:
		return "the organization has no Microsoft Graph at this address; compare cloud with the account"
	case 650053, 70011:
		return "a requested permission does not exist in this cloud; compare cloud with the account"
	case 700016:
		return fmt.Sprintf("the client_id %s is not known to the tenant %s; compare both with the app registration", o.ClientID, o.Tenant)
	case 7000112:
		return fmt.Sprintf("the app registration %s is disabled; an administrator enables it in Entra ID under Enterprise applications", o.ClientID)
	case 90002, 900023, 50128:
		return fmt.Sprintf("there is no tenant %s", o.Tenant)
	case 50059, 90019:
		return fmt.Sprintf("Microsoft cannot tell the organization from the tenant %s; set tenant to its id or domain", o.Tenant)
	case 50194:
		return "the app registration is for one tenant; set tenant to that tenant's id"
	case 7000218:
		return "the app registration does not allow public client flows; allow them in Entra ID under Authentication, or configure client_secret"
	case 700025:
		return "the app registration is a public client; remove client_secret and certificate_file"
	case 7000215:
		return fmt.Sprintf("the %s is wrong; it must be the secret's value, not its id", o.credentialKey())
	case 7000222:
		return fmt.Sprintf("the %s has expired; create a new one in Entra ID under Certificates & secrets, and configure its value", o.credentialKey())
	case 700027:
		return fmt.Sprintf("the certificate in %s does not belong to the app registration, or has expired; upload it in Entra ID under Certificates & secrets", o.credentialKey())
	case 700024:
		return fmt.Sprintf("the assertion signed with the %s is not valid now; set this machine's clock", o.credentialKey())
	case 70021, 700211, 700212, 700213:
		return fmt.Sprintf("the app registration does not trust the token of %s; compare issuer, subject and audience in Entra ID under Certificates & secrets, Federated credentials", o.credentialKey())
	case 50011, 500113:
		return fmt.Sprintf("the redirect address %s is not registered; add it in Entra ID under Authentication, %s", o.RedirectURI, o.platform())
	}
	switch e.Name {
	case "expired_token", "bad_verification_code":
		return "the code was not entered in time"
	case "access_denied", "authorization_declined":
		return "the permissions were declined"
	case "consent_required":
		return "a permission was withdrawn, or never granted"
	}
	if e.Description != "" {
		return e.Error()
	}
	switch e.Name {
	case "invalid_grant", "interaction_required", "login_required":
		return "the sign-in has expired or was revoked"
	case "invalid_client":
		if o.confidential() {
			return fmt.Sprintf("the %s is wrong or has expired", o.credentialKey())
		}
		return "the app registration does not allow public client flows, or client_id is wrong"
	case "unauthorized_client":
		return fmt.Sprintf("the app registration %s does not allow this sign-in; compare client_id and tenant with it", o.ClientID)
	}
	return e.Error()
}
