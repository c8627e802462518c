package broker_test

import (
	"net"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
)

func TestEmbedded(t *testing.T) {
	b, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, ok := strings.CutPrefix(b.URL(), "mqtt://")
	if !ok {
		t.Errorf("its URL is %s", b.URL())
	}
	if _, err := broker.Embedded(addr); err == nil || !strings.HasPrefix(err.Error(), "embedded broker: listen tcp "+addr) {
		t.Errorf("listening on a taken address: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("the address still accepts connections")
	}
}
