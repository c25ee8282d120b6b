package dpu

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/ovsdb"
)

const (
	retry        = time.Second // after a write that failed for a reason that passes
	minTenure    = time.Second // first pause after another agent took the switch over; doubles
	maxTenure    = time.Minute
	steadyTenure = 5 * time.Minute // from which on a rival is forgotten
)

// obey carries out orders until ctx ends, and begins anew after another agent has taken the switch over.
func (a *agent) obey(ctx context.Context) {
	pause := minTenure
	for ctx.Err() == nil {
		start := time.Now()
		err := a.tenure(ctx)
		if ctx.Err() != nil {
			return
		}
		a.Log.Error("DPU agent: another agent works on this card; stop one of them", "error", err)
		if time.Since(start) > steadyTenure {
			pause = minTenure
		}
		sleep(ctx, pause)
		pause = min(2*pause, maxTenure)
	}
}

// tenure claims the switch, asks for all orders and carries orders out, until ctx ends or another agent has the switch. The orders are asked for
// after the claim: they are not older than anything that an earlier agent acted upon, and that one can write no more.
func (a *agent) tenure(ctx context.Context) error {
	session := fmt.Sprintf("%s/%d/%s", a.card.serial, os.Getpid(), rand.Text())
	if err := a.claim(ctx, session); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	b := newBook()
	var polling sync.WaitGroup
	polling.Go(func() { a.poll(ctx, b) })
	defer polling.Wait()
	defer cancel()
	return a.reconcile(ctx, b)
}

// claim makes the switch this session's, as soon as it is there. The error is that of ctx.
func (a *agent) claim(ctx context.Context, session string) error {
	for {
		err := a.vswitch.Ready(ctx)
		if err == nil {
			err = a.vswitch.Claim(ctx, session)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.news.tellErr("claim", err)
		if err == nil {
			return nil
		}
		sleep(ctx, retry)
	}
}

// reconcile compares what is ordered with what is there each time that either changes, until ctx ends or another agent has the switch.
func (a *agent) reconcile(ctx context.Context, b *book) error {
	functions := a.kernel.subscribe()
	defer a.kernel.unsubscribe(functions)
	rows := a.vswitch.Subscribe()
	defer rows.Close()
	r := &reconciler{agent: a, book: b, addresses: map[string]address{}, unopened: map[string]time.Time{}}
	for {
		again, err := r.pass(ctx)
		if err != nil {
			return err
		}
		timer := time.NewTimer(again)
		select {
		case <-b.changed:
		case <-functions:
		case <-rows.C:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// reconciler is the state of reconcile.
type reconciler struct {
	*agent
	book      *book
	addresses map[string]address   // by port
	unopened  map[string]time.Time // since when a port's interface has not been opened, by port
	troubled  map[string]string    // errors of interfaces, by name, as of the last pass
	announced bool                 // the serial number stands in ovn-cms-options
	probe     probe
}

// scene is what one pass is about: what is ordered, and what is there.
type scene struct {
	all      []ovsdb.Interface
	orders   []order
	ordered  map[string]bool
	found    map[string]devlink.Port // representors of plug orders, by port
	hindered map[string]*obstacle    // why there is none, by port
	wanted   map[string]string       // port that is to have the representor, by network device
	plugged  map[string][]ovsdb.Interface
	holder   map[string]string // port that has the representor now, by network device
	tried    map[string]error  // what came of plugAhead, by port
}

// pass carries out what can be carried out, and returns after which time to look again if nothing changes. The error is that another agent has
// the switch.
func (r *reconciler) pass(ctx context.Context) (time.Duration, error) {
	list, complete := r.book.list()
	if !complete {
		return r.Resync, nil
	}
	plugged, err := r.vswitch.Interfaces()
	r.news.tellErr("Open vSwitch", err)
	if err != nil {
		r.hold(list, err)
		return retry, nil
	}
	if r.AnnounceSerial {
		r.announce(ctx)
	}
	s := r.look(list, plugged)
	r.plugAhead(ctx, s)
	r.probe.begin()
	again := r.Resync
	for _, o := range s.orders {
		status, after, err := r.carryOut(ctx, s, o)
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case errors.Is(err, ovsdb.ErrSuperseded):
			return 0, err
		case err != nil:
			r.hold(list, err)
			return retry, nil
		}
		if status.State != "" {
			r.ledger.set(status)
		}
		if after > 0 {
			again = min(again, after)
		}
	}
	r.probe.end()
	r.forget(s.ordered)
	left, err := r.surplus(ctx, s)
	if left {
		again = min(again, retry)
	}
	return again, err
}

// forget drops what is remembered of ports that are not ordered.
func (r *reconciler) forget(ordered map[string]bool) {
	r.ledger.keep(ordered)
	maps.DeleteFunc(r.unopened, func(port string, _ time.Time) bool { return !ordered[port] })
	maps.DeleteFunc(r.addresses, func(port string, _ address) bool { return !ordered[port] })
}

// hold says of orders that were not carried out that they wait for Open vSwitch; what was said of the others stays.
func (r *reconciler) hold(list []order, err error) {
	for _, o := range list {
		if have, _ := r.ledger.get(o.Port); have.Port == "" || have.Generation != o.Generation {
			r.ledger.set(wire.PortStatus{
				Port: o.Port, Generation: o.Generation, State: wire.Waiting, Reason: fmt.Sprintf("Open vSwitch of the card: %v", err),
			})
		}
	}
}

// look forgets orders to unplug of which the server knows that they are done, and finds the representors of all others.
func (r *reconciler) look(list []order, plugged []ovsdb.Interface) *scene {
	s := &scene{
		all: plugged, ordered: map[string]bool{}, found: map[string]devlink.Port{}, hindered: map[string]*obstacle{}, wanted: map[string]string{},
		plugged: map[string][]ovsdb.Interface{}, holder: map[string]string{}, tried: map[string]error{},
	}
	troubled := map[string]string{}
	for _, i := range plugged {
		s.plugged[i.IfaceID] = append(s.plugged[i.IfaceID], i)
		s.holder[i.Name] = i.IfaceID
		if i.Error != "" {
			troubled[i.Name] = i.Error
			if r.troubled[i.Name] == "" {
				r.kernel.again.raise() // the device may have got another name, which old kernels do not announce
			}
		}
	}
	r.troubled = troubled
	f := finder{ports: r.kernel.ports(), settle: r.Settle, now: time.Now()}
	for _, o := range list {
		if status, known := r.ledger.get(o.Port); known && o.Action == wire.Unplug && status.State == wire.Unplugged && status.Generation == o.Generation {
			r.book.drop(o)
			continue
		}
		s.orders = append(s.orders, o)
		s.ordered[o.Port] = true
		if o.flaw != "" || o.Action == wire.Unplug {
			continue
		}
		port, why := f.find(o)
		if why != nil {
			s.hindered[o.Port] = why
			continue
		}
		s.found[o.Port] = port
		s.wanted[port.Netdev] = o.Port // the last order is the newest
	}
	// A port that loses its representor comes after the one that gets it, which is one transaction then.
	slices.SortStableFunc(s.orders, func(x, y order) int { return cmp.Compare(s.loses(x), s.loses(y)) })
	return s
}

// loses returns 1 for an order whose representor a later order is for too, and else 0.
func (s *scene) loses(o order) int {
	if port, ok := s.found[o.Port]; ok && s.wanted[port.Netdev] != o.Port {
		return 1
	}
	return 0
}

// surplus unplugs what the agent plugged for ports that nobody orders any more, unless an order has taken its place. It returns whether some of it
// is left. The error is that another agent has the switch.
func (r *reconciler) surplus(ctx context.Context, s *scene) (left bool, err error) {
	beyond := func(i ovsdb.Interface) bool { return !s.ordered[i.IfaceID] }
	if !slices.ContainsFunc(s.all, beyond) {
		return false, nil
	}
	now, err := r.vswitch.Interfaces()
	r.news.tellErr("Open vSwitch", err)
	for _, i := range now {
		if !beyond(i) {
			continue
		}
		_, err := r.vswitch.Unplug(ctx, i.IfaceID, ovsdb.AnyGeneration)
		switch subject := fmt.Sprintf("interface %s of port %q, which is not ordered", i.Name, i.IfaceID); {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case errors.Is(err, ovsdb.ErrSuperseded):
			return false, err
		case err != nil:
			left = true
			r.news.tellErr(subject, err)
		default:
			r.news.tell(subject, "")
			r.Log.Info("DPU agent: unplugged, since it is not ordered", "interface", i.Name, "port", i.IfaceID, "generation", i.Generation)
		}
	}
	return left || err != nil, nil
}

// carryOut carries out one order, as far as that is possible now. It returns its status, whose state is "" while there is no news, and after which
// time to look again. The error is one that concerns all orders.
func (r *reconciler) carryOut(ctx context.Context, s *scene, o order) (wire.PortStatus, time.Duration, error) {
	var status wire.PortStatus
	var after time.Duration
	var err error
	switch {
	case o.flaw == "" && o.ByOVN:
		status, after, err = r.observe(ctx, s, o)
	case o.flaw == "" && o.Action == wire.Unplug:
		status, err = r.unplug(ctx, o)
	case o.flaw != "":
		status = statusOf(o, wire.Failed, o.flaw)
	case s.hindered[o.Port] != nil:
		why := s.hindered[o.Port]
		after = why.again
		status, err = r.withdraw(ctx, s, o, why)
	default:
		status, after, err = r.plug(ctx, s, o)
	}
	switch {
	case err == nil:
		return status, after, nil
	case shared(err):
		return wire.PortStatus{}, 0, err
	}
	status, after = r.explain(s, o, err)
	return status, after, nil
}

// shared tells whether an error concerns all orders.
func shared(err error) bool {
	return errors.Is(err, ovsdb.ErrSuperseded) || errors.Is(err, ovsdb.ErrNotConnected) || errors.Is(err, ovsdb.ErrStale) || errors.Is(err, context.Canceled)
}

func statusOf(o order, state, reason string) wire.PortStatus {
	return wire.PortStatus{Port: o.Port, Generation: o.Generation, State: state, Reason: reason}
}

// explain makes the status of an order that could not be carried out, and returns when to try again; 0 is for when something has changed. Of an
// order that is too old it tells the generation that was carried out. What may pass, such as a connection that broke, is waited for.
func (r *reconciler) explain(s *scene, o order, err error) (wire.PortStatus, time.Duration) {
	status := statusOf(o, wire.Failed, err.Error())
	var foreign *ovsdb.ForeignError
	switch {
	case errors.As(err, &foreign), errors.Is(err, ovsdb.ErrHeld):
	case errors.Is(err, ovsdb.ErrOldGeneration):
		for _, i := range s.plugged[o.Port] {
			status.Generation = max(status.Generation, i.Generation)
		}
	default:
		status.State = wire.Waiting
		return status, retry
	}
	return status, 0
}
