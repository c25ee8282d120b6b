package devlink_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/internal/sim/devlinksim"
)

var (
	h0 = devlink.Handle{Bus: "pci", Device: "0000:03:00.0"}
	h1 = devlink.Handle{Bus: "pci", Device: "0000:03:00.1"}
)

func pf(h devlink.Handle, controller uint32, external bool, number uint16) devlink.Function {
	return devlink.Function{Handle: h, Controller: controller, External: external, Kind: devlink.KindPF, PF: number}
}

func representor(f devlink.Function, netdev string) devlink.Port {
	return devlinksim.FunctionPort(f, netdev)
}

func pfPort(t testing.TB, f devlink.Function, netdev, address string) devlink.Port {
	p := representor(f, netdev)
	p.HWAddr = mac(t, address)
	return p
}

// twoHosts is a card that serves two hosts: same handle, same PF number, same VF numbers, two controllers, and in
// addition an SF of the card's own.
func twoHosts(t testing.TB) []devlink.Port {
	one, two, own := pf(h0, 1, true, 0), pf(h0, 2, true, 0), pf(h0, 0, false, 0)
	return []devlink.Port{
		pfPort(t, one, "c1pf0", "08:c0:eb:aa:00:01"), representor(one.VF(0), "c1pf0vf0"), representor(one.VF(1), "c1pf0vf1"),
		pfPort(t, two, "c2pf0", "08:c0:eb:bb:00:01"), representor(two.VF(0), "c2pf0vf0"), representor(two.VF(1), "c2pf0vf1"),
		representor(two.SF(1), "c2pf0sf1"),
		pfPort(t, own, "pf0", "08:c0:eb:cc:00:01"), representor(own.VF(0), "pf0vf0"), representor(own.SF(0), "en3f0pf0sf0"),
	}
}

// Gap 8: another host's function must never be taken for the one that was ordered.
func TestHostsBehindOneCardAreToldApart(t *testing.T) {
	table := devlink.NewTable(twoHosts(t), nil)
	for _, tt := range []struct {
		name string
		mac  string
		of   func(devlink.Function) devlink.Function
		want string
	}{
		{"VF 0 of host 1", "08:c0:eb:aa:00:01", func(f devlink.Function) devlink.Function { return f.VF(0) }, "c1pf0vf0"},
		{"VF 0 of host 2", "08:c0:eb:bb:00:01", func(f devlink.Function) devlink.Function { return f.VF(0) }, "c2pf0vf0"},
		{"VF 1 of host 1", "08:c0:eb:aa:00:01", func(f devlink.Function) devlink.Function { return f.VF(1) }, "c1pf0vf1"},
		{"the PF of host 2 itself", "08:c0:eb:bb:00:01", func(f devlink.Function) devlink.Function { return f }, "c2pf0"},
		{"SF 1 of host 2 is not its VF 1", "08:c0:eb:bb:00:01", func(f devlink.Function) devlink.Function { return f.SF(1) }, "c2pf0sf1"},
		{"VF 0 of the card itself", "08:c0:eb:cc:00:01", func(f devlink.Function) devlink.Function { return f.VF(0) }, "pf0vf0"},
		{"SF 0 of the card itself", "08:c0:eb:cc:00:01", func(f devlink.Function) devlink.Function { return f.SF(0) }, "en3f0pf0sf0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, err := table.HostPF(mac(t, tt.mac))
			if err != nil {
				t.Fatal(err)
			}
			got, err := table.Lookup(tt.of(host.Function))
			if err != nil || got.Netdev != tt.want {
				t.Errorf("got %q, %v; want %s", got.Netdev, err, tt.want)
			}
		})
	}
}

func TestAFunctionThatIsNotThereIsNotReplacedByANeighbour(t *testing.T) {
	table := devlink.NewTable(twoHosts(t), nil)
	for _, tt := range []struct {
		name     string
		function devlink.Function
		says     string
	}{
		{"a VF beyond the last", pf(h0, 1, true, 0).VF(9), "its PF has 2 VFs"},
		{"an SF number that is another host's", pf(h0, 1, true, 0).SF(1), "its PF has 2 VFs"},
		{"a controller that is not there", pf(h0, 3, true, 0).VF(0), "controller 1 external pf 0 (08:c0:eb:aa:00:01)"},
		{"an external controller 0", pf(h0, 0, true, 0).VF(0), "no port for its PF"},
		{"a local controller 1", pf(h0, 1, false, 0).VF(0), "no port for its PF"},
		{"another PF number", pf(h0, 1, true, 1).VF(0), "no port for its PF"},
		{"another instance", pf(h1, 1, true, 0).VF(0), "no port for its PF"},
		{"nothing at all", devlink.Function{}, "no kind of function"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := table.Lookup(tt.function)
			if !errors.Is(err, devlink.ErrNoPort) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %+v, %v; want ErrNoPort that says %q", p, err, tt.says)
			}
		})
	}
}

func TestThePFIsFoundByTheHostsAddress(t *testing.T) {
	local, external := pf(h0, 0, false, 0), pf(h0, 1, true, 0)
	for _, tt := range []struct {
		name  string
		ports []devlink.Port
		mac   string
		want  devlink.Function
		err   error
		says  []string
	}{
		{
			name:  "a PF of a host wins over one of this side",
			ports: []devlink.Port{pfPort(t, local, "pf0", "08:c0:eb:aa:00:01"), pfPort(t, external, "c1pf0", "08:c0:eb:aa:00:01")},
			mac:   "08:c0:eb:aa:00:01", want: external,
		},
		{
			name:  "without a host's PF the one of this side counts",
			ports: []devlink.Port{pfPort(t, local, "pf0", "08:c0:eb:aa:00:01"), pfPort(t, external, "c1pf0", "08:c0:eb:bb:00:01")},
			mac:   "08:c0:eb:aa:00:01", want: local,
		},
		{
			name:  "two hosts' PFs with one address are refused with both names",
			ports: []devlink.Port{pfPort(t, external, "c1pf0", "08:c0:eb:aa:00:01"), pfPort(t, pf(h1, 2, true, 1), "c2pf1", "08:c0:eb:aa:00:01")},
			mac:   "08:c0:eb:aa:00:01", err: devlink.ErrAmbiguous,
			says: []string{"pci/0000:03:00.0 controller 1 external pf 0", "pci/0000:03:00.1 controller 2 external pf 1"},
		},
		{
			name:  "two PFs of this side with one address are refused too",
			ports: []devlink.Port{pfPort(t, local, "pf0", "08:c0:eb:aa:00:01"), pfPort(t, pf(h1, 0, false, 1), "pf1", "08:c0:eb:aa:00:01")},
			mac:   "08:c0:eb:aa:00:01", err: devlink.ErrAmbiguous, says: []string{"0000:03:00.0", "0000:03:00.1"},
		},
		{
			name:  "an address that no PF has is refused with those that are there",
			ports: []devlink.Port{pfPort(t, external, "c1pf0", "08:c0:eb:aa:00:01"), representor(external.VF(0), "c1pf0vf0")},
			mac:   "08:c0:eb:aa:00:02", err: devlink.ErrNoPort, says: []string{"08:c0:eb:aa:00:01"},
		},
		{
			name:  "the address of a VF is not the address of a PF",
			ports: []devlink.Port{pfPort(t, external, "c1pf0", "08:c0:eb:aa:00:01"), pfPort(t, external.VF(0), "c1pf0vf0", "08:c0:eb:aa:00:09")},
			mac:   "08:c0:eb:aa:00:09", err: devlink.ErrNoPort,
		},
		{
			name:  "a PF whose address is all zeros matches nothing",
			ports: []devlink.Port{representor(external, "c1pf0")},
			mac:   "08:c0:eb:aa:00:01", err: devlink.ErrNoPort, says: []string{"address unknown"},
		},
		{name: "an empty table says so", mac: "08:c0:eb:aa:00:01", err: devlink.ErrNoPort, says: []string{"PFs here: none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := devlink.NewTable(tt.ports, nil).HostPF(mac(t, tt.mac))
			if !errors.Is(err, tt.err) || got.Function != tt.want {
				t.Fatalf("got %s, %v; want %s, %v", got.Function, err, tt.want, tt.err)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not name %q", err, s)
				}
			}
		})
	}
	for _, bad := range []net.HardwareAddr{nil, make(net.HardwareAddr, 6), make(net.HardwareAddr, 20)} {
		if p, err := devlink.NewTable(twoHosts(t), nil).HostPF(bad); err == nil {
			t.Errorf("address %q finds %s", bad, p.ID)
		}
	}
}

// Gap 9: VFs listed before their PF, ports in any order.
func TestTheOrderOfTheDumpMakesNoDifference(t *testing.T) {
	ports := twoHosts(t)
	want := devlink.NewTable(ports, nil)
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		random.Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
		table := devlink.NewTable(ports, nil)
		for _, p := range want.Ports() {
			got, err := table.Lookup(p.Function)
			if err != nil || got.ID != p.ID {
				t.Fatalf("%s: got %s, %v; want %s", p.Function, got.ID, err, p.ID)
			}
		}
		for _, address := range []string{"08:c0:eb:aa:00:01", "08:c0:eb:bb:00:01", "08:c0:eb:cc:00:01"} {
			a, errA := want.HostPF(mac(t, address))
			b, errB := table.HostPF(mac(t, address))
			if a.ID != b.ID || errA != nil || errB != nil {
				t.Fatalf("PF %s: got %s, %v; want %s, %v", address, b.ID, errB, a.ID, errA)
			}
		}
	}
}

// Gap 9: a function is found under whatever name its network device has now, and not before it has one.
func TestNamesAreNotIdentity(t *testing.T) {
	host := pf(h0, 1, true, 0)
	ports := []devlink.Port{pfPort(t, host, "eth0", "08:c0:eb:aa:00:01"), representor(host.VF(0), "c1pf0vf1"), representor(host.VF(1), "eth9"), representor(host.VF(2), "")}
	table := devlink.NewTable(ports, nil)
	if p, err := table.Lookup(host.VF(0)); err != nil || p.Netdev != "c1pf0vf1" {
		t.Errorf("VF 0, whose device bears VF 1's name: %q, %v", p.Netdev, err)
	}
	if p, err := table.Lookup(host.VF(1)); err != nil || p.Netdev != "eth9" {
		t.Errorf("VF 1, whose device was not renamed: %q, %v", p.Netdev, err)
	}
	if p, err := table.Lookup(host.VF(2)); !errors.Is(err, devlink.ErrNoNetdev) || p.Function != host.VF(2) {
		t.Errorf("VF 2, whose device is not there yet: %s, %v; want the port and ErrNoNetdev", p.Function, err)
	}
}

func TestTwoPortsForOneFunctionAreRefused(t *testing.T) {
	vf := pf(h0, 1, true, 0).VF(0)
	again := representor(vf, "twin")
	again.ID.Index++
	_, err := devlink.NewTable([]devlink.Port{representor(vf, "c1pf0vf0"), again}, nil).Lookup(vf)
	if !errors.Is(err, devlink.ErrAmbiguous) || !strings.Contains(err.Error(), again.ID.String()) {
		t.Errorf("got %v, want ErrAmbiguous that names %s", err, again.ID)
	}
}

// Gap 16: what has no number is not number 0.
func TestAPortWithoutItsNumbersIsAProblemAndNotVF0(t *testing.T) {
	host := pf(h0, 1, true, 0)
	nameless := representor(host.VF(0), "c1pf0vf0")
	nameless.Function = devlink.Function{}
	table := devlink.NewTable([]devlink.Port{pfPort(t, host, "c1pf0", "08:c0:eb:aa:00:01"), nameless}, nil)
	if p, err := table.Lookup(host.VF(0)); !errors.Is(err, devlink.ErrNoPort) {
		t.Errorf("VF 0: %s, %v; want ErrNoPort", p.ID, err)
	}
	problems := table.Problems()
	if len(problems) != 1 || problems[0].Port.ID != nameless.ID || !strings.Contains(problems[0].Reason, "pcivf") {
		t.Errorf("problems: %+v", problems)
	}
}

func TestTheLegacyFileStandsInForAMissingAddress(t *testing.T) {
	k := devlinksim.New()
	c := card(t, 1)
	c.NoPFAddress = true
	k.AddCard(c)
	ports := dump(t, connect(t, k))
	root := t.TempDir()
	write := func(uplink, content string) {
		dir := filepath.Join(root, "class/net", uplink, "smart_nic/pf")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("p1", "MAC        : 08:c0:eb:aa:00:02\nMaxTxRate  : 0\nState      : Follow\n")
	table := devlink.NewTable(ports, devlink.SysfsLegacyMAC(root))
	p, err := table.HostPF(mac(t, "08:c0:eb:aa:00:02"))
	if err != nil || p.Function != pf(h1, 1, true, 1) {
		t.Errorf("PF by the legacy file: %s, %v", p.Function, err)
	}
	if got := table.HostMAC(p.Function); got.String() != "08:c0:eb:aa:00:02" {
		t.Errorf("HostMAC: %s", got)
	}
	if got := table.HostMAC(pf(h0, 1, true, 0)); got != nil {
		t.Errorf("a PF without a file has address %s", got)
	}
	problems := table.Problems()
	if len(problems) != 1 || problems[0].Port.Function != pf(h0, 1, true, 0) || !strings.Contains(problems[0].Reason, "smart_nic") {
		t.Errorf("problems: %+v", problems)
	}
	if _, err := devlink.NewTable(ports, nil).HostPF(mac(t, "08:c0:eb:aa:00:02")); !errors.Is(err, devlink.ErrNoPort) {
		t.Errorf("without the legacy file: %v", err)
	}
	noUplink := slices.DeleteFunc(slices.Clone(ports), func(p devlink.Port) bool { return p.Flavour == devlink.FlavourPhysical })
	if got := devlink.NewTable(noUplink, devlink.SysfsLegacyMAC(root)).Problems(); len(got) != 2 {
		t.Errorf("without uplinks: %+v, want a problem for each PF", got)
	}
}

func TestParsePFConfig(t *testing.T) {
	for _, tt := range []struct {
		name, data, want string
	}{
		{"spaces before the colon", "MAC        : 08:c0:eb:01:02:03\nMaxTxRate  : 0\n", "08:c0:eb:01:02:03"},
		{"another line first", "State : Follow\nMAC: 08:c0:eb:01:02:03", "08:c0:eb:01:02:03"},
		{"no MAC line", "State : Follow\n", ""},
		{"MAC without a value", "MAC :\n", ""},
		{"an address that is too short", "MAC : 08:c0:eb:01:02\n", ""},
		{"an InfiniBand address", "MAC : 00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01\n", ""},
		{"an empty file", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := devlink.ParsePFConfig([]byte(tt.data))
			if (err != nil) != (tt.want == "") || got.String() != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func FuzzParsePFConfig(f *testing.F) {
	f.Add([]byte("MAC        : 08:c0:eb:01:02:03\nMaxTxRate  : 0\n"))
	f.Add([]byte("MAC\n:MAC:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := devlink.ParsePFConfig(data); err == nil && len(got) != 6 {
			t.Errorf("address %q", got)
		}
	})
}

func TestNamesOfValues(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{
		"physical": devlink.FlavourPhysical, "pcisf": devlink.FlavourPCISF, "flavour99": devlink.Flavour(99),
		"eth": devlink.TypeEthernet, "type9": devlink.Type(9), "active": devlink.StateActive, "attached": devlink.OpStateAttached,
		"vf": devlink.KindVF, "overflow": devlink.Overflow, "pci/0000:03:00.0/7": devlink.PortID{Handle: h0, Index: 7},
		"pci/0000:03:00.0 controller 1 external pf 0 vf 3": pf(h0, 1, true, 0).VF(3),
		"pci/0000:03:00.0 controller 0 local pf 0":         pf(h0, 0, false, 0),
		"no function": devlink.Function{},
	} {
		if got.String() != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func benchmarkPorts(b *testing.B) []devlink.Port {
	k := devlinksim.New()
	k.AddCard(card(b, 500))
	return dump(b, connect(b, k))
}

func BenchmarkTableBuild1000VFs(b *testing.B) {
	ports := benchmarkPorts(b)
	b.ReportAllocs()
	for b.Loop() {
		devlink.NewTable(ports, nil)
	}
}

func BenchmarkTableLookup1000VFs(b *testing.B) {
	table := devlink.NewTable(benchmarkPorts(b), nil)
	host := mac(b, "08:c0:eb:aa:00:02")
	b.ReportAllocs()
	for b.Loop() {
		p, err := table.HostPF(host)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := table.Lookup(p.Function.VF(499)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDump1000VFs(b *testing.B) {
	k := devlinksim.New()
	k.AddCard(card(b, 500))
	c := connect(b, k)
	for b.Loop() {
		dump(b, c)
	}
}
