package mail

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
)

// A Folder is a folder of a mailbox as it is now.
type Folder struct {
	ID       string `json:"id"`
	Name     string `json:"displayName"`
	Children int    `json:"childFolderCount"`
	Unread   int    `json:"unreadItemCount"`
	Total    int    `json:"totalItemCount"`
	Type     string `json:"@odata.type"`
	Path     string `json:"-"` // as FindFolder takes it; set by Folders alone
}

// IsSearch reports whether the folder is a saved search, of whose mails Graph reports no changes.
func (f Folder) IsSearch() bool { return strings.HasSuffix(f.Type, "mailSearchFolder") }

func folderFields() []string {
	return []string{"id", "displayName", "childFolderCount", "unreadItemCount", "totalItemCount"}
}

// wellKnown returns the name by which Graph knows a folder in a mailbox of any language, or "".
//
// https://learn.microsoft.com/graph/api/resources/mailfolder
func wellKnown(name string) string {
	name = strings.ToLower(strings.ReplaceAll(name, " ", ""))
	if slices.Contains([]string{
		"archive", "clutter", "conflicts", "conversationhistory", "deleteditems", "drafts", "inbox", "junkemail", "localfailures", "msgfolderroot", "outbox",
		"recoverableitemsdeletions", "scheduled", "searchfolders", "sentitems", "serverfailures", "syncissues",
	}, name) {
		return name
	}
	return ""
}

// SplitPath returns the names in the path of a folder. A slash in a name is written \/.
func SplitPath(path string) ([]string, error) {
	var names []string
	var name strings.Builder
	end := func() error {
		if strings.TrimSpace(name.String()) == "" {
			return fmt.Errorf("want names of folders with / between them, such as Inbox/Bills, not %q", path)
		}
		names = append(names, name.String())
		name.Reset()
		return nil
	}
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '\\' && i+1 < len(path) && path[i+1] == '/':
			name.WriteByte('/')
			i++
		case path[i] == '/':
			if err := end(); err != nil {
				return nil, err
			}
		default:
			name.WriteByte(path[i])
		}
	}
	return names, end()
}

func quotePath(name string) string { return strings.ReplaceAll(name, "/", `\/`) }

// FindFolder returns the folder that a path leads to. The first name may be a well-known one, such as Inbox or Sent Items, which
// means the same in a mailbox of any language; names are compared without case where they do not match exactly. The path may also
// be the id of a folder.
func (m Mailbox) FindFolder(ctx context.Context, g *graph.Client, path string) (Folder, error) {
	if isID(path) {
		return m.Folder(ctx, g, path)
	}
	names, err := SplitPath(path)
	if err != nil {
		return Folder{}, graph.Invalid("folder: %s", err.Error())
	}
	var found Folder
	if known := wellKnown(names[0]); known != "" {
		f, err := m.Folder(ctx, g, known)
		if err != nil && !graph.Is(err, graph.NotFound) || graph.HasCode(err, "ErrorInvalidUser", "Request_ResourceNotFound", "ResourceNotFound") {
			return Folder{}, err
		}
		if err == nil {
			found, names = f, names[1:]
		}
	}
	for _, name := range names {
		children, err := m.children(ctx, g, found.ID)
		if err != nil {
			return Folder{}, err
		}
		same := graph.Matching(children,
			func(f Folder) bool { return f.Name == name },
			func(f Folder) bool { return strings.EqualFold(f.Name, name) },
		)
		if len(same) == 0 {
			return Folder{}, noFolder(name, found.Name, children)
		}
		found = same[0]
	}
	return found, nil
}

func noFolder(name, parent string, there []Folder) error {
	if parent != "" {
		name += " in " + parent
	}
	explanation := fmt.Sprintf("there is no folder %s; there are none", name)
	if len(there) > 0 {
		explanation = fmt.Sprintf("there is no folder %s; there are: %s", name, graph.Names(there, func(f Folder) string { return f.Name }))
	}
	return &graph.Error{Reason: graph.NotFound, Op: "find the folder", Explanation: explanation}
}

func isID(path string) bool { return len(path) > 60 && !strings.ContainsAny(path, " /") }

// Folder returns the folder with this id or well-known name.
func (m Mailbox) Folder(ctx context.Context, g *graph.Client, id string) (Folder, error) {
	const op = "read the folder"
	f, err := graph.Get[Folder](ctx, g, op, m.user(g).MailFolders().ByMailFolderId(id).ToGetRequestInformation, &users.ItemMailFoldersMailFolderItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMailFoldersMailFolderItemRequestBuilderGetQueryParameters{Select: folderFields()},
	})
	switch {
	case err != nil:
		return Folder{}, m.explain(g, err)
	case f.ID == "":
		return Folder{}, graph.Incomplete(op, "id")
	}
	return f, nil
}

// children returns the folders in a folder; with an empty id, those of the mailbox.
func (m Mailbox) children(ctx context.Context, g *graph.Client, id string) ([]Folder, error) {
	const op = "list the folders"
	var all []Folder
	var err error
	query := users.ItemMailFoldersRequestBuilderGetQueryParameters{Select: folderFields(), Top: new(int32(100))}
	if id == "" {
		all, err = graph.GetAll[Folder](ctx, g, op, m.user(g).MailFolders().ToGetRequestInformation, &users.ItemMailFoldersRequestBuilderGetRequestConfiguration{QueryParameters: &query})
	} else {
		ofFolder := users.ItemMailFoldersItemChildFoldersRequestBuilderGetQueryParameters(query)
		all, err = graph.GetAll[Folder](ctx, g, op, m.user(g).MailFolders().ByMailFolderId(id).ChildFolders().ToGetRequestInformation,
			&users.ItemMailFoldersItemChildFoldersRequestBuilderGetRequestConfiguration{QueryParameters: &ofFolder})
	}
	if err != nil {
		return nil, m.explain(g, err)
	}
	if slices.ContainsFunc(all, func(f Folder) bool { return f.ID == "" }) {
		return nil, graph.Incomplete(op, "id of a folder")
	}
	return all, nil
}

const (
	// maxDepth and maxFolders bound what Folders lists.
	maxDepth   = 8
	maxFolders = 500
)

// Folders returns the folders of the mailbox with their paths, each before those in it.
func (m Mailbox) Folders(ctx context.Context, g *graph.Client) ([]Folder, error) {
	var all []Folder
	var list func(id, path string, depth int) error
	list = func(id, path string, depth int) error {
		children, err := m.children(ctx, g, id)
		if err != nil {
			return err
		}
		for _, f := range children {
			if len(all) == maxFolders {
				return nil
			}
			f.Path = path + quotePath(f.Name)
			all = append(all, f)
			if f.Children > 0 && depth < maxDepth {
				if err := list(f.ID, f.Path+"/", depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return all, list("", "", 1)
}
