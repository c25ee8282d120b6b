package node

import (
	"slices"
)

// AllocationState is the state of an allocation as the API spells it.
type AllocationState string

// The states of an allocation.
const (
	Allocating       AllocationState = "allocating"
	AllocationActive AllocationState = "active"
	AllocationError  AllocationState = "error"
)

// Allocation is a request for a node that fits, and then the hold on it.
type Allocation struct {
	Record
	Name           string
	ResourceClass  string
	CandidateNodes []string // UUIDs; empty means every node
	Traits         []string // that the node must have
	Extra          Object
	Owner          string
	NodeUUID       string
	State          AllocationState
	LastError      string
}

// Fits reports whether n can be given to a: available and unused, out of maintenance, with a known power state, of the resource class, among the
// candidates, of the owner, with every trait. A child fits only as a candidate that is named: it is no machine for general use. n.Traits must be
// filled.
func (a *Allocation) Fits(n *Node) bool {
	return a.Matches(n) && !slices.ContainsFunc(a.Traits, func(t string) bool { return !slices.Contains(n.Traits, t) })
}

// Matches is Fits without regard to traits.
func (a *Allocation) Matches(n *Node) bool {
	switch {
	case n.Provision != Available, n.InstanceUUID != "", n.Maintenance, n.Power == "":
		return false
	case n.IsChild() && len(a.CandidateNodes) == 0:
		return false
	case n.ResourceClass != a.ResourceClass:
		return false
	case len(a.CandidateNodes) > 0 && !slices.Contains(a.CandidateNodes, n.UUID):
		return false
	}
	return a.Owner == "" || n.Owner == a.Owner || n.Lessee == a.Owner
}
