package state

// SetTestHook sets a function that is called in each transaction before it is committed; an error of it fails the transaction.
func (db *Database) SetTestHook(f func() error) { db.testHook = f }

// The bounds of one transaction.
const (
	MaxBatchCalls = maxBatchCalls
	MaxBatchBytes = maxBatchBytes
)
