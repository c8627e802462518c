package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// A program that ends while it waits for the shared state logs no error.
func TestEndWhileWaitingForState(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "shared.key")
	if err := os.WriteFile(key, []byte(strings.Repeat("A", 43)+"="), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &config.Config{StateDir: dir, KeyFile: key}
	c.Cluster.NATS = []string{"nats://127.0.0.1:1"}
	c.Cluster.Bucket = "graph2mqtt"
	var log bytes.Buffer
	ctx, stop := context.WithCancel(t.Context())
	stop()
	p := &program{environ: []string{}}
	if d, err := p.waitForState(ctx, c, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))); d != nil || err != nil || log.Len() > 0 {
		t.Errorf("%v, %v, log:\n%s", d, err, &log)
	}
}
