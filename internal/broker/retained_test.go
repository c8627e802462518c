package broker_test

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
)

// Clients, wills and the program store, replace and delete retained messages while others subscribe with wildcards. Each subscriber receives
// all messages that stay unchanged. The race detector fails the test if a message is stored while others are read.
func TestSubscribersWhileMessagesAreRetained(t *testing.T) {
	b, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	const unchanged, rounds, wills = 20, 100, 20
	for i := range unchanged {
		if err := b.Publish(fmt.Sprintf("house/unchanged/%d", i), []byte("x"), true); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(o *paho.ClientOptions) paho.Client {
		c := paho.NewClient(o.AddBroker("tcp://" + strings.TrimPrefix(b.URL(), "mqtt://")).SetAutoReconnect(false).
			SetDefaultPublishHandler(func(paho.Client, paho.Message) {})) // acknowledges messages that come after an Unsubscribe
		wait(t, c.Connect())
		return c
	}
	publisher := connect(paho.NewClientOptions().SetClientID("publisher"))
	defer publisher.Disconnect(0)
	subscriber := connect(paho.NewClientOptions().SetClientID("subscriber"))
	defer subscriber.Disconnect(0)

	offline := make(chan bool, wills)
	if err := b.Watch(1, "house/guest/state", func(string, []byte, bool) { offline <- true }); err != nil {
		t.Fatal(err)
	}

	var all sync.WaitGroup
	all.Go(func() {
		for i := range rounds {
			topic := fmt.Sprintf("house/client/%d", i%5)
			wait(t, publisher.Publish(topic, 1, true, strconv.Itoa(i)))
			wait(t, publisher.Publish(topic, 1, true, ""))
		}
	})
	all.Go(func() {
		for i := range rounds {
			if err := b.Publish(fmt.Sprintf("house/program/%d", i%5), []byte(strconv.Itoa(i)), true); err != nil {
				t.Error(err)
			}
		}
	})
	all.Go(func() {
		for range wills {
			var conn net.Conn
			o := paho.NewClientOptions().SetClientID("guest").SetWill("house/guest/state", "offline", 1, true)
			o.SetCustomOpenConnectionFn(func(u *url.URL, _ paho.ClientOptions) (net.Conn, error) {
				var err error
				conn, err = net.Dial("tcp", u.Host)
				return conn, err
			})
			connect(o)
			_ = conn.Close() // without DISCONNECT, so that the broker publishes the will
			select {
			case <-offline:
			case <-time.After(time.Minute):
				t.Error("a will did not come")
				return
			}
		}
	})
	all.Go(func() {
		for range rounds {
			got := make(chan string, 10*unchanged)
			wait(t, subscriber.Subscribe("house/#", 1, func(_ paho.Client, m paho.Message) {
				if strings.HasPrefix(m.Topic(), "house/unchanged/") {
					got <- m.Topic()
				}
			}))
			for range unchanged {
				select {
				case <-got:
				case <-time.After(time.Minute):
					t.Error("a retained message did not come")
					return
				}
			}
			wait(t, subscriber.Unsubscribe("house/#"))
		}
	})
	for i := range rounds {
		var n atomic.Int64
		if err := b.Watch(2+i, "house/#", func(topic string, _ []byte, _ bool) {
			if strings.HasPrefix(topic, "house/unchanged/") {
				n.Add(1)
			}
		}); err != nil {
			t.Error(err)
		}
		if n.Load() != unchanged {
			t.Errorf("a watcher got %d of %d messages", n.Load(), unchanged)
		}
	}
	all.Wait()
}

// A client that does not read what it is sent is disconnected. Until then retained messages cannot be stored.
func TestClientThatDoesNotRead(t *testing.T) {
	b, err := broker.New("127.0.0.1:0", broker.Options{WriteTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	big := bytes.Repeat([]byte("x"), 64<<10)
	for i := range 600 { // more than the buffers of a connection can have
		if err := b.Publish(fmt.Sprintf("big/%d", i), big, true); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.URL(), "mqtt://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	connect := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	connect.ProtocolName, connect.ProtocolVersion, connect.CleanSession, connect.ClientIdentifier = "MQTT", 4, true, "silent" // no keepalive
	subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, []string{"big/#"}, []byte{1}
	for _, p := range []packets.ControlPacket{connect, subscribe} {
		if err := p.Write(conn); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // CONNACK and SUBACK
		if _, err := packets.ReadPacket(conn); err != nil {
			t.Fatal(err)
		}
	}
	published := make(chan error)
	go func() { published <- b.Publish("other", []byte("x"), true) }()
	select {
	case err := <-published:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("a retained message cannot be stored")
	}
}

// wait waits for the end of an operation of a client.
func wait(t *testing.T, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(time.Minute) {
		t.Error("the broker did not answer")
	} else if err := token.Error(); err != nil {
		t.Error(err)
	}
}
