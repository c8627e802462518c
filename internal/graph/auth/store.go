package auth

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// storedSession is the stored sign-in. It is never modified, only replaced.
type storedSession struct {
	ClientID  string    `json:"client_id"` // registration it belongs to
	Login     string    `json:"login"`
	Home      string    `json:"home_account_id"` // MSAL's id of the user, the same in every tenant
	User      User      `json:"user"`
	Granted   []string  `json:"granted"` // short names, sorted
	Requested []string  `json:"requested"`
	Device    bool      `json:"device"` // signed in with the device code flow
	Access    string    `json:"access_token"`
	Expires   time.Time `json:"expires"`
	SignedIn  time.Time `json:"signed_in"`
	Renewed   time.Time `json:"renewed"`
	Refused   *refusal  `json:"refused,omitempty"`

	// Cache is MSAL's cache without access tokens: if several match the scopes, MSAL picks an arbitrary one.
	Cache json.RawMessage `json:"cache"`
}

// refusal is a refused renewal. It is kept until the next sign-in.
type refusal struct {
	Why    string    `json:"why"`
	At     time.Time `json:"at"`
	Claims string    `json:"claims,omitempty"` // that the next sign-in must satisfy

	// Registration is the fingerprint of the refused registration, "" if the user was refused.
	Registration string `json:"registration,omitempty"`
}

// is reports whether both are the same refusal, which may have been read from the file again.
func (r *refusal) is(other *refusal) bool {
	return other != nil && r.At.Equal(other.At) && r.Why == other.Why
}

// isFresh reports whether the token is valid for some more minutes.
func (k *storedSession) isFresh(now time.Time) bool {
	// A token from the future indicates that the clock was set back. A short-lived token is used for most of its lifetime.
	margin := min(renewBefore, k.Expires.Sub(k.Renewed)/4)
	return k.Access != "" && now.Add(margin).Before(k.Expires) && !now.Add(renewBefore).Before(k.Renewed)
}

// apply copies the answer to a renewal or a sign-in.
func (k *storedSession) apply(a tokenResponse, granted []string) {
	k.Access, k.Expires, k.Renewed, k.Granted, k.Cache, k.Refused = a.token, a.expires, time.Now(), granted, a.cache, nil
	if a.user.ID != "" {
		mail := ""
		if a.user.ID == k.User.ID {
			mail = k.User.Mail
		}
		k.User, k.Home = a.user, a.home
		k.User.Mail = mail
	}
}

func read(d *state.Dir, file string) (*storedSession, error) {
	plain, err := d.Read(file)
	if err != nil {
		return nil, err
	}
	k := new(storedSession)
	if err := json.Unmarshal(plain, k); err != nil {
		// It was decrypted, so that it was written by the program itself.
		return nil, fmt.Errorf("%s was written by another version of graph2mqtt", file)
	}
	return k, nil
}

func (k *storedSession) write(d *state.Dir, file string) error {
	plain, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return d.Write(file, plain)
}
