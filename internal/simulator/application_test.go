package simulator_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	msal "github.com/AzureAD/microsoft-authentication-library-for-go/apps/errors"
	"github.com/google/go-cmp/cmp"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator"
)

const (
	application   = "7d2f7a43-94b6-4a53-8f6c-0d1d0b7c5a11"
	room          = "berlin@contoso.example"
	graphAudience = "https://graph.microsoft.com"
)

// credential returns a certificate to be registered, and MSAL's credential with its key.
func credential(t *testing.T, from, to time.Time) (string, confidential.Credential) {
	t.Helper()
	certificate, withKey, err := simulator.NewCertificate(from, to)
	if err != nil {
		t.Fatal(err)
	}
	var certificates []*x509.Certificate
	var key crypto.PrivateKey
	for block, rest := pem.Decode(withKey); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			certificates = append(certificates, c)
		} else if key, err = x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
			t.Fatal(err)
		}
	}
	c, err := confidential.NewCredFromCert(certificates, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(certificate), c
}

// acquire requests a token as the application.
func acquire(t *testing.T, s *simulator.Simulator, tenant, scope string, c confidential.Credential) (string, error) {
	t.Helper()
	client, err := confidential.New(s.LoginURL()+"/"+tenant, application, c,
		confidential.WithHTTPClient(&http.Client{Transport: s.Transport()}), confidential.WithInstanceDiscovery(false))
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.AcquireTokenByCredential(t.Context(), []string{scope})
	return r.AccessToken, err
}

// An application signs in with each of its certificates, or with the token of its workload, and its token names its roles.
func TestClientCredentials(t *testing.T) {
	s := simulator.Contoso(simulator.Options{})
	now := time.Now()
	first, one := credential(t, now.Add(-time.Hour), now.AddDate(1, 0, 0))
	second, two := credential(t, now.Add(-time.Hour), now.AddDate(1, 0, 0))
	old, expired := credential(t, now.AddDate(-1, 0, 0), now.Add(-time.Hour))
	_, unknown := credential(t, now.Add(-time.Hour), now.AddDate(1, 0, 0))
	workload := confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) {
		return "workload", nil
	})
	s.Register(simulator.Registration{
		ClientID: application, Tenant: simulator.ContosoTenant, Certificates: first + second + old, FederatedToken: "workload", Roles: []string{"Calendars.Read", "Place.Read.All"},
	})
	const everything = graphAudience + "/.default"
	for name, test := range map[string]struct {
		tenant, scope string
		credential    confidential.Credential
		want          simulator.AADSTS
	}{
		"certificate":         {simulator.ContosoTenant, everything, one, 0},
		"second certificate":  {"contoso.example", everything, two, 0},
		"workload":            {simulator.ContosoTenant, everything, workload, 0},
		"unknown certificate": {simulator.ContosoTenant, everything, unknown, simulator.WrongAssertion},
		"expired certificate": {simulator.ContosoTenant, everything, expired, simulator.WrongAssertion},
		"no tenant":           {"organizations", everything, one, simulator.SingleTenant},
		"another tenant":      {"fabrikam.example", everything, one, simulator.UnknownTenant},
		"one permission":      {simulator.ContosoTenant, graphAudience + "/Calendars.Read", one, simulator.NoDefaultScope},
	} {
		token, err := acquire(t, s, test.tenant, test.scope, test.credential)
		if test.want == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			part, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
			if err != nil {
				t.Fatal(err)
			}
			var claims struct {
				Roles []string
				TID   string
			}
			if err := json.Unmarshal(part, &claims); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"Calendars.Read", "Place.Read.All"}, claims.Roles); diff != "" || claims.TID != simulator.ContosoTenant {
				t.Errorf("%s: tenant %s, roles (-want +got)\n%s", name, claims.TID, diff)
			}
			continue
		}
		var refused msal.CallErr
		if !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, err := io.ReadAll(refused.Resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Codes []simulator.AADSTS `json:"error_codes"`
		}
		if err := json.Unmarshal(body, &answer); err != nil || len(answer.Codes) != 1 || answer.Codes[0] != test.want {
			t.Errorf("%s: refused with %v, want %d", name, answer.Codes, test.want)
		}
	}
	s.Register(simulator.Registration{ClientID: application})
	if _, err := acquire(t, s, simulator.ContosoTenant, everything, workload); err == nil {
		t.Error("a registration without a federated identity accepts a token")
	}
}

// applicationClient returns a client that calls Graph as an application with these roles.
func applicationClient(t *testing.T, roles ...string) graphClient {
	t.Helper()
	s := simulator.ContosoWithColleagues(simulator.Options{})
	s.AddUser(simulator.User{Address: room, Name: "Berlin"})
	s.Register(simulator.Registration{ClientID: application, Roles: roles})
	return graphClient{t, s, s.ApplicationToken(application, simulator.ContosoTenant), &http.Client{Transport: s.Transport()}}
}

// What an application may do follows from its own permissions, and nothing of it depends on a user.
func TestApplicationPermissions(t *testing.T) {
	const event = `{"subject": "Standup", "start": {"dateTime": "2026-01-16T10:00:00", "timeZone": "UTC"}, "end": {"dateTime": "2026-01-16T11:00:00", "timeZone": "UTC"}}`
	v := applicationClient(t, "Calendars.Read", "MailboxSettings.Read", "GroupMember.Read.All")
	v.s.Consent(simulator.Adele, application, "Calendars.ReadWrite") // delegated ones do not count
	const view = "/calendar/calendarView?startDateTime=2026-01-16T00:00:00Z&endDateTime=2026-01-17T00:00:00Z"
	v.want(200, "GET", "/users/"+room+view, "")
	v.want(200, "GET", "/users/"+room+"/mailboxSettings", "")
	v.refused(403, "ErrorAccessDenied", "POST", "/users/"+room+"/events", event)
	v.refused(400, "BadRequest", "GET", "/me"+view, "")
	v.refused(404, "ErrorInvalidUser", "GET", "/users/nobody@contoso.example"+view, "")
	v.refused(403, "ErrorAccessDenied", "GET", "/users/"+simulator.Ann+view, "") // of another tenant
	v.refused(403, "ErrorAccessDenied", "GET", "/groups/"+v.s.Groups()[0].ID+"/calendarView?startDateTime=2026-01-16T00:00:00Z&endDateTime=2026-01-17T00:00:00Z", "")
	if members := v.want(200, "GET", "/groups/"+v.s.Groups()[0].ID+"/transitiveMembers", "")["value"].([]any); len(members) != 2 {
		t.Errorf("%d members of the group", len(members))
	}

	v = applicationClient(t, "Calendars.ReadWrite")
	created := v.want(201, "POST", "/users/"+room+"/events", event)
	organizer := created["organizer"].(map[string]any)["emailAddress"].(map[string]any)["address"]
	if organizer != room {
		t.Errorf("the event is organized by %v, want the mailbox", organizer)
	}
}

// Exchange assigns roles for single mailboxes. They are in no token, and add to those that are.
func TestMailboxRoles(t *testing.T) {
	const path = "/calendar/calendarView?startDateTime=2026-01-16T00:00:00Z&endDateTime=2026-01-17T00:00:00Z"
	v := applicationClient(t)
	v.refused(403, "ErrorAccessDenied", "GET", "/users/"+room+path, "")
	v.s.SetMailboxRoles(application, room, "Calendars.Read")
	v.want(200, "GET", "/users/"+room+path, "")
	v.refused(403, "ErrorAccessDenied", "GET", "/users/"+simulator.Adele+path, "")
	v.refused(403, "ErrorAccessDenied", "POST", "/users/"+room+"/events", "{}")
	v.control(204, "PUT", "/users/"+room+"/applications/"+application, `{"roles": ["Calendars.ReadWrite"]}`)
	v.want(200, "GET", "/users/"+room+path, "")
	v.control(204, "PUT", "/users/"+room+"/applications/"+application, `{"roles": []}`)
	v.refused(403, "ErrorAccessDenied", "GET", "/users/"+room+path, "")
	v.control(400, "PUT", "/users/"+room+"/applications/"+application, `{"roles": ["Calendars.Write"]}`)
	v.control(400, "PUT", "/registrations/"+application, `{"certificates": "none"}`)
}

// The mailbox of a user is open to an application with the roles of that resource, and nobody's else.
func TestApplicationResources(t *testing.T) {
	const adele = "/users/" + simulator.Adele
	for role, paths := range map[string][]string{
		"Mail.ReadBasic.All": {adele + "/mailFolders/inbox", adele + "/messages"}, "Mail.Read": {adele + "/messages"}, "Tasks.Read.All": {adele + "/todo/lists"},
		"Contacts.Read": {adele + "/contacts"}, "User.ReadBasic.All": {adele}, "Directory.Read.All": {adele},
	} {
		v := applicationClient(t, role)
		for _, path := range paths {
			v.want(200, "GET", path, "")
		}
		if role != "User.ReadBasic.All" && role != "Directory.Read.All" {
			v.refused(403, "Authorization_RequestDenied", "GET", adele, "")
		}
		if role != "Tasks.Read.All" {
			v.refused(403, "ErrorAccessDenied", "GET", adele+"/todo/lists", "")
		}
		v.refused(403, "ErrorAccessDenied", "POST", adele+"/todo/lists", `{"displayName": "x"}`)
		v.refused(403, "ErrorAccessDenied", "POST", adele+"/sendMail", "{}")
	}
	v := applicationClient(t, "Presence.Read.All")
	id := v.s.AddUser(simulator.User{Address: "lee@contoso.example", Name: "Lee"}).ID
	v.want(200, "POST", "/communications/getPresencesByUserId", `{"ids": ["`+id+`"]}`)
	v.want(200, "GET", "/users/"+id+"/presence", "")
	v = applicationClient(t, "Mail.Send")
	v.want(202, "POST", adele+"/sendMail", `{"message": {"subject": "Hello", "toRecipients": [{"emailAddress": {"address": "`+simulator.Megan+`"}}]}}`)
	if m := v.s.Mails(simulator.Megan, ""); len(m) == 0 || m[0].From != simulator.Adele {
		t.Errorf("received: %+v", m)
	}
}
