package caldav

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
	"net"
	"strings"
	"sync"
	"time"
)

// credentialsFile is the name of the file, and of its lock.
const credentialsFile = "calendar-passwords"

// lockTimeout bounds waiting for another process that changes a password.
const lockTimeout = 10 * time.Second

// Files are the encrypted files of the state directory.
type Files interface {
	Read(name string) ([]byte, error)
	Write(name string, plain []byte) error
	WithLock(ctx context.Context, name string, f func() error) error
	Watch(ctx context.Context, changed func(name string)) error
}

// Credentials holds a generated password for each account, as a hash. Another process may renew one: see [Credentials.Run].
type Credentials struct {
	files Files
	log   *slog.Logger

	mu       sync.Mutex // guards what follows
	accounts map[string]credential
	lastUsed map[string]time.Time
	failed   bool // the file could not be read, and that was logged
}

// A credential is stored.
type credential struct {
	Salt    []byte    `json:"salt"`
	Hash    []byte    `json:"hash"`
	Created time.Time `json:"created"`
}

// OpenCredentials returns the credentials in files.
func OpenCredentials(files Files, log *slog.Logger) *Credentials {
	c := &Credentials{files: files, log: log, lastUsed: map[string]time.Time{}}
	c.reload()
	return c
}

// Run takes up passwords that another process renewed, until ctx is done.
func (c *Credentials) Run(ctx context.Context) error {
	return c.files.Watch(ctx, func(name string) {
		if name == "" || name == credentialsFile {
			c.reload()
		}
	})
}

// reload reads the file. One that cannot be read changes nothing.
func (c *Credentials) reload() {
	accounts, err := c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.accounts, c.failed = accounts, false
		return
	}
	if !c.failed {
		c.failed = true
		c.log.Error("calendar passwords unreadable", "error", err)
	}
}

func (c *Credentials) read() (map[string]credential, error) {
	accounts := map[string]credential{}
	b, err := c.files.Read(credentialsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return accounts, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &accounts)
	}
	return accounts, err
}

// Renew replaces the password of an account. The old one is not valid any more; the new one cannot be shown again.
func (c *Credentials) Renew(account string) (password string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	err = c.files.WithLock(ctx, credentialsFile, func() error {
		accounts, err := c.read()
		if err != nil {
			return fmt.Errorf("renew the calendar password of %s: %w", account, err)
		}
		password = newPassword()
		salt := make([]byte, 16)
		_, _ = rand.Read(salt) // never fails
		accounts[account] = credential{Salt: salt, Hash: hashOf(salt, password), Created: time.Now().UTC().Truncate(time.Second)}
		b, err := json.Marshal(accounts)
		if err != nil {
			return err
		}
		if err := c.files.Write(credentialsFile, b); err != nil {
			return fmt.Errorf("renew the calendar password of %s: %w", account, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.accounts = maps.Clone(accounts)
		return nil
	})
	if err != nil {
		return "", err
	}
	return password, nil
}

// Created returns when the password of an account was generated, and whether there is one.
func (c *Credentials) Created(account string) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.accounts[account]
	return found.Created, ok
}

// LastUsed returns when a client last signed in with the password of an account; zero: not in this run.
func (c *Credentials) LastUsed(account string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastUsed[account]
}

// check reports whether it is the password of the account. It takes as long for an account without one.
func (c *Credentials) check(account, password string) bool {
	c.mu.Lock()
	found, ok := c.accounts[account]
	c.mu.Unlock()
	if !ok {
		found = credential{Salt: make([]byte, 16), Hash: make([]byte, sha256.Size)}
	}
	equal := subtle.ConstantTimeCompare(found.Hash, hashOf(found.Salt, password)) == 1
	if !equal || !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastUsed[account] = time.Now()
	return true
}

// hashOf returns the hash of a password. It need not be slow: the password has 130 bits.
func hashOf(salt []byte, password string) []byte {
	sum := sha256.Sum256(append(append([]byte(nil), salt...), password...))
	return sum[:]
}

// newPassword returns a password of 130 bits in lower case, which is easy to type.
func newPassword() string { return strings.ToLower(rand.Text()) }

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
