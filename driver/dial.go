package driver

import (
	"net/netip"
	"syscall"

	"github.com/riser-project/riser/fault"
)

// Allow is asked for each address before it is dialled, after its name was resolved. Its error keeps the driver from dialling.
type Allow func(netip.AddrPort) error

// AllowUnicast allows all addresses that a management controller can have: not link-local ones, where clouds keep their metadata, nor multicast,
// nor unspecified ones. The error is fault.Invalid.
func AllowUnicast(a netip.AddrPort) error {
	if ip := a.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return fault.New(fault.Invalid, "address %s cannot be that of a management controller", ip)
	}
	return nil
}

// Control is allow as net.Dialer.Control.
func (allow Allow) Control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return allow(a)
}
