package baremetal

import (
	"context"
	"net/http"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) chassisRoutes() []rest.Route {
	const get = "baremetal:chassis:get"
	k := &chassisKind
	keys := filterKeys(nodeFilters)
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/chassis", Policy: get, Query: pageKeys, Handler: k.lists(s)},
		{Method: http.MethodPost, Pattern: "/v1/chassis", Policy: "baremetal:chassis:create", Handler: k.creates(s)},
		{Method: http.MethodGet, Pattern: "/v1/chassis/detail", Policy: get, Query: pageKeys, Handler: k.lists(s)},
		{Method: http.MethodGet, Pattern: "/v1/chassis/{chassis}", Policy: get, Query: []string{"fields"}, Handler: k.shows(s)},
		{Method: http.MethodPatch, Pattern: "/v1/chassis/{chassis}", Policy: "baremetal:chassis:update", ContentType: patchType, Handler: k.patches(s)},
		{Method: http.MethodDelete, Pattern: "/v1/chassis/{chassis}", Policy: "baremetal:chassis:delete", Handler: k.deletes(s)},
		{Method: http.MethodGet, Pattern: "/v1/chassis/{chassis}/nodes", Policy: get, Query: keys, Handler: s.listChassisNodes},
		{Method: http.MethodGet, Pattern: "/v1/chassis/{chassis}/nodes/detail", Policy: get, Query: keys, Handler: s.listChassisNodes},
	}
}

type chassisView struct {
	UUID        string      `json:"uuid"`
	CreatedAt   time.Time   `json:"created_at"`
	UpdatedAt   time.Time   `json:"updated_at"`
	Description string      `json:"description" zero:"null"`
	Extra       node.Object `json:"extra"`
	Links       links       `json:"links"`
	Nodes       []links     `json:"nodes" with:"all"` // a list of a list: so it is on the wire
}

type ch = node.Chassis

var chassisForm = form[ch]{name: "chassis", fields: []field[ch]{
	textField("uuid", 1, onCreate, isUUID, func(c *ch) *string { return &c.UUID }),
	textField("description", 1, always, isText, func(c *ch) *string { return &c.Description }),
	objectField("extra", 1, always, func(c *ch) *node.Object { return &c.Extra }),
}}

var chassisKind = kind[ch, chassisView]{
	path: "chassis", key: "chassis", param: "chassis", brief: []string{"uuid", "description", "links"},
	form: &chassisForm, view: rest.NewView[chassisView](), sortable: store.SortableChassisColumn,
	show: func(c *ch, r *rest.Request) *chassisView {
		base := r.Endpoint()
		return &chassisView{
			UUID: c.UUID, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, Description: c.Description, Extra: c.Extra,
			Links: links{base: base, path: "chassis", id: c.UUID},
			Nodes: []links{{base: base, path: "chassis", id: c.UUID, part: "/nodes"}},
		}
	},
	record: func(c *ch) *node.Record { return &c.Record },
	fresh:  func() *ch { return &ch{} },
	find:   findChassis,
	list: func(ctx context.Context, tx *store.Tx, _ *rest.Request, p store.Page) ([]*ch, error) {
		return tx.ChassisList(ctx, p)
	},
	check:  func(context.Context, *store.Tx, *rest.Request, edit[ch]) error { return nil },
	insert: (*store.Tx).InsertChassis, save: (*store.Tx).SaveChassis, remove: removeChassis,
}

func findChassis(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*ch, error) {
	if !node.IsUUID(ref) {
		return nil, invalid("Expected a UUID but received %s.", ref)
	}
	c, err := tx.Chassis(ctx, canonical(ref))
	if err != nil {
		return nil, err
	}
	return c, r.Permit(c)
}

func removeChassis(ctx context.Context, tx *store.Tx, _ *rest.Request, c *ch) error {
	n, err := tx.CountNodes(ctx, store.NodeQuery{IncludeChildren: true, ChassisUUID: c.UUID})
	if err != nil {
		return err
	}
	if n > 0 {
		return invalid("Cannot complete the requested action because chassis %s contains nodes.", c.UUID)
	}
	return tx.DeleteChassis(ctx, c.UUID)
}

// listChassisNodes answers GET /v1/chassis/{chassis}/nodes and /detail.
func (s *service) listChassisNodes(r *rest.Request) (*rest.Response, error) {
	var c *ch
	err := s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		c, err = findChassis(ctx, tx, r, r.PathValue("chassis"))
		return err
	})
	if err != nil {
		return nil, err
	}
	if asked := r.Query().Get("chassis_uuid"); asked != "" && canonical(asked) != c.UUID {
		return nil, fault.New(fault.Invalid, "The list of a chassis's nodes can not be of another chassis too.")
	}
	r.Query().Del("chassis_uuid")
	return s.nodeList(r, store.NodeQuery{ChassisUUID: c.UUID})
}
