package baremetal

import (
	"context"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) portRoutes() []rest.Route {
	const list, get = "baremetal:port:list", "baremetal:port:get"
	keys := filterKeys(portFilters)
	ofNode := func(r *rest.Request) (*rest.Response, error) { return portKind.page(s, r, listNodePorts) }
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/ports", Policy: list, Query: keys, Handler: portKind.lists(s)},
		{Method: http.MethodPost, Pattern: "/v1/ports", Policy: "baremetal:port:create", Handler: portKind.creates(s)},
		{Method: http.MethodGet, Pattern: "/v1/ports/detail", Policy: list, Query: keys, Handler: portKind.lists(s)},
		{Method: http.MethodGet, Pattern: "/v1/ports/{port}", Policy: get, Query: []string{"fields"}, Handler: portKind.shows(s)},
		{Method: http.MethodPatch, Pattern: "/v1/ports/{port}", Policy: "baremetal:port:update", ContentType: patchType, Handler: portKind.patches(s)},
		{Method: http.MethodDelete, Pattern: "/v1/ports/{port}", Policy: "baremetal:port:delete", Handler: portKind.deletes(s)},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/ports", Policy: get, Query: pageKeys, Handler: ofNode},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/ports/detail", Policy: get, Query: pageKeys, Handler: ofNode},
	}
}

type portView struct {
	UUID           string      `json:"uuid"`
	CreatedAt      time.Time   `json:"created_at"`
	UpdatedAt      time.Time   `json:"updated_at"`
	Address        string      `json:"address"`
	Extra          node.Object `json:"extra"`
	InternalInfo   node.Object `json:"internal_info" since:"18"`
	SmartNIC       bool        `json:"is_smartnic" since:"53"`
	LocalLink      node.Object `json:"local_link_connection" since:"19"`
	PhysicalNet    string      `json:"physical_network" since:"34" zero:"null"`
	PXEEnabled     bool        `json:"pxe_enabled" since:"19"`
	NodeUUID       string      `json:"node_uuid"`
	Name           string      `json:"name" since:"88" zero:"null"`
	Description    string      `json:"description" since:"97" zero:"null"`
	Vendor         string      `json:"vendor" since:"100" zero:"null"`
	Category       string      `json:"category" since:"101" zero:"null"`
	DynamicAllowed bool        `json:"available_for_dynamic_portgroup" since:"111"`
	Links          links       `json:"links"`
	PortgroupUUID  string      `json:"portgroup_uuid" since:"24" zero:"null"`
}

var portViews = rest.NewView[portView]()

func showPort(p *node.Port, r *rest.Request) *portView {
	return &portView{
		UUID: p.UUID, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, Address: p.Address, Extra: p.Extra, InternalInfo: p.InternalInfo,
		SmartNIC: p.SmartNIC, LocalLink: p.LocalLink, PhysicalNet: p.PhysicalNet, PXEEnabled: p.PXEEnabled, NodeUUID: p.NodeUUID,
		Name: p.Name, Description: p.Description, Vendor: p.Vendor, Category: p.Category, DynamicAllowed: p.DynamicAllowed,
		Links: links{base: r.Endpoint(), path: "ports", id: p.UUID}, PortgroupUUID: p.PortgroupUUID,
	}
}

type pp = node.Port

// portForm is what a client may write of a port. node_ident stands for node_uuid on create, where a name will do.
var portForm = form[pp]{name: "port", fields: []field[pp]{
	textField("uuid", 1, onCreate, isUUID, func(p *pp) *string { return &p.UUID }),
	required(textField("address", 1, always, macRule, func(p *pp) *string { return &p.Address })),
	required(textField("node_uuid", 1, onPatch, mustUUID, func(p *pp) *string { return &p.NodeUUID })),
	objectField("extra", 1, always, func(p *pp) *node.Object { return &p.Extra }),
	objectField("local_link_connection", 19, always, func(p *pp) *node.Object { return &p.LocalLink }),
	boolDefault("pxe_enabled", 19, true, func(p *pp) *bool { return &p.PXEEnabled }),
	textField("portgroup_uuid", mvPortgroupLinks, always, isUUID, func(p *pp) *string { return &p.PortgroupUUID }),
	textField("physical_network", 34, always, textRule(1, 64), func(p *pp) *string { return &p.PhysicalNet }),
	boolField("is_smartnic", 53, always, func(p *pp) *bool { return &p.SmartNIC }),
	textField("name", mvPortNames, always, nameRule, func(p *pp) *string { return &p.Name }),
	textField("description", mvPortDescription, always, isText, func(p *pp) *string { return &p.Description }),
	textField("vendor", 100, always, textRule(0, 32), func(p *pp) *string { return &p.Vendor }),
	textField("category", 101, always, textRule(0, 80), func(p *pp) *string { return &p.Category }),
	boolDefault("available_for_dynamic_portgroup", 111, true, func(p *pp) *bool { return &p.DynamicAllowed }),
}}

// boolDefault is boolField for a field that removing resets to def.
func boolDefault[T any](name string, since int, def bool, p func(*T) *bool) field[T] {
	f := boolField(name, since, always, p)
	f.set = func(v *T, value any) {
		*p(v) = def
		if b, err := node.ParseBool(value); err == nil {
			*p(v) = b
		}
	}
	return f
}

var macForm = regexp.MustCompile(`^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$`)

// macRule lets a MAC address of six octets pass, with colons or hyphens.
func macRule(v any) string {
	s, ok := v.(string)
	if !ok || !macForm.MatchString(s) {
		return "Expected a MAC address but received " + strings.Trim(repr(v), "'") + "."
	}
	return ""
}

// canonicalMAC writes a MAC address in lower case with colons.
func canonicalMAC(s string) string {
	if hw, err := net.ParseMAC(s); err == nil {
		return hw.String()
	}
	return s
}

var portFilters = []filter[store.PortQuery]{
	{"address", 1, filterAddress},
	{"node", 1, later[store.PortQuery]},
	{"node_uuid", 1, later[store.PortQuery]},
	{"portgroup", mvPortgroupLinks, later[store.PortQuery]},
	{"shard", mvShards, func(q *store.PortQuery, v string) error { q.Shards = splitList(v); return nil }},
	{"description_contains", mvPortDescription, func(q *store.PortQuery, v string) error { q.Description = v; return nil }},
	{"conductor_groups", mvGroupFilters, func(q *store.PortQuery, v string) error { q.Groups = splitList(strings.ToLower(v)); return nil }},
}

// later is a filter that needs the store: the lister applies it.
func later[Q any](*Q, string) error { return nil }

func filterAddress(q *store.PortQuery, v string) error {
	if why := macRule(v); why != "" {
		return invalid("%s", why)
	}
	q.Address = canonicalMAC(v)
	return nil
}

var portKind = kind[node.Port, portView]{
	path: "ports", key: "ports", param: "port", brief: []string{"uuid", "address", "links"},
	form: &portForm, view: portViews, show: showPort, sortable: store.SortablePortColumn,
	record: func(p *pp) *node.Record { return &p.Record },
	fresh:  func() *pp { return &pp{PXEEnabled: true, DynamicAllowed: true} },
	owner:  func(p *pp) *string { return &p.NodeUUID }, ident: true,
	find: findPort, list: listPorts, check: checkPort, insert: (*store.Tx).InsertPort, save: (*store.Tx).SavePort, remove: removePort,
}

func listPorts(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*node.Port, error) {
	q := store.PortQuery{Page: p}
	if err := applyFilters(r, portFilters, &q); err != nil {
		return nil, err
	}
	if err := pin(r, "baremetal:port:list_all", &q.Project); err != nil {
		return nil, err
	}
	var err error
	if q.NodeUUID, err = nodeInQuery(ctx, tx, r); err != nil {
		return nil, err
	}
	if ref := r.Query().Get("portgroup"); ref != "" {
		g, err := tx.Portgroup(ctx, canonical(ref))
		if err != nil {
			return nil, err
		}
		q.PortgroupUUID = g.UUID
	}
	return tx.Ports(ctx, q)
}

// nodeInQuery returns the UUID of the node that ?node_uuid= or ?node= names, or "".
func nodeInQuery(ctx context.Context, tx *store.Tx, r *rest.Request) (string, error) {
	ref := r.Query().Get("node_uuid")
	if ref == "" {
		ref = r.Query().Get("node")
	}
	if ref == "" {
		return "", nil
	}
	n, err := nodeByRef(ctx, r, ref, tx.Node)
	if err != nil {
		return "", err
	}
	return n.UUID, nil
}

func listNodePorts(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*node.Port, error) {
	n, err := nodeOf(ctx, r, tx.Node)
	if err != nil {
		return nil, err
	}
	return tx.Ports(ctx, store.PortQuery{NodeUUID: n.UUID, Page: p})
}

// findPort finds a port by UUID, or for reading, from 1.88 on, by name.
func findPort(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*node.Port, error) {
	get := tx.Port
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case node.IsUUID(ref):
	case reads && r.Version >= mvPortNames && node.ValidName(ref) == nil:
		get = tx.PortNamed
	default:
		return nil, invalid("Expected a UUID but received %s.", ref)
	}
	p, err := get(ctx, canonical(ref))
	if err != nil {
		return nil, err
	}
	return p, permitOwner(ctx, tx, r, p.NodeUUID, "Port", ref)
}

// permitOwner asks the policy about the node that an object belongs to. A node that may not be seen hides its objects too.
func permitOwner(ctx context.Context, tx *store.Tx, r *rest.Request, nodeUUID, what, ref string) error {
	n, err := tx.Node(ctx, nodeUUID)
	if err == nil {
		err = r.Permit(n)
	}
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, "%s %s could not be found.", what, ref)
	}
	return err
}

// checkPort brings a port's values into their form, and refuses those that go against its node, its port group or another port.
func checkPort(ctx context.Context, tx *store.Tx, _ *rest.Request, e edit[node.Port]) (err error) {
	p := e.v
	p.Address, p.PortgroupUUID, p.NodeUUID = canonicalMAC(p.Address), canonical(p.PortgroupUUID), canonical(p.NodeUUID)
	if e.of("local_link_connection", "is_smartnic") {
		if p.LocalLink, err = node.ParseLocalLink(p.LocalLink, p.SmartNIC); err != nil {
			return err
		}
	}
	if e.old != nil {
		if err := mayEditPort(ctx, tx, e); err != nil {
			return err
		}
	}
	if err := checkMembership(ctx, tx, p); err != nil {
		return err
	}
	return checkFree(ctx, tx, p)
}

func mayEditPort(ctx context.Context, tx *store.Tx, e edit[node.Port]) error {
	n, err := tx.Node(ctx, e.old.NodeUUID)
	wiring := e.of("portgroup_uuid", "pxe_enabled", "local_link_connection", "physical_network", "is_smartnic")
	switch {
	case err != nil:
		return err
	case n.Reservation != "":
		return conductor.Locked(n)
	case e.v.NodeUUID != e.old.NodeUUID:
		return invalid("Port %s can not be moved to another node.", e.v.UUID)
	case wiring && !n.Maintenance && !mayRewire(n.Provision):
		return conflict("Node %s must be in state enroll, inspecting, inspect wait, manageable or in maintenance mode to change how port %s is connected; "+
			"it is in state \"%s\".", n.UUID, e.v.UUID, n.Provision)
	}
	return nil
}

func mayRewire(s node.State) bool { return s != node.Available && mayChangeInterfaces(s) }

// checkMembership refuses a port in a port group that is not there or does not suit it.
func checkMembership(ctx context.Context, tx *store.Tx, p *node.Port) error {
	if p.PortgroupUUID == "" {
		return nil
	}
	g, err := tx.Portgroup(ctx, p.PortgroupUUID)
	switch {
	case fault.Is(err, fault.NotFound):
		return invalid("Portgroup %s could not be found.", p.PortgroupUUID)
	case err != nil:
		return err
	case g.NodeUUID != p.NodeUUID:
		return invalid("Portgroup %s is of node %s, not of node %s.", g.UUID, g.NodeUUID, p.NodeUUID)
	case !g.StandalonePorts && p.PXEEnabled:
		return conflict("Port %s can not have pxe_enabled in portgroup %s, whose ports are not used alone.", p.UUID, g.UUID)
	case g.PhysicalNet != "" && p.PhysicalNet != "" && g.PhysicalNet != p.PhysicalNet:
		return conflict("Port %s has physical network %s, its portgroup %s has %s.", p.UUID, p.PhysicalNet, g.UUID, g.PhysicalNet)
	}
	return nil
}

// checkFree refuses a port whose address or name another port has. The store refuses it as well, in fewer words.
func checkFree(ctx context.Context, tx *store.Tx, p *node.Port) error {
	list, err := tx.Ports(ctx, store.PortQuery{Address: p.Address, Page: store.Page{Limit: 1}})
	if err != nil {
		return err
	}
	if len(list) > 0 && list[0].UUID != p.UUID {
		return conflict("A port with MAC address %s already exists.", p.Address)
	}
	other, err := tx.PortNamed(ctx, p.Name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case other.UUID != p.UUID:
		return conflict("A port with name %s already exists.", p.Name)
	}
	return nil
}

func removePort(ctx context.Context, tx *store.Tx, _ *rest.Request, p *node.Port) error {
	n, err := tx.Node(ctx, p.NodeUUID)
	switch {
	case err != nil:
		return err
	case n.Reservation != "":
		return conductor.Locked(n)
	case n.InstanceUUID != "" && !n.Maintenance && p.VIF() != "":
		return conflict("Cannot delete the port %s as node %s is associated with an instance and the port has VIF %s attached.", p.UUID, n.UUID, p.VIF())
	}
	return tx.DeletePort(ctx, p.UUID)
}
