package config_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
)

// The shard of an account never changes, or a bucket would have its records in the wrong place.
func TestShardOf(t *testing.T) {
	c := config.Cluster{Shards: 12}
	got := map[string]int{}
	for _, id := range []string{"work", "home", "contoso", "a0", "a1"} {
		got[id] = c.ShardOf(id)
	}
	if want := map[string]int{"work": 2, "home": 8, "contoso": 11, "a0": 2, "a1": 0}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	counts := make([]int, 12)
	for i := range 3000 {
		counts[c.ShardOf(fmt.Sprintf("user_%d", i))]++
	}
	if slices.Min(counts) < 200 || slices.Max(counts) > 300 {
		t.Errorf("3,000 accounts are divided into %v", counts)
	}
	if one := (&config.Cluster{}).ShardOf("work"); one != 0 {
		t.Errorf("without shards the shard is %d", one)
	}
}

// Each account is in the configuration of one shard, with its organization and its file; everything else is in each.
func TestShardsOfAConfiguration(t *testing.T) {
	text := "mqtt: {url: mqtt://h}\nhttp: {listen: ':8099', password: hunter2hunter2, metrics: true}\ncluster: {nats: [nats://n], shards: 3}\naudit: {file: /var/log/audit.jsonl}\naccounts:\n"
	var want []string
	for i := range 9 {
		id := fmt.Sprintf("a%d", i)
		want = append(want, id)
		text += "  " + id + ": {client_id: 01234567-89ab-cdef-0123-456789abcdef, sensors: {calendar: {type: calendar}}}\n"
	}
	c, err := config.Load(config.Sources{File: write(t, "c.yaml", text), Environ: environ()}, kinds())
	if err != nil {
		t.Fatal(err)
	}
	c.Organizations = map[string]*config.Organization{"a3": {ID: "a3"}}
	c.AccountFiles = map[string]string{"a4": "a4.yaml"}
	c.RefusedFiles = []config.RefusedFile{{Account: "bad", Name: "bad.yaml"}}
	var accounts, organizations, files, refused, audits []string
	for shard := range 3 {
		part := c.Shard(shard)
		accounts = slices.AppendSeq(accounts, maps.Keys(part.Accounts))
		organizations = slices.AppendSeq(organizations, maps.Keys(part.Organizations))
		files = slices.AppendSeq(files, maps.Keys(part.AccountFiles))
		for _, f := range part.RefusedFiles {
			refused = append(refused, f.Account)
		}
		audits = append(audits, part.Audit.File)
		if part.HTTP.Listen != "" || c.HTTP.Listen == "" {
			t.Errorf("shard %d listens on %q, the process on %q", shard, part.HTTP.Listen, c.HTTP.Listen)
		}
		if part.MQTT.URL != c.MQTT.URL || part.Cluster.Shards != 3 {
			t.Errorf("shard %d: %+v", shard, part.MQTT)
		}
	}
	slices.Sort(accounts)
	if diff := cmp.Diff([][]string{want, {"a3"}, {"a4"}, {"bad"}, {"/var/log/audit-0.jsonl", "/var/log/audit-1.jsonl", "/var/log/audit-2.jsonl"}}, [][]string{accounts, organizations, files, refused, audits}); diff != "" {
		t.Errorf("accounts, organizations, files, refused files and audit files (-want +got):\n%s", diff)
	}
	if len(c.Accounts) != 9 || c.Audit.File != "/var/log/audit.jsonl" {
		t.Error("the whole configuration was changed")
	}
	c.Cluster.Shards = 1
	if c.Shard(0) != c {
		t.Error("one shard is not the whole configuration")
	}
}

// The stream with the changes is none of the streams that NATS keeps buckets in.
func TestAuditStream(t *testing.T) {
	for stream, valid := range map[string]bool{"graph2mqtt-audit": true, "audit_KV_": true, "KV_graph2mqtt": false, "OBJ_files": false} {
		_, err := config.Load(config.Sources{File: write(t, "c.yaml", "mqtt: {url: mqtt://h}\ncluster: {nats: [nats://n]}\naudit: {stream: "+stream+"}\naccounts: {work: {client_id: 01234567-89ab-cdef-0123-456789abcdef}}\n"), Environ: environ()}, kinds())
		want := fmt.Sprintf("audit.stream (line 3): want the name of a stream for this only, such as graph2mqtt-audit, not %q: streams that begin with KV_ or OBJ_ are buckets", stream)
		if valid && err != nil || !valid && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v", stream, err)
		}
	}
}
