package entra

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
)

// An AADSTS is the number of an Entra ID error, such as 65001 for "AADSTS65001".
// See https://learn.microsoft.com/entra/identity-platform/reference-error-codes.
type AADSTS int

// The errors that the simulator returns.
const (
	MissingParameter       AADSTS = 900144
	UnknownClient          AADSTS = 700016
	UnknownTenant          AADSTS = 90002
	SingleTenant           AADSTS = 50194
	OtherAccounts          AADSTS = 50020 // account type not supported, or account of another tenant
	WrongRedirect          AADSTS = 50011
	WrongSecret            AADSTS = 7000215
	MissingSecret          AADSTS = 7000218
	UnknownResource        AADSTS = 500011
	UnknownScope           AADSTS = 650053
	UnsupportedGrant       AADSTS = 70003
	UnsupportedResponse    AADSTS = 700054
	WrongVerifier          AADSTS = 501481
	MissingVerifier        AADSTS = 50148
	UsedCode               AADSTS = 54005
	ExpiredCode            AADSTS = 70008
	MalformedToken         AADSTS = 9002313
	ExpiredToken           AADSTS = 700082 // refresh token unused for too long
	RevokedToken           AADSTS = 50173  // password changed or sessions revoked
	NeverConsented         AADSTS = 65001
	Declined               AADSTS = 65004 // consent declined by the user
	NeedsAdministrator     AADSTS = 90094 // consent requires an administrator
	SecondFactorRequired   AADSTS = 50076
	Blocked                AADSTS = 53003 // by Conditional Access
	DeviceRequired         AADSTS = 50097
	AccountDisabled        AADSTS = 50057
	DevicePending          AADSTS = 70016
	DeviceCodeExpired      AADSTS = 70020
	DeviceCodeUnknown      AADSTS = 70019
	TemporarilyUnavailable AADSTS = 90033
	NotAssigned            AADSTS = 50105  // the application requires an assignment that the user does not have
	PolicyBlocked          AADSTS = 530031 // an access policy does not allow a token
	NoTenant               AADSTS = 50059  // the request names no tenant
	WrongAssertion         AADSTS = 700027 // not signed by a certificate of the registration
	ExpiredAssertion       AADSTS = 700024 // not valid at this time
	MissingAssertion       AADSTS = 7000216
	UntrustedToken         AADSTS = 700213  // no federated identity of the registration has this token
	NoDefaultScope         AADSTS = 1002012 // client credentials are granted with .default only
)

// oauth returns the OAuth error code, the description and Microsoft's suberror.
func (e AADSTS) oauth() (code, text, sub string) {
	switch e {
	case MissingParameter:
		return "invalid_request", "The request body must contain the following parameter: '%s'.", ""
	case UnknownClient:
		return "unauthorized_client", "Application with identifier '%s' was not found in the directory. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", ""
	case UnknownTenant:
		return "invalid_request", "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", ""
	case SingleTenant:
		return "invalid_request", "Application '%s' is not configured as a multi-tenant application. Usage of the /common endpoint is not supported for such apps created after '10/15/2018'. Use a tenant-specific endpoint or configure the application to be multi-tenant.", ""
	case OtherAccounts:
		return "invalid_request", "User account '%s' from identity provider does not exist in tenant and cannot access the application in that tenant. The account needs to be added as an external user in the tenant first. Sign out and sign in again with a different user account.", ""
	case WrongRedirect:
		return "invalid_request", "The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application. Make sure the redirect URI sent in the request matches one added to your application in the Azure portal.", ""
	case WrongSecret:
		return "invalid_client", "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", ""
	case MissingSecret:
		return "invalid_client", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.", ""
	case UnknownResource:
		return "invalid_resource", "The resource principal named %s was not found in the tenant.", ""
	case UnknownScope:
		return "invalid_client", "The application asked for scope '%s' that doesn't exist on the resource '00000003-0000-0000-c000-000000000000'. Contact the app vendor.", ""
	case UnsupportedGrant:
		return "unsupported_grant_type", "The app requested an unsupported grant type '%s'.", ""
	case UnsupportedResponse:
		return "unsupported_response_type", "response_type '%s' is not enabled for the application.", ""
	case WrongVerifier:
		return "invalid_grant", "The Code_Verifier does not match the code_challenge supplied in the authorization request.", ""
	case MissingVerifier:
		return "invalid_grant", "The code_verifier does not match the code_challenge supplied in the authorization request for PKCE.", ""
	case UsedCode:
		return "invalid_grant", "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.", ""
	case ExpiredCode:
		return "invalid_grant", "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.", ""
	case MalformedToken:
		return "invalid_grant", "Invalid request. Request is malformed or invalid.", "bad_token"
	case ExpiredToken:
		return "invalid_grant", "The refresh token has expired due to inactivity.", "bad_token"
	case RevokedToken:
		return "invalid_grant", "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password.", "bad_token"
	case NeverConsented:
		return "invalid_grant", "The user or administrator has not consented to use the application with ID '%s'. Send an interactive authorization request for this user and resource.", "consent_required"
	case Declined:
		return "access_denied", "User declined to consent to access the app.", ""
	case NeedsAdministrator:
		return "consent_required", "An administrator has set a policy that prevents you from granting the app the permissions it is requesting. Contact an administrator, who can grant permissions to this app on your behalf.", ""
	case SecondFactorRequired:
		return "interaction_required", "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '00000003-0000-0000-c000-000000000000'.", "basic_action"
	case Blocked:
		return "invalid_grant", "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.", "message_only"
	case DeviceRequired:
		return "invalid_grant", "Device authentication is required.", "additional_action"
	case AccountDisabled:
		return "invalid_grant", "The user account is disabled.", ""
	case DevicePending:
		return "authorization_pending", "OAuth 2.0 device flow error. Authorization is pending. Continue polling.", ""
	case DeviceCodeExpired:
		return "expired_token", "The provided value for the input parameter 'device_code' is not valid. This device code has expired.", ""
	case DeviceCodeUnknown:
		return "bad_verification_code", "The provided value for the input parameter 'device_code' is not valid.", ""
	case NotAssigned:
		return "invalid_grant", "Your administrator has configured the application to block users unless they are specifically granted ('assigned') access to the application.", ""
	case PolicyBlocked:
		return "invalid_grant", "Access policy does not allow token issuance.", "message_only"
	case NoTenant:
		return "invalid_request", "No tenant-identifying information found in either the request or implied by any provided credentials.", ""
	case WrongAssertion:
		return "invalid_client", "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '%s'].", ""
	case ExpiredAssertion:
		return "invalid_client", "Client assertion is not within its valid time range.", ""
	case MissingAssertion:
		return "invalid_client", "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.", ""
	case UntrustedToken:
		return "invalid_client", "No matching federated identity record found for presented assertion of application '%s'.", ""
	case NoDefaultScope:
		return "invalid_scope", "The provided value for scope '%s' is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", ""
	case TemporarilyUnavailable:
		return "temporarily_unavailable", "A transient error has occurred. Please try again.", ""
	default:
		return "invalid_request", unexplained, ""
	}
}

const unexplained = "The request cannot be carried out."

// Known reports whether the simulator has a description of the error. 0, no error, is known.
func (e AADSTS) Known() bool {
	_, text, _ := e.oauth()
	return e == 0 || text != unexplained
}

// A loginError is an Entra ID error with its parameter.
type loginError struct {
	code  AADSTS
	about string
	oauth string // overrides the OAuth error code of the AADSTS
}

func (e *loginError) Error() string { return fmt.Sprintf("AADSTS%d", e.code) }

// describe returns the OAuth error code and the description in Entra ID's format.
func (e *loginError) describe(now time.Time) (code, description string) {
	code, text, _ := e.code.oauth()
	if e.oauth != "" {
		code = e.oauth
	}
	if e.about != "" {
		text = fmt.Sprintf(text, e.about)
	}
	return code, fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", e.code, text,
		uuid.NewString(), uuid.NewString(), now.UTC().Format("2006-01-02 15:04:05Z"))
}

// response returns the token endpoint's response.
func (e *loginError) response(now time.Time) web.Response {
	code, description := e.describe(now)
	_, _, sub := e.code.oauth()
	body := map[string]any{
		"error":             code,
		"error_description": description,
		"error_codes":       []int{int(e.code)},
		"timestamp":         now.UTC().Format("2006-01-02 15:04:05Z"),
		"trace_id":          uuid.NewString(),
		"correlation_id":    uuid.NewString(),
		"error_uri":         "https://login.microsoftonline.com/error?code=" + strconv.Itoa(int(e.code)),
	}
	if sub != "" {
		body["suberror"] = sub
	}
	status := http.StatusBadRequest
	switch code {
	case "invalid_client":
		status = http.StatusUnauthorized
	case "temporarily_unavailable":
		status = http.StatusServiceUnavailable
	}
	return web.Response{Status: status, Body: body}
}
