package mail

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
)

// A mailboxKey is the part that all ids of a mailbox have in common. Ids are derived from numbers, so that a mailbox of 100,000 messages need not store them.
// Like Exchange's they have 152 characters for messages and 120 for folders, differ at the end only, and need escaping in a URL.
type mailboxKey [128]byte

func newMailboxKey(userID string) mailboxKey {
	var k mailboxKey
	a, b := sha512.Sum512([]byte("a"+userID)), sha512.Sum512([]byte("b"+userID))
	copy(k[:64], a[:])
	copy(k[64:], b[:])
	return k
}

// The lengths of ids before they are encoded.
const (
	messageIDLength = 113
	folderIDLength  = 89
)

// id returns an id of n bytes before encoding. kind separates ids of different kinds, generation those that an item had one after the other.
func (k mailboxKey) id(n int, kind byte, number uint64, generation uint16) string {
	raw := make([]byte, n)
	copy(raw, k[:])
	copy(raw, []byte{0, 3, 0x24, kind}) // AAMk
	if kind == kindImmutable {
		copy(raw, []byte{0, 9, 0, 0x2e, kind}) // AAkALg
	}
	tail := raw[n-13:]
	binary.BigEndian.PutUint64(tail, number*0x9e3779b97f4a7c15^binary.BigEndian.Uint64(k[64:]))
	binary.BigEndian.PutUint16(tail[8:], generation^binary.BigEndian.Uint16(k[72:]))
	copy(tail[10:], []byte{0, 0, 0})
	return base64.URLEncoding.EncodeToString(raw)
}

// The kinds of ids.
const (
	kindFolder = iota + 1
	kindMessage
	kindImmutable
	kindAttachment
	kindConversation
)

// inverse is the inverse of the multiplier in id modulo 2^64.
const inverse = 0xf1de83e19937733d

// number returns the number in an id of n bytes, or false if the id does not belong to the mailbox. The caller compares the whole id.
func (k mailboxKey) number(id string, n int) (uint64, bool) {
	raw, err := base64.URLEncoding.DecodeString(id)
	if err != nil || len(raw) != n {
		return 0, false
	}
	return (binary.BigEndian.Uint64(raw[n-13:]) ^ binary.BigEndian.Uint64(k[64:])) * inverse, true
}

// changeKey returns the key of a version of an item.
func (k mailboxKey) changeKey(number, sequence uint64) string {
	raw := make([]byte, 30)
	copy(raw, []byte{9, 0, 0, 0, 0x16, 0, 0, 0})
	copy(raw[8:], k[:14])
	binary.BigEndian.PutUint32(raw[22:], uint32(number))
	binary.BigEndian.PutUint32(raw[26:], uint32(sequence))
	return base64.StdEncoding.EncodeToString(raw)
}

// conversationIndex returns the header block of a conversation.
func (k mailboxKey) conversationIndex(number uint64) string {
	raw := make([]byte, 22)
	copy(raw, []byte{1, 1, 0xd3})
	copy(raw[3:], k[20:])
	binary.BigEndian.PutUint64(raw[14:], number)
	return base64.StdEncoding.EncodeToString(raw)
}
