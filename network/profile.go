package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/riser-project/riser/fault"
)

// Profile is a port's binding:profile. The six keys of a remote-managed port are typed; all others are kept as they came.
type Profile struct {
	PCIVendorInfo   string  // pci_vendor_info, "15b3:101e"
	PCISlot         string  // pci_slot, the VF's address on the host
	PhysicalNetwork *string // physical_network, null for an overlay network
	CardSerial      string  // card_serial_number
	PFMAC           string  // pf_mac_address, of the host's PF
	VF              int     // vf_num, an integer from 0

	Bound bool                       // the six keys are present
	Other map[string]json.RawMessage // keys that riser does not interpret
}

// keys are the six, in the order in which Neutron's documents name them.
var keys = [...]string{"pci_vendor_info", "pci_slot", "physical_network", "card_serial_number", "pf_mac_address", "vf_num"}

// transient keys are written by a binding and taken away with it, besides the six.
var transient = [...]string{"allocation", "arq_uuid", "device_mac_address", "capabilities"}

var (
	vendorInfo = regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{4}$`)
	pciSlot    = regexp.MustCompile(`^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`)
)

// UnmarshalJSON reads a binding:profile. As soon as one of the six keys is present, all must be, each of its type: vf_num is an integer, and text
// such as "3" is refused, as Neutron refuses it. The error is fault.Invalid and names the key.
func (p *Profile) UnmarshalJSON(b []byte) error {
	*p = Profile{}
	if string(bytes.TrimSpace(b)) == "null" {
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(b, &m); err != nil {
		return fault.New(fault.Invalid, "Invalid binding:profile. It must be an object.")
	}
	have := 0
	for _, k := range keys {
		if _, ok := m[k]; ok {
			have++
		}
	}
	if have > 0 {
		if have < len(keys) {
			return fault.New(fault.Invalid, "Invalid binding:profile. %s are all required.", strings.Join(keys[:], ", "))
		}
		if err := p.parse(m); err != nil {
			return err
		}
	}
	for k, v := range m {
		if !slices.Contains(keys[:], k) {
			if p.Other == nil {
				p.Other = map[string]json.RawMessage{}
			}
			p.Other[k] = v
		}
	}
	return nil
}

func (p *Profile) parse(m map[string]json.RawMessage) error {
	for k, dest := range map[string]any{
		"pci_vendor_info": &p.PCIVendorInfo, "pci_slot": &p.PCISlot, "card_serial_number": &p.CardSerial, "pf_mac_address": &p.PFMAC, "vf_num": &p.VF,
	} {
		if err := json.Unmarshal(m[k], dest); err != nil || string(m[k]) == "null" {
			return wrongType(k, m[k])
		}
	}
	if err := json.Unmarshal(m["physical_network"], &p.PhysicalNetwork); err != nil {
		return wrongType("physical_network", m["physical_network"])
	}
	p.Bound = true
	return p.Check()
}

func wrongType(key string, v json.RawMessage) error {
	return fault.New(fault.Invalid, "Invalid binding:profile. %s %s value invalid type", key, v)
}

// Check returns fault.Invalid unless the six keys of a bound profile are well formed.
func (p *Profile) Check() error {
	bad := func(key string, v any, want string) error {
		return fault.New(fault.Invalid, "Invalid binding:profile. %s %q is not %s", key, fmt.Sprint(v), want)
	}
	mac, err := net.ParseMAC(p.PFMAC)
	switch {
	case !p.Bound:
		return nil
	case !vendorInfo.MatchString(p.PCIVendorInfo):
		return bad("pci_vendor_info", p.PCIVendorInfo, "vendor:product in hexadecimal, as in 15b3:101e")
	case !pciSlot.MatchString(p.PCISlot):
		return bad("pci_slot", p.PCISlot, "a PCI address, as in 0000:82:00.4")
	case p.CardSerial == "":
		return bad("card_serial_number", p.CardSerial, "a serial number")
	case err != nil || len(mac) != 6:
		return bad("pf_mac_address", p.PFMAC, "a MAC address")
	case p.VF < 0:
		return bad("vf_num", p.VF, "a VF number, 0 or more")
	}
	p.PFMAC = mac.String()
	return nil
}

// MarshalJSON writes the profile, the six keys only when it is bound.
func (p Profile) MarshalJSON() ([]byte, error) {
	m := map[string]any{}
	for k, v := range p.Other {
		m[k] = v
	}
	if p.Bound {
		m["pci_vendor_info"] = p.PCIVendorInfo
		m["pci_slot"] = p.PCISlot
		m["physical_network"] = p.PhysicalNetwork
		m["card_serial_number"] = p.CardSerial
		m["pf_mac_address"] = p.PFMAC
		m["vf_num"] = p.VF
	}
	return json.Marshal(m)
}

// Unbound returns the profile without what a binding wrote. Unlike Nova's, nothing of the old card stays behind.
func (p Profile) Unbound() Profile {
	u := Profile{}
	for k, v := range p.Other {
		if slices.Contains(transient[:], k) {
			continue
		}
		if u.Other == nil {
			u.Other = map[string]json.RawMessage{}
		}
		u.Other[k] = v
	}
	return u
}
