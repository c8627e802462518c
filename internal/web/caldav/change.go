package caldav

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-ical"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// operations are the names of the operations that change a collection; "": it has none.
type operations struct {
	id string // the field with the id of an event or a task

	create, change, remove, complete, reopen string
}

func operationsOf(c Collection) operations {
	switch {
	case !c.HoldsTasks():
		return operations{id: "event_id", create: "create", change: "modify", remove: "remove"}
	case c.Kind() == "planner":
		return operations{id: "task_id", change: "complete", complete: "complete", reopen: "progress"}
	}
	return operations{id: "todo_id", create: "new", change: "update", remove: "delete", complete: "complete", reopen: "reopen"}
}

// repeatTime is the time for which the same content under the same name counts as a repetition of the request that created it.
const repeatTime = 10 * time.Minute

// put creates or changes an object.
func (x *exchange) put(p resourcePath) error {
	c, s, err := x.object(p)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxObject))
	if err != nil {
		return err
	}
	in, err := newInput(data, kindOf(c), c.Location())
	if err != nil {
		return statusError(http.StatusConflict, "%w", err)
	}
	done, err := s.take(x.r.Context())
	if err != nil {
		return err
	}
	defer done()
	o, err := s.find(x.r.Context(), c, p.name)
	if err != nil {
		return err
	}
	digest := in.digest()
	known, created := s.aliases.withName(p.name)
	repeated := created && !known.Removed && known.Digest == digest && time.Since(known.Created).Abs() < repeatTime
	if o == nil && created && known.Series && !known.Removed { // its events have names of their own
		if known.Digest == digest {
			x.w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return statusError(http.StatusConflict, "a series cannot be changed as a whole from here; change its events, or the series in Outlook")
	}
	// Perhaps it is not in a list yet. Where it must not exist, it is there because the first answer was lost.
	if repeated && (o == nil || x.r.Header.Get("If-None-Match") != "") {
		x.w.WriteHeader(http.StatusCreated)
		return nil
	}
	if err := x.checkConditions(o); err != nil {
		return err
	}
	if o == nil {
		first := 0
		if created {
			first = known.Attempt + 1
		}
		if err := x.create(c, s, p.name, in, digest, first); err != nil {
			return err
		}
		x.w.WriteHeader(http.StatusCreated)
		return nil
	}
	if err := x.change(c, s, o, in); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// object returns the collection of the object that a path names.
func (x *exchange) object(p resourcePath) (Collection, *collectionState, error) {
	if p.kind != objectResource {
		return nil, nil, statusError(http.StatusMethodNotAllowed, "calendars and task lists are made and removed in Outlook and To Do")
	}
	if len(p.name) > maxUID+len(extension) {
		return nil, nil, statusError(http.StatusForbidden, "want a name of at most %d bytes", maxUID+len(extension))
	}
	return x.collection(p.id)
}

// checkConditions returns an error unless the object, nil if there is none, is as the client expects.
func (x *exchange) checkConditions(o *object) error {
	match, none := x.r.Header.Get("If-Match"), x.r.Header.Get("If-None-Match")
	switch {
	case match != "" && (o == nil || !matchesAny(match, o.etag)):
		return statusError(http.StatusPreconditionFailed, "it was changed or removed meanwhile; try again with the newest one")
	case none != "" && o != nil && matchesAny(none, o.etag):
		return statusError(http.StatusPreconditionFailed, "there is one with this name already")
	}
	return nil
}

// remove deletes an object.
func (x *exchange) remove(p resourcePath) error {
	c, s, err := x.object(p)
	if err != nil {
		return err
	}
	done, err := s.take(x.r.Context())
	if err != nil {
		return err
	}
	defer done()
	operations := operationsOf(c)
	o, err := s.find(x.r.Context(), c, p.name)
	if err != nil {
		return err
	}
	known, created := s.aliases.withName(p.name)
	id := ""
	switch {
	case o != nil:
		id = o.id()
	case created && known.Series && !known.Removed:
		id = known.ID
	default:
		return noObjectError()
	}
	if err := x.checkConditions(o); err != nil && o != nil {
		return err
	}
	if operations.remove == "" {
		return statusError(http.StatusConflict, "tasks of Planner can be completed and reopened from here, but not removed")
	}
	if _, err := x.request(c, s, operations.remove, map[string]any{operations.id: id}); err != nil {
		return err
	}
	if created { // the same content is not a repetition any more
		known.Removed = true
		x.addAlias(c, s, known)
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// addAlias stores an alias. Without it the object has another name.
func (x *exchange) addAlias(c Collection, s *collectionState, a alias) {
	if err := s.aliases.add(a); err != nil {
		x.o.Log.Error("name of a calendar object not stored", "account", x.account, "sensor", c.ID(), "error", err)
	}
}

// request has an operation executed and returns the data of its response.
func (x *exchange) request(c Collection, s *collectionState, operation string, fields map[string]any) (map[string]any, error) {
	r, err := x.execute(c, s, operation, fields)
	if err != nil {
		return nil, err
	}
	return responseData(r)
}

// execute has an operation executed. Who hangs up does not end it: it may happen all the same, and then its name must be stored, and
// the next change must find it. What may take too long to be answered is not begun.
func (x *exchange) execute(c Collection, s *collectionState, operation string, fields map[string]any) (services.Response, error) {
	payload, err := json.Marshal(fields)
	if err != nil {
		return services.Response{}, err
	}
	deadline, _ := x.r.Context().Deadline()
	if time.Until(deadline) < changeTime {
		done := "nothing was changed"
		if x.changed {
			done = "only a part was changed"
		}
		return services.Response{}, statusError(http.StatusServiceUnavailable, "Microsoft takes too long to answer; %s, try again later", done)
	}
	x.changed = true
	ctx, cancel := context.WithDeadline(context.WithoutCancel(x.r.Context()), deadline)
	defer cancel()
	r := x.o.Do(ctx, services.Inbound{
		Target: services.Ref{Account: x.account, Sensor: c.ID()}, Operation: operation, Payload: payload, Received: time.Now(),
	})
	s.invalidate()
	return r, nil
}

// responseData returns the data of a response, or its error as an answer to the client.
func responseData(r services.Response) (map[string]any, error) {
	if r.Error != nil {
		return nil, &httpError{status: statusOfCode(r.Error.Code), err: errors.New(r.Error.Message)}
	}
	encoded, err := json.Marshal(r.Data)
	if err != nil {
		return nil, err
	}
	var data map[string]any
	if err := json.Unmarshal(encoded, &data); err != nil {
		return nil, err
	}
	return data, nil
}

// statusOfCode returns the status that answers a failed request. Home Assistant shows the text of 409, 500 and 503, but not of 403.
func statusOfCode(code services.Code) int {
	switch code {
	case services.UpdatesDisabled, services.UnknownOp, services.NotOnDemand, services.Code(graph.PermissionMissing), services.InvalidArgument, services.InvalidJSON, services.Conflict, services.TooLarge:
		return http.StatusConflict
	case services.UnknownSensor, services.Code(graph.NotFound):
		return http.StatusNotFound
	case services.InDoubt, services.Internal:
		return http.StatusInternalServerError
	}
	return http.StatusServiceUnavailable
}

// digest identifies what a client wrote, whenever it wrote it.
func (in *input) digest() string {
	b, err := json.Marshal(struct {
		UID, Kind, Zone      string
		Summary, Description string
		Categories           []string
		Location             string
		Start, End           time.Time
		AllDay, Free, Done   bool
		Class, Status        string
		Due, Importance      string
		Recurrence           *services.Recurrence
		Reminder             *int
	}{
		in.uid, in.kind, zoneName(in.zone), in.fields.summary, in.fields.description, in.fields.categories, in.fields.location, in.fields.start, in.fields.end,
		in.fields.allDay, in.fields.free, in.fields.done, in.fields.class, in.fields.status, in.fields.due, in.fields.importance, in.recurrence, in.reminder,
	})
	if err != nil { // no field can fail
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func zoneName(loc *time.Location) string {
	if loc == nil {
		return ""
	}
	return loc.String()
}

// create creates an event or a task.
func (x *exchange) create(c Collection, s *collectionState, name string, in *input, digest string, first int) error {
	operations := operationsOf(c)
	if operations.create == "" {
		return statusError(http.StatusConflict, "tasks of Planner can be completed and reopened from here, but not added")
	}
	fields := in.creation()
	if err := x.checkUID(c, s, in.uid); err != nil {
		return err
	}
	// The dispatcher executes a transaction once, also over a restart. One that failed is tried again as another one.
	var data map[string]any
	sum := sha256.Sum256([]byte(name + " " + digest))
	attempt := first
	for ; ; attempt++ {
		fields["transaction"] = "caldav-" + hex.EncodeToString(sum[:16]) + "-" + strconv.Itoa(attempt)
		r, err := x.execute(c, s, operations.create, fields)
		if err != nil {
			return err
		}
		if data, err = responseData(r); err == nil {
			break
		}
		again := r.Duplicate && r.Error.Code != services.InDoubt && r.Error.Code != services.Conflict
		if !again || attempt-first >= maxAttempts {
			return err
		}
	}
	id, _ := data[operations.id].(string)
	if id == "" {
		return statusError(http.StatusInternalServerError, "the response has no %s", operations.id)
	}
	series := in.recurrence != nil && in.kind == ical.CompEvent
	a := alias{ID: id, Name: name, UID: in.uid, Digest: digest, Attempt: attempt, Series: series, Created: time.Now().UTC()}
	if !c.HoldsTasks() {
		at := spanOf(&in.fields)
		a.Start, a.End = at.from, at.to
	}
	x.addAlias(c, s, a)
	s.invalidate()
	if in.fields.done {
		if _, err := x.request(c, s, operations.complete, map[string]any{operations.id: id}); err != nil {
			return err
		}
	}
	f := in.fields
	x.rememberFields(c.ID(), name, &f)
	return nil
}

// maxAttempts bounds the transactions of one object that may have failed before.
const maxAttempts = 50

// checkUID returns an error if another object has this UID.
func (x *exchange) checkUID(c Collection, s *collectionState, uid string) error {
	l, err := s.full(x.r.Context(), c)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(l.objects, func(o *object) bool { return o.uid == uid }) {
		return conditionError(http.StatusForbidden, "no-uid-conflict", "there is one with this UID under another name")
	}
	return nil
}

// creation returns the fields of the request that creates it.
func (in *input) creation() map[string]any {
	f := &in.fields
	fields := map[string]any{"subject": f.summary}
	set := func(name, value string) {
		if value != "" {
			fields[name] = value
		}
	}
	if len(f.categories) > 0 {
		fields["categories"] = f.categories
	}
	if in.recurrence != nil {
		fields["recurrence"] = recurrenceFields(in.recurrence)
	}
	if in.kind == ical.CompToDo {
		set("description", f.description)
		set("due", f.due)
		if f.importance != "normal" {
			fields["importance"] = f.importance
		}
		return fields
	}
	set("body", f.description)
	set("location", f.location)
	maps.Copy(fields, in.times())
	if f.class != "PUBLIC" {
		fields["sensitivity"] = strings.ToLower(f.class)
	}
	if in.shown { // otherwise as in Outlook, where a day is free
		fields["show_as"] = f.showAs()
	}
	if in.reminder != nil {
		fields["remind_before_minutes"] = *in.reminder
	}
	return fields
}

// showAs returns how an event is shown in Outlook.
func (f *fields) showAs() string {
	switch {
	case f.free:
		return "free"
	case f.status == "TENTATIVE":
		return "tentative"
	}
	return "busy"
}

// times returns the fields with the start and the end of an event.
func (in *input) times() map[string]any {
	f := &in.fields
	if f.allDay {
		return map[string]any{"start": f.start.Format(time.DateOnly), "end": f.end.Format(time.DateOnly), "is_all_day": true}
	}
	fields := map[string]any{"start": f.start.In(in.zone).Format(time.RFC3339), "end": f.end.In(in.zone).Format(time.RFC3339)}
	if name := in.zone.String(); name != "Local" {
		fields["timezone"] = name
	}
	return fields
}

// recurrenceFields returns a recurrence without the fields that are not set.
func recurrenceFields(r *services.Recurrence) map[string]any {
	fields := map[string]any{}
	b, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(b, &fields)
	}
	if err != nil { // no field can fail
		return nil
	}
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	return fields
}

// change applies what a client changed of an object: where its version differs from what it was served last, and from the object.
func (x *exchange) change(c Collection, s *collectionState, o *object, in *input) error {
	before := x.served(c.ID(), o.name)
	if before == nil {
		before = o.fields
	}
	if in.recurrence != nil {
		return statusError(http.StatusConflict, "RRULE: what exists cannot become a series from here")
	}
	operations := operationsOf(c)
	type step struct {
		operation string
		fields    map[string]any
	}
	var steps []step
	changed, err := in.changes(before, o.fields)
	if err != nil {
		return err
	}
	done := in.fields.done
	if done == before.done {
		done = o.fields.done
	}
	if done != o.fields.done && !done {
		reopen := map[string]any{}
		if operations.reopen == "progress" {
			reopen["percent"] = 0
		}
		steps = append(steps, step{operations.reopen, reopen})
	}
	if len(changed) > 0 {
		if c.Kind() == "planner" {
			return statusError(http.StatusConflict, "tasks of Planner can be completed and reopened from here, but not changed")
		}
		steps = append(steps, step{operations.change, changed})
	}
	if done != o.fields.done && done {
		steps = append(steps, step{operations.complete, map[string]any{}})
	}
	for _, step := range steps {
		step.fields[operations.id] = o.id()
		if _, err := x.request(c, s, step.operation, step.fields); err != nil {
			return err
		}
	}
	f := in.fields
	x.rememberFields(c.ID(), o.name, &f)
	if !c.HoldsTasks() {
		s.mu.Lock()
		s.rememberSpans([]*object{{name: o.name, fields: &f, event: o.event}})
		s.mu.Unlock()
	}
	return nil
}

// changes returns the fields of the request that changes an object. before is what the client had, now what there is.
func (in *input) changes(before, now *fields) (map[string]any, error) {
	f := &in.fields
	changed := map[string]any{}
	differs := func(given, had, is string) bool { return given != had && given != is }
	if differs(f.summary, before.summary, now.summary) {
		changed["subject"] = f.summary
	}
	if differs(f.description, before.description, now.description) {
		if now.truncated || before.truncated {
			return nil, statusError(http.StatusConflict, "the description is longer than the %d characters that are shown here; change it in Outlook or To Do", maxDescription)
		}
		name := "body"
		if in.kind == ical.CompToDo {
			name = "description"
		}
		changed[name] = f.description
	}
	if !slices.Equal(f.categories, before.categories) && !slices.Equal(f.categories, now.categories) {
		changed["categories"] = append([]string{}, f.categories...)
	}
	if in.kind == ical.CompToDo {
		if differs(f.due, before.due, now.due) {
			if f.due == "" {
				changed["remove_due"] = true
			} else {
				changed["due"] = f.due
			}
		}
		if differs(f.importance, before.importance, now.importance) {
			changed["importance"] = f.importance
		}
		return changed, nil
	}
	if differs(f.location, before.location, now.location) {
		changed["location"] = f.location
	}
	sameTimes := func(o *fields) bool {
		return f.start.Equal(o.start) && f.end.Equal(o.end) && f.allDay == o.allDay
	}
	if !sameTimes(before) && !sameTimes(now) {
		maps.Copy(changed, in.times())
		changed["is_all_day"] = f.allDay
	}
	if differs(f.class, before.class, now.class) {
		changed["sensitivity"] = map[string]string{"PUBLIC": "normal", "PRIVATE": "private", "CONFIDENTIAL": "confidential"}[f.class]
	}
	if differs(f.status, before.status, now.status) && f.status == "CANCELLED" {
		return nil, statusError(http.StatusConflict, "STATUS: a meeting cannot be canceled from here; cancel it in Outlook, or remove it")
	}
	if f.showAs() != before.showAs() && f.showAs() != now.showAs() {
		changed["show_as"] = f.showAs()
	}
	return changed, nil
}
