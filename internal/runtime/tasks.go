package runtime

import (
	"context"
	"sync"
)

// A taskSet runs tasks that can be stopped one by one. Its methods are for one goroutine.
type taskSet struct {
	group   sync.WaitGroup
	running map[string]task
}

type task struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// start runs a task until ctx is done or stop is called with its key.
func (s *taskSet) start(ctx context.Context, key string, run func(context.Context) error) {
	if s.running == nil {
		s.running = map[string]task{}
	}
	ctx, cancel := context.WithCancel(ctx)
	t := task{cancel, make(chan struct{})}
	s.running[key] = t
	s.group.Go(func() {
		defer close(t.done)
		defer cancel()
		_ = run(ctx) // tasks report their own errors and end only with ctx
	})
}

// stop ends a task and waits for it; it does nothing if no task with the key runs.
func (s *taskSet) stop(key string) {
	if t, ok := s.running[key]; ok {
		t.cancel()
		<-t.done
		delete(s.running, key)
	}
}

// wait returns when every task has ended.
func (s *taskSet) wait() { s.group.Wait() }
