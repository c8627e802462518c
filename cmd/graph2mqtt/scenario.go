package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
	"github.com/graph2mqtt/graph2mqtt/mqtt"
)

// seedCalendar adds a working day's meetings.
func (d *demo) seedCalendar(now time.Time) {
	minute := now.Truncate(time.Minute)
	for _, e := range []simulator.Event{
		{Subject: "Planning", Start: minute.Add(-90 * time.Minute), End: minute.Add(-30 * time.Minute), Location: "Room Oslo"},
		{Subject: "Lunch with Megan", Start: minute.Add(2 * time.Hour), End: minute.Add(3 * time.Hour), ShowAs: "free"},
		{Subject: "Budget", Start: minute.Add(4 * time.Hour), End: minute.Add(5 * time.Hour), Location: "Room Bergen", Importance: "high"},
	} {
		d.simulator.AddEvent(simulator.Adele, "", e)
	}
}

// seedPlanner adds a plan with some tasks.
func (d *demo) seedPlanner(now time.Time) {
	p := d.simulator.AddPlan(simulator.PlannerPlan{Title: demoPlan, Buckets: []string{"To do", "Doing"}, Members: []string{simulator.Adele}})
	for _, t := range []simulator.PlannerTask{
		{Bucket: "To do", Title: "Order the desks", Due: now.AddDate(0, 0, -1), Priority: 1},
		{Bucket: "Doing", Title: "Pack the archive", Due: now.AddDate(0, 0, 7), Percent: 50, Priority: 5, Checklist: []simulator.PlannerChecklistItem{{Title: "Boxes", Checked: true}, {Title: "Labels"}}},
	} {
		t.Plan, t.Assigned = p.ID, []string{simulator.Adele}
		d.simulator.AddPlannerTask(t)
	}
}

// demoPlan is the title of the plan.
const demoPlan = "Office move"

// addTask assigns a task and returns its id.
func (d *demo) addTask(title string, due time.Time) string {
	return d.simulator.AddPlannerTask(simulator.PlannerTask{Plan: demoPlan, Bucket: "To do", Title: title, Due: due, Priority: 3, Assigned: []string{simulator.Adele}}).ID
}

// setProgress sets the progress of a task.
func (d *demo) setProgress(id string, percent int) {
	d.simulator.ChangePlannerTask(id, func(t *simulator.PlannerTask) { t.Percent = percent })
}

// seedMail adds the mails of yesterday and today.
func (d *demo) seedMail(now time.Time) {
	for _, m := range []simulator.Mail{
		{
			Subject: "Minutes of the design review", From: simulator.Alex, FromName: "Alex Wilber", Received: now.Add(-26 * time.Hour), Read: true, Body: "The minutes are attached.",
			Attachments: []simulator.Attachment{{Name: "minutes.txt", ContentType: "text/plain", Content: []byte("1. Welcome\n")}},
		},
		{Subject: "Your weekly digest", From: "digest@fabrikam.example", FromName: "Fabrikam", Received: now.Add(-3 * time.Hour), Body: "Nothing new.", Categories: []string{"News"}},
	} {
		d.deliver(m)
	}
}

// demoList is the name of the task list in Microsoft To Do.
const demoList = "Shopping"

// seedTasks adds a task list.
func (d *demo) seedTasks(now time.Time) {
	d.simulator.AddTodoList(simulator.Adele, demoList)
	day := now.UTC().Truncate(24 * time.Hour)
	d.simulator.AddTask(simulator.Adele, demoList, simulator.Task{Title: "Bread"})
	d.simulator.AddTask(simulator.Adele, demoList, simulator.Task{Title: "Present for Megan", Due: day.AddDate(0, 0, 2), Steps: []simulator.TaskStep{{Name: "Wrapping paper"}}})
}

// The colleagues who write in the demo's chats, and the id of the group.
const (
	demoMegan = "megan@contoso.example"
	demoLee   = "lee@contoso.example"
	demoGroup = "19:demo@thread.v2"
)

// seedChats adds a chat with a colleague and a group.
func (d *demo) seedChats(now time.Time) {
	d.simulator.AddUser(simulator.User{Address: demoMegan, Name: "Megan Bowen"})
	d.simulator.AddUser(simulator.User{Address: demoLee, Name: "Lee Gu"})
	private := d.simulator.AddChat(simulator.Chat{Members: []string{simulator.Adele, demoMegan}})
	d.simulator.PostChatMessage(private.ID, simulator.ChatMessage{From: demoMegan, Body: "See you on Monday.", Created: now.Add(-20 * time.Hour)})
	d.simulator.SetViewpoint(simulator.Adele, private.ID, simulator.Viewpoint{Read: now.Add(-19 * time.Hour)})
	d.simulator.AddChat(simulator.Chat{ID: demoGroup, Topic: "Lunch", Members: []string{simulator.Adele, demoMegan, demoLee}})
	d.simulator.PostChatMessage(demoGroup, simulator.ChatMessage{From: demoLee, Body: "Who is in today?", Created: now.Add(-30 * time.Minute)})
}

// writeInChat posts a message in the group, which mentions Adele with mention.
func (d *demo) writeInChat(from, text string, mention bool) {
	m := simulator.ChatMessage{From: from, Body: text}
	if mention {
		m.HTML, m.Body = true, `<at id="0">Adele Vance</at> `+text
		m.Mentions = []simulator.ChatMention{{Address: simulator.Adele, Name: "Adele Vance"}}
	}
	d.simulator.PostChatMessage(demoGroup, m)
}

// scenarioLength is the duration of one round of the scenario.
const scenarioLength = 100 * time.Second

// runScenario changes the calendar, the presence, the automatic replies, the mailbox, the tasks and the chats until ctx is done, so that
// there is always something to see.
func (d *demo) runScenario(ctx context.Context) {
	goods := []string{"Milk", "Apples", "Rice", "Tea", "Soap"}
	subjects := []string{"Stand-up", "Interview", "Design review", "Weekly", "Sprint review", "Customer call"}
	for n := 0; ; n++ {
		first, second := subjects[2*n%len(subjects)], subjects[(2*n+1)%len(subjects)]
		began := time.Now().Truncate(time.Second)
		d.addMeeting(first, began.Add(15*time.Second), 45*time.Second)
		later := d.addMeeting(second, began.Add(110*time.Second), 40*time.Second)
		var planned, task, bought string
		var question, urgent simulator.Mail
		for _, step := range []struct {
			at time.Duration
			do func()
		}{
			{3 * time.Second, func() {
				question = d.deliver(simulator.Mail{Subject: "Lunch?", From: simulator.Megan, FromName: "Megan Bowen", Body: "Are you free at noon?"})
			}},
			{15 * time.Second, func() { d.readMail(question) }},
			{20 * time.Second, func() { d.setPresence("Busy", "InAMeeting") }},
			{22 * time.Second, func() { d.answerMail(ctx, question, "Yes, see you there.") }},
			{25 * time.Second, func() { d.setReplies("alwaysEnabled") }},
			{30 * time.Second, func() {
				bought = d.simulator.AddTask(simulator.Adele, demoList, simulator.Task{Title: goods[n%len(goods)]}).ID
			}},
			{32 * time.Second, func() { d.writeInChat(demoMegan, "Pizza at noon?", false) }},
			{35 * time.Second, func() { d.moveMeeting(later, began.Add(75*time.Second), 15*time.Second) }},
			{40 * time.Second, func() { task = d.addTask("Book the movers", began.AddDate(0, 0, 3)) }},
			{50 * time.Second, func() { d.setReplies("disabled") }},
			{52 * time.Second, func() { d.setProgress(task, 50) }},
			{55 * time.Second, func() {
				urgent = d.deliver(simulator.Mail{Subject: "Budget: please approve", From: simulator.Alex, FromName: "Alex Wilber", Importance: "high", Body: "It is due today."})
			}},
			{58 * time.Second, func() { d.writeInChat(demoLee, "are you coming?", true) }},
			{60 * time.Second, func() { d.setPresence("Available", "Available") }},
			{65 * time.Second, func() { planned = d.addMeeting("1:1 with Lee", began.Add(130*time.Second), time.Minute) }},
			{70 * time.Second, func() { d.readMail(urgent) }},
			{72 * time.Second, func() { d.completeTask(bought) }},
			{75 * time.Second, func() { d.setProgress(task, 100) }},
			{80 * time.Second, func() { d.cancelMeeting(planned) }},
			{85 * time.Second, func() { d.setPresence("Away", "Away") }},
			{90 * time.Second, func() { d.archiveMail(question); d.archiveMail(urgent) }},
			{95 * time.Second, func() { d.setPresence("Available", "Available") }},
		} {
			if !sleep(ctx, time.Until(began.Add(step.at))) {
				return
			}
			step.do()
		}
		if !sleep(ctx, time.Until(began.Add(scenarioLength))) {
			return
		}
	}
}

// addMeeting adds a meeting and returns its id.
func (d *demo) addMeeting(subject string, start time.Time, length time.Duration) string {
	none := time.Duration(-1)
	return d.simulator.AddEvent(simulator.Adele, "", simulator.Event{Subject: subject, Start: start, End: start.Add(length), Location: "Teams", Reminder: &none})
}

// moveMeeting gives a meeting another time.
func (d *demo) moveMeeting(id string, start time.Time, length time.Duration) {
	at := func(t time.Time) map[string]any {
		return map[string]any{"dateTime": t.UTC().Format("2006-01-02T15:04:05"), "timeZone": "UTC"}
	}
	d.report(d.simulator.ChangeEvent(simulator.Adele, id, map[string]any{"start": at(start), "end": at(start.Add(length))}))
}

// cancelMeeting cancels a meeting as its organizer does.
func (d *demo) cancelMeeting(id string) {
	d.report(d.simulator.ChangeEvent(simulator.Adele, id, map[string]any{"isCancelled": true}))
}

// completeTask completes a task that the scenario added. A task that was deleted since is ignored.
func (d *demo) completeTask(id string) {
	for _, t := range d.simulator.Tasks(simulator.Adele, demoList) {
		if t.ID == id {
			d.report(d.simulator.CompleteTask(simulator.Adele, id))
		}
	}
}

// setReplies sets the automatic replies' status.
func (d *demo) setReplies(status string) {
	d.simulator.SetAutomaticReplies(simulator.Adele, simulator.AutomaticReplies{Status: status})
}

// setPresence sets the presence that Teams detects.
func (d *demo) setPresence(availability, activity string) {
	d.simulator.SetPresence(simulator.Adele, simulator.Presence{Availability: availability, Activity: activity, WorkLocation: "office", WorkLocationSource: "scheduled"})
}

// deliver delivers a mail to the Inbox.
func (d *demo) deliver(m simulator.Mail) simulator.Mail {
	m.To = []string{simulator.Adele}
	return d.simulator.DeliverMail(simulator.Adele, m)
}

// readMail marks a mail as read, as Outlook does.
func (d *demo) readMail(m simulator.Mail) {
	d.simulator.ChangeMail(simulator.Adele, m.ImmutableID, func(m *simulator.Mail) { m.Read = true })
}

// archiveMail moves a mail out of the Inbox, as in Outlook.
func (d *demo) archiveMail(m simulator.Mail) {
	d.simulator.MoveMail(simulator.Adele, m.ImmutableID, "archive")
}

// answerMail answers a mail with a request over MQTT, as an automation does.
func (d *demo) answerMail(ctx context.Context, m simulator.Mail, text string) {
	request, err := json.Marshal(map[string]string{"message_id": m.ImmutableID, "message": text})
	must(err) // cannot fail: texts only
	err = d.observer.Publish(mqtt.Topics(d.base).Sensor(demoAccount, demoMail, "request/reply"), request, false)
	if ctx.Err() == nil {
		d.report(err)
	}
}

// report prints an error of the scenario.
func (d *demo) report(err error) {
	if err != nil {
		fmt.Fprintln(d.stderr, "graph2mqtt: change the simulated account:", err)
	}
}

// sleep waits and reports whether ctx is not done.
func sleep(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
