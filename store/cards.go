package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/riser-project/riser/node"
)

// CardQuery selects cards of hosts. The zero value selects all.
type CardQuery struct {
	Host    string
	Hosts   []string
	Serials []string
}

// HostCards returns the cards that q selects, by host and slot.
func (tx *Tx) HostCards(ctx context.Context, q CardQuery) ([]*HostCard, error) {
	w := &where{}
	w.equal("host", q.Host)
	in(w, "host", q.Hosts)
	in(w, "serial", q.Serials)
	var list []*HostCard
	err := tx.each(ctx, "SELECT "+hostCards.names("", nil)+" FROM host_cards"+w.sql()+" ORDER BY host, slot", w.args, func(rows *sql.Rows) error {
		c := &HostCard{}
		list = append(list, c)
		return rows.Scan(hostCards.dests(c, nil)...)
	})
	return list, err
}

// PFQuery selects physical functions. The zero value selects all.
type PFQuery struct {
	Hosts   []string
	Serial  string
	Address string
	Lean    bool // leave out Ranges
	Lock    bool // hold the rows against other writers until the transaction ends
}

// HostPFs returns the physical functions that q selects, by host and address.
func (tx *Tx) HostPFs(ctx context.Context, q PFQuery) ([]*HostPF, error) {
	w := &where{}
	in(w, "host", q.Hosts)
	w.equal("serial", q.Serial)
	w.equal("address", q.Address)
	lock := ""
	if q.Lock {
		lock = " {update}"
	}
	var keep func(string) bool
	if q.Lean {
		keep = func(name string) bool { return name != "ranges" }
	}
	var list []*HostPF
	err := tx.each(ctx, "SELECT "+hostPFs.names("", keep)+", id, claimed, whole, free FROM host_pfs"+w.sql()+" ORDER BY host, address"+lock, w.args,
		func(rows *sql.Rows) error {
			p := &HostPF{}
			list = append(list, p)
			return rows.Scan(append(hostPFs.dests(p, keep), &p.ID, &p.Claimed, flag{&p.Whole}, &p.Free)...)
		})
	return list, err
}

// SaveHostCards makes cards and pfs the whole of what a host has. Rows that stay keep their identity, and cards what riser concluded about them
// while their serial stays.
func (tx *Tx) SaveHostCards(ctx context.Context, host string, cards []*HostCard, pfs []*HostPF) error {
	slots := make([]string, len(cards))
	for i, c := range cards {
		slots[i] = c.Slot
		query, args, err := hostCards.insert(c)
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, query+` ON CONFLICT (host, slot) DO UPDATE SET
			refused = CASE WHEN host_cards.serial = excluded.serial THEN host_cards.refused ELSE '' END,
			serial = excluded.serial, card_uuid = excluded.card_uuid, part_number = excluded.part_number, name = excluded.name,
			problem = excluded.problem`, args...); err != nil {
			return err
		}
	}
	addresses := make([]string, len(pfs))
	for i, p := range pfs {
		addresses[i] = p.Address
		query, args, err := hostPFs.insert(p)
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, query+` ON CONFLICT (host, address) DO UPDATE SET slot = excluded.slot, serial = excluded.serial,
			vendor = excluded.vendor, product = excluded.product, vf_product = excluded.vf_product, mac = excluded.mac, netdev = excluded.netdev,
			numa = excluded.numa, total_vfs = excluded.total_vfs, vfs = excluded.vfs, ranges = excluded.ranges,
			physical_network = excluded.physical_network, remote_managed = excluded.remote_managed, reason = excluded.reason`, args...); err != nil {
			return err
		}
	}
	if err := tx.keepOnly(ctx, "host_cards", "slot", host, slots); err != nil {
		return err
	}
	if err := tx.keepOnly(ctx, "host_pfs", "address", host, addresses); err != nil {
		return err
	}
	tx.Wake(TopicHosts)
	return tx.recount(ctx, host)
}

// keepOnly removes the rows of a host whose key is not among keep.
func (tx *Tx) keepOnly(ctx context.Context, from, key, host string, keep []string) error {
	have, err := tx.strings(ctx, "SELECT "+key+" FROM "+from+" WHERE host = ?", host)
	if err != nil {
		return err
	}
	for _, k := range have {
		if slices.Contains(keep, k) {
			continue
		}
		if _, err := tx.exec(ctx, "DELETE FROM "+from+" WHERE host = ? AND "+key+" = ?", host, k); err != nil {
			return err
		}
	}
	return nil
}

// RefuseCard writes why riser does not believe a host about a card; an empty reason takes the refusal back.
func (tx *Tx) RefuseCard(ctx context.Context, host, slot, reason string) error {
	_, err := tx.exec(ctx, "UPDATE host_cards SET refused = ? WHERE host = ? AND slot = ?", reason, host, slot)
	tx.Wake(TopicHosts)
	return err
}

// CardSerials returns every serial that a host or a DPU has reported, sorted.
func (tx *Tx) CardSerials(ctx context.Context) ([]string, error) {
	return tx.strings(ctx, "SELECT serial FROM host_cards WHERE serial <> '' UNION SELECT serial FROM dpus ORDER BY 1")
}

// CardNodes returns the nodes whose card has one of these serials, or all that have a card when serials is nil, with these columns only.
func (tx *Tx) CardNodes(ctx context.Context, serials, columns []string) ([]*node.Node, error) {
	w := &where{}
	w.add("card_serial <> ''")
	in(w, "card_serial", serials)
	keep := keepColumns(columns)
	var list []*node.Node
	err := tx.each(ctx, "SELECT "+nodes.names("", keep)+" FROM nodes"+w.sql(), w.args, func(rows *sql.Rows) error {
		n := &node.Node{}
		list = append(list, n)
		return rows.Scan(nodes.dests(n, keep)...)
	})
	return list, err
}

// place names a card for texts: "host cmp1 at 0000:82:00.0".
func (c *HostCard) place() string { return fmt.Sprintf("host %s at %s", c.Host, c.Slot) }

// String names the card for texts: "card MT2113X00042 of host cmp1 at 0000:82:00.0".
func (c *HostCard) String() string {
	if c.Serial == "" {
		return "card of " + c.place()
	}
	return fmt.Sprintf("card %s of %s", c.Serial, c.place())
}
