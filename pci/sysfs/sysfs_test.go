package sysfs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/sysfs"
	"github.com/riser-project/riser/pci/vpd"
)

const (
	uuidA      = "3c53d07eec484d8aab34dabd24fe575a"
	uuidB      = "9f0d9d2ce1ff4a3b8a8b0f0e6b7a1c55"
	systemUUID = "4c4c4544-0038-3510-8052-b4c04f4e4b32"
)

func addr(s string) pci.Address {
	a, err := pci.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// newHost makes a simulated host with the DMI identity of the tests.
func newHost(t testing.TB) *host.Host {
	t.Helper()
	h, err := host.New(filepath.Join(t.TempDir(), "sys"), host.Config{SystemUUID: strings.ToUpper(systemUUID), SystemSerial: "J7KX8F3 "})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func blueField(t testing.TB, serial, uuid string, bus uint8, vfs int) host.Card {
	t.Helper()
	c, err := host.BlueField3(host.BlueField{Serial: serial, UUID: uuid, Bus: bus, NUMA: 1, MAC: fmt.Sprintf("b8:3f:d2:00:%02x:fe", bus), PFs: 2, VFs: vfs})
	must(t, err)
	for i := range c.PFs {
		c.PFs[i].VFNetdev = "" // which takes longest to make
	}
	return c
}

// twoCards is a host with two BlueField-3: four VFs of the first one's first PF, one VF of the second's.
func twoCards(t testing.TB) *host.Host {
	t.Helper()
	h := newHost(t)
	first, second := blueField(t, "MT2313XZ0A01", uuidA, 0x82, 4), blueField(t, "MT2313XZ0B02", uuidB, 0xc1, 1)
	first.PFs[1].NumVFs = 0
	second.PFs = second.PFs[:1]
	must(t, h.Plug(first))
	must(t, h.Plug(second))
	return h
}

func open(t testing.TB, h *host.Host) *sysfs.Tree {
	t.Helper()
	tree, err := sysfs.Open(h.Root())
	must(t, err)
	tree.VPDTimeout = 50 * time.Millisecond
	return tree
}

func scan(t testing.TB, tree *sysfs.Tree) *pci.Host {
	t.Helper()
	found, err := tree.Scan(t.Context())
	must(t, err)
	return found
}

// function returns the function at an address.
func function(t testing.TB, h *pci.Host, address string) pci.Function {
	t.Helper()
	i := slices.IndexFunc(h.Functions, func(f pci.Function) bool { return f.Address == addr(address) })
	if i < 0 {
		t.Fatalf("%s was not found", address)
	}
	return h.Functions[i]
}

func problems(h *pci.Host) string { return strings.Join(h.Problems, "\n") }

func TestScanFindsCardsAndTheirFunctions(t *testing.T) {
	h := newHost(t)
	first := blueField(t, "MT2313XZ0A01", uuidA, 0x82, 4)
	first.PFs[0].VFNetdev = "enp130s0f0v"
	must(t, h.Plug(first))
	must(t, h.Plug(blueField(t, "MT2313XZ0B02", uuidB, 0xc1, 4)))
	found := scan(t, open(t, h))
	if problems(found) != "" {
		t.Errorf("problems: %s", problems(found))
	}
	if found.SystemUUID != systemUUID || found.SystemSerial != "J7KX8F3" {
		t.Errorf("the system is %q, %q", found.SystemUUID, found.SystemSerial)
	}
	if len(found.Functions) != 2*2*(1+4) || len(found.Cards) != 2 {
		t.Fatalf("found %d functions and %d cards", len(found.Functions), len(found.Cards))
	}
	card := found.Cards[0]
	if want := (pci.Identity{Serial: "MT2313XZ0A01", UUID: uuidA, PartNumber: "900-9D3B6-00CV-AA0", EngineeringChange: "A7",
		Name: "BlueField-3 P-Series DPU 200GbE/NDR200 VPI dual-port QSFP112"}); card.Identity != want || len(card.PFs) != 2 {
		t.Errorf("the first card is %+v", card)
	}
	pf := function(t, found, "0000:82:00.1")
	if want := (pci.Function{Address: addr("0000:82:00.1"), Kind: pci.PF, Vendor: 0x15b3, Product: 0xa2dc, NUMA: 1, Driver: "mlx5_core", Netdev: "enp130s0f1np1",
		MAC: "b8:3f:d2:00:82:ff", TotalVFs: 127, NumVFs: 4, VFDevice: 0x101e, Number: -1, Card: card}); pf != want {
		t.Errorf("the second PF is %+v\nwant %+v", pf, want)
	}
	vf := function(t, found, "0000:82:00.3")
	if want := (pci.Function{Address: addr("0000:82:00.3"), Kind: pci.VF, Vendor: 0x15b3, Product: 0x101e, NUMA: 1, Driver: "mlx5_core", Netdev: "enp130s0f0v0",
		MAC: "02:00:00:82:00:03", Parent: addr("0000:82:00.0"), Number: 0, PFNetdev: "enp130s0f0np0", PFMAC: "b8:3f:d2:00:82:fe", Card: card}); vf != want {
		t.Errorf("VF 0 is %+v\nwant %+v", vf, want)
	}
	inv := found.Inventory()
	must(t, inv.Check())
	if vfs := inv.Cards[1].PFs[1].VFs; len(vfs) != 1 || vfs[0].First != 0 || vfs[0].Count != 4 {
		t.Errorf("the VFs of the last PF are %+v", vfs)
	}
}

func TestOpenWantsAPCIBus(t *testing.T) {
	dir := t.TempDir()
	if _, err := sysfs.Open(dir); err == nil || !strings.Contains(err.Error(), "no PCI devices") {
		t.Errorf("an empty directory was opened: %v", err)
	}
	must(t, os.MkdirAll(filepath.Join(dir, "bus/pci"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "bus/pci/devices"), nil, 0o644))
	if _, err := sysfs.Open(dir); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file was opened: %v", err)
	}
}

func TestVFNumbersComeFromTheLinksOfThePF(t *testing.T) {
	h := newHost(t)
	card := blueField(t, "S1", uuidA, 0x82, 4)
	card.PFs = card.PFs[:1]
	card.PFs[0].VFs = []pci.Address{addr("0000:83:10.4"), addr("0000:83:10.0"), addr("0000:82:00.7"), addr("0000:83:10.2")} // against the order of addresses
	must(t, h.Plug(card))
	found := scan(t, open(t, h))
	for number, a := range card.PFs[0].VFs {
		if f := function(t, found, a.String()); f.Number != number || f.Parent != card.PFs[0].Address {
			t.Errorf("%s is VF %d of %s; want VF %d", a, f.Number, f.Parent, number)
		}
	}
	inv := found.Inventory()
	if r := inv.Cards[0].PFs[0].VFs; len(r) != 1 || !slices.Equal(r[0].Addresses, card.PFs[0].VFs) {
		t.Errorf("the range is %+v", r)
	}
}

func TestIgbLaysItsVFsOutWithAStride(t *testing.T) {
	h := newHost(t)
	var card host.Card
	for n := range 2 {
		card.PFs = append(card.PFs, host.PF{
			Address: pci.Address{Bus: 1, Function: uint8(n)}, Vendor: 0x8086, Product: 0x10c9, NUMA: -1, Driver: "igb", TotalVFs: 7, NumVFs: 7, VFDevice: 0x10ca,
			Netdev: fmt.Sprintf("enp1s0f%d", n), MAC: fmt.Sprintf("52:54:00:00:00:0%d", n), Offset: 128, Stride: 2,
		})
	}
	must(t, h.Plug(card))
	found := scan(t, open(t, h))
	if f := function(t, found, "0000:01:11.5"); f.Kind != pci.VF || f.Number != 6 || f.Parent != addr("0000:01:00.1") || f.NUMA != -1 || f.Driver != "" {
		t.Errorf("the last VF is %+v", f)
	}
	inv := found.Inventory()
	must(t, inv.Check())
	for _, pf := range inv.Cards[0].PFs {
		if len(pf.VFs) != 1 || pf.VFs[0].Offset != 128 || pf.VFs[0].Stride != 2 || pf.VFs[0].Count != 7 {
			t.Errorf("the VFs of %s are %+v", pf.Address, pf.VFs)
		}
	}
	if got := inv.Cards[0].Problem; got != "0000:01:00.0: there is no VPD" {
		t.Errorf("the card's problem is %q", got)
	}
}

func TestAVFsOwnVPDCountsIfItHasOne(t *testing.T) {
	h := newHost(t)
	own, err := host.BlueFieldVPD("MT2113XBEEF0", uuidB)
	must(t, err)
	card := blueField(t, "S1", uuidA, 0x82, 4)
	card.PFs[0].VFVPD = map[int][]byte{2: own, 3: []byte("\x00junk")}
	must(t, h.Plug(card))
	found := scan(t, open(t, h))
	for address, serial := range map[string]string{"0000:82:00.3": "S1", "0000:82:00.5": "MT2113XBEEF0", "0000:82:00.6": "S1"} {
		if f := function(t, found, address); f.Card.Serial != serial {
			t.Errorf("%s is on card %q; want %q", address, f.Card.Serial, serial)
		}
	}
	if !strings.Contains(problems(found), "0000:82:00.6: its own VPD is passed over: VPD offset") {
		t.Errorf("problems: %s", problems(found))
	}
}

func TestVPDIsReadOncePerDevice(t *testing.T) {
	h := twoCards(t)
	tree := open(t, h)
	scan(t, tree)
	// A second read would see the other serial number, since the file is the same.
	other, err := host.BlueFieldVPD("MT9999XZZZ99", uuidA)
	must(t, err)
	must(t, os.WriteFile(h.Path(addr("0000:82:00.0"), "vpd"), other, 0o600))
	must(t, os.WriteFile(h.Path(addr("0000:82:00.1"), "vpd"), other, 0o600))
	if got := scan(t, tree).Cards[0].Serial; got != "MT2313XZ0A01" {
		t.Errorf("the VPD was read again: %q", got)
	}
	for _, change := range []struct {
		name string
		make func()
		want string
	}{
		{"a new VF is no reason to read the card's VPD", func() { must(t, h.SetNumVFs(addr("0000:82:00.0"), 5)) }, "MT2313XZ0A01"},
		{"a VF's driver is no reason", func() { must(t, h.SetDriver(addr("0000:82:00.3"), "vfio-pci")) }, "MT2313XZ0A01"},
		{"another driver of the PF is a reason", func() {
			must(t, h.SetDriver(addr("0000:82:00.0"), ""))
			must(t, h.SetDriver(addr("0000:82:00.1"), ""))
		}, "MT9999XZZZ99"},
		{"a card plugged anew is a reason", func() {
			must(t, h.Unplug(addr("0000:82:00.0")))
			must(t, h.Plug(blueField(t, "MT2313XZ0C03", uuidA, 0x82, 2)))
		}, "MT2313XZ0C03"},
	} {
		t.Run(change.name, func(t *testing.T) {
			change.make()
			if got := scan(t, tree).Cards[0].Serial; got != change.want {
				t.Errorf("the serial number is %q; want %q", got, change.want)
			}
		})
	}
}

func TestAHangingVPDIsolatesItsCard(t *testing.T) {
	h := twoCards(t)
	tree := open(t, h)
	must(t, h.HangVPD(addr("0000:82:00.0")))
	start := time.Now()
	found := scan(t, tree)
	if took := time.Since(start); took > time.Second {
		t.Errorf("the scan took %v", took)
	}
	bad, good := found.Cards[0], found.Cards[1]
	if bad.Serial != "" || bad.Problem != "0000:82:00.0: bus/pci/devices/0000:82:00.0/vpd: reading did not end within 50ms" {
		t.Errorf("the card that hangs is %+v", bad)
	}
	if len(bad.PFs) != 2 || good.Serial != "MT2313XZ0B02" {
		t.Errorf("the cards are %+v and %+v", bad, good)
	}
	if f := function(t, found, "0000:82:00.3"); f.Number != 0 || f.NoSerial() == nil {
		t.Errorf("a VF of that card is %+v", f)
	}

	tree.VPDTimeout = time.Minute // nobody must wait for it again
	if again := scan(t, tree).Cards[0]; again.Serial != "" {
		t.Errorf("while it hangs, the card is %+v", again)
	}
	before, err := tree.Fingerprint(t.Context())
	must(t, err)
	must(t, h.FreeVPD(addr("0000:82:00.0")))
	if after, err := tree.Fingerprint(t.Context()); err != nil || after == before {
		t.Errorf("the fingerprint is still %s, %v", after, err)
	}
	if freed := scan(t, tree).Cards[0]; freed.Serial != "MT2313XZ0A01" {
		t.Errorf("after it ended, the card is %+v", freed)
	}
}

// A read that ends late with the right data, as a slow card's does, must show up in the fingerprint.
func TestASlowVPDIsTakenWhenItComes(t *testing.T) {
	h := twoCards(t)
	tree := open(t, h)
	a := addr("0000:82:00.0")
	fifo := h.Path(a, "vpd")
	data, err := tree.ReadVPD(a)
	must(t, err)
	must(t, h.HangVPD(a))
	if card := scan(t, tree).Cards[0]; card.Serial != "" {
		t.Fatalf("the card is %+v", card)
	}
	before, err := tree.Fingerprint(t.Context())
	must(t, err)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	must(t, err)
	_, err = w.Write(data)
	must(t, err)
	must(t, w.Close())
	must(t, h.Close()) // the last writer
	deadline := time.Now().Add(10 * time.Second)
	for {
		after, err := tree.Fingerprint(t.Context())
		must(t, err)
		if after != before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the fingerprint did not change")
		}
	}
	if card := scan(t, tree).Cards[0]; card.Serial != "MT2313XZ0A01" {
		t.Errorf("the card is %+v", card)
	}
}

func TestScanEndsWithItsContext(t *testing.T) {
	h := twoCards(t)
	tree := open(t, h)
	tree.VPDTimeout = time.Hour
	must(t, h.HangVPD(addr("0000:82:00.0")))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if found, err := tree.Scan(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %+v, %v", found, err)
	}
	if _, err := tree.Fingerprint(ctx); !errors.Is(err, context.DeadlineExceeded) {
		// Nothing is watched before the first whole scan, so there may be nothing to interrupt.
		must(t, err)
	}
}

func TestABadVPDIsAProblemOfItsCard(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*testing.T, *host.Host, pci.Address)
		want  string
	}{
		{"corrupt", func(t *testing.T, h *host.Host, a pci.Address) { must(t, h.CorruptVPD(a)) }, "VPD offset 0x"},
		{"truncated", func(t *testing.T, h *host.Host, a pci.Address) { must(t, h.SetVPD(a, []byte("\x82\x10"))) }, "within the header"},
		{"empty", func(t *testing.T, h *host.Host, a pci.Address) { must(t, h.SetVPD(a, []byte{})) }, "there are no data"},
		{"missing", func(t *testing.T, h *host.Host, a pci.Address) { must(t, h.SetVPD(a, nil)) }, "there is no VPD"},
		{"a directory", func(t *testing.T, h *host.Host, a pci.Address) {
			must(t, h.SetVPD(a, nil))
			must(t, os.Mkdir(h.Path(a, "vpd"), 0o755))
		}, "vpd: is a directory"},
		{"a placeholder", func(t *testing.T, h *host.Host, a pci.Address) {
			data, err := host.BlueFieldVPD("N/A", uuidA)
			must(t, err)
			must(t, h.SetVPD(a, data))
		}, `serial number "N/A" is a placeholder`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := twoCards(t)
			tt.spoil(t, h, addr("0000:82:00.0"))
			tt.spoil(t, h, addr("0000:82:00.1"))
			found := scan(t, open(t, h))
			if card := found.Cards[0]; card.Serial != "" || !strings.HasPrefix(card.Problem, "0000:82:00.0: ") || !strings.Contains(card.Problem, tt.want) {
				t.Errorf("the card is %+v; want a problem with %q", card, tt.want)
			}
			if found.Cards[1].Serial != "MT2313XZ0B02" {
				t.Errorf("the other card is %+v", found.Cards[1])
			}
		})
	}
}

// A read error may pass, so it is tried again; content that is bad stays bad.
func TestAVPDThatCouldNotBeReadIsTriedAgain(t *testing.T) {
	h := twoCards(t)
	tree := open(t, h)
	a, b := addr("0000:82:00.0"), addr("0000:82:00.1")
	for _, pf := range []pci.Address{a, b} {
		must(t, os.Remove(h.Path(pf, "vpd")))
		must(t, os.Symlink("gone", h.Path(pf, "vpd")))
	}
	if card := scan(t, tree).Cards[0]; card.Serial != "" {
		t.Fatalf("the card is %+v", card)
	}
	data, err := host.BlueFieldVPD("MT2313XZ0A01", uuidA)
	must(t, err)
	must(t, os.WriteFile(h.Path(a, "gone"), data, 0o600))
	if card := scan(t, tree).Cards[0]; card.Serial != "MT2313XZ0A01" {
		t.Errorf("the card is %+v", card)
	}
}

func TestAMachineWithoutIdentity(t *testing.T) {
	for _, tt := range []struct {
		name, uuid, want string
	}{
		{"no DMI at all", "", ""},
		{"a UUID of zeros", "00000000-0000-0000-0000-000000000000", "is a placeholder"},
		{"garbage", "Not Settable", "system UUID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, err := host.New(t.TempDir(), host.Config{SystemUUID: tt.uuid, SystemSerial: "To Be Filled By O.E.M."})
			must(t, err)
			found := scan(t, open(t, h))
			if found.SystemUUID != "" || found.SystemSerial != "" || !strings.Contains(problems(found), tt.want) || tt.want == "" && problems(found) != "" {
				t.Errorf("the system is %q, %q; problems: %s", found.SystemUUID, found.SystemSerial, problems(found))
			}
		})
	}
}

func TestReadVPD(t *testing.T) {
	h := twoCards(t)
	tree := open(t, h)
	data, err := tree.ReadVPD(addr("0000:82:00.0"))
	must(t, err)
	if v, err := vpd.Parse(data); err != nil || v.SerialNumber() != "MT2313XZ0A01" {
		t.Errorf("read %+v, %v", v, err)
	}
	if _, err := tree.ReadVPD(addr("0000:99:00.0")); err == nil || !strings.Contains(err.Error(), "VPD of 0000:99:00.0") {
		t.Errorf("a VPD that is not there: %v", err)
	}
}

func TestFingerprintChangesWithWhatAScanFinds(t *testing.T) {
	h := twoCards(t)
	tree := open(t, h)
	pf := addr("0000:82:00.0")
	last := ""
	same := func(t *testing.T, want bool) {
		t.Helper()
		now, err := tree.Fingerprint(t.Context())
		must(t, err)
		if (now == last) != want {
			t.Errorf("the fingerprint went from %s to %s", last, now)
		}
		scan(t, tree) // functions it finds are watched from now on
		last, err = tree.Fingerprint(t.Context())
		must(t, err)
	}
	same(t, false)
	for _, tt := range []struct {
		name string
		make func() error
		same bool
	}{
		{"nothing happened", func() error { return nil }, true},
		{"a VF more", func() error { return h.SetNumVFs(pf, 5) }, false},
		{"another MAC", func() error { return h.SetMAC(pf, "b8:3f:d2:00:00:99") }, false},
		{"another driver of a VF, as a guest's start brings", func() error { return h.SetDriver(addr("0000:82:00.3"), "vfio-pci") }, true},
		{"another driver of a PF", func() error { return h.SetDriver(pf, "") }, false},
		{"another VPD file", func() error { return h.CorruptVPD(pf) }, false},
		{"a card less", func() error { return h.Unplug(pf) }, false},
		{"a card more", func() error { return h.Plug(blueField(t, "S9", uuidA, 0x41, 1)) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			must(t, tt.make())
			same(t, tt.same)
		})
	}
	must(t, os.RemoveAll(filepath.Join(h.Root(), "bus")))
	if _, err := tree.Fingerprint(t.Context()); err == nil {
		t.Error("a bus that is gone has a fingerprint")
	}
	if _, err := tree.Scan(t.Context()); err == nil {
		t.Error("a bus that is gone was scanned")
	}
}

func BenchmarkScan(b *testing.B) {
	for _, vfs := range []int{31, 127} {
		b.Run(fmt.Sprintf("16 PFs x %d VFs", vfs), func(b *testing.B) {
			h := newHost(b)
			for n := range 8 {
				c := blueField(b, fmt.Sprintf("MT%04d", n+1), "", uint8(0x10+n*8), vfs)
				for i := range c.PFs {
					c.PFs[i].VFDriver = "vfio-pci"
				}
				must(b, h.Plug(c))
			}
			tree := open(b, h)
			tree.VPDTimeout = sysfs.DefaultVPDTimeout
			b.ReportAllocs()
			for b.Loop() {
				if found := scan(b, tree); len(found.Functions) != 16*(vfs+1) {
					b.Fatal(len(found.Functions), problems(found))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(16*(vfs+1)), "ns/function")
		})
	}
}

func BenchmarkFingerprint(b *testing.B) {
	tree := open(b, twoCards(b))
	scan(b, tree)
	for b.Loop() {
		if _, err := tree.Fingerprint(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
