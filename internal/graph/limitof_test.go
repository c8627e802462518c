package graph

import "testing"

func TestLimit(t *testing.T) {
	for path, want := range map[string]string{
		"/v1.0/users/me-token-to-replace/calendarView":      "outlook of me",
		"/v1.0/me/mailFolders/inbox/messages":               "outlook of me",
		"/v1.0/users/me-token-to-replace/mailboxSettings":   "outlook of me",
		"/v1.0/users/a@b.c/calendars/1/calendarView":        "outlook of users/a@b.c",
		"/v1.0/groups/1/calendarView":                       "outlook of groups/1",
		"/v1.0/users/group-token-to-replace-1/events":       "outlook of groups/1",
		"/v1.0/users/me-token-to-replace/todo/lists":        "todo",
		"/v1.0/users/me-token-to-replace/planner/tasks":     "planner",
		"/v1.0/planner/tasks/1/details":                     "planner",
		"/v1.0/users/1/presence/setPresence":                "presence",
		"/v1.0/communications/getPresencesByUserId":         "presence",
		"/v1.0/users/me-token-to-replace/chats":             "teams",
		"/v1.0/chats/1/messages":                            "teams",
		"/v1.0/teams/1/channels":                            "teams",
		"/v1.0/users/me-token-to-replace/joinedTeams":       "teams",
		"/v1.0/users/me-token-to-replace":                   "directory",
		"/v1.0/me":                                          "directory",
		"/v1.0/users":                                       "directory",
		"/v1.0/groups":                                      "directory",
		"/v1.0/me/transitiveMemberOf/microsoft.graph.group": "directory",
		"/v1.0/subscriptions":                               "subscriptions",
		"/v1.0/subscriptions/1":                             "subscriptions",
		"/v1.0/":                                            "directory",
		"":                                                  "directory",
	} {
		if got := limitOf(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
