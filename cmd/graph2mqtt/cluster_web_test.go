package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// A webAccount is an account on the status page.
type webAccount struct {
	ID, State, Error, User string
	SignIn                 *struct{ URL, Code string } `json:"sign_in"`
	Sensors                []struct{ ID string }
}

// A webState holds the values that the status page shows.
type webState struct {
	Program struct {
		Broker struct{ Connected bool }
		Graph  struct{ Requests int }
	}
	Problems  []struct{ Message string }
	Accounts  []webAccount
	Requests  []struct{ Operation, Outcome string }
	Calendars *struct {
		URL      string
		Accounts []struct {
			Account string
			Created *time.Time
		}
	}
	Configuration struct{ File, Running string }
}

const webAccounts = 6

// configureWeb configures accounts a0, a1 … with a listener and calendars.
func (h *clusterHarness) configureWeb(t *testing.T, http string) {
	t.Helper()
	text := fmt.Sprintf("mqtt: {url: %q}\nkey_file: %q\nhttp: %s\ncluster: {nats: [%q], lease: 10s, shards: %d}\naccounts:\n", h.broker.URL(), filepath.Join(h.dir, "shared.key"), http, h.nats.ClientURL, testShards)
	for i := range webAccounts {
		text += fmt.Sprintf("  a%d:\n    timezone: local\n    enable_update: true\n    user: %s\n    %s\n    sensors:\n      calendar: {type: calendar, on_demand: true}\n", i, simulator.Adele, h.cloud())
	}
	h.write(t, "graph2mqtt.yaml", text)
}

// request sends a request to a listener.
func webRequest(t *testing.T, method, address, user, password, body string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case user == "Bearer":
		r.Header.Set("Authorization", "Bearer "+password)
	case user != "":
		r.SetBasicAuth(user, password)
	}
	r.Header.Set("Content-Type", "application/json")
	switch method {
	case http.MethodPut:
		r.Header.Set("Content-Type", "text/calendar; charset=utf-8")
		r.Header.Set("If-None-Match", "*")
	case "PROPFIND":
		r.Header.Set("Content-Type", "application/xml")
		r.Header.Set("Depth", "1")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * waitTimeout}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(b), answer.Header
}

// awaitPage waits until the status page of a machine is as wanted, by its own long polls.
func awaitPage(t *testing.T, address, what string, isWanted func(webState) bool) webState {
	t.Helper()
	version, last := "", ""
	for end := time.Now().Add(2 * waitTimeout); time.Now().Before(end); {
		code, body, _ := webRequest(t, http.MethodGet, address+"/api/state?after="+version, "", "", "")
		last = fmt.Sprintf("%d %s", code, body)
		if code == http.StatusNotModified {
			continue
		}
		var e struct {
			Version string
			State   webState
		}
		if code != http.StatusOK || json.Unmarshal([]byte(body), &e) != nil {
			t.Fatalf("%s: %d, %s", address, code, body)
		}
		if isWanted(e.State) {
			return e.State
		}
		version = e.Version
	}
	t.Fatalf("the page of %s does not show %s: %s", address, what, last)
	return webState{}
}

// haveState returns whether every account has a state, except for those that are named.
func haveState(s webState, state string, except ...string) bool {
	return len(s.Accounts) == webAccounts && !slices.ContainsFunc(s.Accounts, func(a webAccount) bool {
		return a.State != state && !slices.Contains(except, a.ID)
	})
}

// Whichever machine is asked, the status page, sign-in links and calendars are those of all accounts.
func TestClusterShardWeb(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	h.configureWeb(t, `{listen: "127.0.0.1:0", calendars: true}`)
	for i := range webAccounts - 1 {
		h.loginTo(t, fmt.Sprintf("a%d", i))
	}
	last := fmt.Sprintf("a%d", webAccounts-1)
	killed, a := h.runListening(t, "a")
	b := h.run(t, "b")
	addresses := []string{a, b.stderr.find(t, listeningPattern)}
	b.stderr.find(t, startingTimes(testShards/2))
	h.awaitShards(t, "online")

	for _, address := range addresses {
		s := awaitPage(t, address, "all accounts", func(s webState) bool {
			return s.Program.Broker.Connected && haveState(s, "signed_in", last) && s.Accounts[webAccounts-1].State == "signed_out" && !slices.ContainsFunc(s.Accounts, func(a webAccount) bool { return len(a.Sensors) != 1 })
		})
		if !slices.IsSortedFunc(s.Accounts, func(a, b webAccount) int { return strings.Compare(a.ID, b.ID) }) || s.Calendars == nil || len(s.Calendars.Accounts) != webAccounts || !strings.HasPrefix(s.Calendars.URL, "http://"+address) {
			t.Errorf("the page shows %+v", s)
		}
		if s.Configuration.File != filepath.Join(h.dir, "graph2mqtt.yaml") || !strings.Contains(s.Configuration.Running, "shards: 4") {
			t.Errorf("the configuration is %+v", s.Configuration)
		}
		if code, body, _ := webRequest(t, http.MethodGet, address+"/", "", "", ""); code != http.StatusOK || !strings.Contains(body, "<title>graph2mqtt</title>") {
			t.Errorf("%d %s", code, body)
		}
	}

	t.Run("actions", func(t *testing.T) { h.tryActions(t, addresses) })
	t.Run("link", func(t *testing.T) { h.tryLink(t, addresses, last) })
	t.Run("calendars", func(t *testing.T) { h.tryCalendars(t, addresses) })

	// While no machine has a shard, the page says so. What is known of the other accounts stays.
	killed()
	awaitPage(t, addresses[1], "that a machine is missing", func(s webState) bool {
		return slices.ContainsFunc(s.Accounts, func(a webAccount) bool {
			return a.State == "unreachable" && missingPattern.MatchString(a.Error)
		}) && slices.ContainsFunc(s.Accounts, func(a webAccount) bool { return a.State == "signed_in" })
	})
	awaitPage(t, addresses[1], "all accounts again", func(s webState) bool { return haveState(s, "signed_in") })
	h.nats.Kill()
	awaitPage(t, addresses[1], "that NATS is away", func(s webState) bool {
		return haveState(s, "unreachable") && strings.Contains(s.Accounts[0].Error, "no connection to ")
	})
	b.interrupt()
	if code := b.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// While too few NATS servers are left, no machine has a shard, although each is there. The page says once that NATS does not answer, and each
// account does.
func TestClusterShardWebWithoutNATS(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	servers := natstest.NewCluster(t, 3)
	h.configureWeb(t, "{listen: '127.0.0.1:0'}")
	content, err := os.ReadFile(filepath.Join(h.dir, "graph2mqtt.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	urls := fmt.Sprintf("%q, %q, %q", servers[0].ClientURL, servers[1].ClientURL, servers[2].ClientURL)
	h.write(t, "graph2mqtt.yaml", strings.Replace(string(content), strconv.Quote(h.nats.ClientURL), urls, 1))
	a := h.run(t, "a")
	address := a.stderr.find(t, listeningPattern)
	h.awaitShards(t, "online")
	awaitPage(t, address, "all accounts", func(s webState) bool { return haveState(s, "signed_out") && len(s.Problems) == 0 })
	servers[0].Kill()
	servers[1].Kill()
	unanswered := regexp.MustCompile(`^the shared state cannot be reached: NATS does not answer: .`)
	unansweredBy := regexp.MustCompile(`^Shard \d: the shared state cannot be reached: NATS does not answer: .`)
	awaitPage(t, address, "that NATS is away", func(s webState) bool {
		return len(s.Problems) == 1 && unanswered.MatchString(s.Problems[0].Message) && haveState(s, "unreachable") &&
			!slices.ContainsFunc(s.Accounts, func(a webAccount) bool { return !unansweredBy.MatchString(a.Error) })
	})
	h.awaitHealth(t, "a", "the shared state cannot be reached: NATS does not answer: ")
	code, body, _ := webRequest(t, http.MethodPost, address+"/api/actions", "", "", `{"account": "a0", "operation": "sign_in", "way": "device_code"}`)
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "NATS does not answer: ") {
		t.Errorf("a sign-in: %d %s", code, body)
	}
	servers[0].Start()
	servers[1].Start()
	awaitPage(t, address, "all accounts again", func(s webState) bool { return haveState(s, "signed_out") && len(s.Problems) == 0 })
	a.interrupt()
	if code := a.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(a.stderr.String(), "the leases of the shards cannot be followed"); n > 10 {
		t.Errorf("logged %d times that the leases cannot be followed", n)
	}
}

var missingPattern = regexp.MustCompile(`^Shard \d: no machine of the cluster answers(: none has it at the moment)?\.$`)

// runListening runs the bridge on a machine as a process, and returns how to kill it and the address of its listener.
func (h *clusterHarness) runListening(t *testing.T, machine string) (kill func(), address string) {
	t.Helper()
	address = fmt.Sprintf("127.0.0.1:%d", porttest.Free(t))
	h.variables = []string{"GRAPH2MQTT_HTTP__LISTEN=" + address}
	kill = h.runProcess(t, machine)
	h.variables = nil
	h.awaitShards(t, "online")
	return kill, address
}

// tryActions presses buttons on the page of each machine.
func (h *clusterHarness) tryActions(t *testing.T, addresses []string) {
	post := func(address, body string) (int, string) {
		code, answer, _ := webRequest(t, http.MethodPost, address+"/api/actions", "", "", body)
		return code, answer
	}
	for i, address := range addresses {
		for account := range webAccounts - 1 {
			if code, answer := post(address, fmt.Sprintf(`{"account": "a%d", "operation": "candidates", "type": "calendar"}`, account)); code != http.StatusOK || !strings.Contains(answer, `"Birthdays"`) {
				t.Errorf("candidates of a%d: %d %s", account, code, answer)
			}
		}
		if code, answer := post(address, `{"operation": "refresh"}`); i == 0 && (code != http.StatusOK || answer != `{"data":null}`) {
			t.Errorf("refresh: %d %s", code, answer)
		}
		for body, want := range map[string]string{
			`{"account": "nobody", "operation": "refresh"}`:                 `there is no account \"nobody\"`,
			`{"account": "a1", "operation": "logout"}`:                      `operation: want one of candidates, refresh, rescan, sign_in, sign_out, not`,
			`{"account": "a1", "operation": "candidates", "type": "weird"}`: `weird`,
			`{"account": "a1"}`: `operation`,
			`[]`:                `want a JSON object`,
		} {
			if code, answer := post(address, body); code < 400 || code >= 500 || !strings.Contains(answer, want) {
				t.Errorf("%s: %d %s", body, code, answer)
			}
		}
		code, answer, _ := webRequest(t, http.MethodPost, address+"/api/configuration/preview", "", "", `{"account": "a1", "sensors": [{"id": "mail", "type": "email"}]}`)
		if code != http.StatusOK || !strings.Contains(answer, `"by_hand":"several machines have the same configuration (cluster.shards); change it on each of them"`) {
			t.Errorf("a change of the configuration: %d %s", code, answer)
		}
	}
}

// tryLink signs in to an account with a link, at both machines in turn.
func (h *clusterHarness) tryLink(t *testing.T, addresses []string, account string) {
	code, link, stderr := h.call(t, "link", account)
	if code != 0 {
		t.Fatal(stderr)
	}
	secret := link[strings.Index(link, "#")+1 : len(link)-1]
	state := func(address string) (s struct {
		Expected, State, User string
		Done                  bool
		SignIn                *struct{ URL string } `json:"sign_in"`
	}) {
		t.Helper()
		code, body, _ := webRequest(t, http.MethodGet, address+"/sign-in/api/state", "Bearer", secret, "")
		if code != http.StatusOK || json.Unmarshal([]byte(body), &s) != nil {
			t.Fatalf("%s: %d %s", address, code, body)
		}
		return s
	}
	for i, address := range addresses {
		if s := state(address); s.Expected != simulator.Adele || s.State != "signed_out" || s.Done || (s.SignIn != nil) != (i > 0) {
			t.Errorf("%s: %+v", address, s)
		}
		for _, wrong := range []string{"", "x", secret + "x"} {
			if code, body, _ := webRequest(t, http.MethodGet, address+"/sign-in/api/state", "Bearer", wrong, ""); code != http.StatusUnauthorized && code != http.StatusTooManyRequests {
				t.Errorf("the link %q: %d %s", wrong, code, body)
			}
		}
		if code, body, _ := webRequest(t, http.MethodPost, address+"/sign-in/api/actions", "Bearer", secret, `{"way": "device_code"}`); i == 0 && code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
	}
	signIn := awaitPage(t, addresses[1], "the sign-in", func(s webState) bool { return s.Accounts[webAccounts-1].SignIn != nil }).Accounts[webAccounts-1].SignIn
	if err := h.simulator.ApproveDevice(signIn.Code); err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		for end := time.Now().Add(waitTimeout); !state(address).Done; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s does not show the end of the sign-in: %+v", address, state(address))
			}
		}
		if code, body, _ := webRequest(t, http.MethodPost, address+"/sign-in/api/actions", "Bearer", secret, `{"way": "browser"}`); code != http.StatusUnauthorized {
			t.Errorf("a link is used again: %d %s", code, body)
		}
		awaitPage(t, address, "the user", func(s webState) bool {
			return haveState(s, "signed_in") && s.Accounts[webAccounts-1].User == simulator.Adele
		})
	}

	// A link from the page of either machine.
	for _, address := range addresses {
		code, body, _ := webRequest(t, http.MethodPost, address+"/api/links", "", "", `{"account": "a0"}`)
		if code != http.StatusOK || !strings.Contains(body, "http://"+address+"/sign-in/#") {
			t.Errorf("%d %s", code, body)
		}
		if code, body, _ := webRequest(t, http.MethodPost, address+"/api/links", "", "", `{"account": "nobody"}`); code != http.StatusNotFound {
			t.Errorf("%d %s", code, body)
		}
	}
}

// tryCalendars uses the calendars of accounts of all shards at both machines.
func (h *clusterHarness) tryCalendars(t *testing.T, addresses []string) {
	for i := range webAccounts - 1 {
		account := fmt.Sprintf("a%d", i)
		address, other := addresses[i%2], addresses[(i+1)%2]
		code, body, _ := webRequest(t, http.MethodPost, address+"/api/calendars/password", "", "", fmt.Sprintf(`{"account": %q}`, account))
		var made struct{ User, Password string }
		if code != http.StatusOK || json.Unmarshal([]byte(body), &made) != nil || made.User != account {
			t.Fatalf("%d %s", code, body)
		}
		name := fmt.Sprintf("lunch-%d", i)
		event := newEvent(name)
		for end := time.Now().Add(waitTimeout); ; time.Sleep(time.Millisecond) { // the other machine learns of the password a little later
			code, body, header := webRequest(t, "PROPFIND", other+"/dav/"+account+"/", account, made.Password, "")
			if code == http.StatusMultiStatus && strings.Contains(body, "/dav/"+account+"/calendar/") && header.Get("DAV") != "" {
				break
			}
			if code != http.StatusUnauthorized && code != http.StatusTooManyRequests || time.Now().After(end) {
				t.Fatalf("the calendars of %s: %d %s", account, code, body)
			}
		}
		if code, body, _ := webRequest(t, http.MethodPut, other+"/dav/"+account+"/calendar/"+name+".ics", account, made.Password, event); code != http.StatusCreated && code != http.StatusNoContent {
			t.Errorf("a new event: %d %s", code, body)
		}
		if n := h.count(name); n != 1 {
			t.Errorf("%d events %s", n, name)
		}
		for _, address := range addresses {
			code, body, header := webRequest(t, http.MethodGet, address+"/ics/"+made.Password+"/"+account+"/calendar.ics", "", "", "")
			if code != http.StatusOK || !strings.Contains(body, "SUMMARY:"+name) || header.Get("ETag") == "" || !strings.HasPrefix(header.Get("Content-Type"), "text/calendar") {
				t.Errorf("the calendar of %s at %s: %d %s", account, address, code, body)
			}
			if code, body, _ := webRequest(t, "PROPFIND", address+"/dav/nobody/", account, made.Password, ""); code != http.StatusForbidden {
				t.Errorf("the calendar of another account: %d %s", code, body)
			}
			if code, _, header := webRequest(t, "PROPFIND", address+"/dav/", account, "wrong", ""); code != http.StatusUnauthorized && code != http.StatusTooManyRequests || code == http.StatusUnauthorized && header.Get("WWW-Authenticate") == "" {
				t.Errorf("a wrong password: %d %v", code, header)
			}
		}
	}
}

// count returns the number of events of the user with a subject.
func (h *clusterHarness) count(subject string) int {
	n := 0
	for _, e := range h.simulator.Events(simulator.Adele, "") {
		if e["subject"] == subject {
			n++
		}
	}
	return n
}

// Each machine needs a listener: the accounts of one that has none are not shown by the others, which say why.
func TestClusterShardWebOfOneMachine(t *testing.T) {
	t.Parallel()
	h := newClusterHarness(t)
	h.configureWeb(t, "{listen: '127.0.0.1:0'\n  }")
	h.loginTo(t, "a0")
	a := h.run(t, "a")
	address := a.stderr.find(t, listeningPattern)
	h.awaitShards(t, "online")
	awaitPage(t, address, "all accounts", func(s webState) bool { return haveState(s, "signed_out", "a0") && s.Accounts[0].State == "signed_in" })
	if code, body, _ := webRequest(t, http.MethodGet, address+"/dav/", "a0", "x", ""); code != http.StatusNotFound {
		t.Errorf("calendars that are off: %d %s", code, body)
	}
	content, err := os.ReadFile(filepath.Join(h.dir, "graph2mqtt.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "silent.yaml", strings.Replace(string(content), "listen: ", "hosts: [], #", 1))
	b := h.start(t, "run", "--config", filepath.Join(h.dir, "silent.yaml"), "--state-dir", filepath.Join(h.dir, "b"))
	b.stderr.find(t, startingTimes(testShards/2))
	h.awaitShards(t, "online")
	awaitPage(t, address, "what is missing", func(s webState) bool {
		return slices.ContainsFunc(s.Accounts, func(a webAccount) bool {
			return a.State == "unreachable" && missingPattern.MatchString(a.Error)
		})
	})
	b.interrupt()
	awaitPage(t, address, "all accounts again", func(s webState) bool { return haveState(s, "signed_out", "a0") })
}

// A machine that is stopped gives up its shards soon, also while changes wait for it that other machines received. None is made twice.
func TestClusterShardWebStop(t *testing.T) {
	t.Parallel()
	const changes = 3
	h := newClusterHarness(t)
	h.configureWeb(t, "{listen: '127.0.0.1:0', calendars: true}")
	passwords := map[string]string{}
	for i := range webAccounts {
		account := fmt.Sprintf("a%d", i)
		h.loginTo(t, account)
		h.variables = []string{"GRAPH2MQTT_HTTP__LISTEN=127.0.0.1:1"}
		code, stdout, stderr := h.call(t, "calendars", account, "--json")
		h.variables = nil
		var access calendarAccess
		if code != 0 || json.Unmarshal([]byte(stdout), &access) != nil || access.Password == nil {
			t.Fatalf("%d %s%s", code, stdout, stderr)
		}
		passwords[account] = *access.Password
	}
	a := h.run(t, "a")
	address := a.stderr.find(t, listeningPattern)
	h.awaitShards(t, "online")
	b := h.run(t, "b")
	b.stderr.find(t, startingTimes(testShards/2))
	h.awaitShards(t, "online")
	awaitPage(t, address, "all accounts", func(s webState) bool { return haveState(s, "signed_in") })

	h.simulator.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/", Delay: 500 * time.Millisecond, Times: -1})
	var requests sync.WaitGroup
	begun := make(chan struct{}, changes*webAccounts)
	h.simulator.OnRequest(func(r simulator.Request) {
		if r.Method == http.MethodPost {
			select {
			case begun <- struct{}{}:
			default:
			}
		}
	})
	for account, password := range passwords {
		for i := range changes {
			requests.Go(func() {
				name := fmt.Sprintf("%s-%d", account, i)
				code, body, _ := webRequest(t, http.MethodPut, address+"/dav/"+account+"/calendar/"+name+".ics", account, password, newEvent(name))
				if code != http.StatusCreated && code < 500 {
					t.Errorf("%s: %d %s", name, code, body)
				}
			})
		}
	}
	<-begun
	b.interrupt()
	if code := b.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	requests.Wait()
	h.awaitShards(t, "online")
	for account := range passwords {
		for i := range changes {
			if n := h.count(fmt.Sprintf("%s-%d", account, i)); n > 1 {
				t.Errorf("%d events %s-%d", n, account, i)
			}
		}
	}
}

// newEvent returns an event as a calendar program writes it.
func newEvent(name string) string {
	return strings.ReplaceAll("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//y//EN\nBEGIN:VEVENT\nUID:"+name+"\nDTSTAMP:20260101T000000Z\nDTSTART:20261201T110000Z\nDTEND:20261201T120000Z\nSUMMARY:"+name+"\nEND:VEVENT\nEND:VCALENDAR\n", "\n", "\r\n")
}
