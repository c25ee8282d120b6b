package host

import (
	"fmt"
	"net"
	"slices"

	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/pci/vpd"
)

// Card is a card to be plugged.
type Card struct {
	PFs []PF
}

// PF is a physical function of a card, with its VFs.
type PF struct {
	Address  pci.Address
	Vendor   pci.ID
	Product  pci.ID
	NUMA     int // -1 for none
	Driver   string
	Netdev   string // name of its network device; none if empty
	MAC      string
	PortName string // phys_port_name of the network device
	VPD      []byte // nil: the function has no VPD

	TotalVFs int // 0: the function has no SR-IOV
	NumVFs   int
	VFDevice pci.ID
	VFDriver string
	VFNetdev string         // the VFs' network devices have this name and the VF's number; none if empty
	VFVPD    map[int][]byte // VPD of the VFs that have one of their own, by number

	// VF n is at Offset plus n times Stride behind the PF, or at VFs[n] if VFs is set.
	Offset, Stride int
	VFs            []pci.Address
}

// VF returns the address of a VF by its number.
func (p *PF) VF(n int) (pci.Address, error) {
	if p.VFs != nil {
		if n >= len(p.VFs) {
			return pci.Address{}, fmt.Errorf("VF %d of %s has no address", n, p.Address)
		}
		return p.VFs[n], nil
	}
	a, ok := p.Address.Offset(p.Offset + n*p.Stride)
	if !ok {
		return pci.Address{}, fmt.Errorf("VF %d of %s is beyond its domain", n, p.Address)
	}
	return a, nil
}

func (c *Card) clone() *Card { return &Card{PFs: slices.Clone(c.PFs)} }

func (c *Card) pf(a pci.Address) *PF {
	for i := range c.PFs {
		if c.PFs[i].Address == a {
			return &c.PFs[i]
		}
	}
	return nil
}

// BlueField describes a BlueField-3 card.
type BlueField struct {
	Serial string
	UUID   string // 32 hex digits
	Bus    uint8
	NUMA   int
	MAC    string // of the first PF; the others have the following ones
	PFs    int
	VFs    int // of each PF
}

// maxVFs is how many VFs each PF of a BlueField can have.
const maxVFs = 127

// BlueField3 returns a card in its DPU mode, as its host sees it. VF 1 of each PF has a VPD of its own, with the card's serial number.
func BlueField3(b BlueField) (Card, error) {
	mac, err := net.ParseMAC(b.MAC)
	if err != nil || len(mac) != 6 {
		return Card{}, fmt.Errorf("simulated BlueField-3: MAC %q is none", b.MAC)
	}
	data, err := BlueFieldVPD(b.Serial, b.UUID)
	if err != nil {
		return Card{}, err
	}
	var c Card
	for n := range b.PFs {
		c.PFs = append(c.PFs, PF{
			Address: pci.Address{Bus: b.Bus, Function: uint8(n)}, Vendor: 0x15b3, Product: 0xa2dc, NUMA: b.NUMA, Driver: "mlx5_core",
			Netdev: fmt.Sprintf("enp%ds0f%dnp%d", b.Bus, n, n), MAC: mac.String(), PortName: fmt.Sprintf("p%d", n), VPD: data,
			TotalVFs: maxVFs, NumVFs: b.VFs, VFDevice: 0x101e, VFDriver: "mlx5_core", VFNetdev: fmt.Sprintf("enp%ds0f%dv", b.Bus, n),
			VFVPD: map[int][]byte{1: data}, Offset: 3 + n*(maxVFs-1), Stride: 1,
		})
		for i := len(mac) - 1; i >= 0; i-- {
			if mac[i]++; mac[i] != 0 {
				break
			}
		}
	}
	return c, nil
}

// BlueFieldVPD returns the Vital Product Data of a BlueField-3.
func BlueFieldVPD(serial, uuid string) ([]byte, error) {
	vendor := func(x byte, value string) vpd.Field { return vpd.Field{Keyword: vpd.Keyword{'V', x}, Value: value} }
	return vpd.Append(nil, &vpd.VPD{
		Name: "BlueField-3 P-Series DPU 200GbE/NDR200 VPI dual-port QSFP112", Free: 0,
		Fields: []vpd.Field{
			{Keyword: vpd.PartNumber, Value: "900-9D3B6-00CV-AA0"}, {Keyword: vpd.EngineeringChange, Value: "A7"}, {Keyword: vpd.SerialNumber, Value: serial},
			vendor('0', "PCIeGen5 x16"), vendor('2', "900-9D3B6-00CV-AA0"), vendor('3', uuid), vendor('A', "MLX:MN=MLNX:CSKU=V2:UUID=V3:PCI=V0:MODL=D3B6"),
		},
	})
}
