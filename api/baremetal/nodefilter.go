package baremetal

import (
	"context"
	"slices"
	"strings"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// nodeFilter is a query for nodes on its way from a URL to the store.
type nodeFilter struct {
	store.NodeQuery
	host *string // of the conductor
}

// resolve turns what the store does not know by its API name into what it does.
func (f *nodeFilter) resolve(ctx context.Context, tx *store.Tx) error {
	if f.HasParent && f.Parent != "" && !node.IsUUID(f.Parent) {
		parent, err := tx.Node(ctx, f.Parent)
		switch {
		case fault.Is(err, fault.NotFound):
			f.UUIDs = []string{}
		case err != nil:
			return err
		default:
			f.Parent = parent.UUID
		}
	}
	if f.host == nil {
		return nil
	}
	hosts, err := tx.LeaseHosts(ctx)
	f.LeaseShards = []int{}
	for shard, host := range hosts {
		if host == *f.host {
			f.LeaseShards = append(f.LeaseShards, shard)
		}
	}
	return err
}

type setFilter = func(*nodeFilter, string) error

func textFilter(p func(*nodeFilter) *string) setFilter {
	return func(f *nodeFilter, v string) error {
		*p(f) = v
		if v == "" {
			f.UUIDs = []string{} // an empty text is no node's
		}
		return nil
	}
}

func boolFilter(key string, p func(*nodeFilter) **bool) setFilter {
	return func(f *nodeFilter, v string) error {
		b, err := node.ParseBool(v)
		if err != nil {
			return invalid("Invalid %s: Unrecognized value %s, acceptable values are: %s", key, reprString(v), boolWords)
		}
		*p(f) = &b
		return nil
	}
}

var knownFaults = []string{node.FaultPower, node.FaultClean, node.FaultRescue, node.FaultService}

// nodeFilters are the query keys that narrow a list of nodes.
var nodeFilters = []filter[nodeFilter]{
	{"chassis_uuid", 1, uuidFilter("chassis_uuid", func(f *nodeFilter) *string { return &f.ChassisUUID })},
	{"instance_uuid", 1, uuidFilter("instance_uuid", func(f *nodeFilter) *string { return &f.InstanceUUID })},
	{"associated", 1, boolFilter("associated", func(f *nodeFilter) **bool { return &f.Associated })},
	{"maintenance", 1, boolFilter("maintenance", func(f *nodeFilter) **bool { return &f.Maintenance })},
	{"provision_state", mvProvisionFilter, filterProvision},
	{"driver", mvDriverFilter, textFilter(func(f *nodeFilter) *string { return &f.Driver })},
	{"resource_class", mvResourceClass, textFilter(func(f *nodeFilter) *string { return &f.ResourceClass })},
	{"fault", mvFault, filterFault},
	{"conductor_group", mvConductorGroup, func(f *nodeFilter, v string) error { v = strings.ToLower(v); f.ConductorGroup = &v; return nil }},
	{"conductor", mvConductors, func(f *nodeFilter, v string) error { f.host = &v; return nil }},
	{"owner", mvOwner, textFilter(func(f *nodeFilter) *string { return &f.Owner })},
	{"description_contains", mvDescription, func(f *nodeFilter, v string) error { f.Description = v; return nil }},
	{"retired", mvRetired, boolFilter("retired", func(f *nodeFilter) **bool { return &f.Retired })},
	{"lessee", mvLessee, textFilter(func(f *nodeFilter) *string { return &f.Lessee })},
	{"project", 1, filterProject},
	{"shard", mvShards, func(f *nodeFilter, v string) error { f.Shards = splitList(v); return nil }},
	{"sharded", mvShards, boolFilter("sharded", func(f *nodeFilter) **bool { return &f.Sharded })},
	{"include_children", mvChildren, filterChildren},
	{"parent_node", mvChildren, func(f *nodeFilter, v string) error { f.HasParent, f.Parent = true, canonical(v); return nil }},
	{"instance_name", mvInstanceName, textFilter(func(f *nodeFilter) *string { return &f.InstanceName })},
}

// splitList reads a list of a query, joined by commas.
func splitList(v string) []string {
	list := strings.Split(v, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func uuidFilter(key string, p func(*nodeFilter) *string) setFilter {
	return func(f *nodeFilter, v string) error {
		if !node.IsUUID(v) {
			return invalid("Expected UUID for %s: %s", key, v)
		}
		*p(f) = canonical(v)
		return nil
	}
}

func filterProvision(f *nodeFilter, v string) error {
	if s := node.State(v); s.Known() {
		f.Provision = []node.State{s}
		return nil
	}
	return invalid("Provision state \"%s\" is not valid", v)
}

func filterFault(f *nodeFilter, v string) error {
	if !slices.Contains(knownFaults, v) {
		return invalid("Unrecognized fault \"%s\" is specified, allowed faults are %s", v, repr(knownFaults))
	}
	f.Fault = v
	return nil
}

// filterProject never widens what the subject may see: a list that is pinned to another project is empty.
func filterProject(f *nodeFilter, v string) error {
	if f.Project != "" && f.Project != v {
		f.UUIDs = []string{}
		return nil
	}
	return textFilter(func(f *nodeFilter) *string { return &f.Project })(f, v)
}

func filterChildren(f *nodeFilter, v string) error {
	b, err := node.ParseBool(v)
	if err != nil {
		return invalid("Invalid include_children: Unrecognized value %s, acceptable values are: %s", reprString(v), boolWords)
	}
	f.IncludeChildren = b
	return nil
}
