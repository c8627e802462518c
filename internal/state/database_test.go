package state_test

import (
	"bytes"
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

func database(t *testing.T, d *state.Dir) *state.Database {
	t.Helper()
	db, err := d.Database()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func all(t *testing.T, b *state.Bucket) map[string]string {
	t.Helper()
	got := map[string]string{}
	if err := b.Each(func(k string, v []byte) error { got[k] = string(v); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestBucket(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := database(t, d)
	b := db.Bucket("journal")

	if v, err := b.Get("a"); v != nil || err != nil {
		t.Errorf("Get of nothing: %q, %v; want nil, nil", v, err)
	}
	if err := b.Delete("a"); err != nil {
		t.Errorf("Delete of nothing: %v", err)
	}
	if got := all(t, b); len(got) > 0 {
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
	// The bucket may be changed on the way.
	if err := b.Each(func(k string, _ []byte) error {
		if k == "a" {
			return b.Delete(k)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"b": "a very secret text", "c": ""}
	if diff := cmp.Diff(want, all(t, b)); diff != "" {
		t.Errorf("Each (-want +got):\n%s", diff)
	}
	if got := all(t, db.Bucket("memory")); len(got) > 0 {
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
		t.Error("the database holds the text")
	}
	if diff := cmp.Diff(want, all(t, database(t, d).Bucket("journal"))); diff != "" {
		t.Errorf("after opening again (-want +got):\n%s", diff)
	}
}

func TestDatabaseOfAnotherKey(t *testing.T) {
	dir := t.TempDir()
	first, _ := open(t, dir, "")
	if err := database(t, first).Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GRAPH2MQTT_KEY", keyOf(9))
	second, _ := open(t, dir, "")
	_, err := second.Database()
	wantError(t, err, "the database "+dir+"/graph2mqtt.db was sealed with another key; "+
		"give graph2mqtt that key again (GRAPH2MQTT_KEY, the credential graph2mqtt-key or key_file); "+
		"or move the file away, which loses requests not yet carried out and remembered answers")
	// The refusal holds nothing back.
	database(t, first)
}

func TestDatabaseCorrupt(t *testing.T) {
	fill := func(t *testing.T, d *state.Dir) map[string]string {
		want := map[string]string{}
		db := database(t, d)
		for i := range 300 {
			k, v := fmt.Sprintf("%03d", i), strings.Repeat("x", 200)
			want[k] = v
			if err := db.Bucket("journal").Put(k, []byte(v)); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return want
	}
	page := os.Getpagesize()
	for name, damage := range map[string]func([]byte) []byte{
		"text":             func([]byte) []byte { return []byte("not a database") },
		"one page":         func(b []byte) []byte { return b[:page] },
		"cut short":        func(b []byte) []byte { return b[:4*page] },
		"metas zeroed":     func(b []byte) []byte { clear(b[:2*page]); return b },
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
			db := database(t, d)
			if db.Lost() == nil || !errors.Is(db.Lost(), state.ErrCorrupt) {
				t.Fatalf("Lost: %v, want that it is corrupt", db.Lost())
			}
			aside, err := filepath.Glob(file + ".corrupt-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("set aside: %v, %v", aside, err)
			}
			if want := "it is kept as " + aside[0] + ", and a new one was begun: requests not yet carried out and remembered answers are lost"; !strings.HasSuffix(db.Lost().Error(), want) {
				t.Errorf("Lost:\n  %v\nlacks\n  %s", db.Lost(), want)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, damaged) {
				t.Errorf("what was set aside is not what was there: %v", err)
			}
			if !strings.Contains(log.String(), "level=ERROR") {
				t.Errorf("log: %s", log)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			want := fill(t, d)
			again := database(t, d)
			if again.Lost() != nil {
				t.Errorf("Lost of the new one: %v", again.Lost())
			}
			if !maps.Equal(want, all(t, again.Bucket("journal"))) {
				t.Error("the new one does not keep what it is given")
			}
		})
	}
}

func TestOneBrokenValueHidesNoOther(t *testing.T) {
	d, _ := open(t, t.TempDir(), "")
	db := database(t, d)
	b := db.Bucket("journal")
	for _, k := range []string{"first", "second", "third"} {
		if err := b.Put(k, []byte("the value of "+k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	// The values are as long as their texts and the seal; nothing else in the file changes when one byte of a value does.
	file := filepath.Join(d.Path(), "graph2mqtt.db")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(raw, []byte("secondg2m1"))
	if at < 0 {
		t.Fatal("no value found in the file")
	}
	for ; at >= 0; at = bytes.LastIndex(raw[:at], []byte("secondg2m1")) {
		raw[at+30] ^= 1
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	b = database(t, d).Bucket("journal")
	var got []string
	err = b.Each(func(k string, _ []byte) error { got = append(got, k); return nil })
	wantError(t, err, file+": journal/second is corrupt")
	if diff := cmp.Diff([]string{"first", "third"}, got); diff != "" {
		t.Errorf("Each (-want +got):\n%s", diff)
	}
	_, err = b.Get("second")
	wantError(t, err, file+": journal/second is corrupt")
}
