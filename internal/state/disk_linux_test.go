package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFullDisk runs itself in a process with its own mounts, where it fills a small file system.
func TestFullDisk(t *testing.T) {
	const directory = "STATE_TEST_SMALL_DISK"
	if dir := os.Getenv(directory); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=700"); err != nil {
			fmt.Println("no permission to mount:", err)
			return
		}
		testFullDisk(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), directory+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EINVAL), bytes.Contains(out, []byte("no permission to mount")):
		t.Skipf("user namespaces are not permitted: %v\n%s", err, out)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	default:
		t.Logf("%s", out)
	}
}

func testFullDisk(t *testing.T, dir string) {
	d, _ := open(t, dir, "")
	db := openDatabase(t, d)
	if err := db.CommitSync(put("before", "1")); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	large := string(make([]byte, 200_000))
	for round := range 3 {
		file, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for size := 1 << 16; size > 0; {
			if _, err = file.Write(make([]byte, size)); err != nil {
				size /= 2
			}
		}
		file.Close()
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("filling the disk: %v", err)
		}
		db.CommitLazily(put("lazy", fmt.Sprint(round)))
		for range 2 {
			if err := db.CommitSync(put(fmt.Sprint("large ", round), large)); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("on a full disk: %v, want ENOSPC", err)
			}
		}
		if err := d.Write("file", []byte(large)); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a file on a full disk: %v, want ENOSPC", err)
		}
		if v, err := db.Bucket("journal").Get("before"); err != nil || string(v) != "1" {
			t.Errorf("Get on a full disk: %q, %v", v, err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if err := db.CommitSync(put("after", fmt.Sprint(round))); err != nil {
			t.Errorf("with room again: %v", err)
		}
	}
	want := map[string]string{"before": "1", "after": "2", "lazy": "2"}
	if diff := cmp.Diff(want, readAll(t, db.Bucket("journal"))); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := openDatabase(t, d)
	if again.DataLoss() != nil {
		t.Error(again.DataLoss())
	}
	if diff := cmp.Diff(want, readAll(t, again.Bucket("journal"))); diff != "" {
		t.Errorf("values after opening again (-want +got):\n%s", diff)
	}
}
