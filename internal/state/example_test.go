package state_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// packaging returns a file of the packaging.
func packaging(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "packaging", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// certificate writes a certificate of its own with its key.
func certificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "n1.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The configurations of NATS in the packaging are accepted by the server, keep what graph2mqtt needs, and their user may do it.
func TestPackagedServers(t *testing.T) {
	dir := t.TempDir()
	certificate(t, filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	certificate(t, filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key"))
	_, kubernetes, ok := strings.Cut(packaging(t, "kubernetes/nats.yaml"), "nats.conf: |\n")
	if !ok {
		t.Fatal("nats.yaml has no nats.conf")
	}
	kubernetes, _, _ = strings.Cut(kubernetes, "\n---\n")
	for name, text := range map[string]string{"cluster": strings.ReplaceAll(packaging(t, "cluster/nats-server.conf"), "/etc/nats", dir), "kubernetes": kubernetes} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("POD_NAME", "nats-0")
			t.Setenv("GRAPH2MQTT_PASSWORD", "secret")
			t.Setenv("ADMIN_PASSWORD", "other")
			file := filepath.Join(t.TempDir(), "nats.conf")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			o, err := server.ProcessConfigFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !o.JetStream || !o.SyncAlways || o.MaxPayload != 8<<20 || len(o.Routes) != 3 || len(o.Users) != 2 {
				t.Errorf("JetStream %v, sync always %v, payload %d, %d routes, %d users", o.JetStream, o.SyncAlways, o.MaxPayload, len(o.Routes), len(o.Users))
			}
			s := natstest.New(t, func(other *server.Options) {
				other.Users, other.MaxPayload, other.SyncAlways = o.Users, o.MaxPayload, o.SyncAlways
			})
			d, log := machine(t, []string{s.ClientURL}, func(c *state.ClusterOptions) {
				c.Username, c.Password, c.Bucket, c.Shards = "graph2mqtt", "secret", "graph2mqtt", 4
			})
			serving, stop := context.WithCancel(t.Context())
			var served atomic.Int64
			err = d.ServeShards(serving, func(ctx context.Context, shard state.Shard) error {
				db, err := shard.Dir.OpenDatabase()
				if err != nil {
					return err
				}
				err = db.CommitSync(func(tx state.Tx) { tx.Put("journal", "a", []byte("1")); tx.Put("journal", "b", []byte("2")) })
				if got := readAll(t, db.Bucket("journal")); len(got) != 2 {
					t.Errorf("shard %d has %v", shard.Number, got)
				}
				if served.Add(1) == 4 {
					stop()
				}
				<-ctx.Done()
				return errors.Join(err, db.Close())
			})
			if err != nil {
				t.Error(err)
			}
			if err := d.WithLock(t.Context(), "tokens-work", func() error { return d.Write("tokens-work", []byte("x")) }); err != nil {
				t.Error(err)
			}
			if err := d.CheckQuestions(t.Context()); err != nil {
				t.Error(err)
			}
			if text := log.String(); strings.Contains(text, "NATS reported an error") || strings.Contains(text, "not released") {
				t.Errorf("log: %s", text)
			}
		})
	}
}

// The documentation names the permissions of the packaging.
func TestDocumentedPermissions(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "cluster.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`"(\$(?:KV|JS|GRAPH2MQTT)[^"]+)"`).FindAllStringSubmatch(packaging(t, "cluster/nats-server.conf"), -1)
	if len(found) != 10 {
		t.Errorf("%d permissions", len(found))
	}
	for _, m := range found {
		if !strings.Contains(string(b), "`"+m[1]+"`") || !strings.Contains(packaging(t, "kubernetes/nats.yaml"), `"`+m[1]+`"`) {
			t.Errorf("cluster.md or nats.yaml lacks %s", m[1])
		}
	}
}
