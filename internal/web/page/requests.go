package page

import (
	"slices"
	"sync"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// maxRequests is the number of requests that the page shows.
const maxRequests = 20

// Requests remembers the outcomes of the newest requests of sensors, also of those that the journal does not keep because they were
// rejected. It is safe for concurrent use.
type Requests struct {
	waiting func(n int) []services.Record

	mu        sync.Mutex
	completed []services.Record // oldest first
}

// NewRequests returns the requests of a journal, which newest returns the newest of, the newest first.
func NewRequests(newest func(n int) []services.Record) *Requests {
	r := &Requests{waiting: newest}
	for _, record := range slices.Backward(newest(maxRequests)) {
		if record.Response != nil {
			r.completed = append(r.completed, record)
		}
	}
	return r
}

// Completed remembers the end of a request.
func (r *Requests) Completed(ref services.Ref, response services.Response) {
	response.Data, response.Cursor = nil, ""
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.completed) == maxRequests {
		r.completed = slices.Delete(r.completed, 0, 1)
	}
	r.completed = append(r.completed, services.Record{Target: ref, Operation: response.Op, Received: response.ReceivedAt, Response: &response})
}

// describe returns the newest requests, the newest first: those that wait, and then those that have ended.
func (r *Requests) describe(names map[hub.ID]string) []request {
	all := []request{}
	for _, record := range r.waiting(maxRequests) {
		if record.Response == nil {
			all = append(all, describeRequest(record, names))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, record := range slices.Backward(r.completed) {
		all = append(all, describeRequest(record, names))
	}
	return all[:min(len(all), maxRequests)]
}

func describeRequest(record services.Record, names map[hub.ID]string) request {
	account := hub.ID{Account: record.Target.Account}
	d := request{
		Account: nameOf(names, account, record.Target.Account), Sensor: nameOf(names, hub.ID(record.Target), record.Target.Sensor),
		Operation: record.Operation, Received: record.Received.UTC().Truncate(time.Second), Outcome: "waiting",
	}
	if response := record.Response; response != nil {
		d.Completed, d.Outcome = utcSecond(response.CompletedAt), "ok"
		if e := response.Error; e != nil {
			d.Outcome, d.Message, d.Advice = string(e.Code), e.Message, advice[e.Code]
		}
	}
	return d
}

func nameOf(names map[hub.ID]string, id hub.ID, otherwise string) string {
	if name := names[id]; name != "" {
		return name
	}
	return otherwise
}

// advice lists by code what to do about a failed request, where its message does not.
var advice = map[services.Code]string{
	services.InDoubt:         "Look in Microsoft 365 whether it happened before you request it again.",
	services.Expired:         "It was not executed. Request it again if it is still wanted.",
	services.UpdatesDisabled: "Allow changes in the configuration of the sensor.",
	services.NotOnDemand:     "Allow reading requests in the configuration of the sensor.",
	services.RetainedRefused: "Publish requests without the retain flag.",
	services.Overloaded:      "Too many requests waited. Request it again later.",
	services.ShuttingDown:    "Request it again.",
	"permission_missing":     "Sign in again to grant the permission.",
	"sign_in_required":       "Sign in, and request it again.",
	"throttled":              "Microsoft asked to wait. Request it again later.",
	"network":                "Microsoft could not be reached. Request it again later.",
	"timeout":                "Microsoft did not answer in time. Request it again later.",
}
