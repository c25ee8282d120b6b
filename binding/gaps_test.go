package binding_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

// The tests of this file are the gaps between an order and its representor that systems of this kind leave open, as far as the server closes them. The
// agent's part has tests in agent/dpu.

const card1 = "MT2113X00001"

// novas is a binding profile as Nova writes it, for a VF of the first PF of the first card of the standard world.
func novas(vf int, change ...func(map[string]any)) network.Profile {
	m := map[string]any{
		"pci_vendor_info": "15b3:101e", "pci_slot": fmt.Sprintf("0000:81:01.%d", vf), "physical_network": nil, "card_serial_number": card1,
		"pf_mac_address": attachsim.MAC(card1, 0), "vf_num": vf,
	}
	for _, f := range change {
		f(m)
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	var p network.Profile
	if err := json.Unmarshal(b, &p); err != nil {
		panic(err)
	}
	return p
}

// bindTo binds a port to host as its profile says.
func bindTo(t *testing.T, w *attachsim.World, id, host string, profile network.Profile) *store.VPort {
	t.Helper()
	w.Write(func(tx *store.Tx) error {
		p, err := tx.VPortForUpdate(t.Context(), id)
		if err != nil {
			return err
		}
		p.Profile = profile
		if err := tx.SaveVPort(t.Context(), p); err != nil {
			return err
		}
		return w.Binder.BindProfile(t.Context(), tx, id, host, binding.Device{ID: "server", Owner: "compute:nova"})
	})
	return w.ReadPort(id)
}

func unbind(t *testing.T, w *attachsim.World, id string) {
	t.Helper()
	w.Write(func(tx *store.Tx) error { return w.Binder.Unbind(t.Context(), tx, id) })
}

// ready brings a port to ACTIVE.
func ready(t *testing.T, w *attachsim.World, id string) {
	t.Helper()
	reconcile(t, w)
	w.Must(w.Poll(t.Context()))
	wantStatus(t, w, id, network.StatusActive, "")
}

func TestGap1ActiveMeansThatTheCardHasSaidSo(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(3))
	reconcile(t, w)
	if told, _ := w.Backend.Port(p.ID); !told.State.Up {
		t.Fatal("the backend does not say up, so this shows nothing")
	}
	wantStatus(t, w, p.ID, network.StatusBuild, "waiting for DPU dpu-a to carry out order 1")
	dpus[0].Answer = func(o wire.Order) wire.PortStatus {
		return wire.PortStatus{Port: o.Port, Generation: o.Generation, State: wire.Failed, Reason: "no bridge br-int"}
	}
	w.Must(w.Poll(t.Context()))
	wantStatus(t, w, p.ID, network.StatusError, "DPU dpu-a: plugging failed: no bridge br-int")
	dpus[0].Answer = nil
	w.Must(w.Poll(t.Context()))
	wantStatus(t, w, p.ID, network.StatusActive, "")
}

func TestGap2AFunctionIsTakenUntilItsUnplugIsConfirmed(t *testing.T) {
	w, _ := attachsim.Standard(t)
	n := w.Network("")
	p, next := w.Port(n), w.Port(n)
	bindTo(t, w, p.ID, "cmp1", novas(3))
	ready(t, w, p.ID)
	w.Write(func(tx *store.Tx) error { return w.Binder.Delete(t.Context(), tx, p.ID) })
	reconcile(t, w)
	if got := bindTo(t, w, next.ID, "cmp1", novas(3)); got.VIFType != network.VIFFailed || !strings.Contains(got.StatusReason, "claimed already") {
		t.Fatalf("the next one got the function: %s, %q", got.VIFType, got.StatusReason)
	}
	w.Must(w.Poll(t.Context()))
	if got := bindTo(t, w, next.ID, "cmp1", novas(3)); got.VIFType != network.VIFOVS {
		t.Errorf("after the confirmation: %s, %q", got.VIFType, got.StatusReason)
	}
}

func TestGap3AnOldWordCountsForNothing(t *testing.T) {
	w, _ := attachsim.Standard(t)
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(3))
	ready(t, w, p.ID)
	unbind(t, w, p.ID) // 2
	report := func(generation int64, state string) {
		w.Must(w.Binder.Report(t.Context(), card1, []wire.PortStatus{{Port: p.ID, Generation: generation, State: state}}))
	}
	report(1, wire.Unplugged)
	if n := len(w.Claims(store.ClaimQuery{})); n != 1 {
		t.Fatal("an unplug of an older generation has freed the function")
	}
	report(2, wire.Unplugged)
	if n := len(w.Claims(store.ClaimQuery{})); n != 0 {
		t.Fatal("the confirmed function is still taken")
	}
	bindTo(t, w, p.ID, "cmp1", novas(2)) // 3
	report(2, wire.Plugged)
	wantStatus(t, w, p.ID, network.StatusBuild, "waiting for DPU dpu-a to carry out order 3")
	report(3, wire.Waiting)
	report(1, wire.Failed)
	wantStatus(t, w, p.ID, network.StatusBuild, "DPU dpu-a: waiting")
	report(41, wire.Plugged) // the card has seen more than the database knows
	orders, err := w.Binder.Orders(t.Context(), card1, 0)
	w.Must(err)
	if len(orders.Orders) != 1 || orders.Orders[0].Generation != 42 {
		t.Errorf("orders %+v, want generation 42", orders.Orders)
	}
}

func TestGap5BothCardsOfAMovePlugBeforeItAndOneAfter(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	w.Node("cmp2")
	w.Report("cmp2", attachsim.Card("MT2113X00003", 0x83, 2, 4))
	target := w.DPU("MT2113X00003", "dpu-c")
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(0))
	ready(t, w, p.ID)
	there := novas(2, func(m map[string]any) {
		m["card_serial_number"], m["pci_slot"], m["pf_mac_address"] = "MT2113X00003", "0000:83:01.2", attachsim.MAC("MT2113X00003", 0)
	})
	w.Write(func(tx *store.Tx) error {
		_, err := w.Binder.Prepare(t.Context(), tx, p.ID, "cmp2", network.VNICRemoteManaged, there)
		return err
	})
	ready(t, w, p.ID)
	if len(dpus[0].Plugged()) != 1 || target.Plugged()[p.ID].Number != 2 {
		t.Fatalf("plugged %v and %v, want both cards ready before the move", dpus[0].Plugged(), target.Plugged())
	}
	if told, _ := w.Backend.Port(p.ID); told.Binding.Chassis != "dpu-a" {
		t.Errorf("before the move the backend has it on %s", told.Binding.Chassis)
	}
	w.Write(func(tx *store.Tx) error { return w.Binder.Activate(t.Context(), tx, p.ID, "cmp2") })
	ready(t, w, p.ID)
	if told, _ := w.Backend.Port(p.ID); told.Binding.Chassis != "dpu-c" || told.Binding.VF != 2 {
		t.Errorf("after the move the backend has %+v", told.Binding)
	}
	if got := w.ReadPort(p.ID); got.HostID != "cmp2" || got.Profile.VF != 2 || got.Profile.CardSerial != "MT2113X00003" {
		t.Errorf("the port says %s, %+v", got.HostID, got.Profile)
	}
	w.Write(func(tx *store.Tx) error { return w.Binder.Drop(t.Context(), tx, p.ID, "cmp1") })
	ready(t, w, p.ID)
	if n := len(dpus[0].Plugged()); n != 0 || len(w.Claims(store.ClaimQuery{})) != 1 {
		t.Errorf("%d ports on the card that was left, claims %v", n, w.Claims(store.ClaimQuery{}))
	}
	unbind(t, w, p.ID)
	w.Must(w.Poll(t.Context()))
	if list := w.Claims(store.ClaimQuery{}); len(list) != 0 {
		t.Errorf("claims %v after all", list)
	}
}

func TestGap5AMoveThatIsGivenUpLeavesNothing(t *testing.T) {
	w, _ := attachsim.Standard(t)
	w.Node("cmp2")
	w.Report("cmp2", attachsim.Card("MT2113X00003", 0x83, 2, 4))
	w.DPU("MT2113X00003", "dpu-c")
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(0))
	ready(t, w, p.ID)
	there := novas(2, func(m map[string]any) {
		m["card_serial_number"], m["pci_slot"], m["pf_mac_address"] = "MT2113X00003", "0000:83:01.2", attachsim.MAC("MT2113X00003", 0)
	})
	prepare := func(host string, profile network.Profile) error {
		return w.DB.Write(t.Context(), func(tx *store.Tx) error {
			_, err := w.Binder.Prepare(t.Context(), tx, p.ID, host, network.VNICRemoteManaged, profile)
			return err
		})
	}
	w.Must(prepare("cmp2", there))
	if err := prepare("cmp2", there); !fault.Is(err, fault.Conflict) {
		t.Errorf("a second binding to one host: %v", err)
	}
	if err := prepare("cmp1", novas(1)); !fault.Is(err, fault.Conflict) {
		t.Errorf("a binding to the host that has it: %v", err)
	}
	if err := prepare("cmp3", there); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "cmp3") {
		t.Errorf("a binding to a host without the card: %v", err)
	}
	w.Must(w.Poll(t.Context()))
	w.Write(func(tx *store.Tx) error { return w.Binder.Drop(t.Context(), tx, p.ID, "cmp2") })
	ready(t, w, p.ID)
	if list := w.Claims(store.ClaimQuery{}); len(list) != 1 || list[0].Host != "cmp1" {
		t.Errorf("claims %v, want that on cmp1 alone", list)
	}
	for what, err := range map[string]error{
		"activate": w.DB.Write(t.Context(), func(tx *store.Tx) error { return w.Binder.Activate(t.Context(), tx, p.ID, "cmp2") }),
		"drop":     w.DB.Write(t.Context(), func(tx *store.Tx) error { return w.Binder.Drop(t.Context(), tx, p.ID, "cmp2") }),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s of a binding that is gone: %v", what, err)
		}
	}
	if err := w.DB.Write(t.Context(), func(tx *store.Tx) error { return w.Binder.Activate(t.Context(), tx, p.ID, "cmp1") }); !fault.Is(err, fault.Conflict) {
		t.Errorf("activating what is active: %v", err)
	}
}

func TestGap6AnAmbiguousSerialTakesNoPort(t *testing.T) {
	w, _ := attachsim.Standard(t)
	_, err := w.Enrol.DPUReport(t.Context(), card1, attachsim.DPUReport(card1, "dpu-x", 2))
	w.Must(err)
	got := bindTo(t, w, w.Port(w.Network("")).ID, "cmp1", novas(3))
	if got.VIFType != network.VIFFailed || !strings.Contains(got.StatusReason, "dpu-a") || !strings.Contains(got.StatusReason, "dpu-x") {
		t.Errorf("%s: %q, want a failure that names both", got.VIFType, got.StatusReason)
	}
}

func TestGap8APFThatTheCardDoesNotShowIsRefused(t *testing.T) {
	w := attachsim.New(t)
	w.Node("cmp1")
	w.Report("cmp1", attachsim.Card(card1, 0x81, 2, 4))
	report := attachsim.DPUReport(card1, "dpu-a", 2)
	report.Controllers[0].PFs[0].MAC = "0c:42:a1:ff:ff:ff" // another host's on the same card
	_, err := w.Enrol.DPUReport(t.Context(), card1, report)
	w.Must(err)
	got := bindTo(t, w, w.Port(w.Network("")).ID, "cmp1", novas(3))
	if got.VIFType != network.VIFFailed || !strings.Contains(got.StatusReason, "shows no host PF with MAC "+attachsim.MAC(card1, 0)) {
		t.Errorf("%s: %q", got.VIFType, got.StatusReason)
	}
}

func TestGap8bAPFIsPluggedAsAPF(t *testing.T) {
	w, machine, p := bareMetal(t)
	w.Must(bindNode(t, w, machine, p.ID, ""))
	orders, err := w.Binder.Orders(t.Context(), card1, 0)
	w.Must(err)
	want := wire.Order{
		Port: p.ID, Generation: 1, Revision: orders.Revision, Action: wire.Plug, Kind: wire.KindPF, PFMAC: attachsim.MAC(card1, 0),
		MAC: attachsim.MAC(card1, 0), MTU: 1442,
	}
	if len(orders.Orders) != 1 || orders.Orders[0] != want {
		t.Errorf("orders %+v, want %+v", orders.Orders, want)
	}
}

func TestGap8cABadOrderFailsAlone(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	n := w.Network("")
	bad, fine := w.Port(n), w.Port(n)
	bindTo(t, w, bad.ID, "cmp1", novas(3))
	bindTo(t, w, fine.ID, "cmp1", novas(2))
	dpus[0].Answer = func(o wire.Order) wire.PortStatus {
		if o.Number == 3 {
			return wire.PortStatus{Port: o.Port, Generation: o.Generation, State: wire.Waiting, Reason: "representor of VF 3 is not there"}
		}
		return attachsim.Obey(o)
	}
	reconcile(t, w)
	w.Must(w.Poll(t.Context()))
	wantStatus(t, w, fine.ID, network.StatusActive, "")
	wantStatus(t, w, bad.ID, network.StatusBuild, "DPU dpu-a: waiting: representor of VF 3 is not there")
}

func TestGap9ACardThatComesBackGetsItsOrdersFromTheStore(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	n := w.Network("")
	for vf := range 4 {
		p := w.Port(n)
		bindTo(t, w, p.ID, "cmp1", novas(vf))
		ready(t, w, p.ID)
	}
	w.Must(w.Binder.CardReset(t.Context(), card1))
	w.Restart(nil)
	orders, err := w.Binder.Orders(t.Context(), card1, 0)
	w.Must(err)
	if !orders.Full || len(orders.Orders) != 4 {
		t.Fatalf("full=%v with %d orders, want all 4", orders.Full, len(orders.Orders))
	}
	for _, o := range orders.Orders {
		wantStatus(t, w, o.Port, network.StatusBuild, "DPU dpu-a: waiting: the card was reset")
	}
	w.Must(dpus[0].Poll(t.Context()))
	for _, o := range orders.Orders {
		wantStatus(t, w, o.Port, network.StatusActive, "")
	}
	ahead, err := w.Binder.Orders(t.Context(), card1, orders.Revision+1<<40)
	w.Must(err)
	if !ahead.Full {
		t.Error("a revision that riser never gave is not answered with the full list")
	}
}

func TestGap10ASilentCardTakesNoPort(t *testing.T) {
	w, _ := attachsim.Standard(t, func(o *enrol.Options) { o.Lease = time.Millisecond })
	p := w.Port(w.Network(""))
	time.Sleep(5 * time.Millisecond) // leases end by the database's clock
	got := bindTo(t, w, p.ID, "cmp1", novas(3))
	if got.VIFType != network.VIFFailed || !strings.Contains(got.StatusReason, "DPU dpu-a of card MT2113X00001 is silent") {
		t.Errorf("%s: %q", got.VIFType, got.StatusReason)
	}
}

func TestGap11AFunctionHasOneClaimant(t *testing.T) {
	w, _ := attachsim.Standard(t)
	n := w.Network("")
	for i := range 16 {
		place(t, w, w.Port(n))
		if claims := w.Claims(store.ClaimQuery{}); len(claims) != i+1 {
			t.Fatalf("%d claims after %d ports", len(claims), i+1)
		}
	}
	seen := map[string]bool{}
	for _, c := range w.Claims(store.ClaimQuery{}) {
		key := fmt.Sprint(c.Card, c.PF, c.VF)
		if seen[key] {
			t.Errorf("%s is claimed twice", key)
		}
		seen[key] = true
	}
	_, _, err := w.Placer.Place(t.Context(), placement.Request{Server: "s", NUMANode: -1, Ports: []placement.Port{{ID: w.Port(n).ID}}},
		func(*store.Tx, string, []*store.Claim) error { return nil })
	if err == nil {
		t.Error("a seventeenth port of sixteen functions was placed")
	}
}

func TestGap13WhatABindingWroteGoesWithIt(t *testing.T) {
	w, _ := attachsim.Standard(t)
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(3, func(m map[string]any) { m["capabilities"], m["mine"] = []string{"switchdev"}, "kept" }))
	unbind(t, w, p.ID)
	got, err := json.Marshal(w.ReadPort(p.ID).Profile)
	w.Must(err)
	if string(got) != `{"mine":"kept"}` {
		t.Errorf("profile %s, want what the binding did not write", got)
	}
}

func TestGap14TheCardIsToldThePortsMAC(t *testing.T) {
	w, _ := attachsim.Standard(t)
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(3))
	orders, err := w.Binder.Orders(t.Context(), card1, 0)
	w.Must(err)
	if o := orders.Orders[0]; o.MAC != p.MAC || o.PFMAC != attachsim.MAC(card1, 0) {
		t.Errorf("order %+v, want the port's MAC %s", o, p.MAC)
	}
}

func TestGap17AChangedOrderIsNotCalledPlugged(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(1))
	ready(t, w, p.ID)
	unbind(t, w, p.ID)
	w.Must(w.Poll(t.Context()))
	bindTo(t, w, p.ID, "cmp1", novas(2))
	reconcile(t, w)
	wantStatus(t, w, p.ID, network.StatusBuild, "waiting for DPU dpu-a to carry out order 3")
	ready(t, w, p.ID)
	if o := dpus[0].Plugged()[p.ID]; o.Number != 2 || o.Generation != 3 {
		t.Errorf("plugged %+v, want VF 2 by generation 3", o)
	}
}

// bareMetal is a machine without an agent of riser's: the card's own Linux alone reports.
func bareMetal(t *testing.T) (*attachsim.World, *node.Node, *store.VPort) {
	t.Helper()
	w := attachsim.New(t)
	machine := w.Node("metal1")
	w.Write(func(tx *store.Tx) error {
		return tx.InsertNode(t.Context(), &node.Node{
			UUID: "9a3f0f2e-6f5d-4f5b-9a93-2e54a6f0a002", Name: "metal1-card", Driver: "redfish", Parent: machine.UUID, Provision: node.Available,
			Card: node.Card{Serial: card1, Chassis: "dpu-a"},
		})
	})
	w.DPU(card1, "dpu-a")
	p := w.Port(w.Network(""))
	return w, machine, p
}

func bindNode(t *testing.T, w *attachsim.World, n *node.Node, port, pfMAC string) error {
	t.Helper()
	return w.DB.Write(t.Context(), func(tx *store.Tx) error {
		return w.Binder.BindNode(t.Context(), tx, n, port, pfMAC, binding.Device{ID: n.UUID, Owner: "baremetal:none"})
	})
}

func TestAPortOfABareMetalMachineIsOnItsPF(t *testing.T) {
	w, machine, p := bareMetal(t)
	for range 2 {
		w.Must(bindNode(t, w, machine, p.ID, attachsim.MAC(card1, 1)))
	}
	ready(t, w, p.ID)
	got := w.ReadPort(p.ID)
	if got.MAC != attachsim.MAC(card1, 1) || got.HostID != machine.UUID || got.VNICType != network.VNICBaremetal {
		t.Errorf("port %+v", got.Port)
	}
	if told, _ := w.Backend.Port(p.ID); told.Binding == nil || told.Binding.Chassis != "dpu-a" || told.Binding.VF != store.WholePF {
		t.Errorf("the backend was told %+v", told.Binding)
	}
	hops, err := w.Binder.Explain(t.Context(), p.ID)
	w.Must(err)
	if last := hops[len(hops)-1]; len(hops) != 7 || !last.OK {
		t.Errorf("hops %+v", hops)
	}

	other := w.Port(got.NetworkID)
	w.Must(bindNode(t, w, machine, other.ID, ""))
	if mac := w.ReadPort(other.ID).MAC; mac != attachsim.MAC(card1, 0) {
		t.Errorf("the second port is on PF %s, want the free one", mac)
	}
	err = bindNode(t, w, machine, w.Port(got.NetworkID).ID, "")
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "are claimed") {
		t.Errorf("a third port of two PFs: %v", err)
	}
	w.Write(func(tx *store.Tx) error { return w.Binder.UnbindNode(t.Context(), tx, machine, p.ID) })
	if after := w.ReadPort(p.ID); after.HostID != "" || after.MAC == got.MAC {
		t.Errorf("after unbinding %+v", after.Port)
	}
	if n := len(w.Claims(store.ClaimQuery{})); n != 2 {
		t.Errorf("%d claims before the card has confirmed, want 2", n)
	}
	w.Must(w.Poll(t.Context()))
	if n := len(w.Claims(store.ClaimQuery{})); n != 1 {
		t.Errorf("%d claims after, want 1", n)
	}
}

func TestABareMetalMachineThatCannotTakeAPortSaysWhy(t *testing.T) {
	w, machine, p := bareMetal(t)
	bare := w.Node("metal2")
	physical := w.Port(w.Network("physnet9"))
	for name, tt := range map[string]struct {
		n         *node.Node
		port, mac string
		want      string
	}{
		"no card":                        {bare, p.ID, "", "node metal2: it has no DPU card as a child"},
		"a PF that is not there":         {machine, p.ID, "0c:42:a1:00:00:99", "has reported a PF"},
		"a network that it does not see": {machine, physical.ID, "", "no uplink of DPU dpu-a is on physical network physnet9"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := bindNode(t, w, tt.n, tt.port, tt.mac); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want a conflict with %q", err, tt.want)
			}
		})
	}
	if n := len(w.Claims(store.ClaimQuery{})); n != 0 {
		t.Errorf("%d claims are left", n)
	}
}
