package supervisor_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/supervisor"
	"github.com/graph2mqtt/graph2mqtt/internal/supervisor/supervisortest"
)

func TestBroker(t *testing.T) {
	s := supervisortest.Start(t)
	c := supervisor.New(s.URL, supervisortest.Token)
	if _, err := c.Broker(t.Context()); !errors.Is(err, supervisor.ErrNoBroker) || err.Error() != "no app of Home Assistant is an MQTT broker (Service not enabled)" {
		t.Errorf("without a broker: %v", err)
	}
	s.SetBroker("core-mosquitto", 1883, "addons", "pw")
	want := supervisor.MQTTService{URL: "mqtt://core-mosquitto:1883", Username: "addons", Password: "pw", App: "core_mosquitto"}
	b, err := c.Broker(t.Context())
	if err != nil || b != want {
		t.Errorf("got %+v, %v", b, err)
	}
	if text := fmt.Sprint(b); strings.Contains(text, "pw") || !strings.Contains(text, "core-mosquitto:1883") {
		t.Errorf("printed as %s", text)
	}
	for body, want := range map[string]string{
		`{"result":"ok","data":{"host":"h","port":"8883","ssl":true}}`: "mqtts://h:8883",
		`{"result":"ok","data":{"host":"fd00::1","port":1883}}`:        "mqtt://[fd00::1]:1883",
	} {
		s.SetAnswer(http.StatusOK, body)
		if b, err := c.Broker(t.Context()); err != nil || b.URL != want {
			t.Errorf("%s: got %s, %v", body, b, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	s := supervisortest.Start(t)
	const ask = "ask the Supervisor for the MQTT broker: "
	fail := func(token, want string) {
		t.Helper()
		_, err := supervisor.New(s.URL, token).Broker(t.Context())
		if fmt.Sprint(err) != ask+want {
			t.Errorf("got %v, want %s", err, want)
		}
		if errors.Is(err, supervisor.ErrNoBroker) {
			t.Errorf("%v: this is no missing broker", err)
		}
	}
	fail("other", "the Supervisor refuses (403): 403: Forbidden")
	for _, test := range []struct {
		status     int
		body, want string
	}{
		{http.StatusForbidden, `{"result":"error","message":"No access to mqtt service!"}`, "the Supervisor refuses (403): No access to mqtt service!"},
		{http.StatusForbidden, `{"message":"` + strings.Repeat(`long\n`, 100) + `"}`, "the Supervisor refuses (403): " + strings.Repeat("long ", 20) + "…"},
		{http.StatusBadGateway, "", "the Supervisor refuses (502): no reason"},
		{http.StatusInternalServerError, strings.Repeat("long ", 100), "the Supervisor refuses (500): " + strings.Repeat("long ", 20) + "…"},
		{http.StatusOK, `{"result":"ok","data":{}}`, "the answer has no host or no port"},
		{http.StatusOK, `{"result":"ok","data":{"host":"h","port":70000}}`, "the answer has no host or no port"},
		{http.StatusOK, `{"result":"ok","data":[]}`, "the Supervisor gave an answer that is not understood"},
		{http.StatusOK, `<html>`, "the Supervisor gave an answer that is not understood"},
	} {
		s.SetAnswer(test.status, test.body)
		fail(supervisortest.Token, test.want)
	}
	_, err := supervisor.New("http://127.0.0.1:1", supervisortest.Token).Broker(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), ask+"the Supervisor cannot be reached: ") {
		t.Errorf("got %v", err)
	}
}
