// Package conductor carries out operations: it alone moves a node's state and talks to machines. One loop runs the steps of every flow; the
// state table in package node carries what differs. DESIGN.md beside this file says what holds at every moment.
package conductor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/riser-project/riser/driver"
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

	mu      sync.Mutex
	running map[int64]*run
	wg      sync.WaitGroup
}

// New returns a conductor that does nothing yet.
func New(o Options) *Conductor {
	cfg := o.Config.filled()
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Conductor{
		db: o.DB, holder: o.Holder, catalog: o.Catalog, drivers: o.Drivers, cfg: cfg, pace: o.Pace, log: log,
		workers: make(chan struct{}, cfg.Workers), running: map[int64]*run{},
	}
}

// Run joins the conductors and works until ctx ends. Then it starts nothing new, gives what runs the time until drain ends to come to a safe
// point, and hands its leases over. What is not finished goes on in the next conductor, from its record.
func (c *Conductor) Run(ctx context.Context, drain time.Duration) error {
	if err := c.holder.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var loops sync.WaitGroup
	loops.Go(func() { c.holder.Run(work) })
	loops.Go(func() { c.syncPower(ctx) })
	c.dispatch(ctx, work)

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
		case <-c.holder.Changed():
		case <-tick.C:
		}
	}
}

// startOpen starts every open operation that is not running here, and hands the words of operators to those that are.
func (c *Conductor) startOpen(ctx, work context.Context) error {
	shards := c.holder.Shards()
	if len(shards) == 0 {
		return nil
	}
	var open []*store.Op
	err := c.db.Read(ctx, func(tx *store.Tx) (err error) { open, err = tx.OpenOps(ctx, shards); return err })
	if err != nil {
		return err
	}
	for _, op := range open {
		c.mu.Lock()
		r, ok := c.running[op.ID]
		c.mu.Unlock()
		if ok {
			r.tell(op.Control)
			continue
		}
		fence, done, ok := c.holder.Begin(op.Lease)
		if !ok {
			continue
		}
		select {
		case c.workers <- struct{}{}:
		case <-ctx.Done():
			done()
			return nil
		}
		r = newRun(c, op, fence)
		r.tell(op.Control)
		c.mu.Lock()
		c.running[op.ID] = r
		c.mu.Unlock()
		c.wg.Go(func() {
			defer func() {
				c.mu.Lock()
				delete(c.running, op.ID)
				c.mu.Unlock()
				done()
				<-c.workers
			}()
			r.carryOut(work)
		})
	}
	return nil
}

// drain waits until nothing runs, or what runs only waits, or ctx ends.
func (c *Conductor) drain(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.active() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// active returns the number of operations that are at work, not merely waiting.
func (c *Conductor) active() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, r := range c.running {
		if !r.idle.Load() {
			n++
		}
	}
	return n
}

// keyed is a set of locks by name. A lock exists while somebody holds it or waits for it.
type keyed struct {
	mu    sync.Mutex
	locks map[string]*keyedLock
}

type keyedLock struct {
	ch    chan struct{}
	users int
}

// lock takes the lock of key; an empty key needs none. The error is ctx's.
func (k *keyed) lock(ctx context.Context, key string) (unlock func(), err error) {
	if key == "" {
		return func() {}, nil
	}
	k.mu.Lock()
	if k.locks == nil {
		k.locks = map[string]*keyedLock{}
	}
	l := k.locks[key]
	if l == nil {
		l = &keyedLock{ch: make(chan struct{}, 1)}
		k.locks[key] = l
	}
	l.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, key)
		}
	}
	select {
	case l.ch <- struct{}{}:
		return func() { <-l.ch; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
