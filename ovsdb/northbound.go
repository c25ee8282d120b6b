package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Northbound is the OVN_Northbound database: what OVN shall do. Its rows are described in ovn-nb(5).
type Northbound struct{ *Conn }

// OpenNorthbound starts a supervised connection to an OVN_Northbound database; the server need not be there yet. Close
// ends it. The error is that of an endpoint that cannot be read.
func OpenNorthbound(cfg Config) (*Northbound, error) {
	c, err := open(cfg, databaseModel(dbNorthbound, northboundTables))
	if err != nil {
		return nil, err
	}
	return &Northbound{c}, nil
}

// Global is OVN's global state. A configuration is in force on all chassis when HVCfg has reached the NBCfg that was
// written with it.
type Global struct {
	Name                string
	NBCfg, SBCfg, HVCfg int
	Options             map[string]string
}

// Global reads table NB_Global. The error is [ErrNotFound] in a database that no northd or ovn-nbctl ever initialized.
func (n *Northbound) Global() (Global, error) {
	var g Global
	found := false
	err := n.view(func(r *replica) {
		for row := range all[nbGlobalRow](r) {
			found = true
			g = Global{Name: row.Name, NBCfg: row.NBCfg, SBCfg: row.SBCfg, HVCfg: row.HVCfg, Options: maps.Clone(row.Options)}
		}
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return Global{}, fmt.Errorf("row of table %s: %w", tableNBGlobal, err)
	}
	return g, nil
}

// LogicalSwitch is a layer-2 segment. Name is its identity among riser's switches, though OVN allows names to repeat.
type LogicalSwitch struct {
	Name        string
	OtherConfig map[string]string // "mcast_snoop", "subnet", ...
	ExternalIDs map[string]string // beside riser's own marks
}

// SetSwitch creates a logical switch or makes it as l says, and returns whether anything had to be written. It is a
// [ForeignError] if a switch of that name belongs to somebody else.
func (n *Northbound) SetSwitch(ctx context.Context, l LogicalSwitch) (bool, error) {
	if l.Name == "" {
		return false, errors.New("set logical switch: it has no name")
	}
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		row, err := n.ownSwitch(r, l.Name)
		ids := n.marks(l.ExternalIDs, nil)
		switch {
		case errors.Is(err, ErrNotFound):
			return plan{
				guards: absent(tableLogicalSwitch, equals("name", l.Name)).guards,
				changes: []operation{insert(tableLogicalSwitch, "switch", ovsdb.Row{
					"name": l.Name, "other_config": mapOf(l.OtherConfig), "external_ids": mapOf(ids),
				})},
			}, nil
		case err != nil:
			return plan{}, err
		}
		changes := ovsdb.Row{}
		setMap(changes, "other_config", row.OtherConfig, l.OtherConfig)
		setMap(changes, "external_ids", row.ExternalIDs, ids)
		return n.updateOwned(tableLogicalSwitch, row.UUID, row.ExternalIDs, changes), nil
	})
	if err != nil {
		return false, fmt.Errorf("set logical switch %s: %w", l.Name, err)
	}
	return wrote, nil
}

// DeleteSwitch removes a logical switch and returns whether it was there. The error is [ErrInUse] while it has ports.
func (n *Northbound) DeleteSwitch(ctx context.Context, name string) (bool, error) {
	wrote, err := n.write(ctx, func(r *replica) (plan, error) {
		row, err := n.ownSwitch(r, name)
		switch {
		case errors.Is(err, ErrNotFound):
			return absent(tableLogicalSwitch, equals("name", name)), nil
		case err != nil:
			return plan{}, err
		case len(row.Ports) > 0:
			return plan{}, fmt.Errorf("%w: it has %d ports", ErrInUse, len(row.Ports))
		}
		p := n.removeOwned(tableLogicalSwitch, row.UUID, row.ExternalIDs)
		p.guards = append(p.guards, expect(tableLogicalSwitch, where(isRow(row.UUID)), "ports", uuidsOf()))
		return p, nil
	})
	if err != nil {
		return false, fmt.Errorf("delete logical switch %s: %w", name, err)
	}
	return wrote, nil
}

// Switches returns riser's logical switches, ordered by name.
func (n *Northbound) Switches() ([]LogicalSwitch, error) {
	var list []LogicalSwitch
	err := n.view(func(r *replica) {
		for row := range all[logicalSwitchRow](r) {
			if row.ExternalIDs[keyOwner] == n.cfg.Owner {
				list = append(list, LogicalSwitch{Name: row.Name, OtherConfig: maps.Clone(row.OtherConfig), ExternalIDs: unmarked(row.ExternalIDs)})
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list logical switches: %w", err)
	}
	sortBy(list, func(l LogicalSwitch) string { return l.Name })
	return list, nil
}

// ownSwitch returns riser's switch of that name, ErrNotFound, or a ForeignError if somebody else has one.
func (n *Northbound) ownSwitch(r *replica, name string) (*logicalSwitchRow, error) {
	var foreign error
	for row := range all[logicalSwitchRow](r) {
		if row.Name != name {
			continue
		}
		if row.ExternalIDs[keyOwner] == n.cfg.Owner {
			return row, nil
		}
		foreign = n.foreign(tableLogicalSwitch, name, row.ExternalIDs)
	}
	if foreign != nil {
		return nil, foreign
	}
	return nil, fmt.Errorf("logical switch %s: %w", name, ErrNotFound)
}

// marks adds riser's marks to the external_ids that a caller wants.
func (n *Northbound) marks(ids map[string]string, more map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, ids)
	maps.Copy(out, more)
	out[keyOwner] = n.cfg.Owner
	return out
}

// unmarked returns external_ids without riser's marks.
func unmarked(ids map[string]string) map[string]string {
	out := maps.Clone(ids)
	for _, k := range []string{keyOwner, keyGeneration, keyID} {
		delete(out, k)
	}
	return out
}

func (n *Northbound) foreign(table, name string, ids map[string]string) error {
	return &ForeignError{Table: table, Name: name, Owner: ownerOf(ids), Claim: "name " + name}
}

// owned makes the transaction fail unless the row still has the owner and generation that the plan saw.
func (n *Northbound) owned(table, uuid string, ids map[string]string) operation {
	marks := map[string]string{keyOwner: n.cfg.Owner}
	if g, ok := ids[keyGeneration]; ok {
		marks[keyGeneration] = g
	}
	return expect(table, where(isRow(uuid), marked(marks)), "_uuid", uuidOf(uuid))
}

func (n *Northbound) updateOwned(table, uuid string, ids map[string]string, changes ovsdb.Row) plan {
	if len(changes) == 0 {
		return plan{}
	}
	return plan{guards: []operation{n.owned(table, uuid, ids)}, changes: []operation{update(table, uuid, changes)}}
}

func (n *Northbound) removeOwned(table, uuid string, ids map[string]string) plan {
	return plan{guards: []operation{n.owned(table, uuid, ids)}, changes: []operation{remove(table, uuid)}}
}

// absent has the database confirm that there is no such row.
func absent(table string, row ovsdb.Condition) plan {
	return plan{guards: []operation{expect(table, where(row), "_uuid")}}
}

func setMap(changes ovsdb.Row, column string, have, want map[string]string) {
	if !maps.Equal(have, want) {
		changes[column] = mapOf(want)
	}
}

// setList changes a column that is a set, whose order and repetitions mean nothing.
func setList(changes ovsdb.Row, column string, have, want []string) {
	if !sameSet(have, want) {
		changes[column] = setOf(compact(want)...)
	}
}

func sameSet(a, b []string) bool { return slices.Equal(compact(a), compact(b)) }

func compact(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func sortBy[T any](list []T, name func(T) string) {
	slices.SortFunc(list, func(a, b T) int {
		switch x, y := name(a), name(b); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}
