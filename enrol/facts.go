package enrol

import (
	"context"
	"fmt"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// Facts is what is known of a card in a host, as far as it decides whether ports may be bound to it.
type Facts struct {
	Host *store.Host
	Card *store.HostCard
	Node *node.Node   // the card's node, nil when there is none
	DPUs []*store.DPU // the reporters of the card's serial
}

// Load reads the facts of the card with this serial in a host. The error is fault.NotFound when the host does not report it.
func Load(ctx context.Context, tx *store.Tx, host, serial string) (*Facts, error) {
	h, err := tx.Host(ctx, host)
	if err != nil {
		return nil, err
	}
	f := &Facts{Host: h}
	cards, err := tx.HostCards(ctx, store.CardQuery{Host: host, Serials: []string{serial}})
	switch {
	case err != nil:
		return nil, err
	case len(cards) == 0:
		return nil, fault.New(fault.NotFound, "Host %s has no card %s.", host, serial)
	}
	f.Card = cards[0]
	return f, f.load(ctx, tx, serial)
}

// LoadNode reads the facts of the card with this serial in a bare-metal machine, on which no agent of riser's may run: only the card's own Linux
// tells of it. nodeUUID is the machine's node. The error is fault.NotFound when there is no such node.
func LoadNode(ctx context.Context, tx *store.Tx, nodeUUID, serial string) (*Facts, error) {
	n, err := tx.Node(ctx, nodeUUID)
	if err != nil {
		return nil, err
	}
	f := &Facts{Host: &store.Host{Name: n.Label(), Node: n.UUID}, Card: &store.HostCard{Host: n.Label(), Serial: serial}}
	return f, f.load(ctx, tx, serial)
}

func (f *Facts) load(ctx context.Context, tx *store.Tx, serial string) (err error) {
	if f.DPUs, err = tx.DPUs(ctx, []string{serial}); err != nil {
		return err
	}
	if f.Node, err = tx.NodeByCard(ctx, serial); fault.Is(err, fault.NotFound) {
		f.Node, err = nil, nil
	}
	return err
}

// DPU returns the card's own Linux, or nil when none or more than one claims to be it.
func (f *Facts) DPU() *store.DPU {
	if len(f.DPUs) == 1 {
		return f.DPUs[0]
	}
	return nil
}

// Blocked says why no port may be bound to the card now, for people; it is empty when nothing stands against it.
func (f *Facts) Blocked() string {
	for _, reason := range []func() string{f.Unpaired, f.Busy, f.Silent} {
		if why := reason(); why != "" {
			return why
		}
	}
	return ""
}

// Unpaired says what is wrong with the pair of host and card, and nothing when they belong together.
func (f *Facts) Unpaired() string {
	c := f.Card
	switch {
	case f.Host.Refused != "":
		return f.Host.Refused
	case c.Refused != "":
		return c.Refused
	case c.Problem != "":
		return fmt.Sprintf("%s is not used: %s", c, c.Problem)
	case len(f.DPUs) > 0 && f.DPUs[0].Refused != "":
		return f.DPUs[0].Refused
	case len(f.DPUs) > 1:
		return fmt.Sprintf("card %s is reported by DPU %s and by DPU %s", c.Serial, names(f.DPUs[0]), names(f.DPUs[1]))
	case f.Host.Node == "":
		return fmt.Sprintf("host %s is tied to no node", f.Host.Name)
	case f.Node == nil && len(f.DPUs) == 0:
		return fmt.Sprintf("card %s of host %s has no node: no agent on the card's own Linux has reported it", c.Serial, f.Host.Name)
	case f.Node == nil:
		return fmt.Sprintf("card %s of host %s has no node", c.Serial, f.Host.Name)
	case f.Node.Parent != f.Host.Node:
		return fmt.Sprintf("card %s is node %s, which is not a child of the node of host %s", c.Serial, f.Node.Label(), f.Host.Name)
	}
	return ""
}

// Busy says what is being done to the card, and nothing when it may take ports. It must be paired.
func (f *Facts) Busy() string {
	n := f.Node
	switch {
	case n.Maintenance && n.MaintenanceReason != "":
		return fmt.Sprintf("DPU node %s is in maintenance: %s", n.Label(), n.MaintenanceReason)
	case n.Maintenance:
		return fmt.Sprintf("DPU node %s is in maintenance", n.Label())
	}
	switch n.Provision {
	case node.Enroll, node.Verifying, node.Manageable, node.Available, node.Active:
		return ""
	}
	return fmt.Sprintf("DPU node %s is in state %q", n.Label(), n.Provision)
}

// Silent says that nobody on the card's own Linux is there to take orders, and nothing when somebody is.
func (f *Facts) Silent() string {
	d := f.DPU()
	switch {
	case d == nil:
		return fmt.Sprintf("no agent on the own Linux of card %s has reported", f.Card.Serial)
	case !d.Alive:
		return fmt.Sprintf("DPU %s of card %s is silent: its lease ended at %s", d.Chassis, d.Serial, d.ExpiresAt.Format(time.RFC3339))
	}
	return ""
}
