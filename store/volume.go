package store

import (
	"context"

	"github.com/riser-project/riser/node"
)

type nvc = node.VolumeConnector

var connectors = newResource("volume_connectors", "Volume connector", func(c *nvc) *node.Record { return &c.Record },
	text("node_uuid", func(c *nvc) *string { return &c.NodeUUID }),
	text("type", func(c *nvc) *string { return &c.Type }),
	text("connector_id", func(c *nvc) *string { return &c.ConnectorID }),
	jsonText("extra", func(c *nvc) *node.Object { return &c.Extra }),
)

type nvt = node.VolumeTarget

var targets = newResource("volume_targets", "Volume target", func(t *nvt) *node.Record { return &t.Record },
	text("node_uuid", func(t *nvt) *string { return &t.NodeUUID }),
	text("volume_type", func(t *nvt) *string { return &t.VolumeType }),
	text("volume_id", func(t *nvt) *string { return &t.VolumeID }),
	count("boot_index", func(t *nvt) *int { return &t.BootIndex }),
	jsonText("properties", func(t *nvt) *node.Object { return &t.Properties }),
	jsonText("extra", func(t *nvt) *node.Object { return &t.Extra }),
)

// VolumeQuery selects volume connectors or targets. The zero value selects all.
type VolumeQuery struct {
	NodeUUID string
	Project  string // owner or lessee of the node
	Page
}

func (q *VolumeQuery) where() *where {
	return (&PortQuery{NodeUUID: q.NodeUUID, Project: q.Project}).where()
}

// SortableConnectorColumn reports whether volume connectors can be sorted by this API field.
func SortableConnectorColumn(name string) bool { return connectors.sortable(name) }

// Connector returns the volume connector with this UUID. The error is fault.NotFound when there is none.
func (tx *Tx) Connector(ctx context.Context, uuid string) (*node.VolumeConnector, error) {
	return connectors.one(ctx, tx, "uuid", uuid)
}

// Connectors returns the volume connectors that q selects. A marker that names none is fault.NotFound.
func (tx *Tx) Connectors(ctx context.Context, q VolumeQuery) ([]*node.VolumeConnector, error) {
	return connectors.list(ctx, tx, q.where(), q.Page)
}

// InsertConnector adds c and fills its CreatedAt. The error is fault.Conflict when its UUID, or its type with its ID, is taken.
func (tx *Tx) InsertConnector(ctx context.Context, c *node.VolumeConnector) error {
	return connectors.add(ctx, tx, c, connectorTaken)
}

// SaveConnector writes all of c as it was read. The error is fault.Conflict when it was changed since, or its type with its ID is taken.
func (tx *Tx) SaveConnector(ctx context.Context, c *node.VolumeConnector) error {
	return connectors.save(ctx, tx, c, connectorTaken)
}

func connectorTaken(c *node.VolumeConnector) error {
	return taken("A volume connector with type %s and connector ID %s, or with UUID %s, already exists.", c.Type, c.ConnectorID, c.UUID)
}

// DeleteConnector removes the volume connector with this UUID.
func (tx *Tx) DeleteConnector(ctx context.Context, uuid string) error {
	return connectors.remove(ctx, tx, uuid)
}

// SortableTargetColumn reports whether volume targets can be sorted by this API field.
func SortableTargetColumn(name string) bool { return targets.sortable(name) }

// Target returns the volume target with this UUID; secrets in its properties are masked. The error is fault.NotFound when there is none.
func (tx *Tx) Target(ctx context.Context, uuid string) (*node.VolumeTarget, error) {
	return targets.one(ctx, tx, "uuid", uuid)
}

// Targets returns the volume targets that q selects; secrets in their properties are masked. A marker that names none is fault.NotFound.
func (tx *Tx) Targets(ctx context.Context, q VolumeQuery) ([]*node.VolumeTarget, error) {
	return targets.list(ctx, tx, q.where(), q.Page)
}

// UnsealTarget puts the secrets of t's properties in place of their masks. t must not be shown or logged afterwards.
func (tx *Tx) UnsealTarget(ctx context.Context, t *node.VolumeTarget) error {
	secrets, err := tx.targetSecrets(ctx, t.UUID)
	t.Properties = node.JoinSecrets(t.Properties, secrets)
	return err
}

func (tx *Tx) targetSecrets(ctx context.Context, uuid string) (node.Object, error) {
	var sealed []byte
	if err := tx.queryRow(ctx, "SELECT secrets FROM volume_targets WHERE uuid = ?", uuid).Scan(&sealed); err != nil {
		return nil, err
	}
	secrets, err := tx.db.sealer.open(uuid, sealed)
	return secrets["properties"], err
}

// sealTarget takes the secrets out of t's properties; those that are masked there come from old.
func (tx *Tx) sealTarget(t *node.VolumeTarget, old node.Object) ([]byte, error) {
	clear, secrets := node.SplitSecrets(node.JoinSecrets(t.Properties, old))
	for k, v := range secrets {
		if v == node.Masked {
			delete(secrets, k)
		}
	}
	t.Properties = clear
	if len(secrets) == 0 {
		return nil, nil
	}
	return tx.db.sealer.seal(t.UUID, map[string]node.Object{"properties": secrets})
}

// InsertTarget adds t, seals the secrets in its properties, and fills its CreatedAt. The error is fault.Conflict when its UUID, or its boot
// index in the node, is taken.
func (tx *Tx) InsertTarget(ctx context.Context, t *node.VolumeTarget) error {
	sealed, err := tx.sealTarget(t, nil)
	if err != nil {
		return err
	}
	if err := targets.add(ctx, tx, t, targetTaken); err != nil {
		return err
	}
	return tx.saveTargetSecrets(ctx, t, sealed)
}

// SaveTarget writes all of t as it was read; a masked secret stays as it was. The error is fault.Conflict when t was changed since, or its boot
// index is taken.
func (tx *Tx) SaveTarget(ctx context.Context, t *node.VolumeTarget) error {
	old, err := tx.targetSecrets(ctx, t.UUID)
	if noRows(err) {
		return targets.notFound(t.UUID)
	}
	if err != nil {
		return err
	}
	sealed, err := tx.sealTarget(t, old)
	if err != nil {
		return err
	}
	if err := targets.save(ctx, tx, t, targetTaken); err != nil {
		return err
	}
	return tx.saveTargetSecrets(ctx, t, sealed)
}

func (tx *Tx) saveTargetSecrets(ctx context.Context, t *node.VolumeTarget, sealed []byte) error {
	_, err := tx.exec(ctx, "UPDATE volume_targets SET secrets = ? WHERE uuid = ?", sealed, t.UUID)
	return err
}

func targetTaken(t *node.VolumeTarget) error {
	return taken("A volume target with boot index %d for node %s, or with UUID %s, already exists.", t.BootIndex, t.NodeUUID, t.UUID)
}

// DeleteTarget removes the volume target with this UUID.
func (tx *Tx) DeleteTarget(ctx context.Context, uuid string) error {
	return targets.remove(ctx, tx, uuid)
}
