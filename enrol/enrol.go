// Package enrol pairs hypervisors, the cards in them and the cards' own Linux (the DPUs) into nodes, and says whether such a pair may be used.
//
// A host is tied to the node that it runs on by its system UUID, else by its name. A card becomes a child node of that node once two sides that
// know nothing of each other name the same serial: the host, which reads it from the card's VPD, and the DPU's agent, or an operator who
// registered the child. What contradicts an earlier pairing is refused and recorded with the names of both sides, and a pairing is never
// changed silently.
//
// Everything follows from what the store holds: Reconcile may run at any time, and running it again changes nothing.
package enrol

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// Default times of an agent's lease.
const (
	DefaultInterval = 10 * time.Second
	DefaultLease    = 40 * time.Second
)

// Options says how cards become nodes. DB and Driver must be set.
type Options struct {
	DB *store.DB

	// Driver is the hardware type of the child nodes ("redfish", "bluefield").
	Driver string

	// DriverInfo makes the driver_info of a child node out of what its agent reports: the BMC's address, and credentials from the
	// configuration. Nil leaves it empty, for an operator to fill in.
	DriverInfo func(d *store.DPU) node.Object

	// Prepare completes a new child node before it is stored: the default interfaces of its driver. Nil leaves it as it is.
	Prepare func(n *node.Node) error

	// Manage asks a conductor to verify a new child node, so that the serial that its BMC reports is compared too. Nil leaves the node in the
	// state enroll. It may be called again for the same node.
	Manage func(ctx context.Context, nodeUUID string) error

	// FollowMoves re-parents the node of a card that has appeared in another host, once the old host says that the card is gone. Without it
	// an operator must do so.
	FollowMoves bool

	Interval time.Duration // between heartbeats; 0 means DefaultInterval
	Lease    time.Duration // after which a silent agent counts as dead; 0 means DefaultLease
	Log      *slog.Logger  // nil discards
}

// Enroller takes the reports of agents. It is safe for concurrent use.
type Enroller struct{ o Options }

// New returns an Enroller.
func New(o Options) *Enroller {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Enroller{o}
}

// HostReport takes the inventory that the agent of a host reports. The error is fault.Invalid when it contradicts itself; then nothing of it is
// kept. What riser does not believe is kept, refused, and named in the reply's Problems.
func (e *Enroller) HostReport(ctx context.Context, name string, r *wire.HostReport) (wire.Reply, error) {
	h, cards, pfs, err := readHost(name, r)
	if err != nil {
		return wire.Reply{}, err
	}
	reply := e.Reply()
	err = e.o.DB.Write(ctx, func(tx *store.Tx) error {
		before, err := tx.HostCards(ctx, store.CardQuery{Host: name})
		if err != nil {
			return err
		}
		if err := tx.SaveHostReport(ctx, h, e.o.Lease); err != nil {
			return err
		}
		if err := tx.SaveHostCards(ctx, name, cards, pfs); err != nil {
			return err
		}
		if err := e.host(ctx, tx, name, serialsOf(before, cards)); err != nil {
			return err
		}
		return hostAnswer(ctx, tx, name, &reply)
	})
	if err != nil {
		return wire.Reply{}, err
	}
	return reply, e.verify(ctx)
}

// HostBeat extends the lease of a host. The agent is asked for a new report when riser knows another one than it sent last.
func (e *Enroller) HostBeat(ctx context.Context, name string, beat wire.Heartbeat) (wire.Reply, error) {
	reply := e.Reply()
	err := e.o.DB.Write(ctx, func(tx *store.Tx) error {
		known, err := tx.BeatHost(ctx, name, e.o.Lease)
		if err != nil {
			return err
		}
		if !known {
			reply.Rediscover = true
			return nil
		}
		h, err := tx.Host(ctx, name)
		if err != nil {
			return err
		}
		reply.Node, reply.Rediscover = h.Node, h.Fingerprint != beat.Fingerprint
		return nil
	})
	return reply, err
}

// DPUReport takes what the agent on a card's own Linux reports. The error is fault.Invalid when it contradicts itself or names no usable serial, and
// fault.Conflict when it names another card than the one the agent is known by: that is an alarm in the history of both cards' nodes.
func (e *Enroller) DPUReport(ctx context.Context, serial string, r *wire.DPUReport) (wire.Reply, error) {
	d, err := readDPU(serial, r)
	var forged *forgedError
	if errors.As(err, &forged) {
		return wire.Reply{}, e.forged(ctx, forged)
	}
	if err != nil {
		return wire.Reply{}, err
	}
	reply := e.Reply()
	err = e.o.DB.Write(ctx, func(tx *store.Tx) error {
		if err := tx.SaveDPUReport(ctx, d, e.o.Lease); err != nil {
			return err
		}
		if err := e.card(ctx, tx, d.Serial); err != nil {
			return err
		}
		return dpuAnswer(ctx, tx, d, &reply)
	})
	if err != nil {
		return wire.Reply{}, err
	}
	return reply, e.verify(ctx)
}

// forged writes a forged serial into the histories of the nodes concerned.
func (e *Enroller) forged(ctx context.Context, forged *forgedError) error {
	err := e.o.DB.Write(ctx, func(tx *store.Tx) error {
		for _, serial := range []string{forged.named, forged.claimed} {
			n, err := tx.NodeByCard(ctx, serial)
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := note(ctx, tx, n, "ERROR", forged.Error()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.o.Log.Error("a forged serial", "error", forged)
	return fault.New(fault.Conflict, "%w", forged)
}

// DPUBeat extends the lease of a DPU. The agent is asked for a new report when riser does not know the one that it sent last.
func (e *Enroller) DPUBeat(ctx context.Context, serial string, beat wire.Heartbeat) (wire.Reply, error) {
	reply := e.Reply()
	err := e.o.DB.Write(ctx, func(tx *store.Tx) error {
		known, err := tx.BeatDPU(ctx, serial, beat.Fingerprint, e.o.Lease)
		if err != nil || !known {
			reply.Rediscover = true
			return err
		}
		n, err := tx.NodeByCard(ctx, serial)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err == nil {
			reply.Node = n.UUID
		}
		return err
	})
	return reply, err
}

// Approve makes system the only reporter of the serial: the others are forgotten, after an operator has looked at the cards.
func (e *Enroller) Approve(ctx context.Context, serial, system string) error {
	return e.o.DB.Write(ctx, func(tx *store.Tx) error {
		list, err := tx.DPUs(ctx, []string{serial})
		if err != nil {
			return err
		}
		found := false
		for _, d := range list {
			if d.System == system {
				found = true
			}
		}
		if !found {
			return fault.New(fault.NotFound, "No DPU agent %s has reported card %s.", system, serial)
		}
		for _, d := range list {
			if d.System == system {
				continue
			}
			if err := tx.DeleteDPU(ctx, serial, d.System); err != nil {
				return err
			}
		}
		return e.card(ctx, tx, serial)
	})
}

// Reconcile draws all conclusions anew from what the store holds.
func (e *Enroller) Reconcile(ctx context.Context) error {
	var names, serials []string
	err := e.o.DB.Read(ctx, func(tx *store.Tx) error {
		hosts, err := tx.Hosts(ctx, store.HostQuery{})
		for _, h := range hosts {
			names = append(names, h.Name)
		}
		if err != nil {
			return err
		}
		serials, err = tx.CardSerials(ctx)
		return err
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, e.o.DB.Write(ctx, func(tx *store.Tx) error { return e.host(ctx, tx, name, nil) }))
	}
	for _, serial := range serials {
		errs = append(errs, e.o.DB.Write(ctx, func(tx *store.Tx) error { return e.card(ctx, tx, serial) }))
	}
	return errors.Join(append(errs, e.verify(ctx))...)
}

// Run reconciles until ctx ends: every second the hosts that have no node yet, since an operator may have made it, and every minute all.
func (e *Enroller) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for round := 0; ; round++ {
		work := e.untied
		if round%60 == 0 {
			work = e.Reconcile
		}
		if err := work(ctx); err != nil && ctx.Err() == nil {
			e.o.Log.Error("enrolment is behind", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// untied looks for the nodes of the hosts that have none.
func (e *Enroller) untied(ctx context.Context) error {
	var names []string
	err := e.o.DB.Read(ctx, func(tx *store.Tx) error {
		hosts, err := tx.Hosts(ctx, store.HostQuery{Untied: true})
		for _, h := range hosts {
			names = append(names, h.Name)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := e.o.DB.Write(ctx, func(tx *store.Tx) error { return e.host(ctx, tx, name, nil) }); err != nil {
			return err
		}
	}
	return e.verify(ctx)
}

// verify asks for the verification of the children that this package made and that nobody has looked at yet.
func (e *Enroller) verify(ctx context.Context) error {
	if e.o.Manage == nil {
		return nil
	}
	var waiting []string
	err := e.o.DB.Read(ctx, func(tx *store.Tx) error {
		list, err := tx.Nodes(ctx, store.NodeQuery{
			IncludeChildren: true, Provision: []node.State{node.Enroll},
			Columns: []string{"driver_internal_info", "last_error", "reservation", "maintenance"},
		})
		for _, n := range list {
			if n.DriverInternalInfo[enrolledBy] != nil && n.LastError == "" && n.Reservation == "" && !n.Maintenance {
				waiting = append(waiting, n.UUID)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range waiting {
		if err := e.o.Manage(ctx, id); err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Locked) && !fault.Is(err, fault.Invalid) {
			return err
		}
	}
	return nil
}

// enrolledBy is the key in driver_internal_info that marks a node made here; its value is the host that named the card.
const enrolledBy = "enrolled_by_host"

// Reply returns an answer that tells an agent no more than when to be heard of again.
func (e *Enroller) Reply() wire.Reply {
	return wire.Reply{Interval: e.o.Interval, Lease: e.o.Lease}
}

func hostAnswer(ctx context.Context, tx *store.Tx, name string, reply *wire.Reply) error {
	h, err := tx.Host(ctx, name)
	if err != nil {
		return err
	}
	reply.Node = h.Node
	if h.Refused != "" {
		reply.Problems = append(reply.Problems, h.Refused)
	}
	cards, err := tx.HostCards(ctx, store.CardQuery{Host: name})
	for _, c := range cards {
		if c.Refused != "" {
			reply.Problems = append(reply.Problems, c.Refused)
		}
	}
	return err
}

func dpuAnswer(ctx context.Context, tx *store.Tx, d *store.DPU, reply *wire.Reply) error {
	list, err := tx.DPUs(ctx, []string{d.Serial})
	if err != nil {
		return err
	}
	for _, known := range list {
		if known.System == d.System && known.Refused != "" {
			reply.Problems = append(reply.Problems, known.Refused)
		}
	}
	n, err := tx.NodeByCard(ctx, d.Serial)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err == nil {
		reply.Node = n.UUID
	}
	return err
}

// note writes a line into the history of a node.
func note(ctx context.Context, tx *store.Tx, n *node.Node, severity, text string) error {
	return tx.InsertEvent(ctx, &store.Event{
		UUID: uuid.NewString(), Node: n.UUID, Severity: severity, Type: "enrolment", Text: text, State: n.Provision, Target: n.TargetProvision,
	})
}
