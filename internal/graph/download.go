package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
)

const (
	// maxDownloads bounds the open downloads of an account, each of which holds a connection.
	maxDownloads = 2
	// downloadIdle is the time after which a download is closed that is not continued.
	downloadIdle = time.Minute
)

// A download is a response whose content is read in parts.
type download struct {
	uri    string
	offset int64  // of what comes next
	ahead  []byte // read already: at most one byte, which shows that more follow
	body   io.ReadCloser
	cancel context.CancelFunc // of the request
	idle   *time.Timer        // closes it
}

func (d *download) close() {
	d.cancel()
	_ = d.body.Close() // only read
}

// read returns the next bytes, up to size, and whether more follow. ctx bounds the time.
func (d *download) read(ctx context.Context, size int) (content []byte, more bool, err error) {
	defer context.AfterFunc(ctx, d.cancel)()
	rest, err := io.ReadAll(io.LimitReader(d.body, int64(size+1-len(d.ahead))))
	if err != nil {
		return nil, false, interrupted(ctx, err)
	}
	content = append(d.ahead, rest...)
	d.ahead = nil
	if more = len(content) > size; more {
		d.ahead = []byte{content[size]}
		content = content[:size]
	}
	d.offset += int64(len(content))
	return content, more, nil
}

// skip drops the next bytes.
func (d *download) skip(ctx context.Context, n int64) error {
	defer context.AfterFunc(ctx, d.cancel)()
	_, err := io.CopyN(io.Discard, d.body, n)
	d.offset += n
	return interrupted(ctx, err)
}

// interrupted returns the error of ctx, if that is the cause of err.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Download returns up to size bytes of the content that r requests, from offset on, and whether more follow. No more than these are
// held in memory. The response stays open for a minute, so that the part that follows needs no request. If Graph ignores the requested
// range, what precedes a part is read and dropped. For errors see [Client.Do].
func (c *Client) Download(ctx context.Context, op string, r *abstractions.RequestInformation, offset int64, size int) (content []byte, more bool, err error) {
	uri, err := c.address(r)
	if err != nil {
		return nil, false, c.newError(ctx, op, new(answer), err)
	}
	bounded, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d := c.takeDownload(uri.String(), offset)
	if d != nil {
		if content, more, err = d.read(bounded, size); err == nil {
			c.keepDownload(d, more)
			return content, more, nil
		}
		d.close() // Graph may have closed it meanwhile
	}
	b := c.throttle.bucket(limitOf(uri.Path))
	if err := b.acquire(bounded); err != nil {
		return nil, false, c.newError(ctx, op, new(answer), err)
	}
	defer b.release()
	r.Headers.Add("Range", fmt.Sprintf("bytes=%d-", offset))
	d = &download{uri: uri.String()}
	open, closeRequest := context.WithCancel(context.WithoutCancel(ctx))
	d.cancel = closeRequest
	stop := context.AfterFunc(bounded, d.cancel)
	a, err := c.sendAuthorized(open, r, uri, func(a *answer, response *http.Response, bounds bounds) error {
		if response.StatusCode < 200 || response.StatusCode > 299 {
			return a.read(response, bounds)
		}
		a.status, a.header, d.body = response.StatusCode, response.Header, response.Body
		return nil
	})
	stop()
	if errors.Is(err, context.Canceled) {
		err = interrupted(bounded, err)
	}
	if err = c.settle(b, a, err); err == nil {
		content, more, err = d.begin(bounded, a, offset, size)
	}
	if err != nil {
		d.cancel()
		if d.body != nil {
			d.close()
		}
		return nil, false, c.newError(bounded, op, a, err)
	}
	c.keepDownload(d, more)
	return content, more, nil
}

// begin reads the first part of a response.
func (d *download) begin(ctx context.Context, a *answer, offset int64, size int) (content []byte, more bool, err error) {
	if a.status == http.StatusPartialContent {
		if !strings.HasPrefix(a.header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
			a.complete = true
			return nil, false, errors.New("the answer has another range than requested")
		}
		d.offset = offset
	}
	err = d.skip(ctx, offset-d.offset)
	if errors.Is(err, io.EOF) {
		a.complete = true
		return nil, false, errors.New("the content is shorter than before")
	}
	if err == nil {
		content, more, err = d.read(ctx, size)
	}
	if err != nil {
		return nil, false, fmt.Errorf("the answer broke off: %w", err)
	}
	return content, more, nil
}

// takeDownload returns the open download whose next part is at an offset, or nil.
func (c *Client) takeDownload(uri string, offset int64) *download {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.downloads, func(d *download) bool { return d.uri == uri && d.offset == offset })
	if i < 0 {
		return nil
	}
	d := c.downloads[i]
	c.downloads = slices.Delete(c.downloads, i, i+1)
	if !d.idle.Stop() {
		return nil // it is being closed
	}
	return d
}

// keepDownload keeps a download open if more of it follows, and closes the oldest if there are too many.
func (c *Client) keepDownload(d *download, more bool) {
	if !more {
		d.close()
		return
	}
	c.mu.Lock()
	d.idle = time.AfterFunc(downloadIdle, func() {
		c.mu.Lock()
		c.downloads = slices.DeleteFunc(c.downloads, func(o *download) bool { return o == d })
		c.mu.Unlock()
		d.close()
	})
	c.downloads = append(c.downloads, d)
	c.mu.Unlock()
	c.closeDownloads(maxDownloads)
}

// closeDownloads closes the oldest downloads until no more than most are open.
func (c *Client) closeDownloads(most int) {
	c.mu.Lock()
	n := max(0, len(c.downloads)-most)
	closed := slices.Clone(c.downloads[:n])
	c.downloads = slices.Delete(c.downloads, 0, n)
	c.mu.Unlock()
	for _, d := range closed {
		if d.idle.Stop() {
			d.close()
		}
	}
}
