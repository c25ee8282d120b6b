package binding

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// Guard stands between work that resets a card and the ports that are attached to it: such work is refused, or the ports are unplugged before it and
// plugged again after it. All of it is kept in the store, so that whoever goes on after a crash can ask again; each method may be repeated.
type Guard struct{ b *Binder }

// Guard returns the guard of the binder's ports.
func (b *Binder) Guard() Guard { return Guard{b} }

// Check refuses to touch the cards with these serials while ports are attached to them. The error is fault.Conflict and names the ports.
func (g Guard) Check(ctx context.Context, tx *store.Tx, serials []string) error {
	var attached []string
	for _, serial := range serials {
		list, err := tx.Orders(ctx, store.OrderQuery{Card: serial})
		if err != nil {
			return err
		}
		for _, o := range list {
			if o.Action == wire.Plug {
				attached = append(attached, fmt.Sprintf("port %s to card %s", o.Port, serial))
			}
		}
	}
	if len(attached) == 0 {
		return nil
	}
	slices.Sort(attached)
	const most = 5
	more := ""
	if len(attached) > most {
		more = fmt.Sprintf(", and %d more", len(attached)-most)
		attached = attached[:most]
	}
	return fault.New(fault.Conflict, "The card would be cut off from the network with ports attached to it: %s%s. Detach them, or ask for drain: true.",
		strings.Join(attached, ", "), more)
}

// Drain orders every port on the cards to be unplugged. Their functions stay theirs. It is done when Drained says so.
func (g Guard) Drain(ctx context.Context, tx *store.Tx, serials []string) error {
	return g.turn(ctx, tx, serials, func(o *store.Order) bool {
		if o.Action != wire.Plug {
			return false
		}
		o.Action, o.Drained = wire.Unplug, true
		return true
	})
}

// Restore orders every port that Drain had unplugged to be plugged again. Ports that were unbound meanwhile stay so.
func (g Guard) Restore(ctx context.Context, tx *store.Tx, serials []string) error {
	return g.turn(ctx, tx, serials, func(o *store.Order) bool {
		if !o.Drained {
			return false
		}
		o.Action, o.Drained = wire.Plug, false
		return true
	})
}

// turn gives each order of the cards that change turns round again, with a new generation.
func (g Guard) turn(ctx context.Context, tx *store.Tx, serials []string, change func(*store.Order) bool) error {
	for _, serial := range serials {
		err := eachOrder(ctx, tx, serial, func(p *store.VPort, o *store.Order) error {
			if p == nil || !change(o) {
				return nil
			}
			p.Generation++
			o.Generation = p.Generation
			if err := tx.SaveOrder(ctx, o); err != nil {
				return err
			}
			if err := g.b.settle(ctx, tx, p); err != nil {
				return err
			}
			return tx.SaveVPort(ctx, p)
		})
		if err != nil {
			return fmt.Errorf("card %s: %w", serial, err)
		}
	}
	return nil
}

// Drained returns, for each port that Drain had ordered to be unplugged and that its card has not confirmed yet, what it waits for. Waiters are woken
// by store.TopicPort of these ports, or look again now and then.
func (g Guard) Drained(ctx context.Context, tx *store.Tx, serials []string) (waiting []string, err error) {
	for _, serial := range serials {
		list, err := tx.Orders(ctx, store.OrderQuery{Card: serial})
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			switch {
			case !o.Drained || unplugged(o):
			case o.Reported == o.Generation && o.Reason != "":
				waiting = append(waiting, fmt.Sprintf("port %s on card %s is %s: %s", o.Port, serial, o.State, o.Reason))
			default:
				waiting = append(waiting, fmt.Sprintf("port %s is not unplugged from card %s yet", o.Port, serial))
			}
		}
	}
	return waiting, nil
}
