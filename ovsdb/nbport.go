package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Keys of options in table Logical_Switch_Port that place a port on a chassis and have ovn-controller plug it there.
const (
	OptionRequestedChassis = "requested-chassis"           // chassis name or host name
	OptionIfaceIDVer       = "iface-id-ver"                // claim only an interface with this iface-id-ver
	OptionPlugType         = "vif-plug-type"               // "representor"
	OptionPlugMTU          = "vif-plug-mtu-request"        // bytes
	OptionPlugPFMAC        = "vif-plug:representor:pf-mac" // of the host's PF, lower case with colons
	OptionPlugVF           = "vif-plug:representor:vf-num" // decimal; absent for the PF itself, since OVN 26.03
	plugOptionsPrefix      = "vif-plug"                    // of every key that has to do with plugging
)

// LogicalPort is a port of a logical switch.
type LogicalPort struct {
	Name         string // identity; the iface-id of its interface
	Switch       string // name of its logical switch
	Generation   int64  // of the order; rises with each order for the port
	Type         string // "" for a VIF
	Addresses    []string
	PortSecurity []string
	Options      map[string]string
	Disabled     bool
	DHCPv4       string // ID of DHCPOptions; "" for none
	DHCPv6       string
	ExternalIDs  map[string]string // beside riser's own marks
}

// PortState is a port and whether OVN has it up.
type PortState struct {
	LogicalPort
	Up bool
}

// SetPort creates a port or makes it as p says, its options as a whole, in one transaction; it moves to p.Switch if it
// is elsewhere. It returns whether anything had to be written.
//
// The errors that stay are [ErrNotFound] for the switch or the DHCP options, [ErrOldGeneration], and a [ForeignError]
// if a port of that name belongs to somebody else.
func (n *Northbound) SetPort(ctx context.Context, p LogicalPort) (bool, error) {
	if p.Name == "" || p.Switch == "" || p.Generation < 0 {
		return false, fmt.Errorf("set port %q of logical switch %q, generation %d: it needs a name and a switch, and no negative generation",
			p.Name, p.Switch, p.Generation)
	}
	wrote, err := n.write(ctx, func(r *replica) (plan, error) { return n.planPort(r, p) })
	if err != nil {
		return false, fmt.Errorf("set port %s, generation %d: %w", p.Name, p.Generation, err)
	}
	return wrote, nil
}

func (n *Northbound) planPort(r *replica, p LogicalPort) (plan, error) {
	home, err := n.ownSwitch(r, p.Switch)
	if err != nil {
		return plan{}, err
	}
	row, err := n.ownPort(r, p.Name, p.Generation)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return plan{}, err
	}
	absent := row == nil
	if absent {
		row = &logicalSwitchPortRow{UUID: "port"}
	}
	changes, err := n.portChanges(r, row, p)
	if err != nil {
		return plan{}, err
	}
	switchStays := n.owned(tableLogicalSwitch, home.UUID, home.ExternalIDs)
	enter := mutate(tableLogicalSwitch, where(isRow(home.UUID)), add("ports", uuidsOf(row.UUID)))
	if absent {
		changes["name"] = p.Name
		return plan{guards: []operation{switchStays}, changes: []operation{insert(tableLogicalSwitchPort, row.UUID, changes), enter}}, nil
	}
	out := n.updateOwned(tableLogicalSwitchPort, row.UUID, row.ExternalIDs, changes)
	if !slices.Contains(home.Ports, row.UUID) {
		out.guards = append(out.guards, switchStays)
		out.changes = append(out.changes, leaveSwitches(row.UUID), enter)
	}
	return out, nil
}

// leaveSwitches takes a port out of the switch that has it; without one, its row is collected by the database.
func leaveSwitches(uuid string) operation {
	return mutate(tableLogicalSwitch, where(includes("ports", uuidOf(uuid))), drop("ports", uuidsOf(uuid)))
}

func (n *Northbound) portChanges(r *replica, row *logicalSwitchPortRow, p LogicalPort) (ovsdb.Row, error) {
	changes := ovsdb.Row{}
	if row.Type != p.Type {
		changes["type"] = p.Type
	}
	setList(changes, "addresses", row.Addresses, p.Addresses)
	setList(changes, "port_security", row.PortSecurity, p.PortSecurity)
	setMap(changes, "options", row.Options, p.Options)
	setMap(changes, "external_ids", row.ExternalIDs,
		n.marks(p.ExternalIDs, map[string]string{keyGeneration: strconv.FormatInt(p.Generation, 10)}))
	if disabled(row) != p.Disabled {
		changes["enabled"] = setOf(!p.Disabled)
	}
	for _, dhcp := range []struct {
		column, id string
		have       *string
	}{{"dhcpv4_options", p.DHCPv4, row.DHCPv4Options}, {"dhcpv6_options", p.DHCPv6, row.DHCPv6Options}} {
		want, err := n.dhcpUUID(r, dhcp.id)
		if err != nil {
			return nil, err
		}
		switch {
		case want == "" && dhcp.have != nil:
			changes[dhcp.column] = uuidsOf()
		case want != "" && (dhcp.have == nil || *dhcp.have != want):
			changes[dhcp.column] = uuidsOf(want)
		}
	}
	return changes, nil
}

func disabled(row *logicalSwitchPortRow) bool { return row.Enabled != nil && !*row.Enabled }

// ownPort returns riser's port of that name, unless a newer order was carried out for it.
func (n *Northbound) ownPort(r *replica, name string, generation int64) (*logicalSwitchPortRow, error) {
	row := byName[logicalSwitchPortRow](r, name)
	if row == nil {
		return nil, fmt.Errorf("logical switch port %s: %w", name, ErrNotFound)
	}
	if row.ExternalIDs[keyOwner] != n.cfg.Owner {
		return nil, n.foreign(tableLogicalSwitchPort, name, row.ExternalIDs)
	}
	have, err := generationOf(row.ExternalIDs)
	if err != nil {
		return nil, fmt.Errorf("logical switch port %s: %w", name, err)
	}
	if have > generation {
		return nil, fmt.Errorf("%w: logical switch port %s has generation %d", ErrOldGeneration, name, have)
	}
	return row, nil
}

// DeletePort removes a port and returns whether it was there. The error is [ErrOldGeneration] if a newer order was
// carried out; [AnyGeneration] is as new as any.
func (n *Northbound) DeletePort(ctx context.Context, name string, generation int64) (bool, error) {
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		row, err := n.ownPort(r, name, generation)
		switch {
		case errors.Is(err, ErrNotFound):
			return absent(tableLogicalSwitchPort, equals("name", name)), nil
		case err != nil:
			return plan{}, err
		}
		return plan{
			guards:  []operation{n.owned(tableLogicalSwitchPort, row.UUID, row.ExternalIDs)},
			changes: []operation{leaveSwitches(row.UUID)},
		}, nil
	})
	if err != nil {
		return false, fmt.Errorf("delete port %s, generation %d: %w", name, generation, err)
	}
	return wrote, nil
}

// Port returns one of riser's ports. The error is [ErrNotFound] if there is none of that name.
func (n *Northbound) Port(name string) (PortState, error) {
	var state PortState
	var missing error
	err := n.view(func(r *replica) {
		var row *logicalSwitchPortRow
		if row, missing = n.ownPort(r, name, AnyGeneration); missing == nil {
			state = portState(r, row, switchesOf(r, row.UUID))
		}
	})
	if err = errors.Join(err, missing); err != nil {
		return PortState{}, fmt.Errorf("read port %s: %w", name, err)
	}
	return state, nil
}

// Ports returns riser's ports, ordered by name.
func (n *Northbound) Ports() ([]PortState, error) {
	var list []PortState
	err := n.view(func(r *replica) {
		homes := map[string]string{}
		for l := range all[logicalSwitchRow](r) {
			for _, port := range l.Ports {
				homes[port] = l.Name
			}
		}
		for row := range all[logicalSwitchPortRow](r) {
			if row.ExternalIDs[keyOwner] == n.cfg.Owner {
				list = append(list, portState(r, row, homes[row.UUID]))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list ports: %w", err)
	}
	sortBy(list, func(p PortState) string { return p.Name })
	return list, nil
}

func switchesOf(r *replica, port string) string {
	for l := range all[logicalSwitchRow](r) {
		if slices.Contains(l.Ports, port) {
			return l.Name
		}
	}
	return ""
}

func portState(r *replica, row *logicalSwitchPortRow, home string) PortState {
	return PortState{
		LogicalPort: LogicalPort{
			Name: row.Name, Switch: home, Generation: readGeneration(row.ExternalIDs), Type: row.Type,
			Addresses: compact(row.Addresses), PortSecurity: compact(row.PortSecurity), Options: maps.Clone(row.Options),
			Disabled: disabled(row), DHCPv4: dhcpID(r, row.DHCPv4Options), DHCPv6: dhcpID(r, row.DHCPv6Options),
			ExternalIDs: unmarked(row.ExternalIDs),
		},
		Up: isTrue(row.Up),
	}
}

// PortEvent is a port whose state OVN or an order has changed.
type PortEvent struct {
	Name       string
	Generation int64 // -1 where the row's mark cannot be read
	Up         bool
	Gone       bool // the port was deleted; only Name is set besides
}

// WatchPorts calls fn once for each of riser's ports, at the start and after each reconnection, and then for each whose
// Up or Generation changed or that is gone. Calls come one after another, in the caller's goroutine; a port that changes
// while fn runs is told with its newest state only. It returns when ctx ends, with its error, or when n is closed.
func (n *Northbound) WatchPorts(ctx context.Context, fn func(PortEvent)) error {
	sub := n.subscribe(true)
	defer sub.Close()
	known := map[string]PortEvent{} // by UUID of the row
	for {
		for _, e := range n.portEvents(sub, known) {
			fn(e)
		}
		select {
		case <-sub.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.done:
			return fmt.Errorf("watch ports: %w", errSessionClosed)
		}
	}
}

// portEvents takes what changed since the last call and brings known up to date.
func (n *Northbound) portEvents(sub *Subscription, known map[string]PortEvent) []PortEvent {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := sub.changed
	sub.changed = map[rowID]bool{}
	if n.replica == nil {
		return nil
	}
	var events []PortEvent
	if sub.epoch != n.health.Epoch {
		sub.epoch = n.health.Epoch
		changed = map[rowID]bool{}
		for uuid := range known {
			changed[rowID{tableLogicalSwitchPort, uuid}] = true
		}
		for row := range all[logicalSwitchPortRow](n.replica) {
			delete(known, row.UUID)
			changed[rowID{tableLogicalSwitchPort, row.UUID}] = true
		}
	}
	for id := range changed {
		if id.table != tableLogicalSwitchPort {
			continue
		}
		if e, ok := n.portEvent(id.uuid, known); ok {
			events = append(events, e)
		}
	}
	sortBy(events, func(e PortEvent) string { return e.Name })
	return events
}

func (n *Northbound) portEvent(uuid string, known map[string]PortEvent) (PortEvent, bool) {
	before, was := known[uuid]
	row := byUUID[logicalSwitchPortRow](n.replica, uuid)
	if row == nil || row.ExternalIDs[keyOwner] != n.cfg.Owner {
		delete(known, uuid)
		return PortEvent{Name: before.Name, Gone: true}, was && !n.owns(before.Name)
	}
	now := PortEvent{Name: row.Name, Generation: readGeneration(row.ExternalIDs), Up: isTrue(row.Up)}
	known[uuid] = now
	return now, !was || now != before
}

// owns tells whether riser has a port of that name, perhaps in another row than before.
func (n *Northbound) owns(name string) bool {
	row := byName[logicalSwitchPortRow](n.replica, name)
	return row != nil && row.ExternalIDs[keyOwner] == n.cfg.Owner
}
