package config

import (
	"context"
	"os"
	"slices"
	"time"
)

const (
	// watchInterval is how often the files are compared. File system notifications do not cover every way of saving: editors
	// rename, containers swap links, and some mounts never notify.
	watchInterval = time.Second
	// settledAfter is the number of comparisons in which the files must be the same before they are loaded: they may still be
	// written.
	settledAfter = 2
)

// A Watcher loads the configuration again when one of its files changes.
type Watcher struct {
	load  func() (*Config, error)
	files []string
	known string // the digest of what was loaded
}

// NewWatcher loads the configuration for the first time.
func NewWatcher(load func() (*Config, error)) (*Watcher, *Config, error) {
	c, err := load()
	if err != nil {
		return nil, nil, err
	}
	return &Watcher{load: load, files: c.Files, known: digest(c.Files)}, c, nil
}

// Run loads the configuration again when one of the files has changed and is no longer being written, and when reload is
// signaled, and passes the result to changed. What was loaded while a file changed is dropped: it may be half of a file. Run
// returns when ctx is done.
func (w *Watcher) Run(ctx context.Context, reload <-chan os.Signal, changed func(*Config, error)) error {
	last, same, wanted := w.known, settledAfter, false
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reload:
			wanted = true
		case <-ticker.C:
			same++
		}
		seen := digest(w.files)
		if seen != last {
			last, same = seen, 0
		}
		if same < settledAfter || seen == w.known && !wanted {
			continue
		}
		c, err := w.load()
		if digest(w.files) != seen {
			same, wanted = 0, true
			continue
		}
		w.known, wanted = seen, false
		if err == nil && !slices.Equal(c.Files, w.files) {
			w.files = c.Files
			w.known = digest(c.Files)
			last = w.known
		}
		changed(c, err)
	}
}
