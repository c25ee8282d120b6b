// Package step defines what a step is: a named piece of work on one node, its arguments, and how it ends. The engine runs steps; drivers and
// package step/steps provide them.
package step

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
)

// Result is how a step that did not fail ends.
type Result uint8

// The results.
const (
	Done Result = iota // the step is finished
	Wait               // the step goes on outside; the engine polls it, or the node's agent reports
	Hold               // the flow stops until an operator says unhold
)

// Definition is a step that nodes can run.
//
// Run MUST be safe to repeat after a crash at any point: a command of class Absolute may be sent again, and one of class Relative is refused by
// the engine's guard when it was sent before. Run returns promptly when ctx ends.
type Definition struct {
	Interface node.Interface // the interface a client names
	Name      string
	Impls     []string // interface implementations that have the step; none means every node has it
	Summary   string   // one sentence for lists of steps

	Flows    []node.Flow // flows the step may run in
	Priority int         // in automated flows; 0 means only on request

	Args      []Arg
	Abortable bool // an abort may take effect while the step waits
	NoRamdisk bool // the step does not need the node's agent ramdisk
	ResetCard bool // the step cuts the ports attached to a card while it runs

	Timeout time.Duration // of one attempt; 0 means the engine's default

	// Plan says, without touching anything, what will be sent; a line for each command.
	Plan func(args node.Object) []string

	// Run does the step.
	Run func(ctx context.Context, t *Task) (Result, error)

	// Verify finds by evidence whether a command of class Relative that was sent at the given time, before a crash, took effect. Without it, or
	// without evidence, the step ends as unknown: the command is never sent again.
	Verify func(ctx context.Context, t *Task, sent time.Time) (bool, error)

	// Poll is asked again and again after Run returned Wait, until it returns Done or an error. Nil means that the node's agent, or an
	// operator, ends the wait.
	Poll func(ctx context.Context, t *Task) (Result, error)
}

// FullName is "interface.step".
func (d *Definition) FullName() string { return string(d.Interface) + "." + d.Name }

// Arg is an argument of a step.
type Arg struct {
	Name        string
	Description string
	Required    bool
	Check       func(v any) error // nil accepts every value
}

// Task is one run of a step on one node.
type Task struct {
	Node    *node.Node // as read at the start, with its secrets; the step does not change it
	Args    node.Object
	Flow    node.Flow
	Attempt int // from 1

	// Power is the engine's own way to change power, with its rules for parents and children. target may be any power target.
	Power func(ctx context.Context, target node.PowerState) error

	// Conn opens the connection to the node's controller on first use; the engine closes it.
	Conn func(ctx context.Context) (driver.Conn, error)

	// Evidence records what was observed ("BootProgress OsIsRunning"), for the operator.
	Evidence func(text string)

	// Keep and Kept hold a value of the step between Run and Poll, and across restarts. The value must be JSON without secrets.
	Keep func(ctx context.Context, key string, value any) error
	Kept func(key string) any
}

// CheckArgs returns every fault in args against d's arguments.
func (d *Definition) CheckArgs(args node.Object) (faults []string) {
	known := map[string]bool{}
	for _, a := range d.Args {
		known[a.Name] = true
		v, ok := args[a.Name]
		switch {
		case !ok && a.Required:
			faults = append(faults, fmt.Sprintf("is missing these required arguments: %s (%s)", a.Name, a.Description))
		case ok && a.Check != nil:
			if err := a.Check(v); err != nil {
				faults = append(faults, fmt.Sprintf("argument %s: %v", a.Name, err))
			}
		}
	}
	var extra []string
	for name := range args {
		if !known[name] {
			extra = append(extra, name)
		}
	}
	if len(extra) > 0 {
		sort.Strings(extra)
		faults = append(faults, "has these unexpected arguments: "+strings.Join(extra, ", "))
	}
	return faults
}

// Catalog is the list of all steps of a process.
type Catalog struct {
	defs []Definition
}

// NewCatalog makes a catalog. It panics when two definitions of the same name can both apply to a node: a programmer's mistake.
func NewCatalog(lists ...[]Definition) *Catalog {
	c := &Catalog{}
	for _, defs := range lists {
		for _, d := range defs {
			for _, old := range c.defs {
				if old.FullName() == d.FullName() && overlap(old.Impls, d.Impls) {
					panic(fmt.Sprintf("step %s is defined twice", d.FullName()))
				}
			}
			c.defs = append(c.defs, d)
		}
	}
	return c
}

func overlap(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

func (d *Definition) fits(n *node.Node) bool {
	return len(d.Impls) == 0 || slices.Contains(d.Impls, n.Interfaces[d.Interface])
}

// For returns the steps that n has for flow, in the catalog's order.
func (c *Catalog) For(n *node.Node, flow node.Flow) []*Definition {
	var list []*Definition
	for i := range c.defs {
		if d := &c.defs[i]; d.fits(n) && slices.Contains(d.Flows, flow) {
			list = append(list, d)
		}
	}
	return list
}

// Find returns the definition of the step s for n in flow. The error says whether the step exists at all, and names what n has instead. A
// reserved name (node.Reserved) is found under every interface.
func (c *Catalog) Find(n *node.Node, flow node.Flow, s node.Step) (*Definition, error) {
	var elsewhere []string
	for i := range c.defs {
		d := &c.defs[i]
		if d.Name != s.Step || (d.Interface != s.Interface && !node.Reserved(s.Step)) {
			continue
		}
		switch {
		case !d.fits(n):
			elsewhere = append(elsewhere, strings.Join(d.Impls, ", "))
		case !slices.Contains(d.Flows, flow):
			return nil, fmt.Errorf("step %s cannot run in a %s flow", s.Name(), flow)
		default:
			return d, nil
		}
	}
	if len(elsewhere) > 0 {
		return nil, fmt.Errorf("node %s (driver %s, %s interface %q) does not have step %s: it needs %s interface %s",
			n.Label(), n.Driver, s.Interface, n.Interfaces[s.Interface], s.Name(), s.Interface, strings.Join(elsewhere, " or "))
	}
	return nil, fmt.Errorf("node %s (driver %s) does not have step %s; it has %s", n.Label(), n.Driver, s.Name(), c.names(n, flow))
}

func (c *Catalog) names(n *node.Node, flow node.Flow) string {
	var names []string
	for _, d := range c.For(n, flow) {
		names = append(names, d.FullName())
	}
	if len(names) == 0 {
		return "none"
	}
	sort.Strings(names)
	return strings.Join(names, ", ")
}
