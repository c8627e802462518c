package audit

import (
	"errors"
	"io/fs"
	"os"

	"gopkg.in/natefinch/lumberjack.v2"
)

const mode = 0o600

// A File is a Target: a file with one JSON record per line. Older parts are kept under other names.
type File struct {
	path    string
	file    *lumberjack.Logger
	torn    bool        // the last line may be incomplete
	written os.FileInfo // of the file at path before the last record; nil: there was none
}

// NewFile returns a File of at most maxSize MiB, of which maxFiles older ones are kept. It is not opened before the first record.
func NewFile(path string, maxSize, maxFiles int) *File {
	return &File{path: path, file: &lumberjack.Logger{Filename: path, MaxSize: maxSize, MaxBackups: maxFiles}}
}

// Name implements Target.
func (f *File) Name() string { return f.path }

// Close implements Target.
func (f *File) Close() { _ = f.file.Close() } // every record was written

// Write implements Target.
func (f *File) Write(_ Line, line []byte) error {
	if err := f.prepare(); err != nil {
		return err
	}
	line = append(line, '\n')
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	_, err := f.file.Write(line)
	if f.torn = err != nil; f.torn {
		f.Close() // the next attempt opens it again
	}
	return err
}

// prepare makes an existing file readable by its owner only; new ones are created so. It closes a file that was renamed, replaced or
// removed since the last record, so that the next one is written to Path.
func (f *File) prepare() error {
	info, err := os.Stat(f.path)
	if !os.SameFile(info, f.written) {
		f.Close()
	}
	f.written = info
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().IsRegular() && info.Mode().Perm() != mode:
		return os.Chmod(f.path, mode)
	}
	return nil
}
