package graph_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

func TestHelpers(t *testing.T) {
	var asked []string
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.RequestURI+" "+string(body))
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		case r.Method == http.MethodGet && r.URL.Path == "/v1.0/me/events":
			io.WriteString(w, `{"value": [{"id": "1"}, {"id": "2"}]}`)
		default:
			io.WriteString(w, `{"id": "7"}`)
		}
	})
	type event struct{ ID string }
	events := func() *users.ItemEventsRequestBuilder { return c.Me().Events() }

	one, err := graph.Get[event](t.Context(), c, "read", events().ByEventId("7").ToGetRequestInformation, &users.ItemEventsEventItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemEventsEventItemRequestBuilderGetQueryParameters{Select: []string{"id"}},
	})
	if err != nil || one.ID != "7" {
		t.Errorf("Get: %+v, %v", one, err)
	}
	all, err := graph.GetAll[event](t.Context(), c, "list", events().ToGetRequestInformation, nil)
	if err != nil || !cmp.Equal(all, []event{{"1"}, {"2"}}) {
		t.Errorf("GetAll: %+v, %v", all, err)
	}
	var model models.Eventable = models.NewEvent()
	subject := "x"
	model.SetSubject(&subject)
	made, err := graph.Send[event](t.Context(), c, "create", events().ToPostRequestInformation, model, nil)
	if err != nil || made.ID != "7" {
		t.Errorf("Send: %+v, %v", made, err)
	}
	var acceptance users.ItemEventsItemAcceptPostRequestBodyable = users.NewItemEventsItemAcceptPostRequestBody()
	if _, err := graph.Send[graph.None](t.Context(), c, "accept", events().ByEventId("7").Accept().ToPostRequestInformation, acceptance, nil); err != nil {
		t.Errorf("Send without an answer: %v", err)
	}
	if err := graph.Call(t.Context(), c, "remove", events().ByEventId("7").ToDeleteRequestInformation, nil); err != nil {
		t.Errorf("Call: %v", err)
	}
	if diff := cmp.Diff([]string{
		"GET /v1.0/me/events/7?$select=id ",
		"GET /v1.0/me/events ",
		`POST /v1.0/me/events {"@odata.type":"#microsoft.graph.event","subject":"x"}`,
		`POST /v1.0/me/events/7/accept {"SendResponse":false}`,
		"DELETE /v1.0/me/events/7 ",
	}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}

	broken := func(context.Context, *struct{}) (*abstractions.RequestInformation, error) {
		return nil, errors.New("broken")
	}
	if _, err := graph.Get[event](t.Context(), c, "read", broken, nil); err == nil || err.Error() != "read: the request cannot be made: broken" {
		t.Errorf("an unbuildable request: %v", err)
	}
}
