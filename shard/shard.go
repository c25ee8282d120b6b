// Package shard keeps the leases that give a conductor the right to act on nodes: membership, which shard belongs to whom, renewal, takeover and
// hand-over. One process on SQLite goes through the same code as many on PostgreSQL.
package shard

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// Options says who holds the leases and how long they last. Zero durations mean the defaults.
type Options struct {
	ID       string // of this process; new at each start
	Hostname string
	Group    string   // conductor group
	Drivers  []string // hardware types

	TTL    time.Duration // life of a lease after its last renewal; 15 s
	Renew  time.Duration // between renewals; 5 s
	Delay  time.Duration // a successor waits this long after a lease has expired; at least the longest life of a command; 10 s
	Margin time.Duration // a holder stops sending this long before its lease can expire; a fifth of TTL

	Log *slog.Logger
	Now func() time.Time // a clock whose differences are monotonic; nil means time.Now
}

func (o *Options) fill() {
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.TTL, 15 * time.Second}, {&o.Renew, 5 * time.Second}, {&o.Delay, 10 * time.Second}} {
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	if o.Margin == 0 {
		o.Margin = o.TTL / 5
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Holder holds the leases of one conductor process. It is safe for concurrent use.
type Holder struct {
	db   *store.DB
	opts Options

	mu      sync.Mutex
	shards  []int // of the group
	held    map[int]lease
	busy    map[int]int  // operations under way in each shard
	leaving map[int]bool // belong to others, and have operations under way
	watched map[*watch]bool
	pruned  time.Time // when dead conductors were last forgotten
	changed chan struct{}
	idle    chan struct{} // gets a value when a shard that others wait for has no work any more
}

// watch ends the context of work when its lease is lost.
type watch struct {
	fence  store.Fence
	cancel context.CancelCauseFunc
}

type lease struct {
	epoch int64
	until time.Time // on this process's monotonic clock: no command may leave after it
}

// New returns a holder that holds nothing yet.
func New(db *store.DB, opts Options) *Holder {
	opts.fill()
	return &Holder{
		db: db, opts: opts, held: map[int]lease{}, busy: map[int]int{}, leaving: map[int]bool{}, watched: map[*watch]bool{}, changed: make(chan struct{}, 1),
		idle: make(chan struct{}, 1),
	}
}

// Hostname is the name under which the holder's conductor is known.
func (h *Holder) Hostname() string { return h.opts.Hostname }

// Delay is how long a successor waits after a lease has expired: no command of the holder may live longer.
func (h *Holder) Delay() time.Duration { return h.opts.Delay }

// Start joins the conductors and takes the first leases. On an embedded database, which only one process can have open, the leases of a
// process that died are broken at once; elsewhere they are waited for.
func (h *Holder) Start(ctx context.Context) error {
	if h.db.Embedded() {
		if err := h.db.BreakLeases(ctx); err != nil {
			return err
		}
	}
	shards, err := h.db.PrepareLeases(ctx, h.opts.Group)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.shards = shards
	h.mu.Unlock()
	return errors.Join(h.tick(ctx, false), h.announce(ctx))
}

// Run renews and rebalances until ctx ends. It does not hand the leases over: Stop does, when the work is done.
func (h *Holder) Run(ctx context.Context) {
	var sweeper sync.WaitGroup
	sweeper.Go(func() { h.sweep(ctx) })
	defer sweeper.Wait()
	timer := time.NewTicker(h.opts.Renew)
	defer timer.Stop()
	woken, cancel := h.db.Subscribe(store.TopicMembers)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-woken:
		case <-h.idle:
		}
		if err := h.tick(ctx, false); err != nil && ctx.Err() == nil {
			h.opts.Log.Warn("leases could not be renewed", "error", err)
		}
	}
}

// sweepTime bounds how long work goes on after its lease is lost.
const sweepTime = 200 * time.Millisecond

// sweep ends the work whose lease is lost, be it that others took it or that it could not be renewed, however long the database is silent.
func (h *Holder) sweep(ctx context.Context) {
	timer := time.NewTicker(sweepTime)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		h.mu.Lock()
		for w := range h.watched {
			if err := h.check(w.fence); err != nil {
				w.cancel(err)
				delete(h.watched, w)
			}
		}
		h.mu.Unlock()
	}
}

// Context returns a context that ends, with fault.Lost as its cause, when the lease of f is lost. cancel must be called when the work is done.
func (h *Holder) Context(ctx context.Context, f store.Fence) (_ context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(ctx)
	w := &watch{f, end}
	h.mu.Lock()
	h.watched[w] = true
	h.mu.Unlock()
	return ctx, func() {
		h.mu.Lock()
		delete(h.watched, w)
		h.mu.Unlock()
		end(nil)
	}
}

// Stop hands over every lease and leaves the conductors. Nothing may be under way any more.
func (h *Holder) Stop(ctx context.Context) error {
	h.mu.Lock()
	clear(h.held)
	h.mu.Unlock()
	return errors.Join(h.release(ctx, nil), h.db.RemoveConductor(ctx, h.opts.ID), h.announce(ctx))
}

// Leave tells the others that this process is stopping, so that they take its shards as soon as it hands them over.
func (h *Holder) Leave(ctx context.Context) error {
	return errors.Join(h.tick(ctx, true), h.announce(ctx))
}

func (h *Holder) announce(ctx context.Context) error {
	return h.db.Write(ctx, func(tx *store.Tx) error { tx.Wake(store.TopicMembers); return nil })
}

// tick heartbeats, renews, hands over what others should have and takes what is free.
func (h *Holder) tick(ctx context.Context, stopping bool) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.TTL) // a database that is silent for longer has cost the leases already
	defer cancel()
	if err := h.renew(ctx, stopping); err != nil {
		return err
	}
	mine, err := h.share(ctx)
	if err != nil {
		return err
	}
	if surplus := h.surplus(mine); len(surplus) > 0 {
		if err := h.release(ctx, surplus); err != nil {
			return err
		}
	}
	if stopping {
		return nil
	}
	return h.take(ctx, h.missing(mine))
}

func (h *Holder) renew(ctx context.Context, stopping bool) error {
	me := store.Conductor{ID: h.opts.ID, Hostname: h.opts.Hostname, Group: h.opts.Group, Drivers: h.opts.Drivers, Stopping: stopping}
	err := around(failpoint.Join, func() error { return h.db.SaveConductor(ctx, me) })
	if err != nil {
		return err
	}
	if now := h.opts.Now(); now.Sub(h.pruned) > time.Hour {
		if err := h.db.PruneConductors(ctx, 24*time.Hour); err != nil {
			return err
		}
		h.pruned = now
	}
	start := h.opts.Now()
	var held []store.Lease
	err = around(failpoint.Renew, func() (err error) { held, err = h.db.RenewLeases(ctx, h.opts.ID, h.opts.TTL); return err })
	if err != nil {
		return err
	}
	h.renewed(start, held)
	return nil
}

func (h *Holder) take(ctx context.Context, missing []int) error {
	if len(missing) == 0 {
		return nil
	}
	start := h.opts.Now()
	var taken []store.Lease
	err := around(failpoint.Take, func() (err error) {
		taken, err = h.db.TakeLeases(ctx, h.opts.ID, missing, h.opts.TTL, h.opts.Delay)
		return err
	})
	if err != nil {
		return err
	}
	h.took(start, taken)
	return nil
}

func (h *Holder) release(ctx context.Context, shards []int) error {
	return around(failpoint.ReleaseLease, func() error { return h.db.ReleaseLeases(ctx, h.opts.ID, shards) })
}

// around puts the points of p around a write.
func around(p failpoint.Pair, write func() error) error {
	if err := failpoint.Hit(p.Before()); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	return failpoint.Hit(p.After())
}

// renewed replaces what is held: counted from the moment before the renewal was sent, so that it never ends later than the database says.
func (h *Holder) renewed(start time.Time, held []store.Lease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := make(map[int]lease, len(held))
	for _, l := range held {
		next[l.Shard] = lease{l.Epoch, start.Add(h.opts.TTL - h.opts.Margin)}
	}
	for shard := range h.held {
		if _, ok := next[shard]; !ok {
			h.opts.Log.Warn("lease lost", "shard", shard)
		}
	}
	h.held = next
}

func (h *Holder) took(start time.Time, taken []store.Lease) {
	if len(taken) == 0 {
		return
	}
	h.mu.Lock()
	for _, l := range taken {
		h.held[l.Shard] = lease{l.Epoch, start.Add(h.opts.TTL - h.opts.Margin)}
	}
	h.mu.Unlock()
	poke(h.changed)
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// share returns the shards that belong to this process among the living ones of its group, by rendezvous hashing.
func (h *Holder) share(ctx context.Context) (map[int]bool, error) {
	var members []string
	err := h.db.Read(ctx, func(tx *store.Tx) error {
		all, err := tx.Conductors(ctx, h.opts.TTL)
		for _, c := range all {
			if c.Alive && !c.Stopping && c.Group == h.opts.Group {
				members = append(members, c.ID)
			}
		}
		return err
	})
	mine := map[int]bool{}
	for _, shard := range h.shards {
		if Winner(shard, members) == h.opts.ID {
			mine[shard] = true
		}
	}
	return mine, err
}

// surplus returns the shards that are held, belong to somebody else and have nothing under way. In the ones that have, the work is asked to come
// to a safe point.
func (h *Holder) surplus(mine map[int]bool) []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.leaving)
	var list []int
	for shard := range h.held {
		switch {
		case mine[shard]:
		case h.busy[shard] > 0:
			h.leaving[shard] = true
			poke(h.changed)
		default:
			list = append(list, shard)
			delete(h.held, shard)
		}
	}
	slices.Sort(list)
	return list
}

func (h *Holder) missing(mine map[int]bool) []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []int{}
	for _, shard := range h.shards {
		if _, ok := h.held[shard]; mine[shard] && !ok {
			list = append(list, shard)
		}
	}
	return list
}

// Changed gets a value when leases were taken, or should be given away as soon as their work comes to a safe point.
func (h *Holder) Changed() <-chan struct{} { return h.changed }

// Shards returns the shards in which work may be started: held, and not on their way to another conductor.
func (h *Holder) Shards() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.opts.Now()
	list := []int{}
	for shard, l := range h.held {
		if now.Before(l.until) && !h.leaving[shard] {
			list = append(list, shard)
		}
	}
	slices.Sort(list)
	return list
}

// Leaving reports whether the shard belongs to another conductor, which waits for the work in it to come to a safe point.
func (h *Holder) Leaving(shard int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leaving[shard]
}

// Begin marks an operation of the shard as under way and returns the fence for its writes. done must be called at its end.
func (h *Holder) Begin(shard int) (f store.Fence, done func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l, ok := h.held[shard]
	if !ok || !h.opts.Now().Before(l.until) {
		return store.Fence{}, nil, false
	}
	h.busy[shard]++
	return store.Fence{Shard: shard, Owner: h.opts.ID, Epoch: l.epoch}, sync.OnceFunc(func() { h.ended(shard) }), true
}

// ended counts an operation off. The last one of a shard that others wait for has it handed over.
func (h *Holder) ended(shard int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy[shard]--; h.busy[shard] > 0 {
		return
	}
	delete(h.busy, shard)
	if h.leaving[shard] {
		poke(h.idle)
	}
}

// Check returns fault.Lost unless the lease of f is still held by this process's own monotonic clock. It is asked at the moment of sending.
func (h *Holder) Check(f store.Fence) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.check(f)
}

func (h *Holder) check(f store.Fence) error {
	l, ok := h.held[f.Shard]
	if !ok || l.epoch != f.Epoch || !h.opts.Now().Before(l.until) {
		return fault.New(fault.Lost, "the lease of shard %d under epoch %d is no longer held: the command was not sent", f.Shard, f.Epoch)
	}
	return nil
}
