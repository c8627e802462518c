package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"net/http"
	"net/netip"
)

// challenge asks a browser for the password.
const challenge = `Basic realm="graph2mqtt", charset="UTF-8"`

func hash(password string) [32]byte { return sha256.Sum256([]byte(password)) }

// authenticated returns a handler that serves the requests that the policy lets in.
func (s *Server) authenticated(pattern string, policy Policy, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := r.Context().Value(requestInfoKey{}).(*requestInfo)
		x.route = pattern
		if policy == Open {
			h.ServeHTTP(w, r)
			return
		}
		given := r.Header.Get("Authorization") != ""
		if policy == Delegated {
			defer s.conns.serve(r.Context())()
			s.delegate(w, r, x, h, given)
			return
		}
		if given && s.failures.Refuse(w, x.peer) || !s.permit(w, r, x, policy, given) {
			return
		}
		defer s.conns.serve(r.Context())()
		h.ServeHTTP(w, r)
	})
}

// delegate has a handler authenticate a request itself. Its passwords are generated, so that none is found by trying: the right one is
// accepted whatever others at the same address try, such as those behind the same proxy.
func (s *Server) delegate(w http.ResponseWriter, r *http.Request, x *requestInfo, h http.Handler, given bool) {
	if !given {
		h.ServeHTTP(w, r)
		return
	}
	a := &delegatedWriter{ResponseWriter: w, refuse: func() bool { return s.failures.Refuse(w, x.peer) }}
	h.ServeHTTP(a, r)
	if a.unauthorized && !a.refused {
		s.fail(x.peer)
	}
}

// A delegatedWriter replaces the answer to a wrong password while there are too many of them.
type delegatedWriter struct {
	http.ResponseWriter
	refuse                func() bool // answers if there are too many
	unauthorized, refused bool
}

// WriteHeader implements http.ResponseWriter.
func (a *delegatedWriter) WriteHeader(code int) {
	if a.unauthorized = code == http.StatusUnauthorized; a.unauthorized {
		head := a.Header().Clone()
		for _, name := range []string{"Content-Length", "WWW-Authenticate"} { // of the answer that may be replaced
			a.Header().Del(name)
		}
		if a.refused = a.refuse(); !a.refused {
			maps.Copy(a.Header(), head)
		}
	}
	if !a.refused {
		a.ResponseWriter.WriteHeader(code)
	}
}

// Write implements http.ResponseWriter.
func (a *delegatedWriter) Write(b []byte) (int, error) {
	if a.refused {
		return len(b), nil
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap returns the writer of the server, for http.ResponseController.
func (a *delegatedWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// permit reports whether a request for a route with the policy Page or Secret is let in, and answers it if not.
func (s *Server) permit(w http.ResponseWriter, r *http.Request, x *requestInfo, policy Policy, given bool) bool {
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
	if s.failures.Add(peer) {
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
