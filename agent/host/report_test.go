package host_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riser-project/riser/agent/host"
	"github.com/riser-project/riser/agent/wire"
	simhost "github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/sysfs"
)

const (
	systemUUID = "4c4c4544-0038-3510-8052-b4c04f4e4b32"
	remote     = `{"vendor_id":"15b3","product_id":"101e","physical_network":null,"remote_managed":"true"}`
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// blueField is a card of two PFs, without network devices of the VFs.
func blueField(t testing.TB, serial string, bus uint8, vfs int) simhost.Card {
	t.Helper()
	c, err := simhost.BlueField3(simhost.BlueField{Serial: serial, UUID: fmt.Sprintf("3c53d07eec484d8aab34dabd24fe57%02x", bus), Bus: bus, NUMA: 1, MAC: fmt.Sprintf("b8:3f:d2:00:%02x:00", bus), PFs: 2, VFs: vfs})
	must(t, err)
	for i := range c.PFs {
		c.PFs[i].VFNetdev = ""
	}
	return c
}

func machine(t testing.TB, cards ...simhost.Card) (*simhost.Host, *sysfs.Tree) {
	t.Helper()
	h, err := simhost.New(filepath.Join(t.TempDir(), "sys"), simhost.Config{SystemUUID: systemUUID, SystemSerial: "J7KX8F3"})
	must(t, err)
	t.Cleanup(func() { h.Close() })
	for _, c := range cards {
		must(t, h.Plug(c))
	}
	tree, err := sysfs.Open(h.Root())
	must(t, err)
	return h, tree
}

func rules(t testing.TB, values ...string) pci.Rules {
	t.Helper()
	raw := make([][]byte, 0, len(values))
	for _, v := range values {
		raw = append(raw, []byte(v))
	}
	r, err := pci.ParseRules(raw...)
	must(t, err)
	return r
}

func report(t testing.TB, r pci.Rules, cards ...simhost.Card) *wire.HostReport {
	t.Helper()
	_, tree := machine(t, cards...)
	found, err := tree.Scan(t.Context())
	must(t, err)
	return host.NewReport(found, r, wire.Virt{Driver: "fake"})
}

func TestTheReportOfAHostWithTwoBlueFields(t *testing.T) {
	got := report(t, rules(t, remote), blueField(t, "MT2313XZ0A01", 0x82, 4), blueField(t, "MT2313XZ0B02", 0xc1, 4))
	if got.Version != wire.Version || got.SystemUUID != systemUUID || got.SystemSerial != "J7KX8F3" || got.Virt.Driver != "fake" || got.Fingerprint == "" || len(got.Cards) != 2 {
		t.Fatalf("the report is %+v", got)
	}
	text, err := json.Marshal(got.Cards[1])
	must(t, err)
	want := `{"serial":"MT2313XZ0B02","uuid":"3c53d07eec484d8aab34dabd24fe57c1","part_number":"900-9D3B6-00CV-AA0","name":"BlueField-3 P-Series DPU 200GbE/NDR200 VPI dual-port QSFP112","pfs":[` +
		`{"address":"0000:c1:00.0","vendor":"15b3","product":"a2dc","vf_product":"101e","mac":"b8:3f:d2:00:c1:00","netdev":"enp193s0f0np0","numa_node":1,"total_vfs":127,` +
		`"vfs":[{"first":0,"count":4,"address":"0000:c1:00.3","stride":1,"product":"101e"}],"physical_network":null,"remote_managed":true,` +
		`"reason":"rule 1: the rule has no address, so any matches, remote-managed by card MT2313XZ0B02"},` +
		`{"address":"0000:c1:00.1","vendor":"15b3","product":"a2dc","vf_product":"101e","mac":"b8:3f:d2:00:c1:01","netdev":"enp193s0f1np1","numa_node":1,"total_vfs":127,` +
		`"vfs":[{"first":0,"count":4,"address":"0000:c1:10.2","stride":1,"product":"101e"}],"physical_network":null,"remote_managed":true,` +
		`"reason":"rule 1: the rule has no address, so any matches, remote-managed by card MT2313XZ0B02"}]}`
	if string(text) != want {
		t.Errorf("the second card is\n%s\nwant\n%s", text, want)
	}
}

// pfShape writes what a report says of the first PF's VFs.
func pfShape(p wire.PF) string {
	network := "null"
	if p.PhysicalNetwork != nil {
		network = *p.PhysicalNetwork
	}
	s := fmt.Sprintf("remote-managed %v on %s:", p.RemoteManaged, network)
	for _, r := range p.VFs {
		s += fmt.Sprintf(" %d+%d at %s/%d", r.First, r.Count, r.Address, r.Stride)
	}
	return s
}

func TestVFsAreReportedByTheRuleThatTakesThem(t *testing.T) {
	own, err := simhost.BlueFieldVPD("MT2113XBEEF0", "")
	must(t, err)
	for _, tt := range []struct {
		name   string
		rules  []string
		change func(*simhost.PF)
		want   string
		reason string
	}{
		{"without rules none can be handed out", nil, nil, "remote-managed false on null: 0+4 at 0000:82:00.3/1", "there are no device_spec rules"},
		{"a rule for another vendor", []string{`{"vendor_id":"8086"}`}, nil, "remote-managed false on null: 0+4 at 0000:82:00.3/1", "rule 1: its vendor is 15b3, not 8086"},
		{"a physical network", []string{`{"physical_network":"dc1"}`}, nil, "remote-managed false on dc1: 0+4 at 0000:82:00.3/1", "rule 1: the rule has no address"},
		{"remote-managed goes before an earlier rule", []string{`{"address":"0000:82:00.3"}`, remote}, nil, "remote-managed true on null: 1+3 at 0000:82:00.4/1", "rule 2: the rule has no address, so any matches, remote-managed by card S1; 1 of 4 VFs are left out"},
		{"an earlier rule goes before a later one", []string{`{"address":"0000:82:00.4"}`, `{"vendor_id":"15b3"}`}, nil, "remote-managed false on null: 1+1 at 0000:82:00.4/1", "3 of 4 VFs are left out"},
		{"a rule for some VFs", []string{`{"address":{"bus":"82","function":"[35]"},"remote_managed":true}`}, nil, "remote-managed true on null: 0+1 at 0000:82:00.3/1 2+1 at 0000:82:00.5/1", "2 of 4 VFs are left out"},
		{"a stride of two", []string{remote}, func(p *simhost.PF) { p.Offset, p.Stride = 128, 2 }, "remote-managed true on null: 0+4 at 0000:82:10.0/2", "rule 1"},
		{"addresses without a rule to them", []string{remote}, func(p *simhost.PF) {
			p.VFs = []pci.Address{{Bus: 0x82, Function: 3}, {Bus: 0x82, Function: 4}, {Bus: 0x82, Function: 7}, {Bus: 0x82, Function: 6}}
		}, "remote-managed true on null: 0+2 at 0000:82:00.3/1 2+1 at 0000:82:00.7/1 3+1 at 0000:82:00.6/1", "rule 1"},
		{"a VF whose own VPD names another card is left out", []string{remote}, func(p *simhost.PF) { p.VFVPD = map[int][]byte{1: own} }, "remote-managed true on null: 0+1 at 0000:82:00.3/1 2+2 at 0000:82:00.5/1", "1 of 4 VFs are left out"},
		{"VFs of which all name another card", []string{remote}, func(p *simhost.PF) { p.VFVPD = map[int][]byte{0: own, 1: own, 2: own, 3: own} }, "remote-managed false on null:", "their own VPD names another card"},
		{"no VFs enabled", []string{remote}, func(p *simhost.PF) { p.NumVFs = 0 }, "remote-managed false on null:", "it has no VFs enabled"},
		{"a single VF", []string{remote}, func(p *simhost.PF) { p.NumVFs = 1 }, "remote-managed true on null: 0+1 at 0000:82:00.3/1", "rule 1"},
		{"a card without serial number", []string{remote}, func(p *simhost.PF) { p.VPD, p.VFVPD = nil, nil }, "remote-managed false on null: 0+4 at 0000:82:00.3/1", "a remote-managed VF needs its card's serial number: no serial number: 0000:82:00.0: there is no VPD"},
		{"no SR-IOV", []string{remote}, func(p *simhost.PF) { p.NumVFs, p.TotalVFs = 0, 0 }, "remote-managed false on null:", "it has no SR-IOV"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			card := blueField(t, "S1", 0x82, 4)
			card.PFs = card.PFs[:1]
			card.PFs[0].VFVPD = nil
			if tt.change != nil {
				tt.change(&card.PFs[0])
			}
			p := report(t, rules(t, tt.rules...), card).Cards[0].PFs[0]
			if got := pfShape(p); got != tt.want {
				t.Errorf("reported as %s\nwant %s", got, tt.want)
			}
			if !strings.Contains(p.Reason, tt.reason) {
				t.Errorf("the reason is %q; want %q", p.Reason, tt.reason)
			}
		})
	}
}

func TestCardsThatAreReported(t *testing.T) {
	nic := func(bus uint8, data []byte) simhost.Card {
		return simhost.Card{PFs: []simhost.PF{{Address: pci.Address{Bus: bus}, Vendor: 0x8086, Product: 0x1521, NUMA: -1, Driver: "igb", Netdev: fmt.Sprintf("eno%d", bus), MAC: "52:54:00:00:00:01", VPD: data}}}
	}
	data, err := simhost.BlueFieldVPD("S3", "")
	must(t, err)
	junk, err := simhost.BlueFieldVPD("N/A", "")
	must(t, err)
	bad := blueField(t, "S1", 0x82, 1)
	bad.PFs[0].VPD, bad.PFs[1].VPD = junk, junk
	var got []string
	for _, c := range report(t, nil, nic(5, nil), nic(6, data), bad).Cards {
		got = append(got, fmt.Sprintf("%s at %s: %s", c.Serial, c.PFs[0].Address, c.Problem))
	}
	want := []string{"S3 at 0000:06:00.0: ", ` at 0000:82:00.0: 0000:82:00.0: serial number "N/A" is a placeholder`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("reported\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnEmptyHostReportsAnEmptyList(t *testing.T) {
	text, err := json.Marshal(report(t, nil))
	must(t, err)
	if !strings.Contains(string(text), `"cards":[]`) {
		t.Errorf("the report is %s", text)
	}
}
