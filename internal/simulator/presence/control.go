package presence

import (
	"net/http"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

// presenceBody is a Presence in JSON.
type presenceBody struct {
	Availability       string    `json:"availability"`
	Activity           string    `json:"activity"`
	Message            string    `json:"message"`
	MessagePublished   time.Time `json:"messagePublished,omitzero"`
	MessageExpires     time.Time `json:"messageExpires,omitzero"`
	OutOfOffice        bool      `json:"outOfOffice"`
	OutOfOfficeMessage string    `json:"outOfOfficeMessage"`
	WorkLocation       string    `json:"workLocation"`
	WorkLocationSource string    `json:"workLocationSource"`
}

func (s *Service) controls() []control.Operation {
	return []control.Operation{
		{Method: "GET", Path: "/control/users/{user}/presence", Description: "read the presence that others see", Do: s.readPresence},
		{Method: "PUT", Path: "/control/users/{user}/presence", Description: "set what the user's Teams clients report", Do: s.putPresence},
		{Method: "DELETE", Path: "/control/users/{user}/presence", Description: "remove the user's Teams license", Do: s.deletePresence},
	}
}

func (s *Service) readPresence(r *http.Request) (any, error) {
	return presenceBody(s.Presence(r.PathValue("user"))), nil
}

func (s *Service) putPresence(r *http.Request) (any, error) {
	in, err := control.Decode[presenceBody](r)
	if err != nil {
		return nil, err
	}
	s.SetPresence(r.PathValue("user"), Presence(in))
	return s.readPresence(r)
}

func (s *Service) deletePresence(r *http.Request) (any, error) {
	s.RemoveTeams(r.PathValue("user"))
	return nil, nil
}
