package state

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"sync"
	"time"
)

// rolloutTime is the time after which different configurations of two machines are reported: they do not get a new one at once.
const rolloutTime = 2 * time.Minute

// configDigestSize is the number of bytes of a digest that are compared.
const configDigestSize = 12

// Announce announces to the other machines of the cluster which configuration this one has: content is what should be the same on all. They
// get a hash of it that needs the key, with the next record that is written anyway, and log if their own differs for some minutes.
func (d *Dir) Announce(content []byte) {
	if d.shared == nil {
		return
	}
	mac := hmac.New(sha256.New, d.digestKey[:])
	mac.Write(content)
	d.shared.bucket.configurations.setOwn(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:configDigestSize]))
}

// A comparison compares the configuration of this machine with those of others. Its methods accept nil, which compares nothing.
type comparison struct {
	log *slog.Logger

	mu          sync.Mutex
	own         string                 // digest; "": not announced
	differences map[string]*difference // by worker
}

// A difference is a machine with another configuration.
type difference struct {
	own, other string
	since      time.Time
	reported   bool // this one
	warned     bool // of this or an earlier one; they have not agreed since
}

func newComparison(log *slog.Logger) *comparison {
	return &comparison{log: log, differences: map[string]*difference{}}
}

// announced returns the digest of the configuration of this machine; "": it is not known.
func (c *comparison) announced() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own
}

func (c *comparison) setOwn(digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = digest
}

// see compares what a machine that works has announced, and logs a difference once when it has lasted. Earlier versions announce nothing.
func (c *comparison) see(worker, digest string, now time.Time) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.differences[worker]
	switch {
	case c.own == "" || digest == "":
		delete(c.differences, worker)
	case c.own == digest:
		if d != nil && d.warned {
			c.log.Info("another machine has the same configuration again", "machine", worker)
		}
		delete(c.differences, worker)
	case d == nil:
		c.differences[worker] = &difference{own: c.own, other: digest, since: now}
	case d.own != c.own || d.other != digest:
		*d = difference{own: c.own, other: digest, since: now, warned: d.warned}
	case !d.reported && now.Sub(d.since) >= rolloutTime:
		d.reported, d.warned = true, true
		c.log.Warn("another machine has a different configuration", "machine", worker)
	}
}

// forget forgets a machine that is gone.
func (c *comparison) forget(worker string) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.differences, worker)
}
