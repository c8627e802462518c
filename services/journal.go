package services

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// JournalBucket is the bucket of the Store that the journal is kept in.
const JournalBucket = "journal"

// Keys of the bucket. Every other key is the id of an entry.
const (
	clockKey     = "clock"
	originPrefix = "origin/" // and the id of the entry
)

const (
	// dedupWindow bounds how long a transaction is remembered, in running time.
	dedupWindow = 24 * time.Hour
	// clockInterval bounds the running time that a crash takes off the journal's clock.
	clockInterval = time.Hour
	// maxEntries and maxJournalBytes bound the journal. The oldest answered entries are dropped first.
	maxEntries      = 10_000
	maxJournalBytes = 32 << 20
	// writeTimeout bounds how long a request waits for a disk that cannot be written.
	writeTimeout = 10 * time.Second
)

// An entry is one request in the journal, from its arrival until it is forgotten. Fields below mutable are guarded by Journal.mu.
type entry struct {
	ID          string        `json:"id"`
	Seq         uint64        `json:"seq"` // order of arrival
	Scope       string        `json:"scope"`
	Digest      string        `json:"digest"` // of the payload
	ReplyTo     string        `json:"reply_to,omitempty"`
	Transaction string        `json:"transaction,omitempty"`
	Account     string        `json:"account"`
	Sensor      string        `json:"sensor"`
	User        string        `json:"user,omitempty"` // id of the user who was signed in at arrival
	Operation   string        `json:"operation"`
	Received    time.Time     `json:"received"`
	Age         time.Duration `json:"age,omitempty"`
	Clock       time.Duration `json:"clock"` // the journal's, at arrival
	Expires     time.Time     `json:"expires,omitzero"`

	// mutable
	Stage    stage           `json:"stage"`
	Request  json.RawMessage `json:"request,omitempty"`
	Response *Response       `json:"response,omitempty"`

	origin   string
	size     int
	onDisk   func(error) // of an entry that is not on disk yet
	failedAt time.Time   // of its first attempt to be written
	persist  func(Tx)    // of a response that is not on disk yet; may be nil
}

type stage string

const (
	received stage = "received"
	started  stage = "started" // the request may have reached Graph
	done     stage = "done"    // it has its response
	answered stage = "answered"
)

// A Journal holds requests on disk, so that none is lost and none is executed twice.
type Journal struct {
	store  Store
	log    *slog.Logger
	opened time.Time
	clock  time.Duration // at opened

	maxBytes int

	mu           sync.Mutex // guards what follows, and the mutable fields of entries
	entries      map[string]*entry
	transactions map[string]*entry // by scope and transaction
	origins      map[string]*entry
	answered     []*entry // the oldest first
	bytes        int
	seq          uint64
	stamped      time.Duration // the clock on disk
	dirty        []*entry      // those that could not be written, in order
	retryAt      time.Time
	retrying     bool
	onDirty      func() // must not block; may be nil
	failing      bool
}

// OpenJournal reads a journal with each, which calls its argument with every key and value of JournalBucket. With an error, the
// journal is without the entries that could not be read.
func OpenJournal(store Store, each func(func(key string, value []byte) error) error, log *slog.Logger) (*Journal, error) {
	j := &Journal{
		store: store, log: log, opened: time.Now(), maxBytes: maxJournalBytes,
		entries: map[string]*entry{}, transactions: map[string]*entry{}, origins: map[string]*entry{},
	}
	var corrupt []error
	origins := map[string]string{}
	err := each(func(key string, value []byte) error {
		if id, ok := strings.CutPrefix(key, originPrefix); ok {
			origins[id] = string(value)
			return nil
		}
		if key == clockKey {
			n, _ := strconv.ParseInt(string(value), 10, 64) // without it the clock of the newest entry counts
			j.clock = max(j.clock, time.Duration(n))
			return nil
		}
		e, err := decodeEntry(value)
		if err != nil {
			corrupt = append(corrupt, fmt.Errorf("entry %s: %w", key, err))
			return nil
		}
		j.entries[e.ID] = e
		return nil
	})
	for _, e := range j.sorted() {
		j.clock, j.seq = max(j.clock, e.Clock), max(j.seq, e.Seq)
		j.bytes += e.size
		e.origin = origins[e.ID]
		delete(origins, e.ID)
		j.index(e)
		if e.Stage == answered {
			j.answered = append(j.answered, e)
		}
	}
	for id := range origins {
		store.CommitLazily(func(tx Tx) { tx.Delete(JournalBucket, originPrefix+id) })
	}
	j.stamped = j.clock
	if err = errors.Join(append(corrupt, err)...); err != nil {
		err = fmt.Errorf("read the journal: %w", err)
	}
	return j, err
}

func decodeEntry(value []byte) (*entry, error) {
	e := &entry{size: len(value)}
	// The data stays as it is on disk: decoding it would lose digits of large numbers.
	response := struct {
		Response
		Data json.RawMessage `json:"data"`
	}{}
	wrapper := struct {
		*entry
		Response any `json:"response"`
	}{e, &response}
	if err := json.Unmarshal(value, &wrapper); err != nil {
		return nil, err
	}
	switch e.Stage {
	case received, started:
	case done, answered:
		r := response.Response
		if response.Data != nil {
			r.Data = response.Data
		}
		e.Response = &r
	default:
		return nil, fmt.Errorf("unknown stage %s", QuoteForError(string(e.Stage)))
	}
	return e, nil
}

// now returns the journal's clock: the time that the program has been running since the journal was made.
func (j *Journal) now() time.Duration { return j.clock + time.Since(j.opened) }

// waited returns how long ago a request may have been sent. Neither a clock that was set back nor a time during which the machine
// was suspended makes a request younger.
func (j *Journal) waited(e *entry) time.Duration {
	wall := time.Now().Round(0).Sub(e.Received.Round(0))
	return max(wall, j.now()-e.Clock) + e.Age
}

// Origins returns the origins of requests that may be delivered again.
func (j *Journal) Origins() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []string
	for origin := range j.origins {
		all = append(all, origin)
	}
	slices.Sort(all)
	return all
}

// Release forgets origins: their requests will not be delivered again.
func (j *Journal) Release(origins ...string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var ids []string
	for _, origin := range origins {
		if e := j.origins[origin]; e != nil {
			delete(j.origins, origin)
			e.origin = ""
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return
	}
	j.store.CommitLazily(func(tx Tx) {
		for _, id := range ids {
			tx.Delete(JournalBucket, originPrefix+id)
		}
	})
}

// A match is the relation of a request to one in the journal.
type match int

const (
	isNew match = iota
	isDuplicate
	isConflict // another payload with the same transaction
)

func transactionKey(scope, transaction string) string { return scope + "\x00" + transaction }

// lookup finds the entry that a request repeats.
func (j *Journal) lookup(e *entry) (before *entry, m match) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lookupLocked(e)
}

func (j *Journal) lookupLocked(e *entry) (before *entry, m match) {
	if e.Transaction == "" {
		if before = j.origins[e.origin]; before == nil || e.origin == "" {
			return nil, isNew
		}
		return before, isDuplicate
	}
	before = j.transactions[transactionKey(e.Scope, e.Transaction)]
	switch {
	case before == nil || before.Stage == answered && j.now()-before.Clock > dedupWindow:
		return nil, isNew
	case before.Digest != e.Digest:
		return before, isConflict
	}
	return before, isDuplicate
}

// add writes a new entry, unless it repeats one or there is no room for it. onDisk is called when it is on disk, or when it could
// not be written for some time and was dropped.
func (j *Journal) add(e *entry, onDisk func(error)) (before *entry, m match, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if before, m = j.lookupLocked(e); m != isNew {
		return before, m, nil
	}
	j.prune()
	j.seq++
	e.Seq, e.Clock, e.Stage, e.onDisk = j.seq, j.now(), received, onDisk
	value := j.encode(e)
	for len(j.entries) >= maxEntries || j.bytes+len(value) > j.maxBytes {
		if len(j.answered) == 0 {
			return nil, isNew, &Error{Overloaded, fmt.Sprintf("%d requests with %d bytes are waiting already", len(j.entries), j.bytes)}
		}
		j.drop(j.answered[0])
	}
	j.entries[e.ID] = e
	j.index(e)
	if len(j.dirty) > 0 || j.retrying { // those go first
		j.setSize(e, len(value))
		e.failedAt = time.Now()
		j.dirty = append(j.dirty, e)
		return nil, isNew, nil
	}
	j.commit([]*entry{e}, [][]byte{value})
	return nil, isNew, nil
}

// start writes that the request of an entry is about to be sent. The request must not be sent before that is on disk.
func (j *Journal) start(e *entry, onDisk func(error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Stage = started
	value := j.encode(e)
	j.setSize(e, len(value))
	j.store.Commit(func(tx Tx) { tx.Put(JournalBucket, e.ID, value) }, func(err error) {
		j.report(err)
		if err != nil {
			j.mu.Lock()
			e.Stage = received
			j.mu.Unlock()
		}
		onDisk(err)
	})
}

// finish writes the response of an entry and what persist, which may be nil, adds. If it cannot be written, the response is kept
// in memory and written later: a request must not be executed twice.
func (j *Journal) finish(e *entry, r Response, persist func(Tx), onDisk func(error)) {
	data, err := json.Marshal(r.Data)
	switch {
	case err != nil:
		r = e.response().Fail(unencodable(err))
	case r.Data != nil:
		r.Data = json.RawMessage(data)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Stage, e.Response, e.Request = done, &r, nil
	e.onDisk, e.persist = onDisk, persist
	j.commit([]*entry{e}, [][]byte{j.encode(e)})
	for j.bytes > j.maxBytes && len(j.answered) > 0 {
		j.drop(j.answered[0])
	}
}

// markAnswered records that the response of an entry was delivered. After a crash it may be delivered once more.
func (j *Journal) markAnswered(e *entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Stage != done || j.entries[e.ID] != e {
		return
	}
	e.Stage = answered
	j.answered = append(j.answered, e)
	value := j.encode(e)
	j.setSize(e, len(value))
	j.store.CommitLazily(func(tx Tx) { tx.Put(JournalBucket, e.ID, value) })
}

// hasStarted reports whether it is on disk that the request of an entry may have been sent.
func (j *Journal) hasStarted(e *entry) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return e.Stage == started
}

// response returns the response of an entry, or nil if it has none yet.
func (j *Journal) response(e *entry) *Response {
	j.mu.Lock()
	defer j.mu.Unlock()
	return e.Response
}

// A Record describes a request in the journal, without its fields and the data of its response.
type Record struct {
	Target    Ref
	Operation string
	Received  time.Time
	Response  *Response // nil: it waits or is being executed
}

// Newest returns the n newest requests, the newest first.
func (j *Journal) Newest(n int) []Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := j.sorted()
	var records []Record
	for _, e := range slices.Backward(all[max(0, len(all)-n):]) {
		r := Record{Target: Ref{e.Account, e.Sensor}, Operation: e.Operation, Received: e.Received}
		if e.Response != nil {
			response := *e.Response
			response.Data = nil
			r.Response = &response
		}
		records = append(records, r)
	}
	return records
}

// unanswered returns the entries that have no response, and those whose response was not delivered, in order.
func (j *Journal) unanswered() (unfinished, finished []*entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.sorted() {
		switch e.Stage {
		case received, started:
			unfinished = append(unfinished, e)
		case done:
			finished = append(finished, e)
		}
	}
	return unfinished, finished
}

// commit writes entries in one transaction.
func (j *Journal) commit(entries []*entry, values [][]byte) {
	var persisted []func(Tx)
	for i, e := range entries {
		j.setSize(e, len(values[i]))
		if e.persist != nil {
			persisted = append(persisted, e.persist)
		}
	}
	stamp := j.now()
	j.stamped = stamp
	j.store.Commit(func(tx Tx) {
		for i, e := range entries {
			tx.Put(JournalBucket, e.ID, values[i])
			if e.origin != "" {
				tx.Put(JournalBucket, originPrefix+e.ID, []byte(e.origin))
			}
		}
		tx.Put(JournalBucket, clockKey, strconv.AppendInt(nil, int64(stamp), 10))
		for _, persist := range persisted {
			persist(tx)
		}
	}, func(err error) { j.onCommitted(entries, err) })
}

// onCommitted calls onDisk of the entries. An entry that could not be written is written again, with its response if it has one; a
// response is delivered all the same.
func (j *Journal) onCommitted(entries []*entry, err error) {
	j.report(err)
	var callbacks []func(error)
	j.mu.Lock()
	j.retrying = false
	if err == nil {
		for _, e := range entries {
			callbacks = append(callbacks, e.onDisk)
			e.onDisk, e.persist, e.failedAt = nil, nil, time.Time{}
		}
	} else {
		for _, e := range entries {
			if e.failedAt.IsZero() {
				e.failedAt = time.Now()
			}
			if e.Stage != received {
				callbacks = append(callbacks, e.onDisk)
				e.onDisk = nil
			}
		}
		j.dirty = append(slices.Clone(entries), j.dirty...)
		slices.SortStableFunc(j.dirty, func(a, b *entry) int { return cmp.Compare(a.Seq, b.Seq) })
		j.dirty = slices.Compact(j.dirty)
		j.retryAt = time.Now().Add(journalRetryInterval)
		if j.onDirty != nil {
			j.onDirty()
		}
	}
	j.mu.Unlock()
	for _, f := range callbacks {
		if f != nil {
			f(err)
		}
	}
}

// report logs that the disk cannot be written, and that it can be written again, once each.
func (j *Journal) report(err error) {
	j.mu.Lock()
	changed := j.failing != (err != nil)
	j.failing = err != nil
	j.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		j.log.Error("the journal could not be written", "error", err)
	default:
		j.log.Info("the journal can be written again")
	}
}

// maintain writes what could not be written before, drops requests that waited too long for that, and forgets old entries. It
// reports whether something is left to be written.
func (j *Journal) maintain() bool {
	j.mu.Lock()
	j.prune()
	if j.now()-j.stamped >= clockInterval {
		j.stamped = j.now()
		value := strconv.AppendInt(nil, int64(j.stamped), 10)
		j.store.CommitLazily(func(tx Tx) { tx.Put(JournalBucket, clockKey, value) })
	}
	if j.retrying || len(j.dirty) == 0 || time.Now().Before(j.retryAt) {
		left := j.retrying || len(j.dirty) > 0
		j.mu.Unlock()
		return left
	}
	var dropped []func(error)
	var again []*entry
	var values [][]byte
	for _, e := range j.dirty {
		if j.entries[e.ID] != e { // dropped meanwhile
			continue
		}
		if e.Stage == received && time.Since(e.failedAt) >= writeTimeout {
			dropped = append(dropped, e.onDisk)
			j.drop(e)
			continue
		}
		again, values = append(again, e), append(values, j.encode(e))
	}
	j.dirty = nil
	if len(again) > 0 {
		j.retrying = true
		j.commit(again, values)
	}
	j.mu.Unlock()
	for _, f := range dropped {
		f(errNotWritten())
	}
	return len(again) > 0
}

func errNotWritten() error {
	return &Error{Internal, "the request could not be written to the journal and was not executed"}
}

// encode returns an entry as it is on disk.
func (j *Journal) encode(e *entry) []byte {
	value, err := json.Marshal(e)
	if err != nil { // a request and the data of a response were encoded before
		j.log.Error("journal entry not encoded", "error", err)
	}
	return value
}

func (j *Journal) setSize(e *entry, size int) {
	j.bytes += size - e.size
	e.size = size
}

func (j *Journal) index(e *entry) {
	if e.Transaction != "" {
		j.transactions[transactionKey(e.Scope, e.Transaction)] = e
	}
	if e.origin != "" {
		j.origins[e.origin] = e
	}
}

func (j *Journal) sorted() []*entry {
	all := make([]*entry, 0, len(j.entries))
	for _, e := range j.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID)) })
	return all
}

// prune forgets what was answered and received long ago.
func (j *Journal) prune() {
	for len(j.answered) > 0 && j.now()-j.answered[0].Clock > dedupWindow {
		j.drop(j.answered[0])
	}
}

// drop forgets an entry.
func (j *Journal) drop(e *entry) {
	if i := slices.Index(j.answered, e); i >= 0 {
		j.answered = slices.Delete(j.answered, i, i+1)
	}
	delete(j.entries, e.ID)
	j.bytes -= e.size
	if key := transactionKey(e.Scope, e.Transaction); j.transactions[key] == e {
		delete(j.transactions, key)
	}
	if j.origins[e.origin] == e {
		delete(j.origins, e.origin)
	}
	j.store.CommitLazily(func(tx Tx) {
		tx.Delete(JournalBucket, e.ID)
		tx.Delete(JournalBucket, originPrefix+e.ID)
	})
}

// response returns the response to an entry without its outcome.
func (e *entry) response() Response {
	return Response{Transaction: e.Transaction, Op: e.Operation, ReceivedAt: e.Received}
}

func digest(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// newID returns a UUID.
func newID() string { return uuid.Must(uuid.NewV7()).String() }
