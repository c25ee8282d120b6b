package dpu_test

import (
	"testing"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/internal/sim/devlinksim"
	"github.com/riser-project/riser/internal/sim/ovs"
)

// ovnPlugs plugs an interface as ovn-controller's representor provider does.
func (l *lab) ovnPlugs(device, port string) {
	l.t.Helper()
	ids := ovsdb.OvsMap{GoMap: map[any]any{"iface-id": port, "ovn-plugged": "representor"}}
	must(l.t, l.vswitch.Transact(
		ovsdb.Operation{Op: "insert", Table: "Interface", UUIDName: "interface", Row: ovsdb.Row{"name": device, "external_ids": ids}},
		ovsdb.Operation{Op: "insert", Table: "Port", UUIDName: "port", Row: ovsdb.Row{"name": device, "interfaces": ovsdb.UUID{GoUUID: "interface"}}},
		l.bridgePorts("insert", "port"),
	))
}

// ovnUnplugs takes it out again.
func (l *lab) ovnUnplugs(device string) {
	l.t.Helper()
	rows, err := l.vswitch.Rows("Port", ovs.Row{"name": device})
	must(l.t, err)
	if len(rows) != 1 {
		l.t.Fatalf("%d ports are named %s", len(rows), device)
	}
	must(l.t, l.vswitch.Transact(l.bridgePorts("delete", rows[0].UUID())))
}

func (l *lab) bridgePorts(mutator, port string) ovsdb.Operation {
	return ovsdb.Operation{
		Op: "mutate", Table: "Bridge", Where: []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, "br-int")},
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("ports", ovsdb.Mutator(mutator), ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: port}}})},
	}
}

// addBridge adds a bridge to the switch.
func (l *lab) addBridge(name string) {
	l.t.Helper()
	must(l.t, l.vswitch.Transact(
		ovsdb.Operation{Op: "insert", Table: "Bridge", UUIDName: "bridge", Row: ovsdb.Row{"name": name}},
		ovsdb.Operation{Op: "mutate", Table: "Open_vSwitch", Where: []ovsdb.Condition{}, Mutations: []ovsdb.Mutation{
			*ovsdb.NewMutation("bridges", ovsdb.MutateOperationInsert, ovsdb.OvsSet{GoSet: []any{ovsdb.UUID{GoUUID: "bridge"}}}),
		}},
	))
}

// byOVN is an order for ovn-controller.
func byOVN(o wire.Order) wire.Order {
	o.ByOVN = true
	return o
}

func TestWhatOVNPlugsIsWatched(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	o := byOVN(plugVF("port-1", 1, hostMAC(0, 0), 0))
	l.server.order(o)
	l.server.wantReason("port-1", wire.Waiting, "ovn-controller to plug c1pf0vf0")
	if p := l.port(pf(1, 0).VF(0)); p.HWAddr.String() != o.MAC {
		t.Errorf("the VF's address is %s", p.HWAddr)
	}
	l.ovnPlugs("c1pf0vf0", "port-1")
	if status := l.server.wantStatus("port-1", 1, wire.Plugged); status.Representor != "c1pf0vf0" {
		t.Errorf("the status is %+v", status)
	}
	l.server.order(unplug(o, 2))
	l.server.wantReason("port-1", wire.Waiting, "ovn-controller to unplug c1pf0vf0")
	if got := l.rows()["port-1"]; got.name != "c1pf0vf0" || got.owner != "" {
		t.Errorf("the agent has touched the interface: %+v", got)
	}
	l.ovnUnplugs("c1pf0vf0")
	l.server.wantStatus("port-1", 2, wire.Unplugged)
	l.wantUnplugged("port-1")
}

func TestThatOVNHasUnpluggedIsSaidOnlyByTheDatabase(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	l.server.order(plugVF("port-0", 1, hostMAC(0, 0), 0))
	l.server.wantStatus("port-0", 1, wire.Plugged)
	l.vswitch.Stop()
	l.server.order(unplug(byOVN(plugVF("port-1", 1, hostMAC(0, 0), 1)), 2))
	l.server.wantReason("port-1", wire.Waiting, "not connected")
	must(t, l.vswitch.Listen(""))
	l.server.wantStatus("port-1", 2, wire.Unplugged)
}

func TestOVNPlugsAnotherHostsFunction(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.kernel.SetPort(devlinksim.FunctionPort(pf(2, 0).VF(0), "c2pf0vf0"))
	l.start()
	l.server.order(byOVN(plugVF("port-1", 1, hostMAC(0, 0), 0)))
	l.ovnPlugs("c2pf0vf0", "port-1")
	l.server.wantReason("port-1", wire.Failed, "ovn-controller has plugged c2pf0vf0", "is c1pf0vf0")
	l.ovnUnplugs("c2pf0vf0")
	l.server.wantReason("port-1", wire.Waiting, "ovn-controller to plug c1pf0vf0")
}

func TestAPortGoesFromTheAgentToOVN(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
	l.server.wantStatus("port-1", 1, wire.Plugged)
	l.server.order(byOVN(plugVF("port-1", 2, hostMAC(0, 0), 0)))
	l.server.wantReason("port-1", wire.Waiting, "ovn-controller to plug c1pf0vf0")
	l.wantUnplugged("port-1")
	l.ovnPlugs("c1pf0vf0", "port-1")
	l.server.wantStatus("port-1", 2, wire.Plugged)
}

func TestOVNWaitsForWhatTheAgentWouldWaitFor(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	l.server.order(byOVN(plugVF("port-1", 1, hostMAC(0, 0), 9)), byOVN(plugVF("port-2", 1, hostMAC(7, 7), 0)))
	l.server.wantReason("port-1", wire.Waiting, "its PF has 4 VFs")
	l.server.wantReason("port-2", wire.Failed, "no host that this card serves has a PF")
}

func TestWhatIsNotOVNsIsNoSignOfOVN(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	must(t, l.vswitch.Transact(
		ovsdb.Operation{Op: "insert", Table: "Interface", UUIDName: "interface", Row: ovsdb.Row{
			"name": "tap0", "external_ids": ovsdb.OvsMap{GoMap: map[any]any{"iface-id": "port-1"}},
		}},
		ovsdb.Operation{Op: "insert", Table: "Port", UUIDName: "port", Row: ovsdb.Row{"name": "tap0", "interfaces": ovsdb.UUID{GoUUID: "interface"}}},
		l.bridgePorts("insert", "port"),
	))
	l.start()
	l.server.order(byOVN(plugVF("port-1", 1, hostMAC(0, 0), 0)))
	l.server.wantReason("port-1", wire.Failed, "tap0", "left alone")
}
