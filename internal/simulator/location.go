package simulator

import (
	"net/http"
	"slices"
)

// A location is a work location that was set.
type location struct{ kind, place string }

// locations are what was set of a user's work location. What was chosen wins over what was detected, and that over what the user's
// clients and calendar say.
//
// https://learn.microsoft.com/graph/api/resources/userworklocation
type locations struct{ manual, automatic *location }

// apply puts the winning location into what is shown.
func (l locations) apply(shown *Presence) (place string) {
	switch {
	case l.manual != nil:
		shown.WorkLocation, shown.WorkLocationSource = l.manual.kind, "manual"
		return l.manual.place
	case l.automatic != nil && shown.WorkLocationSource != "manual":
		shown.WorkLocation, shown.WorkLocationSource = l.automatic.kind, "automatic"
		return l.automatic.place
	}
	return ""
}

// setLocation returns the action that sets one of the layers.
//
// https://learn.microsoft.com/graph/api/presence-setmanuallocation
func setLocation(layer func(*locations) **location) func(*call) (answer, error) {
	return func(c *call) (answer, error) {
		params, err := c.parameters("workLocationType", "placeId")
		if err != nil {
			return answer{}, err
		}
		kind, _ := params["workLocationType"].(string)
		if !slices.Contains([]string{"unspecified", "office", "remote", "timeOff"}, kind) {
			return answer{}, badRequest("Requested value '%v' was not found.", params["workLocationType"])
		}
		place, ok := params["placeId"].(string)
		if !ok && params["placeId"] != nil {
			return answer{}, badRequest("The parameter 'placeId' must be a string.")
		}
		p, err := c.own()
		if err != nil {
			return answer{}, err
		}
		*layer(&p.locations) = &location{kind, place}
		return answer{status: http.StatusOK}, nil
	}
}

// clearLocation clears both layers.
//
// https://learn.microsoft.com/graph/api/presence-clearlocation
func clearLocation(c *call) (answer, error) {
	if _, err := c.parameters(); err != nil {
		return answer{}, err
	}
	p, err := c.own()
	if err != nil {
		return answer{}, err
	}
	p.locations = locations{}
	return answer{status: http.StatusOK}, nil
}
