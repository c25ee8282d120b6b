package ovsdb

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// Keys of external_ids in table Open_vSwitch; all but the last are ovn-controller(8)'s.
const (
	keySystemID   = "system-id"
	keyHostname   = "hostname"
	keyCMSOptions = "ovn-cms-options"
	keySession    = "riser-session"
)

// Switch is the Open_vSwitch database of one card.
type Switch struct {
	*Conn
	session atomic.Pointer[string]
}

// OpenSwitch starts a supervised connection to an Open_vSwitch database; the server need not be there yet. Close ends
// it. The error is that of an endpoint that cannot be read.
func OpenSwitch(cfg Config) (*Switch, error) {
	c, err := open(cfg, databaseModel(dbSwitch, switchTables))
	if err != nil {
		return nil, err
	}
	return &Switch{Conn: c}, nil
}

// Identity is what a switch says about itself.
type Identity struct {
	SystemID   string // external_ids:system-id, which is the chassis name in OVN
	Hostname   string // external_ids:hostname, which is the chassis host name in OVN
	Version    string // of Open vSwitch
	CMSOptions []string
	Bridges    []string
}

// Identity reads the switch's identity; a text that is not set is "".
func (s *Switch) Identity() (Identity, error) {
	var id Identity
	var found bool
	err := s.view(func(r *replica) {
		for row := range all[openVSwitchRow](r) {
			found = true
			id.SystemID, id.Hostname = row.ExternalIDs[keySystemID], row.ExternalIDs[keyHostname]
			id.CMSOptions = splitOptions(row.ExternalIDs[keyCMSOptions])
			if row.OVSVersion != nil {
				id.Version = *row.OVSVersion
			}
		}
		for row := range all[bridgeRow](r) {
			id.Bridges = append(id.Bridges, row.Name)
		}
	})
	if err != nil {
		return Identity{}, fmt.Errorf("identity of the switch: %w", err)
	}
	if !found {
		return Identity{}, fmt.Errorf("identity of the switch: %w", errNoRoot)
	}
	slices.Sort(id.Bridges)
	return id, nil
}

var errNoRoot = fmt.Errorf("the row of table %s is %w; was ovs-vsctl init run?", tableOpenVSwitch, ErrNotFound)

// AddCMSOption adds one element, such as "card-serial-number=MT2113X00042", to ovn-cms-options, and leaves all others
// as they are. It returns whether the element was missing.
func (s *Switch) AddCMSOption(ctx context.Context, element string) (bool, error) {
	return s.editCMSOptions(ctx, element, func(list []string) []string {
		if slices.Contains(list, element) {
			return list
		}
		return append(list, element)
	})
}

// RemoveCMSOption removes one exact element from ovn-cms-options, and leaves all others as they are. It returns whether
// the element was there.
func (s *Switch) RemoveCMSOption(ctx context.Context, element string) (bool, error) {
	return s.editCMSOptions(ctx, element, func(list []string) []string {
		return slices.DeleteFunc(list, func(e string) bool { return e == element })
	})
}

func (s *Switch) editCMSOptions(ctx context.Context, element string, edit func([]string) []string) (bool, error) {
	if element == "" || strings.TrimSpace(element) != element || strings.Contains(element, ",") {
		return false, fmt.Errorf("ovn-cms-options element %q: want a text without commas and without blanks around it", element)
	}
	wrote, err := s.editExternalIDs(ctx, func(ids map[string]string) map[string]string {
		list := splitOptions(ids[keyCMSOptions])
		edited := edit(slices.Clone(list))
		if slices.Equal(list, edited) {
			return nil
		}
		return map[string]string{keyCMSOptions: strings.Join(edited, ",")}
	})
	if err != nil {
		return false, fmt.Errorf("ovn-cms-options element %q: %w", element, err)
	}
	return wrote, nil
}

func splitOptions(s string) []string {
	var list []string
	for e := range strings.SplitSeq(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			list = append(list, e)
		}
	}
	return list
}

// Claim makes session, a text that no other agent uses, the one that may write. Each later Plug and Unplug of this
// Switch carries the condition that no other session has claimed since; else it is [ErrSuperseded]. Without that, an
// agent that was stopped for a while could plug again what its successor has unplugged, for the generation of an order
// goes with its interface. Other writers of the database are not affected.
func (s *Switch) Claim(ctx context.Context, session string) error {
	if session == "" {
		return fmt.Errorf("claim the switch: the session has no name")
	}
	_, err := s.editExternalIDs(ctx, func(ids map[string]string) map[string]string {
		if ids[keySession] == session {
			return nil
		}
		return map[string]string{keySession: session}
	})
	if err != nil {
		return fmt.Errorf("claim the switch: %w", err)
	}
	s.session.Store(&session)
	return nil
}

// editExternalIDs sets some external_ids of the root row, "" to remove one. The write holds only against the
// external_ids that edit saw.
func (s *Switch) editExternalIDs(ctx context.Context, edit func(map[string]string) map[string]string) (bool, error) {
	return s.write(ctx, func(r *replica) (plan, error) {
		root, err := rootOf(r)
		if err != nil {
			return plan{}, err
		}
		row := where(isRow(root.UUID))
		p := plan{guards: []operation{expect(tableOpenVSwitch, row, "external_ids", mapOf(root.ExternalIDs))}}
		if changes := edit(root.ExternalIDs); len(changes) > 0 {
			added := maps.Clone(changes)
			maps.DeleteFunc(added, func(_, v string) bool { return v == "" })
			p.changes = append(p.changes, mutate(tableOpenVSwitch, row,
				drop("external_ids", setOf(slices.Sorted(maps.Keys(changes))...)), add("external_ids", mapOf(added))))
		}
		return p, nil
	})
}

func rootOf(r *replica) (*openVSwitchRow, error) {
	for row := range all[openVSwitchRow](r) {
		return row, nil
	}
	return nil, errNoRoot
}

// fence returns the condition that this session still holds the switch. The error is ErrSuperseded if the replica shows
// already that it does not.
func (s *Switch) fence(r *replica) ([]operation, error) {
	session := s.session.Load()
	if session == nil {
		return nil, nil
	}
	root, err := rootOf(r)
	if err != nil {
		return nil, err
	}
	if holder := root.ExternalIDs[keySession]; holder != *session {
		return nil, fmt.Errorf("%w: %q holds it, this is %q", ErrSuperseded, holder, *session)
	}
	rows := where(isRow(root.UUID), marked(map[string]string{keySession: *session}))
	return []operation{expect(tableOpenVSwitch, rows, "_uuid", uuidOf(root.UUID))}, nil
}
