package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// AccountOperations returns the operations of an account itself, for the documentation.
func AccountOperations() []services.Operation { return offeredToAll(accountTarget{}.operations()) }

// offeredToAll returns the operations that are not only for the owner.
func offeredToAll(operations []services.Operation) []services.Operation {
	return slices.DeleteFunc(slices.Clone(operations), func(op services.Operation) bool { return op.OwnerOnly })
}

// An accountTarget executes the operations of an account itself.
type accountTarget struct{ account *account }

func (t accountTarget) operations() []services.Operation {
	all := []services.Operation{
		{
			Name: "refresh", Doc: "Reads the sensors of the account now, each at most every 5 seconds.",
			Immediate: true, Example: `{}`, New: func() services.Request { return &refreshRequest{account: t.account} },
		},
		{
			Name: "rescan", Doc: "Looks for new calendars and task lists, reads the mailbox's time zone, checks whether missing permissions were granted, and retries a refused sign-in, at most every 5 seconds.",
			Immediate: true, Example: `{}`, New: func() services.Request { return &rescanRequest{t.account} },
		},
		{
			Name: "sign_in", Doc: "Starts a sign-in, or completes one with the address on which the browser ended. Without `user` in the configuration, do the first sign-in on the status page or with `graph2mqtt login ACCOUNT`, or set `sign_in_over_mqtt: true`.",
			Immediate: true, Example: `{"way": "device_code"}`, New: func() services.Request { return &signInRequest{account: t.account} },
			Returns: []schema.Field{
				{Key: "url", Type: "text", Doc: "Link to open in a browser."},
				{Key: "code", Type: "text", Doc: "Code to enter there; null: none is needed."},
				{Key: "expires_at", Type: "time", Doc: "When the code expires; null: never."},
			},
		},
		{
			Name: "candidates", Doc: "Lists what a new sensor of a type can be configured for.", Immediate: true, OwnerOnly: true,
			New: func() services.Request { return &candidatesRequest{account: t.account} },
		},
		{
			Name: "sign_out", Doc: "Forgets the sign-in.", Immediate: true, OwnerOnly: true, New: func() services.Request { return &signOutRequest{t.account} },
			Returns: []schema.Field{{Key: "message", Type: "text", Doc: "What Microsoft still stores."}},
		},
	}
	if t.account != nil && t.account.user == nil { // an application signs in by itself
		all = slices.DeleteFunc(all, func(op services.Operation) bool { return op.Name == "sign_in" || op.Name == "sign_out" })
	}
	return all
}

// Operation implements services.Target.
func (t accountTarget) Operation(name string) (services.Operation, error) {
	return FindOperation("account "+t.account.config.ID, t.operations(), name)
}

// FindOperation returns the operation of that name, or an error that names the known ones.
func FindOperation(owner string, operations []services.Operation, name string) (services.Operation, error) {
	i := slices.IndexFunc(operations, func(op services.Operation) bool { return op.Name == name })
	if i >= 0 {
		return operations[i], nil
	}
	return services.Operation{}, &services.Error{Code: services.UnknownOp, Message: fmt.Sprintf("%s has no operation %s; known: %s", owner, services.QuoteForError(name), list(operationNames(offeredToAll(operations))))}
}

func operationNames(operations []services.Operation) []string {
	var names []string
	for _, op := range operations {
		names = append(names, op.Name)
	}
	return names
}

// Parse implements services.Target: an account has no entities that are set by raw values.
func (t accountTarget) Parse(entity, _ string) (string, map[string]json.RawMessage, error) {
	return "", nil, &services.Error{Code: services.UnknownOp, Message: fmt.Sprintf("account %s has no entity %s that can be set", t.account.config.ID, services.QuoteForError(entity))}
}

// Resolve implements services.Target.
func (t accountTarget) Resolve(context.Context, map[string]json.RawMessage) (services.Ref, services.Target, error) {
	return services.Ref{Account: t.account.config.ID}, t, nil
}

// Graph implements services.Target.
func (t accountTarget) Graph() *graph.Client { return t.account.graph }

// User implements services.Target.
func (t accountTarget) User() string { return t.account.userID() }

// Location implements services.Target.
func (t accountTarget) Location() *time.Location { return t.account.location() }

// OnSuccess implements services.Target.
func (t accountTarget) OnSuccess(context.Context, string, any) func(services.Tx) { return nil }

// OnRejected implements services.Target.
func (t accountTarget) OnRejected() {}

type refreshRequest struct {
	account *account

	Sensor string `json:"sensor" doc:"The id of a sensor or of a sensor for several. Default: all sensors."`
}

// Execute implements services.Request.
func (r *refreshRequest) Execute(context.Context, *graph.Client, services.Attempt) (any, error) {
	if r.Sensor == "" {
		r.account.refresh()
		return nil, nil
	}
	s := r.account.sensor(r.Sensor)
	if s == nil {
		return nil, r.account.unknownSensor(r.Sensor)
	}
	s.refresh()
	for _, id := range r.account.memberIDs(s) {
		if member := r.account.sensor(id); member != nil {
			member.refresh()
		}
	}
	return nil, nil
}

type signOutRequest struct{ account *account }

// Execute implements services.Request.
func (r *signOutRequest) Execute(ctx context.Context, _ *graph.Client, _ services.Attempt) (any, error) {
	r.account.subscriber.release(ctx)
	remains, err := r.account.user.SignOut(ctx)
	if err != nil {
		r.account.subscriber.resume()
		return nil, err
	}
	signal(r.account.dirty)
	return map[string]any{"message": remains}, nil
}

type rescanRequest struct{ account *account }

// Execute implements services.Request.
func (r *rescanRequest) Execute(context.Context, *graph.Client, services.Attempt) (any, error) {
	signal(r.account.rescans)
	return nil, nil
}
