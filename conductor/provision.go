package conductor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/riser-project/riser/failpoint"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
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
	run := func(ctx context.Context, fn func(tx *store.Tx) error) error {
		return in.write(ctx, failpoint.Accept, fn)
	}
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

// write is a transaction of the intake, with the points of p around it.
func (in *Intake) write(ctx context.Context, p failpoint.Pair, fn func(tx *store.Tx) error) error {
	if err := failpoint.Hit(p.Before()); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	if err := in.DB.Write(ctx, fn); err != nil {
		return err
	}
	if err := failpoint.Hit(p.After()); err != nil {
		return fault.New(fault.Unavailable, "%w", err)
	}
	return nil
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
			return &Plan{Steps: []PlannedStep{}}, nil
		}
		return nil, a.control(ctx)
	}
	kind := verbs[a.req.Verb.Event]
	if next, _ := node.Next(a.n.Provision, a.req.Verb.Event); next.Stable() {
		kind = ""
	}
	sp := spec{Verb: a.req.Verb.Target, Runbook: a.req.Runbook, Project: a.req.Project, Manual: a.req.Verb.Event == node.EvClean}
	rows, plan, err := a.plan(ctx, kind)
	if err != nil {
		return nil, err
	}
	if err := a.retry(ctx, kind, rows); err != nil {
		return nil, err
	}
	if dry {
		for i, row := range rows {
			if row.State == store.StepSkipped {
				plan.Steps[i].Skipped, plan.Steps[i].Commands = row.Evidence[0], []string{}
			}
		}
		return plan, nil
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

// control hands a word to the operation that waits. Where none does, the state is moved at once.
func (a *admission) control(ctx context.Context) error {
	ev := a.req.Verb.Event
	op, err := a.tx.OpenOp(ctx, a.n.UUID, waitingKinds...)
	if err != nil {
		return err
	}
	a.n.ProvisionUpdatedAt = a.tx.Now()
	switch {
	case op == nil:
		a.n.Move(ev, "")
		if a.n.Provision == node.Active {
			a.n.LastError, a.n.ServiceStep = "", nil
		}
		return a.tx.SaveNode(ctx, a.n)
	case ev == node.EvUnhold:
		a.n.Move(ev, "")
		if err := a.tx.SaveNode(ctx, a.n); err != nil {
			return err
		}
	}
	return a.tx.ControlOp(ctx, op, string(ev))
}

// start moves the node, takes the nodes that the operation touches, and writes the operation.
func (a *admission) start(ctx context.Context, kind string, sp spec, rows []*store.OpStep) error {
	n := a.n
	if err := a.supersede(ctx); err != nil {
		return err
	}
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
	return begin(ctx, a.tx, n, op, rows)
}

// supersede ends the operation that waits on the node, when the table of states lets the request take its place.
func (a *admission) supersede(ctx context.Context) error {
	old, err := a.tx.OpenOp(ctx, a.n.UUID, waitingKinds...)
	if err != nil || old == nil {
		return err
	}
	before, err := readSpec(old.Spec)
	if err != nil {
		return err
	}
	old.State, old.Ended, old.Wait = store.OpAborted, a.tx.Now(), noTime
	old.Error = fmt.Sprintf("Node %s: the operation was given up while it waited: the target %q was asked for.", a.n.Label(), a.req.Verb.Target)
	if err := a.tx.SaveOp(ctx, old); err != nil {
		return err
	}
	a.n.CleanStep, a.n.DeployStep, a.n.ServiceStep = nil, nil, nil
	a.tx.Wake(store.TopicOps)
	return a.tx.InsertEvent(ctx, &store.Event{
		UUID: uuid.NewString(), Node: a.n.UUID, Severity: "ERROR", Type: eventType(old.Kind, before), Text: old.Error, Actor: a.req.Actor,
		Project: a.req.Project, State: a.n.Provision, Target: a.n.TargetProvision, Duration: old.Ended.Sub(old.Started),
	})
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

// begin reserves n and the children that op has steps to run on for the conductor that holds their lease, and writes op. A node that another
// operation holds makes it fault.Locked, and nothing is reserved.
func begin(ctx context.Context, tx *store.Tx, n *node.Node, op *store.Op, rows []*store.OpStep) error {
	host, err := conductorOf(ctx, tx, n)
	if err != nil {
		return err
	}
	n.Reservation = host
	if err := tx.SaveNode(ctx, n); err != nil {
		return err
	}
	if err := tx.InsertOp(ctx, op, rows); err != nil {
		return err
	}
	held, err := tx.ReserveChildren(ctx, op, host)
	if err == nil && held != "" {
		err = fault.New(fault.Locked, "Node %s child_node %s is presently locked and we are unable to perform any action on it at this time. Please retry after the current operation is completed.", n.UUID, held)
	}
	return err
}

// silence is after how long a conductor that is not heard of does not count any more.
const silence = time.Minute

// conductorOf returns the host name of the conductor that holds the node's lease, or will. While no conductor is alive at all, that is
// "unassigned", and the operation waits for one. The error is fault.Unavailable when conductors are alive, and none of them serves the node's
// group and hardware type.
func conductorOf(ctx context.Context, tx *store.Tx, n *node.Node) (string, error) {
	host, err := tx.LeaseHost(ctx, n.Lease)
	if err != nil {
		return "", err
	}
	all, err := tx.Conductors(ctx, silence)
	if err != nil {
		return "", err
	}
	root := n
	if n.IsChild() {
		if root, err = tx.Node(ctx, n.Parent); err != nil {
			return "", err
		}
	}
	alive := slices.DeleteFunc(all, func(c store.Conductor) bool { return !c.Alive })
	fit := slices.IndexFunc(alive, func(c store.Conductor) bool {
		return c.Group == root.ConductorGroup && (len(c.Drivers) == 0 || slices.Contains(c.Drivers, n.Driver))
	})
	switch {
	case len(alive) == 0:
		host = first(host, "unassigned")
	case fit < 0:
		return "", fault.New(fault.Unavailable, "No valid host was found. Reason: No conductor service registered which supports driver %s for conductor group \"%s\".",
			n.Driver, root.ConductorGroup)
	case host == "":
		host = alive[fit].Hostname
	}
	return host, nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
