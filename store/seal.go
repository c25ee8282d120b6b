package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/riser-project/riser/node"
)

// sealer keeps secrets unreadable at rest: AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce; what a secret belongs to is its additional data.
type sealer struct{ aead cipher.AEAD }

// openSealer reads the key, or makes one for a new database. A database whose key is gone is refused: what it holds could never be read again,
// and new secrets under a new key would hide that.
func (db *DB) openSealer(ctx context.Context, path string) (*sealer, error) {
	key, err := readKey(path)
	missing := errors.Is(err, os.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	if missing {
		key = make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
	}
	err = db.Write(ctx, func(tx *Tx) error {
		known, err := tx.meta(ctx, "secrets_key_id")
		switch {
		case err != nil:
			return err
		case known == "" && missing:
			if err := writeKey(path, key); err != nil {
				return err
			}
			return tx.setMeta(ctx, "secrets_key_id", keyID(key))
		case known == "":
			return tx.setMeta(ctx, "secrets_key_id", keyID(key))
		case missing:
			return fmt.Errorf("the key %s of the secrets in the database is gone: restore it from a backup", path)
		case known != keyID(key):
			return fmt.Errorf("the key %s is not the one that sealed the secrets in the database (want key id %s)", path, known)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &sealer{aead}, err
}

func readKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key %s may be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path) //nolint:gosec // the path is the operator's own choice
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("the key %s is damaged: want 32 bytes in base64", path)
	}
	return key, nil
}

func writeKey(path string, key []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the path is the operator's own choice
	if err != nil {
		return err
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	return errors.Join(err, f.Sync(), f.Close())
}

func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("riser secrets key "), key...))
	return hex.EncodeToString(sum[:8])
}

// seal returns v sealed for owner, or nil when there is nothing to seal.
func (s *sealer) seal(owner string, v map[string]node.Object) ([]byte, error) {
	if len(v) == 0 {
		return nil, nil
	}
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("secrets cannot be written as JSON")
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return s.aead.Seal(nonce, nonce, plain, []byte(owner)), nil
}

func (s *sealer) open(owner string, sealed []byte) (map[string]node.Object, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("secrets of %s are cut short", owner)
	}
	plain, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("secrets of %s do not open with this key: %w", owner, err)
	}
	var v map[string]node.Object
	if err := json.Unmarshal(plain, &v); err != nil {
		return nil, fmt.Errorf("secrets of %s are damaged", owner)
	}
	return v, nil
}

func (tx *Tx) meta(ctx context.Context, key string) (string, error) {
	var v string
	err := tx.queryRow(ctx, "SELECT value FROM meta WHERE key = ? {share}", key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

func (tx *Tx) setMeta(ctx context.Context, key, value string) error {
	_, err := tx.exec(ctx, "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
	return err
}

// Mask returns o with each secret in it masked, at any depth, and whether there was one: values under a secret's key, the value of a setting
// whose name is a secret's, and passwords in URLs. o is not changed.
func Mask(o node.Object) (masked node.Object, secret bool) {
	var m masker
	masked, _ = m.value(o).(node.Object)
	return masked, len(m.found) > 0
}

// Secrets returns the texts that Mask hides in o.
func Secrets(o node.Object) []string {
	var m masker
	m.value(o)
	var texts []string
	for _, v := range m.found {
		if text, ok := v.(string); ok && text != node.Masked {
			texts = append(texts, text)
		}
	}
	return texts
}

// masker masks values and remembers what it found.
type masker struct{ found []any }

func (m *masker) value(v any) any {
	switch v := v.(type) {
	case node.Object:
		return m.object(v)
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = m.value(e)
		}
		return list
	case string:
		return m.text(v)
	}
	return v
}

func (m *masker) object(o node.Object) node.Object {
	if o == nil {
		return nil
	}
	name, _ := o["name"].(string)
	masked := make(node.Object, len(o))
	for k, v := range o {
		if (node.SecretKey(k) || k == "value" && node.SecretKey(name)) && v != nil && v != "" {
			masked[k], m.found = node.Masked, append(m.found, v)
			continue
		}
		masked[k] = m.value(v)
	}
	return masked
}

// text masks the password of a URL.
func (m *masker) text(v string) string {
	u, err := url.Parse(v)
	if err != nil || u.User == nil {
		return v
	}
	password, has := u.User.Password()
	if !has {
		return v
	}
	m.found = append(m.found, password)
	return strings.Replace(v, u.User.String()+"@", url.User(u.User.Username()).String()+":"+node.Masked+"@", 1)
}
