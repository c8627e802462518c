package presence_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
)

// BenchmarkRead reads the own presence, through the client and as the least program would.
func BenchmarkRead(b *testing.B) {
	const root = "https://graph.example"
	transport := graphtest.JSON(`{"id": "1", "availability": "Available", "activity": "Available", "statusMessage": null, "outOfOfficeSettings": {"isOutOfOffice": false, "message": null}}`)
	b.Run("client", func(b *testing.B) {
		g, err := graph.New(graph.Options{Root: root, Transport: transport, Tokens: graphtest.Tokens{}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if p, err := presence.ReadOwn(b.Context(), g); err != nil || p.Availability != "Available" {
				b.Fatal(p, err)
			}
		}
	})
	b.Run("minimal", func(b *testing.B) {
		client := http.Client{Transport: transport}
		b.ReportAllocs()
		for b.Loop() {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, root+"/v1.0/me/presence", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer secret")
			res, err := client.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			var p struct{ Availability, Activity string }
			err = json.NewDecoder(res.Body).Decode(&p)
			res.Body.Close()
			if err != nil || p.Availability != "Available" {
				b.Fatal(p, err)
			}
		}
	})
}
