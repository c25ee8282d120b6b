package baremetal

import (
	"context"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// operationView is work on a node and, through its steps, on the node's children. Ironic has no such resource.
type operationView struct {
	UUID      string              `json:"uuid"`
	Node      string              `json:"node_uuid"`
	Kind      string              `json:"kind"`
	State     store.OpState       `json:"state"`
	Error     string              `json:"error" zero:"null"`
	Actor     string              `json:"actor" zero:"null"`
	CreatedAt time.Time           `json:"created_at"`
	StartedAt time.Time           `json:"started_at"`
	EndedAt   time.Time           `json:"ended_at"`
	Steps     []operationStepView `json:"steps"`
	Links     links               `json:"links"`
}

// operationStepView is one step of an operation on one node.
type operationStepView struct {
	Seq       int             `json:"seq"`
	Node      string          `json:"node_uuid"`
	NodeName  string          `json:"node_name" zero:"null"`
	Interface node.Interface  `json:"interface"`
	Step      string          `json:"step"`
	Args      node.Object     `json:"args"`
	Child     bool            `json:"child"`
	State     store.StepState `json:"state"`
	Attempt   int             `json:"attempt"`
	Error     string          `json:"error" zero:"null"`
	Evidence  []string        `json:"evidence"`
	Sent      []any           `json:"sent"`
	StartedAt time.Time       `json:"started_at"`
	EndedAt   time.Time       `json:"ended_at"`
}

var (
	operationViews     = rest.NewView[operationView]()
	operationStepViews = rest.NewView[operationStepView]()
)

// AppendJSON implements rest.Appender.
func (v *operationStepView) AppendJSON(b []byte) []byte {
	plan, err := operationStepViews.Plan(mvLatest)
	if err != nil {
		return append(b, "null"...) // cannot be: a whole plan names no field
	}
	return plan.Append(b, v)
}

// showOperations turns operations into views, with their steps and the names of the nodes that those touch.
func showOperations(ctx context.Context, tx *store.Tx, r *rest.Request, ops []*store.Op) ([]*operationView, error) {
	views := make([]*operationView, len(ops))
	refs := map[string]string{}
	for i, op := range ops {
		v := &operationView{
			UUID: op.UUID, Node: op.Node, Kind: op.Kind, State: op.State, Error: op.Error, Actor: op.Actor, CreatedAt: op.Created,
			StartedAt: op.Started, EndedAt: op.Ended,
			Links: links{base: r.Endpoint(), path: "nodes", id: op.Node, part: "/operations/" + op.UUID},
		}
		views[i] = v
		steps, err := tx.Steps(ctx, op.ID)
		if err != nil {
			return nil, err
		}
		for _, st := range steps {
			refs[st.Node] = ""
			sent := []any{}
			for _, c := range st.Sent {
				sent = append(sent, object{"text": c.Text, "at": c.At, "attempt": c.Attempt, "relative": c.Relative})
			}
			v.Steps = append(v.Steps, operationStepView{
				Seq: st.Seq, Node: st.Node, Interface: st.Interface, Step: st.Step, Args: masked(st.Args), Child: st.Child, State: st.State,
				Attempt: st.Attempt, Error: st.Error, Evidence: st.Evidence, Sent: sent, StartedAt: st.Started, EndedAt: st.Ended,
			})
		}
	}
	if err := readNames(ctx, tx, refs); err != nil {
		return nil, err
	}
	for _, v := range views {
		for i := range v.Steps {
			v.Steps[i].NodeName = refs[v.Steps[i].Node]
		}
	}
	return views, nil
}

// readNames fills in the names of the nodes whose UUIDs are the keys of refs.
func readNames(ctx context.Context, tx *store.Tx, refs map[string]string) error {
	uuids := make([]string, 0, len(refs))
	for id := range refs {
		uuids = append(uuids, id)
	}
	list, err := tx.Nodes(ctx, store.NodeQuery{IncludeChildren: true, UUIDs: uuids, Columns: []string{"uuid", "name"}})
	for _, n := range list {
		refs[n.UUID] = n.Name
	}
	return err
}

// listOperations answers GET /v1/nodes/{node}/operations: the newest first.
func (s *service) listOperations(r *rest.Request) (*rest.Response, error) {
	p, err := s.readPage(r, func(string) bool { return false })
	if err != nil {
		return nil, err
	}
	plan, err := operationViews.Plan(r.Version)
	if err != nil {
		return nil, err
	}
	var views []*operationView
	err = s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil {
			return err
		}
		ops, err := tx.NodeOps(ctx, n.UUID, canonical(p.marker), p.limit)
		if err != nil {
			return err
		}
		views, err = showOperations(ctx, tx, r, ops)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.desc = true
	return collectionOf(r, "operations", p, plan, views, func(v *operationView) string { return v.UUID }), nil
}

// showOperation answers GET /v1/nodes/{node}/operations/{operation}.
func (s *service) showOperation(r *rest.Request) (*rest.Response, error) {
	plan, err := operationViews.Plan(r.Version)
	if err != nil {
		return nil, err
	}
	var views []*operationView
	err = s.read(r, func(ctx context.Context, tx *store.Tx) error {
		n, err := nodeOf(ctx, r, tx.Node)
		if err != nil {
			return err
		}
		op, err := tx.Op(ctx, canonical(r.PathValue("operation")))
		if err == nil && op.Node != n.UUID {
			err = fault.New(fault.NotFound, "Operation %s could not be found.", r.PathValue("operation"))
		}
		if err != nil {
			return err
		}
		views, err = showOperations(ctx, tx, r, []*store.Op{op})
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(plan.Append(nil, views[0])), nil
}
