package runtime_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/config"
	"github.com/graph2mqtt/graph2mqtt/internal/runtime"
)

// What a sign-in asks for follows from the configuration alone, and is no more than it needs.
func TestScopes(t *testing.T) {
	const update = "enable_update: true"
	for _, test := range []struct {
		account string
		sensors []string
		want    string
	}{
		{"", nil, "User.Read"},
		{"timezone: mailbox", nil, "MailboxSettings.Read User.Read"},
		{"", []string{"{type: calendar}"}, "Calendars.Read User.Read"},
		{"", []string{"{type: calendar, basic_calendar: true}"}, "Calendars.ReadBasic User.Read"},
		{"", []string{"{type: calendar, basic_calendar: true}", "{type: calendar}"}, "Calendars.Read User.Read"},
		{update, []string{"{type: calendar}"}, "Calendars.ReadWrite User.Read"},
		{"", []string{"{type: calendar, enable_update: true}"}, "Calendars.ReadWrite User.Read"},
		{update, []string{"{type: calendar, enable_update: false}"}, "Calendars.Read User.Read"},
		{update, []string{"{type: calendar, enable_update: false}", "{type: calendar}"}, "Calendars.ReadWrite User.Read"},
		{update, []string{"{type: calendar, read: false}"}, "Calendars.ReadWrite User.Read"},
		{"", []string{"{type: calendar, shared_mailbox: room@contoso.com}"}, "Calendars.Read.Shared User.Read"},
		{update, []string{"{type: calendar, shared_mailbox: room@contoso.com}"}, "Calendars.ReadWrite.Shared User.Read"},
		{"", []string{"{type: calendar}", "{type: calendar, shared_mailbox: room@contoso.com}"}, "Calendars.Read Calendars.Read.Shared User.Read"},
		{update, []string{"{type: calendar}", "{type: calendar, shared_mailbox: room@contoso.com, enable_update: false}"}, "Calendars.Read.Shared Calendars.ReadWrite User.Read"},
		{"", []string{"{type: room, room: berlin@contoso.com}"}, "Calendars.Read.Shared User.Read"},
		{"", []string{"{type: room, room: all, addresses: [berlin@contoso.com], show_subject: true}"}, "Calendars.Read.Shared User.Read"},
		{"", []string{"{type: room, room: all}"}, "Calendars.Read.Shared Place.Read.All User.Read"},
		{"", []string{"{type: room, room: all, group: rooms@contoso.com}"}, "Calendars.Read.Shared GroupMember.Read.All User.Read"},
		{update, []string{"{type: room, room: berlin@contoso.com}"}, "Calendars.ReadWrite.Shared User.Read"},
		{update, []string{"{type: room, room: berlin@contoso.com, allow: [book], read: false}"}, "Calendars.ReadWrite.Shared User.Read"},
		{"", []string{"{type: auto_reply}"}, "MailboxSettings.Read User.Read"},
		{"timezone: mailbox", []string{"{type: auto_reply}"}, "MailboxSettings.Read User.Read"},
		{update, []string{"{type: auto_reply}"}, "MailboxSettings.ReadWrite User.Read"},
		{update + "\ntimezone: mailbox", []string{"{type: auto_reply}"}, "MailboxSettings.ReadWrite User.Read"},
		{update, []string{"{type: auto_reply, enable_update: false}"}, "MailboxSettings.Read User.Read"},
		{update, []string{"{type: auto_reply, read: false}"}, "MailboxSettings.ReadWrite User.Read"},
		{update, []string{"{type: auto_reply, allow: [enable]}"}, "MailboxSettings.ReadWrite User.Read"},
		{update, []string{"{type: auto_reply}", "{type: calendar}"}, "Calendars.ReadWrite MailboxSettings.ReadWrite User.Read"},
		{"", []string{"{type: auto_reply, enable_update: true}", "{type: calendar}"}, "Calendars.Read MailboxSettings.ReadWrite User.Read"},
		{"", []string{"{type: planner}"}, "Tasks.Read User.Read"},
		{update, []string{"{type: planner}"}, "Tasks.ReadWrite User.Read"},
		{"", []string{"{type: planner, enable_update: true, allow: [complete]}", "{type: planner, plan: Move}"}, "Tasks.ReadWrite User.Read"},
		{update, []string{"{type: planner, enable_update: false}"}, "Tasks.Read User.Read"},
		{update, []string{"{type: planner, read: false}"}, "Tasks.ReadWrite User.Read"},
		{"", []string{"{type: status}"}, "Presence.Read User.Read"},
		{update, []string{"{type: status}"}, "Presence.Read User.Read"},
		{"", []string{"{type: status, enable_update: true}"}, "Presence.Read Presence.ReadWrite User.Read"},
		{"", []string{"{type: status, enable_update: true, read: false}"}, "Presence.ReadWrite User.Read"},
		{"", []string{"{type: status, user: ann@contoso.com}"}, "Presence.Read.All User.Read User.ReadBasic.All"},
		{"", []string{"{type: status, user: 87d349ed-44d7-43e1-9a83-5f2406dee5bd}"}, "Presence.Read.All User.Read"},
		{"", []string{"{type: status, user: ann@contoso.com}", "{type: status}"}, "Presence.Read.All User.Read User.ReadBasic.All"},
		{"", []string{"{type: email}"}, "Mail.Read User.Read"},
		{"", []string{"{type: email, show_body: true, download_attachments: true, on_demand: true}"}, "Mail.Read User.Read"},
		{"", []string{"{type: email, on_demand: true, allow: [attachment]}"}, "Mail.Read User.Read"},
		{"", []string{"{type: email, basic: true}"}, "Mail.ReadBasic User.Read"},
		{"", []string{"{type: email, basic: true, on_demand: true}"}, "Mail.ReadBasic User.Read"},
		{"", []string{"{type: email, basic: true}", "{type: email}"}, "Mail.Read User.Read"},
		{"", []string{"{type: email, shared_mailbox: info@contoso.com}"}, "Mail.Read.Shared User.Read"},
		{"", []string{"{type: email, shared_mailbox: info@contoso.com, on_demand: true, allow: [attachment]}"}, "Mail.Read.Shared User.Read"},
		{"", []string{"{type: query, from: ann@contoso.com, body_contains: x}"}, "Mail.Read User.Read"},
		{"", []string{"{type: email, send_as: [info@contoso.com]}"}, "Mail.Read User.Read"},
		{update, []string{"{type: email}"}, "Mail.Read Mail.Send User.Read"},
		{update, []string{"{type: query}"}, "Mail.Read Mail.Send User.Read"},
		{update, []string{"{type: email, basic: true}"}, "Mail.ReadBasic Mail.Send User.Read"},
		{update, []string{"{type: email, shared_mailbox: info@contoso.com}"}, "Mail.Read.Shared Mail.Send.Shared User.Read"},
		{update, []string{"{type: email, send_as: [info@contoso.com]}"}, "Mail.Read Mail.Send.Shared User.Read"},
		{update, []string{"{type: email, read: false}"}, "Mail.Send User.Read"},
		{update, []string{"{type: email, read: false, shared_mailbox: info@contoso.com}"}, "Mail.Send.Shared User.Read"},
		{update, []string{"{type: email, read: false, allow: [send_large]}"}, "Mail.ReadWrite Mail.Send User.Read"},
		{update, []string{"{type: email, allow: [mark_read]}"}, "Mail.ReadWrite User.Read"},
		{update, []string{"{type: email, allow: [flag]}"}, "Mail.ReadWrite User.Read"},
		{update, []string{"{type: email, allow: [categorize]}"}, "Mail.ReadWrite User.Read"},
		{update, []string{"{type: email, allow: [move]}"}, "Mail.ReadWrite User.Read"},
		{update, []string{"{type: email, allow: [delete]}"}, "Mail.ReadWrite User.Read"},
		{update, []string{"{type: email, basic: true, allow: [mark_read]}"}, "Mail.ReadWrite User.Read"},
		{update, []string{"{type: email, shared_mailbox: info@contoso.com, allow: [move]}"}, "Mail.ReadWrite.Shared User.Read"},
		{update, []string{"{type: email, allow: [default, mark_read]}"}, "Mail.ReadWrite Mail.Send User.Read"},
		{update, []string{"{type: email, allow: [send_large]}"}, "Mail.ReadWrite Mail.Send User.Read"},
		{update, []string{"{type: email, send_as: [info@contoso.com], allow: [send_large]}"}, "Mail.ReadWrite Mail.Send.Shared User.Read"},
		{update, []string{"{type: email, shared_mailbox: info@contoso.com, allow: [send_large]}"}, "Mail.ReadWrite.Shared Mail.Send.Shared User.Read"},
		{update, []string{"{type: email, allow: [default, send_large]}"}, "Mail.ReadWrite Mail.Send User.Read"},
		{update, []string{"{type: email, allow: [reply]}"}, "Mail.Read Mail.Send User.Read"},
		{update, []string{"{type: email}", "{type: email, shared_mailbox: info@contoso.com}"}, "Mail.Read Mail.Read.Shared Mail.Send.Shared User.Read"},
		{"", []string{"{type: todo}"}, "Tasks.Read User.Read"},
		{"", []string{"{type: todo, list: Shopping, on_demand: true}"}, "Tasks.Read User.Read"},
		{update, []string{"{type: todo}"}, "Tasks.ReadWrite User.Read"},
		{update, []string{"{type: todo, read: false}"}, "Tasks.ReadWrite User.Read"},
		{update, []string{"{type: todo, allow: [list_new]}", "{type: todo, list: Shopping, enable_update: false}"}, "Tasks.ReadWrite User.Read"},
		{"", []string{"{type: chat}"}, "Chat.Read User.Read"},
		{"", []string{"{type: chat, basic: true}"}, "Chat.ReadBasic User.Read"},
		{"", []string{"{type: chat, on_demand: true}"}, "Chat.Read User.Read"},
		{update, []string{"{type: chat}"}, "Chat.Create Chat.Read ChatMessage.Send User.Read"},
		{update, []string{"{type: chat, basic: true}"}, "Chat.Create Chat.ReadBasic ChatMessage.Send User.Read"},
		{update, []string{"{type: chat, read: false}"}, "Chat.Create ChatMessage.Send User.Read"},
		{update, []string{"{type: chat, allow: [reply, react]}"}, "Chat.Read ChatMessage.Send User.Read"},
		{update, []string{"{type: chat, allow: [send]}"}, "Chat.Create Chat.Read ChatMessage.Send User.Read"},
		{update, []string{"{type: chat, allow: [create]}"}, "Chat.Create Chat.Read User.Read"},
		{update, []string{"{type: chat, allow: [send], notify: {to: [ann@contoso.com]}}"}, "Chat.Create Chat.Read ChatMessage.Send User.Read"},
		{update, []string{"{type: chat, allow: [default, mark_read]}"}, "Chat.ReadWrite User.Read"},
		{update, []string{"{type: chat, allow: [mark_read]}"}, "Chat.ReadWrite User.Read"},
		{update, []string{"{type: chat, allow: [mark_unread], read: false}"}, "Chat.ReadWrite User.Read"},
		{update, []string{"{type: chat, basic: true, allow: [default, mark_unread]}"}, "Chat.ReadWrite User.Read"},
		{update, []string{"{type: chat, enable_update: false}"}, "Chat.Read User.Read"},
		{update, []string{"{type: channel, team: 893075dd-2487-4122-925f-022c42e20265, channel: '19:a@thread.tacv2'}"}, "ChannelMessage.Send User.Read"},
		{update, []string{"{type: channel, team: Contoso, channel: '19:a@thread.tacv2'}"}, "ChannelMessage.Send Team.ReadBasic.All User.Read"},
		{update, []string{"{type: channel, team: Contoso}"}, "Channel.ReadBasic.All ChannelMessage.Send Team.ReadBasic.All User.Read"},
		{update, []string{"{type: channel, team: 893075dd-2487-4122-925f-022c42e20265, channels: ['19:a@thread.tacv2', News]}"}, "Channel.ReadBasic.All ChannelMessage.Send User.Read"},
		{"", []string{"{type: channel, team: 893075dd-2487-4122-925f-022c42e20265, channel: '19:a@thread.tacv2', read: true}"}, "ChannelMessage.Read.All User.Read"},
		{"", []string{"{type: channel, team: Contoso, read: true}"}, "Channel.ReadBasic.All ChannelMessage.Read.All Team.ReadBasic.All User.Read"},
		{update, []string{"{type: channel, team: 893075dd-2487-4122-925f-022c42e20265, channel: '19:a@thread.tacv2', allow: [default, mention_by_address]}"}, "ChannelMessage.Send User.Read User.ReadBasic.All"},
		{update, []string{"{type: calendar}", "{type: auto_reply, enable_update: false}", "{type: status}"}, "Calendars.ReadWrite MailboxSettings.Read Presence.Read User.Read"},
		{"", []string{"{type: calendar, meetings: true}"}, "Calendars.Read OnlineMeetings.Read User.Read"},
		{update, []string{"{type: calendar, meetings: true}"}, "Calendars.ReadWrite OnlineMeetings.Read User.Read"},
		{update, []string{"{type: calendar, meetings: true, allow: [default, create_meeting]}"}, "Calendars.ReadWrite OnlineMeetings.ReadWrite User.Read"},
		{update, []string{"{type: calendar, allow: [create_meeting]}"}, "Calendars.Read OnlineMeetings.ReadWrite User.Read"},
		{update, []string{"{type: calendar, allow: [default, expand_groups]}"}, "Calendars.ReadWrite GroupMember.Read.All User.Read User.ReadBasic.All"},
		{"", []string{"{type: calendar, on_demand: true}"}, "Calendars.Read User.Read"},
		{"", []string{"{type: calendar, on_demand: true, allow: [default, find_times]}"}, "Calendars.Read Calendars.Read.Shared User.Read"},
		{"", []string{"{type: calendar, on_demand: true, allow: [default, people_search]}"}, "Calendars.Read People.Read User.Read"},
		{"", []string{"{type: auto_reply, on_demand: true, allow: [contacts_search]}"}, "Contacts.Read MailboxSettings.Read User.Read"},
		{"", []string{"{type: auto_reply, on_demand: true, allow: [person]}"}, "MailboxSettings.Read User.Read User.ReadBasic.All"},
		{"", []string{"{type: auto_reply, on_demand: true, allow: [person, person_full]}"}, "MailboxSettings.Read User.Read User.Read.All"},
	} {
		t.Run(fmt.Sprint(test.account, test.sensors), func(t *testing.T) {
			c := load(t, test.account, test.sensors...)
			asked := runtime.SignInScopes(c.Accounts["work"])
			if diff := cmp.Diff(strings.Fields(test.want), asked[0]); diff != "" {
				t.Error(diff)
			}
			writes := slices.ContainsFunc(asked[len(asked)-1], func(s string) bool { return strings.Contains(s, "Write") || strings.Contains(s, "Send") })
			if writes && !strings.Contains(fmt.Sprint(test.sensors), "read: false") {
				t.Errorf("the last of %v still asks to write", asked)
			}
		})
	}
}

// An organization needs exactly the application permissions for its sensors, and none of a user.
func TestOrganizationPermissions(t *testing.T) {
	for _, test := range []struct{ keys, want string }{
		{"rooms: {addresses: [berlin@contoso.com]}", "Calendars.Read"},
		{"rooms: {addresses: [berlin@contoso.com], show_subject: true}", "Calendars.Read"},
		{"rooms: {addresses: [berlin@contoso.com], enable_update: true}", "Calendars.ReadWrite"},
		{"rooms: {addresses: [berlin@contoso.com], enable_update: true, allow: [book]}", "Calendars.ReadWrite"},
		{"enable_update: true\nrooms: {addresses: [berlin@contoso.com]}", "Calendars.ReadWrite"},
		{"enable_update: true\nrooms: {addresses: [berlin@contoso.com], enable_update: false}", "Calendars.Read"},
		{"sensors: {berlin: {type: room, room: berlin@contoso.com}}", "Calendars.Read"},
		{"rooms: {}", "Calendars.Read Place.Read.All"},
		{"rooms: {list: building7@contoso.com, refresh: 6h, except: [Storage]}", "Calendars.Read Place.Read.All"},
		{"rooms: {group: rooms@contoso.com, enable_update: true}", "Calendars.ReadWrite GroupMember.Read.All"},
		{"sensors: {s: {type: calendar, user: a@b.c, on_demand: true}}", "Calendars.Read"},
		{"sensors: {s: {type: calendar, user: a@b.c, enable_update: true}}", "Calendars.ReadWrite"},
		{"sensors: {s: {type: calendar, user: a@b.c, enable_update: true, allow: [default, expand_groups]}}", "Calendars.ReadWrite GroupMember.Read.All User.ReadBasic.All"},
		{"sensors: {s: {type: calendar, user: a@b.c, on_demand: true, allow: [default, contacts_search, person_full]}}", "Calendars.Read Contacts.Read User.Read.All"},
		{"sensors: {s: {type: email, user: a@b.c}}", "Mail.Read"},
		{"sensors: {s: {type: email, user: a@b.c, basic: true}}", "Mail.ReadBasic.All"},
		{"sensors: {s: {type: email, user: a@b.c, enable_update: true}}", "Mail.Read Mail.Send"},
		{"sensors: {s: {type: query, user: a@b.c, enable_update: true, allow: [mark_read]}}", "Mail.ReadWrite"},
		{"sensors: {s: {type: email, user: a@b.c, enable_update: true, read: false}}", "Mail.Send"},
		{"sensors: {s: {type: auto_reply, user: a@b.c}}", "MailboxSettings.Read"},
		{"enable_update: true\nsensors: {s: {type: auto_reply, user: a@b.c}}", "MailboxSettings.ReadWrite"},
		{"sensors: {s: {type: todo, user: a@b.c, list: all}}", "Tasks.Read.All"},
		{"sensors: {s: {type: todo, user: a@b.c, enable_update: true}}", "Tasks.ReadWrite.All"},
		{"enable_update: true\nsensors: {s: {type: status, user: a@b.c}}", "Presence.Read.All User.ReadBasic.All"},
		{"sensors: {s: {type: status, user: 87d349ed-44d7-43e1-9a83-5f2406dee5bd}}", "Presence.Read.All"},
	} {
		c, err := loadOrganization(t, test.keys)
		if err != nil {
			t.Errorf("%s: %v", test.keys, err)
			continue
		}
		if got := strings.Join(runtime.SignInScopes(c.Accounts["contoso"])[0], " "); got != test.want {
			t.Errorf("%s: got %s, want %s", test.keys, got, test.want)
		}
	}
	for keys, want := range map[string]string{
		"sensors: {chat: {type: chat}}":                                 "organizations.contoso.sensors.chat.type (line 7): chat is for accounts, to which a user signs in: Microsoft does not let applications send messages; organizations have auto_reply, calendar, email, query, room, status and todo",
		"sensors: {r: {type: room}}":                                    "organizations.contoso.sensors.r.room (line 7) is required, such as berlin@contoso.com",
		"sensors: {r: {type: room, room: berlin}}":                      `organizations.contoso.sensors.r.room (line 7): want the address of a room, such as berlin@contoso.com, not "berlin"`,
		"rooms: {list: a@b.c, group: a@b.c}":                            "organizations.contoso.rooms.list (line 7): not with group: want one of addresses, list and group",
		"rooms: {list: building7}":                                      `organizations.contoso.rooms.list (line 7): want the address of a room, such as berlin@contoso.com, not "building7"`,
		"rooms: {addresses: []}":                                        "organizations.contoso.rooms.addresses (line 7): want at least one; without the key: the rooms of list or group, or all rooms",
		"rooms: {enable_update: true, allow: []}":                       "organizations.contoso.rooms.allow (line 7): want at least one; without the key: all operations except the optional ones",
		"rooms: {refresh: 1m}":                                          "organizations.contoso.rooms.refresh (line 7): want at least 10m, not 1m",
		"sensors: {r: {type: room, room: a@b.c, except: [x]}}":          "organizations.contoso.sensors.r.except (line 7): only with room: all",
		"rooms: {addresses: [a@b.c, berlin, A@b.c]}":                    `organizations.contoso.rooms.addresses[1] (line 7): want the address of a room, such as berlin@contoso.com, not "berlin"`,
		"rooms: {addresses: [a@b.c, A@b.c]}":                            "organizations.contoso.rooms.addresses[1] (line 7): the same as addresses[0]",
		"rooms: {addresses: [a@b.c], on_demand: true, allow: [person]}": "organizations.contoso.rooms.allow[0] (line 7): person is not offered: in an organization, the sensors of mailboxes have it, which are those with the key user, except status",
		"sensors: {r: {type: room, room: a@b.c, addresses: [a@b.c]}}":   "organizations.contoso.sensors.r.addresses (line 7): only with room: all",
	} {
		if _, err := loadOrganization(t, keys); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v\nwant %s", keys, err, want)
		}
	}
}

// loadOrganization loads a configuration with one organization, "contoso", and these keys.
func loadOrganization(t *testing.T, keys string) (*config.Config, error) {
	t.Helper()
	text := "mqtt: {url: \"mqtt://127.0.0.1\"}\nstate_dir: " + t.TempDir() + "\norganizations:\n  contoso:\n    {client_id: 2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21, tenant: contoso.com, certificate_file: none.pem,\n"
	text += "    # the keys\n"
	for line := range strings.Lines(keys) {
		text += "    " + strings.TrimSuffix(line, "\n") + ",\n"
	}
	file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
	if err := os.WriteFile(file, []byte(text+"    }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return runtime.Load(config.Sources{File: file}, runtime.Kinds())
}

// What is refused is asked for again without the writes, and then without what users cannot grant themselves.
func TestScopesStepDown(t *testing.T) {
	for _, test := range []struct {
		account string
		sensors []string
		more    []string // kinds
		want    []string
	}{
		{"", nil, nil, []string{"User.Read"}},
		{"", []string{"{type: status}"}, nil, []string{"Presence.Read User.Read"}},
		{"", []string{"{type: status, enable_update: true}"}, nil, []string{"Presence.Read Presence.ReadWrite User.Read", "Presence.Read User.Read"}},
		{"", []string{"{type: calendar}"}, nil, []string{"Calendars.Read User.Read", "User.Read"}},
		{"", []string{"{type: calendar, basic_calendar: true}"}, nil, []string{"Calendars.ReadBasic User.Read", "User.Read"}},
		{"enable_update: true", []string{"{type: calendar}", "{type: status}"}, nil,
			[]string{"Calendars.ReadWrite Presence.Read User.Read", "Calendars.Read Presence.Read User.Read", "Presence.Read User.Read"}},
		{"enable_update: true\ntimezone: mailbox", []string{"{type: status, user: ann@contoso.com}"}, nil,
			[]string{"MailboxSettings.Read Presence.Read.All User.Read User.ReadBasic.All", "Presence.Read.All User.Read User.ReadBasic.All"}},
		// Nobody administrates personal accounts.
		{"enable_update: true\ntenant: consumers", []string{"{type: calendar}"}, nil, []string{"Calendars.ReadWrite User.Read", "Calendars.Read User.Read"}},
		// More than is configured is only read.
		{"", []string{"{type: status, enable_update: true}"}, []string{"calendar"},
			[]string{"Calendars.Read Presence.Read Presence.ReadWrite User.Read", "Calendars.Read Presence.Read User.Read", "Presence.Read User.Read"}},
		{"enable_update: true", []string{"{type: calendar}"}, []string{"calendar", "auto_reply"},
			[]string{"Calendars.ReadWrite MailboxSettings.Read User.Read", "Calendars.Read MailboxSettings.Read User.Read", "User.Read"}},
	} {
		t.Run(fmt.Sprint(test.account, test.sensors, test.more), func(t *testing.T) {
			var more []runtime.RequiredPermission
			for _, k := range runtime.Kinds() {
				if slices.Contains(test.more, k.Name) {
					more = append(more, runtime.ReadingPermissions(k)...)
				}
			}
			var got []string
			for _, set := range runtime.SignInScopes(load(t, test.account, test.sensors...).Accounts["work"], more...) {
				got = append(got, strings.Join(set, " "))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWorkOnly: a personal account is not offered what Graph has for work accounts only.
func TestWorkOnly(t *testing.T) {
	for _, name := range []string{"find_times", "people_search", "contacts_search", "person", "person_full"} {
		_, err := tryLoad(t, "tenant: consumers", "{type: calendar, on_demand: true, allow: [list, "+name+"]}")
		want := "accounts.work.sensors.s0.allow[1] (line 8): " + name + " is for work and school accounts: the tenant consumers has personal ones only"
		if err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
		load(t, "", "{type: calendar, on_demand: true, allow: [list, "+name+"]}")
	}
}

// TestMeetingsOption: the details of online meetings are for work accounts, and only about one's own meetings.
func TestMeetingsOption(t *testing.T) {
	for account, want := range map[string]string{
		"tenant: consumers": "accounts.work.sensors.s0.meetings (line 8): only for work and school accounts: the tenant consumers has personal ones only",
		"timezone: local":   "accounts.work.sensors.s0.meetings (line 8): not with shared_mailbox, because Teams tells only you about your meetings",
	} {
		sensor := "{type: calendar, meetings: true}"
		if account != "tenant: consumers" {
			sensor = "{type: calendar, meetings: true, shared_mailbox: room@contoso.com}"
		}
		if _, err := tryLoad(t, account, sensor); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	if _, err := tryLoad(t, "tenant: consumers\nenable_update: true", "{type: calendar, allow: [create_meeting]}"); err == nil {
		t.Error("a personal account may create online meetings")
	}
}

// load loads a configuration with one account, "work".
func load(t *testing.T, account string, sensors ...string) *config.Config {
	t.Helper()
	c, err := tryLoad(t, account, sensors...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryLoad(t *testing.T, account string, sensors ...string) (*config.Config, error) {
	t.Helper()
	text := "mqtt: {url: \"mqtt://127.0.0.1\"}\nstate_dir: " + t.TempDir() + "\naccounts:\n  work:\n    client_id: 2c1f9c5e-3b7a-4f0d-8e61-7a4b0c9d5e21\n"
	for line := range strings.Lines(account) {
		text += "    " + strings.TrimSuffix(line, "\n") + "\n"
	}
	text += "    sensors:\n"
	for i, s := range sensors {
		text += fmt.Sprintf("      s%d: %s\n", i, s)
	}
	file := filepath.Join(t.TempDir(), "graph2mqtt.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return runtime.Load(config.Sources{File: file}, runtime.Kinds())
}

// Options that rule each other out are refused with a sentence.
func TestRefusedOptions(t *testing.T) {
	for sensor, want := range map[string]string{
		"{type: email, basic: true, on_demand: true, allow: [attachment]}":                                          "allow[0] (line 7): attachment is not offered with basic: Mail.ReadBasic does not give that",
		"{type: query, basic: true, on_demand: true, allow: [default, search]}":                                     "allow[1] (line 7): search is not offered with basic: Mail.ReadBasic does not give that",
		"{type: email, basic: true, allow: [attachments]}":                                                          "allow[0] (line 7): attachments is not offered with basic: Mail.ReadBasic does not give that",
		"{type: calendar, shared_mailbox: room@contoso.com, enable_update: true, allow: [default, create_meeting]}": "allow[1] (line 7): create_meeting is not offered with shared_mailbox, because the meeting is your own; ask a calendar without it",
		"{type: calendar, shared_mailbox: room@contoso.com, on_demand: true, allow: [default, find_times]}":         "allow[1] (line 7): find_times is not offered with shared_mailbox, because it finds times for yourself; ask a calendar without it",
		"{type: calendar, shared_mailbox: room@contoso.com, on_demand: true, allow: [free_busy]}":                   "allow[0] (line 7): free_busy is not offered with shared_mailbox, for Microsoft has no such permission; ask a calendar without it",
		"{type: status, user: ann@contoso.com, allow: [people_search, set_status_message]}":                         "allow[1] (line 7): set_status_message is not offered with user, because you can set only your own status",
		"{type: email, allow: [attach]}":                                                                            `allow[0] (line 7): unknown operation "attach"; type email has: attachment, attachments, categorize, contacts_search, delete, flag, forward, get, list, mark_read, move, people_search, person, person_full, reply, reply_all, search, send, send_large`,
		"{type: email, read: false}":                                                                                "read (line 7): want true, or enable_update: true: the sensor would neither read nor change anything",
		"{type: email, read: false, enable_update: true, on_demand: true}":                                          "on_demand (line 7): want false with read: false: no permission to read is requested then",
		"{type: email, read: false, enable_update: true, allow: [get]}":                                             "read (line 7): false leaves nothing to do: the sensor offers no operation without enable_update",
	} {
		_, err := tryLoad(t, "", sensor)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", sensor, err, want)
		}
	}
}
