package sysfs

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/riser-project/riser/pci"
)

// classNetwork is the first byte of the class code of network controllers (PCI Code and ID Assignment 1.3).
const classNetwork = "0x02"

// look reads one function, if it is one that matters.
func (s *scan) look(a pci.Address) {
	dir := filepath.Join(devices, a.String())
	f := pci.Function{Address: a, Number: -1}
	if parent := s.tree.target(filepath.Join(dir, "physfn")); parent != "" {
		var err error
		if f.Parent, err = pci.ParseAddress(parent); err != nil {
			s.problem(filepath.Join(dir, "physfn"), "%v", err)
			return
		}
		f.Kind = pci.VF
	} else {
		class, err := s.tree.text(filepath.Join(dir, "class"))
		if err != nil {
			s.problem(filepath.Join(dir, "class"), "%v", err)
			return
		}
		s.sriov(&f, dir)
		if f.Kind == pci.Device && !strings.HasPrefix(class, classNetwork) {
			return
		}
	}
	if !s.id(filepath.Join(dir, "vendor"), &f.Vendor) || !s.id(filepath.Join(dir, "device"), &f.Product) {
		return
	}
	f.NUMA = s.numa(dir)
	f.Driver = s.tree.target(filepath.Join(dir, "driver"))
	var err error
	if f.Netdev, f.MAC, err = s.tree.netdev(dir); err != nil {
		s.problem(filepath.Join(dir, "net", f.Netdev, "address"), "%v", err)
	}
	s.found = append(s.found, pci.Found{Function: f})
	s.vpds = append(s.vpds, s.source(&f, dir))
}

func (s *scan) id(name string, id *pci.ID) bool {
	text, err := s.tree.text(name)
	if err == nil {
		*id, err = pci.ParseID(text)
	}
	if err != nil {
		s.problem(name, "%v", err)
	}
	return err == nil
}

func (s *scan) numa(dir string) int {
	name := filepath.Join(dir, "numa_node")
	node, err := s.tree.number(name)
	switch {
	case missing(err): // a kernel without NUMA
		return -1
	case err != nil:
		s.problem(name, "%v", err)
		return -1
	case node < -1:
		s.problem(name, "%d is not a NUMA node", node)
		return -1
	}
	return node
}

// sriov reads what makes a function a PF, and its links to VFs.
func (s *scan) sriov(f *pci.Function, dir string) {
	total, err := s.tree.number(filepath.Join(dir, "sriov_totalvfs"))
	if err != nil || total <= 0 {
		if err != nil && !missing(err) {
			s.problem(filepath.Join(dir, "sriov_totalvfs"), "%v", err)
		}
		return
	}
	f.Kind, f.TotalVFs = pci.PF, total
	name := filepath.Join(dir, "sriov_numvfs")
	if f.NumVFs, err = s.tree.number(name); err != nil || f.NumVFs < 0 || f.NumVFs > total {
		if err == nil {
			s.problem(name, "%d of %d VFs are impossible", f.NumVFs, total)
		} else {
			s.problem(name, "%v", err)
		}
		f.NumVFs = 0
	}
	if text, err := s.tree.text(filepath.Join(dir, "sriov_vf_device")); err == nil {
		if f.VFDevice, err = pci.ParseID(text); err != nil {
			s.problem(filepath.Join(dir, "sriov_vf_device"), "%v", err)
		}
	} else if !missing(err) {
		s.problem(filepath.Join(dir, "sriov_vf_device"), "%v", err)
	}
	s.links(f, dir)
}

// links reads the PF's links virtfnN. The number of a VF stands nowhere else.
func (s *scan) links(f *pci.Function, dir string) {
	names, err := list(filepath.Join(s.tree.root, dir))
	if err != nil {
		s.problem(dir, "%v", reason(err))
		return
	}
	var numbers []int
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, "virtfn")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || strconv.Itoa(n) != digits {
			s.problem(filepath.Join(dir, name), "%q is not the number of a VF", digits)
			continue
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		s.link(f.Address, n, filepath.Join(dir, "virtfn"+strconv.Itoa(n)))
		if i > 0 && n > numbers[i-1]+1 || i == 0 && n > 0 {
			s.problem(filepath.Join(dir, "virtfn"+strconv.Itoa(n-1)), "is missing, although there is a VF %d", n)
		}
	}
	if len(numbers) != f.NumVFs {
		s.problem(filepath.Join(dir, "sriov_numvfs"), "says %d VFs, but there are %d links to VFs", f.NumVFs, len(numbers))
	}
}

func (s *scan) link(pf pci.Address, number int, name string) {
	to, err := os.Readlink(filepath.Join(s.tree.root, name))
	if err != nil {
		s.problem(name, "%v", reason(err))
		return
	}
	vf, err := pci.ParseAddress(filepath.Base(to))
	if err != nil {
		s.problem(name, "%v", err)
		return
	}
	if other, twice := s.numbers[vf]; twice {
		s.problem(name, "points at %s, which is VF %d of %s", vf, other.number, other.pf)
		return
	}
	s.numbers[vf] = vfLink{pf, number}
}

// number gives the VFs found their numbers.
func (s *scan) number() {
	for i := range s.found {
		f := &s.found[i].Function
		if f.Kind != pci.VF {
			continue
		}
		link, ok := s.numbers[f.Address]
		delete(s.numbers, f.Address)
		dir := filepath.Join(devices, f.Address.String())
		switch {
		case !ok:
			s.problem(dir, "no virtfn link of %s points at it, so its VF number is unknown", f.Parent)
		case link.pf != f.Parent:
			s.problem(dir, "it names %s as its PF, but virtfn%d of %s points at it", f.Parent, link.number, link.pf)
		default:
			f.Number = link.number
		}
	}
	lost := make([]string, 0, len(s.numbers))
	for vf, link := range s.numbers {
		lost = append(lost, filepath.Join(devices, link.pf.String(), "virtfn"+strconv.Itoa(link.number))+": points at "+vf.String()+", which was not found")
	}
	slices.Sort(lost)
	s.problems = append(s.problems, lost...)
}

// netdev returns the name and the MAC of the network device of the function in dir, or empty texts. Of several, it is the one that is not
// the representor of a VF or SF, and the first by interface index. The error says that the MAC makes no sense.
func (t *Tree) netdev(dir string) (name, mac string, err error) {
	names, err := list(filepath.Join(t.root, dir, "net"))
	if err != nil {
		return "", "", nil //nolint:nilerr // no driver, or one that is not for networks
	}
	if len(names) == 1 {
		name = names[0]
	} else {
		name = t.uplink(dir, names)
	}
	if name == "" {
		return "", "", nil
	}
	text, err := t.text(filepath.Join(dir, "net", name, "address"))
	if err != nil {
		return name, "", err
	}
	hw, err := net.ParseMAC(text)
	switch {
	case err != nil:
		return name, "", fmt.Errorf("%q is not a MAC", text)
	case len(hw) != 6 || hw.String() == "00:00:00:00:00:00": // InfiniBand, or a VF that has none yet
		return name, "", nil
	}
	return name, hw.String(), nil
}

// uplink picks the function's own network device from several.
func (t *Tree) uplink(dir string, names []string) string {
	best, lowest := "", 0
	for _, n := range names {
		at := filepath.Join(dir, "net", n)
		// A phys_port_name that cannot be read is that of a device without ports.
		if port, err := t.text(filepath.Join(at, "phys_port_name")); err == nil && representor(port) {
			continue
		}
		index, err := t.number(filepath.Join(at, "ifindex"))
		if err != nil {
			continue // it is just going away
		}
		if best == "" || index < lowest {
			best, lowest = n, index
		}
	}
	return best
}

// representor tells whether a phys_port_name is that of a function's representor: pf0, pf0vf1, c1pf0sf3. An uplink is p0 or p0s1.
func representor(port string) bool {
	return strings.Contains(port, "pf")
}
