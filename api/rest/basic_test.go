package rest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
)

func hash(t *testing.T, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func write(t *testing.T, path, text string, at time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func login(t *testing.T, b *rest.Basic, user, password string) (*rest.Subject, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	return b.Authenticate(r)
}

func TestBasicKnowsTheUsersOfItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, fmt.Sprintf("# operators\n\nann:%s\nbob:%s\n", hash(t, "apple"), hash(t, "b:c")), time.Unix(1000, 0))
	b, err := rest.NewBasic(path, "Baremetal API")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user, password string
		in             bool
	}{
		"the right password":      {"ann", "apple", true},
		"a colon in a password":   {"bob", "b:c", true},
		"another user's password": {"bob", "apple", false},
		"an unknown user":         {"eve", "apple", false},
		"no password":             {"ann", "", false},
		"nobody":                  {"", "", false},
		"a password that is long": {"ann", strings.Repeat("x", 100), false},
		"names are not joined":    {"ann:apple", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // the second time from memory
				s, err := login(t, b, c.user, c.password)
				switch {
				case c.in && (err != nil || s.User != c.user || !s.System):
					t.Errorf("%+v, %v", s, err)
				case !c.in && !fault.Is(err, fault.Unauthorized):
					t.Errorf("%+v, %v", s, err)
				}
			}
		})
	}
}

func TestBasicReadsAChangedFileAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, "ann:"+hash(t, "apple"), time.Unix(1000, 0))
	b, err := rest.NewBasic(path, "r")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := login(t, b, "ann", "apple"); err != nil {
		t.Fatal(err)
	}
	write(t, path, "ann:"+hash(t, "pear"), time.Unix(2000, 0))
	if _, err := login(t, b, "ann", "apple"); !fault.Is(err, fault.Unauthorized) {
		t.Errorf("the old password: %v", err)
	}
	if _, err := login(t, b, "ann", "pear"); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := login(t, b, "ann", "pear"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a file: %v", err)
	}
}

func TestBasicRefusesAFileThatIsWrong(t *testing.T) {
	for name, line := range map[string]string{
		"no hash": "ann", "a password in clear": "ann:apple", "an MD5 hash": "ann:$apr1$x$y", "no name": ":" + hash(t, "x"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "htpasswd")
			write(t, path, "# one\n"+line, time.Unix(1000, 0))
			_, err := rest.NewBasic(path, "r")
			if err == nil || !strings.Contains(err.Error(), "htpasswd:2: want") || strings.Contains(err.Error(), "apple") {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := rest.NewBasic(filepath.Join(t.TempDir(), "none"), "r"); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestBasicSaysHowToComeIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	write(t, path, "ann:"+hash(t, "apple"), time.Unix(1000, 0))
	b, err := rest.NewBasic(path, "Baremetal API")
	if err != nil {
		t.Fatal(err)
	}
	r := call{method: "GET", path: "/v1/things"}.do(t, api(func(a *rest.API) { a.Auth = b }))
	if got := text(t, r); r.StatusCode != 401 || got != `{"error":{"code":401,"message":"Authorization required"}}` {
		t.Errorf("status %d: %s", r.StatusCode, got)
	}
	if got := r.Header.Get("WWW-Authenticate"); got != `Basic realm="Baremetal API"` {
		t.Error(got)
	}
}
