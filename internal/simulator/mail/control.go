package mail

import (
	"net/http"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
)

func (s *Service) controls() []control.Operation {
	return []control.Operation{
		{Method: "PATCH", Path: "/control/users/{user}/mail", Description: "change the language of the mailbox, or the largest size of a message", Do: s.changeOptions},
		{Method: "GET", Path: "/control/users/{user}/mailFolders", Description: "list the mail folders with their counts", Do: s.readFolders},
		{Method: "POST", Path: "/control/users/{user}/mailFolders", Description: "add a mail folder", Do: s.makeFolder},
		{Method: "GET", Path: "/control/users/{user}/mails", Description: "list the mails in a folder, newest first", Query: []string{"folder"}, Do: s.readMails},
		{Method: "POST", Path: "/control/users/{user}/mails", Description: "deliver mails", Do: s.deliver},
		{Method: "PATCH", Path: "/control/users/{user}/mails/{mail}", Description: "mark, flag, categorize or move a mail, as in Outlook", Do: s.changeMail},
		{Method: "DELETE", Path: "/control/users/{user}/mails/{mail}", Description: "delete a mail for good", Do: s.deleteMail},
		{Method: "PUT", Path: "/control/users/{user}/mailboxRights/{guest}", Description: "give another user rights to the mailbox", Do: s.putRights},
	}
}

func (s *Service) changeOptions(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Language *string `json:"language"`
		MaxSize  *int    `json:"maxSize"`
	}](r)
	if err != nil {
		return nil, err
	}
	o := s.mailboxOptions(r.PathValue("user"))
	control.Set(&o.Language, in.Language)
	control.Set(&o.MaxSize, in.MaxSize)
	s.SetMailboxOptions(r.PathValue("user"), o)
	return nil, nil
}

func (s *Service) mailboxOptions(address string) MailboxOptions {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.mustMailbox(address).options
}

func (s *Service) readFolders(r *http.Request) (any, error) {
	return control.ListOf(s.MailFolders(r.PathValue("user"))), nil
}

func (s *Service) makeFolder(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Path   string `json:"path"`
		Hidden bool   `json:"hidden"`
	}](r)
	if err != nil {
		return nil, err
	}
	f := s.AddMailFolder(r.PathValue("user"), in.Path)
	s.SetMailFolderHidden(r.PathValue("user"), f.ID, in.Hidden)
	f.Hidden = in.Hidden
	return f, nil
}

// mailBody is a Mail in JSON.
type mailBody struct {
	ID          string            `json:"id,omitempty"`
	ImmutableID string            `json:"immutableId,omitempty"`
	Folder      string            `json:"folder,omitempty"`
	Subject     string            `json:"subject"`
	From        string            `json:"from"`
	FromName    string            `json:"fromName,omitempty"`
	Sender      string            `json:"sender,omitempty"`
	To          []string          `json:"to,omitempty"`
	Cc          []string          `json:"cc,omitempty"`
	Bcc         []string          `json:"bcc,omitempty"`
	ReplyTo     []string          `json:"replyTo,omitempty"`
	Body        string            `json:"body"`
	HTML        bool              `json:"html,omitempty"`
	Received    time.Time         `json:"received,omitzero"`
	Read        bool              `json:"read"`
	Draft       bool              `json:"draft,omitempty"`
	Importance  string            `json:"importance,omitempty"`
	Flag        string            `json:"flag,omitempty"`
	FlagDue     string            `json:"flagDue,omitempty"`
	Categories  []string          `json:"categories,omitempty"`
	Properties  map[string]string `json:"properties,omitempty"`
	Attachments []Attachment      `json:"attachments,omitempty"`
	Null        []string          `json:"null,omitempty"`
	Count       int               `json:"count,omitempty"`
}

func (b mailBody) mail() (Mail, error) {
	m := Mail{
		Subject: b.Subject, From: b.From, FromName: b.FromName, Sender: b.Sender, To: b.To, Cc: b.Cc, Bcc: b.Bcc, ReplyTo: b.ReplyTo, Body: b.Body, HTML: b.HTML,
		Received: b.Received, Read: b.Read, Draft: b.Draft, Importance: b.Importance, Flag: b.Flag, FlagDue: b.FlagDue, Categories: b.Categories, Properties: b.Properties, Null: b.Null,
	}
	for _, a := range b.Attachments {
		a.ID = ""
		switch a.Kind {
		case "", "reference":
		case "file":
			a.Kind = ""
		case "item":
			a.Item = &Mail{Subject: a.Name}
		default:
			return m, control.Invalid("attachments: kind: want file, item or reference, not %q", a.Kind)
		}
		m.Attachments = append(m.Attachments, a)
	}
	return m, nil
}

func bodyOfMail(m Mail) mailBody {
	return mailBody{
		ID: m.ID, ImmutableID: m.ImmutableID, Subject: m.Subject, From: m.From, FromName: m.FromName, Sender: m.Sender, To: m.To, Cc: m.Cc, Bcc: m.Bcc, ReplyTo: m.ReplyTo,
		Body: m.Body, HTML: m.HTML, Received: m.Received, Read: m.Read, Draft: m.Draft, Importance: m.Importance, Flag: m.Flag, FlagDue: m.FlagDue, Categories: m.Categories,
		Properties: m.Properties, Attachments: m.Attachments, Null: m.Null,
	}
}

func (s *Service) readMails(r *http.Request) (any, error) {
	var all []mailBody
	for _, m := range s.Mails(r.PathValue("user"), r.URL.Query().Get("folder")) {
		all = append(all, bodyOfMail(m))
	}
	return control.ListOf(all), nil
}

// maxDelivered is the maximum number of mails that one request delivers.
const maxDelivered = 100_000

func (s *Service) deliver(r *http.Request) (any, error) {
	in, err := control.Decode[mailBody](r)
	if err != nil {
		return nil, err
	}
	m, err := in.mail()
	switch {
	case err != nil:
		return nil, err
	case in.ID != "" || in.ImmutableID != "":
		return nil, control.Invalid("id: the simulator gives the ids")
	case in.Count < 0 || in.Count > maxDelivered:
		return nil, control.Invalid("count: want 1 to %d, not %d", maxDelivered, in.Count)
	case in.Importance != "" && !slices.Contains([]string{"low", "normal", "high"}, in.Importance):
		return nil, control.Invalid("importance: want low, normal or high, not %q", in.Importance)
	case in.Flag != "" && !slices.Contains([]string{"notFlagged", "flagged", "complete"}, in.Flag):
		return nil, control.Invalid("flag: want notFlagged, flagged or complete, not %q", in.Flag)
	}
	if in.Count < 2 {
		return bodyOfMail(s.AddMail(r.PathValue("user"), in.Folder, m)), nil
	}
	// Many mails are a second apart, the last one is the newest.
	last := m.Received
	if last.IsZero() {
		last = s.directory.Now()
	}
	s.FillMailFolder(r.PathValue("user"), in.Folder, in.Count, func(i int) Mail {
		each := m
		each.Received = last.Add(-time.Duration(in.Count-1-i) * time.Second)
		return each
	})
	return nil, nil
}

func (s *Service) changeMail(r *http.Request) (any, error) {
	in, err := control.Decode[struct {
		Read       *bool     `json:"read"`
		Flag       *string   `json:"flag"`
		Importance *string   `json:"importance"`
		Categories *[]string `json:"categories"`
		Folder     *string   `json:"folder"`
	}](r)
	if err != nil {
		return nil, err
	}
	if in.Flag != nil && !slices.Contains([]string{"notFlagged", "flagged", "complete"}, *in.Flag) {
		return nil, control.Invalid("flag: want notFlagged, flagged or complete, not %q", *in.Flag)
	}
	if in.Importance != nil && !slices.Contains([]string{"low", "normal", "high"}, *in.Importance) {
		return nil, control.Invalid("importance: want low, normal or high, not %q", *in.Importance)
	}
	user, id := r.PathValue("user"), r.PathValue("mail")
	changed := s.ChangeMail(user, id, func(m *Mail) {
		control.Set(&m.Read, in.Read)
		if in.Flag != nil {
			m.Flag, m.FlagDue = *in.Flag, ""
		}
		control.Set(&m.Importance, in.Importance)
		control.Set(&m.Categories, in.Categories)
	})
	if in.Folder != nil {
		changed = s.MoveMail(user, changed.ID, *in.Folder)
	}
	return bodyOfMail(changed), nil
}

func (s *Service) deleteMail(r *http.Request) (any, error) {
	s.RemoveMail(r.PathValue("user"), r.PathValue("mail"))
	return nil, nil
}

func (s *Service) putRights(r *http.Request) (any, error) {
	in, err := control.Decode[MailboxRights](r)
	if err != nil {
		return nil, err
	}
	s.SetMailboxRights(r.PathValue("user"), r.PathValue("guest"), in)
	return nil, nil
}
