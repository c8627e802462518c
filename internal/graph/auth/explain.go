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
	other := "; it may let the other way of signing in through: graph2mqtt login " + o.Account + " --device-code"
	switch {
	case o.confidential():
		other = "" // device code needs a public client
	case device:
		other = "; it may let a sign-in with the browser through, without --device-code"
	}
	switch e.number() {
	case 54005:
		return "this address was used before"
	case 50173, 50133, 50132, 700003:
		return "the sign-in was revoked, or the password was changed"
	case 700082, 700084, 70043, 70044, 70008, 50078:
		return "the sign-in has expired"
	case 50074, 50076, 50079, 50072:
		return "the organization asks for a second factor"
	case 53003:
		return "Conditional Access, a policy of the organization, blocks this sign-in" + other
	case 50097, 53000, 53001, 53002:
		return "the organization asks for a device that it manages" + other
	case 50057:
		return "the account is disabled"
	case 50053:
		return "the account is locked after too many attempts"
	case 50020:
		return fmt.Sprintf("this account cannot sign in to the tenant %s; compare tenant with the account", o.Tenant)
	case 65001:
		return "a permission was withdrawn, or never granted"
	case 65004:
		return "the permissions were declined"
	case 90094, 90093, 90095:
		return "an administrator of the organization must consent; for a link to send them, run: graph2mqtt permissions " + o.Account + " --format link"
	case 700016:
		return fmt.Sprintf("the client_id %s is not known to the tenant %s; compare both with the app registration", o.ClientID, o.Tenant)
	case 90002:
		return fmt.Sprintf("there is no tenant %s", o.Tenant)
	case 50194:
		return "the app registration is for one tenant; set tenant to that tenant's id"
	case 7000218:
		return "the app registration does not allow public client flows; allow them in Entra ID under Authentication, or configure client_secret"
	case 700025:
		return "the app registration is a public client; remove client_secret and certificate_file"
	case 7000215:
		return "the client_secret is wrong; it is the secret's value, not its id"
	case 7000222:
		return "the client_secret has expired; make a new one in Entra ID under Certificates & secrets"
	case 50011:
		return fmt.Sprintf("the redirect address %s is not registered; add it in Entra ID under Authentication, Mobile and desktop applications", o.RedirectURI)
	}
	switch e.Name {
	case "expired_token":
		return "the code was not entered in time"
	case "access_denied", "authorization_declined":
		return "the permissions were declined"
	case "invalid_grant", "interaction_required", "login_required":
		if e.Description == "" {
			return "the sign-in has expired or was revoked"
		}
	}
	return e.Error()
}
