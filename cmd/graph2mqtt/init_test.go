package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// initial returns a harness without a configuration and the path of the one that init writes.
func initial(t *testing.T) (h *harness, file string) {
	t.Helper()
	h = newHarness(t)
	file = filepath.Join(h.dir, "new", "first.yaml")
	h.variables = []string{"GRAPH2MQTT_CONFIG=" + file}
	return h, file
}

// answer runs init and answers its questions.
func (h *harness) answer(t *testing.T, answers []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p := h.start(t, append([]string{"init"}, args...)...)
	go func() { // it waits for each question, and ends with the test at the latest
		_, _ = fmt.Fprintln(p.stdin, strings.Join(answers, "\n"))
		_ = p.stdin.Close()
	}()
	code = p.wait(t)
	return code, p.stdout.String(), p.stderr.String()
}

const client = "01234567-89ab-cdef-0123-456789abcdef"

func TestInitAsks(t *testing.T) {
	h, file := initial(t)
	m, _ := mosquitto(t, "ann", "it's")
	code, stdout, stderr := h.answer(t, []string{
		"192.168.1.10", m.URL, "ann", "wrong", "n", // the broker is asked for again
		m.URL, "ann", "it's",
		"my-app", strings.ToUpper(client), "not a tenant", "contoso.example", "My Account", "office",
		"calendar, unknown", "calendar, status, todo", "maybe", "y", "n",
	})
	if code != exitOK || stderr != "" {
		t.Fatalf("exit code %d, %s\n%s", code, stderr, stdout)
	}
	for _, want := range []string{
		"This writes " + file + ".",
		"This cannot be used: want mqtt://HOST:PORT (or mqtts, ws, wss), not \"192.168.1.10\"; use mqtt://192.168.1.10.",
		"The broker cannot be used now: connect to " + m.URL + ": the broker does not authorize this client: are the user name and the password right?\n",
		"The broker accepts the connection.",
		`This cannot be used: want the application (client) id of the app registration, such as 00000000-0000-0000-0000-000000000000, not "my-app".`,
		`This cannot be used: want common, organizations, consumers, or the id or domain of a tenant, not "not a tenant".`,
		"This cannot be used: want an id of the letters a to z, digits and underscores.",
		`This cannot be used: want all, or some of auto_reply, calendar, chat, email, planner, query, status, todo, not "unknown"; other types need options, which you can add to the file later.`,
		`Answer y or n, not "maybe".`,
		"Sign in: graph2mqtt login office\nStart the bridge: graph2mqtt run\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "it's") {
		t.Errorf("the password is printed:\n%s", stdout)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Configuration of graph2mqtt. Every key: https://github.com/graph2mqtt/graph2mqtt/blob/main/docs/configuration.md\n" +
		"mqtt:\n  url: " + m.URL + "\n  username: ann\n  password: it's\n" +
		"accounts:\n  office:\n    client_id: " + strings.ToUpper(client) + "\n    tenant: contoso.example\n    enable_update: true\n    sensors:\n" +
		"      calendar: {type: calendar}\n      presence: {type: status, enable_update: true}\n      todo: {type: todo}\n"
	if diff := cmp.Diff(want, string(content)); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := filepath.Glob(filepath.Join(h.dir, "new", ".*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
	if code, stdout, _ := h.call(t, "check"); code != exitOK {
		t.Errorf("check: %s", stdout)
	}
}

// Without input every question but those without a default is answered.
func TestInitInAScript(t *testing.T) {
	h, file := initial(t)
	h.write(t, "password", "secret\n")
	base := []string{"init", "--mqtt", "mqtt://127.0.0.1:1", "--client-id", client, "--username", "ann", "--password-file", filepath.Join(h.dir, "password")}
	code, stdout, stderr := h.call(t, base...)
	if code != exitOK || stderr != "" || !strings.Contains(stdout, "The broker cannot be used now: connect to mqtt://127.0.0.1:1") {
		t.Fatalf("exit code %d, %s\n%s", code, stderr, stdout)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), "password_file: "+filepath.Join(h.dir, "password")) || strings.Contains(string(content), "secret") || strings.Contains(string(content), "enable_update") ||
		!strings.Contains(string(content), "  work:\n") || !strings.Contains(string(content), "calendar: {type: calendar}\n") {
		t.Errorf("wrote:\n%s", content)
	}

	// A file is never changed, not even by another run that began before.
	code, _, stderr = h.call(t, base...)
	if want := "graph2mqtt: " + file + " exists and is not changed; edit it, or name another file with --config\n"; code != exitUsage || stderr != want {
		t.Errorf("exit code %d, %s, want %s", code, stderr, want)
	}
	if err := writeNewFile(file, []byte("other")); err == nil || err.Error() != file+" exists and is not changed" {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(content) {
		t.Errorf("the file was changed: %s, %v", after, err)
	}
}

// The commands that init prints use the file that it wrote.
func TestInitPrintsFlagsOfTheNextCommands(t *testing.T) {
	h, _ := initial(t)
	file := filepath.Join(h.dir, "other file.yaml")
	code, stdout, stderr := h.call(t, "init", "--mqtt", "mqtt://127.0.0.1:1", "--client-id", client, "--config", file)
	if code != exitOK {
		t.Fatalf("exit code %d, %s", code, stderr)
	}
	flags := " --config '" + file + "'"
	if want := "Sign in: graph2mqtt login work" + flags + "\nStart the bridge: graph2mqtt run" + flags + "\n"; !strings.HasSuffix(stdout, want) {
		t.Errorf("no %q at the end of:\n%s", want, stdout)
	}
}

func TestInitRefusesWrongAnswers(t *testing.T) {
	h, file := initial(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "--mqtt: this is required, and the standard input has ended"},
		{[]string{"--mqtt", "127.0.0.1"}, `--mqtt: want mqtt://HOST:PORT (or mqtts, ws, wss), not "127.0.0.1"; use mqtt://127.0.0.1`},
		{[]string{"--mqtt", "mqtt://127.0.0.1:1"}, "--client-id: this is required, and the standard input has ended"},
		{[]string{"--mqtt", "mqtt://127.0.0.1:1", "--username", "ann", "--password-file", "/none"}, "--password-file: read /none: no such file or directory"},
		{[]string{"--mqtt", "mqtt://127.0.0.1:1", "--client-id", "x"}, `--client-id: want the application (client) id of the app registration, such as 00000000-0000-0000-0000-000000000000, not "x"`},
		{[]string{"--mqtt", "mqtt://127.0.0.1:1", "--client-id", client, "--account", "bridge"}, "--account: want another id: this one is reserved for the bridge"},
		{[]string{"--mqtt", "mqtt://127.0.0.1:1", "--client-id", client, "--sensors", "group_calendar"}, `--sensors: want all, or some of auto_reply, calendar, chat, email, planner, query, status, todo, not "group_calendar"; other types need options, which you can add to the file later`},
		{[]string{"--mqtt", "mqtt://127.0.0.1:1", "--client-id", client, "--tenant", "consumers", "--sensors", "status"}, `--sensors: want all, or some of auto_reply, calendar, email, query, todo, not "status"; other types need options, which you can add to the file later`},
		{[]string{"--config", "first.toml"}, "--config: want a file that ends in .yaml or .yml, not first.toml"},
	} {
		code, stdout, stderr := h.call(t, append([]string{"init"}, test.args...)...)
		if code != exitUsage || stderr != "graph2mqtt: "+test.want+"\n" {
			t.Errorf("%v: exit code %d, got %swant %s\n%s", test.args, code, stderr, test.want, stdout)
		}
	}
	if _, err := os.Stat(filepath.Dir(file)); err == nil {
		t.Error("something was written")
	}
}

// Every sensor that init offers is valid as it writes it.
func TestInitWritesValidSensors(t *testing.T) {
	for _, tenant := range []string{"common", "consumers"} {
		for _, update := range []bool{false, true} {
			i := &initializer{program: &program{environ: []string{"HOME=/home/ann"}}, file: "first.yaml",
				setup: setup{broker: "mqtt://127.0.0.1", account: "work", clientID: client, tenant: tenant, update: update}}
			for _, k := range i.offered() {
				i.sensors = append(i.sensors, k.Name)
			}
			c, err := i.check(i.content())
			if err != nil {
				t.Fatalf("%v\n%s", err, i.content())
			}
			if got := len(c.Accounts["work"].Sensors); got != len(i.sensors) || got < 4 {
				t.Errorf("%d sensors of %d", got, len(i.sensors))
			}
			for _, s := range c.Accounts["work"].Sensors {
				if s.EnableUpdate != update && (len(runtime.Operations(s)) > 0 || !update) {
					t.Errorf("%s: enable_update is %t", s.ID, s.EnableUpdate)
				}
			}
		}
	}
}

// init signs in with the simulated Microsoft 365, which the environment names.
func TestInitSignsIn(t *testing.T) {
	h, file := initial(t)
	h.variables = append(h.variables, "GRAPH2MQTT_ACCOUNTS__WORK__CLOUD__LOGIN="+h.simulator.LoginURL(), "GRAPH2MQTT_ACCOUNTS__WORK__CLOUD__GRAPH="+h.simulator.GraphURL(),
		"GRAPH2MQTT_ACCOUNTS__WORK__CLOUD__AUDIENCE=https://graph.microsoft.com", "GRAPH2MQTT_ACCOUNTS__WORK__CLOUD__CA_FILE="+filepath.Join(h.dir, "ca.pem"))
	p := h.start(t, "init", "--mqtt", startBroker(t).URL(), "--username", "", "--client-id", simulator.ContosoClient, "--tenant", "common", "--account", "work",
		"--sensors", "calendar", "--enable-update=false", "--sign-in")
	h.openURL(t, p.stdout.find(t, linkPattern))
	if code := p.wait(t); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if out := p.stdout.String(); !strings.Contains(out, "is signed in as") || !strings.HasSuffix(out, "Start the bridge: graph2mqtt run\n") || strings.Contains(out, "Sign in:") {
		t.Errorf("printed:\n%s", out)
	}
	if _, err := config.Load(config.Sources{File: file, Environ: []string{"HOME=" + h.dir}}, runtime.ConfigKinds(runtime.Kinds())); err != nil {
		t.Error(err)
	}
}

func TestInitIsInterrupted(t *testing.T) {
	h, file := initial(t)
	p := h.start(t, "init")
	p.stdout.find(t, regexp.MustCompile("Address of the MQTT broker"))
	p.interrupt()
	if code := p.wait(t); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a file was written")
	}
}
