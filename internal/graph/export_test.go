package graph

// SetBounds lowers the limits of c: the bytes of an answer and of a list.
func SetBounds(c *Client, answer int64, list int) { c.bounds.answer, c.bounds.list = answer, list }
