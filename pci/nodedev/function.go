package nodedev

import (
	"fmt"
	"net"
	"regexp"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/vpd"
)

// classNetwork is the first byte of the class code of network controllers (PCI Code and ID Assignment 1.3).
const classNetwork = "0x02"

// function takes over a PCI function, if it is one that matters.
func (s *scan) function(device *libvirtxml.NodeDevice, c *libvirtxml.NodeDevicePCICapability) error {
	address, err := addressOf(c.Domain, c.Bus, c.Slot, c.Function)
	if err != nil {
		return err
	}
	found := pci.Found{Function: pci.Function{Address: address, Number: -1, NUMA: -1}}
	f := &found.Function
	for _, sub := range c.Capabilities {
		switch {
		case sub.VirtFunctions != nil:
			f.Kind, f.TotalVFs = pci.PF, sub.VirtFunctions.MaxCount
			f.NumVFs = s.list(address, sub.VirtFunctions.Address)
		case sub.PhysFunction != nil:
			f.Kind = pci.VF
			a := sub.PhysFunction.Address
			if f.Parent, err = addressOf(a.Domain, a.Bus, a.Slot, a.Function); err != nil {
				return fmt.Errorf("its physical function: %w", err)
			}
		case sub.VPD != nil:
			id := identity(sub.VPD)
			found.Identity = &id
		}
	}
	if f.Kind == pci.Device && !strings.HasPrefix(c.Class, classNetwork) {
		return nil
	}
	if f.Vendor, err = pci.ParseID(c.Vendor.ID); err != nil {
		return fmt.Errorf("vendor: %w", err)
	}
	if f.Product, err = pci.ParseID(c.Product.ID); err != nil {
		return fmt.Errorf("product: %w", err)
	}
	if c.NUMA != nil {
		f.NUMA = max(c.NUMA.Node, -1)
	}
	if device.Driver != nil {
		f.Driver = device.Driver.Name
	}
	if found.Identity == nil && f.Kind != pci.VF {
		found.Identity = &pci.Identity{Problem: "libvirt shows no VPD: there is none, or it is not valid"}
	}
	s.names[address] = device.Name
	s.found = append(s.found, found)
	return nil
}

// addressOf makes an address of the parts that libvirt writes apart.
func addressOf(domain, bus, slot, function *uint) (pci.Address, error) {
	if domain == nil || bus == nil || slot == nil || function == nil {
		return pci.Address{}, fmt.Errorf("a part of its address is missing")
	}
	return pci.ParseAddress(fmt.Sprintf("%04x:%02x:%02x.%x", *domain, *bus, *slot, *function))
}

// list notes a PF's VFs, whose order is that of their numbers, and returns how many there are.
func (s *scan) list(pf pci.Address, vfs []libvirtxml.NodeDevicePCIAddress) int {
	for number, vf := range vfs {
		a, err := addressOf(vf.Domain, vf.Bus, vf.Slot, vf.Function)
		if err != nil {
			s.problems = append(s.problems, fmt.Sprintf("%s: its VF %d: %v", pf, number, err))
			continue
		}
		if other, twice := s.numbers[a]; twice {
			s.problems = append(s.problems, fmt.Sprintf("%s: its VF %d is %s, which is VF %d of %s", pf, number, a, other.number, other.pf))
			continue
		}
		s.numbers[a] = vfPlace{pf, number}
	}
	return len(vfs)
}

// identity returns what a VPD says of its card.
func identity(c *libvirtxml.NodeDevicePCIVPDCapability) pci.Identity {
	v := vpd.VPD{Name: c.Name}
	if ro := c.ReadOnly; ro != nil {
		add := func(k vpd.Keyword, value string) {
			v.Fields = append(v.Fields, vpd.Field{Section: vpd.ReadOnly, Keyword: k, Text: true, Value: value})
		}
		add(vpd.EngineeringChange, ro.ChangeLevel)
		add(vpd.PartNumber, ro.PartNumber)
		add(vpd.SerialNumber, ro.SerialNumber)
		for _, f := range ro.VendorFields {
			if len(f.Index) == 1 {
				add(vpd.Keyword{'V', f.Index[0]}, f.Value)
			}
		}
	}
	return v.Identity()
}

// join gives VFs their numbers, PFs the identifier of their VFs, and functions their network devices.
func (s *scan) join() {
	for i := range s.found {
		f := &s.found[i].Function
		if f.Kind != pci.VF {
			continue
		}
		switch place, ok := s.numbers[f.Address]; {
		case !ok:
			s.problems = append(s.problems, fmt.Sprintf("%s: it is not in the list of VFs of %s, so its VF number is unknown", f.Address, f.Parent))
		case place.pf != f.Parent:
			s.problems = append(s.problems, fmt.Sprintf("%s: it names %s as its PF, but is VF %d of %s", f.Address, f.Parent, place.number, place.pf))
		default:
			f.Number = place.number
			s.vfDevice[f.Parent] = f.Product
		}
	}
	for i := range s.found {
		f := &s.found[i].Function
		f.VFDevice = s.vfDevice[f.Address]
		n, ok := pick(s.netdevs[s.names[f.Address]])
		if !ok {
			continue
		}
		f.Netdev = n.name
		hw, err := net.ParseMAC(n.mac)
		switch {
		case err != nil:
			s.problems = append(s.problems, fmt.Sprintf("%s: the address %q of %s is not a MAC", f.Address, n.mac, n.name))
		case len(hw) == 6 && hw.String() != "00:00:00:00:00:00": // not InfiniBand, and not a VF that has none yet
			f.MAC = hw.String()
		}
	}
}

// representor matches the end of the name that udev gives to the representor of a function.
var representor = regexp.MustCompile(`(c[0-9]+)?pf[0-9]+((vf|sf)[0-9]+)?$`)

// pick returns the function's own network device: the first by name that is no representor.
func pick(all []netdev) (best netdev, ok bool) {
	for _, n := range all {
		if len(all) > 1 && representor.MatchString(n.name) {
			continue
		}
		if !ok || n.name < best.name {
			best, ok = n, true
		}
	}
	return best, ok
}
