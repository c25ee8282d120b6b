package ovs

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// integrationBridge is the bridge whose interfaces ovn-controller claims.
const integrationBridge = "br-int"

// OVN is an OVN_Northbound database with a northd, and an ovn-controller on each chassis: an interface in br-int whose
// iface-id is the name of a logical switch port is claimed by the chassis that the port's requested-chassis names, by
// system-id or host name, or by any if it names none. Claimed means ovn-installed on the interface and up on the port.
type OVN struct {
	*Server
	work *worker

	// The worker's own; what the databases said last.
	ports    map[string]Row                        // by name
	chassis  []*Switch                             // in the order of AddChassis
	plugged  map[*Switch]map[string]map[string]Row // interfaces by iface-id and UUID
	identity map[*Switch]Row                       // row of table Open_vSwitch
}

// StartOVN starts OVN with an initialized northbound database at an endpoint as [Server.Listen] takes it. Close ends
// it.
func StartOVN(endpoint string) (*OVN, error) {
	server, err := newNorthbound()
	if err != nil {
		return nil, err
	}
	o := &OVN{
		Server: server, ports: map[string]Row{}, plugged: map[*Switch]map[string]map[string]Row{}, identity: map[*Switch]Row{},
	}
	o.work = startWorker(o.handle)
	server.onCommit(func(changes []change) { o.work.add(nil, changes) })
	if err := server.Listen(endpoint); err != nil {
		o.work.stop()
		return nil, err
	}
	return o, nil
}

// AddChassis starts an ovn-controller on a switch. Close the OVN before the switch.
func (o *OVN) AddChassis(s *Switch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var there []change
	for _, table := range []string{"Open_vSwitch", "Interface"} {
		rows, err := s.store.rows(table)
		if err != nil {
			return err
		}
		for _, row := range rows {
			there = append(there, change{table: table, new: row})
		}
	}
	o.work.add(s, there)
	s.hooks = append(s.hooks, func(changes []change) { o.work.add(s, changes) })
	return nil
}

// Close ends the server, the northd and the controllers.
func (o *OVN) Close() error {
	o.Stop()
	o.work.stop()
	return nil
}

func (o *OVN) handle(source any, c change) {
	s, onSwitch := source.(*Switch)
	switch {
	case onSwitch && c.table == "Interface":
		o.interfaceChanged(s, c)
	case onSwitch && c.table == "Open_vSwitch":
		if !slices.Contains(o.chassis, s) {
			o.chassis = append(o.chassis, s)
		}
		o.identity[s] = c.new
		for _, name := range slices.Sorted(maps.Keys(o.ports)) {
			o.settle(name)
		}
	case !onSwitch && c.table == "Logical_Switch_Port":
		if c.old != nil {
			delete(o.ports, c.old.text("name"))
		}
		if c.new != nil {
			o.ports[c.new.text("name")] = c.new
			o.settle(c.new.text("name"))
		} else {
			o.settle(c.old.text("name"))
		}
	}
}

func (o *OVN) interfaceChanged(s *Switch, c change) {
	if o.plugged[s] == nil {
		o.plugged[s] = map[string]map[string]Row{}
	}
	touched := map[string]bool{}
	if c.old != nil {
		id := c.old.Map("external_ids")["iface-id"]
		delete(o.plugged[s][id], c.old.UUID())
		touched[id] = true
	}
	if c.new != nil {
		id := c.new.Map("external_ids")["iface-id"]
		if o.plugged[s][id] == nil {
			o.plugged[s][id] = map[string]Row{}
		}
		o.plugged[s][id][c.new.UUID()] = c.new
		touched[id] = true
	}
	for id := range touched {
		if id != "" {
			o.settle(id)
		}
	}
}

// settle makes the port and its interfaces say whether the port is claimed.
func (o *OVN) settle(name string) {
	port := o.ports[name]
	claimed := false
	for _, s := range o.chassis {
		for _, row := range o.plugged[s][name] {
			mine := port != nil && !claimed && o.mayClaim(s, port) && o.isFor(row, port) && s.inBridge(integrationBridge, row)
			claimed = claimed || mine
			o.setInstalled(s, row, mine)
		}
	}
	if port == nil || port.text("type") != "" {
		return
	}
	if up, known := port["up"].(bool); !known || up != claimed {
		_ = o.Transact(ovsdb.Operation{Op: "update", Table: "Logical_Switch_Port", Where: isRow(port.UUID()), Row: ovsdb.Row{"up": claimed}})
	}
}

func (o *OVN) mayClaim(s *Switch, port Row) bool {
	requested, _, _ := strings.Cut(port.Map("options")["requested-chassis"], ",")
	ids := o.identity[s].Map("external_ids")
	return requested == "" || requested == ids["system-id"] || requested == ids["hostname"]
}

func (o *OVN) isFor(row, port Row) bool {
	version := port.Map("options")["iface-id-ver"]
	return version == "" || version == row.Map("external_ids")["iface-id-ver"]
}

func (o *OVN) setInstalled(s *Switch, row Row, installed bool) {
	if (row.Map("external_ids")["ovn-installed"] == "true") == installed {
		return
	}
	keys := ovsdb.OvsSet{GoSet: []any{"ovn-installed", "ovn-installed-ts"}}
	marks := ovsdb.OvsMap{GoMap: map[any]any{}}
	if installed {
		marks.GoMap["ovn-installed"] = "true"
		marks.GoMap["ovn-installed-ts"] = strconv.FormatInt(time.Now().UnixMilli(), 10)
	}
	// The interface may be gone or serve another port by now; then nothing matches.
	where := append(isRow(row.UUID()), ovsdb.NewCondition("external_ids", ovsdb.ConditionIncludes,
		ovsdb.OvsMap{GoMap: map[any]any{"iface-id": row.Map("external_ids")["iface-id"]}}))
	_ = s.Transact(ovsdb.Operation{Op: "mutate", Table: "Interface", Where: where, Mutations: []ovsdb.Mutation{
		*ovsdb.NewMutation("external_ids", ovsdb.MutateOperationDelete, keys),
		*ovsdb.NewMutation("external_ids", ovsdb.MutateOperationInsert, marks),
	}})
}

// inBridge tells whether an interface hangs on a bridge.
func (s *Switch) inBridge(bridge string, iface Row) bool {
	home, port := s.named("Bridge", bridge), s.named("Port", iface.text("name"))
	return slices.Contains(home.list("ports"), port.UUID()) && slices.Contains(port.list("interfaces"), iface.UUID())
}
