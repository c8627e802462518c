package bridge

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Operations returns the operations of the bridge itself, for the documentation.
func Operations() []services.Operation { return target{}.operations() }

// Resolve implements services.Resolver: the bridge answers for itself, the runtime for accounts and sensors.
func (b *Bridge) Resolve(ref services.Ref) (services.Target, error) {
	if ref == (services.Ref{}) {
		return target{b}, nil
	}
	return b.runtime.Resolve(ref)
}

// A target executes the operations of the bridge itself.
type target struct{ bridge *Bridge }

func (t target) operations() []services.Operation {
	return []services.Operation{
		{
			Name: "ping", Doc: "Checks whether the bridge is running.", Immediate: true, Example: `{}`, New: func() services.Request { return &ping{t.bridge} },
			Returns: []schema.Field{{Key: "version", Type: "text", Doc: "Version of graph2mqtt."}, {Key: "time", Type: "time", Doc: "Time on its machine."}},
		},
		{
			Name: "refresh", Doc: "Reads every sensor of every account now, each at most every 5 seconds.", Immediate: true, Example: `{}`,
			New: func() services.Request { return &refresh{t.bridge} },
		},
		{
			Name: "log_level", Doc: "Sets the log level until the next start.", Immediate: true, Example: `{"level": "debug"}`,
			New:     func() services.Request { return &logLevel{bridge: t.bridge} },
			Returns: []schema.Field{{Key: "level", Type: "text", Doc: "The level."}},
		},
		{
			Name: "discovery", Doc: "Announces every device to Home Assistant again, or removes all of them until the next `publish` or start.", Immediate: true,
			Example: `{"action": "publish"}`, New: func() services.Request { return &discovery{bridge: t.bridge} },
		},
	}
}

// Operation implements services.Target.
func (t target) Operation(name string) (services.Operation, error) {
	return runtime.FindOperation("the bridge", t.operations(), name)
}

// Parse implements services.Target: the bridge has no entities that are set by raw values.
func (target) Parse(entity, _ string) (string, map[string]json.RawMessage, error) {
	return "", nil, &services.Error{Code: services.UnknownOp, Message: "the bridge has no entity " + services.QuoteForError(entity) + " that can be set"}
}

// Resolve implements services.Target.
func (t target) Resolve(context.Context, map[string]json.RawMessage) (services.Ref, services.Target, error) {
	return services.Ref{}, t, nil
}

// Graph implements services.Target: the bridge has none.
func (target) Graph() *graph.Client { return nil }

// User implements services.Target.
func (target) User() string { return "" }

// Location implements services.Target.
func (target) Location() *time.Location { return time.UTC }

// OnSuccess implements services.Target.
func (target) OnSuccess(context.Context, string, any) func(services.Tx) { return nil }

// OnRejected implements services.Target: an entity whose value was refused falls back to the actual one.
func (t target) OnRejected() { t.bridge.mqtt.Republish(t.bridge.bridgeTopic("info")) }

type ping struct{ bridge *Bridge }

// Execute implements services.Request.
func (r *ping) Execute(context.Context, *graph.Client, services.Attempt) (any, error) {
	return map[string]any{"version": r.bridge.options.Version, "time": time.Now().UTC()}, nil
}

type refresh struct{ bridge *Bridge }

// Execute implements services.Request.
func (r *refresh) Execute(context.Context, *graph.Client, services.Attempt) (any, error) {
	r.bridge.runtime.Refresh()
	return nil, nil
}

type logLevel struct {
	bridge *Bridge

	Level string `json:"level" required:"true" enum:"debug,info,warn,error" doc:"The lowest level that is logged."`
}

// Execute implements services.Request.
func (r *logLevel) Execute(context.Context, *graph.Client, services.Attempt) (any, error) {
	r.bridge.setLevel(r.Level)
	return map[string]any{"level": r.Level}, nil
}

type discovery struct {
	bridge *Bridge

	Action string `json:"action" enum:"publish,clean" doc:"What to do: publish announces every device again, clean removes them. Default: publish."`
}

// Execute implements services.Request.
func (r *discovery) Execute(context.Context, *graph.Client, services.Attempt) (any, error) {
	if r.Action == "clean" {
		r.bridge.mqtt.RemoveAll()
	} else {
		r.bridge.mqtt.RepublishAll()
	}
	return nil, nil
}

// setLevel sets the level of the log by one of the configuration's names.
func (b *Bridge) setLevel(name string) {
	var level slog.Level
	if level.UnmarshalText([]byte(name)) == nil {
		b.options.Level.Set(level)
		b.publishInfo()
	}
}
