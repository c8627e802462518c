package state

import (
	"context"
	"io"
)

// VerifyFile verifies the file of a database and counts its keys.
func VerifyFile(file io.ReaderAt, size int64) (keys int, err error) {
	_, err = verifyFile(file, size, func(keyName, []byte) { keys++ })
	return keys, err
}

// SetTestHook sets a function that is called in each transaction before it is committed; an error of it fails the transaction.
func (db *Database) SetTestHook(f func() error) { db.engine.(*boltFile).testHook = f }

// The bounds of one transaction.
const (
	MaxBatchCalls = maxBatchCalls
	MaxBatchBytes = maxBatchBytes
)

// AcquireAgain takes the state like a process that has started on the same directory again.
func AcquireAgain(ctx context.Context, d *Dir) (*Lease, error) {
	return acquireLease(ctx, d.shared.register(), d.leaseRecord(), nil, new(outage), d.log)
}

// SetLease has the database opened with a lease.
func SetLease(d *Dir, l *Lease) { d.shared.lease = l }
