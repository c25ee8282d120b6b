package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// keyID is riser's own identity of a row in a table whose rows have no name.
const keyID = "riser-id"

// DHCPOptions are what OVN's built-in DHCP server answers.
type DHCPOptions struct {
	ID          string // identity, such as a subnet's UUID
	CIDR        string
	Options     map[string]string // "server_id", "lease_time", "router", ...
	ExternalIDs map[string]string // beside riser's own marks
}

// SetDHCPOptions creates a row of DHCP options or makes it as d says, and returns whether anything had to be written.
func (n *Northbound) SetDHCPOptions(ctx context.Context, d DHCPOptions) (bool, error) {
	if d.ID == "" || d.CIDR == "" {
		return false, fmt.Errorf("set DHCP options %q for %q: an ID and a CIDR are needed", d.ID, d.CIDR)
	}
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		ids := n.marks(d.ExternalIDs, map[string]string{keyID: d.ID})
		row := n.ownDHCP(r, d.ID)
		if row == nil {
			return plan{
				guards: absent(tableDHCPOptions, n.dhcpMarks(d.ID)).guards,
				changes: []operation{insert(tableDHCPOptions, "dhcp", ovsdb.Row{
					"cidr": d.CIDR, "options": mapOf(d.Options), "external_ids": mapOf(ids),
				})},
			}, nil
		}
		changes := ovsdb.Row{}
		if row.CIDR != d.CIDR {
			changes["cidr"] = d.CIDR
		}
		setMap(changes, "options", row.Options, d.Options)
		setMap(changes, "external_ids", row.ExternalIDs, ids)
		return n.updateOwned(tableDHCPOptions, row.UUID, row.ExternalIDs, changes), nil
	})
	if err != nil {
		return false, fmt.Errorf("set DHCP options %s: %w", d.ID, err)
	}
	return wrote, nil
}

// DeleteDHCPOptions removes a row of DHCP options, also from the ports that use it, and returns whether it was there.
func (n *Northbound) DeleteDHCPOptions(ctx context.Context, id string) (bool, error) {
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		row := n.ownDHCP(r, id)
		if row == nil {
			return absent(tableDHCPOptions, n.dhcpMarks(id)), nil
		}
		return n.removeOwned(tableDHCPOptions, row.UUID, row.ExternalIDs), nil
	})
	if err != nil {
		return false, fmt.Errorf("delete DHCP options %s: %w", id, err)
	}
	return wrote, nil
}

// dhcpMarks matches riser's row with that ID.
func (n *Northbound) dhcpMarks(id string) ovsdb.Condition {
	return marked(map[string]string{keyOwner: n.cfg.Owner, keyID: id})
}

func (n *Northbound) ownDHCP(r *replica, id string) *dhcpOptionsRow {
	for row := range all[dhcpOptionsRow](r) {
		if row.ExternalIDs[keyOwner] == n.cfg.Owner && row.ExternalIDs[keyID] == id {
			return row
		}
	}
	return nil
}

// dhcpUUID returns the UUID of DHCP options, and "" for no ID.
func (n *Northbound) dhcpUUID(r *replica, id string) (string, error) {
	if id == "" {
		return "", nil
	}
	row := n.ownDHCP(r, id)
	if row == nil {
		return "", fmt.Errorf("DHCP options %s: %w", id, ErrNotFound)
	}
	return row.UUID, nil
}

func dhcpID(r *replica, uuid *string) string {
	if uuid == nil {
		return ""
	}
	row := byUUID[dhcpOptionsRow](r, *uuid)
	if row == nil {
		return ""
	}
	return row.ExternalIDs[keyID]
}

// ACL is one rule of a port group.
type ACL struct {
	Direction string // "from-lport" or "to-lport"
	Priority  int    // 0 to 32767, the highest first
	Match     string
	Action    string // "allow", "allow-related", "allow-stateless", "drop" or "reject"
}

// PortGroup is a set of ports with the rules that hold for them, such as a security group.
type PortGroup struct {
	Name        string // identity; letters, digits, "_" and "." only, so that a match can refer to it
	Ports       []string
	ACLs        []ACL
	ExternalIDs map[string]string // beside riser's own marks
}

// SetPortGroup creates a port group or makes its members and rules as g says; a rule that stays keeps its row. It
// returns whether anything had to be written. The error is [ErrNotFound] for a member that is not there, and a
// [ForeignError] if the group belongs to somebody else.
func (n *Northbound) SetPortGroup(ctx context.Context, g PortGroup) (bool, error) {
	if g.Name == "" {
		return false, errors.New("set port group: it has no name")
	}
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		row := byName[portGroupRow](r, g.Name)
		if row != nil && row.ExternalIDs[keyOwner] != n.cfg.Owner {
			return plan{}, n.foreign(tablePortGroup, g.Name, row.ExternalIDs)
		}
		ports, err := portUUIDs(r, g.Ports)
		if err != nil {
			return plan{}, err
		}
		var have []string
		if row != nil {
			have = row.ACLs
		}
		acls, inserts := n.planACLs(r, have, g.ACLs)
		ids := n.marks(g.ExternalIDs, nil)
		if row == nil {
			return plan{changes: append(inserts, insert(tablePortGroup, "group", ovsdb.Row{
				"name": g.Name, "ports": uuidsOf(ports...), "acls": uuidsOf(acls...), "external_ids": mapOf(ids),
			}))}, nil
		}
		changes := ovsdb.Row{}
		setUUIDs(changes, "ports", row.Ports, ports)
		setUUIDs(changes, "acls", row.ACLs, acls)
		setMap(changes, "external_ids", row.ExternalIDs, ids)
		p := n.updateOwned(tablePortGroup, row.UUID, row.ExternalIDs, changes)
		p.changes = append(inserts, p.changes...)
		return p, nil
	})
	if err != nil {
		return false, fmt.Errorf("set port group %s: %w", g.Name, err)
	}
	return wrote, nil
}

func portUUIDs(r *replica, names []string) ([]string, error) {
	var uuids []string
	for _, name := range names {
		row := byName[logicalSwitchPortRow](r, name)
		if row == nil {
			return nil, fmt.Errorf("logical switch port %s: %w", name, ErrNotFound)
		}
		uuids = append(uuids, row.UUID)
	}
	return uuids, nil
}

// planACLs returns the rows of the wanted rules: those of have that are right already, and new ones.
func (n *Northbound) planACLs(r *replica, have []string, want []ACL) ([]string, []operation) {
	rows := map[ACL]string{}
	for _, uuid := range have {
		if row := byUUID[aclRow](r, uuid); row != nil {
			rows[aclOf(row)] = uuid
		}
	}
	var uuids []string
	var ops []operation
	for _, a := range want {
		uuid, ok := rows[a]
		if !ok {
			uuid = fmt.Sprintf("acl%d", len(ops))
			rows[a] = uuid
			ops = append(ops, insert(tableACL, uuid, ovsdb.Row{
				"direction": a.Direction, "priority": a.Priority, "match": a.Match, "action": a.Action,
				"external_ids": mapOf(n.marks(nil, nil)),
			}))
		}
		if !slices.Contains(uuids, uuid) {
			uuids = append(uuids, uuid)
		}
	}
	return uuids, ops
}

func aclOf(row *aclRow) ACL {
	return ACL{Direction: row.Direction, Priority: row.Priority, Match: row.Match, Action: row.Action}
}

func setUUIDs(changes ovsdb.Row, column string, have, want []string) {
	if !sameSet(have, want) {
		changes[column] = uuidsOf(compact(want)...)
	}
}

// DeletePortGroup removes a port group with its rules, and returns whether it was there.
func (n *Northbound) DeletePortGroup(ctx context.Context, name string) (bool, error) {
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		row := byName[portGroupRow](r, name)
		switch {
		case row == nil:
			return absent(tablePortGroup, equals("name", name)), nil
		case row.ExternalIDs[keyOwner] != n.cfg.Owner:
			return plan{}, n.foreign(tablePortGroup, name, row.ExternalIDs)
		}
		return n.removeOwned(tablePortGroup, row.UUID, row.ExternalIDs), nil
	})
	if err != nil {
		return false, fmt.Errorf("delete port group %s: %w", name, err)
	}
	return wrote, nil
}

// PortGroup reads one of riser's port groups. The error is [ErrNotFound] if there is none of that name.
func (n *Northbound) PortGroup(name string) (PortGroup, error) {
	var g PortGroup
	var missing error
	err := n.view(func(r *replica) {
		row := byName[portGroupRow](r, name)
		if row == nil || row.ExternalIDs[keyOwner] != n.cfg.Owner {
			missing = ErrNotFound
			return
		}
		g = PortGroup{Name: name, ExternalIDs: unmarked(row.ExternalIDs)}
		for _, uuid := range row.Ports {
			if port := byUUID[logicalSwitchPortRow](r, uuid); port != nil {
				g.Ports = append(g.Ports, port.Name)
			}
		}
		for _, uuid := range row.ACLs {
			if acl := byUUID[aclRow](r, uuid); acl != nil {
				g.ACLs = append(g.ACLs, aclOf(acl))
			}
		}
	})
	if err = errors.Join(err, missing); err != nil {
		return PortGroup{}, fmt.Errorf("read port group %s: %w", name, err)
	}
	slices.Sort(g.Ports)
	sortBy(g.ACLs, func(a ACL) string { return fmt.Sprintf("%s %05d %s %s", a.Direction, a.Priority, a.Match, a.Action) })
	return g, nil
}

// AddressSet is a named set of addresses that matches refer to as "$name".
type AddressSet struct {
	Name        string // identity; letters, digits, "_" and "." only
	Addresses   []string
	ExternalIDs map[string]string // beside riser's own marks
}

// SetAddressSet creates an address set or makes it as a says, and returns whether anything had to be written. It is a
// [ForeignError] if the set belongs to somebody else.
func (n *Northbound) SetAddressSet(ctx context.Context, a AddressSet) (bool, error) {
	if a.Name == "" {
		return false, errors.New("set address set: it has no name")
	}
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		ids := n.marks(a.ExternalIDs, nil)
		row := byName[addressSetRow](r, a.Name)
		switch {
		case row == nil:
			return plan{changes: []operation{insert(tableAddressSet, "set", ovsdb.Row{
				"name": a.Name, "addresses": setOf(compact(a.Addresses)...), "external_ids": mapOf(ids),
			})}}, nil
		case row.ExternalIDs[keyOwner] != n.cfg.Owner:
			return plan{}, n.foreign(tableAddressSet, a.Name, row.ExternalIDs)
		}
		changes := ovsdb.Row{}
		setList(changes, "addresses", row.Addresses, a.Addresses)
		setMap(changes, "external_ids", row.ExternalIDs, ids)
		return n.updateOwned(tableAddressSet, row.UUID, row.ExternalIDs, changes), nil
	})
	if err != nil {
		return false, fmt.Errorf("set address set %s: %w", a.Name, err)
	}
	return wrote, nil
}

// DeleteAddressSet removes an address set and returns whether it was there.
func (n *Northbound) DeleteAddressSet(ctx context.Context, name string) (bool, error) {
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		row := byName[addressSetRow](r, name)
		switch {
		case row == nil:
			return absent(tableAddressSet, equals("name", name)), nil
		case row.ExternalIDs[keyOwner] != n.cfg.Owner:
			return plan{}, n.foreign(tableAddressSet, name, row.ExternalIDs)
		}
		return n.removeOwned(tableAddressSet, row.UUID, row.ExternalIDs), nil
	})
	if err != nil {
		return false, fmt.Errorf("delete address set %s: %w", name, err)
	}
	return wrote, nil
}

// AddressSet reads one of riser's address sets. The error is [ErrNotFound] if there is none of that name.
func (n *Northbound) AddressSet(name string) (AddressSet, error) {
	var a AddressSet
	var missing error
	err := n.view(func(r *replica) {
		row := byName[addressSetRow](r, name)
		if row == nil || row.ExternalIDs[keyOwner] != n.cfg.Owner {
			missing = ErrNotFound
			return
		}
		a = AddressSet{Name: name, Addresses: compact(row.Addresses), ExternalIDs: unmarked(row.ExternalIDs)}
	})
	if err = errors.Join(err, missing); err != nil {
		return AddressSet{}, fmt.Errorf("read address set %s: %w", name, err)
	}
	return a, nil
}
