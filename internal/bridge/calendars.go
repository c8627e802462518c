package bridge

import (
	"context"
	"log/slog"
	"net/url"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/internal/web"
	"github.com/graph2mqtt/graph2mqtt/internal/web/caldav"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// CalendarPath is the path of CalDAV at the listener.
const CalendarPath = caldav.Path

// OpenCalendarPasswords returns the passwords of calendar clients, which a running bridge shares.
func OpenCalendarPasswords(dir *state.Dir, log *slog.Logger) *caldav.Credentials {
	return caldav.OpenCredentials(dir, log)
}

// mountCalendars mounts CalDAV and iCalendar.
func (b *Bridge) mountCalendars(l *listener, c config.HTTP) {
	if b.passwords == nil {
		b.passwords = OpenCalendarPasswords(b.options.Dir, b.log)
	}
	h := b.newCalendarServer(c, b.passwords)
	for _, pattern := range caldav.Patterns() {
		l.server.Mount(pattern, web.Delegated, h)
	}
	l.tasks = append(l.tasks, b.passwords.Run)
}

// newCalendarServer returns the handler of CalDAV and iCalendar. It warns of sensors of which clients see only a part.
func (b *Bridge) newCalendarServer(c config.HTTP, passwords *caldav.Credentials) *caldav.DAVServer {
	for _, a := range config.Sorted(b.currentConfig().Accounts) {
		for _, s := range config.Sorted(a.Sensors) {
			if isCalendar(s.Type) && s.Read && !s.OnDemand {
				b.log.Warn("calendar clients see only what the sensor reads; set on_demand: true for other times and completed tasks", "account", a.ID, "sensor", s.ID)
			}
		}
	}
	return caldav.New(caldav.Options{
		Collections: b.collections, Do: b.do, User: b.runtime.User, Credentials: passwords, Store: aliasStore{store{b.database}}, Prefix: pathPrefix(c),
		Log: b.log.With("component", "caldav"),
	})
}

// pathPrefix returns the path under which a reverse proxy offers the listener: "" or "/graph2mqtt".
func pathPrefix(c config.HTTP) string {
	u, err := url.Parse(c.ExternalURL)
	if err != nil {
		return ""
	}
	return u.Path
}

// isCalendar reports whether sensors of a type are calendars or task lists that clients see completely with on_demand alone.
func isCalendar(kind string) bool {
	return kind == "calendar" || kind == "group_calendar" || kind == "todo"
}

// collections returns the calendars and task lists of an account.
func (b *Bridge) collections(account string) (all []caldav.Collection, ok bool, err error) {
	found, ok, err := b.runtime.Collections(account)
	for _, c := range found {
		all = append(all, c)
	}
	return all, ok, err
}

// do has a request executed and returns its response, at the end of ctx that it is in doubt.
func (b *Bridge) do(ctx context.Context, r services.Inbound) services.Response {
	done := make(chan services.Response, 1)
	r.Done = func(response services.Response) {
		select {
		case done <- response:
		default:
		}
	}
	b.dispatcher.Submit(r)
	select {
	case response := <-done:
		return response
	case <-b.dispatched: // a request that has begun is completed by the next run, or by the machine that takes over
		select {
		case response := <-done:
			return response
		default:
		}
		return services.Response{}.Fail(&services.Error{Code: services.InDoubt, Message: "it is not known yet whether it was executed: graph2mqtt ends here"})
	case <-ctx.Done():
		return services.Response{}.Fail(&services.Error{Code: services.InDoubt, Message: "it is not known yet whether it was executed: other requests take too long"})
	}
}

// An aliasStore is the database as CalDAV uses it.
type aliasStore struct{ store }

// Put implements caldav.Store.
func (s aliasStore) Put(bucket, key string, value []byte, done func(error)) {
	s.Commit(func(tx services.Tx) { tx.Put(bucket, key, value) }, done)
}
