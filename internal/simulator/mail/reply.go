package mail

import (
	"html"
	"net/http"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// The ways to answer a message.
const (
	replies = iota
	repliesAll
	forwards
)

// answer returns the handler that answers a message: it sends the answer, or creates a draft of it. See
// https://learn.microsoft.com/graph/api/message-reply, message-replyall, message-forward and message-createreply.
func answer(way int, send bool) func(*call) (odata.Response, error) {
	return func(c *call) (odata.Response, error) {
		original, err := c.message()
		if err != nil {
			return odata.Response{}, err
		}
		t := c.s.types.reply
		if way == forwards {
			t = c.s.types.forward
		}
		in, err := c.Parameters(t)
		if err != nil {
			return odata.Response{}, err
		}
		m, err := c.composeAnswer(original, way, in)
		if err != nil {
			return odata.Response{}, err
		}
		if !send {
			c.b.add(m, c.b.wellKnown("drafts"))
			return c.messageResponse(m, http.StatusCreated)
		}
		if err := c.submit(m); err != nil {
			return odata.Response{}, err
		}
		c.b.add(m, c.b.wellKnown("sentitems"))
		return odata.Response{Status: http.StatusAccepted}, nil
	}
}

// composeAnswer returns the draft of an answer to a message.
func (c *call) composeAnswer(original *message, way int, in map[string]any) (*message, error) {
	original.store()
	given, _ := in["message"].(map[string]any)
	_, hasComment := in["comment"].(string)
	_, hasBody := given["body"].(map[string]any)
	switch {
	case hasComment && hasBody:
		return nil, odata.BadRequest("Specify either the comment or the body of the message, not both.")
	case in["toRecipients"] != nil && given["toRecipients"] != nil:
		return nil, odata.BadRequest("Specify either the parameter toRecipients or the property of the message, not both.")
	}
	subject, _ := original.stored["subject"].(string)
	prefix := map[bool]string{true: "FW: ", false: "RE: "}[way == forwards]
	if !strings.HasPrefix(strings.ToUpper(subject), prefix) {
		subject = prefix + subject
	}
	properties := map[string]any{"subject": subject}
	switch to := original.stored["replyTo"].([]any); {
	case way == forwards:
	case len(to) > 0:
		properties["toRecipients"] = to
	case original.stored["from"] != nil:
		properties["toRecipients"] = []any{original.stored["from"]}
	}
	if way == repliesAll {
		others := func(name string) []any {
			all, _ := original.stored[name].([]any)
			return slices.DeleteFunc(slices.Clone(all), func(r any) bool {
				_, address := emailAddress(r)
				return strings.EqualFold(address, c.b.user.Address)
			})
		}
		to, _ := properties["toRecipients"].([]any)
		properties["toRecipients"], properties["ccRecipients"] = append(slices.Clone(to), others("toRecipients")...), others("ccRecipients")
	}
	if in["toRecipients"] != nil {
		properties["toRecipients"] = in["toRecipients"]
	}
	for name, v := range given {
		if name != "body" {
			properties[name] = v
		}
	}
	m, err := c.compose(properties)
	if err != nil {
		return nil, err
	}
	m.stored["conversationId"] = original.stored["conversationId"]
	m.stored["body"] = quote(in, given, original)
	if way == forwards {
		for _, a := range original.files {
			m.files = append(m.files, c.b.newAttachment(a.Attachment, c.Now))
		}
	}
	return m, nil
}

// quote returns the body of an answer: the comment or the given body, and below it the original.
func quote(in, given map[string]any, original *message) map[string]any {
	text, _ := in["comment"].(string)
	isHTML := false
	if body, ok := given["body"].(map[string]any); ok {
		text, _ = body["content"].(string)
		isHTML = body["contentType"] == "html"
	}
	below, _ := original.stored["body"].(map[string]any)
	quoted, _ := below["content"].(string)
	if !isHTML && below["contentType"] != "html" {
		return map[string]any{"contentType": "text", "content": text + "\r\n\r\n________________________________\r\n" + quoted}
	}
	if !isHTML {
		text = strings.ReplaceAll(html.EscapeString(text), "\n", "<br>\n")
	}
	if below["contentType"] != "html" {
		quoted = strings.ReplaceAll(html.EscapeString(quoted), "\n", "<br>\n")
	}
	return map[string]any{"contentType": "html", "content": "<html><body>\r\n" + text + "\r\n<hr>\r\n" + quoted + "\r\n</body></html>"}
}
