package caldav

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/web"
)

// credentialsFile is the name of the file, and of its lock.
const credentialsFile = "calendar-passwords"

// Credentials holds a generated password for each account, as a hash. Another process may renew one: see [Credentials.Run].
type Credentials struct {
	records *web.Records[credential]

	mu       sync.Mutex // guards what follows
	lastUsed map[string]time.Time
}

// A credential is stored.
type credential struct {
	Salt    []byte    `json:"salt"`
	Hash    []byte    `json:"hash"`
	Created time.Time `json:"created"`
}

// OpenCredentials returns the credentials in files.
func OpenCredentials(files web.Files, log *slog.Logger) *Credentials {
	return &Credentials{lastUsed: map[string]time.Time{}, records: web.OpenRecords[credential](files, credentialsFile, func(err error) {
		log.Error("calendar passwords unreadable", "error", err)
	})}
}

// Run takes up passwords that another process renewed, until ctx is done.
func (c *Credentials) Run(ctx context.Context) error { return c.records.Watch(ctx, nil) }

// Renew replaces the password of an account. The old one is not valid any more; the new one cannot be shown again.
func (c *Credentials) Renew(account string) (password string, err error) {
	password = web.NewSecret()
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	err = c.records.Change(func(accounts map[string]credential) bool {
		accounts[account] = credential{Salt: salt, Hash: hashOf(salt, password), Created: time.Now().UTC().Truncate(time.Second)}
		return true
	})
	if err != nil {
		return "", fmt.Errorf("renew the calendar password of %s: %w", account, err)
	}
	return password, nil
}

// Created returns when the password of an account was generated, and whether there is one.
func (c *Credentials) Created(account string) (time.Time, bool) {
	accounts, _ := c.records.Values()
	found, ok := accounts[account]
	return found.Created, ok
}

// LastUsed returns when a client last signed in with the password of an account; zero: not in this run.
func (c *Credentials) LastUsed(account string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastUsed[account]
}

// check reports whether it is the password of the account.
func (c *Credentials) check(account, password string) bool {
	if !c.compare(account, password) && !(c.records.ReadAgain() && c.compare(account, password)) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastUsed[account] = time.Now()
	return true
}

// compare reports whether it is the password of the account, as far as is known. It takes as long for an account without one.
func (c *Credentials) compare(account, password string) bool {
	accounts, _ := c.records.Values()
	found, ok := accounts[account]
	if !ok {
		found = credential{Salt: make([]byte, 16), Hash: make([]byte, sha256.Size)}
	}
	equal := subtle.ConstantTimeCompare(found.Hash, hashOf(found.Salt, password)) == 1
	return equal && ok
}

// hashOf returns the hash of a password. It need not be slow: the password has 130 bits.
func hashOf(salt []byte, password string) []byte {
	sum := sha256.Sum256(append(append([]byte(nil), salt...), password...))
	return sum[:]
}

// peerOf returns the address of a client without its port. Addresses of one IPv6 network are one.
func peerOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}
