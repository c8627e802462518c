//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
)

// HomeAssistant runs a real Home Assistant on a free loopback port and is signed in as its owner.
type HomeAssistant struct {
	*Process
	*socket
	Version string
	URL     string // without a trailing slash
	Dir     string // the configuration directory

	install string
	tokens  tokens
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// installations returns the directories in HOME_ASSISTANT.
func installations(t testing.TB) []string {
	t.Helper()
	dirs := filepath.SplitList(os.Getenv("HOME_ASSISTANT"))
	if len(dirs) == 0 {
		const missing = "HOME_ASSISTANT is not set: it lists the directories that homeassistant/install.sh installed into"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return dirs
}

// EachHomeAssistant runs a test with a fresh instance of every installed Home Assistant, in parallel with other tests: they mostly wait.
func EachHomeAssistant(t *testing.T, test func(t *testing.T, ha *HomeAssistant)) {
	t.Helper()
	eachInstallation(t, func(t *testing.T, dir string) { test(t, StartHomeAssistant(t, dir)) })
}

// eachInstallation runs a test with the directory of every installed Home Assistant, in parallel with other tests.
func eachInstallation(t *testing.T, test func(t *testing.T, dir string)) {
	t.Helper()
	t.Parallel()
	for _, dir := range installations(t) {
		version, err := os.ReadFile(filepath.Join(dir, "version"))
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSpace(string(version)), func(t *testing.T) {
			t.Parallel()
			test(t, dir)
		})
	}
}

// pythonOf returns the command that runs the Python of an installed Home Assistant, with its libraries.
func pythonOf(install string, args ...string) *exec.Cmd {
	return exec.Command("chroot", append([]string{filepath.Join(install, "root"), "env", "HOME=/root", "LANG=C.UTF-8", "/opt/hass/bin/python"}, args...)...)
}

// StartHomeAssistant starts the Home Assistant installed in a directory with a new configuration, creates its owner and signs in.
func StartHomeAssistant(t testing.TB, install string) *HomeAssistant {
	t.Helper()
	version, err := os.ReadFile(filepath.Join(install, "version"))
	if err != nil {
		t.Fatal(err)
	}
	port := porttest.Free(t)
	ha := &HomeAssistant{
		Version: strings.TrimSpace(string(version)),
		URL:     "http://127.0.0.1:" + strconv.Itoa(port),
		Dir:     t.TempDir(),
		install: install,
	}
	if err := os.CopyFS(ha.Dir, os.DirFS(filepath.Join("homeassistant", "config"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(ha.Dir, "configuration.yaml")
	configuration, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, strings.Replace(string(configuration), "server_port: 8123", "server_port: "+strconv.Itoa(port), 1))
	ha.Start(t)
	return ha
}

// Start starts Home Assistant with its existing configuration and returns when all integrations have started.
func (ha *HomeAssistant) Start(t testing.TB) {
	t.Helper()
	ha.start(t, hassCommand(t, ha.install, ha.Dir))
}

// StartAsInstalled starts Home Assistant as users do.
func (ha *HomeAssistant) StartAsInstalled(t testing.TB) {
	t.Helper()
	ha.start(t, exec.Command(filepath.Join(ha.install, "hass"), ha.Dir))
}

func (ha *HomeAssistant) start(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	ha.Process = startProcess(t, "Home Assistant "+ha.Version, cmd, nil)
	ha.signIn(t, ha.awaitReachable(t))
	ha.socket = dialWebSocket(t, ha.URL, ha.tokens.Access)
	ha.awaitStarted(t) // it answers earlier, but SIGTERM would kill it then
	// Since 2026 a port set in a file is reverted after five minutes unless it is confirmed.
	_ = ha.call("http/config/promote", nil, nil)
}

// AtLeast reports whether the version is year.month or later.
func (ha *HomeAssistant) AtLeast(t testing.TB, year, month int) bool {
	t.Helper()
	var y, m int
	if _, err := fmt.Sscanf(ha.Version, "%d.%d.", &y, &m); err != nil {
		t.Fatalf("version %q: %v", ha.Version, err)
	}
	return y > year || y == year && m >= month
}

// Restart stops Home Assistant and starts it again.
func (ha *HomeAssistant) Restart(t testing.TB) {
	t.Helper()
	if code := ha.Stop(t); code != 0 {
		t.Errorf("Home Assistant ended with %d", code)
	}
	ha.Start(t)
}

// awaitReachable waits until Home Assistant answers, and returns the completed onboarding steps.
func (ha *HomeAssistant) awaitReachable(t testing.TB) map[string]bool {
	t.Helper()
	// Home Assistant does not announce that it is listening.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(3 * waitTimeout)
	for {
		select {
		case <-tick.C:
		case <-ha.Process.done:
			t.Fatalf("Home Assistant ended while it started: %v", ha.Process.cmd.ProcessState)
		case <-end:
			t.Fatal("Home Assistant does not answer")
		}
		response, err := http.Get(ha.URL + "/api/onboarding")
		if err != nil {
			continue
		}
		steps := []struct {
			Step string
			Done bool
		}{}
		err = json.NewDecoder(response.Body).Decode(&steps)
		response.Body.Close()
		switch {
		case response.StatusCode == http.StatusNotFound: // all done
			return map[string]bool{"user": true}
		case response.StatusCode == http.StatusOK && err == nil:
			done := map[string]bool{}
			for _, step := range steps {
				done[step.Step] = step.Done
			}
			return done
		}
	}
}

// signIn creates the owner if there is none yet, and signs in.
func (ha *HomeAssistant) signIn(t testing.TB, done map[string]bool) {
	t.Helper()
	const user, password = "owner", "owner-password"
	client := ha.URL + "/"
	var code string
	if done["user"] {
		var flow struct {
			ID string `json:"flow_id"`
		}
		ha.REST(t, "POST", "/auth/login_flow",
			map[string]any{"client_id": client, "handler": []any{"homeassistant", nil}, "redirect_uri": client}, &flow)
		var signedIn struct{ Result string }
		ha.REST(t, "POST", "/auth/login_flow/"+flow.ID,
			map[string]any{"client_id": client, "username": user, "password": password}, &signedIn)
		code = signedIn.Result
	} else {
		var made struct {
			Code string `json:"auth_code"`
		}
		ha.REST(t, "POST", "/api/onboarding/users",
			map[string]any{"client_id": client, "name": "Owner", "username": user, "password": password, "language": "en"}, &made)
		code = made.Code
	}
	ha.tokens = tokens{}
	ha.REST(t, "POST", "/auth/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {client}}, &ha.tokens)
}

// REST sends a form or a JSON request, and decodes the response into out unless that is nil.
func (ha *HomeAssistant) REST(t testing.TB, method, path string, body, out any) {
	t.Helper()
	content, kind := []byte(nil), "application/json"
	if form, ok := body.(url.Values); ok {
		content, kind = []byte(form.Encode()), "application/x-www-form-urlencoded"
	} else {
		content = encode(t, body)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, ha.URL+path, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", kind)
	if ha.tokens.Access != "" {
		request.Header.Set("Authorization", "Bearer "+ha.tokens.Access)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 400 {
		err = fmt.Errorf("%s %s", response.Status, answer)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// AddBroker sets up the MQTT integration with its config flow, and returns when Home Assistant has connected and subscribed.
func (ha *HomeAssistant) AddBroker(t testing.TB, m *Mosquitto) {
	t.Helper()
	birth := m.Subscribe(t, "homeassistant/status")
	defer birth.Close(t)

	type result struct {
		Type   string
		FlowID string      `json:"flow_id"`
		Schema []formField `json:"data_schema"`
		Errors map[string]string
	}
	const path = "/api/config/config_entries/flow"
	var form, made result
	ha.REST(t, "POST", path, map[string]any{"handler": "mqtt", "show_advanced_options": true}, &form)
	given := map[string]any{"broker": "127.0.0.1", "port": m.Port, "set_client_cert": false, "set_ca_cert": "off"}
	if m.Options.Username != "" {
		given["username"], given["password"] = m.Options.Username, m.Options.Password
	}
	ha.REST(t, "POST", path+"/"+form.FlowID, fillForm(form.Schema, given), &made)
	if made.Type != "create_entry" {
		t.Fatalf("Home Assistant refuses the broker: %+v", made)
	}
	birth.AwaitPayload(t, "homeassistant/status", "online")
}

// A formField describes a field or a section of a config flow's form.
type formField struct {
	Name     string
	Type     string
	Required bool
	Default  any
	Schema   []formField
}

// fillForm fills a form with the given values, and defaults elsewhere. Forms differ between versions.
func fillForm(form []formField, given map[string]any) map[string]any {
	answers := map[string]any{}
	for _, f := range form {
		answer, ok := given[f.Name]
		switch {
		case f.Type == "expandable":
			answers[f.Name] = fillForm(f.Schema, given)
		case ok:
			answers[f.Name] = answer
		case f.Required && f.Default != nil:
			answers[f.Name] = f.Default
		}
	}
	return answers
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
