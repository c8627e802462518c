package broker

import (
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// retainedLock is a hook that keeps retained messages from being stored while those of a new subscription are read. The library reads them
// without a lock when the filter has wildcards. Each method is called by the goroutine that stores or reads, directly before or after it.
// Not covered are the broker's own topics, which a filter such as "#" does not match, and wills with a delay, which only MQTT 5 has.
type retainedLock struct {
	mochi.HookBase

	mu sync.RWMutex // held for reading while retained messages are read
}

func (*retainedLock) ID() string { return "retained messages" }

func (*retainedLock) Provides(b byte) bool {
	switch b {
	case mochi.OnPublish, mochi.OnWill, mochi.OnRetainMessage, mochi.OnPacketSent, mochi.OnPacketProcessed:
		return true
	}
	return false
}

// OnPublish is called before a message of a client is stored.
func (l *retainedLock) OnPublish(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if p.FixedHeader.Retain {
		l.mu.Lock()
	}
	return p, nil
}

// OnWill is called before a will is stored.
func (l *retainedLock) OnWill(_ *mochi.Client, w mochi.Will) (mochi.Will, error) {
	if w.Retain && w.WillDelayInterval == 0 {
		l.mu.Lock()
	}
	return w, nil
}

// OnRetainMessage is called after a message was stored.
func (l *retainedLock) OnRetainMessage(_ *mochi.Client, p packets.Packet, _ int64) {
	if p.Connect.WillProperties.WillDelayInterval == 0 {
		l.mu.Unlock()
	}
}

// OnPacketSent is called between the acknowledgement of a subscription and the reading of retained messages.
func (l *retainedLock) OnPacketSent(_ *mochi.Client, p packets.Packet, _ []byte) {
	if p.FixedHeader.Type == packets.Suback {
		l.mu.RLock()
	}
}

// OnPacketProcessed is called at the end; err says that the acknowledgement could not be sent.
func (l *retainedLock) OnPacketProcessed(_ *mochi.Client, p packets.Packet, err error) {
	if p.FixedHeader.Type == packets.Subscribe && err == nil {
		l.mu.RUnlock()
	}
}
