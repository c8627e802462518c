package mail

import (
	"net/http"
	"slices"
	"strings"

	"github.com/graph2mqtt/graph2mqtt/internal/simulator/control"
	"github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"
)

// A folder is a mail folder.
type folder struct {
	id        string
	name      string
	wellKnown string // "" for folders that the user made
	parent    *folder
	hidden    bool
	total     int
	unread    int
	changed   uint64 // sequence number of the last change of its messages
	removed   []removal
}

// A removal is a message that left a folder.
type removal struct {
	sequence      uint64
	id, immutable string
}

// defaultFolders returns the well-known names of the folders that every mailbox has, in the order of their creation, and their parents. See
// https://learn.microsoft.com/graph/api/resources/mailfolder.
func defaultFolders() [][2]string {
	return [][2]string{
		{"msgfolderroot", ""},
		{"inbox", "msgfolderroot"}, {"drafts", "msgfolderroot"}, {"sentitems", "msgfolderroot"}, {"deleteditems", "msgfolderroot"},
		{"junkemail", "msgfolderroot"}, {"archive", "msgfolderroot"}, {"outbox", "msgfolderroot"}, {"conversationhistory", "msgfolderroot"},
		{"syncissues", "msgfolderroot"}, {"clutter", "msgfolderroot"}, {"conflicts", "syncissues"}, {"localfailures", "syncissues"}, {"serverfailures", "syncissues"},
	}
}

// absentFolders returns the well-known names that Graph knows and an ordinary mailbox does not have.
func absentFolders() []string {
	return []string{"scheduled", "searchfolders", "recoverableitemsdeletions"}
}

// folderNames returns the names of the default folders in a language, in the order of defaultFolders; nil if the language is not known.
func folderNames(language string) []string {
	return map[string][]string{
		"en": {"Top of Information Store", "Inbox", "Drafts", "Sent Items", "Deleted Items", "Junk Email", "Archive", "Outbox", "Conversation History", "Sync Issues", "Clutter", "Conflicts", "Local Failures", "Server Failures"},
		"de": {"Oberste Ebene des Informationsspeichers", "Posteingang", "Entwürfe", "Gesendete Elemente", "Gelöschte Elemente", "Junk-E-Mail", "Archiv", "Postausgang", "Aufgezeichnete Unterhaltungen", "Synchronisierungsprobleme", "Clutter", "Konflikte", "Lokale Fehler", "Serverfehler"},
		"es": {"Principio del almacén de información", "Bandeja de entrada", "Borradores", "Elementos enviados", "Elementos eliminados", "Correo no deseado", "Archivo", "Bandeja de salida", "Historial de conversaciones", "Problemas de sincronización", "Otros correos", "Conflictos", "Errores locales", "Errores del servidor"},
		"fr": {"Racine de la banque d'informations", "Boîte de réception", "Brouillons", "Éléments envoyés", "Éléments supprimés", "Courrier indésirable", "Archive", "Boîte d'envoi", "Historique des conversations", "Problèmes de synchronisation", "Courrier pêle-mêle", "Conflits", "Échecs locaux", "Échecs du serveur"},
	}[language]
}

func (b *mailbox) addDefaultFolders() {
	for _, f := range defaultFolders() {
		var parent *folder
		if f[1] != "" {
			parent = b.wellKnown(f[1])
		}
		added := b.addFolder(parent, "")
		added.wellKnown = f[0]
		added.hidden = slices.Contains([]string{"syncissues", "clutter", "conflicts", "localfailures", "serverfailures"}, f[0])
	}
	b.translate()
}

// translate gives the default folders their names in the language of the mailbox.
func (b *mailbox) translate() {
	language := b.options.Language
	if language == "" {
		language = "en"
	}
	names := folderNames(language)
	for i, f := range defaultFolders() {
		b.wellKnown(f[0]).name = names[i]
	}
}

func (b *mailbox) addFolder(parent *folder, name string) *folder {
	f := &folder{id: b.key.id(folderIDLength, kindFolder, b.number(), 0), name: name, parent: parent}
	b.folders = append(b.folders, f)
	return f
}

// wellKnown returns the folder with a well-known name in any case, or nil.
func (b *mailbox) wellKnown(name string) *folder {
	i := slices.IndexFunc(b.folders, func(f *folder) bool { return f.wellKnown != "" && strings.EqualFold(f.wellKnown, name) })
	if i < 0 {
		return nil
	}
	return b.folders[i]
}

func (b *mailbox) children(parent *folder) []*folder {
	var all []*folder
	for _, f := range b.folders {
		if f.parent == parent {
			all = append(all, f)
		}
	}
	slices.SortStableFunc(all, func(a, b *folder) int { return strings.Compare(strings.ToLower(a.name), strings.ToLower(b.name)) })
	return all
}

func (b *mailbox) child(parent *folder, name string) *folder {
	for _, f := range b.children(parent) {
		if strings.EqualFold(f.name, name) {
			return f
		}
	}
	return nil
}

// find returns the folder with this id, well-known name or path of names with slashes; "" is the Inbox. It panics if there is none.
func (b *mailbox) find(name string) *folder {
	if name == "" {
		name = "inbox"
	}
	if f := b.wellKnown(name); f != nil {
		return f
	}
	at := b.folders[0]
	for part := range strings.SplitSeq(name, "/") {
		if at = b.child(at, part); at == nil {
			break
		}
	}
	if at == nil {
		if i := slices.IndexFunc(b.folders, func(f *folder) bool { return f.id == name }); i >= 0 {
			return b.folders[i]
		}
		panic(control.NotFound("%s has no folder %q", b.user.Address, name))
	}
	return at
}

// A MailFolder is a folder of a mailbox.
type MailFolder struct {
	ID        string `json:"id"`
	Path      string `json:"path"`      // names with slashes
	WellKnown string `json:"wellKnown"` // "" for folders that the user made
	Hidden    bool   `json:"hidden"`
	Total     int    `json:"total"`
	Unread    int    `json:"unread"`
}

// AddMailFolder adds the folder with this path of names, such as Bills/Power, and those above it that do not exist.
func (s *Service) AddMailFolder(address, path string) MailFolder {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	at := b.folders[0]
	for part := range strings.SplitSeq(path, "/") {
		if part == "" {
			panic(control.Invalid("path: want names separated by slashes, such as Bills/Power, not %q", path))
		}
		next := b.child(at, part)
		if next == nil && at == b.folders[0] {
			next = b.wellKnown(part)
		}
		if next == nil {
			next = b.addFolder(at, part)
		}
		at = next
	}
	return b.folderInfo(at)
}

// SetMailFolderHidden hides a folder, or shows it.
func (s *Service) SetMailFolderHidden(address, folder string, hidden bool) {
	s.directory.Lock()
	defer s.directory.Unlock()
	s.mustMailbox(address).find(folder).hidden = hidden
}

// MailFolders returns all folders with their counts.
func (s *Service) MailFolders(address string) []MailFolder {
	s.directory.Lock()
	defer s.directory.Unlock()
	b := s.mustMailbox(address)
	var all []MailFolder
	for _, f := range b.folders[1:] {
		all = append(all, b.folderInfo(f))
	}
	return all
}

func (b *mailbox) folderInfo(f *folder) MailFolder {
	path := f.name
	for p := f.parent; p != nil && p.parent != nil; p = p.parent {
		path = p.name + "/" + path
	}
	return MailFolder{ID: f.id, Path: path, WellKnown: f.wellKnown, Hidden: f.hidden, Total: f.total, Unread: f.unread}
}

func (s *Service) folderRoutes() []odata.Route {
	var routes []odata.Route
	list := []string{"$select", "$filter", "$orderby", "$top", "$skip", "$count", "$expand"}
	for _, root := range []string{"/me", "/users/{user}"} {
		add := func(method, path string, do func(*call) (odata.Response, error), options ...string) {
			routes = append(routes, odata.Route{Method: method, Path: root + path, Type: s.types.folder, Options: options, Do: s.handle(do)})
		}
		add("GET", "/mailFolders", listFolders, list...)
		add("GET", "/mailFolders/$count", listFolders, "$filter")
		add("POST", "/mailFolders", createFolder)
		add("GET", "/mailFolders/{folder}", getFolder, "$select", "$expand")
		add("PATCH", "/mailFolders/{folder}", patchFolder)
		add("DELETE", "/mailFolders/{folder}", deleteFolder)
		add("GET", "/mailFolders/{folder}/childFolders", listFolders, list...)
		add("GET", "/mailFolders/{folder}/childFolders/$count", listFolders, "$filter")
		add("POST", "/mailFolders/{folder}/childFolders", createFolder)
	}
	return routes
}

// folder returns the folder that a path refers to by id or well-known name.
func (c *call) folder(id string) (*folder, error) {
	if f := c.b.wellKnown(id); f != nil {
		return f, nil
	}
	if slices.Contains(absentFolders(), strings.ToLower(id)) {
		return nil, odata.NewError(http.StatusNotFound, "ErrorFolderNotFound", "The specified folder could not be found in the store.")
	}
	if err := odata.CheckItemID(id); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(c.b.folders, func(f *folder) bool { return f.id == id }); i >= 0 {
		return c.b.folders[i], nil
	}
	return nil, odata.ItemNotFound()
}

// parentFolder returns the folder in the path, or the root.
func (c *call) parentFolder() (*folder, error) {
	if id, ok := c.Params["folder"]; ok {
		return c.folder(id)
	}
	return c.b.folders[0], nil
}

// includesHidden reports whether the client asked for hidden folders.
func (c *call) includesHidden() bool {
	return strings.EqualFold(c.Query.Get("includehiddenfolders"), "true")
}

func (c *call) folderJSON(f *folder, deep bool) map[string]any {
	parent := c.b.key.id(folderIDLength, kindFolder, 0, 0)
	if f.parent != nil {
		parent = f.parent.id
	}
	n := 0
	below := []any{}
	for _, x := range c.b.children(f) {
		if x.hidden && !c.includesHidden() {
			continue
		}
		n++
		if deep {
			below = append(below, c.folderJSON(x, false))
		}
	}
	return map[string]any{
		"id": f.id, "displayName": f.name, "parentFolderId": parent, "childFolderCount": n, "unreadItemCount": f.unread, "totalItemCount": f.total, "isHidden": f.hidden,
		"childFolders": below,
	}
}

func (c *call) folderSet() string {
	if id, ok := c.Params["folder"]; ok && strings.HasSuffix(c.Route.Path, "/childFolders") {
		return "users('" + c.Owner() + "')/mailFolders('" + id + "')/childFolders"
	}
	return "users('" + c.Owner() + "')/mailFolders"
}

func listFolders(c *call) (odata.Response, error) {
	parent, err := c.parentFolder()
	if err != nil {
		return odata.Response{}, err
	}
	all := []map[string]any{}
	for _, f := range c.b.children(parent) {
		if !f.hidden || c.includesHidden() {
			all = append(all, c.folderJSON(f, c.Query.Has("$expand")))
		}
	}
	return c.Collection(c.folderSet(), all)
}

func getFolder(c *call) (odata.Response, error) {
	f, err := c.folder(c.Params["folder"])
	if err != nil {
		return odata.Response{}, err
	}
	return c.folderResponse(f, http.StatusOK)
}

func (c *call) folderResponse(f *folder, status int) (odata.Response, error) {
	body, err := c.Project(c.folderJSON(f, true))
	if err != nil {
		return odata.Response{}, err
	}
	resp := c.Entity("users('"+c.Owner()+"')/mailFolders", body)
	resp.Status = status
	return resp, nil
}

// folderName returns the name that a body gives a folder below parent.
func (c *call) folderName(body map[string]any, parent *folder) (string, error) {
	name, _ := body["displayName"].(string)
	if strings.TrimSpace(name) == "" {
		return "", odata.NewError(http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation.")
	}
	if c.b.child(parent, name) != nil {
		return "", odata.NewError(http.StatusConflict, "ErrorFolderExists", "A folder with the specified name already exists., Could not create folder '%s'.", name)
	}
	return name, nil
}

func createFolder(c *call) (odata.Response, error) {
	parent, err := c.parentFolder()
	if err != nil {
		return odata.Response{}, err
	}
	body, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	name, err := c.folderName(body, parent)
	if err != nil {
		return odata.Response{}, err
	}
	f := c.b.addFolder(parent, name)
	f.hidden = body["isHidden"] == true
	return c.folderResponse(f, http.StatusCreated)
}

func patchFolder(c *call) (odata.Response, error) {
	f, err := c.folder(c.Params["folder"])
	if err != nil {
		return odata.Response{}, err
	}
	body, err := c.Decode()
	if err != nil {
		return odata.Response{}, err
	}
	if f.wellKnown != "" {
		return odata.Response{}, odata.AccessDenied()
	}
	name, err := c.folderName(body, f.parent)
	if err != nil {
		return odata.Response{}, err
	}
	f.name = name
	return c.folderResponse(f, http.StatusOK)
}

func deleteFolder(c *call) (odata.Response, error) {
	f, err := c.folder(c.Params["folder"])
	if err != nil {
		return odata.Response{}, err
	}
	if f.wellKnown != "" {
		return odata.Response{}, odata.NewError(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
	}
	f.parent = c.b.wellKnown("deleteditems")
	return odata.Response{Status: http.StatusNoContent}, nil
}
