package binding

import (
	"context"
	"fmt"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// Prepare binds a port to another host beside the one that it is bound to, within tx: a function there is claimed as profile names it, and its DPU is
// ordered to plug it, so that Activate has nothing to wait for (Networking API v2.0, extension binding-extended).
//
// The error is fault.Conflict when the port has a binding to that host already, and fault.Unsupported with the reason when the host cannot take it.
func (b *Binder) Prepare(ctx context.Context, tx *store.Tx, port, host, vnicType string, profile network.Profile) (*store.PortBinding, error) {
	p, err := tx.VPortForUpdate(ctx, port)
	if err != nil {
		return nil, err
	}
	others, err := tx.PortBindings(ctx, port, host)
	if err != nil {
		return nil, err
	}
	if p.HostID == host || len(others) > 0 {
		return nil, fault.New(fault.Conflict, "Binding for port %s on host %s already exists.", port, host)
	}
	e := &store.PortBinding{Port: port, Host: host, VNICType: vnicType, Profile: profile, VIFType: network.VIFUnbound}
	if profile.Bound || vnicType != network.VNICRemoteManaged {
		if err := b.preplug(ctx, tx, p, e); err != nil {
			return nil, err
		}
		e.VIFType = network.VIFOVS
	}
	return e, tx.SavePortBinding(ctx, e)
}

// preplug claims and orders what a binding names.
func (b *Binder) preplug(ctx context.Context, tx *store.Tx, p *store.VPort, e *store.PortBinding) error {
	there := *p
	there.VNICType, there.Profile = e.VNICType, e.Profile
	c, err := claimProfile(ctx, tx, &there, e.Host, p.DeviceID)
	if err != nil {
		return refused(e, err)
	}
	n, err := tx.Network(ctx, p.NetworkID)
	if err != nil {
		return err
	}
	if err := usable(ctx, tx, c, n); err != nil {
		return refused(e, err)
	}
	orders, err := tx.Orders(ctx, store.OrderQuery{Card: c.Card, Port: p.ID})
	if err != nil {
		return err
	}
	if len(orders) > 0 {
		return refused(e, fault.New(fault.Conflict, "card %s still has an order for the port", c.Card))
	}
	e.Profile = profileOf(e.Profile, c)
	p.Generation++
	if err := tx.SaveOrder(ctx, b.plug(c, p, n)); err != nil {
		return err
	}
	if err := tx.SetClaimState(ctx, c, store.ClaimPlugging); err != nil {
		return err
	}
	return tx.SaveVPortStatus(ctx, p)
}

// refused makes the error of a binding that cannot be made of one that only says why.
func refused(e *store.PortBinding, err error) error {
	if !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
		return err
	}
	return fault.New(fault.Unsupported, "Binding for port %s on host %s failed: %w.", e.Port, e.Host, err)
}

// Activate puts the binding to host in force, within tx, and the one before it out of force; its function stays claimed and plugged until Drop. The
// error is fault.NotFound when there is no such binding, and fault.Conflict when it is in force already.
func (b *Binder) Activate(ctx context.Context, tx *store.Tx, port, host string) error {
	p, err := tx.VPortForUpdate(ctx, port)
	if err != nil {
		return err
	}
	if p.HostID == host {
		return fault.New(fault.Conflict, "Binding for port %s on host %s is already active.", port, host)
	}
	list, err := tx.PortBindings(ctx, port, host)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return bindingNotFound(port, host)
	}
	next := list[0]
	if p.HostID != "" {
		before := &store.PortBinding{Port: port, Host: p.HostID, VNICType: p.VNICType, Profile: p.Profile, VIFType: p.VIFType}
		if err := tx.SavePortBinding(ctx, before); err != nil {
			return err
		}
	}
	if err := tx.DeletePortBindings(ctx, port, host); err != nil {
		return err
	}
	p.HostID, p.VNICType, p.Profile, p.VIFType, p.Up, p.UpReason = next.Host, next.VNICType, next.Profile, next.VIFType, false, ""
	if err := b.newest(ctx, tx, p); err != nil {
		return err
	}
	if err := b.settle(ctx, tx, p); err != nil {
		return err
	}
	return tx.SaveVPort(ctx, p)
}

// newest gives the order of the binding in force again when another of the port's is newer: the backend believes the newest only.
func (b *Binder) newest(ctx context.Context, tx *store.Tx, p *store.VPort) error {
	_, o, err := current(ctx, tx, p)
	if err != nil || o == nil || o.Generation == p.Generation {
		return err
	}
	p.Generation++
	o.Generation = p.Generation
	return tx.SaveOrder(ctx, o)
}

// Drop removes a binding that is not in force, within tx: its DPU is ordered to unplug it. The error is fault.NotFound when there is none to the host.
func (b *Binder) Drop(ctx context.Context, tx *store.Tx, port, host string) error {
	p, err := tx.VPortForUpdate(ctx, port)
	if err != nil {
		return err
	}
	if p.HostID == host {
		if err := b.Unbind(ctx, tx, port); err != nil {
			return err
		}
		return tx.DeletePortBindings(ctx, port, host)
	}
	list, err := tx.PortBindings(ctx, port, host)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return bindingNotFound(port, host)
	}
	claims, err := tx.Claims(ctx, store.ClaimQuery{Port: port, Host: host, Lock: true})
	if err != nil {
		return err
	}
	for _, c := range claims {
		if err := b.releaseClaim(ctx, tx, p, c); err != nil {
			return fmt.Errorf("port %s: %w", port, err)
		}
	}
	if err := tx.DeletePortBindings(ctx, port, host); err != nil {
		return err
	}
	return tx.SaveVPortStatus(ctx, p)
}

func bindingNotFound(port, host string) error {
	return fault.New(fault.NotFound, "Binding for port %s for host %s could not be found.", port, host)
}
