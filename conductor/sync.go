package conductor

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// glance is the next time at which a node's power is read.
type glance struct {
	uuid string
	at   time.Time
	fail int // failed in a row
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

// syncPower reads the power of every machine now and then and records what it sees. It never changes the power of a machine. Each node has its
// own time; a controller that does not answer is asked more and more seldom, and delays nobody else.
func (c *Conductor) syncPower(ctx context.Context) {
	if c.cfg.SyncInterval < 0 {
		return
	}
	w := &wheel{}
	known := map[string]bool{}
	room := make(chan struct{}, c.cfg.SyncWidth)
	back := make(chan *glance, c.cfg.SyncWidth)
	rescan := time.NewTicker(min(c.cfg.SyncInterval, 30*time.Second))
	defer rescan.Stop()
	for {
		c.enrolGlances(ctx, w, known)
		for {
			wait := time.Hour
			if len(*w) > 0 {
				wait = time.Until((*w)[0].at)
			}
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-rescan.C:
				timer.Stop()
			case g := <-back:
				timer.Stop()
				if g.at.IsZero() {
					delete(known, g.uuid)
				} else {
					heap.Push(w, g)
				}
				continue
			case <-timer.C:
				g := heap.Pop(w).(*glance)
				select {
				case room <- struct{}{}:
				case <-ctx.Done():
					return
				}
				c.wg.Go(func() {
					defer func() { <-room }()
					c.glanceAt(ctx, g)
					select {
					case back <- g:
					case <-ctx.Done():
					}
				})
				continue
			}
			break
		}
	}
}

// enrolGlances adds the nodes of the held shards that are not known yet, each at a time of its own within the interval.
func (c *Conductor) enrolGlances(ctx context.Context, w *wheel, known map[string]bool) {
	var list []*node.Node
	err := c.db.Read(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.Nodes(ctx, store.NodeQuery{IncludeChildren: true, LeaseShards: c.holder.Shards(), Columns: []string{"parent_node", "driver_info"}})
		return err
	})
	if err != nil {
		return
	}
	for _, n := range list {
		if known[n.UUID] || n.SlotPowered() {
			continue
		}
		known[n.UUID] = true
		h := fnv.New32a()
		_, _ = h.Write([]byte(n.UUID)) // a hash never fails
		heap.Push(w, &glance{uuid: n.UUID, at: time.Now().Add(time.Duration(h.Sum32()) % c.cfg.SyncInterval)})
	}
}

// glanceAt reads the power of one node, records what is new, and sets the time of the next look. A zero time takes the node off the wheel.
func (c *Conductor) glanceAt(ctx context.Context, g *glance) {
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
	g.at = time.Now().Add(interval << min(g.fail, 4))
}

// wantsSync reports whether nobody else is at the node, and its power says something.
func wantsSync(n *node.Node) bool {
	switch n.Provision {
	case node.DeployWait, node.CleanWait, node.Enroll, node.AdoptFail:
		return false
	}
	return n.Reservation == "" && n.TargetPower == "" && (!n.Maintenance || n.Fault == node.FaultPower)
}

func (c *Conductor) readPower(ctx context.Context, n *node.Node, fence store.Fence, g *glance) error {
	limit, cancel := context.WithTimeout(ctx, time.Minute)
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
	return c.db.WriteFenced(ctx, fence, func(tx *store.Tx) error { return sawPower(ctx, tx, n.UUID, seen) })
}

// sawPower records a power state that nobody asked for. Slot-powered cards follow their server.
func sawPower(ctx context.Context, tx *store.Tx, uuid string, seen node.PowerState) error {
	n, err := tx.NodeForUpdate(ctx, uuid)
	if err != nil || !wantsSync(n) {
		return err
	}
	if n.Fault == node.FaultPower {
		n.Maintenance, n.MaintenanceReason, n.Fault, n.LastError = false, "", "", ""
	}
	n.Power = seen
	if err := tx.SaveNode(ctx, n); err != nil || n.IsChild() {
		return err
	}
	children, err := tx.Children(ctx, uuid)
	if err != nil {
		return err
	}
	for _, child := range children {
		if child.SlotPowered() && child.Reservation == "" {
			if err := setPower(ctx, tx, child.UUID, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// powerLost puts a node into maintenance whose controller has not answered several times. It comes back by itself when the controller does.
func (c *Conductor) powerLost(ctx context.Context, n *node.Node, fence store.Fence, cause error) error {
	return c.db.WriteFenced(ctx, fence, func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(ctx, n.UUID)
		if err != nil || !wantsSync(n) || n.Maintenance {
			return err
		}
		text := fmt.Sprintf("During sync_power_state, max retries exceeded for node %s: %s. Switching node to maintenance mode.", n.UUID, cause)
		n.Maintenance, n.MaintenanceReason, n.Fault, n.LastError, n.Power = true, text, node.FaultPower, text, node.PowerError
		return tx.SaveNode(ctx, n)
	})
}
