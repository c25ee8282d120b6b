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

func (s *service) hardwareRoutes() []rest.Route {
	const bios = "baremetal:node:bios:get"
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/bios", Since: mvBIOS, Policy: bios, Query: []string{"fields", "detail"}, Handler: s.listBIOS},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/bios/{setting}", Since: mvBIOS, Policy: bios, Handler: s.showBIOS},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/firmware", Since: mvFirmware, Policy: "baremetal:node:firmware:get", Query: []string{"fields", "detail"}, Handler: s.listFirmware},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/inventory", Since: mvInventory, Policy: "baremetal:node:inventory:get", Handler: s.showInventory},
		{Method: http.MethodGet, Pattern: "/v1/shards", Since: mvShards, Policy: "baremetal:shards:get", Handler: s.listShards},
	}
}

type biosView struct {
	CreatedAt       time.Time `json:"created_at"`
	UpdatedAt       time.Time `json:"updated_at"`
	Name            string    `json:"name"`
	Value           any       `json:"value"`
	Links           links     `json:"links"`
	AttributeType   string    `json:"attribute_type" since:"74" zero:"null"`
	AllowableValues any       `json:"allowable_values" since:"74"`
	LowerBound      *int      `json:"lower_bound" since:"74"`
	MaxLength       *int      `json:"max_length" since:"74"`
	MinLength       *int      `json:"min_length" since:"74"`
	ReadOnly        *bool     `json:"read_only" since:"74"`
	ResetRequired   *bool     `json:"reset_required" since:"74"`
	Unique          *bool     `json:"unique" since:"74"`
	UpperBound      *int      `json:"upper_bound" since:"74"`
}

var biosViews = rest.NewView[biosView]()

func showSetting(b *node.BIOSSetting, n *node.Node, base string) *biosView {
	v := &biosView{
		CreatedAt: b.CreatedAt, UpdatedAt: b.UpdatedAt, Name: b.Name, Value: b.Value, AttributeType: b.AttributeType, LowerBound: b.LowerBound,
		MaxLength: b.MaxLength, MinLength: b.MinLength, ReadOnly: b.ReadOnly, ResetRequired: b.ResetRequired, Unique: b.Unique,
		UpperBound: b.UpperBound, Links: links{base: base, path: "nodes", id: n.UUID, part: "/bios/" + b.Name},
	}
	if b.AllowableValues != nil {
		v.AllowableValues = b.AllowableValues
	}
	return v
}

// biosSettings returns the node in the path and its BIOS settings.
func (s *service) biosSettings(r *rest.Request) (n *node.Node, list []*node.BIOSSetting, err error) {
	err = s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		if n, err = nodeOf(ctx, r, tx.Node); err != nil {
			return err
		}
		list, err = tx.BIOSSettings(ctx, n.UUID)
		return err
	})
	return n, list, err
}

// listBIOS answers GET /v1/nodes/{node}/bios.
func (s *service) listBIOS(r *rest.Request) (*rest.Response, error) {
	var p page
	if q := r.Query(); q.Has("fields") || q.Has("detail") {
		if err := need(r, mvBIOSRegistry); err != nil {
			return nil, err
		}
	}
	if err := p.readFields(r); err != nil {
		return nil, err
	}
	plan, err := biosViews.Plan(r.Version, p.names("created_at", "updated_at", "name", "value", "links")...)
	if err != nil {
		return nil, err
	}
	n, list, err := s.biosSettings(r)
	if err != nil {
		return nil, err
	}
	b := rest.AppendList([]byte(`{"bios":`), list, func(b []byte, v *node.BIOSSetting) []byte { return plan.Append(b, showSetting(v, n, r.Endpoint())) })
	return rest.OK(append(b, '}')), nil
}

// showBIOS answers GET /v1/nodes/{node}/bios/{setting}.
func (s *service) showBIOS(r *rest.Request) (*rest.Response, error) {
	plan, err := biosViews.Plan(r.Version)
	if err != nil {
		return nil, err
	}
	n, list, err := s.biosSettings(r)
	if err != nil {
		return nil, err
	}
	name := r.PathValue("setting")
	for _, v := range list {
		if v.Name == name {
			b := append(rest.AppendString([]byte{'{'}, name), ':')
			return rest.OK(append(plan.Append(b, showSetting(v, n, r.Endpoint())), '}')), nil
		}
	}
	return nil, fault.New(fault.NotFound, "Node %s doesn't have a BIOS setting '%s'", n.UUID, name)
}

type firmwareView struct {
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
	Component      string    `json:"component"`
	InitialVersion string    `json:"initial_version" zero:"null"`
	CurrentVersion string    `json:"current_version" zero:"null"`
	LastFlashed    string    `json:"last_version_flashed" zero:"null"`
	Vendor         string    `json:"vendor" since:"114" zero:"null"`
	Model          string    `json:"model" since:"114" zero:"null"`
	SerialNumber   string    `json:"serial_number" since:"114" zero:"null"`
}

var firmwareViews = rest.NewView[firmwareView]()

// listFirmware answers GET /v1/nodes/{node}/firmware.
func (s *service) listFirmware(r *rest.Request) (*rest.Response, error) {
	var p page
	if err := p.readFields(r); err != nil {
		return nil, err
	}
	plan, err := firmwareViews.Plan(r.Version, p.fields...)
	if err != nil {
		return nil, err
	}
	var list []*node.FirmwareComponent
	err = s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil {
			return err
		}
		list, err = tx.Firmware(ctx, n.UUID)
		return err
	})
	if err != nil {
		return nil, err
	}
	b := rest.AppendList([]byte(`{"firmware":`), list, func(b []byte, f *node.FirmwareComponent) []byte {
		return plan.Append(b, &firmwareView{
			CreatedAt: f.CreatedAt, UpdatedAt: f.UpdatedAt, Component: f.Component, InitialVersion: f.InitialVersion, CurrentVersion: f.CurrentVersion,
			LastFlashed: f.LastFlashed, Vendor: f.Vendor, Model: f.Model, SerialNumber: f.SerialNumber,
		})
	})
	return rest.OK(append(b, '}')), nil
}

// showInventory answers GET /v1/nodes/{node}/inventory.
func (s *service) showInventory(r *rest.Request) (*rest.Response, error) {
	var v *node.Inventory
	err := s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil {
			return err
		}
		v, err = tx.Inventory(ctx, n.UUID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(rest.AppendValue(nil, object{"inventory": v.Inventory, "plugin_data": v.PluginData})), nil
}

// listShards answers GET /v1/shards. Nodes without a shard are counted under "None".
func (s *service) listShards(r *rest.Request) (*rest.Response, error) {
	var counts []store.ShardCount
	err := s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		counts, err = tx.ShardCounts(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, c := range counts {
		if c.Name == "" {
			c.Name = "None"
		}
		list = append(list, object{"name": c.Name, "count": c.Count})
	}
	return rest.OK(rest.AppendValue(nil, object{"shards": list})), nil
}
