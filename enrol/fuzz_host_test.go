package enrol_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/store"
)

// Whatever a host reports, it is taken or refused as the host's own fault; what is taken has functions with addresses, and says nothing about another
// host's cards.
func FuzzHostReport(f *testing.F) {
	for _, change := range []func(*wire.HostReport){
		func(*wire.HostReport) {},
		func(r *wire.HostReport) { r.Cards = nil },
		func(r *wire.HostReport) { r.Cards[0].Serial = "0000000" },
		func(r *wire.HostReport) { r.Cards[0].Serial, r.SystemUUID = serial2, "x" },
		func(r *wire.HostReport) { r.Cards[0].PFs[0].Address = "0000:82:00.9" },
		func(r *wire.HostReport) { r.Cards[0].PFs[0].MAC = "ff" },
		func(r *wire.HostReport) { r.Cards[0].PFs[0].VFs[0].Count = 1 << 40 },
		func(r *wire.HostReport) { r.Cards[0].PFs[0].VFs[0].Stride = -1 },
		func(r *wire.HostReport) { r.Cards[0].PFs[0].VFs[0].First = 1<<63 - 1 },
		func(r *wire.HostReport) { r.Cards[0].PFs[1].Address = r.Cards[0].PFs[0].Address },
		func(r *wire.HostReport) {
			r.Cards[0].Problem, r.Virt.Traits = strings.Repeat("\xff", 5000), []string{"\x00"}
		},
		func(r *wire.HostReport) { r.Virt.VCPUs, r.Virt.MemoryMB, r.Version = -1, -1, -1 },
	} {
		r := &wire.HostReport{Version: wire.Version, Fingerprint: "f", Cards: []wire.Card{attachsim.Card(serial1, 0x81, 2, 4)}, Virt: wire.Virt{Driver: "fake"}}
		change(r)
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("cmp2", b)
	}
	w, _ := attachsim.Standard(f)
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		var r wire.HostReport
		if json.Unmarshal(body, &r) != nil || name == "cmp1" {
			return
		}
		_, err := w.Enrol.HostReport(t.Context(), name, &r)
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Conflict) {
			t.Fatalf("%v, want it taken, invalid or a conflict", err)
		}
		read(t, w, func(tx *store.Tx) error {
			pfs, err := tx.HostPFs(t.Context(), store.PFQuery{})
			own := 0
			for _, p := range pfs {
				if p.Host == "cmp1" {
					own++
				}
				checkFunctions(t, p)
			}
			if own != 4 {
				t.Errorf("cmp1 has %d PFs, want 4", own)
			}
			return err
		})
	})
}

// checkFunctions checks that every end of the PF's ranges is a function.
func checkFunctions(t *testing.T, p *store.HostPF) {
	t.Helper()
	count := 0
	for _, r := range p.Ranges {
		count += r.Count
		for _, vf := range []int{r.First, r.First + r.Count - 1} {
			if address, _, ok := p.VF(vf); !ok || address == "" {
				t.Errorf("PF %s of %s has no VF %d, which is in its range %+v", p.Address, p.Host, vf, r)
			}
		}
	}
	if count != p.VFs || p.Free < 0 || p.Free > p.VFs {
		t.Errorf("PF %s of %s has %d VFs, of which %d are free, in ranges of %d", p.Address, p.Host, p.VFs, p.Free, count)
	}
}
