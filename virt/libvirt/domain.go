package libvirt

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"libvirt.org/go/libvirtxml"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/virt"
)

// XML returns the domain as Define gives it to libvirt (https://libvirt.org/formatdomain.html). The error is fault.Invalid for an address, a MAC or an image
// that cannot be one.
func (d *Driver) XML(v virt.Domain) (string, error) {
	x := &libvirtxml.Domain{
		Type: d.kind, Name: prefix + v.ID, UUID: v.ID, Title: oneLine(v.Name),
		Memory:   &libvirtxml.DomainMemory{Value: uint(max(v.MemoryMB, 1)), Unit: "MiB"},
		VCPU:     &libvirtxml.DomainVCPU{Value: uint(max(v.VCPUs, 1))},
		OS:       &libvirtxml.DomainOS{Type: &libvirtxml.DomainOSType{Arch: "x86_64", Type: "hvm"}},
		Features: &libvirtxml.DomainFeatureList{ACPI: &libvirtxml.DomainFeature{}},
		Devices:  &libvirtxml.DomainDeviceList{Consoles: []libvirtxml.DomainConsole{{Source: &libvirtxml.DomainChardevSource{Pty: &libvirtxml.DomainChardevSourcePty{}}}}},
	}
	if d.kind != "test" {
		x.OS.Type.Machine = "q35" // has slots for PCI Express functions
	}
	if v.Image != "" {
		disk, err := d.disk(v.Image)
		if err != nil {
			return "", err
		}
		x.Devices.Disks = []libvirtxml.DomainDisk{disk}
	}
	for _, f := range v.Functions {
		i, err := hostdev(f)
		if err != nil {
			return "", err
		}
		x.Devices.Interfaces = append(x.Devices.Interfaces, i)
	}
	return x.Marshal()
}

// oneLine is a title as libvirt wants it.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// disk is the image with an overlay that is thrown away.
func (d *Driver) disk(image string) (libvirtxml.DomainDisk, error) {
	if image != filepath.Base(image) || image == "." || image == ".." {
		return libvirtxml.DomainDisk{}, fault.New(fault.Invalid, "image %q: want the name of a file in %s", image, d.images)
	}
	format := "raw"
	if filepath.Ext(image) == ".qcow2" {
		format = "qcow2"
	}
	return libvirtxml.DomainDisk{
		Device: "disk", Driver: &libvirtxml.DomainDiskDriver{Name: "qemu", Type: format},
		Source:    &libvirtxml.DomainDiskSource{File: &libvirtxml.DomainDiskSourceFile{File: filepath.Join(d.images, image)}},
		Target:    &libvirtxml.DomainDiskTarget{Dev: "vda", Bus: "virtio"},
		Transient: &libvirtxml.DomainDiskTransient{ShareBacking: "yes"},
	}, nil
}

// hostdev is a function as an interface of a guest. It has no VLAN: what the traffic is tagged with is the card's matter, and it may refuse to be told by
// the host.
func hostdev(f virt.Function) (libvirtxml.DomainInterface, error) {
	a, err := pci.ParseAddress(f.Address)
	if err != nil {
		return libvirtxml.DomainInterface{}, fault.New(fault.Invalid, "function: %w", err)
	}
	if f.MAC == "" {
		return libvirtxml.DomainInterface{}, fault.New(fault.Invalid, "function %s: its port has no MAC", f.Address)
	}
	domain, bus, slot, function := uint(a.Domain), uint(a.Bus), uint(a.Slot), uint(a.Function)
	return libvirtxml.DomainInterface{
		Managed: "yes", MAC: &libvirtxml.DomainInterfaceMAC{Address: f.MAC},
		Source: &libvirtxml.DomainInterfaceSource{Hostdev: &libvirtxml.DomainInterfaceSourceHostdev{PCI: &libvirtxml.DomainHostdevSubsysPCISource{
			Address: &libvirtxml.DomainAddressPCI{Domain: &domain, Bus: &bus, Slot: &slot, Function: &function},
		}}},
	}, nil
}

// addressOf returns the address of the function that an interface is, or nothing for another kind of interface.
func addressOf(i *libvirtxml.DomainInterface) string {
	if i.Source == nil || i.Source.Hostdev == nil || i.Source.Hostdev.PCI == nil {
		return ""
	}
	return written(i.Source.Hostdev.PCI.Address)
}

func written(a *libvirtxml.DomainAddressPCI) string {
	if a == nil || a.Bus == nil || a.Slot == nil || a.Function == nil {
		return ""
	}
	domain := uint(0)
	if a.Domain != nil {
		domain = *a.Domain
	}
	return fmt.Sprintf("%04x:%02x:%02x.%x", domain, *a.Bus, *a.Slot, *a.Function)
}

// holds reports whether the domain has the function, as an interface or as a bare host device.
func holds(x *libvirtxml.Domain, address string) bool {
	if x.Devices == nil {
		return false
	}
	if slices.ContainsFunc(x.Devices.Interfaces, func(i libvirtxml.DomainInterface) bool { return addressOf(&i) == address }) {
		return true
	}
	return slices.ContainsFunc(x.Devices.Hostdevs, func(h libvirtxml.DomainHostdev) bool {
		return h.SubsysPCI != nil && h.SubsysPCI.Source != nil && written(h.SubsysPCI.Source.Address) == address
	})
}
