// Package control serves the simulator's control API over HTTP: operations in JSON that the parts of the simulator register.
package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/web"
)

// Root is the path below which the control API is served.
const Root = "/control"

// bodyLimit is the maximum size of a request body.
const bodyLimit = 8 << 20

// An Operation is one operation of the control API.
type Operation struct {
	Method, Path string
	Description  string
	Query        []string // known query parameters
	Do           func(*http.Request) (any, error)
}

// A UsageError reports a wrong call of the control API. The Go methods of the simulator panic with it; over HTTP it is an error response.
type UsageError struct {
	Status  int
	Message string
}

func (e *UsageError) Error() string { return "simulator: " + e.Message }

// Response returns the error response.
func (e *UsageError) Response() web.Response {
	return web.Response{Status: e.Status, Body: map[string]string{"error": e.Message}}
}

// Invalid returns the error of a request that is wrong.
func Invalid(format string, args ...any) error {
	return &UsageError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// CheckAddress returns an error for what is no mail address. example is one.
func CheckAddress(address, example string) error {
	if name, domain, _ := strings.Cut(address, "@"); name == "" || domain == "" {
		return Invalid("address: want one such as %s, not %q", example, address)
	}
	return nil
}

// NotFound returns the error of a request for something that does not exist.
func NotFound(format string, args ...any) *UsageError {
	return &UsageError{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// Conflict returns the error of a request that contradicts the simulator's state.
func Conflict(format string, args ...any) *UsageError {
	return &UsageError{http.StatusConflict, fmt.Sprintf(format, args...)}
}

// A List is the response that contains several values.
type List[T any] struct {
	Value []T `json:"value"`
}

// ListOf returns a list that is never null.
func ListOf[T any](all []T) List[T] { return List[T]{append([]T{}, all...)} }

// Is reports whether a path belongs to the control API.
func Is(path string) bool { return path == Root || strings.HasPrefix(path, Root+"/") }

// NewHandler serves the operations. Requests are refused while local returns false.
func NewHandler(operations []Operation, local func() bool) http.Handler {
	mux := http.NewServeMux()
	for _, o := range operations {
		mux.HandleFunc(o.Method+" "+o.Path, func(w http.ResponseWriter, r *http.Request) {
			body, err := o.run(r)
			a := web.Response{Status: http.StatusOK, Body: body}
			if e := (*UsageError)(nil); errors.As(err, &e) {
				a = e.Response()
			} else if err != nil {
				a = (&UsageError{http.StatusInternalServerError, err.Error()}).Response()
			} else if body == nil {
				a.Status = http.StatusNoContent
			}
			a.Write(w)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !local() {
			(&UsageError{http.StatusForbidden, "the control API is available on a loopback address only: the simulator listens beyond this machine"}).Response().Write(w)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, bodyLimit)
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		// Replace the mux's text with JSON.
		refusal := &refusalRecorder{header: http.Header{}}
		mux.ServeHTTP(refusal, r)
		e := &UsageError{refusal.status, fmt.Sprintf("unknown path %s: GET /control lists the operations", r.URL.Path)}
		if allow := refusal.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			e.Message = fmt.Sprintf("want %s, not %s", allow, r.Method)
		}
		e.Response().Write(w)
	})
}

// A refusalRecorder keeps the status and headers of a response.
type refusalRecorder struct {
	header http.Header
	status int
}

func (r *refusalRecorder) Header() http.Header         { return r.header }
func (r *refusalRecorder) WriteHeader(status int)      { r.status = status }
func (r *refusalRecorder) Write(p []byte) (int, error) { return len(p), nil }

// run executes the operation. Panics with a usage error, and errors with the method Refusal, become usage errors.
func (o Operation) run(r *http.Request) (out any, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *UsageError:
			err = p
		default:
			panic(p)
		}
	}()
	for name := range r.URL.Query() {
		if !slices.Contains(o.Query, name) {
			return nil, Invalid("unknown query parameter %q%s", name, listKnown("query parameters", o.Query))
		}
	}
	out, err = o.Do(r)
	var refused interface{ Refusal() (int, string) }
	if errors.As(err, &refused) {
		status, message := refused.Refusal()
		err = &UsageError{status, message}
	}
	return out, err
}

// listKnown returns the suffix of a message that lists what is accepted.
func listKnown(what string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; known %s: %s", what, strings.Join(names, ", "))
}

// Set sets a field that a request gives.
func Set[T any](field, given *T) {
	if given != nil {
		*field = *given
	}
}

// Decode reads the body strictly: a JSON object with known fields only.
func Decode[T any](r *http.Request) (T, error) {
	var v T
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return v, Invalid("read the body: %v", err)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return v, Invalid("the body is empty: want a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if err := decodeError(d.Decode(&v)); err != nil {
		return v, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, Invalid("the body continues after the JSON object")
	}
	return v, checkFields(b, reflect.TypeFor[T]())
}

func decodeError(err error) error {
	var kind *json.UnmarshalTypeError
	var parse *time.ParseError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind):
		name := kind.Field
		if name == "" {
			name = "the body"
		}
		return Invalid("%s: want %s, not a JSON %s", name, typeDescription(kind.Type), kind.Value)
	case errors.As(err, &parse):
		return Invalid(`want a time such as "2026-07-01T09:00:00Z", not %q`, parse.Value)
	}
	return Invalid("the body is not JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// checkFields refuses fields that the struct t does not have. encoding/json would also accept names in another case.
func checkFields(object []byte, t reflect.Type) error {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return Invalid("the body is not a JSON object: %v", err)
	}
	var known []string
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); f.IsExported() && name != "-" {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	var unknown []string
	for name := range fields {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return Invalid("unknown field %q%s", slices.Min(unknown), listKnown("fields", known))
	}
	return nil
}

// typeDescription returns the JSON name of a type.
func typeDescription(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return typeDescription(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a whole number"
}

// Duration parses the duration in a field.
func Duration(field, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, Invalid(`%s: want a duration such as "1m30s", not %q`, field, text)
	}
	return d, nil
}
