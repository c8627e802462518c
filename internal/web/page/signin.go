package page

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// SignInPath is the path of the page on which a person signs in with a link. The secret part of the link is the fragment of the address,
// which browsers send to no server: it is in no log of a proxy and in no referrer.
const SignInPath = "/sign-in/"

// SignInAPIPath is the path of the requests of that page. They carry the secret in the header Authorization.
const SignInAPIPath = SignInPath + "api/"

// signInAssets are the files of that page. They contain nothing about the accounts.
var signInAssets = []string{"sign-in.html", "sign-in.js", "api.js", "attention.js", "dom.js", "format.js", "parts.js", "style.css", "icon.svg"}

// SignInFiles returns the handler of the files of the page at SignInPath. They need no authentication.
func (h *StatusPage) SignInFiles() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Referrer-Policy", "no-referrer")
		name := strings.TrimPrefix(r.URL.Path, SignInPath)
		if name == "" {
			name = "sign-in.html"
		}
		switch {
		case !slices.Contains(signInAssets, name):
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "use GET", http.StatusMethodNotAllowed)
		default:
			h.serveAsset(w, r, name)
		}
	})
}

// SignInAPI returns the handler of the requests of the page at SignInPath, which read and sign in to the account of a link.
func (h *StatusPage) SignInAPI() http.Handler {
	if h.options.Shards != nil {
		return http.HandlerFunc(h.relaySignIn)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+SignInAPIPath+"state", func(w http.ResponseWriter, r *http.Request) {
		id, expires, done, ok := h.linked(w, r)
		if ok {
			writeJSON(w, http.StatusOK, h.signInState(id, expires, done))
		}
	})
	mux.HandleFunc("POST "+SignInAPIPath+"actions", func(w http.ResponseWriter, r *http.Request) {
		id, _, done, ok := h.linked(w, r)
		switch {
		case !ok:
		case done:
			writeInvalidLink(w)
		default:
			h.post(func(r *http.Request, body []byte) (any, error) { return h.signInByLink(r, id, body) })(w, r)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, _, _, ok := h.linked(w, r); ok {
			writeError(w, http.StatusNotFound, failure{Code: "not_found", Message: "there is no such address"})
		}
	})
	return mux
}

// relaySignIn passes a request with a valid link on to the shard of its account.
func (h *StatusPage) relaySignIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	account, _, ok := h.options.Links.find(secretOf(r))
	if !ok {
		writeInvalidLink(w)
		return
	}
	h.options.Shards.relay(w, r, account)
}

// secretOf returns the secret of a link that a request has.
func secretOf(r *http.Request) string {
	secret, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return secret
}

// linked returns the account of the link of a request. done reports that a user has signed in to the account since the link was made: then
// the link only shows that. If the link is not valid, linked answers the request and returns false.
func (h *StatusPage) linked(w http.ResponseWriter, r *http.Request) (account string, expires time.Time, done, ok bool) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	account, found, ok := h.options.Links.find(secretOf(r))
	done = found.Used
	if ok && !done {
		var info AccountInfo
		info, ok = h.options.Account(account)
		if done = ok && info.SignedIn.After(found.Created); done {
			h.options.Links.use(account, found)
		}
	}
	if !ok {
		writeInvalidLink(w)
	}
	return account, found.Expires, done, ok
}

func writeInvalidLink(w http.ResponseWriter) {
	writeError(w, http.StatusUnauthorized, failure{Code: "link_invalid", Message: "this link is not valid any more; ask for a new one"})
}

// A signInState describes a sign-in for the page of a link.
type signInState struct {
	Time     time.Time `json:"time"`
	Name     string    `json:"name"`     // of the account
	Expected string    `json:"expected"` // who must sign in; "": anyone
	State    string    `json:"state"`
	Message  string    `json:"message"`
	SignIn   *signIn   `json:"sign_in"`
	Expires  time.Time `json:"expires"` // the link
	Done     bool      `json:"done"`    // the sign-in succeeded
	User     string    `json:"user"`    // who signed in; "" before
}

func (h *StatusPage) signInState(id string, expires time.Time, done bool) signInState {
	s := signInState{Time: time.Now().UTC(), Expires: expires, Done: done}
	d, ok := h.options.Hub.Get(hub.ID{Account: id})
	if !ok {
		return s
	}
	a := h.account(d)
	s.Name = a.Name
	if done {
		info, _ := h.options.Account(id) // the hub may not know yet
		s.User = info.Address
		return s
	}
	s.Expected, s.State, s.Message, s.SignIn = a.Expected, a.State, a.Message, a.SignIn
	return s
}

// signInByLink starts the sign-in of an account, or completes it.
func (h *StatusPage) signInByLink(r *http.Request, account string, body []byte) (any, error) {
	var request struct {
		Way     string `json:"way"`
		Address string `json:"address"`
	}
	if err := decode(body, &request); err != nil {
		return nil, err
	}
	if _, err := h.execute(r, action{Account: account, Operation: "sign_in", Way: request.Way, Address: request.Address}); err != nil {
		return nil, err
	}
	return map[string]bool{"ok": true}, nil
}

// makeLink makes a link with which a person signs in to an account.
func (h *StatusPage) makeLink(r *http.Request, body []byte) (any, error) {
	var request struct {
		Account string `json:"account" required:"true"`
	}
	if err := decode(body, &request); err != nil {
		return nil, err
	}
	if h.options.Links == nil {
		return nil, failure{Code: string(services.Conflict), Message: "there is no configuration yet"}
	}
	switch info, ok := h.options.Account(request.Account); {
	case !ok:
		return nil, unknownAccount(request.Account)
	case info.Application:
		return nil, failure{Code: string(services.Conflict), Message: request.Account + " is an organization: it signs in by itself and needs no link"}
	}
	secret, expires, err := h.options.Links.Make(request.Account, LinkLifetime)
	if err != nil {
		return nil, err
	}
	h.options.Log.Info("sign-in link made", "account", request.Account)
	return map[string]any{"url": h.options.Root(baseOf(r)) + SignInPath + "#" + secret, "expires": expires}, nil
}
