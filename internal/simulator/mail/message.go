package mail

import (
	"cmp"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/k3a/html2text"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A Mail is a message. The comment of a field names the meaning of its zero value, if it has one.
type Mail struct {
	ID          string // of Mails: set by the simulator
	ImmutableID string // of Mails: set by the simulator
	MessageID   string // internetMessageId, such as <1@example.com>; "": derived from the id

	Subject      string
	From         string // address; "": newsletter@fabrikam.example
	FromName     string // "": the user's, or the address
	Sender       string // who sent it on behalf of From; "": From
	To           []string
	Cc           []string
	Bcc          []string
	ReplyTo      []string
	Body         string
	HTML         bool // the body is HTML
	Received     time.Time
	Sent         time.Time // zero: Received
	Read         bool
	Draft        bool
	Importance   string // low, high; "": normal
	Flag         string // flagged, complete; "": notFlagged
	FlagDue      string // date
	Categories   []string
	Conversation string // mails with the same one belong together; "": one of its own
	Headers      [][2]string
	Properties   map[string]string // extended properties: value by id
	Attachments  []Attachment
	Null         []string // properties that Graph returns as null, such as subject, from, sender and body
}

// An Attachment is a file, an item or a reference.
type Attachment struct {
	ID          string `json:"id,omitempty"`   // of Mails: set by the simulator
	Kind        string `json:"kind,omitempty"` // item, reference; "": file
	Name        string `json:"name"`
	ContentType string `json:"contentType,omitempty"`
	Content     []byte `json:"content,omitempty"` // base64 in JSON
	Size        int    `json:"size,omitempty"`    // in bytes; 0: that of Content
	Inline      bool   `json:"inline,omitempty"`
	ContentID   string `json:"contentId,omitempty"`
	SourceURL   string `json:"sourceUrl,omitempty"`  // of a reference
	Item        *Mail  `json:"-"`                    // of an item
	Unreadable  bool   `json:"unreadable,omitempty"` // reading its content fails with 500
}

// A message is a stored message. Its properties are generated until it is changed.
type message struct {
	number     uint64
	generation uint16 // counts its ids
	folder     *folder
	received   time.Time
	read       bool
	arrived    uint64 // sequence number of its arrival in the folder
	changed    uint64 // sequence number of its last change
	modified   time.Time
	source     *source
	index      int            // in source
	stored     map[string]any // nil: what source generates
	files      []*attachment
}

// A source generates messages.
type source struct {
	b        *mailbox
	generate func(i int) Mail
}

// mail returns the generated message with the time and state that the simulator gave it.
func (m *message) mail() Mail {
	g := m.source.generate(m.index)
	g.Received, g.Read = m.received, m.read
	return g
}

// store stores the properties that were generated until now, so that they can be changed.
func (m *message) store() {
	if m.stored != nil {
		return
	}
	g := m.mail()
	m.stored = map[string]any{}
	for _, name := range storedProperties() {
		m.stored[name] = m.source.b.property(&g, m.number, name)
	}
	m.files = m.source.b.attachments(m, &g)
}

// attachments returns the attachments of a generated message.
func (b *mailbox) attachments(m *message, g *Mail) []*attachment {
	var all []*attachment
	for i, a := range g.Attachments {
		all = append(all, &attachment{Attachment: a, number: m.number<<16 | uint64(i), modified: m.modified})
	}
	return all
}

// storedProperties returns the properties that do not follow from the state of a message.
func storedProperties() []string {
	return []string{
		"categories", "sentDateTime", "createdDateTime", "internetMessageId", "subject", "importance", "conversationId", "conversationIndex",
		"isDeliveryReceiptRequested", "isReadReceiptRequested", "isDraft", "inferenceClassification", "body", "sender", "from",
		"toRecipients", "ccRecipients", "bccRecipients", "replyTo", "flag", "internetMessageHeaders", "singleValueExtendedProperties", "multiValueExtendedProperties", "extensions",
	}
}

// defaultProperties returns the properties that Graph returns without $select.
func defaultProperties() []string {
	return []string{
		"id", "createdDateTime", "lastModifiedDateTime", "changeKey", "categories", "receivedDateTime", "sentDateTime", "hasAttachments", "internetMessageId",
		"subject", "bodyPreview", "importance", "parentFolderId", "conversationId", "conversationIndex", "isDeliveryReceiptRequested", "isReadReceiptRequested",
		"isRead", "isDraft", "webLink", "inferenceClassification", "body", "sender", "from", "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "flag",
	}
}

// property returns a stored property of a generated message.
func (b *mailbox) property(g *Mail, number uint64, name string) any {
	if slices.Contains(g.Null, name) {
		return nil
	}
	switch name {
	case "categories":
		return texts(g.Categories)
	case "sentDateTime":
		return instant(cmp.Or(g.Sent, g.Received))
	case "createdDateTime":
		return instant(g.Received)
	case "internetMessageId":
		return cmp.Or(g.MessageID, "<"+b.key.id(24, kindMessage, number, 0)[8:]+"@simulator.example>")
	case "subject":
		return g.Subject
	case "importance":
		return cmp.Or(g.Importance, "normal")
	case "conversationId":
		if g.Conversation != "" {
			return g.Conversation
		}
		return b.key.id(68, kindConversation, number, 0)
	case "conversationIndex":
		return b.key.conversationIndex(number)
	case "isDeliveryReceiptRequested", "isReadReceiptRequested":
		return false
	case "isDraft":
		return g.Draft
	case "inferenceClassification":
		return "focused"
	case "body":
		return map[string]any{"contentType": bodyType(g.HTML), "content": g.Body}
	case "from":
		return recipient(b.nameOf, g.From, g.FromName)
	case "sender":
		if g.Sender != "" {
			return recipient(b.nameOf, g.Sender, "")
		}
		return recipient(b.nameOf, g.From, g.FromName)
	case "toRecipients":
		return recipients(b.nameOf, g.To)
	case "ccRecipients":
		return recipients(b.nameOf, g.Cc)
	case "bccRecipients":
		return recipients(b.nameOf, g.Bcc)
	case "replyTo":
		return recipients(b.nameOf, g.ReplyTo)
	case "flag":
		flag := map[string]any{"flagStatus": cmp.Or(g.Flag, "notFlagged")}
		if g.FlagDue != "" {
			flag["startDateTime"] = map[string]any{"dateTime": g.FlagDue + "T00:00:00.0000000", "timeZone": "UTC"}
			flag["dueDateTime"] = map[string]any{"dateTime": g.FlagDue + "T00:00:00.0000000", "timeZone": "UTC"}
		}
		return flag
	case "internetMessageHeaders":
		all := []any{}
		for _, h := range g.Headers {
			all = append(all, map[string]any{"name": h[0], "value": h[1]})
		}
		return all
	case "singleValueExtendedProperties":
		all := []any{}
		for _, id := range slices.Sorted(maps.Keys(g.Properties)) {
			all = append(all, map[string]any{"id": id, "value": g.Properties[id]})
		}
		return all
	}
	return []any{}
}

func bodyType(html bool) string {
	if html {
		return "html"
	}
	return "text"
}

func texts(list []string) []any {
	all := []any{}
	for _, s := range list {
		all = append(all, s)
	}
	return all
}

func recipient(nameOf func(string) string, address, name string) map[string]any {
	address = cmp.Or(address, "newsletter@fabrikam.example")
	return odata.RecipientJSON(cmp.Or(name, nameOf(address)), address)
}

func recipients(nameOf func(string) string, addresses []string) []any {
	all := []any{}
	for _, a := range addresses {
		all = append(all, recipient(nameOf, a, ""))
	}
	return all
}

// add stores a message in a folder.
func (b *mailbox) add(m *message, f *folder) {
	m.number = b.number()
	b.byNumber[m.number] = m
	b.list(m)
	b.enter(m, f)
}

// list inserts a message into the list of messages, which is in the order of the times received.
func (b *mailbox) list(m *message) {
	i, _ := slices.BinarySearchFunc(b.messages, m, compareMessages)
	b.messages = slices.Insert(b.messages, i, m)
}

// unlist deletes a message from the list of messages.
func (b *mailbox) unlist(m *message) {
	i, found := slices.BinarySearchFunc(b.messages, m, compareMessages)
	if !found {
		panic("the message is not where its time is") // the simulator's own order
	}
	b.messages = slices.Delete(b.messages, i, i+1)
}

// enter puts a message into a folder.
func (b *mailbox) enter(m *message, f *folder) {
	b.sequence++
	m.folder, m.arrived, m.changed = f, b.sequence, b.sequence
	f.changed = b.sequence
	f.total++
	if !m.read {
		f.unread++
	}
	b.announce(m, "created")
}

// compareMessages orders messages from the oldest to the newest.
func compareMessages(x, y *message) int {
	return cmp.Or(x.received.Compare(y.received), cmp.Compare(x.number, y.number))
}

// leave takes a message out of its folder.
func (b *mailbox) leave(m *message) {
	b.sequence++
	f := m.folder
	f.removed = append(f.removed, removal{b.sequence, b.messageID(m, false), b.messageID(m, true)})
	f.changed = b.sequence
	f.total--
	if !m.read {
		f.unread--
	}
	b.announce(m, "deleted")
}

// remove deletes a message.
func (b *mailbox) remove(m *message) {
	b.leave(m)
	delete(b.byNumber, m.number)
	b.unlist(m)
}

// move moves a message into another folder, where it has a new id.
func (b *mailbox) move(m *message, to *folder, now time.Time) {
	b.leave(m)
	m.generation++
	m.modified = now
	b.enter(m, to)
}

// touch records a change of a message.
func (b *mailbox) touch(m *message, now time.Time) {
	b.sequence++
	m.changed, m.modified, m.folder.changed = b.sequence, now, b.sequence
	b.announce(m, "updated")
}

// announce reports a change of a message.
func (b *mailbox) announce(m *message, kind string) {
	b.changed(func() directory.Change {
		owner := "users/" + b.user.ID
		c := directory.Change{Collections: []string{owner + "/messages", owner + "/mailFolders/" + m.folder.id + "/messages"}, ID: b.messageID(m, false), Type: kind}
		if m.folder.wellKnown != "" {
			c.Collections = append(c.Collections, owner+"/mailFolders/"+m.folder.wellKnown+"/messages")
		}
		return c
	})
}

func (b *mailbox) setRead(m *message, read bool) {
	if read != m.read {
		m.read = read
		m.folder.unread += map[bool]int{true: -1, false: 1}[read]
	}
}

func (b *mailbox) messageID(m *message, immutable bool) string {
	if immutable {
		return b.key.id(messageIDLength, kindImmutable, m.number, 0)
	}
	return b.key.id(messageIDLength, kindMessage, m.number, m.generation)
}

// byID returns the message with this id, immutable or not, or nil.
func (b *mailbox) byID(id string) *message {
	number, ok := b.key.number(id, messageIDLength)
	m := b.byNumber[number]
	if !ok || m == nil || id != b.messageID(m, false) && id != b.messageID(m, true) {
		return nil
	}
	return m
}

// attachmentsOf returns the attachments of a message.
func (b *mailbox) attachmentsOf(m *message) []*attachment {
	if m.stored != nil {
		return m.files
	}
	g := m.mail()
	return b.attachments(m, &g)
}

// A view is the representation of messages that a client asked for.
type view struct {
	b         *mailbox
	immutable bool
	body      string // text, html, or "": as it is
	basic     bool
}

func (c *call) view() view {
	v := view{b: c.b, basic: c.basic()}
	if strings.EqualFold(c.Prefer["idtype"], "ImmutableId") {
		v.immutable = true
		c.Applied(`IdType="ImmutableId"`)
	}
	if kind := strings.ToLower(c.Prefer["outlook.body-content-type"]); kind == "text" || kind == "html" {
		v.body = kind
		c.Applied(`outlook.body-content-type="` + kind + `"`)
	}
	return v
}

// withheld returns the properties that Mail.ReadBasic does not show. See https://learn.microsoft.com/graph/permissions-reference#mailreadbasic.
func withheld() []string {
	return []string{"body", "bodyPreview", "uniqueBody", "attachments", "extensions", "singleValueExtendedProperties", "multiValueExtendedProperties"}
}

// entity returns properties of a message; nil: those that Graph returns by default.
func (v view) entity(m *message, names []string) map[string]any {
	if names == nil {
		names = defaultProperties()
	}
	out := map[string]any{"id": v.b.messageID(m, v.immutable), "@odata.etag": `W/"` + v.b.key.changeKey(m.number, m.changed) + `"`}
	v.fill(out, m, names)
	return out
}

// fill sets properties of a message other than its id. Properties that are not stored are generated only if needed.
func (v view) fill(out map[string]any, m *message, names []string) {
	b := v.b
	get := func(name string) any { return m.stored[name] }
	files := func() []*attachment { return m.files }
	if m.stored == nil {
		generated := sync.OnceValue(m.mail)
		get = func(name string) any { g := generated(); return b.property(&g, m.number, name) }
		files = func() []*attachment { g := generated(); return b.attachments(m, &g) }
	}
	for _, name := range names {
		if v.basic && slices.Contains(withheld(), name) {
			continue
		}
		switch name {
		case "id":
		case "changeKey":
			out[name] = b.key.changeKey(m.number, m.changed)
		case "receivedDateTime":
			out[name] = instant(m.received)
		case "lastModifiedDateTime":
			out[name] = instant(m.modified)
		case "isRead":
			out[name] = m.read
		case "parentFolderId":
			out[name] = m.folder.id
		case "webLink":
			out[name] = "https://outlook.office365.com/owa/?ItemID=" + url.QueryEscape(b.messageID(m, false)) + "&exvsurl=1&viewmodel=ReadMessageItem"
		case "hasAttachments":
			// Inline attachments alone do not count, see https://learn.microsoft.com/graph/api/resources/message.
			out[name] = slices.ContainsFunc(files(), func(a *attachment) bool { return !a.Inline })
		case "attachments":
			all := []any{}
			for _, a := range files() {
				all = append(all, b.attachmentJSON(a, true))
			}
			out[name] = all
		case "body", "uniqueBody":
			out[name] = v.bodyOf(get("body"))
		case "bodyPreview":
			out[name] = preview(get("body"))
		default:
			out[name] = get(name)
		}
	}
}

// bodyOf returns a body as text or HTML.
func (v view) bodyOf(stored any) any {
	body, ok := stored.(map[string]any)
	if !ok {
		return stored
	}
	content, _ := body["content"].(string)
	switch {
	case v.body == "text" && body["contentType"] == "html":
		return map[string]any{"contentType": "text", "content": html2text.HTML2Text(content)}
	case v.body == "html" && body["contentType"] == "text":
		return map[string]any{"contentType": "html", "content": "<html><body>" + odata.TextToHTML(content) + "</body></html>"}
	}
	return body
}

// plainText returns a body as text.
func plainText(stored any) string {
	body, _ := view{body: "text"}.bodyOf(stored).(map[string]any)
	content, _ := body["content"].(string)
	return strings.TrimSpace(content)
}

// preview returns the first 255 characters of a body as text.
func preview(stored any) any {
	if stored == nil {
		return ""
	}
	return odata.Preview(plainText(stored))
}

// DeliverMail puts a mail into the Inbox, as if it had just arrived, and returns it with its ids.
func (s *Service) DeliverMail(address string, m Mail) Mail { return s.AddMail(address, "", m) }

// AddMail puts a mail into a folder, given by well-known name, path or id ("": Inbox), and returns it with its ids.
func (s *Service) AddMail(address, folder string, m Mail) Mail {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	return b.info(s.add(b, b.find(folder), m))
}

func (s *Service) add(b *mailbox, f *folder, g Mail) *message {
	if g.Received.IsZero() {
		g.Received = s.directory.Now()
	}
	m := &message{
		received: g.Received.UTC().Truncate(time.Second), read: g.Read, modified: s.directory.Now(),
		source: &source{b, func(int) Mail { return g }},
	}
	b.add(m, f)
	m.store()
	m.source = nil
	return m
}

// FillMailFolder adds n mails that generate returns when they are needed. It is fast for 100,000 mails, which share what generate closes over;
// generate must return the same mail for the same number.
func (s *Service) FillMailFolder(address, folder string, n int, generate func(i int) Mail) {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	f := b.find(folder)
	now := s.directory.Now()
	from := &source{b, generate}
	for i := range n {
		g := generate(i)
		if g.Received.IsZero() {
			g.Received = now
		}
		m := &message{number: b.number(), received: g.Received.UTC().Truncate(time.Second), read: g.Read, modified: now, source: from, index: i}
		b.byNumber[m.number] = m
		b.messages = append(b.messages, m)
		b.enter(m, f)
	}
	slices.SortFunc(b.messages, compareMessages)
}

// Mails returns the mails in a folder, newest first. The folder is given by well-known name, path or id; "" is the Inbox.
func (s *Service) Mails(address, folder string) []Mail {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	f := b.find(folder)
	var all []Mail
	for _, m := range slices.Backward(b.messages) {
		if m.folder == f {
			all = append(all, b.info(m))
		}
	}
	return all
}

// SentMails returns the mails in Sent Items, newest first.
func (s *Service) SentMails(address string) []Mail { return s.Mails(address, "sentitems") }

// ChangeMail changes a mail as its owner does in Outlook, and returns it; it is given by id, immutable or not. The ids, the time received and the
// folder do not change.
func (s *Service) ChangeMail(address, id string, change func(*Mail)) Mail {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	m := b.mustByID(id)
	before := b.info(m)
	after := before
	change(&after)
	m.store()
	b.setRead(m, after.Read)
	for _, name := range storedProperties() {
		if v := b.property(&after, m.number, name); !reflect.DeepEqual(v, b.property(&before, m.number, name)) {
			m.stored[name] = v
		}
	}
	if !reflect.DeepEqual(before.Attachments, after.Attachments) {
		m.files = b.attachments(m, &after)
	}
	b.touch(m, s.directory.Now())
	return b.info(m)
}

// MoveMail moves a mail into another folder, as its owner does in Outlook, and returns it with its new id.
func (s *Service) MoveMail(address, id, folder string) Mail {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	m := b.mustByID(id)
	b.move(m, b.find(folder), s.directory.Now())
	return b.info(m)
}

// RemoveMail deletes a mail for good.
func (s *Service) RemoveMail(address, id string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	b.remove(b.mustByID(id))
}

func (b *mailbox) mustByID(id string) *message {
	m := b.byID(id)
	if m == nil {
		panic(control.NotFound("%s has no mail %q", b.user.Address, id))
	}
	return m
}

// info returns a stored message as a Mail.
func (b *mailbox) info(m *message) Mail {
	var g Mail
	if m.stored == nil {
		g = m.mail()
	} else {
		g = mailOf(m.stored)
		g.Received, g.Read = m.received, m.read
		for _, a := range m.files {
			g.Attachments = append(g.Attachments, a.Attachment)
		}
	}
	g.ID, g.ImmutableID = b.messageID(m, false), b.messageID(m, true)
	g.Attachments = slices.Clone(g.Attachments) // generated mails may share them
	for i, a := range b.attachmentsOf(m) {
		g.Attachments[i].ID = b.attachmentID(a)
	}
	return g
}

// mailOf returns stored properties as a Mail.
func mailOf(p map[string]any) Mail {
	text := func(v any) string { s, _ := v.(string); return s }
	name, from := emailAddress(p["from"])
	_, sender := emailAddress(p["sender"])
	body, _ := p["body"].(map[string]any)
	flag, _ := p["flag"].(map[string]any)
	due, _ := flag["dueDateTime"].(map[string]any)
	g := Mail{
		MessageID: text(p["internetMessageId"]), Subject: text(p["subject"]), From: from, FromName: name,
		To: addresses(p, "toRecipients"), Cc: addresses(p, "ccRecipients"), Bcc: addresses(p, "bccRecipients"), ReplyTo: addresses(p, "replyTo"),
		Body: text(body["content"]), HTML: body["contentType"] == "html", Draft: p["isDraft"] == true, Importance: text(p["importance"]), Flag: text(flag["flagStatus"]),
		Conversation: text(p["conversationId"]),
	}
	if !strings.EqualFold(sender, from) {
		g.Sender = sender
	}
	if day := text(due["dateTime"]); len(day) >= 10 {
		g.FlagDue = day[:10]
	}
	g.Sent, _ = time.Parse(time.RFC3339, text(p["sentDateTime"]))
	if all, ok := p["categories"].([]any); ok {
		for _, c := range all {
			g.Categories = append(g.Categories, text(c))
		}
	}
	if all, ok := p["internetMessageHeaders"].([]any); ok {
		for _, h := range all {
			h, _ := h.(map[string]any)
			g.Headers = append(g.Headers, [2]string{text(h["name"]), text(h["value"])})
		}
	}
	if all, ok := p["singleValueExtendedProperties"].([]any); ok {
		for _, x := range all {
			x, _ := x.(map[string]any)
			if g.Properties == nil {
				g.Properties = map[string]string{}
			}
			g.Properties[text(x["id"])] = text(x["value"])
		}
	}
	for _, name := range []string{"subject", "from", "sender", "body"} {
		if v, ok := p[name]; ok && v == nil {
			g.Null = append(g.Null, name)
		}
	}
	return g
}
