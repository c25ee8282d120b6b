// Package host simulates a hypervisor as far as its PCI bus goes: a tree in a directory that is shaped like sysfs, with cards, their
// physical and virtual functions, network devices, Vital Product Data and DMI identity. It can be changed while it is looked at.
//
// As in the kernel, a device that is plugged again is a new one: no inode number of a directory is used twice while the host exists.
package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/riser-project/riser/pci"
)

// Config is what the host says of itself.
type Config struct {
	SystemUUID   string // DMI product_uuid; not written if empty
	SystemSerial string // DMI product_serial; not written if empty
}

// Host is a simulated hypervisor. Its methods may be called from several goroutines.
type Host struct {
	root string

	mu        sync.Mutex
	cards     []*Card
	functions map[pci.Address]*function
	ports     map[port]pci.Address // root port by the bus behind it
	ifindex   int
	gone      int
}

type port struct {
	domain uint32
	bus    uint8
}

// function is a plugged function.
type function struct {
	dir    string // in devices/, absolute
	netdev string
	hung   *os.File // holds the FIFO open that stands in for its VPD
	vpd    []byte   // what the VPD was before it hung
}

// New makes the tree of a host without cards in dir, which must be empty or missing.
func New(dir string, c Config) (*Host, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("simulated host: %w", err)
	}
	if entries, err := os.ReadDir(root); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("simulated host: %s is not empty", root)
	}
	h := &Host{root: root, functions: map[pci.Address]*function{}, ports: map[port]pci.Address{}, ifindex: 1}
	t := tree{}
	for _, name := range []string{"bus/pci/devices", "bus/pci/drivers", "class/net", "devices/virtual/dmi/id", "class/dmi", hidden} {
		t.mkdir(filepath.Join(root, name))
	}
	t.write(filepath.Join(root, "bus/pci/drivers_autoprobe"), "1\n")
	dmi := filepath.Join(root, "devices/virtual/dmi/id")
	if c.SystemUUID != "" {
		t.write(filepath.Join(dmi, "product_uuid"), c.SystemUUID+"\n")
	}
	if c.SystemSerial != "" {
		t.write(filepath.Join(dmi, "product_serial"), c.SystemSerial+"\n")
	}
	t.link(filepath.Join(root, "class/dmi/id"), dmi)
	if t.err != nil {
		return nil, fmt.Errorf("simulated host: %w", t.err)
	}
	return h, nil
}

// hidden is the folder, within the root, of devices that were unplugged and files that are being written.
const hidden = ".sim"

// Root returns the directory that stands in for /sys.
func (h *Host) Root() string { return h.root }

// Close lets every hanging read go. The tree stays.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.functions {
		f.release()
	}
	return nil
}

func (f *function) release() {
	if f.hung != nil {
		f.hung.Close()
		f.hung = nil
	}
}

// Plug adds a card.
func (h *Host) Plug(c Card) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	card := c.clone()
	if err := h.fits(card); err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	for i := range card.PFs {
		if err := h.addPF(&card.PFs[i]); err != nil {
			return fmt.Errorf("simulated host: plug %s: %w", card.PFs[i].Address, err)
		}
	}
	h.cards = append(h.cards, card)
	return nil
}

// fits says whether every function of a card has an address that is free.
func (h *Host) fits(card *Card) error {
	seen := map[pci.Address]bool{}
	for i := range card.PFs {
		pf := &card.PFs[i]
		if pf.NumVFs > pf.TotalVFs {
			return fmt.Errorf("%s cannot have %d VFs of %d", pf.Address, pf.NumVFs, pf.TotalVFs)
		}
		addresses := []pci.Address{pf.Address}
		for n := range pf.NumVFs {
			a, err := pf.VF(n)
			if err != nil {
				return err
			}
			addresses = append(addresses, a)
		}
		for _, a := range addresses {
			if h.functions[a] != nil || seen[a] {
				return fmt.Errorf("%s is in use", a)
			}
			seen[a] = true
		}
	}
	return nil
}

// Unplug removes the card that the physical function at pf is on.
func (h *Host) Unplug(pf pci.Address) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, card := range h.cards {
		if card.pf(pf) == nil {
			continue
		}
		h.cards = append(h.cards[:i], h.cards[i+1:]...)
		for j := range card.PFs {
			p := &card.PFs[j]
			if err := errors.Join(h.removeVFs(p), h.remove(p.Address)); err != nil {
				return fmt.Errorf("simulated host: unplug %s: %w", p.Address, err)
			}
		}
		return nil
	}
	return fmt.Errorf("simulated host: there is no PF %s", pf)
}

// SetNumVFs does what writing 0 and then n to the PF's sriov_numvfs does: all VFs go, and n come.
func (h *Host) SetNumVFs(pf pci.Address, n int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.find(pf)
	if err != nil {
		return err
	}
	if n < 0 || n > p.TotalVFs {
		return fmt.Errorf("simulated host: %s cannot have %d VFs of %d", pf, n, p.TotalVFs)
	}
	if err := h.removeVFs(p); err != nil {
		return fmt.Errorf("simulated host: %s: %w", pf, err)
	}
	p.NumVFs = n
	if err := h.addVFs(p); err != nil {
		return fmt.Errorf("simulated host: %s: %w", pf, err)
	}
	return nil
}

// SetMAC changes the address of a PF's network device.
func (h *Host) SetMAC(pf pci.Address, mac string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.find(pf)
	if err != nil {
		return err
	}
	p.MAC = mac
	f := h.functions[pf]
	return h.replace(filepath.Join(f.dir, "net", f.netdev, "address"), []byte(mac+"\n"), 0o644)
}

// SetDriver binds a function to another driver, or to none if the name is empty.
func (h *Host) SetDriver(a pci.Address, driver string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.functions[a]
	if f == nil {
		return fmt.Errorf("simulated host: there is no function %s", a)
	}
	if err := os.Remove(filepath.Join(f.dir, "driver")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("simulated host: %w", err)
	}
	var t tree
	h.bind(&t, f.dir, driver)
	return t.err
}

// Path returns the directory of a function, or of what is in it, so that a test can spoil it.
func (h *Host) Path(a pci.Address, elem ...string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.functions[a]
	if f == nil {
		return filepath.Join(append([]string{h.root, hidden, "missing", a.String()}, elem...)...)
	}
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

func (h *Host) find(pf pci.Address) (*PF, error) {
	for _, card := range h.cards {
		if p := card.pf(pf); p != nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("simulated host: there is no PF %s", pf)
}

// replace changes a file so that a reader sees the old content or the new.
func (h *Host) replace(name string, data []byte, mode fs.FileMode) error {
	fresh := filepath.Join(h.root, hidden, strings.ReplaceAll(strings.TrimPrefix(name, h.root), string(filepath.Separator), "-"))
	if err := os.WriteFile(fresh, data, mode); err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	if err := os.Rename(fresh, name); err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	return nil
}
