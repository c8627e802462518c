package chat

import (
	"reflect"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/chatmessage"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
)

// A Snapshot holds the chats of the page that was read, or the configured ones.
type Snapshot struct {
	Me     string // id of the signed-in user
	Chats  []Entry
	More   bool              // there are more chats than those
	Newest time.Time         // when the newest message was written
	Polled time.Time         // when the chats were read, by this machine's clock
	Names  map[string]string // ids of configured chats, by their names
	Groups map[string]string // ids of the groups that send made, by chats.GroupKey
	Fresh  []Fresh           // messages that came with the last poll
}

// An Entry is a chat with what was read below it.
type Entry struct {
	chats.Chat                      // Last is what Graph shows as the newest message
	Message    *chatmessage.Message // newest message that somebody wrote; nil: none, or not known
	MembersAt  time.Time            // Updated of the chat when its members were read
	HasMembers bool                 // the members were read, or cannot be
	ReadAt     time.Time            // when the chat was read by itself, because it is not on the page; zero: never
}

// A Fresh is a message that is new.
type Fresh struct {
	ChatID  string
	Message chatmessage.Message
}

// unread reports whether the newest message is another's and was written after the user last read the chat.
func (e *Entry) unread(me string) bool {
	return e.Message != nil && !e.Message.IsFrom(me) && e.Message.Created.After(e.Read)
}

// at returns when the chat's newest message was written.
func (e *Entry) at() time.Time {
	switch {
	case e.Message != nil:
		return e.Message.Created
	case e.Last != nil:
		return e.Last.Created
	}
	return time.Time{}
}

// Same implements sensors.Comparer: messages are new only once, and when the chats were read is not worth a write.
func (o *Options) Same(a, b *Snapshot) bool {
	x, y := *a, *b
	x.Fresh, y.Fresh = nil, nil
	x.Polled, y.Polled = time.Time{}, time.Time{}
	x.Chats, y.Chats = nil, nil
	return reflect.DeepEqual(x, y) && slices.EqualFunc(a.Chats, b.Chats, func(a, b Entry) bool {
		a.ReadAt = b.ReadAt
		return reflect.DeepEqual(a, b)
	})
}
