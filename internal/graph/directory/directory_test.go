package directory_test

import (
	"net/http"
	"sync"
	"testing"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
)

func client(t *testing.T, f graphtest.RoundTripper) *graph.Client {
	return clientOf(t, graphtest.Tokens{}, f)
}

func clientOf(t *testing.T, tokens graph.Tokens, f graphtest.RoundTripper) *graph.Client {
	t.Helper()
	g, err := graph.New(graph.Options{Root: "https://graph.example", Transport: f, Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSignedIn(t *testing.T) {
	var mu sync.Mutex
	asked, body, status := 0, "", 503
	c := client(t, func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		if uri := r.URL.RequestURI(); uri != "/v1.0/me?$select=id,displayName,mail,userPrincipalName" {
			t.Errorf("asked for %s", uri)
		}
		return graphtest.Answer(status, body), nil
	})
	set := func(s int, b string) { mu.Lock(); defer mu.Unlock(); status, body = s, b }
	_, err := directory.SignedIn(t.Context(), c)
	if want := "read who is signed in: Graph answered 503"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	set(200, `{}`)
	_, err = directory.SignedIn(t.Context(), c)
	if want := "read who is signed in: the answer has no id"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	set(200, `{"id": "48d31887-5fad-4d73-a9f5-3c356e68a038", "displayName": "Megan Bowen", "mail": "megan@contoso.com", "userPrincipalName": "m@contoso.com"}`)
	want := directory.User{ID: "48d31887-5fad-4d73-a9f5-3c356e68a038", Address: "megan@contoso.com", Name: "Megan Bowen"}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if got, err := directory.SignedIn(t.Context(), c); err != nil || got != want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	c = clientOf(t, graphtest.Tokens{OfPerson: true}, func(*http.Request) (*http.Response, error) {
		return graphtest.Answer(200, `{"id": "b0f1e2d3c4a59687", "displayName": "Kim", "mail": null, "userPrincipalName": "kim@outlook.com"}`), nil
	})
	want = directory.User{ID: "b0f1e2d3c4a59687", Address: "kim@outlook.com", Name: "Kim", Personal: true}
	if got, err := directory.SignedIn(t.Context(), c); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := directory.RequireWork(t.Context(), c, "no presence"); err == nil || err.Error() != "a personal Microsoft account has no presence" {
		t.Errorf("got %v", err)
	}
}

func TestFindID(t *testing.T) {
	for _, tt := range []struct {
		status     int
		body, want string
		wantErr    string
	}{
		{200, `{"id": "48D31887-5fad-4d73-a9f5-3c356e68a038"}`, "48d31887-5fad-4d73-a9f5-3c356e68a038", ""},
		{200, `{"id": "ann"}`, "", "look up the user: the answer has no id"},
		{200, `{}`, "", "look up the user: the answer has no id"},
		{200, `null`, "", "look up the user: the answer has no id"},
		{404, `{"error": {"code": "Request_ResourceNotFound"}}`, "", "look up the user: there is no user ann@contoso.com in your organization (Graph answered 404 Request_ResourceNotFound)"},
	} {
		c := client(t, func(r *http.Request) (*http.Response, error) {
			if uri := r.URL.RequestURI(); uri != "/v1.0/users/ann@contoso.com?$select=id" && uri != "/v1.0/users/ann%40contoso.com?$select=id" {
				t.Errorf("asked for %s", uri)
			}
			return graphtest.Answer(tt.status, tt.body), nil
		})
		got, err := directory.FindID(t.Context(), c, "ann@contoso.com")
		if got != tt.want || err == nil && tt.wantErr != "" || err != nil && err.Error() != tt.wantErr {
			t.Errorf("%s: got %q, %v; want %q, %s", tt.body, got, err, tt.want, tt.wantErr)
		}
	}
}
