// Command graph2mqtt publishes Microsoft 365 accounts over MQTT for Home Assistant, which can also control them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	stdruntime "runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // accounts' time zones must not depend on the machine

	"golang.org/x/term"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// The exit codes.
const (
	exitOK          = 0
	exitUsage       = 1 // the configuration or the arguments are wrong
	exitFailed      = 2 // the command failed
	exitInterrupted = 130
)

func main() {
	stdruntime.MemProfileRate = 0 // the records would take a megabyte, and few want them: the bridge sets it with http.pprof
	broker.ReleaseTestData()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once, unless it is the first one again: both a terminal and a supervisor may send it.
	context.AfterFunc(ctx, func() { time.AfterFunc(500*time.Millisecond, stop) })
	// A broken pipe is an error of the write, so that deferred cleanup runs.
	signal.Ignore(syscall.SIGPIPE)
	if err := addCertificates(); err != nil {
		fmt.Fprintln(os.Stderr, "graph2mqtt:", err)
		os.Exit(exitFailed)
	}
	os.Exit(run(ctx, homeAssistantApp, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run executes the command that args name and returns the exit code. The paths are for an app of Home Assistant.
func run(ctx context.Context, paths appPaths, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &outputWriter{Writer: stdout, onError: cancel}
	p := &program{environ: environ, stdin: stdin, stdout: out, stderr: stderr, terminal: isTerminal(stdout), appPaths: paths}
	p.app = p.newApp()
	root := p.root()
	root.SetArgs(append([]string{}, args...)) // nil would select those of the process
	root.SetIn(stdin)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var command *commandError
	var reported *reportedError
	if out.err != nil && errors.Is(err, out.err) {
		err = nil // reported below, for commands that do not return it as well
	}
	switch {
	case err == nil && out.err != nil && !errors.Is(out.err, syscall.EPIPE):
		fmt.Fprintln(stderr, "graph2mqtt: write the output:", out.err)
		return exitFailed
	case err == nil:
		return exitOK
	case errors.As(err, &reported):
		return reported.code
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &command):
		fmt.Fprintln(stderr, "graph2mqtt:", command.err)
		if owner := (*state.OwnerError)(nil); errors.As(err, &owner) {
			fmt.Fprintln(stderr, "Run:", p.commandAs(owner, args))
		}
		return exitCode(err)
	}
	// Cobra's errors are about the arguments.
	fmt.Fprintln(stderr, "graph2mqtt:", err)
	fmt.Fprintln(stderr, "See: graph2mqtt --help")
	return exitUsage
}

// commandAs returns the command line that runs the same command as the owner of the state directory. sudo does not keep the environment.
func (p *program) commandAs(owner *state.OwnerError, args []string) string {
	words := append([]string{"sudo", "-u", owner.User, "graph2mqtt"}, args...)
	if p.flags.stateDir == "" {
		words = append(words, "--state-dir", owner.Path)
	}
	if file := p.environment("GRAPH2MQTT_CONFIG"); file != "" && p.flags.config == "" {
		words = append(words, "--config", file)
	}
	return strings.Join(quoted(words), " ")
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// An outputWriter calls onError when the output cannot be written any more, so that commands end that run until they are interrupted.
type outputWriter struct {
	io.Writer
	onError func()

	mu  sync.Mutex // guards the order of writes, and err
	err error      // the first one
}

// Write implements io.Writer.
func (w *outputWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.Writer.Write(b)
	if err != nil {
		w.err = err
		w.onError()
	}
	return n, err
}

// A commandError is the error of a command, as opposed to one that cobra finds in the arguments.
type commandError struct{ err error }

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// A usageError is an error in the arguments that only the command can find.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

// A reportedError is the error of a command that has printed it already.
type reportedError struct{ code int }

func (e *reportedError) Error() string { return "reported" }

// exitCode returns the exit code for the error of a command.
func exitCode(err error) int {
	if errors.As(err, new(config.Problems)) || errors.As(err, new(*usageError)) {
		return exitUsage
	}
	return exitFailed
}
