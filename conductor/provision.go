package conductor

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// verbs is what each verb starts; a verb without a kind moves the state at once.
var verbs = map[node.Event]string{
	node.EvClean: kindClean, node.EvProvide: kindClean, node.EvManage: kindVerify, node.EvDeploy: kindDeploy, node.EvRebuild: kindDeploy,
	node.EvService: kindService, node.EvInspect: kindInspect, node.EvAdopt: kindAdopt, node.EvDelete: kindDelete, node.EvRescue: kindRescue,
	node.EvUnrescue: kindUnresc,
}

func (in *Intake) provision(ctx context.Context, ref string, req Request, dry bool) (*Plan, error) {
	var plan *Plan
	run := in.DB.Write
	if dry {
		run = in.DB.Read
	}
	err := run(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(ctx, ref)
		if !dry && err == nil {
			n, err = tx.NodeForUpdate(ctx, n.UUID)
		}
		if err != nil {
			return err
		}
		a := admission{in: in, tx: tx, cfg: in.Config.filled(), n: n, req: req}
		plan, err = a.admit(ctx, dry)
		return err
	})
	return plan, err
}

// admission is one request on its way in.
type admission struct {
	in  *Intake
	tx  *store.Tx
	cfg Config
	n   *node.Node
	req Request
}

func (a *admission) admit(ctx context.Context, dry bool) (*Plan, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	switch a.req.Verb.Event {
	case node.EvAbort, node.EvUnhold:
		if dry {
			return &Plan{}, nil
		}
		return nil, a.control(ctx)
	}
	kind := verbs[a.req.Verb.Event]
	if next, _ := node.Next(a.n.Provision, a.req.Verb.Event); next.Stable() {
		kind = ""
	}
	sp := spec{Verb: a.req.Verb.Target, Steps: a.req.Steps, Runbook: a.req.Runbook, Project: a.req.Project, Manual: a.req.Verb.Event == node.EvClean}
	rows, plan, err := a.plan(ctx, kind)
	if err != nil || dry {
		return plan, err
	}
	if err := a.resume(ctx, kind, sp, rows); err != nil {
		return nil, err
	}
	return nil, a.start(ctx, kind, sp, rows)
}

// check refuses what the node's state does not allow, in the order in which a client of the API learns of it.
func (a *admission) check() error {
	n, ev := a.n, a.req.Verb.Event
	if n.Maintenance && (ev == node.EvDeploy || ev == node.EvRebuild) {
		return fault.New(fault.Invalid, "The provisioning operation can't be performed on node %s because it's in maintenance mode.", n.UUID)
	}
	if _, ok := node.Next(n.Provision, ev); !ok {
		if n.Reservation != "" {
			return Locked(n)
		}
		return fault.New(fault.Invalid, `The requested action "%s" can not be performed on node "%s" while it is in state "%s".`, a.req.Verb.Target, n.UUID, n.Provision)
	}
	if n.Reservation != "" {
		return Locked(n)
	}
	if n.Protected && (ev == node.EvRebuild || ev == node.EvDelete) {
		return fault.New(fault.Forbidden, "Node %s is protected and can not be undeployed, rebuilt or deleted.", n.UUID)
	}
	if n.Maintenance {
		switch ev {
		case node.EvClean, node.EvService, node.EvRescue, node.EvProvide:
			return fault.New(fault.Invalid, "The %s operation can't be performed on node %s because it's in maintenance mode.", a.req.Verb.Target, n.UUID)
		case node.EvAbort:
			if n.Provision == node.ServiceFail {
				return fault.New(fault.Conflict, "Node %s is in maintenance mode: clear that first.", n.UUID)
			}
		}
	}
	return nil
}

// Locked is the fault for a node that an operation holds.
func Locked(n *node.Node) error {
	return fault.New(fault.Locked, "Node %s is locked by host %s, please retry after the current operation is completed.", n.UUID, n.Reservation)
}

// control hands a word to the operation that waits.
func (a *admission) control(ctx context.Context) error {
	word := string(a.req.Verb.Event)
	op, err := a.tx.OpenOp(ctx, a.n.UUID, kindClean, kindDeploy, kindService, kindInspect, kindRescue, kindVerify)
	if err != nil {
		return err
	}
	if op != nil {
		if a.req.Verb.Event == node.EvUnhold {
			a.n.Move(node.EvUnhold, "")
			a.n.ProvisionUpdatedAt = a.tx.Now()
			if err := a.tx.SaveNode(ctx, a.n); err != nil {
				return err
			}
		}
		return a.tx.ControlOp(ctx, op, word)
	}
	a.n.Move(a.req.Verb.Event, "")
	a.n.ProvisionUpdatedAt = a.tx.Now()
	if a.n.Provision == node.Active {
		a.n.LastError, a.n.ServiceStep = "", nil
	}
	return a.tx.SaveNode(ctx, a.n)
}

// plan returns the steps that the request leads to, each on its node. Every fault of every step is told at once.
func (a *admission) plan(ctx context.Context, kind string) ([]*store.OpStep, *Plan, error) {
	flow := flowOf(kind)
	plan := &Plan{Steps: []PlannedStep{}}
	if flow == "" {
		return nil, plan, nil
	}
	children, err := a.tx.Children(ctx, a.n.UUID)
	if err != nil {
		return nil, nil, err
	}
	steps := a.req.Steps
	if a.req.Verb.Event != node.EvClean && a.req.Verb.Event != node.EvService {
		steps = a.automatic(flow)
	}
	var rows []*store.OpStep
	var faults []string
	for seq, s := range steps {
		f := a.planStep(flow, seq, s, children, &rows, plan)
		faults = append(faults, f...)
	}
	if len(faults) > 0 {
		return nil, nil, fault.New(fault.Invalid, "Cannot %s node %s: %s", flow, a.n.UUID, strings.Join(faults, "; "))
	}
	return rows, plan, nil
}

func (a *admission) planStep(flow node.Flow, seq int, s node.Step, children []*node.Node, rows *[]*store.OpStep, plan *Plan) (faults []string) {
	if slices.Contains(a.cfg.Disallowed[flow], s.Name()) {
		return []string{fmt.Sprintf("%s step '%s' is not allowed. Disallowed by operator configuration %s.", flow, s.Name(), setting(flow))}
	}
	on := []*node.Node{a.n}
	if s.OnChildren {
		if on, faults = choose(a.n, children, s); len(faults) > 0 {
			return faults
		}
	}
	for _, n := range on {
		def, err := a.in.Catalog.Find(n, flow, s)
		if err != nil {
			faults = append(faults, "node does not support this "+string(flow)+" step: "+err.Error())
			continue
		}
		for _, f := range def.CheckArgs(s.Args) {
			faults = append(faults, fmt.Sprintf("%s step %s on node %s %s", flow, s.Name(), n.Label(), f))
		}
		p := PlannedStep{Seq: seq, Node: n.UUID, Name: n.Name, Interface: s.Interface, Step: s.Step, Args: s.Args, Commands: []string{}}
		if def.Plan != nil {
			p.Commands = def.Plan(s.Args)
		}
		plan.Steps = append(plan.Steps, p)
		*rows = append(*rows, &store.OpStep{Seq: seq, Node: n.UUID, Interface: s.Interface, Step: s.Step, Args: s.Args, Child: s.OnChildren, State: store.StepPlanned})
	}
	return faults
}

// choose returns the children that a step runs on: those it is limited to, or all.
func choose(parent *node.Node, children []*node.Node, s node.Step) (chosen []*node.Node, faults []string) {
	if len(s.LimitToChildren) == 0 {
		return children, nil
	}
	for _, ref := range s.LimitToChildren {
		i := slices.IndexFunc(children, func(c *node.Node) bool { return c.UUID == ref || (c.Name != "" && c.Name == ref) })
		switch {
		case i < 0:
			faults = append(faults, fmt.Sprintf("step %s: %s is not a child of node %s", s.Name(), ref, parent.Label()))
		case !slices.Contains(chosen, children[i]):
			chosen = append(chosen, children[i])
		}
	}
	return chosen, faults
}

// automatic returns the steps of a flow that nobody asked for by name: the driver's own by priority, changed by those of the request.
func (a *admission) automatic(flow node.Flow) []node.Step {
	if a.req.Verb.Event == node.EvProvide && !a.cfg.cleansBefore(a.n) {
		return nil
	}
	var steps []node.Step
	for _, d := range a.in.Catalog.For(a.n, flow) {
		s := node.Step{Interface: d.Interface, Step: d.Name, Priority: d.Priority}
		if slices.ContainsFunc(a.req.Steps, func(asked node.Step) bool { return asked.Name() == s.Name() }) {
			continue
		}
		steps = append(steps, s)
	}
	steps = append(steps, a.req.Steps...)
	steps = slices.DeleteFunc(steps, func(s node.Step) bool {
		return s.Priority == 0 || slices.Contains(a.cfg.Disallowed[flow], s.Name()) && !slices.ContainsFunc(a.req.Steps, func(asked node.Step) bool { return asked.Name() == s.Name() })
	})
	sort.SliceStable(steps, func(i, j int) bool {
		if steps[i].Priority != steps[j].Priority {
			return steps[i].Priority > steps[j].Priority
		}
		return rank(steps[i].Interface) > rank(steps[j].Interface)
	})
	return steps
}

// rank orders steps of the same priority, as Ironic does.
func rank(i node.Interface) int {
	order := []node.Interface{node.RAID, node.BIOS, node.Deploy, node.Firmware, node.Management, node.Power, node.Vendor, node.Network}
	return slices.Index(order, i)
}

// resume marks the steps that the failed operation before this one has done already, when the client asks for the very same steps again and
// nothing else has been done to their nodes since.
func (a *admission) resume(ctx context.Context, kind string, sp spec, rows []*store.OpStep) error {
	if (kind != kindClean && kind != kindService) || len(sp.Steps) == 0 {
		return nil
	}
	last, err := a.tx.LastOp(ctx, a.n.UUID, kind)
	if err != nil || last == nil || last.State != store.OpFailed {
		return err
	}
	before, err := readSpec(last.Spec)
	if err != nil || string(spec{Steps: before.Steps}.raw()) != string(spec{Steps: sp.Steps}.raw()) {
		return err
	}
	done, err := a.tx.Steps(ctx, last.ID)
	if err != nil {
		return err
	}
	for _, row := range rows {
		i := slices.IndexFunc(done, func(s *store.OpStep) bool { return s.Seq == row.Seq && s.Node == row.Node && s.State.Finished() })
		if i < 0 {
			continue
		}
		touched, err := a.tx.TouchedSince(ctx, row.Node, last.ID)
		if err != nil {
			return err
		}
		if !touched {
			row.State, row.Started, row.Ended = store.StepSkipped, a.tx.Now(), a.tx.Now()
			row.Evidence = []string{fmt.Sprintf("done by operation %s at %s", last.UUID, done[i].Ended.Format("15:04:05"))}
		}
	}
	return nil
}

// start moves the node, takes the nodes that the operation touches, and writes the operation.
func (a *admission) start(ctx context.Context, kind string, sp spec, rows []*store.OpStep) error {
	n := a.n
	var target node.State
	if sp.Manual {
		target = node.Manageable
	}
	n.Move(a.req.Verb.Event, target)
	n.ProvisionUpdatedAt, n.LastError = a.tx.Now(), ""
	if kind == "" {
		return a.tx.SaveNode(ctx, n)
	}
	if a.req.ConfigDrive != nil {
		n.InstanceInfo = withKey(n.InstanceInfo, "configdrive", a.req.ConfigDrive)
	}
	if a.req.RescuePassword != "" {
		n.InstanceInfo = withKey(n.InstanceInfo, "rescue_password", a.req.RescuePassword)
	}
	op := &store.Op{UUID: uuid.NewString(), Root: n.Root(), Node: n.UUID, Lease: n.Lease, Kind: kind, State: store.OpPlanned, Spec: sp.raw(), Actor: a.req.Actor}
	var touched []string
	for _, row := range rows {
		if row.Node != n.UUID && !row.State.Final() && !slices.Contains(touched, row.Node) {
			touched = append(touched, row.Node)
		}
	}
	return begin(ctx, a.tx, n, op, rows, touched)
}

func withKey(o node.Object, key string, v any) node.Object {
	c := node.Object{key: v}
	for k, old := range o {
		if k != key {
			c[k] = old
		}
	}
	return c
}

// begin reserves n and the children that op touches for the conductor that holds their lease, and writes op. A node that another operation
// holds makes it fault.Locked, and nothing is reserved.
func begin(ctx context.Context, tx *store.Tx, n *node.Node, op *store.Op, rows []*store.OpStep, children []string) error {
	host, err := leaseHost(ctx, tx, n.Lease)
	if err != nil {
		return err
	}
	n.Reservation = host
	if err := tx.SaveNode(ctx, n); err != nil {
		return err
	}
	for _, ref := range children {
		c, err := tx.NodeForUpdate(ctx, ref)
		if err != nil {
			return err
		}
		if c.Reservation != "" {
			return fault.New(fault.Locked, "Node %s child_node %s is presently locked and we are unable to perform any action on it at this time. Please retry after the current operation is completed.", n.UUID, c.UUID)
		}
		c.Reservation = host
		if err := tx.SaveNode(ctx, c); err != nil {
			return err
		}
	}
	return tx.InsertOp(ctx, op, rows)
}

// leaseHost returns the host name of the conductor that holds the shard, or "unassigned" while none does: the operation waits for one.
func leaseHost(ctx context.Context, tx *store.Tx, shard int) (string, error) {
	host, err := tx.LeaseHost(ctx, shard)
	if err == nil && host == "" {
		host = "unassigned"
	}
	return host, err
}

// stepObject is a step as the API shows the current one (clean_step, deploy_step, service_step).
func stepObject(s *store.OpStep, d *step.Definition) node.Object {
	o := node.Object{"interface": string(s.Interface), "step": s.Step, "priority": float64(0), "args": s.Args, "abortable": false, "requires_ramdisk": false}
	if s.Args == nil {
		delete(o, "args")
	}
	if d != nil {
		o["priority"], o["abortable"], o["requires_ramdisk"] = float64(d.Priority), d.Abortable, !d.NoRamdisk
	}
	if s.Child {
		o["execute_on_child_nodes"] = true
	}
	return o
}
