package mail

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// The limits of upload sessions, see https://learn.microsoft.com/graph/outlook-large-attachments.
const (
	minUpload = 3 << 20
	maxUpload = 150 << 20
	maxChunk  = 4 << 20
)

// uploadRoot is the path below which upload sessions are served, on the host that UploadHost returns.
const uploadRoot = "/api/v2.0/"

// IsUpload reports whether a path belongs to an upload session.
func IsUpload(path string) bool { return strings.HasPrefix(path, uploadRoot) }

// UploadHost returns the host of upload sessions. It differs from that of Graph, to which a client sends its token.
func UploadHost(graph string) string {
	name, port, _ := strings.Cut(graph, ":")
	switch {
	case graph == "graph.microsoft.com":
		return "outlook.office.com"
	case name == "127.0.0.1":
		return "localhost:" + port
	case name == "localhost":
		return "127.0.0.1:" + port
	case strings.HasPrefix(graph, "graph."):
		return "outlook." + strings.TrimPrefix(graph, "graph.")
	}
	return graph
}

// An upload is an upload session.
type upload struct {
	b       *mailbox
	m       *message
	file    Attachment
	size    int
	content []byte
	expires time.Time
}

// addAttachment adds an attachment to a message. See https://learn.microsoft.com/graph/api/message-post-attachments.
func addAttachment(c *call) (odata.Response, error) {
	m, err := c.message()
	if err != nil {
		return odata.Response{}, err
	}
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	a, err := c.parseAttachment(given)
	if err != nil {
		return odata.Response{}, err
	}
	m.store()
	if size(m.stored, m.files)+a.length() > c.b.maxSize() {
		return odata.Response{}, tooLarge("Cannot save changes made to an item to store.")
	}
	m.files = append(m.files, a)
	c.b.touch(m, c.Now)
	body := c.b.attachmentJSON(a, true)
	body["@odata.context"] = c.Context(c.attachmentSet() + "/$entity")
	return odata.Response{Status: http.StatusCreated, Body: body, Header: http.Header{"Location": {c.Root() + "/" + c.attachmentSet() + "('" + c.b.attachmentID(a) + "')"}}}, nil
}

func deleteAttachment(c *call) (odata.Response, error) {
	m, a, err := c.attachment()
	if err != nil {
		return odata.Response{}, err
	}
	m.store()
	m.files = slices.DeleteFunc(m.files, func(x *attachment) bool { return x.number == a.number })
	c.b.touch(m, c.Now)
	return odata.Response{Status: http.StatusNoContent}, nil
}

// createUploadSession begins the upload of a large file. See https://learn.microsoft.com/graph/api/attachment-createuploadsession.
func createUploadSession(c *call) (odata.Response, error) {
	m, err := c.message()
	if err != nil {
		return odata.Response{}, err
	}
	in, err := c.Parameters(c.s.types.uploadSession)
	if err != nil {
		return odata.Response{}, err
	}
	item, _ := in["attachmentItem"].(map[string]any)
	name, _ := item["name"].(string)
	length, _ := item["size"].(float64)
	switch {
	case item["attachmentType"] != "file":
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorInvalidAttachmentType", "The attachment type must be file.")
	case name == "" || length <= 0:
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorInvalidParameter", "The attachment item must have a name and a size.")
	case length < minUpload:
		// https://learn.microsoft.com/graph/outlook-large-attachments#errors
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", "Attachment size must be greater than the minimum size.")
	case length > maxUpload:
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorAttachmentSizeLimitExceeded", "The attachment size exceeds the maximum supported size.")
	}
	m.store()
	kind, _ := item["contentType"].(string)
	contentID, _ := item["contentId"].(string)
	session := &upload{
		b: c.b, m: m, size: int(length), expires: c.Now.Add(time.Hour),
		file: Attachment{Name: name, ContentType: kind, ContentID: contentID, Inline: item["isInline"] == true},
	}
	token := rand.Text() + rand.Text()
	c.s.uploads[token] = session
	id := c.b.key.id(attachmentIDLength, kindAttachment, c.b.number()<<16, 0)
	body := session.status("-")
	body["@odata.context"] = c.Context("microsoft.graph.uploadSession")
	body["uploadUrl"] = fmt.Sprintf("https://%s%sUsers('%s')/Messages('%s')/AttachmentSessions('%s')?authtoken=%s",
		UploadHost(c.Request.Host), uploadRoot, c.Owner(), url.PathEscape(c.Params["message"]), url.PathEscape(id), token)
	return odata.Response{Status: http.StatusCreated, Body: body}, nil
}

// status returns the state of a session. The next byte is followed by suffix.
func (u *upload) status(suffix string) map[string]any {
	return map[string]any{
		"expirationDateTime": u.expires.UTC().Format("2006-01-02T15:04:05.0000000Z"),
		"nextExpectedRanges": []string{fmt.Sprintf("%d%s", len(u.content), suffix)},
	}
}

// Upload serves a request to an upload session: PUT for a range of bytes, GET for the state, DELETE to cancel. The address authorizes it.
func (s *Service) Upload(r *http.Request, body []byte) odata.Response {
	s.directory.Lock()
	defer s.directory.Unlock()
	resp, err := s.upload(r, body)
	if err != nil {
		return odata.Finish(err.Response(s.directory.Now()), r)
	}
	return resp
}

func (s *Service) upload(r *http.Request, body []byte) (odata.Response, *odata.Error) {
	token := r.URL.Query().Get("authtoken")
	u := s.uploads[token]
	switch {
	case r.Header.Get("Authorization") != "":
		// "Do not specify an Authorization request header": https://learn.microsoft.com/graph/outlook-large-attachments
		return odata.Response{}, odata.NewError(http.StatusUnauthorized, "InvalidAuthenticationToken", "The request must not have an Authorization header.")
	case u == nil || !s.directory.Now().Before(u.expires) || u.b.byNumber[u.m.number] != u.m:
		return odata.Response{}, odata.ItemNotFound()
	}
	switch r.Method {
	case http.MethodGet:
		return odata.Response{Status: http.StatusOK, Body: u.status("-")}, nil
	case http.MethodDelete:
		delete(s.uploads, token)
		return odata.Response{Status: http.StatusNoContent}, nil
	case http.MethodPut:
	default:
		return odata.Response{}, odata.NewError(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
	}
	var first, last, total int
	if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); err != nil {
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorInvalidParameter", "The Content-Range header is missing or malformed.")
	}
	switch {
	case len(body) > maxChunk:
		return odata.Response{}, odata.NewError(http.StatusRequestEntityTooLarge, "BadRequest", "The maximum request length supported is 4MB.")
	case total != u.size || last >= total || last-first+1 != len(body):
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorInvalidParameter", "The Content-Range header does not fit the size of the attachment or of the request.")
	case first != len(u.content):
		return odata.Response{}, odata.NewError(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The range does not begin with the next expected byte, %d.", len(u.content))
	case size(u.m.stored, u.m.files)+last+1 > u.b.maxSize():
		// Only the part beyond the limit fails: https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/2561
		return odata.Response{}, odata.NewError(http.StatusBadRequest, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
	}
	u.content = append(u.content, body...)
	if len(u.content) < u.size {
		return odata.Response{Status: http.StatusOK, Body: u.status("")}, nil
	}
	delete(s.uploads, token)
	now := s.directory.Now()
	u.file.Content = u.content
	a := u.b.newAttachment(u.file, now)
	u.m.files = append(u.m.files, a)
	u.b.touch(u.m, now)
	location := fmt.Sprintf("https://%s%sUsers('%s')/Messages('%s')/Attachments('%s')", r.Host, uploadRoot, u.b.user.ID, u.b.messageID(u.m, false), u.b.attachmentID(a))
	return odata.Response{Status: http.StatusCreated, Header: http.Header{"Location": {location}}}, nil
}
