package ovn_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/network/ovn"
	"github.com/riser-project/riser/ovsdb"
)

const (
	netID  = "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0001"
	subID  = "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0002"
	sub6ID = "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0003"
	portID = "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0101"
)

var (
	blue = network.Network{ID: netID, Name: "blue", MTU: 1442, Type: "geneve", Project: "p1"}
	sub4 = network.Subnet{ID: subID, NetworkID: netID, CIDR: "192.0.2.0/24", Gateway: "192.0.2.1", DHCP: true, DNS: []string{"198.51.100.1", "198.51.100.2"}}
	sub6 = network.Subnet{ID: sub6ID, NetworkID: netID, CIDR: "2001:db8::/64", DHCP: true}
	port = network.Port{
		ID: portID, NetworkID: netID, Name: "eth0", MAC: "fa:16:3e:00:00:01", VNICType: network.VNICRemoteManaged, PortSecurity: true, Generation: 1,
		FixedIPs: []network.FixedIP{{SubnetID: subID, Address: "192.0.2.7"}, {SubnetID: sub6ID, Address: "2001:db8::7"}},
	}
	bind = network.Binding{Chassis: "dpu1", PFMAC: "0c:42:a1:00:00:00", VF: 3, MTU: 1442, Generation: 1}
)

func (l *lab) network(t testing.TB, n network.Network, subnets ...network.Subnet) {
	t.Helper()
	must(t, l.backend.EnsureNetwork(t.Context(), n, subnets))
}

func (l *lab) port(t testing.TB, p network.Port, b *network.Binding) {
	t.Helper()
	must(t, l.backend.EnsurePort(t.Context(), p, b))
}

// read returns a port as a reader of OVN sees it, who is a moment behind; the zero PortState if there is none yet.
func (l *lab) read(t testing.TB, id string) ovsdb.PortState {
	t.Helper()
	p, err := l.nb.Port(id)
	if err != nil && !errors.Is(err, ovsdb.ErrNotFound) {
		t.Fatal(err)
	}
	return p
}

func TestWhatOVNIsToldOfAPort(t *testing.T) {
	t.Parallel()
	at := func(change func(*network.Port)) network.Port {
		p := port
		change(&p)
		return p
	}
	base := ovsdb.LogicalPort{
		Name: portID, Switch: "riser-" + netID, Generation: 1, Addresses: []string{"fa:16:3e:00:00:01 192.0.2.7 2001:db8::7"},
		PortSecurity: []string{"fa:16:3e:00:00:01 192.0.2.7 2001:db8::7"}, DHCPv4: subID, DHCPv6: sub6ID,
		ExternalIDs: map[string]string{"riser-name": "eth0"},
	}
	want := func(change func(*ovsdb.LogicalPort)) ovsdb.LogicalPort {
		p := base
		change(&p)
		return p
	}
	for _, tt := range []struct {
		name string
		port network.Port
		bind *network.Binding
		want ovsdb.LogicalPort
	}{
		{"bound to a card whose agent plugs", port, &bind, want(func(p *ovsdb.LogicalPort) {
			p.Options = map[string]string{"requested-chassis": "dpu1", "iface-id-ver": "1"}
		})},
		{"bound to a card where OVN plugs", port, &network.Binding{Chassis: "dpu1", PFMAC: bind.PFMAC, VF: 3, MTU: 1442, Generation: 4, PlugByOVN: true}, want(func(p *ovsdb.LogicalPort) {
			p.Generation = 4
			p.Options = map[string]string{
				"requested-chassis": "dpu1", "vif-plug-type": "representor", "vif-plug-mtu-request": "1442",
				"vif-plug:representor:pf-mac": "0c:42:a1:00:00:00", "vif-plug:representor:vf-num": "3",
			}
		})},
		{"a PF that OVN plugs, of no certain MTU", port, &network.Binding{Chassis: "dpu1", PFMAC: bind.PFMAC, VF: -1, Generation: 4, PlugByOVN: true}, want(func(p *ovsdb.LogicalPort) {
			p.Generation = 4
			p.Options = map[string]string{"requested-chassis": "dpu1", "vif-plug-type": "representor", "vif-plug:representor:pf-mac": "0c:42:a1:00:00:00"}
		})},
		{"not bound", port, nil, want(func(p *ovsdb.LogicalPort) { p.Options = map[string]string{"iface-id-ver": "unbound"} })},
		{"not for riser to bind", at(func(p *network.Port) { p.VNICType = network.VNICNormal }), nil, want(func(p *ovsdb.LogicalPort) {})},
		{"without port security", at(func(p *network.Port) { p.PortSecurity = false }), nil, want(func(p *ovsdb.LogicalPort) {
			p.Addresses, p.PortSecurity = []string{base.Addresses[0], "unknown"}, nil
			p.Options = map[string]string{"iface-id-ver": "unbound"}
		})},
		{"without addresses, switched off, of a server", at(func(p *network.Port) {
			p.FixedIPs, p.AdminDown, p.DeviceID, p.HostID, p.Project, p.Name = nil, true, "server-1", "cmp1", "p1", ""
		}), nil, want(func(p *ovsdb.LogicalPort) {
			p.Addresses, p.PortSecurity, p.DHCPv4, p.DHCPv6, p.Disabled = []string{port.MAC}, []string{port.MAC}, "", "", true
			p.Options = map[string]string{"iface-id-ver": "unbound"}
			p.ExternalIDs = map[string]string{"riser-device": "server-1", "riser-host": "cmp1", "riser-project": "p1"}
		})},
		{"with an address of a subnet that nobody knows", at(func(p *network.Port) {
			p.FixedIPs = []network.FixedIP{{SubnetID: "other", Address: "203.0.113.7"}}
		}), nil, want(func(p *ovsdb.LogicalPort) {
			p.Addresses, p.PortSecurity, p.DHCPv4, p.DHCPv6 = []string{port.MAC + " 203.0.113.7"}, []string{port.MAC + " 203.0.113.7"}, "", ""
			p.Options = map[string]string{"iface-id-ver": "unbound"}
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.network(t, blue, sub4, sub6)
			l.port(t, tt.port, tt.bind)
			l.port(t, tt.port, tt.bind)
			until(t, "the port is read", func() bool { return l.read(t, portID).Name == portID })
			if d := cmp.Diff(tt.want, l.read(t, portID).LogicalPort, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("what OVN has (-want +got):\n%s", d)
			}
		})
	}
}

func TestWhatOVNIsToldOfANetwork(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.network(t, blue, sub4, sub6)
	rows, err := l.ovn.Rows("Logical_Switch", ovs.Row{"name": "riser-" + netID})
	must(t, err)
	if len(rows) != 1 {
		t.Fatalf("%d switches", len(rows))
	}
	ids := rows[0].Map("external_ids")
	if d := cmp.Diff(map[string]string{"riser-owner": "riser", "riser-name": "blue", "riser-project": "p1", "riser-mtu": "1442", "riser-dhcp": subID + " " + sub6ID}, ids); d != "" {
		t.Errorf("external_ids (-want +got):\n%s", d)
	}
	dhcp := l.dhcp(t)
	mac := dhcp["192.0.2.0/24"]["server_mac"]
	if d := cmp.Diff(map[string]string{
		"server_id": "192.0.2.1", "router": "192.0.2.1", "server_mac": mac, "lease_time": "43200", "mtu": "1442", "dns_server": "{198.51.100.1, 198.51.100.2}",
	}, dhcp["192.0.2.0/24"]); d != "" || !strings.HasPrefix(mac, "0a:52:") {
		t.Errorf("DHCP for IPv4 (-want +got):\n%s", d)
	}
	if got := dhcp["2001:db8::/64"]; len(got) != 1 || !strings.HasPrefix(got["server_id"], "0a:52:") {
		t.Errorf("DHCP for IPv6: %v", got)
	}

	off := sub4
	off.DHCP, off.Gateway = false, ""
	renamed := blue
	renamed.Name = "navy"
	l.network(t, renamed, off)
	if left := l.dhcp(t); len(left) != 0 {
		t.Errorf("DHCP options are left: %v", left)
	}
	off.DHCP = true
	l.network(t, renamed, off)
	if got := l.dhcp(t)["192.0.2.0/24"]; got["server_id"] != "192.0.2.1" || got["router"] != "" {
		t.Errorf("DHCP of a subnet without gateway: %v", got)
	}
	must(t, l.backend.RemoveNetwork(t.Context(), netID))
	if left := l.dhcp(t); len(left) != 0 {
		t.Errorf("after the network DHCP options are left: %v", left)
	}
}

// dhcp returns the DHCP options by CIDR.
func (l *lab) dhcp(t testing.TB) map[string]map[string]string {
	t.Helper()
	rows, err := l.ovn.Rows("DHCP_Options", nil)
	must(t, err)
	out := map[string]map[string]string{}
	for _, r := range rows {
		cidr, _ := r["cidr"].(string)
		out[cidr] = r.Map("options")
	}
	return out
}

func TestAPhysicalNetworkIsJoined(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	flat := network.Network{ID: netID, Name: "dc", Type: "flat", Physical: "physnet1", MTU: 1500}
	l.network(t, flat)
	want := map[string]string{"network_name": "physnet1"}
	if got := l.options(t, "riser-localnet-"+netID); !maps.Equal(got, want) {
		t.Errorf("options of the localnet port: %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.port(t, port, nil)
	err := l.backend.Watch(ctx, func(s network.State) {
		if s.Port != portID {
			t.Errorf("the watcher hears of %s", s.Port)
		}
		cancel()
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must(t, l.backend.RemovePort(t.Context(), portID))
	must(t, l.backend.RemoveNetwork(t.Context(), netID))
	rows, err := l.ovn.Rows("Logical_Switch_Port", nil)
	must(t, err)
	if len(rows) != 0 {
		t.Errorf("ports are left: %v", rows)
	}
	flat.Type = "vlan"
	if err := l.backend.EnsureNetwork(t.Context(), flat, nil); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a VLAN: %v, want unsupported", err)
	}
	if err := l.backend.EnsureNetwork(t.Context(), blue, []network.Subnet{{ID: subID, CIDR: "192.0.2.0", DHCP: true}}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a subnet without length: %v, want invalid", err)
	}
}

func TestAnUnboundPortIsNobodys(t *testing.T) {
	t.Parallel()
	t.Run("its representor is still plugged, and OVN lets go of it", func(t *testing.T) {
		l := newLab(t)
		l.network(t, blue)
		l.port(t, port, &bind)
		l.setUp(t, portID, true)
		until(t, "up", func() bool { return l.read(t, portID).Up })
		unbound := port
		unbound.Generation = 2
		l.port(t, unbound, nil)
		until(t, "down", func() bool { return !l.read(t, portID).Up })
		if s, err := l.backend.State(t.Context(), portID); err != nil || s.Up || s.Reason != "the port is not bound" {
			t.Errorf("the state is %+v, %v", s, err)
		}
	})
	t.Run("an older order's representor is not claimed for a newer one", func(t *testing.T) {
		l := newLab(t)
		l.network(t, blue)
		l.port(t, port, &bind)
		l.setUp(t, portID, true)
		until(t, "up", func() bool { return l.read(t, portID).Up })
		newer := bind
		newer.Generation = 2
		l.port(t, port, &newer)
		until(t, "down", func() bool { return !l.read(t, portID).Up })
		l.setUp(t, portID, true)
		until(t, "up", func() bool { return l.read(t, portID).Up })
	})
	t.Run("whatever its type, once riser has bound it", func(t *testing.T) {
		l := newLab(t)
		l.network(t, blue)
		plain := port
		plain.VNICType = network.VNICNormal
		l.port(t, plain, &bind)
		l.port(t, plain, nil)
		if got := l.options(t, portID); !maps.Equal(got, map[string]string{"iface-id-ver": "unbound"}) {
			t.Errorf("the options are %v", got)
		}
	})
	t.Run("where OVN has plugged it, it goes to a chassis that does not exist", func(t *testing.T) {
		l := newLab(t)
		l.network(t, blue)
		byOVN := bind
		byOVN.PlugByOVN = true
		l.port(t, port, &byOVN)
		want := map[string]string{"requested-chassis": "riser-unbound", "iface-id-ver": "unbound"}
		for range 2 {
			l.port(t, port, nil)
			if got := l.options(t, portID); !maps.Equal(got, want) {
				t.Errorf("the options are %v, want %v", got, want)
			}
		}
		if s, err := l.backend.State(t.Context(), portID); err != nil || s.Up || s.Reason != "the port is not bound" {
			t.Errorf("the state is %+v, %v", s, err)
		}
		byOVN.Generation = 2
		l.port(t, port, &byOVN)
		if s, err := l.backend.State(t.Context(), portID); err != nil || s.Up || !strings.Contains(s.Reason, "has not plugged and claimed") {
			t.Errorf("the state is %+v, %v", s, err)
		}
	})
}

func TestAnOlderOrderIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.network(t, blue)
	newer := bind
	newer.Generation = 5
	l.port(t, port, &newer)
	for name, try := range map[string]func() error{
		"bound":   func() error { return l.backend.EnsurePort(t.Context(), port, &bind) },
		"unbound": func() error { return l.backend.EnsurePort(t.Context(), port, nil) },
	} {
		if err := try(); !fault.Is(err, fault.Conflict) {
			t.Errorf("%s at generation 1: %v, want a conflict", name, err)
		}
	}
	until(t, "the port is read", func() bool { return l.read(t, portID).Name == portID })
	if got := l.read(t, portID); got.Generation != 5 || got.Options["requested-chassis"] != "dpu1" {
		t.Errorf("the port became %+v", got)
	}
	must(t, l.backend.RemovePort(t.Context(), portID))
}

func TestWhatIsSomebodyElsesIsLeftAlone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	others, err := ovsdb.OpenNorthbound(ovsdb.Config{Endpoint: l.ovn.Endpoint(), Owner: "neutron"})
	must(t, err)
	closed(t, others)
	must(t, others.Ready(t.Context()))
	_, err = others.SetSwitch(t.Context(), ovsdb.LogicalSwitch{Name: "riser-" + netID})
	must(t, err)
	if err := l.backend.EnsureNetwork(t.Context(), blue, nil); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "neutron") {
		t.Errorf("a switch of others: %v", err)
	}
	other := "riser-0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0009"
	_, err = others.SetSwitch(t.Context(), ovsdb.LogicalSwitch{Name: other})
	must(t, err)
	_, err = others.SetPort(t.Context(), ovsdb.LogicalPort{Name: portID, Switch: other})
	must(t, err)
	second := blue
	second.ID = "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0008"
	l.network(t, second)
	p := port
	p.NetworkID = second.ID
	for name, try := range map[string]func() error{
		"set":    func() error { return l.backend.EnsurePort(t.Context(), p, &bind) },
		"remove": func() error { return l.backend.RemovePort(t.Context(), p.ID) },
	} {
		if err := try(); !fault.Is(err, fault.Conflict) {
			t.Errorf("%s a port of others: %v, want a conflict", name, err)
		}
	}
}

func TestOVNIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.network(t, blue)
	l.port(t, port, &bind)
	heard := &ear{states: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.backend.Watch(ctx, heard.hear)
	}()
	defer func() {
		cancel()
		<-done
	}()
	until(t, "the watcher hears of the port", func() bool { return heard.of(portID) == 1 })
	endpoint := l.ovn.Endpoint()
	l.ovn.Stop()
	until(t, "changes are refused", func() bool { return fault.Is(l.backend.EnsurePort(t.Context(), port, &bind), fault.Unavailable) })
	if err := l.backend.EnsureNetwork(t.Context(), second(blue), nil); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), endpoint) {
		t.Errorf("a network while OVN is away: %v", err)
	}
	must(t, l.ovn.Listen(""))
	until(t, "changes are taken", func() bool { return l.backend.EnsurePort(t.Context(), port, &bind) == nil })
	until(t, "the watcher hears of the port again", func() bool { return heard.of(portID) == 2 })
}

func second(n network.Network) network.Network {
	n.ID = "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0002"
	return n
}

func TestOpenDoesNotWait(t *testing.T) {
	t.Parallel()
	b, err := ovn.Open(ovn.Options{Endpoint: "unix:/nonexistent/ovnnb_db.sock"})
	must(t, err)
	closed(t, b)
	until(t, "the reason is known", func() bool {
		err := b.Healthy()
		return fault.Is(err, fault.Unavailable) && strings.Contains(err.Error(), "no such file")
	})
	if _, err := b.State(t.Context(), portID); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the state of a port: %v, want unavailable", err)
	}
	if _, err := ovn.Open(ovn.Options{Endpoint: "ovnnb"}); err == nil || !strings.Contains(err.Error(), "ovnnb") {
		t.Errorf("an endpoint that is none: %v", err)
	}
}

func TestAWatcherHearsOfManyPortsOnceEach(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.network(t, blue)
	const ports = 130
	for i := range ports {
		p := port
		p.ID, p.FixedIPs = id(i), nil
		l.port(t, p, nil)
	}
	heard := &ear{states: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.backend.Watch(ctx, heard.hear)
	}()
	defer func() {
		cancel()
		<-done
	}()
	until(t, "all ports heard of", func() bool { return heard.of(id(ports-1)) == 1 })
	must(t, l.backend.RemovePort(t.Context(), id(7)))
	until(t, "the end of a port", func() bool { return heard.of(id(7)) == 2 })
	for i := range ports {
		if n := heard.of(id(i)); n != 1 && i != 7 {
			t.Errorf("port %d was told %d times", i, n)
		}
	}
}

// id is a port's id that sorts by its number.
func id(n int) string {
	const digits = "0123456789"
	return "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0b0" + string([]byte{digits[n/100], digits[n/10%10], digits[n%10]})
}

// ear counts what a watcher hears, by port.
type ear struct {
	mu     sync.Mutex
	states map[string]int
}

func (e *ear) hear(s network.State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.states[s.Port]++
}

func (e *ear) of(port string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.states[port]
}

func BenchmarkBind(b *testing.B) {
	for name, there := range map[string]int{"beside none": 0, "beside 900 ports": 900} {
		b.Run(name, func(b *testing.B) {
			l := newLab(b)
			l.network(b, blue, sub4)
			for i := range there {
				p := port
				p.ID, p.FixedIPs = id(i), nil
				l.port(b, p, nil)
			}
			binding := bind
			for b.Loop() {
				binding.Generation++
				l.port(b, port, &binding)
			}
		})
	}
}
