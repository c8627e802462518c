package mail

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/sensors"
)

const (
	// readEvery is the number of polls after which the mails are read although nothing seems to have changed.
	readEvery = 10
	// maxNew bounds the mails that are read at once, and with it the events of one poll.
	maxNew = 500
	// maxDetails bounds the mails whose texts and attachments are read at once.
	maxDetails = 100
	// maxLookups bounds the mails that one poll looks up because they left the list.
	maxLookups = 20
	// deliveryTime bounds the time from the receipt of a mail to its place in the folder, and clockSkew that by which this machine's
	// clock may be ahead of Exchange's. A mail that another client marks as unread within that time may be taken for new.
	deliveryTime = 10 * time.Second
	clockSkew    = time.Minute
	// maxSingle is the number of texts from which on they are read in pages.
	maxSingle = 10
)

// poll asks whether anything changed, and reads the mails where something did.
func (o *Options) poll(ctx context.Context, g *graph.Client, sel selection, last *Snapshot, now time.Time) (*Snapshot, error) {
	box := o.mailbox()
	s := new(Snapshot)
	var folder *mail.Folder
	find := func() error {
		f, err := box.FindSharedFolder(ctx, g, o.Folder)
		if err != nil {
			return err
		}
		folder, s.FolderID, s.Search = &f, f.ID, f.IsSearch()
		return nil
	}
	if last == nil {
		if err := find(); err != nil {
			return nil, err
		}
	} else {
		*s = *last
		s.Fresh, s.Outcomes = nil, nil
	}
	changes, err := o.changes(ctx, g, s, now)
	if err != nil {
		return nil, err
	}
	if s.Skipped++; last != nil && !changes.any && s.Skipped < readEvery && !sensors.ReadAll(ctx) {
		return s, nil
	}
	s.Skipped = 0
	if folder == nil {
		f, err := box.SharedFolder(ctx, g, s.FolderID)
		if graph.Is(err, graph.NotFound) { // it may have been removed and created again
			if lost := find(); lost != nil {
				return nil, lost
			}
			if s.FolderID == last.FolderID {
				return nil, err
			}
			s.Watch = graph.Watch{}
			if changes, err = o.changes(ctx, g, s, now); err != nil {
				return nil, err
			}
		} else if err != nil {
			return nil, err
		} else {
			folder = &f
		}
	}
	s.Unread = folder.Unread
	return s, o.read(ctx, g, sel, s, last, changes)
}

// folderChanges are the changes of a folder since the last poll.
type folderChanges struct {
	any        bool
	byDelta    bool      // fresh and removed are known
	fresh      set       // mails that were never seen
	incomplete bool      // it is unknown which of them are new
	since      time.Time // mails that were received before are not new
	removed    []string
}

func (o *Options) hasDelta(s *Snapshot) bool { return o.SharedMailbox == "" && !s.Search }

// changes asks whether anything changed.
func (o *Options) changes(ctx context.Context, g *graph.Client, s *Snapshot, now time.Time) (folderChanges, error) {
	box := o.mailbox()
	n := folderChanges{since: s.PolledAt.Add(-clockSkew)}
	if p := s.Watch.Probe; p != nil && !p.At.IsZero() { // a mail changes last when it is put into the folder, soon after it was received
		n.since = p.At.Add(-deliveryTime)
	}
	var delta func(link string) (graph.DeltaChanges[graph.Item], error)
	if o.hasDelta(s) {
		delta = func(link string) (graph.DeltaChanges[graph.Item], error) {
			return box.Changes(ctx, g, s.FolderID, link, now)
		}
	}
	c, err := graph.Ask(&s.Watch, now, delta, func() (graph.Probe, error) { return box.Probe(ctx, g, s.FolderID) })
	if err != nil {
		return folderChanges{}, err
	}
	n.any, n.incomplete, n.byDelta, n.removed = c.Any(), c.Incomplete, c.ByDelta, c.Removed
	ids := make([]string, len(c.Changed))
	for i, m := range c.Changed {
		ids[i] = m.ID
	}
	n.fresh = s.addKnown(ids...)
	s.PolledAt = now.UTC()
	return n, nil
}

// read reads the mails into s.
func (o *Options) read(ctx context.Context, g *graph.Client, sel selection, s, last *Snapshot, n folderChanges) error {
	most := o.MaxItems
	switch {
	case n.byDelta && last == nil:
	case n.byDelta && !n.incomplete:
		most += min(len(n.fresh), maxNew)
	case n.any:
		most = max(most, 100)
	}
	listed, since, err := o.list(ctx, g, sel, s, most)
	if err != nil {
		return err
	}
	var unseen set
	if !n.byDelta { // only the listed mails are known
		var ids []string
		for _, m := range listed {
			ids = append(ids, m.ID)
		}
		unseen = s.addKnown(ids...)
	} else {
		unseen = n.fresh
	}
	var fresh []mail.Message
	for _, m := range listed {
		if last != nil && unseen[hash(m.ID)] && (!n.incomplete || !m.Received.Before(n.since)) {
			fresh = append(fresh, m)
		}
	}
	if last != nil {
		if s.Outcomes, err = o.findOutcomes(ctx, g, s, last, listed, since, n.removed); err != nil {
			return err
		}
	}
	old := map[string]*Entry{}
	if last != nil {
		for i := range last.Messages {
			old[last.Messages[i].ID] = &last.Messages[i]
		}
	}
	entries := map[string]Entry{}
	complete := func(messages []mail.Message) ([]Entry, error) {
		all := make([]Entry, 0, len(messages))
		for _, m := range messages {
			e, done := entries[m.ID]
			if !done {
				if e, err = o.entry(ctx, g, m, old[m.ID], len(entries) < maxDetails); err != nil {
					return nil, err
				}
				entries[m.ID] = e
			}
			all = append(all, e)
		}
		return all, nil
	}
	if s.Messages, err = complete(listed[:min(len(listed), o.MaxItems)]); err != nil {
		return err
	}
	s.Fresh, err = complete(fresh)
	return err
}

// list returns the newest selected mails, most of them if there are as many, and since when these are all; the zero time means
// ever.
func (o *Options) list(ctx context.Context, g *graph.Client, sel selection, s *Snapshot, most int) (listed []mail.Message, since time.Time, err error) {
	box := o.mailbox()
	s.Complete = true
	if sel.body == "" {
		l, err := box.List(ctx, g, s.FolderID, sel.Filter, most)
		if err != nil {
			return nil, since, err
		}
		s.Matching = l.Count
		if len(l.Messages) == most {
			since = l.Messages[most-1].Received
		}
		return l.Messages, since, nil
	}
	candidates, err := box.List(ctx, g, s.FolderID, sel.Filter, sel.scan)
	if err != nil {
		return nil, since, err
	}
	if s.Complete = candidates.Count <= len(candidates.Messages); !s.Complete && len(candidates.Messages) > 0 {
		since = candidates.Messages[len(candidates.Messages)-1].Received
	}
	verdicts := s.verdicts()
	version := func(m mail.Message) uint64 { return hash(m.ID, m.ChangeKey, sel.body) }
	var missing []string
	for _, m := range candidates.Messages {
		if _, ok := verdicts[version(m)]; !ok {
			missing = append(missing, m.ID)
		}
	}
	if len(missing) > maxSingle {
		left := set{}
		for _, id := range missing {
			left[hash(id)] = true
		}
		err := box.Scan(ctx, g, s.FolderID, sel.Filter, len(candidates.Messages), func(m mail.Message, b mail.Body) bool {
			verdicts[version(m)] = b.Contains(sel.body)
			delete(left, hash(m.ID))
			return len(left) > 0
		})
		if err != nil {
			return nil, since, err
		}
	}
	s.Verdicts = nil
	for _, m := range candidates.Messages {
		v := version(m)
		matches, ok := verdicts[v]
		if !ok {
			b, err := box.ReadBody(ctx, g, m.ID)
			switch {
			case unreadable(err): // it is asked again next time
				s.Complete = false
				continue
			case err != nil:
				return nil, since, err
			}
			matches = b.Contains(sel.body)
		}
		verdict := byte(0)
		if matches {
			verdict = 1
			listed = append(listed, m)
		}
		s.Verdicts = append(binary.LittleEndian.AppendUint64(s.Verdicts, v), verdict)
	}
	s.Matching = len(listed)
	return listed, since, nil
}

// unreadable reports whether one mail cannot be read although others can.
func unreadable(err error) bool {
	var e *graph.Error
	return errors.As(err, &e) && !e.Transient() && (e.Reason == graph.NotFound || e.Reason == graph.Refused || e.Reason == graph.InvalidArgument)
}

// findOutcomes looks up the mails that are no longer in the list, except those that newer ones displaced.
func (o *Options) findOutcomes(ctx context.Context, g *graph.Client, s, last *Snapshot, listed []mail.Message, since time.Time, removed []string) ([]Outcome, error) {
	there := make(map[string]*mail.Message, len(listed))
	for i := range listed {
		there[listed[i].ID] = &listed[i]
	}
	var outcomes []Outcome
	asked := 0
	for _, e := range last.Messages {
		m, ok := there[e.ID]
		switch {
		case ok:
			if m.Read && !e.Read {
				outcomes = append(outcomes, Outcome{ID: e.ID, Read: true})
			}
			continue
		case slices.Contains(removed, e.ID):
			outcomes = append(outcomes, Outcome{ID: e.ID, Removed: true})
			continue
		case !since.IsZero() && !e.Received.After(since), asked == maxLookups:
			continue
		}
		asked++
		m, folder, err := o.find(ctx, g, e.ID)
		switch {
		case unreadable(err) && !graph.Is(err, graph.NotFound):
		case err != nil && !graph.Is(err, graph.NotFound):
			return nil, err
		case m == nil, folder != s.FolderID && !s.Search:
			outcomes = append(outcomes, Outcome{ID: e.ID, Removed: true})
		case m.Read && !e.Read:
			outcomes = append(outcomes, Outcome{ID: e.ID, Read: true})
		case s.Search: // it still exists but is not what was searched for
			outcomes = append(outcomes, Outcome{ID: e.ID, Removed: true})
		}
	}
	return outcomes, nil
}

func (o *Options) find(ctx context.Context, g *graph.Client, id string) (*mail.Message, string, error) {
	m, folder, err := o.mailbox().Read(ctx, g, id)
	if err != nil {
		return nil, "", err
	}
	return &m, folder, nil
}

// entry adds the parts of a mail that take requests of their own, unless old has them. Unreadable ones are marked.
func (o *Options) entry(ctx context.Context, g *graph.Client, m mail.Message, old *Entry, details bool) (Entry, error) {
	e := Entry{Message: m}
	if old != nil && old.ChangeKey == m.ChangeKey && !old.Unreadable {
		e.Body, e.Attachments = old.Body, old.Attachments
		return e, nil
	}
	if !details {
		return e, nil
	}
	if o.ShowBody || o.HTMLBody {
		b, err := o.mailbox().ReadBody(ctx, g, m.ID)
		switch {
		case unreadable(err):
			e.Unreadable = true
		case err != nil:
			return e, err
		case o.HTMLBody:
			text := b.Markup(mail.MaxBody)
			e.Body = &text
		default:
			text := b.Text(mail.MaxBody)
			e.Body = &text
		}
	}
	if !o.DownloadAttachments {
		return e, nil
	}
	// A picture within the text is attached although Graph says that nothing is; that is not worth a request for each mail.
	if e.Attachments = []mail.Attachment{}; !m.HasAttachments {
		return e, nil
	}
	attached, err := o.mailbox().Attachments(ctx, g, m.ID)
	switch {
	case unreadable(err):
		e.Attachments, e.Unreadable = nil, true
	case err != nil:
		return e, err
	default:
		e.Attachments = attached
	}
	return e, nil
}
