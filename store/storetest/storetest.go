// Package storetest is the suite that every database of package store passes.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// Run runs the suite. open opens a new, empty store and closes it with the test.
func Run(t *testing.T, open func(t *testing.T) *store.DB) {
	for name, fn := range map[string]func(*testing.T, *store.DB){
		"a node comes back as it was written":           nodeRoundTrip,
		"a secret is masked until it is unsealed":       secrets,
		"a write on an old version is refused":          versions,
		"unique values are refused":                     unique,
		"lists hide children unless they are asked for": children,
		"pages by any key meet every node once":         pages,
		"a child lies in its root's lease":              leaseOfChild,
		"a lease has one owner and rising epochs":       leases,
		"a write without the lease changes nothing":     fencing,
		"operations keep their steps":                   operations,
		"an operation that has ended is closed":         closed,
		"an abort is not overheard":                     words,
		"secret arguments are sealed":                   secretArgs,
		"an operation moves with its node's lease":      moved,
		"history keeps the newest lines":                history,
		"a failed transaction leaves nothing":           rollback,
		"a subscriber is woken after the commit":        wake,
	} {
		t.Run(name, func(t *testing.T) { fn(t, open(t)) })
	}
}

func newNode(name string) *node.Node {
	return &node.Node{UUID: uuid.NewString(), Name: name, Driver: "fake-hardware", Provision: node.Enroll}
}

func write(t *testing.T, db *store.DB, fn func(context.Context, *store.Tx) error) {
	t.Helper()
	if err := tryWrite(t, db, fn); err != nil {
		t.Fatal(err)
	}
}

func tryWrite(t *testing.T, db *store.DB, fn func(context.Context, *store.Tx) error) error {
	return db.Write(t.Context(), func(tx *store.Tx) error { return fn(t.Context(), tx) })
}

func insert(t *testing.T, db *store.DB, list ...*node.Node) {
	t.Helper()
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for _, n := range list {
			if err := tx.InsertNode(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
}

func get(t *testing.T, db *store.DB, ref string) *node.Node {
	t.Helper()
	var n *node.Node
	write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
		n, err = tx.Node(ctx, ref)
		return err
	})
	return n
}

func nodeRoundTrip(t *testing.T, db *store.DB) {
	yes := true
	n := newNode("host-1")
	n.Properties = node.Object{"cpu_arch": "x86_64", "n": 1.5}
	n.Interfaces = node.Interfaces{node.Power: "fake"}
	n.Provision, n.TargetProvision, n.Power = node.Cleaning, node.Manageable, node.PowerOn
	n.ProvisionUpdatedAt = time.Date(2026, 11, 20, 1, 2, 3, 4000, time.UTC)
	n.Maintenance, n.AutomatedClean = true, &yes
	n.Card = node.Card{Serial: "MT1", UUID: "u", PartNumber: "p", Chassis: "dpu-1"}
	n.LastError = "quote ' and ? and $1 and \u2026"
	insert(t, db, n)
	for _, ref := range []string{n.UUID, n.Name} {
		if d := cmp.Diff(n, get(t, db, ref)); d != "" {
			t.Errorf("by %s (-want +got):\n%s", ref, d)
		}
	}
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		got, err := tx.NodeByCard(t.Context(), "MT1")
		if err == nil && got.UUID != n.UUID {
			t.Errorf("card MT1 is node %s", got.UUID)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, ref := range []string{"nosuch", "", uuid.NewString()} {
		err := db.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Node(t.Context(), ref); return err })
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("node %q: %v, want not found", ref, err)
		}
	}
}

func secrets(t *testing.T, db *store.DB) {
	n := newNode("s")
	n.DriverInfo = node.Object{"redfish_address": "https://bmc", "redfish_password": "s3cret"}
	insert(t, db, n)
	got := get(t, db, "s")
	if got.DriverInfo["redfish_password"] != node.Masked {
		t.Errorf("the password reads %v", got.DriverInfo["redfish_password"])
	}
	got.DriverInfo["redfish_username"] = "root"
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveNode(ctx, got) })
	unsealed := func() any {
		n := get(t, db, "s")
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.Unseal(ctx, n) })
		return n.DriverInfo["redfish_password"]
	}
	if v := unsealed(); v != "s3cret" {
		t.Errorf("a save under the mask made the password %v", v)
	}
	got.DriverInfo["redfish_password"] = "new"
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveNode(ctx, got) })
	if v := unsealed(); v != "new" {
		t.Errorf("the new password is %v", v)
	}
	delete(got.DriverInfo, "redfish_password")
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveNode(ctx, got) })
	if v := unsealed(); v != nil {
		t.Errorf("the removed password is %v", v)
	}
}

func versions(t *testing.T, db *store.DB) {
	n := newNode("v")
	insert(t, db, n)
	a, b := get(t, db, "v"), get(t, db, "v")
	a.Description, b.Description = "a", "b"
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveNode(ctx, a) })
	err := tryWrite(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveNode(ctx, b) })
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("a write on an old version: %v", err)
	}
	if got := get(t, db, "v"); got.Description != "a" || got.Version != a.Version {
		t.Errorf("node has description %q and version %d", got.Description, got.Version)
	}
	gone := newNode("gone")
	if err := tryWrite(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveNode(ctx, gone) }); !fault.Is(err, fault.NotFound) {
		t.Errorf("saving a node that is not there: %v", err)
	}
}

func unique(t *testing.T, db *store.DB) {
	n := newNode("u")
	n.Card.Serial, n.InstanceUUID = "SN", "i"
	insert(t, db, n, newNode(""), newNode(""))
	for what, twin := range map[string]*node.Node{
		"name":     {UUID: uuid.NewString(), Name: "u"},
		"UUID":     {UUID: n.UUID},
		"card":     {UUID: uuid.NewString(), Card: node.Card{Serial: "SN"}},
		"instance": {UUID: uuid.NewString(), InstanceUUID: "i"},
	} {
		err := tryWrite(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.InsertNode(ctx, twin) })
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("the same %s: %v, want a conflict", what, err)
		}
	}
}

func list(t *testing.T, db *store.DB, q store.NodeQuery) []string {
	t.Helper()
	names := []string{}
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		nodes, err := tx.Nodes(t.Context(), q)
		for _, n := range nodes {
			names = append(names, n.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func children(t *testing.T, db *store.DB) {
	host := newNode("host")
	insert(t, db, host)
	a, b := newNode("a"), newNode("b")
	a.Parent, b.Parent = host.UUID, host.UUID
	a.Provision = node.Manageable
	insert(t, db, a, b, newNode("other"))
	no := false
	for name, tt := range map[string]struct {
		q    store.NodeQuery
		want []string
	}{
		"by default":          {store.NodeQuery{}, []string{"host", "other"}},
		"all":                 {store.NodeQuery{IncludeChildren: true}, []string{"host", "a", "b", "other"}},
		"of a parent":         {store.NodeQuery{HasParent: true, Parent: host.UUID}, []string{"a", "b"}},
		"all wins":            {store.NodeQuery{IncludeChildren: true, HasParent: true, Parent: host.UUID}, []string{"host", "a", "b", "other"}},
		"filters are added":   {store.NodeQuery{IncludeChildren: true, Provision: []node.State{node.Manageable}}, []string{"a"}},
		"a filter hides them": {store.NodeQuery{Provision: []node.State{node.Manageable}}, []string{}},
		"no shard named":      {store.NodeQuery{Shards: []string{}}, []string{}},
		"by flag":             {store.NodeQuery{Maintenance: &no, Associated: &no}, []string{"host", "other"}},
	} {
		if d := cmp.Diff(tt.want, list(t, db, tt.q)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func pages(t *testing.T, db *store.DB) {
	var all []*node.Node
	for i := range 23 {
		n := newNode(fmt.Sprintf("n%02d", (i*7)%23))
		n.ResourceClass = fmt.Sprintf("rc%d", i%3)
		all = append(all, n)
	}
	insert(t, db, all...)
	for _, key := range []string{"", "name", "resource_class", "uuid", "created_at", "maintenance"} {
		for _, desc := range []bool{false, true} {
			q := store.NodeQuery{SortKey: key, Desc: desc}
			want := list(t, db, q)
			var got []string
			for q.Limit = 5; ; {
				var page []*node.Node
				err := db.Read(t.Context(), func(tx *store.Tx) (err error) { page, err = tx.Nodes(t.Context(), q); return err })
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				for _, n := range page {
					got = append(got, n.Name)
				}
				q.Marker = page[len(page)-1].UUID
			}
			if d := cmp.Diff(want, got); d != "" || len(got) != len(all) {
				t.Errorf("by %q, descending %v (-whole +pages):\n%s", key, desc, d)
			}
		}
	}
	for name, tt := range map[string]struct {
		q    store.NodeQuery
		want fault.Kind
	}{
		"an unknown marker": {store.NodeQuery{Marker: uuid.NewString()}, fault.NotFound},
		"a JSON column":     {store.NodeQuery{SortKey: "extra"}, fault.Invalid},
		"no column":         {store.NodeQuery{SortKey: "1; DROP TABLE nodes"}, fault.Invalid},
	} {
		err := db.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Nodes(t.Context(), tt.q); return err })
		if !fault.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func leaseOfChild(t *testing.T, db *store.DB) {
	host := newNode("host")
	insert(t, db, host)
	child := newNode("child")
	child.Parent = host.UUID
	insert(t, db, child)
	if child.Lease != host.Lease {
		t.Errorf("host is in shard %d and its child in %d", host.Lease, child.Lease)
	}
	host.ConductorGroup = "rack-2"
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveNode(ctx, host) })
	if got := get(t, db, "child"); got.Lease != host.Lease || host.Lease < store.ShardsPerGroup {
		t.Errorf("after the move host is in shard %d and its child in %d", host.Lease, got.Lease)
	}
}

func take(t *testing.T, db *store.DB, owner string, shards []int, ttl, delay time.Duration) []store.Lease {
	t.Helper()
	taken, err := db.TakeLeases(t.Context(), owner, shards, ttl, delay)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

func leases(t *testing.T, db *store.DB) {
	shards, err := db.PrepareLeases(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := take(t, db, "a", shards, time.Hour, 0); len(got) != len(shards) || got[0].Epoch != 1 {
		t.Fatalf("a took %d leases, the first with epoch %d", len(got), got[0].Epoch)
	}
	if got := take(t, db, "b", shards, time.Hour, 0); len(got) != 0 {
		t.Errorf("b took %d leases that a holds", len(got))
	}
	if err := db.ReleaseLeases(t.Context(), "a", shards[:1]); err != nil {
		t.Fatal(err)
	}
	if got := take(t, db, "b", shards, -time.Second, 0); len(got) != 1 || got[0].Shard != shards[0] || got[0].Epoch != 2 {
		t.Errorf("b took %v of the one that a handed over", got)
	}
	if got := take(t, db, "c", shards, time.Hour, time.Hour); len(got) != 0 {
		t.Errorf("c took %d leases before the delay was over", len(got))
	}
	renew := func(ttl time.Duration) {
		if held, err := db.RenewLeases(t.Context(), "b", ttl); err != nil || len(held) != 1 || held[0].Epoch != 2 {
			t.Errorf("b renewed %v, %v: want its lease, that had expired and that nobody had taken, under its epoch", held, err)
		}
	}
	renew(time.Hour)
	if got := take(t, db, "c", shards, time.Hour, 0); len(got) != 0 {
		t.Errorf("c took %d leases that b had renewed", len(got))
	}
	renew(-time.Second)
	if got := take(t, db, "c", shards, time.Hour, 0); len(got) != 1 || got[0].Epoch != 3 {
		t.Errorf("c took %v after the delay", got)
	}
}

func fencing(t *testing.T, db *store.DB) {
	shards, err := db.PrepareLeases(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	n := newNode("n")
	insert(t, db, n)
	describe := func(owner string, epoch int64) error {
		f := store.Fence{Shard: n.Lease, Owner: owner, Epoch: epoch}
		return db.WriteFenced(t.Context(), f, func(tx *store.Tx) error {
			n, err := tx.NodeForUpdate(t.Context(), "n")
			if err != nil {
				return err
			}
			n.Description = owner
			return tx.SaveNode(t.Context(), n)
		})
	}
	if err := describe("a", 1); !fault.Is(err, fault.Lost) {
		t.Errorf("a write without a lease: %v", err)
	}
	take(t, db, "a", shards, -time.Second, 0)
	if err := describe("a", 1); !fault.Is(err, fault.Lost) {
		t.Errorf("a write under an expired lease: %v", err)
	}
	take(t, db, "b", shards, time.Hour, 0)
	for _, f := range []store.Fence{{Owner: "a", Epoch: 1}, {Owner: "a", Epoch: 2}, {Owner: "b", Epoch: 1}} {
		if err := describe(f.Owner, f.Epoch); !fault.Is(err, fault.Lost) {
			t.Errorf("a write by %s under epoch %d: %v", f.Owner, f.Epoch, err)
		}
	}
	if err := describe("b", 2); err != nil {
		t.Error(err)
	}
	if got := get(t, db, "n").Description; got != "b" {
		t.Errorf("the node was last written by %q", got)
	}
}

func operations(t *testing.T, db *store.DB) {
	n := newNode("n")
	insert(t, db, n)
	op := &store.Op{UUID: uuid.NewString(), Root: n.UUID, Node: n.UUID, Lease: n.Lease, Kind: "clean", State: store.OpPlanned, Spec: json.RawMessage(`{"a":1}`)}
	steps := []*store.OpStep{
		{Seq: 1, Node: n.UUID, Interface: node.Power, Step: "power_on", State: store.StepPlanned},
		{Seq: 0, Node: "child", Interface: node.Power, Step: "power_on", State: store.StepPlanned, Child: true, Args: node.Object{"a": "b"}},
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.InsertOp(ctx, op, steps) })
	steps[1].State, steps[1].Sent = store.StepSent, []store.Sent{{Text: "On", At: time.Unix(1, 0).UTC(), Attempt: 1}}
	op.State, op.Started = store.OpRunning, time.Unix(2, 0).UTC()
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.SaveStep(ctx, steps[1]), tx.SaveOp(ctx, op))
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Steps(ctx, op.ID)
		if d := cmp.Diff([]*store.OpStep{steps[1], steps[0]}, got); d != "" {
			t.Errorf("steps (-want +got):\n%s", d)
		}
		return err
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		open, err := tx.OpenOps(ctx, []int{n.Lease})
		if err != nil {
			return err
		}
		if d := cmp.Diff([]*store.Op{op}, open); d != "" {
			t.Errorf("open operations (-want +got):\n%s", d)
		}
		if other, err := tx.OpenOps(ctx, []int{n.Lease + 1}); err != nil || len(other) != 0 {
			t.Errorf("another shard has %d operations, %v", len(other), err)
		}
		op.State, op.Ended = store.OpDone, time.Unix(3, 0).UTC()
		return tx.SaveOp(ctx, op)
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if open, err := tx.OpenOp(ctx, n.UUID); err != nil || open != nil {
			t.Errorf("after the end: %v, %v", open, err)
		}
		last, err := tx.LastOp(ctx, n.UUID, "clean")
		if err != nil || last == nil || last.UUID != op.UUID {
			t.Errorf("last operation: %v, %v", last, err)
		}
		return tx.DeleteNode(ctx, n.UUID)
	})
	err := db.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.Op(t.Context(), op.UUID); return err })
	if !fault.Is(err, fault.NotFound) {
		t.Errorf("the operation of a deleted node: %v", err)
	}
}

// insertOp adds an operation with one step on n.
func insertOp(t *testing.T, db *store.DB, n *node.Node, args node.Object) (*store.Op, *store.OpStep) {
	t.Helper()
	op := &store.Op{UUID: uuid.NewString(), Root: n.Root(), Node: n.UUID, Lease: n.Lease, Kind: "clean", State: store.OpRunning}
	row := &store.OpStep{Node: n.UUID, Interface: node.Power, Step: "power_on", State: store.StepPlanned, Args: args}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.InsertOp(ctx, op, []*store.OpStep{row}) })
	return op, row
}

func closed(t *testing.T, db *store.DB) {
	n := newNode("n")
	insert(t, db, n)
	op, row := insertOp(t, db, n, nil)
	op.State, op.Ended = store.OpDone, time.Unix(3, 0).UTC()
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveOp(ctx, op) })
	for what, save := range map[string]func(ctx context.Context, tx *store.Tx) error{
		"the operation": func(ctx context.Context, tx *store.Tx) error { return tx.SaveOp(ctx, op) },
		"a step":        func(ctx context.Context, tx *store.Tx) error { return tx.SaveStep(ctx, row) },
	} {
		if err := tryWrite(t, db, save); !fault.Is(err, fault.Lost) {
			t.Errorf("saving %s after its end: %v", what, err)
		}
	}
}

func words(t *testing.T, db *store.DB) {
	n := newNode("n")
	insert(t, db, n)
	op, _ := insertOp(t, db, n, nil)
	control := func() string {
		var refs []store.OpRef
		write(t, db, func(ctx context.Context, tx *store.Tx) (err error) {
			refs, err = tx.OpenOpRefs(ctx, []int{n.Lease})
			return err
		})
		if len(refs) != 1 || refs[0].UUID != op.UUID || refs[0].ID != op.ID {
			t.Fatalf("open operations: %v", refs)
		}
		return refs[0].Control
	}
	for _, s := range []struct {
		say, hear, want string
	}{{say: "resume", want: "resume"}, {hear: "unhold", want: "resume"}, {hear: "resume"}, {say: "unhold", want: "unhold"}, {say: "abort", want: "abort"}, {say: "resume", want: "resume"}} {
		write(t, db, func(ctx context.Context, tx *store.Tx) error {
			if s.hear != "" {
				return tx.HeardOp(ctx, op, s.hear)
			}
			stale := *op
			return tx.ControlOp(ctx, &stale, s.say)
		})
		if got := control(); got != s.want {
			t.Errorf("after %+v the word is %q", s, got)
		}
	}
	op.Control = ""
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveOp(ctx, op) })
	if got := control(); got != "resume" {
		t.Errorf("saving the operation as it was read before made the word %q", got)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Op(ctx, op.UUID)
		if err == nil && !got.Aborting {
			t.Error("nothing says any more that an abort was asked for")
		}
		return err
	})
}

func secretArgs(t *testing.T, db *store.DB) {
	n := newNode("n")
	insert(t, db, n)
	args := node.Object{"user": "u", "password": "s3cret", "settings": []any{node.Object{"name": "AdminPassword", "value": "pw"}, node.Object{"name": "Boot", "value": "uefi"}}}
	op, row := insertOp(t, db, n, args)
	if row.Args["password"] != "s3cret" {
		t.Errorf("the caller's arguments became %v", row.Args)
	}
	masked := node.Object{"user": "u", "password": node.Masked, "settings": []any{
		node.Object{"name": "AdminPassword", "value": node.Masked}, node.Object{"name": "Boot", "value": "uefi"},
	}}
	row.State = store.StepIntent
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveStep(ctx, row) })
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Steps(ctx, op.ID)
		if err != nil {
			return err
		}
		if d := cmp.Diff(masked, got[0].Args); d != "" || got[0].State != store.StepIntent {
			t.Errorf("step is %s, arguments (-want +got):\n%s", got[0].State, d)
		}
		err = tx.UnsealSteps(ctx, op, got)
		if d := cmp.Diff(args, got[0].Args); d != "" {
			t.Errorf("unsealed (-want +got):\n%s", d)
		}
		return err
	})
}

func moved(t *testing.T, db *store.DB) {
	host := newNode("host")
	insert(t, db, host)
	child := newNode("child")
	child.Parent = host.UUID
	insert(t, db, child)
	op, row := insertOp(t, db, child, nil)
	old := store.Fence{Shard: host.Lease, Owner: "a", Epoch: 1}
	shards, err := db.PrepareLeases(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	take(t, db, "a", shards, time.Hour, 0)
	move := func(child *node.Node) error {
		return tryWrite(t, db, func(ctx context.Context, tx *store.Tx) error {
			h, err := tx.NodeForUpdate(ctx, "host")
			if err != nil {
				return err
			}
			if err := tx.SaveNode(ctx, child); err != nil {
				return err
			}
			h.ConductorGroup = "rack-2"
			host.Lease = h.Lease
			return tx.SaveNode(ctx, h)
		})
	}
	held := get(t, db, "child")
	held.Reservation = "conductor-1"
	if err := move(held); !fault.Is(err, fault.Locked) {
		t.Errorf("a move while a conductor works on a child: %v", err)
	}
	if err := db.WriteFenced(t.Context(), old, func(tx *store.Tx) error { return tx.SaveStep(t.Context(), row) }); err != nil {
		t.Errorf("a write before the move: %v", err)
	}
	if err := move(get(t, db, "child")); err != nil {
		t.Fatal(err)
	}
	shard := get(t, db, "host").Lease
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		got, err := tx.Op(ctx, op.UUID)
		if err == nil && got.Lease != shard {
			t.Errorf("the operation lies in shard %d", got.Lease)
		}
		return err
	})
	if err := db.WriteFenced(t.Context(), old, func(tx *store.Tx) error { return tx.SaveStep(t.Context(), row) }); !fault.Is(err, fault.Lost) {
		t.Errorf("a write under the lease of the old shard: %v", err)
	}
}

func history(t *testing.T, db *store.DB) {
	n := newNode("n")
	insert(t, db, n)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for i := range 310 {
			e := &store.Event{UUID: uuid.NewString(), Node: n.UUID, Severity: "INFO", Type: "t", Text: fmt.Sprint(i), State: node.Cleaning, Duration: time.Second}
			if err := tx.InsertEvent(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.Events(ctx, n.UUID, "", 0, false)
		if err != nil {
			return err
		}
		if len(all) != 300 || all[0].Text != "10" || all[299].Text != "309" {
			t.Errorf("%d lines, from %s to %s", len(all), all[0].Text, all[len(all)-1].Text)
		}
		page, err := tx.Events(ctx, n.UUID, all[297].UUID, 5, false)
		if err != nil || len(page) != 2 {
			t.Errorf("after the last but two: %d lines, %v", len(page), err)
		}
		one, err := tx.Event(ctx, n.UUID, all[5].UUID)
		if err == nil && cmp.Diff(all[5], one) != "" {
			t.Errorf("a line alone: %s", cmp.Diff(all[5], one))
		}
		return err
	})
}

func rollback(t *testing.T, db *store.DB) {
	oops := errors.New("oops")
	err := tryWrite(t, db, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.InsertNode(ctx, newNode("n")); err != nil {
			return err
		}
		return oops
	})
	if !errors.Is(err, oops) {
		t.Errorf("Write returned %v", err)
	}
	if got := list(t, db, store.NodeQuery{}); len(got) != 0 {
		t.Errorf("nodes %v are left", got)
	}
}

func wake(t *testing.T, db *store.DB) {
	woken, cancel := db.Subscribe("topic")
	defer cancel()
	oops := errors.New("oops")
	_ = tryWrite(t, db, func(_ context.Context, tx *store.Tx) error { tx.Wake("other"); return nil })
	if db.Embedded() {
		_ = tryWrite(t, db, func(_ context.Context, tx *store.Tx) error { tx.Wake("topic"); return oops })
		select {
		case <-woken:
			t.Error("woken by a transaction that failed, or by another topic")
		default:
		}
	}
	write(t, db, func(_ context.Context, tx *store.Tx) error { tx.Wake("topic"); return nil })
	select {
	case <-woken:
	case <-time.After(5 * time.Second):
		t.Error("not woken within 5 s")
	}
}
