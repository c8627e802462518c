package mqtt_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/broker"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

func TestObserver(t *testing.T) {
	b, err := broker.Embedded("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handedOut := make(chan struct{}, 10)
	publisher, err := mqtt.Observe(mqtt.Options{URLs: []string{b.URL()}}, func(mqtt.Message) { handedOut <- struct{}{} }, "home/+")
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	publish := func(topic, payload string, retained bool) {
		t.Helper()
		if err := publisher.Publish(topic, []byte(payload), retained); err != nil {
			t.Fatal(err)
		}
	}
	publish("home/kept", "1", true)
	<-handedOut // this broker acknowledges before

	type heard struct {
		Topic, Payload string
		Retained       bool
	}
	messages := make(chan heard, 10)
	l, err := mqtt.Observe(mqtt.Options{URLs: []string{b.URL()}}, func(m mqtt.Message) { messages <- heard{m.Topic, string(m.Payload), m.Retained} }, "home/+", "other/#")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hears := func(want heard) {
		t.Helper()
		select {
		case got := <-messages:
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%v did not come", want)
		}
	}
	hears(heard{"home/kept", "1", true})
	publish("home/kept", "3", true)
	hears(heard{"home/kept", "3", false})
	publish("elsewhere", "4", false)
	publish("other/a/b", "5", false)
	hears(heard{"other/a/b", "5", false})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-l.Lost():
		if err == nil {
			t.Error("the connection is lost for no reason")
		}
	case <-time.After(10 * time.Second):
		t.Error("the lost connection is not reported")
	}
}

func TestObserverFails(t *testing.T) {
	for url, want := range map[string]string{
		"mqtt://127.0.0.1:1": "connect to mqtt://127.0.0.1:1: dial tcp 127.0.0.1:1: ",
		"http://127.0.0.1":   `mqtt url: want mqtt://, mqtts://, ws:// or wss:// and a host, not "http://127.0.0.1"`,
	} {
		if _, err := mqtt.Observe(mqtt.Options{URLs: []string{url}}, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", url, err)
		}
	}
}
