package mqtt

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/uuid"
)

// A Listener is somebody else at the broker, who looks on and may publish. It keeps nothing, and does not come back when its
// connection is lost.
type Listener struct {
	paho paho.Client
	lost chan error
}

// patience is how long a Listener waits for the broker.
const patience = 10 * time.Second

// Listen connects to the broker and calls handle with each message of the filters, one after the other: first with those that
// the broker holds. Of the options only those that say how to reach the broker matter: URL, Username, Password and TLS.
func Listen(o Options, handle func(Message), filters ...string) (*Listener, error) {
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	l := &Listener{lost: make(chan error, 1)}
	c := paho.NewClientOptions()
	c.Servers = []*url.URL{u}
	c.SetClientID("graph2mqtt-listener-" + uuid.NewString()[:8]).SetCleanSession(true).SetProtocolVersion(4)
	c.SetUsername(o.Username).SetPassword(o.Password)
	if o.TLS != nil {
		c.SetTLSConfig(o.TLS)
	}
	c.SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(patience).SetWriteTimeout(patience)
	c.SetConnectionLostHandler(func(_ paho.Client, err error) { l.lost <- err })
	c.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		handle(Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Received: time.Now()})
	})
	l.paho = paho.NewClient(c)
	token := l.paho.Connect().(*paho.ConnectToken)
	if !token.WaitTimeout(patience) {
		l.Close()
		return nil, fmt.Errorf("connect to %s: no answer", u.Redacted())
	}
	if err := token.Error(); err != nil {
		if reason := refusedBy(token.ReturnCode()); reason != "network" {
			err = errors.New(reason)
		}
		return nil, fmt.Errorf("connect to %s: %w", u.Redacted(), err)
	}
	wanted := map[string]byte{}
	for _, f := range filters {
		wanted[f] = 0
	}
	if len(wanted) == 0 {
		return l, nil
	}
	subscription := l.paho.SubscribeMultiple(wanted, nil).(*paho.SubscribeToken)
	err = l.wait(subscription, "subscribe")
	for filter, code := range subscription.Result() {
		if code >= 0x80 { // MQTT 3.1.1, section 3.9.3
			err = fmt.Errorf("subscribe: the broker lets nobody of this name read %s", filter)
		}
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Lost receives why the connection is lost, once it is.
func (l *Listener) Lost() <-chan error { return l.lost }

// Publish publishes, and waits until the broker has it.
func (l *Listener) Publish(topic string, payload []byte, retained bool) error {
	return l.wait(l.paho.Publish(topic, qos, retained, payload), "publish to "+topic)
}

func (l *Listener) wait(token paho.Token, what string) error {
	if !token.WaitTimeout(patience) {
		return fmt.Errorf("%s: the broker does not acknowledge", what)
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Close disconnects.
func (l *Listener) Close() { l.paho.Disconnect(250) }
