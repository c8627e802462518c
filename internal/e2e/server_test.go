//go:build e2e

package e2e

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// A homeAssistantServer starts Home Assistants of one installation, see homeassistant/server.py.
type homeAssistantServer struct {
	socket string
	cmd    *exec.Cmd
	stdin  io.Closer
}

//go:embed homeassistant/server.py
var homeAssistantServerScript string

// homeAssistantServers holds the running servers by installation; TestMain stops them.
var homeAssistantServers struct {
	sync.Mutex
	running map[string]*homeAssistantServer
}

// socketEnv makes the test binary a client of a server: the socket. The argument is the configuration directory.
const socketEnv = "E2E_HOME_ASSISTANT"

// hassCommand returns the command that runs the Home Assistant of an installation on a configuration directory, with modules that are imported
// already.
func hassCommand(t testing.TB, install, dir string) *exec.Cmd {
	t.Helper()
	homeAssistantServers.Lock()
	defer homeAssistantServers.Unlock()
	s := homeAssistantServers.running[install]
	if s == nil {
		var err error
		if s, err = startHomeAssistantServer(install); err != nil {
			t.Fatalf("start the server of Home Assistant: %v", err)
		}
		if homeAssistantServers.running == nil {
			homeAssistantServers.running = map[string]*homeAssistantServer{}
		}
		homeAssistantServers.running[install] = s
	}
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), socketEnv+"="+s.socket)
	return cmd
}

func startHomeAssistantServer(install string) (*homeAssistantServer, error) {
	s := &homeAssistantServer{socket: filepath.Join(buildDir, filepath.Base(install))}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// More threads of a library of mathematics would be lost in the processes of Home Assistant.
	s.cmd = exec.Command("unshare", "--mount", "sh", "-c", `mount -t proc proc "$0/proc" && mount --rbind "$1" "$0/mnt" &&
		exec chroot "$0" env HOME=/root LANG=C.UTF-8 OPENBLAS_NUM_THREADS=1 /opt/hass/bin/python -c "$2"`,
		filepath.Join(install, "root"), os.TempDir(), homeAssistantServerScript)
	s.cmd.Stderr, s.cmd.ExtraFiles = os.Stderr, []*os.File{file}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return s, s.cmd.Start()
}

// stopHomeAssistantServers stops all servers, with every Home Assistant that still runs.
func stopHomeAssistantServers() {
	homeAssistantServers.Lock()
	defer homeAssistantServers.Unlock()
	for _, s := range homeAssistantServers.running {
		_ = s.stdin.Close()
		_ = s.cmd.Wait()
	}
}

// runHomeAssistant runs a Home Assistant with a server, and returns its exit code.
func runHomeAssistant(socket, dir string) (code int, err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	relative, err := filepath.Rel(os.TempDir(), dir)
	if err != nil {
		return 0, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, _, err := conn.WriteMsgUnix([]byte(filepath.Join("/mnt", relative)), syscall.UnixRights(1, 2), nil); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_, _ = conn.Write([]byte{byte(s.(syscall.Signal))})
		}
	}()
	answer := make([]byte, 1)
	if _, err := conn.Read(answer); errors.Is(err, io.EOF) {
		return 0, errors.New("the server has ended")
	} else if err != nil {
		return 0, err
	}
	return int(answer[0]), nil
}

// clientMain is the main function of a client.
func clientMain(socket string) int {
	code, err := runHomeAssistant(socket, os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
