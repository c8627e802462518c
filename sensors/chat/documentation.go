package chat

import (
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/sensors"
	chatops "github.com/graph2mqtt/graph2mqtt/services/chat"
)

// latestFields documents the attributes of the newest message.
func latestFields() []schema.Field {
	return []schema.Field{
		{Key: "from_display_name", Type: "text", Doc: "Name of the sender of the newest message."},
		{Key: "content", Type: "text", Doc: "The newest message, as text, up to 4,000 characters; null with `show_content: false`."},
		{Key: "importance", Type: "text", Doc: "Its importance: `normal`, `high` or `urgent`."},
		{Key: "subject", Type: "text", Doc: "Its subject."},
		{Key: "summary", Type: "text", Doc: "Its summary."},
		{Key: "message_id", Type: "text", Doc: "Its id."},
	}
}

// chatFields documents a chat without its message.
func chatFields() []schema.Field {
	return []schema.Field{
		{Key: "chat_id", Type: "text", Doc: "Id of the chat."},
		{Key: "chat_type", Type: "text", Doc: "Type: `oneOnOne`, `group` or `meeting`."},
		{Key: "topic", Type: "text", Doc: "Topic, which most chats lack."},
		{Key: "members", Type: "list of text", Doc: "Names of the members, you among them. Empty if they cannot be read, as in some chats of other organizations."},
		{Key: "unread", Type: "true or false", Doc: "Whether the newest message is from another person and you have not read it."},
		{Key: "web_link", Type: "text", Doc: "Address of the chat in Teams."},
	}
}

// attributeFields documents the attributes of a chat.
func attributeFields() []schema.Field {
	return append(latestFields(),
		schema.Field{Key: "chat_id", Type: "text", Doc: "Id of the chat that it is in."},
		schema.Field{Key: "unread_complete", Type: "true or false", Doc: "Whether the number of unread chats covers all chats; false if only the newest chats were read."},
		schema.Field{Key: "data", Type: "list of objects", Doc: "The chats, the one with the newest message first.", Fields: append(chatFields(),
			schema.Field{Key: "last_message", Type: "object", Doc: "Newest message of the chat, except system messages.", Fields: chatops.MessageFields()})},
	)
}

// placeFields documents where a message in a channel is.
func placeFields() []schema.Field {
	return []schema.Field{
		{Key: "channel_id", Type: "text", Doc: "Id of the channel."},
		{Key: "channel", Type: "text", Doc: "Name of the channel, or its id if the channel is configured by id."},
		{Key: "reply_to", Type: "text", Doc: "Id of the message to which it is a reply."},
		{Key: "web_link", Type: "text", Doc: "Address of the message in Teams."},
	}
}

// channelAttributeFields documents the attributes of a channel.
func channelAttributeFields() []schema.Field {
	return append(latestFields(),
		schema.Field{Key: "channel_id", Type: "text", Doc: "Id of the channel that it is in."},
		schema.Field{Key: "data", Type: "list of objects", Doc: "The messages and replies, the newest first.", Fields: append(chatops.MessageFields(), placeFields()...)},
	)
}

// eventTypes documents the events of messages.
func eventTypes(fields []schema.Field) []sensors.EventType {
	fields = append(append(fields, chatops.MessageFields()...),
		schema.Field{Key: "mentions_me", Type: "true or false", Doc: "Whether the message mentions you."},
		schema.Field{Key: "mentions_everyone", Type: "true or false", Doc: "Whether the message mentions everybody in the chat, the channel or the team."},
		schema.Field{Key: "own", Type: "true or false", Doc: "Always false: your own messages fire no event."},
	)
	return []sensors.EventType{
		{Name: received, Doc: "A message from another person arrived. Edited and deleted messages and system messages of Teams fire no event.", Fields: fields},
		{Name: mentioned, Doc: "A message from another person mentions you or everybody.", Fields: fields},
	}
}

func events() []sensors.EventType { return eventTypes(chatFields()) }

func channelEvents() []sensors.EventType { return eventTypes(placeFields()) }
