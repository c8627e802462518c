package mail

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// maxRecipients is the maximum number of recipients of a message, see
// https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits#sending-limits.
const maxRecipients = 500

// sendMail sends a message that is not stored before. See https://learn.microsoft.com/graph/api/user-sendmail.
func sendMail(c *call) (odata.Response, error) {
	in, err := c.Parameters(c.s.types.sendMail)
	if err != nil {
		return odata.Response{}, err
	}
	given, _ := in["message"].(map[string]any)
	if given == nil {
		return odata.Response{}, odata.BadRequest("The parameter 'message' is required.")
	}
	m, err := c.compose(given)
	if err != nil {
		return odata.Response{}, err
	}
	if err := c.submit(m); err != nil {
		return odata.Response{}, err
	}
	if in["saveToSentItems"] != false {
		c.b.add(m, c.b.wellKnown("sentitems"))
	}
	return odata.Response{Status: http.StatusAccepted}, nil
}

// compose returns a new message with the given properties, which is not stored yet.
func (c *call) compose(given map[string]any) (*message, error) {
	now := c.Now.UTC().Truncate(time.Second)
	m := &message{received: now, read: true, modified: c.Now}
	blank := Mail{Received: now, Draft: true, From: c.b.user.Address}
	m.stored = map[string]any{}
	number := c.b.number()
	for _, name := range storedProperties() {
		m.stored[name] = c.b.property(&blank, number, name)
	}
	m.stored["from"], m.stored["sender"] = nil, nil
	m.stored["body"] = map[string]any{"contentType": "text", "content": ""}
	if err := c.apply(m, given); err != nil {
		return nil, err
	}
	return m, nil
}

// apply validates and sets properties of a message; on an error nothing changes.
func (c *call) apply(m *message, given map[string]any) error {
	next := maps.Clone(m.stored)
	files := slices.Clone(m.files)
	read := m.read
	draft := m.stored["isDraft"] == true
	for _, name := range slices.Sorted(maps.Keys(given)) {
		v := given[name]
		if !draft && slices.Contains([]string{"subject", "body", "toRecipients", "ccRecipients", "bccRecipients", "replyTo", "from", "sender", "internetMessageHeaders", "internetMessageId"}, name) {
			// See "Updatable only if isDraft = true" at https://learn.microsoft.com/graph/api/message-update.
			return odata.NewError(http.StatusBadRequest, "ErrorInvalidPropertySet", "Set action is invalid for property.")
		}
		switch name {
		case "isRead":
			read = v == true
		case "subject":
			if text, _ := v.(string); len([]rune(text)) > 255 {
				return odata.NewError(http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation.")
			}
			next[name] = v
		case "body":
			body, _ := v.(map[string]any)
			content, _ := body["content"].(string)
			next[name] = map[string]any{"contentType": bodyType(body["contentType"] == "html"), "content": content}
		case "toRecipients", "ccRecipients", "bccRecipients", "replyTo":
			all := []any{}
			for _, r := range v.([]any) {
				all = append(all, c.named(r))
			}
			next[name] = all
		case "from", "sender":
			next[name] = c.named(v)
		case "internetMessageHeaders":
			if err := checkHeaders(v.([]any)); err != nil {
				return err
			}
			next[name] = v
		case "flag":
			flag, err := c.flag(v)
			if err != nil {
				return err
			}
			next[name] = flag
		case "singleValueExtendedProperties", "multiValueExtendedProperties":
			next[name] = mergeProperties(next[name], v.([]any))
		case "attachments":
			for _, a := range v.([]any) {
				parsed, err := c.parseAttachment(a)
				if err != nil {
					return err
				}
				files = append(files, parsed)
			}
		default:
			next[name] = v
		}
	}
	if size(next, files) > c.b.maxSize() {
		return tooLarge("Cannot save changes made to an item to store.")
	}
	if m.folder != nil {
		c.b.setRead(m, read)
	} else {
		m.read = read
	}
	m.stored, m.files = next, files
	return nil
}

// tooLarge returns the error for a message that is larger than Exchange allows, see https://github.com/motze92/office365-mail/issues/39.
func tooLarge(what string) *odata.Error {
	return odata.NewError(http.StatusBadRequest, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size., %s", what)
}

// size returns the size of a message in bytes.
func size(stored map[string]any, files []*attachment) int {
	body, _ := stored["body"].(map[string]any)
	content, _ := body["content"].(string)
	n := len(content)
	for _, a := range files {
		n += a.length()
	}
	return n
}

// named returns a recipient with a name.
func (c *call) named(v any) any {
	r, _ := v.(map[string]any)
	if r["emailAddress"] == nil {
		return nil
	}
	name, address := emailAddress(v)
	return odata.RecipientJSON(cmp.Or(name, c.b.nameOf(address)), address)
}

// checkHeaders refuses headers that Graph does not send. See https://learn.microsoft.com/graph/api/resources/internetmessageheader.
func checkHeaders(all []any) error {
	if len(all) > 5 {
		return odata.NewError(http.StatusBadRequest, "InvalidInternetMessageHeaderCollection", "Maximum number of headers in one message should be less than or equal to 5.")
	}
	for _, h := range all {
		h, _ := h.(map[string]any)
		if name, _ := h["name"].(string); !strings.HasPrefix(strings.ToLower(name), "x-") {
			return odata.NewError(http.StatusBadRequest, "InvalidInternetMessageHeader", "The internet message header name '%s' should start with 'x-' or 'X-'.", name)
		}
	}
	return nil
}

// flag validates a flag. See https://learn.microsoft.com/graph/api/resources/followupflag.
func (c *call) flag(v any) (map[string]any, error) {
	given, _ := v.(map[string]any)
	flag := map[string]any{"flagStatus": "notFlagged"}
	if status := given["flagStatus"]; status != nil {
		flag["flagStatus"] = status
	}
	for _, name := range []string{"startDateTime", "dueDateTime", "completedDateTime"} {
		if given[name] == nil {
			continue
		}
		at, err := odata.ParseDateTime("Flag/"+name, given[name])
		if err != nil {
			return nil, err
		}
		flag[name] = at.JSON()
	}
	if flag["dueDateTime"] != nil && flag["startDateTime"] == nil {
		return nil, odata.BadRequest("The property 'startDateTime' is required if 'dueDateTime' is set.")
	}
	switch flag["flagStatus"] {
	case "notFlagged":
		return map[string]any{"flagStatus": "notFlagged"}, nil
	case "complete":
		if flag["completedDateTime"] == nil {
			flag["completedDateTime"] = odata.DateTimeIn(c.Now.Truncate(24*time.Hour), "UTC", time.UTC).JSON()
		}
	}
	return flag, nil
}

// mergeProperties sets extended properties by id.
func mergeProperties(known any, given []any) []any {
	id := func(v any) string {
		m, _ := v.(map[string]any)
		id, _ := m["id"].(string)
		return id
	}
	all, _ := known.([]any)
	all = slices.Clone(all)
	for _, g := range given {
		all = slices.DeleteFunc(all, func(k any) bool { return strings.EqualFold(id(k), id(g)) })
		all = append(all, g)
	}
	if all == nil {
		all = []any{}
	}
	return all
}

// addresses returns the addresses of recipients.
func addresses(stored map[string]any, names ...string) []string {
	var all []string
	for _, name := range names {
		list, isList := stored[name].([]any)
		if !isList && stored[name] != nil {
			list = []any{stored[name]}
		}
		for _, r := range list {
			_, address := emailAddress(r)
			all = append(all, address)
		}
	}
	return all
}

// emailAddress returns the name and address of a recipient.
func emailAddress(recipient any) (name, address string) {
	r, _ := recipient.(map[string]any)
	e, _ := r["emailAddress"].(map[string]any)
	name, _ = e["name"].(string)
	address, _ = e["address"].(string)
	return name, address
}

// submit checks a message and delivers it to the users of the simulator among its recipients. The message becomes the copy for Sent Items.
func (c *call) submit(m *message) error {
	to := addresses(m.stored, "toRecipients", "ccRecipients", "bccRecipients")
	switch {
	case len(to) == 0:
		return odata.NewError(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid., A message can't be sent because it contains no recipients.")
	case len(to) > maxRecipients:
		return odata.NewError(http.StatusBadRequest, "ErrorExceededMaxRecipientLimit", "The message contains too many recipients., Cannot submit message.")
	}
	for _, address := range to {
		if name, domain, ok := strings.Cut(address, "@"); !ok || name == "" || domain == "" || strings.ContainsAny(address, " ,;") {
			return odata.NewError(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid., A message can't be sent because at least one recipient isn't valid.")
		}
	}
	if size(m.stored, m.files) > c.b.maxSize() {
		return tooLarge("Cannot submit message.")
	}
	from, sender, err := c.senderOf(m)
	if err != nil {
		return err
	}
	m.stored["from"], m.stored["sender"] = from, sender
	m.stored["isDraft"], m.stored["sentDateTime"] = false, instant(c.Now)
	delivered := map[*mailbox]bool{}
	for _, address := range to {
		u := c.s.directory.ByAddress(address)
		if u == nil || !c.s.licensed(u.ID) || delivered[c.s.mailboxes[u.ID]] {
			continue
		}
		b := c.s.mailboxes[u.ID]
		delivered[b] = true
		received := &message{received: c.Now.UTC().Truncate(time.Second), modified: c.Now, stored: maps.Clone(m.stored)}
		received.stored["bccRecipients"], received.stored["categories"] = []any{}, []any{}
		received.stored["flag"] = map[string]any{"flagStatus": "notFlagged"}
		// Named properties stay in the sender's mailbox.
		received.stored["singleValueExtendedProperties"], received.stored["multiValueExtendedProperties"] = []any{}, []any{}
		for _, a := range m.files {
			received.files = append(received.files, b.newAttachment(a.Attachment, c.Now))
		}
		b.add(received, b.wellKnown("inbox"))
	}
	return nil
}

// senderOf returns from and sender of a message that the user sends. See https://learn.microsoft.com/graph/outlook-send-mail-from-other-user.
func (c *call) senderOf(m *message) (from, sender any, err error) {
	address := c.b.user.Address
	if given := addresses(m.stored, "from"); len(given) > 0 && given[0] != "" {
		address = given[0]
	}
	caller := c.User.Address
	if c.Application != "" { // it sends as the owner of the mailbox
		caller = c.b.user.Address
	}
	self := recipient(c.b.nameOf, caller, "")
	if strings.EqualFold(address, caller) {
		return self, self, nil
	}
	if !c.Granted("Mail.Send.Shared") {
		return nil, nil, odata.AccessDenied()
	}
	owner := c.s.directory.ByAddress(address)
	var rights MailboxRights
	if owner != nil {
		rights = c.s.rights[share{owner.ID, c.User.ID}]
	}
	other := recipient(c.b.nameOf, address, "")
	switch {
	case rights.SendAs:
		return other, other, nil
	case rights.SendOnBehalf:
		return other, self, nil
	}
	return nil, nil, odata.NewError(http.StatusForbidden, "ErrorSendAsDenied",
		"The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account., Cannot submit message.")
}

// createMessage creates a draft. See https://learn.microsoft.com/graph/api/user-post-messages.
func createMessage(c *call) (odata.Response, error) {
	to := c.b.wellKnown("drafts")
	if id, ok := c.Params["folder"]; ok {
		f, err := c.folder(id)
		if err != nil {
			return odata.Response{}, err
		}
		to = f
	}
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	m, err := c.compose(given)
	if err != nil {
		return odata.Response{}, err
	}
	c.b.add(m, to)
	return c.messageResponse(m, http.StatusCreated)
}

// patchMessage changes a message. See https://learn.microsoft.com/graph/api/message-update.
func patchMessage(c *call) (odata.Response, error) {
	m, err := c.message()
	if err != nil {
		return odata.Response{}, err
	}
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	m.store()
	if err := c.apply(m, given); err != nil {
		return odata.Response{}, err
	}
	c.b.touch(m, c.Now)
	return c.messageResponse(m, http.StatusOK)
}

// deleteMessage moves a message to Deleted Items, and deletes one that is there.
func deleteMessage(c *call) (odata.Response, error) {
	m, err := c.message()
	if err != nil {
		return odata.Response{}, err
	}
	if deleted := c.b.wellKnown("deleteditems"); m.folder != deleted {
		c.b.move(m, deleted, c.Now)
	} else {
		c.b.remove(m)
	}
	return odata.Response{Status: http.StatusNoContent}, nil
}

// moveMessage and copyMessage return the message in its new folder. See https://learn.microsoft.com/graph/api/message-move.
func moveMessage(c *call) (odata.Response, error) {
	m, to, err := c.destination()
	if err != nil {
		return odata.Response{}, err
	}
	if to != m.folder {
		c.b.move(m, to, c.Now)
	}
	return c.messageResponse(m, http.StatusCreated)
}

func copyMessage(c *call) (odata.Response, error) {
	m, to, err := c.destination()
	if err != nil {
		return odata.Response{}, err
	}
	m.store()
	twin := &message{received: m.received, read: m.read, modified: c.Now, stored: maps.Clone(m.stored)}
	for _, a := range m.files {
		twin.files = append(twin.files, c.b.newAttachment(a.Attachment, a.modified))
	}
	c.b.add(twin, to)
	return c.messageResponse(twin, http.StatusCreated)
}

// destination returns the message in the path and the folder in the body, given by id or well-known name.
func (c *call) destination() (*message, *folder, error) {
	m, err := c.message()
	if err != nil {
		return nil, nil, err
	}
	in, err := c.Parameters(c.s.types.move)
	if err != nil {
		return nil, nil, err
	}
	id, _ := in["destinationId"].(string)
	to, err := c.folder(id)
	return m, to, err
}

// sendDraft sends a draft, which moves to Sent Items and keeps its immutable id. See https://learn.microsoft.com/graph/api/message-send.
func sendDraft(c *call) (odata.Response, error) {
	m, err := c.message()
	if err != nil {
		return odata.Response{}, err
	}
	m.store()
	if m.stored["isDraft"] != true {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. The message is not a draft.")
	}
	if err := c.submit(m); err != nil {
		return odata.Response{}, err
	}
	c.b.move(m, c.b.wellKnown("sentitems"), c.Now)
	c.b.receive(m, c.Now)
	return odata.Response{Status: http.StatusAccepted}, nil
}

// receive sets the time received of a stored message.
func (b *mailbox) receive(m *message, at time.Time) {
	b.unlist(m)
	m.received = at.UTC().Truncate(time.Second)
	b.list(m)
}
