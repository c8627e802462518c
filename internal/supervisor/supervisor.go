// Package supervisor is a client of Home Assistant's Supervisor, which runs the program if it is installed as an app.
// See https://developers.home-assistant.io/docs/api/supervisor/endpoints.
package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Address is the address of the Supervisor in the network of the apps.
const Address = "http://supervisor"

const (
	// requestTimeout bounds a request, which does not leave the machine.
	requestTimeout = 10 * time.Second
	// maxBody is the number of bytes of an answer that are read.
	maxBody = 1 << 20
	// maxText is the number of bytes of an answer that an error shows.
	maxText = 100
)

// ErrNoBroker is wrapped by the error for a Home Assistant without an app that is an MQTT broker.
var ErrNoBroker = errors.New("no app of Home Assistant is an MQTT broker")

// A Client asks the Supervisor on behalf of the app. It is safe for concurrent use.
type Client struct {
	address, token string
	http           http.Client
}

// New returns a client. The token is the environment variable SUPERVISOR_TOKEN of the app.
func New(address, token string) *Client {
	// The Supervisor is not behind a proxy that the environment names.
	return &Client{address: address, token: token, http: http.Client{Timeout: requestTimeout, Transport: &http.Transport{}}}
}

// An MQTTService is an MQTT broker that an app provides.
type MQTTService struct {
	URL                string
	Username, Password string
	App                string // the slug of the app
}

// String returns the broker without its password.
func (b MQTTService) String() string { return b.URL + " (" + b.App + ")" }

// Broker returns the MQTT broker that Home Assistant's apps use. Its error wraps ErrNoBroker if there is none.
func (c *Client) Broker(ctx context.Context) (MQTTService, error) {
	var data struct {
		Host     string
		Port     json.RawMessage // a number, but documented as text
		SSL      bool
		Username string
		Password string
		App      string `json:"addon"`
	}
	if err := c.get(ctx, "/services/mqtt", &data); err != nil {
		if refused := (*Error)(nil); errors.As(err, &refused) && refused.Status == http.StatusBadRequest {
			return MQTTService{}, fmt.Errorf("%w (%s)", ErrNoBroker, refused.Message)
		}
		return MQTTService{}, fmt.Errorf("ask the Supervisor for the MQTT broker: %w", err)
	}
	port, err := strconv.ParseUint(strings.Trim(string(data.Port), `"`), 10, 16)
	if data.Host == "" || err != nil || port == 0 {
		return MQTTService{}, fmt.Errorf("ask the Supervisor for the MQTT broker: the answer has no host or no port")
	}
	scheme := "mqtt"
	if data.SSL {
		scheme = "mqtts"
	}
	address := url.URL{Scheme: scheme, Host: net.JoinHostPort(data.Host, strconv.FormatUint(port, 10))}
	return MQTTService{URL: address.String(), Username: data.Username, Password: data.Password, App: data.App}, nil
}

// An Error is a refusal of the Supervisor.
type Error struct {
	Status  int // of HTTP
	Message string
}

func (e *Error) Error() string {
	return fmt.Sprintf("the Supervisor refuses (%d): %s", e.Status, e.Message)
}

// get requests a resource and decodes the data of the answer.
func (c *Client) get(ctx context.Context, path string, data any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.address+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	answer, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("the Supervisor cannot be reached: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return fmt.Errorf("the answer of the Supervisor cannot be read: %w", err)
	}
	var envelope struct {
		Message string
		Data    json.RawMessage
	}
	decodeErr := json.Unmarshal(body, &envelope)
	switch {
	case answer.StatusCode != http.StatusOK && decodeErr == nil && envelope.Message != "":
		return &Error{answer.StatusCode, plainText([]byte(envelope.Message))}
	case answer.StatusCode != http.StatusOK: // as for a wrong token
		return &Error{answer.StatusCode, plainText(body)}
	case decodeErr == nil:
		decodeErr = json.Unmarshal(envelope.Data, data)
	}
	if decodeErr != nil { // its text would show Go's types
		return errors.New("the Supervisor gave an answer that is not understood")
	}
	return nil
}

// plainText returns the beginning of a text of the Supervisor on one line.
func plainText(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "")), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	if text == "" {
		return "no reason"
	}
	return text
}
