package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/entra"
)

// client is MSAL's public or confidential client. Its methods must not be called concurrently. If Entra ID refuses, they return an
// *oauthError.
type client interface {
	// authCodeURL returns the address to open in a browser, without state and challenge.
	authCodeURL(ctx context.Context, redirect, hint, claims string, scopes []string) (string, error)
	redeem(ctx context.Context, code, redirect, verifier string, scopes []string) (tokenResponse, error)
	refresh(ctx context.Context, k *storedSession, scopes []string, claims string) (tokenResponse, error)
	// device starts a device code flow. The returned function polls once.
	device(ctx context.Context, scopes []string, claims string) (public.DeviceCodeResult, func(context.Context) (tokenResponse, error), error)
}

// tokenResponse is the answer of the token endpoint.
type tokenResponse struct {
	token   string
	expires time.Time
	scopes  string // as received; may be empty
	home    string
	user    User
	cache   json.RawMessage
}

// requestTimeout bounds each request to Entra ID.
const requestTimeout = 30 * time.Second

// newClient returns the client of a registration, or why its configuration cannot be used.
func newClient(o Options) (client, error) {
	if o.Unusable != nil {
		return nil, o.Unusable
	}
	l := msalBase{id: o.ClientID, cache: new(memoryCache)}
	web := &http.Client{
		Transport: recorder{o.Transport},
		Timeout:   requestTimeout,
		// Never send credentials to another address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	authority := o.Login + "/" + o.Tenant
	// Instance discovery asks the global cloud whether it knows the host, which fails for private clouds. The host comes from the
	// configuration and is trusted.
	if !o.confidential() {
		c, err := public.New(o.ClientID, public.WithAuthority(authority), public.WithHTTPClient(web), public.WithCache(l.cache), public.WithInstanceDiscovery(false))
		if err != nil {
			return nil, err
		}
		return publicClient{c, l}, nil
	}
	credential, err := credentialOf(o)
	if err != nil {
		return nil, err
	}
	c, err := confidential.New(authority, o.ClientID, credential, confidential.WithHTTPClient(web), confidential.WithCache(l.cache), confidential.WithInstanceDiscovery(false))
	if err != nil {
		return nil, err
	}
	return confidentialClient{c, l}, nil
}

func credentialOf(o Options) (confidential.Credential, error) {
	if o.ClientSecret != "" {
		return confidential.NewCredFromSecret(o.ClientSecret)
	}
	certificates, key, err := config.ParseSignInCertificate(o.Certificate)
	if err != nil {
		return confidential.Credential{}, fmt.Errorf("%s: %w", o.credentialKey(), err)
	}
	credential, err := confidential.NewCredFromCert(certificates, key)
	if err != nil {
		return credential, fmt.Errorf("%s: want an RSA key and the certificate that belongs to it", o.credentialKey())
	}
	return credential, nil
}

type publicClient struct {
	c public.Client
	msalBase
}

func (p publicClient) authCodeURL(ctx context.Context, redirect, hint, claims string, scopes []string) (string, error) {
	return p.buildURL(ctx, func(ctx context.Context) (string, error) {
		return p.c.AuthCodeURL(ctx, p.id, redirect, scopes, public.WithLoginHint(hint), public.WithClaims(claims))
	})
}

func (p publicClient) redeem(ctx context.Context, code, redirect, verifier string, scopes []string) (tokenResponse, error) {
	return p.acquire(ctx, nil, func(ctx context.Context) (public.AuthResult, error) {
		return p.c.AcquireTokenByAuthCode(ctx, code, redirect, scopes, public.WithChallenge(verifier))
	})
}

func (p publicClient) refresh(ctx context.Context, k *storedSession, scopes []string, claims string) (tokenResponse, error) {
	return p.acquire(ctx, k.Cache, func(ctx context.Context) (public.AuthResult, error) {
		return p.c.AcquireTokenSilent(ctx, scopes, public.WithSilentAccount(public.Account{HomeAccountID: k.Home}), public.WithClaims(claims))
	})
}

func (p publicClient) device(ctx context.Context, scopes []string, claims string) (public.DeviceCodeResult, func(context.Context) (tokenResponse, error), error) {
	ctx, ex := withExchange(ctx)
	d, err := p.c.AcquireTokenByDeviceCode(ctx, scopes, public.WithClaims(claims))
	if err != nil {
		return public.DeviceCodeResult{}, nil, ex.error(err)
	}
	return d.Result, func(ctx context.Context) (tokenResponse, error) { return p.acquire(ctx, nil, d.AuthenticationResult) }, nil
}

var errNoDeviceCode = errors.New("a registration with a secret or certificate cannot use the device code flow; sign in with the browser")

type confidentialClient struct {
	c confidential.Client
	msalBase
}

func (p confidentialClient) authCodeURL(ctx context.Context, redirect, hint, claims string, scopes []string) (string, error) {
	return p.buildURL(ctx, func(ctx context.Context) (string, error) {
		return p.c.AuthCodeURL(ctx, p.id, redirect, scopes, confidential.WithLoginHint(hint), confidential.WithClaims(claims))
	})
}

func (p confidentialClient) redeem(ctx context.Context, code, redirect, verifier string, scopes []string) (tokenResponse, error) {
	return p.acquire(ctx, nil, func(ctx context.Context) (public.AuthResult, error) {
		return p.c.AcquireTokenByAuthCode(ctx, code, redirect, scopes, confidential.WithChallenge(verifier))
	})
}

func (p confidentialClient) refresh(ctx context.Context, k *storedSession, scopes []string, claims string) (tokenResponse, error) {
	return p.acquire(ctx, k.Cache, func(ctx context.Context) (public.AuthResult, error) {
		return p.c.AcquireTokenSilent(ctx, scopes, confidential.WithSilentAccount(confidential.Account{HomeAccountID: k.Home}), confidential.WithClaims(claims))
	})
}

func (confidentialClient) device(context.Context, []string, string) (public.DeviceCodeResult, func(context.Context) (tokenResponse, error), error) {
	return public.DeviceCodeResult{}, nil, errNoDeviceCode
}

// msalBase holds what both clients share.
type msalBase struct {
	id    string
	cache *memoryCache
}

func (l msalBase) buildURL(ctx context.Context, f func(context.Context) (string, error)) (string, error) {
	ctx, ex := withExchange(ctx)
	link, err := f(ctx)
	return link, ex.error(err)
}

// acquire runs an MSAL token request with a cache that holds no access tokens, so that MSAL always asks Entra ID. With a cached token
// that expires soon, MSAL may return a token together with an error.
func (l msalBase) acquire(ctx context.Context, before json.RawMessage, f func(context.Context) (public.AuthResult, error)) (tokenResponse, error) {
	*l.cache = memoryCache{before}
	ctx, ex := withExchange(ctx)
	r, err := f(ctx)
	if err != nil {
		return tokenResponse{}, ex.error(err)
	}
	after, err := withoutAccessTokens(l.cache.b)
	if err != nil {
		return tokenResponse{}, err
	}
	return tokenResponse{
		token: r.AccessToken, expires: r.ExpiresOn, scopes: ex.scope, cache: after, home: r.Account.HomeAccountID,
		user: User{
			ID: cmp.Or(r.IDToken.Oid, r.IDToken.Subject), Address: cmp.Or(r.IDToken.PreferredUsername, r.IDToken.UPN, r.IDToken.Email),
			Name: r.IDToken.Name, Tenant: r.IDToken.TenantID, Personal: entra.IsPersonalTenant(r.IDToken.TenantID),
		},
	}, nil
}

// memoryCache holds MSAL's serialized cache between two calls.
type memoryCache struct{ b []byte }

func (b *memoryCache) Replace(_ context.Context, c cache.Unmarshaler, _ cache.ReplaceHints) error {
	if len(b.b) == 0 {
		return c.Unmarshal([]byte("{}"))
	}
	return c.Unmarshal(b.b)
}

func (b *memoryCache) Export(_ context.Context, c cache.Marshaler, _ cache.ExportHints) (err error) {
	b.b, err = c.Marshal()
	return err
}

// errNoRefreshToken is returned for an answer without a refresh token: its access token could not be renewed.
var errNoRefreshToken = errors.New("the permission to maintain access to data (offline_access) was not granted: Microsoft returned no refresh token")

func withoutAccessTokens(b []byte) (json.RawMessage, error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return nil, errors.New("the cache of MSAL is not JSON")
	}
	parts["AccessToken"] = json.RawMessage("{}")
	var refresh map[string]json.RawMessage
	if err := json.Unmarshal(parts["RefreshToken"], &refresh); err != nil || len(refresh) == 0 {
		return nil, errNoRefreshToken
	}
	return json.Marshal(parts)
}
