package dpu

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/ovsdb"
)

// probe spaces out the transactions by which the agent learns what ovn-controller has plugged: each change of any row is a reason to ask again
// for every port, so asking takes at most a fifth of the time.
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

// wait returns how long the next question has to wait.
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
	// What riser's own agent plugged before is in OVN's way; and what OVN plugged is told as what is left alone.
	_, err := r.vswitch.Unplug(ctx, o.Port, o.Generation)
	var other *ovsdb.ForeignError
	if err != nil && !errors.As(err, &other) {
		return wire.PortStatus{}, 0, err
	}
	byOVN := other != nil && strings.HasPrefix(other.Owner, "ovn")
	switch {
	case other != nil && !byOVN:
		return wire.PortStatus{}, 0, err
	case o.Action == wire.Unplug && other == nil:
		return statusOf(o, wire.Unplugged, ""), 0, nil
	case o.Action == wire.Unplug:
		return statusOf(o, wire.Waiting, fmt.Sprintf("ovn-controller to unplug %s", other.Name)), retry, nil
	case s.hindered[o.Port] != nil:
		why := s.hindered[o.Port]
		return statusOf(o, why.state, why.reason), why.again, nil
	}
	port := s.found[o.Port]
	switch {
	case other == nil:
		return statusOf(o, wire.Waiting, fmt.Sprintf("ovn-controller to plug %s", port.Netdev)), retry, nil
	case other.Name != port.Netdev:
		return statusOf(o, wire.Failed, fmt.Sprintf("ovn-controller has plugged %s, and the representor of %s is %s", other.Name, port.Function, port.Netdev)), retry, nil
	}
	status := statusOf(o, wire.Plugged, r.address(ctx, o, port))
	status.Representor = port.Netdev
	return status, 0, nil
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
