package placement_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

const (
	serial1 = "MT2113X00001"
	serial2 = "MT2113X00002"
)

func request(ports ...string) placement.Request {
	r := placement.Request{Server: uuid.NewString(), NUMANode: -1}
	for _, p := range ports {
		r.Ports = append(r.Ports, placement.Port{ID: p})
	}
	return r
}

func place(t *testing.T, w *attachsim.World, r placement.Request) []*store.Claim {
	t.Helper()
	_, claims, err := w.Placer.Place(t.Context(), r, nil)
	w.Must(err)
	return claims
}

func TestTheSameRequestClaimsOnce(t *testing.T) {
	w, _ := attachsim.Standard(t)
	r := request("p1", "p2")
	first := place(t, w, r)
	if d := cmp.Diff(first, place(t, w, r)); d != "" {
		t.Errorf("the second time (-first +second):\n%s", d)
	}
	if n := len(w.Claims(store.ClaimQuery{})); n != 2 {
		t.Errorf("%d claims, want 2", n)
	}
}

func TestAFailureAfterTheClaimsTakesThemBack(t *testing.T) {
	w, _ := attachsim.Standard(t)
	boom := fault.New(fault.Conflict, "no")
	_, _, err := w.Placer.Place(t.Context(), request("p1"), func(*store.Tx, string, []*store.Claim) error { return boom })
	if err == nil || err.Error() != "no" {
		t.Errorf("error %v, want that of the function", err)
	}
	if n := len(w.Claims(store.ClaimQuery{})); n != 0 {
		t.Errorf("%d claims are left", n)
	}
}

func TestVFsAreClaimedUntilNoneIsLeft(t *testing.T) {
	w, _ := attachsim.Standard(t)
	seen := map[string]bool{}
	for i := range 16 {
		c := place(t, w, request(fmt.Sprint("p", i)))[0]
		key := fmt.Sprintf("%s/%s/%d", c.Card, c.PF, c.VF)
		if seen[key] || seen[c.Address] {
			t.Fatalf("%s at %s was claimed twice", key, c.Address)
		}
		seen[key], seen[c.Address] = true, true
	}
	_, _, err := w.Placer.Place(t.Context(), request("p16"), nil)
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "all of its 4 VFs are claimed") {
		t.Errorf("the 17th of 16 VFs: %v", err)
	}
}

func TestAPFAndItsVFsExcludeEachOther(t *testing.T) {
	w, _ := attachsim.Standard(t)
	whole := func(port, pf string) placement.Request {
		r := request(port)
		r.Ports[0].Whole, r.Ports[0].PF = true, pf
		return r
	}
	if c := place(t, w, whole("p1", "0000:81:00.0"))[0]; c.VF != store.WholePF || c.Address != "0000:81:00.0" {
		t.Errorf("claim %+v", c)
	}
	r := request("p2")
	r.Ports[0].PF = "0000:81:00.0"
	if _, _, err := w.Placer.Place(t.Context(), r, nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("a VF of a claimed PF: %v, want a conflict", err)
	}
	r.Ports[0].PF = "0000:81:00.1"
	place(t, w, r)
	if _, _, err := w.Placer.Place(t.Context(), whole("p3", "0000:81:00.1"), nil); !fault.Is(err, fault.Conflict) {
		t.Errorf("a PF with a claimed VF: %v, want a conflict", err)
	}
}

func TestHints(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(*placement.Request)
		want string // cards of the claims, in order of the ports; empty is no host
	}{
		"nothing asked":                 {func(*placement.Request) {}, serial1 + " " + serial1},
		"a chosen card":                 {func(r *placement.Request) { r.Ports[0].Card, r.Ports[1].Card = serial2, serial2 }, serial2 + " " + serial2},
		"a chosen uplink by address":    {func(r *placement.Request) { r.Ports[0].PF = "0000:82:00.1" }, serial2 + " " + serial1},
		"a chosen uplink by its netdev": {func(r *placement.Request) { r.Ports[0].PF = "enp130s0f1np1" }, serial2 + " " + serial1},
		"anti-affinity":                 {func(r *placement.Request) { r.CardPolicy = placement.CardAntiAffinity }, serial1 + " " + serial2},
		"anti-affinity with too few cards": {func(r *placement.Request) {
			r.CardPolicy = placement.CardAntiAffinity
			r.Ports = append(r.Ports, placement.Port{ID: "p3"})
		}, ""},
		"affinity against a chosen card": {func(r *placement.Request) {
			r.CardPolicy, r.Ports[0].Card, r.Ports[1].Card = placement.CardAffinity, serial1, serial2
		}, ""},
		"affinity goes back on its choice":    {func(r *placement.Request) { r.CardPolicy, r.Ports[1].Card = placement.CardAffinity, serial2 }, serial2 + " " + serial2},
		"the NUMA node is required":           {func(r *placement.Request) { r.NUMANode, r.NUMAPolicy = 0, placement.NUMARequired }, serial2 + " " + serial2},
		"a NUMA node that has no card":        {func(r *placement.Request) { r.NUMANode, r.NUMAPolicy = 3, placement.NUMARequired }, ""},
		"a preferred NUMA node without cards": {func(r *placement.Request) { r.NUMANode, r.NUMAPolicy = 3, placement.NUMAPreferred }, serial1 + " " + serial1},
		"legacy stays on one node":            {func(r *placement.Request) { r.NUMANode = 0 }, serial2 + " " + serial2},
		"required without a node is one node": {func(r *placement.Request) {
			r.NUMAPolicy, r.CardPolicy = placement.NUMARequired, placement.CardAntiAffinity
		}, ""},
		"a host that was asked for": {func(r *placement.Request) { r.Host = "cmp1" }, serial1 + " " + serial1},
		"a host to avoid":           {func(r *placement.Request) { r.Avoid = []string{"cmp1"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := attachsim.Standard(t)
			r := request("p1", "p2")
			tt.edit(&r)
			_, claims, err := w.Placer.Place(t.Context(), r, nil)
			var cards []string
			for _, c := range claims {
				cards = append(cards, c.Card)
			}
			if got := strings.Join(cards, " "); got != tt.want || (tt.want == "") != fault.Is(err, fault.Conflict) {
				t.Errorf("cards %q, error %v; want %q", got, err, tt.want)
			}
		})
	}
}

// edit changes the node of a card.
func edit(t *testing.T, w *attachsim.World, serial string, f func(*node.Node)) {
	t.Helper()
	w.Write(func(tx *store.Tx) error {
		n, err := tx.NodeByCard(t.Context(), serial)
		if err != nil {
			return err
		}
		f(n)
		return tx.SaveNode(t.Context(), n)
	})
}

// reportVirt reports cmp1 with another virt driver or version of the protocol.
func reportVirt(t *testing.T, w *attachsim.World, version int, virt wire.Virt) {
	t.Helper()
	_, err := w.Enrol.HostReport(t.Context(), "cmp1", &wire.HostReport{Version: version, Cards: []wire.Card{attachsim.Card(serial1, 0x81, 1, 4)}, Virt: virt})
	w.Must(err)
}

func TestExplain(t *testing.T) {
	overlay := func(c wire.Card, physical *string, remote bool) wire.Card {
		for i := range c.PFs {
			c.PFs[i].PhysicalNetwork, c.PFs[i].RemoteManaged = physical, remote
		}
		return c
	}
	physnet := "physnet2"
	for name, tt := range map[string]struct {
		prepare func(*testing.T, *attachsim.World)
		filter  string
		reason  string
		detail  string
	}{
		"a host that fits": {func(t *testing.T, w *attachsim.World) { w.DPU(serial1, "dpu-a") }, "", "can take the server", ""},
		"no DPU has reported": {func(*testing.T, *attachsim.World) {}, "functions", "no function for the port",
			"PF 0000:81:00.0: card MT2113X00001 of host cmp1 has no node: no agent on the card's own Linux has reported it"},
		"the DPU is in maintenance": {func(t *testing.T, w *attachsim.World) {
			w.DPU(serial1, "dpu-a")
			edit(t, w, serial1, func(n *node.Node) { n.Maintenance, n.MaintenanceReason = true, "new fan" })
		}, "functions", "", "DPU node dpu-a is in maintenance: new fan"},
		"the DPU is being cleaned": {func(t *testing.T, w *attachsim.World) {
			w.DPU(serial1, "dpu-a")
			edit(t, w, serial1, func(n *node.Node) { n.Provision = node.Cleaning })
		}, "functions", "", `DPU node dpu-a is in state "cleaning"`},
		"the device spec is for another network": {func(t *testing.T, w *attachsim.World) {
			w.Report("cmp1", overlay(attachsim.Card(serial1, 0x81, 1, 4), &physnet, true))
			w.DPU(serial1, "dpu-a")
		}, "functions", "", "its device spec is for physical network physnet2, and the port is on an overlay network"},
		"nothing is remote-managed": {func(t *testing.T, w *attachsim.World) {
			w.Report("cmp1", overlay(attachsim.Card(serial1, 0x81, 1, 4), nil, false))
		}, "remote-managed", "the host lacks trait COMPUTE_REMOTE_MANAGED_PORTS", ""},
		"libvirt is too old": {func(t *testing.T, w *attachsim.World) {
			reportVirt(t, w, wire.Version, wire.Virt{Driver: "libvirt", DriverVersion: "7.8.0"})
		}, "remote-managed", "libvirt 7.8.0 is older than 7.9.0", ""},
		"libvirt is new enough": {func(t *testing.T, w *attachsim.World) {
			w.DPU(serial1, "dpu-a")
			reportVirt(t, w, wire.Version, wire.Virt{Driver: "libvirt", DriverVersion: "10.0.0"})
		}, "", "can take the server", ""},
		"there is no virt driver": {func(t *testing.T, w *attachsim.World) {
			reportVirt(t, w, wire.Version, wire.Virt{Driver: "none"})
		}, "virt-driver", "the host reports no virt driver", ""},
		"the agent is of an older version": {func(t *testing.T, w *attachsim.World) {
			reportVirt(t, w, 0, wire.Virt{Driver: "fake"})
		}, "service-version", "its agent speaks version 0 of the protocol, and remote-managed ports need 1", ""},
		"all VFs are claimed": {func(t *testing.T, w *attachsim.World) {
			w.DPU(serial1, "dpu-a")
			for i := range 4 {
				place(t, w, request(fmt.Sprint("other", i)))
			}
		}, "functions", "", "PF 0000:81:00.0: all of its 4 VFs are claimed"},
		"the DPU is being serviced": {func(t *testing.T, w *attachsim.World) {
			w.DPU(serial1, "dpu-a")
			edit(t, w, serial1, func(n *node.Node) { n.Provision = node.Servicing })
		}, "functions", "", `DPU node dpu-a is in state "servicing"`},
		"the host's node is in maintenance": {func(t *testing.T, w *attachsim.World) {
			w.Write(func(tx *store.Tx) error {
				n, err := tx.Node(t.Context(), "cmp1")
				if err != nil {
					return err
				}
				n.Maintenance, n.MaintenanceReason = true, "new board"
				return tx.SaveNode(t.Context(), n)
			})
		}, "host-node", "node cmp1 is in maintenance: new board", ""},
		"the host is disabled": {func(t *testing.T, w *attachsim.World) {
			w.Write(func(tx *store.Tx) error { return tx.DisableHost(t.Context(), "cmp1", "new fans") })
		}, "host-enabled", "the host is disabled: new fans", ""},
		"the host's lease has ended": {func(t *testing.T, w *attachsim.World) {
			w.Write(func(tx *store.Tx) error {
				_, err := tx.BeatHost(t.Context(), "cmp1", -1)
				return err
			})
		}, "host-alive", "the host's agent is silent", ""},
		"the DPU's lease has ended": {func(t *testing.T, w *attachsim.World) {
			w.DPU(serial1, "dpu-a")
			w.Write(func(tx *store.Tx) error {
				_, err := tx.BeatDPU(t.Context(), serial1, "dpu-a/"+serial1, -1)
				return err
			})
		}, "functions", "", "DPU dpu-a of card MT2113X00001 is silent"},
	} {
		t.Run(name, func(t *testing.T) {
			w := attachsim.New(t)
			w.Node("cmp1")
			w.Report("cmp1", attachsim.Card(serial1, 0x81, 1, 4))
			tt.prepare(t, w)
			list, err := w.Placer.Explain(t.Context(), request("p1"))
			w.Must(err)
			if len(list) != 1 || list[0].Host != "cmp1" || list[0].Filter != tt.filter || !strings.Contains(list[0].Reason, tt.reason) ||
				!strings.Contains(strings.Join(list[0].Details, "\n"), tt.detail) {
				t.Errorf("%+v", list)
			}
		})
	}
}

func TestThePhysicalNetworkNeedsAnUplink(t *testing.T) {
	w := attachsim.New(t)
	w.Node("cmp1")
	for _, physical := range []string{"physnet1", "physnet9"} {
		c := attachsim.Card(serial1, 0x81, 1, 4)
		c.PFs[0].PhysicalNetwork = &physical
		w.Report("cmp1", c)
		w.DPU(serial1, "dpu-a")
		r := request("p-" + physical)
		r.Ports[0].PhysicalNetwork = physical
		_, _, err := w.Placer.Place(t.Context(), r, nil)
		if ok := physical == "physnet1"; ok != (err == nil) || !ok && !strings.Contains(err.Error(), "no uplink of DPU dpu-a is on physical network physnet9") {
			t.Errorf("%s: %v", physical, err)
		}
	}
}

func TestTheHostWithMoreFreeFunctionsIsTaken(t *testing.T) {
	w, _ := attachsim.Standard(t)
	w.Node("cmp2")
	w.Report("cmp2", attachsim.Card("MT2113X00003", 0x81, 2, 8))
	w.DPU("MT2113X00003", "dpu-c")
	if c := place(t, w, request("p1"))[0]; c.Host != "cmp2" {
		t.Errorf("taken %s, want cmp2", c.Host)
	}
}

func TestCapacityIsNotOversold(t *testing.T) {
	w := attachsim.New(t)
	w.Node("cmp1")
	_, err := w.Enrol.HostReport(t.Context(), "cmp1", &wire.HostReport{Version: 1, Virt: wire.Virt{Driver: "fake", VCPUs: 4, MemoryMB: 4096}})
	w.Must(err)
	for i := range 3 {
		r := placement.Request{Server: uuid.NewString(), VCPUs: 2, MemoryMB: 512, NUMANode: -1}
		_, _, err := w.Placer.Place(t.Context(), r, func(tx *store.Tx, host string, _ []*store.Claim) error {
			return tx.InsertServer(t.Context(), &store.Server{UUID: r.Server, Name: "x", Host: host, State: store.ServerActive, Flavor: store.Flavor{VCPUs: 2, MemoryMB: 512}})
		})
		if (err == nil) != (i < 2) {
			t.Errorf("server %d of 2 VCPUs on 4: %v", i+1, err)
		}
	}
}

func TestManyClaimantsNeverShareAVF(t *testing.T) {
	w, _ := attachsim.Standard(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 6 {
				port := fmt.Sprintf("p%d-%d", i, j)
				_, claims, err := w.Placer.Place(context.Background(), request(port), nil)
				if err != nil && !fault.Is(err, fault.Conflict) {
					t.Error(err)
				}
				if len(claims) > 0 && j%2 == 0 {
					if err := w.DB.Write(context.Background(), func(tx *store.Tx) error { return tx.FreeClaim(context.Background(), claims[0].UUID) }); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	seen := map[string]string{}
	for _, c := range w.Claims(store.ClaimQuery{}) {
		if other := seen[c.Address]; other != "" {
			t.Errorf("%s is claimed for %s and %s", c.Address, other, c.Port)
		}
		seen[c.Address] = c.Port
	}
	if len(seen) != 16 {
		t.Errorf("%d VFs are claimed, want all 16", len(seen))
	}
}
