package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

type nn = node.Node

var nodes = table[nn]{"nodes", []column[nn]{
	count("lease_shard", func(n *nn) *int { return &n.Lease }),
	text("uuid", func(n *nn) *string { return &n.UUID }),
	text("name", func(n *nn) *string { return &n.Name }),
	text("driver", func(n *nn) *string { return &n.Driver }),
	jsonText("driver_info", func(n *nn) *node.Object { return &n.DriverInfo }),
	jsonText("driver_internal_info", func(n *nn) *node.Object { return &n.DriverInternalInfo }),
	jsonText("properties", func(n *nn) *node.Object { return &n.Properties }),
	jsonText("instance_info", func(n *nn) *node.Object { return &n.InstanceInfo }),
	jsonText("extra", func(n *nn) *node.Object { return &n.Extra }),
	jsonText("network_data", func(n *nn) *node.Object { return &n.NetworkData }),
	jsonText("raid_config", func(n *nn) *node.Object { return &n.RAIDConfig }),
	jsonText("target_raid_config", func(n *nn) *node.Object { return &n.TargetRAIDConfig }),
	text("instance_uuid", func(n *nn) *string { return &n.InstanceUUID }),
	text("instance_name", func(n *nn) *string { return &n.InstanceName }),
	text("chassis_uuid", func(n *nn) *string { return &n.ChassisUUID }),
	text("allocation_uuid", func(n *nn) *string { return &n.AllocationUUID }),
	text("parent_node", func(n *nn) *string { return &n.Parent }),
	spelled("power_state", func(n *nn) *node.PowerState { return &n.Power }),
	spelled("target_power_state", func(n *nn) *node.PowerState { return &n.TargetPower }),
	spelled("provision_state", func(n *nn) *node.State { return &n.Provision }),
	spelled("target_provision_state", func(n *nn) *node.State { return &n.TargetProvision }),
	when("provision_updated_at", func(n *nn) *time.Time { return &n.ProvisionUpdatedAt }),
	when("created_at", func(n *nn) *time.Time { return &n.CreatedAt }),
	when("updated_at", func(n *nn) *time.Time { return &n.UpdatedAt }),
	when("inspection_started_at", func(n *nn) *time.Time { return &n.InspectionStartedAt }),
	when("inspection_finished_at", func(n *nn) *time.Time { return &n.InspectionFinishedAt }),
	text("last_error", func(n *nn) *string { return &n.LastError }),
	text("reservation", func(n *nn) *string { return &n.Reservation }),
	boolean("maintenance", func(n *nn) *bool { return &n.Maintenance }),
	text("maintenance_reason", func(n *nn) *string { return &n.MaintenanceReason }),
	text("fault", func(n *nn) *string { return &n.Fault }),
	text("health", func(n *nn) *string { return &n.Health }),
	boolean("console_enabled", func(n *nn) *bool { return &n.ConsoleEnabled }),
	jsonText("clean_step", func(n *nn) *node.Object { return &n.CleanStep }),
	jsonText("deploy_step", func(n *nn) *node.Object { return &n.DeployStep }),
	jsonText("service_step", func(n *nn) *node.Object { return &n.ServiceStep }),
	text("resource_class", func(n *nn) *string { return &n.ResourceClass }),
	sharedText("interfaces", func(n *nn) *node.Interfaces { return &n.Interfaces }),
	text("conductor_group", func(n *nn) *string { return &n.ConductorGroup }),
	optional("automated_clean", func(n *nn) **bool { return &n.AutomatedClean }),
	boolean("protected", func(n *nn) *bool { return &n.Protected }),
	text("protected_reason", func(n *nn) *string { return &n.ProtectedReason }),
	boolean("retired", func(n *nn) *bool { return &n.Retired }),
	text("retired_reason", func(n *nn) *string { return &n.RetiredReason }),
	text("owner", func(n *nn) *string { return &n.Owner }),
	text("lessee", func(n *nn) *string { return &n.Lessee }),
	text("description", func(n *nn) *string { return &n.Description }),
	text("shard", func(n *nn) *string { return &n.Shard }),
	text("boot_mode", func(n *nn) *string { return &n.BootMode }),
	optional("secure_boot", func(n *nn) **bool { return &n.SecureBoot }),
	boolean("disable_power_off", func(n *nn) *bool { return &n.DisablePowerOff }),
	text("card_serial", func(n *nn) *string { return &n.Card.Serial }),
	text("card_uuid", func(n *nn) *string { return &n.Card.UUID }),
	text("card_part_number", func(n *nn) *string { return &n.Card.PartNumber }),
	text("card_chassis", func(n *nn) *string { return &n.Card.Chassis }),
}}

// NodeNotFound is the fault for a node that is not there; ref is what the caller asked for.
func NodeNotFound(ref string) error {
	return fault.New(fault.NotFound, "Node %s could not be found.", ref)
}

var nodeColumns = nodes.names("", nil)

// Node returns the node with this UUID or name. Secrets in its objects are masked. The error is fault.NotFound when there is none.
func (tx *Tx) Node(ctx context.Context, ref string) (*node.Node, error) {
	return tx.oneNode(ctx, ref, nodeKey(ref), "")
}

// NodeForUpdate is Node, and holds the row against other writers until the transaction ends.
func (tx *Tx) NodeForUpdate(ctx context.Context, ref string) (*node.Node, error) {
	return tx.oneNode(ctx, ref, nodeKey(ref), " {update}")
}

// NodeByCard returns the node whose card has this serial. The error is fault.NotFound when there is none.
func (tx *Tx) NodeByCard(ctx context.Context, serial string) (*node.Node, error) {
	return tx.oneNode(ctx, "with card "+serial, "card_serial", "", serial)
}

func nodeKey(ref string) string {
	if node.IsUUID(ref) {
		return "uuid"
	}
	return "name"
}

func (tx *Tx) oneNode(ctx context.Context, ref, key, lock string, value ...any) (*node.Node, error) {
	if len(value) == 0 {
		value = []any{ref}
	}
	if ref == "" {
		return nil, NodeNotFound(ref)
	}
	var n node.Node
	dests := append(nodes.dests(&n, nil), &n.ID, &n.Version)
	row := tx.queryRow(ctx, "SELECT "+nodeColumns+", id, version FROM nodes WHERE "+key+" = ?"+lock, value...)
	switch err := row.Scan(dests...); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, NodeNotFound(ref)
	case err != nil:
		return nil, err
	}
	return &n, nil
}

// Unseal puts the secrets of n in place of their masks. The node must not be shown, logged or saved under another UUID afterwards.
func (tx *Tx) Unseal(ctx context.Context, n *node.Node) error {
	secrets, err := tx.secrets(ctx, n.UUID)
	if err != nil {
		return err
	}
	n.DriverInfo = node.JoinSecrets(n.DriverInfo, secrets["driver_info"])
	n.InstanceInfo = node.JoinSecrets(n.InstanceInfo, secrets["instance_info"])
	n.DriverInternalInfo = node.JoinSecrets(n.DriverInternalInfo, secrets["driver_internal_info"])
	return nil
}

func (tx *Tx) secrets(ctx context.Context, uuid string) (map[string]node.Object, error) {
	var sealed []byte
	if err := tx.queryRow(ctx, "SELECT secrets FROM nodes WHERE uuid = ?", uuid).Scan(&sealed); err != nil {
		return nil, err
	}
	return tx.db.sealer.open(uuid, sealed)
}

// InsertNode adds n and fills its ID, Version, Lease and CreatedAt. Secrets are sealed. The error is fault.Conflict when its UUID, name,
// instance or card is taken.
func (tx *Tx) InsertNode(ctx context.Context, n *node.Node) error {
	var err error
	if n.Lease, err = tx.leaseOf(ctx, n); err != nil {
		return err
	}
	n.CreatedAt, n.Version = tx.Now(), 1
	sealed, err := tx.sealNode(n, nil)
	if err != nil {
		return err
	}
	query, args, err := nodes.insert(n)
	if err != nil {
		return err
	}
	if err := tx.queryRow(ctx, query+" RETURNING id", args...).Scan(&n.ID); err != nil {
		return tx.nodeConflict(n, err)
	}
	if sealed == nil {
		return nil
	}
	_, err = tx.exec(ctx, "UPDATE nodes SET secrets = ? WHERE uuid = ?", sealed, n.UUID)
	return err
}

// SaveNode writes all of n, which was read in this transaction or at the version it names, and raises its version. A Masked secret stays as it
// was. The error is fault.Conflict when somebody wrote the node in between, or when a unique value is taken.
func (tx *Tx) SaveNode(ctx context.Context, n *node.Node) error {
	old, err := tx.secrets(ctx, n.UUID)
	if errors.Is(err, sql.ErrNoRows) {
		return NodeNotFound(n.UUID)
	}
	if err != nil {
		return err
	}
	sealed, err := tx.sealNode(n, old)
	if err != nil {
		return err
	}
	lease := n.Lease
	if n.Lease, err = tx.leaseOf(ctx, n); err != nil {
		return err
	}
	if lease != n.Lease {
		if err := tx.moveLease(ctx, n, lease); err != nil {
			return err
		}
	}
	n.UpdatedAt = tx.Now()
	set, args, err := nodes.set(n)
	if err != nil {
		return err
	}
	changed, err := tx.exec(ctx, "UPDATE nodes SET "+set+", secrets = ?, version = version + 1 WHERE uuid = ? AND version = ?",
		append(args, sealed, n.UUID, n.Version)...)
	if err != nil {
		return tx.nodeConflict(n, err)
	}
	if changed == 0 {
		return fault.New(fault.Conflict, "Node %s was changed by somebody else in the meantime: read it again.", n.UUID)
	}
	n.Version++
	return nil
}

// moveLease takes the children of n, and the operations of all of them that wait, along to the shard of n's new lease. While a conductor is at
// work on one of them, the move is refused: it would go on under the lease of the old shard.
func (tx *Tx) moveLease(ctx context.Context, n *node.Node, from int) error {
	var held int
	err := tx.queryRow(ctx, "SELECT COUNT(*) FROM nodes WHERE (uuid = ? OR parent_node = ?) AND reservation <> ''", n.UUID, n.UUID).Scan(&held)
	if err != nil {
		return err
	}
	if held > 0 || n.Reservation != "" {
		return fault.New(fault.Locked, "Node %s can not change its parent or conductor group while it, or a child of it, is locked by an operation.", n.UUID)
	}
	if _, err := tx.exec(ctx, "UPDATE nodes SET lease_shard = ? WHERE parent_node = ?", n.Lease, n.UUID); err != nil {
		return err
	}
	_, err = tx.exec(ctx, "UPDATE ops SET lease_shard = ?, root = ? WHERE lease_shard = ? AND ended_at = 0 AND (node = ? OR root = ?)",
		n.Lease, n.Root(), from, n.UUID, n.UUID)
	tx.Wake(TopicOps)
	return err
}

// sealNode splits the secrets off n and returns them sealed; a secret that n shows as Masked is taken from old.
func (tx *Tx) sealNode(n *node.Node, old map[string]node.Object) ([]byte, error) {
	all := map[string]node.Object{}
	for name, field := range map[string]*node.Object{
		"driver_info": &n.DriverInfo, "instance_info": &n.InstanceInfo, "driver_internal_info": &n.DriverInternalInfo,
	} {
		clear, secrets := node.SplitSecrets(node.JoinSecrets(*field, old[name]))
		for k, v := range secrets {
			if v == node.Masked {
				delete(secrets, k)
			}
		}
		if *field = clear; len(secrets) > 0 {
			all[name] = secrets
		}
	}
	return tx.db.sealer.seal(n.UUID, all)
}

func (tx *Tx) nodeConflict(n *node.Node, err error) error {
	if !isUnique(err) {
		return err
	}
	return &fault.Error{Kind: fault.Conflict, Err: err, Text: fmt.Sprintf("A node with UUID %s, name %q, instance %q or card %q already exists.",
		n.UUID, n.Name, n.InstanceUUID, n.Card.Serial)}
}

// DeleteNode removes the node and all that belongs to it alone: ports, operations, history, traits.
func (tx *Tx) DeleteNode(ctx context.Context, uuid string) error {
	changed, err := tx.exec(ctx, "DELETE FROM nodes WHERE uuid = ?", uuid)
	if err == nil && changed == 0 {
		return NodeNotFound(uuid)
	}
	return err
}

// Children returns the children of the node with this UUID, in the order of their creation.
func (tx *Tx) Children(ctx context.Context, parent string) ([]*node.Node, error) {
	return tx.Nodes(ctx, NodeQuery{Parent: parent, HasParent: true})
}

// ChildUUIDs returns the UUIDs of the children, in the order of their creation.
func (tx *Tx) ChildUUIDs(ctx context.Context, parent string) ([]string, error) {
	return tx.strings(ctx, "SELECT uuid FROM nodes WHERE parent_node = ? ORDER BY id", parent)
}

func (tx *Tx) strings(ctx context.Context, query string, args ...any) ([]string, error) {
	list := []string{}
	err := tx.each(ctx, query, args, func(rows *sql.Rows) error {
		var s string
		if err := rows.Scan(&s); err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	return list, err
}
