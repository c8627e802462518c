package mqtt

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/uuid"
)

// An Observer is a second client of the broker that reads topics and may publish. It has no session and does not reconnect.
type Observer struct {
	paho paho.Client
	url  *url.URL
	lost chan error
}

// Observe connects to the first broker that can be reached and calls handle with each message that matches a filter, one after the
// other, the retained ones first. Of the options it uses only URLs, Username, Password and TLS.
func Observe(o Options, handle func(Message), filters ...string) (*Observer, error) {
	urls, err := o.parseURLs()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, u := range urls {
		observer, err := o.observe(u, handle, filters)
		if err == nil {
			return observer, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// observe connects to one broker.
func (o Options) observe(u *url.URL, handle func(Message), filters []string) (*Observer, error) {
	observer := &Observer{url: u, lost: make(chan error, 1)}
	c := o.pahoOptions(u)
	c.SetClientID("graph2mqtt-observer-" + uuid.NewString()[:8]).SetCleanSession(true)
	c.SetConnectionLostHandler(func(_ paho.Client, err error) { observer.lost <- err })
	c.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		handle(Message{Topic: m.Topic(), Payload: m.Payload(), Retained: m.Retained(), Received: time.Now()})
	})
	observer.paho = paho.NewClient(c)
	token := observer.paho.Connect().(*paho.ConnectToken)
	if !token.WaitTimeout(connectTimeout) {
		observer.Close()
		return nil, fmt.Errorf("connect to %s: no answer", u.Redacted())
	}
	if err := token.Error(); err != nil {
		err = withoutPahoPrefix(err)
		if reason := refusedBy(token.ReturnCode()); reason != network {
			err = errors.New(reason)
		} else if reason = kindOf(err); reason != network {
			err = fmt.Errorf("%s: %w", reason, err)
		}
		return nil, fmt.Errorf("connect to %s: %w", u.Redacted(), err)
	}
	wanted := map[string]byte{}
	for _, f := range filters {
		wanted[f] = 0
	}
	if len(wanted) == 0 {
		return observer, nil
	}
	subscription := observer.paho.SubscribeMultiple(wanted, nil).(*paho.SubscribeToken)
	err := observer.wait(subscription, "subscribe")
	for filter, code := range subscription.Result() {
		if code >= 0x80 { // MQTT 3.1.1, section 3.9.3
			err = fmt.Errorf("subscribe: the broker does not let this user read %s", filter)
		}
	}
	if err != nil {
		observer.Close()
		return nil, err
	}
	return observer, nil
}

// Broker returns the address of the broker.
func (o *Observer) Broker() string { return o.url.Redacted() }

// Lost receives an error once the connection is lost.
func (o *Observer) Lost() <-chan error { return o.lost }

// Publish publishes a message and waits until the broker has it.
func (o *Observer) Publish(topic string, payload []byte, retained bool) error {
	return o.wait(o.paho.Publish(topic, qos, retained, payload), "publish to "+topic)
}

func (o *Observer) wait(token paho.Token, what string) error {
	if !token.WaitTimeout(connectTimeout) {
		return fmt.Errorf("%s: the broker does not acknowledge", what)
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Close disconnects.
func (o *Observer) Close() { o.paho.Disconnect(250) }
