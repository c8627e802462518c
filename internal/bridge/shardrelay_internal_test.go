package bridge

import (
	"testing"
	"testing/synctest"
	"time"
)

// A ticket is valid once, and for a short time.
func TestTickets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all tickets
		first, second := all.issue(), all.issue()
		if first == second || all.use("") || !all.use(first) || all.use(first) {
			t.Error("a ticket is not valid once")
		}
		time.Sleep(ticketTime + time.Second)
		if all.use(second) {
			t.Error("a ticket does not end")
		}
		for range 2 * maxTickets {
			all.issue()
		}
		if last := all.issue(); len(all.issued) != maxTickets || !all.use(last) {
			t.Errorf("%d tickets", len(all.issued))
		}
		time.Sleep(ticketTime + time.Second)
		if all.issue(); len(all.issued) != 1 {
			t.Errorf("%d tickets", len(all.issued))
		}
	})
}
