package simulator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// batch sends a batch and returns its responses by id.
func (v graphClient) batch(requests ...string) map[string]map[string]any {
	v.t.Helper()
	out := v.want(200, "POST", "/$batch", `{"requests":[`+strings.Join(requests, ",")+`]}`, "Content-Type", "application/json")
	responses := map[string]map[string]any{}
	for _, r := range out["responses"].([]any) {
		r := r.(map[string]any)
		responses[r["id"].(string)] = r
	}
	return responses
}

func TestBatch(t *testing.T) {
	v := newGraphClient(t, "User.Read", "Calendars.ReadWrite")
	responses := v.batch(
		`{"id":"3","method":"GET","url":"/me/events/$count","dependsOn":["2"]}`,
		`{"id":"1","method":"GET","url":"/me?$select=displayName"}`,
		`{"id":"2","method":"post","url":"me/events","headers":{"content-type":"application/json"},"body":`+lunch("")+`}`,
		`{"id":"4","method":"GET","url":"/me/mailboxSettings"}`,
		`{"id":"5","method":"GET","url":"/me","dependsOn":["4"]}`,
		`{"id":"6","method":"GET","url":"/me/nosuch"}`,
	)
	statuses := map[string]any{}
	for id, r := range responses {
		statuses[id] = r["status"]
	}
	if diff := cmp.Diff(map[string]any{"1": 200.0, "2": 201.0, "3": 200.0, "4": 403.0, "5": 424.0, "6": 501.0}, statuses); diff != "" {
		t.Fatalf("statuses (-want +got):\n%s", diff)
	}
	if got := responses["1"]["body"].(map[string]any)["displayName"]; got != "Adele Vance" {
		t.Errorf("name: %v", got)
	}
	if h := responses["2"]["headers"].(map[string]any); h["Location"] == nil || h["Request-Id"] == nil || !strings.HasPrefix(h["Content-Type"].(string), "application/json") {
		t.Errorf("headers: %v", h)
	}
	if got := responses["3"]["body"]; got != "MQ==" { // 1, which is not JSON
		t.Errorf("count: %v", got)
	}
	if got := responses["4"]["body"].(map[string]any)["error"].(map[string]any)["code"]; got != "ErrorAccessDenied" {
		t.Errorf("refused with %v", got)
	}
	// The requests are logged one by one, those without their precondition not at all.
	if n := v.s.Count("", "/v1.0/me"); n != 5 || v.s.Count("POST", "/v1.0/$batch") != 1 || v.s.Requests()[0].User != simulator.Adele {
		t.Errorf("%d requests logged", n)
	}
}

// Faults affect the requests of a batch one by one.
func TestBatchFaults(t *testing.T) {
	v := newGraphClient(t, "User.Read")
	v.s.Fail(simulator.Fault{Path: "/v1.0/me", Status: 429, RetryAfter: "7"})
	v.s.Fail(simulator.Fault{Path: "/v1.0/me", Reset: true})
	get := func(id int) string { return fmt.Sprintf(`{"id":"%d","method":"GET","url":"/me"}`, id) }
	responses := v.batch(get(1), get(2), get(3))
	if responses["1"]["status"] != 429.0 || responses["1"]["headers"].(map[string]any)["Retry-After"] != "7" || responses["2"]["status"] != 504.0 || responses["3"]["status"] != 200.0 {
		t.Errorf("%v", responses)
	}
}

func TestBatchRefused(t *testing.T) {
	v := newGraphClient(t, "User.Read")
	get := func(id, more string) string { return fmt.Sprintf(`{"id":%q,"method":"GET","url":"/me"%s}`, id, more) }
	var many []string
	for i := range 21 {
		many = append(many, get(fmt.Sprint(i), ""))
	}
	for _, requests := range []string{
		"", strings.Join(many, ","), get("1", "") + "," + get("1", ""), get("", ""), `{"id":"1","url":"/me"}`, `{"id":"1","method":"GET"}`,
		get("1", `,"dependsOn":["2"]`), get("1", `,"dependsOn":["2"]`) + "," + get("2", `,"dependsOn":["1"]`), `{"id":"1","method":"GET","url":"https://graph.microsoft.com/v1.0/me"}`,
		`{"id":"1","method":"POST","url":"/$batch","headers":{"Content-Type":"application/json"},"body":{}}`, get("1", `,"body":{"x":1}`), `{"id":"1","method":"GET","url":"/%zz"}`,
	} {
		v.refused(400, "BadRequest", "POST", "/$batch", `{"requests":[`+requests+`]}`)
	}
	v.refused(400, "BadRequest", "POST", "/$batch", `[]`)
	if len(v.batch(many[:20]...)) != 20 {
		t.Error("20 requests are allowed")
	}
	v.token = ""
	v.refused(401, "InvalidAuthenticationToken", "POST", "/$batch", `{"requests":[`+get("1", "")+`]}`)
}
