package inbox

import "github.com/graph2mqtt/graph2mqtt/mqtt"

// HandleWithAck is Handle of a message that is acknowledged by ack.
func (b *Inbox) HandleWithAck(m mqtt.Message, ack func()) { b.handle(m, ack) }

// EmptyBatch is the number of retained requests that are removed at once.
const EmptyBatch = emptyBatch
