//go:build e2e

package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Program runs the built graph2mqtt with its own working directory, configuration, state directory and a clean environment.
type Program struct {
	Dir string   // the working directory; the configuration is graph2mqtt.yaml, the state directory is state
	Env []string // additional variables beside PATH, HOME and TZ
}

// NewProgram returns a program with a configuration, not started.
func NewProgram(t testing.TB, configuration string) *Program {
	t.Helper()
	p := &Program{Dir: t.TempDir()}
	p.Configure(t, configuration)
	return p
}

// Configure replaces the configuration atomically.
func (p *Program) Configure(t testing.TB, configuration string) {
	t.Helper()
	file := filepath.Join(p.Dir, "graph2mqtt.yaml")
	writeFile(t, file+".new", configuration)
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// Start starts the program with arguments.
func (p *Program) Start(t testing.TB, args ...string) *Process {
	t.Helper()
	binary, err := buildProgram()
	if err != nil {
		t.Fatal(err)
	}
	return startProcess(t, "graph2mqtt "+strings.Join(args, " "), p.command(binary, args...), nil)
}

// Run runs the program to completion and returns its exit code and output.
func (p *Program) Run(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	process := p.Start(t, args...)
	code = process.Wait(t)
	return code, process.Stdout(), process.Stderr()
}

// command returns the command that runs a binary in the program's environment.
func (p *Program) command(binary string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = p.Dir
	cmd.Env = slices.Concat([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.Dir, "TZ=Europe/Berlin", "GRAPH2MQTT_STATE_DIR=" + filepath.Join(p.Dir, "state"),
	}, p.Env)
	return cmd
}

// buildProgram builds the program once for all tests, into buildDir, as packaging/build does but without a version.
var buildProgram = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(buildDir, "graph2mqtt")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "../../cmd/graph2mqtt")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = errors.New("go build: " + err.Error() + "\n" + string(out))
	}
	return binary, err
})

// buildDir holds the built program; TestMain removes it.
var buildDir string

func TestMain(m *testing.M) {
	if step, ok := os.LookupEnv(crashStepEnv); ok {
		if err := runCrashing(step); err != nil {
			panic(err)
		}
		return
	}
	if socket, ok := os.LookupEnv(socketEnv); ok {
		os.Exit(clientMain(socket))
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "graph2mqtt-e2e-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		buildDir = dir
		defer stopHomeAssistantServers()
		return m.Run()
	}())
}
