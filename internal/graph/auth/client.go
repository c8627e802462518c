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
)

// personalTenant is the tenant of every personal account.
// See https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference.
const personalTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

// A client is MSAL's public or confidential client. Its methods are not called at the same time. Where Entra ID refuses, they
// return an *oauthError.
type client interface {
	// link is where to send a browser, without state and challenge.
	link(ctx context.Context, redirect, hint string, scopes []string) (string, error)
	redeem(ctx context.Context, code, redirect, verifier string, scopes []string) (answer, error)
	refresh(ctx context.Context, k *kept, scopes []string) (answer, error)
	device(ctx context.Context, scopes []string) (public.DeviceCodeResult, func(context.Context) (answer, error), error)
}

// An answer is what the token endpoint gave.
type answer struct {
	token   string
	expires time.Time
	scopes  string // as written; "" where it said nothing
	home    string
	user    User
	cache   json.RawMessage
}

// requestTimeout is for each request to Entra ID.
const requestTimeout = 30 * time.Second

func newClient(o Options) (client, error) {
	l := library{id: o.ClientID, cache: new(blob)}
	web := &http.Client{
		Transport: recorder{o.Transport},
		Timeout:   requestTimeout,
		// A token is not taken elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	authority := o.Login + "/" + o.Tenant
	// Instance discovery asks the global cloud whether it knows the host. The host is the configuration's word; that is enough, and
	// the only way for a cloud of one's own.
	if !o.confidential() {
		c, err := public.New(o.ClientID, public.WithAuthority(authority), public.WithHTTPClient(web), public.WithCache(l.cache), public.WithInstanceDiscovery(false))
		return publicClient{c, l}, err
	}
	credential, err := credentialOf(o)
	if err != nil {
		return nil, err
	}
	c, err := confidential.New(authority, o.ClientID, credential, confidential.WithHTTPClient(web), confidential.WithCache(l.cache), confidential.WithInstanceDiscovery(false))
	return confidentialClient{c, l}, err
}

func credentialOf(o Options) (confidential.Credential, error) {
	if o.ClientSecret != "" {
		return confidential.NewCredFromSecret(o.ClientSecret)
	}
	certificates, key, err := config.ParseSignInCertificate(o.Certificate)
	if err != nil {
		return confidential.Credential{}, fmt.Errorf("certificate_file: %w", err)
	}
	return confidential.NewCredFromCert(certificates, key)
}

type publicClient struct {
	c public.Client
	library
}

func (p publicClient) link(ctx context.Context, redirect, hint string, scopes []string) (string, error) {
	return p.linked(ctx, func(ctx context.Context) (string, error) {
		return p.c.AuthCodeURL(ctx, p.id, redirect, scopes, public.WithLoginHint(hint))
	})
}

func (p publicClient) redeem(ctx context.Context, code, redirect, verifier string, scopes []string) (answer, error) {
	return p.acquire(ctx, nil, func(ctx context.Context) (public.AuthResult, error) {
		return p.c.AcquireTokenByAuthCode(ctx, code, redirect, scopes, public.WithChallenge(verifier))
	})
}

func (p publicClient) refresh(ctx context.Context, k *kept, scopes []string) (answer, error) {
	return p.acquire(ctx, k.Cache, func(ctx context.Context) (public.AuthResult, error) {
		return p.c.AcquireTokenSilent(ctx, scopes, public.WithSilentAccount(public.Account{HomeAccountID: k.Home}))
	})
}

func (p publicClient) device(ctx context.Context, scopes []string) (public.DeviceCodeResult, func(context.Context) (answer, error), error) {
	ctx, heard := hear(ctx)
	d, err := p.c.AcquireTokenByDeviceCode(ctx, scopes)
	if err != nil {
		return public.DeviceCodeResult{}, nil, heard.error(err)
	}
	return d.Result, func(ctx context.Context) (answer, error) { return p.acquire(ctx, nil, d.AuthenticationResult) }, nil
}

var errNoDeviceCode = errors.New("a registration with a secret or certificate cannot sign in by device code: sign in with the browser")

type confidentialClient struct {
	c confidential.Client
	library
}

func (p confidentialClient) link(ctx context.Context, redirect, hint string, scopes []string) (string, error) {
	return p.linked(ctx, func(ctx context.Context) (string, error) {
		return p.c.AuthCodeURL(ctx, p.id, redirect, scopes, confidential.WithLoginHint(hint))
	})
}

func (p confidentialClient) redeem(ctx context.Context, code, redirect, verifier string, scopes []string) (answer, error) {
	return p.acquire(ctx, nil, func(ctx context.Context) (public.AuthResult, error) {
		return p.c.AcquireTokenByAuthCode(ctx, code, redirect, scopes, confidential.WithChallenge(verifier))
	})
}

func (p confidentialClient) refresh(ctx context.Context, k *kept, scopes []string) (answer, error) {
	return p.acquire(ctx, k.Cache, func(ctx context.Context) (public.AuthResult, error) {
		return p.c.AcquireTokenSilent(ctx, scopes, confidential.WithSilentAccount(confidential.Account{HomeAccountID: k.Home}))
	})
}

func (confidentialClient) device(context.Context, []string) (public.DeviceCodeResult, func(context.Context) (answer, error), error) {
	return public.DeviceCodeResult{}, nil, errNoDeviceCode
}

// library is what both clients do alike.
type library struct {
	id    string
	cache *blob
}

func (l library) linked(ctx context.Context, f func(context.Context) (string, error)) (string, error) {
	ctx, heard := hear(ctx)
	link, err := f(ctx)
	return link, heard.error(err)
}

// acquire lets MSAL get a token, beginning with a cache that holds no access token. So it always asks Entra ID, and its habit of
// returning a token and an error together where one is soon at its end does not come up.
func (l library) acquire(ctx context.Context, before json.RawMessage, f func(context.Context) (public.AuthResult, error)) (answer, error) {
	*l.cache = blob{before}
	ctx, heard := hear(ctx)
	r, err := f(ctx)
	if err != nil {
		return answer{}, heard.error(err)
	}
	after, err := withoutAccessTokens(l.cache.b)
	if err != nil {
		return answer{}, err
	}
	return answer{
		token: r.AccessToken, expires: r.ExpiresOn, scopes: heard.scope, cache: after, home: r.Account.HomeAccountID,
		user: User{
			ID: cmp.Or(r.IDToken.Oid, r.IDToken.Subject), Address: cmp.Or(r.IDToken.PreferredUsername, r.IDToken.UPN, r.IDToken.Email),
			Name: r.IDToken.Name, Tenant: r.IDToken.TenantID, Personal: r.IDToken.TenantID == personalTenant,
		},
	}, nil
}

// A blob is MSAL's cache between two calls.
type blob struct{ b []byte }

func (b *blob) Replace(_ context.Context, c cache.Unmarshaler, _ cache.ReplaceHints) error {
	if len(b.b) == 0 {
		return c.Unmarshal([]byte("{}"))
	}
	return c.Unmarshal(b.b)
}

func (b *blob) Export(_ context.Context, c cache.Marshaler, _ cache.ExportHints) (err error) {
	b.b, err = c.Marshal()
	return err
}

// errNoRefreshToken is of an answer that is good for an hour and no more.
var errNoRefreshToken = errors.New("no refresh token came from Microsoft: the permission to maintain access to data (offline_access) was not granted")

func withoutAccessTokens(b []byte) (json.RawMessage, error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(b, &parts); err != nil {
		return nil, errors.New("the cache of the sign-in library is no JSON")
	}
	parts["AccessToken"] = json.RawMessage("{}")
	var refresh map[string]json.RawMessage
	if err := json.Unmarshal(parts["RefreshToken"], &refresh); err != nil || len(refresh) == 0 {
		return nil, errNoRefreshToken
	}
	return json.Marshal(parts)
}
