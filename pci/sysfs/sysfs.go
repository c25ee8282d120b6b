// Package sysfs finds the PCI functions of a host in Linux's sysfs: physical and virtual functions, their numbers, drivers, NUMA nodes
// and network devices, and the cards they are on, by the cards' Vital Product Data.
//
// The tree may be any directory of that shape. What is broken in it is passed over and told as a problem that names the file. The cost of
// a Scan is linear in the number of functions.
package sysfs

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/pci"
)

// DefaultVPDTimeout is how long a Scan waits for one function's VPD.
const DefaultVPDTimeout = 2 * time.Second

// Tree is a sysfs. Its methods may be called from several goroutines.
type Tree struct {
	// VPDTimeout is how long a Scan waits for one function's VPD before it goes on without. It must be set before the first Scan.
	VPDTimeout time.Duration

	root     string
	scanning sync.Mutex // one Scan at a time

	mu       sync.Mutex
	readings map[pci.Address]*reading // of VPD, while the device lasts
	watched  []pci.Address            // functions that are no VFs, as of the last Scan
	late     int                      // readings that ended after a Scan had given them up
}

// Open returns the tree at root, usually /sys. The error says that there is no PCI bus in it.
func Open(root string) (*Tree, error) {
	t := &Tree{VPDTimeout: DefaultVPDTimeout, root: root, readings: map[pci.Address]*reading{}}
	if info, err := os.Stat(filepath.Join(root, devices)); err != nil {
		return nil, fmt.Errorf("sysfs: no PCI devices: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("sysfs: %s is not a directory", filepath.Join(root, devices))
	}
	return t, nil
}

// Folders below the root.
const (
	devices = "bus/pci/devices"
	dmi     = "class/dmi/id"
)

// Scan looks at every function and returns those that matter here: network controllers, and functions with SR-IOV and their VFs.
//
// A card's VPD is read once and remembered until the device is plugged anew or its PF gets another driver; that of a PF is never read on
// behalf of its VFs, and of a VF only its own, if it has one. A VPD whose reading hangs makes a problem of its card after VPDTimeout, and
// is not waited for again; other functions in the same slot are then not read. The hanging read itself lasts until the kernel ends it.
//
// The error says that the bus could not be listed, or that ctx ended.
func (t *Tree) Scan(ctx context.Context) (*pci.Host, error) {
	t.scanning.Lock()
	defer t.scanning.Unlock()
	names, err := list(filepath.Join(t.root, devices))
	if err != nil {
		return nil, fmt.Errorf("sysfs: list PCI devices: %w", err)
	}
	s := scan{tree: t, numbers: map[pci.Address]vfLink{}}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("sysfs: %w", err)
		}
		address, err := pci.ParseAddress(name)
		if err != nil {
			s.problem(devices, "%v", err)
			continue
		}
		s.look(address)
	}
	s.number()
	s.forget()
	if err := s.readVPDs(ctx); err != nil {
		return nil, fmt.Errorf("sysfs: %w", err)
	}
	host := pci.NewHost(s.found)
	s.system(host)
	host.Problems = append(s.problems, host.Problems...)
	return host, nil
}

// scan is one look at the tree.
type scan struct {
	tree     *Tree
	found    []pci.Found
	vpds     []source               // parallel to found
	numbers  map[pci.Address]vfLink // of VFs, by their PFs' virtfn links
	problems []string
}

// vfLink is what a PF's link virtfnN says of the VF it points at.
type vfLink struct {
	pf     pci.Address
	number int
}

// problem notes what is wrong with a file, given below the root.
func (s *scan) problem(file, format string, args ...any) {
	s.problems = append(s.problems, file+": "+fmt.Sprintf(format, args...))
}

// system reads the DMI identity. A machine without DMI has none.
func (s *scan) system(host *pci.Host) {
	uuid, err := s.tree.text(filepath.Join(dmi, "product_uuid"))
	if missing(err) {
		return
	}
	if err != nil {
		s.problem(filepath.Join(dmi, "product_uuid"), "the system UUID is unknown: %v", err)
		return
	}
	serial, err := s.tree.text(filepath.Join(dmi, "product_serial"))
	if err != nil && !missing(err) {
		s.problem(filepath.Join(dmi, "product_serial"), "%v", err)
	}
	host.SetSystem(uuid, serial)
}

// Fingerprint returns a short text that changes when a new Scan would find something else: functions that came or went, and the number of
// VFs, driver, network device, MAC and VPD file of each physical function. It reads a few files for each physical function of the last
// Scan and none for VFs, and never reads VPD.
func (t *Tree) Fingerprint(ctx context.Context) (string, error) {
	names, err := list(filepath.Join(t.root, devices))
	if err != nil {
		return "", fmt.Errorf("sysfs: list PCI devices: %w", err)
	}
	t.mu.Lock()
	watched, late := slices.Clone(t.watched), t.late
	t.mu.Unlock()
	sum := fnv.New64a()
	write := func(parts ...string) { _, _ = sum.Write([]byte(strings.Join(parts, "\x00") + "\x01")) } // a hash takes everything
	write(names...)
	write(strconv.Itoa(late))
	for _, a := range watched {
		if err := ctx.Err(); err != nil {
			return "", fmt.Errorf("sysfs: %w", err)
		}
		dir := filepath.Join(devices, a.String())
		numVFs, _ := t.text(filepath.Join(dir, "sriov_numvfs")) // what cannot be read is as if it were empty
		driver, _ := os.Readlink(filepath.Join(t.root, dir, "driver"))
		netdev, mac, _ := t.netdev(dir)
		write(a.String(), numVFs, driver, netdev, mac, t.inode(dir), t.inode(filepath.Join(dir, "vpd")))
	}
	return strconv.FormatUint(sum.Sum64(), 16), nil
}
