//go:build integration

package dpu_test

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/dpu"
	"github.com/riser-project/riser/agent/wire"
	real "github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/internal/sim/devlinksim"
	"github.com/riser-project/riser/ovsdb"
)

// realCard is a card with Debian's Open vSwitch and ovn-controller; its devlink and riser's server are simulated.
type realCard struct {
	*lab
	chassis *real.Chassis
	nb      *ovsdb.Northbound
}

func newRealCard(t testing.TB, vfs int) *realCard {
	t.Helper()
	ovn := real.StartOVN(t)
	c := &realCard{chassis: ovn.StartChassis(t, real.ChassisConfig{SystemID: "chassis-dpu1", Hostname: "dpu1.example"})}
	var err error
	c.nb, err = ovsdb.OpenNorthbound(ovsdb.Config{Endpoint: ovn.Northbound})
	must(t, err)
	t.Cleanup(func() { _ = c.nb.Close() })
	must(t, c.nb.Ready(t.Context()))
	kernel := devlinksim.New()
	kernel.AddCard(devlinksim.Card{Serial: serial, VFs: vfs, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0)}}})
	c.lab = &lab{t: t, kernel: kernel, server: newServer(t)}
	c.config = dpu.Config{
		Server: c.server.ts.URL, Devlink: kernel.Dial, OVSDB: c.chassis.Database, Settle: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	}
	return c
}

// ids returns the external_ids of an interface.
func (c *realCard) ids(device string) string {
	return c.chassis.Vsctl(c.t, "get", "Interface", device, "external_ids")
}

// bound makes OVN want a port on the card by an order of that generation.
func (c *realCard) bound(o wire.Order) {
	c.t.Helper()
	c.logicalPort(c.nb, o.Port, fmt.Sprint(o.Generation))
}

// installed waits until the server knows that OVN has installed the flows of an order.
func (c *realCard) installed(o wire.Order) wire.PortStatus {
	c.t.Helper()
	c.server.until(fmt.Sprintf("the flows of port %s at generation %d", o.Port, o.Generation), func() bool {
		s := c.server.status[o.Port]
		return s.Generation == o.Generation && s.State == wire.Plugged && s.Installed
	})
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.server.status[o.Port]
}

func TestRealOVNClaimsWhatTheAgentPlugs(t *testing.T) {
	c := newRealCard(t, 4)
	c.start()
	o := plugVF("port-1", 1, hostMAC(0, 0), 3)
	c.bound(o)
	c.server.order(o)
	if status := c.installed(o); status.Representor != "c1pf0vf3" {
		t.Errorf("the status is %+v", status)
	}
	for _, want := range []string{"iface-id=port-1", `iface-id-ver="1"`, `riser-generation="1"`, "riser-owner=riser", `ovn-installed="true"`} {
		if ids := c.ids("c1pf0vf3"); !strings.Contains(ids, want) {
			t.Errorf("external_ids %s lack %s", ids, want)
		}
	}
	if mtu := strings.TrimSpace(c.chassis.Vsctl(t, "get", "Interface", "c1pf0vf3", "mtu_request")); mtu != "1442" {
		t.Errorf("mtu_request is %s", mtu)
	}

	moved := plugVF("port-1", 2, hostMAC(0, 0), 0)
	c.bound(moved)
	c.server.order(moved)
	c.installed(moved)

	next := plugVF("port-2", 1, hostMAC(0, 0), 0)
	c.bound(next)
	c.server.order(unplug(moved, 3), next)
	c.installed(next)
	c.server.wantStatus("port-1", 3, wire.Unplugged)
	if ports := strings.Fields(c.chassis.Vsctl(t, "list-ports", "br-int")); !slices.Equal(ports, []string{"c1pf0vf0"}) {
		t.Errorf("br-int has %v", ports)
	}
}

func TestRealOVNFollowsFunctionsThatChangePlaces(t *testing.T) {
	c := newRealCard(t, 8)
	c.start()
	var last []wire.Order
	for generation := range int64(10) {
		last = nil
		for i := range 8 {
			o := plugVF(fmt.Sprintf("port-%d", i), generation+1, hostMAC(0, 0), (i+int(generation))%8)
			last = append(last, o)
			c.bound(o)
		}
		c.server.order(last...)
	}
	for _, o := range last {
		if status := c.installed(o); status.Representor != fmt.Sprintf("c1pf0vf%d", o.Number) {
			t.Errorf("port %s: %+v", o.Port, status)
		}
	}
}

func BenchmarkRealOrderToInstalled(b *testing.B) {
	c := newRealCard(b, 4)
	c.start()
	generation := int64(0)
	for b.Loop() {
		generation++
		o := plugVF("port-1", generation, hostMAC(0, 0), int(generation)%4)
		c.bound(o)
		c.server.order(o)
		c.installed(o)
	}
}

// BenchmarkRealRestart measures from the start of an agent on a card whose switch has lost 1,000 ports until the server knows of all of them that they
// are plugged.
func BenchmarkRealRestart(b *testing.B) {
	const ports = 1000
	c := newRealCard(b, ports)
	orders := make([]wire.Order, ports)
	for vf := range ports {
		orders[vf] = plugVF(fmt.Sprintf("0b0a2b8e-6a3c-4b7e-9a35-%012d", vf), 1, hostMAC(0, 0), vf)
	}
	c.server.order(orders...)
	for b.Loop() {
		stop := c.start()
		c.allPlugged(orders)
		b.StopTimer()
		stop()
		c.server.do(func() { clear(c.server.status) })
		c.chassis.Vsctl(b, "del-br", "br-int")
		c.chassis.Vsctl(b, "--timeout=60", "wait-until", "Bridge", "br-int")
		b.StartTimer()
	}
}
