package mail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services"
	"github.com/graph2mqtt/graph2mqtt/services/mail"
)

// A sensor is the target of requests to a dispatcher.
type sensor struct {
	target mail.Target
	graph  *graph.Client
}

func (s sensor) Resolve(services.Ref) (services.Target, error) { return sensorTarget{s}, nil }

type sensorTarget struct{ sensor }

func (s sensorTarget) Operation(name string) (services.Operation, error) {
	i := slices.IndexFunc(mail.Operations(s.target), func(op services.Operation) bool { return op.Name == name })
	return mail.Operations(s.target)[i], nil
}

func (s sensorTarget) Parse(string, string) (string, map[string]json.RawMessage, error) {
	return "", nil, nil
}

func (s sensorTarget) Resolve(context.Context, map[string]json.RawMessage) (services.Ref, services.Target, error) {
	return services.Ref{Account: "work", Sensor: "mail"}, s, nil
}
func (s sensorTarget) Graph() *graph.Client                                     { return s.graph }
func (s sensorTarget) User() string                                             { return "" }
func (s sensorTarget) Location() *time.Location                                 { return time.UTC }
func (s sensorTarget) OnSuccess(context.Context, string, any) func(services.Tx) { return nil }
func (s sensorTarget) OnRejected()                                              {}

// A lostAnswer is a way in which the answer to a request is lost. With done the request took effect.
type lostAnswer struct {
	name  string
	done  bool
	fault simulator.Fault
}

func lostAnswers() []lostAnswer {
	return []lostAnswer{
		{"504 after the effect", true, simulator.Fault{Status: http.StatusGatewayTimeout, Done: true}},
		{"502 after the effect", true, simulator.Fault{Status: http.StatusBadGateway, Done: true}},
		{"500 after the effect", true, simulator.Fault{Status: http.StatusInternalServerError, Done: true}},
		{"reset after the effect", true, simulator.Fault{Reset: true, Done: true}},
		{"silence after the effect", true, simulator.Fault{Delay: simulator.Forever}},
		{"504 without an effect", false, simulator.Fault{Status: http.StatusGatewayTimeout}},
		{"reset without an effect", false, simulator.Fault{Reset: true}},
		{"silence without an effect", false, simulator.Fault{Reset: true, Delay: simulator.Forever}},
	}
}

// unanswered executes a request with the dispatcher while one of its writes, of which methods has the methods, loses its answer. It
// returns the response and the writes.
func unanswered(t *testing.T, s *simulator.Simulator, target mail.Target, operation, fields string, methods []string, n int, lost lostAnswer, scopes ...string) (services.Response, []string) {
	t.Helper()
	lose := func() {
		f := lost.fault
		f.Method = methods[n]
		s.Fail(f)
	}
	var mu sync.Mutex
	var writes []string
	s.OnRequest(func(r simulator.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodGet {
			return
		}
		path := strings.Split(r.Path, "/")
		writes = append(writes, r.Method+" "+path[len(path)-1])
		if len(writes) == n {
			lose()
		}
	})
	if n == 0 {
		lose()
	}
	d := services.NewDispatcher(services.DispatcherOptions{Resolver: sensor{target, graphtest.Client(t, s, simulator.Adele, append(scopes, "User.Read")...)}})
	r := d.Execute(t.Context(), services.Inbound{Target: services.Ref{Account: "work", Sensor: "mail"}, Operation: operation, Payload: []byte("{" + fields + "}")})
	s.OnRequest(nil)
	if len(s.Faults()) > 0 {
		t.Errorf("%s has no write %d", operation, n)
	}
	mu.Lock()
	defer mu.Unlock()
	return r, writes
}

func TestSendingWithoutAnswer(t *testing.T) {
	for _, op := range []struct{ name, fields string }{
		{"send", to}, {"reply", `"message_id": "ID", "message": "x"`}, {"reply_all", `"message_id": "ID", "message": "x"`}, {"forward", `"message_id": "ID", "message": "x", "to": ["x@example.com"]`},
	} {
		for _, lost := range lostAnswers() {
			for _, scopes := range [][]string{{"Mail.Send", "Mail.Read"}, {"Mail.Send"}, {"Mail.Send", "Mail.ReadBasic"}} {
				synctest.Test(t, func(t *testing.T) {
					s := contoso(t)
					id := s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "a", From: "megan@contoso.com"}).ImmutableID
					r, writes := unanswered(t, s, mail.Target{}, op.name, strings.Replace(op.fields, "ID", id, 1), []string{"POST"}, 0, lost, scopes...)
					name := fmt.Sprint(op.name, ", ", lost.name, " ", scopes)
					sent, want := len(s.SentMails(simulator.Adele)), map[bool]int{true: 1, false: 0}[lost.done]
					if sent != want || len(writes) != 1 {
						t.Errorf("%s: sent %d times, want %d, with %q", name, sent, want, writes)
					}
					if found := lost.done && slices.Contains(scopes, "Mail.Read"); found && r.Status != "ok" || !found && (r.Error == nil || r.Error.Code != services.InDoubt) {
						t.Errorf("%s: %s, %+v", name, r.Status, r.Error)
					}
				})
			}
		}
	}
}

// A large mail is sent once, or not at all and without a draft, whichever answer is lost: the steps before sending can be done again.
func TestSendingLargeWithoutAnswer(t *testing.T) {
	methods := []string{"POST", "POST", "POST", "PUT", "PUT", "PATCH", "POST"}
	for n := range methods {
		for _, lost := range lostAnswers() {
			if n < len(methods)-1 && lost.fault.Status != 0 && lost.fault.Status != http.StatusGatewayTimeout {
				continue // the same error as 504
			}
			synctest.Test(t, func(t *testing.T) {
				s := contoso(t)
				target, path := file(t, 4_000_000)
				fields := fmt.Sprintf(`%s, "attachments": ["data:text/plain;name=a.txt;base64,YQ==", %q]`, to, path)
				r, writes := unanswered(t, s, target, "send_large", fields, methods, n, lost, "Mail.ReadWrite", "Mail.Send")
				name := fmt.Sprintf("step %d, %s", n, lost.name)
				sent, drafts := s.SentMails(simulator.Adele), s.Mails(simulator.Adele, "drafts")
				sends := 0
				for _, w := range writes {
					if w == "POST send" {
						sends++
					}
				}
				if sends > 1 || len(sent) > 1 || len(sent) == 1 && len(sent[0].Attachments) != 2 {
					t.Errorf("%s: sent %d times with %q", name, len(sent), writes)
				}
				last := n == len(methods)-1
				switch {
				case r.Status == "ok" && (len(sent) != 1 || len(drafts) != 0):
					t.Errorf("%s: ok, sent %d times, %d drafts", name, len(sent), len(drafts))
				case r.Status == "ok":
				case !last && lost.fault.Delay == 0: // there is time for another attempt
					t.Errorf("%s: not tried again: %+v", name, r.Error)
				case last && !lost.done && (r.Error.Code != services.InDoubt || len(drafts) != 1 || !strings.Contains(r.Error.Message, drafts[0].ImmutableID)):
					t.Errorf("%s: %+v, %d drafts", name, r.Error, len(drafts))
				case last && lost.done, !last && (len(sent) != 0 || len(drafts) != 0):
					t.Errorf("%s: %+v, sent %d times, %d drafts", name, r.Error, len(sent), len(drafts))
				}
			})
		}
	}
}

// A change whose answer is lost is made again, to the same effect.
func TestChangesWithoutAnswer(t *testing.T) {
	for _, op := range []struct {
		name, fields, method, folder string
		changed                      func(simulator.Mail) bool
	}{
		{"mark_read", ``, "PATCH", "", func(m simulator.Mail) bool { return m.Read }},
		{"flag", `, "status": "flagged", "due": "2030-01-01"`, "PATCH", "", func(m simulator.Mail) bool { return m.Flag == "flagged" && m.FlagDue == "2030-01-01" }},
		{"categorize", `, "add": ["Red"]`, "PATCH", "", func(m simulator.Mail) bool { return slices.Equal(m.Categories, []string{"Blue", "Red"}) }},
		{"move", `, "folder": "Archive"`, "POST", "archive", func(simulator.Mail) bool { return true }},
		{"delete", ``, "POST", "deleteditems", func(simulator.Mail) bool { return true }},
	} {
		for _, lost := range lostAnswers() {
			synctest.Test(t, func(t *testing.T) {
				s := contoso(t)
				m := s.DeliverMail(simulator.Adele, simulator.Mail{Subject: "a", Categories: []string{"Blue"}})
				r, writes := unanswered(t, s, mail.Target{}, op.name, `"message_id": "`+m.ImmutableID+`"`+op.fields, []string{op.method}, 0, lost, "Mail.ReadWrite")
				found := s.Mails(simulator.Adele, op.folder)
				if r.Status != "ok" || r.Data == nil || len(writes) != 2 || len(found) != 1 || found[0].ImmutableID != m.ImmutableID || !op.changed(found[0]) {
					t.Errorf("%s, %s: %s, %+v, %q, %+v", op.name, lost.name, r.Status, r.Error, writes, found)
				}
			})
		}
	}
}
