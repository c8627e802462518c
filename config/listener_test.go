package config_test

import (
	"path/filepath"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/config"
)

func TestMissing(t *testing.T) {
	t.Chdir(t.TempDir())
	home := "HOME=" + t.TempDir()
	file := write(t, "c.yaml", "{}")
	for _, test := range []struct {
		name    string
		sources config.Sources
		missing bool
		newFile string
	}{
		{"nothing", config.Sources{Environ: []string{home}}, true, filepath.Join(home[5:], ".config", "graph2mqtt", "graph2mqtt.yaml")},
		{"nothing, as root", config.Sources{Environ: []string{home}, Root: true}, true, "/etc/graph2mqtt/graph2mqtt.yaml"},
		{"without a home", config.Sources{}, true, "graph2mqtt.yaml"},
		{"a named file", config.Sources{File: file}, false, file},
		{"a named file that is not there", config.Sources{File: "x.yaml", Environ: []string{home}}, true, "x.yaml"},
		{"in the environment", config.Sources{Environ: []string{home, "GRAPH2MQTT_CONFIG=y.yaml"}}, true, "y.yaml"},
		{"an account in the environment", config.Sources{Environ: []string{"GRAPH2MQTT_ACCOUNTS__WORK__CLIENT_ID=x"}}, false, "graph2mqtt.yaml"},
		{"only a listener in the environment", config.Sources{Environ: []string{"GRAPH2MQTT_HTTP__LISTEN=:8099"}}, true, "graph2mqtt.yaml"},
	} {
		if missing, newFile := test.sources.Missing(), test.sources.NewFile(); missing != test.missing || newFile != test.newFile {
			t.Errorf("%s: missing %t, new file %s", test.name, missing, newFile)
		}
	}
}

func TestLoadListener(t *testing.T) {
	for _, test := range []struct {
		name    string
		sources config.Sources
		listen  string
		ingress bool
		problem string
	}{
		{"nothing", config.Sources{}, "", false, ""},
		{"a flag", config.Sources{Flags: map[string]any{"http.listen": "127.0.0.1:8099"}}, "127.0.0.1:8099", false, ""},
		{"the environment", config.Sources{Environ: []string{"GRAPH2MQTT_HTTP__LISTEN=:8099", "GRAPH2MQTT_HTTP__PASSWORD=hunter2hunter2"}}, ":8099", false, ""},
		{"an app", config.Sources{Environ: []string{"SUPERVISOR_TOKEN=x"}}, ":8099", true, ""},
		{"a named file that is not there", config.Sources{File: "x.toml", Flags: map[string]any{"http.listen": "[::1]:1"}}, "[::1]:1", false, ""},
		{"without a password", config.Sources{Flags: map[string]any{"http.listen": ":8099"}}, "", false, "http.password is required: others can reach :8099; listen on 127.0.0.1 to go without"},
		{"no address", config.Sources{Flags: map[string]any{"http.listen": "8099"}}, "", false, `http.listen: want an address and a port, such as 127.0.0.1:8099, or :8099 for all addresses, not "8099"; use :8099`},
	} {
		c, err := config.LoadListener(test.sources)
		if err != nil {
			if err.Error() != test.problem {
				t.Errorf("%s: got %v, want %s", test.name, err, test.problem)
			}
			continue
		}
		if test.problem != "" || c.HTTP.Listen != test.listen || c.HTTP.Ingress != test.ingress || c.Log.Level != "info" || c.File != "" {
			t.Errorf("%s: got %+v", test.name, c.HTTP)
		}
	}
}

func TestContentInsteadOfAFile(t *testing.T) {
	c, err := config.Load(config.Sources{File: "none.yaml", Content: []byte("{mqtt: {url: mqtt://a}, accounts: {work: {client_id: 2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21}}, state_dir: /x}")}, kinds())
	if err != nil || c.MQTT.URL != "mqtt://a" {
		t.Errorf("got %+v, %v", c, err)
	}
}
