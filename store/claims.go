package store

import (
	"context"
	"database/sql"
	"slices"
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

// CardKey is the Card of claims on the PF: its serial, or where there is none the slot, which is unique among hosts.
func (p *HostPF) CardKey() string {
	if p.Serial != "" {
		return p.Serial
	}
	return p.Host + "/" + p.Slot
}

// ClaimOn takes a function of the PF for c, whose UUID, Key, Port, Server and VF are set: the VF with that number, the free one with the lowest
// number when it is AnyVF, or the PF itself when it is WholePF. It fills in the rest of c. The row of the PF is held until the transaction
// ends, so that two claimants of one PF go one after the other, and neither ever has to try again.
//
// The error is fault.Conflict when that is not free, and fault.NotFound when the host does not have the PF any more.
func (tx *Tx) ClaimOn(ctx context.Context, pf *HostPF, c *Claim) error {
	list, err := tx.HostPFs(ctx, PFQuery{Hosts: []string{pf.Host}, Address: pf.Address, Lock: true})
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fault.New(fault.NotFound, "Host %s has no PF %s any more.", pf.Host, pf.Address)
	}
	pf = list[0]
	taken, err := tx.takenVFs(ctx, pf)
	if err != nil {
		return err
	}
	if err := choose(pf, taken, c); err != nil {
		return err
	}
	c.Host, c.Card, c.PF, c.PFMAC, c.Vendor = pf.Host, pf.CardKey(), pf.Address, pf.MAC, pf.Vendor
	c.NUMA, c.PhysicalNetwork, c.State = pf.NUMA, pf.PhysicalNetwork, ClaimClaimed
	c.CreatedAt = tx.Now()
	query, args, err := claims.insert(c)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	if isUnique(err) {
		return &fault.Error{Kind: fault.Conflict, Err: err, Text: "A claim with key " + c.Key + " exists already."}
	}
	return err
}

// takenVFs returns the VF numbers of the claims on the PF in rising order; WholePF comes first. A claim counts by the PF's address and by its
// MAC, since a card that was moved to another slot has the same representors as before.
func (tx *Tx) takenVFs(ctx context.Context, pf *HostPF) ([]int, error) {
	query, args := "SELECT vf FROM claims WHERE card = ? AND pf = ?", []any{pf.CardKey(), pf.Address}
	if pf.MAC != "" {
		query += " UNION SELECT vf FROM claims WHERE card = ? AND pf_mac = ?"
		args = append(args, pf.CardKey(), pf.MAC)
	}
	var taken []int
	err := tx.each(ctx, query+" ORDER BY vf", args, func(rows *sql.Rows) error {
		var vf int
		err := rows.Scan(&vf)
		taken = append(taken, vf)
		return err
	})
	return taken, err
}

// choose puts the function that c asks for into it.
func choose(pf *HostPF, taken []int, c *Claim) error {
	whole := len(taken) > 0 && taken[0] == WholePF
	switch {
	case whole:
		return fault.New(fault.Conflict, "PF %s of host %s is claimed as a whole.", pf.Address, pf.Host)
	case c.VF == WholePF && len(taken) > 0:
		return fault.New(fault.Conflict, "PF %s of host %s is in use: %d of its functions are claimed.", pf.Address, pf.Host, len(taken))
	case c.VF == WholePF:
		c.Address, c.Product = pf.Address, pf.Product
		return nil
	case c.VF == AnyVF:
		if !freeVF(pf, taken, c) {
			return fault.New(fault.Conflict, "PF %s of host %s has no free VF: %d of %d are claimed.", pf.Address, pf.Host, len(taken), pf.VFs)
		}
		return nil
	}
	address, product, ok := pf.VF(c.VF)
	if !ok {
		return fault.New(fault.NotFound, "PF %s of host %s has no VF %d.", pf.Address, pf.Host, c.VF)
	}
	if slices.Contains(taken, c.VF) {
		return fault.New(fault.Conflict, "VF %d of PF %s of host %s is claimed already.", c.VF, pf.Address, pf.Host)
	}
	c.Address, c.Product = address, product
	return nil
}

// freeVF puts the lowest VF of the PF that is not in taken into c. taken is sorted.
func freeVF(pf *HostPF, taken []int, c *Claim) bool {
	for _, r := range pf.Ranges {
		for vf := r.First; vf < r.First+r.Count; vf++ {
			for len(taken) > 0 && taken[0] < vf {
				taken = taken[1:]
			}
			if len(taken) > 0 && taken[0] == vf {
				continue
			}
			address, product, ok := pf.VF(vf)
			if ok {
				c.VF, c.Address, c.Product = vf, address, product
			}
			return ok
		}
	}
	return false
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

// FreeClaim ends a claim: its function is free when the transaction has committed.
func (tx *Tx) FreeClaim(ctx context.Context, uuid string) error {
	_, err := tx.exec(ctx, "DELETE FROM claims WHERE uuid = ?", uuid)
	tx.Wake(TopicHosts)
	return err
}

// PFClaims counts the claims on a PF.
type PFClaims struct {
	Count int
	Whole bool // one of them is for the PF as a whole
}

// ClaimCounts counts the claims on each PF of a host: of every host when name is empty. The key is the host and the PF's address.
func (tx *Tx) ClaimCounts(ctx context.Context, name string) (map[[2]string]PFClaims, error) {
	w := &where{}
	w.equal("host", name)
	counts := map[[2]string]PFClaims{}
	err := tx.each(ctx, "SELECT host, pf, COUNT(*), MIN(vf) FROM claims"+w.sql()+" GROUP BY host, pf", w.args, func(rows *sql.Rows) error {
		var key [2]string
		var n, lowest int
		err := rows.Scan(&key[0], &key[1], &n, &lowest)
		counts[key] = PFClaims{n, lowest == WholePF}
		return err
	})
	return counts, err
}
