//go:build e2e

package e2e

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A Line represents one line of a process's output.
type Line struct {
	Err  bool // to standard error
	Text string
}

func (l Line) String() string { return l.Text }

// A Process runs beside the test. Its output is recorded line by line.
type Process struct {
	Name  string
	Lines Recorder[Line]

	pid  int
	cmd  *exec.Cmd     // ProcessState is valid once done is closed
	done chan struct{} // closed when the process has ended
}

// startProcess starts a command that is killed when the test ends. onLine, unless nil, is called with each line, concurrently for
// standard output and standard error.
func startProcess(t testing.TB, name string, cmd *exec.Cmd, onLine func(Line)) *Process {
	t.Helper()
	p := &Process{Name: name, cmd: cmd, done: make(chan struct{})}
	// The process must not outlive the tests even if they panic or are killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = outWrite, errWrite

	var readers sync.WaitGroup
	read := func(r io.ReadCloser, isErr bool) {
		defer r.Close()
		lines := bufio.NewReader(r)
		for {
			text, err := lines.ReadString('\n')
			if text != "" {
				line := Line{isErr, strings.TrimRight(text, "\r\n")}
				p.Lines.Add(line)
				if onLine != nil {
					onLine(line)
				}
			}
			if err != nil {
				return
			}
		}
	}
	readers.Go(func() { read(outRead, false) })
	readers.Go(func() { read(errRead, true) })

	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the process ends, so the thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		outWrite.Close()
		errWrite.Close()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait()
		readers.Wait()
		p.Lines.End(errors.New(name + " ended: " + cmd.ProcessState.String()))
		close(p.done)
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	p.pid = cmd.Process.Pid
	t.Cleanup(func() {
		p.Kill(t)
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, tail(p.Lines.All(), 60))
		}
	})
	return p
}

// Signal sends a signal unless the process has ended.
func (p *Process) Signal(signal syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(p.pid, signal)
	}
}

// Stop sends SIGTERM and returns the exit code.
func (p *Process) Stop(t testing.TB) int {
	t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait(t)
}

// Kill kills the process group.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
	p.Wait(t)
}

// Wait waits until the process has ended and returns its exit code, or -1 if a signal ended it.
func (p *Process) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(waitTimeout):
		t.Fatalf("%s does not end; its last lines:\n%s", p.Name, tail(p.Lines.All(), 40))
	}
	return p.cmd.ProcessState.ExitCode()
}

// AwaitLine waits for a line that contains the text, and returns it.
func (p *Process) AwaitLine(t testing.TB, text string) string {
	t.Helper()
	return p.Lines.AwaitItem(t, p.Name+" to write "+text, 0, func(l Line) bool { return strings.Contains(l.Text, text) }).Text
}

// Stdout returns the standard output so far.
func (p *Process) Stdout() string { return p.output(false) }

// Stderr returns the standard error so far.
func (p *Process) Stderr() string { return p.output(true) }

func (p *Process) output(isErr bool) string {
	var s strings.Builder
	for _, line := range p.Lines.All() {
		if line.Err == isErr {
			s.WriteString(line.Text + "\n")
		}
	}
	return s.String()
}

func TestProcess(t *testing.T) {
	p := startProcess(t, "a shell", exec.Command("sh", "-c", "trap 'echo bye; exit 7' TERM; echo hello; echo careful >&2; while :; do sleep 0.01; done"), nil)
	p.AwaitLine(t, "hello")
	p.AwaitLine(t, "careful")
	if got := p.Stop(t); got != 7 {
		t.Errorf("exit code %d, want 7", got)
	}
	if got, want := p.Stdout(), "hello\nbye\n"; got != want {
		t.Errorf("standard output %q, want %q", got, want)
	}
	if got, want := p.Stderr(), "careful\n"; got != want {
		t.Errorf("standard error %q, want %q", got, want)
	}

	killed := startProcess(t, "a sleep", exec.Command("sh", "-c", "sleep 600 & wait"), nil)
	killed.Kill(t)
	if got := killed.Wait(t); got != -1 {
		t.Errorf("exit code after a kill: %d, want -1", got)
	}
}
