//go:build integration

package nodedev_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"libvirt.org/go/libvirtxml"

	"github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/nodedev"
	"github.com/riser-project/riser/pci/sysfs"
	"github.com/riser-project/riser/pci/vpd"
)

// simulated makes a host with cards in it.
func simulated(t *testing.T, cards ...host.Card) *host.Host {
	t.Helper()
	h, err := host.New(filepath.Join(t.TempDir(), "sys"), host.Config{})
	must(t, err)
	for _, c := range cards {
		must(t, h.Plug(c))
	}
	return h
}

func TestTheRealLibvirtAgreesWithSysfs(t *testing.T) {
	own, err := host.BlueFieldVPD("MT2113XBEEF0", "")
	must(t, err)
	special := bluefield(t, 0xc1, 3)
	special.PFs[0].VFVPD[2] = own
	special.PFs[1].VFNetdev = "vf"
	special.PFs[1].Offset, special.PFs[1].Stride = 0x80, 2
	special.PFs[1].NUMA, special.PFs[1].Driver = -1, ""
	sim := simulated(t, bluefield(t, 0x82, 8), special)
	tree, err := sysfs.Open(sim.Root())
	must(t, err)
	want, err := tree.Scan(t.Context())
	must(t, err)

	libvirt, err := nodedev.Open("nodedev:///system?socket=" + lab.StartLibvirt(t, sim.Root()).Socket)
	must(t, err)
	defer libvirt.Close()
	got, err := libvirt.Scan(t.Context())
	must(t, err)
	got.SystemUUID, got.SystemSerial = "", "" // of this machine
	if len(got.Problems) > 0 && strings.Contains(got.Problems[0], "system UUID") {
		got.Problems = append([]string(nil), got.Problems[1:]...)
	}
	if len(got.Problems) == 0 {
		got.Problems = nil
	}
	agree(t, got, want)
}

func TestLibvirtsTestDriverIsRead(t *testing.T) {
	card := bluefield(t, 0x82, 2)
	for i := range card.PFs {
		card.PFs[i].Driver, card.PFs[i].VFDriver = "", "" // which the test driver does not keep
	}
	var xml strings.Builder
	xml.WriteString("<node><cpu><mhz>2000</mhz><model>i686</model><active>4</active><nodes>1</nodes><sockets>1</sockets><cores>4</cores><threads>1</threads></cpu><memory>8192000</memory>")
	for _, d := range documents(t, card) {
		xml.WriteString(strings.ReplaceAll(d.XML, "pci_0000_00_01_0", "computer"))
	}
	xml.WriteString("</node>")
	l := lab.StartLibvirt(t, "")
	libvirt, err := nodedev.Open(l.TestDriver(t, xml.String()) + "?socket=" + l.Socket)
	must(t, err)
	defer libvirt.Close()
	got, err := libvirt.Scan(t.Context())
	must(t, err)
	agree(t, got, scan(t, documents(t, card)...))
}

// Odd VPD images of every sort are read by libvirt itself and by package vpd, and both must say the same.
func TestVPDIsReadAsLibvirtReadsIt(t *testing.T) {
	const images = 600
	random := rand.New(rand.NewPCG(1, 2))
	var card host.Card
	for n := range images {
		a, _ := pci.Address{Bus: 1}.Offset(n)
		card.PFs = append(card.PFs, host.PF{Address: a, Vendor: 0x15b3, Product: 0xa2dc, NUMA: -1, VPD: image(random)})
	}
	sim := simulated(t, card)
	conn, err := nodedev.Dial(t.Context(), "nodedev:///system?socket="+lab.StartLibvirt(t, sim.Root()).Socket)
	must(t, err)
	defer conn.Close()
	all, err := conn.List(t.Context())
	must(t, err)
	byName := map[string]nodedev.Document{}
	for _, d := range all {
		byName[d.Name] = d
	}
	accepted := 0
	for _, p := range card.PFs {
		d, ok := byName[name(p.Address)]
		if !ok || d.Err != nil {
			t.Fatalf("libvirt does not show %s: %v", p.Address, d.Err)
		}
		var device libvirtxml.NodeDevice
		if err := device.Unmarshal(d.XML); err != nil {
			if !bytes.ContainsAny(p.VPD, "<>&") {
				t.Fatalf("%x: %v", p.VPD, err)
			}
			continue // which libvirt before 10.1 does not escape
		}
		var theirs *libvirtxml.NodeDevicePCIVPDCapability
		for _, c := range device.Capability.PCI.Capabilities {
			if c.VPD != nil {
				theirs = c.VPD
			}
		}
		ours, err := vpd.Parse(p.VPD)
		switch {
		case (err == nil) != (theirs != nil):
			t.Errorf("%x: we say %v, libvirt shows %+v", p.VPD, err, theirs)
		case err == nil:
			accepted++
			if got, want := fields(ours), shown(theirs); got != want {
				t.Errorf("%x:\nwe read  %s\nlibvirt %s", p.VPD, got, want)
			}
		}
	}
	t.Logf("%d of %d images are valid", accepted, images)
	if accepted < images/10 || accepted > images*9/10 {
		t.Error("the images are too much alike to prove anything")
	}
}

// fields writes what libvirt would show of a VPD.
func fields(v *vpd.VPD) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q EC=%q MN=%q PN=%q SN=%q YA=%q", v.Name, v.EngineeringChange(), v.ManufactureID(), v.PartNumber(), v.SerialNumber(), v.AssetTag())
	for _, x := range []byte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		w, _ := v.Text(vpd.ReadWrite, vpd.Keyword{'V', x})
		system := v.System(x)
		if x == 'A' {
			system = ""
		}
		fmt.Fprintf(&b, " V%c=%q/%q Y%c=%q", x, v.Vendor(x), w, x, system)
	}
	return b.String()
}

func shown(c *libvirtxml.NodeDevicePCIVPDCapability) string {
	ro, rw := c.ReadOnly, c.ReadWrite
	if ro == nil {
		ro = &libvirtxml.NodeDevicePCIVPDFieldsRO{}
	}
	if rw == nil {
		rw = &libvirtxml.NodeDevicePCIVPDFieldsRW{}
	}
	find := func(all []libvirtxml.NodeDevicePCIVPDCustomField, x byte) string {
		for _, f := range all {
			if f.Index == string(x) {
				return f.Value
			}
		}
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q EC=%q MN=%q PN=%q SN=%q YA=%q", c.Name, ro.ChangeLevel, ro.ManufactureID, ro.PartNumber, ro.SerialNumber, rw.AssetTag)
	for _, x := range []byte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		fmt.Fprintf(&b, " V%c=%q/%q Y%c=%q", x, find(ro.VendorFields, x), find(rw.VendorFields, x), x, find(rw.SystemFields, x))
	}
	return b.String()
}

// image makes a VPD of random resources and fields, mostly with a right checksum, and then may spoil it.
func image(r *rand.Rand) []byte {
	var data []byte
	var sum byte // as libvirt counts
	large := func(tag byte, body []byte, counted bool) {
		header := []byte{tag, byte(len(body)), byte(len(body) >> 8)}
		data = append(append(data, header...), body...)
		if !counted {
			body = nil
		}
		for _, c := range append(header, body...) {
			sum += c
		}
	}
	unknown := func() {
		if r.IntN(8) > 0 {
			return
		}
		if r.IntN(2) == 0 {
			tag := byte(r.IntN(15)<<3 | r.IntN(8))
			data = append(append(data, tag), make([]byte, tag&7)...)
			sum += tag
			return
		}
		large([]byte{0x80, 0x85, 0xff, 0x92}[r.IntN(4)], bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(20)), r.IntN(6) == 0)
	}
	unknown()
	if r.IntN(4) > 0 {
		large(0x82, value(r), true)
	}
	unknown()
	for range 1 + r.IntN(8)/7 {
		body := section(r)
		tail := []byte{'R', 'V', byte(1 + r.IntN(4)*r.IntN(2)), 0}
		tail = append(tail, make([]byte, tail[2]-1)...)
		if r.IntN(10) == 0 {
			tail[2], tail = 0, tail[:3]
		}
		header := []byte{0x90, byte(len(body) + len(tail)), byte((len(body) + len(tail)) >> 8)}
		for _, c := range append(append(header, body...), tail[:3]...) {
			sum += c
		}
		if len(tail) > 3 {
			tail[3] = -sum
			sum = 0
		}
		data = append(append(append(data, header...), body...), tail...)
		unknown()
	}
	if r.IntN(3) > 0 {
		body := section(r)
		if r.IntN(4) > 0 {
			free := r.IntN(5)
			body = append(append(body, 'R', 'W', byte(free)), make([]byte, free)...)
		}
		large(0x91, body, true)
	}
	data = append(data, 0x78|byte(r.IntN(8)*(r.IntN(8)/7)))
	switch r.IntN(8) {
	case 0:
		data[r.IntN(len(data))] ^= 1 << r.IntN(8)
	case 1:
		data = data[:r.IntN(len(data)+1)]
	case 2:
		data = append(data, value(r)...)
	}
	return data
}

// section makes fields without RV and RW, or rarely with one.
func section(r *rand.Rand) []byte {
	keywords := []string{"PN", "EC", "MN", "SN", "SN", "V0", "V3", "VZ", "YA", "YB", "Y0", "CP", "FG", "LC", "va", "\x00\x00", "ZZ", "V\x00", "Vz", "S\xff"}
	var body []byte
	for range r.IntN(6) {
		k := keywords[r.IntN(len(keywords))]
		if r.IntN(40) == 0 {
			k = []string{"RV", "RW"}[r.IntN(2)]
		}
		v := value(r)
		body = append(append(append(body, k...), byte(len(v))), v...)
	}
	if r.IntN(25) == 0 {
		body = append(body, make([]byte, 1+r.IntN(3))...)
	}
	return body
}

// value makes text, mostly printable.
func value(r *rand.Rand) []byte {
	const plain = "ABC abc019-/.,:!=~'\""
	v := make([]byte, r.IntN(14))
	for i := range v {
		v[i] = plain[r.IntN(len(plain))]
	}
	if len(v) > 0 && r.IntN(6) == 0 {
		odd := []byte{0, 0, ' ', '\t', '\n', '\v', '\f', '\r', 0x7f, 0x80, 0xff, 1}
		v[r.IntN(len(v))] = odd[r.IntN(len(odd))]
	}
	if r.IntN(10) == 0 {
		v = append(v, "\t \x00"[r.IntN(3)])
	}
	return v
}
