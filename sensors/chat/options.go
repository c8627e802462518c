package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/chats"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/teams"
	"github.com/graph2mqtt/graph2mqtt/internal/schema"
	"github.com/graph2mqtt/graph2mqtt/services"
	chatops "github.com/graph2mqtt/graph2mqtt/services/chat"
)

// Options are the options of a chat. They are the sensors.Source of the chats.
type Options struct {
	MaxChats      int      `koanf:"max_chats" min:"1" max:"50" doc:"Maximum number of chats in the list, those with the newest messages."`
	Chats         []string `koanf:"chats" nonempty:"all chats" doc:"Only these chats: their ids or their names. A chat without a topic is named after its other members, as in Teams; a chat with one person can also be given by the address of that person. Default: all."`
	IncludeHidden bool     `koanf:"include_hidden" doc:"Also count and show chats that you have hidden in Teams."`
	ShowContent   bool     `koanf:"show_content" doc:"Show the text of messages. With false, publish only who wrote, when, and what is unread."`
	Basic         bool     `koanf:"basic" doc:"Request only Chat.ReadBasic, which gives access to type, topic and members of the chats, but not to messages: there are no events, and the newest message and the number of unread chats are unknown."`
	Notify        *Notify  `koanf:"notify" doc:"Add a notify entity that sends its messages to a chat or to people; requires enable_update."`
}

// Notify is the receiver of the messages of the notify entity.
type Notify struct {
	Chat string   `koanf:"chat" doc:"The id of a chat."`
	To   []string `koanf:"to" doc:"Addresses with which people sign in."`
}

// Validate returns an error unless there is exactly one receiver.
func (n *Notify) Validate() error {
	if (n.Chat == "") == (len(n.To) == 0) {
		return schema.At("chat", errors.New("want either chat or to"))
	}
	if n.Chat != "" && !isChatID(n.Chat) {
		return schema.At("chat", fmt.Errorf("want the id of a chat, such as 19:…@thread.v2, not %q; graph2mqtt discover prints it", n.Chat))
	}
	var errs []error
	for i, a := range n.To {
		if !chatops.IsAddress(a) {
			errs = append(errs, schema.At(fmt.Sprintf("to[%d]", i), fmt.Errorf("want an address, such as ann@contoso.com, not %q", a)))
		}
	}
	return errors.Join(errs...)
}

// Validate returns an error for options that cannot work.
func (o *Options) Validate() error {
	return checkNames("chats", o.Chats)
}

// checkNames returns an error for a name that is empty or given twice.
func checkNames(key string, names []string) error {
	var errs []error
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", key, i)
		switch first := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) }); {
		case strings.TrimSpace(name) == "":
			errs = append(errs, schema.At(at, errors.New("want an id or a name, not an empty text")))
		case first < i:
			errs = append(errs, schema.At(at, fmt.Errorf("the same as %s[%d]", key, first)))
		}
	}
	return errors.Join(errs...)
}

// CheckSensor returns an error for options that do not go with the keys of the sensor.
func (o *Options) CheckSensor(enableUpdate bool, allow []string) error {
	switch {
	case o.Notify == nil:
	case !enableUpdate:
		return schema.At("notify", errors.New("only with enable_update: true"))
	case len(allow) > 0 && !slices.Contains(allow, chatops.SendOperation) && !slices.Contains(allow, "default"):
		return schema.At("notify", fmt.Errorf("want %s in allow as well", chatops.SendOperation))
	}
	return nil
}

// CheckOnDemand returns an error for options with which nothing can be read on demand.
func (o *Options) CheckOnDemand() error {
	if o.Basic {
		return schema.At("basic", errors.New("not with on_demand: Chat.ReadBasic does not give messages"))
	}
	return nil
}

// Permissions implements sensors.Source.
func (o *Options) Permissions() []graph.Permission {
	return []graph.Permission{chats.ReadPermission(o.Basic)}
}

// Operations implements sensors.OperationProvider.
func (o *Options) Operations() []services.Operation { return chatops.Operations(o.Basic) }

// ChannelOptions are the options of a channel. They are the sensors.Source of its messages.
type ChannelOptions struct {
	Team        string   `koanf:"team" form:"true" required:"true" example:"893075dd-2487-4122-925f-022c42e20265" doc:"The team: its id or its name. A name needs the permission Team.ReadBasic.All."`
	Channel     string   `koanf:"channel" form:"true" example:"19:561fbdbbfca848a484f0a6f00ce9dbbd@thread.tacv2" doc:"The channel: its id or its name. A name needs the permission Channel.ReadBasic.All. Default: General, unless channels is given."`
	Channels    []string `koanf:"channels" doc:"Several channels of the team, instead of channel."`
	MaxMessages int      `koanf:"max_messages" min:"1" max:"50" doc:"Maximum number of messages in the list, the newest ones. Default: 20."`
	ShowContent *bool    `koanf:"show_content" doc:"Show the text of messages. With false, publish only who wrote, and when. Default: true."`

	byAddress bool
}

// SetAllowed sets what the sensor allows.
func (o *ChannelOptions) SetAllowed(allow []string) {
	o.byAddress = slices.Contains(allow, chatops.MentionByAddress)
}

// Validate returns an error for options that cannot work together.
func (o *ChannelOptions) Validate() error {
	var errs []error
	if o.Channel != "" && o.Channels != nil {
		errs = append(errs, schema.At("channels", errors.New("not with channel")))
	}
	if o.Channels != nil && len(o.Channels) == 0 {
		errs = append(errs, schema.At("channels", errors.New("want at least one channel")))
	}
	if strings.TrimSpace(o.Team) == "" {
		errs = append(errs, schema.At("team", errors.New("want an id or a name, not an empty text")))
	}
	return errors.Join(append(errs, checkNames("channels", o.Channels))...)
}

func (o *ChannelOptions) target() chatops.Target {
	t := chatops.Target{Team: o.Team, Channels: o.Channels, ByAddress: o.byAddress}
	switch {
	case o.Channel != "":
		t.Channels = []string{o.Channel}
	case len(t.Channels) == 0:
		t.Channels = []string{"General"}
	}
	return t
}

func (o *ChannelOptions) showsContent() bool { return o.ShowContent == nil || *o.ShowContent }

// Permissions implements sensors.Source.
func (o *ChannelOptions) Permissions() []graph.Permission {
	return append([]graph.Permission{teams.ReadPermission()}, o.target().LookUpPermissions()...)
}

// Operations implements sensors.OperationProvider.
func (o *ChannelOptions) Operations() []services.Operation {
	return chatops.ChannelOperations(o.target())
}
