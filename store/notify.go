package store

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// channel is the PostgreSQL notification channel of all riser processes on a database.
const channel = "riser"

// Wake has the subscribers of topic woken when the transaction has committed, in every process on the database.
func (tx *Tx) Wake(topic string) { tx.wake = append(tx.wake, topic) }

func (tx *Tx) notify(ctx context.Context) error {
	if tx.db.dialect != postgres {
		return nil
	}
	for _, topic := range tx.wake {
		if _, err := tx.exec(ctx, "SELECT pg_notify(?, ?)", channel, topic); err != nil {
			return err
		}
	}
	return nil
}

// Subscribe returns a channel that gets a value after something was committed under one of the topics. Wake-ups are merged and may come without
// cause, or be lost while the database is away: a subscriber looks at the store when it is woken, and now and then anyway. cancel gives the
// subscription back.
func (db *DB) Subscribe(topics ...string) (woken <-chan struct{}, cancel func()) {
	return db.hub.subscribe(topics)
}

type hub struct {
	mu   sync.Mutex
	subs map[string]map[chan struct{}]bool
	done bool
}

func (h *hub) subscribe(topics []string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[string]map[chan struct{}]bool{}
	}
	for _, t := range topics {
		if h.subs[t] == nil {
			h.subs[t] = map[chan struct{}]bool{}
		}
		h.subs[t][ch] = true
	}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, t := range topics {
			delete(h.subs[t], ch)
			if len(h.subs[t]) == 0 {
				delete(h.subs, t)
			}
		}
	}
}

func (h *hub) publish(topics ...string) {
	if len(topics) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range topics {
		for ch := range h.subs[t] {
			poke(ch)
		}
	}
}

// publishAll wakes everybody: after a gap in the notifications nobody knows what was missed.
func (h *hub) publishAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, subs := range h.subs {
		for ch := range subs {
			poke(ch)
		}
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs, h.done = nil, true
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// listen keeps a connection that hears the notifications of all processes, until ctx ends.
func (db *DB) listen(ctx context.Context, dsn string) {
	for ctx.Err() == nil {
		if conn, err := pgx.Connect(ctx, dsn); err == nil {
			db.hear(ctx, conn)
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_ = conn.Close(closing) // the connection is given up either way
			cancel()
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (db *DB) hear(ctx context.Context, conn *pgx.Conn) {
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return
	}
	db.hub.publishAll()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return
		}
		db.hub.publish(n.Payload)
	}
}
