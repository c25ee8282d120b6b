package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"time"

	"github.com/riser-project/riser/fault"
)

// Kinds of an agent.
const (
	HostAgent = "host" // of a hypervisor; its name is the host's
	DPUAgent  = "dpu"  // of a card's own Linux; its name is the card's serial
)

// IdentityState is the state of an agent's identity.
type IdentityState string

// States of an identity. At most one of an agent is active.
const (
	IdentityActive  IdentityState = "active"  // the agent may speak
	IdentityPending IdentityState = "pending" // asked to take the place of the active one; an operator decides
	IdentityRevoked IdentityState = "revoked" // may never speak again
)

// JoinToken lets one agent join, once. The secret itself is kept nowhere.
type JoinToken struct {
	Name      string // what the token calls itself by
	Kind      string // HostAgent, DPUAgent
	Agent     string // name of the agent that may use it
	Hash      string // SHA-256 of the secret, in hexadecimal
	UsedBy    string // hash of the key that joined with it; empty until then
	IssuedBy  string // who asked for it
	ExpiresAt time.Time
	CreatedAt time.Time

	Expired bool // by the database's clock
}

// Identity is what riser knows an agent by: the key it joined with and the certificates it has.
type Identity struct {
	UUID            string
	Kind            string
	Agent           string
	State           IdentityState
	KeyHash         string // SHA-256 of the public key that it joined with, in hexadecimal
	Certificate     string // serial number of the one in use, in hexadecimal
	NextCertificate string // of the one that was issued last and not used yet, or empty
	ExpiresAt       time.Time
	Reason          string // why it is pending or revoked
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

var joinTokens = table[JoinToken]{"join_tokens", []column[JoinToken]{
	text("name", func(t *JoinToken) *string { return &t.Name }),
	text("kind", func(t *JoinToken) *string { return &t.Kind }),
	text("agent", func(t *JoinToken) *string { return &t.Agent }),
	text("hash", func(t *JoinToken) *string { return &t.Hash }),
	text("used_by", func(t *JoinToken) *string { return &t.UsedBy }),
	text("issued_by", func(t *JoinToken) *string { return &t.IssuedBy }),
	when("expires_at", func(t *JoinToken) *time.Time { return &t.ExpiresAt }),
	when("created_at", func(t *JoinToken) *time.Time { return &t.CreatedAt }),
}}

var identities = table[Identity]{"identities", []column[Identity]{
	text("uuid", func(i *Identity) *string { return &i.UUID }),
	text("kind", func(i *Identity) *string { return &i.Kind }),
	text("agent", func(i *Identity) *string { return &i.Agent }),
	spelled("state", func(i *Identity) *IdentityState { return &i.State }),
	text("key_hash", func(i *Identity) *string { return &i.KeyHash }),
	text("certificate", func(i *Identity) *string { return &i.Certificate }),
	text("next_certificate", func(i *Identity) *string { return &i.NextCertificate }),
	when("expires_at", func(i *Identity) *time.Time { return &i.ExpiresAt }),
	text("reason", func(i *Identity) *string { return &i.Reason }),
	when("created_at", func(i *Identity) *time.Time { return &i.CreatedAt }),
	when("updated_at", func(i *Identity) *time.Time { return &i.UpdatedAt }),
}}

// TopicIdentity is the topic of the identity with this UUID: whether it may speak, or with which certificate, has changed.
func TopicIdentity(uuid string) string { return "identity:" + uuid }

// authorityOwner is what the authority's key is sealed for.
const authorityOwner = "authority"

// Authority returns the certificate of riser's own authority and its private key, as they were given to InitAuthority. The error is fault.NotFound
// when there is none yet.
func (tx *Tx) Authority(ctx context.Context) (certificate, privateKey []byte, err error) {
	var sealed []byte
	err = tx.queryRow(ctx, "SELECT certificate, private_key FROM authority WHERE id = 1").Scan(&certificate, &sealed)
	if noRows(err) {
		return nil, nil, fault.New(fault.NotFound, "There is no authority yet.")
	}
	if err != nil {
		return nil, nil, err
	}
	privateKey, err = tx.db.sealer.openBytes(authorityOwner, sealed)
	return certificate, privateKey, err
}

// InitAuthority keeps the authority's certificate and private key, the key sealed, unless there is an authority already: the first one stays.
func (tx *Tx) InitAuthority(ctx context.Context, certificate, privateKey []byte) error {
	sealed, err := tx.db.sealer.sealBytes(authorityOwner, privateKey)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "INSERT INTO authority (id, certificate, private_key, created_at) VALUES (1, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
		certificate, sealed, toMicros(tx.Now()))
	return err
}

// sealBytes returns plain sealed for owner.
func (s *sealer) sealBytes(owner string, plain []byte) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return s.aead.Seal(nonce, nonce, plain, []byte(owner)), nil
}

func (s *sealer) openBytes(owner string, sealed []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("the secret of %s is cut short", owner)
	}
	plain, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("the secret of %s does not open with this key: %w", owner, err)
	}
	return plain, nil
}

// InsertJoinToken adds t, which expires after life by the database's clock.
func (tx *Tx) InsertJoinToken(ctx context.Context, t *JoinToken, life time.Duration) error {
	var now int64
	if err := tx.queryRow(ctx, "SELECT {now}").Scan(&now); err != nil {
		return err
	}
	t.CreatedAt, t.ExpiresAt = tx.Now(), fromMicros(now+life.Microseconds())
	query, args, err := joinTokens.insert(t)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	return err
}

// JoinTokens returns the tokens that were never used and have not expired, by their names; those of all agents when kind and agent are empty.
func (tx *Tx) JoinTokens(ctx context.Context, kind, agent string) ([]*JoinToken, error) {
	w := &where{}
	w.equal("kind", kind)
	w.equal("agent", agent)
	w.add("used_by = ''")
	w.add("expires_at > {now}")
	return tx.joinTokens(ctx, w, "")
}

// JoinToken returns the token of this name, held against other writers until the transaction ends. The error is fault.NotFound when there is none.
func (tx *Tx) JoinToken(ctx context.Context, name string) (*JoinToken, error) {
	w := &where{}
	w.add("name = ?", name)
	list, err := tx.joinTokens(ctx, w, " {update}")
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "Join token %s could not be found.", name)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func (tx *Tx) joinTokens(ctx context.Context, w *where, lock string) ([]*JoinToken, error) {
	var list []*JoinToken
	query := "SELECT " + joinTokens.names("", nil) + ", CASE WHEN expires_at > {now} THEN 0 ELSE 1 END FROM join_tokens" + w.sql() + " ORDER BY id" + lock
	err := tx.each(ctx, query, w.args, func(rows *sql.Rows) error {
		t := &JoinToken{}
		list = append(list, t)
		return rows.Scan(append(joinTokens.dests(t, nil), flag{&t.Expired})...)
	})
	return list, err
}

// UseJoinToken notes the key that joined with a token.
func (tx *Tx) UseJoinToken(ctx context.Context, name, keyHash string) error {
	_, err := tx.exec(ctx, "UPDATE join_tokens SET used_by = ? WHERE name = ?", keyHash, name)
	return err
}

// DeleteJoinTokens forgets the token of this name, or when it is empty all of an agent. It returns how many there were.
func (tx *Tx) DeleteJoinTokens(ctx context.Context, name, kind, agent string) (int64, error) {
	if name != "" {
		return tx.exec(ctx, "DELETE FROM join_tokens WHERE name = ?", name)
	}
	return tx.exec(ctx, "DELETE FROM join_tokens WHERE kind = ? AND agent = ?", kind, agent)
}

// DropExpiredTokens forgets the tokens that expired longer ago than age.
func (tx *Tx) DropExpiredTokens(ctx context.Context, age time.Duration) error {
	_, err := tx.exec(ctx, "DELETE FROM join_tokens WHERE expires_at < {now} - ?", age.Microseconds())
	return err
}

// IdentityQuery selects identities. The zero value selects all, in the order of their creation.
type IdentityQuery struct {
	UUID   string
	Kind   string
	Agent  string
	States []IdentityState
	Lock   bool // hold the rows against other writers until the transaction ends
}

// Identities returns the identities that q selects.
func (tx *Tx) Identities(ctx context.Context, q IdentityQuery) ([]*Identity, error) {
	w := &where{}
	w.equal("uuid", q.UUID)
	w.equal("kind", q.Kind)
	w.equal("agent", q.Agent)
	in(w, "state", q.States)
	lock := ""
	if q.Lock {
		lock = " {update}"
	}
	var list []*Identity
	err := tx.each(ctx, "SELECT "+identities.names("", nil)+" FROM identities"+w.sql()+" ORDER BY id"+lock, w.args, func(rows *sql.Rows) error {
		i := &Identity{}
		list = append(list, i)
		return rows.Scan(identities.dests(i, nil)...)
	})
	return list, err
}

// InsertIdentity adds i. The error is fault.Conflict when i is active and the agent has an active one already.
func (tx *Tx) InsertIdentity(ctx context.Context, i *Identity) error {
	i.CreatedAt, i.UpdatedAt = tx.Now(), tx.Now()
	query, args, err := identities.insert(i)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	if isUnique(err) {
		return &fault.Error{Kind: fault.Conflict, Err: err, Text: fmt.Sprintf("Agent %s %s has an identity already.", i.Kind, i.Agent)}
	}
	return err
}

// SaveIdentity writes all of i and wakes who waits on its topic.
func (tx *Tx) SaveIdentity(ctx context.Context, i *Identity) error {
	i.UpdatedAt = tx.Now()
	set, args, err := identities.set(i)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "UPDATE identities SET "+set+" WHERE uuid = ?", append(args, i.UUID)...)
	tx.Wake(TopicIdentity(i.UUID))
	return err
}
