package todo

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/tasks"
)

// A Snapshot holds the tasks of a list.
type Snapshot struct {
	ListID string
	Open   []tasks.Task
	Done   []tasks.Task // completed ones, with show_completed
	ReadAt time.Time    // when they were read

	// For the events: what became of tasks that are no longer open, and completed tasks that were never seen open.
	Outcomes []Outcome
	Finished []tasks.Task

	Watch graph.Watch

	// Known has a hash of 8 bytes for each task that was seen, in the order in which they were seen.
	Known []byte
	// Copies are the completed tasks that Graph is about to make because this program completed recurring ones.
	Copies []Copy
}

// An Outcome is the end of a task that was shown: it was completed or removed.
type Outcome struct {
	ID        string
	Completed string // date
	Removed   bool
}

// A Copy is a completed copy of a recurring task.
type Copy struct {
	Subject string
	At      time.Time // when the task was completed
}

// maxKnown bounds how many tasks are remembered.
const maxKnown = 20_000

func hash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	return h.Sum64()
}

// known returns the hashes of the tasks that were seen.
func (s *Snapshot) known() map[uint64]bool {
	known := make(map[uint64]bool, len(s.Known)/8)
	for b := s.Known; len(b) >= 8; b = b[8:] {
		known[binary.LittleEndian.Uint64(b)] = true
	}
	return known
}

// addKnown adds tasks to those that were seen. It does not change the slice it finds.
func (s *Snapshot) addKnown(all ...tasks.Task) {
	if len(all) == 0 {
		return
	}
	known := s.known()
	list := slices.Clip(s.Known)
	for _, t := range all {
		if h := hash(t.ID); !known[h] {
			known[h] = true
			list = binary.LittleEndian.AppendUint64(list, h)
		}
	}
	s.Known = list[max(0, len(list)-8*maxKnown):]
}

// withoutEvents returns a copy of s that says nothing about what happened.
func (s *Snapshot) withoutEvents() *Snapshot {
	c := *s
	c.Outcomes, c.Finished = nil, nil
	return &c
}

// Same implements sensors.Comparer: what only leads to the next poll need not be written.
func (o *Options) Same(a, b *Snapshot) bool {
	return a.ListID == b.ListID && slices.EqualFunc(a.Open, b.Open, tasks.Task.Equal) && slices.EqualFunc(a.Done, b.Done, tasks.Task.Equal) && bytes.Equal(a.Known, b.Known) &&
		slices.Equal(a.Copies, b.Copies) && len(b.Finished) == 0
}

func find(all []tasks.Task, id string) (tasks.Task, bool) {
	i := slices.IndexFunc(all, func(t tasks.Task) bool { return t.ID == id })
	if i < 0 {
		return tasks.Task{}, false
	}
	return all[i], true
}

// byID returns the tasks by their ids.
func byID(all []tasks.Task) map[string]tasks.Task {
	m := make(map[string]tasks.Task, len(all))
	for _, t := range all {
		m[t.ID] = t
	}
	return m
}
