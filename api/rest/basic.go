package rest

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"

	"github.com/riser-project/riser/fault"
)

// Basic asks for a user name and a password (RFC 7617) and checks them against a file of lines "user:hash" with bcrypt hashes, as
// "htpasswd -B" writes it. The file is read again when it has changed. A known user is an administrator of the system.
type Basic struct {
	path  string
	realm string
	key   [32]byte            // of proofs, so that no password is kept
	slots *semaphore.Weighted // for bcrypt, which is slow by intent

	mu     sync.Mutex
	mtime  time.Time
	users  map[string][]byte        // name -> hash
	proofs map[[32]byte]provenUntil // of name and password
}

type provenUntil struct {
	user  string
	until time.Time
}

const (
	proofTime  = 5 * time.Minute
	proofLimit = 1024
)

// NewBasic returns the authenticator for the password file at path. realm is told to clients. The error names what is wrong with the file.
func NewBasic(path, realm string) (*Basic, error) {
	b := &Basic{path: path, realm: realm, slots: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))}
	if _, err := rand.Read(b.key[:]); err != nil {
		return nil, err
	}
	return b, b.reload()
}

// reload reads the file if it has changed. The caller holds mu, or is alone.
func (b *Basic) reload() error {
	info, err := os.Stat(b.path)
	if err != nil {
		return fmt.Errorf("password file: %w", err)
	}
	if b.users != nil && info.ModTime().Equal(b.mtime) {
		return nil
	}
	f, err := os.Open(b.path)
	if err != nil {
		return fmt.Errorf("password file: %w", err)
	}
	defer f.Close()
	users := map[string][]byte{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, hash, ok := strings.Cut(line, ":")
		if _, err := bcrypt.Cost([]byte(hash)); !ok || name == "" || err != nil {
			return fmt.Errorf("password file %s:%d: want a name, a colon and a bcrypt hash, as htpasswd -B writes it", b.path, n)
		}
		users[name] = []byte(hash)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("password file %s: %w", b.path, err)
	}
	b.users, b.mtime, b.proofs = users, info.ModTime(), map[[32]byte]provenUntil{}
	return nil
}

// Authenticate implements Authenticator.
func (b *Basic) Authenticate(r *http.Request) (*Subject, error) {
	name, password, ok := r.BasicAuth()
	if !ok {
		return nil, fault.New(fault.Unauthorized, "Authorization required")
	}
	mac := hmac.New(sha256.New, b.key[:])
	fmt.Fprintf(mac, "%d:%s:%s", len(name), name, password)
	proof := [32]byte(mac.Sum(nil))
	hash, proven, err := b.look(name, proof)
	if err != nil {
		return nil, err
	}
	if !proven {
		if err := b.check(r.Context(), hash, password); err != nil {
			return nil, err
		}
		b.remember(name, hash, proof)
	}
	return &Subject{User: name, UserID: name, System: true, Roles: []string{"admin", "member", "reader"}}, nil
}

// look returns the user's hash, and whether the very password was checked a short while ago.
func (b *Basic) look(name string, proof [32]byte) (hash []byte, proven bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.reload(); err != nil {
		return nil, false, fault.New(fault.Unavailable, "The password file cannot be read now: %w", err)
	}
	p := b.proofs[proof]
	return b.users[name], p.user == name && time.Now().Before(p.until), nil
}

// check compares the password with the hash. For an unknown user, whose hash is nil, another user's hash takes the same time.
func (b *Basic) check(ctx context.Context, hash []byte, password string) error {
	if err := b.slots.Acquire(ctx, 1); err != nil {
		return err
	}
	defer b.slots.Release(1)
	known := hash != nil
	if !known {
		hash = b.anyHash()
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(password))
	if err == nil && known {
		return nil
	}
	return fault.New(fault.Unauthorized, "Incorrect username or password")
}

func (b *Basic) anyHash() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, hash := range b.users {
		return hash
	}
	return nil
}

func (b *Basic) remember(name string, hash []byte, proof [32]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if string(b.users[name]) != string(hash) {
		return // the file has changed meanwhile
	}
	if len(b.proofs) >= proofLimit {
		clear(b.proofs)
	}
	b.proofs[proof] = provenUntil{name, time.Now().Add(proofTime)}
}

// Refuse implements Authenticator.
func (b *Basic) Refuse(h http.Header, text string) (contentType string, body []byte) {
	h.Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q", b.realm))
	return "application/json", AppendValue(nil, map[string]any{"error": map[string]any{"message": text, "code": http.StatusUnauthorized}})
}
