package baremetal

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func (s *service) allocationRoutes() []rest.Route {
	const get, remove = "baremetal:allocation:get", "baremetal:allocation:delete"
	const all, one = "/v1/allocations", "/v1/allocations/{allocation}"
	k := &allocationKind
	return []rest.Route{
		{Method: http.MethodGet, Pattern: all, Since: mvAllocations, Policy: "baremetal:allocation:list", Query: filterKeys(allocationFilters, "node"), Handler: k.lists(s)},
		{Method: http.MethodPost, Pattern: all, Since: mvAllocations, Below: http.StatusMethodNotAllowed, Policy: "baremetal:allocation:create", Handler: s.createAllocation},
		{Method: http.MethodGet, Pattern: one, Since: mvAllocations, Policy: get, Query: []string{"fields"}, Handler: k.shows(s)},
		{Method: http.MethodPatch, Pattern: one, Since: mvAllocationPatch, Below: http.StatusMethodNotAllowed, Policy: "baremetal:allocation:update", ContentType: patchType, Handler: k.patches(s)},
		{Method: http.MethodDelete, Pattern: one, Since: mvAllocations, Below: http.StatusMethodNotAllowed, Policy: remove, Handler: k.deletes(s)},
		{Method: http.MethodGet, Pattern: "/v1/nodes/{node}/allocation", Since: mvAllocations, Policy: get, Query: []string{"fields"}, Handler: s.showNodeAllocation},
		{Method: http.MethodDelete, Pattern: "/v1/nodes/{node}/allocation", Since: mvAllocations, Below: http.StatusMethodNotAllowed, Policy: remove, Handler: s.deleteNodeAllocation},
	}
}

type allocationView struct {
	UUID           string               `json:"uuid"`
	CreatedAt      time.Time            `json:"created_at"`
	UpdatedAt      time.Time            `json:"updated_at"`
	CandidateNodes []string             `json:"candidate_nodes"`
	Extra          node.Object          `json:"extra"`
	LastError      string               `json:"last_error" zero:"null"`
	Name           string               `json:"name" zero:"null"`
	Owner          string               `json:"owner" since:"60" zero:"null"`
	ResourceClass  string               `json:"resource_class" zero:"null"`
	State          node.AllocationState `json:"state"`
	Traits         []string             `json:"traits"`
	Links          links                `json:"links"`
	NodeUUID       string               `json:"node_uuid" zero:"null"`
}

type al = node.Allocation

var allocationForm = form[al]{name: "allocation", fields: []field[al]{
	textField("uuid", 1, onCreate, isUUID, func(a *al) *string { return &a.UUID }),
	textField("name", 1, always, nameRule, func(a *al) *string { return &a.Name }),
	textField("resource_class", 1, onCreate, textRule(0, 80), func(a *al) *string { return &a.ResourceClass }),
	listField("candidate_nodes", 1, onCreate, mustText(1, 255), func(a *al) *[]string { return &a.CandidateNodes }),
	listField("traits", 1, onCreate, traitRule, func(a *al) *[]string { return &a.Traits }),
	objectField("extra", 1, always, func(a *al) *node.Object { return &a.Extra }),
	textField("owner", mvAllocationOwner, onCreate, isText, func(a *al) *string { return &a.Owner }),
	textField("node", mvBackfill, onCreate, textRule(1, 255), func(a *al) *string { return &a.NodeUUID }),
}}

// nameRule lets a name pass that every kind of object may have.
func nameRule(v any) string {
	if why := isText(v); why != "" || v == nil {
		return why
	}
	if s, _ := v.(string); s != "" && node.ValidName(s) != nil {
		return repr(v) + " is not a valid name"
	}
	return ""
}

// listField is a field that holds a list of strings that pass one.
func listField[T any](name string, since int, when moment, one rule, p func(*T) *[]string) field[T] {
	return field[T]{
		name: name, since: since, when: when, check: orNull(listRule(one, 0)),
		get: func(v *T) any {
			out := []any{}
			for _, s := range *p(v) {
				out = append(out, s)
			}
			return out
		},
		set: func(v *T, value any) { *p(v) = texts(value) },
	}
}

var allocationFilters = []filter[store.AllocationQuery]{
	{"resource_class", 1, func(q *store.AllocationQuery, v string) error { q.ResourceClass = v; return nil }},
	{"state", 1, func(q *store.AllocationQuery, v string) error { q.State = node.AllocationState(v); return nil }},
	{"owner", mvAllocationOwner, func(q *store.AllocationQuery, v string) error { q.Owner = v; return nil }},
}

var allocationKind = kind[al, allocationView]{
	path: "allocations", key: "allocations", param: "allocation",
	form: &allocationForm, view: rest.NewView[allocationView](), show: showAllocation, sortable: store.SortableAllocationColumn,
	record: func(a *al) *node.Record { return &a.Record },
	fresh:  func() *al { return &al{State: node.Allocating} },
	find:   findAllocation, list: listAllocations, check: checkAllocation, insert: (*store.Tx).InsertAllocation, save: (*store.Tx).SaveAllocation,
	remove: removeAllocation,
}

func showAllocation(a *al, r *rest.Request) *allocationView {
	return &allocationView{
		UUID: a.UUID, CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt, CandidateNodes: a.CandidateNodes, Extra: a.Extra, LastError: a.LastError,
		Name: a.Name, Owner: a.Owner, ResourceClass: a.ResourceClass, State: a.State, Traits: a.Traits, NodeUUID: a.NodeUUID,
		Links: links{base: r.Endpoint(), path: "allocations", id: a.UUID},
	}
}

func listAllocations(ctx context.Context, tx *store.Tx, r *rest.Request, p store.Page) ([]*al, error) {
	q := store.AllocationQuery{Page: p}
	var own string
	if err := pin(r, "baremetal:allocation:list_all", &own); err != nil {
		return nil, err
	}
	if err := applyFilters(r, allocationFilters, &q); err != nil {
		return nil, err
	}
	if own != "" {
		if q.Owner != "" && q.Owner != own {
			return nil, nil
		}
		q.Owner = own
	}
	if ref := r.Query().Get("node"); ref != "" {
		n, err := nodeByRef(ctx, r, ref, tx.Node)
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		q.NodeUUID = n.UUID
	}
	return tx.Allocations(ctx, q)
}

func findAllocation(ctx context.Context, tx *store.Tx, r *rest.Request, ref string) (*al, error) {
	a, err := tx.Allocation(ctx, canonical(ref))
	if err != nil {
		return nil, err
	}
	return a, r.Permit(a)
}

func checkAllocation(ctx context.Context, tx *store.Tx, _ *rest.Request, e edit[al]) error {
	if !e.of("name") || e.v.Name == "" {
		return nil
	}
	other, err := tx.Allocation(ctx, e.v.Name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil
	case err != nil:
		return err
	case other.UUID != e.v.UUID:
		return conflict("An allocation with name %s already exists.", e.v.Name)
	}
	return nil
}

// createAllocation answers POST /v1/allocations. The answer says "allocating", as clients expect; what came of it is stored by then.
func (s *service) createAllocation(r *rest.Request) (*rest.Response, error) {
	o, err := r.Object(false)
	if err != nil {
		return nil, err
	}
	a := allocationKind.fresh()
	if err := allocationForm.fill(a, o, r.Version); err != nil {
		return nil, err
	}
	target := a.NodeUUID
	a.NodeUUID, a.UUID = "", canonical(a.UUID)
	if a.ResourceClass == "" && target == "" {
		return nil, allocationForm.refuse("'resource_class' is a required property")
	}
	if target != "" && (len(a.CandidateNodes) > 0 || len(a.Traits) > 0) {
		return nil, invalid("An allocation for a node that is named can have neither candidate_nodes nor traits.")
	}
	plan, err := allocationKind.view.Plan(r.Version)
	if err != nil {
		return nil, err
	}
	var b []byte
	err = s.write(r, func(ctx context.Context, tx *store.Tx) error {
		if err := r.Permit(a); err != nil {
			return err
		}
		take, err := s.prepareAllocation(ctx, tx, r, a, target)
		if err != nil {
			return err
		}
		if err := tx.InsertAllocation(ctx, a); err != nil {
			return err
		}
		b = plan.Append(nil, showAllocation(a, r))
		return take(ctx, tx, a)
	})
	if err != nil {
		return nil, err
	}
	return rest.Created(r.Endpoint()+"/v1/allocations/"+a.UUID, b), nil
}

// prepareAllocation completes a new allocation and returns what will find its node.
func (s *service) prepareAllocation(ctx context.Context, tx *store.Tx, r *rest.Request, a *al, target string) (func(context.Context, *store.Tx, *al) error, error) {
	take := func(ctx context.Context, tx *store.Tx, a *al) error {
		return allocate(ctx, tx, a, r.Version >= mvNameAffinity)
	}
	if target != "" {
		n, err := tx.NodeForUpdate(ctx, canonical(target))
		if fault.Is(err, fault.NotFound) {
			return nil, invalid("Node %s could not be found.", target)
		}
		if err == nil {
			err = mayBackfill(n, a)
		}
		if err != nil {
			return nil, err
		}
		take = func(ctx context.Context, tx *store.Tx, a *al) error { return hold(ctx, tx, a, n) }
	}
	if a.UUID == "" {
		a.UUID = uuid.NewString()
	}
	for i, ref := range a.CandidateNodes {
		n, err := tx.Node(ctx, canonical(ref))
		if fault.Is(err, fault.NotFound) {
			return nil, invalid("Node %s could not be found.", ref)
		}
		if err != nil {
			return nil, err
		}
		a.CandidateNodes[i] = n.UUID
	}
	return take, checkAllocation(ctx, tx, r, edit[al]{v: a})
}

// mayBackfill refuses an allocation for a node that is not in use, or is another allocation's; it takes over the node's instance as its UUID.
func mayBackfill(n *node.Node, a *al) error {
	if a.UUID == "" {
		a.UUID = n.InstanceUUID
	}
	if a.ResourceClass == "" {
		a.ResourceClass = n.ResourceClass
	}
	switch {
	case n.ResourceClass == "":
		return invalid("Cannot make an allocation for node %s without a resource class.", n.UUID)
	case n.ResourceClass != a.ResourceClass:
		return invalid("Node %s has resource class %s, not %s.", n.UUID, n.ResourceClass, a.ResourceClass)
	case n.AllocationUUID != "", n.InstanceUUID != "" && a.UUID != n.InstanceUUID:
		return conflict("Node %s is associated with instance %s.", n.UUID, n.InstanceUUID)
	case n.Provision != node.Active:
		return invalid("The requested action \"allocate\" can not be performed on node \"%s\" while it is in state \"%s\".", n.UUID, n.Provision)
	case n.Reservation != "":
		return conductor.Locked(n)
	}
	return nil
}

// removeAllocation gives back what the allocation holds, and forgets it.
func removeAllocation(ctx context.Context, tx *store.Tx, _ *rest.Request, a *al) error {
	if a.NodeUUID != "" {
		n, err := tx.NodeForUpdate(ctx, a.NodeUUID)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
		if err == nil {
			if err := release(ctx, tx, a, n); err != nil {
				return err
			}
		}
	}
	return tx.DeleteAllocation(ctx, a.UUID)
}

func release(ctx context.Context, tx *store.Tx, a *al, n *node.Node) error {
	if n.AllocationUUID != a.UUID {
		return nil
	}
	busy := n.TargetProvision != "" && !n.Provision.UpdateAllowed()
	switch {
	case n.Reservation != "":
		return conductor.Locked(n)
	case !n.Maintenance && (n.Provision == node.Active || busy):
		return conflict("Cannot remove allocation %s for node %s, because the node is in state %s where updates are not allowed (and maintenance mode is off)",
			a.UUID, n.UUID, n.Provision)
	}
	n.AllocationUUID, n.InstanceUUID = "", ""
	info := node.Object{}
	for k, v := range n.InstanceInfo {
		if k != "traits" {
			info[k] = v
		}
	}
	n.InstanceInfo = info
	return tx.SaveNode(ctx, n)
}

// nodeAllocation returns the allocation that holds the node in the path.
func nodeAllocation(ctx context.Context, tx *store.Tx, r *rest.Request) (*al, error) {
	n, err := nodeByRef(ctx, r, r.PathValue("node"), tx.Node)
	if err != nil {
		return nil, err
	}
	if n.AllocationUUID == "" {
		return nil, fault.New(fault.NotFound, "Allocation for node %s was not found.", n.UUID)
	}
	return findAllocation(ctx, tx, r, n.AllocationUUID)
}

// showNodeAllocation answers GET /v1/nodes/{node}/allocation.
func (s *service) showNodeAllocation(r *rest.Request) (*rest.Response, error) {
	var p page
	if err := p.readFields(r); err != nil {
		return nil, err
	}
	plan, err := allocationKind.view.Plan(r.Version, p.names()...)
	if err != nil {
		return nil, err
	}
	var a *al
	err = s.read(r, func(ctx context.Context, tx *store.Tx) (err error) {
		a, err = nodeAllocation(ctx, tx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(plan.Append(nil, showAllocation(a, r))), nil
}

// deleteNodeAllocation answers DELETE /v1/nodes/{node}/allocation.
func (s *service) deleteNodeAllocation(r *rest.Request) (*rest.Response, error) {
	err := s.write(r, func(ctx context.Context, tx *store.Tx) error {
		a, err := nodeAllocation(ctx, tx, r)
		if err != nil {
			return err
		}
		return removeAllocation(ctx, tx, r, a)
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
