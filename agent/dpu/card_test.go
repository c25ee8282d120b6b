package dpu_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/dpu"
	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/internal/sim/devlinksim"
	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/ovsdb"
)

const serial = "MT2113X00042"

// anyPort is an endpoint at a port that nobody uses.
const anyPort = "tcp:127.0.0.1:0"

// lab is a card's own Linux, its Open vSwitch and riser's server, each at the far end of the wire.
type lab struct {
	t       testing.TB
	kernel  *devlinksim.Kernel
	vswitch *ovs.Switch
	server  *server
	config  dpu.Config
	view    *ovsdb.Switch // what a test reads and writes by itself

	mu        sync.Mutex
	forbidden map[string]bool // devices that ovs-vswitchd cannot open
	hung      chan struct{}   // not nil: ovs-vswitchd hangs until it is closed
}

// hostMAC is the address of PF n of a host.
func hostMAC(host, pf int) net.HardwareAddr {
	return net.HardwareAddr{0x08, 0xc0, 0xeb, 0xaa, byte(host), byte(pf)}
}

// newLab has a card of two PFs with four VFs each, for one host.
func newLab(t testing.TB) *lab {
	return newLabOf(t, devlinksim.Card{
		Serial: serial, PartNumber: "900-9D3B6-00CV-A", VFs: 4, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0), hostMAC(0, 1)}},
	})
}

func newLabOf(t testing.TB, cards ...devlinksim.Card) *lab {
	t.Helper()
	kernel := devlinksim.New()
	for _, c := range cards {
		kernel.AddCard(c)
	}
	l := &lab{t: t, kernel: kernel, server: newServer(t), forbidden: map[string]bool{}}
	var err error
	l.vswitch, err = ovs.StartSwitch(ovs.SwitchConfig{Endpoint: anyPort, SystemID: "chassis-dpu1", Hostname: "dpu1.example", Netdev: l.hasDevice})
	must(t, err)
	t.Cleanup(func() {
		l.resumeDaemon()
		_ = l.vswitch.Close()
	})
	l.view, err = ovsdb.OpenSwitch(ovsdb.Config{Endpoint: l.vswitch.Endpoint()})
	must(t, err)
	t.Cleanup(func() { _ = l.view.Close() })
	l.config = dpu.Config{
		Server: l.server.ts.URL, Devlink: kernel.Dial, OVSDB: l.vswitch.Endpoint(), Resync: time.Minute, Settle: 50 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler),
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hasDevice is what ovs-vswitchd finds when it opens a device.
func (l *lab) hasDevice(name string) bool {
	l.mu.Lock()
	hung, forbidden := l.hung, l.forbidden[name]
	l.mu.Unlock()
	if hung != nil {
		<-hung
	}
	return !forbidden && l.kernel.HasNetdev(name)
}

func (l *lab) forbid(device string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forbidden[device] = true
}

func (l *lab) allow(device string) {
	l.t.Helper()
	l.mu.Lock()
	delete(l.forbidden, device)
	l.mu.Unlock()
	must(l.t, l.vswitch.SyncNetdevs())
}

// hangDaemon makes ovs-vswitchd open nothing any more, while its database goes on.
func (l *lab) hangDaemon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hung = make(chan struct{})
}

func (l *lab) resumeDaemon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hung != nil {
		close(l.hung)
		l.hung = nil
	}
}

// start runs an agent until the test ends, or until the function that it returns is called.
func (l *lab) start() (stop func()) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	config := l.config
	go func() { done <- dpu.Run(ctx, config) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				l.t.Error(err)
			}
		case <-time.After(patience):
			l.t.Error("the agent does not end")
		}
	})
	l.t.Cleanup(stop)
	return stop
}

// plugVF is an order to plug a VF of a host's PF.
func plugVF(port string, generation int64, pf net.HardwareAddr, vf int) wire.Order {
	return wire.Order{
		Port: port, Generation: generation, Action: wire.Plug, Kind: wire.KindVF, PFMAC: pf.String(), Number: vf, MAC: "fa:16:3e:00:00:01", MTU: 1442,
	}
}

// unplug is an order to unplug what an order has plugged.
func unplug(o wire.Order, generation int64) wire.Order {
	o.Action, o.Generation = wire.Unplug, generation
	return o
}

// row is what an Interface row says of a port.
type row struct {
	name, port, generation, owner string
}

// rows returns the interfaces in the database, by iface-id; br-int's own is not among them.
func (l *lab) rows() map[string]row {
	l.t.Helper()
	list, err := l.vswitch.Rows("Interface", nil)
	if err != nil {
		l.t.Fatal(err)
	}
	out := map[string]row{}
	for _, r := range list {
		ids := r.Map("external_ids")
		if id := ids["iface-id"]; id != "" {
			name, _ := r["name"].(string)
			if have, ok := out[id]; ok {
				l.t.Errorf("port %s has two interfaces, %s and %s", id, have.name, name)
			}
			out[id] = row{name: name, port: id, generation: ids["riser-generation"], owner: ids["riser-owner"]}
		}
	}
	return out
}

// wantPlugged checks that a port has exactly this interface.
func (l *lab) wantPlugged(port, name string, generation int64) {
	l.t.Helper()
	want := row{name: name, port: port, generation: fmt.Sprint(generation), owner: "riser"}
	if got := l.rows()[port]; got != want {
		l.t.Errorf("the interface of port %s is %+v, want %+v", port, got, want)
	}
}

// wantUnplugged checks that a port has no interface.
func (l *lab) wantUnplugged(port string) {
	l.t.Helper()
	if got, ok := l.rows()[port]; ok {
		l.t.Errorf("port %s is plugged as %+v", port, got)
	}
}

// pf is the function of the host's PF n.
func pf(controller uint32, n uint16) devlink.Function {
	return devlink.Function{
		Handle:     devlink.Handle{Bus: "pci", Device: fmt.Sprintf("0000:03:00.%d", n)},
		Controller: controller, External: true, Kind: devlink.KindPF, PF: n,
	}
}
