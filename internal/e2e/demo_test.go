//go:build e2e

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDemo follows the README in a fresh clone of the repository.
func TestDemo(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const command = "go run ./cmd/graph2mqtt demo"
	if !strings.Contains(string(readme), "\n"+command+"\n") {
		t.Fatalf("README.md lacks the command %q", command)
	}
	clone, scratch := filepath.Join(t.TempDir(), "graph2mqtt"), t.TempDir()
	runCommand(t, "", "git", "clone", "--quiet", "--no-hardlinks", strings.TrimSpace(runCommand(t, "", "git", "rev-parse", "--show-toplevel")), clone)
	status := func() string { return runCommand(t, "", "git", "-C", clone, "status", "--porcelain", "--ignored") }

	// A clone is compiled anew, which may take longer on a busy machine than a test waits.
	build := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, "./cmd/graph2mqtt")
	build.Dir = clone
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}

	cmd := exec.Command("sh", "-c", "exec "+command)
	cmd.Dir = clone
	cmd.Env = append(os.Environ(), "TMPDIR="+scratch)
	demo := startProcess(t, command, cmd, nil)
	printed := func(what string) string { return strings.TrimSpace(demo.AwaitLine(t, what)) }
	watch := printed("mosquitto_sub ")
	seen := startProcess(t, watch, exec.Command("sh", "-c", "exec stdbuf -oL "+watch), nil)
	seen.AwaitLine(t, "graph2mqtt/bridge/state online")
	seen.AwaitLine(t, `graph2mqtt/demo/out_of_office/state {`)
	runCommand(t, "", "sh", "-c", printed("mosquitto_pub -h 127.0.0.1 -p ")) // the first command sets the switch
	seen.AwaitLine(t, `"mode":"alwaysEnabled"`)
	create := strings.TrimSuffix(printed("/request/create"), `\`) + printed(`-m '{"subject"`)
	runCommand(t, "", "sh", "-c", create)
	seen.AwaitLine(t, "graph2mqtt/demo/calendar/response/create {")
	demo.AwaitLine(t, "Coffee")
	demo.AwaitLine(t, "  mails: 2, ") // what arrives afterwards is new
	send := strings.TrimSuffix(printed("/request/send"), `\`) + printed(`-m '{"subject": "Hello"`)
	runCommand(t, "", "sh", "-c", send)
	seen.AwaitLine(t, "graph2mqtt/demo/mail/response/send {")
	demo.AwaitLine(t, "new mail from Adele Vance: Hello")
	demo.AwaitLine(t, "new mail from Megan Bowen") // it arrives by itself

	// Ctrl-C signals the whole process group.
	if err := syscall.Kill(-demo.pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	demo.Wait(t) // the exit code is go run's
	if !strings.HasSuffix(demo.Stdout(), "\nThe demo has ended and removed everything.\n") {
		t.Errorf("the demo ended with:\n%s", demo.Stdout())
	}
	seen.Kill(t)
	if got := demo.Stderr(); got != "" {
		t.Errorf("unexpected standard error: %s", got)
	}
	left, err := os.ReadDir(scratch)
	if err != nil || len(left) != 0 {
		t.Errorf("files left behind: %v %v", left, err)
	}
	if got := status(); got != "" {
		t.Errorf("files left in the working tree: %s", got)
	}
	for _, field := range strings.Fields(watch) {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+field); err == nil {
			_ = conn.Close()
			t.Errorf("port %s is still open", field)
		}
	}
}
