package caldav

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// maxClients bounds the clients whose objects are remembered.
	maxClients = 32
	// maxServed bounds the objects that are remembered of one collection of a client.
	maxServed = 10_000
)

// A client is a program that reads collections. What it was served last tells what it changed: Home Assistant writes back each field of a
// task as it was in its last list, whatever has happened to it since.
type client struct {
	served map[string]*served // by collection
	seen   time.Time
}

// served holds the fields of the objects of one collection as a client was served them last.
type served struct {
	all  []servedObject     // of the last answer with everything, by name; many clients share it
	some map[string]*fields // after that, by name
}

// A servedObject is an object as it was served.
type servedObject struct {
	name   string
	fields *fields
}

// find returns the fields of an object, nil if it was not served.
func (s *served) find(name string) *fields {
	if f := s.some[name]; f != nil {
		return f
	}
	if i, ok := slices.BinarySearchFunc(s.all, name, func(o servedObject, name string) int { return strings.Compare(o.name, name) }); ok {
		return s.all[i].fields
	}
	return nil
}

// clientKey returns the key of the client in clients. Clients are told apart by their addresses and names.
func (x *exchange) clientKey() string {
	return x.account + " " + peerOf(x.r.RemoteAddr) + " " + x.r.UserAgent()
}

// remember records objects that a client was served.
func (x *exchange) remember(collection string, objects []*object) {
	if len(objects) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.client()
	s := c.served[collection]
	if s == nil || len(s.all)+len(s.some)+len(objects) > maxServed {
		s = &served{}
		c.served[collection] = s
	}
	if s.some == nil {
		s.some = make(map[string]*fields, len(objects))
	}
	for _, o := range objects {
		s.some[o.name] = o.fields
	}
}

// rememberAll records that a client was served everything that is in a collection.
func (x *exchange) rememberAll(collection string, l *listing) {
	all := l.served()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.client().served[collection] = &served{all: all}
}

// client returns the client of the exchange, a new one in place of the oldest if there are too many. It is called with mu held.
func (x *exchange) client() *client {
	key := x.clientKey()
	c := x.clients[key]
	if c == nil {
		if len(x.clients) >= maxClients {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(x.clients)), func(a, b string) int {
				return cmp.Or(x.clients[a].seen.Compare(x.clients[b].seen), cmp.Compare(a, b))
			})
			delete(x.clients, oldest)
		}
		c = &client{served: map[string]*served{}}
		x.clients[key] = c
	}
	c.seen = time.Now()
	return c
}

// rememberFields records what a client has of an object.
func (x *exchange) rememberFields(collection, name string, f *fields) {
	x.remember(collection, []*object{{name: name, fields: f}})
}

// served returns what a client was served last of an object, nil if that is not known.
func (x *exchange) served(collection, name string) *fields {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.clients[x.clientKey()]; c != nil && c.served[collection] != nil {
		return c.served[collection].find(name)
	}
	return nil
}
