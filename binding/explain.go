package binding

import (
	"context"
	"fmt"
	"strings"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// Hop is one link of the chain from a port to its plugged representor.
type Hop struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Text string `json:"text"` // for people
}

// Explain returns the chain of a port hop by hop: port, claim, card, dpu, order, report, backend. It ends with the first hop that is broken or
// not reached yet. The error is fault.NotFound when there is no such port.
func (b *Binder) Explain(ctx context.Context, port string) ([]Hop, error) {
	var hops []Hop
	err := b.o.DB.Read(ctx, func(tx *store.Tx) error {
		p, err := tx.VPort(ctx, port)
		if err != nil {
			return err
		}
		for _, find := range []func(context.Context, *store.Tx, *store.VPort) (Hop, error){
			b.portHop, b.claimHop, b.cardHop, b.dpuHop, b.orderHop, b.reportHop, b.backendHop,
		} {
			hop, err := find(ctx, tx, p)
			if err != nil {
				return err
			}
			if hops = append(hops, hop); !hop.OK {
				return nil
			}
		}
		return nil
	})
	return hops, err
}

func broken(name, format string, args ...any) (Hop, error) {
	return Hop{Name: name, Text: fmt.Sprintf(format, args...)}, nil
}

func good(name, format string, args ...any) (Hop, error) {
	return Hop{Name: name, OK: true, Text: fmt.Sprintf(format, args...)}, nil
}

func (b *Binder) portHop(ctx context.Context, tx *store.Tx, p *store.VPort) (Hop, error) {
	switch {
	case p.VIFType == network.VIFFailed:
		return broken("port", "binding to host %s failed: %s", p.HostID, p.StatusReason)
	case p.HostID != "" && p.VIFType != network.VIFOVS:
		return broken("port", "host %s is to have it, and nobody has named a function of that host yet", p.HostID)
	case p.HostID != "":
		return good("port", "bound to host %s for device %s", p.HostID, p.DeviceID)
	}
	claims, err := tx.Claims(ctx, store.ClaimQuery{Port: p.ID, States: []store.ClaimState{store.ClaimReleasing}})
	if err != nil {
		return Hop{}, err
	}
	if len(claims) > 0 {
		return broken("port", "not bound; %s is taken until its DPU confirms the unplug", function(claims[0]))
	}
	return broken("port", "not bound to any host")
}

func (b *Binder) claimHop(ctx context.Context, tx *store.Tx, p *store.VPort) (Hop, error) {
	c, _, err := current(ctx, tx, p)
	if err != nil {
		return Hop{}, err
	}
	if c == nil {
		return broken("claim", "no function of host %s is claimed for the port", p.HostID)
	}
	return good("claim", "%s (%s on the host) is %s", function(c), c.Address, c.State)
}

func (b *Binder) cardHop(ctx context.Context, tx *store.Tx, p *store.VPort) (Hop, error) {
	f, why, err := chain(ctx, tx, p)
	switch {
	case err != nil:
		return Hop{}, err
	case why != "":
		return broken("card", "%s", why)
	}
	if why := f.Unpaired(); why != "" {
		return broken("card", "%s", why)
	}
	return good("card", "card %s of host %s is node %s", f.Card.Serial, f.Host.Name, f.Node.Label())
}

// chain reads what is known of the card of a port's claim, or why nothing is.
func chain(ctx context.Context, tx *store.Tx, p *store.VPort) (f *enrol.Facts, why string, err error) {
	c, _, err := current(ctx, tx, p)
	if err != nil {
		return nil, "", err
	}
	f, err = facts(ctx, tx, c)
	if fault.Is(err, fault.NotFound) {
		return nil, err.Error(), nil
	}
	return f, "", err
}

func (b *Binder) dpuHop(ctx context.Context, tx *store.Tx, p *store.VPort) (Hop, error) {
	f, _, err := chain(ctx, tx, p)
	if err != nil {
		return Hop{}, err
	}
	if why := f.Silent(); why != "" {
		return broken("dpu", "%s", why)
	}
	d := f.DPU()
	what := ""
	if why := f.Busy(); why != "" {
		what = "; " + why
	}
	if len(d.Problems) > 0 {
		what += "; its agent tells of " + strings.Join(d.Problems, ", ")
	}
	return good("dpu", "DPU %s is alive%s", d.Chassis, what)
}

func (b *Binder) orderHop(ctx context.Context, tx *store.Tx, p *store.VPort) (Hop, error) {
	_, o, err := current(ctx, tx, p)
	switch {
	case err != nil:
		return Hop{}, err
	case o == nil:
		return broken("order", "nothing is ordered yet")
	case o.Drained:
		return broken("order", "unplugged for work on card %s; it is plugged again afterwards", o.Card)
	case o.Action != wire.Plug:
		return broken("order", "nothing is ordered yet")
	}
	return good("order", "%s %s %d of the PF with MAC %s, generation %d", o.Action, o.Kind, o.Number, o.PFMAC, o.Generation)
}

func (b *Binder) reportHop(ctx context.Context, tx *store.Tx, p *store.VPort) (Hop, error) {
	_, o, err := current(ctx, tx, p)
	switch {
	case err != nil:
		return Hop{}, err
	case o.Reported == 0:
		return broken("report", "the DPU's agent has not said anything about the order")
	case o.Reported < o.Generation:
		return broken("report", "the DPU's agent last spoke of generation %d: %s", o.Reported, o.State)
	case o.State != wire.Plugged:
		return broken("report", "%s: %s", o.State, o.Reason)
	}
	return good("report", "plugged as %s since %s", o.Representor, o.ReportedAt.Format("2006-01-02T15:04:05Z"))
}

func (b *Binder) backendHop(_ context.Context, _ *store.Tx, p *store.VPort) (Hop, error) {
	switch {
	case p.Trouble != "":
		return broken("backend", "%s cannot be told: %s", b.o.Backend.Name(), p.Trouble)
	case p.Pending != 0:
		return broken("backend", "%s has not been told yet", b.o.Backend.Name())
	case !p.Up:
		return broken("backend", "%s says the port is not up: %s", b.o.Backend.Name(), p.UpReason)
	}
	return good("backend", "%s says the port is up", b.o.Backend.Name())
}
