package dpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/ovsdb"
)

// probe spaces out the looks at what ovn-controller has plugged: each change of any row is a reason to look at every port again, and that takes at
// most a fifth of the time.
type probe struct {
	started time.Time
	next    time.Time
	asked   bool
}

const probePause = 5 * time.Millisecond

func (p *probe) begin() { p.started, p.asked = time.Now(), false }

func (p *probe) end() {
	if p.asked {
		p.next = time.Now().Add(max(probePause, 4*time.Since(p.started)))
	}
}

// wait returns how long the next look has to wait.
func (p *probe) wait() time.Duration { return max(0, p.next.Sub(p.started)) }

// observe says how far ovn-controller is with an order that it carries out itself, and clears the way for it.
func (r *reconciler) observe(ctx context.Context, s *scene, o order) (wire.PortStatus, time.Duration, error) {
	r.announce(ctx)
	if wait := r.probe.wait(); wait > 0 {
		if last, _ := r.ledger.get(o.Port); last.Generation == o.Generation && last.Port != "" {
			return wire.PortStatus{}, wait, nil
		}
	}
	r.probe.asked = true
	there, err := r.vswitch.InterfacesOf(o.Port)
	if err != nil {
		return wire.PortStatus{}, 0, err
	}
	if o.Action == wire.Unplug || slices.ContainsFunc(there, func(i ovsdb.Interface) bool { return !byOVN(i) }) {
		// What riser's own agent plugged before is in OVN's way. That nothing is there any more, the database itself has to say.
		_, err := r.vswitch.Unplug(ctx, o.Port, o.Generation)
		var other *ovsdb.ForeignError
		if err != nil && !(errors.As(err, &other) && !slices.ContainsFunc(there, isForeign)) {
			return wire.PortStatus{}, 0, err
		}
		there = slices.DeleteFunc(there, func(i ovsdb.Interface) bool { return !byOVN(i) })
		if o.Action == wire.Unplug && other != nil && len(there) == 0 {
			return wire.PortStatus{}, retry, nil // it has come just now
		}
	}
	if o.Action == wire.Unplug {
		if len(there) == 0 {
			return statusOf(o, wire.Unplugged, ""), 0, nil
		}
		return statusOf(o, wire.Waiting, "ovn-controller to unplug "+there[0].Name), 0, nil
	}
	status, after := r.compare(ctx, s, o, there)
	return status, after, nil
}

// byOVN tells whether ovn-controller has plugged an interface.
func byOVN(i ovsdb.Interface) bool { return strings.HasPrefix(i.Owner, "ovn") }

// isForeign tells whether neither riser nor ovn-controller has plugged an interface.
func isForeign(i ovsdb.Interface) bool { return i.Owner != "" && !byOVN(i) }

// compare says whether what ovn-controller has plugged for a port is what was ordered.
func (r *reconciler) compare(ctx context.Context, s *scene, o order, there []ovsdb.Interface) (wire.PortStatus, time.Duration) {
	if why := s.hindered[o.Port]; why != nil {
		return statusOf(o, why.state, why.reason), why.again
	}
	port := s.found[o.Port]
	note := r.address(ctx, o, port)
	switch {
	case len(there) == 0:
		return statusOf(o, wire.Waiting, "ovn-controller to plug "+port.Netdev), 0
	case there[0].Name != port.Netdev:
		return statusOf(o, wire.Failed, fmt.Sprintf("ovn-controller has plugged %s, and the representor of %s is %s", there[0].Name, port.Function, port.Netdev)), 0
	}
	return r.opened(o, port, there[0], note)
}

// announce lets OVN's users find this chassis by the card's serial number. What else stands in ovn-cms-options stays.
func (r *reconciler) announce(ctx context.Context) {
	if r.announced {
		return
	}
	added, err := r.vswitch.AddCMSOption(ctx, "card-serial-number="+r.card.serial)
	r.news.tellErr("ovn-cms-options", err)
	r.announced = err == nil
	if added {
		r.Log.Info("DPU agent: ovn-cms-options names the card", "serial", r.card.serial)
	}
}
