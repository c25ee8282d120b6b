package binding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// Orders returns what the card's agent has to carry out: the orders after a revision that it names, or all of them when it names none, or one
// that riser did not give. The error is fault.Conflict when the serial is ambiguous: nobody gets orders then.
func (b *Binder) Orders(ctx context.Context, serial string, after int64) (wire.Orders, error) {
	var out wire.Orders
	err := b.o.DB.Read(ctx, func(tx *store.Tx) error {
		dpus, err := tx.DPUs(ctx, []string{serial})
		switch {
		case err != nil:
			return err
		case len(dpus) == 0:
			return fault.New(fault.NotFound, "DPU of card %s has not reported.", serial)
		case dpus[0].Refused != "":
			return fault.New(fault.Conflict, "%s", dpus[0].Refused)
		}
		head, err := tx.OrderHead(ctx, serial)
		if err != nil {
			return err
		}
		head = max(head, 1) // 0 asks for everything, so a card that never had an order would be answered at once for ever
		if after > head {
			after = 0
		}
		list, err := tx.Orders(ctx, store.OrderQuery{Card: serial, After: after})
		out = wire.Orders{Revision: head, Full: after == 0, Orders: make([]wire.Order, len(list))}
		for i, o := range list {
			out.Orders[i] = wireOrder(o)
		}
		return err
	})
	return out, err
}

func wireOrder(o *store.Order) wire.Order {
	return wire.Order{
		Port: o.Port, Generation: o.Generation, Revision: o.Revision, Action: o.Action, Kind: o.Kind, PFMAC: o.PFMAC, Number: o.Number,
		MAC: o.MAC, MTU: o.MTU, ByOVN: o.ByOVN,
	}
}

// Report takes what a card's agent says of its ports. What it says of ports that the card has no order for is ignored.
func (b *Binder) Report(ctx context.Context, serial string, ports []wire.PortStatus) error {
	return b.o.DB.Write(ctx, func(tx *store.Tx) error {
		for _, s := range ports {
			if err := b.report(ctx, tx, serial, s); err != nil {
				return fmt.Errorf("card %s: status of port %s: %w", serial, s.Port, err)
			}
		}
		return nil
	})
}

func (b *Binder) report(ctx context.Context, tx *store.Tx, serial string, s wire.PortStatus) error {
	p, err := tx.VPortForUpdate(ctx, s.Port)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	list, err := tx.Orders(ctx, store.OrderQuery{Card: serial, Port: s.Port, Lock: true})
	if err != nil || len(list) == 0 {
		return err
	}
	o := list[0]
	if s.Generation < o.Reported {
		return nil // overtaken on its way
	}
	if s.Generation > o.Generation {
		return b.overtake(ctx, tx, p, o, s.Generation)
	}
	o.Reported, o.State, o.Reason = s.Generation, s.State, clip(s.Reason)
	o.Representor, o.Installed = clip(s.Representor), s.Installed
	if !slices.Contains([]string{wire.Plugged, wire.Waiting, wire.Failed, wire.Unplugged}, s.State) {
		o.State, o.Reason = wire.Failed, fmt.Sprintf("the agent tells of a state %q that is not known", clip(s.State))
	}
	if unplugged(o) && !o.Drained {
		err = done(ctx, tx, o)
	} else {
		err = tx.SaveReport(ctx, o)
	}
	if err != nil {
		return err
	}
	if p == nil {
		return nil
	}
	return b.resettle(ctx, tx, p)
}

// clip bounds a text of an agent's that is shown to people, and takes out what no database keeps.
func clip(s string) string {
	const most = 1024 // bytes
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\x00", "?")
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "")
	}
	return s
}

// unplugged reports whether the card has confirmed that it carried out an unplug order.
func unplugged(o *store.Order) bool {
	return o.Action == wire.Unplug && o.State == wire.Unplugged && o.Reported == o.Generation
}

// overtake gives an order again under a generation above the one that the card has: the database was put back to an older state.
func (b *Binder) overtake(ctx context.Context, tx *store.Tx, p *store.VPort, o *store.Order, seen int64) error {
	o.Generation = seen + 1
	if p != nil {
		p.Generation = max(p.Generation, o.Generation)
		if err := tx.SaveVPort(ctx, p); err != nil {
			return err
		}
	}
	return tx.SaveOrder(ctx, o)
}

// CardReset notes that a card was reset: nothing is plugged on it. Functions that wait for an unplug are free, and ports that should be plugged
// are no longer ACTIVE until the card's agent says so again.
func (b *Binder) CardReset(ctx context.Context, serial string) error {
	return b.o.DB.Write(ctx, func(tx *store.Tx) error {
		return eachOrder(ctx, tx, serial, func(p *store.VPort, o *store.Order) error { return b.resetOrder(ctx, tx, p, o) })
	})
}

// eachOrder calls fn for each order of a card, with its port or nil, both held against other writers: the port first, as everywhere.
func eachOrder(ctx context.Context, tx *store.Tx, serial string, fn func(p *store.VPort, o *store.Order) error) error {
	list, err := tx.Orders(ctx, store.OrderQuery{Card: serial})
	if err != nil {
		return err
	}
	for _, seen := range list {
		p, err := tx.VPortForUpdate(ctx, seen.Port)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		now, err := tx.Orders(ctx, store.OrderQuery{Card: serial, Port: seen.Port, Lock: true})
		if err != nil {
			return err
		}
		for _, o := range now {
			if err := fn(p, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *Binder) resetOrder(ctx context.Context, tx *store.Tx, p *store.VPort, o *store.Order) error {
	switch {
	case o.Action == wire.Unplug && !o.Drained:
		return done(ctx, tx, o)
	case o.Drained:
		o.Reported, o.State, o.Reason = o.Generation, wire.Unplugged, "the card was reset"
	default:
		o.State, o.Reason = wire.Waiting, "the card was reset"
	}
	o.Representor, o.Installed = "", false
	if err := tx.SaveReport(ctx, o); err != nil || p == nil {
		return err
	}
	return b.resettle(ctx, tx, p)
}

// done ends an order that was carried out and leaves nothing to watch: its function is free.
func done(ctx context.Context, tx *store.Tx, o *store.Order) error {
	if err := tx.DeleteOrder(ctx, o.Port, o.Card); err != nil {
		return err
	}
	return tx.FreeClaim(ctx, o.Claim)
}

// resettle is settle for a port that changes in nothing else.
func (b *Binder) resettle(ctx context.Context, tx *store.Tx, p *store.VPort) error {
	status, reason := p.Status, p.StatusReason
	if err := b.settle(ctx, tx, p); err != nil || p.Status == status && p.StatusReason == reason {
		return err
	}
	return tx.SaveVPortStatus(ctx, p)
}

// settle derives the status of a port from its order, what the DPU said of it, and what the backend says; and with it the state of its claim.
func (b *Binder) settle(ctx context.Context, tx *store.Tx, p *store.VPort) error {
	c, o, err := current(ctx, tx, p)
	if err != nil {
		return err
	}
	if c == nil {
		if p.Status = network.StatusDown; p.VIFType != network.VIFFailed {
			p.StatusReason = ""
		}
		return nil
	}
	chassis := "of card " + c.Card
	dpus, err := tx.DPUs(ctx, []string{c.Card})
	if err != nil {
		return err
	}
	if len(dpus) > 0 {
		chassis = dpus[0].Chassis
	}
	p.Status, p.StatusReason = judge(p, o, chassis)
	state := store.ClaimPlugging
	if o != nil && o.Reported == o.Generation && o.State == wire.Plugged {
		state = store.ClaimPlugged
	}
	if c.State == state || c.State == store.ClaimClaimed {
		return nil
	}
	return tx.SetClaimState(ctx, c, state)
}

// current returns the claim that the port is bound by and the order that goes with it, or nil.
func current(ctx context.Context, tx *store.Tx, p *store.VPort) (*store.Claim, *store.Order, error) {
	if p.HostID == "" {
		return nil, nil, nil
	}
	claims, err := tx.Claims(ctx, store.ClaimQuery{Port: p.ID, Host: p.HostID})
	if err != nil {
		return nil, nil, err
	}
	for _, c := range claims {
		if c.State == store.ClaimReleasing {
			continue
		}
		orders, err := tx.Orders(ctx, store.OrderQuery{Card: c.Card, Port: p.ID})
		if err != nil || len(orders) == 0 {
			return c, nil, err
		}
		return c, orders[0], nil
	}
	return nil, nil, nil
}

// judge says how far a bound port is, and what it waits for or why it failed.
func judge(p *store.VPort, o *store.Order, chassis string) (status, reason string) {
	switch {
	case o == nil:
		return network.StatusBuild, "nothing is ordered yet"
	case o.Drained && unplugged(o):
		return network.StatusBuild, fmt.Sprintf("unplugged from DPU %s while its card is worked on", chassis)
	case o.Drained:
		return network.StatusBuild, fmt.Sprintf("waiting for DPU %s to unplug the port, since its card is to be worked on", chassis)
	case o.Action != wire.Plug:
		return network.StatusBuild, "nothing is ordered yet"
	case o.Reported < o.Generation:
		return network.StatusBuild, fmt.Sprintf("waiting for DPU %s to carry out order %d", chassis, o.Generation)
	case o.State == wire.Failed:
		return network.StatusError, fmt.Sprintf("DPU %s: plugging failed: %s", chassis, o.Reason)
	case o.State != wire.Plugged && o.Reason != "":
		return network.StatusBuild, fmt.Sprintf("DPU %s: %s: %s", chassis, o.State, o.Reason)
	case o.State != wire.Plugged:
		return network.StatusBuild, fmt.Sprintf("DPU %s: %s", chassis, o.State)
	case p.Up:
		return network.StatusActive, ""
	case p.Trouble != "":
		return network.StatusBuild, fmt.Sprintf("plugged as %s on DPU %s; the network backend cannot be told: %s", o.Representor, chassis, p.Trouble)
	case p.UpReason != "":
		return network.StatusBuild, fmt.Sprintf("plugged as %s on DPU %s; waiting for the network backend: %s", o.Representor, chassis, p.UpReason)
	}
	return network.StatusBuild, fmt.Sprintf("plugged as %s on DPU %s; waiting for the network backend", o.Representor, chassis)
}
