package services

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// remembered is how long a request and its answer are kept, to recognise the same one again.
const remembered = 24 * time.Hour

// prunedAtOnce is how many requests are forgotten at once.
const prunedAtOnce = 10

// Store keeps what must outlive the program. What was put is on disk when Put returns.
type Store interface {
	Put(key string, value []byte) error
	Delete(key string) error
	Each(func(key string, value []byte) error) error
}

// An entry is one request in the journal, from its arrival until its answer is forgotten.
type entry struct {
	ID          string          `json:"id"` // sorts by arrival
	Topic       string          `json:"topic"`
	Answer      string          `json:"answer"` // topic
	Digest      string          `json:"digest"` // of the payload
	Packet      uint16          `json:"packet,omitempty"`
	Connection  uint64          `json:"connection,omitempty"`
	Transaction string          `json:"transaction,omitempty"`
	Account     string          `json:"account"`
	Sensor      string          `json:"sensor"`
	Operation   string          `json:"operation"`
	Request     json.RawMessage `json:"request,omitempty"`
	Received    time.Time       `json:"received"`
	Expires     time.Time       `json:"expires,omitzero"`
	Stage       stage           `json:"stage"`
	Response    *Response       `json:"response,omitempty"`
	Repeated    bool            `json:"repeated,omitempty"` // the same request came again while its answer was on its way
}

type stage string

const (
	received stage = "received"
	started  stage = "started" // the request may have reached Graph
	done     stage = "done"    // it has its response
	answered stage = "answered"
)

// A Journal holds the requests of a bridge on disk, so that none is lost and none is done twice.
type Journal struct {
	store Store

	mu           sync.Mutex
	entries      map[string]*entry
	open         map[string]*entry // those of them that are not answered
	unwritten    map[string]bool   // those that the disk has as they were before
	transactions map[string]string // by topic and transaction
	packets      map[uint16]string // the last request that came with this packet id in this session of the broker
	pruned       time.Time
}

// sessionKey is where the first connection of the broker's session is kept; it is no entry's id.
const sessionKey = "session"

// OpenJournal reads the journal. With an error, the journal is without what could not be read.
func OpenJournal(store Store) (*Journal, error) {
	j := &Journal{
		store: store, entries: map[string]*entry{}, open: map[string]*entry{}, unwritten: map[string]bool{},
		transactions: map[string]string{}, packets: map[uint16]string{},
	}
	var session uint64
	var spoilt []error
	err := store.Each(func(key string, value []byte) error {
		e := new(entry)
		var err error
		if key == sessionKey {
			err = json.Unmarshal(value, &session)
		} else if err = json.Unmarshal(value, e); err == nil {
			j.hold(e)
		}
		if err != nil {
			spoilt = append(spoilt, fmt.Errorf("entry %s: %w", key, err))
		}
		return nil
	})
	for _, e := range sorted(j.entries, func(*entry) bool { return true }) {
		j.index(e)
		if e.Connection < session {
			delete(j.packets, e.Packet)
		}
	}
	if err = errors.Join(append(spoilt, err)...); err != nil {
		err = fmt.Errorf("read the journal: %w", err)
	}
	return j, err
}

// Session tells the journal that the broker began a new session with this connection: packet ids start anew.
func (j *Journal) Session(connection uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.packets)
	value, err := json.Marshal(connection)
	if err != nil {
		return err
	}
	return j.store.Put(sessionKey, value)
}

// same finds the request that a delivery repeats, and whether its payload is that request's.
func (j *Journal) same(d Delivery, transaction string) (e entry, found, equal bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var id string
	switch {
	case transaction != "":
		id = j.transactions[d.Topic+"\x00"+transaction]
	case d.Duplicate:
		id = j.packets[d.PacketID]
	}
	p, ok := j.entries[id]
	if !ok || time.Since(p.Received) > remembered {
		return e, false, false
	}
	equal = p.Topic == d.Topic && p.Digest == digest(d.Payload)
	if transaction == "" {
		// The same bytes on a packet id of the same connection are another press of the same button.
		found = equal && p.Connection < d.Connection
		return *p, found, found
	}
	return *p, true, equal
}

// add writes a new entry. It is on disk when add returns, or not in the journal.
func (j *Journal) add(e entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(&e); err != nil {
		return err
	}
	j.hold(&e)
	j.index(&e)
	j.prune()
	return nil
}

// put changes an entry. Where the disk does not take it, the journal goes on from it all the same: what was done must not be done
// again because nobody could write that down. See flush.
func (j *Journal) put(e entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.replace(e)
}

// change changes an entry as it is by now, and is put.
func (j *Journal) change(id string, to func(entry) entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.entries[id]
	if !ok { // a day is over
		return nil
	}
	return j.replace(to(*e))
}

func (j *Journal) replace(e entry) error {
	j.hold(&e)
	err := j.write(&e)
	if err != nil {
		j.unwritten[e.ID] = true
	}
	return err
}

// flush writes what could not be written before.
func (j *Journal) flush() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id := range j.unwritten {
		if err := j.write(j.entries[id]); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) write(e *entry) error {
	value, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := j.store.Put(e.ID, value); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	delete(j.unwritten, e.ID)
	return nil
}

func (j *Journal) hold(e *entry) {
	j.entries[e.ID] = e
	if e.Stage == answered {
		delete(j.open, e.ID)
	} else {
		j.open[e.ID] = e
	}
}

// waiting counts an account's requests that are not done.
func (j *Journal) waiting(account string) int {
	return len(j.of(account, received, started))
}

// of lists an account's requests in these stages, of which none is answered, in order of arrival.
func (j *Journal) of(account string, stages ...stage) []entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var es []entry
	for _, e := range sorted(j.open, func(e *entry) bool { return e.Account == account && slices.Contains(stages, e.Stage) }) {
		es = append(es, *e)
	}
	return es
}

func (j *Journal) index(e *entry) {
	if e.Transaction != "" {
		j.transactions[e.Topic+"\x00"+e.Transaction] = e.ID
	}
	if e.Packet != 0 {
		j.packets[e.Packet] = e.ID
	}
}

func sorted(entries map[string]*entry, keep func(*entry) bool) []*entry {
	var es []*entry
	for _, e := range entries {
		if keep(e) {
			es = append(es, e)
		}
	}
	slices.SortFunc(es, func(a, b *entry) int { return strings.Compare(a.ID, b.ID) })
	return es
}

// prune forgets, once an hour, what was answered long ago: a little at a time, for the broker's messages wait meanwhile.
func (j *Journal) prune() {
	if time.Since(j.pruned) < time.Hour {
		return
	}
	pruned := 0
	for id, e := range j.entries {
		if e.Stage != answered || time.Since(e.Received) < remembered || j.unwritten[id] {
			continue
		}
		if pruned == prunedAtOnce || j.store.Delete(id) != nil {
			return
		}
		pruned++
		delete(j.entries, id)
		if key := e.Topic + "\x00" + e.Transaction; j.transactions[key] == id {
			delete(j.transactions, key)
		}
		if j.packets[e.Packet] == id {
			delete(j.packets, e.Packet)
		}
	}
	j.pruned = time.Now()
}

func digest(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// newID is a UUID that sorts by time.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
