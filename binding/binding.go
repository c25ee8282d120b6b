// Package binding binds ports to claimed functions: from the claim and the port to the binding profile, to the serial of the card, to the child
// node and its DPU, to an order for the DPU's agent and a binding for the network backend, and back to the port's status.
//
// All of it is kept in the store, and each step is one transaction or can be repeated, so a crash at any point loses nothing: Run takes up
// whatever is not finished. A port is ACTIVE only when its DPU has said so for the newest generation of the order, and the backend too.
// A function that is released stays taken until the DPU has confirmed that its representor is unplugged, or the card was reset.
package binding

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// Options says how ports are bound. DB and Backend must be set.
type Options struct {
	DB      *store.DB
	Backend network.Backend

	// PlugByOVN leaves the plugging to ovn-controller's representor provider; the DPU's agent then only reports.
	PlugByOVN bool

	// Resync is how often Run looks for work that it was not woken for. 0 means 5 s.
	Resync time.Duration

	Log *slog.Logger // nil discards
}

// Binder binds and unbinds ports. It is safe for concurrent use, by several processes on one database too.
type Binder struct {
	o      Options
	events events
}

// New returns a Binder. Its work is done only while Run runs.
func New(o Options) *Binder {
	if o.Resync == 0 {
		o.Resync = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Binder{o: o}
}

// Bind binds the port of a claim to the claimed function, within tx: it writes the port's binding and the order for the DPU. Binding again
// what is bound changes nothing. owner is the port's device_owner ("compute:nova").
//
// The error is fault.Conflict when the card may not take ports, with the reason; nothing is changed then.
func (b *Binder) Bind(ctx context.Context, tx *store.Tx, c *store.Claim, owner string) error {
	p, err := tx.VPortForUpdate(ctx, c.Port)
	if err != nil {
		return err
	}
	switch {
	case c.State == store.ClaimReleasing:
		return fault.New(fault.Conflict, "port %s: %s is being released", p.ID, function(c))
	case c.State != store.ClaimClaimed && p.HostID == c.Host:
		return nil
	case p.HostID != "" && p.HostID != c.Host:
		return fault.New(fault.Conflict, "port %s is bound to host %s already", p.ID, p.HostID)
	}
	n, err := tx.Network(ctx, p.NetworkID)
	if err != nil {
		return err
	}
	if err := usable(ctx, tx, c, n); err != nil {
		return fmt.Errorf("port %s: %w", p.ID, err)
	}
	if !ofNode(c) {
		p.Profile = profileOf(p.Profile, c)
	}
	if err := p.Profile.Check(); err != nil {
		return fmt.Errorf("port %s: %w", p.ID, err)
	}
	p.HostID, p.DeviceID, p.DeviceOwner, p.VIFType = c.Host, c.Server, owner, network.VIFOVS
	p.Up, p.UpReason = false, ""
	p.Generation++
	if err := tx.SaveOrder(ctx, b.plug(c, p, n)); err != nil {
		return err
	}
	if err := tx.SetClaimState(ctx, c, store.ClaimPlugging); err != nil {
		return err
	}
	if err := b.settle(ctx, tx, p); err != nil {
		return err
	}
	return tx.SaveVPort(ctx, p)
}

// function names a claimed function for texts.
func function(c *store.Claim) string {
	if c.VF == store.WholePF {
		return fmt.Sprintf("PF %s of card %s", c.PF, c.Card)
	}
	return fmt.Sprintf("VF %d of PF %s of card %s", c.VF, c.PF, c.Card)
}

// usable returns fault.Conflict with the reason when no port of the network may be bound to the function.
func usable(ctx context.Context, tx *store.Tx, c *store.Claim, n *store.Network) error {
	f, err := facts(ctx, tx, c)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Conflict, "cannot be bound to %s: %w", function(c), err)
	}
	if err != nil {
		return err
	}
	why := f.Blocked()
	if why == "" {
		why = wrongUplink(f.DPU(), c, n)
	}
	if why == "" && len(f.DPU().Controllers) > 0 && !f.DPU().ShowsPF(c.PFMAC) {
		why = fmt.Sprintf("DPU %s shows no host PF with MAC %s, which host %s reports for %s", f.DPU().Chassis, c.PFMAC, c.Host, c.PF)
	}
	if why != "" {
		return fault.New(fault.Conflict, "cannot be bound to %s: %s", function(c), why)
	}
	return nil
}

// facts reads what is known of a claim's card.
func facts(ctx context.Context, tx *store.Tx, c *store.Claim) (*enrol.Facts, error) {
	if ofNode(c) {
		return enrol.LoadNode(ctx, tx, c.Host, c.Card)
	}
	return enrol.Load(ctx, tx, c.Host, c.Card)
}

func wrongUplink(d *store.DPU, c *store.Claim, n *store.Network) string {
	have := ""
	if c.PhysicalNetwork != nil {
		have = *c.PhysicalNetwork
	}
	switch {
	case have != n.Physical:
		return fmt.Sprintf("the function is for physical network %q, and network %s is on %q", have, n.ID, n.Physical)
	case have != "" && !d.HasUplink(have):
		return fmt.Sprintf("no uplink of DPU %s is on physical network %s", d.Chassis, have)
	}
	return ""
}

// profileOf returns old with the six keys of the claim.
func profileOf(old network.Profile, c *store.Claim) network.Profile {
	p := old.Unbound()
	p.PCIVendorInfo, p.PCISlot = c.Vendor+":"+c.Product, c.Address
	p.PhysicalNetwork, p.CardSerial, p.PFMAC = c.PhysicalNetwork, c.Card, c.PFMAC
	p.VF, p.Bound = max(c.VF, 0), true
	return p
}

// plug returns the order to plug the claim's representor for p.
func (b *Binder) plug(c *store.Claim, p *store.VPort, n *store.Network) *store.Order {
	o := &store.Order{
		Port: p.ID, Card: c.Card, Claim: c.UUID, Generation: p.Generation, Action: wire.Plug, Kind: wire.KindVF, PFMAC: c.PFMAC, Number: c.VF,
		MAC: p.MAC, MTU: n.MTU, ByOVN: b.o.PlugByOVN,
	}
	if c.VF == store.WholePF {
		o.Kind, o.Number = wire.KindPF, 0
	}
	return o
}

// Unbind unbinds a port, within tx: its DPU is ordered to unplug it, and the function is free once the DPU has confirmed that. Unbinding what is
// not bound changes nothing.
func (b *Binder) Unbind(ctx context.Context, tx *store.Tx, port string) error {
	p, err := tx.VPortForUpdate(ctx, port)
	if err != nil {
		return err
	}
	if err := b.release(ctx, tx, p); err != nil {
		return err
	}
	if p.HostID == "" && p.DeviceID == "" && p.VIFType == network.VIFUnbound {
		return nil
	}
	if err := tx.DeletePortBindings(ctx, p.ID, ""); err != nil {
		return err
	}
	p.HostID, p.DeviceID, p.DeviceOwner, p.VIFType = "", "", "", network.VIFUnbound
	p.Profile, p.Up, p.UpReason = p.Profile.Unbound(), false, ""
	if err := b.settle(ctx, tx, p); err != nil {
		return err
	}
	return tx.SaveVPort(ctx, p)
}

// Delete deletes a port, within tx. A bound port is unbound first.
func (b *Binder) Delete(ctx context.Context, tx *store.Tx, port string) error {
	if err := b.Unbind(ctx, tx, port); err != nil {
		return err
	}
	p, err := tx.VPortForUpdate(ctx, port)
	if err != nil {
		return err
	}
	return tx.DeleteVPort(ctx, p)
}

// release orders the functions of a port to be unplugged.
func (b *Binder) release(ctx context.Context, tx *store.Tx, p *store.VPort) error {
	claims, err := tx.Claims(ctx, store.ClaimQuery{Port: p.ID, Lock: true})
	if err != nil {
		return err
	}
	for _, c := range claims {
		if err := b.releaseClaim(ctx, tx, p, c); err != nil {
			return err
		}
	}
	return nil
}

func (b *Binder) releaseClaim(ctx context.Context, tx *store.Tx, p *store.VPort, c *store.Claim) error {
	switch c.State {
	case store.ClaimReleasing:
		return nil
	case store.ClaimClaimed: // nothing was ever ordered
		return tx.FreeClaim(ctx, c.UUID)
	}
	list, err := tx.Orders(ctx, store.OrderQuery{Card: c.Card, Port: p.ID, Lock: true})
	if err != nil {
		return err
	}
	for _, o := range list {
		if o.Drained && unplugged(o) {
			return done(ctx, tx, o)
		}
		p.Generation++
		o.Generation, o.Action, o.Drained = p.Generation, wire.Unplug, false
		if err := tx.SaveOrder(ctx, o); err != nil {
			return err
		}
	}
	return tx.SetClaimState(ctx, c, store.ClaimReleasing)
}
