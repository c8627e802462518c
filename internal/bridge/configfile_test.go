package bridge_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/bridge"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/web/page"
)

// firstForm is the form of a first configuration.
func firstForm() page.Form {
	return page.Form{
		Broker: &page.FormBroker{URL: "mqtt://localhost", Username: "me", Password: "secret"}, Account: "work",
		NewAccount: &page.FormAccount{ClientID: simulator.ContosoClient, Tenant: "common", EnableUpdate: true},
		Sensors:    []page.FormSensor{{ID: "calendar", Type: "calendar"}, {ID: "presence", Type: "status", EnableUpdate: true}},
	}
}

const firstLines = "mqtt:\n  url: mqtt://localhost\n  username: me\n  password: secret\naccounts:\n  work:\n    client_id: " + simulator.ContosoClient +
	"\n    enable_update: true\n    sensors:\n      calendar: {type: calendar}\n      presence: {type: status, enable_update: true}\n"

func newFile(t *testing.T, name string) (string, *bridge.ConfigFile) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	return file, bridge.NewConfigFile(func() config.Sources { return config.Sources{File: file, Environ: []string{"HOME=/home/ann"}} }, runtime.Kinds(), "")
}

func TestFormWrites(t *testing.T) {
	file, f := newFile(t, "below/graph2mqtt.yaml")
	d, err := f.Preview(firstForm())
	if err != nil {
		t.Fatal(err)
	}
	if d.ByHand != "" || d.File != file || !d.Password || d.Lines != strings.Replace(firstLines, "secret", "••••••", 1) {
		t.Errorf("the draft is %+v", d)
	}
	if err := f.Write(firstForm(), d.Digest); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != firstLines {
		t.Errorf("the file is %s, %v", b, err)
	}
	select {
	case <-f.Written():
	default:
		t.Error("it does not tell that it wrote")
	}
	// It is not written again: the file is not as it was.
	var wrong *page.FormError
	if err := f.Write(firstForm(), d.Digest); !errors.As(err, &wrong) {
		t.Errorf("again: %v", err)
	}
}

// A link to the file, its mode and what else is in it stay.
// The first configuration keeps the address of a flag that needs no password, and turns on native calendars with what they need.
func TestFormWithCalendars(t *testing.T) {
	form := firstForm()
	form.Calendars = true
	for listen, want := range map[string]string{
		"127.0.0.1:8099": "http:\n  listen: 127.0.0.1:8099\n  calendars: true\n", "": "http:\n  calendars: true\n", "0.0.0.0:8099": "http:\n  calendars: true\n",
	} {
		file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
		flags := map[string]any{}
		environ := []string{"HOME=/home/ann"}
		if listen != "" {
			flags["http.listen"] = listen
			environ = append(environ, "GRAPH2MQTT_HTTP__PASSWORD=at-least-8-characters")
		}
		f := bridge.NewConfigFile(func() config.Sources { return config.Sources{File: file, Environ: environ, Flags: flags} }, runtime.Kinds(), "")
		d, err := f.Preview(form)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.NewReplacer("secret", "••••••", "{type: calendar}", "{type: calendar, on_demand: true}").Replace(firstLines) + want
		if d.Lines != lines {
			t.Errorf("%q: %s", listen, d.Lines)
		}
		if err := f.Write(form, d.Digest); err != nil {
			t.Error(err)
		}
	}
}

func TestFormKeepsTheFile(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "real.yaml"), filepath.Join(dir, "graph2mqtt.yaml")
	const before = "# mine\nlog: {level: debug}\n"
	if err := os.WriteFile(file, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	f := bridge.NewConfigFile(func() config.Sources { return config.Sources{File: link, Environ: []string{"HOME=/home/ann"}} }, runtime.Kinds(), "")
	d, err := f.Preview(firstForm())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(firstForm(), d.Digest); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != before+firstLines {
		t.Errorf("the file is %s, %v", b, err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode: %v, %v", info, err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("left behind: %v, %v", files, err)
	}
}

func TestFormByHand(t *testing.T) {
	for name, want := range map[string]string{"graph2mqtt.toml": "lines can be added only to a YAML file", "graph2mqtt.json": "lines can be added only to a YAML file"} {
		_, f := newFile(t, name)
		d, err := f.Preview(firstForm())
		if err != nil || d.ByHand != want || !strings.Contains(d.Lines, "client_id: "+simulator.ContosoClient) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		var byHand *page.ByHandError
		if err := f.Write(firstForm(), d.Digest); !errors.As(err, &byHand) || byHand.Reason != want {
			t.Errorf("%s: %v", name, err)
		}
		wrong := firstForm()
		wrong.NewAccount.ClientID = "x" // is found although the file cannot be changed
		if _, err := f.Preview(wrong); !strings.Contains(problems(err), "accounts.work.client_id: want the application (client) id") {
			t.Errorf("%s: %v", name, problems(err))
		}
	}
	// A file that is no place to write to.
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := bridge.NewConfigFile(func() config.Sources { return config.Sources{File: filepath.Join(blocked, "graph2mqtt.yaml")} }, runtime.Kinds(), "")
	if _, err := f.Preview(firstForm()); !strings.Contains(problems(err), "not a directory") {
		t.Errorf("below a file: %v", problems(err))
	}
	readOnly := bridge.NewConfigFile(func() config.Sources {
		return config.Sources{File: filepath.Join(dir, "graph2mqtt.yaml"), Environ: []string{"HOME=/home/ann"}}
	}, runtime.Kinds(), "it is only an example")
	if d, err := readOnly.Preview(firstForm()); err != nil || d.ByHand != "it is only an example" {
		t.Errorf("read-only: %+v, %v", d, err)
	}
}

// problems returns what is wrong in a form.
func problems(err error) string {
	var wrong *page.FormError
	if !errors.As(err, &wrong) {
		return "no FormError"
	}
	var all []string
	for _, p := range wrong.Problems {
		all = append(all, strings.TrimPrefix(p.Path+": "+p.Message, ": "))
	}
	return strings.Join(all, "\n")
}

func TestFormRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*page.Form)
		want   string
	}{
		{"no broker", func(f *page.Form) { f.Broker = nil }, "mqtt: is required"},
		{"a wrong broker", func(f *page.Form) { f.Broker.URL = "http://localhost" }, `mqtt.url: want mqtt://HOST:PORT (or mqtts, ws, wss), not "http://localhost"; use mqtt://localhost`},
		{"a wrong id", func(f *page.Form) { f.Account = "My work" }, "account: want an id of the letters a to z, digits and underscores"},
		{"a reserved id", func(f *page.Form) { f.Account = "bridge" }, "accounts.bridge: want another id: this one is reserved for the bridge"},
		{"no account", func(f *page.Form) { f.NewAccount = nil }, `account: there is no account "work"`},
		{"no client id", func(f *page.Form) { f.NewAccount.ClientID = "" }, "accounts.work.client_id: is required, such as 00000000-0000-0000-0000-000000000000"},
		{"a wrong type", func(f *page.Form) { f.Sensors[0].Type = "calender" }, "did you mean calendar?"},
		{"a wrong sensor id", func(f *page.Form) { f.Sensors[0].ID = "a.b" }, "sensors[0].id: want an id"},
		{"twice", func(f *page.Form) { f.Sensors[1].ID = "calendar" }, "accounts.work.sensors.calendar: is configured already; choose another id"},
		{"a key that is not offered", func(f *page.Form) { f.Sensors[0].Options = map[string]string{"name": "x"} }, "accounts.work.sensors.calendar.name: cannot be set in this form"},
		{"a path", func(f *page.Form) { f.NewAccount.Tenant = "../x" }, "accounts.work.tenant: want common"},
		{"another line", func(f *page.Form) { f.NewAccount.Tenant = "x\ncertificate_file: /etc/passwd" }, "tenant: want text without control characters"},
		{"a file of a secret", func(f *page.Form) { f.Sensors[0].Options = map[string]string{"password_file": "/etc/passwd"} }, "accounts.work.sensors.calendar.password_file: cannot be set in this form"},
		{"a missing option", func(f *page.Form) { f.Sensors[0].Type = "group_calendar" }, "accounts.work.sensors.calendar.group: is required"},
	} {
		file, f := newFile(t, "graph2mqtt.yaml")
		form := firstForm()
		test.change(&form)
		if _, err := f.Preview(form); !strings.Contains(problems(err), test.want) {
			t.Errorf("%s: got %s, want %s", test.name, problems(err), test.want)
		}
		if err := f.Write(form, ""); err == nil {
			t.Errorf("%s: it was written", test.name)
		}
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("%s: there is a file", test.name)
		}
	}
}

// The form adds sensors below accounts, not below organizations.
func TestFormRefusesAnOrganization(t *testing.T) {
	_, f := newFile(t, "graph2mqtt.yaml")
	f.SetRunning(&config.Config{Accounts: map[string]*config.Account{"contoso": {ID: "contoso", Application: true}}})
	form := page.Form{Account: "contoso", Sensors: []page.FormSensor{{ID: "lobby", Type: "room"}}}
	const want = "account: contoso is an organization; add its sensors in the configuration file"
	if _, err := f.Preview(form); problems(err) != want {
		t.Errorf("got %s", problems(err))
	}
}

// A broker that is known without the file need not be in the form.
func TestFormWithoutBroker(t *testing.T) {
	file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
	var defaults map[string]any
	f := bridge.NewConfigFile(func() config.Sources {
		return config.Sources{File: file, Environ: []string{"HOME=/home/ann"}, Defaults: defaults}
	}, runtime.Kinds(), "")
	form := firstForm()
	form.Broker = nil
	var wrong *page.FormError
	if _, err := f.Preview(form); !errors.As(err, &wrong) || len(wrong.Problems) != 1 || wrong.Problems[0].Path != "mqtt" {
		t.Errorf("without any broker: %v", err)
	}
	defaults = map[string]any{"mqtt.url": "mqtt://core-mosquitto:1883"} // Home Assistant names it later
	d, err := f.Preview(form)
	_, want, _ := strings.Cut(firstLines, "password: secret\n")
	if err != nil || d.Lines != want || f.Describe().Broker != "mqtt://core-mosquitto:1883" {
		t.Errorf("%v: %q, want %q; the broker is %q", err, d.Lines, want, f.Describe().Broker)
	}
	if err := f.Write(form, d.Digest); err != nil {
		t.Error(err)
	}
}

// A link to a file that is not there stays: its target may be on a disk that is not mounted.
func TestFormKeepsABrokenLink(t *testing.T) {
	file, f := newFile(t, "graph2mqtt.yaml")
	target := filepath.Join(t.TempDir(), "away", "graph2mqtt.yaml")
	if err := os.Symlink(target, file); err != nil {
		t.Skip(err)
	}
	d, err := f.Preview(firstForm())
	if err != nil {
		t.Fatal(err)
	}
	if want := "graph2mqtt cannot write it (it is a link to a file that does not exist)"; d.ByHand != want {
		t.Errorf("by hand: %q, want %q", d.ByHand, want)
	}
	var refused *page.ByHandError
	if err := f.Write(firstForm(), d.Digest); !errors.As(err, &refused) {
		t.Errorf("written: %v", err)
	}
	if got, err := os.Readlink(file); err != nil || got != target {
		t.Errorf("the link is %q, %v", got, err)
	}
}
