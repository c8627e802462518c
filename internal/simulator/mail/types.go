package mail

import (
	"net/http"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// types are the entity types of Graph that this package serves, see https://learn.microsoft.com/graph/api/resources/message and the others.
type types struct {
	message, folder, attachment *odata.Type
	// Parameters of actions.
	sendMail, reply, forward, move, uploadSession *odata.Type
}

type properties = map[string]odata.Property

func complexType(name string, p properties) *odata.Type {
	return &odata.Type{Name: "microsoft.graph." + name, Properties: p}
}

func entityType(name string, p properties) *odata.Type {
	t := complexType(name, p)
	t.Mailbox, t.Denied = true, accessDenied()
	return t
}

func newTypes() types {
	text, boolean, instant := odata.String(), odata.Boolean(), odata.DateTimeOffset()
	body := odata.Of(complexType("itemBody", properties{"content": text, "contentType": odata.Enum("bodyType", "text", "html")}))
	recipient := odata.Of(complexType("recipient", properties{"emailAddress": odata.Of(complexType("emailAddress", properties{"address": text, "name": text}))}))
	header := complexType("internetMessageHeader", properties{"name": text, "value": text})
	dateTime := odata.Of(odata.DateTimeType())
	flag := complexType("followupFlag", properties{
		"completedDateTime": dateTime, "dueDateTime": dateTime, "startDateTime": dateTime,
		"flagStatus": odata.Enum("followupFlagStatus", "notFlagged", "complete", "flagged"),
	})
	attachment := entityType("attachment", properties{
		"id": text.Computed(), "name": text, "contentType": text, "isInline": boolean.NotNull(), "size": odata.Int32(), "lastModifiedDateTime": instant.Computed(),
	})
	attachment.Open = true // what file, item and reference attachments have is checked with their own types
	extension := complexType("extension", properties{"id": text, "extensionName": text})
	extension.Open = true
	message := entityType("message", properties{
		"id": text.Computed(), "changeKey": text.Computed(), "createdDateTime": instant.Computed(), "lastModifiedDateTime": instant.Computed(),
		"categories": text.NotNull().Many(), "bccRecipients": recipient.NotNull().Many(), "body": body, "bodyPreview": text.Computed(), "ccRecipients": recipient.NotNull().Many(),
		"conversationId": text.Computed(), "conversationIndex": text.Computed(), "flag": odata.Of(flag), "from": recipient, "hasAttachments": boolean.Computed(),
		"importance":              odata.Enum("importance", "low", "normal", "high").NotNull(),
		"inferenceClassification": odata.Enum("inferenceClassificationType", "focused", "other").NotNull(),
		"internetMessageHeaders":  odata.Of(header).NotNull().Many(), "internetMessageId": text, "isDeliveryReceiptRequested": boolean, "isDraft": boolean.Computed(),
		"isRead": boolean.NotNull(), "isReadReceiptRequested": boolean, "parentFolderId": text.Computed(), "receivedDateTime": instant.Computed(),
		"replyTo": recipient.NotNull().Many(), "sender": recipient, "sentDateTime": instant.Computed(), "subject": text, "toRecipients": recipient.NotNull().Many(),
		"uniqueBody": body.Computed(), "webLink": text.Computed(),
		"attachments": odata.Of(attachment).NotNull().Many().Link(true), "extensions": odata.Of(extension).NotNull().Many().Link(true),
		"singleValueExtendedProperties": odata.Of(complexType("singleValueLegacyExtendedProperty", properties{"id": text.NotNull(), "value": text})).NotNull().Many().Link(true),
		"multiValueExtendedProperties":  odata.Of(complexType("multiValueLegacyExtendedProperty", properties{"id": text.NotNull(), "value": text.Many()})).NotNull().Many().Link(true),
	})
	folder := entityType("mailFolder", properties{
		"id": text.Computed(), "displayName": text, "parentFolderId": text.Computed(), "childFolderCount": odata.Int32().Computed(), "unreadItemCount": odata.Int32().Computed(),
		"totalItemCount": odata.Int32().Computed(), "isHidden": boolean,
	})
	folder.Properties["childFolders"] = odata.Of(folder).Many().Link(true)
	item := odata.Of(complexType("attachmentItem", properties{
		"attachmentType": odata.Enum("attachmentType", "file", "item", "reference"), "contentId": text, "contentType": text, "isInline": boolean, "name": text, "size": odata.Int32(),
	}))
	return types{
		message: message, folder: folder, attachment: attachment,
		sendMail:      complexType("sendMail", properties{"message": odata.Of(message).NotNull(), "saveToSentItems": boolean}),
		reply:         complexType("reply", properties{"message": odata.Of(message), "comment": text}),
		forward:       complexType("forward", properties{"message": odata.Of(message), "comment": text, "toRecipients": recipient.NotNull().Many()}),
		move:          complexType("move", properties{"destinationId": text.NotNull()}),
		uploadSession: complexType("createUploadSession", properties{"attachmentItem": item.NotNull()}),
	}
}

func accessDenied() *odata.Error {
	return odata.NewError(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
}

func notFound() *odata.Error {
	return odata.NewError(http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store.")
}

func malformed() *odata.Error {
	return odata.NewError(http.StatusBadRequest, "ErrorInvalidIdMalformed", "Id is malformed.")
}
