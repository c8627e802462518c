package main

import (
	"slices"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

// A candidate is printed with the form that its option has, and so that it can be pasted.
func TestCandidateLines(t *testing.T) {
	for kind, tt := range map[string]struct {
		options map[string]string
		want    string
	}{
		"chat":    {map[string]string{"chats": "19:a@thread.v2"}, `{type: chat, chats: ["19:a@thread.v2"]}`},
		"channel": {map[string]string{"team": "893075dd-2487-4122-925f-022c42e20265", "channel": "19:b@thread.tacv2"}, `{type: channel, enable_update: true, channel: "19:b@thread.tacv2", team: "893075dd-2487-4122-925f-022c42e20265"}`},
		"email":   {map[string]string{"folder": "Inbox"}, `{type: email, folder: Inbox}`},
	} {
		all := runtime.Kinds()
		k := all[slices.IndexFunc(all, func(k sensors.Kind) bool { return k.Name == kind })]
		if got := flow(k, sensors.Candidate{Options: tt.options}); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}
