package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// blockWriter blocks the writer of db in a first transaction until release is called.
func blockWriter(t *testing.T, db *state.Database) (release func()) {
	t.Helper()
	entered, released := make(chan struct{}), make(chan struct{})
	var once sync.Once
	db.SetTestHook(func() error {
		once.Do(func() {
			close(entered)
			<-released
		})
		return nil
	})
	db.Commit(func(tx state.Tx) { tx.Put("block", "key", nil) }, func(error) {})
	<-entered
	return sync.OnceFunc(func() { close(released) })
}

func put(key, value string) func(state.Tx) {
	return func(tx state.Tx) { tx.Put("journal", key, []byte(value)) }
}

func TestCommitsOfManyGoroutinesShareTransactions(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	release := blockWriter(t, db)
	defer release()
	before := db.Stats()
	const goroutines, each = 50, 20
	var commits, done sync.WaitGroup
	done.Add(goroutines * each)
	order := make([][]int, goroutines)
	for g := range goroutines {
		commits.Go(func() {
			for i := range each {
				db.Commit(put(fmt.Sprintf("%d-%d", g, i), "value"), func(err error) {
					defer done.Done()
					if err != nil {
						t.Error(err)
					}
					order[g] = append(order[g], i) // one goroutine calls all of them
				})
			}
		})
	}
	commits.Wait()
	release()
	done.Wait()
	// The blocked transaction, and one for all others.
	if got := db.Stats().Commits - before.Commits; got != 2 {
		t.Errorf("%d calls were written in %d transactions, want 2", goroutines*each, got)
	}
	for g := range order {
		for i := range each {
			if len(order[g]) != each || order[g][i] != i {
				t.Fatalf("goroutine %d: done in order %v", g, order[g])
			}
		}
	}
	if got := readAll(t, db.Bucket("journal")); len(got) != goroutines*each {
		t.Errorf("%d keys, want %d", len(got), goroutines*each)
	}
}

func TestDoneIsCalledInOrder(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	release := blockWriter(t, db)
	defer release()
	var got, failed []int
	done := make(chan struct{})
	for i := range 100 {
		write := put(strconv.Itoa(i%7), strconv.Itoa(i))
		switch {
		case i%10 == 3: // nothing to write
			write = func(state.Tx) {}
		case i%10 == 5: // invalid
			write = func(tx state.Tx) { tx.Put("journal", "invalid", nil); tx.Put("journal", "", nil) }
		}
		db.Commit(write, func(err error) {
			got = append(got, i)
			if err != nil {
				failed = append(failed, i)
			}
			db.Stats() // no lock is held
			if i == 99 {
				db.Commit(put("nested", "value"), func(error) { close(done) })
			}
		})
	}
	release()
	<-done
	var want, wantFailed []int
	for i := range 100 {
		want = append(want, i)
		if i%10 == 5 {
			wantFailed = append(wantFailed, i)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantFailed, failed); diff != "" {
		t.Errorf("failed calls (-want +got):\n%s", diff)
	}
	// The last change of each key wins, and a call with an invalid change writes nothing.
	wantValues := map[string]string{"0": "98", "1": "99", "2": "86", "3": "94", "4": "88", "5": "96", "6": "97", "nested": "value"}
	if diff := cmp.Diff(wantValues, readAll(t, db.Bucket("journal"))); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	for name, test := range map[string]struct {
		calls, size int
		want        uint64
	}{
		"calls":      {calls: 2*state.MaxBatchCalls + 1, size: 1, want: 3},
		"bytes":      {calls: 4, size: state.MaxBatchBytes * 2 / 5, want: 2},
		"large ones": {calls: 3, size: state.MaxBatchBytes + 1, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			db := openDatabase(t, d)
			defer db.Close()
			release := blockWriter(t, db)
			defer release()
			before := db.Stats()
			var done sync.WaitGroup
			done.Add(test.calls)
			for i := range test.calls {
				db.Commit(func(tx state.Tx) { tx.Put(name, strconv.Itoa(i), make([]byte, test.size)) }, func(err error) {
					defer done.Done()
					if err != nil {
						t.Error(err)
					}
				})
			}
			release()
			done.Wait()
			if got := db.Stats().Commits - before.Commits - 1; got != test.want {
				t.Errorf("%d transactions, want %d", got, test.want)
			}
		})
	}
}

func TestTxGet(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	if err := db.Bucket("journal").Put("counter", []byte("0")); err != nil {
		t.Fatal(err)
	}
	increment := func(tx state.Tx) {
		v, err := tx.Get("journal", "counter")
		if err != nil {
			t.Error(err)
		}
		n, err := strconv.Atoi(string(v))
		if err != nil {
			t.Error(err)
		}
		tx.Put("journal", "counter", []byte(strconv.Itoa(n+1)))
	}
	release := blockWriter(t, db)
	defer release()
	for range 10 {
		db.Commit(func(tx state.Tx) { increment(tx); increment(tx) }, func(error) {})
		db.CommitLazily(increment)
	}
	// A snapshot has only what is on disk.
	if v, err := db.Bucket("journal").Get("counter"); err != nil || string(v) != "0" {
		t.Errorf("Get before the commit: %s, %v; want 0", v, err)
	}
	release()
	if err := db.CommitSync(increment); err != nil {
		t.Fatal(err)
	}
	if v, err := db.Bucket("journal").Get("counter"); err != nil || string(v) != "31" {
		t.Errorf("counter: %s, %v; want 31", v, err)
	}
	err := db.CommitSync(func(tx state.Tx) {
		tx.Delete("journal", "counter")
		if v, err := tx.Get("journal", "counter"); v != nil || err != nil {
			t.Errorf("Get of a deleted key: %q, %v", v, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := db.Bucket("journal").Get("counter"); v != nil || err != nil {
		t.Errorf("Get of a deleted key: %q, %v", v, err)
	}
}

func TestInvalidChanges(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	file := filepath.Join(d.Path(), "graph2mqtt.db")
	for want, write := range map[string]func(state.Tx){
		"write /a in the database " + file + ": bucket name required":                                func(tx state.Tx) { tx.Put("", "a", nil) },
		"write journal/ in the database " + file + ": key required":                                  func(tx state.Tx) { tx.Put("journal", "", nil) },
		"write key/mark in the database " + file + ": the bucket is reserved":                        func(tx state.Tx) { tx.Put("key", "mark", nil) },
		"write key/digest in the database " + file + ": the bucket is reserved":                      func(tx state.Tx) { tx.Delete("key", "digest") },
		"write journal/" + strings.Repeat("k", 64) + "… in the database " + file + ": key too large": func(tx state.Tx) { tx.Put("journal", strings.Repeat("k", 40000), nil) },
	} {
		wantError(t, db.CommitSync(write), want)
	}
}

func TestPanicOfWriteIsItsCallers(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	func() {
		defer func() {
			if p := recover(); p != "broken" {
				t.Errorf("recovered %v", p)
			}
		}()
		db.Commit(func(tx state.Tx) { put("a", "1")(tx); panic("broken") }, func(error) { t.Error("done was called") })
	}()
	if err := db.CommitSync(put("b", "2")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"b": "2"}, readAll(t, db.Bucket("journal"))); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestCommitWithoutDone(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	db.Commit(put("a", "1"), nil)
	if err := db.CommitSync(put("b", "2")); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	db.Commit(put("c", "3"), nil)
}

func TestNoCommitWithoutChange(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	before := db.Stats()
	for _, write := range []func(state.Tx){
		func(state.Tx) {},
		func(tx state.Tx) { tx.Delete("journal", "missing") },
		func(tx state.Tx) {
			if _, err := tx.Get("journal", "missing"); err != nil {
				t.Error(err)
			}
		},
	} {
		if err := db.CommitSync(write); err != nil {
			t.Error(err)
		}
	}
	if after := db.Stats(); after != before {
		t.Errorf("stats changed from %+v to %+v", before, after)
	}
}

// A small commit must stay far below the 32 KiB that leave room for two a minute in the budget of an idle process.
func TestBytesOfSmallCommit(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	for i := range 500 {
		db.Commit(put(fmt.Sprintf("entry %04d", i), strings.Repeat("x", 500)), func(error) {})
	}
	if err := db.Bucket("mqtt").Put("connected", []byte("0")); err != nil {
		t.Fatal(err)
	}
	before := db.Stats()
	const commits = 50
	for i := range commits {
		if err := db.Bucket("mqtt").Put("connected", []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	after := db.Stats()
	if got := after.Commits - before.Commits; got != commits {
		t.Errorf("%d commits, want %d", got, commits)
	}
	if got, want := (after.Bytes-before.Bytes)/commits, uint64(3*os.Getpagesize()); got > want {
		t.Errorf("%d bytes per commit, want at most %d", got, want)
	}
}

func TestFailedTransaction(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	var fail error
	db.SetTestHook(func() error { return fail })
	for i := range 3 {
		key := strconv.Itoa(i)
		fail = &os.PathError{Op: "write", Path: "path", Err: syscall.ENOSPC}
		err := db.Bucket("journal").Put(key, []byte("failed"))
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("error %v, want ENOSPC", err)
		}
		wantError(t, err, "write the database "+d.Path()+"/graph2mqtt.db: no space left on device")
		if v, err := db.Bucket("journal").Get(key); v != nil || err != nil {
			t.Errorf("Get after the failure: %q, %v", v, err)
		}
		fail = nil
		if err := db.Bucket("journal").Put(key, []byte("written")); err != nil {
			t.Errorf("after the failure: %v", err)
		}
	}
	fail = errors.New("failed")
	db.CommitLazily(put("lazy", "1"))
	if err := db.CommitSync(put("a", "1")); err == nil {
		t.Error("no error")
	}
	fail = nil
	// The lazy change is still waiting; a later change of its key replaces it.
	db.CommitLazily(put("lazy 2", "1"))
	if err := db.CommitSync(put("lazy 2", "2")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"0": "written", "1": "written", "2": "written", "lazy": "1", "lazy 2": "2"}
	if diff := cmp.Diff(want, readAll(t, db.Bucket("journal"))); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestCommitLazily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := open(t, t.TempDir(), "")
		db := openDatabase(t, d)
		defer db.Close()
		before := db.Stats().Commits
		commits := func(want uint64) {
			t.Helper()
			synctest.Wait()
			if got := db.Stats().Commits - before; got != want {
				t.Errorf("%d commits, want %d", got, want)
			}
		}
		for i := range 59 {
			db.CommitLazily(func(tx state.Tx) {
				tx.Put("journal", "same", []byte(strconv.Itoa(i)))
				tx.Put("journal", strconv.Itoa(i), nil)
			})
			time.Sleep(time.Minute)
		}
		commits(0)
		time.Sleep(time.Minute)
		commits(1) // an hour after the first
		if got := readAll(t, db.Bucket("journal")); len(got) != 60 || got["same"] != "58" {
			t.Errorf("values: %v", got)
		}

		db.CommitLazily(put("with", "the next"))
		commits(1)
		if err := db.CommitSync(put("next", "commit")); err != nil {
			t.Fatal(err)
		}
		commits(2)
		if got := readAll(t, db.Bucket("journal")); got["with"] != "the next" {
			t.Errorf("values: %v", got)
		}
		time.Sleep(3 * time.Hour)
		commits(2)

		// Much is not kept in memory until then.
		for i := range 5 {
			db.CommitLazily(put(strconv.Itoa(i), string(make([]byte, state.MaxBatchBytes/4))))
		}
		commits(3)
	})
}

func TestCloseWritesPendingChanges(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	release := blockWriter(t, db)
	defer release()
	var got []error
	for i := range 10 {
		db.Commit(put(strconv.Itoa(i), "value"), func(err error) { got = append(got, err) })
	}
	db.CommitLazily(put("lazy", "value"))
	closed := make(chan error)
	go func() { closed <- db.Close() }()
	release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if len(got) != 10 || errors.Join(got...) != nil {
		t.Errorf("done was called with %v", got)
	}
	// A caller may hold the lock that its done function takes.
	var mu sync.Mutex
	result := make(chan error)
	mu.Lock()
	db.Commit(put("late", "value"), func(err error) {
		mu.Lock()
		result <- err
	})
	mu.Unlock()
	if err := <-result; !errors.Is(err, state.ErrClosed) {
		t.Errorf("Commit after Close: %v, want ErrClosed", err)
	}
	db.CommitLazily(put("late", "value"))
	if err := db.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	values := readAll(t, openDatabase(t, d).Bucket("journal"))
	if len(values) != 11 || values["lazy"] != "value" {
		t.Errorf("values: %v", values)
	}
}

func TestCloseWithFailingDisk(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	failure := errors.New("failed")
	db.SetTestHook(func() error { return failure })
	db.CommitLazily(put("lazy", "value"))
	var got error
	db.Commit(put("a", "value"), func(err error) { got = err })
	if err := db.Close(); !errors.Is(err, failure) {
		t.Errorf("Close: %v, want that a lazy change was lost", err)
	}
	if !errors.Is(got, failure) {
		t.Errorf("Commit: %v", got)
	}
	openDatabase(t, d)
}

// With a disk that takes 5 ms for a commit, many callers must not be slower than the disk makes each of them.
func TestConcurrentCommitsPerSecond(t *testing.T) {
	measure := func(callers int) (perSecond float64) {
		synctest.Test(t, func(t *testing.T) {
			d, _ := open(t, t.TempDir(), "")
			db := openDatabase(t, d)
			defer db.Close()
			db.SetTestHook(func() error { time.Sleep(5 * time.Millisecond); return nil })
			const each = 20
			start := time.Now()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for i := range each {
						if err := db.CommitSync(put(fmt.Sprintf("%d-%d", c, i), "value")); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			perSecond = float64(callers*each) / time.Since(start).Seconds()
		})
		return perSecond
	}
	one, fifty := measure(1), measure(50)
	t.Logf("%.0f commits per second of one caller, %.0f of 50", one, fifty)
	if fifty < 10*one {
		t.Errorf("%.0f commits per second of 50 callers, want at least 10 times the %.0f of one", fifty, one)
	}
}

func TestDatabaseIsEncrypted(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	secret := "a very secret text"
	db.CommitLazily(put("lazy", secret))
	if err := db.CommitSync(put("a", secret)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(d.Path(), "graph2mqtt.db"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte(secret)) {
		t.Error("the database contains the plain text")
	}
}

// Changes that may wait share a transaction with what comes within their delay, and with the first change that may not wait.
func TestCommitWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := open(t, t.TempDir(), "")
		db := openDatabase(t, d)
		start := db.Stats().Commits
		var mu sync.Mutex
		var order []string
		commit := func(name string, delay time.Duration) {
			db.CommitWithin(delay, put(name, "value"), func(err error) {
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			})
		}
		expect := func(commits uint64, names ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := db.Stats().Commits - start; got != commits || !cmp.Equal(order, names) {
				t.Errorf("%d commits, done: %v; want %d, %v", got, order, commits, names)
			}
		}
		commit("a", time.Minute)
		time.Sleep(50 * time.Second)
		commit("b", time.Minute)
		expect(0)
		time.Sleep(10 * time.Second)
		expect(1, "a", "b")
		commit("c", time.Minute)
		commit("d", time.Second)
		time.Sleep(time.Second)
		expect(2, "a", "b", "c", "d")
		commit("e", time.Minute)
		commit("f", 0)
		expect(3, "a", "b", "c", "d", "e", "f")
		for range state.MaxBatchCalls {
			db.CommitWithin(time.Hour, put("g", "value"), nil)
		}
		expect(4, "a", "b", "c", "d", "e", "f")
		commit("h", time.Hour)
		expect(4, "a", "b", "c", "d", "e", "f")
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		if !cmp.Equal(order, []string{"a", "b", "c", "d", "e", "f", "h"}) {
			t.Errorf("done: %v", order)
		}
	})
}
