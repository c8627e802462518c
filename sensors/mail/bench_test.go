package mail_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// BenchmarkIdle measures a minute of three sensors of five mails each on the Inbox, one with an unread attachment of 3 MB. The MS365
// integration for Home Assistant needs 12 requests and 136,736 bytes, and 6.2 MB where it shows the names of attachments.
func BenchmarkIdle(b *testing.B) {
	s := contoso(b)
	for i := range 20 {
		m := simulator.Mail{Subject: fmt.Sprint(i), HTML: true, Body: "<p>" + fmt.Sprintf("%08000d", i) + "</p>"}
		if i == 18 {
			m.Attachments = []simulator.Attachment{{Name: "photo.jpg", ContentType: "image/jpeg", Content: make([]byte, 3<<20)}}
		}
		s.DeliverMail(simulator.Adele, m)
	}
	g, wire := counted(b, s)
	details := map[string]any{"show_body": true, "download_attachments": true}
	ds := []*driver{email(b, nil), query(b, details), email(b, map[string]any{"is_unread": true, "show_body": true, "download_attachments": true})}
	poll := func() {
		var all sync.WaitGroup
		for _, d := range ds {
			all.Go(func() { d.Poll(b, g, time.Now()) })
		}
		all.Wait()
	}
	poll()
	s.ForgetRequests()
	wire.n = 0
	polls := 0
	for b.Loop() {
		poll() // with the default interval there are two a minute
		polls++
	}
	b.ReportMetric(2*float64(len(s.Requests()))/float64(polls), "requests/min")
	b.ReportMetric(2*float64(wire.n)/float64(polls), "bytes/min")
}
