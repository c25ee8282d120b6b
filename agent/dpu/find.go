package dpu

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/devlink"
)

// obstacle is why an order cannot be carried out now.
type obstacle struct {
	state  string // wire.Waiting or wire.Failed
	reason string
	again  time.Duration // look again after this even if nothing changes; 0 for not
	doubt  bool          // it is not known that the representor is another one than before: what is plugged stays
}

func waiting(format string, args ...any) *obstacle {
	return &obstacle{state: wire.Waiting, reason: fmt.Sprintf(format, args...)}
}

func failed(format string, args ...any) *obstacle {
	return &obstacle{state: wire.Failed, reason: fmt.Sprintf(format, args...)}
}

// Highest numbers that a VF (PCIe 9.3.3.6) and an SF (devlink) can have.
const (
	maxVF = 1<<16 - 1
	maxSF = 1<<32 - 1
)

// finder finds the representors that orders name.
type finder struct {
	ports
	settle time.Duration
	now    time.Time
}

// find returns the representor of the function that an order names, or why there is none.
func (f *finder) find(o order) (devlink.Port, *obstacle) {
	mac, err := net.ParseMAC(o.PFMAC)
	if err != nil || len(mac) != 6 {
		return devlink.Port{}, failed("pf_mac %q is no Ethernet address", o.PFMAC)
	}
	if err := checkNumber(o.Order); err != nil {
		return devlink.Port{}, failed("%v", err)
	}
	if f.table == nil {
		o := waiting("devlink, which cannot be read: %v", f.err)
		o.doubt = true
		return devlink.Port{}, o
	}
	pf, err := f.table.HostPF(mac)
	if err != nil {
		return devlink.Port{}, f.noPF(mac, err)
	}
	function := pf.Function
	switch o.Kind {
	case wire.KindVF:
		function = function.VF(uint16(o.Number))
	case wire.KindSF:
		function = function.SF(uint32(o.Number))
	}
	port, err := f.table.Lookup(function)
	switch {
	case errors.Is(err, devlink.ErrAmbiguous):
		return devlink.Port{}, failed("%v", err)
	case err != nil:
		return devlink.Port{}, waiting("the representor: %v", err)
	}
	return port, nil
}

// checkNumber refuses a number that no function of the kind can have.
func checkNumber(o wire.Order) error {
	highest := 0
	switch o.Kind {
	case wire.KindVF:
		highest = maxVF
	case wire.KindSF:
		highest = maxSF
	case wire.KindPF:
	default:
		return fmt.Errorf("kind %q is unknown: want %s, %s or %s", o.Kind, wire.KindVF, wire.KindPF, wire.KindSF)
	}
	if o.Number < 0 || o.Number > highest {
		return fmt.Errorf("number %d: that of a %s is from 0 to %d", o.Number, o.Kind, highest)
	}
	return nil
}

// noPF says why the PF is not there. While the card starts its PFs come one after another, so that one is missing is final only once their list
// has not changed for a while, and tells the address of each.
func (f *finder) noPF(mac net.HardwareAddr, err error) *obstacle {
	if errors.Is(err, devlink.ErrAmbiguous) {
		return failed("%v", err)
	}
	known, doubt := false, false
	for _, p := range f.table.Ports() {
		if p.Flavour == devlink.FlavourPCIPF {
			mac := f.table.HostMAC(p.Function)
			known, doubt = known || mac != nil, doubt || mac == nil
		}
	}
	quiet := f.now.Sub(f.since)
	if known && !doubt && quiet >= f.settle {
		return failed("no host that this card serves has a PF with address %s: %v", mac, err)
	}
	o := waiting("a host's PF with address %s: %v", mac, err)
	o.doubt = doubt
	if quiet < f.settle {
		o.again = f.settle - quiet
	}
	return o
}
