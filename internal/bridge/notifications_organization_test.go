package bridge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// An organizationFleet is a pushFleet of the organization contoso, which can be stopped and started again.
type organizationFleet struct {
	*pushFleet
	setup  fleetSetup
	writes atomic.Int64 // changes of stored subscriptions
}

// startOrganization starts an organization with these keys in the bubble of a test. The application has the roles in the whole organization.
func startOrganization(t *testing.T, keys string, safety time.Duration, roles []string, prepare func(*simulator.Simulator)) *organizationFleet {
	t.Helper()
	f := &organizationFleet{pushFleet: &pushFleet{t: t, account: "contoso"}}
	s := f.newMicrosoft()
	s.Register(simulator.Registration{ClientID: application, Tenant: simulator.ContosoTenant, FederatedToken: workloadToken, Roles: roles})
	prepare(s)
	f.setup = fleetSetup{
		organization: keys, simulator: s, dir: t.TempDir(), notifications: &runtime.NotificationOptions{URL: webhook, Safety: safety},
		wrap: func(s runtime.Store) runtime.Store { return countingStore{s, &f.writes} },
	}
	f.start(f.setup)
	return f
}

// restart stops the organization, calls f, and starts it again.
func (f *organizationFleet) restart(between func()) {
	f.t.Helper()
	f.stop()
	between()
	f.Microsoft.ForgetRequests()
	f.writes.Store(0)
	f.start(f.setup)
}

// A countingStore counts the changes of stored subscriptions.
type countingStore struct {
	runtime.Store
	n *atomic.Int64
}

func (s countingStore) Commit(write func(services.Tx), done func(error)) {
	s.Store.Commit(func(tx services.Tx) { write(countingTx{tx, s.n}) }, done)
}

func (s countingStore) CommitLazily(write func(services.Tx)) {
	s.Store.CommitLazily(func(tx services.Tx) { write(countingTx{tx, s.n}) })
}

type countingTx struct {
	services.Tx
	n *atomic.Int64
}

func (tx countingTx) count(bucket string) {
	if bucket == "subscriptions" {
		tx.n.Add(1)
	}
}

func (tx countingTx) Put(bucket, key string, value []byte) {
	tx.count(bucket)
	tx.Tx.Put(bucket, key, value)
}

func (tx countingTx) Delete(bucket, key string) {
	tx.count(bucket)
	tx.Tx.Delete(bucket, key)
}

// stored returns what is stored of the subscriptions, by key.
func (f *organizationFleet) stored() map[string]string {
	f.t.Helper()
	all := map[string]string{}
	if err := f.Database.Bucket("subscriptions").Each(func(key string, value []byte) error { all[key] = string(value); return nil }); err != nil {
		f.t.Fatal(err)
	}
	return all
}

// sensorStatus returns the state of the notifications of a sensor, with its message.
func (f *organizationFleet) sensorStatus(id string) (state, message string) {
	f.t.Helper()
	for _, s := range f.status().Sensors {
		if s.Sensor == id {
			if s.Message != nil {
				message = *s.Message
			}
			return s.State, message
		}
	}
	f.t.Fatalf("no sensor %s in %+v", id, f.status())
	return "", ""
}

func (f *organizationFleet) shows(sensor, key string) any {
	var values map[string]any
	_ = json.Unmarshal(f.Published.Held("graph2mqtt/contoso/"+sensor+"/state"), &values)
	return values[key]
}

// subscribed returns the resources of the subscriptions.
func (f *organizationFleet) subscribed() map[string]string {
	all := map[string]string{}
	for _, s := range f.Microsoft.Subscriptions() {
		all[s.Resource] = s.ID
	}
	return all
}

func meeting(subject string) simulator.Event {
	return simulator.Event{Subject: subject, Start: time.Now().Add(-time.Minute), End: time.Now().Add(time.Hour), Organizer: simulator.Adele}
}

func addRooms(addresses ...string) func(*simulator.Simulator) {
	return func(s *simulator.Simulator) {
		for _, a := range addresses {
			s.AddRoom(simulator.Room{Address: a, Name: a})
		}
	}
}

// The changes of rooms and mailboxes of an organization are announced. Sensors of one mailbox share a subscription, and only they are read.
func TestNotificationsOfAnOrganization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := "    rooms: {addresses: [" + berlin + ", " + paris + "]}\n    sensors:\n"
		for _, s := range []string{
			"berlin: {type: calendar, user: " + strings.ToUpper(berlin[:1]) + berlin[1:] + "}", "other: {type: calendar, calendar: Birthdays, user: " + simulator.Adele + "}",
			"inbox: {type: email, user: " + simulator.Adele + "}", "urgent: {type: query, user: " + simulator.Adele + ", importance: high}",
			"away: {type: auto_reply, user: " + simulator.Adele + "}", "tasks: {type: todo, user: " + simulator.Adele + ", list: defaultList}",
			"presence: {type: status, user: " + simulator.Adele + "}",
		} {
			keys += "      " + s + "\n"
		}
		roles := []string{"Calendars.Read", "Mail.Read", "MailboxSettings.Read", "Tasks.Read.All", "Presence.Read.All", "User.ReadBasic.All"}
		f := startOrganization(t, keys, safety, roles, addRooms(berlin, paris))
		time.Sleep(3 * time.Minute)
		all := f.Microsoft.Subscriptions()
		if len(all) != 3 {
			t.Fatalf("subscriptions to %v", f.subscribed())
		}
		for _, s := range all {
			known := s.Resource == "/users/"+berlin+"/events" || s.Resource == "/users/"+paris+"/events" || strings.HasPrefix(s.Resource, "/users/"+simulator.Adele+"/mailFolders('")
			if !known || s.URL != webhook || s.LifecycleURL != webhook || len(s.ClientState) != 43 {
				t.Errorf("%+v", s)
			}
		}
		room := roomID(berlin)
		for id, want := range map[string][2]string{
			room: {"ok", ""}, roomID(paris): {"ok", ""}, "berlin": {"ok", ""}, "inbox": {"ok", ""}, "urgent": {"ok", ""},
			"tasks": {"off", "Microsoft sends no notifications about this to applications"}, "presence": {"off", "Microsoft sends no notifications about this to applications"},
			"away": {"off", "Microsoft sends no notifications about this"}, "other": {"off", "Microsoft sends notifications about the default calendar only: leave calendar out"},
		} {
			if state, message := f.sensorStatus(id); state != want[0] || message != want[1] {
				t.Errorf("%s: %s, %q, want %q", id, state, message, want)
			}
		}
		f.Microsoft.ForgetRequests()
		f.Microsoft.AddEvent(berlin, "", meeting("Standup"))
		time.Sleep(6 * time.Second)
		if f.shows(room, "busy") != true || f.shows("berlin", "busy") != true || f.shows(roomID(paris), "busy") != false {
			t.Errorf("berlin: %v and %v, paris: %v", f.shows(room, "busy"), f.shows("berlin", "busy"), f.shows(roomID(paris), "busy"))
		}
		for _, r := range f.Microsoft.Requests() {
			if strings.Contains(r.Path, "/calendar") && !strings.Contains(strings.ToLower(r.Path), berlin) && !strings.Contains(r.Path, simulator.Adele) || strings.Contains(r.Path, "/messages") {
				t.Errorf("%s %s", r.Method, r.Path)
			}
			if strings.HasPrefix(r.Path, "/v1.0/me") {
				t.Errorf("%s %s", r.Method, r.Path)
			}
		}

		// A sensor that is removed leaves the subscription to the other, the last one ends it.
		changed := *f.Config.Accounts["contoso"]
		changed.Sensors = map[string]*config.Sensor{"rooms": changed.Sensors["rooms"]}
		removed := []string{"contoso/berlin", "contoso/other", "contoso/inbox", "contoso/urgent", "contoso/away", "contoso/tasks", "contoso/presence"}
		if err := f.Runtime.Apply(t.Context(), map[string]*config.Account{"contoso": &changed}, config.Changes{Sensors: config.Delta{Removed: removed}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		left := f.subscribed()
		if len(left) != 2 || left["/users/"+berlin+"/events"] == "" || left["/users/"+paris+"/events"] == "" || len(f.stored()) != 2 {
			t.Errorf("%v are left, and stored %v", left, f.stored())
		}
		if err := f.Runtime.Apply(t.Context(), nil, config.Changes{Accounts: config.Delta{Removed: []string{"contoso"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if left := f.subscribed(); len(left) != 0 || len(f.stored()) != 0 {
			t.Errorf("%v are left, and stored %v", left, f.stored())
		}
	})
}

// One mailbox cannot have a subscription: Exchange excludes it, it has too many subscriptions, it is throttled, or it was deleted. The others
// are not affected. The request is repeated at increasing intervals, and succeeds when the cause is fixed.
func TestNotificationsOfAnExcludedMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rome = "rome@contoso.example"
		f := startOrganization(t, "    rooms: {addresses: ["+berlin+", "+paris+", "+rome+"]}\n", safety, nil, func(s *simulator.Simulator) {
			addRooms(berlin, paris, rome)(s)
			s.SetMailboxRoles(application, berlin, "Calendars.Read")
			s.SetMailboxRoles(application, rome, "Calendars.Read")
			s.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/subscriptions", Status: http.StatusTooManyRequests, RetryAfter: "1800"})
		})
		time.Sleep(5 * time.Minute)
		all := f.subscribed()
		if len(all) != 1 || f.count(http.MethodPost) != 2 {
			t.Errorf("%v after %d requests, want one room", all, f.count(http.MethodPost))
		}
		subscribed, waiting := rome, berlin // the first request fails; it is for either of them
		if all["/users/"+berlin+"/events"] != "" {
			subscribed, waiting = berlin, rome
		}
		if state, _ := f.sensorStatus(roomID(subscribed)); state != "ok" || f.status().State != "degraded" {
			t.Errorf("%s: %s, all: %s", subscribed, state, f.status().State)
		}
		if state, message := f.sensorStatus(roomID(waiting)); state != "degraded" || !strings.Contains(message, "Microsoft asked to wait") {
			t.Errorf("%s: %s, %q", waiting, state, message)
		}
		if state, message := f.sensorStatus(roomID(paris)); state != "off" || message != "it cannot be read, see its problem" {
			t.Errorf("paris: %s, %q", state, message)
		}
		time.Sleep(time.Hour)
		if all := f.subscribed(); len(all) != 2 || f.count(http.MethodPost) != 3 {
			t.Errorf("%v after %d requests, want berlin and rome", all, f.count(http.MethodPost))
		}

		// Exchange assigns the role, but the mailbox has too many subscriptions.
		f.Microsoft.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/subscriptions", Times: -1, Status: http.StatusForbidden})
		f.Microsoft.SetMailboxRoles(application, paris, "Calendars.Read")
		f.Microsoft.ForgetRequests()
		time.Sleep(24 * time.Hour)
		if state, message := f.sensorStatus(roomID(paris)); state != "degraded" || !strings.Contains(message, "too many subscriptions") {
			t.Errorf("paris: %s, %q", state, message)
		}
		if n := f.count(http.MethodPost); n < 20 || n > 32 {
			t.Errorf("%d attempts within a day, want one an hour after the first", n)
		}
		f.Microsoft.ClearFaults()
		time.Sleep(2 * time.Hour)
		if s := f.status(); s.State != "ok" || len(f.subscribed()) != 3 {
			t.Errorf("%+v", s)
		}

		// The role is taken away: that room alone is polled as before, and its subscription ends by itself.
		f.Microsoft.SetMailboxRoles(application, berlin)
		time.Sleep(4 * 24 * time.Hour)
		if all := f.subscribed(); len(all) != 2 || all["/users/"+berlin+"/events"] != "" {
			t.Errorf("%v", all)
		}
		if state, _ := f.sensorStatus(roomID(rome)); state != "ok" {
			t.Errorf("rome: %s", state)
		}
	})
}

// While Microsoft cannot reach the receiver, one request tells, however many mailboxes there are.
func TestNotificationsOfAnOrganizationWithoutReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addresses := roomAddresses(20)
		f := startOrganization(t, "    rooms: {addresses: ["+strings.Join(addresses, ", ")+"]}\n", safety, []string{"Calendars.Read"}, func(s *simulator.Simulator) {
			addRooms(addresses...)(s)
			s.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/subscriptions", Times: -1, Status: http.StatusBadRequest, Code: "ValidationError", Message: "The request timed out."})
		})
		time.Sleep(2 * time.Hour)
		if n := f.count(http.MethodPost); n < 5 || n > 8 {
			t.Errorf("%d attempts within two hours", n)
		}
		s := f.status()
		for _, sensor := range s.Sensors {
			if sensor.State != "degraded" || sensor.Message == nil || !strings.Contains(*sensor.Message, "Microsoft cannot reach "+webhook) {
				t.Fatalf("%+v", sensor)
			}
		}
		f.Microsoft.ClearFaults()
		time.Sleep(90 * time.Minute)
		if s := f.status(); s.State != "ok" || len(f.subscribed()) != len(addresses) {
			t.Errorf("%s with %d subscriptions", s.State, len(f.subscribed()))
		}
	})
}

// A failure that seems to concern all subscriptions can be one of a single mailbox. Then the others are created before it is tried again.
func TestFailedSubscriptionIsTriedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rome = "rome@contoso.example"
		f := startOrganization(t, "    rooms: {addresses: ["+berlin+", "+paris+", "+rome+"]}\n", safety, []string{"Calendars.Read"}, func(s *simulator.Simulator) {
			addRooms(berlin, paris, rome)(s)
			s.Fail(simulator.Fault{Method: http.MethodPost, Path: "/v1.0/subscriptions", Reset: true})
		})
		time.Sleep(30 * time.Second)
		if n := f.count(http.MethodPost); n != 1 || len(f.subscribed()) != 0 {
			t.Fatalf("%d attempts, %v", n, f.subscribed())
		}
		time.Sleep(5 * time.Minute)
		var order []string
		for _, r := range f.Microsoft.Requests() {
			if r.Method != http.MethodPost || r.Path != "/v1.0/subscriptions" {
				continue
			}
			var requested struct{ Resource string }
			if err := json.Unmarshal(r.Body, &requested); err != nil {
				t.Fatal(err)
			}
			order = append(order, requested.Resource)
		}
		// Which of them is the first depends on the polls.
		if len(order) != 4 || len(f.subscribed()) != 3 || order[3] != order[0] {
			t.Errorf("requested in the order %v, subscribed: %v", order, f.subscribed())
		}
	})
}

func roomAddresses(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("room%03d@contoso.example", i))
	}
	return all
}

// What 200 mailboxes cost: one request and one write for each subscription, one request for each renewal, and one list at a restart.
func TestSubscriptionsOfManyMailboxes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		addresses := roomAddresses(n)
		f := startOrganization(t, "    rooms: {addresses: ["+strings.Join(addresses, ", ")+"]}\n", 24*time.Hour, []string{"Calendars.Read"}, addRooms(addresses...))
		table := "requests and writes of 200 mailboxes\n"
		measure := func(what string) (post, patch, get int, writes int64) {
			post, patch = f.count(http.MethodPost), f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions")
			get, writes = f.Microsoft.Count(http.MethodGet, "/v1.0/subscriptions"), f.writes.Load()
			table += fmt.Sprintf("%-28s %4d created %4d renewed %4d pages listed %4d written\n", what, post, patch, get, writes)
			f.Microsoft.ForgetRequests()
			f.writes.Store(0)
			return post, patch, get, writes
		}
		time.Sleep(5 * time.Minute)
		if post, patch, get, writes := measure("first 5 minutes"); post != n || patch != 0 || get != 1 || writes != n {
			t.Errorf("%d created, %d renewed, %d pages, %d written", post, patch, get, writes)
		}
		first := f.subscribed()
		if s := f.status(); s.State != "ok" || len(first) != n {
			t.Errorf("%s with %d subscriptions", s.State, len(first))
		}
		time.Sleep(44 * time.Hour)
		for range 60 { // within some hours, and two a second at most
			before := f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions")
			time.Sleep(5 * time.Minute)
			if some := f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions") - before; some > n/5 {
				t.Errorf("%d renewals within 5 minutes", some)
			}
		}
		if post, patch, get, writes := measure("two days"); post != 0 || patch != n || get != 0 || writes != 0 {
			t.Errorf("%d created, %d renewed, %d pages, %d written", post, patch, get, writes)
		}
		f.restart(func() {})
		time.Sleep(5 * time.Minute)
		if post, patch, get, writes := measure("restart"); post != 0 || patch != 0 || get != n/10 || writes != 0 {
			t.Errorf("%d created, %d renewed, %d pages, %d written", post, patch, get, writes)
		}
		if s := f.status(); s.State != "ok" {
			t.Errorf("%s after the restart", s.State)
		}
		time.Sleep(4 * 24 * time.Hour) // those that were renewed before are renewed in time
		if post, patch, _, writes := measure("four days after"); post != 0 || patch != 2*n || writes != 0 {
			t.Errorf("%d created, %d renewed, %d written", post, patch, writes)
		}
		after := f.subscribed()
		for resource, id := range first {
			if after[resource] != id {
				t.Fatalf("%s has another subscription", resource)
			}
		}
		f.Microsoft.AddEvent(addresses[7], "", meeting("Standup"))
		time.Sleep(6 * time.Second)
		if f.shows(roomID(addresses[7]), "busy") != true {
			t.Error("a change is not announced any more")
		}
		f.setup.notifications = nil
		f.restart(func() {})
		time.Sleep(5 * time.Minute)
		if left := f.subscribed(); len(left) != 0 || len(f.stored()) != 0 {
			t.Errorf("%d subscriptions are left without notifications, and %d stored", len(left), len(f.stored()))
		}
		t.Logf("\n%s", table)
	})
}

// Subscriptions that an earlier run left, such as those of an organization that was renamed, do not hold up those that are wanted. All are
// deleted, also after a restart, and one that cannot be deleted does not hold up the others.
func TestStraySubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, rome = 100, "rome@contoso.example"
		strays := roomAddresses(n)
		f := startOrganization(t, "    rooms: {addresses: ["+strings.Join(strays, ", ")+"]}\n", safety, []string{"Calendars.Read"}, addRooms(append(strays, berlin, paris, rome)...))
		time.Sleep(5 * time.Minute)
		before := f.subscribed()
		if len(before) != n {
			t.Fatalf("%d subscriptions", len(before))
		}
		wanted := func() (n int) {
			for resource := range f.subscribed() {
				if _, ok := before[resource]; !ok {
					n++
				}
			}
			return n
		}
		stubborn := before["/users/"+strays[0]+"/events"]
		f.setup.dir = t.TempDir() // nothing is known of them
		f.setup.organization = "    rooms: {addresses: [" + berlin + ", " + paris + ", " + rome + "]}\n"
		f.restart(func() {
			f.Microsoft.Fail(simulator.Fault{Method: http.MethodDelete, Path: "/v1.0/subscriptions/" + stubborn, Status: http.StatusInternalServerError, Times: 8})
			f.Microsoft.Fail(simulator.Fault{Method: http.MethodDelete, Path: "/v1.0/subscriptions/", Delay: 2 * time.Second, Times: -1})
		})
		time.Sleep(30 * time.Second)
		if got := wanted(); got != 3 {
			t.Errorf("%d of 3 subscriptions were created in the first half minute", got)
		}
		if left := len(f.subscribed()) - 3; left < 80 {
			t.Fatalf("%d of %d strays are left after half a minute; want most of them", left, n)
		}
		time.Sleep(30 * time.Second)
		if s := f.status(); s.State != "ok" {
			t.Errorf("notifications are %s while strays are deleted", s.State)
		}
		f.restart(func() {})
		time.Sleep(5 * time.Minute)
		if got := f.subscribed(); len(got) != 4 || wanted() != 3 || got["/users/"+strays[0]+"/events"] != stubborn {
			t.Errorf("%d subscriptions are left, want 3 and the one that cannot be deleted", len(got))
		}
		time.Sleep(4 * time.Hour)
		if got := f.subscribed(); len(got) != 3 || wanted() != 3 {
			t.Errorf("%d subscriptions at the end: %v", len(got), got)
		}
		f.Microsoft.ForgetRequests()
		time.Sleep(time.Hour)
		if n := f.count(http.MethodDelete); n != 0 {
			t.Errorf("%d deletions after all stray subscriptions were deleted", n)
		}
	})
}

// What an earlier version stored as one value of an account is continued, and stored anew. What is stored of accounts that were removed
// meanwhile is deleted.
func TestUpgradeOfStoredSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startOrganization(t, "    rooms: {addresses: ["+berlin+", "+paris+"]}\n", safety, []string{"Calendars.Read"}, addRooms(berlin, paris))
		time.Sleep(5 * time.Minute)
		first := f.subscribed()
		f.restart(func() {
			database, err := f.dir.OpenDatabase()
			if err != nil {
				t.Fatal(err)
			}
			defer database.Close()
			together := []map[string]any{}
			if err := database.CommitSync(func(tx state.Tx) {
				for key, value := range readAll(t, database) {
					var sub map[string]any
					if err := json.Unmarshal([]byte(value), &sub); err != nil {
						t.Error(err)
					}
					sub["Expires"], sub["RenewAt"] = time.Now().Add(time.Hour), time.Now().Add(30*time.Minute)
					together = append(together, sub)
					tx.Delete("subscriptions", key)
				}
				value, err := json.Marshal(together)
				if err != nil {
					t.Error(err)
				}
				tx.Put("subscriptions", "contoso", value)
				tx.Put("subscriptions", "removed", value)
				tx.Put("subscriptions", "removed/ABC", []byte(`{"Resource": "/me/events", "ID": "1"}`))
			}); err != nil || len(together) != 2 {
				t.Errorf("%d stored, %v", len(together), err)
			}
		})
		time.Sleep(5 * time.Minute)
		after := f.subscribed()
		if f.count(http.MethodPost) != 0 || len(after) != 2 {
			t.Errorf("%d created, %v", f.count(http.MethodPost), after)
		}
		for resource, id := range first {
			if after[resource] != id {
				t.Errorf("%s has another subscription", resource)
			}
		}
		stored := f.stored()
		if stored["contoso"] != "" || len(stored) != 2 {
			t.Errorf("stored %v", stored)
		}
		f.Microsoft.AddEvent(paris, "", meeting("Standup"))
		time.Sleep(6 * time.Second)
		if f.shows(roomID(paris), "busy") != true {
			t.Error("a change is not announced after the upgrade")
		}
		f.restart(func() {})
		time.Sleep(5 * time.Minute)
		if f.count(http.MethodPost) != 0 || f.writes.Load() != 0 || f.status().State != "ok" {
			t.Errorf("%d created and %d written at the next start, %s", f.count(http.MethodPost), f.writes.Load(), f.status().State)
		}
	})
}

func readAll(t *testing.T, database *state.Database) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := database.Bucket("subscriptions").Each(func(key string, value []byte) error { all[key] = string(value); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// Lifecycle events concern the subscription of one mailbox, and survive a restart.
func TestLifecycleOfAnOrganization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startOrganization(t, "    rooms: {addresses: ["+berlin+", "+paris+"]}\n", safety, []string{"Calendars.Read"}, addRooms(berlin, paris))
		time.Sleep(5 * time.Minute)
		id := f.subscribed()["/users/"+berlin+"/events"]
		f.Microsoft.ForgetRequests()
		f.Microsoft.Fail(simulator.Fault{Method: http.MethodPatch, Path: "/v1.0/subscriptions", Times: -1, Status: http.StatusServiceUnavailable})
		f.Microsoft.SendLifecycle(id, "reauthorizationRequired")
		time.Sleep(30 * time.Second)
		f.restart(f.Microsoft.ClearFaults)
		time.Sleep(time.Minute)
		if n := f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions"); n != 1 || f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions/"+id) != 1 {
			t.Errorf("%d renewals after the restart, want that of berlin", n)
		}
		f.restart(func() {})
		time.Sleep(time.Minute)
		if n := f.Microsoft.Count(http.MethodPatch, "/v1.0/subscriptions"); n != 0 {
			t.Errorf("%d renewals after the next restart", n)
		}
		f.Microsoft.ForgetRequests()
		f.Microsoft.SendLifecycle(id, "subscriptionRemoved")
		time.Sleep(time.Minute)
		if all := f.subscribed(); f.count(http.MethodPost) != 1 || len(all) != 2 || all["/users/"+berlin+"/events"] == id {
			t.Errorf("%d created, %v", f.count(http.MethodPost), all)
		}
		if f.polls("/users/"+berlin) == 0 || f.polls("/users/"+paris) != 0 {
			t.Errorf("%d polls of berlin, %d of paris", f.polls("/users/"+berlin), f.polls("/users/"+paris))
		}
	})
}

// A silent subscription of a room is found out by the safety poll of that room.
func TestSilentNotificationsOfARoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startOrganization(t, "    rooms: {addresses: ["+berlin+", "+paris+"]}\n", safety, []string{"Calendars.Read"}, addRooms(berlin, paris))
		time.Sleep(5 * time.Minute)
		f.Microsoft.SetDelivery(simulator.Delivery{Silent: true})
		f.Microsoft.AddEvent(berlin, "", meeting("Standup"))
		time.Sleep(safety + 10*time.Minute)
		if state, _ := f.sensorStatus(roomID(berlin)); state != "degraded" || f.status().Unannounced != 1 || f.shows(roomID(berlin), "busy") != true {
			t.Errorf("berlin: %s, %+v, busy %v", state, f.status(), f.shows(roomID(berlin), "busy"))
		}
		if state, _ := f.sensorStatus(roomID(paris)); state != "ok" {
			t.Errorf("paris: %s", state)
		}
	})
}

// An application that Microsoft refuses the list, because Exchange assigned all of its permissions, renews its subscriptions at a restart.
func TestOrganizationWithoutList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startOrganization(t, "    rooms: {addresses: ["+berlin+", "+paris+"]}\n", safety, nil, func(s *simulator.Simulator) {
			addRooms(berlin, paris)(s)
			s.SetMailboxRoles(application, berlin, "Calendars.Read")
			s.SetMailboxRoles(application, paris, "Calendars.Read")
			s.Fail(simulator.Fault{Method: http.MethodGet, Path: "/v1.0/subscriptions", Times: -1, Status: http.StatusForbidden})
		})
		time.Sleep(5 * time.Minute)
		first := f.subscribed()
		if s := f.status(); s.State != "ok" || len(first) != 2 {
			t.Errorf("%+v with %v", s, first)
		}
		f.restart(func() { f.Microsoft.RemoveSubscription(first["/users/"+paris+"/events"]) })
		time.Sleep(5 * time.Minute)
		after := f.subscribed()
		if f.count(http.MethodPost) != 1 || len(after) != 2 || after["/users/"+berlin+"/events"] != first["/users/"+berlin+"/events"] {
			t.Errorf("%d created, %v, before %v", f.count(http.MethodPost), after, first)
		}
		if s := f.status(); s.State != "ok" || f.count(http.MethodGet) != 1 {
			t.Errorf("%+v after %d lists", s, f.count(http.MethodGet))
		}
	})
}

// Microsoft lists to an application also the subscriptions that its registration has for users. Those of accounts stay.
func TestOrganizationLeavesSubscriptionsOfAccountsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startPush(t, pushSensors, func(s *simulator.Simulator) {
			addRooms(berlin)(s)
			s.Register(simulator.Registration{ClientID: application, Tenant: simulator.ContosoTenant, FederatedToken: workloadToken, Roles: []string{"Calendars.Read"}})
		})
		time.Sleep(5 * time.Minute)
		before := f.Microsoft.Subscriptions()
		f.Microsoft.Fail(simulator.Fault{Method: http.MethodGet, Path: "/v1.0/subscriptions", Change: func(body map[string]any) {
			stray := map[string]any{"id": "stray", "notificationUrl": webhook, "resource": "/users/" + paris + "/events", "expirationDateTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}
			all := []any{stray}
			for _, s := range before {
				all = append(all, map[string]any{"id": s.ID, "notificationUrl": s.URL, "resource": s.Resource, "expirationDateTime": s.Expires.UTC().Format(time.RFC3339)})
			}
			body["value"] = all
		}})
		both := organizationConfig(t, t.TempDir(), f.Microsoft, "    rooms: {addresses: ["+berlin+"]}\n").Accounts
		both["a000"] = f.Config.Accounts["a000"]
		f.Microsoft.ForgetRequests()
		if err := f.Runtime.Apply(t.Context(), both, config.Changes{Accounts: config.Delta{Added: []string{"contoso"}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		all := f.Microsoft.Subscriptions()
		if len(all) != 3 || all[0].ID != before[0].ID || all[1].ID != before[1].ID || all[2].Resource != "/users/"+berlin+"/events" {
			t.Errorf("%+v, want those of the account and that of berlin", all)
		}
		if f.count(http.MethodDelete) != 1 || f.Microsoft.Count(http.MethodDelete, "/v1.0/subscriptions/stray") != 1 {
			t.Errorf("%d subscriptions were deleted, want the one that no account holds", f.count(http.MethodDelete))
		}
	})
}

// The bridge receives the notifications of a room over its own listener and publishes the change, although no poll is due.
func TestNotificationsOfARoomOfTheBridge(t *testing.T) {
	h := organize(t, "rooms: {addresses: ["+berlin+", "+paris+"], interval: 12h}")
	address := freeAddress(t)
	h.push = fmt.Sprintf("{webhook: {listen: %q, url: %q}}", address, "http://"+address+"/graph")
	h.configureOrganization("rooms: {addresses: [" + berlin + ", " + paris + "], interval: 12h}")
	h.Microsoft.GrantRoles(application, "Calendars.Read")
	t.Cleanup(h.Microsoft.StopNotifications)
	h.Start()
	h.Holds("graph2mqtt/contoso/status", func(payload string) bool {
		var s hub.AccountStatus
		return json.Unmarshal([]byte(payload), &s) == nil && s.Notifications != nil && s.Notifications.State == "ok" &&
			!slices.ContainsFunc(s.Notifications.Sensors, func(n hub.SensorNotifications) bool { return n.State != "ok" })
	})
	b, p := "graph2mqtt/contoso/"+roomID(berlin), "graph2mqtt/contoso/"+roomID(paris)
	h.Values(b+"/state", map[string]any{"busy": false})
	h.Microsoft.AddEvent(berlin, "", meeting("Standup"))
	h.Values(b+"/state", map[string]any{"busy": true, "current": "Busy"})
	h.Values(p+"/state", map[string]any{"busy": false})
	if log := h.Log.String(); strings.Contains(log, "level=WARN") {
		t.Errorf("%s", log)
	}
}
