package page

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
)

const (
	// linksFile is the name of the file with the links, and of its lock.
	linksFile = "sign-in-links"
	// LinkLifetime is the lifetime of a link that is made on the page.
	LinkLifetime = 7 * 24 * time.Hour
	// linkLockTimeout bounds waiting for another process that makes a link.
	linkLockTimeout = 10 * time.Second
)

// Files are the encrypted files of the state directory.
type Files interface {
	Read(name string) ([]byte, error)
	Write(name string, plain []byte) error
	WithLock(ctx context.Context, name string, f func() error) error
	Watch(ctx context.Context, changed func()) error
}

// Links holds the links with which people sign in to an account without seeing anything else: at most one for each account, as a hash. It
// is safe for concurrent use by several goroutines and processes.
type Links struct {
	files Files
	log   *slog.Logger

	mu     sync.Mutex // guards what follows
	links  map[string]link
	used   map[string]usedLink // by hash: those with which somebody signed in a moment ago
	failed bool                // the file could not be read, and that was logged
}

// doneFor is the time in which a used link still tells that the sign-in succeeded.
const doneFor = 10 * time.Minute

// A usedLink is a link with which somebody has signed in. It is good for nothing but telling so.
type usedLink struct {
	account string
	until   time.Time
}

// A link is stored.
type link struct {
	Hash    []byte    `json:"hash"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

// OpenLinks returns the links in files.
func OpenLinks(files Files, log *slog.Logger) *Links {
	l := &Links{files: files, log: log, used: map[string]usedLink{}}
	l.reload()
	return l
}

// Run takes up links that another process made, and revokes those whose account was signed in to, until ctx is done. signedIn returns when
// that was last.
func (l *Links) Run(ctx context.Context, signedIn func(account string) time.Time) error {
	return l.files.Watch(ctx, func() {
		l.reload()
		l.mu.Lock()
		links := maps.Clone(l.links)
		l.mu.Unlock()
		for account, k := range links {
			if signedIn(account).After(k.Created) {
				l.use(account, k)
			}
		}
	})
}

// use revokes a link that has served its purpose, and remembers it for a while.
func (l *Links) use(account string, k link) {
	l.mu.Lock()
	_, known := l.used[string(k.Hash)]
	if !known {
		l.used[string(k.Hash)] = usedLink{account, time.Now().Add(doneFor)}
	}
	l.mu.Unlock()
	if !known {
		l.log.Info("signed in, sign-in link revoked", "account", account)
	}
	if err := l.Revoke(account); err != nil {
		l.log.Error("used sign-in link not revoked", "account", account, "error", err)
	}
}

// usedBy returns the account of a link that was used a moment ago.
func (l *Links) usedBy(secret string) (account string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.used, func(_ string, u usedLink) bool { return !time.Now().Before(u.until) })
	u, ok := l.used[string(hashOf(secret))]
	return u.account, ok
}

// reload reads the file. While it cannot be read, no link works.
func (l *Links) reload() {
	links, err := l.read()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.links = links; err != nil {
		l.links = nil
	}
	if err != nil && !l.failed {
		l.log.Error("sign-in links unreadable", "error", err)
	}
	l.failed = err != nil
}

func (l *Links) read() (map[string]link, error) {
	links := map[string]link{}
	b, err := l.files.Read(linksFile)
	if errors.Is(err, fs.ErrNotExist) {
		return links, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &links)
	}
	return links, err
}

// change changes the stored links. Those that have expired are removed.
func (l *Links) change(f func(links map[string]link)) error {
	ctx, cancel := context.WithTimeout(context.Background(), linkLockTimeout)
	defer cancel()
	return l.files.WithLock(ctx, linksFile, func() error {
		links, err := l.read()
		if err != nil {
			return err
		}
		before := maps.Clone(links)
		maps.DeleteFunc(links, func(_ string, k link) bool { return !time.Now().Before(k.Expires) })
		f(links)
		if !maps.EqualFunc(before, links, func(a, b link) bool { return string(a.Hash) == string(b.Hash) }) {
			b, err := json.Marshal(links)
			if err != nil {
				return err
			}
			if err := l.files.Write(linksFile, b); err != nil {
				return err
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.links = links
		return nil
	})
}

// Make returns the secret part of a new link of an account. The earlier link does not work any more; the new one cannot be shown again.
func (l *Links) Make(account string, lifetime time.Duration) (secret string, expires time.Time, err error) {
	secret = strings.ToLower(rand.Text()) // 130 bits
	now := time.Now().UTC()
	expires = now.Add(lifetime).Truncate(time.Second)
	err = l.change(func(links map[string]link) {
		links[account] = link{Hash: hashOf(secret), Created: now, Expires: expires}
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a sign-in link of %s: %w", account, err)
	}
	return secret, expires, nil
}

// Revoke makes the link of an account useless, if there is one.
func (l *Links) Revoke(account string) error {
	if err := l.change(func(links map[string]link) { delete(links, account) }); err != nil {
		return fmt.Errorf("revoke the sign-in link of %s: %w", account, err)
	}
	return nil
}

// find returns the account of a link that has not expired. Its hash is compared with that of every link, in constant time.
func (l *Links) find(secret string) (account string, found link, ok bool) {
	if account, found, ok = l.lookUp(secret); !ok {
		l.reload() // another process may have made it just now
		account, found, ok = l.lookUp(secret)
	}
	return account, found, ok
}

func (l *Links) lookUp(secret string) (account string, found link, ok bool) {
	hash := hashOf(secret)
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, k := range l.links {
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
