package devlink

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Table finds representors in one dump of ports. It is a value of the moment: build a new one after each change. The
// order of the ports makes no difference, and it is safe for concurrent use.
type Table struct {
	ports    []Port
	function map[Function]int // position in ports
	twin     map[Function]int // position of a second port that claims the same function
	pfs      []int            // every PF port, external ones first
	hostMAC  map[int][6]byte  // by position in ports: the address of the function behind a PF port
	problems map[int]string   // by position in ports: why a port cannot be found by what it represents
	children map[Function]int // how many VFs and SFs each PF has
}

// NewTable builds the table of a dump. legacy is asked for the address of a PF whose port reports none, and may be nil;
// [SysfsLegacyMAC] is the one for BlueField kernels that predate function hw_addr.
func NewTable(ports []Port, legacy LegacyMAC) *Table {
	t := &Table{
		ports:    slices.Clone(ports),
		function: make(map[Function]int, len(ports)),
		twin:     map[Function]int{},
		hostMAC:  map[int][6]byte{},
		problems: map[int]string{},
		children: map[Function]int{},
	}
	slices.SortFunc(t.ports, comparePorts)
	for i, p := range t.ports {
		switch f := p.Function; f.Kind {
		case KindNone:
			if p.Flavour == FlavourPCIPF || p.Flavour == FlavourPCIVF || p.Flavour == FlavourPCISF {
				t.problems[i] = fmt.Sprintf("the kernel gives flavour %s and not all of its numbers", p.Flavour)
			}
		case KindPF:
			t.add(f, i)
			t.pfs = append(t.pfs, i)
			t.resolvePF(i, legacy)
		default:
			t.add(f, i)
			t.children[f.Parent()]++
		}
	}
	slices.SortStableFunc(t.pfs, func(a, b int) int {
		return cmpBool(t.ports[b].Function.External, t.ports[a].Function.External)
	})
	return t
}

func (t *Table) add(f Function, i int) {
	if _, taken := t.function[f]; taken {
		t.twin[f] = i
		return
	}
	t.function[f] = i
}

func comparePorts(a, b Port) int {
	return cmp.Or(
		cmp.Compare(a.ID.Handle.Bus, b.ID.Handle.Bus),
		cmp.Compare(a.ID.Handle.Device, b.ID.Handle.Device),
		cmp.Compare(a.ID.Index, b.ID.Index),
	)
}

func cmpBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (t *Table) resolvePF(i int, legacy LegacyMAC) {
	mac := t.ports[i].HWAddr
	if isZero(mac) {
		var err error
		if mac, err = t.askLegacy(t.ports[i].Function, legacy); err != nil {
			t.problems[i] = fmt.Sprintf("the address of the PF is unknown: %v", err)
			return
		}
	}
	if len(mac) != 6 {
		t.problems[i] = fmt.Sprintf("the address %s of the PF is no Ethernet address", mac)
		return
	}
	t.hostMAC[i] = [6]byte(mac)
}

// askLegacy asks for a PF's address by the uplink with the PF's number, which is what BlueField's legacy file hangs on.
func (t *Table) askLegacy(pf Function, legacy LegacyMAC) (net.HardwareAddr, error) {
	if legacy == nil {
		return nil, fmt.Errorf("its port reports none")
	}
	for _, up := range t.ports {
		if up.ID.Handle == pf.Handle && up.Flavour == FlavourPhysical && up.Number == int(pf.PF) {
			mac, err := legacy(up)
			if err == nil && isZero(mac) {
				err = fmt.Errorf("%s reports none either", up.ID)
			}
			return mac, err
		}
	}
	return nil, fmt.Errorf("its port reports none, and there is no uplink with number %d", pf.PF)
}

// Lookup returns the representor of a function. The error is [ErrNoPort] where there is none, [ErrNoNetdev] where it
// has no network device yet (the port is returned with it), and [ErrAmbiguous] where two ports claim the function.
func (t *Table) Lookup(f Function) (Port, error) {
	i, ok := t.function[f]
	if !ok {
		return Port{}, fmt.Errorf("devlink: %s: %w: %s", f, ErrNoPort, t.whyNot(f))
	}
	p := t.ports[i]
	if j, ok := t.twin[f]; ok {
		return Port{}, fmt.Errorf("devlink: %s: %w: %s and %s", f, ErrAmbiguous, p.ID, t.ports[j].ID)
	}
	if p.Netdev == "" {
		return p, fmt.Errorf("devlink: %s: port %s: %w", f, p.ID, ErrNoNetdev)
	}
	return p, nil
}

// whyNot tells what the table has near a function that it has not.
func (t *Table) whyNot(f Function) string {
	if f.Kind == KindNone {
		return "no kind of function was named"
	}
	if _, ok := t.function[f.Parent()]; !ok {
		return "this kernel has no port for its PF either; PFs here: " + t.listPFs()
	}
	return fmt.Sprintf("its PF has %d VFs and SFs here", t.children[f.Parent()])
}

// HostPF returns the port of the PF whose own address is mac: the address that the host sees on its PF. PFs of external
// controllers come first; a PF of this side is considered only if no host has that address. The error is [ErrNoPort]
// where no PF has it, with the PFs that are there, and [ErrAmbiguous] where two have it, with both.
func (t *Table) HostPF(mac net.HardwareAddr) (Port, error) {
	if len(mac) != 6 || isZero(mac) {
		return Port{}, fmt.Errorf("devlink: PF with address %q: want an Ethernet address that is not zero", mac)
	}
	found := -1
	for _, i := range t.pfs {
		if have, ok := t.hostMAC[i]; !ok || !bytes.Equal(have[:], mac) {
			continue
		}
		if found < 0 {
			found = i
			continue
		}
		if t.ports[found].Function.External == t.ports[i].Function.External {
			return Port{}, fmt.Errorf("devlink: PF with address %s: %w: port %s (%s) and port %s (%s)", mac, ErrAmbiguous,
				t.ports[found].ID, t.ports[found].Function, t.ports[i].ID, t.ports[i].Function)
		}
	}
	if found < 0 {
		return Port{}, fmt.Errorf("devlink: PF with address %s: %w; PFs here: %s", mac, ErrNoPort, t.listPFs())
	}
	return t.ports[found], nil
}

func (t *Table) listPFs() string {
	if len(t.pfs) == 0 {
		return "none"
	}
	list := make([]string, 0, len(t.pfs))
	for _, i := range t.pfs {
		address := "address unknown"
		if mac, ok := t.hostMAC[i]; ok {
			address = net.HardwareAddr(mac[:]).String()
		}
		list = append(list, fmt.Sprintf("%s (%s)", t.ports[i].Function, address))
	}
	return strings.Join(list, ", ")
}

// HostMAC returns the own address of a PF of this table, from its port or from the legacy file, and nil where it is
// unknown.
func (t *Table) HostMAC(pf Function) net.HardwareAddr {
	i, ok := t.function[pf]
	if !ok {
		return nil
	}
	mac, ok := t.hostMAC[i]
	if !ok {
		return nil
	}
	return mac[:]
}

// Ports returns all ports, ordered by instance and index.
func (t *Table) Ports() []Port { return slices.Clone(t.ports) }

// Problem is a port that cannot be found by what it represents, and why.
type Problem struct {
	Port   Port
	Reason string
}

// Problems returns the ports that no lookup finds, or not by their PF's address, ordered by instance and index.
func (t *Table) Problems() []Problem {
	var out []Problem
	for i, p := range t.ports {
		if reason, ok := t.problems[i]; ok {
			out = append(out, Problem{Port: p, Reason: reason})
		}
	}
	return out
}

func isZero(mac net.HardwareAddr) bool {
	return !slices.ContainsFunc(mac, func(b byte) bool { return b != 0 })
}
