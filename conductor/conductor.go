// Package conductor carries out operations: it alone moves a node's state and talks to machines. One loop runs the steps of every flow; the
// state table in package node carries what differs. DESIGN.md beside this file says what holds at every moment.
package conductor

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/shard"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// Options is what a conductor works with.
type Options struct {
	DB      *store.DB
	Holder  *shard.Holder
	Catalog *step.Catalog
	Drivers map[string]driver.Driver // by hardware type
	Config  Config
	Pace    driver.Pace // patience with power changes
	Log     *slog.Logger
}

// Conductor runs the operations of the shards whose leases it holds.
type Conductor struct {
	db      *store.DB
	holder  *shard.Holder
	catalog *step.Catalog
	drivers map[string]driver.Driver
	cfg     Config
	pace    driver.Pace
	log     *slog.Logger

	bmcs     keyed         // one command at a time for each controller
	families keyed         // one power change at a time in a server and its cards
	workers  chan struct{} // room for operations

	freed    chan struct{} // gets a value when there is room again
	stopping atomic.Bool   // operations come to a safe point and end there

	mu      sync.Mutex
	running map[int64]*run
	wg      sync.WaitGroup
}

// New returns a conductor that does nothing yet.
func New(o Options) *Conductor {
	cfg := o.Config.filled()
	cfg.CommandLimit = min(cfg.CommandLimit, o.Holder.Delay())
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Conductor{
		db: o.DB, holder: o.Holder, catalog: o.Catalog, drivers: o.Drivers, cfg: cfg, pace: paced(o.Pace), log: log,
		workers: make(chan struct{}, cfg.Workers), freed: make(chan struct{}, 1), running: map[int64]*run{},
	}
}

// Run joins the conductors and works until ctx ends. Then it starts nothing new, gives what runs the time until drain ends to come to a safe
// point, and hands its leases over. What is not finished goes on in the next conductor, from its record.
func (c *Conductor) Run(ctx context.Context, drain time.Duration) error {
	if err := c.holder.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return c.goodbye(ctx, c.holder.Stop)
		}
		return err
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var loops sync.WaitGroup
	loops.Go(func() { c.holder.Run(work) })
	loops.Go(func() { c.syncPower(ctx) })
	c.dispatch(ctx, work)

	c.stopping.Store(true)
	err := c.goodbye(ctx, c.holder.Leave)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	c.drain(end)
	stopWork()
	c.wg.Wait()
	loops.Wait()
	return errors.Join(err, c.goodbye(ctx, c.holder.Stop))
}

// goodbye tells the others something although ctx has ended; a database that is away is not waited for long.
func (c *Conductor) goodbye(ctx context.Context, tell func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return tell(ctx)
}

// dispatch starts the operations of the held shards as they come. Operations run under work, which outlives ctx.
func (c *Conductor) dispatch(ctx, work context.Context) {
	woken, cancel := c.db.Subscribe(store.TopicOps)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := c.startOpen(ctx, work); err != nil && ctx.Err() == nil {
			c.log.Warn("operations could not be read", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-woken:
		case <-c.freed:
		case <-c.holder.Changed():
		case <-tick.C:
		}
	}
}

// startOpen starts every open operation that is not running here as far as there is room, hands the words of operators to those that are, and
// lets go of those that wait here and should not.
func (c *Conductor) startOpen(ctx, work context.Context) error {
	shards := c.holder.Shards()
	var open []store.OpRef
	if len(shards) > 0 {
		err := c.db.Read(ctx, func(tx *store.Tx) (err error) { open, err = tx.OpenOpRefs(ctx, shards); return err })
		if err != nil {
			return err
		}
	}
	known := make(map[int64]bool, len(open))
	room := true
	for _, ref := range open {
		known[ref.ID] = true
		if r := c.find(ref.ID); r != nil {
			r.tell(ref.Control)
		} else if room {
			room = c.start(work, ref)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, r := range c.running {
		ended := slices.Contains(shards, r.fence.Shard) && !known[id]
		if ended || c.holder.Leaving(r.fence.Shard) {
			r.leave()
		}
	}
	return nil
}

func (c *Conductor) find(id int64) *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[id]
}

// start starts an operation and reports whether there was room for it.
func (c *Conductor) start(work context.Context, ref store.OpRef) bool {
	select {
	case c.workers <- struct{}{}:
	default:
		return false
	}
	fence, done, ok := c.holder.Begin(ref.Lease)
	if !ok {
		c.free()
		return true
	}
	r := newRun(c, ref, fence)
	r.tell(ref.Control)
	c.mu.Lock()
	c.running[ref.ID] = r
	c.mu.Unlock()
	c.wg.Go(func() {
		defer func() {
			c.mu.Lock()
			delete(c.running, ref.ID)
			c.mu.Unlock()
			done()
			if !r.idle {
				c.free()
			}
		}()
		ctx, cancel := c.holder.Context(work, fence)
		defer cancel()
		r.carryOut(ctx)
	})
	return true
}

// free makes room for an operation.
func (c *Conductor) free() {
	<-c.workers
	select {
	case c.freed <- struct{}{}:
	default:
	}
}

// drain waits until nothing runs, or ctx ends.
func (c *Conductor) drain(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c.mu.Lock()
		for _, r := range c.running {
			r.leave()
		}
		n := len(c.running)
		c.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// persist writes under the fence f. A database that is away, or full, is waited for as long as the lease lasts, so that fn may run more than
// once: what it reads, it reads in its transaction. The error is fault.Lost when the lease, or the operation, is gone.
func (c *Conductor) persist(ctx context.Context, f store.Fence, p failpoint.Pair, fn func(tx *store.Tx) error) error {
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := c.persistOnce(ctx, f, p, fn)
		if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Full) {
			return err
		}
		if lost := c.holder.Check(f); lost != nil {
			return fault.New(fault.Lost, "%v; before that: %w", lost, err)
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Lost, "%v; before that: %w", context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
}

func (c *Conductor) persistOnce(ctx context.Context, f store.Fence, p failpoint.Pair, fn func(tx *store.Tx) error) error {
	if err := failpoint.Hit(p.Before()); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	if err := c.db.WriteFenced(ctx, f, fn); err != nil {
		return err
	}
	if err := failpoint.Hit(p.After()); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
}
