package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/auth"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mailbox"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// OpenGraph is Graph for an account that is signed in by the session.
func OpenGraph(c *config.Account, session *auth.Session, log *slog.Logger) (*graph.Client, error) {
	transport, err := Transport(c)
	if err != nil {
		return nil, err
	}
	g, err := graph.New(graph.Options{Root: c.Cloud.Graph, Transport: transport, Tokens: session, ClientID: c.ClientID, Log: log})
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", c.ID, err)
	}
	return g, nil
}

// Operations are those that the configuration lets be asked of a sensor.
func Operations(c *config.Sensor) []services.Operation {
	return offered(c, c.Options.(sensors.Sensor))
}

// A Caller carries out operations of an account's sensors without a broker, and beside a bridge that may run.
type Caller struct {
	Account *config.Account
	Kinds   []sensors.Kind
	Session *auth.Session
	Log     *slog.Logger
}

// Call carries out one operation, or refuses it, as a bridge would that got the payload as a request. The error is one of the
// configuration: what came of the request is in the response.
func (c Caller) Call(ctx context.Context, sensor, operation string, payload []byte) (services.Response, error) {
	g, err := OpenGraph(c.Account, c.Session, c.Log)
	if err != nil {
		return services.Response{}, err
	}
	defer g.Close()
	a := c.account(g)
	// What is refused anyway is refused without asking anybody.
	if s := a.sensor(sensor); s != nil {
		if _, err := s.Operation(operation); err == nil {
			a.askZone(ctx)
			if s.family != nil {
				if err := s.family.meet(ctx); err != nil {
					return services.Response{Op: operation, ReceivedAt: time.Now().UTC()}.Fail(err), nil
				}
			}
		}
	}
	journal, err := services.OpenJournal(nowhere{})
	if err != nil {
		return services.Response{}, err
	}
	desk := services.Desk{Account: a.config.ID, Journal: journal, Targets: a.target, Log: a.log}
	return desk.Do(ctx, sensor, operation, payload), nil
}

// nowhere is a services.Store that keeps nothing: the journal belongs to the bridge.
type nowhere struct{}

func (nowhere) Put(string, []byte) error              { return nil }
func (nowhere) Delete(string) error                   { return nil }
func (nowhere) Each(func(string, []byte) error) error { return nil }

// account is the account as far as operations need it: it has no life of its own.
func (c Caller) account(g *graph.Client) *account {
	a := &account{bridge: &Bridge{options: Options{Kinds: c.Kinds}}, config: c.Account, session: c.Session, graph: g, log: c.Log, sensors: map[string]*sensor{}}
	a.current.Store(c.Account)
	a.location.Store(configuredZone(c.Account.Timezone))
	for id, configured := range c.Account.Sensors {
		a.sensors[id] = newSensor(a, configured, a.bridge.kind(configured.Type))
	}
	return a
}

// askZone asks the mailbox for its time zone, where the bridge would have done so.
func (a *account) askZone(ctx context.Context) {
	if !a.asksZone() || a.ready([]graph.Permission{zoneNeed}) != nil {
		return
	}
	loc, err := mailbox.TimeZone(ctx, a.graph)
	if err != nil {
		a.log.Warn("the mailbox's time zone is not known", "using", a.zone().String(), "error", err)
		return
	}
	a.location.Store(loc)
}

// meet asks who the members are, and adds them to the account.
func (f *family) meet(ctx context.Context) error {
	a := f.sensor.account
	if err := a.ready(f.sensor.Permissions()); err != nil {
		return err
	}
	listed, err := f.expander.Members(ctx, a.graph)
	if err != nil {
		return err
	}
	for _, m := range listed {
		known := member{Member: m}
		s := f.make(known)
		a.sensors[s.config.ID] = s
		f.members = append(f.members, known)
	}
	return nil
}
