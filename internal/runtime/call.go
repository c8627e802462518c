package runtime

import (
	"context"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Call executes one operation without a broker, beside a bridge that may run, with the same checks. The outcome is in the
// response; the error is one of the configuration. Options need no Store and no Hub.
func Call(ctx context.Context, o Options, a *config.Account, ref services.Ref, operation string, payload []byte) (services.Response, error) {
	received := time.Now().UTC()
	o.Store, o.Hub = noStore{}, hub.New()
	r, err := New(o, map[string]*config.Account{a.ID: a})
	if err != nil {
		return services.Response{}, err
	}
	defer r.transports.close()
	request := services.Inbound{Target: ref, Operation: operation, Payload: payload}
	r.account(a.ID).loadGroupOf(ctx, ref.Sensor)
	// A request that is rejected anyway is rejected without contacting Graph.
	if target, err := r.Resolve(ref); err == nil {
		if _, err := target.Operation(operation); err == nil {
			if err := r.prepare(ctx, ref); err != nil {
				return services.Response{Op: operation, ReceivedAt: received}.Fail(err), nil
			}
		}
	}
	var onWrite func(services.Write)
	if o.OnWrite != nil {
		onWrite = func(w services.Write) { o.OnWrite(w, r.User(a.ID)) }
	}
	d := services.NewDispatcher(services.DispatcherOptions{Resolver: r, Sealer: o.Dir, Log: o.Log, OnWrite: onWrite})
	return d.Execute(ctx, request), nil
}

// prepare reads the things that Run would have read and a request to a sensor depends on: the mailbox's time zone, and the members
// of a group.
func (r *Runtime) prepare(ctx context.Context, ref services.Ref) error {
	a := r.account(ref.Account)
	if _, err := a.readZone(ctx); err != nil {
		a.log.Warn("mailbox time zone unknown", "using", a.location().String(), "error", err)
	}
	if s := a.sensor(ref.Sensor); s != nil && s.group != nil {
		return s.group.load(ctx)
	}
	return nil
}

// loadGroupOf loads the members of the groups that a sensor may be a member of, by its id. A failed listing leaves it unknown.
func (a *account) loadGroupOf(ctx context.Context, id string) {
	if a.sensor(id) != nil {
		return
	}
	for _, name := range a.sensorIDs() {
		if s := a.sensor(name); s.group != nil && strings.HasPrefix(id, name+"_") {
			if err := s.group.load(ctx); err != nil {
				s.log.Warn("listing failed", "error", err)
			}
		}
	}
}

// noStore keeps nothing: the store belongs to the bridge.
type noStore struct{}

// Commit implements services.Store.
func (noStore) Commit(func(services.Tx), func(error)) {}

// CommitWithin implements sensors.Store.
func (noStore) CommitWithin(time.Duration, func(services.Tx), func(error)) {}

// CommitLazily implements services.Store.
func (noStore) CommitLazily(func(services.Tx)) {}

// Get implements Store.
func (noStore) Get(string, string) ([]byte, error) { return nil, nil }

// Each implements Store.
func (noStore) Each(string, func(string, []byte) error) error { return nil }
