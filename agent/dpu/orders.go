package dpu

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/riser-project/riser/agent/wire"
)

// order is an order as it came. One that cannot be read has a flaw, and is not carried out.
type order struct {
	wire.Order
	flaw string
}

// orders is wire.Orders, read so that one order that cannot be read does not spoil the others.
type orders struct {
	Revision int64
	Full     bool
	Orders   []order
	nameless []error // orders whose failure can be told to nobody, for they name no port
}

// UnmarshalJSON reads a wire.Orders.
func (o *orders) UnmarshalJSON(data []byte) error {
	var list struct {
		Revision int64             `json:"revision"`
		Full     bool              `json:"full"`
		Orders   []json.RawMessage `json:"orders"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	*o = orders{Revision: list.Revision, Full: list.Full}
	for i, text := range list.Orders {
		var one order
		if err := one.read(text); err != nil {
			o.nameless = append(o.nameless, fmt.Errorf("order %d of %d: %w", i+1, len(list.Orders), err))
			continue
		}
		o.Orders = append(o.Orders, one)
	}
	return nil
}

func (o *order) read(text []byte) error {
	err := json.Unmarshal(text, &o.Order)
	if err != nil {
		o.flaw = "the order cannot be read: " + err.Error()
		var head struct {
			Port       string `json:"port"`
			Generation int64  `json:"generation"`
			Revision   int64  `json:"revision"`
			Action     string `json:"action"`
		}
		if err := json.Unmarshal(text, &head); err != nil {
			return err
		}
		o.Order = wire.Order{Port: head.Port, Generation: head.Generation, Revision: head.Revision, Action: head.Action}
		if o.Action == wire.Unplug {
			o.flaw = "" // the rest says what was plugged
		}
	}
	switch {
	case o.Port == "":
		return errors.New("it names no port")
	case o.flaw != "":
	case o.Action != wire.Plug && o.Action != wire.Unplug:
		o.flaw = fmt.Sprintf("action %q is unknown: want %s or %s", o.Action, wire.Plug, wire.Unplug)
	case o.Generation < 0:
		o.flaw = fmt.Sprintf("generation %d is negative", o.Generation)
	}
	return nil
}

// book has the orders that are in force, one per port.
type book struct {
	changed signal

	mu       sync.Mutex
	complete bool // a full list was received: what is plugged beyond it must go
	orders   map[string]order
}

func newBook() *book {
	return &book{changed: newSignal(), orders: map[string]order{}}
}

// take enters a list and returns the orders that it refuses, in a full list too: those of a lower generation than the one in force.
func (b *book) take(list orders) (refused []order) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.orders
	if list.Full {
		b.complete = true
		b.orders = make(map[string]order, len(list.Orders))
	}
	for _, o := range list.Orders {
		if have, ok := before[o.Port]; ok && have.Generation > o.Generation {
			refused = append(refused, o)
			o = have
		}
		b.orders[o.Port] = o
	}
	b.changed.raise()
	return refused
}

// list returns the orders in force in the order in which they were given, and whether that is all of them.
func (b *book) list() ([]order, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.SortedFunc(maps.Values(b.orders), func(x, y order) int {
		return cmp.Or(cmp.Compare(x.Revision, y.Revision), cmp.Compare(x.Port, y.Port))
	}), b.complete
}

// drop forgets an order that is done, unless another one has replaced it.
func (b *book) drop(o order) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.orders[o.Port] == o {
		delete(b.orders, o.Port)
	}
}

// idlePause is the pause after a full list that brings nothing new: a server that never gave an order to the card answers at once.
const idlePause = 200 * time.Millisecond

// poll asks for orders until ctx ends: all of them at first, then those after the last that it got. It does not ask before the server took a
// report, for only then can the server tell whether another card has the same serial number, and gives orders to neither.
func (a *agent) poll(ctx context.Context, b *book) {
	select {
	case <-a.known:
	case <-ctx.Done():
		return
	}
	var after int64
	var pauses backOff
	for ctx.Err() == nil {
		list, err := a.server.orders(ctx, a.card.serial, after)
		if ctx.Err() != nil {
			return
		}
		a.news.tellErr("orders", err)
		if err != nil {
			a.waitReported(ctx, pauses.next(err))
			continue
		}
		pauses.reset()
		idle := list.Full && list.Revision == after
		after = list.Revision
		if list.Full || len(list.Orders) > 0 {
			a.enter(b, list)
		}
		if idle {
			sleep(ctx, idlePause)
		}
	}
}

// enter takes a list of orders to the book.
func (a *agent) enter(b *book, list orders) {
	a.ledger.repeat(list)
	for _, o := range b.take(list) {
		// The server learns of the higher generation from the port's status.
		a.Log.Warn("DPU agent: an order is older than the one in force", "port", o.Port, "generation", o.Generation)
	}
	for _, err := range list.nameless {
		a.Log.Error("DPU agent: an order cannot be read, and names no port", "error", err)
	}
}

// waitReported waits, at most until the server takes a report: that may have been the trouble.
func (a *agent) waitReported(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	select {
	case <-a.reported:
	case <-ctx.Done():
	}
}
