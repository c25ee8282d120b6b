package baremetal

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) portgroupRoutes() []rest.Route {
	const list, get = "baremetal:portgroup:list", "baremetal:portgroup:get"
	keys := filterKeys(portgroupFilters)
	k := &portgroupKind
	ofNode := func(r *rest.Request) (*rest.Response, error) { return k.page(s, r, listNodePortgroups) }
	members := func(r *rest.Request) (*rest.Response, error) { return portKind.page(s, r, listMembers) }
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/portgroups", Since: mvPortgroups, Policy: list, Query: keys, Handler: k.lists(s)},
		{Method: http.MethodPost, Pattern: "/v1/portgroups", Since: mvPortgroups, Policy: "baremetal:portgroup:create", Handler: k.creates(s)},
		{Method: http.MethodGet, Pattern: "/v1/portgroups/detail", Since: mvPortgroups, Policy: list, Query: keys, Handler: k.lists(s)},
		{Method: http.MethodGet, Pattern: "/v1/portgroups/{portgroup}", Since: mvPortgroups, Policy: get, Query: []string{"fields"}, Handler: k.shows(s)},
		{Method: http.MethodPatch, Pattern: "/v1/portgroups/{portgroup}", Since: mvPortgroups, Policy: "baremetal:portgroup:update", ContentType: patchType, Handler: k.patches(s)},
		{Method: http.MethodDelete, Pattern: "/v1/portgroups/{portgroup}", Since: mvPortgroups, Policy: "baremetal:portgroup:delete", Handler: k.deletes(s)},
		{Method: http.MethodGet, Pattern: "/v1/portgroups/{portgroup}/ports", Since: mvPortgroupLinks, Policy: "baremetal:port:get", Query: pageKeys, Handler: members},
		{Method: http.MethodGet, Pattern: "/v1/portgroups/{portgroup}/ports/detail", Since: mvPortgroupLinks, Policy: "baremetal:port:get", Query: pageKeys, Handler: members},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/portgroups", Since: mvPortgroupLinks, Policy: get, Query: pageKeys, Handler: ofNode},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/portgroups/detail", Since: mvPortgroupLinks, Policy: get, Query: pageKeys, Handler: ofNode},
	}
}

type portgroupView struct {
	UUID            string      `json:"uuid"`
	CreatedAt       time.Time   `json:"created_at"`
	UpdatedAt       time.Time   `json:"updated_at"`
	Address         string      `json:"address" zero:"null"`
	Extra           node.Object `json:"extra"`
	InternalInfo    node.Object `json:"internal_info"`
	Mode            string      `json:"mode" since:"26" zero:"null"`
	Name            string      `json:"name" zero:"null"`
	Properties      node.Object `json:"properties" since:"26"`
	StandalonePorts bool        `json:"standalone_ports_supported"`
	NodeUUID        string      `json:"node_uuid"`
	PhysicalNet     string      `json:"physical_network" since:"102" zero:"null"`
	Category        string      `json:"category" since:"103" zero:"null"`
	Dynamic         bool        `json:"dynamic_portgroup" since:"111"`
	Links           links       `json:"links"`
	Ports           links       `json:"ports" since:"24" with:"all"`
}

type pg = node.Portgroup

var portgroupForm = form[pg]{name: "portgroup", fields: []field[pg]{
	textField("uuid", 1, onCreate, isUUID, func(g *pg) *string { return &g.UUID }),
	required(textField("node_uuid", 1, onPatch, mustUUID, func(g *pg) *string { return &g.NodeUUID })),
	textField("name", 1, always, nameRule, func(g *pg) *string { return &g.Name }),
	textField("address", 1, always, orNull(macRule), func(g *pg) *string { return &g.Address }),
	objectField("extra", 1, always, func(g *pg) *node.Object { return &g.Extra }),
	boolDefault("standalone_ports_supported", 1, true, func(g *pg) *bool { return &g.StandalonePorts }),
	{
		name: "mode", since: 26, when: always, check: isText,
		get: func(g *pg) any { return orNil(g.Mode) },
		set: func(g *pg, v any) {
			if g.Mode, _ = v.(string); g.Mode == "" {
				g.Mode = defaultMode
			}
		},
	},
	objectField("properties", 26, always, func(g *pg) *node.Object { return &g.Properties }),
	textField("physical_network", 102, always, textRule(1, 64), func(g *pg) *string { return &g.PhysicalNet }),
	textField("category", 103, always, textRule(0, 80), func(g *pg) *string { return &g.Category }),
}}

// defaultMode is how the ports of a port group work together unless its creator says otherwise (Linux bonding mode 1).
const defaultMode = "active-backup"

var portgroupFilters = []filter[store.PortQuery]{
	{"address", 1, filterAddress},
	{"node", 1, later[store.PortQuery]},
	{"shard", mvPortgroupShards, func(q *store.PortQuery, v string) error { q.Shards = splitList(v); return nil }},
	{"conductor_groups", mvGroupFilters, func(q *store.PortQuery, v string) error { q.Groups = splitList(strings.ToLower(v)); return nil }},
}

var portgroupKind = kind[pg, portgroupView]{
	path: "portgroups", key: "portgroups", param: "portgroup", brief: []string{"uuid", "address", "name", "links"},
	form: &portgroupForm, view: rest.NewView[portgroupView](), sortable: store.SortablePortgroupColumn,
	show: func(g *pg, r *rest.Request) *portgroupView {
		base := r.Endpoint()
		return &portgroupView{
			UUID: g.UUID, CreatedAt: g.CreatedAt, UpdatedAt: g.UpdatedAt, Address: g.Address, Extra: g.Extra, InternalInfo: g.InternalInfo,
			Mode: g.Mode, Name: g.Name, Properties: g.Properties, StandalonePorts: g.StandalonePorts, NodeUUID: g.NodeUUID,
			PhysicalNet: g.PhysicalNet, Category: g.Category, Dynamic: g.Dynamic,
			Links: links{base: base, path: "portgroups", id: g.UUID}, Ports: links{base: base, path: "portgroups", id: g.UUID, part: "/ports"},
		}
	},
	record: func(g *pg) *node.Record { return &g.Record },
	fresh:  func() *pg { return &pg{StandalonePorts: true, Mode: defaultMode} },
	owner:  func(g *pg) *string { return &g.NodeUUID }, ident: true,
	find: findPortgroup, list: listPortgroups, check: checkPortgroup, insert: (*store.Tx).InsertPortgroup, save: (*store.Tx).SavePortgroup,
	remove: removePortgroup,
}

func listPortgroups(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*pg, error) {
	q := store.PortQuery{Page: p}
	if err := applyFilters(r, portgroupFilters, &q); err != nil {
		return nil, err
	}
	if err := pin(r, "baremetal:portgroup:list_all", &q.Project); err != nil {
		return nil, err
	}
	var err error
	if q.NodeUUID, err = nodeInQuery(ctx, tx, r); err != nil {
		return nil, err
	}
	return tx.Portgroups(ctx, q)
}

func listNodePortgroups(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*pg, error) {
	n, err := nodeOf(ctx, r, tx.Node)
	if err != nil {
		return nil, err
	}
	return tx.Portgroups(ctx, store.PortQuery{NodeUUID: n.UUID, Page: p})
}

// listMembers lists the ports of the port group that the path names.
func listMembers(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*node.Port, error) {
	g, err := findPortgroup(ctx, tx, r, r.PathValue("portgroup"))
	if err != nil {
		return nil, err
	}
	return tx.Ports(ctx, store.PortQuery{PortgroupUUID: g.UUID, Page: p})
}

func findPortgroup(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*pg, error) {
	g, err := tx.Portgroup(ctx, canonical(ref))
	if err != nil {
		return nil, err
	}
	return g, permitOwner(ctx, tx, r, g.NodeUUID, "Portgroup", ref)
}

func checkPortgroup(ctx context.Context, tx *store.Tx, _ *rest.Request, e edit[pg]) error {
	g := e.v
	g.Address, g.NodeUUID = canonicalMAC(g.Address), canonical(g.NodeUUID)
	if e.old != nil {
		n, err := tx.Node(ctx, e.old.NodeUUID)
		switch {
		case err != nil:
			return err
		case n.Reservation != "":
			return conductor.Locked(n)
		case g.NodeUUID != e.old.NodeUUID:
			return invalid("Portgroup %s can not be moved to another node.", g.UUID)
		}
	}
	return checkPortgroupFree(ctx, tx, g)
}

func checkPortgroupFree(ctx context.Context, tx *store.Tx, g *pg) error {
	if g.Address != "" {
		list, err := tx.Portgroups(ctx, store.PortQuery{Address: g.Address, Page: store.Page{Limit: 1}})
		if err != nil {
			return err
		}
		if len(list) > 0 && list[0].UUID != g.UUID {
			return conflict("A portgroup with MAC address %s already exists.", g.Address)
		}
	}
	other, err := tx.Portgroup(ctx, g.Name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case other.UUID != g.UUID:
		return conflict("A portgroup with name %s already exists.", g.Name)
	}
	return nil
}

func removePortgroup(ctx context.Context, tx *store.Tx, _ *rest.Request, g *pg) error {
	n, err := tx.Node(ctx, g.NodeUUID)
	if err != nil {
		return err
	}
	if n.Reservation != "" {
		return conductor.Locked(n)
	}
	members, err := tx.Ports(ctx, store.PortQuery{PortgroupUUID: g.UUID, Page: store.Page{Limit: 1}})
	if err != nil {
		return err
	}
	if len(members) > 0 {
		return invalid("Portgroup %s is not empty: port %s is in it.", g.UUID, members[0].UUID)
	}
	return tx.DeletePortgroup(ctx, g.UUID)
}
