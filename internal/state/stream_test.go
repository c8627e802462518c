package state_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
)

// stored returns the subjects and the messages of a stream.
func stored(t *testing.T, s *natstest.NATS, name string) (all []string, stream jetstream.Stream) {
	t.Helper()
	conn, err := nats.Connect(s.ClientURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err = js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for n := range stream.CachedInfo().State.LastSeq {
		m, err := stream.GetMsg(t.Context(), n+1)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m.Subject+" "+string(m.Data))
	}
	return all, stream
}

func TestStream(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	for i, topic := range []string{"work", "work", "", "a.b"} {
		if err := d.Stream("audit", 0).Append(topic, fmt.Sprint(i), []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Stream("audit", time.Hour).Append("work", "1", []byte("1")); err != nil { // again
		t.Fatal(err)
	}
	all, stream := stored(t, s, "audit")
	if got := strings.Join(all, ", "); got != "audit.work 0, audit.work 1, audit 2, audit.a=2Eb 3" {
		t.Errorf("stored: %s", got)
	}
	if age := stream.CachedInfo().Config.MaxAge; age != time.Hour {
		t.Errorf("records stay for %s", age)
	}
	if err := stream.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("a record was deleted")
	}
	if err := stream.Purge(t.Context()); err == nil {
		t.Error("all records were deleted")
	}
}

// A stream of something else is not written to.
func TestForeignStream(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	err := d.Stream("KV_test", 0).Append("work", "1", nil)
	if err == nil || !strings.Contains(err.Error(), "it was made for something else; delete it, or set audit.stream to another name") {
		t.Errorf("got %v", err)
	}
}

func TestStreamWithoutServers(t *testing.T) {
	s := natstest.New(t)
	d, _ := machine(t, []string{s.ClientURL}, nil)
	stream := d.Stream("audit", 0)
	s.Kill()
	if err := stream.Append("work", "1", []byte("1")); err == nil || !strings.Contains(err.Error(), "NATS does not answer") {
		t.Errorf("got %v", err)
	}
	s.Start()
	for end := time.Now().Add(time.Minute); ; {
		err := stream.Append("work", "1", []byte("1"))
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if all, _ := stored(t, s, "audit"); len(all) != 1 {
		t.Errorf("stored: %v", all)
	}
}
