// Package subscriptions simulates the change notifications of Graph: subscriptions to resources, and the requests that announce a
// change of them.
package subscriptions

import (
	"cmp"
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

const (
	// minLifetime replaces shorter lifetimes.
	minLifetime = 45 * time.Minute
	// lifecycleAfter is the longest lifetime of a subscription of Teams without a URL for lifecycle notifications.
	lifecycleAfter = time.Hour
	// defaultQuota is the number of subscriptions per mailbox.
	defaultQuota = 1000
	// maxClientState is the length of the longest clientState.
	maxClientState = 128
)

// A Service holds the subscriptions of all users. The lock of the directory guards its state.
type Service struct {
	directory     *directory.Directory
	client        *http.Client
	eventHub      func(ctx context.Context, address string, message []byte) error
	subscriptions []*Subscription
	delivery      Delivery
	sent          []Notification

	stop    func()
	stopped chan struct{} // closed by stop
	sending sync.WaitGroup
}

// New returns a service without subscriptions. transport sends the notifications; nil: over the network. eventHub puts those to an address
// of an event hub into it; nil: there is none.
func New(d *directory.Directory, transport http.RoundTripper, eventHub func(ctx context.Context, address string, message []byte) error) *Service {
	if transport == nil {
		transport = &http.Transport{DisableKeepAlives: true}
	}
	s := &Service{directory: d, eventHub: eventHub, client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	s.stopped = make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(s.stopped) })
	d.OnChange(s.changed)
	return s
}

// StopNotifications ends the requests that are sent, and waits for them.
func (s *Service) StopNotifications() {
	s.stop()
	s.sending.Wait()
}

// A Subscription asks for notifications about a resource.
type Subscription struct {
	ID           string    `json:"id"`
	User         string    `json:"user"`     // address of the owner of the mailbox
	Resource     string    `json:"resource"` // as it was given
	ChangeType   string    `json:"changeType"`
	URL          string    `json:"notificationUrl"`
	LifecycleURL string    `json:"lifecycleNotificationUrl"`
	ClientState  string    `json:"clientState"`
	Expires      time.Time `json:"expirationDateTime"`

	user        *directory.User // who created it: of an application its service principal
	owner       *directory.User // of the mailbox
	application string          // client id of the application that created it without a user; "": user did
	collections []string        // in lower case, as in directory.Change
	items       []string        // ids; nil: all
}

// createdBy reports whether the caller created it, who alone sees it.
func (sub *Subscription) createdBy(c *odata.Call) bool {
	return sub.user.ID == c.User.ID && sub.application == c.Application
}

// A resourceKind is a kind of resource that can be subscribed to.
type resourceKind struct {
	pattern   []string // segments; "*" is an id
	scopes    []string
	roles     []string // that an application needs; none: applications cannot subscribe to it
	lifetime  time.Duration
	teams     bool // a longer lifetime than lifecycleAfter needs a URL for lifecycle notifications
	workOnly  bool
	withItems bool // ids in $filter, or as a last segment
}

// https://learn.microsoft.com/graph/api/resources/subscription and https://learn.microsoft.com/graph/api/subscription-post-subscriptions
func resourceKinds() []resourceKind {
	const day, minute = 24 * time.Hour, time.Minute
	calendars, mails := []string{"Calendars.Read", "Calendars.ReadWrite"}, []string{"Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite"}
	tasks, presence, chats := []string{"Tasks.Read", "Tasks.ReadWrite"}, []string{"Presence.Read.All"}, []string{"Chat.Read", "Chat.ReadWrite"}
	mailRoles, chatRoles := []string{"Mail.ReadBasic.All", "Mail.Read", "Mail.ReadWrite"}, []string{"Chat.Read.All"}
	return []resourceKind{
		{pattern: []string{"users", "*", "events"}, scopes: calendars, roles: calendars, lifetime: 4230 * minute},
		{pattern: []string{"users", "*", "calendars", "*", "events"}, scopes: calendars, roles: calendars, lifetime: 4230 * minute},
		{pattern: []string{"users", "*", "messages"}, scopes: mails, roles: mailRoles, lifetime: 4230 * minute},
		{pattern: []string{"users", "*", "mailfolders", "*", "messages"}, scopes: mails, roles: mailRoles, lifetime: 4230 * minute},
		{pattern: []string{"users", "*", "todo", "lists", "*", "tasks"}, scopes: tasks, lifetime: 4230 * minute},
		{pattern: []string{"chats", "*", "messages"}, scopes: chats, roles: chatRoles, lifetime: 3 * day, teams: true, workOnly: true},
		{pattern: []string{"communications", "presences"}, scopes: presence, lifetime: time.Hour, teams: true, workOnly: true, withItems: true},
	}
}

// resource checks what a subscription is about, and fills in what it concerns.
func (s *Service) resource(c *odata.Call, sub *Subscription) (resourceKind, *odata.Error) {
	unsupported := odata.BadRequest("Unsupported resource '%s'.", sub.Resource)
	path, query, _ := strings.Cut(strings.Trim(sub.Resource, "/"), "?")
	path, err := url.PathUnescape(path)
	if err != nil {
		return resourceKind{}, unsupported
	}
	path = strings.NewReplacer("('", "/", "')", "").Replace(path)
	segments := strings.Split(path, "/")
	if strings.EqualFold(segments[0], "me") {
		if c.Application != "" {
			return resourceKind{}, odata.BadRequest("/me request is only valid with delegated authentication flow.")
		}
		segments = append([]string{"users", c.User.ID}, segments[1:]...)
	}
	sub.owner = c.User
	if strings.EqualFold(segments[0], "users") && len(segments) > 1 {
		if sub.owner = s.directory.ByID(segments[1]); sub.owner == nil {
			return resourceKind{}, odata.NewError(http.StatusNotFound, "ResourceNotFound", "The user '%s' does not exist.", segments[1])
		}
		segments[1] = sub.owner.ID
	}
	for _, k := range resourceKinds() {
		rest := segments
		if k.withItems && len(segments) == len(k.pattern)+1 {
			rest, sub.items = segments[:len(k.pattern)], segments[len(k.pattern):]
		}
		if !slices.EqualFunc(k.pattern, rest, func(want, given string) bool { return want == "*" || strings.EqualFold(want, given) }) {
			continue
		}
		switch {
		case k.withItems && strings.TrimSpace(sub.ChangeType) != "updated":
			return k, odata.BadRequest("The property 'changeType' of a subscription to presences must be updated, not '%s'.", sub.ChangeType)
		case k.withItems && sub.items == nil:
			if sub.items = filterIDs(query); sub.items == nil {
				return k, odata.BadRequest("A subscription to presences needs a $filter with the ids of users.")
			}
		case query != "":
			return k, odata.BadRequest("The query of the resource '%s' is not supported.", sub.Resource)
		}
		if !k.isAllowed(c, sub.owner) {
			return k, odata.NewError(http.StatusForbidden, "ExtensionError", "Operation: Create; Exception: [Status Code: Forbidden; Reason: Access is denied. Check credentials and try again.]")
		}
		// A shared mailbox is accepted, but nothing is ever sent: delegated permissions are for the user's own.
		if sub.owner == c.User || c.Application != "" {
			sub.collections = []string{strings.ToLower(strings.Join(rest, "/"))}
		}
		return k, nil
	}
	return resourceKind{}, unsupported
}

// isAllowed reports whether the caller may subscribe to such a resource of a user.
func (k resourceKind) isAllowed(c *odata.Call, owner *directory.User) bool {
	if c.Application != "" {
		return owner.Tenant == c.User.Tenant && c.GrantedIn(owner.ID, k.roles...)
	}
	return (!k.workOnly || !c.User.Personal) && c.Granted(k.scopes...)
}

// filterIDs returns the ids of $filter=id in ('…','…').
func filterIDs(query string) []string {
	values, err := url.ParseQuery(strings.ReplaceAll(query, "+", "%2B"))
	if err != nil {
		return nil
	}
	list, begins := strings.CutPrefix(strings.TrimSpace(values.Get("$filter")), "id in (")
	list, ends := strings.CutSuffix(list, ")")
	if !begins || !ends {
		return nil
	}
	var ids []string
	for id := range strings.SplitSeq(list, ",") {
		ids = append(ids, strings.Trim(strings.TrimSpace(id), "'"))
	}
	return ids
}

func subscriptionType() *odata.Type {
	t := odata.ComplexType("subscription", odata.Properties{
		"id": odata.String().Computed(), "resource": odata.String().NotNull(), "changeType": odata.String().NotNull(), "notificationUrl": odata.String().NotNull(),
		"lifecycleNotificationUrl": odata.String(), "clientState": odata.String(), "expirationDateTime": odata.DateTimeOffset().NotNull(),
		"applicationId": odata.String().Computed(), "creatorId": odata.String().Computed(), "includeResourceData": odata.Boolean(),
		"latestSupportedTlsVersion": odata.String(), "notificationQueryOptions": odata.String(),
	})
	t.Denied = odata.NewError(http.StatusForbidden, "Forbidden", "The application lacks a permission that the request needs.")
	return t
}

// Resource returns the subscriptions of Graph.
func (s *Service) Resource() odata.Resource {
	t := subscriptionType()
	return odata.Resource{
		Routes: []odata.Route{
			{Method: "GET", Path: "/subscriptions", Type: t, Options: []string{"$skip"}, Do: s.list}, // $skip is in the link to the next page
			{Method: "POST", Path: "/subscriptions", Type: t, Do: s.create},
			{Method: "GET", Path: "/subscriptions/{subscription}", Type: t, Do: s.get},
			{Method: "PATCH", Path: "/subscriptions/{subscription}", Type: t, Do: s.renew},
			{Method: "DELETE", Path: "/subscriptions/{subscription}", Type: t, Do: s.remove},
		},
		Exceptions:  exceptions,
		Application: func(string, string) []string { return []string{odata.AnyRole} }, // which one depends on the body
		Controls:    s.controls(),
	}
}

// exceptions returns the scopes of any resource: which one a subscription needs depends on its body.
func exceptions(string, string, bool) []string {
	var all []string
	for _, k := range resourceKinds() {
		all = append(all, k.scopes...)
	}
	return all
}

func (sub *Subscription) json() map[string]any {
	return map[string]any{
		"id": sub.ID, "resource": sub.Resource, "changeType": sub.ChangeType, "notificationUrl": sub.URL, "lifecycleNotificationUrl": orNil(sub.LifecycleURL),
		"clientState": orNil(sub.ClientState), "expirationDateTime": sub.Expires.UTC().Format(time.RFC3339Nano), "creatorId": sub.user.ID,
		"applicationId": cmp.Or(sub.application, "00000000-0000-0000-0000-000000000000"), "includeResourceData": nil, "latestSupportedTlsVersion": "v1_2", "notificationQueryOptions": nil,
	}
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// alive returns the subscriptions that have not expired, and forgets the others.
func (s *Service) alive() []*Subscription {
	now := s.directory.Now()
	s.subscriptions = slices.DeleteFunc(s.subscriptions, func(sub *Subscription) bool { return !now.Before(sub.Expires) })
	return s.subscriptions
}

func (s *Service) list(c *odata.Call) (odata.Response, error) {
	all := []map[string]any{}
	for _, sub := range s.alive() {
		if sub.createdBy(c) {
			shown := sub.json()
			shown["clientState"] = nil // Graph shows it to nobody
			all = append(all, shown)
		}
	}
	return c.Collection("subscriptions", all)
}

// find returns a subscription of the caller.
func (s *Service) find(c *odata.Call) (*Subscription, error) {
	for _, sub := range s.alive() {
		if sub.ID == c.Params["subscription"] && sub.createdBy(c) {
			return sub, nil
		}
	}
	return nil, odata.NewError(http.StatusNotFound, "ResourceNotFound", "The object was not found.")
}

func (s *Service) get(c *odata.Call) (odata.Response, error) {
	sub, err := s.find(c)
	if err != nil {
		return odata.Response{}, err
	}
	return c.Entity("subscriptions", sub.json()), nil
}

func (s *Service) remove(c *odata.Call) (odata.Response, error) {
	sub, err := s.find(c)
	if err != nil {
		return odata.Response{}, err
	}
	s.forget(sub)
	return odata.Response{Status: http.StatusNoContent}, nil
}

func (s *Service) forget(sub *Subscription) {
	s.subscriptions = slices.DeleteFunc(s.subscriptions, func(other *Subscription) bool { return other == sub })
}

func (s *Service) renew(c *odata.Call) (odata.Response, error) {
	sub, err := s.find(c)
	if err != nil {
		return odata.Response{}, err
	}
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	for name := range given {
		if name != "expirationDateTime" {
			return odata.Response{}, odata.BadRequest("The property '%s' of a subscription cannot be changed.", name)
		}
	}
	changed := *sub
	changed.items = nil
	kind, refused := s.resource(c, &changed)
	if refused != nil {
		return odata.Response{}, refused
	}
	if changed.Expires, err = s.expiry(given["expirationDateTime"], kind, sub.LifecycleURL); err != nil {
		return odata.Response{}, err
	}
	sub.Expires = changed.Expires
	return c.Entity("subscriptions", sub.json()), nil
}

// expiry checks the end of a subscription.
func (s *Service) expiry(given any, kind resourceKind, lifecycle string) (time.Time, error) {
	text, _ := given.(string)
	expires, err := time.Parse(time.RFC3339, text)
	now := s.directory.Now()
	lifetime := expires.Sub(now)
	switch {
	case err != nil:
		return time.Time{}, odata.BadRequest("The property 'expirationDateTime' is required.")
	case lifetime <= 0:
		return time.Time{}, odata.BadRequest("Subscription expiration can only be in the future.")
	case lifetime > kind.lifetime:
		return time.Time{}, odata.NewError(http.StatusBadRequest, "ExtensionError", "Operation: Create; Exception: [Status Code: BadRequest; Reason: Subscription expiration can only be %d minutes in the future.]", int(kind.lifetime.Minutes()))
	case kind.teams && lifetime > lifecycleAfter && lifecycle == "":
		return time.Time{}, odata.BadRequest("The property 'lifecycleNotificationUrl' is required for subscriptions of more than %d minutes.", int(lifecycleAfter.Minutes()))
	}
	return now.Add(max(lifetime, minLifetime)), nil
}

func (s *Service) create(c *odata.Call) (odata.Response, error) {
	given, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	text := func(name string) string { v, _ := given[name].(string); return v }
	sub := &Subscription{
		ID: uuid.NewString(), Resource: text("resource"), ChangeType: text("changeType"), URL: text("notificationUrl"),
		LifecycleURL: text("lifecycleNotificationUrl"), ClientState: text("clientState"), user: c.User, application: c.Application,
	}
	if err := sub.check(); err != nil {
		return odata.Response{}, err
	}
	kind, refused := s.resource(c, sub)
	if refused != nil {
		return odata.Response{}, refused
	}
	sub.User = sub.owner.Address
	if sub.Expires, err = s.expiry(given["expirationDateTime"], kind, sub.LifecycleURL); err != nil {
		return odata.Response{}, err
	}
	quota := s.delivery.Quota
	if quota == 0 {
		quota = defaultQuota
	}
	owned := 0
	for _, other := range s.alive() {
		if other.owner.ID == sub.owner.ID {
			owned++
		}
	}
	if owned >= quota {
		return odata.Response{}, odata.NewError(http.StatusForbidden, "ExtensionError", "Operation: Create; Exception: [Status Code: Forbidden; Reason: Number of subscriptions exceeded the limit of %d for the mailbox.]", quota)
	}
	if kind.withItems && slices.ContainsFunc(s.subscriptions, func(other *Subscription) bool { return other.createdBy(c) && other.items != nil }) {
		return odata.Response{}, odata.NewError(http.StatusConflict, "Conflict", "A subscription to presences exists: there can be one per user and application.")
	}
	// The client may send requests of its own before it answers.
	s.directory.Unlock()
	refused = s.validate(c.Request.Context(), sub)
	s.directory.Lock()
	if refused != nil {
		return odata.Response{}, refused
	}
	s.subscriptions = append(s.subscriptions, sub)
	r := c.Entity("subscriptions", sub.json())
	r.Status = http.StatusCreated
	return r, nil
}

// check validates what needs no look at the resource.
func (sub *Subscription) check() *odata.Error {
	for _, kind := range strings.Split(sub.ChangeType, ",") {
		if !slices.Contains([]string{"created", "updated", "deleted"}, strings.TrimSpace(kind)) {
			return odata.BadRequest("The property 'changeType' must have the values created, updated and deleted, not '%s'.", sub.ChangeType)
		}
	}
	for name, address := range map[string]string{"notificationUrl": sub.URL, "lifecycleNotificationUrl": sub.LifecycleURL} {
		if name == "lifecycleNotificationUrl" && address == "" {
			continue
		}
		if !reachable(address) {
			return odata.BadRequest("The property '%s' must be an https address, or one of an event hub.", name)
		}
	}
	switch {
	case sub.Resource == "":
		return odata.BadRequest("The property 'resource' is required.")
	case len(sub.ClientState) > maxClientState:
		return odata.BadRequest("The property 'clientState' may have %d characters.", maxClientState)
	}
	return nil
}

// eventHubPrefix starts the address of an event hub, or of a secret in a key vault with its connection string.
const eventHubPrefix = "EventHub:"

// reachable reports whether the simulator sends notifications to an address: to event hubs and https as Graph does, and to http on this
// machine.
func reachable(address string) bool {
	hub, isHub := strings.CutPrefix(address, eventHubPrefix)
	u, err := url.Parse(hub)
	if isHub {
		return err == nil && u.Scheme == "https" && u.Host != "" && u.Query().Get("tenantId") != ""
	}
	if err != nil || u.Host == "" {
		return false
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && ip.IsLoopback()) {
		return true
	}
	return u.Scheme == "https"
}

// changed announces a change to those who subscribed to it.
func (s *Service) changed(change func() directory.Change) {
	all := s.alive()
	if len(all) == 0 || s.delivery.Silent {
		return
	}
	c := change()
	for _, sub := range all {
		if sub.concerns(c) {
			s.send(sub, sub.URL, map[string]any{
				"changeType": c.Type, "resource": strings.Trim(sub.Resource, "/") + "/" + c.ID,
				"resourceData": map[string]any{"@odata.type": "#Microsoft.Graph.Item", "@odata.id": strings.Trim(sub.Resource, "/") + "/" + c.ID, "id": c.ID},
			})
		}
	}
}

func (sub *Subscription) concerns(c directory.Change) bool {
	if !slices.ContainsFunc(strings.Split(sub.ChangeType, ","), func(kind string) bool { return strings.TrimSpace(kind) == c.Type }) {
		return false
	}
	if sub.items != nil && !slices.ContainsFunc(sub.items, func(id string) bool { return strings.EqualFold(id, c.ID) }) {
		return false
	}
	return slices.ContainsFunc(c.Collections, func(in string) bool { return slices.Contains(sub.collections, strings.ToLower(in)) })
}

// Subscriptions returns the subscriptions that have not expired, the oldest first.
func (s *Service) Subscriptions() []Subscription {
	s.directory.Lock()
	defer s.directory.Unlock()
	var all []Subscription
	for _, sub := range s.alive() {
		all = append(all, *sub)
	}
	return all
}

func (s *Service) mustFind(id string) *Subscription {
	for _, sub := range s.alive() {
		if sub.ID == id {
			return sub
		}
	}
	panic(control.NotFound("no subscription %q", id))
}

// RemoveSubscription removes a subscription without telling anybody.
func (s *Service) RemoveSubscription(id string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.forget(s.mustFind(id))
}

// LifecycleEvents returns the events that SendLifecycle sends.
func LifecycleEvents() []string {
	return []string{"reauthorizationRequired", "subscriptionRemoved", "missed"}
}

// SendLifecycle sends a lifecycle notification about a subscription. With subscriptionRemoved it removes the subscription.
func (s *Service) SendLifecycle(id, event string) {
	s.directory.Lock()
	defer s.directory.Unlock()
	sub := s.mustFind(id)
	switch {
	case !slices.Contains(LifecycleEvents(), event):
		panic(control.Invalid("event: want one of %s, not %q", strings.Join(LifecycleEvents(), ", "), event))
	case sub.LifecycleURL == "":
		panic(control.Conflict("the subscription has no lifecycleNotificationUrl"))
	}
	if event == "subscriptionRemoved" {
		s.forget(sub)
	}
	s.send(sub, sub.LifecycleURL, map[string]any{"lifecycleEvent": event, "resource": strings.Trim(sub.Resource, "/")})
}
