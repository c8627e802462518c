package mail

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

func (s *Service) messageRoutes() []odata.Route {
	var routes []odata.Route
	list := []string{"$select", "$filter", "$orderby", "$top", "$skip", "$skiptoken", "$count", "$expand", "$search"}
	for _, root := range []string{"/me", "/users/{user}"} {
		add := func(t *odata.Type, method, path string, do func(*call) (odata.Response, error), options ...string) {
			routes = append(routes, odata.Route{Method: method, Path: root + path, Type: t, Options: options, Do: s.handle(do)})
		}
		add(s.types.message, "POST", "/sendMail", sendMail)
		for _, in := range []string{"", "/mailFolders/{folder}"} {
			messages := in + "/messages"
			add(s.types.message, "GET", messages, listMessages, list...)
			add(s.types.message, "GET", messages+"/$count", listMessages, "$filter", "$search")
			if in != "" {
				add(s.types.message, "GET", messages+"/delta", deltaMessages, odata.DeltaOptions("$select", "$filter", "$orderby", "$top", "$expand")...)
			}
			add(s.types.message, "POST", messages, createMessage)
			one := messages + "/{message}"
			add(s.types.message, "GET", one, getMessage, "$select", "$expand")
			add(s.types.message, "PATCH", one, patchMessage)
			add(s.types.message, "DELETE", one, deleteMessage)
			add(s.types.message, "POST", one+"/send", sendDraft)
			add(s.types.message, "POST", one+"/move", moveMessage)
			add(s.types.message, "POST", one+"/copy", copyMessage)
			add(s.types.message, "POST", one+"/reply", answer(replies, true))
			add(s.types.message, "POST", one+"/replyAll", answer(repliesAll, true))
			add(s.types.message, "POST", one+"/forward", answer(forwards, true))
			add(s.types.message, "POST", one+"/createReply", answer(replies, false))
			add(s.types.message, "POST", one+"/createReplyAll", answer(repliesAll, false))
			add(s.types.message, "POST", one+"/createForward", answer(forwards, false))
			attachments := one + "/attachments"
			add(s.types.attachment, "POST", attachments, addAttachment)
			add(s.types.attachment, "POST", attachments+"/createUploadSession", createUploadSession)
			add(s.types.attachment, "DELETE", attachments+"/{attachment}", deleteAttachment)
			add(s.types.attachment, "GET", attachments, listAttachments, "$select", "$filter", "$orderby", "$top", "$skip", "$count", "$expand")
			add(s.types.attachment, "GET", attachments+"/$count", listAttachments, "$filter")
			add(s.types.attachment, "GET", attachments+"/{attachment}", getAttachment, "$select", "$expand")
			add(s.types.attachment, "GET", attachments+"/{attachment}/$value", getAttachmentValue)
		}
	}
	return routes
}

// message returns the message in the path, and refuses one that is not in the folder in the path.
func (c *call) message() (*message, error) {
	if err := odata.CheckItemID(c.Params["message"]); err != nil {
		return nil, err
	}
	m := c.b.byID(c.Params["message"])
	if m == nil {
		return nil, odata.ItemNotFound()
	}
	if id, ok := c.Params["folder"]; ok {
		f, err := c.folder(id)
		if err != nil {
			return nil, err
		}
		if f != m.folder {
			return nil, odata.ItemNotFound()
		}
	}
	return m, nil
}

func (c *call) messageSet() string {
	set := "users('" + c.Owner() + "')/"
	if id, ok := c.Params["folder"]; ok {
		set += "mailFolders('" + id + "')/"
	}
	return set + "messages"
}

func getMessage(c *call) (odata.Response, error) {
	m, err := c.message()
	if err != nil {
		return odata.Response{}, err
	}
	return c.messageResponse(m, http.StatusOK)
}

func (c *call) messageResponse(m *message, status int) (odata.Response, error) {
	if err := c.checkBasic(nil); err != nil {
		return odata.Response{}, err
	}
	body, err := c.Project(c.view().entity(m, c.Selected()))
	if err != nil {
		return odata.Response{}, err
	}
	resp := c.Entity("users('"+c.Owner()+"')/messages", body)
	resp.Status = status
	return resp, nil
}

// checkBasic refuses what Mail.ReadBasic does not allow: searching, and filtering by or expanding what it does not show.
func (c *call) checkBasic(filtered []string) error {
	if !c.basic() {
		return nil
	}
	refused := func(path string) bool {
		root, _, _ := strings.Cut(path, "/")
		return slices.Contains(withheld(), root)
	}
	expanded, _, _ := strings.Cut(c.Query.Get("$expand"), "(")
	if c.Query.Has("$search") || expanded != "" || slices.ContainsFunc(filtered, refused) {
		return odata.AccessDenied()
	}
	return nil
}

// maxSearch is the maximum number of messages that a search finds, see https://learn.microsoft.com/graph/search-query-parameter.
const maxSearch = 1000

// listMessages lists the messages of a folder or of all folders. See https://learn.microsoft.com/graph/api/user-list-messages.
func listMessages(c *call) (odata.Response, error) {
	var in *folder
	if id, ok := c.Params["folder"]; ok {
		f, err := c.folder(id)
		if err != nil {
			return odata.Response{}, err
		}
		in = f
	}
	match, paths, err := c.Filter()
	if err != nil {
		return odata.Response{}, err
	}
	orders, err := c.Orders()
	if err != nil {
		return odata.Response{}, err
	}
	if err := c.checkBasic(paths); err != nil {
		return odata.Response{}, err
	}
	if err := checkFilter(match != nil, paths, orders); err != nil {
		return odata.Response{}, err
	}
	v := c.view()
	keep := func(m *message) bool { return in == nil || m.folder == in }
	if c.Query.Has("$search") {
		found, err := c.search()
		if err != nil {
			return odata.Response{}, err
		}
		keep = and(keep, found)
	}
	if match != nil {
		keep = and(keep, v.matcher(match, topLevel(paths)))
	}
	all := []*message{}
	for _, m := range slices.Backward(c.b.messages) {
		if keep(m) {
			all = append(all, m)
		}
		if c.Query.Has("$search") && len(all) == maxSearch {
			break
		}
	}
	if strings.HasSuffix(c.Route.Path, "/$count") {
		return odata.Response{Status: http.StatusOK, ContentType: "text/plain", Text: strconv.Itoa(len(all))}, nil
	}
	v.sort(all, match != nil, paths, orders)
	selected := c.Selected()
	return c.Page(c.messageSet(), len(all), func(i int) map[string]any { return v.entity(all[i], selected) })
}

func and(a, b func(*message) bool) func(*message) bool {
	return func(m *message) bool { return a(m) && b(m) }
}

// topLevel returns the properties that paths begin with.
func topLevel(paths []string) []string {
	var all []string
	for _, p := range paths {
		name, _, _ := strings.Cut(p, "/")
		all = append(all, name)
	}
	return all
}

// matcher returns a predicate of messages for a filter. Of the body a filter sees the beginning only: contains(body/content,'…') is accepted, but
// misses matches.
func (v view) matcher(match func(map[string]any) bool, needed []string) func(*message) bool {
	entity := map[string]any{} // used again for every message: there may be 100,000
	body := slices.Contains(needed, "body")
	return func(m *message) bool {
		clear(entity)
		v.fill(entity, m, needed)
		if slices.Contains(needed, "id") {
			entity["id"] = v.b.messageID(m, v.immutable)
		}
		if body {
			entity["body"] = map[string]any{"content": preview(entity["body"]), "contentType": "text"}
		}
		return match(entity)
	}
}

// checkFilter applies Exchange's rules: properties of $orderby are in $filter as well, before all others and in the same order, see
// https://learn.microsoft.com/graph/api/user-list-messages#using-filter-and-orderby-in-the-same-query and
// https://github.com/mpalermiti/outlook-mcp/issues/31. Recipients cannot be filtered.
func checkFilter(filtered bool, paths []string, orders []odata.Order) error {
	if !filtered {
		return nil
	}
	for _, p := range paths {
		if slices.Contains([]string{"toRecipients", "ccRecipients", "bccRecipients", "replyTo"}, p) {
			return odata.NewError(http.StatusBadRequest, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")
		}
	}
	for i, o := range orders {
		if i >= len(paths) || paths[i] != o.Path {
			return odata.NewError(http.StatusBadRequest, "InefficientFilter", "The restriction or sort order is too complex for this operation.")
		}
	}
	return nil
}

// sort sorts messages that are ordered from the newest to the oldest. With $filter and without $orderby the order is inferred: by the first property
// of the filter, ascending. See https://github.com/Azure/Microsoft365R/issues/131.
func (v view) sort(all []*message, filtered bool, paths []string, orders []odata.Order) {
	if len(orders) == 0 && filtered && len(paths) > 0 && paths[0] != "receivedDateTime" {
		slices.Reverse(all)
		return
	}
	if len(orders) == 0 || len(orders) == 1 && orders[0] == (odata.Order{Path: "receivedDateTime", Descending: true}) {
		return
	}
	if len(orders) == 1 && orders[0].Path == "lastModifiedDateTime" {
		slices.SortStableFunc(all, func(x, y *message) int {
			if orders[0].Descending {
				x, y = y, x
			}
			return x.modified.Compare(y.modified)
		})
		return
	}
	needed := []string{}
	for _, o := range orders {
		needed = append(needed, topLevel([]string{o.Path})...)
	}
	entities := map[*message]map[string]any{}
	for _, m := range all {
		entities[m] = v.entity(m, needed)
	}
	slices.SortStableFunc(all, func(x, y *message) int { return odata.CompareBy(orders, entities[x], entities[y]) })
}
