package auth

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// kept is what is stored of a sign-in. It is never changed, only replaced.
type kept struct {
	ClientID  string    `json:"client_id"` // whose it is
	Login     string    `json:"login"`
	Home      string    `json:"home_account_id"` // MSAL's name for the user, the same in every tenant
	User      User      `json:"user"`
	Granted   []string  `json:"granted"` // short, sorted
	Requested []string  `json:"requested"`
	Device    bool      `json:"device"` // signed in by device code
	Access    string    `json:"access_token"`
	Expires   time.Time `json:"expires"`
	SignedIn  time.Time `json:"signed_in"`
	Renewed   time.Time `json:"renewed"`
	Refused   *refused  `json:"refused,omitempty"`

	// Cache is MSAL's, without access tokens: MSAL would choose among them by scopes, and by chance where several will do.
	Cache json.RawMessage `json:"cache"`
}

// refused is Microsoft's last word, until the user signs in anew.
type refused struct {
	Why string    `json:"why"`
	At  time.Time `json:"at"`
}

// fresh reports whether the token is worth using.
func (k *kept) fresh(now time.Time) bool {
	// A clock that went back makes old tokens look young. A token that lives shorter than usual is used for most of its life.
	margin := min(ahead, k.Expires.Sub(k.Renewed)/4)
	return k.Access != "" && now.Add(margin).Before(k.Expires) && !now.Add(ahead).Before(k.Renewed)
}

// take puts the answer to a renewal or a sign-in in place.
func (k *kept) take(a answer, granted []string) {
	k.Access, k.Expires, k.Renewed, k.Granted, k.Cache, k.Refused = a.token, a.expires, time.Now(), granted, a.cache, nil
	if a.user.ID != "" {
		k.User, k.Home = a.user, a.home
	}
}

func read(d *state.Dir, file string) (*kept, error) {
	plain, err := d.Read(file)
	if err != nil {
		return nil, err
	}
	k := new(kept)
	if err := json.Unmarshal(plain, k); err != nil {
		// Only who has the key could have written it: another version of the program.
		return nil, fmt.Errorf("%s was written by another version of graph2mqtt", file)
	}
	return k, nil
}

func (k *kept) write(d *state.Dir, file string) error {
	plain, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return d.Write(file, plain)
}
