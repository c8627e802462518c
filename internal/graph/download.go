package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	abstractions "github.com/microsoft/kiota-abstractions-go"
)

// Download returns up to size bytes of the content that r requests, from offset on, and whether more follow. No more than these are
// held in memory. If Graph ignores the requested range, what precedes it is read and dropped. For errors see [Client.Do].
func (c *Client) Download(ctx context.Context, op string, r *abstractions.RequestInformation, offset int64, size int) (content []byte, more bool, err error) {
	uri, err := c.address(r)
	if err != nil {
		return nil, false, c.newError(ctx, op, new(answer), err)
	}
	r.Headers.Add("Range", fmt.Sprintf("bytes=%d-%d", offset, offset+int64(size))) // one byte more than wanted shows whether more follow
	a, err := c.send(ctx, c.throttle.bucket(limitOf(uri.Path)), r, uri, func(a *answer, response *http.Response, bounds bounds) error {
		if response.StatusCode < 200 || response.StatusCode > 299 {
			return a.read(response, bounds)
		}
		defer response.Body.Close() // without reading on
		a.status, a.header = response.StatusCode, response.Header
		skip := offset
		if response.StatusCode == http.StatusPartialContent {
			if !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
				a.complete = true
				return errors.New("the answer has another range than requested")
			}
			skip = 0
		}
		_, err := io.CopyN(io.Discard, response.Body, skip)
		if errors.Is(err, io.EOF) {
			a.complete = true
			return errors.New("the content is shorter than before")
		}
		if err == nil {
			content, err = io.ReadAll(io.LimitReader(response.Body, int64(size)+1))
		}
		if err != nil {
			return fmt.Errorf("the answer broke off: %w", err)
		}
		a.complete = true
		return nil
	})
	if err != nil {
		return nil, false, c.newError(ctx, op, a, err)
	}
	more = len(content) > size
	return content[:min(size, len(content))], more, nil
}
