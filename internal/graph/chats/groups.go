package chats

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// groups remembers the group chats that this program made.
type groups struct {
	mu  sync.Mutex        // guards ids
	ids map[string]string // by GroupKey
}

// GroupKey returns the key of the group of exactly these people.
func GroupKey(addresses []string) string {
	var all []string
	for _, a := range addresses {
		all = append(all, strings.ToLower(a))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

func remembered(ctx context.Context, g *graph.Client) (*groups, error) {
	return graph.Once(ctx, g, "group chats", func() (*groups, error) { return &groups{ids: map[string]string{}}, nil })
}

// Remember keeps the ids of group chats, by GroupKey, for as long as the client exists.
func Remember(ctx context.Context, g *graph.Client, ids map[string]string) error {
	all, err := remembered(ctx, g)
	if err != nil {
		return err
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	maps.Copy(all.ids, ids)
	return nil
}

// Group returns the id of the group chat that was remembered for a key, or "".
func Group(ctx context.Context, g *graph.Client, key string) (string, error) {
	all, err := remembered(ctx, g)
	if err != nil {
		return "", err
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.ids[key], nil
}
