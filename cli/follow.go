package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/node"
)

// follower tells how work on a node goes on, step by step.
type follower struct {
	a      *app
	c      *client.Client
	ref    string
	before string // UUID of the newest operation before ours
	told   map[string]bool
	state  node.State
	last   *client.Operation
}

// follower returns a follower of what will be asked of a node. It must be made before that, to tell the new operation from those before.
func (a *app) follower(ctx context.Context, c *client.Client, ref string, wanted bool) *follower {
	f := &follower{a: a, c: c, ref: ref, told: map[string]bool{}}
	if wanted {
		if op := f.newest(ctx); op != nil {
			f.before = op.UUID
		}
	}
	return f
}

// newest returns the newest operation on the node; nil when there is none, or when the server is an Ironic, which keeps no operations.
func (f *follower) newest(ctx context.Context) *client.Operation {
	list, err := f.c.Operations(ctx, f.ref, 1)
	if err != nil || len(list) == 0 || list[0].UUID == f.before {
		return nil
	}
	return &list[0]
}

// wait waits until the node has come to rest in the state want, and tells each step as it ends. For programs it writes the whole operation at
// the end.
func (f *follower) wait(ctx context.Context, want node.State) error {
	n, err := f.c.WaitProvision(ctx, f.ref, want, func(n *client.Node) { f.tell(ctx, n) })
	if format, bad := f.a.format(); bad == nil && format != "table" && f.last != nil {
		raw, bad := json.Marshal(f.last)
		if bad == nil {
			bad = f.a.data(format, raw)
		}
		if err == nil {
			err = bad
		}
	}
	if err != nil {
		return err
	}
	after := ""
	if f.last != nil && f.last.Took() > 0 {
		after = " after " + took(f.last.Took())
	}
	f.a.say("node %s: %s%s", n.Label(), n.Provision, after)
	return nil
}

// tell writes what is new.
func (f *follower) tell(ctx context.Context, n *client.Node) {
	if n.Provision != f.state && !n.Provision.Stable() && !n.Provision.Failed() {
		f.a.say("node %s: %s", n.Label(), n.Provision)
		if strings.HasSuffix(string(n.Provision), " hold") {
			f.a.say("  it waits for \"riser node unhold %s\"", n.Label())
		}
	}
	f.state = n.Provision
	op := f.newest(ctx)
	if op == nil {
		return
	}
	f.last = op
	nodes, steps := widths(op.Steps)
	for i := range op.Steps {
		s := &op.Steps[i]
		key := fmt.Sprint(s.Seq, " ", s.Node, " ", s.Attempt)
		if !s.Final() || f.told[key] {
			continue
		}
		f.told[key] = true
		line := fmt.Sprintf("  %-*s  %-*s  %s  %6s", nodes, printable(s.Label(), false), steps, printable(s.Name(), false), f.a.paint(painted(s.State), fmt.Sprintf("%-7s", s.State)), duration(s.Took()))
		if s.Error != "" {
			line += "  " + printable(s.Error, false)
		}
		f.a.line(line)
	}
}

// widths returns the widths of the longest node and the longest step.
func widths(list []client.OperationStep) (nodes, steps int) {
	for i := range list {
		nodes = max(nodes, len(list[i].Label()))
		steps = max(steps, len(list[i].Name()))
	}
	return nodes, steps
}
