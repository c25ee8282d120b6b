package baremetal

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) nodeRoutes() []rest.Route {
	const get = "baremetal:node:get"
	keys := filterKeys(nodeFilters)
	return []rest.Route{
		{Method: http.MethodGet, Pattern: "/v1/nodes", Policy: "baremetal:node:list", Query: keys, Handler: s.listNodes},
		{Method: http.MethodPost, Pattern: "/v1/nodes", Policy: "baremetal:node:create", Handler: s.createNode},
		{Method: http.MethodGet, Pattern: "/v1/nodes/detail", Policy: "baremetal:node:list", Query: keys, Handler: s.listNodes},
		{Method: http.MethodGet, Pattern: "/v1/nodes/validate", Policy: "baremetal:node:validate", Query: []string{"node", "node_uuid"}, Handler: s.validateNode},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}", Policy: get, Query: []string{"fields"}, Handler: s.showNode},
		{Method: http.MethodPatch, Pattern: "/v1/nodes/{node}", Policy: "baremetal:node:update", Query: []string{"reset_interfaces"}, ContentType: patchType, Handler: s.patchNode},
		{Method: http.MethodDelete, Pattern: "/v1/nodes/{node}", Policy: "baremetal:node:delete", Handler: s.deleteNode},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/validate", Policy: "baremetal:node:validate", Handler: s.validateNode},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/children", Since: mvChildren, Policy: get, Handler: s.listChildren},
	}
}

// patchType is the media type of a JSON patch (RFC 6902, section 6).
const patchType = "application/json-patch+json"

// canonical writes a UUID in lower case with hyphens, and leaves a name as it is.
func canonical(ref string) string {
	if !node.IsUUID(ref) {
		return ref
	}
	id, err := uuid.Parse(ref)
	if err != nil {
		return ref
	}
	return id.String()
}

// nodeOf returns the node that the path names and that the subject may use. get is store.Tx's Node or NodeForUpdate.
func nodeOf(ctx context.Context, r *rest.Request, get func(context.Context, string) (*node.Node, error)) (*node.Node, error) {
	n, err := nodeByRef(ctx, r, r.PathValue("node"), get)
	if err != nil {
		return nil, err
	}
	return n, r.Permit(n)
}

// nodeByRef returns the node with this UUID or name. Below 1.91 a suffix .json of the name does not count when no node has it.
func nodeByRef(ctx context.Context, r *rest.Request, ref string, get func(context.Context, string) (*node.Node, error)) (*node.Node, error) {
	if !node.IsUUID(ref) && (len(ref) > 255 || !nameForm.MatchString(ref)) {
		return nil, invalid("Expected a logical name or UUID but received %s.", ref)
	}
	n, err := get(ctx, canonical(ref))
	if plain, ok := strings.CutSuffix(ref, ".json"); ok && r.Version < mvNoJSONSuffix && fault.Is(err, fault.NotFound) {
		return get(ctx, canonical(plain))
	}
	return n, err
}

// nameForm is what a name may look like: RFC 3986 unreserved characters.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9._~-]+$`)

// hostForm is what a name had to look like before 1.10: a host name (RFC 1123).
var hostForm = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

func validNodeName(name string, version int) bool {
	if version < mvFreeNames && !hostForm.MatchString(name) {
		return false
	}
	return node.ValidName(name) == nil
}

// listNodes answers GET /v1/nodes and /v1/nodes/detail.
func (s *service) listNodes(r *rest.Request) (*rest.Response, error) {
	return s.nodeList(r, store.NodeQuery{})
}

// nodeList answers with the page of the nodes that q and the request's filters select.
func (s *service) nodeList(r *rest.Request, q store.NodeQuery) (*rest.Response, error) {
	p, err := s.readPage(r, sortableNodeField)
	if err != nil {
		return nil, err
	}
	fields := p.names(listFieldsAt(r.Version)...)
	plan, err := nodes.Plan(r.Version, fields...)
	if err != nil {
		return nil, err
	}
	if p.sortKey != "" {
		if since, _ := nodes.Since(p.sortKey); since > r.Version {
			return nil, notAcceptable()
		}
	}
	q.Columns, q.SortKey, q.Desc, q.Marker, q.Limit = nodeColumns(fields), p.sortKey, p.desc, canonical(p.marker), p.limit
	if err := pin(r, "baremetal:node:list_all", &q.Project); err != nil {
		return nil, err
	}
	var resp *rest.Response
	err = s.read(r, func(ctx context.Context, tx *store.Tx) error {
		f := nodeFilter{NodeQuery: q}
		if err := applyFilters(r, nodeFilters, &f); err != nil {
			return err
		}
		if err := f.resolve(ctx, tx); err != nil {
			return err
		}
		found, err := tx.Nodes(ctx, f.NodeQuery)
		if err != nil {
			return err
		}
		show, err := nodeShower(ctx, tx, r, found, plan)
		if err != nil {
			return err
		}
		last := ""
		if len(found) > 0 {
			last = found[len(found)-1].UUID
		}
		resp = collection(r, "nodes", p, len(found), func(b []byte, i int) []byte { return show(b, found[i]) }, last)
		return nil
	})
	return resp, err
}

// listFieldsAt are the fields of a plain list at a version: name came later than the rest.
func listFieldsAt(version int) []string {
	if version >= mvNames {
		return nodeListFields
	}
	fields := make([]string, 0, len(nodeListFields))
	for _, f := range nodeListFields {
		if f != "name" {
			fields = append(fields, f)
		}
	}
	return fields
}

// sortableNodeField reports whether lists of nodes can be sorted by this API field.
func sortableNodeField(name string) bool {
	_, shown := nodes.Since(name)
	return shown && store.SortableNodeColumn(name)
}

// pin narrows a list to the subject's own project, unless rule lets it see all.
func pin(r *rest.Request, rule string, project *string) error {
	err := r.PermitRule(rule, nil)
	if fault.Is(err, fault.Forbidden) && r.Subject.Project != "" {
		*project = r.Subject.Project
		return nil
	}
	return err
}

// nodeShower reads what plan shows of the nodes beyond their rows, and returns what appends one of them as JSON.
func nodeShower(ctx context.Context, tx *store.Tx, r *rest.Request, list []*node.Node, plan *rest.Plan[nodeView]) (func([]byte, *node.Node) []byte, error) {
	var hosts map[int]string
	var err error
	if plan.Has("conductor") {
		if hosts, err = tx.LeaseHosts(ctx); err != nil {
			return nil, err
		}
	}
	if plan.Has("traits") {
		if err := tx.FillTraits(ctx, list); err != nil {
			return nil, err
		}
	}
	base := r.Endpoint()
	var v nodeView // one for all: they are shown one after another
	return func(b []byte, n *node.Node) []byte {
		v.show(n, r.Version, base, hosts[n.Lease])
		return plan.Append(b, &v)
	}, nil
}

// nodeBody returns n as JSON: the whole, or the named fields.
func nodeBody(ctx context.Context, tx *store.Tx, r *rest.Request, n *node.Node, fields ...string) ([]byte, error) {
	plan, err := nodes.Plan(r.Version, fields...)
	if err != nil {
		return nil, err
	}
	show, err := nodeShower(ctx, tx, r, []*node.Node{n}, plan)
	if err != nil {
		return nil, err
	}
	return show(make([]byte, 0, 4096), n), nil
}

// showNode answers GET /v1/nodes/{node}.
func (s *service) showNode(r *rest.Request) (*rest.Response, error) {
	var p page
	if err := p.readFields(r); err != nil {
		return nil, err
	}
	var b []byte
	err := s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil {
			return err
		}
		b, err = nodeBody(ctx, tx, r, n, p.names()...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(b), nil
}

// listChildren answers GET /v1/nodes/{node}/children.
func (s *service) listChildren(r *rest.Request) (*rest.Response, error) {
	var n *node.Node
	var children []string
	err := s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		if n, err = nodeOf(ctx, r, tx.Node); err != nil {
			return err
		}
		q := store.NodeQuery{HasParent: true, Parent: n.UUID, Columns: []string{"uuid"}}
		if err := pin(r, "baremetal:node:list_all", &q.Project); err != nil {
			return err
		}
		list, err := tx.Nodes(ctx, q)
		children = make([]string, len(list))
		for i, c := range list {
			children[i] = c.UUID
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(rest.AppendValue(nil, object{
		"children": children,
		"links":    object{"href": r.Endpoint() + "/v1/nodes?parent_node=" + n.UUID, "rel": "children"},
	})), nil
}
