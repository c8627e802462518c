package mail

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// An attachment is a stored attachment.
type attachment struct {
	Attachment
	number   uint64
	modified time.Time
}

// length returns the size in bytes.
func (a *attachment) length() int {
	if a.Size != 0 {
		return a.Size
	}
	return len(a.Content)
}

// attachmentIDLength is the length of an attachment's id before it is encoded.
const attachmentIDLength = 137

func (b *mailbox) attachmentID(a *attachment) string {
	return b.key.id(attachmentIDLength, kindAttachment, a.number, 0)
}

// newAttachment returns an attachment with an id of its own.
func (b *mailbox) newAttachment(a Attachment, modified time.Time) *attachment {
	return &attachment{Attachment: a, number: b.number() << 16, modified: modified}
}

// odataType returns the type name of the kind of attachment.
func (a *attachment) odataType() string {
	switch a.Kind {
	case "item":
		return "#microsoft.graph.itemAttachment"
	case "reference":
		return "#microsoft.graph.referenceAttachment"
	}
	return "#microsoft.graph.fileAttachment"
}

// attachmentJSON returns an attachment, with the properties of its kind if deep.
func (b *mailbox) attachmentJSON(a *attachment, deep bool) map[string]any {
	out := map[string]any{
		"@odata.type": a.odataType(), "@odata.mediaContentType": a.ContentType, "id": b.attachmentID(a), "lastModifiedDateTime": instant(a.modified), "name": a.Name,
		"contentType": nil, "size": a.length(), "isInline": a.Inline,
	}
	if a.ContentType != "" {
		out["contentType"] = a.ContentType
	} else {
		delete(out, "@odata.mediaContentType")
	}
	if !deep {
		return out
	}
	switch a.Kind {
	case "item":
	case "reference":
		out["sourceUrl"] = a.SourceURL
	default:
		out["contentId"], out["contentLocation"], out["contentBytes"] = nil, nil, base64.StdEncoding.EncodeToString(a.content())
		if a.ContentID != "" {
			out["contentId"] = a.ContentID
		}
	}
	return out
}

// content returns the bytes of a file; zeros if only its size is known.
func (a *attachment) content() []byte {
	if len(a.Content) == 0 {
		return make([]byte, a.Size)
	}
	return a.Content
}

func (c *call) attachment() (*message, *attachment, error) {
	m, err := c.message()
	if err != nil {
		return nil, nil, err
	}
	id := c.Params["attachment"]
	if err := odata.CheckItemID(id); err != nil {
		return nil, nil, err
	}
	for _, a := range c.b.attachmentsOf(m) {
		if c.b.attachmentID(a) == id {
			return m, a, nil
		}
	}
	return nil, nil, odata.ItemNotFound()
}

func (c *call) attachmentSet() string {
	return "users('" + c.Owner() + "')/messages('" + c.Params["message"] + "')/attachments"
}

// projectAttachment applies $select. Properties of the kind of attachment are selected with its type: microsoft.graph.fileAttachment/contentId.
func (c *call) projectAttachment(full map[string]any) (map[string]any, error) {
	kind, _ := full["@odata.type"].(string)
	var plain, cast []string
	for name := range strings.SplitSeq(c.Query.Get("$select"), ",") {
		if typ, property, ok := strings.Cut(strings.TrimSpace(name), "/"); ok {
			if strings.EqualFold("#"+typ, kind) {
				cast = append(cast, property)
			}
			continue
		}
		if name != "" {
			plain = append(plain, name)
		}
	}
	if len(plain)+len(cast) == 0 && c.Query.Get("$select") == "" {
		return full, nil
	}
	query := c.Query.Get("$select")
	c.Query.Set("$select", strings.Join(append(plain, "id"), ","))
	defer c.Query.Set("$select", query)
	out, err := c.Project(full)
	if err != nil {
		return nil, err
	}
	for _, property := range cast {
		for k, v := range full {
			if strings.EqualFold(k, property) {
				out[k] = v
			}
		}
	}
	return out, nil
}

// checkSelected refuses unknown properties and those of a kind of attachment without its type.
func (c *call) checkSelected() error {
	_, err := c.projectAttachment(map[string]any{})
	return err
}

func listAttachments(c *call) (odata.Response, error) {
	m, err := c.message()
	if err != nil {
		return odata.Response{}, err
	}
	if err := c.checkSelected(); err != nil {
		return odata.Response{}, err
	}
	all := []map[string]any{}
	for _, a := range c.b.attachmentsOf(m) {
		full := c.b.attachmentJSON(a, !strings.HasSuffix(c.Route.Path, "$count"))
		projected, err := c.projectAttachment(full)
		if err != nil {
			return odata.Response{}, err
		}
		all = append(all, projected)
	}
	selected := c.Query.Get("$select")
	c.Query.Del("$select") // done
	resp, err := c.Collection(c.attachmentSet(), all)
	if body, ok := resp.Body.(map[string]any); ok && selected != "" {
		body["@odata.context"] = c.Context(c.attachmentSet() + "(" + selected + ")")
	}
	return resp, err
}

func unreadable() *odata.Error {
	return odata.NewError(http.StatusInternalServerError, "ErrorInternalServerError", "An internal server error occurred. The operation failed.")
}

func getAttachment(c *call) (odata.Response, error) {
	_, a, err := c.attachment()
	if err != nil {
		return odata.Response{}, err
	}
	if a.Unreadable {
		return odata.Response{}, unreadable()
	}
	full := c.b.attachmentJSON(a, true)
	if expand := c.Query.Get("$expand"); expand != "" {
		// https://learn.microsoft.com/graph/api/attachment-get: ?$expand=microsoft.graph.itemattachment/item
		if !strings.EqualFold(expand, "microsoft.graph.itemattachment/item") {
			return odata.Response{}, odata.BadRequest("Could not find a property named '%s' on type 'microsoft.graph.attachment'.", expand)
		}
		c.Query.Del("$expand")
		if a.Item != nil {
			full["item"] = c.itemJSON(a)
		}
	}
	body, err := c.projectAttachment(full)
	if err != nil {
		return odata.Response{}, err
	}
	body["@odata.context"] = c.Context(c.attachmentSet() + "/$entity")
	return odata.Response{Status: http.StatusOK, Body: body}, nil
}

// itemJSON returns the message in an item attachment.
func (c *call) itemJSON(a *attachment) map[string]any {
	g := *a.Item
	m := &message{number: a.number, folder: c.b.folders[0], received: g.Received, read: g.Read, modified: a.modified, source: &source{c.b, func(int) Mail { return g }}}
	e := c.view().entity(m, nil)
	e["@odata.type"], e["id"] = "#microsoft.graph.message", ""
	delete(e, "@odata.etag")
	delete(e, "parentFolderId")
	return e
}

// getAttachmentValue returns the raw content, see https://learn.microsoft.com/graph/api/attachment-get.
func getAttachmentValue(c *call) (odata.Response, error) {
	_, a, err := c.attachment()
	switch {
	case err != nil:
		return odata.Response{}, err
	case a.Unreadable:
		return odata.Response{}, unreadable()
	case a.Kind == "reference":
		return odata.Response{}, odata.NewError(http.StatusMethodNotAllowed, "ErrorInvalidRequest", "Your request can't be completed. The attachment has no content.")
	case a.Kind == "item":
		return odata.Response{Status: http.StatusOK, ContentType: "text/plain", Text: mime(*a.Item)}, nil
	}
	kind := a.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	return odata.Response{Status: http.StatusOK, ContentType: kind, Text: string(a.content())}, nil
}

// mime returns a mail in the Internet Message Format (RFC 5322).
func mime(g Mail) string {
	return "From: " + g.From + "\r\nTo: " + strings.Join(g.To, ", ") + "\r\nSubject: " + g.Subject + "\r\nDate: " + g.Received.Format(time.RFC1123Z) + "\r\n\r\n" + g.Body
}

// parseAttachment returns the attachment in a body, of the kind that @odata.type names.
func (c *call) parseAttachment(v any) (*attachment, error) {
	given, _ := v.(map[string]any)
	kind, _ := given["@odata.type"].(string)
	text := func(name string) string { s, _ := given[name].(string); return s }
	a := c.b.newAttachment(Attachment{
		Name: text("name"), ContentType: text("contentType"), Inline: given["isInline"] == true, ContentID: text("contentId"),
	}, c.Now)
	known := []string{"@odata.type", "name", "contentType", "isInline", "size", "id", "lastModifiedDateTime"}
	switch strings.ToLower(strings.TrimPrefix(kind, "#")) {
	case "microsoft.graph.fileattachment":
		known = append(known, "contentBytes", "contentId", "contentLocation")
		content, err := base64.StdEncoding.DecodeString(text("contentBytes"))
		if err != nil {
			return nil, odata.BadRequest("Cannot convert the value of 'contentBytes' to the expected type 'Edm.Binary'.")
		}
		if given["contentBytes"] == nil {
			return nil, odata.NewError(http.StatusBadRequest, "ErrorRequiredPropertyMissing", "Required property is missing. ContentBytes")
		}
		a.Content = content
	case "microsoft.graph.itemattachment":
		known = append(known, "item")
		item, _ := given["item"].(map[string]any)
		subject, _ := item["subject"].(string)
		a.Kind, a.Item, a.Size = "item", &Mail{Subject: subject, Received: c.Now}, 1000
	case "microsoft.graph.referenceattachment":
		known = append(known, "sourceUrl", "providerType", "permission", "isFolder")
		a.Kind, a.SourceURL = "reference", text("sourceUrl")
	default:
		return nil, odata.BadRequest("Cannot create an abstract class.")
	}
	for name := range given {
		if !slices.Contains(known, name) {
			return nil, odata.BadRequest("The property '%s' does not exist on type '%s'. Make sure to only use property names that are defined by the type.", name, strings.TrimPrefix(kind, "#"))
		}
	}
	if a.Name == "" {
		return nil, odata.NewError(http.StatusBadRequest, "ErrorRequiredPropertyMissing", "Required property is missing. Name")
	}
	return a, nil
}
