package homeassistant_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/mqtt/homeassistant"
	"github.com/graph2mqtt/graph2mqtt/mqtt/mqtttest"
)

// topicTable records what a publisher sets, in place of the broker.
type topicTable struct {
	mu       sync.Mutex
	retained map[string][]byte
	calls    []string
}

func (c *topicTable) call(text string, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, text)
	f()
}

func (c *topicTable) Retain(topic string, payload []byte) {
	c.call("retain "+topic, func() {
		if len(payload) == 0 {
			delete(c.retained, topic)
		} else {
			c.retained[topic] = payload
		}
	})
}

func (c *topicTable) Remove(topics ...string) {
	c.call("remove "+strings.Join(topics, " "), func() {
		for _, topic := range topics {
			delete(c.retained, topic)
		}
	})
}

func (c *topicTable) Republish(topic string) { c.call("republish "+topic, func() {}) }
func (c *topicTable) PublishEvent(topic string, payload []byte) {
	c.call("event "+topic+" "+string(payload), func() {})
}
func (c *topicTable) Ready() { c.call("ready", func() {}) }

// take returns the calls since the last time.
func (c *topicTable) take() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = nil
	return calls
}

func (c *topicTable) get(topic string) string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.retained[topic])
}

// publish runs a publisher while f runs.
func publish(t *testing.T, f func(h *hub.Hub, c *topicTable)) {
	synctest.Test(t, func(t *testing.T) {
		h, c := hub.New(), &topicTable{retained: map[string][]byte{}}
		p := homeassistant.NewPublisher(h, c, discovery(homeassistant.DeviceMode), nil)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		f(h, c)
		cancel()
		running.Wait()
	})
}

func ptr[T any](v T) *T { return &v }

func accountState(synced time.Time) hub.State {
	return hub.State{Available: true, Account: &hub.AccountStatus{SignIn: hub.SignIn{State: "signed_in"}, Connected: true, User: ptr("a@b"), LastSync: &synced}}
}

func calendarState(subject string) hub.State {
	return hub.State{
		State: entity.State{
			Values:     map[string]any{"busy": true, "next": subject, "today": 3},
			Attributes: map[string]any{"message": subject}, ItemsKey: "data", Items: []any{map[string]any{"summary": subject}},
		},
		Available: true, Commands: true,
	}
}

var (
	accountID  = accountDevice.ID
	calendarID = calendarDevice.ID
	start      = time.Date(2026, 9, 14, 9, 0, 0, 123, time.UTC)
)

const calendarTopic = "graph2mqtt/work/calendar/"

func check(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestPublisher(t *testing.T) {
	publish(t, func(h *hub.Hub, c *topicTable) {
		for _, d := range devices() {
			h.Declare(d)
		}
		h.Put(accountID, accountState(start))
		h.Put(calendarID, calendarState("a"))
		h.Put(replyDevice.ID, hub.State{Problem: &hub.Problem{Code: "permission_missing", Message: "x", Since: start}})
		h.Ready()
		if calls := c.take(); calls[len(calls)-1] != "ready" {
			t.Errorf("the last call is %s", calls[len(calls)-1])
		}
		if errs := mqtttest.CheckAll(c.retained, oldest); errs != nil {
			t.Error(errs)
		}
		for topic, want := range map[string]string{
			calendarTopic + "state":                   `{"busy":true,"next":"a","next_start":null,"today":3}`,
			calendarTopic + "attributes":              `{"data":[{"summary":"a"}],"message":"a","total":1,"truncated":false}`,
			calendarTopic + "status":                  `{"problem":false,"code":null,"message":null,"since":null}`,
			calendarTopic + "availability":            "online",
			calendarTopic + "commands":                "online",
			calendarTopic + "items":                   "",
			"graph2mqtt/work/auto_reply/status":       `{"problem":true,"code":"permission_missing","message":"x","since":"2026-09-14T09:00:00Z"}`,
			"graph2mqtt/work/auto_reply/commands":     "offline",
			"graph2mqtt/work/auto_reply/availability": "offline",
			"graph2mqtt/work/state":                   "online",
			"graph2mqtt/work/status": `{"sign_in":{"state":"signed_in","message":null,"url":null,"code":null,"expires_at":null},"connected":true,"user":"a@b",` +
				`"granted":[],"missing":[],"problems":[],"last_sync":"2026-09-14T09:00:00Z","throttled_until":null,"error":null}`,
		} {
			if got := c.get(topic); got != want {
				t.Errorf("%s: got %s, want %s", topic, got, want)
			}
		}

		// Unchanged states are not encoded.
		availability := []string{"retain " + calendarTopic + "availability", "retain " + calendarTopic + "commands"}
		h.Put(calendarID, calendarState("a"))
		check(t, "the same again", c.take(), availability...)
		s := calendarState("a")
		s.Values["today"] = 4
		h.Put(calendarID, s)
		check(t, "a value", c.take(), append([]string{"retain " + calendarTopic + "state"}, availability...)...)
		h.Assert(calendarID)
		check(t, "asserted", c.take(), append(slices.Clone(availability), "republish "+calendarTopic+"state")...)
		h.Emit(calendarID, entity.Event{Type: "event_started", Data: map[string]any{"subject": "a"}})
		h.Emit(accountID, entity.Event{Type: "command_ok"})
		check(t, "events", c.take(), `event graph2mqtt/work/calendar/event {"event_type":"event_started","subject":"a"}`, `event graph2mqtt/work/event {"event_type":"command_ok"}`)

		h.Remove(calendarID)
		check(t, "removed", c.take(), "remove "+calendarTopic+"attributes "+calendarTopic+"availability "+calendarTopic+"commands "+
			calendarTopic+"state "+calendarTopic+"status homeassistant/device/graph2mqtt-work-calendar/config")
	})
}

func TestPublisherDeviceChanges(t *testing.T) {
	publish(t, func(h *hub.Hub, c *topicTable) {
		device := calendarDevice
		device.Items = true
		h.Declare(device)
		h.Put(calendarID, calendarState("a"))
		c.take()
		if got := c.get(calendarTopic + "items"); got != `[{"summary":"a"}]` {
			t.Errorf("items are %s", got)
		}
		device.Items, device.Commands = false, false
		device.Entities = slices.DeleteFunc(slices.Clone(device.Entities), entity.Entity.IsCommand)
		device.Entities = append(device.Entities, entity.Entity{Key: "more", Platform: "sensor", Name: "More"})
		h.Declare(device)
		c.take()
		if c.get(calendarTopic+"items") != "" || c.get(calendarTopic+"commands") != "" {
			t.Errorf("left: %v", slices.Sorted(maps.Keys(c.retained)))
		}
		if got := c.get(calendarTopic + "state"); !strings.Contains(got, `"more":null`) {
			t.Errorf("the state is %s", got)
		}
		device.Entities = []entity.Entity{{Key: "add", Platform: "notify", Name: "Add", Operations: []string{"create"}}}
		device.Commands = true
		h.Declare(device)
		c.take()
		if c.get(calendarTopic+"state") != "" || c.get(calendarTopic+"attributes") != "" || c.get(calendarTopic+"commands") != "online" {
			t.Errorf("left: %v", slices.Sorted(maps.Keys(c.retained)))
		}
	})
}

// last_sync changes with each poll; it is published at most every 5 minutes, after a refresh, and when a failure is over.
func TestLastSync(t *testing.T) {
	publish(t, func(h *hub.Hub, c *topicTable) {
		h.Declare(accountDevice)
		shown := func(what string, want time.Time) {
			t.Helper()
			var status hub.AccountStatus
			if err := json.Unmarshal([]byte(c.get("graph2mqtt/work/status")), &status); err != nil {
				t.Fatal(err)
			}
			if status.LastSync == nil || !status.LastSync.Equal(want.Truncate(time.Second)) {
				t.Errorf("%s: got %v, want %v", what, status.LastSync, want)
			}
		}
		at := start
		h.Put(accountID, accountState(at))
		shown("first", at)
		h.Put(accountID, accountState(at.Add(4*time.Minute)))
		shown("4 minutes later", at)
		h.Put(accountID, accountState(at.Add(5*time.Minute)))
		shown("5 minutes later", at.Add(5*time.Minute))
		h.Put(accountID, accountState(at.Add(6*time.Minute)))
		h.Assert(accountID)
		shown("after a refresh", at.Add(6*time.Minute))
		failed := accountState(at.Add(7 * time.Minute))
		failed.Account.Error, failed.Account.Problems = ptr("x"), []hub.SensorProblem{{Sensor: "calendar", Code: "timeout", Message: "x"}}
		h.Put(accountID, failed)
		shown("a failure", at.Add(6*time.Minute))
		h.Put(accountID, accountState(at.Add(8*time.Minute)))
		shown("the failure is over", at.Add(8*time.Minute))
	})
}

// A day of 12 meetings with ten attendees each.
func busyDay() entity.State {
	s := entity.State{Attributes: map[string]any{"message": "Meeting 0", "description": strings.Repeat("Agenda. ", 100)}, ItemsKey: "data"}
	for i := range 12 {
		var attendees []any
		for j := range 10 {
			attendees = append(attendees, map[string]any{"email": fmt.Sprintf("someone.%d@contoso.onmicrosoft.com", j), "name": fmt.Sprintf("Someone Number %d", j), "type": "required", "status": "accepted"})
		}
		id := fmt.Sprintf("AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A%0116d", i)
		s.Items = append(s.Items, map[string]any{
			"summary": fmt.Sprint("Meeting ", i), "start": start.Add(time.Duration(i) * time.Hour), "end": start.Add(time.Duration(i+1) * time.Hour), "all_day": false,
			"description": strings.Repeat("Please join on time. ", 60), "location": "Conference room 12", "categories": []string{"Blue category"}, "sensitivity": "normal",
			"show_as": "busy", "attendees": attendees, "organizer": map[string]any{"email": "ann@contoso.onmicrosoft.com", "name": "Ann Organizer"}, "reminder": 15,
			"event_id": id, "uid": id, "ical_uid": fmt.Sprintf("040000008200E00074C5B7101A82E008%080d", i), "is_cancelled": false, "response_status": "accepted",
			"join_url": "https://teams.microsoft.com/l/meetup-join/19%3ameeting_" + strings.Repeat("N", 150), "dial_in": nil,
			"web_link": "https://outlook.office365.com/owa/?itemid=" + strings.Repeat("A", 180), "importance": "normal", "series_id": id,
		})
	}
	return s
}

// Five mails, one of them with 500 recipients: the list is shortened, and its length told.
func TestAttributesOfManyRecipients(t *testing.T) {
	var to []any
	for i := range 500 {
		to = append(to, fmt.Sprintf("somebody.with.a.name.%03d@contoso.onmicrosoft.com", i))
	}
	s := entity.State{ItemsKey: "data"}
	for i := range 5 {
		item := map[string]any{"message_id": strings.Repeat("A", 152), "subject": fmt.Sprint("Mail ", i), "to": []any{}, "cc": []any{}, "body": strings.Repeat("word ", 1000)}
		if i == 2 {
			item["to"] = to
		}
		s.Items = append(s.Items, item)
	}
	var got struct {
		Total     int
		Truncated bool
		Data      []struct {
			Subject string
			To      []string
			ToTotal int `json:"to_total"`
		}
	}
	if err := json.Unmarshal(homeassistant.AttributesPayload(s), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 5 || got.Total != 5 || !got.Truncated {
		t.Fatalf("%d of %d, truncated: %v", len(got.Data), got.Total, got.Truncated)
	}
	if m := got.Data[2]; m.ToTotal != 500 || len(m.To) == 0 || len(m.To) == 500 || m.To[0] != to[0] || len(got.Data[0].To) != 0 || got.Data[0].ToTotal != 0 {
		t.Errorf("got %d of %d recipients, and %+v", len(m.To), m.ToTotal, got.Data[0])
	}
}

func TestAttributesShortenBeforeTheyDrop(t *testing.T) {
	payload := homeassistant.AttributesPayload(busyDay())
	if errs := mqtttest.Check("g/a/s/attributes", payload, oldest); errs != nil {
		t.Error(errs)
	}
	var got struct {
		Total     int
		Truncated bool
		Data      []struct {
			Summary        string
			EventID        string `json:"event_id"`
			JoinURL        string `json:"join_url"`
			Attendees      []any
			AttendeesTotal int `json:"attendees_total"`
		}
	}
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Data) != 12 || got.Total != 12 || !got.Truncated {
		t.Errorf("%d of %d items, truncated %v", len(got.Data), got.Total, got.Truncated)
	}
	for i, item := range got.Data {
		if item.Summary != fmt.Sprint("Meeting ", i) || len(item.EventID) < 150 || !strings.HasSuffix(item.JoinURL, "N") || item.AttendeesTotal != 10 {
			t.Errorf("item %d: %+v", i, item)
		}
	}

	// Three of them fit with shortened descriptions alone.
	few := busyDay()
	few.Items = few.Items[:4]
	payload = homeassistant.AttributesPayload(few)
	got.Data = nil
	if err := json.Unmarshal(payload, &got); err != nil {
		t.Fatal(err)
	}
	for i, item := range got.Data {
		if len(item.Attendees) != 10 || item.AttendeesTotal != 0 {
			t.Errorf("item %d of few: %d attendees of %d", i, len(item.Attendees), item.AttendeesTotal)
		}
	}
}

// The cost depends on the items that fit, not on the number of items.
func TestAttributesCost(t *testing.T) {
	short := entity.State{ItemsKey: "tasks"} // many of these fit
	for i := range 12 {
		short.Items = append(short.Items, map[string]any{"subject": fmt.Sprint("Task ", i), "done": false})
	}
	for name, s := range map[string]entity.State{"long": busyDay(), "short": short} {
		cost := func(n int) float64 {
			many := s
			for len(many.Items) < n {
				many.Items = append(many.Items, s.Items...)
			}
			many.Items = many.Items[:n]
			return testing.AllocsPerRun(3, func() { homeassistant.AttributesPayload(many) })
		}
		small, large := cost(500), cost(5000)
		t.Logf("%s: %v allocations for 5,000 items", name, large)
		if large > 1.1*small {
			t.Errorf("%s: %v allocations for 500 items, %v for 5,000", name, small, large)
		}
		if large > 6000 { // it is a seventh of that without the race detector
			t.Errorf("%s: %v allocations", name, large)
		}
	}
}

func BenchmarkAttributes5000(b *testing.B) {
	s := busyDay()
	for len(s.Items) < 5000 {
		s.Items = append(s.Items, s.Items[:12]...)
	}
	b.ReportAllocs()
	for b.Loop() {
		homeassistant.AttributesPayload(s)
	}
}

func BenchmarkAttributes10(b *testing.B) {
	s := busyDay()
	s.Items = s.Items[:3]
	b.ReportAllocs()
	for b.Loop() {
		homeassistant.AttributesPayload(s)
	}
}

// A sensor may emit an event before the publisher runs.
func TestEventsBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := hub.New(), &topicTable{retained: map[string][]byte{}}
		p := homeassistant.NewPublisher(h, c, discovery(homeassistant.DeviceMode), nil)
		id := hub.ID{Account: "work"}
		h.Declare(hub.Device{ID: id, Name: "Work", Slug: "work"})
		h.Emit(id, entity.Event{Type: "sign_in_required"})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
		if calls := c.take(); !slices.ContainsFunc(calls, func(call string) bool { return strings.HasPrefix(call, "event graph2mqtt/work/event ") }) {
			t.Errorf("calls %q", calls)
		}
	})
}
