package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// monitorID names the one monitor of a connection.
const monitorID = "riser"

// Conn is a supervised connection to one OVSDB database, and the replica of the tables that riser reads. A lost
// connection is made again, with a new, complete replica; until then reads see the last one, and [Conn.Health] tells.
type Conn struct {
	cfg       Config
	endpoints []endpoint
	model     model.ClientDBModel
	stop      context.CancelFunc
	done      chan struct{}

	mu      sync.RWMutex
	replica *replica // the last complete one; nil before the first
	session *session // nil while there is no connection
	health  Health
	subs    map[*Subscription]bool
}

// open starts supervision; the database need not be there yet.
func open(cfg Config, m model.ClientDBModel) (*Conn, error) {
	endpoints, err := parseEndpoints(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Conn{
		cfg: cfg.withDefaults(), endpoints: endpoints, model: m, stop: stop, done: make(chan struct{}), subs: map[*Subscription]bool{},
	}
	go c.supervise(ctx)
	return c, nil
}

// Close ends the connection and its supervision, and returns when both are gone.
func (c *Conn) Close() error {
	c.stop()
	<-c.done
	return nil
}

// Health tells how far the replica can be trusted.
func (c *Conn) Health() Health {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.health
}

// Healthy returns nil while the replica is younger than Config.StaleAfter, and what [Health.Check] says otherwise.
func (c *Conn) Healthy() error {
	if err := c.Health().Check(time.Now(), c.cfg.StaleAfter); err != nil {
		return fmt.Errorf("%s at %s: %w", c.model.Name(), c.cfg.Endpoint, err)
	}
	return nil
}

// Ready waits until there is a connection with a complete replica. When ctx ends first, the error also tells why there
// is none.
func (c *Conn) Ready(ctx context.Context) error {
	sub := c.Subscribe()
	defer sub.Close()
	for {
		h := c.Health()
		if h.Connected {
			return nil
		}
		select {
		case <-sub.C:
		case <-c.done:
			return fmt.Errorf("%s at %s: %w", c.model.Name(), c.cfg.Endpoint, net.ErrClosed)
		case <-ctx.Done():
			return because(fmt.Errorf("%s at %s: %w", c.model.Name(), c.cfg.Endpoint, ctx.Err()), h.Err)
		}
	}
}

// Subscription signals changes: of rows, of the replica as a whole, and of the connection. Signals are not counted:
// one that was not taken yet stands for all that follow.
type Subscription struct {
	C <-chan struct{}

	conn    *Conn
	signal  chan struct{}
	keep    bool // rows are kept for take
	changed map[rowID]bool
	epoch   uint64
}

// Subscribe starts a subscription; Close ends it.
func (c *Conn) Subscribe() *Subscription { return c.subscribe(false) }

func (c *Conn) subscribe(keep bool) *Subscription {
	signal := make(chan struct{}, 1)
	s := &Subscription{C: signal, conn: c, signal: signal, keep: keep, changed: map[rowID]bool{}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subs[s] = true
	return s
}

// Close ends the subscription; C is not closed.
func (s *Subscription) Close() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	delete(s.conn.subs, s)
}

// notify wakes the subscribers; the caller holds the lock.
func (c *Conn) notify(rows []rowID) {
	for s := range c.subs {
		if s.keep {
			for _, id := range rows {
				s.changed[id] = true
			}
		}
		select {
		case s.signal <- struct{}{}:
		default:
		}
	}
}

func (c *Conn) supervise(ctx context.Context) {
	defer close(c.done)
	retry := firstRetry
	for turn := 0; ctx.Err() == nil; turn++ {
		e := c.endpoints[turn%len(c.endpoints)]
		epoch := c.Health().Epoch
		err := c.serve(ctx, e)
		if ctx.Err() != nil {
			err = net.ErrClosed
		}
		if c.Health().Epoch != epoch {
			retry = firstRetry
		}
		c.lost(fmt.Errorf("%s: %w", e, err))
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
		retry = min(2*retry, lastRetry)
	}
}

func (c *Conn) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.health.Connected {
		c.cfg.Log.Warn("OVSDB connection lost", "database", c.model.Name(), "err", err)
	}
	c.session, c.health.Connected, c.health.Err = nil, false, err
	c.notify(nil)
}

// serve makes one connection, and returns why it ended.
func (c *Conn) serve(ctx context.Context, e endpoint) error {
	loading, cancel := context.WithTimeout(ctx, c.cfg.StaleAfter)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(loading, e.network, e.address)
	if err != nil {
		return err
	}
	s := newSession(conn, c.update, c.confirm)
	defer s.close()
	if err := c.load(loading, s); err != nil {
		return err
	}
	c.cfg.Log.Info("OVSDB connected", "database", c.model.Name(), "endpoint", e.String())
	return c.probe(ctx, s)
}

// load checks the server's schema and asks for a replica and its updates.
func (c *Conn) load(ctx context.Context, s *session) error {
	var schema ovsdb.DatabaseSchema
	err := s.call(ctx, "get_schema", []any{c.model.Name()}, func(result json.RawMessage) error {
		return json.Unmarshal(result, &schema)
	})
	if err != nil {
		return err
	}
	m, errs := model.NewDatabaseModel(schema, c.model)
	if len(errs) > 0 {
		return fmt.Errorf("schema of %s: %w", c.model.Name(), errors.Join(errs...))
	}
	params := []any{c.model.Name(), monitorID, monitorRequests(c.model)}
	return s.call(ctx, "monitor_cond", params, func(result json.RawMessage) error {
		r := newReplica(m)
		if _, err := r.apply(result); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.replica, c.session = r, s
		c.health = Health{Connected: true, Epoch: c.health.Epoch + 1, Confirmed: time.Now()}
		c.notify(nil)
		return nil
	})
}

// update carries out one update2 notification: [monitor id, table-updates2].
func (c *Conn) update(params json.RawMessage) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(params, &parts); err != nil || len(parts) != 2 {
		return fmt.Errorf("want a monitor's name and its changes")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil {
		return fmt.Errorf("changes before the monitor was confirmed")
	}
	touched, err := c.replica.apply(parts[1])
	if err != nil {
		return err
	}
	c.notify(touched)
	return nil
}

func (c *Conn) confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.health.Confirmed = time.Now()
}

// probe asks a silent server for a sign of life until the session ends. All earlier updates come before the answer, so
// it confirms the replica too.
func (c *Conn) probe(ctx context.Context, s *session) error {
	every := c.cfg.StaleAfter / 3
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for {
		select {
		case <-s.closed:
			return s.failure()
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks.C:
		}
		if time.Since(c.Health().Confirmed) < every {
			continue
		}
		waiting, cancel := context.WithTimeout(ctx, every)
		err := s.barrier(waiting)
		cancel()
		if err != nil {
			return err
		}
	}
}

// view reads the replica, unless it is stale.
func (c *Conn) view(read func(*replica)) error {
	if err := c.Healthy(); err != nil {
		return err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	read(c.replica)
	return nil
}
