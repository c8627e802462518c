// Package porttest finds ports for the servers of tests.
package porttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// The ports that tests use. Systems do not give a port below 32768 to outgoing connections. A process has whole blocks of ports: it listens on
// the first port of each, so that no other process of tests takes the block.
const (
	firstPort = 10000
	lastPort  = 32767
	blockSize = 64
	blocks    = (lastPort - firstPort + 1) / blockSize
)

var process struct {
	sync.Mutex
	owned []net.Listener // those on the first port of each block
	ports []int          // of the blocks, that no test has; what was given back last is at the end
}

// Free returns a port of 127.0.0.1 that nothing listens on. Nothing else takes it until the test ends: neither before the server is started
// nor while it is down.
func Free(t testing.TB) int {
	t.Helper()
	process.Lock()
	defer process.Unlock()
	for {
		if len(process.ports) == 0 {
			if err := takeBlock(); err != nil {
				t.Fatalf("find a free port: %v", err)
			}
		}
		port := process.ports[0]
		process.ports = process.ports[1:]
		l, err := listen(port)
		if err != nil {
			continue // a program that is no test has it
		}
		_ = l.Close()
		t.Cleanup(func() {
			process.Lock()
			defer process.Unlock()
			process.ports = append(process.ports, port)
		})
		return port
	}
}

// takeBlock adds the ports of a block that no process has.
func takeBlock() error {
	var err error
	for _, block := range rand.Perm(blocks) {
		first := firstPort + block*blockSize
		var l net.Listener
		if l, err = listen(first); err != nil {
			continue
		}
		process.owned = append(process.owned, l)
		for port := first + 1; port < first+blockSize; port++ {
			process.ports = append(process.ports, port)
		}
		return nil
	}
	return errors.Join(errors.New("each block of ports is taken"), err)
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
}
