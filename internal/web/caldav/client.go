package caldav

import (
	"cmp"
	"maps"
	"slices"
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
	served map[string]map[string]*fields // by collection and name
	seen   time.Time
}

// clientKey returns the key of the client in clients. Clients are told apart by their addresses and names.
func (x *exchange) clientKey() string {
	return x.account + " " + peerOf(x.r.RemoteAddr) + " " + x.r.UserAgent()
}

// remember records what a client was served. whole: nothing else is in the collection.
func (x *exchange) remember(collection string, objects []*object, whole bool) {
	if len(objects) == 0 && !whole {
		return
	}
	key := x.clientKey()
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.clients[key]
	if c == nil {
		if len(x.clients) >= maxClients {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(x.clients)), func(a, b string) int {
				return cmp.Or(x.clients[a].seen.Compare(x.clients[b].seen), cmp.Compare(a, b))
			})
			delete(x.clients, oldest)
		}
		c = &client{served: map[string]map[string]*fields{}}
		x.clients[key] = c
	}
	c.seen = time.Now()
	served := c.served[collection]
	if served == nil || whole || len(served)+len(objects) > maxServed {
		served = make(map[string]*fields, len(objects))
		c.served[collection] = served
	}
	for _, o := range objects {
		served[o.name] = o.fields
	}
}

// rememberFields records what a client has of an object.
func (x *exchange) rememberFields(collection, name string, f *fields) {
	x.remember(collection, []*object{{name: name, fields: f}}, false)
}

// served returns what a client was served last of an object, nil if that is not known.
func (x *exchange) served(collection, name string) *fields {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.clients[x.clientKey()]; c != nil {
		return c.served[collection][name]
	}
	return nil
}
