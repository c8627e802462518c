package state

import (
	"context"
	"errors"
	"strconv"
)

// keepKeys writes the keys that identify the bucket again when one is deleted, until ctx is done. Otherwise the machine that starts next
// would make new ones: with another id, entities and clients get other names, and without the mark a machine with another key is not refused.
func (d *Dir) keepKeys(ctx context.Context) {
	b := d.shared.bucket
	kept := map[string][]byte{
		idKey:     []byte(d.sharedID),
		markKey:   d.seal([]byte{1}, sealedFor+markKey),
		shardsKey: []byte(strconv.Itoa(d.Shards())),
	}
	for ctx.Err() == nil {
		err := b.follow(ctx, []string{idKey, markKey, shardsKey}, func(e entry) {
			switch {
			case e.value == nil:
				b.restore(ctx, e, kept[e.key])
			case e.key == idKey && string(e.value) != d.sharedID:
				d.log.Error("the id in the bucket was changed; machines that start from now on use it, and entities get other ids", "id", string(e.value), "earlier", d.sharedID)
			}
		})
		d.log.Debug("the keys of the bucket cannot be followed", "error", err) // what needs the servers logs it
		sleep(ctx, standbyInterval)
	}
}

// restore writes a deleted key again, unless it was written meanwhile.
func (b *bucket) restore(ctx context.Context, deleted entry, value []byte) {
	b.log.Warn("a key was deleted from the bucket and is written again", "bucket", b.cluster.Bucket, "key", deleted.key)
	_, err := b.publish(ctx, message{key: deleted.key, value: value, expect: &deleted.sequence})
	if err != nil && !errors.Is(err, errConflict) && ctx.Err() == nil {
		b.log.Warn("a key of the bucket was not written again", "bucket", b.cluster.Bucket, "key", deleted.key, "error", err)
	}
}
