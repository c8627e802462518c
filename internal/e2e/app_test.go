//go:build e2e

package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/internal/supervisor/supervisortest"
)

// Addresses in the network of Home Assistant's apps. The first is that of the Supervisor, from which ingress requests come.
const (
	supervisorAddress = "172.30.32.2"
	appAddress        = "172.30.33.7"
)

// ownNetworkEnv is set in a test that runs in a network namespace of its own.
const ownNetworkEnv = "GRAPH2MQTT_E2E_OWN_NETWORK"

// inOwnNetwork runs the rest of the test in a process with a network namespace of its own, which has only loopback addresses, with one
// Home Assistant. It reports whether this is that process.
func inOwnNetwork(t *testing.T, install string) bool {
	t.Helper()
	if os.Getenv(ownNetworkEnv) != "" {
		for _, arguments := range []string{"link set lo up", "address add " + supervisorAddress + "/32 dev lo", "address add " + appAddress + "/32 dev lo"} {
			if out, err := exec.Command("ip", strings.Fields(arguments)...).CombinedOutput(); err != nil {
				t.Fatalf("ip %s: %v\n%s", arguments, err, out)
			}
		}
		return true
	}
	const limit = 10 * time.Minute
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.timeout="+limit.String())
	cmd.Env = append(os.Environ(), ownNetworkEnv+"=true", "HOME_ASSISTANT="+install)
	p := startProcess(t, "the test in its own network", cmd, nil)
	select {
	case <-p.done:
	case <-time.After(limit):
		t.Fatal("the test in its own network does not end")
	}
	if code := p.Wait(t); code != 0 || !strings.Contains(p.Stdout(), "--- PASS: "+name) {
		t.Fatalf("exit code %d:\n%s%s", code, p.Stdout(), p.Stderr())
	}
	return false
}

// appImage returns the archive of the app's image.
func appImage(t *testing.T) string {
	t.Helper()
	image := filepath.Join("..", "..", "dist", "image-app-amd64.tar")
	if !exists(image) || os.Getuid() != 0 {
		const missing = "the image of the app and root are required: run packaging/build image amd64"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	return image
}

// The app's image runs as Home Assistant would run it: it waits for a configuration, gets the form of the status page, finds the broker at
// the Supervisor, and is signed in through ingress. Then Home Assistant has its entities.
func TestApp(t *testing.T) {
	appImage(t)
	eachInstallation(t, func(t *testing.T, install string) {
		if inOwnNetwork(t, install) {
			testApp(t, install)
		}
	})
}

func testApp(t *testing.T, install string) {
	env := NewEnvironment(t, MosquittoOptions{Username: "addons", Password: "secret"})
	if err := env.Microsoft.StartProxy("127.0.0.1:0"); err != nil { // the form takes no addresses of clouds
		t.Fatal(err)
	}
	ha := StartHomeAssistant(t, install)
	ha.AddBroker(t, env.Broker)

	// The Supervisor answers the app and passes requests of ingress on to it.
	api := supervisortest.Start(t)
	api.SetBroker("127.0.0.1", env.Broker.Port, env.Broker.Options.Username, env.Broker.Options.Password)
	apiURL, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	supervisor := http.NewServeMux()
	fromSupervisor := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(supervisorAddress)}}).DialContext}
	supervisor.Handle("/ingress/k3Y/", supervisorIngress(&url.URL{Scheme: "http", Host: appAddress + ":8099"}, fromSupervisor, ""))
	supervisor.Handle("/services/", supervisorIngress(apiURL, nil, ""))
	listener, err := net.Listen("tcp", supervisorAddress+":80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: supervisor}
	go server.Serve(listener)
	t.Cleanup(func() {
		server.Close()
		fromSupervisor.CloseIdleConnections()
	})

	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config-app"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "config-app", "ca.pem"), string(env.Microsoft.CA()))
	app := startProcess(t, "the app", exec.Command(filepath.Join("..", "..", "packaging", "test", "app"), dir, supervisorAddress,
		"SUPERVISOR_TOKEN="+supervisortest.Token, "HTTPS_PROXY="+env.Microsoft.ProxyURL(), "SSL_CERT_FILE=/config/ca.pem", "--", "run"), nil)
	app.AwaitLine(t, "waiting for a configuration")
	app.AwaitLine(t, "component=http")

	if answer, text := requestPage(t, http.MethodGet, "http://"+appAddress+":8099/", ""); answer.StatusCode != http.StatusForbidden {
		t.Errorf("without ingress: %d %s", answer.StatusCode, text)
	}
	page := startIngress(t, install, supervisorAddress) + "/api/hassio_ingress/k3Y/"
	post := func(path string, request, result any) {
		t.Helper()
		answer, text := requestPage(t, http.MethodPost, page+path, string(encode(t, request)))
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, answer.StatusCode, text)
		}
		if result != nil {
			if err := json.Unmarshal([]byte(text), result); err != nil {
				t.Fatal(err)
			}
		}
	}
	type object = map[string]any
	form := object{
		"account":     "work",
		"new_account": object{"client_id": simulator.ContosoClient, "tenant": "organizations", "enable_update": true},
		"sensors":     []object{{"id": "out_of_office", "type": "auto_reply"}},
	}
	var draft struct{ Lines, Digest string }
	post("api/configuration/preview", form, &draft)
	if !strings.Contains(draft.Lines, "auto_reply") || strings.Contains(draft.Lines, "mqtt") {
		t.Errorf("the lines are\n%s", draft.Lines)
	}
	post("api/configuration/write", object{"form": form, "digest": draft.Digest}, nil)
	if line := app.AwaitLine(t, "running as an app of Home Assistant"); !strings.Contains(line, `broker_from="Home Assistant (core_mosquitto)"`) {
		t.Error(line)
	}
	if !exists(filepath.Join(dir, "config-app", "graph2mqtt.yaml")) {
		t.Error("no configuration was written")
	}

	// The sign-in: a link on the page, the address at which the browser fails to open a page, and that address on the page.
	type account struct {
		State  string
		SignIn *struct{ URL string } `json:"sign_in"`
	}
	awaitAccount := func(what string, ok func(account) bool) (found account) {
		t.Helper()
		await(t, what, func() bool {
			var s struct{ State struct{ Accounts []account } }
			_, text := requestPage(t, http.MethodGet, page+"api/state", "")
			if json.Unmarshal([]byte(text), &s) != nil || len(s.State.Accounts) != 1 {
				return false
			}
			found = s.State.Accounts[0]
			return ok(found)
		})
		return found
	}
	awaitAccount("the account on the page", func(a account) bool { return a.State == "signed_out" })
	post("api/actions", object{"account": "work", "operation": "sign_in", "way": "browser"}, nil)
	link := awaitAccount("the link", func(a account) bool { return a.SignIn != nil && a.SignIn.URL != "" }).SignIn.URL
	post("api/actions", object{"account": "work", "operation": "sign_in", "address": redirectOf(t, env, link)}, nil)
	awaitAccount("the sign-in", func(a account) bool { return a.State == "signed_in" })

	ha.AwaitState(t, "switch.work_out_of_office_enabled", "off")
	ha.Service(t, "switch.turn_on", "switch.work_out_of_office_enabled", nil)
	ha.AwaitState(t, "switch.work_out_of_office_enabled", "on")
	ha.CheckLog(t)
	if code := app.Stop(t); code != 0 {
		t.Errorf("the app ended with %d", code)
	}
	ha.AwaitState(t, "switch.work_out_of_office_enabled", "unavailable")
}

// redirectOf opens a sign-in link as a browser does that reaches Microsoft's addresses by the simulator's proxy, and returns the address
// on this machine that it cannot open.
func redirectOf(t *testing.T, env *Environment, link string) string {
	t.Helper()
	proxy, err := url.Parse(env.Microsoft.ProxyURL())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(env.Microsoft.CA())
	browser := http.Client{
		Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: waitTimeout,
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if r.URL.Hostname() == "localhost" {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	defer browser.CloseIdleConnections()
	answer, err := browser.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	address := answer.Header.Get("Location")
	if !strings.Contains(address, "code=") {
		t.Fatal(fmt.Errorf("Microsoft answered %s with the address %q", answer.Status, address))
	}
	return address
}
