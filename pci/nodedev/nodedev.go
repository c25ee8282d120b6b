// Package nodedev finds the PCI functions of a host in libvirt's node devices, the way a compute service does that has libvirt and no look
// at sysfs. What it finds is what pci/sysfs finds on the same machine, as far as libvirt tells: of a PF without VFs it does not know the
// VFs' device identifier, and of a card whose VPD is not valid it knows only that.
package nodedev

import (
	"context"
	"fmt"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/riser-project/riser/pci"
)

// Document is the XML of one node device.
type Document struct {
	Name string // libvirt's name of the device, such as pci_0000_82_00_0
	XML  string // empty if it could not be had
	Err  error  // why the XML could not be had, or is an earlier one
}

// List returns the XML of a host's node devices: at least those with the capabilities pci, net and system.
type List func(ctx context.Context) ([]Document, error)

// Scan finds the functions in the node devices that list returns: network controllers, and functions with SR-IOV and their VFs. A document
// that cannot be had or read is a problem of the host. The error is that of list.
func Scan(ctx context.Context, list List) (*pci.Host, error) {
	documents, err := list(ctx)
	if err != nil {
		return nil, fmt.Errorf("node devices: %w", err)
	}
	s := scan{
		numbers: map[pci.Address]vfPlace{}, netdevs: map[string][]netdev{}, names: map[pci.Address]string{},
		vfDevice: map[pci.Address]pci.ID{},
	}
	for _, d := range documents {
		if d.Err != nil {
			s.problem(d.Name, d.Err)
			if d.XML == "" {
				continue
			}
		}
		if err := s.read(d.XML); err != nil {
			s.problem(d.Name, err)
		}
	}
	s.join()
	host := pci.NewHost(s.found)
	if s.system != nil {
		host.SetSystem(s.system.UUID, s.system.Serial)
	}
	host.Problems = append(s.problems, host.Problems...)
	return host, nil
}

// scan is one look at the node devices.
type scan struct {
	found    []pci.Found
	names    map[pci.Address]string  // libvirt's names of the functions found
	numbers  map[pci.Address]vfPlace // of VFs, by their PFs' lists
	vfDevice map[pci.Address]pci.ID  // device identifier of the VFs, by PF
	netdevs  map[string][]netdev     // by libvirt's name of the function
	system   *libvirtxml.NodeDeviceSystemHardware
	problems []string
}

// vfPlace is what a PF's list of virtual functions says of one of them.
type vfPlace struct {
	pf     pci.Address
	number int
}

type netdev struct{ name, mac string }

func (s *scan) problem(device string, err error) {
	s.problems = append(s.problems, fmt.Sprintf("node device %s: %v", device, err))
}

func (s *scan) read(text string) error {
	var device libvirtxml.NodeDevice
	if err := device.Unmarshal(text); err != nil {
		rest, cut := withoutVPD(text)
		device = libvirtxml.NodeDevice{}
		if !cut || device.Unmarshal(rest) != nil {
			return fmt.Errorf("read its XML: %w", err)
		}
		s.problem(device.Name, fmt.Errorf("its VPD is left out: read its XML: %w", err))
	}
	switch c := device.Capability; {
	case c.System != nil:
		s.system = c.System.Hardware
	case c.Net != nil:
		s.netdevs[device.Parent] = append(s.netdevs[device.Parent], netdev{c.Net.Interface, c.Net.Address})
	case c.PCI != nil:
		return s.function(&device, c.PCI)
	}
	return nil
}

// withoutVPD cuts the VPD out of a document. Before version 10.1, libvirt does not escape the characters <, > and & in it.
func withoutVPD(text string) (rest string, cut bool) {
	before, vpd, ok := strings.Cut(text, vpdCapability)
	if !ok {
		return "", false
	}
	_, after, ok := strings.Cut(vpd, "</capability>")
	return before + after, ok
}

// vpdCapability begins the VPD in libvirt's XML.
const vpdCapability = "<capability type='vpd'>"
