package rest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/riser-project/riser/fault"
)

// Keystone validates the token in X-Auth-Token with an OpenStack identity service (Identity API v3, GET /v3/auth/tokens). What it learnt of a
// token is kept for a while, and never longer than the token lives.
type Keystone struct {
	opts    KeystoneOptions
	connect sync.Mutex // one attempt at a time
	client  *gophercloud.ServiceClient

	mu    sync.Mutex
	known map[[32]byte]knownToken
}

// KeystoneOptions says where the identity service is, and as whom to ask it.
type KeystoneOptions struct {
	Auth     gophercloud.AuthOptions // IdentityEndpoint is the URL, with or without /v3
	CacheFor time.Duration           // 0 means 5 minutes
	Timeout  time.Duration           // of a question to the service; 0 means 10 seconds
	HTTP     *http.Client            // nil means one of its own
}

type knownToken struct {
	subject *Subject
	until   time.Time
}

const tokensKept = 4096

// NewKeystone returns the authenticator. It does not reach for the service yet: requests are answered 503 as long as that is away.
func NewKeystone(opts KeystoneOptions) *Keystone {
	if opts.CacheFor == 0 {
		opts.CacheFor = 5 * time.Minute
	}
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Second
	}
	opts.Auth.AllowReauth = true
	opts.Auth.IdentityEndpoint = strings.TrimSuffix(strings.TrimSuffix(opts.Auth.IdentityEndpoint, "/"), "/v3") + "/v3/"
	return &Keystone{opts: opts, known: map[[32]byte]knownToken{}}
}

// Authenticate implements Authenticator.
func (k *Keystone) Authenticate(r *http.Request) (*Subject, error) {
	token := r.Header.Get("X-Auth-Token")
	if token == "" {
		return nil, unauthenticated()
	}
	id := sha256.Sum256([]byte(token))
	if s := k.recall(id); s != nil {
		return s, nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), k.opts.Timeout)
	defer cancel()
	subject, until, err := k.validate(ctx, token)
	if err != nil {
		return nil, err
	}
	k.keep(id, subject, until)
	return subject, nil
}

func unauthenticated() error {
	return fault.New(fault.Unauthorized, "The request you have made requires authentication.")
}

func (k *Keystone) recall(id [32]byte) *Subject {
	k.mu.Lock()
	defer k.mu.Unlock()
	t, ok := k.known[id]
	if !ok || !time.Now().Before(t.until) {
		delete(k.known, id)
		return nil
	}
	return t.subject
}

func (k *Keystone) keep(id [32]byte, s *Subject, until time.Time) {
	if latest := time.Now().Add(k.opts.CacheFor); until.After(latest) {
		until = latest
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= tokensKept {
		clear(k.known)
	}
	k.known[id] = knownToken{s, until}
}

// tokenBody is the part of a token's description that tells who a subject is.
type tokenBody struct {
	ExpiresAt time.Time       `json:"expires_at"`
	User      tokens.User     `json:"user"`
	Project   *tokens.Project `json:"project"`
	Roles     []tokens.Role   `json:"roles"`
	System    map[string]bool `json:"system"`
}

func (k *Keystone) validate(ctx context.Context, token string) (*Subject, time.Time, error) {
	client, err := k.service(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	var body tokenBody
	err = tokens.Get(ctx, client, token).ExtractIntoStructPtr(&body, "token")
	switch {
	case gophercloud.ResponseCodeIs(err, http.StatusNotFound), gophercloud.ResponseCodeIs(err, http.StatusBadRequest):
		return nil, time.Time{}, unauthenticated()
	case err != nil:
		return nil, time.Time{}, fault.New(fault.Unavailable, "The identity service cannot be asked now.%w", silent{err})
	case !time.Now().Before(body.ExpiresAt):
		return nil, time.Time{}, unauthenticated()
	}
	s := &Subject{User: body.User.Name, UserID: body.User.ID, Domain: body.User.Domain.ID, System: body.System["all"]}
	if body.Project != nil {
		s.Project = body.Project.ID
	}
	for _, role := range body.Roles {
		s.Roles = append(s.Roles, strings.ToLower(role.Name))
	}
	return s, body.ExpiresAt, nil
}

// silent keeps a cause without its text, which may quote what was sent.
type silent struct{ err error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.err }

// service returns a client with a token of our own, which renews itself.
func (k *Keystone) service(ctx context.Context) (*gophercloud.ServiceClient, error) {
	k.connect.Lock()
	defer k.connect.Unlock()
	if k.client != nil {
		return k.client, nil
	}
	provider, err := openstack.NewClient(k.opts.Auth.IdentityEndpoint)
	if err != nil {
		return nil, fmt.Errorf("identity service %s: %w", k.opts.Auth.IdentityEndpoint, err)
	}
	if k.opts.HTTP != nil {
		provider.HTTPClient = *k.opts.HTTP
	}
	if err := openstack.AuthenticateV3(ctx, provider, &k.opts.Auth, gophercloud.EndpointOpts{}); err != nil {
		if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
			return nil, errors.Join(errors.New("the identity service refused the credentials of this service: check [keystone] in the configuration"), silent{err})
		}
		return nil, fault.New(fault.Unavailable, "The identity service cannot be asked now.%w", silent{err})
	}
	k.client = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: k.opts.Auth.IdentityEndpoint}
	return k.client, nil
}

// Refuse implements Authenticator.
func (k *Keystone) Refuse(h http.Header, text string) (contentType string, body []byte) {
	h.Set("WWW-Authenticate", fmt.Sprintf("Keystone uri=%q", strings.TrimSuffix(k.opts.Auth.IdentityEndpoint, "/v3/")))
	return "application/json", AppendValue(nil, map[string]any{
		"error": map[string]any{"code": http.StatusUnauthorized, "title": "Unauthorized", "message": text},
	})
}
