// Command graph2mqtt publishes Microsoft 365 accounts over MQTT for Home Assistant, and takes commands back.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // the zones of accounts must not depend on the machine

	"github.com/graph2mqtt/graph2mqtt/config"
)

// The exit codes.
const (
	exitOK          = 0
	exitUsage       = 1 // the configuration or the arguments are wrong
	exitFailed      = 2 // it could not be done
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once, unless it is the first one again: both a terminal and what runs us may send it.
	context.AfterFunc(ctx, func() { time.AfterFunc(500*time.Millisecond, stop) })
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// run does what the arguments say and returns the exit code.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{environ: environ, stdin: stdin, stdout: stdout, stderr: stderr}
	root := p.root()
	root.SetArgs(append([]string{}, args...)) // of nil cobra makes those of the process
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var f *commandError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &f):
		fmt.Fprintln(stderr, "graph2mqtt:", f.err)
		if errors.As(err, new(config.Problems)) || errors.As(err, new(*usageError)) {
			return exitUsage
		}
		return exitFailed
	}
	// What cobra found in the arguments.
	fmt.Fprintln(stderr, "graph2mqtt:", err)
	fmt.Fprintln(stderr, "See: graph2mqtt --help")
	return exitUsage
}

// A failure is an error of a command itself.
type commandError struct{ err error }

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// wrong is an error of the arguments that only the command could find.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

// errReported is the error of a command that has said everything.
var errReported = errors.New("told")
