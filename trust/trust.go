// Package trust is riser's own certificate authority: it lets agents join with a token that works once, gives them certificates, and says of each
// connection whose it is.
//
// An agent is a host's or a DPU's, and its identity is a row of the store that names the agent and the certificates that speak for it. A
// certificate only points at that row: what it may do is read there at every request, so that revoking it works at once. The key of the
// authority is sealed in the database, and every process on the database is the same authority.
//
// An agent that has an identity keeps it: a second key for the same name waits until an operator has approved it.
package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/big"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/store"
)

// Defaults of Options, and limits.
const (
	DefaultLifetime  = 30 * 24 * time.Hour // of an agent's certificate
	DefaultTokenLife = time.Hour

	MaxTokenLife = 30 * 24 * time.Hour

	authorityLife = 20 * 365 * 24 * time.Hour
	serverLife    = 24 * time.Hour  // of the listener's own certificate, which never leaves the process
	skew          = 5 * time.Minute // that clocks may differ by
)

// Options says how the authority works. DB must be set.
type Options struct {
	DB       *store.DB
	Lifetime time.Duration // of an agent's certificate; 0 means DefaultLifetime
	Log      *slog.Logger  // nil discards
}

// Authority is riser's own. It is safe for concurrent use, by several processes on one database too.
type Authority struct {
	o    Options
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	own  ownCertificate
}

// Open returns the authority that the store keeps, and makes it when there is none.
func Open(ctx context.Context, o Options) (*Authority, error) {
	if o.Lifetime == 0 {
		o.Lifetime = DefaultLifetime
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Authority{o: o}
	err := a.read(ctx)
	if !fault.Is(err, fault.NotFound) {
		return a, err
	}
	cert, key, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("make riser's certificate authority: %w", err)
	}
	if err := o.DB.Write(ctx, func(tx *store.Tx) error { return tx.InitAuthority(ctx, cert, key) }); err != nil {
		return nil, err
	}
	return a, a.read(ctx) // another process may have been quicker
}

func (a *Authority) read(ctx context.Context) error {
	var cert, key []byte
	err := a.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		cert, key, err = tx.Authority(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		return fmt.Errorf("certificate of riser's authority: %w", err)
	}
	if a.key, err = x509.ParseECPrivateKey(key); err != nil {
		return fmt.Errorf("key of riser's authority: %w", err)
	}
	return nil
}

func newAuthority() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	number, err := newNumber()
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: "riser agents"}, NotBefore: now.Add(-skew), NotAfter: now.Add(authorityLife),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	if cert, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private); err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalECPrivateKey(private)
	return cert, key, err
}

// newNumber returns a serial number for a certificate: 128 random bits.
func newNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
}

func numberOf(cert *x509.Certificate) string { return cert.SerialNumber.Text(16) }

// hashOf returns the SHA-256 of b in hexadecimal.
func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Agent names an agent: a host's by the host's name, a DPU's by the serial of its card.
type Agent struct {
	Kind string // store.HostAgent, store.DPUAgent
	Name string
}

// String returns "host cmp1" or "dpu MT2113X00042".
func (g Agent) String() string { return g.Kind + " " + g.Name }

// Check says whether g can name an agent. The error is fault.Invalid.
func (g Agent) Check() error {
	switch g.Kind {
	case store.HostAgent:
		if err := node.ValidName(g.Name); err != nil {
			return fault.New(fault.Invalid, "agent of a host: %w", err)
		}
	case store.DPUAgent:
		if err := pci.ValidSerial(g.Name); err != nil {
			return fault.New(fault.Invalid, "agent of a DPU: %w", err)
		}
		if pci.TrimSerial(g.Name) != g.Name {
			return fault.New(fault.Invalid, "agent of a DPU: serial number %q has blanks around it", g.Name)
		}
	default:
		return fault.New(fault.Invalid, "kind of agent %q: want %s or %s", g.Kind, store.HostAgent, store.DPUAgent)
	}
	return nil
}

// NewToken makes a token with which the agent can join once within life, which is DefaultTokenLife when it is 0. by is who asked for it. The error is
// fault.Invalid for a name or a life that cannot be.
func (a *Authority) NewToken(ctx context.Context, agent Agent, life time.Duration, by string) (wire.JoinToken, *store.JoinToken, error) {
	if err := agent.Check(); err != nil {
		return wire.JoinToken{}, nil, err
	}
	if life == 0 {
		life = DefaultTokenLife
	}
	if life < time.Second || life > MaxTokenLife {
		return wire.JoinToken{}, nil, fault.New(fault.Invalid, "a join token lives from 1 s to %s, not %s", MaxTokenLife, life)
	}
	secret := make([]byte, 8+32)
	if _, err := rand.Read(secret); err != nil {
		return wire.JoinToken{}, nil, err
	}
	token := wire.JoinToken{Name: hex.EncodeToString(secret[:8]), Secret: hex.EncodeToString(secret[8:]), Authority: hashOf(a.cert.Raw)}
	row := &store.JoinToken{Name: token.Name, Kind: agent.Kind, Agent: agent.Name, Hash: hashOf([]byte(token.Secret)), IssuedBy: by}
	err := a.o.DB.Write(ctx, func(tx *store.Tx) error {
		if err := tx.DropExpiredTokens(ctx, MaxTokenLife); err != nil {
			return err
		}
		return tx.InsertJoinToken(ctx, row, life)
	})
	return token, row, err
}
