package node

import (
	"github.com/riser-project/riser/fault"
)

// CheckParent returns an error unless child may have parent: not itself, no deeper than one level either way, and the same owner. hasChildren
// says whether child has children of its own. asked is what the client wrote, and is all that the error repeats, so that nothing is learned
// about a node that the client may not see (CVE-2026-44918).
func CheckParent(child *Node, hasChildren bool, parent *Node, asked string) error {
	refused := func(why string) error {
		return fault.New(fault.Invalid, "Unable to apply the requested parent_node '%s'. Requested value was invalid.%s", asked, why)
	}
	switch {
	case parent == nil:
		return refused("")
	case parent.UUID == child.UUID:
		return refused(" A node cannot be its own parent.")
	case parent.Owner != child.Owner:
		return refused("")
	case parent.Parent != "":
		return refused(" That node is itself a child: only one level is allowed.")
	case hasChildren:
		return refused(" This node has children of its own: only one level is allowed.")
	}
	return nil
}
