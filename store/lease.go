package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"hash/fnv"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// ShardsPerGroup is the number of leases of a conductor group.
const ShardsPerGroup = 64

// Shards returns the lease shards of the conductor group with this name; the group is made if it is new.
func (tx *Tx) Shards(ctx context.Context, group string) ([]int, error) {
	id, err := tx.leaseGroup(ctx, group)
	if err != nil {
		return nil, err
	}
	shards := make([]int, ShardsPerGroup)
	for i := range shards {
		shards[i] = id*ShardsPerGroup + i
	}
	return shards, nil
}

// leaseOf returns the lease shard of n: of its root's UUID within its root's conductor group, so that a server and the cards in it are always
// in one hand.
func (tx *Tx) leaseOf(ctx context.Context, n *node.Node) (int, error) {
	if n.IsChild() {
		var shard int
		err := tx.queryRow(ctx, "SELECT lease_shard FROM nodes WHERE uuid = ?", n.Parent).Scan(&shard)
		if noRows(err) {
			return 0, NodeNotFound(n.Parent)
		}
		return shard, err
	}
	group, err := tx.leaseGroup(ctx, n.ConductorGroup)
	if err != nil {
		return 0, err
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(n.UUID)) // a hash never fails
	return group*ShardsPerGroup + int(h.Sum32()%ShardsPerGroup), nil
}

// leaseGroup returns the number of a conductor group; the group without a name is 0.
func (tx *Tx) leaseGroup(ctx context.Context, name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	if _, err := tx.exec(ctx, "INSERT INTO lease_groups (name) VALUES (?) ON CONFLICT (name) DO NOTHING", name); err != nil {
		return 0, err
	}
	var id int
	err := tx.queryRow(ctx, "SELECT id FROM lease_groups WHERE name = ?", name).Scan(&id)
	return id, err
}

// Lease is the right to act on the nodes of a shard. Its times are the database's. A new owner always has a higher epoch, and must not act
// before DelayUntil: until then a command of the owner before may still be on its way.
type Lease struct {
	Shard      int
	Owner      string // id of the conductor process
	Epoch      int64
	ExpiresAt  time.Time
	DelayUntil time.Time
}

// Conductor is a conductor process.
type Conductor struct {
	ID        string // new at each start
	Hostname  string
	Group     string
	Drivers   []string // hardware types it serves
	StartedAt time.Time
	Heartbeat time.Time
	Stopping  bool
	Alive     bool // its heartbeat is younger than the time given to Conductors
}

// TopicMembers wakes the conductors when one of them joins, leaves or hands leases over.
const TopicMembers = "members"

// Fence is what a conductor shows when it writes.
type Fence struct {
	Shard int
	Owner string
	Epoch int64
}

// lost is the fault for a conductor whose lease is gone.
func lost(f Fence) error {
	return fault.New(fault.Lost, "the lease of shard %d under epoch %d is no longer held: the operation is dropped", f.Shard, f.Epoch)
}

// WriteFenced is Write for the owner of a lease: the transaction commits only if the lease was held under this epoch, by the database's clock,
// when it began, and no other conductor can take the lease before it ends. Otherwise the error is fault.Lost and nothing is written.
func (db *DB) WriteFenced(ctx context.Context, f Fence, fn func(tx *Tx) error) error {
	return db.Write(ctx, func(tx *Tx) error {
		var one int
		err := tx.queryRow(ctx, "SELECT 1 FROM leases WHERE shard = ? AND owner = ? AND epoch = ? AND expires_at > {now} {share}",
			f.Shard, f.Owner, f.Epoch).Scan(&one)
		if noRows(err) {
			return lost(f)
		}
		if err != nil {
			return err
		}
		tx.fence = &f
		return fn(tx)
	})
}

// PrepareLeases makes a row for every lease shard of the conductor group, so that a lease is taken by an update alone, and returns the shards.
func (db *DB) PrepareLeases(ctx context.Context, group string) ([]int, error) {
	var shards []int
	err := db.Write(ctx, func(tx *Tx) (err error) {
		if shards, err = tx.Shards(ctx, group); err != nil {
			return err
		}
		for _, shard := range shards {
			if _, err := tx.exec(ctx, "INSERT INTO leases (shard) VALUES (?) ON CONFLICT (shard) DO NOTHING", shard); err != nil {
				return err
			}
		}
		return nil
	})
	return shards, err
}

// BreakLeases frees every lease at once, whoever holds it. Only a process that has the database for itself (Embedded) may do that.
func (db *DB) BreakLeases(ctx context.Context) error {
	return db.Write(ctx, func(tx *Tx) error {
		if _, err := tx.exec(ctx, "UPDATE leases SET owner = '', expires_at = 0, delay_until = 0"); err != nil {
			return err
		}
		_, err := tx.exec(ctx, "DELETE FROM conductors")
		return err
	})
}

// TakeLeases takes those of the wanted shards whose lease has ended: expired for at least delay, or handed over by its owner. The new lease has
// a new epoch, lasts ttl, and may be used from DelayUntil on. It returns the leases taken. A lease under which a write is on its way is passed
// over: it can be taken when that write has ended.
func (db *DB) TakeLeases(ctx context.Context, owner string, wanted []int, ttl, delay time.Duration) ([]Lease, error) {
	var taken []Lease
	err := db.Write(ctx, func(tx *Tx) error {
		w := &where{}
		w.add("(owner = '' OR expires_at + ? < {now})", delay.Microseconds())
		in(w, "shard", wanted)
		set := "UPDATE leases SET owner = ?, epoch = epoch + 1, delay_until = CASE WHEN owner = '' THEN delay_until ELSE {now} END, expires_at = {now} + ?"
		args := append([]any{owner, ttl.Microseconds()}, w.args...)
		return tx.each(ctx, set+" WHERE shard IN (SELECT shard FROM leases"+w.sql()+" {skip}) RETURNING shard, owner, epoch, expires_at, delay_until",
			args, scanLeases(&taken))
	})
	return taken, err
}

// RenewLeases extends every lease of owner by ttl from now and returns those it still holds. A lease that has expired while nobody took it is
// renewed too, under its epoch: between the two moments no write under it was possible, and nobody else had it.
func (db *DB) RenewLeases(ctx context.Context, owner string, ttl time.Duration) ([]Lease, error) {
	var held []Lease
	err := db.Write(ctx, func(tx *Tx) error {
		return tx.each(ctx, "UPDATE leases SET expires_at = {now} + ? WHERE owner = ? RETURNING shard, owner, epoch, expires_at, delay_until",
			[]any{ttl.Microseconds(), owner}, scanLeases(&held))
	})
	return held, err
}

// ReleaseLeases hands over the given shards of owner, at once: nothing of theirs is on its way. nil means all.
func (db *DB) ReleaseLeases(ctx context.Context, owner string, shards []int) error {
	return db.Write(ctx, func(tx *Tx) error {
		w := &where{}
		w.add("owner = ?", owner)
		in(w, "shard", shards)
		_, err := tx.exec(ctx, "UPDATE leases SET owner = '', expires_at = 0, delay_until = 0"+w.sql(), w.args...)
		tx.Wake(TopicMembers)
		return err
	})
}

// Leases returns the leases of every shard.
func (tx *Tx) Leases(ctx context.Context) ([]Lease, error) {
	var list []Lease
	err := tx.each(ctx, "SELECT shard, owner, epoch, expires_at, delay_until FROM leases ORDER BY shard", nil, scanLeases(&list))
	return list, err
}

// LeaseHosts returns, for each shard, the host name of the conductor that holds its lease; a shard without one is absent.
func (tx *Tx) LeaseHosts(ctx context.Context) (map[int]string, error) {
	hosts := map[int]string{}
	err := tx.each(ctx, "SELECT l.shard, c.hostname FROM leases l JOIN conductors c ON c.id = l.owner", nil, func(rows *sql.Rows) error {
		var shard int
		var host string
		err := rows.Scan(&shard, &host)
		hosts[shard] = host
		return err
	})
	return hosts, err
}

// LeaseHost returns the host name of the conductor that holds the lease of the shard; empty while none does.
func (tx *Tx) LeaseHost(ctx context.Context, shard int) (string, error) {
	var host string
	err := tx.queryRow(ctx, "SELECT c.hostname FROM leases l JOIN conductors c ON c.id = l.owner WHERE l.shard = ?", shard).Scan(&host)
	if noRows(err) {
		return "", nil
	}
	return host, err
}

func scanLeases(list *[]Lease) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var l Lease
		err := rows.Scan(&l.Shard, &l.Owner, &l.Epoch, micros{&l.ExpiresAt}, micros{&l.DelayUntil})
		*list = append(*list, l)
		return err
	}
}

// SaveConductor adds a conductor or renews its heartbeat by the database's clock.
func (db *DB) SaveConductor(ctx context.Context, c Conductor) error {
	drivers, err := json.Marshal(c.Drivers)
	if err != nil {
		return err
	}
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, `INSERT INTO conductors (id, hostname, conductor_group, drivers, started_at, heartbeat_at, stopping)
			VALUES (?, ?, ?, ?, {now}, {now}, ?) ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, stopping = excluded.stopping`,
			c.ID, c.Hostname, c.Group, string(drivers), asFlag(c.Stopping))
		return err
	})
}

// RemoveConductor forgets a conductor process.
func (db *DB) RemoveConductor(ctx context.Context, id string) error {
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM conductors WHERE id = ?", id)
		return err
	})
}

// PruneConductors forgets the processes that have been silent for longer than age, and those of this host name before the given one.
func (db *DB) PruneConductors(ctx context.Context, age time.Duration) error {
	return db.Write(ctx, func(tx *Tx) error {
		_, err := tx.exec(ctx, "DELETE FROM conductors WHERE heartbeat_at + ? < {now}", age.Microseconds())
		return err
	})
}

// Conductors returns the conductor processes in the order of their names; those heard of within alive are Alive.
func (tx *Tx) Conductors(ctx context.Context, alive time.Duration) ([]Conductor, error) {
	var list []Conductor
	err := tx.each(ctx, `SELECT id, hostname, conductor_group, drivers, started_at, heartbeat_at, stopping,
		CASE WHEN heartbeat_at + ? > {now} THEN 1 ELSE 0 END FROM conductors ORDER BY hostname, started_at`,
		[]any{alive.Microseconds()}, func(rows *sql.Rows) error {
			var c Conductor
			err := rows.Scan(&c.ID, &c.Hostname, &c.Group, object[[]string]{&c.Drivers}, micros{&c.StartedAt}, micros{&c.Heartbeat}, flag{&c.Stopping}, flag{&c.Alive})
			list = append(list, c)
			return err
		})
	return list, err
}
