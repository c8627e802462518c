package porttest_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
)

// A port belongs to a test until it ends, whether something listens on it or not.
func TestFree(t *testing.T) {
	const n = 200 // more than a block has
	seen := map[int]bool{}
	t.Run("many", func(t *testing.T) {
		for range n {
			port := porttest.Free(t)
			if seen[port] {
				t.Fatalf("port %d a second time", port)
			}
			seen[port] = true
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				t.Fatal(err)
			}
			_ = l.Close()
		}
	})
	for range n {
		seen[porttest.Free(t)] = true
	}
	if len(seen) == 2*n {
		t.Errorf("none of %d ports was used again after its test", n)
	}
}
