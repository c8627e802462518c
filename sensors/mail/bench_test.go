package mail_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/graphtest"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// idle returns a function that polls three sensors of five mails each on the Inbox once, which holds a mail with an unread attachment
// of 3 MB, and the transport that counts the answers. The sensors have read everything.
func idle(t testing.TB) (s *simulator.Simulator, wire *graphtest.Counter, poll func()) {
	s = contoso(t)
	for i := range 20 {
		m := simulator.Mail{Subject: fmt.Sprint(i), HTML: true, Body: "<p>" + fmt.Sprintf("%08000d", i) + "</p>"}
		if i == 18 {
			m.Attachments = []simulator.Attachment{{Name: "photo.jpg", ContentType: "image/jpeg", Content: make([]byte, 3<<20)}}
		}
		s.DeliverMail(simulator.Adele, m)
	}
	g, wire := graphtest.Counted(t, s, simulator.Adele, "Mail.Read")
	details := map[string]any{"show_body": true, "download_attachments": true}
	ds := []*driver{email(t, nil), query(t, details), email(t, map[string]any{"is_unread": true, "show_body": true, "download_attachments": true})}
	poll = func() {
		var all sync.WaitGroup
		for _, d := range ds {
			all.Go(func() { d.Poll(t, g, time.Now()) })
		}
		all.Wait()
	}
	poll()
	s.ForgetRequests()
	wire.Take()
	return s, wire, poll
}

// The MS365 integration for Home Assistant needs these each minute for the same sensors, and 6.2 MB where it shows the names of attachments.
const (
	peerRequests = 12
	peerBytes    = 136_736
)

// Ten minutes of three idle sensors: a question for changes every 30 s, and at every tenth poll the folder and the three lists.
func TestIdleCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, wire, poll := idle(t)
		for range 20 {
			poll()
			time.Sleep(30 * time.Second)
		}
		if n := len(s.Requests()); n != 20+2*4 {
			t.Errorf("%d requests", n)
		}
		for _, r := range s.Requests() {
			if strings.Contains(r.Path, "attachments") || strings.Contains(r.Query.Get("$select"), "body,") {
				t.Errorf("%s %s reads a text or attachments again", r.Path, r.Query)
			}
		}
		if _, bytes := wire.Take(); bytes/10 > peerBytes/10 {
			t.Errorf("%d bytes a minute", bytes/10)
		}
	})
}

// BenchmarkIdle measures a minute of three idle sensors, beside that of the MS365 integration.
func BenchmarkIdle(b *testing.B) {
	s, wire, poll := idle(b)
	polls := 0
	for b.Loop() {
		poll() // with the default interval there are two a minute
		polls++
	}
	_, bytes := wire.Take()
	b.ReportMetric(2*float64(len(s.Requests()))/float64(polls), "requests/min")
	b.ReportMetric(peerRequests, "MS365-requests/min")
	b.ReportMetric(2*float64(bytes)/float64(polls), "bytes/min")
	b.ReportMetric(peerBytes, "MS365-bytes/min")
}
