package mail

import (
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
)

// seed adds mails of the last days.
func (s *Service) seed(colleagues bool) {
	if !colleagues {
		return
	}
	now := s.directory.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	s.AddMailFolder(directory.Adele, "Bills/Power")
	for _, m := range []Mail{
		{
			Subject: "Minutes of the design review", From: directory.Megan, To: []string{directory.Adele}, Received: ago(50 * time.Hour), Read: true,
			Body: "Hello Adele,\r\n\r\nthe minutes are attached.\r\n\r\nMegan", Attachments: []Attachment{{Name: "minutes.txt", ContentType: "text/plain", Content: []byte("1. Welcome\n")}},
		},
		{
			Subject: "Lunch?", From: directory.Alex, To: []string{directory.Adele}, Received: ago(90 * time.Minute), Importance: "high",
			Body: "<html><body><p>Are you free at <b>noon</b>?</p></body></html>", HTML: true,
		},
		{Subject: "Your weekly digest", From: "digest@fabrikam.example", FromName: "Fabrikam", To: []string{directory.Adele}, Received: ago(5 * time.Hour), Body: "Nothing new.", Categories: []string{"News"}},
	} {
		s.AddMail(directory.Adele, "", m)
	}
	s.AddMail(directory.Adele, "Bills/Power", Mail{Subject: "Your bill", From: "billing@power.example", To: []string{directory.Adele}, Received: ago(72 * time.Hour), Read: true, Body: "You owe 42.00."})
}
