package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// Resources runs the suite of the API's resources besides nodes. open opens a new, empty store and closes it with the test.
func Resources(t *testing.T, open func(t *testing.T) *store.DB) {
	for name, fn := range map[string]func(*testing.T, *store.DB){
		"every resource comes back as it was written":         resourceRoundTrips,
		"a write over somebody else's is refused":             lostUpdates,
		"values that must be unique are":                      resourceUnique,
		"pages of resources meet each once":                   resourcePages,
		"ports are selected by what is asked":                 portQueries,
		"what belongs to a node goes with it":                 goesWithNode,
		"traits are sorted and stand once":                    traits,
		"secrets of volume targets are masked until unsealed": targetSecrets,
		"settings keep the time they were first seen":         biosSettings,
		"shards count parents and children":                   shardCounts,
	} {
		t.Run(name, func(t *testing.T) { fn(t, open(t)) })
	}
}

func record() node.Record { return node.Record{UUID: uuid.NewString()} }

// roundTrip writes v, reads it back, changes and deletes it.
func roundTrip[T any](t *testing.T, db *store.DB, v, changed *T, insert, save func(*store.Tx, context.Context, *T) error,
	get func(*store.Tx, context.Context, string) (*T, error), remove func(*store.Tx, context.Context, string) error, rec func(*T) *node.Record) {
	t.Helper()
	id := rec(v).UUID
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return insert(tx, ctx, v) })
	read := func() *T {
		var got *T
		err := db.Read(t.Context(), func(tx *store.Tx) (err error) { got, err = get(tx, t.Context(), id); return err })
		if err != nil {
			t.Fatalf("%T: %v", v, err)
		}
		return got
	}
	if d := cmp.Diff(v, read()); d != "" {
		t.Errorf("%T inserted: %s", v, d)
	}
	if rec(v).CreatedAt.IsZero() || !rec(v).UpdatedAt.IsZero() {
		t.Errorf("%T: created %v, updated %v", v, rec(v).CreatedAt, rec(v).UpdatedAt)
	}
	*rec(changed) = *rec(v)
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return save(tx, ctx, changed) })
	if d := cmp.Diff(changed, read()); d != "" {
		t.Errorf("%T saved: %s", v, d)
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return remove(tx, ctx, id) })
	for what, err := range map[string]error{
		"read":    db.Read(t.Context(), func(tx *store.Tx) error { _, err := get(tx, t.Context(), id); return err }),
		"removed": tryWrite(t, db, func(ctx context.Context, tx *store.Tx) error { return remove(tx, ctx, id) }),
	} {
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%T %s after it was removed: %v", v, what, err)
		}
	}
}

func resourceRoundTrips(t *testing.T, db *store.DB) {
	n := newNode("host")
	insert(t, db, n)
	o := node.Object{"a": []any{1.5, "x", nil, true}}
	roundTrip(t, db, &node.Port{Record: record(), NodeUUID: n.UUID, Address: "52:54:00:00:00:01"},
		&node.Port{NodeUUID: n.UUID, Address: "52:54:00:00:00:02", Name: "p", Extra: o, InternalInfo: o, LocalLink: o, PXEEnabled: true, PortgroupUUID: "g",
			PhysicalNet: "net", SmartNIC: true, Description: "d", Vendor: "v", Category: "c", DynamicAllowed: true},
		(*store.Tx).InsertPort, (*store.Tx).SavePort, (*store.Tx).Port, (*store.Tx).DeletePort, func(p *node.Port) *node.Record { return &p.Record })
	roundTrip(t, db, &node.Portgroup{Record: record(), NodeUUID: n.UUID},
		&node.Portgroup{NodeUUID: n.UUID, Name: "g", Address: "52:54:00:00:00:03", Extra: o, InternalInfo: o, StandalonePorts: true, Mode: "802.3ad",
			Properties: o, PhysicalNet: "net", Category: "c", Dynamic: true},
		(*store.Tx).InsertPortgroup, (*store.Tx).SavePortgroup, (*store.Tx).Portgroup, (*store.Tx).DeletePortgroup, func(g *node.Portgroup) *node.Record { return &g.Record })
	roundTrip(t, db, &node.Chassis{Record: record()}, &node.Chassis{Description: "d", Extra: o},
		(*store.Tx).InsertChassis, (*store.Tx).SaveChassis, (*store.Tx).Chassis, (*store.Tx).DeleteChassis, func(c *node.Chassis) *node.Record { return &c.Record })
	roundTrip(t, db, &node.Allocation{Record: record(), State: node.Allocating},
		&node.Allocation{Name: "a", ResourceClass: "r", CandidateNodes: []string{"x"}, Traits: []string{"T"}, Extra: o, Owner: "p", NodeUUID: n.UUID,
			State: node.AllocationActive, LastError: "e"},
		(*store.Tx).InsertAllocation, (*store.Tx).SaveAllocation, (*store.Tx).Allocation, (*store.Tx).DeleteAllocation, func(a *node.Allocation) *node.Record { return &a.Record })
	steps := []node.Step{{Interface: node.Power, Step: "power_on", Args: o, Priority: 3, Order: 4, OnChildren: true, LimitToChildren: []string{"c"}}}
	roundTrip(t, db, &node.DeployTemplate{Record: record(), Name: "CUSTOM_A", Steps: steps}, &node.DeployTemplate{Name: "CUSTOM_B", Steps: steps, Extra: o, Description: "d"},
		(*store.Tx).InsertTemplate, (*store.Tx).SaveTemplate, (*store.Tx).Template, (*store.Tx).DeleteTemplate, func(d *node.DeployTemplate) *node.Record { return &d.Record })
	roundTrip(t, db, &node.Runbook{Record: record(), Name: "CUSTOM_A", Steps: steps},
		&node.Runbook{Name: "b", Steps: steps, DisableRamdisk: true, Public: true, Owner: "o", Extra: o, Description: "d", Traits: []string{"T"}},
		(*store.Tx).InsertRunbook, (*store.Tx).SaveRunbook, (*store.Tx).Runbook, (*store.Tx).DeleteRunbook, func(b *node.Runbook) *node.Record { return &b.Record })
	roundTrip(t, db, &node.InspectionRule{Record: record(), Phase: "main"},
		&node.InspectionRule{Description: "d", Priority: 9999, Phase: "main", Sensitive: true, Conditions: []any{o}, Actions: []any{o}},
		(*store.Tx).InsertInspectionRule, (*store.Tx).SaveInspectionRule, (*store.Tx).InspectionRule, (*store.Tx).DeleteInspectionRule, func(r *node.InspectionRule) *node.Record { return &r.Record })
	roundTrip(t, db, &node.VolumeConnector{Record: record(), NodeUUID: n.UUID, Type: "iqn", ConnectorID: "a"},
		&node.VolumeConnector{NodeUUID: n.UUID, Type: "wwnn", ConnectorID: "b", Extra: o},
		(*store.Tx).InsertConnector, (*store.Tx).SaveConnector, (*store.Tx).Connector, (*store.Tx).DeleteConnector, func(c *node.VolumeConnector) *node.Record { return &c.Record })
	roundTrip(t, db, &node.VolumeTarget{Record: record(), NodeUUID: n.UUID, VolumeType: "iscsi", VolumeID: "a"},
		&node.VolumeTarget{NodeUUID: n.UUID, VolumeType: "fc", VolumeID: "b", BootIndex: 7, Properties: o, Extra: o},
		(*store.Tx).InsertTarget, (*store.Tx).SaveTarget, (*store.Tx).Target, (*store.Tx).DeleteTarget, func(v *node.VolumeTarget) *node.Record { return &v.Record })
}

func lostUpdates(t *testing.T, db *store.DB) {
	c := &node.Chassis{Record: record()}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.InsertChassis(ctx, c) })
	mine, theirs := *c, *c
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveChassis(ctx, &theirs) })
	err := tryWrite(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SaveChassis(ctx, &mine) })
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("the second of two writers: %v", err)
	}
}

func resourceUnique(t *testing.T, db *store.DB) {
	n, m := newNode("a"), newNode("b")
	insert(t, db, n, m)
	for name, list := range map[string][2]func(context.Context, *store.Tx) error{
		"ports by address": {
			func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertPort(ctx, &node.Port{Record: record(), NodeUUID: n.UUID, Address: "52:54:00:00:00:01"})
			},
			func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertPort(ctx, &node.Port{Record: record(), NodeUUID: m.UUID, Address: "52:54:00:00:00:01"})
			},
		},
		"allocations by name": {
			func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertAllocation(ctx, &node.Allocation{Record: record(), Name: "x", State: node.Allocating})
			},
			func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertAllocation(ctx, &node.Allocation{Record: record(), Name: "x", State: node.Allocating})
			},
		},
		"volume targets by boot index": {
			func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertTarget(ctx, &node.VolumeTarget{Record: record(), NodeUUID: n.UUID, VolumeType: "a", VolumeID: "a"})
			},
			func(ctx context.Context, tx *store.Tx) error {
				return tx.InsertTarget(ctx, &node.VolumeTarget{Record: record(), NodeUUID: n.UUID, VolumeType: "b", VolumeID: "b"})
			},
		},
	} {
		write(t, db, list[0])
		if err := tryWrite(t, db, list[1]); !fault.Is(err, fault.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { // another node's boot index, and nameless things, are free
		if err := tx.InsertTarget(ctx, &node.VolumeTarget{Record: record(), NodeUUID: m.UUID, VolumeType: "b", VolumeID: "b"}); err != nil {
			return err
		}
		for range 2 {
			if err := tx.InsertPortgroup(ctx, &node.Portgroup{Record: record(), NodeUUID: n.UUID}); err != nil {
				return err
			}
		}
		return nil
	})
}

func resourcePages(t *testing.T, db *store.DB) {
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for i := range 11 {
			if err := tx.InsertChassis(ctx, &node.Chassis{Record: record(), Description: fmt.Sprint(i % 3)}); err != nil {
				return err
			}
		}
		return nil
	})
	for _, p := range []store.Page{{Limit: 4}, {Limit: 4, Desc: true}, {Limit: 4, SortKey: "description"}, {Limit: 4, SortKey: "description", Desc: true}} {
		seen := map[string]bool{}
		for {
			var list []*node.Chassis
			err := db.Read(t.Context(), func(tx *store.Tx) (err error) { list, err = tx.ChassisList(t.Context(), p); return err })
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range list {
				if seen[c.UUID] {
					t.Errorf("%+v: %s comes twice", p, c.UUID)
				}
				seen[c.UUID] = true
			}
			if len(list) < p.Limit {
				break
			}
			p.Marker = list[len(list)-1].UUID
		}
		if len(seen) != 11 {
			t.Errorf("%+v: %d of 11", p, len(seen))
		}
	}
	for kind, p := range map[fault.Kind]store.Page{
		fault.NotFound: {Marker: uuid.NewString()}, fault.Invalid: {SortKey: "extra"},
	} {
		err := db.Read(t.Context(), func(tx *store.Tx) error { _, err := tx.ChassisList(t.Context(), p); return err })
		if !fault.Is(err, kind) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ChassisList(t.Context(), store.Page{SortKey: "id; DROP TABLE chassis"})
		return err
	})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("a sort key that is no column: %v", err)
	}
}

func portQueries(t *testing.T, db *store.DB) {
	a, b := newNode("a"), newNode("b")
	a.Shard, a.Owner, b.ConductorGroup, b.Lessee = "s1", "p1", "g1", "p1"
	insert(t, db, a, b)
	group := uuid.NewString()
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for i, p := range []*node.Port{
			{NodeUUID: a.UUID, Description: "100% Uplink"}, {NodeUUID: a.UUID, PortgroupUUID: group}, {NodeUUID: b.UUID, Description: "down_link"},
		} {
			p.Record, p.Address = record(), fmt.Sprintf("52:54:00:00:00:%02x", i)
			if err := tx.InsertPort(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	for name, c := range map[string]struct {
		q    store.PortQuery
		want int
	}{
		"all":                        {store.PortQuery{}, 3},
		"of a node":                  {store.PortQuery{NodeUUID: a.UUID}, 2},
		"by address":                 {store.PortQuery{Address: "52:54:00:00:00:02"}, 1},
		"of a port group":            {store.PortQuery{PortgroupUUID: group}, 1},
		"by description":             {store.PortQuery{Description: "uplink"}, 1},
		"a percent sign is itself":   {store.PortQuery{Description: "100%"}, 1},
		"an underscore is itself":    {store.PortQuery{Description: "n_l"}, 1},
		"no pattern is left open":    {store.PortQuery{Description: "%"}, 1},
		"by the node's shard":        {store.PortQuery{Shards: []string{"s1", "s2"}}, 2},
		"by the node's group":        {store.PortQuery{Groups: []string{"g1"}}, 1},
		"by the node's project":      {store.PortQuery{Project: "p1"}, 3},
		"by a project without nodes": {store.PortQuery{Project: "p2"}, 0},
	} {
		var list []*node.Port
		err := db.Read(t.Context(), func(tx *store.Tx) (err error) { list, err = tx.Ports(t.Context(), c.q); return err })
		if err != nil || len(list) != c.want {
			t.Errorf("%s: %d ports, want %d (%v)", name, len(list), c.want, err)
		}
	}
}

func goesWithNode(t *testing.T, db *store.DB) {
	n := newNode("host")
	insert(t, db, n)
	g := &node.Portgroup{Record: record(), NodeUUID: n.UUID}
	c := &node.VolumeConnector{Record: record(), NodeUUID: n.UUID, Type: "iqn", ConnectorID: "x"}
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		for _, err := range []error{
			tx.InsertPortgroup(ctx, g), tx.InsertConnector(ctx, c), tx.AddTrait(ctx, n.UUID, "CUSTOM_A"),
			tx.SetFirmware(ctx, n.UUID, []*node.FirmwareComponent{{Component: "bmc"}}), tx.SetInventory(ctx, n.UUID, &node.Inventory{}),
		} {
			if err != nil {
				return err
			}
		}
		return tx.DeleteNode(ctx, n.UUID)
	})
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Portgroup(t.Context(), g.UUID); !fault.Is(err, fault.NotFound) {
			t.Errorf("the port group: %v", err)
		}
		if _, err := tx.Connector(t.Context(), c.UUID); !fault.Is(err, fault.NotFound) {
			t.Errorf("the volume connector: %v", err)
		}
		if _, err := tx.Inventory(t.Context(), n.UUID); !fault.Is(err, fault.NotFound) {
			t.Errorf("the inventory: %v", err)
		}
		list, err := tx.Firmware(t.Context(), n.UUID)
		if len(list) > 0 {
			t.Errorf("the firmware: %v", list)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func traits(t *testing.T, db *store.DB) {
	a, b := newNode("a"), newNode("b")
	insert(t, db, a, b)
	write(t, db, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.SetTraits(ctx, a.UUID, []string{"CUSTOM_C", "CUSTOM_A", "CUSTOM_C"}); err != nil {
			return err
		}
		if err := tx.AddTrait(ctx, a.UUID, "CUSTOM_B"); err != nil {
			return err
		}
		had, err := tx.RemoveTrait(ctx, a.UUID, "CUSTOM_A")
		again, err2 := tx.RemoveTrait(ctx, a.UUID, "CUSTOM_A")
		if !had || again || err != nil {
			t.Errorf("removed: %v, again: %v", had, again)
		}
		return err2
	})
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		list := []*node.Node{{UUID: a.UUID}, {UUID: b.UUID}}
		if err := tx.FillTraits(t.Context(), list); err != nil {
			return err
		}
		if d := cmp.Diff([][]string{{"CUSTOM_B", "CUSTOM_C"}, {}}, [][]string{list[0].Traits, list[1].Traits}); d != "" {
			t.Error(d)
		}
		one, err := tx.Traits(t.Context(), a.UUID)
		if d := cmp.Diff(list[0].Traits, one); d != "" {
			t.Error(d)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func targetSecrets(t *testing.T, db *store.DB) {
	n := newNode("host")
	insert(t, db, n)
	v := &node.VolumeTarget{Record: record(), NodeUUID: n.UUID, VolumeType: "iscsi", VolumeID: "a", Properties: node.Object{"auth_password": "s3cret", "lun": 1.0}}
	write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.InsertTarget(ctx, v) })
	write(t, db, func(ctx context.Context, tx *store.Tx) error { // a masked secret stays as it was
		got, err := tx.Target(ctx, v.UUID)
		if err != nil {
			return err
		}
		if d := cmp.Diff(node.Object{"auth_password": node.Masked, "lun": 1.0}, got.Properties); d != "" {
			t.Error(d)
		}
		got.Properties["lun"] = 2.0
		return tx.SaveTarget(ctx, got)
	})
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		got, err := tx.Target(t.Context(), v.UUID)
		if err != nil {
			return err
		}
		if err := tx.UnsealTarget(t.Context(), got); err != nil {
			return err
		}
		if d := cmp.Diff(node.Object{"auth_password": "s3cret", "lun": 2.0}, got.Properties); d != "" {
			t.Error(d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func biosSettings(t *testing.T, db *store.DB) {
	n := newNode("host")
	insert(t, db, n)
	low := 1
	set := func(list ...*node.BIOSSetting) {
		write(t, db, func(ctx context.Context, tx *store.Tx) error { return tx.SetBIOSSettings(ctx, n.UUID, list) })
	}
	read := func() (list []*node.BIOSSetting) {
		err := db.Read(t.Context(), func(tx *store.Tx) (err error) { list, err = tx.BIOSSettings(t.Context(), n.UUID); return err })
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	set(&node.BIOSSetting{Name: "SriovGlobalEnable", Value: "Enabled", LowerBound: &low}, &node.BIOSSetting{Name: "Gone", Value: nil})
	first := read()
	set(&node.BIOSSetting{Name: "SriovGlobalEnable", Value: "Disabled"}, &node.BIOSSetting{Name: "New", Value: 4.0})
	second := read()
	if len(first) != 2 || len(second) != 2 || *first[1].LowerBound != 1 {
		t.Fatalf("%d settings, then %d", len(first), len(second))
	}
	if s := second[1]; s.Value != "Disabled" || !s.CreatedAt.Equal(first[1].CreatedAt) || s.UpdatedAt.IsZero() {
		t.Errorf("the changed setting: %+v", s)
	}
	if s := second[0]; s.Name != "New" || s.Value != 4.0 || !s.UpdatedAt.IsZero() || time.Since(s.CreatedAt) > time.Hour {
		t.Errorf("the new setting: %+v", s)
	}
	set()
	if left := read(); len(left) > 0 {
		t.Errorf("%d settings are left", len(left))
	}
}

func shardCounts(t *testing.T, db *store.DB) {
	a, b, c := newNode("a"), newNode("b"), newNode("c")
	a.Shard = "s"
	insert(t, db, a, b)
	c.Parent = b.UUID
	insert(t, db, c)
	var got []store.ShardCount
	if err := db.Read(t.Context(), func(tx *store.Tx) (err error) { got, err = tx.ShardCounts(t.Context()); return err }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]store.ShardCount{{Count: 2}, {Name: "s", Count: 1}}, got); d != "" {
		t.Error(d)
	}
}
