package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

const (
	// linksFile is the name of the file with the links, and of its lock.
	linksFile = "sign-in-links"
	// LinkLifetime is the lifetime of a link that is made on the page.
	LinkLifetime = 7 * 24 * time.Hour
)

// Links holds the links with which people sign in to an account without seeing anything else: at most one for each account, as a hash. It
// is safe for concurrent use by several goroutines and processes.
type Links struct {
	records *web.Records[link]
	log     *slog.Logger
}

// doneFor is the time in which a used link still tells that the sign-in succeeded.
const doneFor = 10 * time.Minute

// A link is stored.
type link struct {
	Hash    []byte    `json:"hash"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Used reports that a user has signed in with it a moment ago. It only shows that any more.
	Used bool `json:"used,omitempty"`
}

// OpenLinks returns the links in files.
func OpenLinks(files web.Files, log *slog.Logger) *Links {
	return &Links{log: log, records: web.OpenRecords[link](files, linksFile, func(err error) {
		log.Error("sign-in links unreadable", "error", err)
	})}
}

// Run takes up links that another process made, and revokes those whose account was signed in to, until ctx is done. signedIn returns when
// that was last.
func (l *Links) Run(ctx context.Context, signedIn func(account string) time.Time) error {
	return l.records.Watch(ctx, func() {
		for account, k := range l.readable() {
			if !k.Used && signedIn(account).After(k.Created) {
				l.use(account, k)
			}
		}
	})
}

// use marks a link with which a user has signed in: for doneFor it only shows that.
func (l *Links) use(account string, k link) {
	used := false
	err := l.change(func(links map[string]link) bool {
		stored, ok := links[account]
		if used = ok && !stored.Used && bytes.Equal(stored.Hash, k.Hash); used {
			stored.Used, stored.Expires = true, time.Now().UTC().Add(doneFor)
			links[account] = stored
		}
		return used
	})
	switch {
	case err != nil:
		l.log.Error("used sign-in link not revoked", "account", account, "error", err)
	case used:
		l.log.Info("signed in, sign-in link revoked", "account", account)
	}
}

// readable returns the links. While the file cannot be read, there are none.
func (l *Links) readable() map[string]link {
	links, ok := l.records.Values()
	if !ok {
		return nil
	}
	return links
}

// change changes the stored links. Those that have expired are removed.
func (l *Links) change(f func(links map[string]link) (changed bool)) error {
	return l.records.Change(func(links map[string]link) bool {
		before := len(links)
		maps.DeleteFunc(links, func(_ string, k link) bool { return !time.Now().Before(k.Expires) })
		expired := len(links) < before
		return f(links) || expired
	})
}

// Make returns the secret part of a new link of an account. The earlier link does not work any more; the new one cannot be shown again.
func (l *Links) Make(account string, lifetime time.Duration) (secret string, expires time.Time, err error) {
	secret = web.NewSecret()
	now := time.Now().UTC()
	expires = now.Add(lifetime).Truncate(time.Second)
	err = l.change(func(links map[string]link) bool {
		links[account] = link{Hash: hashOf(secret), Created: now, Expires: expires}
		return true
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a sign-in link of %s: %w", account, err)
	}
	return secret, expires, nil
}

// Revoke makes the link of an account useless, if there is one.
func (l *Links) Revoke(account string) error {
	if err := l.change(func(links map[string]link) bool {
		_, ok := links[account]
		delete(links, account)
		return ok
	}); err != nil {
		return fmt.Errorf("revoke the sign-in link of %s: %w", account, err)
	}
	return nil
}

// find returns the account of a link that has not expired, perhaps one that is used. Its hash is compared with that of every link, in
// constant time.
func (l *Links) find(secret string) (account string, found link, ok bool) {
	if account, found, ok = l.lookUp(secret); !ok && l.records.ReadAgain() {
		account, found, ok = l.lookUp(secret)
	}
	return account, found, ok
}

func (l *Links) lookUp(secret string) (account string, found link, ok bool) {
	hash := hashOf(secret)
	for id, k := range l.readable() {
		if subtle.ConstantTimeCompare(k.Hash, hash) == 1 {
			account, found, ok = id, k, time.Now().Before(k.Expires)
		}
	}
	return account, found, ok
}

// hashOf returns the hash of a secret. It need not be slow: the secret has 130 bits.
func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
