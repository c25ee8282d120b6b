package devlink

import (
	"fmt"
	"net"
	"strconv"

	"github.com/mdlayher/netlink"
)

// Flavour says what stands behind a port. The values are the kernel's.
type Flavour uint16

// The kernel's port flavours.
const (
	FlavourPhysical Flavour = iota
	FlavourCPU
	FlavourDSA
	FlavourPCIPF
	FlavourPCIVF
	FlavourVirtual
	FlavourUnused
	FlavourPCISF
)

var flavourNames = [...]string{"physical", "cpu", "dsa", "pcipf", "pcivf", "virtual", "unused", "pcisf"}

// String returns the flavour's name as devlink(8) prints it.
func (f Flavour) String() string {
	if int(f) < len(flavourNames) {
		return flavourNames[f]
	}
	return "flavour" + strconv.Itoa(int(f))
}

// Type is the kind of device that a port carries. The values are the kernel's.
type Type uint16

// The kernel's port types.
const (
	TypeNotSet Type = iota
	TypeAuto
	TypeEthernet
	TypeInfiniBand
)

var typeNames = [...]string{"notset", "auto", "eth", "ib"}

// String returns the type's name as devlink(8) prints it.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "type" + strconv.Itoa(int(t))
}

// State is the administrative state of a function.
type State uint8

// States of a function; most drivers report one for SFs alone.
const (
	StateUnknown State = iota // the kernel reports none
	StateInactive
	StateActive
)

// String returns the state's name as devlink(8) prints it.
func (s State) String() string {
	return [...]string{"unknown", "inactive", "active"}[min(s, StateActive)]
}

// OpState tells whether a driver holds the function.
type OpState uint8

// Operational states of a function; most drivers report one for SFs alone.
const (
	OpStateUnknown OpState = iota // the kernel reports none
	OpStateDetached
	OpStateAttached
)

// String returns the operational state's name as devlink(8) prints it.
func (s OpState) String() string {
	return [...]string{"unknown", "detached", "attached"}[min(s, OpStateAttached)]
}

// Port is one devlink port as the kernel describes it.
type Port struct {
	ID      PortID
	Flavour Flavour
	Type    Type
	Ifindex uint32 // of the network device; 0 where there is none
	Netdev  string // its name at the moment of the dump; "" where there is none
	Number  int    // number on the front of a physical port; -1 where the kernel gives none

	// Function is what the port represents. Its Kind is KindNone for a port that represents no PCI function, and also
	// where the kernel left out one of the function's numbers: a number that is missing is never taken for 0.
	Function Function
	HWAddr   net.HardwareAddr // the function's own address; nil where the kernel tells none, zeros where none was set
	State    State
	OpState  OpState
}

// Kind is the kind of a PCI function.
type Kind uint8

// Kinds of functions.
const (
	KindNone Kind = iota
	KindPF
	KindVF
	KindSF
)

// String returns pf, vf or sf.
func (k Kind) String() string { return [...]string{"none", "pf", "vf", "sf"}[min(k, KindSF)] }

// Function identifies one PCI function that a DPU shows to a host or to itself. It is comparable: two ports with the
// same Function represent the same function.
//
// Controller and External tell hosts apart. On a card that serves two hosts, PF 0 of controller 1 and PF 0 of
// controller 2 belong to two machines; controller 0, not external, is the card's own Linux. Kernels before 5.10 report
// neither; controller 0 and not external stand for that.
type Function struct {
	Handle     Handle
	Controller uint32
	External   bool
	Kind       Kind
	PF         uint16 // number of the PF, or of the PF that owns the VF or SF
	Number     uint32 // number of the VF or SF in its PF; 0 for a PF
}

// VF returns the identity of VF number n of the same PF.
func (f Function) VF(n uint16) Function { return f.sibling(KindVF, uint32(n)) }

// SF returns the identity of SF number n of the same PF.
func (f Function) SF(n uint32) Function { return f.sibling(KindSF, n) }

// Parent returns the identity of the PF that owns the function; a PF owns itself.
func (f Function) Parent() Function { return f.sibling(KindPF, 0) }

func (f Function) sibling(k Kind, n uint32) Function {
	f.Kind, f.Number = k, n
	return f
}

// String returns, for example, "pci/0000:03:00.0 controller 1 external pf 0 vf 3".
func (f Function) String() string {
	if f.Kind == KindNone {
		return "no function"
	}
	side := "local"
	if f.External {
		side = "external"
	}
	s := fmt.Sprintf("%s controller %d %s pf %d", f.Handle, f.Controller, side, f.PF)
	if f.Kind == KindPF {
		return s
	}
	return fmt.Sprintf("%s %s %d", s, f.Kind, f.Number)
}

// decodePort reads the attributes of a PORT_GET answer or a PORT_NEW or PORT_DEL notification.
func decodePort(data []byte) (Port, error) {
	d, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return Port{}, fmt.Errorf("port attributes: %w", err)
	}
	p := Port{Number: -1}
	var numbers functionNumbers
	var named, indexed bool
	for d.Next() {
		switch d.Type() {
		case attrBusName:
			p.ID.Handle.Bus = d.String()
		case attrDevName:
			p.ID.Handle.Device, named = d.String(), true
		case attrPortIndex:
			p.ID.Index, indexed = d.Uint32(), true
		case attrPortType:
			p.Type = Type(d.Uint16())
		case attrPortNetdevIfindex:
			p.Ifindex = d.Uint32()
		case attrPortNetdevName:
			p.Netdev = d.String()
		case attrPortFlavour:
			p.Flavour = Flavour(d.Uint16())
		case attrPortNumber:
			p.Number = int(d.Uint32())
		case attrPortFunction:
			d.Nested(p.decodeFunction)
		default:
			numbers.decode(d)
		}
	}
	if err := d.Err(); err != nil {
		return Port{}, fmt.Errorf("port %s: attributes: %w", p.ID, err)
	}
	if !named || !indexed {
		return Port{}, fmt.Errorf("port %s: the kernel gave no device name or no port index", p.ID)
	}
	p.Function = numbers.function(p.ID.Handle, p.Flavour)
	return p, nil
}

func (p *Port) decodeFunction(d *netlink.AttributeDecoder) error {
	for d.Next() {
		switch d.Type() {
		case attrFunctionHWAddr:
			p.HWAddr = net.HardwareAddr(d.Bytes())
		case attrFunctionState:
			if v := d.Uint8(); v <= 1 {
				p.State = State(v + 1)
			}
		case attrFunctionOpState:
			if v := d.Uint8(); v <= 1 {
				p.OpState = OpState(v + 1)
			}
		}
	}
	return nil
}

// functionNumbers keeps "absent" and "0" apart until the flavour is known; attributes come in any order.
type functionNumbers struct {
	controller uint32
	external   bool
	pf, vf     *uint16
	sf         *uint32
}

func (n *functionNumbers) decode(d *netlink.AttributeDecoder) {
	switch d.Type() {
	case attrPortController:
		n.controller = d.Uint32()
	case attrPortExternal:
		n.external = d.Uint8() != 0
	case attrPortPCIPF:
		n.pf = new(d.Uint16())
	case attrPortPCIVF:
		n.vf = new(d.Uint16())
	case attrPortPCISF:
		n.sf = new(d.Uint32())
	}
}

func (n *functionNumbers) function(h Handle, flavour Flavour) Function {
	if n.pf == nil {
		return Function{}
	}
	pf := Function{Handle: h, Controller: n.controller, External: n.external, Kind: KindPF, PF: *n.pf}
	switch {
	case flavour == FlavourPCIPF:
		return pf
	case flavour == FlavourPCIVF && n.vf != nil:
		return pf.VF(*n.vf)
	case flavour == FlavourPCISF && n.sf != nil:
		return pf.SF(*n.sf)
	}
	return Function{}
}
