package dpu

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/riser-project/riser/agent/wire"
)

// maxStatuses is how many statuses one call carries.
const maxStatuses = 500

// ledger has the status of each port, and what of it the server knows.
type ledger struct {
	changed signal

	mu    sync.Mutex
	now   map[string]wire.PortStatus
	known map[string]wire.PortStatus // what the server took
	sent  map[string]bool            // on its way, and not asked for again since
}

func newLedger() *ledger {
	return &ledger{changed: newSignal(), now: map[string]wire.PortStatus{}, known: map[string]wire.PortStatus{}, sent: map[string]bool{}}
}

// set notes the status of a port.
func (l *ledger) set(s wire.PortStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now[s.Port] = s
	if l.known[s.Port] != s {
		l.changed.raise()
	}
}

// get returns the last status of a port, and whether the server knows it.
func (l *ledger) get(port string) (status wire.PortStatus, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.now[port]
	return s, ok && l.known[port] == s
}

// keep forgets the ports that are not in the set.
func (l *ledger) keep(ports map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := func(port string, _ wire.PortStatus) bool { return !ports[port] }
	maps.DeleteFunc(l.now, gone)
	maps.DeleteFunc(l.known, gone)
}

// resend makes the server be told everything again.
func (l *ledger) resend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.known)
	clear(l.sent)
	l.changed.raise()
}

// repeat makes the server be told again of the ports of a list of orders: it may have forgotten what it knew.
func (l *ledger) repeat(list orders) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if list.Full {
		clear(l.known)
		clear(l.sent)
	}
	for _, o := range list.Orders {
		delete(l.known, o.Port)
		delete(l.sent, o.Port)
	}
	l.changed.raise()
}

// take returns statuses that the server does not know, up to maxStatuses, to be sent; only one caller may send at a time.
func (l *ledger) take() []wire.PortStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ports []string
	for port, s := range l.now {
		if l.known[port] != s {
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	list := make([]wire.PortStatus, 0, min(len(ports), maxStatuses))
	clear(l.sent)
	for _, port := range ports[:min(len(ports), maxStatuses)] {
		list = append(list, l.now[port])
		l.sent[port] = true
	}
	return list
}

// done notes that the server took statuses.
func (l *ledger) done(list []wire.PortStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range list {
		if _, ok := l.now[s.Port]; ok && l.sent[s.Port] {
			l.known[s.Port] = s
		}
	}
}

// sendStatuses tells the server of each change of a port's status until ctx ends; what it did not take is sent again.
func (a *agent) sendStatuses(ctx context.Context) {
	var pauses backOff
	for {
		list := a.ledger.take()
		if len(list) == 0 {
			select {
			case <-a.ledger.changed:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := a.send(ctx, list)
		if ctx.Err() != nil {
			return
		}
		a.news.tellErr("status", err)
		if err == nil {
			pauses.reset()
			continue
		}
		sleep(ctx, pauses.next(err))
	}
}

// send sends statuses. If the server will not take them together, each is sent alone, and one that it will not take at all is told to it no
// more until it changes.
func (a *agent) send(ctx context.Context, list []wire.PortStatus) error {
	err := a.server.post(ctx, a.card.serial, "status", wire.StatusReport{Ports: list}, &wire.Reply{})
	refused := (*refusal)(nil)
	switch {
	case err == nil:
		a.ledger.done(list)
		return nil
	case !errors.As(err, &refused) || !refused.malformed():
		return err
	case len(list) == 1:
		a.Log.Error("DPU agent: the server does not take a status", "port", list[0].Port, "state", list[0].State, "error", err)
		a.ledger.done(list)
		return nil
	}
	for _, s := range list {
		if err := a.send(ctx, []wire.PortStatus{s}); err != nil {
			return err
		}
	}
	return nil
}
