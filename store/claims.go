package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/riser-project/riser/fault"
)

// ClaimState is the state of a claim.
type ClaimState string

// States of a claim. A function is free when no claim names it.
const (
	ClaimClaimed   ClaimState = "claimed"   // taken; nothing is ordered yet
	ClaimPlugging  ClaimState = "plugging"  // its representor is ordered to be plugged
	ClaimPlugged   ClaimState = "plugged"   // the DPU has said so
	ClaimReleasing ClaimState = "releasing" // ordered to be unplugged; taken until the DPU has confirmed it
)

// VF numbers of a claim that are none.
const (
	WholePF = -1 // the physical function as a whole
	AnyVF   = -2 // asks for a free VF, whichever
)

// Claim is the right to use a function of a card. No two claims name the same function, and none names a VF of a PF that is claimed as a whole.
type Claim struct {
	UUID            string
	Key             string // the claimant's own; the same key never claims twice
	Host            string
	Card            string // serial; for a card without one, host and slot
	PF              string // address of the PF on the host
	PFMAC           string // lower case with colons
	VF              int    // number, or WholePF; AnyVF only in what is asked for
	Address         string // of the function on the host
	Vendor          string // four hexadecimal digits
	Product         string
	NUMA            int // -1 when there is none
	PhysicalNetwork *string
	Port            string // UUID
	Server          string // UUID
	State           ClaimState
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

var claims = table[Claim]{"claims", []column[Claim]{
	text("uuid", func(c *Claim) *string { return &c.UUID }),
	text("key", func(c *Claim) *string { return &c.Key }),
	text("host", func(c *Claim) *string { return &c.Host }),
	text("card", func(c *Claim) *string { return &c.Card }),
	text("pf", func(c *Claim) *string { return &c.PF }),
	text("pf_mac", func(c *Claim) *string { return &c.PFMAC }),
	count("vf", func(c *Claim) *int { return &c.VF }),
	text("address", func(c *Claim) *string { return &c.Address }),
	text("vendor", func(c *Claim) *string { return &c.Vendor }),
	text("product", func(c *Claim) *string { return &c.Product }),
	count("numa", func(c *Claim) *int { return &c.NUMA }),
	textOrNull("physical_network", func(c *Claim) **string { return &c.PhysicalNetwork }),
	text("port", func(c *Claim) *string { return &c.Port }),
	text("server", func(c *Claim) *string { return &c.Server }),
	spelled("state", func(c *Claim) *ClaimState { return &c.State }),
	when("created_at", func(c *Claim) *time.Time { return &c.CreatedAt }),
	when("updated_at", func(c *Claim) *time.Time { return &c.UpdatedAt }),
}}

// ClaimQuery selects claims. The zero value selects all, in the order of their creation.
type ClaimQuery struct {
	UUID   string
	Key    string
	Host   string
	Card   string
	Port   string
	Server string
	States []ClaimState
	Lock   bool // hold the rows against other writers until the transaction ends
}

// Claims returns the claims that q selects.
func (tx *Tx) Claims(ctx context.Context, q ClaimQuery) ([]*Claim, error) {
	w := &where{}
	w.equal("uuid", q.UUID)
	w.equal("key", q.Key)
	w.equal("host", q.Host)
	w.equal("card", q.Card)
	w.equal("port", q.Port)
	w.equal("server", q.Server)
	in(w, "state", q.States)
	lock := ""
	if q.Lock {
		lock = " {update}"
	}
	var list []*Claim
	err := tx.each(ctx, "SELECT "+claims.names("", nil)+" FROM claims"+w.sql()+" ORDER BY id"+lock, w.args, func(rows *sql.Rows) error {
		c := &Claim{}
		list = append(list, c)
		return rows.Scan(claims.dests(c, nil)...)
	})
	return list, err
}

// Claim returns the claim with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) Claim(ctx context.Context, uuid string) (*Claim, error) {
	list, err := tx.Claims(ctx, ClaimQuery{UUID: uuid})
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "Claim %s could not be found.", uuid)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// SetClaimState moves a claim to a state. A claim that is being released gives its key back: the claimant may claim anew under it.
func (tx *Tx) SetClaimState(ctx context.Context, c *Claim, s ClaimState) error {
	c.State, c.UpdatedAt = s, tx.Now()
	if s == ClaimReleasing {
		c.Key = "released/" + c.UUID
	}
	_, err := tx.exec(ctx, "UPDATE claims SET state = ?, key = ?, updated_at = ? WHERE uuid = ?", string(s), c.Key, toMicros(c.UpdatedAt), c.UUID)
	return err
}

// ReserveClaim takes the port from a claim for which nothing is ordered: its function is kept for the server, whatever becomes of the port.
// GiveClaim gives it one.
func (tx *Tx) ReserveClaim(ctx context.Context, c *Claim) error { return tx.GiveClaim(ctx, c, "") }

// GiveClaim makes c the claim of a port.
func (tx *Tx) GiveClaim(ctx context.Context, c *Claim, port string) error {
	c.Port, c.UpdatedAt = port, tx.Now()
	_, err := tx.exec(ctx, "UPDATE claims SET port = ?, updated_at = ? WHERE uuid = ?", port, toMicros(c.UpdatedAt), c.UUID)
	return err
}
