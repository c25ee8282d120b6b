// Package attachsim is a small world for tests of attachment: a store, the parts of the control plane that bind ports, hosts that report cards, and
// DPUs whose agents carry out orders in memory. Agents speak to the control plane by function calls, in the words of package wire.
package attachsim

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/network/fake"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

// World is a control plane without hosts at first.
type World struct {
	T       testing.TB
	DB      *store.DB
	Enrol   *enrol.Enroller
	Binder  *binding.Binder
	Placer  *placement.Placer
	Backend *fake.Backend

	dpus []*DPU
}

// New returns a World on a new SQLite file. change may edit the options of enrolment.
func New(t testing.TB, change ...func(*enrol.Options)) *World {
	t.Helper()
	return On(t, "sqlite:"+filepath.Join(t.TempDir(), "riser.db"), change...)
}

// On is New on the database of a DSN.
func On(t testing.TB, dsn string, change ...func(*enrol.Options)) *World {
	t.Helper()
	return With(t, dsn, store.Options{}, change...)
}

// With is On with options of the store.
func With(t testing.TB, dsn string, opts store.Options, change ...func(*enrol.Options)) *World {
	t.Helper()
	db, err := store.Open(t.Context(), dsn, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	options := enrol.Options{DB: db, Driver: "redfish"}
	for _, f := range change {
		f(&options)
	}
	w := &World{T: t, DB: db, Enrol: enrol.New(options), Placer: placement.New(db), Backend: fake.New()}
	w.Binder = binding.New(binding.Options{DB: db, Backend: w.Backend})
	return w
}

// Start runs f until the test ends.
func (w *World) Start(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	w.T.Cleanup(func() {
		cancel()
		<-done
	})
}

// Must fails the test on an error.
func (w *World) Must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Write is a transaction that must succeed.
func (w *World) Write(f func(tx *store.Tx) error) {
	w.T.Helper()
	w.Must(w.DB.Write(w.T.Context(), f))
}

// Node adds the node of a host.
func (w *World) Node(name string) *node.Node {
	w.T.Helper()
	n := &node.Node{UUID: uuid.NewString(), Name: name, Driver: "redfish", Provision: node.Active}
	w.Write(func(tx *store.Tx) error { return tx.InsertNode(w.T.Context(), n) })
	return n
}

// Card is a card of PFs x VFs functions, in the slot with this PCI bus.
func Card(serial string, bus, pfs, vfs int) wire.Card {
	c := wire.Card{Serial: serial, PartNumber: "900-9D3B6-00CV-A", Name: "BlueField-3"}
	for pf := range pfs {
		c.PFs = append(c.PFs, wire.PF{
			Address: fmt.Sprintf("0000:%02x:00.%d", bus, pf), Vendor: "15b3", Product: "a2dc", VFProduct: "101e", MAC: MAC(serial, pf),
			Netdev: fmt.Sprintf("enp%ds0f%dnp%d", bus, pf, pf), NUMANode: bus & 1, TotalVFs: vfs, RemoteManaged: true, Reason: "matched device_spec 0",
			VFs: []wire.Range{{First: 0, Count: vfs, Address: fmt.Sprintf("0000:%02x:%02x.0", bus, 1+pf*8), Stride: 1, Product: "101e"}},
		})
	}
	return c
}

// MAC is the MAC of a host's PF on the card.
func MAC(serial string, pf int) string {
	sum := 0
	for _, c := range []byte(serial) {
		sum = (sum*31 + int(c)) & 0xffff
	}
	return fmt.Sprintf("0c:42:a1:%02x:%02x:%02x", sum>>8, sum&0xff, pf)
}

// Report reports a host with these cards.
func (w *World) Report(host string, cards ...wire.Card) wire.Reply {
	w.T.Helper()
	reply, err := w.Enrol.HostReport(w.T.Context(), host, &wire.HostReport{
		Version: wire.Version, Fingerprint: uuid.NewString(), Cards: cards, Virt: wire.Virt{Driver: "fake"},
	})
	w.Must(err)
	return reply
}

// DPU is a card's own Linux with an agent.
type DPU struct {
	Serial  string
	Chassis string

	// Answer makes the agent's answer to an order. Nil plugs and unplugs whatever is asked.
	Answer func(wire.Order) wire.PortStatus

	w  *World
	mu sync.Mutex
	// Plugged has the generation of each port that is plugged.
	plugged map[string]wire.Order
}

// DPUReport is what the agent of the card's own Linux reports.
func DPUReport(serial, chassis string, pfs int) *wire.DPUReport {
	r := &wire.DPUReport{
		Version: wire.Version, Fingerprint: chassis + "/" + serial, Serial: serial, Source: "devlink", Chassis: chassis, SystemID: "system-" + chassis,
		BMCAddress: "https://" + chassis + "-bmc.example", Bridge: "br-int",
		Uplinks: []wire.Uplink{{Handle: "pci/0000:03:00.0", Netdev: "p0", PhysicalNetwork: "physnet1"}},
	}
	c := wire.Controller{Number: 1, External: true}
	for pf := range pfs {
		c.PFs = append(c.PFs, wire.Host{Handle: "pci/0000:03:00.0", Number: pf, MAC: MAC(serial, pf)})
	}
	r.Controllers = []wire.Controller{c}
	return r
}

// DPU reports the own Linux of a card with two PFs.
func (w *World) DPU(serial, chassis string) *DPU {
	w.T.Helper()
	_, err := w.Enrol.DPUReport(w.T.Context(), serial, DPUReport(serial, chassis, 2))
	w.Must(err)
	d := &DPU{Serial: serial, Chassis: chassis, w: w, plugged: map[string]wire.Order{}}
	w.dpus = append(w.dpus, d)
	return d
}

// Restart puts new parts of the control plane in the place of the old ones, which have lost what they did not keep in the store. The backend is
// reached through wrap, if that is given.
func (w *World) Restart(wrap func(network.Backend) network.Backend) {
	var backend network.Backend = w.Backend
	if wrap != nil {
		backend = wrap(backend)
	}
	w.Placer = placement.New(w.DB)
	w.Binder = binding.New(binding.Options{DB: w.DB, Backend: backend})
}

// Poll has every DPU carry out its orders once.
func (w *World) Poll(ctx context.Context) error {
	for _, d := range w.dpus {
		if err := d.Poll(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Plugged returns the orders that the card has carried out, by port.
func (d *DPU) Plugged() map[string]wire.Order {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]wire.Order{}
	for k, v := range d.plugged {
		out[k] = v
	}
	return out
}

// Poll carries out every order of the card once.
func (d *DPU) Poll(ctx context.Context) error {
	orders, err := d.w.Binder.Orders(ctx, d.Serial, 0)
	if err != nil {
		return err
	}
	return d.carryOut(ctx, orders)
}

// Run is the agent: it carries out orders as they come, until ctx ends.
func (d *DPU) Run(ctx context.Context) {
	woken, cancel := d.w.DB.Subscribe(store.TopicOrders(d.Serial))
	defer cancel()
	var after int64
	for {
		orders, err := d.w.Binder.Orders(ctx, d.Serial, after)
		if err == nil && d.carryOut(ctx, orders) == nil {
			after = orders.Revision
		}
		select {
		case <-ctx.Done():
			return
		case <-woken:
		case <-time.After(time.Second):
		}
	}
}

func (d *DPU) carryOut(ctx context.Context, orders wire.Orders) error {
	var report []wire.PortStatus
	d.mu.Lock()
	for _, o := range orders.Orders {
		var s wire.PortStatus
		if d.Answer != nil {
			s = d.Answer(o)
		} else {
			s = Obey(o)
		}
		delete(d.plugged, o.Port)
		if s.State == wire.Plugged {
			d.plugged[o.Port] = o
		}
		report = append(report, s)
	}
	d.mu.Unlock()
	if len(report) == 0 {
		return nil
	}
	return d.w.Binder.Report(ctx, d.Serial, report)
}

// Obey is the answer of a card that has done what it was told.
func Obey(o wire.Order) wire.PortStatus {
	s := wire.PortStatus{Port: o.Port, Generation: o.Generation, State: wire.Unplugged}
	if o.Action == wire.Plug {
		s.State, s.Representor = wire.Plugged, fmt.Sprintf("pf0vf%d", o.Number)
	}
	return s
}

// Network adds an overlay network, or one on a physical network.
func (w *World) Network(physical string) string {
	w.T.Helper()
	n := &store.Network{Network: network.Network{ID: uuid.NewString(), Name: "blue", MTU: 1442, Type: "geneve", Physical: physical}}
	if physical != "" {
		n.Type = "flat"
	}
	w.Write(func(tx *store.Tx) error { return tx.InsertNetwork(w.T.Context(), n) })
	return n.ID
}

// Port adds a remote-managed port.
func (w *World) Port(networkID string) *store.VPort {
	w.T.Helper()
	id := uuid.New()
	p := &store.VPort{Port: network.Port{
		ID: id.String(), NetworkID: networkID, MAC: fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", id[0], id[1], id[2]), VNICType: network.VNICRemoteManaged,
		VIFType: network.VIFUnbound, Status: network.StatusDown,
	}}
	w.Write(func(tx *store.Tx) error { return tx.InsertVPort(w.T.Context(), p) })
	return p
}

// ReadPort returns a port as it is now.
func (w *World) ReadPort(id string) *store.VPort {
	w.T.Helper()
	var p *store.VPort
	w.Must(w.DB.Read(w.T.Context(), func(tx *store.Tx) (err error) {
		p, err = tx.VPort(w.T.Context(), id)
		return err
	}))
	return p
}

// Claims returns the claims that q selects.
func (w *World) Claims(q store.ClaimQuery) []*store.Claim {
	w.T.Helper()
	var list []*store.Claim
	w.Must(w.DB.Read(w.T.Context(), func(tx *store.Tx) (err error) {
		list, err = tx.Claims(w.T.Context(), q)
		return err
	}))
	return list
}

// Standard is a world with host cmp1, its node, and two cards of 2 x 4 functions whose DPUs have reported.
func Standard(t testing.TB, change ...func(*enrol.Options)) (w *World, dpus [2]*DPU) {
	t.Helper()
	w = New(t, change...)
	w.Node("cmp1")
	w.Report("cmp1", Card("MT2113X00001", 0x81, 2, 4), Card("MT2113X00002", 0x82, 2, 4))
	dpus[0] = w.DPU("MT2113X00001", "dpu-a")
	dpus[1] = w.DPU("MT2113X00002", "dpu-b")
	return w, dpus
}
