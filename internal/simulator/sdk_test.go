package simulator_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/store"
	khttp "github.com/microsoft/kiota-http-go"
	jsonserialization "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

// bearer authenticates the SDK's requests.
type bearer string

func (b bearer) AuthenticateRequest(_ context.Context, r *abstractions.RequestInformation, _ map[string]any) error {
	r.Headers.Add("Authorization", "Bearer "+string(b))
	return nil
}

// newSDK returns Microsoft's own pipeline, which compresses request bodies, on the simulator's transport.
func newSDK(t *testing.T, s *simulator.Simulator, scopes ...string) func() *users.UserItemRequestBuilder {
	t.Helper()
	replace := khttp.NewUrlReplaceHandler(true, map[string]string{"/users/me-token-to-replace": "/me"})
	client := &http.Client{Transport: khttp.NewCustomTransportWithParentTransport(s.Transport(),
		core.NewGraphTelemetryHandler(nil), khttp.NewCompressionHandler(), khttp.NewParametersNameDecodingHandler(), replace)}
	adapter, err := khttp.NewNetHttpRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		bearer(s.Token(simulator.Adele, scopes...)), jsonserialization.NewJsonParseNodeFactory(),
		store.NewBackingStoreSerializationWriterProxyFactory(jsonserialization.NewJsonSerializationWriterFactory()), client)
	if err != nil {
		t.Fatal(err)
	}
	adapter.SetBaseUrl(s.GraphURL() + "/v1.0")
	return func() *users.UserItemRequestBuilder {
		return users.NewUsersRequestBuilderInternal(map[string]string{"baseurl": s.GraphURL() + "/v1.0"}, adapter).ByUserId("me-token-to-replace")
	}
}

func pointer[T any](v T) *T { return &v }

func dateTime(text, zone string) models.DateTimeTimeZoneable {
	d := models.NewDateTimeTimeZone()
	d.SetDateTime(&text)
	d.SetTimeZone(&zone)
	return d
}

func TestSDKMailboxSettings(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	me := newSDK(t, s, "User.Read", "MailboxSettings.ReadWrite")
	who, err := me().Get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *who.GetUserPrincipalName() != simulator.Adele {
		t.Errorf("signed in: %s", *who.GetUserPrincipalName())
	}

	replies := models.NewAutomaticRepliesSetting()
	replies.SetStatus(pointer(models.SCHEDULED_AUTOMATICREPLIESSTATUS))
	replies.SetScheduledStartDateTime(dateTime("2026-07-01T09:00:00", "UTC"))
	replies.SetScheduledEndDateTime(dateTime("2026-07-02T09:00:00", "UTC"))
	patch := models.NewMailboxSettings()
	patch.SetAutomaticRepliesSetting(replies)
	if _, err := me().MailboxSettings().Patch(t.Context(), patch, nil); err != nil {
		t.Fatal(err)
	}
	got, err := me().MailboxSettings().Get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := got.GetAutomaticRepliesSetting(); *r.GetStatus() != models.SCHEDULED_AUTOMATICREPLIESSTATUS || *r.GetScheduledEndDateTime().GetDateTime() != "2026-07-02T09:00:00.0000000" {
		t.Errorf("status %s, end %s", r.GetStatus(), *r.GetScheduledEndDateTime().GetDateTime())
	}
	for _, r := range s.Requests() {
		if r.Method == "PATCH" && r.Header.Get("Content-Encoding") != "gzip" {
			t.Error("the SDK did not compress: this test proves less than it says")
		}
	}
}

func TestSDKEvents(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	me := newSDK(t, s, "Calendars.ReadWrite")
	e := models.NewEvent()
	e.SetSubject(pointer("Lunch"))
	e.SetStart(dateTime("2026-07-01T12:00:00", "Europe/Berlin"))
	e.SetEnd(dateTime("2026-07-01T13:00:00", "Europe/Berlin"))
	e.SetShowAs(pointer(models.OOF_FREEBUSYSTATUS))
	made, err := me().Events().Post(t.Context(), e, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 11 {
		s.AddEvent(simulator.Adele, "", simulator.Event{Subject: "x", Start: at(8, i), End: at(9, i)})
	}
	calendars, err := me().Calendars().Get(t.Context(), nil)
	if err != nil || len(calendars.GetValue()) != 2 {
		t.Fatalf("calendars: %v, %v", calendars, err)
	}
	headers := abstractions.NewRequestHeaders()
	headers.Add("Prefer", `IdType="ImmutableId"`)
	page, err := me().Calendars().ByCalendarId(*calendars.GetValue()[0].GetId()).CalendarView().Get(t.Context(), &users.ItemCalendarsItemCalendarViewRequestBuilderGetRequestConfiguration{
		Headers: headers,
		QueryParameters: &users.ItemCalendarsItemCalendarViewRequestBuilderGetQueryParameters{
			StartDateTime: pointer("2026-07-01T00:00:00Z"), EndDateTime: pointer("2026-07-02T00:00:00Z"), Select: []string{"subject", "showAs", "start"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := page.GetValue()[0]
	if *first.GetSubject() != "Lunch" || *first.GetShowAs() != models.OOF_FREEBUSYSTATUS || first.GetEnd() != nil || *first.GetId() == *made.GetId() {
		t.Errorf("first event: %s %s %v", *first.GetSubject(), first.GetShowAs(), first.GetEnd())
	}
	next, err := me().CalendarView().WithUrl(*page.GetOdataNextLink()).Get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(page.GetValue()) != 10 || len(next.GetValue()) != 2 || next.GetOdataNextLink() != nil {
		t.Errorf("pages of %d and %d", len(page.GetValue()), len(next.GetValue()))
	}
	if err := me().Events().ByEventId(*made.GetId()).Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}

	_, err = me().Events().ByEventId(*made.GetId()).Get(t.Context(), nil)
	var refusal *odataerrors.ODataError
	if !errors.As(err, &refusal) || refusal.ResponseStatusCode != 404 || *refusal.GetErrorEscaped().GetCode() != "ErrorItemNotFound" {
		t.Errorf("removed: %v", err)
	}
}

func TestSDKMail(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	me := newSDK(t, s, "Mail.ReadWrite", "Mail.Send")
	numbered(graphClient{t: t, s: s}, "", 12)
	inbox := func() *users.ItemMailFoldersMailFolderItemRequestBuilder {
		return me().MailFolders().ByMailFolderId("inbox")
	}
	folder, err := inbox().Get(t.Context(), nil)
	if err != nil || *folder.GetTotalItemCount() != 12 || *folder.GetUnreadItemCount() != 4 {
		t.Fatalf("inbox: %v, %v", folder, err)
	}
	page, err := inbox().Messages().Get(t.Context(), &users.ItemMailFoldersItemMessagesRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMailFoldersItemMessagesRequestBuilderGetQueryParameters{
			Filter: pointer("receivedDateTime ge 1900-01-01T00:00:00Z and isRead eq false"), Orderby: []string{"receivedDateTime desc"}, Count: pointer(true), Select: []string{"subject", "from"},
		},
	})
	if err != nil || *page.GetOdataCount() != 4 || *page.GetValue()[0].GetSubject() != "9" || *page.GetValue()[0].GetFrom().GetEmailAddress().GetAddress() != "1@fabrikam.example" {
		t.Fatalf("unread: %v, %v", page, err)
	}
	delta, err := inbox().Messages().Delta().GetAsDeltaGetResponse(t.Context(), nil)
	if err != nil || len(delta.GetValue()) != 10 || delta.GetOdataNextLink() == nil {
		t.Fatalf("delta: %v, %v", delta, err)
	}
	rest, err := inbox().Messages().Delta().WithUrl(*delta.GetOdataNextLink()).GetAsDeltaGetResponse(t.Context(), nil)
	if err != nil || len(rest.GetValue()) != 2 || rest.GetOdataDeltaLink() == nil {
		t.Fatalf("second page: %v, %v", rest, err)
	}

	address := models.NewEmailAddress()
	address.SetAddress(pointer(simulator.Adele))
	to := models.NewRecipient()
	to.SetEmailAddress(address)
	file := models.NewFileAttachment()
	file.SetName(pointer("a.txt"))
	file.SetContentBytes([]byte("hello"))
	body := models.NewItemBody()
	body.SetContentType(pointer(models.TEXT_BODYTYPE))
	body.SetContent(pointer("Hello"))
	m := models.NewMessage()
	m.SetSubject(pointer("From the SDK"))
	m.SetBody(body)
	m.SetToRecipients([]models.Recipientable{to})
	m.SetAttachments([]models.Attachmentable{file})
	send := users.NewItemSendMailPostRequestBody()
	send.SetMessage(m)
	send.SetSaveToSentItems(pointer(true))
	if err := me().SendMail().Post(t.Context(), send, nil); err != nil {
		t.Fatal(err)
	}
	sent := s.SentMails(simulator.Adele)
	if len(sent) != 1 || sent[0].Subject != "From the SDK" || sent[0].HTML || string(sent[0].Attachments[0].Content) != "hello" {
		t.Errorf("sent: %+v", sent)
	}
	attachments, err := me().Messages().ByMessageId(sent[0].ID).Attachments().Get(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := attachments.GetValue()[0].(models.FileAttachmentable); !ok || string(a.GetContentBytes()) != "hello" {
		t.Errorf("attachment: %v", attachments.GetValue()[0])
	}
	patch := models.NewMessage()
	patch.SetIsRead(pointer(true))
	if changed, err := me().Messages().ByMessageId(*page.GetValue()[0].GetId()).Patch(t.Context(), patch, nil); err != nil || !*changed.GetIsRead() {
		t.Errorf("patched: %v, %v", changed, err)
	}
	move := users.NewItemMessagesItemMovePostRequestBody()
	move.SetDestinationId(pointer("archive"))
	if _, err := me().Messages().ByMessageId(*page.GetValue()[0].GetId()).Move().Post(t.Context(), move, nil); err != nil {
		t.Error(err)
	}
	var refusal *odataerrors.ODataError
	_, err = me().Messages().ByMessageId(*page.GetValue()[0].GetId()).Get(t.Context(), nil)
	if !errors.As(err, &refusal) || *refusal.GetErrorEscaped().GetCode() != "ErrorItemNotFound" {
		t.Errorf("moved: %v", err)
	}
}
