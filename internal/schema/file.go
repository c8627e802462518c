package schema

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ReadFile reads a regular file of at most limit bytes. It returns at once for anything else: a directory, a named pipe, a
// device, a larger file.
func ReadFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, Cause(err)
	}
	if err := checkRegular(info, limit); err != nil {
		return nil, err
	}
	// The file may have been replaced since: opening a named pipe must not wait for a writer.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, Cause(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, Cause(err)
	}
	if err := checkRegular(info, limit); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, Cause(err)
	}
	if int64(len(b)) > limit {
		return nil, tooLarge(limit)
	}
	return b, nil
}

func checkRegular(info fs.FileInfo, limit int64) error {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return errors.New("is a directory")
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("want a regular file, not a named pipe")
	case mode&fs.ModeDevice != 0:
		return errors.New("want a regular file, not a device")
	case !mode.IsRegular():
		return errors.New("want a regular file")
	case info.Size() > limit:
		return tooLarge(limit)
	}
	return nil
}

func tooLarge(limit int64) error { return fmt.Errorf("more than %d bytes", limit) }

// Cause returns an error without the operation and path of a PathError.
func Cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
