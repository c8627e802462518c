package caldav

import (
	"encoding/json"
	"slices"
	"sync"
	"time"
)

const (
	// aliasBucket is the bucket of the store; its keys are "account/collection".
	aliasBucket = "calendar_objects"
	// maxAliases bounds the objects of a collection that keep the name their client gave them.
	maxAliases = 1000
)

// A Store keeps what must survive a restart. Get returns nil where there is nothing; Put calls done when the value is on disk or that has
// failed.
type Store interface {
	Get(bucket, key string) ([]byte, error)
	Put(bucket, key string, value []byte, done func(error))
}

// An alias is the name and the UID that a client gave to what it created, so that it finds it there.
type alias struct {
	ID      string    `json:"id"`   // Graph's
	Name    string    `json:"name"` // last part of its address
	UID     string    `json:"uid"`
	Digest  string    `json:"digest"`            // of what was created
	Attempt int       `json:"attempt,omitempty"` // number of the transaction that created it
	Series  bool      `json:"series,omitempty"`
	Removed bool      `json:"removed,omitempty"` // by its client
	Created time.Time `json:"created"`
	Start   time.Time `json:"start,omitzero"` // of an event, when it was created
	End     time.Time `json:"end,omitzero"`
}

// aliases are those of one collection.
type aliases struct {
	store Store
	key   string

	mu      sync.Mutex // guards what follows
	all     []alias    // the newest last
	byID    map[string]*alias
	byName  map[string]*alias
	changes int
}

func loadAliases(store Store, key string) (*aliases, error) {
	a := &aliases{store: store, key: key}
	value, err := store.Get(aliasBucket, key)
	if err == nil && value != nil {
		err = json.Unmarshal(value, &a.all)
	}
	if err != nil {
		a.all = nil
	}
	a.index()
	return a, err
}

// index is called with mu held, or before there are others.
func (a *aliases) index() {
	a.byID, a.byName = make(map[string]*alias, len(a.all)), make(map[string]*alias, len(a.all))
	for i := range a.all {
		a.byID[a.all[i].ID], a.byName[a.all[i].Name] = &a.all[i], &a.all[i]
	}
}

// withID returns the alias of the object with this id of Graph, nil if there is none.
func (a *aliases) withID(id string) *alias {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found := a.byID[id]; found != nil && !found.Series {
		return found
	}
	return nil
}

// withName returns the alias with this name.
func (a *aliases) withName(name string) (alias, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if found := a.byName[name]; found != nil {
		return *found, true
	}
	return alias{}, false
}

// version changes whenever the aliases do.
func (a *aliases) version() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changes
}

// add adds an alias, in place of others with its id or name, and returns when it is on disk or that has failed.
func (a *aliases) add(added alias) error {
	a.mu.Lock()
	a.all = slices.DeleteFunc(slices.Clone(a.all), func(other alias) bool { return other.ID == added.ID || other.Name == added.Name })
	a.all = append(a.all, added)
	a.all = a.all[max(0, len(a.all)-maxAliases):]
	a.index()
	a.changes++
	value, err := json.Marshal(a.all)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	a.store.Put(aliasBucket, a.key, value, func(err error) { done <- err })
	return <-done
}
