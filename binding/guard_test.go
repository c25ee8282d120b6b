package binding_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

var cards = []string{card1}

func check(t *testing.T, w *attachsim.World) error {
	t.Helper()
	return w.DB.Read(t.Context(), func(tx *store.Tx) error { return w.Binder.Guard().Check(t.Context(), tx, cards) })
}

func drain(t *testing.T, w *attachsim.World) {
	t.Helper()
	w.Write(func(tx *store.Tx) error { return w.Binder.Guard().Drain(t.Context(), tx, cards) })
}

func restore(t *testing.T, w *attachsim.World) {
	t.Helper()
	w.Write(func(tx *store.Tx) error { return w.Binder.Guard().Restore(t.Context(), tx, cards) })
}

func waiting(t *testing.T, w *attachsim.World) []string {
	t.Helper()
	var list []string
	w.Must(w.DB.Read(t.Context(), func(tx *store.Tx) (err error) {
		list, err = w.Binder.Guard().Drained(t.Context(), tx, cards)
		return err
	}))
	return list
}

func TestACardWithPortsIsNotResetWithoutAsking(t *testing.T) {
	w, _ := attachsim.Standard(t)
	w.Must(check(t, w))
	n := w.Network("")
	p := w.Port(n)
	bindTo(t, w, p.ID, "cmp1", novas(3))
	if err := check(t, w); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), p.ID) || !strings.Contains(err.Error(), "drain: true") {
		t.Errorf("with a port: %v, want a conflict that names it", err)
	}
	for vf := range 3 {
		bindTo(t, w, w.Port(n).ID, "cmp1", novas(vf))
	}
	for vf := range 2 {
		bindTo(t, w, w.Port(n).ID, "cmp1", novas(vf, func(m map[string]any) {
			m["pf_mac_address"], m["pci_slot"] = attachsim.MAC(card1, 1), fmt.Sprintf("0000:81:09.%d", vf)
		}))
	}
	if err := check(t, w); !strings.Contains(err.Error(), "and 1 more") {
		t.Errorf("with six ports: %v", err)
	}
}

func TestADrainedCardGetsItsPortsBack(t *testing.T) {
	w, dpus := attachsim.Standard(t)
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(3))
	ready(t, w, p.ID)
	for range 2 {
		drain(t, w)
	}
	if list := waiting(t, w); len(list) != 1 || !strings.Contains(list[0], p.ID) {
		t.Errorf("waiting for %v, want the port", list)
	}
	wantStatus(t, w, p.ID, network.StatusBuild, "waiting for DPU dpu-a to unplug the port, since its card is to be worked on")
	reconcile(t, w)
	if told, _ := w.Backend.Port(p.ID); told.Binding != nil {
		t.Error("the backend still has the port bound")
	}
	w.Must(w.Poll(t.Context()))
	if list := waiting(t, w); len(list) != 0 {
		t.Errorf("waiting for %v although all is unplugged", list)
	}
	w.Must(check(t, w))
	wantStatus(t, w, p.ID, network.StatusBuild, "unplugged from DPU dpu-a while its card is worked on")
	if n := len(dpus[0].Plugged()); n != 0 {
		t.Errorf("%d ports are plugged on a drained card", n)
	}
	if list := w.Claims(store.ClaimQuery{}); len(list) != 1 {
		t.Fatalf("claims %v, want the function kept", list)
	}
	w.Must(w.Binder.CardReset(t.Context(), card1))
	w.Restart(nil)
	for range 2 {
		restore(t, w)
	}
	ready(t, w, p.ID)
	if o := dpus[0].Plugged()[p.ID]; o.Number != 3 || o.Generation != 3 {
		t.Errorf("plugged %+v, want VF 3 by generation 3", o)
	}
}

func TestAResetCardCountsAsDrained(t *testing.T) {
	w, _ := attachsim.Standard(t)
	p := w.Port(w.Network(""))
	bindTo(t, w, p.ID, "cmp1", novas(3))
	drain(t, w) // the card's agent is away and says nothing
	w.Must(w.Binder.CardReset(t.Context(), card1))
	if list := waiting(t, w); len(list) != 0 {
		t.Errorf("waiting for %v after the reset", list)
	}
	restore(t, w)
	ready(t, w, p.ID)
}

func TestAPortThatIsUnboundWhileItsCardIsDrainedStaysUnbound(t *testing.T) {
	for name, confirmed := range map[string]bool{"before the card has confirmed": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			w, dpus := attachsim.Standard(t)
			p := w.Port(w.Network(""))
			bindTo(t, w, p.ID, "cmp1", novas(3))
			ready(t, w, p.ID)
			drain(t, w)
			if confirmed {
				w.Must(w.Poll(t.Context()))
			}
			unbind(t, w, p.ID)
			if n := len(w.Claims(store.ClaimQuery{})); (n == 0) != confirmed {
				t.Errorf("%d claims", n)
			}
			restore(t, w)
			w.Must(w.Poll(t.Context()))
			if n := len(w.Claims(store.ClaimQuery{})); n != 0 || len(dpus[0].Plugged()) != 0 {
				t.Errorf("%d claims, plugged %v, want neither", n, dpus[0].Plugged())
			}
			wantStatus(t, w, p.ID, network.StatusDown, "")
		})
	}
}
