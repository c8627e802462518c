package services

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// rejectionInterval is the least time between two log lines about the same rejection.
	rejectionInterval = time.Minute
	// maxLoggedRejections bounds the rejections that are told apart, because names can be invented.
	maxLoggedRejections = 100
)

// A rejectionLog logs the first of equal rejections at once and the number of the further ones once in rejectionInterval.
type rejectionLog struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	counts map[rejected]int
	timer  *time.Timer // nil: counts is empty
}

// A rejected request is equal to another if nothing of this differs.
type rejected struct {
	account, sensor, operation string
	code                       Code
}

func (r rejected) attrs() []any {
	return []any{"account", r.account, "sensor", r.sensor, "operation", r.operation, "code", r.code}
}

// add logs or counts one rejection.
func (l *rejectionLog) add(r rejected, message string) {
	if l.isFirst(r) {
		l.log.Warn("request rejected", append(r.attrs(), "error", message)...)
	}
}

// isFirst counts a rejection and reports whether it is the first of its kind.
func (l *rejectionLog) isFirst(r rejected) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.counts[r]; known {
		l.counts[r]++
		return false
	}
	if len(l.counts) >= maxLoggedRejections {
		l.counts[rejected{}]++
		return false
	}
	if l.counts == nil {
		l.counts = map[rejected]int{}
	}
	l.counts[r] = 0
	if l.timer == nil {
		l.timer = time.AfterFunc(rejectionInterval, l.summarize)
	}
	return true
}

// summarize logs the numbers of further rejections, and forgets those that ended.
func (l *rejectionLog) summarize() {
	l.mu.Lock()
	further := map[rejected]int{}
	for r, n := range l.counts {
		if n == 0 {
			delete(l.counts, r)
			continue
		}
		l.counts[r], further[r] = 0, n
	}
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if len(l.counts) > 0 {
		l.timer = time.AfterFunc(rejectionInterval, l.summarize)
	}
	l.mu.Unlock()
	for r, n := range further {
		attrs := r.attrs()
		if r == (rejected{}) {
			attrs = nil
		}
		l.log.Warn("further requests rejected", append(attrs, "count", n)...)
	}
}

// stop logs the last numbers and forgets everything.
func (l *rejectionLog) stop() {
	l.summarize()
	l.summarize()
}
