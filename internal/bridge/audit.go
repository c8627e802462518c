package bridge

import (
	"fmt"
	"log/slog"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/audit"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// auditFailed is the code of the problem that audit records cannot be written.
const auditFailed = "audit_failed"

// Audit returns the recorder of changes for the configured file, or stream of the cluster; nil if there is none.
func Audit(c config.Audit, dir *state.Dir, log *slog.Logger, onProblem func()) *audit.Recorder {
	o := audit.Options{Log: log, OnProblem: onProblem}
	switch {
	case c.File != "":
		o.Target = audit.NewFile(c.File, c.MaxSize, c.MaxFiles)
	case c.Stream != "":
		o.Target = auditStream{dir.Stream(c.Stream, c.MaxAge), c.Stream}
	default:
		return nil
	}
	return audit.New(o)
}

// An auditStream is a stream of a cluster as an audit.Target.
type auditStream struct {
	stream *state.Stream
	name   string
}

// Name implements audit.Target.
func (s auditStream) Name() string { return "stream " + s.name }

// Write implements audit.Target.
func (s auditStream) Write(r audit.Line, line []byte) error {
	return s.stream.Append(r.Account, fmt.Sprintf("%s %d", r.ID, r.Time.UnixNano()), line)
}

// Close implements audit.Target.
func (s auditStream) Close() {}

// AuditLine returns the line for a write.
func AuditLine(w services.Write, user string) audit.Line {
	r := audit.Line{
		Time: w.Completed, ID: w.ID, ReceivedAt: w.Received, Account: w.Account, User: user, Sensor: w.Sensor, Operation: w.Operation,
		Transaction: w.Transaction, ReplyTo: w.ReplyTo, Digest: w.Digest, Outcome: w.Outcome, GraphRequestIDs: w.RequestIDs,
	}
	if w.Graph != nil {
		r.GraphStatus, r.GraphCode = w.Graph.Status, w.Graph.Code
	}
	return r
}

// auditProblem returns the problem of the audit records, if there is one.
func (b *Bridge) auditProblem() *hub.Problem {
	message := b.audit.Problem()
	if message == "" {
		return nil
	}
	return &hub.Problem{Code: auditFailed, Message: "audit records cannot be written: " + message}
}
