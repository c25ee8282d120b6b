package store

import (
	"context"
	"database/sql"
	"math/bits"

	"github.com/riser-project/riser/fault"
)

// CardKey is the Card of claims on the PF: its serial, or where there is none the slot, which is unique among hosts.
func (p *HostPF) CardKey() string {
	if p.Serial != "" {
		return p.Serial
	}
	return p.Host + "/" + p.Slot
}

// Functions are the functions of one PF in one transaction, which holds the PF's row: two claimants of a PF go one after the other, and neither
// ever has to try again. A Functions must be forgotten when something that was claimed with it is taken back.
type Functions struct {
	PF    *HostPF
	taken vfSet
	whole bool
	count int
}

// Functions reads which functions of a host's PF are claimed, and holds its row until the transaction ends. The error is fault.NotFound when the
// host does not have the PF any more.
func (tx *Tx) Functions(ctx context.Context, host, address string) (*Functions, error) {
	list, err := tx.HostPFs(ctx, PFQuery{Hosts: []string{host}, Address: address, Lock: true})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "Host %s has no PF %s any more.", host, address)
	}
	f := &Functions{PF: list[0]}
	// A claim counts by the PF's address and by its MAC, since a card that was moved to another slot has the same representors as before.
	query, args := "SELECT vf FROM claims WHERE card = ? AND pf = ?", []any{f.PF.CardKey(), address}
	if f.PF.MAC != "" {
		query += " UNION SELECT vf FROM claims WHERE card = ? AND pf_mac = ?"
		args = append(args, f.PF.CardKey(), f.PF.MAC)
	}
	err = tx.each(ctx, query, args, func(rows *sql.Rows) error {
		var vf int
		if err := rows.Scan(&vf); err != nil {
			return err
		}
		f.mark(vf)
		return nil
	})
	return f, err
}

func (f *Functions) mark(vf int) {
	f.count++
	if vf == WholePF {
		f.whole = true
		return
	}
	f.taken.add(vf)
}

// Take takes a function of f for c, whose UUID, Key, Port, Server and VF are set: the VF with that number, the free one with the lowest number
// when it is AnyVF, or the PF itself when it is WholePF. It fills in the rest of c.
//
// The error is fault.Conflict when that is not free, or the key has a claim already, and fault.NotFound when the PF has no such VF.
func (tx *Tx) Take(ctx context.Context, f *Functions, c *Claim) error {
	if err := f.choose(c); err != nil {
		return err
	}
	pf := f.PF
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
	if err != nil {
		return err
	}
	f.mark(c.VF)
	set := "claimed = claimed + 1, free = CASE WHEN free > 0 THEN free - 1 ELSE 0 END"
	if c.VF == WholePF {
		set = "claimed = claimed + 1, whole = 1, free = 0"
	}
	_, err = tx.exec(ctx, "UPDATE host_pfs SET "+set+" WHERE id = ?", pf.ID)
	return err
}

// ClaimOn is Take for a single function of a PF.
func (tx *Tx) ClaimOn(ctx context.Context, pf *HostPF, c *Claim) error {
	f, err := tx.Functions(ctx, pf.Host, pf.Address)
	if err != nil {
		return err
	}
	return tx.Take(ctx, f, c)
}

// choose puts the function that c asks for into it.
func (f *Functions) choose(c *Claim) error {
	pf := f.PF
	switch {
	case f.whole:
		return fault.New(fault.Conflict, "PF %s of host %s is claimed as a whole.", pf.Address, pf.Host)
	case c.VF == WholePF && f.count > 0:
		return fault.New(fault.Conflict, "PF %s of host %s is in use: %d of its functions are claimed.", pf.Address, pf.Host, f.count)
	case c.VF == WholePF:
		c.Address, c.Product = pf.Address, pf.Product
		return nil
	case c.VF == AnyVF:
		vf, ok := f.lowest()
		if !ok {
			return fault.New(fault.Conflict, "PF %s of host %s has no free VF: %d of %d are claimed.", pf.Address, pf.Host, f.count, pf.VFs)
		}
		c.VF = vf
	case f.taken.has(c.VF):
		return fault.New(fault.Conflict, "VF %d of PF %s of host %s is claimed already.", c.VF, pf.Address, pf.Host)
	}
	address, product, ok := pf.VF(c.VF)
	if !ok {
		return fault.New(fault.NotFound, "PF %s of host %s has no VF %d.", pf.Address, pf.Host, c.VF)
	}
	c.Address, c.Product = address, product
	return nil
}

// lowest returns the lowest number of a VF that nobody has.
func (f *Functions) lowest() (int, bool) {
	for _, r := range f.PF.Ranges {
		if vf := f.taken.absent(r.First); vf < r.First+r.Count {
			return vf, true
		}
	}
	return 0, false
}

// Return notes that a claim on f was released. It reports false when f cannot tell what is free now: it must be forgotten then.
func (f *Functions) Return(c *Claim) bool {
	if c.VF == WholePF || !f.taken.has(c.VF) {
		return false
	}
	f.taken.remove(c.VF)
	f.count--
	return true
}

// FreeClaim ends a claim: its function is free when the transaction has committed. A claim that is not there is free already.
func (tx *Tx) FreeClaim(ctx context.Context, uuid string) error {
	_, err := tx.Release(ctx, uuid)
	return err
}

// Release is FreeClaim for a claim in one of these states, or in any when there are none. It returns what was claimed, its Host, PF and VF, or
// nil when there is no such claim.
func (tx *Tx) Release(ctx context.Context, uuid string, states ...ClaimState) (*Claim, error) {
	w := &where{}
	w.equal("uuid", uuid)
	in(w, "state", states)
	c := &Claim{UUID: uuid}
	err := tx.queryRow(ctx, "DELETE FROM claims"+w.sql()+" RETURNING host, pf, vf", w.args...).Scan(&c.Host, &c.PF, &c.VF)
	if noRows(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tx.Wake(TopicHosts)
	set := "claimed = claimed - 1, free = free + 1"
	if c.VF == WholePF {
		set = "claimed = 0, whole = 0, free = vfs"
	}
	_, err = tx.exec(ctx, "UPDATE host_pfs SET "+set+" WHERE host = ? AND address = ?", c.Host, c.PF)
	return c, err
}

// recount counts the claims on each PF of a host anew, after the PFs may have changed.
func (tx *Tx) recount(ctx context.Context, host string) error {
	// The rows are held first: a claim that commits in between would not be counted.
	if _, err := tx.HostPFs(ctx, PFQuery{Hosts: []string{host}, Lean: true, Lock: true}); err != nil {
		return err
	}
	const on = "(SELECT COUNT(*) FROM claims WHERE claims.host = host_pfs.host AND claims.pf = host_pfs.address"
	if _, err := tx.exec(ctx, "UPDATE host_pfs SET claimed = "+on+"), whole = "+on+" AND claims.vf = -1) WHERE host = ?", host); err != nil {
		return err
	}
	_, err := tx.exec(ctx, "UPDATE host_pfs SET free = CASE WHEN whole > 0 OR claimed > vfs THEN 0 ELSE vfs - claimed END WHERE host = ?", host)
	return err
}

// vfSet is a set of VF numbers.
type vfSet struct{ words []uint64 }

func (s *vfSet) add(vf int) {
	for len(s.words) <= vf/64 {
		s.words = append(s.words, 0)
	}
	s.words[vf/64] |= 1 << (vf % 64)
}

func (s *vfSet) remove(vf int) { s.words[vf/64] &^= 1 << (vf % 64) }

func (s *vfSet) has(vf int) bool {
	return vf >= 0 && vf/64 < len(s.words) && s.words[vf/64]&(1<<(vf%64)) != 0
}

// absent returns the lowest number from first on that is not in the set.
func (s *vfSet) absent(first int) int {
	for i := first / 64; i < len(s.words); i++ {
		word := s.words[i]
		if i == first/64 {
			word |= 1<<(first%64) - 1
		}
		if free := bits.TrailingZeros64(^word); free < 64 {
			return i*64 + free
		}
	}
	return max(first, len(s.words)*64)
}
