//go:build integration

package devlink_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/riser-project/riser/devlink"
)

// simulatedCard connects to the running kernel's devlink, which must be that of a guest with the module dpusim: two PFs
// with four VFs each, external controller 1, serial number MT2113X00000. The test is skipped elsewhere, and fails where
// RISER_DPUSIM=1 promises such a kernel.
func simulatedCard(t *testing.T) *devlink.Conn {
	t.Helper()
	c, err := devlink.Dial()
	if err != nil {
		if os.Getenv("RISER_DPUSIM") == "1" {
			t.Fatal(err)
		}
		t.Skipf("this kernel has no simulated card: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if info, err := c.Info(t.Context(), handle(t, "platform/dpusim.0")); err != nil || info.Driver != "dpusim" {
		t.Skipf("this kernel has no simulated card: %+v, %v", info, err)
	}
	return c
}

func TestTheKernelsPortsAreFoundByWhatTheyRepresent(t *testing.T) {
	c := simulatedCard(t)
	ports := dump(t, c)
	table := devlink.NewTable(ports, nil)
	if len(ports) != 12 || len(table.Problems()) != 0 {
		t.Errorf("%d ports, problems %v", len(ports), table.Problems())
	}
	for pf, address := range []string{"0c:42:a1:00:00:00", "0c:42:a1:00:01:00"} {
		host, err := table.HostPF(mac(t, address))
		if err != nil {
			t.Fatal(err)
		}
		if f := host.Function; f.PF != uint16(pf) || f.Controller != 1 || !f.External {
			t.Errorf("PF %s is %s", address, f)
		}
		for vf := range uint16(4) {
			p, err := table.Lookup(host.Function.VF(vf))
			if err != nil {
				t.Fatal(err)
			}
			device, err := net.InterfaceByName(p.Netdev)
			if err != nil || device.Index != int(p.Ifindex) {
				t.Errorf("%s: device %+v, %v; want index %d", p.Function, device, err, p.Ifindex)
			}
		}
		if _, err := table.Lookup(host.Function.VF(4)); !errors.Is(err, devlink.ErrNoPort) {
			t.Errorf("VF 4: %v", err)
		}
	}
}

func TestTheKernelTellsTheCardsSerial(t *testing.T) {
	c := simulatedCard(t)
	for _, h := range []string{"platform/dpusim.0", "platform/dpusim.1"} {
		info, err := c.Info(t.Context(), handle(t, h))
		if err != nil || info.BoardSerial != "MT2113X00000" || info.Serial != "MT2113X00000" || info.Fixed["board.id"] != "MBF2H332A-AEEOT" {
			t.Errorf("%s: %+v, %v", h, info, err)
		}
	}
	if _, err := c.Info(t.Context(), handle(t, "platform/dpusim.9")); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("a card that is not there: %v", err)
	}
}

func TestTheKernelSetsTheAddressOfAVFAndTellsOfIt(t *testing.T) {
	c := simulatedCard(t)
	w := watch(t, c)
	table := devlink.NewTable(dump(t, c), nil)
	host, err := table.HostPF(mac(t, "0c:42:a1:00:01:00"))
	if err != nil {
		t.Fatal(err)
	}
	vf, err := table.Lookup(host.Function.VF(2))
	if err != nil {
		t.Fatal(err)
	}
	address := mac(t, "fa:16:3e:00:00:17")
	if err := c.SetHWAddr(t.Context(), vf.ID, address); err != nil {
		t.Fatal(err)
	}
	if e := next(t, w); e.Kind != devlink.PortNew || e.Port.ID != vf.ID || e.Port.HWAddr.String() != address.String() {
		t.Errorf("event %+v", e)
	}
	if p, err := devlink.NewTable(dump(t, c), nil).Lookup(vf.Function); err != nil || p.HWAddr.String() != address.String() {
		t.Errorf("the kernel has %s, %v", p.HWAddr, err)
	}
	if err := c.SetHWAddr(t.Context(), host.ID, address); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("the address of a PF: %v", err)
	}
	if err := c.SetHWAddr(t.Context(), devlink.PortID{Handle: host.ID.Handle, Index: 999}, address); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("a port that is not there: %v", err)
	}
}

func TestTheKernelTellsOfPortsThatGoAndComeBack(t *testing.T) {
	c := simulatedCard(t)
	vf := devlink.Function{Handle: handle(t, "platform/dpusim.0"), Controller: 1, External: true, Kind: devlink.KindPF}.VF(1)
	before, err := devlink.NewTable(dump(t, c), nil).Lookup(vf)
	if err != nil {
		t.Fatal(err)
	}
	ip(t, "link", "set", before.Netdev, "down")
	ip(t, "link", "set", before.Netdev, "name", "renamed0")
	after, err := devlink.NewTable(dump(t, c), nil).Lookup(vf)
	if err != nil || after.Netdev != "renamed0" || after.Ifindex != before.Ifindex {
		t.Errorf("after the rename: %+v, %v", after, err)
	}
	module := os.Getenv("RISER_DPUSIM_MODULE")
	if module == "" {
		t.Skip("RISER_DPUSIM_MODULE does not name the module's file")
	}
	w := watch(t, c)
	command(t, "rmmod", "dpusim")
	for gone := 0; gone < 12; {
		if e := next(t, w); e.Kind == devlink.PortDel {
			gone++
		}
	}
	if ports := dump(t, c); len(ports) != 0 {
		t.Errorf("%d ports are left", len(ports))
	}
	command(t, "insmod", module)
	for {
		if e := next(t, w); e.Kind == devlink.PortNew && e.Port.Function == vf && e.Port.Netdev != "" {
			break
		}
	}
}

func ip(t *testing.T, args ...string) { command(t, "ip", args...) }

func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
