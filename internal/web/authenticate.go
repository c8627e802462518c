package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// challenge asks a browser for the password.
const challenge = `Basic realm="graph2mqtt", charset="UTF-8"`

func hash(password string) [32]byte { return sha256.Sum256([]byte(password)) }

// authenticated returns a handler that serves the requests that the policy lets in.
func (s *Server) authenticated(pattern string, policy Policy, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := r.Context().Value(exchangeKey{}).(*exchange)
		x.route = pattern
		if policy == Open {
			h.ServeHTTP(w, r)
			return
		}
		given := r.Header.Get("Authorization") != ""
		if wait := s.failures.wait(x.peer); given && wait > 0 {
			seconds := int(wait/time.Second) + 1
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
			refuse(w, http.StatusTooManyRequests, fmt.Sprintf("too many wrong passwords; try again in %d s", seconds))
			return
		}
		if policy != Own && !s.permit(w, r, x, policy, given) {
			return
		}
		defer s.conns.serve(r.Context())()
		h.ServeHTTP(w, r)
		if a, ok := w.(*answer); ok && policy == Own && given && a.code == http.StatusUnauthorized {
			s.fail(x.peer)
		}
	})
}

// permit reports whether a request for a route with the policy Page or Secret is let in, and answers it if not.
func (s *Server) permit(w http.ResponseWriter, r *http.Request, x *exchange, policy Policy, given bool) bool {
	if policy == Page && x.ingress {
		return true
	}
	if s.options.Password == "" {
		switch {
		case policy == Page && s.options.Ingress:
			refuse(w, http.StatusForbidden, "open this page in Home Assistant, or set http.password")
		case s.options.Ingress:
			refuse(w, http.StatusForbidden, "set http.password")
		case forwarded(r):
			refuse(w, http.StatusForbidden, "a proxy sent this request: set http.password")
		default:
			return true // the listener has a loopback address
		}
		return false
	}
	_, password, ok := r.BasicAuth()
	if sum := hash(password); ok && subtle.ConstantTimeCompare(sum[:], s.password[:]) == 1 {
		return true
	}
	message := "the password of graph2mqtt is required (http.password)"
	if given {
		s.fail(x.peer)
		message = "the password is wrong: want that of http.password, with any user name"
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, message)
	return false
}

// fail counts a wrong password. It logs the first of several.
func (s *Server) fail(peer netip.Addr) {
	if s.failures.add(peer) {
		s.options.Log.Warn("wrong password for the HTTP listener", "peer", peer.String())
	}
}

// forwarded reports whether a proxy says that it passes the request on for somebody else.
func forwarded(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// Limits of wrong passwords: a peer may have a few at once, and then one per failureCost.
const (
	failureCost  = time.Second
	failureBurst = 10 * failureCost
	failureMax   = 60 * failureCost // the longest time without an attempt
	maxPeers     = 1024
)

// failures counts wrong passwords by peer. While a peer has too many, no password of its own is compared, right or wrong: whoever
// guesses must not learn the answer by its time.
type failures struct {
	mu    sync.Mutex
	until map[netip.Prefix]time.Time // the failures count until then
}

func newFailures() *failures {
	return &failures{until: map[netip.Prefix]time.Time{}}
}

// wait returns how long no password of the peer is compared; 0 or less: it is.
func (f *failures) wait(peer netip.Addr) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(time.Until(f.until[f.key(peer)]), 0) - failureBurst + failureCost
}

// add counts a wrong password. It reports whether the peer had none before that still counts.
func (f *failures) add(peer netip.Addr) (first bool) {
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
func (f *failures) key(peer netip.Addr) netip.Prefix {
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
