package calendar_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/calendars"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/services/calendar"
)

const project = "project@contoso.example"

// groupContoso returns a simulator with a group that has one meeting, and the id of the meeting.
func groupContoso(t testing.TB) (s *simulator.Simulator, group simulator.Group, event string) {
	t.Helper()
	s = contoso(t)
	group = s.AddGroup(simulator.Group{Name: "Project", Address: project, Members: []string{simulator.Adele}})
	event = s.AddEvent(project, "", simulator.Event{Subject: "Kickoff", Start: now(t), End: now(t).Add(3600e9), Attendees: []simulator.Attendee{{Address: simulator.Adele}}})
	return s, group, event
}

// groupRequests are the operations of a group's calendar with a request for each.
func groupRequests() map[string]string {
	return map[string]string{
		"create": `{"subject": "Retro", "start": "2026-01-16T10:00:00", "end": "2026-01-16T11:00:00"}`,
		"modify": `{"event_id": "ID", "start": "2026-01-16T10:00:00", "subject": "Start", "end": "2026-01-16T11:00:00", "body": "Agenda"}`,
		"remove": `{"event_id": "ID"}`,
		"cancel": `{"event_id": "ID"}`,
		"list":   `{"start": "2026-01-01", "end": "2026-02-01"}`,
		"get":    `{"event_id": "ID"}`,
	}
}

// TestGroupOperations pins which operations a group has, and that each works with its permission alone and not without.
func TestGroupOperations(t *testing.T) {
	requests := groupRequests()
	seen := map[string]bool{}
	for _, op := range calendar.Operations(calendars.Calendar{Group: project}) {
		seen[op.Name] = true
		for _, name := range []string{project, "Project", "ID of the group"} {
			t.Run(op.Name+" "+name, func(t *testing.T) {
				s, group, event := groupContoso(t)
				if name == "ID of the group" {
					name = group.ID
				}
				request := strings.ReplaceAll(requests[op.Name], "ID", event)
				want := "Group.ReadWrite.All"
				if op.Reads {
					want = "Group.Read.All"
				}
				if scopes := graph.Scopes(op.Permissions); len(scopes) != 1 || scopes[0] != want {
					t.Fatalf("requests %v, want %s", scopes, want)
				}
				_, err := call(t, s, calendars.Calendar{Group: name}, op.Name, request, false, "User.Read", "Calendars.ReadWrite", "Calendars.ReadWrite.Shared")
				if !graph.Is(err, graph.PermissionMissing) {
					t.Errorf("without %s: %v", want, err)
				}
				if _, err := call(t, s, calendars.Calendar{Group: name}, op.Name, request, false, want); err != nil {
					t.Errorf("with %s: %v", want, err)
				}
				if !op.Reads {
					_, err := call(t, s, calendars.Calendar{Group: name}, op.Name, request, false, "Group.Read.All")
					if !graph.Is(err, graph.PermissionMissing) && !graph.Is(err, graph.NotFound) {
						t.Errorf("with Group.Read.All: %v", err)
					}
				}
			})
		}
	}
	for name := range requests {
		if !seen[name] {
			t.Errorf("no %s", name)
		}
	}
	if len(seen) != len(requests) {
		t.Errorf("operations %v", seen)
	}
}

// TestGroupRefusals pins the sentences for what cannot be done.
func TestGroupRefusals(t *testing.T) {
	s, _, event := groupContoso(t)
	s.AddGroup(simulator.Group{Name: "Board", Address: "board@contoso.example"})
	board := s.AddEvent("board@contoso.example", "", simulator.Event{Subject: "Secret", Start: now(t), End: now(t).Add(3600e9)})
	do := func(group, name, id string) string {
		t.Helper()
		_, err := call(t, s, calendars.Calendar{Group: group}, name, strings.ReplaceAll(groupRequests()[name], "ID", id), false, "Group.ReadWrite.All")
		if err == nil {
			return "no error"
		}
		return err.Error()
	}
	for name := range groupRequests() {
		want := "you are not a member of the group board@contoso.example (Graph answered 403 ErrorAccessDenied)"
		if got := do("board@contoso.example", name, board); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s", name, got)
		}
		want = "find the group: there is no group nothing@contoso.example in your organization; want the id, address or name of a Microsoft 365 group"
		if got := do("nothing@contoso.example", name, board); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := do(project, "get", board); !strings.Contains(got, "404 ErrorItemNotFound") || strings.Contains(got, "group") {
		t.Errorf("an event of another calendar: %s", got)
	}
	s.Fail(simulator.Fault{Method: http.MethodPost, Status: 403, Code: "ErrorAccessDenied"})
	want := "cancel the event: Microsoft does not let you cancel an event of a group; use remove, which sends no message (Graph answered 403 ErrorAccessDenied)"
	if got := do(project, "cancel", event); got != want {
		t.Errorf("cancel: %s", got)
	}
	_, err := call(t, s, calendars.Calendar{Mailbox: project}, "list", groupRequests()["list"], false, "Calendars.Read.Shared")
	want = "read the calendar: there is no mailbox project@contoso.example; for the calendar of a group use type: group_calendar (Graph answered 404 ErrorInvalidUser)"
	if err == nil || err.Error() != want {
		t.Errorf("as shared_mailbox: %v", err)
	}
}

// TestGroupInterrupted answers each request of each operation with 504, once it had its effect and once before it: a repetition by
// the rules of the operation does it once.
func TestGroupInterrupted(t *testing.T) {
	for name, request := range groupRequests() {
		op := operation(t, calendars.Calendar{Group: project}, name)
		if op.Reads {
			continue
		}
		for _, group := range []string{"Project", "the id"} {
			for _, done := range []bool{true, false} {
				for step := 0; ; step++ {
					s, g, event := groupContoso(t)
					c := calendars.Calendar{Group: group}
					if group == "the id" {
						c.Group = g.ID
					}
					payload := strings.ReplaceAll(request, "ID", event)
					attempt := circumstances(t)
					fresh, err := decode(t, c, name, payload)
					if err != nil {
						t.Fatal(err)
					}
					client := graphtest.Client(t, s, simulator.Adele, "Group.ReadWrite.All")
					at := 0
					s.OnRequest(func(simulator.Request) {
						if at++; at == step { // the fault is for the next one
							s.Fail(simulator.Fault{Status: 504, Done: done})
						}
					})
					if step == 0 {
						s.Fail(simulator.Fault{Status: 504, Done: done})
					}
					_, err = fresh.Execute(t.Context(), client, attempt)
					label := fmt.Sprintf("%s of %s, step %d, done %t", name, group, step, done)
					if err == nil { // all steps were tried
						if step == 0 {
							t.Errorf("%s: no error", label)
						}
						break
					}
					var e *graph.Error
					if !errors.As(err, &e) || !e.Transient() {
						t.Errorf("%s: %v", label, err)
						break
					}
					attempt.Repeated = true
					if _, err := fresh.Execute(t.Context(), client, attempt); err != nil {
						t.Errorf("%s: repeated: %v", label, err)
					}
					var subjects []string
					for _, e := range s.Events(project, "") {
						subjects = append(subjects, e["subject"].(string))
					}
					want := map[string][]string{"create": {"Kickoff", "Retro"}, "modify": {"Start"}}[name]
					if d := cmp.Diff(want, subjects); d != "" {
						t.Errorf("%s (-want +got):\n%s", label, d)
					}
				}
			}
		}
	}
}
