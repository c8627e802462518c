//go:build unix

package config_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Named pipes, devices, sockets and large files are refused without reading them.
func TestUnusualFiles(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 40<<20); err != nil {
		t.Fatal(err)
	}
	pipe, device, socket := filepath.Join(dir, "pipe.yaml"), filepath.Join(dir, "device.yaml"), filepath.Join(dir, "socket.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", device); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for file, want := range map[string]string{
		large: "FILE: more than 1048576 bytes", pipe: "FILE: want a regular file, not a named pipe",
		device: "FILE: want a regular file, not a device", socket: "FILE: want a regular file", dir + "/": "FILE: want a file that ends in .yaml, .yml, .toml or .json",
	} {
		if got := problem(t, file); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The same holds for files with secrets.
func TestUnusualSecretFiles(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "device")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"pipe": "mqtt.password_file: read DIR/pipe: want a regular file, not a named pipe", "device": "mqtt.password_file: read DIR/device: want a regular file, not a device",
	} {
		got := problem(t, write(t, "c.yaml", minimal), "GRAPH2MQTT_MQTT__USERNAME=u", "GRAPH2MQTT_MQTT__PASSWORD_FILE="+dir+"/"+name)
		if got = strings.ReplaceAll(got, dir, "DIR"); got != want {
			t.Errorf("got %s", got)
		}
	}
}
