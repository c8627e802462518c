package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// uploadPart is the size of the parts of an upload: a multiple of 320 KiB below 4 MB.
//
// https://learn.microsoft.com/graph/outlook-large-attachments
const uploadPart = 12 * 320 << 10

// Upload sends content to an upload session that Graph opened. The address is on another host than Graph's and authorizes by
// itself: it gets no token. For errors see [Client.Do].
func (c *Client) Upload(ctx context.Context, op, address string, content []byte) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != c.root.Scheme || u.Host == "" || u.User != nil {
		return &Error{Reason: Refused, Op: op, Message: "the address of the upload cannot be used"}
	}
	for start := 0; start < len(content); start += uploadPart {
		part := content[start:min(start+uploadPart, len(content))]
		a, err := c.put(ctx, u, part, fmt.Sprintf("bytes %d-%d/%d", start, start+len(part)-1, len(content)))
		if err == nil && !a.successful() {
			err = errors.New("refused")
		}
		if err != nil {
			return c.newError(ctx, op, a, err)
		}
	}
	return nil
}

// put sends a part of an upload. The answer is never nil.
func (c *Client) put(ctx context.Context, u *url.URL, part []byte, span string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	a := &answer{sent: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(part))
	if err != nil {
		return a, errors.New("the address of the upload cannot be used") // it is a secret
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	request.Header.Set("Content-Range", span)
	c.counters.requests.Add(1)
	response, err := c.http.Do(request)
	if err != nil {
		return a, err
	}
	traceWrite(ctx, response)
	return a, a.read(response, c.bounds)
}
