package node

import (
	"cmp"
	"slices"
)

// DeployTemplate is a list of deploy steps that run when a node is deployed with a trait of the template's name.
type DeployTemplate struct {
	Record
	Name        string
	Steps       []Step
	Extra       Object
	Description string
}

// Runbook is a list of steps that is run by name, on nodes with one of its traits.
type Runbook struct {
	Record
	Name           string
	Steps          []Step
	DisableRamdisk bool
	Public         bool
	Owner          string
	Extra          Object
	Description    string
	Traits         []string // sorted
}

// Suits reports whether the runbook may run on a node with these traits: the node has the trait that is the runbook's name, or one of the
// runbook's own traits.
func (b *Runbook) Suits(traits []string) bool {
	return slices.ContainsFunc(traits, func(t string) bool { return t == b.Name || slices.Contains(b.Traits, t) })
}

// Ordered returns the runbook's steps in the order in which they run.
func (b *Runbook) Ordered() []Step {
	steps := slices.Clone(b.Steps)
	slices.SortStableFunc(steps, func(x, y Step) int { return cmp.Compare(x.Order, y.Order) })
	return steps
}

// InspectionRule acts on what an inspection found.
type InspectionRule struct {
	Record
	Description string
	Priority    int    // higher runs first; 0 to 9999
	Phase       string // main
	Sensitive   bool   // conditions and actions are never shown
	Conditions  []any
	Actions     []any
}
