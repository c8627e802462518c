package sensors

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"time"
)

// A record holds what is stored of a sensor.
type record[S any] struct {
	Hash       string    `json:"hash"`        // of the options and of S; a record with another one is not used
	Since      time.Time `json:"since"`       // until then time-based events were passed on
	AnsweredAt time.Time `json:"answered_at"` // when Graph gave the last answer
	Snapshot   *S        `json:"snapshot"`

	sum [32]byte // of the snapshot's JSON
}

// encodeRecord returns the JSON of a record and the hash of the snapshot's part of it.
func encodeRecord[S any](hash string, since, answeredAt time.Time, snapshot *S) (encoded []byte, sum [32]byte, err error) {
	content, err := json.Marshal(snapshot)
	if err != nil {
		return nil, sum, err
	}
	head, err := json.Marshal(record[struct{}]{Hash: hash, Since: since.UTC(), AnsweredAt: answeredAt.UTC()})
	if err != nil {
		return nil, sum, err
	}
	const empty = `null}` // of Snapshot, the last field
	encoded = append(head[:len(head)-len(empty)], content...)
	return append(encoded, '}'), sha256.Sum256(content), nil
}

// decodeRecord returns nil for a record that is missing or was made with other options or by another version.
func decodeRecord[S any](stored []byte, hash string) (*record[S], error) {
	if len(stored) == 0 {
		return nil, nil
	}
	var head struct {
		Hash     string
		Snapshot json.RawMessage
	}
	if err := json.Unmarshal(stored, &head); err != nil {
		return nil, fmt.Errorf("decode the stored snapshot: %w", err)
	}
	if head.Hash != hash {
		return nil, nil
	}
	var r record[S]
	if err := json.Unmarshal(stored, &r); err != nil {
		return nil, fmt.Errorf("decode the stored snapshot: %w", err)
	}
	if r.Snapshot == nil {
		return nil, errors.New("decode the stored snapshot: it is empty")
	}
	r.sum = sha256.Sum256(head.Snapshot)
	return &r, nil
}

// snapshotHash returns a hash of the options and of the names and types of S's fields.
func snapshotHash[S any](options any) string {
	h := sha256.New()
	// Options that JSON cannot hold are the same each time, or the record is not used: both are safe.
	if err := json.NewEncoder(h).Encode(options); err != nil {
		fmt.Fprintf(h, "%v", err)
	}
	writeType(h, reflect.TypeFor[S](), nil)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// writeType writes the structure of t as far as JSON shows it. within are the types that t is part of.
func writeType(w io.Writer, t reflect.Type, within []reflect.Type) {
	text := func(s string) { _, _ = io.WriteString(w, s) } // a hash never fails
	text(t.Kind().String() + " ")
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		text(t.String() + ";")
		return
	}
	for _, outer := range within {
		if t == outer {
			text(t.String() + ";")
			return
		}
	}
	within = append(within, t)
	switch t.Kind() {
	case reflect.Struct:
		text("{")
		for i := range t.NumField() {
			f := t.Field(i)
			text(f.Name + " " + strconv.Quote(f.Tag.Get("json")) + " ")
			writeType(w, f.Type, within)
		}
		text("}")
	case reflect.Map:
		writeType(w, t.Key(), within)
		writeType(w, t.Elem(), within)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		writeType(w, t.Elem(), within)
	}
	text(";")
}
