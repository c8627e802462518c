// Package porttest finds ports for the servers of tests.
package porttest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Free returns a port of 127.0.0.1 that nothing listens on. Systems do not give a port below 32768 to outgoing connections, so nothing takes
// it before the server is started, or while it is down.
func Free(t testing.TB) int {
	t.Helper()
	var err error
	for range 100 {
		port := 10000 + rand.IntN(22768)
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatalf("find a free port: %v", err)
	return 0
}
