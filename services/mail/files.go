package mail

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/graph2mqtt/graph2mqtt/internal/graph"
	"github.com/graph2mqtt/graph2mqtt/internal/graph/mail"
	"github.com/graph2mqtt/graph2mqtt/services"
)

const (
	// maxRequest is the size of the largest request in bytes that Graph takes.
	//
	// https://learn.microsoft.com/graph/api/user-sendmail
	maxRequest = 39 << 20 / 10
	// overhead is room for everything but text, recipients and files, and perFile and perRecipient for what comes with each of these.
	overhead     = 4000
	perFile      = 1000
	perRecipient = 400
	// maxFiles bounds the files of a mail.
	maxFiles = 100
)

func tooLarge(files, text int) string {
	what, size := "files have", files
	if text > files {
		what, size = "text has", text
	}
	return fmt.Sprintf("the %s %.1f MB: a mail may have about 2.9 MB of files and text unless allow names send_large", what, float64(size)/1e6)
}

// A file is an attachment before it is read.
type file struct {
	field   string // of the request
	name    string
	kind    string
	path    string // "": the content is in the request
	content []byte
}

// files are the attachments and pictures of a request.
type files struct {
	directories []string
	attachments []file
	photos      []file
	links       []string // addresses of pictures
}

// files finds the files of a request. It reads nothing.
func (r *SendRequest) files() (*files, error) {
	all := &files{directories: r.target.Directories}
	if n := len(r.Attachments) + len(r.Photos); n > maxFiles {
		return nil, graph.Invalid("attachments: want at most %d files, not %d", maxFiles, n)
	}
	for i, s := range r.Attachments {
		f, err := all.parse(fmt.Sprintf("attachments[%d]", i), s)
		if err != nil {
			return nil, err
		}
		all.attachments = append(all.attachments, f)
	}
	for i, s := range r.Photos {
		if isLink(s) {
			if _, err := url.Parse(s); err != nil {
				return nil, graph.Invalid("photos[%d]: want a path, data: or an http(s) address", i)
			}
			all.links = append(all.links, s)
			continue
		}
		f, err := all.parse(fmt.Sprintf("photos[%d]", i), s)
		if err != nil {
			return nil, err
		}
		all.photos = append(all.photos, f)
	}
	unique(all.attachments)
	unique(all.photos)
	return all, nil
}

func isLink(s string) bool {
	s = strings.ToLower(s)
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// unique gives files with the same name different names.
func unique(all []file) {
	for i := range all {
		name := all[i].name
		for n := 2; slices.ContainsFunc(all[:i], func(f file) bool { return strings.EqualFold(f.name, all[i].name) }); n++ {
			extension := filepath.Ext(name)
			all[i].name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, extension), n, extension)
		}
	}
}

func (s *files) parse(field, given string) (file, error) {
	f := file{field: field}
	header, encoded, isData := strings.Cut(given, ",")
	switch {
	case isLink(given):
		return f, graph.Invalid("%s: want a path or data:, not an http(s) address: nothing is downloaded", field)
	case len(header) > 5 && strings.EqualFold(header[:5], "data:") && isData:
		return f, f.decode(header[5:], encoded)
	case len(s.directories) == 0:
		return f, graph.Invalid("%s: attachments.directories in the configuration names no directory from which files may be sent", field)
	case !filepath.IsAbs(given):
		return f, graph.Invalid("%s: want an absolute path, or data:TYPE;name=NAME;base64,CONTENT, not %s", field, services.QuoteForError(given))
	}
	f.path = filepath.Clean(given)
	f.name = filepath.Base(f.path)
	f.kind = kindOf(f.name)
	if _, _, err := s.locate(f); err != nil {
		return f, err
	}
	return f, checkName(field, f.name)
}

// decode reads the rest of a data: address, see https://www.rfc-editor.org/rfc/rfc2397.
func (f *file) decode(header, encoded string) error {
	wrong := func() error {
		return graph.Invalid("%s: want data:TYPE;name=NAME;base64,CONTENT", f.field)
	}
	parameters, ok := strings.CutSuffix(header, ";base64")
	if !ok {
		return wrong()
	}
	for i, p := range strings.Split(parameters, ";") {
		name, isName := strings.CutPrefix(p, "name=")
		switch {
		case i == 0 && p != "":
			kind, _, err := mime.ParseMediaType(p)
			if err != nil {
				return wrong()
			}
			f.kind = kind
		case isName:
			unescaped, err := url.PathUnescape(strings.Trim(name, `"`))
			if err != nil {
				return wrong()
			}
			f.name = unescaped
		}
	}
	content, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return graph.Invalid("%s: the content is not base64", f.field)
	}
	f.content = content
	if f.kind == "" {
		f.kind = kindOf(f.name)
	}
	if f.name == "" {
		f.name = "file"
		if extensions, _ := mime.ExtensionsByType(f.kind); len(extensions) > 0 {
			f.name += extensions[0]
		}
	}
	return checkName(f.field, f.name)
}

func checkName(field, name string) error {
	if strings.ContainsAny(name, "/\\\r\n\x00") || name == "." || name == ".." || len(name) > 255 {
		return graph.Invalid("%s: want the name of a file, not %s", field, services.QuoteForError(name))
	}
	return nil
}

func kindOf(name string) string {
	if kind := mime.TypeByExtension(filepath.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// locate returns the directory that a file is in and its path there.
func (s *files) locate(f file) (directory, path string, err error) {
	for _, d := range s.directories {
		if path, err := filepath.Rel(d, f.path); err == nil && filepath.IsLocal(path) && path != "." {
			return d, path, nil
		}
	}
	return "", "", graph.Invalid("%s: want a file in attachments.directories: %s", f.field, strings.Join(s.directories, ", "))
}

// measure returns the size of all files in bytes without reading them.
func (s *files) measure() (int, error) {
	size := 0
	for _, f := range slices.Concat(s.attachments, s.photos) {
		if f.path == "" {
			size += len(f.content)
			continue
		}
		n, err := s.stat(f)
		if err != nil {
			return 0, err
		}
		if n > mail.MaxFile {
			return 0, graph.Invalid("%s: want a file of at most %d MB, as Exchange does, not %d MB", f.field, mail.MaxFile>>20, n>>20)
		}
		size += int(n)
	}
	return size, nil
}

func (s *files) stat(f file) (int64, error) {
	var n int64
	err := s.within(f, func(root *os.Root, path string) error {
		info, err := root.Stat(path)
		if err == nil && !info.Mode().IsRegular() {
			err = errNotRegular
		}
		if err == nil {
			n = info.Size()
		}
		return err
	})
	return n, err
}

var errNotRegular = errors.New("it is not a regular file")

// within calls do with the directory of a file, out of which neither links nor .. lead.
func (s *files) within(f file, do func(root *os.Root, path string) error) error {
	directory, path, err := s.locate(f)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(directory)
	if err == nil {
		err = do(root, path)
		_ = root.Close() // only read
	}
	if err != nil {
		return unreadable(f, err)
	}
	return nil
}

// unreadable returns the error of a file that cannot be read.
func unreadable(f file, err error) error {
	why := err.Error()
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		why = "no permission to read it"
	case errors.As(err, &path):
		why = path.Err.Error()
	}
	return graph.Invalid("%s: the file %s cannot be read: %s", f.field, f.path, why)
}

// read reads all files.
func (s *files) read(zipped bool, zipName string) ([]mail.OutgoingFile, error) {
	var all []mail.OutgoingFile
	for _, f := range s.attachments {
		content, err := s.content(f)
		if err != nil {
			return nil, err
		}
		all = append(all, mail.OutgoingFile{Name: f.name, Type: f.kind, Content: content})
	}
	if zipped && len(all) > 0 {
		archive, err := compress(all)
		if err != nil {
			return nil, err
		}
		if zipName == "" {
			zipName = "archive.zip"
		}
		all = []mail.OutgoingFile{{Name: zipName, Type: "application/zip", Content: archive}}
	}
	for _, f := range s.photos {
		content, err := s.content(f)
		if err != nil {
			return nil, err
		}
		kind := f.kind
		if !strings.HasPrefix(kind, "image/") {
			kind = http.DetectContentType(content)
		}
		all = append(all, mail.OutgoingFile{Name: f.name, Type: kind, Content: content, ContentID: f.name})
	}
	return all, nil
}

func (s *files) content(f file) ([]byte, error) {
	if f.path == "" {
		return f.content, nil
	}
	n, err := s.stat(f)
	if err != nil {
		return nil, err
	}
	var content []byte
	err = s.within(f, func(root *os.Root, path string) error {
		content, err = readRegular(root, path, n)
		return err
	})
	return content, err
}

// readRegular reads a regular file of at most n bytes.
func readRegular(root *os.Root, path string, n int64) ([]byte, error) {
	// The file may have been replaced since its size was read: opening a named pipe must not wait for a writer.
	opened, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	if info, err := opened.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, errNotRegular)
	}
	content, err := io.ReadAll(io.LimitReader(opened, n+1))
	if err == nil && int64(len(content)) > n {
		err = errors.New("it is being written")
	}
	return content, err
}

func compress(all []mail.OutgoingFile) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range all {
		entry, err := w.Create(f.Name)
		if err != nil {
			return nil, err
		}
		if _, err := entry.Write(f.Content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}
