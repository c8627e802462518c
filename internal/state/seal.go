package state

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What is sealed begins with the format and the mark of its key, which tells another key from a broken file.
const (
	format   = "g2m1"
	markSize = 8
	keySize  = 32
)

const (
	keyVariable   = "GRAPH2MQTT_KEY"
	keyCredential = "graph2mqtt-key"
	ownKeyFile    = "key"

	giveKey = "give graph2mqtt that key again (" + keyVariable + ", the credential " + keyCredential + " or key_file)"
)

func (d *Dir) openKey(keyFile string) error {
	if text := os.Getenv(keyVariable); text != "" {
		return d.useKey("the environment variable "+keyVariable, text)
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		file := filepath.Join(dir, keyCredential)
		text, err := os.ReadFile(file)
		if err == nil {
			return d.useKey("the systemd credential "+keyCredential, string(text))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read the systemd credential %s: %w", file, reason(err))
		}
	}
	file := keyFile
	if file == "" {
		file = d.file(ownKeyFile)
	}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && keyFile == "":
		key := make([]byte, keySize)
		rand.Read(key)
		text = []byte(base64.StdEncoding.EncodeToString(key) + "\n")
		if err := write(file, text); err != nil {
			return err
		}
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("key_file: there is no file %s; make one with: openssl rand -base64 32 > %s", file, file)
	case err != nil:
		return fmt.Errorf("read the key file %s: %w", file, reason(err))
	case keyFile == "":
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
			d.log.Warn("the key was open to other users, its mode is 0600 now", "file", file, "mode", info.Mode().Perm().String())
			if err := os.Chmod(file, fileMode); err != nil {
				return fmt.Errorf("close the key file %s to other users: %w", file, reason(err))
			}
		}
	}
	return d.useKey("the key file "+file, string(text))
}

func (d *Dir) useKey(from, text string) error {
	const advice = "want 32 bytes in base64, as made by: openssl rand -base64 32"
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		key, err = base64.RawURLEncoding.DecodeString(text)
	}
	if err != nil {
		return fmt.Errorf("%s is not base64; %s", from, advice)
	}
	if len(key) != keySize {
		return fmt.Errorf("%s has %d bytes; %s", from, len(key), advice)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if d.seal, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("graph2mqtt: mark of the key"))
	copy(d.mark[:], mac.Sum(nil))
	return nil
}

// sealed seals plain so that it can be read under this name alone.
func (d *Dir) sealed(plain []byte, name string) []byte {
	out := append([]byte(format), d.mark[:]...)
	return d.seal.Seal(out, nil, plain, []byte(name))
}

func (d *Dir) unseal(sealed []byte, name string) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(format))
	if !ok || len(rest) < markSize {
		return nil, ErrCorrupt
	}
	if !bytes.Equal(rest[:markSize], d.mark[:]) {
		return nil, fmt.Errorf("%w; %s", ErrOtherKey, giveKey)
	}
	plain, err := d.seal.Open(nil, nil, rest[markSize:], []byte(name))
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}
