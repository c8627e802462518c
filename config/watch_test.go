package config_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// After every way of saving, what was saved is loaded, once.
func TestWatcherNoticesEveryWayOfSaving(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range []struct {
		name string
		link bool // the file is a link into a directory that is swapped, as Kubernetes does
		save func(file, text string, pause func(time.Duration))
	}{
		{"in place", false, func(file, text string, pause func(time.Duration)) { must(os.WriteFile(file, []byte(text), 0o600)) }},
		{"in place, in pieces", false, func(file, text string, pause func(time.Duration)) {
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0o600)
			must(err)
			for _, c := range text {
				_, err := f.WriteString(string(c))
				must(err)
				pause(900 * time.Millisecond)
			}
			must(f.Close())
		}},
		{"rename", false, func(file, text string, pause func(time.Duration)) {
			must(os.WriteFile(file+".new", []byte(text), 0o600))
			must(os.Rename(file+".new", file))
		}},
		{"rename away and create", false, func(file, text string, pause func(time.Duration)) {
			must(os.Rename(file, file+"~"))
			pause(time.Second)
			must(os.WriteFile(file, []byte(text), 0o600))
			must(os.Remove(file + "~"))
		}},
		{"link swapped", true, func(file, text string, pause func(time.Duration)) {
			dir := filepath.Dir(file)
			next, err := os.MkdirTemp(dir, "data")
			must(err)
			must(os.WriteFile(filepath.Join(next, "file"), []byte(text), 0o600))
			must(os.Symlink(next, filepath.Join(dir, "next")))
			must(os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "current")))
		}},
		{"with the time and size of before", false, func(file, text string, pause func(time.Duration)) {
			info, err := os.Stat(file)
			must(err)
			must(os.WriteFile(file, []byte(text), 0o600))
			must(os.Chtimes(file, info.ModTime(), info.ModTime()))
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				file := filepath.Join(dir, "graph2mqtt.yaml")
				if way.link {
					must(os.Mkdir(filepath.Join(dir, "data"), 0o700))
					must(os.WriteFile(filepath.Join(dir, "data", "file"), []byte("000"), 0o600))
					must(os.Symlink(filepath.Join(dir, "data"), filepath.Join(dir, "current")))
					must(os.Symlink(filepath.Join(dir, "current", "file"), file))
				} else {
					must(os.WriteFile(file, []byte("000"), 0o600))
				}
				var mu sync.Mutex
				var read []string
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var text []byte
				w, _, err := config.NewWatcher(func() (*config.Config, error) {
					var err error
					text, err = os.ReadFile(file)
					if err != nil {
						text = []byte("missing")
					}
					return &config.Config{Files: []string{file}}, nil
				})
				must(err)
				go w.Run(ctx, nil, func(*config.Config, error) {
					mu.Lock()
					defer mu.Unlock()
					read = append(read, string(text))
				})
				synctest.Wait()
				for i := range 100 {
					text := fmt.Sprintf("%03d", i+1)
					way.save(file, text, time.Sleep)
					time.Sleep(5 * time.Second)
					synctest.Wait()
					mu.Lock()
					if len(read) != i+1 || read[i] != text {
						t.Fatalf("after saving %s, read %v", text, read[max(len(read)-3, 0):])
					}
					mu.Unlock()
				}
			})
		})
	}
}

func TestWatcherLoadsAtOnceOnASignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan os.Signal)
		read := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w, _, err := config.NewWatcher(func() (*config.Config, error) { return &config.Config{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		go w.Run(ctx, now, func(*config.Config, error) { read++ })
		now <- os.Interrupt
		synctest.Wait()
		if read != 1 {
			t.Errorf("read %d times", read)
		}
	})
}

// A file that changes while it is loaded is loaded again, and the first result, which may be of half a file, is dropped.
func TestWatcherDropsIncompleteReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
		now := make(chan os.Signal)
		loaded := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w, _, err := config.NewWatcher(func() (*config.Config, error) {
			if loaded++; loaded == 2 {
				if err := os.WriteFile(file, []byte("new"), 0o600); err != nil {
					t.Error(err)
				}
			}
			return &config.Config{File: strconv.Itoa(loaded), Files: []string{file}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var changed []string
		go w.Run(ctx, now, func(c *config.Config, _ error) { changed = append(changed, c.File) })
		now <- os.Interrupt
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if loaded != 3 || !slices.Equal(changed, []string{"3"}) {
			t.Errorf("loaded %d times, passed on %v", loaded, changed)
		}
	})
}

// A signal does not load a file that is being written.
func TestWatcherWaitsUntilAFileIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
		now := make(chan os.Signal)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		load := func() (*config.Config, error) {
			b, err := os.ReadFile(file)
			return &config.Config{File: string(b), Files: []string{file}}, err
		}
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("old")
		w, _, err := config.NewWatcher(load)
		if err != nil {
			t.Fatal(err)
		}
		var changed []string
		go w.Run(ctx, now, func(c *config.Config, _ error) { changed = append(changed, c.File) })
		for _, half := range []string{"n", "ne"} {
			write(half)
			now <- os.Interrupt
			time.Sleep(time.Second)
		}
		write("new")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !slices.Equal(changed, []string{"new"}) {
			t.Errorf("passed on %v", changed)
		}
	})
}
