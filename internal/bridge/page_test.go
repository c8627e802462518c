package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// pageHarness configures an account with a listener for the status page, without a password.
func pageHarness(t *testing.T, more string, sensors ...string) *harness {
	t.Helper()
	h := newHarness(t)
	h.http = "{listen: '127.0.0.1:0'}"
	if len(sensors) == 0 {
		sensors = []string{outOfOffice}
	}
	h.one(more, sensors...)
	return h
}

// TestPage shows the status page in a browser, which all its tests share.
func TestPage(t *testing.T) {
	t.Parallel()
	browser := openBrowser(t)
	for name, test := range map[string]func(*testing.T, context.Context){
		"sign in by link": testPageLink, "sign in by a pasted address": testPagePaste, "sign in by code": testPageCode, "sign out": testPageSignOut,
		"read now": testPageRead, "password": testPagePassword, "ingress": testPageIngress, "add a sensor": testPageForm,
		"first configuration": testPageSetUp, "by hand": testPageByHand, "themes": testPageThemes, "connection lost": testPageReconnects,
		"calendars": testPageCalendars, "keyboard": testPageKeyboard, "motion": testPageMotion, "sign-in link": testPageSignInLink,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser) })
	}
}

func testPageLink(t *testing.T, browser context.Context) {
	h := pageHarness(t, "")
	h.Start()
	p := newTab(t, browser, 1280)
	p.open("http://" + h.web(1))
	p.sees("Sign in to Work")
	if title := p.value("document.title"); title != "1 account needs attention · graph2mqtt" {
		t.Errorf("the title is %q", title)
	}
	p.click("Sign in with a link")
	p.sees("Open Microsoft’s page and sign in")
	p.click("Sign in at Microsoft") // in a tab of its own, which ends at the program
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	p.front()
	p.sees("Adele Vance · adele@contoso.example")
	p.sees("Signed in")
	p.do(chromedp.WaitNotPresent(chromedp.ID("sign-in-work")))
	if text := p.value(`document.getElementById("announcements").textContent`); text != "Work: signed in as adele@contoso.example" {
		t.Errorf("announced: %q", text)
	}
}

// Everything can be reached and used with the keyboard, and what has the focus shows it.
func testPageKeyboard(t *testing.T, browser context.Context) {
	h := pageHarness(t, "")
	h.Start()
	p := newTab(t, browser, 1280)
	p.open("http://" + h.web(1))
	p.sees("Sign in to Work")
	p.do(chromedp.KeyEvent("\t"))
	if got := p.value(`document.activeElement.innerText`); got != "Skip to the content" {
		t.Errorf("the first stop is %q", got)
	}
	p.do(chromedp.KeyEvent("\r"))
	// reach presses Tab until an element with this text has the focus.
	reach := func(text string) {
		t.Helper()
		for range 40 {
			p.do(chromedp.KeyEvent("\t"))
			if p.value(`document.activeElement.innerText ?? ""`) == text {
				if got := p.value(`getComputedStyle(document.activeElement).outlineStyle`); got != "solid" {
					t.Errorf("the focus on %q is not visible: %s", text, got)
				}
				return
			}
		}
		t.Fatalf("Tab does not lead to %q", text)
	}
	reach("Sign in with a link") // the first after the header, which was skipped
	p.do(chromedp.KeyEvent("\r"))
	p.sees("Open Microsoft’s page and sign in")
	reach("Continue")
	reach("Add an account")
	p.do(chromedp.KeyEvent(" "))
	p.do(chromedp.WaitVisible(chromedp.ID("account-id")))
}

// Who wants less motion gets none.
func testPageMotion(t *testing.T, browser context.Context) {
	h := pageHarness(t, "")
	h.Start()
	p := newTab(t, browser, 390)
	p.open("http://" + h.web(1))
	p.sees("Sign in to Work")
	for value, want := range map[string]string{"no-preference": "turn smooth", "reduce": "none auto"} {
		p.prefers("prefers-reduced-motion", value)
		if got := p.value(`(() => { const s = document.createElement("span"); s.className = "spinner"; document.body.append(s); const text = getComputedStyle(s).animationName + " " + getComputedStyle(document.documentElement).scrollBehavior; s.remove(); return text; })()`); got != want {
			t.Errorf("with %s it moves: %s", value, got)
		}
	}
}

func testPagePaste(t *testing.T, browser context.Context) {
	h := pageHarness(t, "")
	h.Start()
	p := newTab(t, browser, 390)
	p.open("http://" + h.web(1))
	p.click("Sign in with a link")
	p.sees("Paste that address here")
	p.click("Continue")
	p.sees("Paste the address first")
	p.fill("sign-in-work-address", "http://localhost/?code=1&state=2")
	p.click("Continue")
	p.sees("Address: this address belongs to an outdated sign-in link")
	address := h.redirect(p.value(`document.getElementById("sign-in-work-link").value`))
	p.fill("sign-in-work-address", address)
	p.click("Continue")
	p.sees("adele@contoso.example")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	if log := h.Log.String(); strings.Contains(log, address) {
		t.Error("the log has the pasted address")
	}
}

func testPageCode(t *testing.T, browser context.Context) {
	h := pageHarness(t, "")
	h.Microsoft.Fail(simulator.Fault{Path: "/common/oauth2/v2.0/devicecode", Merge: map[string]any{"interval": 1}}) // instead of 5 s
	h.Start()
	p := newTab(t, browser, 1280)
	p.open("http://" + h.web(1))
	p.click("Sign in with a code")
	p.sees("Enter this code there")
	p.do(chromedp.WaitVisible(chromedp.Search(`//time[contains(., "min left")]`)))
	if err := h.Microsoft.ApproveDevice(p.value(`document.getElementById("sign-in-work-code").value`)); err != nil {
		t.Fatal(err)
	}
	p.sees("adele@contoso.example")
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
}

func testPageSignOut(t *testing.T, browser context.Context) {
	h := pageHarness(t, "")
	h.SignIn("work")
	h.Start()
	p := newTab(t, browser, 1280)
	p.open("http://" + h.web(1))
	p.sees("Signed in")
	p.click("Sign out")
	p.sees("Its entities become unavailable.")
	p.click("Stay signed in")
	p.click("Sign out")
	p.click("Sign out now")
	p.sees("Microsoft still remembers which permissions were granted")
	p.sees("Sign in to Work")
	h.Shows("graph2mqtt/work/state", "offline")
	if _, err := os.Stat(filepath.Join(h.path("state"), "tokens-work")); !os.IsNotExist(err) {
		t.Errorf("the stored sign-in is still there: %v", err)
	}
}

func testPageRead(t *testing.T, browser context.Context) {
	h := pageHarness(t, "", "calendar: {type: calendar}", "all: {type: todo}")
	h.SignIn("work")
	h.Start()
	p := newTab(t, browser, 1280)
	p.open("http://" + h.web(1))
	p.do(chromedp.Click(chromedp.Search(`//li[.//strong="Calendar"]//summary`)))
	p.sees("The last polls of Calendar, the newest first")
	h.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Stand-up", Start: time.Now().Add(-time.Hour), End: time.Now().Add(time.Hour)})
	p.click("Poll now: Calendar")
	p.sees("Calendar: read now.")
	p.sees("Current event: ")
	p.sees("Stand-up")
	// What is open stays open, and keeps the focus, when a new snapshot arrives.
	if open := p.value(`String(document.querySelectorAll(".sensors details[open]").length) + document.activeElement.getAttribute("aria-label")`); open != "1Poll now: Calendar" {
		t.Errorf("open details and focus: %s", open)
	}
	h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/me/calendar", Status: http.StatusServiceUnavailable, Times: -1})
	p.click("Read all now: Work")
	p.sees("Work: all sensors are read now.")
	p.do(chromedp.WaitVisible(chromedp.Search(`//td[contains(., "Graph answered 503")]`)))
	h.Microsoft.ClearFaults()
	h.Microsoft.AddTodoList(simulator.Adele, "Garden")
	p.click("Look for new lists: Work")
	p.do(chromedp.WaitVisible(chromedp.Search(`//strong[contains(., "Garden")]`)))
}

func testPagePassword(t *testing.T, browser context.Context) {
	h := newHarness(t)
	h.http = "{listen: '127.0.0.1:0', password: " + webPassword + "}"
	h.one("", outOfOffice)
	h.Start()
	address := "http://" + h.web(1)
	wrong := newTab(t, browser, 390)
	wrong.password("not the password")
	wrong.open(address)
	wrong.sees("the password is wrong")
	right := newTab(t, browser, 390)
	right.password(webPassword)
	right.open(address)
	right.sees("Sign in to Work")
	right.do(chromedp.WaitVisible(chromedp.Search(`//p[@id="live" and .="Live"]`)))
	if code, _ := h.get(h.web(1)+"/api/state", ""); code != http.StatusUnauthorized {
		t.Errorf("without a password: %d", code)
	}
	if _, state := h.get(h.web(1)+"/api/state", webPassword); strings.Contains(state, webPassword) {
		t.Error("the snapshot has the password")
	}
}

// An ingress is Home Assistant with an app behind it, as far as the app can tell. The old one passes nothing on before it is complete.
func ingress(t *testing.T, app http.Handler, old bool) (address string) {
	t.Helper()
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = "172.30.32.2:41234"
		app.ServeHTTP(w, r)
	}))
	t.Cleanup(inside.Close)
	target, err := url.Parse(inside.URL)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/api/hassio_ingress/k3Y"
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, path)
			r.Out.Header.Set("X-Ingress-Path", path)
			r.Out.Header.Set("X-Remote-User-Name", "ann")
			r.SetXForwarded()
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Referrer-Policy", "no-referrer")
			kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
			r.Header.Set("Content-Type", kind)
			if old {
				whole, err := io.ReadAll(r.Body)
				if err != nil {
					return err
				}
				r.Body = io.NopCloser(bytes.NewReader(whole))
			}
			return nil
		},
	}
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, path+"/") {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(outside.Close)
	_, port, err := net.SplitHostPort(outside.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "http://homeassistant.local:" + port + path + "/"
}

func testPageIngress(t *testing.T, browser context.Context) {
	for _, old := range []bool{true, false} {
		t.Run(map[bool]string{true: "old", false: "new"}[old], func(t *testing.T) {
			h := pageHarness(t, "")
			h.environ = []string{"SUPERVISOR_TOKEN=abc"}
			h.Start()
			if code, body := h.get(h.web(1), ""); code != http.StatusForbidden || !strings.Contains(body, "open this page in Home Assistant") {
				t.Errorf("beside ingress: %d %s", code, body)
			}
			p := newTab(t, browser, 1280)
			p.open(ingress(t, h.bridge.WebHandler(), old))
			p.click("Sign in with a link")
			p.sees("Open Microsoft’s page and sign in")
			p.fill("sign-in-work-address", h.redirect(p.value(`document.getElementById("sign-in-work-link").value`)))
			p.click("Continue")
			p.sees("adele@contoso.example")
			p.do(chromedp.Click(chromedp.Search(`//li[.//strong="Out of office"]//summary`)))
			p.click("Poll now: Out of office")
			p.sees("Out of office: read now.")
		})
	}
}

func testPageForm(t *testing.T, browser context.Context) {
	h := pageHarness(t, "", "calendar: {type: calendar} # mine")
	h.SignIn("work")
	h.Start()
	p := newTab(t, browser, 1280)
	p.open("http://" + h.web(1))
	p.click("Add a sensor")
	p.do(chromedp.WaitVisible(chromedp.ID("sensor-kind")), chromedp.SetValue(chromedp.ID("sensor-kind"), "calendar"))
	p.value(`document.getElementById("sensor-kind").onchange({target: document.getElementById("sensor-kind")}), ""`)
	const choose = `(i => { const choice = document.getElementById("sensor-choice"); choice.selectedIndex = i; choice.onchange({target: choice}); return [...document.querySelectorAll("#sensor-id, #sensor-option-calendar-calendar")].map(e => e.value).join() })`
	p.do(chromedp.WaitReady(chromedp.Search(`//select[@id="sensor-choice"]/option[.="Birthdays"]`)))
	for choice, want := range []string{",", "calendar,Calendar", "birthdays,Birthdays", "birthdays,"} {
		if got := p.value(fmt.Sprintf("%s(%d)", choose, choice%3)); got != want {
			t.Errorf("choice %d fills in %q, want %q", choice%3, got, want)
		}
	}
	p.fill("sensor-id", "calendar")
	p.sees("Shared mailbox")
	p.value(`document.getElementById("sensor-id").form.requestSubmit(), ""`)
	p.sees("is configured already; choose another id")
	p.fill("sensor-id", "room")
	p.fill("sensor-option-calendar-shared_mailbox", "room@contoso.example")
	p.value(`document.getElementById("sensor-id").form.requestSubmit(), ""`)
	p.sees("room: {type: calendar, shared_mailbox: room@contoso.example}")
	before, err := os.ReadFile(h.path("graph2mqtt.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p.click("Write to the file")
	p.sees("Written. It takes effect within a few seconds.")
	after, err := os.ReadFile(h.path("graph2mqtt.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const old = "      calendar: {type: calendar} # mine\n"
	if want := strings.Replace(string(before), old, old+"      room: {type: calendar, shared_mailbox: room@contoso.example}\n", 1); string(after) != want {
		t.Errorf("the file is\n%s", after)
	}
	h.Reload() // as the watcher of the file does
	p.do(chromedp.WaitVisible(chromedp.Search(`//strong[.="Room"]`)))
	p.value(`document.getElementById("sensor-kind").value = "email", document.getElementById("sensor-kind").onchange({target: document.getElementById("sensor-kind")}), ""`)
	p.sees("The choices cannot be listed. Minimum required permissions not granted: Mail.Read (or Mail.ReadWrite).")
}

func testPageByHand(t *testing.T, browser context.Context) {
	h := pageHarness(t, "")
	h.Start()
	p := newTab(t, browser, 390)
	p.open("http://" + h.web(1))
	p.click("Add an account")
	p.fill("account-id", "home")
	p.fill("account-client", "not an id")
	p.value(`document.getElementById("account-id").form.requestSubmit(), ""`)
	p.sees("want the application (client) id of the app registration")
	// A file that changes between the look at the lines and their writing is not overwritten.
	p.fill("account-client", simulator.ContosoClient)
	p.value(`document.getElementById("account-id").form.requestSubmit(), ""`)
	p.sees("These lines will be added to")
	file := h.path("graph2mqtt.yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := append(content, "# changed\n"...)
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	p.click("Write to the file")
	p.sees("The configuration file was changed meanwhile")
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, changed) {
		t.Errorf("the file is %q, %v", now, err)
	}
}

func testPageCalendars(t *testing.T, browser context.Context) {
	h := newHarness(t)
	h.http = "{listen: '127.0.0.1:0', calendars: true}"
	h.one("", "calendar: {type: calendar, on_demand: true}")
	h.SignIn("work")
	h.Start()
	address := "http://" + h.web(1)
	p := newTab(t, browser, 390)
	p.open(address)
	p.sees("Calendars in Home Assistant")
	dav := p.value(`document.getElementById("calendars-url").value`)
	if dav != address+"/dav/" {
		t.Errorf("the address is %s", dav)
	}
	p.sees("This URL works on this machine only.")
	read := func(password string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "PROPFIND", dav, strings.NewReader(`<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>`))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(p.value(`document.getElementById("calendars-user-work").value`), password)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	p.sees("There is no password yet.")
	p.click("Create a password: Work")
	p.sees("Work: there is a new password. It is shown only now.")
	first := p.value(`document.getElementById("calendars-password-work").value`)
	if code := read(first); code != http.StatusMultiStatus {
		t.Errorf("with the password: %d", code)
	}
	p.axe()
	p.open(address) // the password is not shown again
	p.click("New password: Work")
	p.sees("The current password will no longer be accepted.")
	if again := p.value(`String(document.getElementById("calendars-password-work"))`); again != "null" {
		t.Error("the password is shown again")
	}
	p.click("Keep it")
	p.click("New password: Work")
	p.click("Replace it: password of Work")
	p.do(chromedp.WaitVisible(chromedp.ID("calendars-password-work")))
	second := p.value(`document.getElementById("calendars-password-work").value`)
	if second == first || read(first) != http.StatusUnauthorized || read(second) != http.StatusMultiStatus {
		t.Error("the new password does not replace the old one")
	}
	if strings.Contains(h.Log.String(), second) {
		t.Error("the log has the password")
	}
}

// SetUp runs only the page until there is a configuration.
func testPageSetUp(t *testing.T, browser context.Context) {
	h := newHarness(t)
	sources := config.Sources{File: h.path("new/graph2mqtt.yaml"), Environ: []string{"GRAPH2MQTT_STATE_DIR=" + h.path("state")}}
	file := bridge.NewConfigFile(func() config.Sources { return sources }, runtime.Kinds(), "")
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		ended <- bridge.SetUp(ctx, config.HTTP{Listen: "127.0.0.1:0"}, file, func() (*config.Config, error) { return runtime.Load(sources, runtime.Kinds()) }, "1.2.3", slog.New(slog.NewTextHandler(h.Log, nil)))
	}()
	p := newTab(t, browser, 390)
	p.open("http://" + h.web(1))
	p.sees("graph2mqtt has no configuration yet")
	p.axe()
	p.fill("broker-url", "mqtt://127.0.0.1:1883")
	p.fill("broker-username", "me")
	p.fill("broker-password", "secret-of-the-broker")
	p.fill("account-client", simulator.ContosoClient)
	p.do(chromedp.Click(chromedp.ID("account-calendars")))
	p.value(`document.getElementById("account-id").form.requestSubmit(), ""`)
	p.sees("password: ••••••")
	p.click("Write to the file")
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(waitTimeout):
		t.Fatalf("it does not go on: %s", p.text())
	}
	c, err := runtime.Load(sources, runtime.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	a := c.Accounts["work"]
	if c.MQTT.URL != "mqtt://127.0.0.1:1883" || c.MQTT.Password.Reveal() != "secret-of-the-broker" || a == nil || a.ClientID != simulator.ContosoClient || len(a.Sensors) != 2 || !a.Sensors["calendar"].OnDemand || !c.HTTP.Calendars {
		t.Errorf("the configuration is %+v, %+v", c.MQTT, a)
	}
	info, err := os.Stat(sources.File)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others can read the file: %v %v", info, err)
	}
	if strings.Contains(h.Log.String(), "secret-of-the-broker") {
		t.Error("the log has the password")
	}
}

func testPageReconnects(t *testing.T, browser context.Context) {
	h := pageHarness(t, "")
	h.Start()
	address := h.web(1)
	p := newTab(t, browser, 1280)
	p.open("http://" + address)
	p.sees("Live")
	h.Stop()
	p.sees("No connection; trying again")
	h.http = "{listen: '" + address + "'}"
	h.one("", outOfOffice)
	h.Start()
	p.do(chromedp.WaitVisible(chromedp.Search(`//p[@id="live" and .="Live"]`)))
}

// furnish fills the simulated account, and configures two accounts of which one is not signed in.
func furnish(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	now := time.Now().UTC().Truncate(time.Hour)
	h.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Sprint review", Start: now.Add(-time.Hour), End: now.Add(2 * time.Hour)})
	h.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{Subject: "Dentist", Start: now.Add(4 * time.Hour), End: now.Add(5 * time.Hour)})
	h.Microsoft.AddTodoList(simulator.Adele, "Shopping")
	h.Microsoft.AddTask(simulator.Adele, "Shopping", simulator.Task{Title: "Bread"})
	h.Microsoft.AddTask(simulator.Adele, "Shopping", simulator.Task{Title: "Present for Megan", Due: now.Truncate(24*time.Hour).AddDate(0, 0, 2)})
	h.http = "{listen: '127.0.0.1:0'}"
	accounts := "  family:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    sensors:\n      calendar: {type: calendar}\n" +
		"  work:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n    enable_update: true\n    sensors:\n" +
		"      calendar: {type: calendar, interval: 5s}\n      shopping: {type: todo, list: Shopping, interval: 5s}\n" +
		"      out_of_office: {type: auto_reply, interval: 5s}\n      presence: {type: status, interval: 5s}\n" +
		"      team: {type: calendar, calendar: Missing, interval: 5s}\n"
	h.Configure(accounts)
	h.SignIn("work")
	h.Configure(accounts + "      inbox: {type: email, enable_update: false}\n") // whose permission was not granted
	h.Start()
	h.Shows("graph2mqtt/work/calendar/availability", "online")
	for n := range 24 { // polls, of which two fail
		switch n {
		case 15:
			h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/me/calendar", Status: http.StatusServiceUnavailable, Message: "The service is unavailable."})
		case 16:
			h.Microsoft.Fail(simulator.Fault{Path: "/v1.0/me/calendar", Status: http.StatusTooManyRequests, RetryAfter: "0.2"})
		}
		h.polled("calendar", n+1)
	}
	mark := h.mark()
	h.Publish("graph2mqtt/work/calendar/request/create", `{"subject": "Focus", "start": "`+now.Add(6*time.Hour).Format(time.RFC3339)+`", "end": "`+now.Add(7*time.Hour).Format(time.RFC3339)+`"}`)
	h.Next(mark, "graph2mqtt/work/calendar/response/create", func(string) bool { return true })
	h.Publish("graph2mqtt/work/presence/request/set_status_message", `{"message": "Back soon"}`)
	h.Next(mark, "graph2mqtt/work/presence/response/set_status_message", func(string) bool { return true })
	return h
}

// polled requests polls until a sensor was polled n times.
func (h *harness) polled(sensor string, n int) {
	h.t.Helper()
	for deadline := time.Now().Add(waitTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var body struct {
			State struct {
				Accounts []struct {
					Sensors []struct {
						ID    string
						Polls []any
					}
				}
			}
		}
		_, text := h.get(h.web(1)+"/api/state", "")
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			h.t.Fatal(err)
		}
		for _, a := range body.State.Accounts {
			for _, s := range a.Sensors {
				if s.ID == sensor && len(s.Polls) >= n {
					return
				}
			}
		}
		h.Publish("graph2mqtt/work/request/refresh", "{}")
	}
	h.t.Fatalf("%s was not polled %d times", sensor, n)
}

// picturesDirectory names the directory that the two pictures of the documentation are written to: docs/pictures.
const picturesDirectory = "STATUS_PAGE_PICTURES"

func testPageThemes(t *testing.T, browser context.Context) {
	h := furnish(t)
	address := "http://" + h.web(1)
	first := newTab(t, browser, 1280)
	first.open(address)
	first.click("Sign in with a code")
	first.sees("Enter this code there")
	for _, theme := range []string{"light", "dark"} {
		for name, width := range map[string]int64{"desktop": 1280, "phone": 390} {
			t.Run(theme+" "+name, func(t *testing.T) {
				p := newTab(t, browser, width)
				p.theme(theme)
				p.open(address)
				p.sees("Enter this code there")
				p.do(chromedp.Click(chromedp.Search(`(//li[.//strong="Calendar"])[last()]//summary`)))
				p.sees("The last polls of Calendar")
				p.axe()
				p.value(`scrollTo({top: 0, behavior: "instant"}), ""`)
				picture := p.picture()
				if wide := p.value(`String(document.documentElement.scrollWidth)`); wide != fmt.Sprint(width) {
					t.Errorf("the page is %s wide, want %d:\n%s", wide, width, p.value(`[...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth).map((e) => e.outerHTML.slice(0, 150)).join("\n")`))
				}
				if tiny := p.value(`[...document.querySelectorAll("button, a, summary, input, select")].filter((e) => e.offsetParent && !e.matches(".skip") && (e.offsetWidth < 24 || e.offsetHeight < 24) && !e.matches("p a, input[type=checkbox]")).map((e) => e.outerHTML).join("\n")`); tiny != "" {
					t.Errorf("smaller than 24 pixels:\n%s", tiny)
				}
				// Everything else opened, too.
				p.value(`document.querySelectorAll("details").forEach((d) => { d.open = true; }), ""`)
				p.do(chromedp.WaitVisible(chromedp.ID("sensor-kind")))
				p.axe()
				dir, height := t.ArtifactDir(), 100_000
				if docs := os.Getenv(picturesDirectory); docs != "" && (name == "desktop") == (theme == "light") {
					dir, height = docs, 1700
				}
				if err := os.WriteFile(filepath.Join(dir, "page-"+name+"-"+theme+".png"), small(t, picture, height), 0o600); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

// The snapshot behind the page, without a browser: nothing secret, and everything through the checks of requests over MQTT.
func TestPageWithoutABrowser(t *testing.T) {
	h := newHarness(t)
	h.http = "{listen: '127.0.0.1:0', password: " + webPassword + "}"
	h.one("enable_update: true", outOfOffice)
	h.SignIn("work")
	h.Start()
	h.Shows("graph2mqtt/work/out_of_office/availability", "online")
	mark := h.mark()
	h.Publish("graph2mqtt/work/out_of_office/request/update", `{"internal_reply": "A reply that nobody else may read"}`)
	h.Next(mark, "graph2mqtt/work/out_of_office/response/update", func(string) bool { return true })
	_, state := h.get(h.web(1)+"/api/state", webPassword)
	for end := time.Now().Add(waitTimeout); !strings.Contains(state, `"operation":"update"`) && time.Now().Before(end); { // a little later than the response
		_, state = h.get(h.web(1)+"/api/state", webPassword)
	}
	for _, secret := range []string{"nobody else may read", webPassword, "refresh_token", "eyJ"} {
		if strings.Contains(state, secret) {
			t.Errorf("the snapshot has %q", secret)
		}
	}
	for _, shown := range []string{`"user":"adele@contoso.example"`, `"operation":"update"`, `"topic":"graph2mqtt/work/out_of_office"`, `"scope":"MailboxSettings.ReadWrite"`, "/adminconsent?"} {
		if !strings.Contains(state, shown) {
			t.Errorf("the snapshot lacks %s: %s", shown, state)
		}
	}
	for operation, payload := range map[string]string{"sign_out": "{}", "candidates": `{"type": "email"}`} { // not for the broker's clients
		mark = h.mark()
		h.Publish("graph2mqtt/work/request/"+operation, payload)
		if got := h.Next(mark, "graph2mqtt/work/response/"+operation, func(string) bool { return true }); !strings.Contains(got, `"unknown_op"`) {
			t.Errorf("%s over MQTT: %s", operation, got)
		}
	}
	post := func(body string, headers ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.web(1)+"/api/actions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("", webPassword)
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(text)
	}
	for _, test := range []struct {
		body    string
		headers []string
		code    int
		want    string
	}{
		{`{"account": "work", "operation": "refresh", "sensor": "out_of_office"}`, nil, 200, `{"data":null}`},
		{`{"account": "work", "operation": "refresh", "sensor": "inbox"}`, nil, 404, `account work has no sensor \"inbox\"; known: out_of_office`},
		{`{"account": "home", "operation": "refresh"}`, nil, 404, "there is no account home any more"},
		{`{"account": "work", "operation": "candidates", "type": "auto_reply"}`, nil, 400, "type: want one of calendar, channel, chat, email, "},
		{`{"account": "work", "operation": "sign_in", "way": "pigeon"}`, nil, 400, `way: want one of device_code, browser, not \"pigeon\"`},
		{`{"account": "work", "operation": "sign_in", "address": "x"}`, nil, 409, "no sign-in waits for an address"},
		{`{"account": "work", "operation": "sign_out"}`, []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, "another site sent this request"},
		{`{"account": "work", "operation": "sign_out"}`, []string{"Authorization", "Basic eDp4"}, 401, "the password is wrong"},
		{`{"account": "work", "operation": "sign_out"}`, nil, 200, "Microsoft still remembers"},
	} {
		if code, text := post(test.body, test.headers...); code != test.code || !strings.Contains(text, test.want) {
			t.Errorf("%s: %d %s", test.body, code, text)
		}
	}
	h.Shows("graph2mqtt/work/state", "offline")
}

func TestConfigFile(t *testing.T) {
	h := newHarness(t)
	h.one("", outOfOffice)
	f := bridge.NewConfigFile(h.sources, runtime.Kinds(), "")
	if d := f.Describe(); d.File != "" || len(d.Problems) != 0 {
		t.Errorf("before anything is loaded: %+v", d)
	}
	f.Report(config.Problems{{Path: "mqtt.url", Line: 1, Message: "is required"}})
	if d := f.Describe(); len(d.Problems) != 1 || d.Problems[0].Line != 1 || d.Problems[0].Path != "mqtt.url" {
		t.Errorf("after a problem: %+v", d)
	}
	kinds := map[string][]string{}
	for _, k := range f.Kinds() {
		if err := config.CheckID(k.ID); err != nil || config.Reserved(k.ID) || k.Title == "" || k.Doc == "" {
			t.Errorf("kind %+v: %v", k, err)
		}
		for _, field := range k.Fields {
			kinds[k.Name] = append(kinds[k.Name], field.Key)
			if strings.Contains(field.Key, "file") || strings.Contains(field.Key, "url") || strings.Contains(field.Key, "path") {
				t.Errorf("%s: a form must not set %s", k.Name, field.Key)
			}
		}
	}
	text, err := json.Marshal(kinds)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"calendar":["calendar","shared_mailbox"],"channel":["team","channel"],"email":["folder","shared_mailbox"],"group_calendar":["group"],"planner":["plan"],"query":["folder","shared_mailbox","from","subject_contains"],"room":["room"],"status":["user"],"todo":["list"]}`
	if string(text) != want {
		t.Errorf("fields of forms: %s", text)
	}
}
