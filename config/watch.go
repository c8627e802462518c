package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

const (
	// watchInterval is the interval at which the files are compared. File system notifications do not cover every way of saving: editors
	// rename, containers swap links, and some mounts never notify.
	watchInterval = 2 * time.Second
	// settleInterval is the interval at which they are compared after a change.
	settleInterval = time.Second
	// readInterval is the interval at which the files are read although their metadata did not change.
	readInterval = time.Minute
	// coarsestTime is the coarsest resolution of modification times: a second change within it may not change the time.
	coarsestTime = 3 * time.Second
	// settledAfter is the number of comparisons in which the files must be the same before they are loaded: they may still be
	// written.
	settledAfter = 2
)

// A Watcher loads the configuration again when one of its files changes.
type Watcher struct {
	load  func() (*Config, error)
	files []string
	dir   string // of files of accounts, which need not exist; "": none
	known string // the digest of what was loaded
}

// NewWatcher loads the configuration for the first time.
func NewWatcher(load func() (*Config, error)) (*Watcher, *Config, error) {
	c, err := load()
	if err != nil {
		return nil, nil, err
	}
	w := &Watcher{load: load, files: c.Files, dir: c.WatchedDir}
	w.known = digest(w.paths())
	return w, c, nil
}

// paths returns the files to look at, which include those in the directory of accounts.
func (w *Watcher) paths() []string {
	if w.dir == "" {
		return w.files
	}
	names, err := accountFiles(w.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		names = []string{w.dir} // its digest is that of an error
	}
	return slices.Concat(w.files, names)
}

// Run loads the configuration again when one of the files has changed and is no longer being written, and when reload is
// signaled, and passes the result to changed. A configuration that was loaded while a file changed is dropped, because the file
// may be incomplete. Run returns when ctx is done.
func (w *Watcher) Run(ctx context.Context, reload <-chan os.Signal, changed func(*Config, error)) error {
	last, same, wanted := w.known, settledAfter, false
	timer := time.NewTimer(untilLook(watchInterval))
	defer timer.Stop()
	var looked look
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reload:
			wanted = true
		case <-timer.C:
			same++
		}
		seen := last
		if now := lookAt(w.paths()); wanted || same < settledAfter || !now.certainlyLike(looked) {
			looked, seen = now, digest(now.names)
		}
		if seen != last {
			last, same = seen, 0
		}
		if same < settledAfter {
			timer.Reset(untilLook(settleInterval))
		} else {
			timer.Reset(untilLook(watchInterval))
		}
		if same < settledAfter || seen == w.known && !wanted {
			continue
		}
		c, err := w.load()
		if digest(w.paths()) != seen {
			same, wanted = 0, true
			timer.Reset(untilLook(settleInterval))
			continue
		}
		w.known, wanted = seen, false
		if err == nil && (!slices.Equal(c.Files, w.files) || c.WatchedDir != w.dir) {
			w.files, w.dir = c.Files, c.WatchedDir
			w.known = digest(w.paths())
			last = w.known
		}
		changed(c, err)
	}
}

// untilLook returns the time until the next multiple of interval. All watchers look at the same moments, because waking up costs more
// than looking.
func untilLook(interval time.Duration) time.Duration {
	return time.Until(time.Now().Truncate(interval).Add(interval))
}

// A look is the metadata of files at a moment.
type look struct {
	at    time.Time
	names []string
	files []fs.FileInfo // nil for a file that cannot be looked at
}

func lookAt(files []string) look {
	l := look{at: time.Now(), names: files}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			info = nil
		}
		l.files = append(l.files, info)
	}
	return l
}

// certainlyLike reports whether no file has changed since an earlier look after which the files were read.
func (l look) certainlyLike(before look) bool {
	if l.at.Sub(before.at) >= readInterval || !slices.Equal(l.names, before.names) {
		return false
	}
	return slices.EqualFunc(l.files, before.files, func(now, then fs.FileInfo) bool {
		return now != nil && then != nil && os.SameFile(now, then) && now.Size() == then.Size() &&
			now.ModTime().Equal(then.ModTime()) && before.at.Sub(now.ModTime()) >= coarsestTime
	})
}
