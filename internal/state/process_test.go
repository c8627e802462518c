package state_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// The test binary also serves as the other process: with these variables set, it performs one role on a directory.
const (
	childRole = "STATE_TEST_ROLE"
	childDir  = "STATE_TEST_DIR"
)

func TestMain(m *testing.M) {
	role := os.Getenv(childRole)
	if role == "" {
		for _, name := range []string{"GRAPH2MQTT_KEY", "CREDENTIALS_DIRECTORY"} {
			_ = os.Unsetenv(name) // tests set what they need
		}
		os.Exit(m.Run())
	}
	if err := child(role, os.Getenv(childDir)); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// roles are further roles, which other files add.
var roles = map[string]func(dir string) error{}

func addRole(name string, f func(dir string) error) bool {
	roles[name] = f
	return true
}

func child(role, dir string) error {
	if f := roles[role]; f != nil {
		return f(dir)
	}
	d, err := state.Open(dir, "", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	switch role {
	case "id":
		fmt.Println(d.ID())
		return d.Write("by-"+strconv.Itoa(os.Getpid()), []byte("text"))
	case "count": // increments a counter under the lock
		for range 20 {
			err := d.WithLock(context.Background(), "counter", func() error {
				b, err := d.Read("counter")
				if err != nil {
					return err
				}
				n, err := strconv.Atoi(string(b))
				if err != nil {
					return err
				}
				return d.Write("counter", strconv.AppendInt(nil, int64(n+1), 10))
			})
			if err != nil {
				return err
			}
		}
		return nil
	case "hold": // until standard input is closed
		db, err := d.OpenDatabase()
		if err != nil {
			return err
		}
		fmt.Println("holding")
		io.Copy(io.Discard, os.Stdin)
		return db.Close()
	case "put": // until killed, printing each number once Put has returned
		db, err := d.OpenDatabase()
		if err != nil {
			return err
		}
		for i := 0; ; i++ {
			if err := db.Bucket("journal").Put(strconv.Itoa(i), []byte("done")); err != nil {
				return err
			}
			fmt.Println(i)
		}
	case "commit": // from several goroutines until killed, printing each number once it is on disk
		db, err := d.OpenDatabase()
		if err != nil {
			return err
		}
		failed := make(chan error)
		var number atomic.Int64
		for range 20 {
			go func() {
				for {
					key := strconv.FormatInt(number.Add(1), 10)
					err := db.CommitSync(func(tx state.Tx) {
						tx.Put("journal", key, []byte("done"))
						tx.Put("memories", key, bytes.Repeat([]byte("x"), 1000))
						db.CommitLazily(func(tx state.Tx) { tx.Put("zones", key, nil) })
					})
					if err != nil {
						failed <- err
					}
					fmt.Println(key)
				}
			}()
		}
		return <-failed
	case "write": // likewise
		for i := 0; ; i++ {
			if err := d.Write("file", []byte(strconv.Itoa(i))); err != nil {
				return err
			}
			fmt.Println(i)
		}
	}
	return fmt.Errorf("unknown role %s", role)
}

// start starts a process with the given role and kills it at the end of the test.
func start(t *testing.T, role, dir string, environ ...string) (cmd *exec.Cmd, stdin io.Closer, lines *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childRole+"="+role, childDir+"="+dir), environ...)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, in, bufio.NewScanner(out)
}

func TestProcessesCreateOneKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var mu sync.Mutex
	ids := map[string]int{}
	var wg sync.WaitGroup
	for range 6 {
		_, _, lines := start(t, "id", dir)
		wg.Go(func() {
			for lines.Scan() {
				mu.Lock()
				ids[lines.Text()]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	d, _ := open(t, dir, "")
	if ids[d.ID()] != 6 {
		t.Errorf("ids seen: %v, want 6 times %s", ids, d.ID())
	}
	files, err := filepath.Glob(filepath.Join(dir, "by-*[0-9]"))
	if err != nil || len(files) != 6 {
		t.Fatalf("written: %v, %v", files, err)
	}
	for _, f := range files {
		if _, err := d.Read(filepath.Base(f)); err != nil {
			t.Error(err)
		}
	}
}

func TestWithLockAcrossProcesses(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	if err := d.Write("counter", []byte("0")); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		cmd, stdin, lines := start(t, "count", d.Path())
		stdin.Close()
		wg.Go(func() {
			for lines.Scan() {
				t.Error(lines.Text())
			}
			cmd.Wait()
		})
	}
	wg.Wait()
	if got, err := d.Read("counter"); err != nil || string(got) != "80" {
		t.Errorf("counted %s, %v; want 80", got, err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	cmd, stdin, lines := start(t, "hold", d.Path())
	if !lines.Scan() || lines.Text() != "holding" {
		t.Fatalf("the first says %q", lines.Text())
	}
	_, err := d.OpenDatabase()
	wantError(t, err, fmt.Sprintf("another graph2mqtt (process %d) is using %s: stop it first, or give this one a directory of its own with --state-dir", cmd.Process.Pid, d.Path()))

	// Files can be written while another process has the database open.
	if err := d.Write("file", nil); err != nil {
		t.Error(err)
	}

	// OpenDatabase waits for a process that is exiting.
	stdin.Close()
	openDatabase(t, d)
}

func TestPutSurvivesSIGKILL(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	for round := range 3 {
		cmd, _, lines := start(t, "put", d.Path())
		last := -1
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			last = n
			if n == 20+round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		db := openDatabase(t, d)
		if db.DataLoss() != nil {
			t.Fatal(db.DataLoss())
		}
		got := readAll(t, db.Bucket("journal"))
		for i := range last + 1 {
			if got[strconv.Itoa(i)] != "done" {
				t.Errorf("round %d: %d was put and is missing", round, i)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCommitSurvivesSIGKILL(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	for round := range 3 {
		cmd, _, lines := start(t, "commit", d.Path())
		var onDisk []string
		for lines.Scan() {
			if _, err := strconv.Atoi(lines.Text()); err != nil {
				t.Fatal(lines.Text())
			}
			onDisk = append(onDisk, lines.Text())
			if len(onDisk) == 100+round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		db := openDatabase(t, d)
		if db.DataLoss() != nil {
			t.Fatal(db.DataLoss())
		}
		journal, memories := readAll(t, db.Bucket("journal")), readAll(t, db.Bucket("memories"))
		for _, key := range onDisk {
			if journal[key] != "done" {
				t.Errorf("round %d: %s was committed and is missing", round, key)
			}
		}
		for key := range journal {
			if len(memories[key]) != 1000 {
				t.Errorf("round %d: half of the changes of %s are missing", round, key)
			}
		}
		if len(journal) != len(memories) {
			t.Errorf("round %d: %d and %d keys, want as many", round, len(journal), len(memories))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWriteSurvivesSIGKILL(t *testing.T) {
	d, log := open(t, t.TempDir(), "")
	for round := range 5 {
		cmd, _, lines := start(t, "write", d.Path())
		last := -1
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(lines.Text())
			}
			last = n
			if n == 10+round {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		b, err := d.Read("file")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := strconv.Atoi(string(b)); err != nil || n < last {
			t.Errorf("round %d: file contains %q, %d was written", round, b, last)
		}
	}
	if strings.Contains(log.String(), "corrupt") {
		t.Errorf("log: %s", log)
	}
}
