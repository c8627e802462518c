//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// TestResources bounds the memory and CPU time of a running bridge.
func TestResources(t *testing.T) {
	env := NewEnvironment(t, MosquittoOptions{})
	env.Configure(t, nil, "out_of_office: {type: auto_reply, interval: 5s}", "calendar: {type: calendar, interval: 5s}")
	day := time.Now().Truncate(24 * time.Hour)
	for i := range 100 {
		begin := day.Add(time.Duration(i) * 15 * time.Minute)
		env.Microsoft.AddEvent(simulator.Adele, "", simulator.Event{
			Subject: fmt.Sprintf("Meeting %d", i), Start: begin, End: begin.Add(10 * time.Minute), Body: strings.Repeat("<p>agenda</p>", 100),
		})
	}
	env.SignIn(t)
	var polls Recorder[simulator.Request]
	env.Microsoft.OnRequest(func(r simulator.Request) {
		if strings.Contains(r.Path, "/calendarView") {
			polls.Add(r)
		}
	})
	env.Start(t)
	poll := func(n int) {
		t.Helper()
		polls.Await(t, "polls", func(all []simulator.Request) bool { return len(all) >= n })
	}
	poll(6) // by then memory use is stable
	before, from := processorTime(t, env.Bridge.pid), time.Now()
	poll(10)
	took, used := time.Since(from), processorTime(t, env.Bridge.pid)-before
	memory := residentMemory(t, env.Bridge.pid)
	t.Logf("memory %.1f MiB; processor time %v in %v with 8 polls (%.2f %%)", float64(memory)/(1<<20), used, took.Round(time.Second), 100*float64(used)/float64(took))
	if memory > 27<<20 {
		t.Errorf("%d bytes of memory, want 27 MiB at most", memory)
	}
	if used > took/50 {
		t.Errorf("%v of processor time in %v, want 2 %% at most", used, took)
	}
}

// TestMemoryAfterManyPolls bounds the memory of a bridge with 12 sensors of one account after 1,000 polls.
func TestMemoryAfterManyPolls(t *testing.T) {
	t.Parallel()
	env := NewEnvironment(t, MosquittoOptions{})
	sensors := []string{
		"calendar: {type: calendar, interval: 5s}", "family: {type: calendar, calendar: Family, interval: 5s}", "projects: {type: calendar, calendar: Projects, interval: 5s}",
		"team: {type: group_calendar, group: project@contoso.example, interval: 5s}", "inbox: {type: email, interval: 5s}",
		"unread: {type: email, is_unread: true, show_body: true, download_attachments: true, interval: 5s}", "bills: {type: query, subject_contains: Mail, interval: 5s}",
		"presence: {type: status, interval: 5s}", "chats: {type: chat, interval: 5s}", "tasks: {type: todo, list: Tasks, interval: 5s}", "shopping: {type: todo, list: Shopping, interval: 5s}",
		"out_of_office: {type: auto_reply, interval: 5s}",
	}
	env.Configure(t, nil, sensors...)
	m, now := env.Microsoft, time.Now()
	m.AddUser(simulator.User{Address: simulator.Megan, Name: "Megan Bowen"})
	m.AddGroup(simulator.Group{Name: "Project", Address: "project@contoso.example", Members: []string{simulator.Adele}})
	m.AddCalendar(simulator.Adele, "Family")
	m.AddCalendar(simulator.Adele, "Projects")
	m.AddTodoList(simulator.Adele, "Shopping")
	for i := range 30 {
		start := now.Add(time.Duration(i) * time.Hour)
		for _, calendar := range []string{"", "Family", "Projects"} {
			m.AddEvent(simulator.Adele, calendar, simulator.Event{Subject: fmt.Sprint("Meeting ", i), Start: start, End: start.Add(time.Hour), Body: strings.Repeat("<p>agenda</p>", 100)})
		}
		m.DeliverMail(simulator.Adele, simulator.Mail{Subject: fmt.Sprint("Mail ", i), HTML: true, Body: strings.Repeat("<p>text</p>", 500)})
		m.AddTask(simulator.Adele, "Tasks", simulator.Task{Title: fmt.Sprint("Task ", i)})
		m.AddTask(simulator.Adele, "Shopping", simulator.Task{Title: fmt.Sprint("Thing ", i)})
		m.PostChatMessage(m.AddChat(simulator.Chat{Topic: fmt.Sprint("Chat ", i), Members: []string{simulator.Adele, simulator.Megan}}).ID, simulator.ChatMessage{From: simulator.Megan, Body: "Hello"})
	}
	env.SignIn(t)
	var polls Recorder[struct{}] // of one sensor; the others poll as often
	m.OnRequest(func(r simulator.Request) {
		if strings.HasSuffix(r.Path, "/mailboxSettings") {
			polls.Add(struct{}{})
		}
	})
	env.Start(t)
	const all, measured = 1000, 9
	var memory []int
	for n := 1; n*len(sensors) < all || len(memory) < measured; n++ {
		polls.Await(t, "a poll", func(done []struct{}) bool { return len(done) >= n })
		env.Broker.Publish(t, "graph2mqtt/work/request/refresh", "{}") // reads between the polls, every 5 seconds at most
		if n*len(sensors) >= all {
			memory = append(memory, residentMemory(t, env.Bridge.pid))
		}
	}
	slices.Sort(memory)
	const mib = 1 << 20
	median := memory[measured/2] // a single one may be just before the collector runs
	t.Logf("%d sensors after %d polls: %.1f MiB resident, %.1f to %.1f", len(sensors), polls.Len()*len(sensors), float64(median)/mib, float64(memory[0])/mib, float64(memory[measured-1])/mib)
	if median > 30*mib {
		t.Errorf("%d bytes of memory, want 30 MiB at most", median)
	}
}

// residentMemory returns a process's resident memory in bytes.
func residentMemory(t testing.TB, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(status) {
		if fields := strings.Fields(string(line)); len(fields) == 3 && fields[0] == "VmRSS:" {
			kilobytes, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	t.Fatalf("no VmRSS in %s", status)
	return 0
}

// processorTime returns a process's CPU time, to a hundredth of a second.
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, fields, _ := strings.Cut(string(stat), ") ") // the process name before it may contain any character
	var ticks int
	for _, field := range strings.Fields(fields)[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
