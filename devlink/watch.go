package devlink

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/genetlink"
)

// watchBuffer is the receive buffer of a watcher in bytes: a whole card's functions may appear in one burst.
const watchBuffer = 1 << 20

// EventKind says what happened.
type EventKind uint8

// Kinds of events.
const (
	PortNew  EventKind = iota // a port appeared, or something about it changed, such as its network device
	PortDel                   // a port is gone
	Overflow                  // changes were lost: only a new dump tells what is there now
)

// String returns the kind as a short word.
func (k EventKind) String() string { return [...]string{"new", "del", "overflow"}[min(k, Overflow)] }

// Event is one change of the port table. Port is empty for an Overflow, and Err then says why changes were lost.
type Event struct {
	Kind EventKind
	Port Port
	Err  error
}

// Watcher delivers the changes of the port table of all instances.
type Watcher struct {
	ctx   context.Context
	nl    *genetlink.Conn
	stop  func() bool
	queue []Event
}

// Watch joins the multicast group "config" on a connection of its own. No change after its return is missed: it is
// delivered, or an Overflow stands for it. So dump after Watch, not before. Cancelling ctx ends the watcher, as Close
// does.
//
// Kernels up to 6.1 do not announce that a network device was renamed; a Watcher alone is no reason never to dump.
func (c *Conn) Watch(ctx context.Context) (*Watcher, error) {
	nl, family, err := open(c.dial)
	if err != nil {
		return nil, err
	}
	if err := join(nl, family); err != nil {
		_ = nl.Close()
		return nil, fmt.Errorf("devlink: watch ports: %w", err)
	}
	return &Watcher{ctx: ctx, nl: nl, stop: context.AfterFunc(ctx, func() { _ = nl.Close() })}, nil
}

func join(nl *genetlink.Conn, family genetlink.Family) error {
	for _, g := range family.Groups {
		if g.Name == groupName {
			// A smaller buffer only overflows sooner, and that is handled.
			_ = nl.SetReadBuffer(watchBuffer)
			return nl.JoinGroup(g.ID)
		}
	}
	return fmt.Errorf("the devlink family has no multicast group %q", groupName)
}

// Next waits for the next change. It returns the context's error after cancellation and net.ErrClosed, or another
// error of the socket, after Close; any error is final.
func (w *Watcher) Next() (Event, error) {
	for len(w.queue) == 0 {
		msgs, _, err := w.nl.Receive()
		switch {
		case w.ctx.Err() != nil:
			return Event{}, w.ctx.Err()
		case errors.Is(err, syscall.ENOBUFS):
			w.queue = append(w.queue, Event{Kind: Overflow, Err: fmt.Errorf("devlink: watch ports: %w", err)})
		case err != nil:
			return Event{}, fmt.Errorf("devlink: watch ports: %w", err)
		}
		for _, m := range msgs {
			if e, ok := decodeEvent(m); ok {
				w.queue = append(w.queue, e)
			}
		}
	}
	e := w.queue[0]
	w.queue = w.queue[1:]
	return e, nil
}

func decodeEvent(m genetlink.Message) (Event, bool) {
	var kind EventKind
	switch m.Header.Command {
	case cmdPortNew:
		kind = PortNew
	case cmdPortDel:
		kind = PortDel
	default:
		return Event{}, false
	}
	p, err := decodePort(m.Data)
	if err != nil {
		// Something changed that cannot be read here; a dump is the way to learn what.
		return Event{Kind: Overflow, Err: fmt.Errorf("devlink: watch ports: %w", err)}, true
	}
	return Event{Kind: kind, Port: p}, true
}

// Close ends the watcher and a Next that waits.
func (w *Watcher) Close() error {
	if !w.stop() {
		return nil
	}
	return w.nl.Close()
}
