package mail

import "github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"

// types are the entity types of Graph that this package serves, see https://learn.microsoft.com/graph/api/resources/message and the others.
type types struct {
	message, folder, attachment *odata.Type
	// Parameters of actions.
	sendMail, reply, forward, move, uploadSession *odata.Type
}

func newTypes() types {
	text, boolean, instant := odata.String(), odata.Boolean(), odata.DateTimeOffset()
	body, recipient := odata.ItemBody(), odata.Recipient()
	header := odata.ComplexType("internetMessageHeader", odata.Properties{"name": text, "value": text})
	dateTime := odata.Of(odata.DateTimeType())
	flag := odata.ComplexType("followupFlag", odata.Properties{
		"completedDateTime": dateTime, "dueDateTime": dateTime, "startDateTime": dateTime,
		"flagStatus": odata.Enum("followupFlagStatus", "notFlagged", "complete", "flagged"),
	})
	attachment := odata.MailboxType("attachment", odata.Properties{
		"id": text.Computed(), "name": text, "contentType": text, "isInline": boolean.NotNull(), "size": odata.Int32(), "lastModifiedDateTime": instant.Computed(),
	})
	attachment.Open = true // what file, item and reference attachments have is checked with their own types
	message := odata.MailboxType("message", odata.Properties{
		"id": text.Computed(), "changeKey": text.Computed(), "createdDateTime": instant.Computed(), "lastModifiedDateTime": instant.Computed(),
		"categories": text.NotNull().Many(), "bccRecipients": recipient.NotNull().Many(), "body": body, "bodyPreview": text.Computed(), "ccRecipients": recipient.NotNull().Many(),
		"conversationId": text.Computed(), "conversationIndex": text.Computed(), "flag": odata.Of(flag), "from": recipient, "hasAttachments": boolean.Computed(),
		"importance":              odata.Enum("importance", "low", "normal", "high").NotNull(),
		"inferenceClassification": odata.Enum("inferenceClassificationType", "focused", "other").NotNull(),
		"internetMessageHeaders":  odata.Of(header).NotNull().Many(), "internetMessageId": text, "isDeliveryReceiptRequested": boolean, "isDraft": boolean.Computed(),
		"isRead": boolean.NotNull(), "isReadReceiptRequested": boolean, "parentFolderId": text.Computed(), "receivedDateTime": instant.Computed(),
		"replyTo": recipient.NotNull().Many(), "sender": recipient, "sentDateTime": instant.Computed(), "subject": text, "toRecipients": recipient.NotNull().Many(),
		"uniqueBody": body.Computed(), "webLink": text.Computed(),
		"attachments": odata.Of(attachment).NotNull().Many().Link(true), "extensions": odata.Extensions(),
		"singleValueExtendedProperties": odata.SingleValueProperties(), "multiValueExtendedProperties": odata.MultiValueProperties(),
	})
	folder := odata.MailboxType("mailFolder", odata.Properties{
		"id": text.Computed(), "displayName": text, "parentFolderId": text.Computed(), "childFolderCount": odata.Int32().Computed(), "unreadItemCount": odata.Int32().Computed(),
		"totalItemCount": odata.Int32().Computed(), "isHidden": boolean,
	})
	folder.Properties["childFolders"] = odata.Of(folder).Many().Link(true)
	item := odata.Of(odata.ComplexType("attachmentItem", odata.Properties{
		"attachmentType": odata.Enum("attachmentType", "file", "item", "reference"), "contentId": text, "contentType": text, "isInline": boolean, "name": text, "size": odata.Int32(),
	}))
	return types{
		message: message, folder: folder, attachment: attachment,
		sendMail:      odata.ComplexType("sendMail", odata.Properties{"message": odata.Of(message).NotNull(), "saveToSentItems": boolean}),
		reply:         odata.ComplexType("reply", odata.Properties{"message": odata.Of(message), "comment": text}),
		forward:       odata.ComplexType("forward", odata.Properties{"message": odata.Of(message), "comment": text, "toRecipients": recipient.NotNull().Many()}),
		move:          odata.ComplexType("move", odata.Properties{"destinationId": text.NotNull()}),
		uploadSession: odata.ComplexType("createUploadSession", odata.Properties{"attachmentItem": item.NotNull()}),
	}
}
