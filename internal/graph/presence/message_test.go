package presence

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMessage(t *testing.T) {
	at := time.Date(2026, 1, 15, 11, 0, 0, 0, time.UTC)
	for document, want := range map[string]Message{
		`null`: {},
		`{}`:   {},
		`{"message": {"content": "Hey<pinnednote></pinnednote>"}}`:                                                                                                            {Text: "Hey"},
		`{"message": {"content": "Hey"}, "publishedDateTime": "2026-01-15T11:00:00Z"}`:                                                                                        {Text: "Hey", Published: at},
		`{"message": {"content": "Hey"}, "publishedDateTime": "today", "expiryDateTime": {"dateTime": "2026-01-15T12:00:00.0000000", "timeZone": "W. Europe Standard Time"}}`: {Text: "Hey", Expiry: at},
		`{"message": {"content": "Hey"}, "expiryDateTime": {"dateTime": "9999-12-30T23:00:00.0000000", "timeZone": "UTC"}}`:                                                   {Text: "Hey"},
		`{"message": {"content": "Hey"}, "expiryDateTime": {"dateTime": "2026-01-15T12:00:00", "timeZone": "Mars"}}`:                                                          {Text: "Hey"},
		`{"message": {"content": null}, "publishedDateTime": "2026-01-15T11:00:00Z"}`:                                                                                         {},
	} {
		var d statusMessageDTO
		if err := json.Unmarshal([]byte(document), &d); err != nil {
			t.Errorf("%s: %v", document, err)
			continue
		}
		if d := cmp.Diff(want, d.message()); d != "" {
			t.Errorf("%s (-want +got):\n%s", document, d)
		}
	}
	m := Message{Text: "Hey", Expiry: at}
	if m.At(at.Add(-1)) != m || m.At(at) != (Message{}) {
		t.Errorf("before its expiry %v, then %v", m.At(at.Add(-1)), m.At(at))
	}
}
