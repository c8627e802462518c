package mail

import (
	"context"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/services"
)

// Categorize sets the categories of a mail.
type Categorize struct {
	target Target

	MessageID  string    `json:"message_id" required:"true" doc:"Id of the mail, as in the list."`
	Categories *[]string `json:"categories" doc:"The new categories of the mail. They replace all others."`
	Add        []string  `json:"add" doc:"Categories to add, instead of categories."`
	Remove     []string  `json:"remove" doc:"Categories to remove, instead of categories."`
}

// Validate returns an error for values that Graph would refuse.
func (r *Categorize) Validate() error {
	if err := checkID(r.MessageID); err != nil {
		return err
	}
	changes := len(r.Add)+len(r.Remove) > 0
	if (r.Categories != nil) == changes {
		return graph.Invalid("categories: want either categories, or add or remove")
	}
	all := slices.Concat(r.Add, r.Remove)
	if r.Categories != nil {
		all = *r.Categories
	}
	for _, c := range all {
		if strings.TrimSpace(c) == "" || strings.Contains(c, ",") { // Outlook separates them by commas
			return graph.Invalid("categories: want names without commas, not %s", services.QuoteForError(c))
		}
	}
	return nil
}

// Execute implements services.Request.
func (r *Categorize) Execute(ctx context.Context, g *graph.Client, _ services.Attempt) (any, error) {
	if r.Categories != nil {
		return r.target.Mailbox.Update(ctx, g, r.MessageID, mail.Fields{Categories: r.Categories})
	}
	m, _, err := r.target.Mailbox.Read(ctx, g, r.MessageID)
	if err != nil {
		return nil, err
	}
	all := []string{}
	for _, c := range slices.Concat(m.Categories, r.Add) {
		if !containsFold(all, c) && !containsFold(r.Remove, c) {
			all = append(all, c)
		}
	}
	return r.target.Mailbox.Update(ctx, g, r.MessageID, mail.Fields{Categories: &all})
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, s) })
}
