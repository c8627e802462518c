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
type Listener struct{ paho paho.Client }

// patience is how long a Listener waits for the broker.
const patience = 10 * time.Second

// Listen connects to the broker and calls handle with each message of the filters, one after the other: first with those that
// the broker holds.
func Listen(broker, username, password string, handle func(Message), filters ...string) (*Listener, error) {
	u, err := parseURL(broker)
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions()
	o.Servers = []*url.URL{u}
	o.SetClientID("graph2mqtt-listener-" + uuid.NewString()[:8]).SetCleanSession(true).SetProtocolVersion(4)
	o.SetUsername(username).SetPassword(password)
	o.SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(patience).SetWriteTimeout(patience)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		handle(Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Received: time.Now()})
	})
	l := &Listener{paho.NewClient(o)}
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
	if err := l.wait(l.paho.SubscribeMultiple(wanted, nil), "subscribe"); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

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
