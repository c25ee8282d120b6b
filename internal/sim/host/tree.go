package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/riser-project/riser/pci"
)

// tree writes files, links and folders until something fails.
type tree struct{ err error }

func (t *tree) mkdir(name string) {
	if t.err == nil {
		t.err = os.MkdirAll(name, 0o755)
	}
}

func (t *tree) write(name, content string) { t.writeMode(name, []byte(content), 0o644) }

func (t *tree) writeMode(name string, content []byte, mode fs.FileMode) {
	if t.err == nil {
		t.err = os.WriteFile(name, content, mode)
	}
}

// link makes a relative link to target, as sysfs has them.
func (t *tree) link(name, target string) {
	if t.err != nil {
		return
	}
	var to string
	if to, t.err = filepath.Rel(filepath.Dir(name), target); t.err == nil {
		t.err = os.Symlink(to, name)
	}
}

// Classes of PCI devices.
const (
	classEthernet = 0x020000
	classBridge   = 0x060400
)

// portFor returns the folder of the root port in front of a bus, and makes it if there is none.
func (h *Host) portFor(t *tree, a pci.Address) string {
	bus := port{a.Domain, a.Bus}
	at, ok := h.ports[bus]
	if !ok {
		n := len(h.ports) + 1
		at = pci.Address{Domain: a.Domain, Slot: uint8(n>>3) & 0x1f, Function: uint8(n) & 7}
		h.ports[bus] = at
	}
	hierarchy := filepath.Join(h.root, "devices", fmt.Sprintf("pci%04x:00", a.Domain))
	dir := filepath.Join(hierarchy, at.String())
	if !ok {
		t.mkdir(hierarchy)
		t.write(filepath.Join(hierarchy, "uevent"), "")
		h.device(t, dir, at, device{vendor: 0x8086, product: 0x2f04, class: classBridge, driver: "pcieport"})
	}
	return dir
}

// device is what every PCI function has.
type device struct {
	vendor, product pci.ID
	class           uint32
	numa            int
	driver          string
}

func (h *Host) device(t *tree, dir string, a pci.Address, d device) {
	t.mkdir(dir)
	modalias := fmt.Sprintf("pci:v%08Xd%08Xsv%08Xsd00000001bc%02Xsc%02Xi%02X", uint16(d.vendor), uint16(d.product), uint16(d.vendor), d.class>>16, d.class>>8&0xff, d.class&0xff)
	for name, content := range map[string]string{
		"vendor": "0x" + d.vendor.String(), "device": "0x" + d.product.String(), "class": fmt.Sprintf("0x%06x", d.class),
		"subsystem_vendor": "0x" + d.vendor.String(), "subsystem_device": "0x0001", "revision": "0x00", "irq": "0",
		"numa_node": strconv.Itoa(d.numa), "modalias": modalias,
	} {
		t.write(filepath.Join(dir, name), content+"\n")
	}
	t.write(filepath.Join(dir, "uevent"), fmt.Sprintf("PCI_CLASS=%X\nPCI_ID=%04X:%04X\nPCI_SUBSYS_ID=%04X:0001\nPCI_SLOT_NAME=%s\nMODALIAS=%s\n",
		d.class, uint16(d.vendor), uint16(d.product), uint16(d.vendor), a, modalias))
	t.writeMode(filepath.Join(dir, "config"), config(d), 0o644)
	t.link(filepath.Join(dir, "subsystem"), filepath.Join(h.root, "bus/pci"))
	t.link(filepath.Join(h.root, "bus/pci/devices", a.String()), dir)
	h.bind(t, dir, d.driver)
}

// config is a configuration space with a PCI Express capability and nothing else.
func config(d device) []byte {
	const capability = 0x60
	c := make([]byte, 256)
	for i, word := range []uint16{uint16(d.vendor), uint16(d.product), 0x0406, 0x0010} {
		binary.LittleEndian.PutUint16(c[2*i:], word)
	}
	c[0x09], c[0x0a], c[0x0b] = byte(d.class), byte(d.class>>8), byte(d.class>>16)
	c[0x34] = capability
	copy(c[capability:], []byte{0x10, 0x00, 0x02, 0x00})
	return c
}

func (h *Host) bind(t *tree, dir, driver string) {
	if driver == "" {
		return
	}
	at := filepath.Join(h.root, "bus/pci/drivers", driver)
	t.mkdir(at)
	t.link(filepath.Join(dir, "driver"), at)
}

// netdev adds a network device to the function in dir.
func (h *Host) netdev(t *tree, dir, name, mac, portName string) {
	h.ifindex++
	index := strconv.Itoa(h.ifindex)
	at := filepath.Join(dir, "net", name)
	t.mkdir(at)
	for file, content := range map[string]string{
		"address": mac, "addr_len": "6", "type": "1", "ifindex": index, "iflink": index, "operstate": "up", "carrier": "1", "mtu": "1500",
		"flags": "0x1003", "dev_id": "0x0", "dev_port": "0", "speed": "25000", "phys_port_name": portName,
	} {
		if content != "" {
			t.write(filepath.Join(at, file), content+"\n")
		}
	}
	t.write(filepath.Join(at, "uevent"), fmt.Sprintf("INTERFACE=%s\nIFINDEX=%s\n", name, index))
	t.link(filepath.Join(at, "device"), dir)
	t.link(filepath.Join(at, "subsystem"), filepath.Join(h.root, "class/net"))
	t.link(filepath.Join(h.root, "class/net", name), at)
}

func (h *Host) addPF(p *PF) error {
	var t tree
	dir := filepath.Join(h.portFor(&t, p.Address), p.Address.String())
	h.device(&t, dir, p.Address, device{p.Vendor, p.Product, classEthernet, p.NUMA, p.Driver})
	if p.TotalVFs > 0 {
		for name, content := range map[string]string{
			"sriov_totalvfs": strconv.Itoa(p.TotalVFs), "sriov_numvfs": "0", "sriov_offset": strconv.Itoa(p.Offset), "sriov_stride": strconv.Itoa(p.Stride),
			"sriov_vf_device": fmt.Sprintf("%x", uint16(p.VFDevice)), "sriov_drivers_autoprobe": "1",
		} {
			t.write(filepath.Join(dir, name), content+"\n")
		}
	}
	if p.VPD != nil {
		t.writeMode(filepath.Join(dir, "vpd"), p.VPD, 0o600)
	}
	if p.Netdev != "" {
		h.netdev(&t, dir, p.Netdev, p.MAC, p.PortName)
	}
	if t.err != nil {
		return t.err
	}
	h.functions[p.Address] = &function{dir: dir, netdev: p.Netdev}
	return h.addVFs(p)
}

// addVFs makes the PF's VFs. sriov_numvfs is set last, as in the kernel.
func (h *Host) addVFs(p *PF) error {
	var t tree
	pf := h.functions[p.Address].dir
	for n := range p.NumVFs {
		a, err := p.VF(n)
		if err != nil {
			return err
		}
		if h.functions[a] != nil {
			return fmt.Errorf("VF %d: %s is in use", n, a)
		}
		dir := filepath.Join(filepath.Dir(pf), a.String())
		h.device(&t, dir, a, device{p.Vendor, p.VFDevice, classEthernet, p.NUMA, p.VFDriver})
		t.link(filepath.Join(dir, "physfn"), pf)
		t.link(filepath.Join(pf, "virtfn"+strconv.Itoa(n)), dir)
		if own := p.VFVPD[n]; own != nil {
			t.writeMode(filepath.Join(dir, "vpd"), own, 0o600)
		}
		f := &function{dir: dir}
		if p.VFNetdev != "" {
			f.netdev = p.VFNetdev + strconv.Itoa(n)
			h.netdev(&t, dir, f.netdev, vfMAC(a), "")
		}
		h.functions[a] = f
	}
	if t.err != nil || p.TotalVFs == 0 {
		return t.err
	}
	return h.replace(filepath.Join(pf, "sriov_numvfs"), []byte(strconv.Itoa(p.NumVFs)+"\n"), 0o644)
}

// vfMAC is a locally administered address made of the function's.
func vfMAC(a pci.Address) string {
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", a.Domain>>8&0xff, a.Domain&0xff, a.Bus, a.Slot, a.Function)
}

func (h *Host) removeVFs(p *PF) error {
	var errs []error
	pf := h.functions[p.Address].dir
	for n := range p.NumVFs {
		a, err := p.VF(n)
		if err != nil {
			return err
		}
		errs = append(errs, os.Remove(filepath.Join(pf, "virtfn"+strconv.Itoa(n))), h.remove(a))
	}
	p.NumVFs = 0
	if p.TotalVFs > 0 {
		errs = append(errs, h.replace(filepath.Join(pf, "sriov_numvfs"), []byte("0\n"), 0o644))
	}
	return errors.Join(errs...)
}

// remove takes a function out of the tree. Its folder is kept aside, so that no new device gets its inode.
func (h *Host) remove(a pci.Address) error {
	f := h.functions[a]
	delete(h.functions, a)
	f.release()
	h.gone++
	var errs []error
	if f.netdev != "" {
		errs = append(errs, os.Remove(filepath.Join(h.root, "class/net", f.netdev)))
	}
	errs = append(errs,
		os.Remove(filepath.Join(h.root, "bus/pci/devices", a.String())),
		os.Rename(f.dir, filepath.Join(h.root, hidden, fmt.Sprintf("gone%d-%s", h.gone, a))))
	return errors.Join(errs...)
}
