package odata

import (
	"net/http"
	"strings"
)

// MailboxType returns an entity type that Exchange serves.
func MailboxType(name string, p Properties) *Type {
	t := ComplexType(name, p)
	t.Mailbox, t.Denied = true, AccessDenied()
	return t
}

// ItemBody is the type itemBody.
func ItemBody() Property {
	return Of(ComplexType("itemBody", Properties{"content": String(), "contentType": Enum("bodyType", "text", "html")}))
}

// EmailAddress is the type emailAddress.
func EmailAddress() Property {
	return Of(ComplexType("emailAddress", Properties{"address": String(), "name": String()}))
}

// Recipient is the type recipient.
func Recipient() Property {
	return Of(ComplexType("recipient", Properties{"emailAddress": EmailAddress()}))
}

// RecipientJSON returns a recipient with this name and address.
func RecipientJSON(name, address string) map[string]any {
	return map[string]any{"emailAddress": map[string]any{"name": name, "address": address}}
}

// Extensions are the open extensions of an item.
func Extensions() Property {
	t := ComplexType("extension", Properties{"id": String(), "extensionName": String()})
	t.Open = true
	return Of(t).NotNull().Many().Link(true)
}

// SingleValueProperties are the extended properties of an item that have one value.
func SingleValueProperties() Property {
	return extendedProperties("singleValueLegacyExtendedProperty", String())
}

// MultiValueProperties are the extended properties of an item that have several values.
func MultiValueProperties() Property {
	return extendedProperties("multiValueLegacyExtendedProperty", String().Many())
}

func extendedProperties(name string, value Property) Property {
	return Of(ComplexType(name, Properties{"id": String().NotNull(), "value": value})).NotNull().Many().Link(true)
}

// AccessDenied returns Exchange's error for a missing permission.
func AccessDenied() *Error {
	return NewError(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
}

// ItemNotFound returns Exchange's error for an unknown id.
func ItemNotFound() *Error {
	return NewError(http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store.")
}

// InvalidUser returns Exchange's error for a user who does not exist.
func InvalidUser(id string) *Error {
	return NewError(http.StatusNotFound, "ErrorInvalidUser", "The requested user '%s' is invalid.", id)
}

// NoMailbox returns Exchange's error for a user without a license.
func NoMailbox() *Error {
	return NewError(http.StatusNotFound, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.")
}

// CheckItemID refuses strings that cannot be an Exchange id, such as a name.
func CheckItemID(id string) error {
	if !strings.HasPrefix(id, "AA") || len(id) < 16 {
		return NewError(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
	}
	return nil
}

// TextToHTML converts a body as Exchange does.
func TextToHTML(text string) string {
	text = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r\n", "<br>\r\n", "\n", "<br>\n").Replace(text)
	return `<div class="PlainText">` + text + "</div>"
}

// Preview returns the first 255 characters of a body as text.
func Preview(text string) string {
	r := []rune(strings.TrimSpace(text))
	return string(r[:min(len(r), 255)])
}
