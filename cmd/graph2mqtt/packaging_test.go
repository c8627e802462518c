package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

// exampleID replaces the placeholder of examples.
const exampleID = "01234567-89ab-cdef-0123-456789abcdef"

// The configurations in the packaging are valid, with their files and the client_id of an app registration.
func TestPackagedConfigurations(t *testing.T) {
	h := newHarness(t)
	for _, name := range []string{"mqtt-password", "nats-password"} {
		h.write(t, name, "c2VjcmV0")
	}
	h.write(t, "key", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	b, err := os.ReadFile(filepath.Join(top, "packaging", "cluster", "graph2mqtt.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("/etc/graph2mqtt", h.dir, "00000000-0000-0000-0000-000000000000", exampleID).Replace(string(b))
	h.write(t, "graph2mqtt.yaml", text)
	if code, stdout, stderr := h.call(t, "check"); code != 0 || stdout+stderr != "" {
		t.Errorf("check: %d %s%s", code, stdout, stderr)
	}
	h.write(t, "graph2mqtt.yaml", strings.Replace(text, "shards:", "shard:", 1))
	if code, stdout, _ := h.call(t, "check"); code != 1 || !strings.Contains(stdout, "cluster.shard ") {
		t.Errorf("check of a wrong key: %d %s", code, stdout)
	}
}

// A manifest has the parts of a manifest for Kubernetes that the tests read.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name   string
		Labels map[string]string
	}
	Data map[string]string
	Spec struct {
		Replicas int
		Selector map[string]any
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     struct {
				Containers []struct {
					Name, Image string
					Env         []struct {
						Name, Value string
						ValueFrom   struct {
							SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
						} `yaml:"valueFrom"`
					}
					Ports []struct {
						Name          string
						ContainerPort int `yaml:"containerPort"`
					}
					StartupProbe   probe                   `yaml:"startupProbe"`
					LivenessProbe  probe                   `yaml:"livenessProbe"`
					ReadinessProbe probe                   `yaml:"readinessProbe"`
					VolumeMounts   []struct{ Name string } `yaml:"volumeMounts"`
				}
				Volumes []struct {
					Name      string
					ConfigMap struct{ Name string } `yaml:"configMap"`
				}
			}
		}
		VolumeClaimTemplates []struct{ Metadata struct{ Name string } } `yaml:"volumeClaimTemplates"`
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

func manifests(t *testing.T, name string) (all []manifest) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(top, "packaging", "kubernetes", name))
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	for {
		var m manifest
		err := decoder.Decode(&m)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m.APIVersion == "" || m.Kind == "" || m.Metadata.Name == "" || m.Metadata.Labels["app"] == "" {
			t.Errorf("%s: want apiVersion, kind, name and the label app: %+v", name, m)
		}
		all = append(all, m)
	}
}

// The parts of the manifests for Kubernetes fit together, and those of graph2mqtt fit the program.
func TestKubernetesManifests(t *testing.T) {
	secrets := map[string]bool{}
	for _, name := range []string{"graph2mqtt.yaml", "nats.yaml"} {
		all := manifests(t, name)
		configMaps := map[string]map[string]string{}
		for _, m := range all {
			if m.Kind == "ConfigMap" {
				configMaps[m.Metadata.Name] = m.Data
			}
		}
		workloads := 0
		for _, m := range all {
			pod := m.Spec.Template
			if m.Kind != "Deployment" && m.Kind != "StatefulSet" {
				continue
			}
			workloads++
			if labels, _ := m.Spec.Selector["matchLabels"].(map[string]any); labels["app"] != pod.Metadata.Labels["app"] || m.Spec.Replicas != 3 {
				t.Errorf("%s: the selector %v of %d replicas does not match %v", name, m.Spec.Selector, m.Spec.Replicas, pod.Metadata.Labels)
			}
			volumes := map[string]bool{}
			for _, v := range pod.Spec.Volumes {
				volumes[v.Name] = true
				if of := v.ConfigMap.Name; of != "" && configMaps[of] == nil {
					t.Errorf("%s: there is no ConfigMap %s", name, of)
				}
			}
			for _, v := range m.Spec.VolumeClaimTemplates {
				volumes[v.Metadata.Name] = true
			}
			for _, c := range pod.Spec.Containers {
				for _, v := range c.VolumeMounts {
					if !volumes[v.Name] {
						t.Errorf("%s: there is no volume %s", name, v.Name)
					}
				}
				environment := []string{"HOME=/"}
				for _, v := range c.Env {
					if ref := v.ValueFrom.SecretKeyRef; ref.Name != "" {
						secrets[ref.Name+" "+ref.Key] = true
						v.Value = "a secret text"
					}
					environment = append(environment, v.Name+"="+v.Value)
				}
				if c.Name == "graph2mqtt" {
					if len(c.Ports) != 1 || c.Ports[0].Name != "http" || c.Ports[0].ContainerPort != 8099 {
						t.Errorf("the ports are %+v", c.Ports)
					}
					checkPod(t, c.Image, configMaps["graph2mqtt"]["graph2mqtt.yaml"], environment, c.StartupProbe, c.LivenessProbe, c.ReadinessProbe)
				}
			}
		}
		if workloads != 1 {
			t.Errorf("%s has %d workloads", name, workloads)
		}
	}
	want := []string{"graph2mqtt http-password", "graph2mqtt key", "graph2mqtt mqtt-password", "graph2mqtt nats-admin-password", "graph2mqtt nats-password"}
	if got := slices.Sorted(maps.Keys(secrets)); !slices.Equal(got, want) {
		t.Errorf("secrets %v; want %v, which the documentation creates", got, want)
	}
}

// checkPod verifies the container of graph2mqtt.
func checkPod(t *testing.T, image, text string, environment []string, probes ...probe) {
	t.Helper()
	if !strings.HasPrefix(image, "ghcr.io/graph2mqtt/graph2mqtt:") {
		t.Errorf("the image is %s", image)
	}
	file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "00000000-0000-0000-0000-000000000000", exampleID)), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := runtime.Load(config.Sources{File: file, Environ: environment}, runtime.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Ignored)+len(c.Warnings) > 0 || c.StateDir != "/data/state" || c.MQTT.Password == "" || c.Cluster.Password == "" || len(c.Cluster.NATS) != 3 {
		t.Errorf("ignored %v, warnings %v, state in %s", c.Ignored, c.Warnings, c.StateDir)
	}
	if c.HTTP.Listen != ":8099" || !c.HTTP.Metrics {
		t.Errorf("the listener is %+v", c.HTTP)
	}
	var paths []string
	for _, p := range probes {
		if p.HTTPGet.Port != "http" {
			t.Errorf("a probe asks the port %s", p.HTTPGet.Port)
		}
		paths = append(paths, p.HTTPGet.Path)
	}
	if want := []string{"/healthz", "/healthz", "/readyz"}; !slices.Equal(paths, want) {
		t.Errorf("the probes ask %v, want %v", paths, want)
	}
}
