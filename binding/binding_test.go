package binding_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

// place claims a function for the port on any host, and binds it.
func place(t *testing.T, w *attachsim.World, p *store.VPort) *store.Claim {
	t.Helper()
	_, claims, err := w.Placer.Place(t.Context(), placement.Request{Server: uuid.NewString(), NUMANode: -1, Ports: []placement.Port{{ID: p.ID}}},
		func(tx *store.Tx, _ string, claims []*store.Claim) error {
			return w.Binder.Bind(t.Context(), tx, claims[0], "compute:nova")
		})
	w.Must(err)
	return claims[0]
}

func wantStatus(t *testing.T, w *attachsim.World, id, status, reason string) {
	t.Helper()
	p := w.ReadPort(id)
	if p.Status != status || p.StatusReason != reason {
		t.Errorf("port is %s (%s), want %s (%s)", p.Status, p.StatusReason, status, reason)
	}
}

func reconcile(t *testing.T, w *attachsim.World) {
	t.Helper()
	w.Must(w.Binder.Reconcile(t.Context()))
}

func TestAPortFromClaimToActiveAndBack(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	p := w.Port(w.Network(""))
	c := place(t, w, p)
	if c.Card != dpus[0].Serial || c.VF != 0 {
		t.Fatalf("claimed VF %d of card %s, want VF 0 of %s", c.VF, c.Card, dpus[0].Serial)
	}
	wantStatus(t, w, p.ID, network.StatusBuild, "waiting for DPU dpu-a to carry out order 1")

	got, err := json.Marshal(w.ReadPort(p.ID).Profile)
	w.Must(err)
	want := `{"card_serial_number":"MT2113X00001","pci_slot":"0000:81:01.0","pci_vendor_info":"15b3:101e","pf_mac_address":"` +
		attachsim.MAC("MT2113X00001", 0) + `","physical_network":null,"vf_num":0}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("binding:profile (-want +got):\n%s", d)
	}

	w.Must(dpus[0].Poll(t.Context()))
	wantStatus(t, w, p.ID, network.StatusBuild, "plugged as pf0vf0 on DPU dpu-a; waiting for the network backend")
	reconcile(t, w)
	wantStatus(t, w, p.ID, network.StatusActive, "")
	told, _ := w.Backend.Port(p.ID)
	if d := cmp.Diff(&network.Binding{Chassis: "dpu-a", PFMAC: c.PFMAC, MTU: 1442, Generation: 1}, told.Binding); d != "" {
		t.Errorf("what the backend was told (-want +got):\n%s", d)
	}

	w.Write(func(tx *store.Tx) error { return w.Binder.Unbind(t.Context(), tx, p.ID) })
	reconcile(t, w)
	wantStatus(t, w, p.ID, network.StatusDown, "")
	if list := w.Claims(store.ClaimQuery{Port: p.ID}); len(list) != 1 || list[0].State != store.ClaimReleasing {
		t.Fatalf("after unbinding the claim is %+v, want it releasing until the DPU confirms", list)
	}
	if len(dpus[0].Plugged()) != 1 {
		t.Fatal("the DPU unplugged before it was told")
	}
	w.Must(dpus[0].Poll(t.Context()))
	if list := w.Claims(store.ClaimQuery{}); len(list) != 0 {
		t.Errorf("the DPU has confirmed the unplug and claims are left: %+v", list)
	}
	if n := len(dpus[0].Plugged()); n != 0 {
		t.Errorf("%d ports are still plugged", n)
	}
	if told, _ := w.Backend.Port(p.ID); told.Binding != nil {
		t.Errorf("the backend still has the port bound: %+v", told.Binding)
	}
}

func TestRunBindsByItself(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	w.Start(w.Binder.Run)
	w.Start(dpus[0].Run)
	w.Start(dpus[1].Run)
	p := w.Port(w.Network(""))
	woken, cancel := w.DB.Subscribe(store.TopicPort(p.ID))
	defer cancel()
	place(t, w, p)
	deadline := time.After(5 * time.Second)
	for w.ReadPort(p.ID).Status != network.StatusActive {
		select {
		case <-woken:
		case <-deadline:
			t.Fatalf("the port is %s: %s", w.ReadPort(p.ID).Status, w.ReadPort(p.ID).StatusReason)
		}
	}
}
