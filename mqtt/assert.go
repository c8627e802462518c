package mqtt

import "github.com/graph2mqtt/graph2mqtt/internal/entity"

// Assert sends what topic should hold once more, though it has not changed: to somebody who has asked for something else.
func (c *Client) Assert(topic string) {
	c.change(func() bool { return c.retained.assert(topic) })
}

func (r *retained) assert(topic string) bool {
	e := r.entries[topic]
	if e != nil {
		e.pending = true
	}
	return e != nil
}

// ItemsPayload is the items topic's: all of s.Items, whole.
func ItemsPayload(s entity.State) []byte {
	items := make([]any, 0, len(s.Items))
	for _, item := range s.Items {
		items = append(items, plain(item))
	}
	return encode(items)
}
