package binding

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// Limits of Run.
const (
	batch   = 256              // ports taken up at once
	width   = 8                // calls to the backend at a time
	backOff = time.Second      // after a failure; doubles
	longest = 30 * time.Second // wait after a failure
)

// Run keeps the backend as the store says, and the store informed of what the backend says, until ctx ends. It takes up what an earlier process
// left unfinished.
func (b *Binder) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { b.watch(ctx) })
	b.push(ctx)
	all.Wait()
}

// push tells the backend of changes: woken by the store, every Resync, and after failures with growing pauses.
func (b *Binder) push(ctx context.Context) {
	woken, cancel := b.o.DB.Subscribe(store.TopicPorts)
	defer cancel()
	pause := backOff
	for {
		wait := b.o.Resync
		switch err := b.Reconcile(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			b.o.Log.Error("the network backend is behind", "backend", b.o.Backend.Name(), "error", err)
			wait, pause = pause, min(2*pause, longest)
		default:
			pause = backOff
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-woken:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Reconcile tells the backend of every network, security group and port that it must still be told of.
func (b *Binder) Reconcile(ctx context.Context) error {
	if err := errors.Join(b.networks(ctx, false), b.groups(ctx, false)); err != nil {
		return err
	}
	var errs []error
	for {
		var list []*store.VPort
		err := b.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.VPorts(ctx, store.VPortQuery{Pending: true, Limit: batch})
			return err
		})
		if err != nil {
			return err
		}
		failed := b.tellAll(ctx, list)
		errs = append(errs, failed...)
		if len(list) < batch || len(failed) > 0 {
			break
		}
	}
	return errors.Join(append(errs, b.groups(ctx, true), b.networks(ctx, true))...)
}

func (b *Binder) tellAll(ctx context.Context, list []*store.VPort) []error {
	var mu sync.Mutex
	var errs []error
	var all sync.WaitGroup
	slots := make(chan struct{}, width)
	for _, p := range list {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := b.tell(ctx, p); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return errs
}

// networks tells the backend of the networks: those to keep, or those to remove.
func (b *Binder) networks(ctx context.Context, remove bool) error {
	var list []*store.Network
	subnets := map[string][]network.Subnet{}
	err := b.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		if list, err = tx.Networks(ctx, store.NetworkQuery{Pending: true, Limit: batch}); err != nil {
			return err
		}
		for _, n := range list {
			subs, err := tx.Subnets(ctx, n.ID)
			if err != nil {
				return err
			}
			for _, s := range subs {
				subnets[n.ID] = append(subnets[n.ID], s.Subnet)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range list {
		if n.Deleted == remove {
			errs = append(errs, b.tellNetwork(ctx, n, subnets[n.ID]))
		}
	}
	return errors.Join(errs...)
}

func (b *Binder) tellNetwork(ctx context.Context, n *store.Network, subnets []network.Subnet) error {
	var err error
	if n.Deleted {
		if err = b.o.Backend.RemoveNetwork(ctx, n.ID); fault.Is(err, fault.NotFound) {
			err = nil
		}
	} else {
		err = b.o.Backend.EnsureNetwork(ctx, n.Network, subnets)
	}
	return errors.Join(b.o.DB.Write(ctx, func(tx *store.Tx) error {
		if err != nil {
			return tx.NetworkTrouble(ctx, n.ID, err.Error())
		}
		return tx.NetworkTold(ctx, n)
	}), wrap("network", n.ID, err))
}

func wrap(what, id string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, id, err)
}

// tell tells the backend of one port and asks for its state.
func (b *Binder) tell(ctx context.Context, p *store.VPort) error {
	if p.Deleted {
		err := b.o.Backend.RemovePort(ctx, p.ID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return errors.Join(wrap("port", p.ID, err), b.trouble(ctx, p.ID, err))
		}
		b.events.forget(p.ID)
		return b.o.DB.Write(ctx, func(tx *store.Tx) error { return tx.VPortTold(ctx, p) })
	}
	var bound *network.Binding
	err := b.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
		bound, err = b.binding(ctx, tx, p)
		return err
	})
	if err != nil {
		return err
	}
	if err := b.o.Backend.EnsurePort(ctx, p.Port, bound); err != nil {
		return errors.Join(wrap("port", p.ID, err), b.trouble(ctx, p.ID, err))
	}
	events := b.events.of(p.ID)
	state, err := b.o.Backend.State(ctx, p.ID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return wrap("port", p.ID, err)
	}
	return b.o.DB.Write(ctx, func(tx *store.Tx) error {
		if err := tx.VPortTold(ctx, p); err != nil {
			return err
		}
		if b.events.of(p.ID) != events {
			return nil // an event has come since: it is newer than this answer
		}
		return b.heard(ctx, tx, network.State{Port: p.ID, Up: state.Up, Reason: state.Reason})
	})
}

// trouble notes why the backend could not be told, where a person looks for it.
func (b *Binder) trouble(ctx context.Context, port string, cause error) error {
	return b.o.DB.Write(ctx, func(tx *store.Tx) error {
		p, err := tx.VPortForUpdate(ctx, port)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil || p.Trouble == cause.Error() {
			return err
		}
		p.Trouble = cause.Error()
		if err := b.settle(ctx, tx, p); err != nil {
			return err
		}
		return tx.SaveVPortStatus(ctx, p)
	})
}

// binding returns what the backend is told about a bound port, or nil.
func (b *Binder) binding(ctx context.Context, tx *store.Tx, p *store.VPort) (*network.Binding, error) {
	c, o, err := current(ctx, tx, p)
	if err != nil || c == nil || o == nil || o.Drained {
		return nil, err
	}
	n, err := tx.NodeByCard(ctx, c.Card)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &network.Binding{Chassis: n.Card.Chassis, PFMAC: c.PFMAC, VF: c.VF, MTU: o.MTU, Generation: o.Generation, PlugByOVN: o.ByOVN}, nil
}

// watch hears from the backend until ctx ends.
func (b *Binder) watch(ctx context.Context) {
	pause := backOff
	for ctx.Err() == nil {
		start := time.Now()
		err := b.o.Backend.Watch(ctx, func(s network.State) {
			b.events.count(s.Port)
			if err := b.o.DB.Write(ctx, func(tx *store.Tx) error { return b.heard(ctx, tx, s) }); err != nil && ctx.Err() == nil {
				b.o.Log.Error("the state of a port is lost until the next one", "port", s.Port, "error", err)
			}
		})
		if ctx.Err() != nil {
			return
		}
		b.o.Log.Warn("the network backend's events have ended", "backend", b.o.Backend.Name(), "error", err)
		if time.Since(start) > longest {
			pause = backOff
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// events counts what the backend's watch has said of each port.
type events struct {
	mu sync.Mutex
	n  map[string]int
}

func (e *events) count(port string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.n == nil {
		e.n = map[string]int{}
	}
	e.n[port]++
}

func (e *events) of(port string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.n[port]
}

// forget drops the count of a port that is gone.
func (e *events) forget(port string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.n, port)
}

// heard takes what the backend says of a port.
func (b *Binder) heard(ctx context.Context, tx *store.Tx, s network.State) error {
	p, err := tx.VPortForUpdate(ctx, s.Port)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil || p.Up == s.Up && p.UpReason == s.Reason {
		return err
	}
	p.Up, p.UpReason = s.Up, s.Reason
	if err := b.settle(ctx, tx, p); err != nil {
		return err
	}
	return tx.SaveVPortStatus(ctx, p)
}
