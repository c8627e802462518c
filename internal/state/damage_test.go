package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// fillDatabase fills a database so that its file has every kind of page, and returns the values by bucket and key.
func fillDatabase(t *testing.T, d *state.Dir) map[string]string {
	t.Helper()
	db := openDatabase(t, d)
	want := map[string]string{}
	set := func(tx state.Tx, bucket, key, value string) {
		tx.Put(bucket, key, []byte(value))
		want[bucket+"/"+key] = value
	}
	for round := range 3 { // leaves free pages with older content
		err := db.CommitSync(func(tx state.Tx) {
			for i := range 120 {
				set(tx, "journal", fmt.Sprintf("%03d", i), strings.Repeat("x", 100+round)) // several leaf pages and a branch page
			}
			set(tx, "memories", "large", strings.Repeat("y", 10_000+round)) // a page with overflow
			set(tx, "mqtt", "connected", fmt.Sprint(round))                 // an inline bucket
			set(tx, "mqtt", "session", fmt.Sprint(round))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := db.CommitSync(func(tx state.Tx) {
		for i := 40; i < 80; i++ {
			key := fmt.Sprintf("%03d", i)
			tx.Delete("journal", key)
			delete(want, "journal/"+key)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return want
}

// readValues returns the readable values by bucket and key.
func readValues(db *state.Database) (map[string]string, error) {
	got := map[string]string{}
	var errs []error
	for _, bucket := range []string{"journal", "memories", "mqtt"} {
		errs = append(errs, db.Bucket(bucket).Each(func(k string, v []byte) error {
			got[bucket+"/"+k] = string(v)
			return nil
		}))
	}
	return got, errors.Join(errs...)
}

// memoryDir returns a temporary directory, in memory where the system has a file system there: a disk takes most of the time of a test
// that opens many databases.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "graph2mqtt-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A flip is a damaged bit of a file.
type flip struct {
	at  int
	bit uint
}

// flips returns positions all over a file: in the headers of pages and elements, and in their content.
func flips(raw []byte, pageSize int) []flip {
	var fs []flip
	for page := 0; page*pageSize < len(raw); page++ {
		for i := range 16 { // header
			fs = append(fs, flip{page*pageSize + i, uint(page+i) % 8})
		}
		for i := range 5 { // the metadata or the first elements
			fs = append(fs, flip{page*pageSize + 16 + 7*i + page%7, uint(page+i) % 8})
		}
		for i := range 2 {
			fs = append(fs, flip{page*pageSize + 256 + 1801*i + 37*page%600, uint(page+i) % 8})
		}
	}
	return fs
}

func TestFlippedBits(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, file string){
		"without free list": func(*testing.T, string) {},
		"with free list": func(t *testing.T, file string) { // as written without NoFreelistSync
			b, err := bbolt.Open(file, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, log := open(t, memoryDir(t), "")
			want := fillDatabase(t, d)
			file := filepath.Join(d.Path(), "graph2mqtt.db")
			prepare(t, file)
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			intact, replaced := 0, 0
			positions := flips(raw, os.Getpagesize())
			for _, f := range positions {
				damaged := bytes.Clone(raw)
				damaged[f.at] ^= 1 << f.bit
				log.Reset()
				where := fmt.Sprintf("page %d, byte %d, bit %d", f.at/os.Getpagesize(), f.at%os.Getpagesize(), f.bit)
				if checkDamaged(t, d, log, damaged, want, where) {
					intact++
				} else {
					replaced++
				}
			}
			t.Logf("%d positions: %d times the data was intact, %d times it was moved aside", len(positions), intact, replaced)
			if len(positions) < 200 || intact == 0 || replaced == 0 {
				t.Errorf("%d positions, %d intact, %d replaced: want at least 200, and both", len(positions), intact, replaced)
			}
		})
	}
}

// A badDisk is a file in which the page at an offset cannot be read.
type badDisk struct {
	*bytes.Reader
	bad int64
}

func (b badDisk) ReadAt(p []byte, offset int64) (int, error) {
	if offset <= b.bad && b.bad < offset+int64(len(p)) {
		return 0, &os.PathError{Op: "read", Path: "file", Err: syscall.EIO}
	}
	return b.Reader.ReadAt(p, offset)
}

// An unreadable sector of the disk is damage, too: it must not keep the program from starting.
func TestBadSector(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	want := fillDatabase(t, d)
	raw, err := os.ReadFile(filepath.Join(d.Path(), "graph2mqtt.db"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for offset := 0; offset < len(raw); offset += os.Getpagesize() {
		keys, err := state.VerifyFile(badDisk{bytes.NewReader(raw), int64(offset)}, int64(len(raw)))
		switch {
		case errors.Is(err, state.ErrCorrupt):
			damaged++
		case err != nil || keys != len(want)+2: // and two in the control bucket
			t.Errorf("offset %d: %d keys, %v", offset, keys, err)
		}
	}
	if damaged == 0 {
		t.Error("no page was needed")
	}
}

// checkDamaged opens a damaged file, which must either have its values or be moved aside, and must be writable then.
func checkDamaged(t *testing.T, d *state.Dir, log *bytes.Buffer, damaged []byte, want map[string]string, where string) (intact bool) {
	t.Helper()
	file := filepath.Join(d.Path(), "graph2mqtt.db")
	if err := os.WriteFile(file, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := d.OpenDatabase()
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return false
	}
	defer db.Close()
	got, unreadable := readValues(db)
	aside, err := filepath.Glob(file + ".corrupt-*")
	if err != nil {
		t.Fatal(err)
	}
	switch loss := db.DataLoss(); {
	case loss == nil && unreadable == nil:
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: values (-want +got):\n%s", where, diff)
		}
	case loss == nil: // one value is damaged
		if !errors.Is(unreadable, state.ErrCorrupt) || len(got) != len(want)-1 {
			t.Errorf("%s: %d of %d values, %v", where, len(got), len(want), unreadable)
		}
		for k, v := range got {
			if want[k] != v {
				t.Errorf("%s: %s is %q", where, k, v)
			}
		}
	default:
		if !errors.Is(loss, state.ErrCorrupt) || len(got) > 0 || unreadable != nil {
			t.Errorf("%s: %v; %d values, %v", where, loss, len(got), unreadable)
		}
		if len(aside) != 1 || !strings.Contains(log.String(), "the database was corrupt and was replaced by an empty one") || !strings.Contains(log.String(), aside[0]) {
			t.Errorf("%s: moved aside: %v, log: %s", where, aside, log)
		} else if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, damaged) {
			t.Errorf("%s: the file moved aside differs from the damaged one: %v", where, err)
		}
	}
	for _, a := range aside {
		os.Remove(a)
	}
	// Reuse of wrong pages shows in what is written next.
	err = db.CommitSync(func(tx state.Tx) {
		for i := range 100 {
			tx.Put("journal", fmt.Sprintf("%03d", i), []byte("new"))
			tx.Put("memories", fmt.Sprintf("%03d", i), []byte("new"))
		}
	})
	if err != nil {
		t.Errorf("%s: write: %v", where, err)
	}
	again, _ := readValues(db)
	for i := range 100 {
		if key := fmt.Sprintf("%03d", i); again["journal/"+key] != "new" || again["memories/"+key] != "new" {
			t.Errorf("%s: %s is not what was written", where, key)
			break
		}
	}
	for k, v := range got {
		if again[k] != v && again[k] != "new" {
			t.Errorf("%s: %s was lost by the write", where, k)
		}
	}
	return db.DataLoss() == nil
}
