//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/porttest"
)

// startIngress starts the view of an installed Home Assistant that passes requests on to a Supervisor, and returns its address.
func startIngress(t *testing.T, install, supervisor string) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("testdata", "ingress.py"))
	if err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, "ingress", pythonOf(install, "-c", string(script), supervisor), nil)
	return "http://127.0.0.1:" + strings.TrimPrefix(p.AwaitLine(t, "port "), "port ")
}

// supervisorIngress does what the Supervisor does with the requests of Home Assistant's ingress for the app with the token k3Y.
func supervisorIngress(app *url.URL, transport http.RoundTripper, password string) http.Handler {
	return &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(app)
		r.Out.Host = r.In.Host
		r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, "/ingress/k3Y")
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			r.Out.Header[name] = r.In.Header[name]
		}
		if password != "" {
			r.Out.SetBasicAuth("", password)
		}
	}}
}

// requestPage sends a request as the status page does in a browser that opened Home Assistant by the address of a home network: without
// Sec-Fetch-Site. It returns the answer and its body, and may be called from any goroutine.
func requestPage(t testing.TB, method, address, body string) (*http.Response, string) {
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return &http.Response{}, ""
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://"+r.URL.Host)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return &http.Response{}, ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer, string(text)
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// The status page works behind the ingress of both versions of Home Assistant: its addresses are relative, its long poll is answered at
// the next change, and its actions pass although Home Assistant takes the referrer away. A stand-in for Supervisor gives the password,
// because the program trusts the ingress of its own network only.
func TestPageBehindIngress(t *testing.T) {
	eachInstallation(t, func(t *testing.T, install string) {
		const password = "hunter2hunter2"
		env := NewEnvironment(t, MosquittoOptions{})
		listen := "127.0.0.1:" + strconv.Itoa(porttest.Free(t))
		env.Program.Env = append(env.Program.Env, "GRAPH2MQTT_HTTP__LISTEN="+listen, "GRAPH2MQTT_HTTP__PASSWORD="+password)
		env.Configure(t, nil, "calendar: {type: calendar}")
		env.SignIn(t)
		env.Start(t)
		app, err := url.Parse("http://" + listen)
		if err != nil {
			t.Fatal(err)
		}
		supervisor := httptest.NewServer(supervisorIngress(app, nil, password))
		t.Cleanup(supervisor.Close)
		page := startIngress(t, install, strings.TrimPrefix(supervisor.URL, "http://")) + "/api/hassio_ingress/k3Y/"
		do := func(method, path, body string) (*http.Response, string) {
			return requestPage(t, method, page+path, body)
		}
		await(t, "the page", func() bool { answer, _ := do(http.MethodGet, "", ""); return answer.StatusCode == http.StatusOK })
		_, index := do(http.MethodGet, "", "")
		if !strings.Contains(index, `<meta name="referrer" content="same-origin">`) || !strings.Contains(index, `<meta charset="utf-8">`) {
			t.Errorf("the page is %s", index)
		}
		for _, link := range regexp.MustCompile(`(?:href|src)="([^"#]+)"`).FindAllStringSubmatch(index, -1) {
			if answer, _ := do(http.MethodGet, link[1], ""); answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %d", link[1], answer.StatusCode)
			}
		}
		type snapshot struct {
			Version string
			State   struct {
				Accounts []struct {
					State   string
					Sensors []struct{ Polls []struct{ Outcome string } }
				}
			}
		}
		var s snapshot
		await(t, "a poll", func() bool {
			_, text := do(http.MethodGet, "api/state", "")
			s = snapshot{}
			return json.Unmarshal([]byte(text), &s) == nil && len(s.State.Accounts) == 1 && len(s.State.Accounts[0].Sensors) == 1 && len(s.State.Accounts[0].Sensors[0].Polls) > 0
		})
		began := time.Now()
		next := make(chan string, 1)
		go func() { _, text := do(http.MethodGet, "api/state?after="+s.Version, ""); next <- text }()
		if answer, text := do(http.MethodPost, "api/actions", `{"account": "work", "operation": "refresh"}`); answer.StatusCode != http.StatusOK {
			t.Errorf("an action: %d %s", answer.StatusCode, text)
		}
		text := <-next
		if err := json.Unmarshal([]byte(text), &s); err != nil || time.Since(began) > 20*time.Second {
			t.Errorf("the long poll ended after %s: %v %s", time.Since(began), err, text)
		}
		answer, text := do(http.MethodPost, "api/actions", `{"account": "work", "operation": "sign_out"}`)
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("signing out: %d %s, Referrer-Policy %s", answer.StatusCode, text, answer.Header.Get("Referrer-Policy"))
		}
		await(t, "the sign-out", func() bool {
			_, text := do(http.MethodGet, "api/state", "")
			return strings.Contains(text, `"state":"signed_out"`)
		})
	})
}
