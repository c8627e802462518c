package web

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Limits of wrong passwords: a peer may have a few at once, and then one per failureCost.
const (
	failureCost  = time.Second
	failureBurst = 10 * failureCost
	failureMax   = 60 * failureCost // the longest time without an attempt
	maxPeers     = 1024
)

// Failures counts wrong passwords by peer. While a peer has too many, passwords that a person chose are not compared at all, so that the
// response time reveals nothing.
type Failures struct {
	mu    sync.Mutex
	until map[netip.Prefix]time.Time // the failures count until then
}

// NewFailures returns Failures without any.
func NewFailures() *Failures {
	return &Failures{until: map[netip.Prefix]time.Time{}}
}

// wait returns how long no password of the peer is compared; 0 or less: it is.
func (f *Failures) wait(peer netip.Addr) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(time.Until(f.until[f.key(peer)]), 0) - failureBurst + failureCost
}

// Add counts a wrong password. It reports whether the peer had none before that still counts.
func (f *Failures) Add(peer netip.Addr) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, key := time.Now(), f.key(peer)
	until := f.until[key]
	if first = until.Before(now); first {
		until = now
	}
	f.until[key] = until.Add(failureCost)
	if limit := now.Add(failureMax); f.until[key].After(limit) {
		f.until[key] = limit
	}
	if len(f.until) > maxPeers {
		for key, until := range f.until {
			if until.Before(now) {
				delete(f.until, key)
			}
		}
	}
	return first
}

// key returns the peers that share a count: an IPv6 network, and everybody while there are too many of them.
func (f *Failures) key(peer netip.Addr) netip.Prefix {
	bits := 32
	if peer.Is6() {
		bits = 64
	}
	prefix, _ := peer.Prefix(bits)
	if _, known := f.until[prefix]; !known && len(f.until) >= maxPeers {
		return netip.Prefix{}
	}
	return prefix
}

// Refuse answers a request of a peer with too many wrong passwords, and reports whether it did.
func (f *Failures) Refuse(w http.ResponseWriter, peer netip.Addr) bool {
	wait := f.wait(peer)
	if wait <= 0 {
		return false
	}
	seconds := int(wait/time.Second) + 1
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	refuse(w, http.StatusTooManyRequests, fmt.Sprintf("too many wrong passwords; try again in %d s", seconds))
	return true
}
