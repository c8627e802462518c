package runtime

import "testing"

// A subscription that was made with another key, as after it was lost, or for another shard is replaced: its secret would not be recognized.
func TestSubscriptionsOfAnotherKeyOrShardAreReplaced(t *testing.T) {
	shard := func(name string) *ShardOptions { return &ShardOptions{Shard: name} }
	n := &notifier{NotificationOptions: NotificationOptions{URL: "https://hooks.example.com/graph", Shards: shard("1")}, key: []byte("key")}
	made := &subscription{URL: n.URL, Origin: n.origin()}
	for name, tt := range map[string]struct {
		notifier *notifier
		want     bool
	}{
		"the same":      {&notifier{NotificationOptions: n.NotificationOptions, key: []byte("key")}, true},
		"another key":   {&notifier{NotificationOptions: n.NotificationOptions, key: []byte("other")}, false},
		"another shard": {&notifier{NotificationOptions: NotificationOptions{URL: n.URL, Shards: shard("2")}, key: n.key}, false},
		"one shard":     {&notifier{NotificationOptions: NotificationOptions{URL: n.URL}, key: n.key}, false},
		"another URL":   {&notifier{NotificationOptions: NotificationOptions{URL: n.URL + "2", Shards: shard("1")}, key: n.key}, false},
	} {
		if got := tt.notifier.isCurrent(made); got != tt.want {
			t.Errorf("%s: current: %v, want %v", name, got, tt.want)
		}
	}
}
