package mail

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// maxFiltered is the maximum number of messages that the first round of a delta query with $filter returns, see https://learn.microsoft.com/graph/delta-query-messages.
const maxFiltered = 5000

// deltaProgress is the state that a token of a delta query stands for.
type deltaProgress struct {
	since   uint64 // sequence number at the beginning of the round
	entries []deltaEntry
}

// A deltaEntry is a message that is in the folder, or one that left it.
type deltaEntry struct {
	m       *message
	removal *removal
}

// deltaMessages answers a delta query from the change log of the folder. See https://learn.microsoft.com/graph/api/message-delta.
func deltaMessages(c *call) (odata.Response, error) {
	f, err := c.folder(c.Params["folder"])
	if err != nil {
		return odata.Response{}, err
	}
	resumed, err := c.ResumeDelta()
	if err != nil {
		return odata.Response{}, err
	}
	match, err := c.checkDelta()
	if err != nil {
		return odata.Response{}, err
	}
	if _, err := c.Project(map[string]any{}); err != nil {
		return odata.Response{}, err
	}
	progress, _ := resumed.(deltaProgress)
	v := c.view()
	switch {
	case resumed == nil:
		progress = deltaProgress{since: c.b.sequence, entries: v.firstRound(f, match)}
	case progress.entries == nil:
		progress = deltaProgress{since: c.b.sequence, entries: v.nextRound(f, progress.since, match, strings.ToLower(c.Query.Get("changetype")))}
	}
	size, err := c.deltaSize()
	if err != nil {
		return odata.Response{}, err
	}
	size = min(size, len(progress.entries))
	page := []map[string]any{}
	selected := c.Selected()
	for _, e := range progress.entries[:size] {
		switch {
		case e.removal != nil:
			id := e.removal.id
			if v.immutable {
				id = e.removal.immutable
			}
			page = append(page, map[string]any{"@odata.type": "#microsoft.graph.message", "id": id, "@removed": map[string]any{"reason": "deleted"}})
		case e.m.folder == f && c.b.byNumber[e.m.number] == e.m:
			projected, err := c.Project(v.entity(e.m, selected))
			if err != nil {
				return odata.Response{}, err
			}
			projected["@odata.type"] = "#microsoft.graph.message"
			page = append(page, projected)
		}
		// A message that left the folder while pages are read is removed in the next round.
	}
	progress.entries = progress.entries[size:]
	more := len(progress.entries) > 0
	if !more {
		progress.entries = nil
	}
	return c.DeltaPage(page, progress, more), nil
}

// deltaSize returns the page size, given by $top or Prefer.
func (c *call) deltaSize() (int, error) {
	if c.Query.Get("$top") == "" {
		return c.PageSize(), nil
	}
	return c.Number("$top", 0, 1, odata.MaxPageSize)
}

// checkDelta applies the rules of delta queries: $filter only by receivedDateTime with ge and gt, $orderby only receivedDateTime desc.
func (c *call) checkDelta() (func(map[string]any) bool, error) {
	match, paths, err := c.Filter()
	if err != nil {
		return nil, err
	}
	orders, err := c.Orders()
	if err != nil {
		return nil, err
	}
	if err := c.checkBasic(paths); err != nil {
		return nil, err
	}
	unsupported := func(option string) error {
		return odata.NewError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "The following parameters are not supported with change tracking over the 'Messages' resource: '%s'.", option)
	}
	words := strings.Fields(strings.ToLower(c.Query.Get("$filter")))
	if match != nil && (!slices.Equal(paths, []string{"receivedDateTime"}) || len(words) != 3 || words[1] != "ge" && words[1] != "gt") {
		return nil, unsupported("$filter")
	}
	if len(orders) > 0 && (len(orders) > 1 || orders[0] != odata.Order{Path: "receivedDateTime", Descending: true}) {
		return nil, unsupported("$orderby")
	}
	if kind := c.Query.Get("changetype"); kind != "" && !slices.Contains([]string{"created", "updated", "deleted"}, strings.ToLower(kind)) {
		return nil, odata.BadRequest("Invalid value '%s' for the query parameter 'changeType'.", kind)
	}
	return match, nil
}

// firstRound returns the messages of a folder, newest first.
func (v view) firstRound(f *folder, match func(map[string]any) bool) []deltaEntry {
	entries := []deltaEntry{}
	var matches func(*message) bool
	if match != nil {
		matches = v.matcher(match, []string{"receivedDateTime"})
	}
	for _, m := range slices.Backward(v.b.messages) {
		if m.folder != f || matches != nil && !matches(m) {
			continue
		}
		entries = append(entries, deltaEntry{m: m})
		if match != nil && len(entries) == maxFiltered {
			break
		}
	}
	return entries
}

// nextRound returns what changed in a folder since a sequence number, in the order of the changes.
func (v view) nextRound(f *folder, since uint64, match func(map[string]any) bool, kind string) []deltaEntry {
	entries := []deltaEntry{}
	if f.changed <= since {
		return entries
	}
	at := func(e deltaEntry) uint64 {
		if e.removal != nil {
			return e.removal.sequence
		}
		return e.m.changed
	}
	for _, m := range v.b.messages {
		created := m.arrived > since
		if m.folder != f || m.changed <= since || kind == "deleted" || kind == "created" && !created || kind == "updated" && created {
			continue
		}
		if match == nil || v.matcher(match, []string{"receivedDateTime"})(m) {
			entries = append(entries, deltaEntry{m: m})
		}
	}
	for i, r := range f.removed {
		if r.sequence > since && (kind == "" || kind == "deleted") {
			entries = append(entries, deltaEntry{removal: &f.removed[i]})
		}
	}
	slices.SortStableFunc(entries, func(x, y deltaEntry) int { return cmp.Compare(at(x), at(y)) })
	return entries
}
