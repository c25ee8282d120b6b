// Package join is the agents' side of joining: it keeps an agent's key and certificate in a folder, gets the certificate with a token that an operator
// made, renews it in time, and makes the HTTP client that speaks with it.
package join

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/riser-project/riser/agent/wire"
)

const (
	callTimeout = 30 * time.Second
	minPause    = time.Second // after a failure; doubles
	maxPause    = time.Minute
)

// Config says where to join and where to keep what comes of it. All but Log must be set; Token only until the agent has joined.
type Config struct {
	Server string // URL of the agents' listener: https, host and port
	Folder string // of the key and the certificate; made with mode 0700 if it is not there
	Token  string // as an operator's command printed it
	Log    *slog.Logger
}

// Credentials are an agent's key and certificate. They are safe for concurrent use.
type Credentials struct {
	c    Config
	base *url.URL

	mu      sync.Mutex
	pair    *pair
	carrier *http.Transport
}

// Open returns the credentials that are in the folder, or joins with the token: it tries until the server has answered, and until an operator has
// approved the agent if another one had its name. The error is that of settings which cannot be used, of a token that the server does not take, or of
// ctx.
func Open(ctx context.Context, c Config) (*Credentials, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	u, err := url.Parse(c.Server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("join: server %q: want a URL such as https://riser.example:6386", c.Server)
	}
	k := &Credentials{c: c, base: u.JoinPath("agents/v1")}
	if k.pair, err = load(c.Folder); err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	if k.pair != nil && k.pair.leaf != nil && time.Now().After(k.pair.leaf.NotAfter) && c.Token != "" {
		k.pair.leaf = nil // it can be renewed no more, but there is a token
	}
	if k.pair == nil || k.pair.leaf == nil {
		if err := k.join(ctx); err != nil {
			return nil, fmt.Errorf("join: %w", err)
		}
	}
	return k, nil
}

// join gets the first certificate.
func (k *Credentials) join(ctx context.Context) error {
	if k.c.Token == "" {
		return fmt.Errorf("%s holds no certificate, and there is no token to get one with", k.c.Folder)
	}
	token, err := wire.ParseJoinToken(k.c.Token)
	if err != nil {
		return err
	}
	if k.pair == nil {
		// The key is kept before it is shown to anybody, so that the same one asks again after a crash.
		if k.pair, err = newPair(); err != nil {
			return err
		}
		if err := k.pair.save(k.c.Folder); err != nil {
			return err
		}
	}
	request, err := k.pair.request()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: strangersTLS(token.Authority)}, Timeout: callTimeout, CheckRedirect: stay}
	defer client.CloseIdleConnections()
	var joined wire.Joined
	err = k.patiently(ctx, "join", func() error {
		return post(ctx, client, k.base.JoinPath("join"), wire.Join{Token: k.c.Token, Request: request}, &joined)
	})
	if err != nil {
		return err
	}
	if err := k.pair.take(&joined, token.Authority); err != nil {
		return err
	}
	k.c.Log.Info("joined", "kind", joined.Kind, "name", joined.Name, "until", k.pair.leaf.NotAfter)
	return k.pair.save(k.c.Folder)
}

// patiently repeats try until it succeeds, after pauses that double, each with a random part, or until waiting cannot help.
func (k *Credentials) patiently(ctx context.Context, what string, try func() error) error {
	said := ""
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := try()
		var r *refusal
		if err == nil || ctx.Err() != nil || errors.As(err, &r) && r.final() {
			return err
		}
		if err.Error() != said {
			said = err.Error()
			k.c.Log.Warn("cannot "+what+" yet", "error", err)
		}
		timer := time.NewTimer(pause/2 + mathrand.N(pause/2)) //nolint:gosec // spreads load, keeps no secret
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// Name returns what the certificate calls the agent: the host's name, or the card's serial.
func (k *Credentials) Name() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pair.leaf.Subject.CommonName
}

// Expires returns when the certificate ends.
func (k *Credentials) Expires() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pair.leaf.NotAfter
}

// Client returns a client that shows the newest certificate and speaks to riser's server alone. It follows no redirects and has no timeout.
func (k *Credentials) Client() *http.Client {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.carrier == nil {
		pool := x509.NewCertPool()
		pool.AddCert(k.pair.authority)
		k.carrier = &http.Transport{
			ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
			TLSClientConfig: &tls.Config{
				MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: wire.ServerName,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					k.mu.Lock()
					defer k.mu.Unlock()
					return k.pair.tls(), nil
				},
			},
		}
	}
	return &http.Client{Transport: k.carrier, CheckRedirect: stay}
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Run renews the certificate whenever a third of its life is over, until ctx ends.
func (k *Credentials) Run(ctx context.Context) {
	for {
		timer := time.NewTimer(time.Until(k.due()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if err := k.patiently(ctx, "renew the certificate", func() error { return k.Renew(ctx) }); err != nil && ctx.Err() == nil {
			k.c.Log.Error("the certificate is not renewed: join anew with a token", "until", k.Expires(), "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(maxPause):
			}
		}
	}
}

// due is when to renew.
func (k *Credentials) due() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	life := k.pair.leaf.NotAfter.Sub(k.pair.leaf.NotBefore)
	return k.pair.leaf.NotBefore.Add(life / 3)
}

// Renew gets another certificate, for a new key, and has Client use it from now on.
func (k *Credentials) Renew(ctx context.Context) error {
	next, err := newPair()
	if err != nil {
		return err
	}
	request, err := next.request()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := k.Client()
	var joined wire.Joined
	if err := post(ctx, client, k.base.JoinPath("renew"), wire.Join{Request: request}, &joined); err != nil {
		return err
	}
	if err := next.take(&joined, k.authority()); err != nil {
		return err
	}
	if err := next.save(k.c.Folder); err != nil {
		return err
	}
	k.mu.Lock()
	k.pair = next
	k.mu.Unlock()
	client.CloseIdleConnections()
	return nil
}

// authority is the hash of the authority's certificate.
func (k *Credentials) authority() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return hashOf(k.pair.authority.Raw)
}

// strangersTLS trusts a server that shows a certificate for wire.ServerName by the authority with this hash.
func strangersTLS(authority string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: wire.ServerName,
		InsecureSkipVerify: true, // VerifyConnection looks at the whole chain instead
		VerifyConnection: func(c tls.ConnectionState) error {
			for _, cert := range c.PeerCertificates {
				if hashOf(cert.Raw) != authority {
					continue
				}
				pool := x509.NewCertPool()
				pool.AddCert(cert)
				_, err := c.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: wire.ServerName})
				return err
			}
			return errors.New("the server does not belong to the authority that the join token names")
		},
	}
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
