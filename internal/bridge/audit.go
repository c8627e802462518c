package bridge

import (
	"log/slog"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/audit"
	"github.com/graph2mqtt/graph2mqtt/internal/hub"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// auditFailed is the code of the problem that the audit file cannot be written.
const auditFailed = "audit_failed"

// Audit returns the configured audit file; nil if there is none.
func Audit(c config.Audit, log *slog.Logger, onProblem func()) *audit.File {
	if c.File == "" {
		return nil
	}
	return audit.New(audit.Options{Path: c.File, MaxSize: c.MaxSize, MaxFiles: c.MaxFiles, Log: log, OnProblem: onProblem})
}

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

// auditProblem returns the problem of the audit file, if there is one.
func (b *Bridge) auditProblem() *hub.Problem {
	message := b.audit.Problem()
	if message == "" {
		return nil
	}
	return &hub.Problem{Code: auditFailed, Message: "audit file cannot be written: " + message}
}
