package services

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// iso matches a duration of ISO 8601, except for years and months, which have no fixed length.
var iso = regexp.MustCompile(`(?i)^P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T((?:\d+H)?(?:\d+M)?(?:\d+S)?))?$`)

// ParseDuration reads the duration s of a request's field in whole seconds: as ISO 8601 (PT1H30M) or as Go has it (1h30m). Its
// error is an invalid argument that names the field.
func ParseDuration(field, s string) (time.Duration, error) {
	var days time.Duration
	rest := s
	if parts := iso.FindStringSubmatch(s); parts != nil {
		for i, length := range []time.Duration{7, 1} {
			n, _ := strconv.Atoi(parts[i+1]) // up to four digits, or none
			days += time.Duration(n) * length * 24 * time.Hour
		}
		rest = "0" + strings.ToLower(parts[3])
	}
	d, err := time.ParseDuration(rest)
	if d += days; err != nil || d < time.Second || d%time.Second != 0 {
		return 0, graph.Invalid("%s: want a duration in whole seconds, such as PT1H30M or 1h30m, not %q", field, s)
	}
	return d, nil
}
