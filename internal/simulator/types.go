package simulator

import (
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/directory"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/entra"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/mail"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/meetings"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/outlook"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/people"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/places"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/planner"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/presence"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/subscriptions"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/teams"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/todo"
)

// The types of the parts.
type (
	User             = directory.User
	AADSTS           = entra.AADSTS
	Registration     = entra.Registration
	SignIn           = entra.SignIn
	Calendar         = outlook.Calendar
	Contact          = people.Contact
	Event            = outlook.Event
	Attendee         = outlook.Attendee
	Group            = outlook.Group
	AutomaticReplies = outlook.AutomaticReplies
	Mail             = mail.Mail
	Attachment       = mail.Attachment
	MailFolder       = mail.MailFolder
	MailboxRights    = mail.MailboxRights
	MailboxOptions   = mail.MailboxOptions
	List             = outlook.List
	OnlineMeeting    = meetings.OnlineMeeting
	Presence         = presence.Presence
	Subscription     = subscriptions.Subscription
	Delivery         = subscriptions.Delivery
	Notification     = subscriptions.Notification
	Session          = presence.Session

	Room = places.Room

	PlannerPlan          = planner.PlannerPlan
	PlannerTask          = planner.PlannerTask
	PlannerChecklistItem = planner.PlannerChecklistItem
	TodoList             = todo.TodoList
	TodoOptions          = todo.TodoOptions
	Task                 = todo.Task
	TaskStep             = todo.TaskStep

	Chat         = teams.Chat
	ChatMember   = teams.ChatMember
	ChatMessage  = teams.ChatMessage
	ChatMention  = teams.ChatMention
	ChatReaction = teams.ChatReaction
	Viewpoint    = teams.Viewpoint
	Team         = teams.Team
	Channel      = teams.Channel
)

// The ids of the sample chat, the sample team and its first channel, which ContosoWithColleagues has.
const (
	LunchChat      = teams.LunchChat
	ContosoTeam    = teams.ContosoTeam
	ContosoChannel = teams.ContosoChannel
)

// PersonalTenant is the tenant of every personal account.
const PersonalTenant = directory.PersonalTenant

// The errors of Entra ID that the simulator returns.
const (
	MissingParameter       = entra.MissingParameter
	UnknownClient          = entra.UnknownClient
	UnknownTenant          = entra.UnknownTenant
	SingleTenant           = entra.SingleTenant
	OtherAccounts          = entra.OtherAccounts // account type not supported, or account of another tenant
	WrongRedirect          = entra.WrongRedirect
	WrongSecret            = entra.WrongSecret
	MissingSecret          = entra.MissingSecret
	UnknownResource        = entra.UnknownResource
	UnknownScope           = entra.UnknownScope
	UnsupportedGrant       = entra.UnsupportedGrant
	UnsupportedResponse    = entra.UnsupportedResponse
	WrongVerifier          = entra.WrongVerifier
	MissingVerifier        = entra.MissingVerifier
	UsedCode               = entra.UsedCode
	ExpiredCode            = entra.ExpiredCode
	MalformedToken         = entra.MalformedToken
	ExpiredToken           = entra.ExpiredToken // refresh token unused for too long
	RevokedToken           = entra.RevokedToken // password changed or sessions revoked
	NeverConsented         = entra.NeverConsented
	Declined               = entra.Declined           // consent declined by the user
	NeedsAdministrator     = entra.NeedsAdministrator // consent requires an administrator
	SecondFactorRequired   = entra.SecondFactorRequired
	Blocked                = entra.Blocked // by Conditional Access
	DeviceRequired         = entra.DeviceRequired
	AccountDisabled        = entra.AccountDisabled
	DevicePending          = entra.DevicePending
	DeviceCodeExpired      = entra.DeviceCodeExpired
	DeviceCodeUnknown      = entra.DeviceCodeUnknown
	TemporarilyUnavailable = entra.TemporarilyUnavailable
	NotAssigned            = entra.NotAssigned   // the application requires an assignment that the user does not have
	PolicyBlocked          = entra.PolicyBlocked // an access policy does not allow a token
	NoTenant               = entra.NoTenant      // the request names no tenant
	WrongAssertion         = entra.WrongAssertion
	ExpiredAssertion       = entra.ExpiredAssertion
	MissingAssertion       = entra.MissingAssertion
	UntrustedToken         = entra.UntrustedToken
	NoDefaultScope         = entra.NoDefaultScope
)

// AdminConsentScopes returns the scopes that users may not consent to under the Microsoft-managed consent policy. Use them as SignIn.AdminOnly.
func AdminConsentScopes() []string { return entra.AdminConsentScopes() }

// AddUser adds a user with a mailbox and returns the user with all fields filled in.
// It panics if the address is missing, or if the address or id is taken.
func (s *Simulator) AddUser(u User) User {
	s.directory.Lock()
	defer s.directory.Unlock()
	return s.directory.Add(u)
}

// Users returns all users in the order in which they were added.
func (s *Simulator) Users() []User {
	s.directory.Lock()
	defer s.directory.Unlock()
	var all []User
	for _, u := range s.directory.Users() {
		all = append(all, *u)
	}
	return all
}

// FreezeClock stops the clock, or resumes it from where it stopped.
func (s *Simulator) FreezeClock(freeze bool) { s.directory.Clock.Freeze(freeze) }

// RefuseGzip makes Graph answer compressed request bodies with 415, as some of its front ends do.
func (s *Simulator) RefuseGzip(refuse bool) { s.graph.RefuseGzip(refuse) }

// ExpireDeltaTokens makes Graph forget all delta tokens: their links are answered with 410 from now on.
func (s *Simulator) ExpireDeltaTokens() { s.graph.ExpireDeltaTokens() }
