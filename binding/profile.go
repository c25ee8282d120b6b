package binding

import (
	"context"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// Device is what uses a port.
type Device struct {
	ID    string // of the instance
	Owner string // "compute:nova"
}

// BindProfile binds a port to a function that somebody else has chosen and named in the port's binding profile, as Nova does, within tx. The
// function is claimed for the port.
//
// When the port cannot be bound, it shows binding_failed with the reason, as Neutron's does, and the error is nil.
func (b *Binder) BindProfile(ctx context.Context, tx *store.Tx, port, host string, d Device) error {
	p, err := tx.VPortForUpdate(ctx, port)
	if err != nil {
		return err
	}
	if p.VNICType == network.VNICRemoteManaged && !p.Profile.Bound {
		p.HostID, p.DeviceID, p.DeviceOwner = host, d.ID, d.Owner
		return tx.SaveVPort(ctx, p) // unbound until the profile comes
	}
	if p.HostID != "" { // as left by an attempt before
		p.HostID = ""
		if err := tx.SaveVPort(ctx, p); err != nil {
			return err
		}
	}
	c, err := claimProfile(ctx, tx, p, host, d.ID)
	if err != nil {
		return failed(ctx, tx, p, host, d, err)
	}
	if err := b.Bind(ctx, tx, c, d.Owner); err != nil {
		if !fault.Is(err, fault.Conflict) {
			return err
		}
		if err := tx.FreeClaim(ctx, c.UUID); err != nil {
			return err
		}
		return failed(ctx, tx, p, host, d, err)
	}
	return nil
}

// claimProfile claims the function that the port's profile names.
func claimProfile(ctx context.Context, tx *store.Tx, p *store.VPort, host, server string) (*store.Claim, error) {
	refuse := func(format string, args ...any) error { return fault.New(fault.Conflict, format, args...) }
	if p.VNICType != network.VNICRemoteManaged {
		return nil, refuse("ports of VNIC type %s are not bound here: want %s", p.VNICType, network.VNICRemoteManaged)
	}
	pfs, err := tx.HostPFs(ctx, store.PFQuery{Hosts: []string{host}, Serial: p.Profile.CardSerial})
	if err != nil {
		return nil, err
	}
	for _, pf := range pfs {
		if pf.MAC != p.Profile.PFMAC {
			continue
		}
		address, _, ok := pf.VF(p.Profile.VF)
		if !ok || address != p.Profile.PCISlot {
			return nil, refuse("VF %d of PF %s on host %s is at %q, not at pci_slot %s", p.Profile.VF, pf.Address, host, address, p.Profile.PCISlot)
		}
		c := &store.Claim{UUID: uuid.NewString(), Key: host + "/" + p.ID, Port: p.ID, Server: server, VF: p.Profile.VF}
		return c, tx.ClaimOn(ctx, pf, c)
	}
	return nil, refuse("host %s reports no PF with MAC %s on card %s", host, p.Profile.PFMAC, p.Profile.CardSerial)
}

// failed shows on the port why it could not be bound.
func failed(ctx context.Context, tx *store.Tx, p *store.VPort, host string, d Device, cause error) error {
	if !fault.Is(cause, fault.Conflict) && !fault.Is(cause, fault.NotFound) {
		return cause
	}
	p.HostID, p.DeviceID, p.DeviceOwner, p.VIFType = host, d.ID, d.Owner, network.VIFFailed
	p.Status, p.StatusReason = network.StatusDown, cause.Error()
	return tx.SaveVPort(ctx, p)
}
