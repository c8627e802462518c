package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	stdruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

var update = flag.Bool("update", false, "write the golden files and the generated documentation")

// golden compares a text with a file, or writes the file with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is stale (go test ./cmd/graph2mqtt -update writes it anew): %s", file, diff)
	}
}

func TestPermissions(t *testing.T) {
	h := newHarness(t)
	code, stdout, stderr := h.call(t, "permissions", "--format", "json")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	golden(t, filepath.Join("testdata", "permissions.json"), stdout)

	code, stdout, stderr = h.call(t, "permissions", "--format", "xml")
	if code != 1 || stdout != "" || stderr != "graph2mqtt: --format: want table, markdown, json, manifest, link, az, not \"xml\"\n" {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}

// login first requests exactly the permissions that the command permissions shows.
func TestPermissionsMatchLogin(t *testing.T) {
	h := newHarness(t)
	_, stdout, _ := h.call(t, "permissions", "--format", "json")
	var said map[string]struct{ Requested []string }
	if err := json.Unmarshal([]byte(stdout), &said); err != nil {
		t.Fatal(err)
	}
	h.login(t)
	var asked []string
	for _, r := range h.simulator.Requests() {
		if strings.HasSuffix(r.Path, "/authorize") {
			for _, scope := range strings.Fields(r.Query.Get("scope")) {
				if scope, ok := strings.CutPrefix(scope, "https://graph.microsoft.com/"); ok {
					asked = append(asked, scope)
				}
			}
			break
		}
	}
	slices.Sort(asked)
	if diff := cmp.Diff(asked, said["work"].Requested); diff != "" {
		t.Error(diff)
	}
}

// Every scope that any kind can request is known.
func TestScopesHaveInfo(t *testing.T) {
	permissions := []graph.Permission{{Scope: "User.Read"}, {Scope: "MailboxSettings.Read"}}
	for _, k := range runtime.Kinds() {
		s := k.New()
		permissions = append(permissions, s.Permissions()...)
		for _, op := range s.Operations() {
			permissions = append(permissions, op.Permissions...)
		}
	}
	for _, n := range permissions {
		for _, scope := range append([]string{n.Scope}, n.Alternatives...) {
			if f, ok := graph.LookupScope(scope); !ok || f.ID == "" {
				t.Errorf("%s is unknown", scope)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	h := newHarness(t)
	if code, stdout, stderr := h.call(t, "check"); code != 0 || stdout+stderr != "" {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	h.write(t, "graph2mqtt.yaml", `mqtt: {url: "http://broker"}
accounts:
  work:
    client_id: 01234567-89ab-cdef-0123-456789abcdef
    tennant: common
    sensors:
      out_of_office: {type: auto_replay}
`)
	code, stdout, stderr := h.call(t, "check")
	for _, want := range []string{
		"accounts.work.sensors.out_of_office.type (line 7): want ",
		"accounts.work.tennant (line 5): unknown key; did you mean tenant?",
		`mqtt.url (line 1): want mqtt://HOST:PORT (or mqtts, ws, wss), not "http://broker"`,
	} {
		if !strings.Contains("\n"+stdout, "\n"+want) {
			t.Errorf("no %q in %s", want, stdout)
		}
	}
	if code != 1 || stderr != "" || strings.Count(stdout, "\n") != 3 {
		t.Errorf("%d, %q, %s", code, stdout, stderr)
	}
	// Other commands print the same on standard error.
	code, other, stderr := h.call(t, "run")
	if code != 1 || other != "" || stderr != "graph2mqtt: "+stdout {
		t.Errorf("%d, %q, %s", code, other, stderr)
	}
}

// A file that only affects one account is a problem, too.
func TestCheckReadsCertificates(t *testing.T) {
	h := newHarness(t)
	h.write(t, "own.pem", "no certificate")
	h.write(t, "graph2mqtt.yaml", `mqtt: {url: "mqtt://broker"}
accounts:
  work:
    client_id: 01234567-89ab-cdef-0123-456789abcdef
    certificate_file: `+filepath.Join(h.dir, "own.pem")+"\n")
	code, stdout, stderr := h.call(t, "check")
	want := "accounts.work.certificate_file (line 5): read " + filepath.Join(h.dir, "own.pem") + ": want a private key in PEM form; the file has none\n"
	if diff := cmp.Diff(want, stdout); code != 1 || stderr != "" || diff != "" {
		t.Errorf("%d, %q, %s", code, stderr, diff)
	}
}

// check says what run would refuse about the key and the token of a workload, and creates nothing.
func TestCheckReadsKeyAndToken(t *testing.T) {
	const advice = "; want 32 bytes in base64, for example the output of: openssl rand -base64 32"
	const cluster = "cluster: {nats: [nats://127.0.0.1:1]}\n"
	h := newHarness(t)
	file := func(name string) string { return filepath.Join(h.dir, name) }
	h.write(t, "good", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	h.write(t, "short", base64.StdEncoding.EncodeToString(make([]byte, 16)))
	h.write(t, "words", "hunter2 hunter2")
	for _, test := range []struct{ keys, want string }{
		{"", ""}, // run creates a key
		{"key_file: " + file("good") + "\n", ""},
		{cluster + "key_file: " + file("good") + "\n", ""},
		{"key_file: " + file("none") + "\n", "key_file: the file " + file("none") + " does not exist; create it with: openssl rand -base64 32 > " + file("none")},
		{"key_file: " + file("short") + "\n", "the key file " + file("short") + " has 16 bytes" + advice},
		{"key_file: " + file("words") + "\n", "the key file " + file("words") + " is not base64" + advice},
		{cluster, "cluster: every machine needs the same key, and this one has none: copy the file " + file("state/key") + " of the machine that was first, or create one for all with: " +
			"openssl rand -base64 32 > " + file("state/key") + "; key_file, GRAPH2MQTT_KEY and the credential graph2mqtt-key work, too"},
	} {
		h.write(t, "graph2mqtt.yaml", "mqtt: {url: mqtt://127.0.0.1:1}\n"+test.keys+"accounts: {work: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}\n")
		code, stdout, stderr := h.call(t, "check")
		if wanted := min(1, len(test.want)); code != wanted || strings.TrimSuffix(stdout, "\n") != test.want || stderr != "" {
			t.Errorf("%s: %d, %s%s", test.keys, code, stdout, stderr)
		}
		if _, err := os.Stat(file("state")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("check made the state directory", err)
		}
		if test.want == "" {
			continue
		}
		if code, _, stderr := h.call(t, "run"); code != exitFailed || !strings.HasSuffix(stderr, "graph2mqtt: "+test.want+"\n") {
			t.Errorf("%s: run: %d, %s", test.keys, code, stderr)
		}
		if err := os.RemoveAll(file("state")); err != nil {
			t.Fatal(err)
		}
	}
	h.write(t, "graph2mqtt.yaml", "mqtt: {url: mqtt://127.0.0.1:1}\norganizations:\n  contoso:\n    client_id: 01234567-89ab-cdef-0123-456789abcdef\n    tenant: contoso.example\n    rooms: {}\n    federated_token_file: "+file("token")+"\n")
	want := "organizations.contoso.federated_token_file (line 7): read " + file("token") + ": no such file or directory\n"
	if code, stdout, stderr := h.call(t, "check"); code != exitUsage || stdout != want || stderr != "" {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
	h.write(t, "token", "a.b.c")
	if code, stdout, stderr := h.call(t, "check"); code != exitOK || stdout+stderr != "" {
		t.Errorf("%d, %s%s", code, stdout, stderr)
	}
}

func TestSecondRun(t *testing.T) {
	h := newHarness(t)
	h.configure(t, startBroker(t).URL())
	first := h.start(t, "run", "--log-format", "json")
	first.stderr.find(t, regexp.MustCompile(`"msg":"connected to the broker"`))
	code, stdout, stderr := h.call(t, "run", "--log-level", "error")
	want := fmt.Sprintf("graph2mqtt: another graph2mqtt (process %d) is using %s: stop it first, or give this one a directory of its own with --state-dir\n",
		os.Getpid(), filepath.Join(h.dir, "state"))
	if diff := cmp.Diff(want, stderr); code != 2 || stdout != "" || diff != "" {
		t.Errorf("%d, %s, %s", code, stdout, diff)
	}
	first.interrupt()
	if code := first.wait(t); code != 0 {
		t.Errorf("exit code %d: %s", code, first.stderr)
	}
}

// A small bridge uses one processor, unless the environment says otherwise.
func TestProcessors(t *testing.T) {
	before := stdruntime.GOMAXPROCS(4)
	defer stdruntime.GOMAXPROCS(before)
	h := newHarness(t)
	h.configure(t, startBroker(t).URL())
	p := h.start(t, "run")
	p.stderr.find(t, regexp.MustCompile(`msg="connected to the broker"`))
	if n := stdruntime.GOMAXPROCS(0); n != 1 {
		t.Errorf("%d processors for one account", n)
	}
	p.interrupt()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := stdruntime.GOMAXPROCS(0); n != 4 {
		t.Errorf("%d processors afterwards", n)
	}
	program := &program{}
	for accounts, want := range map[int]int{9: 1, 10: 2, 29: 3, 300: 4} {
		if program.limitProcessors(4, accounts); stdruntime.GOMAXPROCS(0) != want {
			t.Errorf("%d processors for %d accounts", stdruntime.GOMAXPROCS(0), accounts)
		}
	}
	stdruntime.GOMAXPROCS(4)
	program.environ = []string{"GOMAXPROCS=4"}
	if program.limitProcessors(4, 1); stdruntime.GOMAXPROCS(0) != 4 {
		t.Error("the environment is ignored")
	}
}

// The default command is run.
func TestNoCommand(t *testing.T) {
	h := newHarness(t)
	h.configure(t, startBroker(t).URL())
	p := h.start(t)
	p.stderr.find(t, regexp.MustCompile(`msg="connected to the broker"`))
	p.interrupt()
	if code := p.wait(t); code != 0 || p.stdout.String() != "" {
		t.Errorf("%d, %s", code, p.stdout)
	}
}

// A running bridge uses a sign-in by another process.
func TestLoginWhileRunning(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.configure(t, startBroker(t).URL())
	p := h.start(t, "run")
	p.stderr.find(t, regexp.MustCompile(`msg="sign-in required" account=work state=signed_out message="not signed in; run: graph2mqtt login work"`))
	h.login(t)
	p.stderr.find(t, regexp.MustCompile(`msg="signed in" account=work granted="Calendars.Read MailboxSettings.ReadWrite User.Read"`))
	if code, _, stderr := h.call(t, "logout", "work"); code != 0 {
		t.Fatalf("logout: %d, %s", code, stderr)
	}
	p.stderr.find(t, regexp.MustCompile(`msg="signed in"(?s:.*)msg="sign-in required" account=work state=signed_out`))
	p.interrupt()
	if code := p.wait(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestVersion(t *testing.T) {
	h := newHarness(t)
	code, stdout, stderr := h.call(t, "version")
	if _, other, _ := h.call(t, "--version"); other != stdout {
		t.Errorf("--version prints %q", other)
	}
	want := regexp.MustCompile(`^graph2mqtt \S+\n(commit \w+( \(modified\))?\n)?` + regexp.QuoteMeta(stdruntime.Version()) + ` \w+/\w+\nmsgraph-sdk-go v1\.\d+\.\d+\n$`)
	if code != 0 || !want.MatchString(stdout) || stderr != "" {
		t.Errorf("%d, %q, %s", code, stdout, stderr)
	}
}

func TestArguments(t *testing.T) {
	h := newHarness(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"chekc"}, "unknown command \"chekc\" for \"graph2mqtt\"\n\nDid you mean this?\n\tcheck\n\nSee: graph2mqtt --help\n"},
		{[]string{"login"}, "want an account; the configuration has: work\n"},
		{[]string{"logout"}, "want an account; the configuration has: work\n"},
		{[]string{"discover"}, "want an account; the configuration has: work\n"},
		{[]string{"login", "work", "home"}, "unexpected argument \"home\"\nSee: graph2mqtt --help\n"},
		{[]string{"call"}, "want ACCOUNT/SENSOR and OPERATION; the configuration offers:\n  work/out_of_office: enable, disable, update\n"},
		{[]string{"call", "work/calendar"}, "want an operation of work/calendar; it offers none without enable_update: true or on_demand: true\n"},
		{[]string{"help", "nosuch"}, "unknown command \"nosuch\" for \"graph2mqtt\"\nSee: graph2mqtt --help\n"},
		{[]string{"config", "nosuch"}, "config: want one of example, reference, schema, not \"nosuch\"\nSee: graph2mqtt --help\n"},
		{[]string{"completion", "tcsh"}, "completion: want one of bash, fish, powershell, zsh, not \"tcsh\"\nSee: graph2mqtt --help\n"},
		{[]string{"help", "config", "nosuch"}, "unknown command \"nosuch\" for \"graph2mqtt config\"\nSee: graph2mqtt --help\n"},
		{[]string{"login", "wrok"}, "there is no account \"wrok\"; the configuration has: work\n"},
		{[]string{"login", "work", "--port", "70000"}, "--port: want a port from 1 to 65535, not 70000\n"},
		{[]string{"login", "work", "--port", "8400", "--device-code"}, "--port does not go with --device-code: the browser is not redirected to this machine\n"},
		{[]string{"demo", "--port", "0", "--mqtt", "mqtt://127.0.0.1"}, "--port does not go with --mqtt: it is the port of the demo's own broker\n"},
		{[]string{"login", "work", "--prot", "8400"}, "unknown flag: --prot\nSee: graph2mqtt --help\n"},
		{[]string{"run", "--log-level", "loud"}, "log.level: want one of debug, info, warn, error, not \"loud\"\n"},
		{[]string{"check", "work"}, "unknown command \"work\" for \"graph2mqtt check\"\nSee: graph2mqtt --help\n"},
		{[]string{"accounts", "--config", filepath.Join(h.dir, "other.yaml")}, filepath.Join(h.dir, "other.yaml") + ": no such file or directory\n"},
	} {
		code, stdout, stderr := h.call(t, tt.args...)
		if diff := cmp.Diff("graph2mqtt: "+tt.want, stderr); code != 1 || stdout != "" || diff != "" {
			t.Errorf("%v: %d, %q, %s", tt.args, code, stdout, diff)
		}
	}
	// A failure that is not the user's mistake has another exit code.
	h.write(t, "file", "")
	code, _, stderr := h.call(t, "accounts", "--state-dir", filepath.Join(h.dir, "file"))
	want := fmt.Sprintf("graph2mqtt: state directory %s: this is a file; move it away, or choose a directory with --state-dir\n", filepath.Join(h.dir, "file"))
	if diff := cmp.Diff(want, stderr); code != 2 || diff != "" {
		t.Errorf("%d, %s", code, diff)
	}
}

func TestCompletion(t *testing.T) {
	h := newHarness(t)
	h.configureWork(t, "enable_update: true", "{calendar: {type: calendar, enable_update: false}, out_of_office: {type: auto_reply}, presence: {type: status, enable_update: true}}")
	others := slices.DeleteFunc(kindNames(), func(kind string) bool { return kind == "calendar" })
	for args, want := range map[string]string{
		"login ":                       "work",
		"login work ":                  "",
		"logout ":                      "work",
		"discover ":                    "work",
		"permissions ":                 "work",
		"permissions --format ":        "table markdown json manifest link az",
		"permissions --format=":        "table markdown json manifest link az",
		"login work --for ":            strings.Join(kindNames(), " "),
		"login work --for calendar,st": "calendar," + strings.Join(others, " calendar,"),
		"run --log-level ":             "debug info warn error",
		"watch ":                       "bridge work work/calendar work/out_of_office work/presence",
		"watch bridge ":                "bridge work work/calendar work/out_of_office work/presence",
		"call ":                        "work/out_of_office work/presence",
		"call work/out_of_office ":     "enable disable update",
		"call work/calendar ":          "",
		"call work/nothing ":           "",
		"call work/presence update_user_preferred_status ":                        "availability= expiration_duration=",
		"call work/presence update_user_preferred_status availability=":           "availability=Available availability=Busy availability=DoNotDisturb availability=BeRightBack availability=Away availability=Offline",
		"call work/presence update_user_preferred_status availability=Available ": "expiration_duration=",
		"config ":     "example reference schema",
		"completion ": "bash fish powershell zsh",
	} {
		words := append([]string{"__complete"}, strings.Fields(args)...)
		if strings.HasSuffix(args, " ") {
			words = append(words, "")
		}
		code, stdout, _ := h.call(t, words...)
		var got []string
		for line := range strings.Lines(stdout) {
			if value, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); !strings.HasPrefix(value, ":") {
				got = append(got, value)
			}
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); code != 0 || diff != "" {
			t.Errorf("%s: %d, %s", args, code, diff)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, stdout, stderr := h.call(t, "completion", shell); code != 0 || stdout == "" {
			t.Errorf("%s: %d, %s", shell, code, stderr)
		}
	}
	// Without a configuration nothing is completed and no error is printed.
	if code, stdout, stderr := h.call(t, "__complete", "--config", "/nowhere.yaml", "call", ""); code != 0 || stdout != ":4\n" || strings.Contains(stderr, "nowhere") {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
}

func TestConfigPrints(t *testing.T) {
	h := newHarness(t)
	_, example, _ := h.call(t, "config", "example")
	h.write(t, "example.yaml", example)
	incomplete := "accounts.work.client_id (line 191): want the application (client) id of your app registration in Entra ID, not the placeholder of the examples\n"
	if code, stdout, stderr := h.call(t, "check", "--config", filepath.Join(h.dir, "example.yaml")); code != 1 || stdout != incomplete || stderr != "" {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	h.write(t, "example.yaml", strings.ReplaceAll(example, "00000000-0000-0000-0000-000000000000", "01234567-89ab-cdef-0123-456789abcdef"))
	if code, stdout, stderr := h.call(t, "check", "--config", filepath.Join(h.dir, "example.yaml")); code != 0 {
		t.Errorf("%d, %s, %s", code, stdout, stderr)
	}
	if _, schema, _ := h.call(t, "config", "schema"); !json.Valid([]byte(schema)) {
		t.Error("the schema is no JSON")
	}
	if _, reference, _ := h.call(t, "config", "reference"); reference != config.Reference(runtime.ConfigKinds(runtime.Kinds())) {
		t.Errorf("the reference is %s", reference)
	}
}

// Every command has an example, which parses.
func TestExamples(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" { // cobra's
			return
		}
		if cmd.Example == "" || cmd.Short == "" {
			t.Errorf("%s has no example or no description", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			checkCommandLine(t, strings.TrimSpace(line))
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit((&program{}).root())
}

// checkCommandLine parses the graph2mqtt part of a shell command line.
func checkCommandLine(t *testing.T, line string) {
	t.Helper()
	line, _, _ = strings.Cut(line, " #")
	for _, end := range []string{" > ", " | ", " && ", " &"} {
		line, _, _ = strings.Cut(line, end)
	}
	args := strings.Fields(line)[1:]
	root := (&program{}).root()
	cmd, rest, err := root.Find(args)
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.String() == "" {
			t.Errorf("%s: --%s has no value", line, f.Name)
		}
	})
}

func TestFirstConfiguration(t *testing.T) {
	h := newHarness(t)
	file := filepath.Join(h.dir, "graph2mqtt.yaml")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p := h.start(t, "run")
	if code := p.wait(t); code != exitUsage || !strings.Contains(p.stderr.String(), "graph2mqtt.yaml") {
		t.Errorf("without a listener: %d %s", code, p.stderr)
	}
	p = h.start(t, "run", "--listen", ":0")
	if code := p.wait(t); code != exitUsage || !strings.Contains(p.stderr.String(), "http.password is required") {
		t.Errorf("without a password: %d %s", code, p.stderr)
	}
	p = h.start(t, "run", "--listen", "127.0.0.1:0")
	address := p.stderr.find(t, regexp.MustCompile(`msg=listening component=http address=(\S+)`))
	post := func(path, body string) string {
		t.Helper()
		answer, err := http.Post("http://"+address+path, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	form := `{"broker": {"url": "mqtt://127.0.0.1:1"}, "account": "work", "new_account": {"client_id": "` + simulator.ContosoClient + `", "tenant": "organizations"}, "sensors": [{"id": "calendar", "type": "calendar"}]}`
	var draft struct{ Lines, Digest, File string }
	if err := json.Unmarshal([]byte(post("/api/configuration/preview", form)), &draft); err != nil {
		t.Fatal(err)
	}
	lines := "mqtt:\n  url: mqtt://127.0.0.1:1\naccounts:\n  work:\n    client_id: " + simulator.ContosoClient + "\n    tenant: organizations\n    sensors:\n      calendar: {type: calendar}\nhttp:\n  listen: 127.0.0.1:0\n"
	if draft.Lines != lines || draft.File != file {
		t.Errorf("the draft is %+v", draft)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file is there already: %v", err)
	}
	if got := post("/api/configuration/write", `{"form": `+form+`, "digest": "`+draft.Digest+`"}`); got != `{"written":true}` {
		t.Errorf("written: %s", got)
	}
	p.stderr.find(t, regexp.MustCompile(`(msg=starting).* accounts=1`))
	if written, err := os.ReadFile(file); err != nil || string(written) != lines {
		t.Errorf("the file is %s, %v", written, err)
	}
	p.interrupt()
	if code := p.wait(t); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	p = h.start(t, "run") // the page is there again
	p.stderr.find(t, regexp.MustCompile(`msg=listening component=http address=(127\.0\.0\.1:\d+)`))
	p.interrupt()
	if code := p.wait(t); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// The password of calendar programs is shown once, and can be replaced.
func TestCalendars(t *testing.T) {
	h := newHarness(t)
	if code, _, stderr := h.call(t, "calendars", "work"); code != 1 || stderr != "graph2mqtt: calendars are not offered: set http.listen and http.calendars: true\n" {
		t.Errorf("without http: %d, %s", code, stderr)
	}
	h.write(t, "graph2mqtt.yaml", "mqtt: {url: \"mqtt://127.0.0.1:1\"}\nhttp: {listen: 127.0.0.1:8099, calendars: true}\naccounts:\n  work:\n    "+h.cloud()+"\n    sensors: {calendar: {type: calendar}}\n")
	shown := regexp.MustCompile(`^URL: http://127\.0\.0\.1:8099/dav/\nUser name: work\nPassword: ([a-z2-7]{26})\nThe password is not shown again\.\n$`)
	passwords := map[string]bool{}
	for _, args := range [][]string{{"calendars", "work"}, {"calendars", "work", "--new-password"}} {
		code, stdout, stderr := h.call(t, args...)
		found := shown.FindStringSubmatch(stdout)
		if code != 0 || found == nil || stderr != "" {
			t.Fatalf("%v: %d, %q, %s", args, code, stdout, stderr)
		}
		passwords[found[1]] = true
	}
	if len(passwords) != 2 {
		t.Error("the new password is the old one")
	}
	code, stdout, _ := h.call(t, "calendars", "work")
	known := regexp.MustCompile(`^URL: .*\nUser name: work\nPassword: created on \d{4}-\d\d-\d\d; it cannot be shown again\. To replace it: graph2mqtt calendars work --new-password\n$`)
	if code != 0 || !known.MatchString(stdout) {
		t.Errorf("%d, %q", code, stdout)
	}
	if code, stdout, _ := h.call(t, "calendars", "work", "--json"); code != 0 || !strings.Contains(stdout, `"password": null`) {
		t.Errorf("%d, %q", code, stdout)
	}
	if code, _, stderr := h.call(t, "calendars"); code != 1 || stderr != "graph2mqtt: want an account; the configuration has: work\n" {
		t.Errorf("without an account: %d, %s", code, stderr)
	}
}
