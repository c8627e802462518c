package mail

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
)

// A Snapshot holds the counts and the newest mails of a folder.
type Snapshot struct {
	FolderID string
	Search   bool // the folder is a saved search
	Unread   int  // of the folder
	Matching int  // mails that are selected
	Complete bool // Matching counts all of them
	Messages []Entry

	// For the events: mails that came with the last poll, and the outcomes of mails that left the list with it.
	Fresh    []Entry
	Outcomes []Outcome

	Watch    graph.Watch
	PolledAt time.Time // when it was asked
	Skipped  int       // polls since the mails were read

	// Known has a hash of 8 bytes for each mail that was seen in the folder, in the order in which they were seen.
	Known []byte
	// Verdicts has 9 bytes for each text that was compared: the hash of its version, and whether it matches.
	Verdicts []byte
}

// An Entry is a mail with the parts that take requests of their own.
type Entry struct {
	mail.Message
	Body        *string           // nil: not requested, or not readable
	Attachments []mail.Attachment // nil: not requested, or not readable
	Unreadable  bool              // the body or the attachments could not be read
}

// An Outcome is a change of a mail that was in the list.
type Outcome struct {
	ID      string
	Read    bool // it was read
	Removed bool // it left the folder
}

// maxKnown bounds how many mails are remembered. It is more than the first delta round has.
const maxKnown = 10_000

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = h.Write([]byte(p)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// A set holds hashes of ids.
type set map[uint64]bool

func (s *Snapshot) known() set {
	known := make(set, len(s.Known)/8)
	for b := s.Known; len(b) >= 8; b = b[8:] {
		known[binary.LittleEndian.Uint64(b)] = true
	}
	return known
}

// knows reports whether a mail was seen before.
func (s *Snapshot) knows(id string) bool {
	h := hash(id)
	for b := s.Known; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b) == h {
			return true
		}
	}
	return false
}

// addKnown adds mails to those that are known and returns the hashes of those that are new. It does not change the slice it finds.
func (s *Snapshot) addKnown(ids ...string) set {
	if len(ids) == 0 {
		return nil
	}
	known, fresh := s.known(), set{}
	all := slices.Clip(s.Known)
	for _, id := range ids {
		if h := hash(id); !known[h] {
			known[h], fresh[h] = true, true
			all = binary.LittleEndian.AppendUint64(all, h)
		}
	}
	s.Known = all[max(0, len(all)-8*maxKnown):]
	return fresh
}

// verdicts returns which versions of texts were compared, and whether they match.
func (s *Snapshot) verdicts() map[uint64]bool {
	m := make(map[uint64]bool, len(s.Verdicts)/9)
	for b := s.Verdicts; len(b) >= 9; b = b[9:] {
		m[binary.LittleEndian.Uint64(b)] = b[8] == 1
	}
	return m
}

// Same implements sensors.Comparer: what only leads to the next poll need not be written.
func (o *Options) Same(a, b *Snapshot) bool {
	return a.FolderID == b.FolderID && a.Search == b.Search && a.Unread == b.Unread && a.Matching == b.Matching && a.Complete == b.Complete &&
		slices.EqualFunc(a.Messages, b.Messages, Entry.equal) && slices.Equal(a.Known, b.Known)
}

func (e Entry) equal(o Entry) bool {
	return e.Message.Equal(o.Message) && (e.Body == nil) == (o.Body == nil) && (e.Body == nil || *e.Body == *o.Body) &&
		slices.Equal(e.Attachments, o.Attachments) && (e.Attachments == nil) == (o.Attachments == nil) && e.Unreadable == o.Unreadable
}
