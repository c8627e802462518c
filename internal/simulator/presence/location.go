package presence

import (
	"net/http"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A location is a work location that an app has set.
type location struct{ kind, place string }

// locations holds the work locations of a user that apps have set. The manual one has precedence over the automatic one, and that over
// what the user's clients and calendar report.
//
// https://learn.microsoft.com/graph/api/resources/userworklocation
type locations struct{ manual, automatic *location }

// apply puts the location with the highest precedence into the presence and returns its place.
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

// setLocation returns the action that sets the location that field selects.
//
// https://learn.microsoft.com/graph/api/presence-setmanuallocation
func setLocation(field func(*locations) **location) func(*call) (odata.Response, error) {
	return func(c *call) (odata.Response, error) {
		params, err := c.Parameters(&odata.Type{Properties: odata.Properties{
			"workLocationType": odata.Enum("workLocationType", "unspecified", "office", "remote", "timeOff"), "placeId": odata.String(),
		}})
		if err != nil {
			return odata.Response{}, err
		}
		kind, ok := params["workLocationType"].(string)
		if !ok {
			return odata.Response{}, odata.BadRequest("The parameter 'workLocationType' is required.")
		}
		place, _ := params["placeId"].(string)
		p, err := c.ownPresence()
		if err != nil {
			return odata.Response{}, err
		}
		*field(&p.locations) = &location{kind, place}
		return odata.Response{Status: http.StatusOK}, nil
	}
}

// clearLocation clears the locations that apps have set.
//
// https://learn.microsoft.com/graph/api/presence-clearlocation
func clearLocation(c *call) (odata.Response, error) {
	if _, err := c.Parameters(&odata.Type{}); err != nil {
		return odata.Response{}, err
	}
	p, err := c.ownPresence()
	if err != nil {
		return odata.Response{}, err
	}
	p.locations = locations{}
	return odata.Response{Status: http.StatusOK}, nil
}
