package services

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

const (
	// cursorLifetime bounds the age of a cursor.
	cursorLifetime = 24 * time.Hour
	// cursorField is the field of a request for the next page, and of the response before it.
	cursorField = "cursor"
	// maxPage bounds the items of a page in bytes of JSON. A response has at most 512 KiB.
	maxPage = 496 << 10
)

// A Page is the result of an operation with Paged: one part of it.
type Page struct {
	Value any // as the result of an operation without pages
	Next  any // the position of the next page, which JSON can hold; nil: this is the last one
}

// Data returns the response's data.
func (p Page) Data() any {
	if d, ok := p.Value.(interface{ Data() any }); ok {
		return d.Data()
	}
	return p.Value
}

// Resume decodes the position of the requested page into next, which keeps its value for the first page.
func (a Attempt) Resume(next any) error {
	if a.Position == nil {
		return nil
	}
	if err := json.Unmarshal(a.Position, next); err != nil { // of a version that had another form of it
		return InvalidCursor()
	}
	return nil
}

// PageItems are the items of a page.
type PageItems[T any] struct {
	All  []T
	size int
}

// Add adds an item, or returns false if the page is full. The first item always fits.
func (p *PageItems[T]) Add(item T) (bool, error) {
	b, err := json.Marshal(item)
	if err != nil {
		return false, err
	}
	if len(p.All) > 0 && p.size+len(b)+1 > maxPage {
		return false, nil
	}
	p.size += len(b) + 1
	p.All = append(p.All, item)
	return true, nil
}

// A Sealer encrypts and authenticates. What was sealed for one purpose cannot be unsealed for another.
type Sealer interface {
	Seal(plain []byte, purpose string) []byte
	Unseal(sealed []byte, purpose string) ([]byte, error)
}

// newSealer returns a Sealer with a key of its own.
func newSealer() Sealer {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // of the key's length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // of the block's length
	}
	return processSealer{aead}
}

type processSealer struct{ aead cipher.AEAD }

func (s processSealer) Seal(plain []byte, purpose string) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(purpose))
}

func (s processSealer) Unseal(sealed []byte, purpose string) ([]byte, error) {
	return s.aead.Open(nil, nil, sealed, []byte(purpose))
}

// cursorPurpose is the purpose of sealed cursors.
const cursorPurpose = "cursor of a page"

// A cursor is the decoded position of a page and what it is bound to.
type cursor struct {
	Account   string          `json:"a"`
	Sensor    string          `json:"s"`
	Operation string          `json:"o"`
	Fields    []byte          `json:"f"` // hash of the other fields of the request
	Expires   time.Time       `json:"e"`
	Position  json.RawMessage `json:"p"`
}

// InvalidCursor returns the error for a cursor that does not belong to the request.
func InvalidCursor() error {
	return graph.Invalid("cursor: want the cursor of a response, unchanged; for the first page, leave it out")
}

// takeCursor removes the cursor from the fields of a request and returns it. null and "" are no cursor.
func takeCursor(fields map[string]json.RawMessage) (text string, err error) {
	raw, ok := fields[cursorField]
	if !ok {
		return "", nil
	}
	delete(fields, cursorField)
	var given *string
	if json.Unmarshal(raw, &given) != nil {
		return "", graph.Invalid("cursor: want text, not %s", short(raw))
	}
	if given == nil {
		return "", nil
	}
	return *given, nil
}

// fieldsHash identifies the fields of a request as they were understood.
func fieldsHash(r Request) ([]byte, error) {
	b, err := json.Marshal(r)
	sum := sha256.Sum256(b)
	return sum[:], err
}

// openCursor returns the position in a cursor, which must belong to the request of j.
func (d *Dispatcher) openCursor(j *job, text string) (json.RawMessage, error) {
	if text == "" {
		return nil, nil
	}
	var c cursor
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		var plain []byte
		if plain, err = d.sealer.Unseal(sealed, cursorPurpose); err == nil {
			err = json.Unmarshal(plain, &c)
		}
	}
	if err != nil {
		return nil, InvalidCursor()
	}
	hash, err := fieldsHash(j.request)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Account != j.Account || c.Sensor != j.Sensor || c.Operation != j.Operation:
		return nil, graph.Invalid("cursor: it belongs to the operation %s of %s/%s", c.Operation, c.Account, c.Sensor)
	case string(c.Fields) != string(hash):
		return nil, graph.Invalid("cursor: want the same fields as in the request before")
	case !time.Now().Before(c.Expires):
		return nil, &Error{Expired, fmt.Sprintf("cursor: it expired at %s, after %s; begin with the first page again", c.Expires.UTC().Format(time.RFC3339), cursorLifetime)}
	}
	return c.Position, nil
}

// succeed returns the response with the result of a request and, if it is a page, the cursor of the next one.
func (d *Dispatcher) succeed(j *job, result any) Response {
	r := j.response().Succeed(result)
	page, ok := result.(Page)
	if !ok || page.Next == nil {
		return r
	}
	position, err := json.Marshal(page.Next)
	hash, hashErr := fieldsHash(j.request)
	if err = errors.Join(err, hashErr); err != nil {
		return j.response().Fail(unencodable(err))
	}
	plain, err := json.Marshal(cursor{j.Account, j.Sensor, j.Operation, hash, time.Now().Add(cursorLifetime).Round(0).UTC(), position})
	if err != nil {
		return j.response().Fail(unencodable(err))
	}
	r.Cursor = base64.RawURLEncoding.EncodeToString(d.sealer.Seal(plain, cursorPurpose))
	return r
}
