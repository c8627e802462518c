package state

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// checkShards verifies that the bucket has as many shards as the configuration, or sets the number of an empty one. If a bucket with data
// has lost the number, it is restored from the leases, and never guessed: with another number two machines could work with one account.
func (b *bucket) checkShards(ctx context.Context) error {
	for {
		e, err := b.get(ctx, shardsKey)
		if err != nil {
			return b.shardsError("read", err)
		}
		if e.value != nil {
			return b.compareShards(string(e.value))
		}
		found, err := b.shardsOfData(ctx)
		if err == nil && found > 0 {
			err = b.compareShards(strconv.Itoa(found))
		}
		if err != nil {
			if again, readErr := b.get(ctx, shardsKey); readErr == nil && again.value != nil { // another machine has just made the bucket
				continue
			}
			return err
		}
		_, err = b.publish(ctx, message{key: shardsKey, value: []byte(b.shards()), expect: &e.sequence})
		switch {
		case errors.Is(err, errConflict):
			continue
		case err != nil:
			return b.shardsError("write", err)
		case found > 0:
			b.log.Warn("the number of shards was missing in the bucket and was written again", "bucket", b.cluster.Bucket, "shards", found)
		}
		return nil
	}
}

func (b *bucket) shardsError(action string, err error) error {
	return fmt.Errorf("%s %s in the bucket %s of NATS: %w", action, shardsKey, b.cluster.Bucket, err)
}

// shards returns the number of shards of the configuration as it is in the bucket.
func (b *bucket) shards() string { return strconv.Itoa(max(1, b.cluster.Shards)) }

// compareShards returns an error if the bucket has another number of shards than the configuration.
func (b *bucket) compareShards(has string) error {
	if has == b.shards() {
		return nil
	}
	return fmt.Errorf("the bucket %s of NATS was made with cluster.shards: %s, not %s; set cluster.shards to %s, or copy the state to another bucket",
		b.cluster.Bucket, has, b.shards(), has)
}

// shardsOfData returns how many shards the data in the bucket is of; 0: there is no data. It is an error if the number is not known.
func (b *bucket) shardsOfData(ctx context.Context) (n int, err error) {
	single, several := false, false
	for _, filter := range []string{leaseKey, dataPrefix + ">"} {
		err = errors.Join(err, b.visit(ctx, filter, func(entry) (more bool) { single = true; return false }))
	}
	err = errors.Join(err, b.visit(ctx, "shard.*."+leaseKey, func(e entry) (more bool) {
		several = true
		if record, err := parseLease(e); err == nil {
			n = record.Shards
		}
		return n == 0
	}))
	if !several {
		err = errors.Join(err, b.visit(ctx, "shard.>", func(entry) (more bool) { several = true; return false }))
	}
	switch {
	case err != nil:
		return 0, b.shardsError("read", err)
	case !several && single:
		return 1, nil
	case several && (n == 0 || single):
		return 0, fmt.Errorf("the bucket %s of NATS has data of several shards, but its key %s, the number of shards, is missing; write it again: nats kv put %s %s NUMBER, or restore a backup",
			b.cluster.Bucket, shardsKey, b.cluster.Bucket, shardsKey)
	}
	return n, nil
}

// visit calls f for each entry that matches filter and was not deleted, until f returns false.
func (b *bucket) visit(ctx context.Context, filter string, f func(entry) (more bool)) error {
	var sequence uint64
	for {
		e, err := b.next(ctx, sequence, filter)
		if err != nil || e.sequence == 0 || e.value != nil && !f(e) {
			return err
		}
		sequence = e.sequence
	}
}

// checkShards returns an error if the number of shards in the bucket has become another one than this process works with.
func (w *worker) checkShards(e entry) error {
	wanted := strconv.Itoa(len(w.shards))
	if e.value == nil || string(e.value) == wanted { // one that was deleted is written again, see Dir.keepKeys
		return nil
	}
	return fmt.Errorf("the number of shards in the bucket was changed to %s, and this machine works with %s; write %s again, or set cluster.shards to %s", e.value, wanted, wanted, e.value)
}
