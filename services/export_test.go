package services

import (
	"encoding/json"
	"time"
)

// The limits of the journal.
const (
	MaxEntries      = maxEntries
	MaxJournalBytes = maxJournalBytes
	MaxTransaction  = maxTransaction
)

// SetMaxBytes changes the limit of the journal.
func (j *Journal) SetMaxBytes(n int) { j.maxBytes = n }

// Size returns the number of entries and their bytes.
func (j *Journal) Size() (entries, bytes int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries), j.bytes
}

// ParseEnvelope separates the fields that every request may have from those of its operation.
func ParseEnvelope(payload []byte) (transaction string, expires time.Time, fields map[string]json.RawMessage, err error) {
	fields, err = parseEnvelope(payload, &transaction, &expires)
	return transaction, expires, fields, err
}
