package mail

import (
	"errors"
	"fmt"
	"slices"

	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	mailops "github.com/graph2mqtt/graph2mqtt/services/mail"
)

// Options are the options of a folder. They are the sensors.Source of its mails.
type Options struct {
	Folder              string `koanf:"folder" form:"true" doc:"The folder: its path, such as Inbox/Bills, with \\/ for a slash in a name. The first name may be a well-known one, such as Inbox, Sent Items or Archive, in a mailbox of any language."`
	MaxItems            int    `koanf:"max_items" min:"1" max:"100" doc:"Maximum number of mails in the list, the newest ones."`
	IsUnread            *bool  `koanf:"is_unread" doc:"Show only unread mails, or with false only read ones. Default: both."`
	ShowBody            bool   `koanf:"show_body" doc:"Show the text of each mail in the list."`
	HTMLBody            bool   `koanf:"html_body" doc:"Show the text of each mail in the list as HTML, without scripts and styles."`
	DownloadAttachments bool   `koanf:"download_attachments" doc:"Show names, sizes and types of the attachments. Their content is not downloaded."`
	Basic               bool   `koanf:"basic" doc:"Request only the permission Mail.ReadBasic instead of Mail.Read. There are then no texts, previews and attachments."`
	SharedMailbox       string `koanf:"shared_mailbox" form:"true" doc:"The address or id of another user's or a shared mailbox that you have access to."`

	SendAs []string `koanf:"send_as" doc:"Additional addresses that mails may be sent from. Exchange must allow you to send as them or on their behalf."`
	Notify *Notify  `koanf:"notify" doc:"Add a notify entity that sends its messages as mails; requires enable_update. An empty mapping, notify: {}, uses the defaults."`

	directories []string
	large       bool // send may send mails of any size
}

// Notify is the fixed part of the mails of the notify entity.
type Notify struct {
	To      []string `koanf:"to" doc:"The recipients of the mails that the notify entity sends. Default: yourself."`
	Cc      []string `koanf:"cc" doc:"The addresses that get a copy of these mails."`
	Subject string   `koanf:"subject" doc:"The subject of these mails, which is always the same. Default: Message from Home Assistant."`
}

// Validate returns an error for addresses that are none.
func (n *Notify) Validate() error {
	return errors.Join(checkAddresses("to", n.To), checkAddresses("cc", n.Cc))
}

func checkAddresses(key string, addresses []string) error {
	var errs []error
	for i, s := range addresses {
		if !mailops.IsAddress(s) {
			errs = append(errs, schema.At(fmt.Sprintf("%s[%d]", key, i), fmt.Errorf("want an address, such as ann@contoso.com, not %q", s)))
		}
	}
	return errors.Join(errs...)
}

// SendFiles sets the only directories that files are sent from, and what the sensor allows.
func (o *Options) SendFiles(directories, allow []string) {
	o.directories, o.large = directories, slices.Contains(allow, mailops.SendLarge)
}

// CheckSensor returns an error for options that do not go with the keys of the sensor.
func (o *Options) CheckSensor(enableUpdate bool, allow []string) error {
	switch {
	case o.Notify == nil:
	case !enableUpdate:
		return schema.At("notify", errors.New("only with enable_update: true"))
	case len(allow) > 0 && !slices.Contains(allow, mailops.Send) && !slices.Contains(allow, "default"):
		return schema.At("notify", fmt.Errorf("want %s in allow as well", mailops.Send))
	}
	return nil
}

// CheckApplication returns an error for options that an organization cannot use.
func (o *Options) CheckApplication() error {
	var errs []error
	if o.SharedMailbox != "" {
		errs = append(errs, schema.At("shared_mailbox", errors.New("not in an organization: user names the mailbox")))
	}
	if len(o.SendAs) > 0 {
		errs = append(errs, schema.At("send_as", errors.New("not in an organization: an application sends as the owner of the mailbox; add a sensor for each mailbox")))
	}
	return errors.Join(errs...)
}

// CheckOperation returns an error for an operation that the options rule out.
func (o *Options) CheckOperation(name string) error {
	if o.Basic && slices.Contains([]string{mailops.SearchMails, mailops.ListAttachments, mailops.AttachmentContent}, name) {
		return fmt.Errorf("%s is not offered with basic: Mail.ReadBasic does not give that", name)
	}
	return nil
}

// Query are the options of a filter. They are the sensors.Source of the mails that it selects.
type Query struct {
	Options
	From            string `koanf:"from" form:"true" example:"ann@contoso.com" doc:"Show only mails from this address."`
	HasAttachment   *bool  `koanf:"has_attachment" doc:"Show only mails with attachments, or with false only those without. Default: both."`
	Importance      string `koanf:"importance" enum:"low,normal,high" doc:"Show only mails of this importance."`
	SubjectContains string `koanf:"subject_contains" form:"true" doc:"Show only mails whose subject contains this text, ignoring case."`
	SubjectIs       string `koanf:"subject_is" doc:"Show only mails with this subject, ignoring case."`
	BodyContains    string `koanf:"body_contains" doc:"Show only mails whose text contains this, ignoring case. Graph cannot search texts reliably, so graph2mqtt reads the texts of the newest mails that match the other options."`
	MaxScan         int    `koanf:"max_scan" min:"1" max:"5000" doc:"With body_contains, the maximum number of mails whose texts are read. The attribute matching_complete is false if there are more."`
}

// Validate returns an error for options that cannot work together.
func (o *Options) Validate() error {
	var errs []error
	if _, err := mail.SplitPath(o.Folder); err != nil {
		errs = append(errs, schema.At("folder", err))
	}
	errs = append(errs, checkAddresses("send_as", o.SendAs))
	if !o.Basic {
		return errors.Join(errs...)
	}
	for _, c := range []struct {
		key string
		set bool
	}{{"shared_mailbox", o.SharedMailbox != ""}, {"show_body", o.ShowBody}, {"html_body", o.HTMLBody}, {"download_attachments", o.DownloadAttachments}} {
		if c.set {
			why := "Mail.ReadBasic does not give that"
			if c.key == "shared_mailbox" {
				why = "Microsoft has no such permission"
			}
			errs = append(errs, schema.At("basic", fmt.Errorf("not with %s: %s", c.key, why)))
		}
	}
	return errors.Join(errs...)
}

// Validate returns an error for options that cannot work together.
func (q *Query) Validate() error {
	errs := []error{q.Options.Validate()}
	if q.Basic && q.BodyContains != "" {
		errs = append(errs, schema.At("basic", errors.New("not with body_contains: Mail.ReadBasic does not give that")))
	}
	if q.SubjectContains != "" && q.SubjectIs != "" {
		errs = append(errs, schema.At("subject_is", errors.New("not with subject_contains")))
	}
	if q.From != "" && !mailops.IsAddress(q.From) {
		errs = append(errs, schema.At("from", fmt.Errorf("want an address, such as ann@contoso.com, not %q", q.From)))
	}
	return errors.Join(errs...)
}

func (o *Options) mailbox() mail.Mailbox {
	return mail.Mailbox{Address: o.SharedMailbox, Basic: o.Basic}
}

// A selection selects mails of a folder.
type selection struct {
	mail.Filter
	body string // that the text contains
	scan int    // maximum number of texts that are compared
}

func (o *Options) selection() selection {
	return selection{Filter: mail.Filter{Unread: o.IsUnread}}
}

func (q *Query) selection() selection {
	return selection{
		Filter: mail.Filter{
			Unread: q.IsUnread, From: q.From, HasAttachments: q.HasAttachment, Importance: q.Importance,
			SubjectContains: q.SubjectContains, SubjectIs: q.SubjectIs,
		},
		body: q.BodyContains, scan: q.MaxScan,
	}
}
