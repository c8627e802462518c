//go:build powerloss

package state_test

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/graph2mqtt/graph2mqtt/internal/broker/natstest"
	"github.com/graph2mqtt/graph2mqtt/internal/state"
)

// A disk is a file system in a file. What was not synced is only in the memory of the kernel, and not in the file.
type disk struct {
	t     *testing.T
	image string
	path  string // where it is mounted
}

// newDisk makes and mounts a file system, which needs root and a loop device.
func newDisk(t *testing.T) *disk {
	t.Helper()
	dir := t.TempDir()
	d := &disk{t, filepath.Join(dir, "image"), filepath.Join(dir, "mounted")}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(d.path, 0o700); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", d.image)
	d.mount()
	t.Cleanup(func() { _ = exec.Command("umount", "--lazy", d.path).Run() })
	return d
}

func (d *disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s: %v %s", name, err, out)
	}
}

func (d *disk) mount() { d.t.Helper(); d.run("mount", "-o", "loop", d.image, d.path) }

// copyImage copies what a power failure would leave.
func (d *disk) copyImage() {
	d.t.Helper()
	from, err := os.Open(d.image)
	if err != nil {
		d.t.Fatal(err)
	}
	defer from.Close()
	to, err := os.Create(d.image + ".left")
	if err != nil {
		d.t.Fatal(err)
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		d.t.Fatal(err)
	}
}

// useCopy mounts the copy in place of the file system. No process may have a file open in it.
func (d *disk) useCopy() {
	d.t.Helper()
	d.run("umount", d.path)
	if err := os.Rename(d.image+".left", d.image); err != nil {
		d.t.Fatal(err)
	}
	d.mount()
}

// machineAfterElection is machine with servers that may still elect their leaders.
func machineAfterElection(t *testing.T, urls []string) (*state.Dir, *syncBuffer) {
	t.Helper()
	for range 12 {
		c := state.ClusterOptions{Servers: urls, Bucket: "test", Lease: 2 * time.Second}
		if d, err := state.OpenCluster(t.Context(), t.TempDir(), keyFile(t), c, slog.New(slog.DiscardHandler)); err == nil {
			d.Close()
			break
		}
	}
	return machine(t, urls, nil)
}

// fill writes keys and a file, and returns the keys with their values. The file tokens-work has the last one.
func fill(t *testing.T, d *state.Dir, db *state.Database) map[string]string {
	t.Helper()
	all := map[string]string{}
	for i := range 20 {
		key := fmt.Sprint("key", i)
		if err := db.CommitSync(func(tx state.Tx) { tx.Put("journal", key, []byte(key)) }); err != nil {
			t.Fatal(err)
		}
		all[key] = key
		if err := d.Write("tokens-work", []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// wantFilled verifies what fill wrote.
func wantFilled(t *testing.T, d *state.Dir, want map[string]string) {
	t.Helper()
	if got := readAll(t, openDatabase(t, d).Bucket("journal")); !cmp.Equal(want, got) {
		t.Error(cmp.Diff(want, got))
	}
	if got, err := d.Read("tokens-work"); err != nil || string(got) != "key19" {
		t.Errorf("the token is %q, %v", got, err)
	}
}

// What the state directory has confirmed survives a power failure.
func TestPowerLossOfADirectory(t *testing.T) {
	d := newDisk(t)
	dir, _ := open(t, filepath.Join(d.path, "state"), "")
	db := openDatabase(t, dir)
	want := fill(t, dir, db)
	unsynced := filepath.Join(d.path, "unsynced")
	if err := os.WriteFile(unsynced, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.copyImage()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	dir.Close()
	d.useCopy()

	if text, err := os.ReadFile(unsynced); err == nil && len(text) > 0 {
		t.Fatal("what was not synced is there: this is no power failure")
	}
	dir, log := open(t, filepath.Join(d.path, "state"), "")
	wantFilled(t, dir, want)
	if log.Len() > 0 {
		t.Errorf("log: %s", log)
	}
}

// What three servers with sync_interval: always have confirmed survives a power failure of all three at once. Without the setting it is
// lost.
func TestPowerLossOfACluster(t *testing.T) {
	for _, always := range []bool{true, false} {
		t.Run(fmt.Sprint("sync always ", always), func(t *testing.T) {
			disks := []*disk{newDisk(t), newDisk(t), newDisk(t)}
			servers := natstest.NewCluster(t, 3, func(number int, o *server.Options) {
				o.StoreDir, o.SyncAlways, o.SyncInterval, o.JetStreamMaxStore = disks[number].path, always, time.Hour, 32<<20
			})
			var urls []string
			for _, s := range servers {
				urls = append(urls, s.ClientURL)
			}
			d, _ := machine(t, urls, nil)
			l := acquire(t, d)
			db := openDatabase(t, d)
			want := fill(t, d, db)
			for _, disk := range disks {
				disk.copyImage()
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			l.Release()
			d.Close()
			for _, s := range servers {
				s.Kill()
			}
			for _, disk := range disks {
				disk.useCopy()
			}
			natstest.StartCluster(servers)

			if !always {
				c := state.ClusterOptions{Servers: urls, Bucket: "test", Lease: 2 * time.Second}
				d, err := state.OpenCluster(t.Context(), t.TempDir(), keyFile(t), c, slog.New(slog.DiscardHandler))
				if err != nil {
					return
				}
				defer d.Close()
				if got, err := d.Read("tokens-work"); err == nil && string(got) == "key19" {
					t.Error("nothing is lost: this is no power failure")
				}
				return
			}
			d, log := machineAfterElection(t, urls)
			acquire(t, d)
			wantFilled(t, d, want)
			if strings.Contains(log.String(), "ERROR") {
				t.Errorf("log: %s", log)
			}
		})
	}
}
