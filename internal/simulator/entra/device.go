package entra

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
)

// A deviceGrant is an issued device code. See https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code.
type deviceGrant struct {
	userCode  string
	client    string
	tenant    string
	requested scopeRequest
	expires   time.Time
	user      *directory.User // the user who approved
	refused   AADSTS
	redeemed  bool
}

// ApproveDevice enters a user code at the sign-in page and signs in. It fails if the code is unknown or expired, or if the page refuses.
func (s *Service) ApproveDevice(userCode string) error {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.enterCode(userCode, true)
}

// DeclineDevice enters a user code at the sign-in page and cancels.
func (s *Service) DeclineDevice(userCode string) error {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.enterCode(userCode, false)
}

// DeviceCodes returns the user codes that are still pending, sorted.
func (s *Service) DeviceCodes() []string {
	s.directory.Lock()
	defer s.directory.Unlock()
	var codes []string
	for _, d := range s.devices {
		if d.user == nil && d.refused == 0 && s.directory.Now().Before(d.expires) {
			codes = append(codes, d.userCode)
		}
	}
	slices.Sort(codes)
	return codes
}

func (s *Service) enterCode(userCode string, approve bool) error {
	userCode = strings.ToUpper(strings.TrimSpace(userCode))
	for _, d := range s.devices {
		if d.userCode != userCode || s.directory.Now().After(d.expires) || d.user != nil || d.refused != 0 {
			continue
		}
		if !approve {
			d.refused = Declined
			return nil
		}
		a, err := s.signingInUser(s.registrations[d.client], d.tenant)
		if err == nil {
			err = s.askConsent(a, d.client, d.requested.scopes)
		}
		if err != nil {
			d.refused = err.code
			return fmt.Errorf("approve the device code: %w", err)
		}
		d.user = a
		return nil
	}
	return fmt.Errorf("the device code %q is unknown, has expired or was used", userCode)
}

func (s *Service) deviceCode(r *http.Request, tenant string, form url.Values) (web.Response, *loginError) {
	registration, err := s.registered(form.Get("client_id"), tenant)
	if err != nil {
		return web.Response{}, err
	}
	if !registration.PublicClient {
		return web.Response{}, &loginError{code: MissingSecret}
	}
	requested, err := s.parseScopes(form.Get("scope"))
	if err != nil {
		return web.Response{}, err
	}
	if len(requested.scopes) == 0 && !requested.openid && !requested.def {
		return web.Response{}, &loginError{code: MissingParameter, about: "scope"}
	}
	now := s.directory.Now()
	maps.DeleteFunc(s.devices, func(_ string, d *deviceGrant) bool { return now.Sub(d.expires) > deviceLifetime })
	key := directory.Random(64)
	d := &deviceGrant{userCode: newUserCode(), client: registration.ClientID, tenant: tenant, requested: requested, expires: now.Add(deviceLifetime)}
	s.devices[key] = d
	uri := "https://" + r.Host + "/common/oauth2/deviceauth"
	return web.Response{Status: http.StatusOK, Body: map[string]any{
		"user_code":        d.userCode,
		"device_code":      key,
		"verification_uri": uri,
		"expires_in":       int(deviceLifetime / time.Second),
		"interval":         5,
		"message":          fmt.Sprintf("To sign in, use a web browser to open the page %s and enter the code %s to authenticate.", uri, d.userCode),
	}}, nil
}

func (s *Service) redeemDevice(r *http.Request, registration Registration, form url.Values) (web.Response, *loginError) {
	d := s.devices[form.Get("device_code")]
	switch {
	case d == nil || d.client != registration.ClientID || d.redeemed:
		return web.Response{}, &loginError{code: DeviceCodeUnknown}
	case d.refused == Declined || d.refused == NeedsAdministrator:
		// A user who does not consent can only cancel.
		return web.Response{}, &loginError{code: d.refused, oauth: "authorization_declined"}
	case d.refused != 0:
		return web.Response{}, &loginError{code: d.refused}
	case s.directory.Now().After(d.expires):
		return web.Response{}, &loginError{code: DeviceCodeExpired}
	case d.user == nil:
		return web.Response{}, &loginError{code: DevicePending}
	case s.blockDevice:
		return web.Response{}, &loginError{code: Blocked}
	}
	d.redeemed = true
	delete(s.refreshErrors, d.user)
	return s.issue(r, d.requested, signInSession{user: d.user, client: d.client, device: true}, d.requested.offline, ""), nil
}

// devicePage returns the page for entering a user code.
func (s *Service) devicePage(otc string, form url.Values) web.Response {
	if !form.Has("otc") {
		return codePage("Enter the code displayed on your app or device.", otc)
	}
	approve := form.Get("do") != "decline"
	if err := s.enterCode(form.Get("otc"), approve); err != nil {
		return codePage("That code didn't work. Check the code and try again: "+err.Error()+".", "")
	}
	if !approve {
		return page(http.StatusOK, "Cancelled", "You have cancelled the sign-in on your device. You may now close this window.")
	}
	return page(http.StatusOK, "Signed in", "You have signed in on your device. You may now close this window.")
}

// newUserCode returns a code without ambiguous letters.
func newUserCode() string {
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	b := make([]byte, 9)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}
