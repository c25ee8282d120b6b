package baremetal

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) volumeRoutes() []rest.Route {
	const list, get, create, update, remove = "baremetal:volume:list", "baremetal:volume:get", "baremetal:volume:create", "baremetal:volume:update", "baremetal:volume:delete"
	const cs, ts = "/v1/volume/connectors", "/v1/volume/targets"
	keys := append(slices.Clone(pageKeys), "node")
	c, t := &connectorKind, &targetKind
	ofNode := func(r *rest.Request) (*rest.Response, error) { return c.page(s, r, listNodeConnectors) }
	targetsOfNode := func(r *rest.Request) (*rest.Response, error) { return t.page(s, r, listNodeTargets) }
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/volume", Since: mvVolume, Policy: get, Handler: s.describeVolume},
		{Method: http.MethodGet, Pattern: cs, Since: mvVolume, Policy: list, Query: keys, Handler: c.lists(s)},
		{Method: http.MethodPost, Pattern: cs, Since: mvVolume, Policy: create, Handler: c.creates(s)},
		{Method: http.MethodGet, Pattern: cs + "/{connector}", Since: mvVolume, Policy: get, Query: []string{"fields"}, Handler: c.shows(s)},
		{Method: http.MethodPatch, Pattern: cs + "/{connector}", Since: mvVolume, Policy: update, ContentType: patchType, Handler: c.patches(s)},
		{Method: http.MethodDelete, Pattern: cs + "/{connector}", Since: mvVolume, Policy: remove, Handler: c.deletes(s)},
		{Method: http.MethodGet, Pattern: ts, Since: mvVolume, Policy: list, Query: keys, Handler: t.lists(s)},
		{Method: http.MethodPost, Pattern: ts, Since: mvVolume, Policy: create, Handler: t.creates(s)},
		{Method: http.MethodGet, Pattern: ts + "/{target}", Since: mvVolume, Policy: get, Query: []string{"fields"}, Handler: t.shows(s)},
		{Method: http.MethodPatch, Pattern: ts + "/{target}", Since: mvVolume, Policy: update, ContentType: patchType, Handler: t.patches(s)},
		{Method: http.MethodDelete, Pattern: ts + "/{target}", Since: mvVolume, Policy: remove, Handler: t.deletes(s)},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/volume", Since: mvVolume, Policy: get, Handler: s.describeNodeVolume},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/volume/connectors", Since: mvVolume, Policy: list, Query: pageKeys, Handler: ofNode},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/volume/targets", Since: mvVolume, Policy: list, Query: pageKeys, Handler: targetsOfNode},
	}
}

// describeVolume answers GET /v1/volume.
func (s *service) describeVolume(r *rest.Request) (*rest.Response, error) {
	base := r.Endpoint()
	return rest.OK(rest.AppendValue(nil, object{
		"links":      &links{base: base, path: "volume"},
		"connectors": &links{base: base, path: "volume", id: "connectors"},
		"targets":    &links{base: base, path: "volume", id: "targets"},
	})), nil
}

// describeNodeVolume answers GET /v1/nodes/{node}/volume.
func (s *service) describeNodeVolume(r *rest.Request) (*rest.Response, error) {
	n, err := s.readNode(r)
	if err != nil {
		return nil, err
	}
	link := func(part string) *links {
		return &links{base: r.Endpoint(), path: "nodes", id: n.UUID, part: "/volume" + part}
	}
	return rest.OK(rest.AppendValue(nil, object{"links": link(""), "connectors": link("/connectors"), "targets": link("/targets")})), nil
}

type connectorView struct {
	UUID        string      `json:"uuid"`
	CreatedAt   time.Time   `json:"created_at"`
	UpdatedAt   time.Time   `json:"updated_at"`
	ConnectorID string      `json:"connector_id"`
	Extra       node.Object `json:"extra"`
	Type        string      `json:"type"`
	Links       links       `json:"links"`
	NodeUUID    string      `json:"node_uuid"`
}

type vc = node.VolumeConnector

var connectorForm = form[vc]{name: "volume connector", fields: []field[vc]{
	textField("uuid", 1, onCreate, isUUID, func(c *vc) *string { return &c.UUID }),
	required(textField("node_uuid", 1, onPatch, mustUUID, func(c *vc) *string { return &c.NodeUUID })),
	required(textField("type", 1, always, oneOf("iqn", "ip", "mac", "wwnn", "wwpn", "port", "portgroup"), func(c *vc) *string { return &c.Type })),
	required(textField("connector_id", 1, always, mustText(1, 255), func(c *vc) *string { return &c.ConnectorID })),
	objectField("extra", 1, always, func(c *vc) *node.Object { return &c.Extra }),
}}

var connectorKind = kind[vc, connectorView]{
	path: "volume/connectors", key: "connectors", param: "connector", brief: []string{"uuid", "node_uuid", "type", "connector_id", "links"},
	form: &connectorForm, view: rest.NewView[connectorView](), sortable: store.SortableConnectorColumn,
	show: func(c *vc, r *rest.Request) *connectorView {
		return &connectorView{
			UUID: c.UUID, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, ConnectorID: c.ConnectorID, Extra: c.Extra, Type: c.Type, NodeUUID: c.NodeUUID,
			Links: links{base: r.Endpoint(), path: "volume/connectors", id: c.UUID},
		}
	},
	record: func(c *vc) *node.Record { return &c.Record },
	fresh:  func() *vc { return &vc{} },
	owner:  func(c *vc) *string { return &c.NodeUUID },
	find: func(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*vc, error) {
		if !node.IsUUID(ref) {
			return nil, invalid("Expected a UUID but received %s.", ref)
		}
		c, err := tx.Connector(ctx, canonical(ref))
		if err != nil {
			return nil, err
		}
		return c, permitOwner(ctx, tx, r, c.NodeUUID, "Volume connector", ref)
	},
	list: func(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*vc, error) {
		q, err := volumeQuery(ctx, tx, r, p)
		if err != nil {
			return nil, err
		}
		return tx.Connectors(ctx, q)
	},
	check: func(ctx context.Context, tx *store.Tx, _ *rest.Request, e edit[vc]) error {
		if e.old == nil {
			return nil
		}
		return mayEditVolume(ctx, tx, e.old.NodeUUID, e.v.NodeUUID, "volume connector update")
	},
	insert: (*store.Tx).InsertConnector, save: (*store.Tx).SaveConnector,
	remove: func(ctx context.Context, tx *store.Tx, _ *rest.Request, c *vc) error {
		if err := mayEditVolume(ctx, tx, c.NodeUUID, c.NodeUUID, "volume connector deletion"); err != nil {
			return err
		}
		return tx.DeleteConnector(ctx, c.UUID)
	},
}

type targetView struct {
	UUID       string      `json:"uuid"`
	CreatedAt  time.Time   `json:"created_at"`
	UpdatedAt  time.Time   `json:"updated_at"`
	BootIndex  int         `json:"boot_index"`
	Extra      node.Object `json:"extra"`
	Properties node.Object `json:"properties"`
	VolumeID   string      `json:"volume_id"`
	VolumeType string      `json:"volume_type"`
	Links      links       `json:"links"`
	NodeUUID   string      `json:"node_uuid"`
}

type vt = node.VolumeTarget

var targetForm = form[vt]{name: "volume target", fields: []field[vt]{
	textField("uuid", 1, onCreate, isUUID, func(t *vt) *string { return &t.UUID }),
	required(textField("node_uuid", 1, onPatch, mustUUID, func(t *vt) *string { return &t.NodeUUID })),
	required(textField("volume_type", 1, always, mustText(1, 64), func(t *vt) *string { return &t.VolumeType })),
	required(textField("volume_id", 1, always, mustText(1, 255), func(t *vt) *string { return &t.VolumeID })),
	required(field[vt]{
		name: "boot_index", since: 1, when: always, check: indexRule,
		get: func(t *vt) any { return float64(t.BootIndex) },
		set: func(t *vt, v any) { t.BootIndex = index(v) },
	}),
	objectField("properties", 1, always, func(t *vt) *node.Object { return &t.Properties }),
	objectField("extra", 1, always, func(t *vt) *node.Object { return &t.Extra }),
}}

var targetKind = kind[vt, targetView]{
	path: "volume/targets", key: "targets", param: "target", brief: []string{"uuid", "node_uuid", "volume_type", "boot_index", "volume_id", "links"},
	form: &targetForm, view: rest.NewView[targetView](), sortable: store.SortableTargetColumn,
	show: func(t *vt, r *rest.Request) *targetView {
		return &targetView{
			UUID: t.UUID, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, BootIndex: t.BootIndex, Extra: t.Extra, Properties: masked(t.Properties),
			VolumeID: t.VolumeID, VolumeType: t.VolumeType, NodeUUID: t.NodeUUID, Links: links{base: r.Endpoint(), path: "volume/targets", id: t.UUID},
		}
	},
	record: func(t *vt) *node.Record { return &t.Record },
	fresh:  func() *vt { return &vt{} },
	owner:  func(t *vt) *string { return &t.NodeUUID },
	find: func(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*vt, error) {
		if !node.IsUUID(ref) {
			return nil, invalid("Expected a UUID but received %s.", ref)
		}
		t, err := tx.Target(ctx, canonical(ref))
		if err != nil {
			return nil, err
		}
		return t, permitOwner(ctx, tx, r, t.NodeUUID, "Volume target", ref)
	},
	list: func(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*vt, error) {
		q, err := volumeQuery(ctx, tx, r, p)
		if err != nil {
			return nil, err
		}
		return tx.Targets(ctx, q)
	},
	check: func(ctx context.Context, tx *store.Tx, _ *rest.Request, e edit[vt]) error {
		if e.old == nil {
			return nil
		}
		return mayEditVolume(ctx, tx, e.old.NodeUUID, e.v.NodeUUID, "volume target update")
	},
	insert: (*store.Tx).InsertTarget, save: (*store.Tx).SaveTarget,
	remove: func(ctx context.Context, tx *store.Tx, _ *rest.Request, t *vt) error {
		if err := mayEditVolume(ctx, tx, t.NodeUUID, t.NodeUUID, "volume target deletion"); err != nil {
			return err
		}
		return tx.DeleteTarget(ctx, t.UUID)
	},
}

// volumeQuery reads which volume resources a list request selects.
func volumeQuery(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) (store.VolumeQuery, error) {
	q := store.VolumeQuery{Page: p}
	if err := pin(r, "baremetal:volume:list_all", &q.Project); err != nil {
		return q, err
	}
	var err error
	q.NodeUUID, err = nodeInQuery(ctx, tx, r)
	return q, err
}

func listNodeConnectors(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*vc, error) {
	n, err := nodeOf(ctx, r, tx.Node)
	if err != nil {
		return nil, err
	}
	return tx.Connectors(ctx, store.VolumeQuery{NodeUUID: n.UUID, Page: p})
}

func listNodeTargets(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*vt, error) {
	n, err := nodeOf(ctx, r, tx.Node)
	if err != nil {
		return nil, err
	}
	return tx.Targets(ctx, store.VolumeQuery{NodeUUID: n.UUID, Page: p})
}

// mayEditVolume refuses to change what a machine that is not off may be using.
func mayEditVolume(ctx context.Context, tx *store.Tx, old, now, what string) error {
	n, err := tx.Node(ctx, old)
	switch {
	case err != nil:
		return err
	case canonical(now) != old:
		return invalid("A %s can not move it to another node.", what)
	case n.Reservation != "":
		return conductor.Locked(n)
	case n.Power != node.PowerOff:
		return invalid("The requested action \"%s\" can not be performed on node \"%s\" while it is in state \"%s\".", what, n.UUID, n.Power)
	}
	return nil
}
