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

// Encrypted data begins with the format and the id of its key, which distinguishes another key from damage.
const (
	formatPrefix = "g2m1"
	keyIDSize    = 8
	keySize      = 32
)

const (
	keyVariable    = "GRAPH2MQTT_KEY"
	keyCredential  = "graph2mqtt-key"
	defaultKeyFile = "key"

	otherKeyAdvice = "give graph2mqtt that key again (" + keyVariable + ", the credential " + keyCredential + " or key_file)"
)

// loadKey loads the key. If there is none, it creates one, but not in a cluster.
func (d *Dir) loadKey(keyFile string, cluster bool) error {
	key, source, err := d.findKey(keyFile, cluster)
	switch {
	case errors.Is(err, errNoKey):
		key = make([]byte, keySize)
		rand.Read(key)
		if err := writeFile(source, []byte(base64.StdEncoding.EncodeToString(key)+"\n")); err != nil {
			return err
		}
	case err != nil:
		return err
	case source != "" && keyFile == "":
		if info, err := os.Stat(source); err == nil && isAccessibleToOthers(info.Mode()) {
			d.log.Warn("the key file was accessible to other users; its mode was changed to 0600", "file", source, "mode", info.Mode().Perm().String())
			if err := os.Chmod(source, fileMode); err != nil {
				return fmt.Errorf("restrict the mode of the key file %s: %w", source, withoutPath(err))
			}
		}
	}
	return d.setKey(key)
}

// CheckKey reads the key as [Open] or, in a cluster, [OpenCluster] does, and returns the error that they would fail with. It changes and
// creates nothing. That Open would create the key is no error, nor is a state directory that only its owner can read.
func CheckKey(dir, keyFile string, cluster bool) error {
	path, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("state directory %s: %w", dir, err)
	}
	_, _, err = (&Dir{path: path}).findKey(keyFile, cluster)
	if errors.Is(err, errNoKey) || keyFile == "" && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// errNoKey is returned if there is no key, which can be created.
var errNoKey = fmt.Errorf("key: %w", fs.ErrNotExist)

// findKey returns the key and the file that it is from; "": it is from elsewhere. If there is none, it returns errNoKey and the file to create,
// or in a cluster, where all machines need the same key, an error that says so.
func (d *Dir) findKey(keyFile string, cluster bool) (key []byte, file string, err error) {
	if text := os.Getenv(keyVariable); text != "" {
		key, err := parseKey("the environment variable "+keyVariable, text)
		return key, "", err
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		file := filepath.Join(dir, keyCredential)
		text, err := os.ReadFile(file)
		if err == nil {
			key, err := parseKey("the systemd credential "+keyCredential, string(text))
			return key, "", err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", fmt.Errorf("read the systemd credential %s: %w", file, withoutPath(err))
		}
	}
	if file = keyFile; file == "" {
		file = d.file(defaultKeyFile)
	}
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist) && keyFile == "" && cluster:
		return nil, "", d.keyAdvice()
	case errors.Is(err, fs.ErrNotExist) && keyFile == "":
		return nil, file, errNoKey
	case errors.Is(err, fs.ErrNotExist):
		return nil, "", fmt.Errorf("key_file: the file %s does not exist; create it with: openssl rand -base64 32 > %s", file, file)
	case err != nil:
		return nil, "", fmt.Errorf("read the key file %s: %w", file, withoutPath(err))
	}
	key, err = parseKey("the key file "+file, string(text))
	return key, file, err
}

// parseKey parses a key. Its errors name the source.
func parseKey(source, text string) ([]byte, error) {
	const advice = "want 32 bytes in base64, for example the output of: openssl rand -base64 32"
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		key, err = base64.RawURLEncoding.DecodeString(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not base64; %s", source, advice)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("%s has %d bytes; %s", source, len(key), advice)
	}
	return key, nil
}

func (d *Dir) setKey(key []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if d.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("graph2mqtt: mark of the key"))
	copy(d.keyID[:], mac.Sum(nil))
	mac.Reset()
	mac.Write([]byte("graph2mqtt: digests of configurations"))
	copy(d.digestKey[:], mac.Sum(nil))
	return nil
}

// seal encrypts plain and binds it to name: unseal fails under any other name.
func (d *Dir) seal(plain []byte, name string) []byte {
	out := append([]byte(formatPrefix), d.keyID[:]...)
	return d.aead.Seal(out, nil, plain, []byte(name))
}

// unseal decrypts data that seal encrypted under the same name.
func (d *Dir) unseal(sealed []byte, name string) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(formatPrefix))
	if !ok || len(rest) < keyIDSize {
		return nil, ErrCorrupt
	}
	// Authenticated content is intact even if the id of its key is not.
	plain, err := d.aead.Open(nil, nil, rest[keyIDSize:], []byte(name))
	switch {
	case err == nil:
		return plain, nil
	case !bytes.Equal(rest[:keyIDSize], d.keyID[:]):
		return nil, fmt.Errorf("%w; %s", ErrOtherKey, otherKeyAdvice)
	}
	return nil, ErrCorrupt
}

// Seal encrypts and authenticates plain for a purpose, for data that leaves the directory. It stays readable as long as the key is used.
func (d *Dir) Seal(plain []byte, purpose string) []byte { return d.seal(plain, sealedFor+purpose) }

// Unseal decrypts data that Seal returned for the same purpose. The error wraps ErrCorrupt or ErrOtherKey.
func (d *Dir) Unseal(sealed []byte, purpose string) ([]byte, error) {
	return d.unseal(sealed, sealedFor+purpose)
}

// sealedFor distinguishes purposes from the names of files.
const sealedFor = "for: "
