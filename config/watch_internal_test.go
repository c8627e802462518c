package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files whose metadata cannot tell whether they changed are read.
func TestWhetherFilesCertainlyDidNotChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write := func(age time.Duration) {
		t.Helper()
		if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	after := func(before look, d time.Duration) look {
		l := lookAt([]string{file})
		l.at = before.at.Add(d)
		return l
	}
	write(time.Minute)
	before := lookAt([]string{file})
	if !after(before, time.Second).certainlyLike(before) {
		t.Error("an old file is read again")
	}
	if after(before, time.Minute).certainlyLike(before) {
		t.Error("a file is not read once a minute")
	}
	if before.certainlyLike(look{}) {
		t.Error("a file is not read at first")
	}
	write(time.Second)
	if after(before, time.Second).certainlyLike(before) {
		t.Error("a file with another time is not read")
	}
	if fresh := lookAt([]string{file}); after(fresh, time.Second).certainlyLike(fresh) {
		t.Error("a file that was just written is not read again: a second change may leave it with the same time")
	}
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	if after(before, time.Second).certainlyLike(before) {
		t.Error("a removed file is not noticed")
	}
	write(time.Minute)
	if err := os.Chtimes(file, before.files[0].ModTime(), before.files[0].ModTime()); err != nil {
		t.Fatal(err)
	}
	if after(before, time.Second).certainlyLike(before) {
		t.Error("another file with the same size and time is not read")
	}
}
