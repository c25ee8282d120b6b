package binding_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// BenchmarkBind binds a port, has its card confirm, and unbinds it again, with as many other bound ports in the store as the name says: what it costs
// must not depend on them.
func BenchmarkBind(b *testing.B) {
	for _, others := range []int{0, 1000, 100_000} {
		b.Run(fmt.Sprintf("%d_others", others), func(b *testing.B) {
			w, dpus := attachsim.Standard(b)
			n := w.Network("")
			crowd(b, w, n, others)
			p := w.Port(n)
			profile := novas(3)
			b.ResetTimer()
			for b.Loop() {
				w.Write(func(tx *store.Tx) error {
					port, err := tx.VPortForUpdate(b.Context(), p.ID)
					if err != nil {
						return err
					}
					port.Profile = profile
					if err := tx.SaveVPort(b.Context(), port); err != nil {
						return err
					}
					return w.Binder.BindProfile(b.Context(), tx, p.ID, "cmp1", binding.Device{ID: "server", Owner: "compute:nova"})
				})
				w.Must(dpus[0].Poll(b.Context()))
				w.Write(func(tx *store.Tx) error { return w.Binder.Unbind(b.Context(), tx, p.ID) })
				w.Must(dpus[0].Poll(b.Context()))
			}
		})
	}
}

// crowd fills the store with bound ports of other cards, 500 on each, which the backend has been told of.
func crowd(b *testing.B, w *attachsim.World, networkID string, n int) {
	b.Helper()
	const each = 500
	for from := 0; from < n; from += each {
		serial := fmt.Sprintf("MT99%08d", from)
		w.Write(func(tx *store.Tx) error {
			for i := from; i < min(from+each, n); i++ {
				id := uuid.NewString()
				p := &store.VPort{Port: network.Port{
					ID: id, NetworkID: networkID, MAC: fmt.Sprintf("fa:17:%02x:%02x:%02x:%02x", i>>24&0xff, i>>16&0xff, i>>8&0xff, i&0xff),
					VNICType: network.VNICRemoteManaged, HostID: "host-" + serial, VIFType: network.VIFOVS, Status: network.StatusActive, Generation: 1,
				}}
				if err := tx.InsertVPort(b.Context(), p); err != nil {
					return err
				}
				if err := tx.VPortTold(b.Context(), p); err != nil {
					return err
				}
				c := &store.Claim{
					UUID: uuid.NewString(), Key: id, Host: p.HostID, Card: serial, PF: fmt.Sprint(i), PFMAC: p.MAC, VF: store.WholePF, Port: id,
					State: store.ClaimPlugged,
				}
				if err := tx.ClaimPF(b.Context(), c); err != nil {
					return err
				}
				o := &store.Order{Port: id, Card: serial, Claim: c.UUID, Generation: 1, Action: "plug", Kind: "pf", PFMAC: p.MAC, MAC: p.MAC}
				if err := tx.SaveOrder(b.Context(), o); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
