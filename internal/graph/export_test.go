package graph

// SetBounds lowers what c reads at most: bytes of an answer, bytes of a list.
func SetBounds(c *Client, answer int64, list int) { c.bounds.answer, c.bounds.list = answer, list }
