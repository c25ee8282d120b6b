package store

import (
	"context"
	"database/sql"
	"net/netip"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// Network is a network and how far the backend is with it.
type Network struct {
	network.Network
	Pending int64  // not 0 while the backend must still be told; rises with each change
	Trouble string // why the backend could not be told
	Deleted bool   // to be removed, first from the backend
}

type (
	nw = Network
	sn = Subnet
)

var networks = table[nw]{"networks", []column[nw]{
	text("uuid", func(n *nw) *string { return &n.ID }),
	text("name", func(n *nw) *string { return &n.Name }),
	count("mtu", func(n *nw) *int { return &n.MTU }),
	text("type", func(n *nw) *string { return &n.Type }),
	text("physical_network", func(n *nw) *string { return &n.Physical }),
	count("segment", func(n *nw) *int { return &n.Segment }),
	text("project", func(n *nw) *string { return &n.Project }),
	number("pending", func(n *nw) *int64 { return &n.Pending }),
	text("trouble", func(n *nw) *string { return &n.Trouble }),
	boolean("deleted", func(n *nw) *bool { return &n.Deleted }),
	when("created_at", func(n *nw) *time.Time { return &n.CreatedAt }),
	when("updated_at", func(n *nw) *time.Time { return &n.UpdatedAt }),
}}

// Subnet is a subnet and the last address that was given out of it.
type Subnet struct {
	network.Subnet
	Last string
}

var subnets = table[sn]{"subnets", []column[sn]{
	text("uuid", func(s *sn) *string { return &s.ID }),
	text("network", func(s *sn) *string { return &s.NetworkID }),
	text("name", func(s *sn) *string { return &s.Name }),
	text("cidr", func(s *sn) *string { return &s.CIDR }),
	text("gateway", func(s *sn) *string { return &s.Gateway }),
	boolean("dhcp", func(s *sn) *bool { return &s.DHCP }),
	jsonText("dns", func(s *sn) *[]string { return &s.DNS }),
	text("project", func(s *sn) *string { return &s.Project }),
	text("last_address", func(s *sn) *string { return &s.Last }),
	when("created_at", func(s *sn) *time.Time { return &s.CreatedAt }),
	when("updated_at", func(s *sn) *time.Time { return &s.UpdatedAt }),
}}

// NetworkQuery selects networks. The zero value selects all that are not deleted, in the order of their creation.
type NetworkQuery struct {
	UUIDs   []string
	Name    string
	Pending bool // only those that the backend must still be told of, deleted ones too
	Limit   int  // 0 means no limit
}

// Networks returns the networks that q selects.
func (tx *Tx) Networks(ctx context.Context, q NetworkQuery) ([]*Network, error) {
	w := &where{}
	in(w, "uuid", q.UUIDs)
	w.equal("name", q.Name)
	if q.Pending {
		w.add("pending <> 0")
	} else {
		w.add("deleted = 0")
	}
	order, err := tx.keyset(ctx, w, keyset{table: "networks", key: "id", limit: q.Limit})
	if err != nil {
		return nil, err
	}
	var list []*Network
	err = tx.each(ctx, "SELECT "+networks.names("", nil)+" FROM networks"+w.sql()+order, w.args, func(rows *sql.Rows) error {
		n := &Network{}
		list = append(list, n)
		return rows.Scan(networks.dests(n, nil)...)
	})
	return list, err
}

// Network returns the network with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) Network(ctx context.Context, uuid string) (*Network, error) {
	list, err := tx.Networks(ctx, NetworkQuery{UUIDs: []string{uuid}})
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "Network %s could not be found.", uuid)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// InsertNetwork adds n, which the backend is to be told of.
func (tx *Tx) InsertNetwork(ctx context.Context, n *Network) error {
	n.CreatedAt, n.UpdatedAt, n.Pending = tx.Now(), tx.Now(), 1
	query, args, err := networks.insert(n)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query, args...)
	tx.Wake(TopicPorts)
	return err
}

// SaveNetwork writes all of n and has the backend told.
func (tx *Tx) SaveNetwork(ctx context.Context, n *Network) error {
	n.UpdatedAt = tx.Now()
	n.Pending++
	set, args, err := networks.set(n)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, "UPDATE networks SET "+set+" WHERE uuid = ?", append(args, n.ID)...)
	tx.Wake(TopicPorts)
	return err
}

// NetworkTold notes that the backend was told of the network as it was when it had this Pending.
func (tx *Tx) NetworkTold(ctx context.Context, n *Network) error {
	if n.Deleted {
		_, err := tx.exec(ctx, "DELETE FROM networks WHERE uuid = ?", n.ID)
		return err
	}
	_, err := tx.exec(ctx, "UPDATE networks SET pending = 0, trouble = '' WHERE uuid = ? AND pending = ?", n.ID, n.Pending)
	return err
}

// NetworkTrouble notes why the backend could not be told of the network.
func (tx *Tx) NetworkTrouble(ctx context.Context, uuid, why string) error {
	_, err := tx.exec(ctx, "UPDATE networks SET trouble = ? WHERE uuid = ?", why, uuid)
	return err
}

// DeleteNetwork marks a network to be removed. It is fault.Conflict while it has ports.
func (tx *Tx) DeleteNetwork(ctx context.Context, uuid string) error {
	n, err := tx.Network(ctx, uuid)
	if err != nil {
		return err
	}
	var ports int
	if err := tx.queryRow(ctx, "SELECT COUNT(*) FROM vports WHERE network = ? AND deleted = 0", uuid).Scan(&ports); err != nil {
		return err
	}
	if ports > 0 {
		return fault.New(fault.Conflict, "Unable to complete operation on network %s. There are one or more ports still in use on the network.", uuid)
	}
	n.Deleted = true
	return tx.SaveNetwork(ctx, n)
}

// Subnets returns the subnets of a network, or all when it is empty, in the order of their creation.
func (tx *Tx) Subnets(ctx context.Context, networkID string) ([]*Subnet, error) {
	w := &where{}
	w.equal("network", networkID)
	return tx.subnets(ctx, w)
}

// Subnet returns the subnet with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) Subnet(ctx context.Context, uuid string) (*Subnet, error) {
	list, err := tx.subnets(ctx, &where{conds: []string{"uuid = ?"}, args: []any{uuid}})
	if err == nil && len(list) == 0 {
		err = fault.New(fault.NotFound, "Subnet %s could not be found.", uuid)
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

func (tx *Tx) subnets(ctx context.Context, w *where) ([]*Subnet, error) {
	var list []*Subnet
	err := tx.each(ctx, "SELECT "+subnets.names("", nil)+" FROM subnets"+w.sql()+" ORDER BY id", w.args, func(rows *sql.Rows) error {
		s := &Subnet{}
		list = append(list, s)
		return rows.Scan(subnets.dests(s, nil)...)
	})
	return list, err
}

// InsertSubnet adds s and has the backend told of its network.
func (tx *Tx) InsertSubnet(ctx context.Context, s *Subnet) error {
	s.CreatedAt, s.UpdatedAt = tx.Now(), tx.Now()
	query, args, err := subnets.insert(s)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, query, args...); err != nil {
		return err
	}
	return tx.touchNetwork(ctx, s.NetworkID)
}

// SaveSubnet writes what may change of s and has the backend told of its network.
func (tx *Tx) SaveSubnet(ctx context.Context, s *Subnet) error {
	s.UpdatedAt = tx.Now()
	set, args, err := subnets.set(s)
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, "UPDATE subnets SET "+set+" WHERE uuid = ?", append(args, s.ID)...); err != nil {
		return err
	}
	return tx.touchNetwork(ctx, s.NetworkID)
}

// DeleteSubnet removes a subnet. It is fault.Conflict while ports have addresses of it.
func (tx *Tx) DeleteSubnet(ctx context.Context, s *Subnet) error {
	var used int
	if err := tx.queryRow(ctx, "SELECT COUNT(*) FROM vport_addresses WHERE subnet = ?", s.ID).Scan(&used); err != nil {
		return err
	}
	if used > 0 {
		return fault.New(fault.Conflict, "Unable to complete operation on subnet %s: One or more ports have an IP allocation from this subnet.", s.ID)
	}
	if _, err := tx.exec(ctx, "DELETE FROM subnets WHERE uuid = ?", s.ID); err != nil {
		return err
	}
	return tx.touchNetwork(ctx, s.NetworkID)
}

func (tx *Tx) touchNetwork(ctx context.Context, uuid string) error {
	_, err := tx.exec(ctx, "UPDATE networks SET pending = pending + 1 WHERE uuid = ?", uuid)
	tx.Wake(TopicPorts)
	return err
}

// TakeAddress gives the port an address of the subnet: the wanted one, or when that is empty the next free one after the last that was given,
// so that an address rests before it is used again. The error is fault.Conflict when the wanted one is taken or none is left.
func (tx *Tx) TakeAddress(ctx context.Context, s *Subnet, port, wanted string) (network.FixedIP, error) {
	if wanted != "" {
		ok, err := tx.tryAddress(ctx, s.ID, port, wanted)
		if err == nil && !ok {
			err = fault.New(fault.Conflict, "IP address %s already allocated in subnet %s", wanted, s.ID)
		}
		return network.FixedIP{SubnetID: s.ID, Address: wanted}, err
	}
	p, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return network.FixedIP{}, err
	}
	first := p.Masked().Addr().Next()
	last, err := netip.ParseAddr(s.Last)
	if err != nil || !p.Contains(last) {
		last = p.Masked().Addr()
	}
	a, wrapped := last, false
	for {
		if a = a.Next(); !usable(p, a) {
			if wrapped {
				return network.FixedIP{}, fault.New(fault.Conflict, "No more IP addresses available on network %s.", s.NetworkID)
			}
			a, wrapped = first, true
		}
		if wrapped && last.Less(a) {
			return network.FixedIP{}, fault.New(fault.Conflict, "No more IP addresses available on network %s.", s.NetworkID)
		}
		if a.String() == s.Gateway {
			continue
		}
		ok, err := tx.tryAddress(ctx, s.ID, port, a.String())
		if err != nil {
			return network.FixedIP{}, err
		}
		if ok {
			s.Last = a.String()
			_, err := tx.exec(ctx, "UPDATE subnets SET last_address = ? WHERE uuid = ?", s.Last, s.ID)
			return network.FixedIP{SubnetID: s.ID, Address: s.Last}, err
		}
	}
}

// usable reports whether a is a host address of p: inside it, and not IPv4's broadcast address.
func usable(p netip.Prefix, a netip.Addr) bool {
	if !a.IsValid() || !p.Contains(a) {
		return false
	}
	return !a.Is4() || p.Bits() >= 31 || p.Contains(a.Next())
}

func (tx *Tx) tryAddress(ctx context.Context, subnet, port, address string) (bool, error) {
	n, err := tx.exec(ctx, "INSERT INTO vport_addresses (subnet, address, port) VALUES (?, ?, ?) ON CONFLICT (subnet, address) DO NOTHING", subnet, address, port)
	return n > 0, err
}

// DropAddress takes an address back.
func (tx *Tx) DropAddress(ctx context.Context, ip network.FixedIP) error {
	_, err := tx.exec(ctx, "DELETE FROM vport_addresses WHERE subnet = ? AND address = ?", ip.SubnetID, ip.Address)
	return err
}
