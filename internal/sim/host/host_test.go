package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/vpd"
)

var pf = pci.Address{Bus: 0x82}

func card(t *testing.T) host.Card {
	t.Helper()
	c, err := host.BlueField3(host.BlueField{Serial: "MT2313XZ0A01", UUID: "3c53d07eec484d8aab34dabd24fe575a", Bus: 0x82, MAC: "b8:3f:d2:00:00:ff", PFs: 2, VFs: 4})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func plugged(t *testing.T) *host.Host {
	t.Helper()
	h, err := host.New(filepath.Join(t.TempDir(), "sys"), host.Config{})
	if err == nil {
		err = h.Plug(card(t))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func read(t *testing.T, h *host.Host, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(h.Root(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestTheTreeIsShapedLikeSysfs(t *testing.T) {
	h := plugged(t)
	for name, want := range map[string]string{
		"bus/pci/devices/0000:82:00.0/sriov_numvfs":                "4\n",
		"bus/pci/devices/0000:82:00.0/sriov_vf_device":             "101e\n",
		"bus/pci/devices/0000:82:00.0/virtfn0/device":              "0x101e\n",
		"bus/pci/devices/0000:82:00.3/physfn/device":               "0xa2dc\n",
		"bus/pci/devices/0000:82:00.3/physfn/virtfn3/numa_node":    "0\n",
		"bus/pci/devices/0000:82:00.1/net/enp130s0f1np1/address":   "b8:3f:d2:00:01:00\n",
		"class/net/enp130s0f0np0/device/vendor":                    "0x15b3\n",
		"bus/pci/devices/0000:82:00.0/subsystem/drivers_autoprobe": "1\n",
		"devices/pci0000:00/0000:00:00.1/0000:82:00.0/class":       "0x020000\n",
		"bus/pci/devices/0000:00:00.1/class":                       "0x060400\n",
	} {
		if got := read(t, h, name); got != want {
			t.Errorf("%s holds %q; want %q", name, got, want)
		}
	}
	if to, err := os.Readlink(filepath.Join(h.Root(), "bus/pci/devices/0000:82:00.0/driver")); err != nil || filepath.IsAbs(to) || filepath.Base(to) != "mlx5_core" {
		t.Errorf("the driver is %q, %v", to, err)
	}
	v, err := vpd.Parse([]byte(read(t, h, "bus/pci/devices/0000:82:00.0/vpd")))
	if err != nil || v.SerialNumber() != "MT2313XZ0A01" {
		t.Errorf("the VPD is %+v, %v", v, err)
	}
}

func TestChangesAreSeenAndUndone(t *testing.T) {
	h := plugged(t)
	inode := func() os.FileInfo {
		info, err := os.Stat(h.Path(pf))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	before := inode()
	steps := []error{h.SetNumVFs(pf, 0), h.SetNumVFs(pf, 7), h.SetMAC(pf, "b8:3f:d2:00:00:01"), h.SetDriver(pf, ""), h.CorruptVPD(pf), h.HangVPD(pf), h.HangVPD(pf), h.FreeVPD(pf), h.FreeVPD(pf)}
	for i, err := range steps {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if got := read(t, h, "bus/pci/devices/0000:82:00.0/virtfn6/device"); got != "0x101e\n" {
		t.Errorf("VF 6 is %q", got)
	}
	if _, err := vpd.Parse([]byte(read(t, h, "bus/pci/devices/0000:82:00.0/vpd"))); err == nil {
		t.Error("the corrupt VPD is good after it hung")
	}
	if err := h.Unplug(pf); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bus/pci/devices/0000:82:00.*", "class/net/*", "devices/pci0000:00/*/0000:82:*"} {
		if left, _ := filepath.Glob(filepath.Join(h.Root(), name)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	if err := h.Plug(card(t)); err != nil {
		t.Fatal(err)
	}
	if os.SameFile(before, inode()) {
		t.Error("the card plugged anew has the inode of the old one")
	}
}

func TestWhatCannotBeIsRefused(t *testing.T) {
	h := plugged(t)
	absent := pci.Address{Bus: 0x99}
	tooMany := card(t)
	tooMany.PFs[0].Address.Bus, tooMany.PFs[0].NumVFs = 0x99, 128
	noRoom := card(t)
	noRoom.PFs = noRoom.PFs[:1]
	noRoom.PFs[0].Address.Bus, noRoom.PFs[0].Netdev, noRoom.PFs[0].VFs = 0x99, "", []pci.Address{{Bus: 0x99, Function: 1}}
	_, badMAC := host.BlueField3(host.BlueField{MAC: "x"})
	_, occupied := host.New(h.Root(), host.Config{})
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"a card in the place of another": {h.Plug(card(t)), "0000:82:00.0 is in use"},
		"more VFs than the PF has":       {h.Plug(tooMany), "cannot have 128 VFs of 127"},
		"a VF without address":           {h.Plug(noRoom), "VF 1 of 0000:99:00.0 has no address"},
		"more VFs later":                 {h.SetNumVFs(pf, 128), "cannot have 128 VFs of 127"},
		"VFs of a PF that is not there":  {h.SetNumVFs(absent, 1), "no PF"},
		"unplugging what is not there":   {h.Unplug(absent), "no PF"},
		"a MAC of what is not there":     {h.SetMAC(absent, ""), "no PF"},
		"a driver of what is not there":  {h.SetDriver(absent, "x"), "no function"},
		"a VPD of what is not there":     {h.SetVPD(absent, nil), "no function"},
		"a corrupt VPD of nothing":       {h.CorruptVPD(absent), "no such file"},
		"a hanging VPD of nothing":       {h.HangVPD(absent), "no function"},
		"a hanging VPD that is missing":  {h.HangVPD(pci.Address{Bus: 0x82, Function: 3}), "no such file"},
		"a MAC that is none":             {badMAC, "MAC"},
		"a directory that is in use":     {occupied, "not empty"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", name, tt.err, tt.want)
		}
	}
}
