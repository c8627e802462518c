package presence_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/presence"
)

// The error of an unreadable presence explains the reason to the user, and an answer without a presence is an error.
func TestReadOwn(t *testing.T) {
	const refused = `{"error": {"code": "Forbidden", "message": "x"}}`
	for _, tt := range []struct {
		status     int
		body       string
		scopes     []string
		want, text string // availability, error
	}{
		{200, `{"availability": "available", "activity": "somethingNew"}`, nil, "Available", ""},
		{200, `{"availability": "Away"}`, nil, "Away", ""},
		{200, `{}`, nil, "", "read the status: the answer has no availability"},
		{200, `null`, nil, "", "read the status: the answer has no availability"},
		{200, `{"availability": null, "activity": null}`, nil, "", "read the status: the answer has no availability"},
		{403, refused, nil, "", "read the status: Graph answered 403 Forbidden: x"},
		{403, refused, []string{"Presence.Read"}, "", "read the status: Microsoft Teams refuses; does your account have a Teams license? (Graph answered 403 Forbidden)"},
		{403, refused, []string{"Presence.Read.All"}, "", "read the status: Microsoft Teams refuses; does your account have a Teams license? (Graph answered 403 Forbidden)"},
		{404, `{}`, nil, "", "read the status: Microsoft Teams does not know you; does your account have a Teams license? (Graph answered 404)"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(tt.status)
			io.WriteString(w, tt.body)
		}))
		g, err := graph.New(graph.Options{Root: srv.URL, Tokens: graphtest.Tokens{Scopes: tt.scopes}})
		if err != nil {
			t.Fatal(err)
		}
		p, err := presence.ReadOwn(t.Context(), g)
		switch {
		case err != nil && err.Error() != tt.text, err == nil && tt.text != "":
			t.Errorf("%d %s: got %v, want %s", tt.status, tt.body, err, tt.text)
		case err == nil && p.Availability != tt.want:
			t.Errorf("%s: got %+v", tt.body, p)
		}
		g.Close()
		srv.Close()
	}
}
