package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// The unknown values that a bridge publishes before Graph answers print nothing.
func TestPrinterIgnoresUnknownValues(t *testing.T) {
	var out bytes.Buffer
	c := &config.Config{Accounts: map[string]*config.Account{
		"work": {ID: "work", Name: "Work", Sensors: map[string]*config.Sensor{"out": {ID: "out", Name: "Out of office"}}},
	}}
	printer := newEventPrinter(&program{stdout: &out}, "graph2mqtt", c)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, m := range [][2]string{
		{"state", `{"mode": null, "internal_text": ""}`}, {"availability", "offline"},
		{"state", `{"mode": "disabled", "internal_text": "Away"}`}, {"availability", "online"},
		{"availability", "offline"}, {"availability", "online"},
	} {
		printer.handle(mqtt.Message{Topic: "graph2mqtt/work/out/" + m[0], Payload: []byte(m[1]), Received: at})
	}
	want := "03:04:05  Out of office  disabled\n03:04:05  Out of office  offline\n03:04:05  Out of office  online\n"
	if got := out.String(); got != want {
		t.Errorf("told:\n%swant:\n%s", got, want)
	}
}
