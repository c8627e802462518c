package mail_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/entity"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	graphmail "github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/sensors/mail"
	"github.com/graph2mqtt/graph2mqtt/sensors/sensorstest"
)

// The effect of an operation is shown at once, with events that name its origin, and the next poll adds nothing.
func TestEffects(t *testing.T) {
	for _, unread := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := contoso(t)
			a, b := deliver(s, "a"), deliver(s, "b")
			raw := map[string]any{}
			if unread {
				raw["is_unread"] = true
			}
			d, g := email(t, raw), graphtest.Client(t, s, simulator.Adele, "Mail.ReadWrite")
			now := time.Now()
			d.Poll(t, g, now)
			box := graphmail.Mailbox{}
			yes := true
			changed, err := box.Update(t.Context(), g, a.ImmutableID, graphmail.Fields{Read: &yes})
			if err != nil {
				t.Fatal(err)
			}
			events := d.Apply(t, changed, now)
			expect(t, "read", events, "mail_read a")
			moved, err := box.Move(t.Context(), g, b.ImmutableID, graphmail.DeletedItems)
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, d.Apply(t, moved, now)...)
			expect(t, "deleted", events[1:], "mail_removed b")
			for _, e := range events {
				if e.Data["own"] != true {
					t.Errorf("%s is not marked as our own", e.Type)
				}
			}
			before := d.State(t, now, now)
			expect(t, "polled", d.Poll(t, g, now))
			after := d.State(t, now, now)
			if diff := cmp.Diff(before.Values, after.Values); diff != "" || len(before.Items) != len(after.Items) {
				t.Errorf("the poll says something else: %s", diff)
			}
		})
	}
}

func TestEffectsOnOtherMails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := contoso(t)
		deliver(s, "a")
		d := email(t, nil)
		d.Poll(t, client(t, s), time.Now())
		if events := d.Apply(t, graphmail.Changed{Message: graphmail.Message{ID: "x", Read: true}}, time.Now()); len(events) > 0 {
			t.Errorf("got %v", told(events))
		}
		if events := d.Apply(t, graphmail.Moved{ID: d.Snapshot.Messages[0].ID, Folder: d.Snapshot.FolderID}, time.Now()); len(events) > 0 {
			t.Errorf("got %v", told(events))
		}
	})
}

func TestNotify(t *testing.T) {
	for _, tt := range []struct {
		raw  map[string]any
		want map[string]any
	}{
		{map[string]any{}, map[string]any{"subject": "Message from Home Assistant"}},
		{map[string]any{"to": []any{simulator.Adele}, "cc": []any{info}, "subject": "Home"}, map[string]any{"to": []string{simulator.Adele}, "cc": []string{info}, "subject": "Home"}},
	} {
		d := email(t, map[string]any{"notify": tt.raw})
		var found *entity.Entity
		for _, e := range d.Source.Entities() {
			if e.Platform == "notify" {
				found = &e
			}
		}
		if found == nil || found.Key != "send" || found.MessageField != "message" || found.Operations[0] != "send" {
			t.Fatalf("got %+v", found)
		}
		if diff := cmp.Diff(tt.want, found.DefaultFields); diff != "" {
			t.Error(diff)
		}
	}
	for _, e := range email(t, nil).Source.Entities() {
		if e.Platform == "notify" {
			t.Error("a notify entity without a receiver")
		}
	}
}

func TestNotifyNeedsSend(t *testing.T) {
	o := mail.Email().New().Options().(*mail.Options)
	if err := schema.Decode(o, map[string]any{"notify": map[string]any{"to": []any{"ann"}}}); err == nil || err.Error() != `notify.to[0]: want an address, such as ann@contoso.com, not "ann"` {
		t.Errorf("got %v", err)
	}
	sensorstest.Decode(t, o, map[string]any{"notify": map[string]any{}})
	for _, tt := range []struct {
		update bool
		allow  []string
		want   string
	}{
		{true, nil, ""}, {true, []string{"default"}, ""}, {true, []string{"send", "move"}, ""},
		{false, nil, "notify: only with enable_update: true"}, {true, []string{"move"}, "notify: want send in allow as well"},
	} {
		got := ""
		if err := o.CheckSensor(tt.update, tt.allow); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%v %q: got %q, want %q", tt.update, tt.allow, got, tt.want)
		}
	}
}
