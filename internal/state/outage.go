package state

import "sync"

// An outage is the time for which a request fails that is repeated until it succeeds. Its reasons are logged once each, and its end is.
// It is safe for concurrent use.
type outage struct {
	mu     sync.Mutex
	reason error           // the newest; nil: the request succeeded
	logged map[string]bool // reasons
}

// failed records that the request failed, and reports whether the reason is to be logged.
func (o *outage) failed(err error) (isNew bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.logged == nil {
		o.logged = map[string]bool{}
	}
	isNew = !o.logged[err.Error()]
	o.logged[err.Error()] = true
	o.reason = err
	return isNew
}

// cause returns why the request failed the last time; nil: it did not.
func (o *outage) cause() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason
}

// succeeded records that the request succeeded, and reports whether it had failed.
func (o *outage) succeeded() (ended bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ended = o.reason != nil
	o.reason, o.logged = nil, nil
	return ended
}
