package ovsdb_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riser-project/riser/ovsdb"
)

// central is an OVN_Northbound database with a row in NB_Global.
type central struct {
	endpoint string
	raw      *raw
}

// northboundSuite is what every server of database OVN_Northbound must let riser do.
var northboundSuite = suite[central]{
	{"a logical switch is created, changed and deleted", testLogicalSwitch},
	{"two writers make one logical switch", testOneSwitchPerName},
	{"a port is created, changed, moved and deleted", testLogicalPort},
	{"a port's order may not be older", testPortGeneration},
	{"rows of others are left alone and named", testNorthboundForeign},
	{"what is missing is named", testNorthboundMissing},
	{"a port group keeps the rows of its rules", testPortGroup},
	{"an address set", testAddressSet},
	{"DHCP options", testDHCPOptions},
	{"global state", testGlobal},
	{"up and down of ports are told", testWatchPorts},
}

func openNorthbound(t testing.TB, endpoint string) *ovsdb.Northbound {
	t.Helper()
	n, err := ovsdb.OpenNorthbound(ovsdb.Config{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// set calls a setter and checks whether it wrote.
func set[T any](t testing.TB, f func(context.Context, T) (bool, error), v T, wantWrite bool) {
	t.Helper()
	if wrote, err := f(t.Context(), v); err != nil || wrote != wantWrite {
		t.Fatalf("%+v: wrote %v, %v; want %v", v, wrote, err, wantWrite)
	}
}

func testLogicalSwitch(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	l := ovsdb.LogicalSwitch{Name: "net-1", OtherConfig: map[string]string{"mcast_snoop": "false"}, ExternalIDs: map[string]string{"name": "blue"}}
	set(t, n.SetSwitch, l, true)
	set(t, n.SetSwitch, l, false)
	l.OtherConfig, l.ExternalIDs = nil, map[string]string{"name": "green"}
	set(t, n.SetSwitch, l, true)
	want := map[string]string{"name": "green", "riser-owner": "riser"}
	if got := c.raw.named("Logical_Switch", "net-1"); !cmp.Equal(got.ids(), want) || len(got.dict("other_config")) != 0 {
		t.Errorf("row %v", got)
	}
	list, err := n.Switches()
	if diff := cmp.Diff([]ovsdb.LogicalSwitch{l}, list, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	set(t, n.SetPort, ovsdb.LogicalPort{Name: "p", Switch: "net-1"}, true)
	if _, err := n.DeleteSwitch(t.Context(), "net-1"); !errors.Is(err, ovsdb.ErrInUse) {
		t.Errorf("a switch with a port was deleted: %v", err)
	}
	if wrote, err := n.DeletePort(t.Context(), "p", 0); err != nil || !wrote {
		t.Fatal(wrote, err)
	}
	set(t, n.DeleteSwitch, "net-1", true)
	set(t, n.DeleteSwitch, "net-1", false)
	if got := c.raw.rows("Logical_Switch"); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}

func testOneSwitchPerName(t *testing.T, c central) {
	const writers = 4
	done := make(chan error)
	for range writers {
		n := openNorthbound(t, c.endpoint)
		go func() {
			_, err := n.SetSwitch(context.WithoutCancel(t.Context()), ovsdb.LogicalSwitch{Name: "net-1"})
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := c.raw.rows("Logical_Switch"); len(got) != 1 {
		t.Errorf("%d switches: %v", len(got), got)
	}
}

func testLogicalPort(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "net-1"}, true)
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "net-2"}, true)
	set(t, n.SetDHCPOptions, ovsdb.DHCPOptions{ID: "sub-1", CIDR: "10.9.0.0/24"}, true)
	p := ovsdb.LogicalPort{
		Name: "c1c7e11f", Switch: "net-1", Generation: 3,
		Addresses: []string{"fa:16:3e:2a:b6:4e 10.9.0.217", "fa:16:3e:2a:b6:4f"}, PortSecurity: []string{"fa:16:3e:2a:b6:4e 10.9.0.217"},
		Options: map[string]string{
			ovsdb.OptionRequestedChassis: "dpu1.example", ovsdb.OptionPlugType: "representor", ovsdb.OptionPlugMTU: "1442",
			ovsdb.OptionPlugPFMAC: "0c:42:a1:00:00:00", ovsdb.OptionPlugVF: "0",
		},
		DHCPv4: "sub-1", ExternalIDs: map[string]string{"device": "inst-1"},
	}
	set(t, n.SetPort, p, true)
	set(t, n.SetPort, p, false)
	got, err := n.Port(p.Name)
	if diff := cmp.Diff(ovsdb.PortState{LogicalPort: p}, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	row := c.raw.named("Logical_Switch_Port", p.Name)
	if row.ids()["riser-generation"] != "3" || !cmp.Equal(row.dict("options"), p.Options) {
		t.Errorf("row %v", row)
	}
	p.Addresses = []string{"fa:16:3e:2a:b6:4f", "fa:16:3e:2a:b6:4e 10.9.0.217"} // the order means nothing
	set(t, n.SetPort, p, false)
	p = ovsdb.LogicalPort{Name: p.Name, Switch: "net-2", Generation: 4, Disabled: true}
	set(t, n.SetPort, p, true)
	list, err := n.Ports()
	if diff := cmp.Diff([]ovsdb.PortState{{LogicalPort: p}}, list, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("unbound and moved: %v (-want +got):\n%s", err, diff)
	}
	if wrote, err := n.DeletePort(t.Context(), p.Name, 4); err != nil || !wrote {
		t.Errorf("%v, %v", wrote, err)
	}
	if wrote, err := n.DeletePort(t.Context(), p.Name, 4); err != nil || wrote {
		t.Errorf("repeated: %v, %v", wrote, err)
	}
	if got := c.raw.rows("Logical_Switch_Port"); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
	if _, err := n.Port(p.Name); !errors.Is(err, ovsdb.ErrNotFound) {
		t.Errorf("deleted port: %v", err)
	}
}

func testPortGeneration(t *testing.T, c central) {
	n, other := openNorthbound(t, c.endpoint), openNorthbound(t, c.endpoint)
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "net-1"}, true)
	set(t, n.SetPort, ovsdb.LogicalPort{Name: "p", Switch: "net-1", Generation: 5}, true)
	if _, err := other.SetPort(t.Context(), ovsdb.LogicalPort{Name: "p", Switch: "net-1", Generation: 4}); !errors.Is(err, ovsdb.ErrOldGeneration) {
		t.Errorf("set: %v", err)
	}
	if _, err := other.DeletePort(t.Context(), "p", 4); !errors.Is(err, ovsdb.ErrOldGeneration) {
		t.Errorf("delete: %v", err)
	}
	done := make(chan error)
	for i, w := range []*ovsdb.Northbound{n, other} {
		go func() {
			var failed error
			for g := range 20 {
				p := ovsdb.LogicalPort{Name: "p", Switch: "net-1", Generation: int64(10 + 2*g + i)}
				if _, err := w.SetPort(context.WithoutCancel(t.Context()), p); err != nil && !errors.Is(err, ovsdb.ErrOldGeneration) {
					failed = err
				}
			}
			done <- failed
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := c.raw.named("Logical_Switch_Port", "p").ids()["riser-generation"]; got != "49" {
		t.Errorf("generation %s, want the highest", got)
	}
}

func testNorthboundForeign(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "mine"}, true)
	c.raw.transact(
		op{"op": "insert", "table": "Logical_Switch_Port", "uuid-name": "p", "row": op{"name": "their-port"}},
		op{"op": "insert", "table": "Logical_Switch", "row": op{"name": "theirs", "ports": []any{"named-uuid", "p"}}},
		op{"op": "insert", "table": "Port_Group", "row": op{"name": "their_group", "external_ids": dict("riser-owner", "blue")}},
		op{"op": "insert", "table": "Address_Set", "row": op{"name": "their_set"}},
	)
	ctx := t.Context()
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "catch-up"}, true) // a read may be behind another client's write
	for name, f := range map[string]func() error{
		"set switch":        func() error { _, err := n.SetSwitch(ctx, ovsdb.LogicalSwitch{Name: "theirs"}); return err },
		"delete switch":     func() error { _, err := n.DeleteSwitch(ctx, "theirs"); return err },
		"port in their net": func() error { _, err := n.SetPort(ctx, ovsdb.LogicalPort{Name: "x", Switch: "theirs"}); return err },
		"set port": func() error {
			_, err := n.SetPort(ctx, ovsdb.LogicalPort{Name: "their-port", Switch: "mine"})
			return err
		},
		"delete port":        func() error { _, err := n.DeletePort(ctx, "their-port", ovsdb.AnyGeneration); return err },
		"read port":          func() error { _, err := n.Port("their-port"); return err },
		"set group":          func() error { _, err := n.SetPortGroup(ctx, ovsdb.PortGroup{Name: "their_group"}); return err },
		"delete group":       func() error { _, err := n.DeletePortGroup(ctx, "their_group"); return err },
		"set address set":    func() error { _, err := n.SetAddressSet(ctx, ovsdb.AddressSet{Name: "their_set"}); return err },
		"delete address set": func() error { _, err := n.DeleteAddressSet(ctx, "their_set"); return err },
	} {
		var foreign *ovsdb.ForeignError
		if err := f(); !errors.As(err, &foreign) || !strings.Contains(err.Error(), "their") {
			t.Errorf("%s: %v, want a ForeignError", name, err)
		}
	}
	if _, err := n.PortGroup("their_group"); !errors.Is(err, ovsdb.ErrNotFound) {
		t.Errorf("read group: %v", err)
	}
	if ports, err := n.Ports(); err != nil || len(ports) != 0 {
		t.Errorf("riser claims %v, %v", ports, err)
	}
	if got := len(c.raw.rows("Logical_Switch")); got != 3 {
		t.Errorf("%d switches", got)
	}
}

func testNorthboundMissing(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "net-1"}, true)
	for _, tt := range []struct {
		err  func() error
		want error
		says string
	}{
		{func() error {
			_, err := n.SetPort(t.Context(), ovsdb.LogicalPort{Name: "p", Switch: "net-9"})
			return err
		}, ovsdb.ErrNotFound, "net-9"},
		{func() error {
			_, err := n.SetPort(t.Context(), ovsdb.LogicalPort{Name: "p", Switch: "net-1", DHCPv4: "sub-9"})
			return err
		}, ovsdb.ErrNotFound, "sub-9"},
		{func() error {
			_, err := n.SetPortGroup(t.Context(), ovsdb.PortGroup{Name: "g", Ports: []string{"p-9"}})
			return err
		}, ovsdb.ErrNotFound, "p-9"},
		{func() error { _, err := n.SetPort(t.Context(), ovsdb.LogicalPort{Switch: "net-1"}); return err }, nil, "name"},
		{func() error { _, err := n.SetSwitch(t.Context(), ovsdb.LogicalSwitch{}); return err }, nil, "name"},
		{func() error { _, err := n.SetPortGroup(t.Context(), ovsdb.PortGroup{}); return err }, nil, "name"},
		{func() error { _, err := n.SetAddressSet(t.Context(), ovsdb.AddressSet{}); return err }, nil, "name"},
		{func() error { _, err := n.SetDHCPOptions(t.Context(), ovsdb.DHCPOptions{ID: "x"}); return err }, nil, "CIDR"},
		{func() error { _, err := n.AddressSet("none"); return err }, ovsdb.ErrNotFound, "none"},
	} {
		if err := tt.err(); err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("got %v, want %v that says %q", err, tt.want, tt.says)
		}
	}
}

func testPortGroup(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "net-1"}, true)
	for _, p := range []string{"p1", "p2"} {
		set(t, n.SetPort, ovsdb.LogicalPort{Name: p, Switch: "net-1"}, true)
	}
	drop := ovsdb.ACL{Direction: "to-lport", Priority: 1001, Match: "outport == @pg_1 && ip", Action: "drop"}
	ssh := ovsdb.ACL{Direction: "to-lport", Priority: 1002, Match: "outport == @pg_1 && tcp.dst == 22", Action: "allow-related"}
	out := ovsdb.ACL{Direction: "from-lport", Priority: 1002, Match: "inport == @pg_1 && ip4", Action: "allow-related"}
	g := ovsdb.PortGroup{Name: "pg_1", Ports: []string{"p1", "p2"}, ACLs: []ovsdb.ACL{out, drop}, ExternalIDs: map[string]string{"sg": "1"}}
	set(t, n.SetPortGroup, g, true)
	set(t, n.SetPortGroup, g, false)
	before := uuids(c.raw.rows("ACL"), drop)
	g.Ports, g.ACLs = []string{"p2"}, []ovsdb.ACL{drop, ssh, drop}
	set(t, n.SetPortGroup, g, true)
	g.ACLs = []ovsdb.ACL{drop, ssh}
	got, err := n.PortGroup("pg_1")
	if diff := cmp.Diff(g, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if after := uuids(c.raw.rows("ACL"), drop); len(after) != 1 || !slices.Equal(before, after) {
		t.Errorf("the rule that stayed has row %v, was %v", after, before)
	}
	if rows := c.raw.rows("ACL"); len(rows) != 2 {
		t.Errorf("%d rules: %v", len(rows), rows)
	}
	if _, err := n.DeletePort(t.Context(), "p2", 0); err != nil {
		t.Fatal(err)
	}
	if got, err := n.PortGroup("pg_1"); err != nil || len(got.Ports) != 0 {
		t.Errorf("a deleted port stays a member: %v, %v", got.Ports, err)
	}
	set(t, n.DeletePortGroup, "pg_1", true)
	set(t, n.DeletePortGroup, "pg_1", false)
	if rows := c.raw.rows("ACL"); len(rows) != 0 {
		t.Errorf("rules are left over: %v", rows)
	}
}

func uuids(rows []row, a ovsdb.ACL) []string {
	var out []string
	for _, r := range rows {
		if r["match"] == a.Match {
			out = append(out, fmt.Sprint(r["_uuid"]))
		}
	}
	return out
}

func testAddressSet(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	a := ovsdb.AddressSet{Name: "as_1", Addresses: []string{"10.0.0.2", "10.0.0.1", "10.0.0.2"}}
	set(t, n.SetAddressSet, a, true)
	a.Addresses = []string{"10.0.0.1", "10.0.0.2"}
	set(t, n.SetAddressSet, a, false)
	got, err := n.AddressSet("as_1")
	if diff := cmp.Diff(a, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	a.Addresses = nil
	set(t, n.SetAddressSet, a, true)
	if got := c.raw.named("Address_Set", "as_1")["addresses"]; len(got.([]any)) != 0 {
		t.Errorf("addresses %v", got)
	}
	set(t, n.DeleteAddressSet, "as_1", true)
	set(t, n.DeleteAddressSet, "as_1", false)
}

func testDHCPOptions(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "net-1"}, true)
	d := ovsdb.DHCPOptions{ID: "sub-1", CIDR: "10.9.0.0/24", Options: map[string]string{"server_id": "10.9.0.1", "lease_time": "43200"}}
	set(t, n.SetDHCPOptions, d, true)
	set(t, n.SetDHCPOptions, d, false)
	set(t, n.SetDHCPOptions, ovsdb.DHCPOptions{ID: "sub-6", CIDR: "2001:db8::/64"}, true)
	p := ovsdb.LogicalPort{Name: "p", Switch: "net-1", DHCPv4: "sub-1", DHCPv6: "sub-6"}
	set(t, n.SetPort, p, true)
	d.CIDR, d.Options = "10.9.0.0/16", map[string]string{"lease_time": "60"}
	set(t, n.SetDHCPOptions, d, true)
	rows := c.raw.rows("DHCP_Options")
	if i := slices.IndexFunc(rows, func(r row) bool { return r["cidr"] == d.CIDR }); len(rows) != 2 || i < 0 || !cmp.Equal(rows[i].dict("options"), d.Options) {
		t.Errorf("rows %v", rows)
	}
	if got, err := n.Port("p"); err != nil || got.DHCPv4 != "sub-1" || got.DHCPv6 != "sub-6" {
		t.Errorf("%+v, %v", got, err)
	}
	set(t, n.DeleteDHCPOptions, "sub-1", true)
	set(t, n.DeleteDHCPOptions, "sub-1", false)
	if got, err := n.Port("p"); err != nil || got.DHCPv4 != "" || got.DHCPv6 != "sub-6" {
		t.Errorf("after the deletion: %+v, %v", got, err)
	}
}

func testGlobal(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	c.raw.transact(op{"op": "update", "table": "NB_Global", "where": []any{}, "row": op{"nb_cfg": 7, "options": dict("mac_prefix", "0a:00:00")}})
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "catch-up"}, true)
	g, err := n.Global()
	if err != nil || g.NBCfg != 7 || g.Options["mac_prefix"] != "0a:00:00" {
		t.Errorf("%+v, %v", g, err)
	}
	c.raw.transact(op{"op": "delete", "table": "NB_Global", "where": []any{}})
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "catch-up-2"}, true)
	if g, err := n.Global(); !errors.Is(err, ovsdb.ErrNotFound) {
		t.Errorf("%+v, %v", g, err)
	}
}

func (r *raw) setUp(port string, up bool) {
	r.t.Helper()
	r.transact(op{"op": "update", "table": "Logical_Switch_Port", "where": nameIs(port), "row": op{"up": up}})
}

// watchPorts returns the events of a watch that runs until the test ends.
func watchPorts(t *testing.T, n *ovsdb.Northbound) <-chan ovsdb.PortEvent {
	t.Helper()
	events := make(chan ovsdb.PortEvent, 1000)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	go func() { done <- n.WatchPorts(ctx, func(e ovsdb.PortEvent) { events <- e }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ended with %v", err)
		}
	})
	return events
}

func expectEvent(t *testing.T, events <-chan ovsdb.PortEvent, want ovsdb.PortEvent) {
	t.Helper()
	select {
	case got := <-events:
		if got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	case <-t.Context().Done():
		t.Fatalf("no event, want %+v", want)
	}
}

func testWatchPorts(t *testing.T, c central) {
	n := openNorthbound(t, c.endpoint)
	set(t, n.SetSwitch, ovsdb.LogicalSwitch{Name: "net-1"}, true)
	set(t, n.SetPort, ovsdb.LogicalPort{Name: "a", Switch: "net-1", Generation: 1}, true)
	c.raw.transact(
		op{"op": "insert", "table": "Logical_Switch_Port", "uuid-name": "p", "row": op{"name": "their-port"}},
		op{"op": "insert", "table": "Logical_Switch", "row": op{"name": "theirs", "ports": []any{"named-uuid", "p"}}},
	)
	events := watchPorts(t, n)
	expectEvent(t, events, ovsdb.PortEvent{Name: "a", Generation: 1})
	c.raw.setUp("their-port", true)
	c.raw.setUp("a", true)
	expectEvent(t, events, ovsdb.PortEvent{Name: "a", Generation: 1, Up: true})
	set(t, n.SetPort, ovsdb.LogicalPort{Name: "a", Switch: "net-1", Generation: 2, Addresses: []string{"unknown"}}, true)
	expectEvent(t, events, ovsdb.PortEvent{Name: "a", Generation: 2, Up: true})
	set(t, n.SetPort, ovsdb.LogicalPort{Name: "b", Switch: "net-1", Generation: 1}, true)
	expectEvent(t, events, ovsdb.PortEvent{Name: "b", Generation: 1})
	c.raw.setUp("a", false)
	expectEvent(t, events, ovsdb.PortEvent{Name: "a", Generation: 2})
	if _, err := n.DeletePort(t.Context(), "a", 2); err != nil {
		t.Fatal(err)
	}
	expectEvent(t, events, ovsdb.PortEvent{Name: "a", Gone: true})
}
