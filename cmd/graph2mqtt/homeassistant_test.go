package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// appKeys maps the keys that config.yaml of an app may have to their defaults, nil without one. The Supervisor drops unknown keys silently,
// and the linter of the community refuses a key that repeats its default.
// See https://developers.home-assistant.io/docs/apps/configuration.
var appKeys = map[string]any{
	"name": nil, "version": nil, "slug": nil, "description": nil, "arch": nil, "url": nil, "image": nil, "homeassistant": nil, "init": true, "timeout": 10,
	"startup": "application", "boot": "auto", "stage": "stable", "backup": "hot", "backup_exclude": nil, "services": nil, "map": nil, "ingress": false,
	"ingress_port": 8099, "ingress_entry": "/", "ingress_stream": false, "panel_icon": "mdi:puzzle", "panel_title": nil, "panel_admin": true, "options": map[string]any{},
	"schema": nil, "breaking_versions": nil,
}

var requiredAppKeys = []string{"name", "version", "slug", "description", "arch", "image", "url", "homeassistant", "schema"}

// appDir holds what is published to the repository of the app.
var appDir = filepath.Join(top, "packaging", "homeassistant")

func readApp(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(appDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkApp returns what is wrong with config.yaml of an app, given the version of the change log and the translated options.
func checkApp(content []byte, version string, translated []string) (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var c map[string]any
	if err := yaml.Unmarshal(content, &c); err != nil {
		return []error{err}
	}
	for key, value := range c {
		standard, ok := appKeys[key]
		switch {
		case !ok:
			wrong("%s: unknown key", key)
		case standard != nil && reflect.DeepEqual(value, standard):
			wrong("%s: this is the default", key)
		}
	}
	for _, key := range requiredAppKeys {
		if c[key] == nil {
			wrong("%s is required", key)
		}
	}
	if v, ok := c["version"].(string); !ok || v != version {
		wrong("version: want the quoted text %q of the newest heading of CHANGELOG.md, not %v", version, c["version"])
	}
	if image, _ := c["image"].(string); strings.Contains(filepath.Base(image), ":") || strings.Contains(image, "{arch}") {
		wrong("image: want a name without a tag, for all architectures, not %q", image)
	}
	for _, arch := range list(c["arch"]) {
		if !slices.Contains([]string{"amd64", "aarch64"}, arch) {
			wrong("arch: no image is built for %s", arch)
		}
	}
	for _, service := range list(c["services"]) {
		if service != "mqtt:want" {
			wrong("services: want mqtt:want, because the Supervisor does not enforce need, not %s", service)
		}
	}
	mounts, _ := c["map"].([]any)
	for _, m := range mounts {
		if m, ok := m.(map[string]any); !ok || m["type"] != "addon_config" {
			wrong("map: want addon_config only, not %v", m)
		}
	}
	schema, _ := c["schema"].(map[string]any)
	options := slices.Sorted(maps.Keys(schema))
	for option, kind := range schema {
		if text, ok := kind.(string); !ok || !strings.HasSuffix(text, "?") {
			wrong("schema.%s: want an optional scalar, not %v", option, kind)
		}
	}
	if !slices.Equal(options, translated) {
		wrong("schema: the options %v differ from the translated ones %v", options, translated)
	}
	var fields []string
	for f := range reflect.TypeFor[appOptions]().NumField() {
		fields = append(fields, reflect.TypeFor[appOptions]().Field(f).Tag.Get("json"))
	}
	slices.Sort(fields)
	if !slices.Equal(options, fields) {
		wrong("schema: the options %v differ from those that the program reads %v", options, fields)
	}
	return errs
}

func list(v any) (texts []string) {
	items, _ := v.([]any)
	for _, item := range items {
		texts = append(texts, fmt.Sprint(item))
	}
	return texts
}

// newestVersion returns the version of the newest heading of a change log.
func newestVersion(changes []byte) string {
	m := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)?)\] - \d{4}-\d\d-\d\d$`).FindSubmatch(changes)
	if m == nil {
		return ""
	}
	return string(m[1])
}

func translations(t *testing.T) []string {
	t.Helper()
	var texts struct {
		Configuration map[string]struct{ Name, Description string }
	}
	d := yaml.NewDecoder(bytes.NewReader(readApp(t, "translations/en.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&texts); err != nil {
		t.Fatal(err)
	}
	for option, text := range texts.Configuration {
		if text.Name == "" || text.Description == "" {
			t.Errorf("translations of %s: want a name and a description", option)
		}
	}
	return slices.Sorted(maps.Keys(texts.Configuration))
}

func TestHomeAssistantApp(t *testing.T) {
	content, version := readApp(t, "config.yaml"), newestVersion(readApp(t, "CHANGELOG.md"))
	for _, err := range checkApp(content, version, translations(t)) {
		t.Error(err)
	}
	profiles := regexp.MustCompile(`(?m)^profile (\S+)`).FindAllSubmatch(readApp(t, "apparmor.txt"), -1)
	if len(profiles) != 1 || string(profiles[0][1]) != "graph2mqtt" {
		t.Errorf("apparmor.txt: profiles %s, want one, graph2mqtt", profiles)
	}
	for name, size := range map[string][2]int{"icon.png": {128, 128}, "logo.png": {250, 100}} {
		c, err := png.DecodeConfig(bytes.NewReader(readApp(t, name)))
		if err != nil || [2]int{c.Width, c.Height} != size {
			t.Errorf("%s: %d×%d, %v, want %v", name, c.Width, c.Height, err, size)
		}
	}
	for _, name := range []string{"DOCS.md", "README.md"} {
		if len(readApp(t, name)) < 100 {
			t.Errorf("%s is empty", name)
		}
	}
	// The release publishes it with the folder: here it would make Home Assistant look for apps in the whole repository.
	for _, name := range []string{"repository.yaml", "repository.json", "repository.yml"} {
		if _, err := os.Stat(filepath.Join(top, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The rules refuse the mistakes that the Supervisor does not report.
func TestHomeAssistantAppRules(t *testing.T) {
	content, version := string(readApp(t, "config.yaml")), newestVersion(readApp(t, "CHANGELOG.md"))
	translated := []string{"log_level", "mqtt_password", "mqtt_url", "mqtt_username"}
	for _, test := range []struct{ from, to, want string }{
		{"init: false", "int: false", "int: unknown key"},
		{"timeout: 30", "startup: application", "startup: this is the default"},
		{fmt.Sprintf("version: %q", version), "version: 0.9", fmt.Sprintf("version: want the quoted text %q of the newest heading of CHANGELOG.md, not 0.9", version)},
		{"graph2mqtt/app", "graph2mqtt/app:1", `image: want a name without a tag, for all architectures, not "ghcr.io/graph2mqtt/app:1"`},
		{"amd64", "armv7", "arch: no image is built for armv7"},
		{"mqtt:want", "mqtt:need", "services: want mqtt:want, because the Supervisor does not enforce need, not mqtt:need"},
		{"addon_config", "config", "map: want addon_config only, not map[read_only:false type:config]"},
		{"slug: graph2mqtt\n", "", "slug is required"},
		{"str?", "str", "schema.mqtt_username: want an optional scalar, not str"},
	} {
		changed := strings.Replace(content, test.from, test.to, 1)
		if diff := cmp.Diff([]string{test.want}, texts(checkApp([]byte(changed), version, translated))); diff != "" {
			t.Errorf("%s: %s", test.to, diff)
		}
	}
	got := texts(checkApp([]byte(strings.Replace(content, "mqtt_url:", "url:", 1)), version, translated))
	if len(got) != 2 || !strings.Contains(got[0], "differ from the translated ones") || !strings.Contains(got[1], "differ from those that the program reads") {
		t.Errorf("another option: %v", got)
	}
	for changes, want := range map[string]string{"# Changelog\n\n## [1.0.0-rc.1] - 2026-12-24\n\n## [0.9.0] - 2026-12-01\n": "1.0.0-rc.1", "## 0.9.0\n": ""} {
		if got := newestVersion([]byte(changes)); got != want {
			t.Errorf("%q: %s, want %s", changes, got, want)
		}
	}
}

func texts(errs []error) (all []string) {
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return all
}

// The compose file keeps what the image needs to run read-only.
func TestComposeFile(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(top, "packaging", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Services map[string]struct {
			Image       string
			Restart     string
			ReadOnly    bool     `yaml:"read_only"`
			CapDrop     []string `yaml:"cap_drop"`
			SecurityOpt []string `yaml:"security_opt"`
			Tmpfs       []string
			Environment map[string]string
			Volumes     []string
		}
		Volumes map[string]any
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	s := c.Services["graph2mqtt"]
	if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.Tmpfs, "/tmp") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("the service is not confined: %+v", s)
	}
	containerfile, err := os.ReadFile(filepath.Join(top, "packaging", "Containerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range s.Volumes {
		from, to, _ := strings.Cut(v, ":")
		to, _, _ = strings.Cut(to, ":")
		if !strings.Contains(string(containerfile), to) {
			t.Errorf("%s: the image does not use %s", v, to)
		}
		if _, ok := c.Volumes[from]; !ok && !strings.HasPrefix(from, "./") {
			t.Errorf("%s: no such volume", v)
		}
	}
}
