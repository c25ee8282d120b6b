package store

import (
	"context"
	"database/sql"
	"time"
)

// Order is what a card must do about a port, and what its agent last said of it. An agent's word counts only together with the generation it
// speaks of.
type Order struct {
	Port       string // UUID
	Card       string // serial
	Claim      string // UUID of the claim it carries out
	Generation int64  // of the port: rises with each order for it, on whichever card
	Revision   int64  // of the card: rises with each order to it
	Action     string // plug, unplug
	Kind       string // vf, pf, sf
	PFMAC      string // of the host's PF
	Number     int    // VF or SF number
	MAC        string // of the port
	MTU        int    // bytes; 0 leaves it
	ByOVN      bool   // ovn-controller plugs
	Drained    bool   // an unplug that is to be taken back: the claim stays, and Action is plug again when the work on the card is over
	CreatedAt  time.Time

	Reported    int64 // generation that the report below speaks of; 0 is none
	State       string
	Reason      string
	Representor string
	Installed   bool
	ReportedAt  time.Time
}

var orders = table[Order]{"orders", []column[Order]{
	text("port", func(o *Order) *string { return &o.Port }),
	text("card", func(o *Order) *string { return &o.Card }),
	text("claim", func(o *Order) *string { return &o.Claim }),
	number("generation", func(o *Order) *int64 { return &o.Generation }),
	number("revision", func(o *Order) *int64 { return &o.Revision }),
	text("action", func(o *Order) *string { return &o.Action }),
	text("kind", func(o *Order) *string { return &o.Kind }),
	text("pf_mac", func(o *Order) *string { return &o.PFMAC }),
	count("number", func(o *Order) *int { return &o.Number }),
	text("mac", func(o *Order) *string { return &o.MAC }),
	count("mtu", func(o *Order) *int { return &o.MTU }),
	boolean("by_ovn", func(o *Order) *bool { return &o.ByOVN }),
	boolean("drained", func(o *Order) *bool { return &o.Drained }),
	number("reported_generation", func(o *Order) *int64 { return &o.Reported }),
	text("reported_state", func(o *Order) *string { return &o.State }),
	text("reported_reason", func(o *Order) *string { return &o.Reason }),
	text("representor", func(o *Order) *string { return &o.Representor }),
	boolean("installed", func(o *Order) *bool { return &o.Installed }),
	when("reported_at", func(o *Order) *time.Time { return &o.ReportedAt }),
	when("created_at", func(o *Order) *time.Time { return &o.CreatedAt }),
}}

// TopicOrders is the topic of a card's orders: its agent's request for new ones waits on it.
func TopicOrders(serial string) string { return "orders:" + serial }

// OrderQuery selects orders. The zero value selects all, by card and revision.
type OrderQuery struct {
	Card  string
	After int64 // only those with a higher revision
	Port  string
	Lock  bool // hold the rows against other writers until the transaction ends
}

// Orders returns the orders that q selects.
func (tx *Tx) Orders(ctx context.Context, q OrderQuery) ([]*Order, error) {
	w := &where{}
	w.equal("card", q.Card)
	w.equal("port", q.Port)
	if q.After > 0 {
		w.add("revision > ?", q.After)
	}
	lock := ""
	if q.Lock {
		lock = " {update}"
	}
	var list []*Order
	err := tx.each(ctx, "SELECT "+orders.names("", nil)+" FROM orders"+w.sql()+" ORDER BY card, revision"+lock, w.args, func(rows *sql.Rows) error {
		o := &Order{}
		list = append(list, o)
		return rows.Scan(orders.dests(o, nil)...)
	})
	return list, err
}

// OrderHead returns the revision of the newest order that a card was ever given, 0 when there was none.
func (tx *Tx) OrderHead(ctx context.Context, card string) (int64, error) {
	var head int64
	err := tx.queryRow(ctx, "SELECT revision FROM order_heads WHERE card = ?", card).Scan(&head)
	if noRows(err) {
		return 0, nil
	}
	return head, err
}

// SaveOrder gives o a new revision and writes it in place of the card's order for the same port, keeping the last report. The row of the card's
// head is held until the transaction ends, so that an agent which has seen a revision has seen all before it. Revisions follow the
// database's clock, so that they rise even after an old copy of the database was put back.
func (tx *Tx) SaveOrder(ctx context.Context, o *Order) error {
	err := tx.queryRow(ctx, `INSERT INTO order_heads (card, revision) VALUES (?, {now}) ON CONFLICT (card) DO UPDATE SET
		revision = CASE WHEN order_heads.revision >= excluded.revision THEN order_heads.revision + 1 ELSE excluded.revision END RETURNING revision`,
		o.Card).Scan(&o.Revision)
	if err != nil {
		return err
	}
	o.CreatedAt = tx.Now()
	query, args, err := orders.insert(o)
	if err != nil {
		return err
	}
	_, err = tx.exec(ctx, query+` ON CONFLICT (port, card) DO UPDATE SET claim = excluded.claim, generation = excluded.generation,
		revision = excluded.revision, action = excluded.action, kind = excluded.kind, pf_mac = excluded.pf_mac, number = excluded.number,
		mac = excluded.mac, mtu = excluded.mtu, by_ovn = excluded.by_ovn,
		drained = excluded.drained, created_at = excluded.created_at`, args...)
	tx.Wake(TopicOrders(o.Card))
	return err
}

// SaveReport writes what an agent said of an order.
func (tx *Tx) SaveReport(ctx context.Context, o *Order) error {
	o.ReportedAt = tx.Now()
	_, err := tx.exec(ctx, `UPDATE orders SET reported_generation = ?, reported_state = ?, reported_reason = ?, representor = ?, installed = ?,
		reported_at = ? WHERE port = ? AND card = ?`,
		o.Reported, o.State, o.Reason, o.Representor, asFlag(o.Installed), toMicros(o.ReportedAt), o.Port, o.Card)
	return err
}

// DeleteOrder removes a card's order for a port: the card has carried it out and there is nothing left to watch.
func (tx *Tx) DeleteOrder(ctx context.Context, port, card string) error {
	_, err := tx.exec(ctx, "DELETE FROM orders WHERE port = ? AND card = ?", port, card)
	return err
}

// OrderCounts counts the orders of each card, by serial.
func (tx *Tx) OrderCounts(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := tx.each(ctx, "SELECT card, COUNT(*) FROM orders GROUP BY card", nil, func(rows *sql.Rows) error {
		var card string
		var n int
		err := rows.Scan(&card, &n)
		counts[card] = n
		return err
	})
	return counts, err
}

// ClaimedFunctions counts the claims on each PF of a host, or of every host when it is empty, by host and the PF's address.
func (tx *Tx) ClaimedFunctions(ctx context.Context, host string) (map[[2]string]int, error) {
	w := &where{}
	w.equal("host", host)
	counts := map[[2]string]int{}
	err := tx.each(ctx, "SELECT host, pf, COUNT(*) FROM claims"+w.sql()+" GROUP BY host, pf", w.args, func(rows *sql.Rows) error {
		var key [2]string
		var n int
		err := rows.Scan(&key[0], &key[1], &n)
		counts[key] = n
		return err
	})
	return counts, err
}
