package odata

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
)

// maxBatch is the largest number of requests in a batch.
const maxBatch = 20

// A batchRequest is one request of a batch.
type batchRequest struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	DependsOn []string          `json:"dependsOn"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
}

type batchResponse struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    any               `json:"body,omitempty"`
}

// IsBatch reports whether a request is a JSON batch.
func IsBatch(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.EqualFold(strings.TrimSuffix(r.URL.Path, "/"), "/v1.0/$batch")
}

// Batch executes the requests of a batch one after the other with do. It also returns the address of the token's user. See
// https://learn.microsoft.com/graph/json-batching.
func (s *Service) Batch(r *http.Request, body []byte, do func(*http.Request) Response) (resp Response, address string) {
	s.Directory.Lock()
	now := s.Directory.Now()
	token, refused := s.authenticate(r, now)
	s.Directory.Unlock()
	if refused != nil {
		return refused.Response(now), ""
	}
	address = token.User.Address
	requests, err := parseBatch(body)
	if err != nil {
		return err.Response(now), address
	}
	statuses := map[string]int{}
	responses := []batchResponse{}
	for _, x := range requests {
		failed := slices.ContainsFunc(x.DependsOn, func(id string) bool { return statuses[id] >= 400 })
		var resp Response
		if failed {
			resp = NewError(http.StatusFailedDependency, "FailedDependency", "A request that this one depends on failed.").Response(now)
		} else {
			resp = do(x.request(r))
		}
		statuses[x.ID] = resp.Status
		responses = append(responses, x.response(resp))
	}
	return Response{Status: http.StatusOK, Body: map[string]any{"responses": responses}}, address
}

// parseBatch checks the batch and returns its requests in an order in which each comes after those it depends on.
func parseBatch(body []byte) ([]batchRequest, *Error) {
	var batch struct {
		Requests []batchRequest `json:"requests"`
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		return nil, unreadable()
	}
	if n := len(batch.Requests); n == 0 || n > maxBatch {
		return nil, BadRequest("The number of requests in a batch must be from 1 to %d, not %d.", maxBatch, n)
	}
	known := map[string]bool{}
	for i, x := range batch.Requests {
		x.Method = strings.ToUpper(x.Method)
		batch.Requests[i] = x
		switch {
		case x.ID == "" || known[x.ID]:
			return nil, BadRequest("Every request in a batch must have a unique 'id', not '%s'.", x.ID)
		case x.Method == "" || x.URL == "":
			return nil, BadRequest("The request '%s' must have a 'method' and a 'url'.", x.ID)
		case strings.Contains(x.URL, "://"):
			return nil, BadRequest("The url of the request '%s' must be relative.", x.ID)
		case strings.HasPrefix(strings.ToLower(strings.TrimPrefix(x.URL, "/")), "$batch"):
			return nil, BadRequest("A batch cannot contain a batch.")
		case hasBody(x.Body) && x.header().Get("Content-Type") == "":
			return nil, BadRequest("The request '%s' has a body but no header Content-Type.", x.ID)
		}
		if _, err := url.Parse(x.URL); err != nil {
			return nil, BadRequest("The url of the request '%s' is not valid.", x.ID)
		}
		known[x.ID] = true
	}
	var ordered []batchRequest
	done := map[string]bool{}
	for len(ordered) < len(batch.Requests) {
		before := len(ordered)
		for _, x := range batch.Requests {
			if !done[x.ID] && !slices.ContainsFunc(x.DependsOn, func(id string) bool { return !done[id] }) {
				done[x.ID] = true
				ordered = append(ordered, x)
			}
		}
		if len(ordered) == before {
			return nil, BadRequest("A 'dependsOn' in the batch names an unknown request, or the requests depend on each other.")
		}
	}
	return ordered, nil
}

func hasBody(b json.RawMessage) bool { return len(b) > 0 && string(b) != "null" }

func (x batchRequest) header() http.Header {
	h := http.Header{}
	for k, v := range x.Headers {
		h.Set(k, v)
	}
	return h
}

// request returns the request as if it had come alone, with the token of the batch unless it has its own.
func (x batchRequest) request(batch *http.Request) *http.Request {
	r := batch.Clone(batch.Context())
	r.Method = x.Method
	r.Header = x.header()
	if r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", batch.Header.Get("Authorization"))
	}
	r.Body = http.NoBody
	if hasBody(x.Body) {
		r.Body = io.NopCloser(bytes.NewReader(x.Body))
	}
	u, err := batch.URL.Parse("/v1.0/" + strings.TrimPrefix(x.URL, "/"))
	if err != nil {
		panic(err) // parseBatch has parsed it
	}
	r.URL = u
	return r
}

func (x batchRequest) response(resp Response) batchResponse {
	body, contentType := resp.Encode()
	out := batchResponse{ID: x.ID, Status: resp.Status, Headers: map[string]string{}}
	for k := range resp.Header {
		out.Headers[textproto.CanonicalMIMEHeaderKey(k)] = resp.Header.Get(k)
	}
	if len(body) == 0 {
		return out
	}
	if out.Headers["Content-Type"] == "" {
		out.Headers["Content-Type"] = contentType
	}
	if !strings.HasPrefix(contentType, "application/json") || json.Unmarshal(body, &out.Body) != nil {
		out.Body = base64.StdEncoding.EncodeToString(body)
	}
	return out
}
