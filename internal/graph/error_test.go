package graph_test

import (
	"errors"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func TestErrorText(t *testing.T) {
	refused := graph.Error{Reason: graph.PermissionMissing, Op: "read the calendar", Status: 403, Code: "ErrorAccessDenied", Message: "Access is denied."}
	for _, test := range []struct {
		err  error
		want string
	}{
		{&refused, "read the calendar: Graph answered 403 ErrorAccessDenied: Access is denied."},
		{graph.Explain(&refused, "%s does not share it with you", "ann"), "read the calendar: ann does not share it with you (Graph answered 403 ErrorAccessDenied)"},
		{graph.Explain(&graph.Error{Op: "read"}, "that is not so"), "read: that is not so"},
		{graph.Explain(errors.New("odd"), "that is not so"), "odd"},
		{graph.Incomplete("read", "start"), "read: the answer has no start"},
		{&graph.Error{Reason: graph.Throttled, Op: "read", Status: 429, Code: "ApplicationThrottled"}, "read: Microsoft asked to wait"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %s\nwant %s", got, test.want)
		}
	}
	if refused.Explanation != "" {
		t.Error("Explain changed its argument")
	}
}

func TestRetryable(t *testing.T) {
	for _, test := range []struct {
		err                  graph.Error
		retryable, transient bool
	}{
		{graph.Error{Reason: graph.Throttled}, true, true},
		{graph.Error{Reason: graph.Network}, true, true},
		{graph.Error{Reason: graph.Network, OutcomeUnknown: true}, false, true},
		{graph.Error{Reason: graph.Timeout, OutcomeUnknown: true}, false, true},
		{graph.Error{Reason: graph.Refused, Status: 503}, true, true},
		{graph.Error{Reason: graph.Refused, Status: 502, OutcomeUnknown: true}, false, true},
		{graph.Error{Reason: graph.Refused, Status: 201, OutcomeUnknown: true}, false, true},
		{graph.Error{Reason: graph.InvalidArgument, Status: 400}, false, false},
	} {
		if test.err.Retryable() != test.retryable || test.err.Transient() != test.transient {
			t.Errorf("%+v: retryable %v, transient %v", test.err, test.err.Retryable(), test.err.Transient())
		}
	}
}
