package placement_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

// clients is the number of those who claim at the same time.
const clients = 64

// Claims and releases by many clients at once on one card of 127 VFs: each operation is a claim, which is on disk, and its release, which is too.
func BenchmarkClaimAndRelease(b *testing.B) {
	w := attachsim.New(b)
	w.Node("cmp1")
	w.Report("cmp1", attachsim.Card(serial1, 0x81, 1, 127))
	w.DPU(serial1, "dpu-a")
	benchmarkClaims(b, w.Placer)
}

func benchmarkClaims(b *testing.B, p *placement.Placer) {
	b.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range clients {
		all.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				_, claims, err := p.Place(context.Background(), request(fmt.Sprint("p", i)), nil)
				if err == nil {
					err = p.Release(context.Background(), claims[0].UUID)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
}

// A fleet of 10,000 hosts with 67 PFs of 127 VFs each: 85 million VFs, held as 670,000 ranges. Making it takes most of the time.
func BenchmarkFleet(b *testing.B) {
	w := attachsim.New(b)
	for i := 0; i < fleetHosts; i += fleetStep {
		w.Write(func(tx *store.Tx) error {
			for host := i; host < i+fleetStep; host++ {
				if err := addHost(b.Context(), tx, fmt.Sprintf("cmp%05d", host)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	b.Run("choose", func(b *testing.B) {
		for b.Loop() {
			hosts, err := w.Placer.Choose(b.Context(), request("p1"), 1)
			if err != nil || len(hosts) != 1 {
				b.Fatalf("hosts %v, error %v", hosts, err)
			}
		}
	})
	b.Run("claim and release", func(b *testing.B) { benchmarkClaims(b, w.Placer) })
	b.Run("refuse", func(b *testing.B) {
		r := request("p1")
		r.Ports[0].PhysicalNetwork = "nowhere"
		for b.Loop() {
			if _, _, err := w.Placer.Place(b.Context(), r, nil); !fault.Is(err, fault.Conflict) {
				b.Fatal(err)
			}
		}
	})
}

// Shape of the fleet.
const (
	fleetHosts = 10000
	fleetStep  = 100 // hosts made in one transaction
	fleetVFs   = 127 // of each PF
)

// fleetPFs are the PFs of each card of a host.
var fleetPFs = []int{17, 17, 17, 16}

func addHost(ctx context.Context, tx *store.Tx, name string) error {
	const lease = 24 * time.Hour
	n := &node.Node{UUID: uuid.NewString(), Name: name, Driver: "redfish", Provision: node.Active}
	if err := tx.InsertNode(ctx, n); err != nil {
		return err
	}
	h := &store.Host{Name: name, Service: wire.Version, Virt: store.Virt{Driver: "libvirt", VCPUs: 128, MemoryMB: 1 << 20}}
	if err := tx.SaveHostReport(ctx, h, lease); err != nil {
		return err
	}
	if err := tx.TieHost(ctx, name, n.UUID, ""); err != nil {
		return err
	}
	var cards []*store.HostCard
	var pfs []*store.HostPF
	for i, count := range fleetPFs {
		serial := fmt.Sprintf("%s-%d", name, i)
		card := &store.HostCard{Host: name, Slot: fmt.Sprintf("0000:%02x:00.0", 0x80+8*i), Serial: serial}
		cards = append(cards, card)
		for pf := range count {
			pfs = append(pfs, fleetPF(card, i, pf))
		}
		if err := addDPU(ctx, tx, n, serial, lease); err != nil {
			return err
		}
	}
	return tx.SaveHostCards(ctx, name, cards, pfs)
}

func fleetPF(card *store.HostCard, bus, pf int) *store.HostPF {
	at := func(slot, function int) string { return fmt.Sprintf("0000:%02x:%02x.%d", 0x80+8*bus, slot, function) }
	return &store.HostPF{
		Host: card.Host, Address: at(pf/8, pf%8), Slot: card.Slot, Serial: card.Serial, Vendor: "15b3", Product: "a2dc", VFProduct: "101e",
		MAC: fmt.Sprintf("0c:42:a1:%02x:%02x:00", bus, pf), NUMA: bus & 1, TotalVFs: fleetVFs, VFs: fleetVFs, RemoteManaged: true,
		Ranges: []store.VFRange{{Count: fleetVFs, Address: fmt.Sprintf("0000:%02x:00.0", 0x81+8*bus), Stride: 1, Product: "101e"}},
	}
}

func addDPU(ctx context.Context, tx *store.Tx, host *node.Node, serial string, lease time.Duration) error {
	child := &node.Node{UUID: uuid.NewString(), Name: "dpu-" + serial, Driver: "redfish", Provision: node.Active, Parent: host.UUID}
	child.Card = node.Card{Serial: serial, Chassis: "dpu-" + serial}
	if err := tx.InsertNode(ctx, child); err != nil {
		return err
	}
	return tx.SaveDPUReport(ctx, &store.DPU{Serial: serial, System: serial, Chassis: "dpu-" + serial, Service: wire.Version}, lease)
}
