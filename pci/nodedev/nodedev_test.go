package nodedev_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/nodedev"
	"github.com/riser-project/riser/pci/sysfs"
	"github.com/riser-project/riser/pci/vpd"
)

const (
	uuidA      = "3c53d07eec484d8aab34dabd24fe575a"
	systemUUID = "4c4c4544-0038-3510-8052-b4c04f4e4b32"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// given lists documents as they are.
func given(documents ...nodedev.Document) nodedev.List {
	return func(context.Context) ([]nodedev.Document, error) { return documents, nil }
}

func scan(t testing.TB, documents ...nodedev.Document) *pci.Host {
	t.Helper()
	h, err := nodedev.Scan(t.Context(), given(documents...))
	must(t, err)
	return h
}

func system(uuid, serial string) nodedev.Document {
	return nodedev.Document{Name: "computer", XML: fmt.Sprintf(`<device><name>computer</name><capability type='system'><product>R750</product>
		<hardware><vendor>Dell Inc.</vendor><serial>%s</serial><uuid>%s</uuid></hardware><firmware><vendor>x</vendor><version>1</version></firmware></capability></device>`, serial, uuid)}
}

// name is libvirt's name of a function.
func name(a pci.Address) string {
	return fmt.Sprintf("pci_%04x_%02x_%02x_%x", a.Domain, a.Bus, a.Slot, a.Function)
}

func address(a pci.Address) string {
	return fmt.Sprintf("<address domain='0x%04x' bus='0x%02x' slot='0x%02x' function='0x%x'/>", a.Domain, a.Bus, a.Slot, a.Function)
}

// function writes a function as libvirt does; inner goes into its pci capability.
func function(a pci.Address, parent, driver string, vendor, product pci.ID, numa int, inner string) nodedev.Document {
	var b strings.Builder
	fmt.Fprintf(&b, "<device><name>%s</name><path>/sys/devices/x</path><parent>%s</parent>", name(a), parent)
	if driver != "" {
		fmt.Fprintf(&b, "<driver><name>%s</name></driver>", driver)
	}
	fmt.Fprintf(&b, "<capability type='pci'><class>0x020000</class><domain>%d</domain><bus>%d</bus><slot>%d</slot><function>%d</function>", a.Domain, a.Bus, a.Slot, a.Function)
	fmt.Fprintf(&b, "<product id='0x%s'>Some NIC</product><vendor id='0x%s'>Mellanox Technologies</vendor>%s", product, vendor, inner)
	fmt.Fprintf(&b, "<iommuGroup number='65'>%s</iommuGroup>", address(a))
	if numa >= 0 {
		fmt.Fprintf(&b, "<numa node='%d'/>", numa)
	}
	b.WriteString("<pci-express><link validity='cap' port='0' speed='16' width='8'/><link validity='sta' speed='8' width='8'/></pci-express></capability></device>")
	return nodedev.Document{Name: name(a), XML: b.String()}
}

func netdev(parent pci.Address, ifname, mac string) nodedev.Document {
	n := "net_" + ifname + "_" + strings.ReplaceAll(mac, ":", "_")
	return nodedev.Document{Name: n, XML: fmt.Sprintf("<device><name>%s</name><parent>%s</parent><capability type='net'><interface>%s</interface><address>%s</address>"+
		"<link state='up'/><feature name='rx'/><feature name='switchdev'/><capability type='80203'/></capability></device>", n, name(parent), ifname, mac)}
}

// vpdXML writes VPD as libvirt does; nothing if libvirt would reject it.
func vpdXML(data []byte) string {
	v, err := vpd.Parse(data)
	if err != nil {
		return ""
	}
	var ro, rw strings.Builder
	for _, f := range v.Fields {
		switch k := f.Keyword; {
		case !f.Text:
		case k == vpd.EngineeringChange:
			fmt.Fprintf(&ro, "<change_level>%s</change_level>", f.Value)
		case k == vpd.PartNumber:
			fmt.Fprintf(&ro, "<part_number>%s</part_number>", f.Value)
		case k == vpd.SerialNumber:
			fmt.Fprintf(&ro, "<serial_number>%s</serial_number>", f.Value)
		case k == vpd.AssetTag:
			fmt.Fprintf(&rw, "<asset_tag>%s</asset_tag>", f.Value)
		case k[0] == 'V':
			fmt.Fprintf(&ro, "<vendor_field index='%c'>%s</vendor_field>", k[1], f.Value)
		}
	}
	return fmt.Sprintf("<capability type='vpd'><name>%s</name><fields access='readonly'>%s</fields><fields access='readwrite'>%s</fields></capability>", v.Name, &ro, &rw)
}

// documents describes cards as libvirt does.
func documents(t testing.TB, cards ...host.Card) []nodedev.Document {
	t.Helper()
	out := []nodedev.Document{system(systemUUID, "J7KX8F3")}
	for _, c := range cards {
		for _, p := range c.PFs {
			var vfs strings.Builder
			for n := range p.NumVFs {
				a, err := p.VF(n)
				must(t, err)
				vfs.WriteString(address(a))
				own := ""
				if data := p.VFVPD[n]; data != nil {
					own = vpdXML(data)
				}
				out = append(out, function(a, "pci_0000_00_01_0", p.VFDriver, p.Vendor, p.VFDevice, p.NUMA, "<capability type='phys_function'>"+address(p.Address)+"</capability>"+own))
			}
			inner := vpdXML(p.VPD)
			if p.TotalVFs > 0 {
				inner += fmt.Sprintf("<capability type='virt_functions' maxCount='%d'>%s</capability>", p.TotalVFs, &vfs)
			}
			out = append(out, function(p.Address, "pci_0000_00_01_0", p.Driver, p.Vendor, p.Product, p.NUMA, inner), netdev(p.Address, p.Netdev, p.MAC))
		}
	}
	return out
}

func bluefield(t testing.TB, bus uint8, vfs int) host.Card {
	t.Helper()
	c, err := host.BlueField3(host.BlueField{Serial: fmt.Sprintf("MT2313XZ%04X", bus), UUID: uuidA[:30] + fmt.Sprintf("%02x", bus), Bus: bus, NUMA: int(bus) % 2, MAC: "b8:3f:d2:00:00:10", PFs: 2, VFs: vfs})
	must(t, err)
	for i := range c.PFs {
		c.PFs[i].VFNetdev = ""
	}
	return c
}

// The same machine through libvirt and through sysfs is the same.
func TestLibvirtAndSysfsAgree(t *testing.T) {
	own, err := host.BlueFieldVPD("MT2113XBEEF0", "")
	must(t, err)
	special := bluefield(t, 0x31, 3)
	special.PFs[0].VFVPD[2] = own
	special.PFs[1].VFs = []pci.Address{{Bus: 0x31, Slot: 2, Function: 1}, {Bus: 0x31, Slot: 2}, {Bus: 0x31, Slot: 3}}
	special.PFs[1].NUMA, special.PFs[1].Driver = -1, ""
	cards := []host.Card{bluefield(t, 0x82, 8), special, {PFs: []host.PF{{Address: pci.Address{Bus: 5}, Vendor: 0x8086, Product: 0x1521, NUMA: -1, Driver: "igb", Netdev: "eno1", MAC: "52:54:00:00:00:01", VPD: own}}}}

	sim, err := host.New(filepath.Join(t.TempDir(), "sys"), host.Config{SystemUUID: systemUUID, SystemSerial: "J7KX8F3"})
	must(t, err)
	for _, c := range cards {
		must(t, sim.Plug(c))
	}
	tree, err := sysfs.Open(sim.Root())
	must(t, err)
	want, err := tree.Scan(t.Context())
	must(t, err)
	got := scan(t, documents(t, cards...)...)
	agree(t, got, want)
}

// agree compares hosts by what their functions and cards are.
func agree(t testing.TB, got, want *pci.Host) {
	t.Helper()
	if got.SystemUUID != want.SystemUUID || got.SystemSerial != want.SystemSerial {
		t.Errorf("the system is %q %q; want %q %q", got.SystemUUID, got.SystemSerial, want.SystemUUID, want.SystemSerial)
	}
	if len(got.Functions) != len(want.Functions) || len(got.Functions) == 0 {
		t.Fatalf("%d functions; want %d\nproblems: %q", len(got.Functions), len(want.Functions), got.Problems)
	}
	for i, w := range want.Functions {
		g := got.Functions[i]
		if !reflect.DeepEqual(g.Card, w.Card) {
			t.Errorf("%s is on card %+v; want %+v", w.Address, g.Card, w.Card)
		}
		g.Card, w.Card = nil, nil
		if g != w {
			t.Errorf("%+v\nwant %+v", g, w)
		}
	}
	if !reflect.DeepEqual(got.Cards, want.Cards) {
		t.Errorf("cards are %+v; want %+v", got.Cards, want.Cards)
	}
	if !reflect.DeepEqual(got.Problems, want.Problems) {
		t.Errorf("problems are %q; want %q", got.Problems, want.Problems)
	}
}

// What libvirt wrote about a BlueField-2 with eight VFs, cut to two of them.
func TestABlueField2AsLibvirtWritesIt(t *testing.T) {
	h := scan(t, nodedev.Document{Name: "pci_0000_82_00_0", XML: `<device>
  <name>pci_0000_82_00_0</name>
  <path>/sys/devices/pci0000:80/0000:80:03.0/0000:82:00.0</path>
  <parent>pci_0000_80_03_0</parent>
  <driver>
    <name>mlx5_core</name>
  </driver>
  <capability type='pci'>
    <class>0x020000</class>
    <domain>0</domain>
    <bus>130</bus>
    <slot>0</slot>
    <function>0</function>
    <product id='0xa2d6'>MT42822 BlueField-2 integrated ConnectX-6 Dx network controller</product>
    <vendor id='0x15b3'>Mellanox Technologies</vendor>
    <capability type='virt_functions' maxCount='8'>
      <address domain='0x0000' bus='0x82' slot='0x00' function='0x3'/>
      <address domain='0x0000' bus='0x82' slot='0x00' function='0x4'/>
    </capability>
    <capability type='vpd'>
      <name>BlueField-2 DPU 25GbE Dual-Port SFP56</name>
      <fields access='readonly'>
        <change_level>B1</change_level>
        <manufacture_id>foobar</manufacture_id>
        <part_number>MBF2H332A-AEEOT</part_number>
        <serial_number>MT2113X00042</serial_number>
        <vendor_field index='0'>PCIeGen4 x8</vendor_field>
        <vendor_field index='3'>3c53d07eec484d8aab34dabd24fe575a</vendor_field>
        <vendor_field index='A'>MLX:MN=MLNX:CSKU=V2:UUID=V3:PCI=V0:MODL=BF2H332A</vendor_field>
      </fields>
      <fields access='readwrite'>
        <asset_tag>&lt;tag&gt;</asset_tag>
        <vendor_field index='A'>x</vendor_field>
        <system_field index='B'>y</system_field>
      </fields>
    </capability>
    <iommuGroup number='65'>
      <address domain='0x0000' bus='0x82' slot='0x00' function='0x0'/>
    </iommuGroup>
    <numa node='0'/>
    <pci-express>
      <link validity='cap' port='0' speed='16' width='8'/>
      <link validity='sta' speed='8' width='8'/>
    </pci-express>
  </capability>
</device>`},
		function(pci.Address{Bus: 0x82, Function: 3}, "x", "", 0x15b3, 0x101e, 0, "<capability type='phys_function'>"+address(pci.Address{Bus: 0x82})+"</capability>"),
		function(pci.Address{Bus: 0x82, Function: 4}, "x", "mlx5_core", 0x15b3, 0x101e, -1, "<capability type='phys_function'>"+address(pci.Address{Bus: 0x82})+"</capability>"),
		netdev(pci.Address{Bus: 0x82}, "enp130s0f0np0", "0C:42:A1:00:00:01"),
	)
	if len(h.Problems) > 0 {
		t.Errorf("problems: %q", h.Problems)
	}
	card := &pci.Card{Identity: pci.Identity{Serial: "MT2113X00042", UUID: uuidA, PartNumber: "MBF2H332A-AEEOT", EngineeringChange: "B1", Name: "BlueField-2 DPU 25GbE Dual-Port SFP56"}, PFs: []pci.Address{{Bus: 0x82}}}
	want := []pci.Function{
		{Address: pci.Address{Bus: 0x82}, Kind: pci.PF, Vendor: 0x15b3, Product: 0xa2d6, Driver: "mlx5_core", Netdev: "enp130s0f0np0", MAC: "0c:42:a1:00:00:01", TotalVFs: 8, NumVFs: 2, VFDevice: 0x101e, Number: -1, Card: card},
		{Address: pci.Address{Bus: 0x82, Function: 3}, Kind: pci.VF, Vendor: 0x15b3, Product: 0x101e, Parent: pci.Address{Bus: 0x82}, PFNetdev: "enp130s0f0np0", PFMAC: "0c:42:a1:00:00:01", Card: card},
		{Address: pci.Address{Bus: 0x82, Function: 4}, Kind: pci.VF, Vendor: 0x15b3, Product: 0x101e, NUMA: -1, Driver: "mlx5_core", Parent: pci.Address{Bus: 0x82}, Number: 1, PFNetdev: "enp130s0f0np0", PFMAC: "0c:42:a1:00:00:01", Card: card},
	}
	if !reflect.DeepEqual(h.Functions, want) {
		t.Errorf("found %+v\nwant %+v", h.Functions, want)
	}
}

func TestWhatIsBrokenIsAProblem(t *testing.T) {
	a := pci.Address{Bus: 0x82}
	vf := func(n uint8) pci.Address { return pci.Address{Bus: 0x82, Function: n} }
	phys := func(a pci.Address) string { return "<capability type='phys_function'>" + address(a) + "</capability>" }
	virt := func(all ...pci.Address) string {
		var b strings.Builder
		for _, v := range all {
			b.WriteString(address(v))
		}
		return "<capability type='virt_functions' maxCount='8'>" + b.String() + "</capability>"
	}
	for _, tt := range []struct {
		name      string
		documents []nodedev.Document
		want      string
		functions int
	}{
		{"a document that could not be had", []nodedev.Document{{Name: "pci_1", Err: errors.New("no answer")}}, "node device pci_1: no answer", 0},
		{"an old document with its error", []nodedev.Document{func() nodedev.Document {
			d := function(a, "x", "", 1, 2, 0, virt())
			d.Err = errors.New("no answer")
			return d
		}()}, "node device pci_0000_82_00_0: no answer", 1},
		{"a document that is no XML", []nodedev.Document{{Name: "pci_1", XML: "<device>"}}, "node device pci_1: read its XML", 0},
		{"an empty document", []nodedev.Document{{Name: "pci_1"}}, "node device pci_1: read its XML", 0},
		{"VPD that this libvirt does not escape", []nodedev.Document{function(a, "x", "", 1, 2, 0, virt()+"<capability type='vpd'><name>A & B <C></name></capability>")}, "node device pci_0000_82_00_0: its VPD is left out: read its XML", 1},
		{"VPD that is not escaped in what is no XML", []nodedev.Document{{Name: "pci_1", XML: "<device><capability type='vpd'>&"}}, "node device pci_1: read its XML", 0},
		{"an entity that is not defined", []nodedev.Document{{Name: "pci_1", XML: `<!DOCTYPE d [<!ENTITY a "b">]><device><name>&a;</name></device>`}}, "node device pci_1: read its XML", 0},
		{"a function without address", []nodedev.Document{{Name: "pci_1", XML: "<device><capability type='pci'><class>0x020000</class></capability></device>"}}, "node device pci_1: a part of its address is missing", 0},
		{"a slot beyond 1f", []nodedev.Document{{Name: "pci_1", XML: "<device><capability type='pci'><domain>0</domain><bus>1</bus><slot>32</slot><function>0</function></capability></device>"}}, "slot is greater than 1f", 0},
		{"a bus beyond ff", []nodedev.Document{{Name: "pci_1", XML: "<device><capability type='pci'><domain>0</domain><bus>256</bus><slot>0</slot><function>0</function></capability></device>"}}, "PCI address", 0},
		{"a vendor that is no number", []nodedev.Document{{Name: "pci_1", XML: strings.Replace(function(a, "x", "", 1, 2, 0, "").XML, "<vendor id='0x0001'", "<vendor id='one'", 1)}}, `node device pci_1: vendor: PCI identifier "one"`, 0},
		{"a product that is no number", []nodedev.Document{{Name: "pci_1", XML: strings.Replace(function(a, "x", "", 1, 2, 0, "").XML, "<product id='0x0002'", "<product id=''", 1)}}, `node device pci_1: product: PCI identifier ""`, 0},
		{"a VF whose PF has no address", []nodedev.Document{function(vf(3), "x", "", 1, 2, 0, "<capability type='phys_function'><address domain='0'/></capability>")}, "its physical function: a part of its address is missing", 0},
		{"a VF in the list without address", []nodedev.Document{function(a, "x", "", 1, 2, 0, "<capability type='virt_functions' maxCount='8'><address bus='0x82'/></capability>")}, "0000:82:00.0: its VF 0: a part of its address is missing", 1},
		{"a VF twice in the list", []nodedev.Document{function(a, "x", "", 1, 2, 0, virt(vf(3), vf(3)))}, "0000:82:00.0: its VF 1 is 0000:82:00.3, which is VF 0 of 0000:82:00.0", 1},
		{"a VF that is not in the list", []nodedev.Document{function(a, "x", "", 1, 2, 0, virt()), function(vf(3), "x", "", 1, 2, 0, phys(a))}, "0000:82:00.3: it is not in the list of VFs of 0000:82:00.0", 2},
		{"a VF in another PF's list", []nodedev.Document{function(a, "x", "", 1, 2, 0, virt(vf(3))), function(vf(1), "x", "", 1, 2, 0, virt()), function(vf(3), "x", "", 1, 2, 0, phys(vf(1)))}, "0000:82:00.3: it names 0000:82:00.1 as its PF, but is VF 0 of 0000:82:00.0", 3},
		{"a VF without its PF", []nodedev.Document{function(vf(3), "x", "", 1, 2, 0, phys(a))}, "0000:82:00.3: its PF 0000:82:00.0 was not found", 1},
		{"a MAC that is none", []nodedev.Document{function(a, "x", "", 1, 2, 0, ""), netdev(a, "eth0", "zz")}, `0000:82:00.0: the address "zz" of eth0 is not a MAC`, 1},
		{"a system UUID that is a placeholder", []nodedev.Document{system("00000000-0000-0000-0000-000000000000", "None")}, "is a placeholder", 0},
		{"a host device that is no network controller", []nodedev.Document{{Name: "pci_1", XML: strings.Replace(function(a, "x", "", 1, 2, 0, "").XML, "0x020000", "0x010802", 1)}}, "", 0},
		{"a node device of another kind", []nodedev.Document{{Name: "usb", XML: "<device><name>usb</name><capability type='usb'><number>1</number></capability></device>"}}, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := scan(t, tt.documents...)
			if got := strings.Join(h.Problems, "\n"); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("problems are %q; want %q", got, tt.want)
			}
			if len(h.Functions) != tt.functions {
				t.Errorf("found %d functions; want %d", len(h.Functions), tt.functions)
			}
		})
	}
	if _, err := nodedev.Scan(t.Context(), func(context.Context) ([]nodedev.Document, error) { return nil, errors.New("no libvirt") }); err == nil || !strings.Contains(err.Error(), "no libvirt") {
		t.Errorf("a list that failed gave %v", err)
	}
}

func TestACardWithoutValidVPDIsSaidSo(t *testing.T) {
	h := scan(t, function(pci.Address{Bus: 0x82}, "x", "", 1, 2, 0, ""))
	if got := h.Cards[0].Problem; got != "0000:82:00.0: libvirt shows no VPD: there is none, or it is not valid" {
		t.Errorf("the problem is %q", got)
	}
}

func TestTheNetworkDeviceIsNotARepresentor(t *testing.T) {
	a := pci.Address{Bus: 0x82}
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{[]string{"enp130s0f0np0"}, "enp130s0f0np0"},
		{[]string{"enp130s0f0npf0vf0", "enp130s0f0npf0vf1", "enp130s0f0np0"}, "enp130s0f0np0"},
		{[]string{"c1pf0hpf", "c1pf0", "eth3"}, "c1pf0hpf"},
		{[]string{"pf0sf88", "p0"}, "p0"},
		{[]string{"pf0"}, "pf0"},
	} {
		documents := []nodedev.Document{function(a, "x", "", 1, 2, 0, "")}
		for _, n := range tt.names {
			documents = append(documents, netdev(a, n, "52:54:00:00:00:01"))
		}
		if got := scan(t, documents...).Functions[0].Netdev; got != tt.want {
			t.Errorf("of %v, %q was taken; want %q", tt.names, got, tt.want)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, d := range []nodedev.Document{
		system(systemUUID, "S1"), function(pci.Address{Bus: 0x82}, "x", "mlx5_core", 0x15b3, 0xa2d6, 0, "<capability type='virt_functions' maxCount='8'>"+address(pci.Address{Bus: 0x82, Function: 3})+"</capability>"),
		function(pci.Address{Bus: 0x82, Function: 3}, "x", "", 0x15b3, 0x101e, -1, "<capability type='phys_function'>"+address(pci.Address{Bus: 0x82})+"</capability>"),
		netdev(pci.Address{Bus: 0x82}, "eth0", "52:54:00:00:00:01"),
		{XML: strings.Repeat("<device>", 1000)},
	} {
		f.Add(d.XML, d.XML)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		h := scan(t, nodedev.Document{Name: "one", XML: one}, nodedev.Document{Name: "two", XML: two})
		inv := h.Inventory()
		if err := inv.Check(); err != nil {
			t.Fatalf("the inventory is bad: %v", err)
		}
	})
}
