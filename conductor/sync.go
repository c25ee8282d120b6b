package conductor

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// glance is the next time at which a node's power is read.
type glance struct {
	uuid string
	at   time.Time // zero takes the node off the wheel
	fail int       // failed in a row
}

// wheel is the looks to come, the soonest first.
type wheel []*glance

func (w wheel) Len() int           { return len(w) }
func (w wheel) Less(i, j int) bool { return w[i].at.Before(w[j].at) }
func (w wheel) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *wheel) Push(x any)        { *w = append(*w, x.(*glance)) }
func (w *wheel) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}

// syncer reads the power of every machine now and then and records what it sees. It never changes the power of a machine. Each node has its
// own time; a controller that does not answer is asked more and more seldom, in a lane of its own, and delays nobody else.
type syncer struct {
	c     *Conductor
	wheel wheel
	known map[string]bool
	back  chan *glance
	fast  chan struct{} // lane of the controllers that answer, or did
	slow  chan struct{} // lane of those that do not
}

// slowLook is how long a look stays in the fast lane.
const slowLook = time.Second

func (c *Conductor) syncPower(ctx context.Context) {
	if c.cfg.SyncInterval < 0 {
		return
	}
	s := &syncer{
		c: c, known: map[string]bool{}, back: make(chan *glance, c.cfg.SyncWidth), fast: make(chan struct{}, c.cfg.SyncWidth),
		slow: make(chan struct{}, 4*c.cfg.SyncWidth),
	}
	rescan := time.NewTicker(min(c.cfg.SyncInterval, 30*time.Second))
	defer rescan.Stop()
	s.enrol(ctx)
	for {
		wait := time.Hour
		if len(s.wheel) > 0 {
			wait = time.Until(s.wheel[0].at)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-rescan.C:
			s.enrol(ctx)
		case g := <-s.back:
			s.putBack(g)
		case <-timer.C:
			if !s.begin(ctx, heap.Pop(&s.wheel).(*glance)) {
				return
			}
		}
		timer.Stop()
	}
}

// putBack puts a node back on the wheel, or lets go of it.
func (s *syncer) putBack(g *glance) {
	if g.at.IsZero() {
		delete(s.known, g.uuid)
		return
	}
	heap.Push(&s.wheel, g)
}

// begin has a node looked at, in its lane. A node for which the slow lane has no room waits a moment; the fast lane is waited for. It reports
// false when ctx has ended.
func (s *syncer) begin(ctx context.Context, g *glance) bool {
	if g.fail > 0 {
		select {
		case s.slow <- struct{}{}:
			s.look(ctx, g, func() { <-s.slow })
		default:
			g.at = time.Now().Add(slowLook)
			heap.Push(&s.wheel, g)
		}
		return true
	}
	for {
		select {
		case s.fast <- struct{}{}:
			lane := time.AfterFunc(slowLook, func() { <-s.fast })
			s.look(ctx, g, func() {
				if lane.Stop() {
					<-s.fast
				}
			})
			return true
		case back := <-s.back:
			s.putBack(back)
		case <-ctx.Done():
			return false
		}
	}
}

func (s *syncer) look(ctx context.Context, g *glance, leave func()) {
	s.c.wg.Go(func() {
		s.c.glanceAt(ctx, g)
		leave()
		select {
		case s.back <- g:
		case <-ctx.Done():
		}
	})
}

// enrol adds the nodes of the held shards that are not known yet, each at a time of its own within the interval.
func (s *syncer) enrol(ctx context.Context) {
	var list []*node.Node
	err := s.c.db.Read(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Nodes(ctx, store.NodeQuery{IncludeChildren: true, LeaseShards: s.c.holder.Shards(), Columns: []string{"parent_node", "driver_info"}})
		return err
	})
	if err != nil {
		return // the next look comes soon
	}
	for _, n := range list {
		if s.known[n.UUID] || n.SlotPowered() {
			continue
		}
		s.known[n.UUID] = true
		h := fnv.New32a()
		_, _ = h.Write([]byte(n.UUID)) // a hash never fails
		heap.Push(&s.wheel, &glance{uuid: n.UUID, at: time.Now().Add(time.Duration(h.Sum32()) % s.c.cfg.SyncInterval)})
	}
}

// glanceAt reads the power of one node, records what is new, and sets the time of the next look: an interval after the one that was due, so that
// looks do not drift.
func (c *Conductor) glanceAt(ctx context.Context, g *glance) {
	due := g.at
	var n *node.Node
	err := c.db.Read(ctx, func(tx *store.Tx) (err error) {
		if n, err = tx.Node(ctx, g.uuid); err != nil {
			return err
		}
		return tx.Unseal(ctx, n)
	})
	fence, done, ok := store.Fence{}, func() {}, false
	if err == nil {
		fence, done, ok = c.holder.Begin(n.Lease)
	}
	if err != nil || !ok || n.SlotPowered() {
		g.at = time.Time{}
		return
	}
	defer done()
	interval := c.cfg.SyncInterval
	if n.IsChild() {
		interval = c.cfg.SyncChildInterval
	}
	if wantsSync(n) {
		err = c.readPower(ctx, n, fence, g)
	}
	if err != nil && ctx.Err() == nil {
		c.log.Debug("power state could not be read", "node", n.UUID, "error", err)
	}
	g.at = due.Add(interval << min(g.fail, 4))
	if now := time.Now(); g.at.Before(now) {
		g.at = now
	}
}

// wantsSync reports whether nobody else is at the node, and its power says something.
func wantsSync(n *node.Node) bool {
	switch n.Provision {
	case node.DeployWait, node.CleanWait, node.Enroll, node.AdoptFail:
		return false
	}
	return n.Reservation == "" && n.TargetPower == "" && (!n.Maintenance || n.Fault == node.FaultPower)
}

// lookLimit is the longest look at a machine's power.
const lookLimit = 30 * time.Second

func (c *Conductor) readPower(ctx context.Context, n *node.Node, fence store.Fence, g *glance) error {
	limit, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	seen, _, err := c.look(limit, n)
	if err != nil {
		g.fail++
		if g.fail < c.cfg.SyncRetries || n.Maintenance {
			return err
		}
		return errors.Join(err, c.powerLost(ctx, n, fence, err))
	}
	g.fail = 0
	if seen == "" || (seen == n.Power && n.Fault != node.FaultPower) {
		return nil
	}
	return c.persistOnce(ctx, fence, failpoint.SyncPower, func(tx *store.Tx) error { return sawPower(ctx, tx, n, seen) })
}

// sawPower records a power state that nobody asked for. Slot-powered cards follow their server. When the node was written since it was looked
// at, what was seen may be from before, and counts for nothing.
func sawPower(ctx context.Context, tx *store.Tx, looked *node.Node, seen node.PowerState) error {
	n, err := tx.NodeForUpdate(ctx, looked.UUID)
	if err != nil || !wantsSync(n) || n.Version != looked.Version {
		return err
	}
	if n.Fault == node.FaultPower {
		n.Maintenance, n.MaintenanceReason, n.Fault, n.LastError = false, "", "", ""
	}
	n.Power = seen
	if err := tx.SaveNode(ctx, n); err != nil || n.IsChild() {
		return err
	}
	return setCards(ctx, tx, n.UUID, seen, func(c *node.Node) bool { return c.Reservation == "" })
}

// powerLost puts a node into maintenance whose controller has not answered several times. It comes back by itself when the controller does.
func (c *Conductor) powerLost(ctx context.Context, n *node.Node, fence store.Fence, cause error) error {
	return c.persistOnce(ctx, fence, failpoint.SyncLost, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, n.UUID)
		if err != nil || !wantsSync(n) || n.Maintenance {
			return err
		}
		text := clip(fmt.Sprintf("During sync_power_state, max retries exceeded for node %s: %s. Switching node to maintenance mode.", n.UUID, cause))
		n.Maintenance, n.MaintenanceReason, n.Fault, n.LastError, n.Power = true, text, node.FaultPower, text, node.PowerError
		return tx.SaveNode(ctx, n)
	})
}
