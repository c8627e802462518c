package state_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
)

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
	var all []string
	for _, m := range s.Stored("audit") {
		all = append(all, m.Subject+" "+string(m.Data))
	}
	stream := s.Stream("audit")
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
	if all := s.Stored("audit"); len(all) != 1 {
		t.Errorf("%d messages are stored", len(all))
	}
}
