package bridge_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// linkRequest sends a request with the secret of a link.
func (h *harness) linkRequest(method, address, secret, body string) (int, string, http.Header) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, "http://"+address, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: waitTimeout}
	answer, err := client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer.StatusCode, string(b), answer.Header
}

// linkedHarness starts two accounts, work of which is Adele's, and returns the address of the listener.
func linkedHarness(t *testing.T, http string) (*harness, string) {
	t.Helper()
	h := newHarness(t)
	h.http = http
	h.one("user: "+simulator.Adele, outOfOffice)
	h.writeAccount("secretly.yaml", "user: megan@contoso.example\n"+annFile)
	h.Start()
	return h, h.web(1)
}

// makeLink makes a link as the command line does. The bridge accepts it at once.
func (h *harness) makeLink(account string, lifetime time.Duration) (secret string) {
	h.t.Helper()
	links := bridge.OpenSignInLinks(h.open(h.load()), slog.New(slog.DiscardHandler))
	secret, _, err := links.Make(account, lifetime)
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

type linkState struct {
	Name, Expected, State, User string
	Done                        bool
	SignIn                      *struct{ URL, Code string } `json:"sign_in"`
}

func (h *harness) linkState(address, secret string) (s linkState) {
	h.t.Helper()
	code, body, _ := h.linkRequest(http.MethodGet, address+"/sign-in/api/state", secret, "")
	if code != http.StatusOK || json.Unmarshal([]byte(body), &s) != nil {
		h.t.Fatalf("%d, %s", code, body)
	}
	if strings.Contains(strings.ToLower(body), "secretly") || strings.Contains(body, "megan") || strings.Contains(body, simulator.ContosoClient) && s.SignIn == nil {
		h.t.Errorf("the link shows more than its account: %s", body)
	}
	return s
}

// With the link a user signs in to its account, once. It shows and changes nothing else.
func TestSignInLink(t *testing.T) {
	h, address := linkedHarness(t, "{listen: '127.0.0.1:0', password: "+webPassword+"}")
	secret := h.makeLink("work", time.Hour)

	// The page needs no authentication, and contains nothing about accounts.
	for _, file := range []string{"", "sign-in.js", "attention.js", "style.css"} {
		code, body, header := h.linkRequest(http.MethodGet, address+"/sign-in/"+file, "", "")
		if code != http.StatusOK || header.Get("Referrer-Policy") != "no-referrer" || strings.Contains(body, "Adele") || strings.Contains(strings.ToLower(body), "secretly") {
			t.Errorf("%s: %d, %v", file, code, header)
		}
	}
	for _, file := range []string{"index.html", "app.js", "configuration.js", "../app.js", "nothing"} {
		if code, _, _ := h.linkRequest(http.MethodGet, address+"/sign-in/"+file, secret, ""); code != http.StatusNotFound && code != http.StatusUnauthorized {
			t.Errorf("%s is answered %d", file, code)
		}
	}
	// The secret is no password of anything else.
	for _, path := range []string{"/", "/api/state", "/api/form"} {
		if code, _, _ := h.linkRequest(http.MethodGet, address+path, secret, ""); code != http.StatusUnauthorized {
			t.Errorf("%s is answered %d", path, code)
		}
	}

	if s := h.linkState(address, secret); s.Done || s.Expected != simulator.Adele || s.State != "signed_out" || s.Name != "Work" || s.SignIn != nil {
		t.Errorf("got %+v", s)
	}
	post := func(body string) (int, string) {
		code, answer, _ := h.linkRequest(http.MethodPost, address+"/sign-in/api/actions", secret, body)
		return code, answer
	}
	for _, wrong := range []string{`{"way": "browser", "account": "secretly"}`, `{"operation": "sign_out"}`, `{"way": "telepathy"}`, `[]`, ""} {
		if code, answer := post(wrong); code != http.StatusBadRequest {
			t.Errorf("%s is answered %d, %s", wrong, code, answer)
		}
	}
	if code, answer := post(`{"way": "browser"}`); code != http.StatusOK || answer != `{"ok":true}` {
		t.Fatalf("%d, %s", code, answer)
	}
	s := h.linkState(address, secret)
	for deadline := time.Now().Add(waitTimeout); s.SignIn == nil && time.Now().Before(deadline); s = h.linkState(address, secret) { // it is shown soon
		time.Sleep(time.Millisecond)
	}
	if s.SignIn == nil || !strings.HasPrefix(s.SignIn.URL, h.Microsoft.LoginURL()) {
		t.Fatalf("got %+v", s)
	}
	redirect := h.redirect(s.SignIn.URL)
	if code, answer := post(`{"address": "` + redirect + `"}`); code != http.StatusOK {
		t.Fatalf("%d, %s", code, answer)
	}
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	if s := h.linkState(address, secret); !s.Done || s.User != simulator.Adele || s.SignIn != nil {
		t.Errorf("got %+v", s)
	}
	if code, answer := post(`{"way": "browser"}`); code != http.StatusUnauthorized {
		t.Errorf("a used link signs in again: %d, %s", code, answer)
	}
	if log := h.Log.String(); strings.Contains(log, secret) || strings.Contains(log, redirect) {
		t.Error("the log has a secret")
	}
	if b, err := os.ReadFile(filepath.Join(h.path("state"), "sign-in-links")); err != nil || strings.Contains(string(b), secret) {
		t.Errorf("the stored links: %v", err)
	}
	// Signing out does not revive it.
	c := h.load()
	session, err := runtime.OpenSession(c.Accounts["work"], h.open(c), slog.New(slog.DiscardHandler))
	if err == nil {
		_, err = session.SignOut(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Shows("graph2mqtt/work/state", "offline")
	if code, answer := post(`{"way": "browser"}`); code != http.StatusUnauthorized {
		t.Errorf("a used link signs in again after signing out: %d, %s", code, answer)
	}
}

// Who guesses has to wait, and learns nothing. The administrator's page makes links, and another one revokes the first.
func TestSignInLinkOfStrangers(t *testing.T) {
	h, address := linkedHarness(t, "{listen: '127.0.0.1:0', external_url: 'https://graph.example', password: "+webPassword+"}")
	if code, body := h.request(http.MethodPost, address+"/api/links", ""); code != http.StatusUnauthorized {
		t.Errorf("%d, %s", code, body)
	}
	make := func(account string) (int, map[string]string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/api/links", strings.NewReader(`{"account": "`+account+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.SetBasicAuth("anybody", webPassword)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		made := map[string]string{}
		_ = json.NewDecoder(answer.Body).Decode(&made) // an error is an object, which the test does not need
		return answer.StatusCode, made
	}
	if code, _ := make("nobody"); code != http.StatusNotFound {
		t.Errorf("a link of an account that does not exist: %d", code)
	}
	_, first := make("work")
	code, second := make("work")
	if code != http.StatusOK || !strings.HasPrefix(second["url"], "https://graph.example/sign-in/#") || first["url"] == second["url"] {
		t.Fatalf("%d, %v", code, second)
	}
	_, old, _ := strings.Cut(first["url"], "#")
	_, secret, _ := strings.Cut(second["url"], "#")
	h.linkState(address, secret)
	const invalid = `{"error":{"code":"link_invalid","message":"this link is not valid any more; ask for a new one"}}`
	refused := 0
	for i := range 15 {
		guess := old
		if i > 0 {
			guess = strings.Repeat("a", 26)
		}
		code, body, header := h.linkRequest(http.MethodGet, address+"/sign-in/api/state", guess, "")
		switch {
		case code == http.StatusTooManyRequests && header.Get("Retry-After") != "":
			refused++
		case code != http.StatusUnauthorized || body != invalid || header.Get("WWW-Authenticate") != "":
			t.Errorf("guess %d is answered %d, %s", i, code, body)
		}
	}
	if refused == 0 {
		t.Error("wrong links are not delayed")
	}
	if code, _, _ := h.linkRequest(http.MethodGet, address+"/sign-in/api/state", secret, ""); code != http.StatusOK {
		t.Errorf("meanwhile the right one, perhaps of another client behind the same proxy, is answered %d", code)
	}
}

// testPageSignInLink makes a link on the page and signs in with it.
func testPageSignInLink(t *testing.T, browser context.Context) {
	h := pageHarness(t, "user: "+simulator.Adele)
	h.Start()
	address := h.web(1)
	p := newTab(t, browser, 1280)
	p.open("http://" + address)
	p.sees("Other users are refused")
	p.click("Create a sign-in link")
	p.click("Create a link")
	p.sees("the link is shown only now")
	link := p.value(`document.getElementById("link/work-url").value`)
	if !strings.HasPrefix(link, "http://"+address+"/sign-in/#") {
		t.Fatalf("the link is %s", link)
	}
	guest := newTab(t, browser, 390)
	guest.open(link)
	guest.sees("Sign in to Work")
	guest.axe()
	guest.click("Sign in with a link")
	guest.sees("Paste that address here")
	guest.fill("sign-in-link-address", "http://localhost/?code=1&state=2")
	guest.click("Continue")
	guest.sees("Address: this address belongs to an outdated sign-in link")
	guest.fill("sign-in-link-address", h.redirect(guest.value(`document.getElementById("sign-in-link-link").value`)))
	guest.click("Continue")
	guest.sees("Work is signed in as adele@contoso.example. You can close this page.")
	if hash := guest.value("location.hash"); hash != "" {
		t.Errorf("the secret stays in the address: %s", hash)
	}
	again := newTab(t, browser, 390)
	again.open(strings.Split(link, "#")[0] + "#" + strings.Repeat("a", 26))
	again.sees("This link is not valid any more; ask for a new one.")
	again.do(chromedp.WaitNotPresent(chromedp.ID("sign-in-link")))
}
