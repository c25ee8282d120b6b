package rest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
)

// identity is an identity service on the wire (Identity API v3): one service user, and the tokens of clients.
type identity struct {
	*httptest.Server
	mu     sync.Mutex
	own    string // the service user's present token
	given  int
	asked  int
	down   bool
	tokens map[string]map[string]any
}

func newIdentity(t *testing.T) *identity {
	id := &identity{tokens: map[string]map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v3/auth/tokens", id.login)
	mux.HandleFunc("GET /v3/auth/tokens", id.describe)
	id.Server = httptest.NewServer(mux)
	t.Cleanup(id.Close)
	return id
}

func (id *identity) login(w http.ResponseWriter, r *http.Request) {
	id.mu.Lock()
	defer id.mu.Unlock()
	var body struct {
		Auth struct {
			Identity struct {
				Password struct {
					User struct{ Name, Password string }
				}
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Auth.Identity.Password.User.Password != "opensesame" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	id.given++
	id.own = "own-" + strings.Repeat("i", id.given)
	w.Header().Set("X-Subject-Token", id.own)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write([]byte(`{"token": {"expires_at": "2999-01-01T00:00:00.000000Z", "catalog": []}}`))
}

func (id *identity) describe(w http.ResponseWriter, r *http.Request) {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.asked++
	switch token, ok := id.tokens[r.Header.Get("X-Subject-Token")]; {
	case id.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.Header.Get("X-Auth-Token") != id.own:
		w.WriteHeader(http.StatusUnauthorized)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token})
	}
}

func (id *identity) authenticator(password string) *rest.Keystone {
	return rest.NewKeystone(rest.KeystoneOptions{Auth: gophercloud.AuthOptions{
		IdentityEndpoint: id.URL + "/", Username: "riser", Password: password, DomainName: "Default", TenantName: "service",
	}})
}

func ask(t *testing.T, a rest.Authenticator, token string) (*rest.Subject, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	return a.Authenticate(r)
}

func later(d time.Duration) string {
	return time.Now().Add(d).UTC().Format("2006-01-02T15:04:05.000000Z")
}

var ann = map[string]any{"id": "u1", "name": "ann", "domain": map[string]any{"id": "d1", "name": "Default"}}

func TestKeystoneTellsWhoATokenIs(t *testing.T) {
	id := newIdentity(t)
	id.tokens = map[string]map[string]any{
		"project": {"expires_at": later(time.Hour), "user": ann, "project": map[string]any{"id": "p1", "name": "metal"}, "roles": []any{map[string]any{"name": "Member"}, map[string]any{"name": "reader"}}},
		"system":  {"expires_at": later(time.Hour), "user": ann, "system": map[string]any{"all": true}, "roles": []any{map[string]any{"name": "admin"}}},
		"expired": {"expires_at": later(-time.Minute), "user": ann},
	}
	k := id.authenticator("opensesame")
	for token, want := range map[string]*rest.Subject{
		"project": {User: "ann", UserID: "u1", Domain: "d1", Project: "p1", Roles: []string{"member", "reader"}},
		"system":  {User: "ann", UserID: "u1", Domain: "d1", System: true, Roles: []string{"admin"}},
	} {
		got, err := ask(t, k, token)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", token, d)
		}
	}
	for _, token := range []string{"", "bogus", "expired"} {
		if _, err := ask(t, k, token); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

func TestKeystoneIsAskedOnceForAToken(t *testing.T) {
	id := newIdentity(t)
	id.tokens["a"] = map[string]any{"expires_at": later(time.Hour), "user": ann}
	k := id.authenticator("opensesame")
	for range 3 {
		if _, err := ask(t, k, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if id.asked != 1 {
		t.Errorf("asked %d times", id.asked)
	}
}

func TestKeystoneRenewsItsOwnToken(t *testing.T) {
	id := newIdentity(t)
	id.tokens["a"] = map[string]any{"expires_at": later(time.Hour), "user": ann}
	id.tokens["b"] = id.tokens["a"]
	k := id.authenticator("opensesame")
	if _, err := ask(t, k, "a"); err != nil {
		t.Fatal(err)
	}
	id.mu.Lock()
	id.own = "gone"
	id.mu.Unlock()
	if _, err := ask(t, k, "b"); err != nil {
		t.Fatal(err)
	}
	if id.given != 2 {
		t.Errorf("logged in %d times", id.given)
	}
}

func TestKeystoneAwayIsNoRefusal(t *testing.T) {
	id := newIdentity(t)
	id.tokens["a"] = map[string]any{"expires_at": later(time.Hour), "user": ann}
	k := id.authenticator("opensesame")
	id.down = true
	if _, err := ask(t, k, "a"); !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), id.URL) {
		t.Errorf("%v", err)
	}
	id.mu.Lock()
	id.down = false
	id.mu.Unlock()
	if _, err := ask(t, k, "a"); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}

func TestKeystoneThatRefusesTheServiceIsTheOperatorsFault(t *testing.T) {
	id := newIdentity(t)
	_, err := ask(t, id.authenticator("wrong"), "a")
	if fault.KindOf(err) != fault.Internal || !strings.Contains(err.Error(), "refused the credentials of this service") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
}

func TestKeystoneSaysHowToComeIn(t *testing.T) {
	id := newIdentity(t)
	r := call{method: "GET", path: "/v1/things"}.do(t, api(func(a *rest.API) { a.Auth = id.authenticator("opensesame") }))
	if got := text(t, r); r.StatusCode != 401 || !strings.Contains(got, `"title":"Unauthorized"`) {
		t.Errorf("status %d: %s", r.StatusCode, got)
	}
	if got := r.Header.Get("WWW-Authenticate"); got != `Keystone uri="`+id.URL+`"` {
		t.Error(got)
	}
}
