package placement

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// writer makes claims and releases them. On an embedded store, which writes one transaction after the other, those that come while one is on its
// way share the next: each has its own outcome, and all have one commit. On PostgreSQL each is a transaction of its own.
type writer struct {
	db *store.DB

	mu      sync.Mutex
	pending []*write
	writing bool
	came    chan struct{} // gets a value when as many are pending as are waited for
	wanted  int
}

type write struct {
	ctx  context.Context
	run  func(*store.Tx, *batch) error
	err  error
	done chan struct{}
}

const (
	together = 128                    // how many share a commit at most
	gather   = 500 * time.Microsecond // how long a commit waits for those who shared the last one; the disk takes longer
)

func (w *writer) do(ctx context.Context, run func(*store.Tx, *batch) error) error {
	m := &write{ctx: ctx, run: run, done: make(chan struct{})}
	if !w.db.Embedded() {
		return w.alone(m)
	}
	w.mu.Lock()
	w.pending = append(w.pending, m)
	if len(w.pending) == w.wanted {
		close(w.came)
		w.wanted = 0
	}
	if !w.writing {
		w.writing = true
		go w.drain()
	}
	w.mu.Unlock()
	<-m.done
	return m.err
}

// drain commits until nothing is pending. Clients that make one request after the other would fall into two crowds, each waiting for the other's
// commit; so a commit waits a little until as many are there as there were.
func (w *writer) drain() {
	for {
		list := w.take()
		if len(list) == 0 {
			return
		}
		w.commit(list)
		w.mu.Lock()
		crowd := min(len(list)+len(w.pending), together)
		came := w.want(crowd)
		w.mu.Unlock()
		for _, m := range list {
			close(m.done)
		}
		if came != nil {
			over := time.NewTimer(gather)
			select {
			case <-came:
			case <-over.C:
			}
			over.Stop()
		}
	}
}

// want returns a channel that is closed when n writes are pending, or nil when there is nobody to wait for. w.mu is held.
func (w *writer) want(n int) <-chan struct{} {
	if n <= 1 || len(w.pending) >= n {
		return nil
	}
	w.came, w.wanted = make(chan struct{}), n
	return w.came
}

// take takes what is pending, as far as it may share a commit.
func (w *writer) take() []*write {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.pending[:min(len(w.pending), together)]
	w.pending = slices.Clone(w.pending[len(list):])
	w.writing, w.wanted = len(list) > 0, 0
	return list
}

// commit carries out list in one transaction. If that is lost as a whole, each gets its outcome in a transaction of its own.
func (w *writer) commit(list []*write) {
	if len(list) > 1 {
		err := w.db.Write(context.Background(), func(tx *store.Tx) error { return share(tx, list) })
		if err == nil {
			return
		}
	}
	for _, m := range list {
		m.err = w.alone(m)
	}
}

func share(tx *store.Tx, list []*write) error {
	b := newBatch()
	for _, m := range list {
		if m.err = m.ctx.Err(); m.err != nil {
			continue
		}
		m.err = tx.Try(m.ctx, func() error { return m.run(tx, b) })
		switch {
		case errors.Is(m.err, store.ErrAborted):
			return m.err
		case m.err != nil:
			b = newBatch() // what it knows includes what was taken back
		}
	}
	return nil
}

func (w *writer) alone(m *write) error {
	return w.db.Write(m.ctx, func(tx *store.Tx) error { return m.run(tx, newBatch()) })
}

// batch is what the claims of one transaction know together: a host is read once, and what they take is counted along.
type batch struct {
	hosts map[string]*hostView
	pfs   map[pfKey]*store.Functions
}

type pfKey struct{ host, address string }

func newBatch() *batch {
	return &batch{hosts: map[string]*hostView{}, pfs: map[pfKey]*store.Functions{}}
}

// host returns a host, whose row is held: its capacity is counted by one claimant at a time.
func (b *batch) host(ctx context.Context, tx *store.Tx, r *Request, name string) (*hostView, error) {
	if h := b.hosts[name]; h != nil && r.VCPUs == 0 && r.MemoryMB == 0 {
		return h, nil
	} else if h != nil {
		loads, err := tx.ServerLoads(ctx, []string{name})
		h.Load = loads[name]
		return h, err
	}
	list, err := load(ctx, tx, store.HostQuery{Names: []string{name}, Lock: true})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.HostNotFound(name)
	}
	b.hosts[name] = list[0]
	return list[0], nil
}

// claim is Placer.Claim.
func (b *batch) claim(ctx context.Context, tx *store.Tx, r Request, host string) ([]*store.Claim, error) {
	claims, missing, err := r.had(ctx, tx)
	if err != nil || len(missing) == 0 && len(claims) > 0 {
		return claims, err
	}
	for _, c := range claims {
		if c != nil && c.Host != host {
			return nil, fault.New(fault.Conflict, "port %s has a function on host %s already", c.Port, c.Host)
		}
	}
	h, err := b.host(ctx, tx, &r, host)
	if err != nil {
		return nil, err
	}
	ports := r.Ports
	r.Host, r.Ports = host, make([]Port, len(missing))
	for i, at := range missing {
		r.Ports[i] = ports[at]
	}
	plan, refusal := check(&r, h)
	if refusal.Filter != "" {
		return nil, taken(host, refusal.text())
	}
	for i, port := range r.Ports {
		if claims[missing[i]], err = b.take(ctx, tx, &r, &port, plan[i]); err != nil {
			return nil, err
		}
	}
	return claims, nil
}

// take claims a function of the PF for a port.
func (b *batch) take(ctx context.Context, tx *store.Tx, r *Request, port *Port, pf *pfView) (*store.Claim, error) {
	c := &store.Claim{UUID: uuid.NewString(), Key: r.claimKey(port.ID), Port: port.ID, Server: r.Server, VF: store.AnyVF}
	if port.Whole {
		c.VF = store.WholePF
	}
	key := pfKey{pf.Host, pf.Address}
	f := b.pfs[key]
	var err error
	if f == nil {
		f, err = tx.Functions(ctx, pf.Host, pf.Address)
	}
	if err == nil {
		err = tx.Take(ctx, f, c)
	}
	if fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		return nil, taken(pf.Host, err.Error())
	}
	if err != nil {
		return nil, err
	}
	b.pfs[key] = f
	pf.count(c.VF, 1)
	return c, nil
}

// release is Placer.Release.
func (b *batch) release(ctx context.Context, tx *store.Tx, uuid string) error {
	c, err := tx.Release(ctx, uuid, store.ClaimClaimed)
	if err != nil {
		return err
	}
	if c == nil {
		return orphan(ctx, tx, uuid)
	}
	key := pfKey{c.Host, c.PF}
	if f := b.pfs[key]; f != nil && !f.Return(c) {
		delete(b.pfs, key)
	}
	if h := b.hosts[c.Host]; h != nil {
		for _, pf := range h.PFs {
			if pf.Address == c.PF {
				pf.count(c.VF, -1)
			}
		}
	}
	return nil
}

// orphan says why a claim could not be released, if it is there.
func orphan(ctx context.Context, tx *store.Tx, uuid string) error {
	c, err := tx.Claim(ctx, uuid)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "claim %s is %s: unbind its port %s, and the function is free when its card has confirmed the unplug", uuid, c.State, c.Port)
}
