package main

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A notifier reports the state of the program to systemd, if that started it as a service of Type=notify. See sd_notify(3).
type notifier struct {
	socket   string        // "": systemd wants no reports
	watchdog time.Duration // systemd ends a service that reports nothing for so long; 0: never
}

// notifyTimeout bounds a report.
const notifyTimeout = time.Second

// newNotifier returns the notifier that the environment asks for.
func (p *program) newNotifier() notifier {
	n := notifier{socket: p.environment("NOTIFY_SOCKET")}
	usec, err := strconv.ParseInt(p.environment("WATCHDOG_USEC"), 10, 64)
	pid := p.environment("WATCHDOG_PID")
	if err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	return n
}

// notify sends assignments such as READY=1. Errors are ignored: a service that is not heard is restarted.
func (n notifier) notify(assignments ...string) {
	if n.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"}) // @ stands for the abstract namespace
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(notifyTimeout)) // writing blocks if nobody reads the socket
	_, _ = conn.Write([]byte(strings.Join(assignments, "\n")))
}

// run reports that the program is ready, then that it is alive as long as status returns, until ctx is done.
func (n notifier) run(ctx context.Context, status func() string) {
	n.notify("READY=1", "STATUS="+status())
	if n.socket == "" || n.watchdog == 0 {
		return
	}
	ticker := time.NewTicker(n.watchdog / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.notify("WATCHDOG=1", "STATUS="+status())
		}
	}
}
