package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/graph2mqtt/graph2mqtt/config"
)

const (
	// healthSocket is the name of the socket in the state directory at which a bridge answers.
	healthSocket = "bridge.sock"
	// healthTimeout bounds waiting for the answer. A bridge that hangs does not answer.
	healthTimeout = 5 * time.Second
)

// liveness is a bridge's answer.
type liveness struct {
	Broker   bool   `json:"broker"`   // it is connected
	Waiting  bool   `json:"waiting"`  // for a configuration
	Standby  bool   `json:"standby"`  // another machine has the shared state
	Unusable string `json:"unusable"` // with Standby, why the shared state cannot be used; "": it can
}

// standby returns the answer of a program that waits for the shared state. unusable is why it cannot use the state; nil: another machine has it.
func standby(unusable error) liveness {
	l := liveness{Standby: true}
	if unusable != nil {
		l.Unusable = unusable.Error()
	}
	return l
}

func (p *program) healthCommand() *cobra.Command {
	withoutBroker := false
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Check that the bridge is running and connected to its broker",
		Long: "health checks the bridge that uses the same state directory. If it is running and connected to the broker, or stands by because\n" +
			"another machine has the shared state, health prints nothing and exits with 0. Otherwise, for example while NATS does not answer, it\n" +
			"prints the reason and exits with 2. It is meant for health checks of containers, for monitoring and for updates.\n\n" +
			"A restart does not help while the broker or NATS is away. Where a failed health check restarts the program, use --without-broker: it\n" +
			"fails only if no bridge is running, or if it does not answer.\n\n" +
			"The connection to Microsoft is not checked. Use graph2mqtt accounts or the MQTT topics for that.",
		Example: "  graph2mqtt health\n" +
			"  graph2mqtt health --without-broker\n" +
			"  graph2mqtt health --state-dir /var/lib/graph2mqtt && echo healthy",
		Args: cobra.NoArgs,
		RunE: p.do(func(ctx context.Context, _ []string) error {
			dir, err := config.StateDir(p.sources())
			if err != nil {
				return err
			}
			return checkHealth(ctx, dir, withoutBroker)
		}),
	}
	cmd.Flags().BoolVar(&withoutBroker, "without-broker", false, "do not require the connection to the broker, nor the shared state of a cluster, nor a configuration in an app of Home Assistant")
	return cmd
}

// checkHealth returns an error unless the bridge of a state directory is healthy.
func checkHealth(ctx context.Context, dir string, withoutBroker bool) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, healthSocket))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot ask the bridge with the state directory %s: permission denied; run this as the user who runs the bridge", dir)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no bridge is running on the state directory %s", dir)
	case err != nil:
		return fmt.Errorf("cannot ask the bridge with the state directory %s: %w", dir, err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	var l liveness
	switch err := json.NewDecoder(conn).Decode(&l); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the bridge does not answer within %s", healthTimeout)
	case err != nil:
		return fmt.Errorf("the bridge ended while it was asked: %w", err)
	case withoutBroker:
		return nil
	case l.Unusable != "":
		return errors.New(l.Unusable)
	case l.Standby:
		return nil
	case l.Waiting:
		return errors.New("the bridge waits for a valid configuration; its log lists the problems")
	case !l.Broker:
		return errors.New("the bridge is not connected to the broker; its log has the reason")
	}
	return nil
}

// A healthServer answers the health command.
type healthServer struct {
	listener net.Listener
	answers  sync.WaitGroup
}

// startHealth starts to answer in a state directory with what the function returns. Failures are logged: the bridge works without it.
func startHealth(dir string, log *slog.Logger, state func() liveness) *healthServer {
	path := filepath.Join(dir, healthSocket)
	err := os.Remove(path) // of a bridge that was killed
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	s := &healthServer{}
	if err == nil {
		s.listener, err = net.Listen("unix", path)
	}
	if err == nil {
		if err = os.Chmod(path, 0o600); err != nil { // as every file of the directory
			err = errors.Join(err, s.listener.Close())
		}
	}
	if err != nil {
		log.Warn("graph2mqtt health will not find this bridge", "socket", path, "error", err)
		return nil
	}
	s.answers.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.answers.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(healthTimeout))
				_ = json.NewEncoder(conn).Encode(state()) // an error means that the client closed the connection
			})
		}
	})
	return s
}

// close ends the server and removes its socket. It accepts nil.
func (s *healthServer) close() {
	if s == nil {
		return
	}
	_ = s.listener.Close()
	s.answers.Wait()
}

// waitingHealth starts to answer that the program waits for a configuration.
func (p *program) waitingHealth(log *slog.Logger) *healthServer {
	dir, err := config.StateDir(p.sources())
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		log.Warn("graph2mqtt health will not find this bridge", "error", err)
		return nil
	}
	return startHealth(dir, log, func() liveness { return liveness{Waiting: true} })
}
