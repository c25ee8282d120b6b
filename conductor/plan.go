package conductor

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/store"
)

// plan returns the steps that the request leads to, each on its node. Every fault of every step is told at once.
func (a *admission) plan(ctx context.Context, kind string) ([]*store.OpStep, *Plan, error) {
	p := &planning{admission: a, flow: flowOf(kind), plan: &Plan{Steps: []PlannedStep{}}}
	steps, err := a.wanted(ctx, kind, p.flow)
	if err != nil {
		return nil, nil, err
	}
	if len(steps) == 0 {
		return nil, p.plan, nil
	}
	if p.children, err = a.tx.Children(ctx, a.n.UUID); err != nil {
		return nil, nil, err
	}
	var faults []string
	for seq, s := range steps {
		faults = append(faults, p.step(seq, s)...)
	}
	if len(faults) > 0 {
		return nil, nil, fault.New(fault.Invalid, "Cannot %s node %s: %s", kind, a.n.UUID, strings.Join(faults, "; "))
	}
	return p.rows, p.plan, nil
}

// wanted returns the list of steps: as the client wrote it, or made for a flow that has its steps from elsewhere.
func (a *admission) wanted(ctx context.Context, kind string, flow node.Flow) ([]node.Step, error) {
	if own, err := ownSteps(a.n, kind); err != nil || len(own) > 0 {
		return own, err
	}
	switch a.req.Verb.Event {
	case node.EvClean, node.EvService:
		return a.req.Steps, nil
	case node.EvProvide:
		if !a.cfg.cleansBefore(a.n) {
			return nil, nil
		}
	}
	if flow == "" {
		return nil, nil
	}
	asked := a.req.Steps
	if flow == node.FlowDeploy {
		templates, err := a.templates(ctx)
		if err != nil {
			return nil, err
		}
		asked = override(templates, asked)
	}
	return a.automatic(flow, asked)
}

// templates returns the steps of the deploy templates whose names are among the traits of the instance.
func (a *admission) templates(ctx context.Context) ([]node.Step, error) {
	var names []string
	traits, _ := a.n.InstanceInfo["traits"].([]any)
	for _, t := range traits {
		if name, ok := t.(string); ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	list, err := a.tx.TemplatesNamed(ctx, names)
	var steps []node.Step
	for _, t := range list {
		steps = override(steps, t.Steps)
	}
	return steps, err
}

// override returns the steps of both lists; those of later replace the same ones of earlier.
func override(earlier, later []node.Step) []node.Step {
	kept := slices.DeleteFunc(slices.Clone(earlier), func(s node.Step) bool {
		return slices.ContainsFunc(later, func(l node.Step) bool { return same(s, l) })
	})
	return append(kept, later...)
}

// same reports whether two steps stand for each other in a list: the same step, on the node itself or on the same children.
func same(a, b node.Step) bool {
	return a.Name() == b.Name() && a.OnChildren == b.OnChildren && slices.Equal(a.LimitToChildren, b.LimitToChildren)
}

// coreStep is the step of a deployment that nobody may replace, only turn off.
const coreStep = "deploy.deploy"

// automatic returns the steps of a flow that has them from the driver, by priority, changed by those that were asked for. Priority 0 turns a step
// off.
func (a *admission) automatic(flow node.Flow, asked []node.Step) ([]node.Step, error) {
	var steps []node.Step
	for _, d := range a.in.Catalog.For(a.n, flow) {
		s := node.Step{Interface: d.Interface, Step: d.Name, Priority: a.cfg.priority(flow, d)}
		if !slices.Contains(a.cfg.Disallowed[flow], s.Name()) {
			steps = append(steps, s)
		}
	}
	for _, s := range asked {
		if s.Name() == coreStep && s.Priority != 0 && !s.OnChildren {
			return nil, fault.New(fault.Invalid, "Cannot deploy node %s: deploy step %s is a core step and cannot be overridden by user steps. It may be disabled by setting the priority to 0", a.n.UUID, coreStep)
		}
	}
	steps = slices.DeleteFunc(override(steps, asked), func(s node.Step) bool { return s.Priority == 0 })
	rank := ranks(flow)
	sort.SliceStable(steps, func(i, j int) bool {
		if steps[i].Priority != steps[j].Priority {
			return steps[i].Priority > steps[j].Priority
		}
		return slices.Index(rank, steps[i].Interface) > slices.Index(rank, steps[j].Interface)
	})
	return steps, nil
}

// ranks orders steps of the same priority, the lowest first, as Ironic does.
func ranks(flow node.Flow) []node.Interface {
	if flow == node.FlowVerify {
		return []node.Interface{
			node.Rescue, node.Console, node.Storage, node.Network, node.Vendor, node.RAID, node.BIOS, node.Boot, node.Deploy, node.Inspect, node.Firmware,
			node.Management, node.Power,
		}
	}
	return []node.Interface{node.RAID, node.BIOS, node.Deploy, node.Firmware, node.Management, node.Power, node.Vendor, node.Network}
}

// planning is a list of steps on its way to rows.
type planning struct {
	*admission
	flow     node.Flow
	children []*node.Node
	rows     []*store.OpStep
	plan     *Plan
}

// step adds the rows of one step.
func (p *planning) step(seq int, s node.Step) (faults []string) {
	if slices.Contains(p.cfg.Disallowed[p.flow], s.Name()) {
		return []string{fmt.Sprintf("%s step '%s' is not allowed. Disallowed by operator configuration %s.", p.flow, s.Name(), setting(p.flow))}
	}
	on := []*node.Node{p.n}
	if s.OnChildren {
		if on, faults = choose(p.n, p.children, s); len(faults) > 0 {
			return faults
		}
	}
	for _, n := range on {
		def, err := p.in.lookup().find(n, p.flow, s)
		if err != nil {
			faults = append(faults, "node does not support this "+string(p.flow)+" step: "+err.Error())
			continue
		}
		faults = append(faults, p.faults(n, def, s)...)
		masked, _ := store.Mask(s.Args)
		show := PlannedStep{Seq: seq, Node: n.UUID, Name: n.Name, Interface: s.Interface, Step: s.Step, Args: masked, Commands: []string{}}
		if def.Plan != nil && len(faults) == 0 {
			show.Commands = def.Plan(masked)
		}
		p.plan.Steps = append(p.plan.Steps, show)
		p.rows = append(p.rows, &store.OpStep{Seq: seq, Node: n.UUID, Interface: s.Interface, Step: s.Step, Args: s.Args, Child: s.OnChildren, State: store.StepPlanned})
	}
	return faults
}

// faults returns what is wrong with a step on one node.
func (p *planning) faults(n *node.Node, def *step.Definition, s node.Step) (faults []string) {
	what := fmt.Sprintf("%s step %s on node %s", p.flow, s.Name(), n.Label())
	for _, f := range checkArgs(def, s.Args) {
		faults = append(faults, what+" "+f)
	}
	switch {
	case p.req.DisableRamdisk != nil && *p.req.DisableRamdisk && !def.NoRamdisk:
		faults = append(faults, what+" requires booting a ramdisk")
	case s.Step == "power_off" && n.DisablePowerOff:
		faults = append(faults, what+" cannot run: the node has disable_power_off set")
	case s.OnChildren && def.Poll != nil && !p.cfg.AsyncChildren:
		faults = append(faults, what+" cannot run: "+asyncText)
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

// stepObject is a step as the API shows the current one (clean_step, deploy_step, service_step).
func stepObject(s *store.OpStep, d *step.Definition) node.Object {
	o := node.Object{"interface": string(s.Interface), "step": s.Step, "priority": float64(0), "abortable": false, "requires_ramdisk": false}
	if args, _ := store.Mask(s.Args); args != nil {
		o["args"] = args
	}
	if d != nil {
		o["priority"], o["abortable"], o["requires_ramdisk"] = float64(d.Priority), d.Abortable, !d.NoRamdisk
	}
	if s.Child {
		o["execute_on_child_nodes"] = true
	}
	return o
}
