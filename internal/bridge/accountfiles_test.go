package bridge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
)

// writeAccount writes the file of an account of the simulated Microsoft 365.
func (h *harness) writeAccount(name, more string) {
	h.t.Helper()
	text := fmt.Sprintf("client_id: %s\ncloud: {login: %q, graph: %q, audience: https://graph.microsoft.com, ca_file: %q}\ntimezone: Europe/Berlin\n%s",
		simulator.ContosoClient, h.Microsoft.LoginURL(), h.Microsoft.GraphURL(), h.path("ca.pem"), more)
	h.writeFile("accounts.d/"+name, text)
}

func (h *harness) writeFile(name, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) removeFile(name string) {
	h.t.Helper()
	if err := os.Remove(h.path(name)); err != nil {
		h.t.Fatal(err)
	}
}

const (
	annFile = "sensors:\n  calendar: {type: calendar}\n"
	other   = "  other:\n    client_id: $CLIENT\n    cloud: $CLOUD\n    timezone: Europe/Berlin\n    sensors:\n      calendar: {type: calendar}\n"
)

// reload gives the bridge the configuration as it is now, as the program does.
func (h *harness) reload(running *config.Config) *config.Config {
	h.t.Helper()
	next := h.load()
	next.KeepAccounts(running)
	h.Give(next)
	return next
}

// An account in a file of its own comes, stays while its file is broken, and goes with it. Its sign-in stays, and no other account
// notices.
func TestAccountFilesComeAndGo(t *testing.T) {
	h := newHarness(t)
	h.Configure(other)
	h.writeAccount("ann.yaml", annFile)
	h.SignIn("other")
	h.SignIn("ann")
	h.removeFile("accounts.d/ann.yaml")
	h.Start()
	h.Shows("graph2mqtt/other/calendar/availability", "online")
	h.Shows("graph2mqtt/other/state", "online")
	h.Publish("graph2mqtt/bridge/request/refresh", "{}") // the second poll reads the calendar's properties
	h.Holds("graph2mqtt/other/calendar/attributes", func(p string) bool { return strings.Contains(p, `"can_edit":true`) })
	mark := h.settledMark()

	h.writeAccount("ann.yaml", annFile)
	running := h.reload(h.load())
	h.Shows("graph2mqtt/ann/calendar/availability", "online")
	h.Shows("graph2mqtt/ann/state", "online")
	h.Holds("homeassistant/device/graph2mqtt-ann-calendar/config", func(p string) bool { return p != "" })

	h.writeFile("accounts.d/ann.yaml", "client_id: [")
	broken := h.settledMark()
	running = h.reload(running)
	running = h.reload(running) // it is received when the first is applied
	for _, m := range h.since(broken) {
		if strings.HasPrefix(m.Topic, "graph2mqtt/ann/") && !strings.HasSuffix(m.Topic, "/status") {
			t.Errorf("%s = %s because of a mistake in its file", m.Topic, m.Payload)
		}
	}
	d := h.file.Describe()
	want := []page.ConfigProblem{{Path: "accounts.ann", File: h.path("accounts.d/ann.yaml"), Line: 1, Message: "did not find expected node content"}}
	if diff := cmp.Diff(want, d.Problems); diff != "" || d.Accounts != h.path("accounts.d") {
		t.Error(d.Accounts, diff)
	}

	h.removeFile("accounts.d/ann.yaml")
	h.reload(running)
	h.Gone("graph2mqtt/ann/")
	h.Gone("graph2mqtt-ann-calendar")
	for _, m := range h.since(mark) {
		if strings.HasPrefix(m.Topic, "graph2mqtt/other/") && !strings.HasSuffix(m.Topic, "/status") {
			t.Errorf("%s = %s, though nothing changed there", m.Topic, m.Payload)
		}
	}
	h.writeAccount("ann.yaml", annFile) // signed in as before
	h.reload(h.load())
	h.Shows("graph2mqtt/ann/calendar/availability", "online")
}

// An account whose file is broken at the start is offline, and Home Assistant keeps its entities until the file is corrected or gone.
func TestAccountFileIsBrokenAtTheStart(t *testing.T) {
	h := newHarness(t)
	h.Configure(other)
	for _, name := range []string{"ann", "ben"} {
		h.writeAccount(name+".yaml", annFile)
		h.SignIn(name)
	}
	h.SignIn("other")
	h.Start()
	const announced = "homeassistant/device/graph2mqtt-%s-calendar/config"
	for _, name := range []string{"ann", "ben"} {
		h.Shows("graph2mqtt/"+name+"/calendar/availability", "online")
		h.Holds(fmt.Sprintf(announced, name), func(p string) bool { return p != "" })
	}
	h.Stop()
	h.writeFile("accounts.d/ann.yaml", "client_id: [")
	h.writeFile("accounts.d/ben.yaml", "client_id: [")
	mark := h.mark()
	h.Start()
	h.Next(mark, "graph2mqtt/bridge/state", func(p string) bool { return p == "online" })
	h.Shows("graph2mqtt/other/calendar/availability", "online")
	h.settledMark()
	for _, name := range []string{"ann", "ben"} {
		h.Shows("graph2mqtt/"+name+"/state", "offline")
		h.Holds(fmt.Sprintf(announced, name), func(p string) bool { return p != "" })
	}
	for _, m := range h.since(mark) {
		if strings.Contains(m.Topic, "ann") && m.Payload == "" {
			t.Errorf("%s was removed", m.Topic)
		}
	}
	h.writeAccount("ann.yaml", annFile)
	h.removeFile("accounts.d/ben.yaml")
	h.reload(h.load())
	h.Shows("graph2mqtt/ann/calendar/availability", "online")
	h.Shows("graph2mqtt/ann/state", "online")
	h.Gone("graph2mqtt/ben/")
	h.Gone("graph2mqtt-ben-calendar")
}

// The form writes a new account to a file of its own where the directory exists, and further sensors where the account is.
func TestFormWritesAccountFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "graph2mqtt.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "accounts.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	main := "mqtt: {url: mqtt://localhost}\naccounts: {work: {client_id: " + simulator.ContosoClient + "}}\n"
	write("graph2mqtt.yaml", main)
	write("accounts.d/bad.yaml", "client_id: [")
	sources := func() config.Sources { return config.Sources{File: file, Environ: []string{"HOME=/home/ann"}} }
	f := bridge.NewConfigFile(sources, runtime.Kinds(), "")
	running := func() {
		t.Helper()
		c, err := runtime.Load(sources(), runtime.Kinds())
		if err != nil {
			t.Fatal(err)
		}
		f.SetRunning(c)
	}
	running()
	form := page.Form{Account: "ann", NewAccount: &page.FormAccount{ClientID: simulator.ContosoClient}, Sensors: []page.FormSensor{{ID: "calendar", Type: "calendar"}}}
	own := filepath.Join(dir, "accounts.d", "ann.yaml")
	submit := func(form page.Form, file, lines string) {
		t.Helper()
		d, err := f.Preview(form)
		if err != nil {
			t.Fatal(err, problems(err))
		}
		if d.File != file || d.Lines != lines || d.ByHand != "" {
			t.Errorf("the draft is %+v", d)
		}
		if err := f.Write(form, d.Digest); err != nil {
			t.Fatal(err)
		}
		running()
	}
	lines := "client_id: " + simulator.ContosoClient + "\nsensors:\n  calendar: {type: calendar}\n"
	submit(form, own, lines)
	if info, err := os.Stat(own); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	submit(page.Form{Account: "ann", Sensors: []page.FormSensor{{ID: "mail", Type: "email"}}}, own, "sensors:\n  mail: {type: email}\n")
	if b, err := os.ReadFile(own); err != nil || string(b) != lines+"  mail: {type: email}\n" {
		t.Errorf("%s, %v", b, err)
	}
	submit(page.Form{Account: "work", Sensors: []page.FormSensor{{ID: "mail", Type: "email"}}}, file, "accounts:\n  work:\n    sensors:\n      mail: {type: email}\n")

	for account, want := range map[string]string{
		"ann": "accounts.ann: is configured already; choose another id", "bad": "accounts.bad: the file " + filepath.Join(dir, "accounts.d", "bad.yaml") + " exists; correct or remove it, or choose another id",
		"../x": "account: want an id of the letters a to z, digits and underscores", "bridge": "accounts.bridge: the name of the file is the id of the account: want another id: this one is reserved for the bridge",
	} {
		form.Account = account
		if _, err := f.Preview(form); problems(err) != want {
			t.Errorf("%s: got %s, want %s", account, problems(err), want)
		}
	}
	form.Account = "ben"
	form.NewAccount.ClientID = "x"
	if _, err := f.Preview(form); !strings.HasPrefix(problems(err), "accounts.ben.client_id: want the application (client) id") {
		t.Errorf("got %s", problems(err))
	}
	form.NewAccount.ClientID = simulator.ContosoClient
	write("accounts.d/ben.toml", "client_id = '"+simulator.ContosoClient+"'\n") // another program writes it
	if _, err := f.Preview(form); !strings.Contains(problems(err), "accounts.ben: the account is also in") {
		t.Errorf("got %s", problems(err))
	}
	if err := os.Chmod(filepath.Join(dir, "accounts.d"), 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "accounts.d"), 0o700) })
	form.Account = "cleo"
	if d, err := f.Preview(form); os.Geteuid() != 0 && (err != nil || !strings.Contains(d.ByHand, "cannot write it")) {
		t.Errorf("%+v, %v", d, err)
	}
}

// Hundreds of files start, and a reload touches only what changed.
func TestManyAccountFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of accounts")
	}
	const n = 300
	h := newHarness(t)
	h.Configure(other)
	for i := range n {
		h.writeAccount(fmt.Sprintf("user_%03d.yaml", i), annFile)
	}
	began := time.Now()
	h.Start()
	h.Shows(fmt.Sprintf("graph2mqtt/user_%03d/state", n-1), "offline")
	h.Shows("graph2mqtt/user_000/state", "offline")
	t.Logf("%d accounts started in %s", n, time.Since(began))
	mark := h.settledMark()
	h.removeFile("accounts.d/user_007.yaml")
	h.writeAccount("user_300.yaml", annFile)
	h.writeFile("accounts.d/user_008.yaml", "client_id: [")
	began = time.Now()
	h.reload(h.file.Running())
	h.Gone("graph2mqtt/user_007/")
	h.Shows("graph2mqtt/user_300/state", "offline")
	t.Logf("reloaded in %s", time.Since(began))
	touched := map[string]bool{}
	for _, m := range h.since(mark) {
		if account, _, ok := strings.Cut(strings.TrimPrefix(m.Topic, "graph2mqtt/user_"), "/"); ok && strings.HasPrefix(m.Topic, "graph2mqtt/user_") {
			touched[account] = true
		}
	}
	if diff := cmp.Diff(map[string]bool{"007": true, "300": true}, touched); diff != "" {
		t.Error(diff)
	}
}
