package pci_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/riser-project/riser/pci"
)

func TestInventoryHoldsVFsAsRanges(t *testing.T) {
	vf := func(number int, address string) pci.Found {
		return pci.Found{Function: pci.Function{Address: addr(t, address), Kind: pci.VF, Vendor: 0x15b3, Product: 0x101e, Parent: addr(t, "0000:82:00.0"), Number: number}}
	}
	own := pci.Identify("OWN1", "", "", "", "")
	stranger := vf(2, "0000:82:00.5")
	stranger.Identity = &own
	for _, tt := range []struct {
		name string
		vfs  []pci.Found
		want string
	}{
		{"no VFs are no range", nil, `null`},
		{"one VF is a range without stride", []pci.Found{vf(0, "0000:82:00.3")}, `[{"first":0,"count":1,"offset":3}]`},
		{"VFs in a row are one range", []pci.Found{vf(0, "0000:82:00.3"), vf(1, "0000:82:00.4"), vf(2, "0000:82:00.5")}, `[{"first":0,"count":3,"offset":3,"stride":1}]`},
		{"igb's stride of two is kept", []pci.Found{vf(0, "0000:82:10.0"), vf(1, "0000:82:10.2"), vf(2, "0000:82:10.4")}, `[{"first":0,"count":3,"offset":128,"stride":2}]`},
		{"VFs on the next bus are computed too", []pci.Found{vf(0, "0000:82:1f.7"), vf(1, "0000:83:00.0")}, `[{"first":0,"count":2,"offset":255,"stride":1}]`},
		{"a hole splits the range", []pci.Found{vf(0, "0000:82:00.3"), vf(2, "0000:82:00.5"), vf(3, "0000:82:00.6")}, `[{"first":0,"count":1,"offset":3},{"first":2,"count":2,"offset":5,"stride":1}]`},
		{"irregular addresses are listed", []pci.Found{vf(0, "0000:82:00.3"), vf(1, "0000:82:00.4"), vf(2, "0000:82:00.7")}, `[{"first":0,"count":3,"addresses":["0000:82:00.3","0000:82:00.4","0000:82:00.7"]}]`},
		{"numbers against the order of addresses have a negative stride", []pci.Found{vf(1, "0000:82:00.3"), vf(0, "0000:82:00.4")}, `[{"first":0,"count":2,"offset":4,"stride":-1}]`},
		{"a VF with a serial number of its own is a range of its own", []pci.Found{vf(1, "0000:82:00.4"), stranger, vf(3, "0000:82:00.6")},
			`[{"first":1,"count":1,"offset":4},{"first":2,"count":1,"offset":5,"serial":"OWN1"},{"first":3,"count":1,"offset":6}]`},
		{"a VF without number is left out", []pci.Found{vf(-1, "0000:82:00.3")}, `null`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := pci.NewHost(append(found(t, "0000:82:00.0", "S1", uuidA, 3, 0), tt.vfs...))
			inv := h.Inventory()
			if err := inv.Check(); err != nil {
				t.Fatal(err)
			}
			pf := inv.Cards[0].PFs[0]
			got, err := json.Marshal(pf.VFs)
			if err != nil || string(got) != tt.want {
				t.Fatalf("ranges are %s, %v; want %s", got, err, tt.want)
			}
			for _, v := range tt.vfs {
				if v.Number < 0 {
					continue
				}
				if a, ok := pf.VF(v.Number); !ok || a != v.Address {
					t.Errorf("VF %d is at %s, %v; want %s", v.Number, a, ok, v.Address)
				}
			}
			if a, ok := pf.VF(99); ok {
				t.Errorf("VF 99 is at %s", a)
			}
		})
	}
}

func TestInventoryGivesTheFunctionsBack(t *testing.T) {
	h := pci.NewHost(slices.Concat(found(t, "0000:82:00.0", "S1", uuidA, 3, 4), found(t, "0000:82:00.1", "S1", uuidA, 6, 4), found(t, "0000:31:00.0", "S2", uuidB, 3, 2)))
	inv := h.Inventory()
	text, err := json.Marshal(&inv)
	if err != nil {
		t.Fatal(err)
	}
	var back pci.Inventory
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	got := slices.SortedFunc(back.Functions(), func(a, b pci.Function) int { return a.Address.Compare(b.Address) })
	if len(got) != len(h.Functions) {
		t.Fatalf("%d functions came back of %d", len(got), len(h.Functions))
	}
	for i, want := range h.Functions {
		if got[i].Card.Serial != want.Card.Serial || !slices.Equal(got[i].Card.PFs, want.Card.PFs) {
			t.Errorf("%s came back on card %+v; want %+v", want.Address, got[i].Card, want.Card)
		}
		got[i].Card = want.Card
		if got[i] != want {
			t.Errorf("came back as %+v; want %+v", got[i], want)
		}
	}
	for range back.Functions() {
		break // a consumer may stop at once
	}
	if inv.Fingerprint() != back.Fingerprint() {
		t.Error("equal inventories have different fingerprints")
	}
	back.Cards[0].PFs[0].MAC = "02:00:00:00:00:02"
	if inv.Fingerprint() == back.Fingerprint() {
		t.Error("a changed MAC left the fingerprint as it was")
	}
}

func TestInventoryFromElsewhereIsChecked(t *testing.T) {
	h := pci.NewHost(slices.Concat(found(t, "0000:82:00.0", "S1", uuidA, 3, 4), found(t, "0000:31:00.0", "S2", uuidB, 3, 2)))
	h.SystemUUID = "4c4c4544-0038-3510-8052-b4c04f4e4b32"
	for _, tt := range []struct {
		name  string
		spoil func(*pci.Inventory)
		err   string
	}{
		{"what a host makes is good", func(*pci.Inventory) {}, ""},
		{"a placeholder serial is refused", func(i *pci.Inventory) { i.Cards[0].Serial = "N/A" }, "placeholder"},
		{"a padded serial is refused", func(i *pci.Inventory) { i.Cards[0].Serial = "S2 " }, "padded"},
		{"a UUID in another form is refused", func(i *pci.Inventory) { i.Cards[0].UUID = strings.ToUpper(uuidA) }, "UUID"},
		{"a system UUID in another form is refused", func(i *pci.Inventory) { i.SystemUUID = "x" }, "system UUID"},
		{"a card without functions is refused", func(i *pci.Inventory) { i.Cards[0].PFs = nil }, "no functions"},
		{"a PF listed twice is refused", func(i *pci.Inventory) { i.Cards[1].PFs = append(i.Cards[1].PFs, i.Cards[0].PFs[0]) }, "listed twice"},
		{"a VF as a PF is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].Kind = pci.VF }, "kind vf"},
		{"VFs of a function without SR-IOV are refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].Kind = pci.Device }, "without SR-IOV"},
		{"a negative number of VFs is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].TotalVFs = -1 }, "number of VFs"},
		{"NUMA node -2 is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].NUMA = -2 }, "NUMA"},
		{"a MAC in upper case is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].MAC = "02:00:00:00:00:AA" }, "MAC"},
		{"an infiniband address is no MAC of ours in another form", func(i *pci.Inventory) { i.Cards[0].PFs[0].MAC = "0200.0000.0001" }, "MAC"},
		{"an empty range is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].Count = 0 }, "range"},
		{"a huge range is refused before it is walked", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].Count = 1 << 40 }, "range"},
		{"a negative first number is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].First = -1 }, "range"},
		{"overlapping ranges are refused", func(i *pci.Inventory) {
			p := &i.Cards[0].PFs[0]
			p.VFs = append(p.VFs, pci.VFRange{First: 1, Count: 1, Offset: 60})
		}, "range"},
		{"a stride of zero gives two VFs one address", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].Stride = 0 }, "which another function has"},
		{"a VF at its PF's address is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].Offset = 0 }, "which another function has"},
		{"a range that leaves the domain is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].Offset = 0xffff }, "within the domain"},
		{"an offset that would overflow is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].Stride = 1 << 50 }, "impossible"},
		{"a list of addresses of another length is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].Addresses = []pci.Address{{Bus: 1}} }, "lists 1 addresses"},
		{"a placeholder as a range's serial is refused", func(i *pci.Inventory) { i.Cards[0].PFs[0].VFs[0].Serial = "000" }, "filler"},
		{"more functions than a host can have are refused", func(i *pci.Inventory) {
			for d := range uint32(4) {
				pf := i.Cards[0].PFs[0]
				pf.Address = pci.Address{Domain: 100 + d}
				pf.VFs = []pci.VFRange{{First: 0, Count: 40000, Offset: 1, Stride: 1}}
				i.Cards[0].PFs = append(i.Cards[0].PFs, pf)
			}
		}, "a host may report"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inv := h.Inventory()
			tt.spoil(&inv)
			err := inv.Check()
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("Check says %v; want %q", err, tt.err)
			}
		})
	}
}

// A report per PF must not grow with the VFs.
func TestInventorySizeIsThatOfPFs(t *testing.T) {
	sizes := map[int]int{}
	for _, vfs := range []int{1, 127} {
		h := pci.NewHost(found(t, "0000:82:00.0", "S1", uuidA, 3, vfs))
		inv := h.Inventory()
		text, err := json.Marshal(&inv)
		if err != nil {
			t.Fatal(err)
		}
		sizes[vfs] = len(text)
	}
	if grown := sizes[127] - sizes[1]; grown > len(`,"stride":1`)+6 {
		t.Errorf("126 more VFs made the report %d bytes longer", grown)
	}
}

func BenchmarkInventory(b *testing.B) {
	var all []pci.Found
	for bus := range 16 {
		all = append(all, found(b, fmt.Sprintf("0000:%02x:00.0", 0x10+bus*8), fmt.Sprintf("S%d", bus+1), "", 8, 127)...)
	}
	b.ReportAllocs()
	for b.Loop() {
		h := pci.NewHost(all)
		inv := h.Inventory()
		if len(inv.Cards) != 16 {
			b.Fatal(len(inv.Cards))
		}
	}
}
