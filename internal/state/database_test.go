package state_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

func openDatabase(t testing.TB, d *state.Dir) *state.Database {
	t.Helper()
	db, err := d.OpenDatabase()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func readAll(t *testing.T, b *state.Bucket) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err := b.Each(func(k string, v []byte) error { got[k] = string(v); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBucket(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	b := db.Bucket("journal")

	if v, err := b.Get("a"); v != nil || err != nil {
		t.Errorf("Get of nothing: %q, %v; want nil, nil", v, err)
	}
	if err := b.Delete("a"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	if got := readAll(t, b); len(got) > 0 {
		t.Errorf("Each of nothing: %v", got)
	}
	for k, v := range map[string]string{"a": "1", "b": "a very secret text", "c": ""} {
		if err := b.Put(k, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := b.Get("c"); v == nil || len(v) > 0 || err != nil {
		t.Errorf("Get of an empty value: %v, %v; want an empty slice", v, err)
	}
	// The bucket may be changed during the iteration.
	if err := b.Each(func(k string, _ []byte) error {
		if k == "a" {
			return b.Delete(k)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"b": "a very secret text", "c": ""}
	if diff := cmp.Diff(want, readAll(t, b)); diff != "" {
		t.Errorf("Each (-want +got):\n%s", diff)
	}
	if got := readAll(t, db.Bucket("memory")); len(got) > 0 {
		t.Errorf("another bucket has %v", got)
	}
	wantError(t, b.Put("", nil), "write journal/ in the database "+d.Path()+"/graph2mqtt.db: key required")
	stop := errors.New("stop")
	if err := b.Each(func(string, []byte) error { return stop }); err == nil || err.Error() != "stop" {
		t.Errorf("Each: %v, want stop", err)
	}

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, b.Put("a", nil), "write journal/a in the database "+d.Path()+"/graph2mqtt.db: database not open")
	raw, err := os.ReadFile(filepath.Join(d.Path(), "graph2mqtt.db"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("a very secret text")) {
		t.Error("the database contains the plain text")
	}
	if diff := cmp.Diff(want, readAll(t, openDatabase(t, d).Bucket("journal"))); diff != "" {
		t.Errorf("after opening again (-want +got):\n%s", diff)
	}
}

func TestDatabaseWithOtherKey(t *testing.T) {
	dir := t.TempDir()
	first, _ := open(t, dir, "")
	if err := openDatabase(t, first).Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GRAPH2MQTT_KEY", keyOf(9))
	second, _ := open(t, dir, "")
	_, err := second.OpenDatabase()
	wantError(t, err, "the database "+dir+"/graph2mqtt.db was sealed with another key; "+
		"give graph2mqtt that key again (GRAPH2MQTT_KEY, the credential graph2mqtt-key or key_file); "+
		"or move the file away, which loses pending requests and stored responses")
	// The failed attempt holds no lock.
	openDatabase(t, first)
}

func TestCorruptDatabaseIsReplaced(t *testing.T) {
	fill := func(t *testing.T, d *state.Dir) map[string]string {
		want := map[string]string{}
		db := openDatabase(t, d)
		err := db.CommitSync(func(tx state.Tx) {
			for i := range 300 {
				k, v := fmt.Sprintf("%03d", i), strings.Repeat("x", 200)
				want[k] = v
				tx.Put("journal", k, []byte(v))
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
	page := os.Getpagesize()
	for name, damage := range map[string]func([]byte) []byte{
		"text":         func([]byte) []byte { return []byte("not a database") },
		"empty":        func([]byte) []byte { return nil }, // after a crash of the file system
		"one page":     func(b []byte) []byte { return b[:page] },
		"cut short":    func(b []byte) []byte { return b[:4*page] },
		"metas zeroed": func(b []byte) []byte { clear(b[:2*page]); return b },
		"no buckets": func(b []byte) []byte { // the number of elements of the root page
			meta := b[16:]
			if other := b[page+16:]; binary.NativeEndian.Uint64(other[48:]) > binary.NativeEndian.Uint64(meta[48:]) {
				meta = other
			}
			root := int(binary.NativeEndian.Uint64(meta[16:])) * page
			b[root+10], b[root+11] = 0, 0
			return b
		},
		"all pages zeroed": func(b []byte) []byte { clear(b[2*page:]); return b },
		"all pages noise": func(b []byte) []byte {
			for i := range b[2*page:] {
				b[2*page+i] = 0xa5
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, log := open(t, t.TempDir(), "")
			fill(t, d)
			file := filepath.Join(d.Path(), "graph2mqtt.db")
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			damaged := damage(raw)
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			db := openDatabase(t, d)
			if db.DataLoss() == nil || !errors.Is(db.DataLoss(), state.ErrCorrupt) {
				t.Fatalf("DataLoss: %v, want ErrCorrupt", db.DataLoss())
			}
			aside, err := filepath.Glob(file + ".corrupt-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("moved aside: %v, %v", aside, err)
			}
			if want := "it was moved to " + aside[0] + " and replaced by an empty one: pending requests and stored responses are lost"; !strings.HasSuffix(db.DataLoss().Error(), want) {
				t.Errorf("DataLoss:\n  %v\nlacks\n  %s", db.DataLoss(), want)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, damaged) {
				t.Errorf("the file moved aside differs from the damaged one: %v", err)
			}
			if !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("log: %s", log)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			want := fill(t, d)
			again := openDatabase(t, d)
			if again.DataLoss() != nil {
				t.Errorf("DataLoss of the new database: %v", again.DataLoss())
			}
			if !maps.Equal(want, readAll(t, again.Bucket("journal"))) {
				t.Error("the new database lost data")
			}
		})
	}
}

func TestCorruptValueDoesNotHideOthers(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := openDatabase(t, d)
	b := db.Bucket("journal")
	for _, k := range []string{"first", "second", "third"} {
		if err := b.Put(k, []byte("the value of "+k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// Changing one byte of a value leaves the structure of the file intact.
	file := filepath.Join(d.Path(), "graph2mqtt.db")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(raw, []byte("secondg2m1"))
	if at < 0 {
		t.Fatal("value not found in the file")
	}
	for ; at >= 0; at = bytes.LastIndex(raw[:at], []byte("secondg2m1")) {
		raw[at+30] ^= 1
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	b = openDatabase(t, d).Bucket("journal")
	var got []string
	err = b.Each(func(k string, _ []byte) error { got = append(got, k); return nil })
	wantError(t, err, file+": journal/second is corrupt")
	if diff := cmp.Diff([]string{"first", "third"}, got); diff != "" {
		t.Errorf("Each (-want +got):\n%s", diff)
	}
	_, err = b.Get("second")
	wantError(t, err, file+": journal/second is corrupt")
}
