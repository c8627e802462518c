package mqtt

import "time"

// SetAlive sets when the process was last known to run, as if it had been frozen since.
func (c *Client) SetAlive(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.alive.Store(at.UnixNano())
}
