package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// maxRequest bounds a certificate request, in bytes; one with a P-256 key has about 250.
const maxRequest = 8 << 10

// Join takes a token and gives its agent a certificate for the key in the request. Repeating it with the same key gives another certificate, so that an
// answer which was lost does no harm.
//
// The error is fault.Unauthorized for a token that is unknown, expired or used by another key, without saying which; fault.Invalid for a request that
// cannot be signed; and fault.Conflict when the agent has an identity already: then the key waits for Approve.
func (a *Authority) Join(ctx context.Context, j *wire.Join) (*wire.Joined, error) {
	token, err := wire.ParseJoinToken(j.Token)
	if err != nil {
		return nil, fault.New(fault.Unauthorized, "%w", err)
	}
	public, hash, err := readRequest(j.Request)
	if err != nil {
		return nil, err
	}
	var joined *wire.Joined
	var waits error
	err = a.o.DB.Write(ctx, func(tx *store.Tx) error {
		joined, waits = nil, nil
		t, err := tx.JoinToken(ctx, token.Name)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if t == nil || subtle.ConstantTimeCompare([]byte(t.Hash), []byte(hashOf([]byte(token.Secret)))) != 1 || t.Expired || t.UsedBy != "" && t.UsedBy != hash {
			return fault.New(fault.Unauthorized, "The join token is unknown, expired or used: have an operator make another.")
		}
		if err := tx.UseJoinToken(ctx, t.Name, hash); err != nil {
			return err
		}
		identity, why, err := settle(ctx, tx, Agent{t.Kind, t.Agent}, hash)
		if err != nil || why != nil {
			waits = why
			return err
		}
		joined, err = a.issue(ctx, tx, identity, public)
		return err
	})
	if err == nil && waits != nil {
		a.o.Log.Error("an agent that is known already wants to join with another key", "reason", waits)
		err = waits
	}
	return joined, err
}

// readRequest returns the key of a certificate request whose signature shows that the sender has its private part, and the key's hash.
func readRequest(der []byte) (public any, hash string, err error) {
	if len(der) == 0 || len(der) > maxRequest {
		return nil, "", fault.New(fault.Invalid, "certificate request of %d bytes: want PKCS #10 in DER, at most %d bytes", len(der), maxRequest)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, "", fault.New(fault.Invalid, "certificate request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, "", fault.New(fault.Invalid, "certificate request: %w", err)
	}
	switch request.PublicKey.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return request.PublicKey, hashOf(request.RawSubjectPublicKeyInfo), nil
	}
	return nil, "", fault.New(fault.Invalid, "certificate request: its key is of type %s: want ECDSA or Ed25519", request.PublicKeyAlgorithm)
}

// settle returns the identity that the key with this hash has as agent. When another key has it, the key is kept for an operator to look at, and waits
// says so.
func settle(ctx context.Context, tx *store.Tx, agent Agent, hash string) (identity *store.Identity, waits, err error) {
	known, err := tx.Identities(ctx, store.IdentityQuery{
		Kind: agent.Kind, Agent: agent.Name, States: []store.IdentityState{store.IdentityActive, store.IdentityPending}, Lock: true,
	})
	if err != nil {
		return nil, nil, err
	}
	var pinned, same *store.Identity
	for _, i := range known {
		if i.State == store.IdentityActive {
			pinned = i
		}
		if i.KeyHash == hash {
			same = i
		}
	}
	switch {
	case pinned == nil && same == nil:
		i := &store.Identity{UUID: uuid.NewString(), Kind: agent.Kind, Agent: agent.Name, State: store.IdentityActive, KeyHash: hash}
		return i, nil, tx.InsertIdentity(ctx, i)
	case pinned == nil:
		same.State, same.Reason = store.IdentityActive, ""
		return same, nil, tx.SaveIdentity(ctx, same)
	case pinned == same:
		return pinned, nil, nil
	}
	why := fmt.Sprintf("%s joined at %s with another key: it stays so until an operator approves key %s", agent, pinned.CreatedAt.Format(time.RFC3339), short(hash))
	waits = fault.New(fault.Conflict, "%s", why)
	if same != nil {
		return nil, waits, nil
	}
	return nil, waits, errors.Join(tx.InsertIdentity(ctx, &store.Identity{
		UUID: uuid.NewString(), Kind: agent.Kind, Agent: agent.Name, State: store.IdentityPending, KeyHash: hash, Reason: why,
	}), alarm(ctx, tx, agent, why))
}

// short is the beginning of a hash, by which people tell keys apart.
func short(hash string) string { return hash[:16] }

// alarm writes an error into the history of the node that an agent belongs to, if it has one.
func alarm(ctx context.Context, tx *store.Tx, agent Agent, text string) error {
	uuids, err := nodesOf(ctx, tx, agent)
	if err != nil {
		return err
	}
	for _, id := range uuids {
		if err := tx.InsertEvent(ctx, &store.Event{UUID: uuid.NewString(), Node: id, Severity: "ERROR", Type: "enrolment", Text: text}); err != nil {
			return err
		}
	}
	return nil
}

func nodesOf(ctx context.Context, tx *store.Tx, agent Agent) ([]string, error) {
	if agent.Kind == store.HostAgent {
		hosts, err := tx.Hosts(ctx, store.HostQuery{Names: []string{agent.Name}})
		if err != nil || len(hosts) == 0 || hosts[0].Node == "" {
			return nil, err
		}
		return []string{hosts[0].Node}, nil
	}
	n, err := tx.NodeByCard(ctx, agent.Name)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []string{n.UUID}, nil
}

// issue gives an identity a certificate for public, which takes the place of the one in use when it is used first.
func (a *Authority) issue(ctx context.Context, tx *store.Tx, i *store.Identity, public any) (*wire.Joined, error) {
	number, err := newNumber()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: i.Agent, OrganizationalUnit: []string{i.Kind}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(a.o.Lifetime), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{{Scheme: "urn", Opaque: "uuid:" + i.UUID}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	i.NextCertificate, i.ExpiresAt = number.Text(16), template.NotAfter
	if i.Certificate == "" {
		i.Certificate, i.NextCertificate = i.NextCertificate, ""
	}
	return &wire.Joined{Kind: i.Kind, Name: i.Agent, Certificate: der, Authority: a.cert.Raw}, tx.SaveIdentity(ctx, i)
}

// Renew gives the identity another certificate, for the key in the request. The one in use is good until the new one is used. The errors are
// those of Join and of Identify.
func (a *Authority) Renew(ctx context.Context, id *Identity, j *wire.Join) (*wire.Joined, error) {
	public, _, err := readRequest(j.Request)
	if err != nil {
		return nil, err
	}
	var joined *wire.Joined
	err = a.o.DB.Write(ctx, func(tx *store.Tx) error {
		i, err := speaker(ctx, tx, id.UUID, id.Certificate, true)
		if err != nil {
			return err
		}
		joined, err = a.issue(ctx, tx, i, public)
		return err
	})
	return joined, err
}

// Approve gives an agent's name to a key that waits for it, and takes it from the key that had it. key is the beginning of the key's hash; it may be
// left out when one key waits alone. The error is fault.NotFound when there is no such key, and fault.Conflict when there are several.
func (a *Authority) Approve(ctx context.Context, agent Agent, key string) (*store.Identity, error) {
	var chosen *store.Identity
	err := a.o.DB.Write(ctx, func(tx *store.Tx) error {
		known, err := tx.Identities(ctx, store.IdentityQuery{
			Kind: agent.Kind, Agent: agent.Name, States: []store.IdentityState{store.IdentityActive, store.IdentityPending}, Lock: true,
		})
		if err != nil {
			return err
		}
		if chosen, err = choose(known, agent, key); err != nil {
			return err
		}
		for _, i := range known {
			if i == chosen {
				continue
			}
			i.State, i.Reason = store.IdentityRevoked, "an operator approved key "+short(chosen.KeyHash)
			if err := tx.SaveIdentity(ctx, i); err != nil {
				return err
			}
		}
		chosen.State, chosen.Reason = store.IdentityActive, ""
		return tx.SaveIdentity(ctx, chosen)
	})
	return chosen, err
}

func choose(known []*store.Identity, agent Agent, key string) (*store.Identity, error) {
	var waiting []*store.Identity
	for _, i := range known {
		if i.State == store.IdentityPending && len(key) <= len(i.KeyHash) && i.KeyHash[:len(key)] == key {
			waiting = append(waiting, i)
		}
	}
	switch {
	case len(waiting) == 0:
		return nil, fault.New(fault.NotFound, "No key of %s waits for an approval.", agent)
	case len(waiting) > 1:
		names := ""
		for _, i := range waiting {
			names += " " + short(i.KeyHash)
		}
		return nil, fault.New(fault.Conflict, "Several keys of %s wait for an approval: say which of%s.", agent, names)
	}
	return waiting[0], nil
}

// Revoke ends every identity of an agent, and its tokens. Requests under way are cut as soon as they notice. The error is fault.NotFound when there is
// none.
func (a *Authority) Revoke(ctx context.Context, agent Agent, reason string) error {
	return a.o.DB.Write(ctx, func(tx *store.Tx) error {
		tokens, err := tx.DeleteJoinTokens(ctx, "", agent.Kind, agent.Name)
		if err != nil {
			return err
		}
		known, err := tx.Identities(ctx, store.IdentityQuery{
			Kind: agent.Kind, Agent: agent.Name, States: []store.IdentityState{store.IdentityActive, store.IdentityPending}, Lock: true,
		})
		if err != nil {
			return err
		}
		if len(known) == 0 && tokens == 0 {
			return fault.New(fault.NotFound, "No agent of %s has joined, and it has no token.", agent)
		}
		for _, i := range known {
			i.State, i.Reason = store.IdentityRevoked, reason
			if err := tx.SaveIdentity(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
}
