package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/audit"
)

// waitTimeout bounds how long a test waits for an event.
const waitTimeout = 10 * time.Second

// A recorder is a file with what was reported of it.
type recorder struct {
	*audit.Recorder
	path    string
	log     bytes.Buffer
	changes chan string // of the problem
	stop    func()
}

func start(t *testing.T, path string) *recorder {
	t.Helper()
	r := &recorder{path: path, changes: make(chan string, 1000)}
	r.Recorder = audit.New(audit.Options{
		Target: audit.NewFile(path, 1, 2), Log: slog.New(slog.NewTextHandler(&r.log, nil)), Retry: time.Millisecond,
		OnProblem: func() { r.changes <- r.Problem() },
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	r.stop = func() { cancel(); running.Wait() }
	t.Cleanup(r.stop)
	return r
}

// problem waits until the problem has changed.
func (r *recorder) problem(t *testing.T) string {
	t.Helper()
	select {
	case p := <-r.changes:
		return p
	case <-time.After(waitTimeout):
		t.Fatal("the problem does not change")
		return ""
	}
}

func read(t *testing.T, path string) (all []audit.Line) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var r audit.Line
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Errorf("%v: %s", err, lines.Text())
		}
		all = append(all, r)
	}
	return all
}

func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "audit.jsonl")
	r := start(t, path)
	for i := range 3 {
		r.Add(audit.Line{ID: fmt.Sprint(i), Account: "work", Outcome: "ok", GraphRequestIDs: []string{"a", "b"}})
	}
	r.stop()
	// An earlier file is continued, and was readable by others.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	r = start(t, path)
	r.Add(audit.Line{ID: "3"})
	r.stop()
	all := read(t, path)
	if len(all) != 4 || all[0].ID != "0" || all[0].GraphRequestIDs[1] != "b" || all[3].ID != "3" {
		t.Errorf("got %+v", all)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if len(r.changes) > 0 || r.log.Len() > 0 {
		t.Errorf("log %s", &r.log)
	}
}

// The file is renamed when it is full, and only so many are kept.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	r := audit.New(audit.Options{Target: audit.NewFile(path, 1, 2), Log: slog.New(slog.DiscardHandler)})
	long := strings.Repeat("x", 300<<10)
	for range 3 {
		for range 3 {
			if err := r.Write(audit.Line{ID: long}); err != nil {
				t.Fatal(err)
			}
		}
	}
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(names) < 2 || len(names) > 3 {
		t.Errorf("files %v, %v", names, err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 1<<20 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// A file that another program renames or removes, as logrotate does, is followed by a new one.
func TestFileIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	f := audit.New(audit.Options{Target: audit.NewFile(path, 1, 2), Log: slog.New(slog.DiscardHandler)})
	write := func(id string) {
		if err := f.Write(audit.Line{ID: id}); err != nil {
			t.Error(err)
		}
	}
	ids := func(path string) (ids []string) {
		for _, l := range read(t, path) {
			ids = append(ids, l.ID)
		}
		return ids
	}
	write("1")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("2")
	if err := errors.Join(os.Rename(path, path+".2"), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	write("3")
	write("4")
	got := [][]string{ids(path + ".1"), ids(path + ".2"), ids(path)}
	if d := cmp.Diff([][]string{{"1"}, {"2"}, {"3", "4"}}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// What cannot be written is reported once and written as soon as possible; the further records are lost, which is recorded.
func TestFileCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	obstacle := filepath.Join(dir, "audit")
	if err := os.WriteFile(obstacle, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(obstacle, "audit.jsonl")
	r := start(t, path)
	const n, lost = 1000, 7
	for i := range n + lost {
		r.Add(audit.Line{ID: fmt.Sprint(i)})
	}
	if p := r.problem(t); !strings.Contains(p, "not a directory") {
		t.Errorf("problem %q", p)
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	if p := r.problem(t); p != "" {
		t.Errorf("problem %q", p)
	}
	r.stop()
	all := read(t, path)
	if len(all) != n+1 || all[n-1].ID != fmt.Sprint(n-1) || all[n].Lost != lost {
		t.Errorf("%d records, the last %+v", len(all), all[len(all)-1])
	}
	if got := strings.Count(r.log.String(), "audit records cannot be written"); got != 1 {
		t.Errorf("logged %d times:\n%s", got, &r.log)
	}
}

// A full disk is a problem, and nothing waits for it.
func TestDiskIsFull(t *testing.T) {
	const full = "/dev/full"
	before, err := os.Stat(full)
	if err != nil {
		return // only Linux has it
	}
	r := start(t, full)
	r.Add(audit.Line{ID: "1"})
	if p := r.problem(t); !strings.Contains(p, "no space left") {
		t.Errorf("problem %q", p)
	}
	r.stop()
	if after, err := os.Stat(full); err != nil || after.Mode() != before.Mode() {
		t.Errorf("mode %v, want %v", after.Mode(), before.Mode())
	}
}
