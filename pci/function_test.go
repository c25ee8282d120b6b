package pci_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/riser-project/riser/pci"
)

const (
	uuidA = "3c53d07eec484d8aab34dabd24fe575a"
	uuidB = "9f0d9d2ce1ff4a3b8a8b0f0e6b7a1c55"
)

// found makes a PF with its VFs right behind it, all with the VPD of its serial on the PF alone.
func found(t testing.TB, pf, serial, uuid string, offset, vfs int) []pci.Found {
	t.Helper()
	a := addr(t, pf)
	id := pci.Identify(serial, uuid, "PN", "A1", "card")
	out := []pci.Found{{
		Function: pci.Function{Address: a, Kind: pci.PF, Vendor: 0x15b3, Product: 0xa2dc, NUMA: 0, Driver: "mlx5_core", Netdev: "enp" + pf, MAC: "02:00:00:00:00:01",
			TotalVFs: 16, NumVFs: vfs, VFDevice: 0x101e},
		Identity: &id,
	}}
	for i := range vfs {
		v, ok := a.Offset(offset + i)
		if !ok {
			t.Fatal("no room for VFs")
		}
		out = append(out, pci.Found{Function: pci.Function{Address: v, Kind: pci.VF, Vendor: 0x15b3, Product: 0x101e, NUMA: 0, Parent: a, Number: i}})
	}
	return out
}

// shape writes cards as "serial[pf pf]".
func shape(h *pci.Host) string {
	var b strings.Builder
	for _, c := range h.Cards {
		fmt.Fprintf(&b, "%s%v ", c.Serial, c.PFs)
	}
	return strings.TrimSpace(b.String())
}

func TestFunctionsAreGroupedToCards(t *testing.T) {
	join := func(parts ...[]pci.Found) (all []pci.Found) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	noVPD := func(f []pci.Found) []pci.Found { f[0].Identity = nil; return f }
	for _, tt := range []struct {
		name  string
		found []pci.Found
		want  string
		notes string // of problems
	}{
		{"two PFs in one slot are one card", join(found(t, "0000:82:00.1", "S1", uuidA, 7, 0), found(t, "0000:82:00.0", "S1", uuidA, 3, 2)), "S1[0000:82:00.0 0000:82:00.1]", ""},
		{"two cards stay two", join(found(t, "0000:82:00.0", "S1", uuidA, 3, 2), found(t, "0000:31:00.0", "S2", uuidB, 3, 2)), "S2[0000:31:00.0] S1[0000:82:00.0]", ""},
		{"a card with two links is one card by its UUID", join(found(t, "0000:82:00.0", "S1", uuidA, 3, 0), found(t, "0000:c2:00.0", "S1", uuidA, 3, 0)), "S1[0000:82:00.0 0000:c2:00.0]", ""},
		{"one serial number in two places without a UUID is two cards, and said so", join(found(t, "0000:82:00.0", "S1", "", 3, 0), found(t, "0000:c2:00.0", "S1", "", 3, 0)),
			"S1[0000:82:00.0] S1[0000:c2:00.0]", "serial number S1 is on two cards: at 0000:82:00.0 and at 0000:c2:00.0"},
		{"one serial number with two UUIDs is two cards, and said so", join(found(t, "0000:82:00.0", "S1", uuidA, 3, 0), found(t, "0000:c2:00.0", "S1", uuidB, 3, 0)),
			"S1[0000:82:00.0] S1[0000:c2:00.0]", "serial number S1 is on two cards"},
		{"functions beyond the eighth of a card are on its bus", join(found(t, "0000:82:00.0", "S1", "", 16, 0), found(t, "0000:82:01.0", "S1", "", 16, 0)), "S1[0000:82:00.0 0000:82:01.0]", ""},
		{"a PF without VPD is on the card of its slot", join(found(t, "0000:82:00.0", "S1", uuidA, 3, 0), noVPD(found(t, "0000:82:00.1", "", "", 3, 0))), "S1[0000:82:00.0 0000:82:00.1]", ""},
		{"a PF whose VPD is bad is on the card of its slot, and said so", join(found(t, "0000:82:00.1", "S1", uuidA, 3, 0), found(t, "0000:82:00.0", "N/A", "", 3, 0)), "S1[0000:82:00.0 0000:82:00.1]", "0000:82:00.0: serial number \"N/A\" is a placeholder"},
		{"PFs without VPD in one slot are one nameless card", join(noVPD(found(t, "0000:82:00.0", "", "", 3, 0)), noVPD(found(t, "0000:82:00.1", "", "", 3, 0))), "[0000:82:00.0 0000:82:00.1]", ""},
		{"two serial numbers in one slot are two cards", join(found(t, "0000:00:03.0", "S1", "", 3, 0), found(t, "0000:00:03.1", "S2", "", 3, 0)), "S1[0000:00:03.0] S2[0000:00:03.1]", ""},
		{"an address found twice counts once", join(found(t, "0000:82:00.0", "S1", uuidA, 3, 0), found(t, "0000:82:00.0", "S2", uuidA, 3, 0)), "S1[0000:82:00.0]", "0000:82:00.0: found twice"},
		{"nothing found is no cards", nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := pci.NewHost(tt.found)
			if got := shape(h); got != tt.want {
				t.Errorf("cards are %s; want %s", got, tt.want)
			}
			if got := strings.Join(h.Problems, "\n"); !strings.Contains(got, tt.notes) || tt.notes == "" && got != "" {
				t.Errorf("problems are %q; want %q", got, tt.notes)
			}
		})
	}
}

func TestVFsBelongToTheirPF(t *testing.T) {
	f := found(t, "0000:82:00.0", "S1", uuidA, 3, 4)
	same, other := pci.Identify("S1", "", "", "", ""), pci.Identify("S9", uuidB, "", "", "")
	junk := pci.Identify("N/A", "", "", "", "")
	f[1].Identity, f[2].Identity, f[3].Identity = &same, &other, &junk
	f = append(f, pci.Found{Function: pci.Function{Address: addr(t, "0000:99:00.1"), Kind: pci.VF, Parent: addr(t, "0000:99:00.0"), Number: 1}})
	f = append(f, pci.Found{Function: pci.Function{Address: addr(t, "0000:82:02.0"), Kind: pci.VF, Parent: f[0].Address, Number: 2}})
	h := pci.NewHost(f)
	card := h.Cards[0]
	for i, want := range []struct {
		serial string
		number int
		on     *pci.Card
	}{{"S1", -1, card}, {"S1", 0, card}, {"S9", 1, nil}, {"S1", 2, card}, {"S1", 3, card}, {"S1", -1, card}} {
		got := h.Functions[i]
		if got.Card.Serial != want.serial || got.Number != want.number || want.on != nil && got.Card != want.on {
			t.Errorf("%s has number %d on card %+v; want %d on %s", got.Address, got.Number, got.Card, want.number, want.serial)
		}
		if got.PF() != f[0].Address {
			t.Errorf("the PF of %s is %s", got.Address, got.PF())
		}
	}
	if got := h.Functions[1]; got.PFNetdev != "enp0000:82:00.0" || got.PFMAC != "02:00:00:00:00:01" {
		t.Errorf("VF 0 knows its PF as %q with MAC %q", got.PFNetdev, got.PFMAC)
	}
	orphan := h.Functions[6]
	if orphan.Card != nil || orphan.NoSerial() == nil || !strings.Contains(orphan.NoSerial().Error(), "0000:99:00.0 was not found") {
		t.Errorf("a VF without PF is on card %v: %v", orphan.Card, orphan.NoSerial())
	}
	problems := strings.Join(h.Problems, "\n")
	for _, want := range []string{`0000:82:00.5: its own VPD is passed over: serial number "N/A"`, "0000:99:00.1: its PF 0000:99:00.0 was not found", "0000:82:02.0: is VF 2 of 0000:82:00.0, as is 0000:82:00.5"} {
		if !strings.Contains(problems, want) {
			t.Errorf("problems are %q; want %q", problems, want)
		}
	}
}
