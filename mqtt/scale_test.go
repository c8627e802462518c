package mqtt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/internal/cputest"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

// A crowd is a client that publishes for many accounts, and a proxy that interrupts its connection.
type crowd struct {
	*testClient
	proxy       *proxy
	connections int
}

func newCrowd(t testing.TB, accounts int) *crowd {
	p := newProxy(t, brokertest.New(t, "").URL)
	client := run(t, options(p.url), nil)
	attributes := []byte(`{"data":"` + strings.Repeat("x", 4000) + `"}`)
	filters := []string{"g/bridge/request/#"}
	for a := range accounts {
		account := fmt.Sprintf("a%d", a)
		filters = append(filters, "g/"+account+"/request/#", "g/"+account+"/+/request/#", "g/"+account+"/+/set/#")
		for s := range 5 {
			d := hub.Device{ID: hub.ID{Account: account, Sensor: fmt.Sprintf("s%d", s)}, Name: "X", Slug: account, Commands: true}
			for e := range 8 {
				d.Entities = append(d.Entities, entity.Entity{Key: fmt.Sprintf("e%d", e), Platform: "sensor", Name: "Entity"})
			}
			client.declare(d)
			for _, name := range []string{"state", "status", "availability", "commands"} {
				client.Retain("g/"+account+"/"+d.ID.Sensor+"/"+name, []byte(`{"x":1}`))
			}
			client.Retain("g/"+account+"/"+d.ID.Sensor+"/attributes", attributes)
		}
	}
	client.Subscribe(filters...)
	client.Ready()
	client.connected(1)
	client.awaitIdle()
	return &crowd{client, p, 1}
}

// reconnect interrupts the connection and waits until everything is published again. It returns the CPU time of this process.
func (c *crowd) reconnect(t testing.TB) time.Duration {
	before := cputest.Time(t)
	c.connections++
	c.proxy.drop()
	c.connected(c.connections)
	c.awaitIdle()
	return cputest.Time(t) - before
}

// BenchmarkReconnectToBroker measures a reconnect with many accounts: messages, and this process's CPU time.
func BenchmarkReconnectToBroker(b *testing.B) {
	for _, accounts := range []int{100, 300} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			c := newCrowd(b, accounts)
			published, sum := c.Stats().Published, time.Duration(0)
			for b.Loop() {
				sum += c.reconnect(b)
			}
			b.ReportMetric(float64(c.Stats().Published-published)/float64(b.N), "messages/op")
			b.ReportMetric(sum.Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}

// With three times the accounts a reconnect takes three times the CPU, not nine times.
func TestCPUOfAReconnectIsLinear(t *testing.T) {
	small, large := newCrowd(t, 50), newCrowd(t, 150)
	one, three := time.Hour, time.Hour
	for range 30 { // the best of several: others use the machine, too
		one, three = min(one, small.reconnect(t)), min(three, large.reconnect(t))
		if three <= 7*one/2 {
			break
		}
	}
	t.Logf("%s and %s: %.2f times", one, three, float64(three)/float64(one))
	if three > 7*one/2 {
		t.Errorf("three times the accounts take %.1f times the CPU, want at most 3.5", float64(three)/float64(one))
	}
}
