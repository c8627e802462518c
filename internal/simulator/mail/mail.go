// Package mail simulates the mail of Exchange: folders, messages and attachments of mailboxes, delta queries, drafts and sending.
package mail

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Service holds the mail of all users. The lock of the directory guards its state.
type Service struct {
	directory *directory.Directory
	types     types
	licensed  func(userID string) bool
	mailboxes map[string]*mailbox // by id of the user
	rights    map[share]MailboxRights
	uploads   map[string]*upload // by token
}

// New returns the mail of the directory's users. licensed reports whether a user still has a mailbox.
func New(d *directory.Directory, licensed func(userID string) bool) *Service {
	s := &Service{directory: d, types: newTypes(), licensed: licensed, mailboxes: map[string]*mailbox{}, rights: map[share]MailboxRights{}, uploads: map[string]*upload{}}
	d.OnAdd(func(u *directory.User) { s.mailboxes[u.ID] = newMailbox(u, d) })
	return s
}

//go:embed permissions.json
var permissions []byte

// Resource returns the mail of Graph.
func (s *Service) Resource() odata.Resource {
	return odata.Resource{
		Routes:      slices.Concat(s.folderRoutes(), s.messageRoutes()),
		Permissions: permissionTable(),
		Exceptions:  exceptions,
		Application: application,
		Controls:    s.controls(),
		Seed:        s.seed,
	}
}

// permissionTable returns the rows of the permission table with the .Shared scopes, which it lacks. They cover the user's own mailbox as well as
// those of others, see https://learn.microsoft.com/graph/permissions-reference.
func permissionTable() []byte {
	var table map[string]map[string][]string
	if err := json.Unmarshal(permissions, &table); err != nil {
		panic(err) // embedded file
	}
	for _, row := range table {
		for scheme, scopes := range row {
			row[scheme] = withShared(scopes...)
		}
	}
	b, err := json.Marshal(table)
	if err != nil {
		panic(err) // strings only
	}
	return b
}

// withShared adds the .Shared scope of every scope that has one.
func withShared(scopes ...string) []string {
	all := slices.Clone(scopes)
	for _, s := range scopes {
		if slices.Contains([]string{"Mail.Read", "Mail.ReadWrite", "Mail.Send"}, s) {
			all = append(all, s+".Shared")
		}
	}
	return all
}

// exceptions returns the scopes for which Microsoft's permission table is silent or wrong.
func exceptions(method, path string, _ bool) []string {
	read := method == http.MethodGet
	last := path[strings.LastIndexByte(path, '/')+1:]
	sends := slices.Contains([]string{"sendmail", "send", "reply", "replyall", "forward"}, last)
	shared := strings.HasPrefix(path, "/users/")
	switch {
	// Somebody else's mailbox, see https://learn.microsoft.com/graph/outlook-share-messages-folders.
	case shared && sends:
		return []string{"Mail.Send.Shared"}
	case shared && read:
		return []string{"Mail.Read.Shared", "Mail.ReadWrite.Shared"}
	case shared:
		return []string{"Mail.ReadWrite.Shared"}
	case last == "replyall" || last == "send":
		return withShared("Mail.Send") // the table has replyAll under /users/me, and send not below folders
	case read && strings.Contains(path, "/attachments"):
		return withShared("Mail.Read", "Mail.ReadWrite") // the table forgets ReadWrite, single attachments and their content
	case read && strings.HasSuffix(path, "/messages/{id}"):
		return withShared("Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite") // the table forgets ReadWrite
	case strings.Contains(path, "/attachments/"):
		return withShared("Mail.ReadWrite") // the table has Calendars.ReadWrite, which is for events
	}
	return nil
}

// application returns the application permissions for an operation.
func application(method, path string) []string {
	last := path[strings.LastIndexByte(path, '/')+1:]
	switch {
	case slices.Contains([]string{"sendmail", "send", "reply", "replyall", "forward"}, last):
		return []string{"Mail.Send"}
	case method == http.MethodGet && strings.Contains(path, "/attachments"):
		return []string{"Mail.Read", "Mail.ReadWrite"}
	case method == http.MethodGet:
		return []string{"Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"}
	}
	return []string{"Mail.ReadWrite"}
}

// A call is a request to Graph.
type call struct {
	*odata.Call
	s *Service
	b *mailbox // in the path
}

// handle returns do as the handler of a route. It refuses mailboxes that do not exist, or that the user may not open.
func (s *Service) handle(do func(*call) (odata.Response, error)) func(*odata.Call) (odata.Response, error) {
	return func(c *odata.Call) (odata.Response, error) {
		id := c.Owner()
		b := s.mailboxes[id]
		switch {
		case b == nil:
			return odata.Response{}, odata.InvalidUser(id)
		case !s.licensed(id):
			return odata.Response{}, odata.NoMailbox()
		case id != c.User.ID && c.Application == "" && !s.rights[share{id, c.User.ID}].FullAccess:
			return odata.Response{}, odata.AccessDenied()
		}
		return do(&call{c, s, b})
	}
}

// basic reports whether the token allows reading without bodies, attachments and extended properties only.
func (c *call) basic() bool {
	return !c.Granted("Mail.Read", "Mail.ReadWrite", "Mail.Read.Shared", "Mail.ReadWrite.Shared")
}

// A share is a mailbox and a user who has rights to it.
type share struct{ owner, guest string }

// MailboxRights are the rights to another user's mailbox.
type MailboxRights struct {
	FullAccess   bool `json:"fullAccess"`   // read and change everything
	SendAs       bool `json:"sendAs"`       // send mails as the owner
	SendOnBehalf bool `json:"sendOnBehalf"` // send mails "on behalf of" the owner
}

// SetMailboxRights gives a user these rights to the owner's mailbox, and no others.
func (s *Service) SetMailboxRights(owner, guest string, rights MailboxRights) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.rights[share{s.directory.MustUser(owner).ID, s.directory.MustUser(guest).ID}] = rights
}

// MailboxOptions are the settings of a mailbox.
type MailboxOptions struct {
	Language string // of the names of the default folders: en, de, es, fr; "": en
	MaxSize  int    // of a message in bytes; 0: 35 MB
}

// SetMailboxOptions changes the settings of a mailbox. The names of the default folders become those of the language.
func (s *Service) SetMailboxOptions(address string, o MailboxOptions) {
	s.directory.Lock()
	defer s.directory.Unlock()
	if o.Language == "" {
		o.Language = "en"
	}
	if folderNames(o.Language) == nil {
		panic(control.Invalid("language: want one of en, de, es, fr, not %q", o.Language))
	}
	if o.MaxSize < 0 {
		panic(control.Invalid("maxSize: want at least 0, not %d", o.MaxSize))
	}
	b := s.mustMailbox(address)
	b.options = o
	b.translate()
}

func (s *Service) mustMailbox(address string) *mailbox {
	return s.mailboxes[s.directory.MustUser(address).ID]
}

// A mailbox holds the folders and messages of a user.
type mailbox struct {
	user     *directory.User
	nameOf   func(address string) string // of a user, or the address
	changed  func(change func() directory.Change)
	key      mailboxKey
	options  MailboxOptions
	folders  []*folder // the root first
	messages []*message
	byNumber map[uint64]*message
	last     uint64 // number given last, to a folder or message
	sequence uint64 // of the last change
}

func newMailbox(u *directory.User, d *directory.Directory) *mailbox {
	b := &mailbox{user: u, nameOf: d.NameOf, changed: d.Changed, key: newMailboxKey(u.ID), byNumber: map[uint64]*message{}}
	b.addDefaultFolders()
	return b
}

// number returns a number that no folder or message has had.
func (b *mailbox) number() uint64 {
	b.last++
	return b.last
}

// maxSize returns the largest size of a message, see
// https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits#message-limits.
func (b *mailbox) maxSize() int {
	if b.options.MaxSize == 0 {
		return 35 << 20
	}
	return b.options.MaxSize
}

// instant formats a time as Graph does.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339) }
