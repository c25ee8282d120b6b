package devlinksim

import (
	"fmt"
	"net"
	"strconv"

	"github.com/riser-project/riser/devlink"
)

// uplinkIndex is the port index that mlx5 gives an uplink.
const uplinkIndex = 65535

// Card is a DPU card as its own Linux sees it: per uplink one devlink instance with a physical port, and, per host, a
// PF with its VFs, which are functions of an external controller.
type Card struct {
	Serial     string
	PartNumber string
	Address    string // PCI address of the first function inside the DPU; "0000:03:00" if ""

	// Hosts holds, per host that the card serves, the address of each of its PFs. Host n is external controller n+1,
	// and the PF at position u hangs on uplink u.
	Hosts [][]net.HardwareAddr
	VFs   int // per PF

	// NoPFAddress leaves out the function hw_addr of the PFs, as kernels before 5.9 do.
	NoPFAddress bool
}

// AddCard adds the instances and ports of a card. Representors are named like the kernel's phys_port_name: p0, c1pf0,
// c1pf0vf3.
func (k *Kernel) AddCard(c Card) {
	address := c.Address
	if address == "" {
		address = "0000:03:00"
	}
	uplinks := 0
	for _, pfs := range c.Hosts {
		uplinks = max(uplinks, len(pfs))
	}
	for u := range uplinks {
		h := devlink.Handle{Bus: "pci", Device: address + "." + strconv.Itoa(u)}
		k.AddDevice(Device{
			Handle: h, Driver: "mlx5_core", Serial: c.Serial, BoardSerial: c.Serial,
			Fixed: map[string]string{"board.id": c.PartNumber},
		})
		k.SetPort(devlink.Port{
			ID: devlink.PortID{Handle: h, Index: uplinkIndex}, Flavour: devlink.FlavourPhysical, Type: devlink.TypeEthernet,
			Netdev: fmt.Sprintf("p%d", u), Number: u,
		})
		for host, pfs := range c.Hosts {
			if u < len(pfs) {
				k.addPF(c, h, uint32(host+1), uint16(u), pfs[u])
			}
		}
	}
}

func (k *Kernel) addPF(c Card, h devlink.Handle, controller uint32, number uint16, mac net.HardwareAddr) {
	pf := devlink.Function{Handle: h, Controller: controller, External: true, Kind: devlink.KindPF, PF: number}
	name := fmt.Sprintf("c%dpf%d", controller, number)
	port := FunctionPort(pf, name)
	if c.NoPFAddress {
		port.HWAddr = nil
	} else {
		port.HWAddr = mac
	}
	k.SetPort(port)
	for v := range c.VFs {
		k.SetPort(FunctionPort(pf.VF(uint16(v)), fmt.Sprintf("%svf%d", name, v)))
	}
}

// FunctionPort returns the port that represents a function: Ethernet, its own address all zeros, an SF inactive and
// detached. Its index is unique among the functions of a card.
func FunctionPort(f devlink.Function, netdev string) devlink.Port {
	p := devlink.Port{
		ID:   devlink.PortID{Handle: f.Handle, Index: f.Controller<<24 | uint32(f.PF)<<20 | uint32(f.Kind)<<16 | f.Number},
		Type: devlink.TypeEthernet, Netdev: netdev, Number: -1, Function: f, HWAddr: make(net.HardwareAddr, 6),
	}
	switch f.Kind {
	case devlink.KindVF:
		p.Flavour = devlink.FlavourPCIVF
	case devlink.KindSF:
		p.Flavour = devlink.FlavourPCISF
		p.State, p.OpState = devlink.StateInactive, devlink.OpStateDetached
	default:
		p.Flavour = devlink.FlavourPCIPF
	}
	return p
}
