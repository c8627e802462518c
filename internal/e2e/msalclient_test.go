//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// pythonInterpreter returns the path of the interpreter that msalclient/install.sh installed.
func pythonInterpreter(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("MSAL_CLIENT")
	if dir == "" {
		const missing = "MSAL_CLIENT is not set: it names the directory that msalclient/install.sh installed into"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return filepath.Join(dir, "venv", "bin", "python")
}

// startSimulator starts graph2mqtt simulate and writes its output to simulation.json in the program's directory.
func startSimulator(t testing.TB) (*Program, *Process) {
	t.Helper()
	program := NewProgram(t, "")
	simulator := program.Start(t, "simulate", "--addr", "127.0.0.1:0", "--ca-file", "ca.pem", "--json")
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	err := simulator.Lines.Until(ctx, func(lines []Line) bool { return len(lines) > 0 && lines[len(lines)-1].Text == "}" })
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(program.Dir, "simulation.json"), simulator.Stdout())
	return program, simulator
}

// TestMSALClient runs Microsoft's sign-in library for Python, and a plain HTTP client, against the simulator.
func TestMSALClient(t *testing.T) {
	t.Parallel()
	interpreter := pythonInterpreter(t)
	client, err := filepath.Abs("msalclient/client.py")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(guide)
	if example == nil {
		t.Fatal("docs/simulator.md has no example in Python")
	}
	for _, test := range []struct {
		name, want string
		args       []string
	}{
		{"client", "", []string{client, "simulation.json"}},
		{"docs", "Adele Vance\nLaunch\n", []string{"-c", string(example[1])}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			program, simulator := startSimulator(t)
			// MSAL warns about authorization codes in a query.
			cmd := exec.Command(interpreter, append([]string{"-W", "ignore"}, test.args...)...)
			cmd.Dir = program.Dir
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + program.Dir}
			process := startProcess(t, "python "+test.name, cmd, nil)
			if code := process.Wait(t); code != 0 || process.Stdout() != test.want || process.Stderr() != "" {
				t.Errorf("exit code %d:\n%s%s", code, process.Stdout(), process.Stderr())
			}
			if code := simulator.Stop(t); code != 0 || simulator.Stderr() != "" {
				t.Errorf("simulate: exit code %d: %s", code, simulator.Stderr())
			}
		})
	}
}
