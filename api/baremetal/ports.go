package baremetal

import (
	"context"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) portRoutes() []rest.Route {
	const list, get = "baremetal:port:list", "baremetal:port:get"
	keys := filterKeys(portFilters)
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/ports", Policy: list, Query: keys, Handler: s.listPorts},
		{Method: http.MethodPost, Pattern: "/v1/ports", Policy: "baremetal:port:create", Handler: s.createPort},
		{Method: http.MethodGet, Pattern: "/v1/ports/detail", Policy: list, Query: keys, Handler: s.listPorts},
		{Method: http.MethodGet, Pattern: "/v1/ports/{port}", Policy: get, Query: []string{"fields"}, Handler: s.showPort},
		{Method: http.MethodPatch, Pattern: "/v1/ports/{port}", Policy: "baremetal:port:update", ContentType: patchType, Handler: s.patchPort},
		{Method: http.MethodDelete, Pattern: "/v1/ports/{port}", Policy: "baremetal:port:delete", Handler: s.deletePort},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/ports", Policy: get, Query: pageKeys, Handler: s.listNodePorts},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/ports/detail", Policy: get, Query: pageKeys, Handler: s.listNodePorts},
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

func showPortAs(p *node.Port, base string) *portView {
	return &portView{
		UUID: p.UUID, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, Address: p.Address, Extra: p.Extra, InternalInfo: p.InternalInfo,
		SmartNIC: p.SmartNIC, LocalLink: p.LocalLink, PhysicalNet: p.PhysicalNet, PXEEnabled: p.PXEEnabled, NodeUUID: p.NodeUUID,
		Name: p.Name, Description: p.Description, Vendor: p.Vendor, Category: p.Category, DynamicAllowed: p.DynamicAllowed,
		Links: links{base: base, path: "ports", id: p.UUID}, PortgroupUUID: p.PortgroupUUID,
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
	textField("name", mvPortNames, always, portName, func(p *pp) *string { return &p.Name }),
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

func portName(v any) string {
	if why := isText(v); why != "" || v == nil {
		return why
	}
	if s, _ := v.(string); s != "" && node.ValidName(s) != nil {
		return repr(v) + " is not a valid name"
	}
	return ""
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
	{"address", 1, func(q *store.PortQuery, v string) error {
		if why := macRule(v); why != "" {
			return invalid("%s", why)
		}
		q.Address = canonicalMAC(v)
		return nil
	}},
	{"node", 1, func(*store.PortQuery, string) error { return nil }}, // looked up with the store open
	{"node_uuid", 1, func(*store.PortQuery, string) error { return nil }},
	{"portgroup", mvPortgroupLinks, func(*store.PortQuery, string) error { return nil }},
	{"shard", mvShards, func(q *store.PortQuery, v string) error { q.Shards = splitList(v); return nil }},
	{"description_contains", mvPortDescription, func(q *store.PortQuery, v string) error { q.Description = v; return nil }},
	{"conductor_groups", mvGroupFilters, func(q *store.PortQuery, v string) error { q.Groups = splitList(strings.ToLower(v)); return nil }},
}

// listPorts answers GET /v1/ports and /v1/ports/detail.
func (s *service) listPorts(r *rest.Request) (*rest.Response, error) {
	var q store.PortQuery
	if err := applyFilters(r, portFilters, &q); err != nil {
		return nil, err
	}
	if err := pin(r, "baremetal:port:list_all", &q.Project); err != nil {
		return nil, err
	}
	return s.portList(r, q, func(ctx context.Context, tx *store.Tx, q *store.PortQuery) error {
		ref := r.Query().Get("node_uuid")
		if ref == "" {
			ref = r.Query().Get("node")
		}
		if ref != "" {
			n, err := nodeByRef(ctx, r, ref, tx.Node)
			if err != nil {
				return err
			}
			q.NodeUUID = n.UUID
		}
		if ref := r.Query().Get("portgroup"); ref != "" {
			g, err := tx.Portgroup(ctx, canonical(ref))
			if err != nil {
				return err
			}
			q.PortgroupUUID = g.UUID
		}
		return nil
	})
}

// listNodePorts answers GET /v1/nodes/{node}/ports and /detail.
func (s *service) listNodePorts(r *rest.Request) (*rest.Response, error) {
	return s.portList(r, store.PortQuery{}, func(ctx context.Context, tx *store.Tx, q *store.PortQuery) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err == nil {
			q.NodeUUID = n.UUID
		}
		return err
	})
}

// portList answers with a page of ports; narrow completes the query with the store open.
func (s *service) portList(r *rest.Request, q store.PortQuery, narrow func(context.Context, *store.Tx, *store.PortQuery) error) (*rest.Response, error) {
	p, err := s.readPage(r, store.SortablePortColumn)
	if err != nil {
		return nil, err
	}
	plan, err := portViews.Plan(r.Version, p.names("uuid", "address", "links")...)
	if err != nil {
		return nil, err
	}
	var views []*portView
	err = s.read(r, func(ctx context.Context, tx *store.Tx) error {
		if err := narrow(ctx, tx, &q); err != nil {
			return err
		}
		q.Page = p.cut()
		list, err := tx.Ports(ctx, q)
		for _, v := range list {
			views = append(views, showPortAs(v, r.Endpoint()))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return collection(r, "ports", p, plan, views, func(v *portView) string { return v.UUID }), nil
}

// showPort answers GET /v1/ports/{port}.
func (s *service) showPort(r *rest.Request) (*rest.Response, error) {
	var p page
	if err := p.readFields(r); err != nil {
		return nil, err
	}
	plan, err := portViews.Plan(r.Version, p.names()...)
	if err != nil {
		return nil, err
	}
	var port *node.Port
	err = s.read(r, func(ctx context.Context, tx *store.Tx) error {
		port, _, err = portOf(ctx, tx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(plan.Append(nil, showPortAs(port, r.Endpoint()))), nil
}

// portOf returns the port that the path names, and its node. Names will do for reading from 1.88 on.
func portOf(ctx context.Context, tx *store.Tx, r *rest.Request) (*node.Port, *node.Node, error) {
	ref := r.PathValue("port")
	get := tx.Port
	switch {
	case node.IsUUID(ref):
	case r.Method == http.MethodGet && r.Version >= mvPortNames && node.ValidName(ref) == nil:
		get = tx.PortNamed
	default:
		return nil, nil, invalid("Expected a UUID but received %s.", ref)
	}
	port, err := get(ctx, canonical(ref))
	if err != nil {
		return nil, nil, err
	}
	n, err := tx.Node(ctx, port.NodeUUID)
	if err == nil {
		err = r.Permit(n)
	}
	if fault.Is(err, fault.NotFound) {
		err = fault.New(fault.NotFound, "Port %s could not be found.", ref)
	}
	return port, n, err
}

// createPort answers POST /v1/ports.
func (s *service) createPort(r *rest.Request) (*rest.Response, error) {
	o, err := r.Object(false)
	if err != nil {
		return nil, err
	}
	owner, err := takeNodeRef(r, o, "port")
	if err != nil {
		return nil, err
	}
	p := &node.Port{PXEEnabled: true, DynamicAllowed: true}
	if err := portForm.fill(p, o, r.Version); err != nil {
		return nil, err
	}
	if p.UUID = canonical(p.UUID); p.UUID == "" {
		p.UUID = uuid.NewString()
	}
	p.Address, p.PortgroupUUID = canonicalMAC(p.Address), canonical(p.PortgroupUUID)
	if p.LocalLink, err = node.ParseLocalLink(p.LocalLink, p.SmartNIC); err != nil {
		return nil, err
	}
	err = s.write(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := ownerNode(ctx, tx, r, owner)
		if err != nil {
			return err
		}
		p.NodeUUID = n.UUID
		if err := checkMembership(ctx, tx, p); err != nil {
			return err
		}
		if err := checkFree(ctx, tx, p); err != nil {
			return err
		}
		return tx.InsertPort(ctx, p)
	})
	if err != nil {
		return nil, err
	}
	plan, err := portViews.Plan(r.Version)
	if err != nil {
		return nil, err
	}
	return rest.Created(r.Endpoint()+"/v1/ports/"+p.UUID, plan.Append(nil, showPortAs(p, r.Endpoint()))), nil
}

// takeNodeRef takes the node that a new port or port group belongs to out of the body: node_uuid, or from 1.94 on node_ident.
func takeNodeRef(r *rest.Request, o map[string]any, what string) (string, error) {
	for _, key := range []string{"node_uuid", "node_ident"} {
		v, ok := o[key]
		if !ok {
			continue
		}
		if key == "node_ident" {
			if err := need(r, mvPortNodeName); err != nil {
				return "", err
			}
		}
		delete(o, key)
		ref, isText := v.(string)
		if !isText || (key == "node_uuid" && !node.IsUUID(ref)) {
			return "", invalid("Schema error for %s: %s is not a 'uuid'", what, repr(v))
		}
		return ref, nil
	}
	return "", invalid("Schema error for %s: 'node_uuid' is a required property", what)
}

// ownerNode returns the node that a new object belongs to. That it does not exist is the client's fault here.
func ownerNode(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*node.Node, error) {
	n, err := tx.Node(ctx, canonical(ref))
	if err == nil {
		err = r.Permit(n)
	}
	if fault.Is(err, fault.NotFound) {
		return nil, invalid("Node %s could not be found.", ref)
	}
	return n, err
}

// checkMembership refuses a port in a port group that is not there or is another node's.
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

// patchPort answers PATCH /v1/ports/{port}.
func (s *service) patchPort(r *rest.Request) (*rest.Response, error) {
	ops, err := readPatch(r)
	if err != nil {
		return nil, err
	}
	plan, err := portViews.Plan(r.Version)
	if err != nil {
		return nil, err
	}
	var port *node.Port
	err = s.write(r, func(ctx context.Context, tx *store.Tx) error {
		p, n, err := portOf(ctx, tx, r)
		if err != nil {
			return err
		}
		port = p
		old := *p
		touched, err := portForm.patch(p, ops, r.Version)
		if err != nil || len(touched) == 0 {
			return err
		}
		return savePort(ctx, tx, n, &old, p, touched)
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(plan.Append(nil, showPortAs(port, r.Endpoint()))), nil
}

func savePort(ctx context.Context, tx *store.Tx, n *node.Node, old, p *node.Port, touched []string) (err error) {
	p.Address, p.PortgroupUUID = canonicalMAC(p.Address), canonical(p.PortgroupUUID)
	if slices.Contains(touched, "local_link_connection") || slices.Contains(touched, "is_smartnic") {
		if p.LocalLink, err = node.ParseLocalLink(p.LocalLink, p.SmartNIC); err != nil {
			return err
		}
	}
	switch {
	case n.Reservation != "":
		return conductor.Locked(n)
	case canonical(p.NodeUUID) != old.NodeUUID:
		return invalid("Port %s can not be moved to another node.", p.UUID)
	case wiring(touched) && !n.Maintenance && !mayRewire(n.Provision):
		return conflict("Node %s must be in state enroll, inspecting, inspect wait, manageable or in maintenance mode to change how port %s is connected; it is in state \"%s\".",
			n.UUID, p.UUID, n.Provision)
	}
	p.NodeUUID = old.NodeUUID
	if err := checkMembership(ctx, tx, p); err != nil {
		return err
	}
	if err := checkFree(ctx, tx, p); err != nil {
		return err
	}
	return tx.SavePort(ctx, p)
}

// wiring reports whether a patch changes how a port is connected.
func wiring(touched []string) bool {
	return slices.ContainsFunc(touched, func(f string) bool {
		switch f {
		case "portgroup_uuid", "pxe_enabled", "local_link_connection", "physical_network", "is_smartnic":
			return true
		}
		return false
	})
}

func mayRewire(s node.State) bool {
	return s != node.Available && mayChangeInterfaces(s)
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
	if err == nil && other.UUID != p.UUID {
		return conflict("A port with name %s already exists.", p.Name)
	}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

// deletePort answers DELETE /v1/ports/{port}.
func (s *service) deletePort(r *rest.Request) (*rest.Response, error) {
	err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
		p, n, err := portOf(ctx, tx, r)
		switch {
		case err != nil:
			return err
		case n.Reservation != "":
			return conductor.Locked(n)
		case n.InstanceUUID != "" && !n.Maintenance && p.VIF() != "":
			return conflict("Cannot delete the port %s as node %s is associated with an instance and the port has VIF %s attached.", p.UUID, n.UUID, p.VIF())
		}
		return tx.DeletePort(ctx, p.UUID)
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
