package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// Identity is an agent that has shown who it is.
type Identity struct {
	Agent
	UUID        string    // of its row
	Certificate string    // serial number, in hexadecimal
	Expires     time.Time // of the certificate
}

// Identify says which agent is at the far end of a connection. It is to be asked at every request: a connection outlives the right to use it. The error
// is fault.Unauthorized when the connection shows no certificate of the authority, or one that expired, was replaced or revoked.
func (a *Authority) Identify(ctx context.Context, c *tls.ConnectionState) (*Identity, error) {
	if c == nil || len(c.VerifiedChains) == 0 {
		return nil, fault.New(fault.Unauthorized, "This takes the certificate of an agent: join first.")
	}
	leaf := c.PeerCertificates[0]
	if time.Now().After(leaf.NotAfter) {
		return nil, fault.New(fault.Unauthorized, "The certificate of %s expired at %s.", leaf.Subject.CommonName, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	id := ""
	for _, u := range leaf.URIs {
		if text, ok := strings.CutPrefix(u.Opaque, "uuid:"); ok && u.Scheme == "urn" {
			id = text
		}
	}
	number := numberOf(leaf)
	var found *store.Identity
	err := a.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		found, err = speaker(ctx, tx, id, number, false)
		return err
	})
	if err == nil && number != found.Certificate {
		err = a.o.DB.Write(ctx, func(tx *store.Tx) error { return promote(ctx, tx, id, number) })
	}
	if err != nil {
		return nil, err
	}
	return &Identity{Agent: Agent{found.Kind, found.Agent}, UUID: id, Certificate: number, Expires: leaf.NotAfter}, nil
}

// speaker returns the identity that the certificate with this number speaks for.
func speaker(ctx context.Context, tx *store.Tx, id, number string, lock bool) (*store.Identity, error) {
	var list []*store.Identity
	if id != "" {
		var err error
		if list, err = tx.Identities(ctx, store.IdentityQuery{UUID: id, Lock: lock}); err != nil {
			return nil, err
		}
	}
	switch {
	case len(list) == 0:
		return nil, fault.New(fault.Unauthorized, "The certificate belongs to no agent that is known.")
	case list[0].State != store.IdentityActive:
		return nil, fault.New(fault.Unauthorized, "The identity of %s was revoked.", Agent{list[0].Kind, list[0].Agent})
	case number != list[0].Certificate && number != list[0].NextCertificate:
		return nil, fault.New(fault.Unauthorized, "The certificate of %s was replaced by another.", Agent{list[0].Kind, list[0].Agent})
	}
	return list[0], nil
}

// promote has the certificate that was issued last take the place of the one before it, which is good no more.
func promote(ctx context.Context, tx *store.Tx, id, number string) error {
	i, err := speaker(ctx, tx, id, number, true)
	if err != nil || number == i.Certificate {
		return err
	}
	i.Certificate, i.NextCertificate = number, ""
	return tx.SaveIdentity(ctx, i)
}

// ServerTLS returns the settings of the agents' listener: TLS 1.3, a certificate for wire.ServerName that is renewed by itself, and client certificates
// of the authority alone. An agent that has none yet may connect: it can join, and nothing else.
func (a *Authority) ServerTLS() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool,
		// A session that is resumed would keep a certificate from being looked at again.
		SessionTicketsDisabled: true,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.own.get(a) },
	}
}

// ownCertificate is that of the agents' listener.
type ownCertificate struct {
	mu      sync.Mutex
	current *tls.Certificate
	renew   time.Time
}

func (c *ownCertificate) get(a *Authority) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.current != nil && now.Before(c.renew) {
		return c.current, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	number, err := newNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: wire.ServerName}, DNSNames: []string{wire.ServerName},
		NotBefore: now.Add(-skew), NotAfter: now.Add(serverLife), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	// The authority goes with it: an agent that joins knows no more of it than its hash.
	c.current, c.renew = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, now.Add(serverLife/2)
	return c.current, nil
}
