package sysfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/riser-project/riser/internal/sim/host"
	"github.com/riser-project/riser/pci"
)

// Whatever is broken in the tree, the rest is found and the problem names the file.
func TestABrokenTreeIsReadAsFarAsItGoes(t *testing.T) {
	const dir = "bus/pci/devices/0000:82:00.0/"
	pf, vf := addr("0000:82:00.0"), addr("0000:82:00.4")
	write := func(t *testing.T, name, content string) {
		t.Helper()
		must(t, os.WriteFile(name, []byte(content), 0o644))
	}
	for _, tt := range []struct {
		name  string
		spoil func(*testing.T, *host.Host)
		want  string // among the problems; empty for none
		check func(*testing.T, *pci.Host)
	}{
		{"a link that leads to itself", func(t *testing.T, h *host.Host) {
			at := filepath.Join(h.Root(), "bus/pci/devices/0000:99:00.0")
			must(t, os.Symlink(at, at))
		}, "bus/pci/devices/0000:99:00.0/class: too many levels of symbolic links", nil},
		{"a link that leads nowhere", func(t *testing.T, h *host.Host) {
			must(t, os.Symlink("nowhere", filepath.Join(h.Root(), "bus/pci/devices/0000:99:00.0")))
		}, "bus/pci/devices/0000:99:00.0/class: no such file", nil},
		{"a name with a newline", func(t *testing.T, h *host.Host) {
			must(t, os.Symlink(h.Path(pf), filepath.Join(h.Root(), "bus/pci/devices/0000:82:\n00.0")))
		}, `bus/pci/devices: PCI address "0000:82:\n00.0"`, nil},
		{"newlines around a value", func(t *testing.T, h *host.Host) { write(t, h.Path(pf, "numa_node"), "\n 1\r\n\n") }, "", func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.0"); f.NUMA != 1 {
				t.Errorf("the NUMA node is %d", f.NUMA)
			}
		}},
		{"a NUMA node that is no number", func(t *testing.T, h *host.Host) { write(t, h.Path(pf, "numa_node"), "one\n") }, dir + `numa_node: "one" is not a number`, func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.0"); f.NUMA != -1 {
				t.Errorf("the NUMA node is %d", f.NUMA)
			}
		}},
		{"a NUMA node of -2", func(t *testing.T, h *host.Host) { write(t, h.Path(pf, "numa_node"), "-2\n") }, dir + "numa_node: -2 is not a NUMA node", nil},
		{"no NUMA node, as without NUMA", func(t *testing.T, h *host.Host) { must(t, os.Remove(h.Path(pf, "numa_node"))) }, "", func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.0"); f.NUMA != -1 {
				t.Errorf("the NUMA node is %d", f.NUMA)
			}
		}},
		{"a vendor that is no hex number", func(t *testing.T, h *host.Host) { write(t, h.Path(vf, "vendor"), "0xyz\n") }, "bus/pci/devices/0000:82:00.4/vendor: PCI identifier", func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.5"); f.Number != 2 {
				t.Errorf("the VF behind it has number %d", f.Number)
			}
		}},
		{"no device identifier", func(t *testing.T, h *host.Host) { must(t, os.Remove(h.Path(vf, "device"))) }, "bus/pci/devices/0000:82:00.4/device: no such file", nil},
		{"a hole in the VFs", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(h.Path(pf, "virtfn1")))
			must(t, os.Remove(filepath.Join(h.Root(), "bus/pci/devices", vf.String())))
		}, dir + "virtfn1: is missing, although there is a VF 2", func(t *testing.T, h *pci.Host) {
			inv := h.Inventory()
			must(t, inv.Check())
			if r := inv.Cards[0].PFs[0].VFs; len(r) != 2 || r[0].Count != 1 || r[1].First != 2 || r[1].Count != 2 {
				t.Errorf("the ranges are %+v", r)
			}
		}},
		{"a missing virtfn", func(t *testing.T, h *host.Host) { must(t, os.Remove(h.Path(pf, "virtfn3"))) }, "no virtfn link of 0000:82:00.0 points at it, so its VF number is unknown", func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.6"); f.Number != -1 {
				t.Errorf("its number is %d", f.Number)
			}
			if !strings.Contains(problems(h), dir+"sriov_numvfs: says 4 VFs, but there are 3 links") {
				t.Errorf("problems: %s", problems(h))
			}
		}},
		{"a virtfn that points at nothing", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(filepath.Join(h.Root(), "bus/pci/devices", vf.String())))
		}, dir + "virtfn1: points at 0000:82:00.4, which was not found", nil},
		{"a virtfn that is a file", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(h.Path(pf, "virtfn1")))
			write(t, h.Path(pf, "virtfn1"), "")
		}, dir + "virtfn1: invalid argument", nil},
		{"a virtfn that points at no address", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(h.Path(pf, "virtfn1")))
			must(t, os.Symlink("../x\ny", h.Path(pf, "virtfn1")))
		}, dir + `virtfn1: PCI address "x\ny"`, nil},
		{"a virtfn without a number", func(t *testing.T, h *host.Host) { must(t, os.Symlink("../0000:82:00.4", h.Path(pf, "virtfn01"))) }, dir + `virtfn01: "01" is not the number of a VF`, nil},
		{"two virtfn that point at one VF", func(t *testing.T, h *host.Host) { must(t, os.Symlink("../0000:82:00.4", h.Path(pf, "virtfn4"))) }, dir + "virtfn4: points at 0000:82:00.4, which is VF 1 of 0000:82:00.0", func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.4"); f.Number != 1 {
				t.Errorf("its number is %d", f.Number)
			}
		}},
		{"a VF that names another PF", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(h.Path(vf, "physfn")))
			must(t, os.Symlink("../0000:82:00.1", h.Path(vf, "physfn")))
		}, "it names 0000:82:00.1 as its PF, but virtfn1 of 0000:82:00.0 points at it", nil},
		{"a VF whose PF has no address", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(h.Path(vf, "physfn")))
			must(t, os.Symlink("../x", h.Path(vf, "physfn")))
		}, `0000:82:00.4/physfn: PCI address "x"`, nil},
		{"a PF that is gone", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(filepath.Join(h.Root(), "bus/pci/devices", pf.String())))
		}, "0000:82:00.4: its PF 0000:82:00.0 was not found", nil},
		{"more VFs than the PF can have", func(t *testing.T, h *host.Host) { write(t, h.Path(pf, "sriov_numvfs"), "128\n") }, dir + "sriov_numvfs: 128 of 127 VFs are impossible", nil},
		{"a number of VFs that is none", func(t *testing.T, h *host.Host) { write(t, h.Path(pf, "sriov_numvfs"), "\n") }, dir + `sriov_numvfs: "" is not a number`, nil},
		{"a total that is none", func(t *testing.T, h *host.Host) { write(t, h.Path(pf, "sriov_totalvfs"), "many\n") }, dir + `sriov_totalvfs: "many" is not a number`, nil},
		{"a VF device that is none", func(t *testing.T, h *host.Host) { write(t, h.Path(pf, "sriov_vf_device"), "g\n") }, dir + "sriov_vf_device: PCI identifier", nil},
		{"an attribute that is a FIFO", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(h.Path(pf, "numa_node")))
			must(t, h.HangVPD(addr("0000:82:00.1"))) // a FIFO from the simulator, moved to another place
			must(t, os.Rename(h.Path(addr("0000:82:00.1"), "vpd"), h.Path(pf, "numa_node")))
		}, dir + "numa_node: resource temporarily unavailable", nil},
		{"a MAC that is none", func(t *testing.T, h *host.Host) { must(t, h.SetMAC(pf, "zz:00")) }, dir + `net/enp130s0f0np0/address: "zz:00" is not a MAC`, func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.3"); f.PFNetdev != "enp130s0f0np0" || f.PFMAC != "" {
				t.Errorf("the PF is %q with MAC %q", f.PFNetdev, f.PFMAC)
			}
		}},
		{"a MAC of zeros is none", func(t *testing.T, h *host.Host) { must(t, h.SetMAC(pf, "00:00:00:00:00:00")) }, "", func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.0"); f.MAC != "" {
				t.Errorf("the MAC is %q", f.MAC)
			}
		}},
		{"an InfiniBand address is no MAC", func(t *testing.T, h *host.Host) {
			must(t, h.SetMAC(pf, "80:00:02:08:fe:80:00:00:00:00:00:00:5c:25:73:03:00:08:f3:52"))
		}, "", func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.0"); f.MAC != "" {
				t.Errorf("the MAC is %q", f.MAC)
			}
		}},
		{"no address of a network device", func(t *testing.T, h *host.Host) {
			must(t, os.Remove(h.Path(pf, "net", "enp130s0f0np0", "address")))
		}, dir + "net/enp130s0f0np0/address: no such file", nil},
		{"an empty net folder", func(t *testing.T, h *host.Host) { must(t, os.RemoveAll(h.Path(pf, "net", "enp130s0f0np0"))) }, "", nil},
		{"representors beside the network device", func(t *testing.T, h *host.Host) {
			for name, port := range map[string]string{"eth0": "pf0vf0", "eth1": "c1pf0", "aux": "p1"} {
				must(t, os.Mkdir(h.Path(pf, "net", name), 0o755))
				write(t, h.Path(pf, "net", name, "phys_port_name"), port+"\n")
				write(t, h.Path(pf, "net", name, "ifindex"), "9999\n")
			}
			must(t, os.Remove(h.Path(pf, "net", "aux", "ifindex")))
		}, "", func(t *testing.T, h *pci.Host) {
			if f := function(t, h, "0000:82:00.0"); f.Netdev != "enp130s0f0np0" {
				t.Errorf("the network device is %q", f.Netdev)
			}
		}},
		{"a UUID that may not be read", func(t *testing.T, h *host.Host) {
			at := filepath.Join(h.Root(), "devices/virtual/dmi/id/product_uuid")
			must(t, os.Remove(at))
			must(t, os.Mkdir(at, 0o755))
		}, "class/dmi/id/product_uuid: the system UUID is unknown: is a directory", nil},
		{"a system serial that may not be read", func(t *testing.T, h *host.Host) {
			at := filepath.Join(h.Root(), "devices/virtual/dmi/id/product_serial")
			must(t, os.Remove(at))
			must(t, os.Mkdir(at, 0o755))
		}, "class/dmi/id/product_serial: is a directory", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := twoCards(t)
			tt.spoil(t, h)
			found := scan(t, open(t, h))
			if got := problems(found); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("problems are\n%s\nwant %q", got, tt.want)
			}
			if f := function(t, found, "0000:c1:00.3"); f.Number != 0 || f.Card.Serial != "MT2313XZ0B02" {
				t.Errorf("a VF of the other card is %+v", f)
			}
			if tt.check != nil {
				tt.check(t, found)
			}
		})
	}
}

// A network controller without SR-IOV is a function of its own kind; what is neither is not looked at.
func TestOnlyFunctionsThatMatterAreFound(t *testing.T) {
	h := newHost(t)
	must(t, h.Plug(host.Card{PFs: []host.PF{{Address: addr("0000:05:00.0"), Vendor: 0x8086, Product: 0x1521, NUMA: -1, Driver: "igb", Netdev: "eno1", MAC: "52:54:00:00:00:01"}}}))
	found := scan(t, open(t, h))
	if len(found.Functions) != 1 {
		t.Fatalf("found %+v", found.Functions)
	}
	if f := found.Functions[0]; f.Kind != pci.Device || f.Netdev != "eno1" || f.TotalVFs != 0 || f.Number != -1 {
		t.Errorf("found %+v", f)
	}
}
