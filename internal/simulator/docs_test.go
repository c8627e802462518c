package simulator_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

func guide(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The guide lists the same operations as the simulator.
func TestControlInDocs(t *testing.T) {
	v := newColleaguesClient(t)
	var want, got []string
	for _, o := range v.control(200, "GET", "", "")["operations"].([]any) {
		o := o.(map[string]any)
		want = append(want, o["method"].(string)+" "+o["path"].(string)+": "+o["description"].(string))
	}
	for _, m := range regexp.MustCompile("(?m)^\\| ([A-Z]+) \\| `(/control[^`]*)` \\| (.*) \\|$").FindAllStringSubmatch(guide(t), -1) {
		got = append(got, m[1]+" "+m[2]+": "+m[3])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/simulator.md (-simulator +guide):\n%s", diff)
	}
}

// Every curl command in the guide succeeds, in order.
func TestCurlInDocs(t *testing.T) {
	v := newColleaguesClient(t)
	lines := regexp.MustCompile(`(?m)^curl --cacert ca\.pem (?:-X ([A-Z]+) )?'?(https://127\.0\.0\.1:8443)(\S+?)'?(?: --json '([^']*)')?$`).FindAllStringSubmatch(guide(t), -1)
	if n := strings.Count(guide(t), "\ncurl "); n == 0 || n != len(lines) {
		t.Fatalf("%d of %d are understood", len(lines), n)
	}
	device := v.want(200, "POST", v.s.LoginURL()+"/common/oauth2/v2.0/devicecode", "client_id="+simulator.ContosoClient+"&scope=User.Read")
	code := strings.NewReplacer("ABCD12345", device["user_code"].(string))
	for _, m := range lines {
		method, body := m[1], m[4]
		if method == "" && body == "" {
			method = http.MethodGet
		} else if method == "" {
			method = http.MethodPost
		}
		if resp, out := v.do(method, v.s.LoginURL()+code.Replace(m[3]), body); resp.StatusCode >= 300 {
			t.Errorf("%s\n%s %v", m[0], resp.Status, out)
		}
	}
}
