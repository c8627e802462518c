package mqtt_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/brokertest"
	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
)

func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkReconnectToBroker measures a reconnect with many accounts: messages, and this process's CPU time.
func BenchmarkReconnectToBroker(b *testing.B) {
	for _, accounts := range []int{100, 300} {
		b.Run(fmt.Sprint(accounts), func(b *testing.B) {
			p := newProxy(b, brokertest.New(b, "").URL)
			client := run(b, options(p.url), nil)
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
			before, published, n := cpu(b), client.Stats().Published, 1
			for b.Loop() {
				n++
				p.drop()
				client.connected(n)
				client.awaitIdle()
			}
			b.ReportMetric(float64(client.Stats().Published-published)/float64(b.N), "messages/op")
			b.ReportMetric((cpu(b)-before).Seconds()/float64(b.N), "cpu-s/op")
		})
	}
}
