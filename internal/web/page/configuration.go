package page

import (
	"errors"
	"net/http"
	"time"

	"github.com/graph2mqtt/graph2mqtt/services"
)

// A Configuration describes the configuration file and adds to it.
type Configuration interface {
	Describe() ConfigDescription
	// Kinds returns the types of sensors that a form may add.
	Kinds() []FormKind
	// Preview returns the lines that a form adds, and checks the configuration with them. Its error is a *FormError if the form or
	// the configuration is wrong.
	Preview(Form) (Draft, error)
	// Write adds the lines of a draft of the same form to the file, if that is still as it was.
	Write(f Form, digest string) error
}

// ConfigDescription describes the configuration file.
type ConfigDescription struct {
	File     string          `json:"file"`     // its path; "": none is read
	Accounts string          `json:"accounts"` // the directory of files of accounts; "": there is none
	Running  string          `json:"running"`  // the configuration in use, without secrets, as YAML
	Loaded   *time.Time      `json:"loaded"`   // when the configuration in use was read
	Problems []ConfigProblem `json:"problems"` // of the file, why it is not in use, and of accounts
	Warnings []string        `json:"warnings"`
	Restart  []string        `json:"restart"` // keys whose change takes effect after a restart
	Broker   string          `json:"broker"`  // address of the broker that is used if the file names none; "": there is none
}

// A ConfigProblem is a mistake in the configuration or in a form.
type ConfigProblem struct {
	Path    string `json:"path"`
	File    string `json:"file,omitempty"` // of an account, if it has one of its own
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
}

// A Form adds an account, with the connection to the broker in the first configuration, or sensors to an account. It has no paths,
// commands or addresses of a cloud.
type Form struct {
	Broker     *FormBroker  `json:"broker"`
	Account    string       `json:"account" required:"true"` // id
	NewAccount *FormAccount `json:"new_account"`             // nil: the account is configured
	Sensors    []FormSensor `json:"sensors"`
	// Calendars also offers calendars and task lists over CalDAV, in the first configuration.
	Calendars bool `json:"calendars"`
}

// A FormBroker is the connection to the broker.
type FormBroker struct {
	URL      string `json:"url" required:"true"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// A FormAccount has the keys of a new account.
type FormAccount struct {
	ClientID     string `json:"client_id" required:"true"`
	Tenant       string `json:"tenant"`
	EnableUpdate bool   `json:"enable_update"`
}

// A FormSensor is a sensor to add.
type FormSensor struct {
	ID           string            `json:"id" required:"true"`
	Type         string            `json:"type" required:"true"`
	EnableUpdate bool              `json:"enable_update"`
	Options      map[string]string `json:"options"` // by the keys of FormKind.Fields
}

// A FormKind is a type of sensor that a form may add.
type FormKind struct {
	Name       string      `json:"name"`
	Title      string      `json:"title"`
	Doc        string      `json:"doc"`
	WorkOnly   bool        `json:"work_only"`
	ID         string      `json:"id"` // suggested for a sensor
	CanUpdate  bool        `json:"can_update"`
	OwnUpdates bool        `json:"own_updates"` // enable_update of its own, not the account's
	Candidates bool        `json:"candidates"`  // the operation candidates lists what it can be configured for
	Fields     []FormField `json:"fields"`
}

// A FormField is a key of a type of sensor.
type FormField struct {
	Key      string `json:"key"`
	Doc      string `json:"doc"`
	Example  string `json:"example"`
	Required bool   `json:"required"`
}

// A Draft is a change of the configuration file.
type Draft struct {
	Lines    string `json:"lines"` // to add
	File     string `json:"file"`
	ByHand   string `json:"by_hand"`  // why the lines can be added by hand only; "": they can be written
	Digest   string `json:"digest"`   // of the file as it is
	Password bool   `json:"password"` // the lines have a password in them
}

// A FormError lists what is wrong in a form, or in the configuration that would result.
type FormError struct{ Problems []ConfigProblem }

func (e *FormError) Error() string { return "the configuration would not be valid" }

// ErrFileChanged is the error of Write if the file is not as it was.
var ErrFileChanged = errors.New("the configuration file was changed meanwhile; look at the lines again")

// A ByHandError is the error of Write if a person must change the file.
type ByHandError struct{ Reason string }

func (e *ByHandError) Error() string { return e.Reason }

func (h *StatusPage) serveForm(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]any{"kinds": h.options.Configuration.Kinds()})
}

func (h *StatusPage) previewForm(_ *http.Request, body []byte) (any, error) {
	var f Form
	if err := decode(body, &f); err != nil {
		return nil, err
	}
	d, err := h.options.Configuration.Preview(f)
	if err != nil {
		return nil, formFailure(err)
	}
	return d, nil
}

func (h *StatusPage) writeForm(_ *http.Request, body []byte) (any, error) {
	var request struct {
		Form   Form   `json:"form" required:"true"`
		Digest string `json:"digest"`
	}
	if err := decode(body, &request); err != nil {
		return nil, err
	}
	if err := h.options.Configuration.Write(request.Form, request.Digest); err != nil {
		return nil, formFailure(err)
	}
	h.options.Log.Info("configuration written from the status page", "account", request.Form.Account)
	h.Notify()
	return map[string]bool{"written": true}, nil
}

// formFailure returns the answer to a form that cannot be previewed or written.
func formFailure(err error) error {
	f := failure{Code: string(services.InvalidArgument), Message: err.Error()}
	var wrong *FormError
	switch {
	case errors.As(err, &wrong):
		f.Problems = wrong.Problems
	case errors.Is(err, ErrFileChanged):
		f.Code = string(services.Conflict)
	case errors.As(err, new(*ByHandError)):
		f.Code, f.ByHand = string(services.Conflict), true
	default:
		return err
	}
	return f
}
