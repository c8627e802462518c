package sensors

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/services"
)

// A Tx collects the changes of one transaction.
type Tx = services.Tx

// A Store is the one writer of the process; it puts the changes of many calls on disk in one transaction.
type Store interface {
	// Commit calls write at once and does not wait for the disk. done may be nil; it is called on another goroutine, in the order of
	// the calls, after the changes are on disk or have failed.
	Commit(write func(Tx), done func(error))
	// CommitWithin is Commit for changes that may wait for others, at most for delay. They are lost if the process is killed before.
	CommitWithin(delay time.Duration, write func(Tx), done func(error))
}
