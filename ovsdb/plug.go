package ovsdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Keys of external_ids in table Interface, which are ovn-controller(8)'s.
const (
	keyIfaceID      = "iface-id"
	keyIfaceIDVer   = "iface-id-ver"
	keyInstalled    = "ovn-installed"
	keyInstalledAt  = "ovn-installed-ts"
	keyOVNPlugged   = "ovn-plugged"
	installedMarker = "true"
)

// Attachment is an order to plug a representor for a port.
type Attachment struct {
	Bridge     string // integration bridge, "br-int"
	Interface  string // network device of the representor
	IfaceID    string // name of the port in OVN
	IfaceIDVer string // optional: OVN claims the port only if its options:iface-id-ver is the same
	Generation int64  // of the order; rises with each order for the port
	MTU        int    // bytes; 0 leaves the device's own

	// Replaces names the port that may lose the representor to this one; "" if it must be free.
	Replaces string
}

func (a Attachment) check() error {
	switch {
	case a.Bridge == "" || a.Interface == "" || a.IfaceID == "":
		return fmt.Errorf("bridge %q, interface %q, iface-id %q: all three are needed", a.Bridge, a.Interface, a.IfaceID)
	case a.Generation < 0 || a.MTU < 0:
		return fmt.Errorf("generation %d, MTU %d: neither may be negative", a.Generation, a.MTU)
	}
	return nil
}

// Interface is one interface that was plugged for a port, and what Open vSwitch and OVN made of it.
type Interface struct {
	Name       string
	Owner      string // "" for riser, and else who plugged it, as ForeignError has it
	Bridge     string
	IfaceID    string
	IfaceIDVer string
	Generation int64 // of the order that was carried out; -1 where the row has no mark that can be read
	MTU        int   // as requested; 0 for none
	OFPort     int   // OpenFlow port number; 0 until ovs-vswitchd gives one, -1 where it failed to open the device
	Error      string
	LinkUp     bool
	Installed  bool // OVN reports the port's flows as installed
}

// Plug puts the representor into the bridge for the port, in one transaction: a new interface, or, instead of what the
// port or the representor has, the wanted one. There is no moment in which the port has none or two. It returns whether
// anything had to be written; after a nil error the database has it, also if there was nothing to write.
//
// The transaction holds only if no generation changed since it was planned. The errors that stay are
// [ErrOldGeneration], [ErrHeld] where the representor serves another port than a.Replaces, [ErrSuperseded],
// [ErrNotFound] for the bridge, and a [ForeignError] where a row that riser does not own has the port or the name.
func (s *Switch) Plug(ctx context.Context, a Attachment) (bool, error) {
	if err := a.check(); err != nil {
		return false, fmt.Errorf("plug: %w", err)
	}
	wrote, err := s.write(ctx, func(r *replica) (plan, error) {
		p := plugPlan{owner: s.cfg.Owner, a: a, r: r}
		if err := p.look(); err != nil {
			return plan{}, err
		}
		fence, err := s.fence(r)
		return plan{guards: append(fence, p.guards()...), changes: p.changes()}, err
	})
	if err != nil {
		return false, fmt.Errorf("plug %s for port %s, generation %d: %w", a.Interface, a.IfaceID, a.Generation, err)
	}
	return wrote, nil
}

// plugPlan plans one Plug upon one state of the replica.
type plugPlan struct {
	owner string
	a     Attachment
	r     *replica

	bridge *bridgeRow
	target *interfaceRow   // the representor's row, if it is plugged already
	others []*interfaceRow // other interfaces of the port, which must go
}

// look finds the rows in question and refuses what must not be touched.
func (p *plugPlan) look() error {
	if p.bridge = byName[bridgeRow](p.r, p.a.Bridge); p.bridge == nil {
		return fmt.Errorf("bridge %s: %w", p.a.Bridge, ErrNotFound)
	}
	if port := byName[portRow](p.r, p.a.Interface); port != nil && byName[interfaceRow](p.r, p.a.Interface) == nil {
		return &ForeignError{Table: tablePort, Name: port.Name, Owner: "unknown", Claim: "name " + p.a.Interface}
	}
	for row := range all[interfaceRow](p.r) {
		samePort, sameName := row.ExternalIDs[keyIfaceID] == p.a.IfaceID, row.Name == p.a.Interface
		switch {
		case !samePort && !sameName:
			continue
		case row.ExternalIDs[keyOwner] != p.owner:
			return foreignInterface(row, samePort)
		case samePort:
			if err := newer(row, p.a.Generation); err != nil {
				return err
			}
		case row.ExternalIDs[keyIfaceID] != p.a.Replaces:
			return fmt.Errorf("%w: port %s, generation %s", ErrHeld, row.ExternalIDs[keyIfaceID], row.ExternalIDs[keyGeneration])
		}
		if sameName {
			p.target = row
		} else {
			p.others = append(p.others, row)
		}
	}
	return nil
}

// newer refuses an order that is older than what the row says was carried out.
func newer(row *interfaceRow, generation int64) error {
	have, err := generationOf(row.ExternalIDs)
	if err != nil {
		return fmt.Errorf("interface %s: %w", row.Name, err)
	}
	if have > generation {
		return fmt.Errorf("%w: interface %s has generation %d", ErrOldGeneration, row.Name, have)
	}
	return nil
}

func generationOf(ids map[string]string) (int64, error) {
	n, err := strconv.ParseInt(ids[keyGeneration], 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q, which is no generation", keyGeneration, ids[keyGeneration])
	}
	return n, nil
}

// readGeneration returns -1 for a mark that cannot be read.
func readGeneration(ids map[string]string) int64 {
	n, err := generationOf(ids)
	if err != nil {
		return -1
	}
	return n
}

func foreignInterface(row *interfaceRow, byPort bool) error {
	claim := "name " + row.Name
	if byPort {
		claim = keyIfaceID + " " + row.ExternalIDs[keyIfaceID]
	}
	return &ForeignError{Table: tableInterface, Name: row.Name, Owner: ownerOf(row.ExternalIDs), Claim: claim}
}

func ownerOf(ids map[string]string) string {
	if owner := ids[keyOwner]; owner != "" {
		return keyOwner + " " + owner
	}
	if provider := ids[keyOVNPlugged]; provider != "" {
		return "ovn (" + provider + ")"
	}
	return "unknown"
}

// guards returns what the plan stands upon: the bridge, which interfaces the port has, and their generations.
func (p *plugPlan) guards() []operation {
	touched := p.others
	var names []any
	for _, row := range p.others {
		names = append(names, row.Name)
	}
	if p.target != nil {
		touched = append(slices.Clone(touched), p.target)
		if p.target.ExternalIDs[keyIfaceID] == p.a.IfaceID {
			names = append(names, p.target.Name)
		}
	}
	return append(unchanged(touched...),
		expect(tableBridge, where(isRow(p.bridge.UUID)), "name", p.bridge.Name),
		expect(tableInterface, ofPort(p.a.IfaceID), "name", names...),
	)
}

// ofPort matches the interfaces of a port.
func ofPort(ifaceID string) []ovsdb.Condition {
	return where(marked(map[string]string{keyIfaceID: ifaceID}))
}

// unchanged makes the transaction fail unless each row still has the owner, port and generation that the plan saw.
func unchanged(rows ...*interfaceRow) []operation {
	var ops []operation
	for _, row := range rows {
		marks := map[string]string{}
		for _, k := range []string{keyOwner, keyIfaceID, keyGeneration} {
			if v, ok := row.ExternalIDs[k]; ok {
				marks[k] = v
			}
		}
		ops = append(ops, expect(tableInterface, where(isRow(row.UUID), marked(marks)), "name", row.Name))
	}
	return ops
}

func (p *plugPlan) changes() []operation {
	var ops []operation
	for _, row := range p.others {
		ops = append(ops, unplugRow(p.r, row)...)
	}
	if p.target == nil {
		return append(ops, p.create()...)
	}
	ops = append(ops, p.mark()...)
	if have := mtuOf(p.target); have != p.a.MTU {
		ops = append(ops, update(tableInterface, p.target.UUID, ovsdb.Row{"mtu_request": mtuSet(p.a.MTU)}))
	}
	return append(ops, p.move()...)
}

func (p *plugPlan) create() []operation {
	row := ovsdb.Row{"name": p.a.Interface, "external_ids": mapOf(p.marks())}
	if p.a.MTU > 0 {
		row["mtu_request"] = p.a.MTU
	}
	return []operation{
		insert(tableInterface, "interface", row),
		insert(tablePort, "port", ovsdb.Row{"name": p.a.Interface, "interfaces": uuidOf("interface")}),
		mutate(tableBridge, where(isRow(p.bridge.UUID)), add("ports", uuidsOf("port"))),
	}
}

func (p *plugPlan) marks() map[string]string {
	m := map[string]string{keyIfaceID: p.a.IfaceID, keyOwner: p.owner, keyGeneration: strconv.FormatInt(p.a.Generation, 10)}
	if p.a.IfaceIDVer != "" {
		m[keyIfaceIDVer] = p.a.IfaceIDVer
	}
	return m
}

// mark brings the target's marks up to date. What others wrote there stays, except OVN's word that the flows of
// another port are installed.
func (p *plugPlan) mark() []operation {
	want := p.marks()
	var stale []string
	for _, k := range []string{keyIfaceID, keyIfaceIDVer, keyGeneration} {
		if have, ok := p.target.ExternalIDs[k]; ok && have != want[k] {
			stale = append(stale, k)
		}
	}
	if p.target.ExternalIDs[keyIfaceID] != p.a.IfaceID {
		stale = append(stale, keyInstalled, keyInstalledAt)
	}
	maps.DeleteFunc(want, func(k, v string) bool { return p.target.ExternalIDs[k] == v })
	if len(stale) == 0 && len(want) == 0 {
		return nil
	}
	return []operation{mutate(tableInterface, where(isRow(p.target.UUID)),
		drop("external_ids", setOf(stale...)), add("external_ids", mapOf(want)))}
}

// move brings the target's port into the wanted bridge, out of any other.
func (p *plugPlan) move() []operation {
	port := portOf(p.r, p.target)
	if port == nil || slices.Contains(p.bridge.Ports, port.UUID) {
		return nil
	}
	return append(leaveBridges(port), mutate(tableBridge, where(isRow(p.bridge.UUID)), add("ports", uuidsOf(port.UUID))))
}

func portOf(r *replica, row *interfaceRow) *portRow {
	if port := byName[portRow](r, row.Name); port != nil && slices.Contains(port.Interfaces, row.UUID) {
		return port
	}
	for port := range all[portRow](r) {
		if slices.Contains(port.Interfaces, row.UUID) {
			return port
		}
	}
	return nil
}

// leaveBridges takes a port out of the bridge that has it; without one, its rows are collected by the database.
func leaveBridges(port *portRow) []operation {
	return []operation{mutate(tableBridge, where(includes("ports", uuidOf(port.UUID))), drop("ports", uuidsOf(port.UUID)))}
}

func unplugRow(r *replica, row *interfaceRow) []operation {
	if port := portOf(r, row); port != nil {
		return leaveBridges(port)
	}
	return nil
}

func mtuOf(row *interfaceRow) int {
	if row.MTURequest == nil {
		return 0
	}
	return *row.MTURequest
}

func mtuSet(mtu int) ovsdb.OvsSet {
	if mtu == 0 {
		return setOf[int]()
	}
	return setOf(mtu)
}

// Unplug takes what riser plugged for the port out of its bridge, in one transaction, and returns whether there was
// anything. After a nil error the database has nothing that riser plugged for the port.
//
// It refuses with [ErrOldGeneration] if a newer order was carried out. Interfaces of another owner with the port's
// iface-id are left alone and reported as a [ForeignError], after riser's own are gone.
func (s *Switch) Unplug(ctx context.Context, ifaceID string, generation int64) (bool, error) {
	if ifaceID == "" {
		return false, fmt.Errorf("unplug: no port is named")
	}
	var foreign error
	wrote, err := s.write(ctx, func(r *replica) (plan, error) {
		var p plan
		var names []any
		foreign = nil
		for row := range all[interfaceRow](r) {
			if row.ExternalIDs[keyIfaceID] != ifaceID {
				continue
			}
			names = append(names, row.Name)
			if row.ExternalIDs[keyOwner] != s.cfg.Owner {
				foreign = errors.Join(foreign, foreignInterface(row, true))
				continue
			}
			if err := newer(row, generation); err != nil {
				return plan{}, err
			}
			p.guards = append(p.guards, unchanged(row)...)
			p.changes = append(p.changes, unplugRow(r, row)...)
		}
		p.guards = append(p.guards, expect(tableInterface, ofPort(ifaceID), "name", names...))
		fence, err := s.fence(r)
		p.guards = append(p.guards, fence...)
		return p, err
	})
	if err := cmp.Or(err, foreign); err != nil {
		return wrote, fmt.Errorf("unplug port %s, generation %d: %w", ifaceID, generation, err)
	}
	return wrote, nil
}

// AnyGeneration is a generation that is as new as any order, for [Switch.Unplug] and [Northbound.DeletePort].
const AnyGeneration = math.MaxInt64

// Interfaces returns what riser has plugged, ordered by port.
func (s *Switch) Interfaces() ([]Interface, error) {
	list, err := s.interfaces(func(row *interfaceRow) bool { return row.ExternalIDs[keyOwner] == s.cfg.Owner })
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	return list, nil
}

// InterfacesOf returns what anybody has plugged for a port, such as OVN itself where it plugs.
func (s *Switch) InterfacesOf(ifaceID string) ([]Interface, error) {
	list, err := s.interfaces(func(row *interfaceRow) bool { return row.ExternalIDs[keyIfaceID] == ifaceID && ifaceID != "" })
	if err != nil {
		return nil, fmt.Errorf("list interfaces of port %s: %w", ifaceID, err)
	}
	return list, nil
}

func (s *Switch) interfaces(wanted func(*interfaceRow) bool) ([]Interface, error) {
	var list []Interface
	err := s.view(func(r *replica) {
		bridges := map[string]string{} // by UUID of a port
		for b := range all[bridgeRow](r) {
			for _, port := range b.Ports {
				bridges[port] = b.Name
			}
		}
		for row := range all[interfaceRow](r) {
			if !wanted(row) {
				continue
			}
			i := interfaceOf(row)
			if port := portOf(r, row); port != nil {
				i.Bridge = bridges[port.UUID]
			}
			if row.ExternalIDs[keyOwner] != s.cfg.Owner {
				i.Owner = ownerOf(row.ExternalIDs)
			}
			list = append(list, i)
		}
	})
	slices.SortFunc(list, func(a, b Interface) int {
		return cmp.Or(strings.Compare(a.IfaceID, b.IfaceID), strings.Compare(a.Name, b.Name))
	})
	return list, err
}

func interfaceOf(row *interfaceRow) Interface {
	i := Interface{
		Name: row.Name, IfaceID: row.ExternalIDs[keyIfaceID], IfaceIDVer: row.ExternalIDs[keyIfaceIDVer],
		Generation: readGeneration(row.ExternalIDs), MTU: mtuOf(row), LinkUp: row.LinkState != nil && *row.LinkState == "up",
		Installed: row.ExternalIDs[keyInstalled] == installedMarker,
	}
	if row.OFPort != nil {
		i.OFPort = *row.OFPort
	}
	if row.Error != nil {
		i.Error = *row.Error
	}
	return i
}
