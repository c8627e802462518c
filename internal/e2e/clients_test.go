//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// clientDir returns the directory that clients/install.sh installed into.
func clientDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("GRAPH_CLIENTS")
	if dir == "" {
		const missing = "GRAPH_CLIENTS is not set: it names the directory that clients/install.sh installed into"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return dir
}

// A simulation is a running graph2mqtt simulate. Its output is in simulation.json in the program's directory.
type simulation struct {
	*Process
	dir   string
	proxy string // its address
}

// startSimulator starts graph2mqtt simulate with a proxy.
func startSimulator(t testing.TB) simulation {
	t.Helper()
	program := NewProgram(t, "")
	process := program.Start(t, "simulate", "--addr", "127.0.0.1:0", "--proxy", "127.0.0.1:0", "--ca-file", "ca.pem", "--json")
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	err := process.Lines.Until(ctx, func(lines []Line) bool { return len(lines) > 0 && lines[len(lines)-1].Text == "}" })
	if err != nil {
		t.Fatal(err)
	}
	var settings struct{ Proxy string }
	if err := decode(process.Stdout(), &settings); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(program.Dir, "simulation.json"), process.Stdout())
	return simulation{process, program.Dir, settings.Proxy}
}

// TestClients runs libraries that others use for Microsoft 365 against the simulator: each believes that it talks to Microsoft.
func TestClients(t *testing.T) {
	t.Parallel()
	dir := clientDir(t)
	guide, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(guide)
	if example == nil {
		t.Fatal("docs/simulator.md has no example in Python")
	}
	script := func(name string) string {
		path, err := filepath.Abs(filepath.Join("clients", name))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	// MSAL warns about authorization codes in a query.
	python := []string{filepath.Join(dir, "venv", "bin", "python"), "-W", "ignore"}
	for _, test := range []struct {
		name, want string
		command    []string
		proxied    bool // it has Microsoft's addresses built in
	}{
		{"documentation", "Adele Vance\nLaunch\n", append(slices.Clone(python), "-c", string(example[1])), false},
		{"MSAL for Python", "", append(slices.Clone(python), script("msal_client.py"), "simulation.json"), false},
		{"O365", "", append(slices.Clone(python), script("o365_client.py"), "simulation.json"), true},
		{"Graph SDK for Python", "", append(slices.Clone(python), script("sdk_client.py"), "simulation.json"), true},
		{"MSAL for Node.js", "", []string{filepath.Join(dir, "node"), script("node_client.js"), "simulation.json"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			simulation := startSimulator(t)
			ca := filepath.Join(simulation.dir, "ca.pem")
			cmd := exec.Command(test.command[0], test.command[1:]...)
			cmd.Dir = simulation.dir
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + simulation.dir, "NODE_PATH=" + filepath.Join(dir, "node_modules"), "NODE_EXTRA_CA_CERTS=" + ca}
			if test.proxied {
				cmd.Env = append(cmd.Env, "HTTPS_PROXY="+simulation.proxy, "NO_PROXY=127.0.0.1", "REQUESTS_CA_BUNDLE="+ca, "SSL_CERT_FILE="+ca)
			}
			process := startProcess(t, test.name, cmd, nil)
			if code := process.Wait(t); code != 0 || process.Stdout() != test.want || process.Stderr() != "" {
				t.Errorf("exit code %d:\n%s%s", code, process.Stdout(), process.Stderr())
			}
			if code := simulation.Stop(t); code != 0 || simulation.Stderr() != "" {
				t.Errorf("simulate: exit code %d: %s", code, simulation.Stderr())
			}
		})
	}
}
