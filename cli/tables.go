package cli

import (
	"strings"

	"github.com/riser-project/riser/node"
)

// The resources of the bare-metal API that are no part of a node.

var chassis = &resource{
	name: "chassis", path: "/v1/chassis", key: "chassis", can: canAll, narrow: true, whole: "detail=true",
	columns: []column{{title: "UUID", path: "uuid"}, {title: "DESCRIPTION", path: "description"}},
	front:   []string{"uuid", "description"},
	fields:  []field{{name: "description", usage: "`text` for people"}, extra},
}

var allocation = &resource{
	name: "allocation", path: "/v1/allocations", key: "allocations", can: canAll, narrow: true, names: "name",
	filters: "node, resource_class, state, owner",
	columns: []column{
		{title: "NAME", path: "name"}, {title: "UUID", path: "uuid"}, {title: "CLASS", path: "resource_class"}, {title: "STATE", path: "state", paint: painted},
		{title: "NODE", path: "node_uuid"},
	},
	front: []string{"name", "uuid", "state", "last_error", "resource_class", "node_uuid"},
	fields: []field{
		{name: "name", usage: "the allocation's `name`", only: toSet | toUnset},
		{name: "resource_class", usage: "of this `class` must the node be", only: toCreate},
		{name: "candidate_nodes", flag: "candidate", usage: "only this `node` may be taken; may be repeated", kind: texts, only: toCreate},
		{name: "traits", flag: "trait", usage: "this `trait` must the node have; may be repeated", kind: texts, only: toCreate},
		{name: "node", usage: "the `node` in use that the allocation is made for", only: toCreate},
		{name: "owner", usage: "the `project` that the allocation is for", only: toCreate},
		extra,
	},
}

var template = &resource{
	name: "template", one: "deploy template", path: "/v1/deploy_templates", key: "deploy_templates", can: canAll, narrow: true, whole: "detail=true", names: "name",
	columns: []column{{title: "NAME", path: "name"}, {title: "UUID", path: "uuid"}, {title: "STEPS", path: "steps", show: stepNames}},
	front:   []string{"name", "uuid", "description"},
	fields: []field{
		{name: "name", usage: "a trait's `name`: nodes that are deployed with the trait run the steps", only: toSet},
		{name: "steps", usage: "`file` with the list of steps, or -: interface, step, args, priority", kind: document, must: true, only: toCreate | toSet},
		{name: "description", usage: "`text` for people"},
		extra,
	},
}

var runbook = &resource{
	name: "runbook", path: "/v1/runbooks", key: "runbooks", can: canAll, narrow: true, whole: "detail=true", names: "name",
	columns: []column{{title: "NAME", path: "name"}, {title: "UUID", path: "uuid"}, {title: "OWNER", path: "owner"}, {title: "PUBLIC", path: "public"}},
	front:   []string{"name", "uuid", "description", "owner", "public"},
	fields: []field{
		{name: "name", usage: "the runbook's `name`", only: toSet},
		{name: "steps", usage: "`file` with the list of steps, or -: interface, step, order, args", kind: document, must: true, only: toCreate | toSet},
		{name: "description", usage: "`text` for people"},
		{name: "owner", usage: "`project` that owns it"},
		{name: "public", usage: "every project may use it", kind: boolean},
		{name: "disable_ramdisk", usage: "run its steps without the node's agent", kind: boolean},
		extra,
	},
}

var inspectionRule = &resource{
	name: "inspection-rule", one: "inspection rule", path: "/v1/inspection_rules", key: "inspection_rules", can: canAll, whole: "detail=true",
	columns: []column{{title: "UUID", path: "uuid"}, {title: "PRIORITY", path: "priority"}, {title: "PHASE", path: "phase"}, {title: "DESCRIPTION", path: "description"}},
	front:   []string{"uuid", "priority", "phase", "description"},
	fields: []field{
		{name: "description", usage: "`text` for people"},
		{name: "priority", usage: "rules run from the highest `number` to the lowest", kind: integer},
		{name: "sensitive", usage: "never show the rule's conditions and actions", kind: boolean, only: toCreate | toSet},
		{name: "conditions", usage: "`file` with the list of conditions, or -", kind: document},
		{name: "actions", usage: "`file` with the list of actions, or -", kind: document, must: true, only: toCreate | toSet},
	},
}

var connector = &resource{
	name: "volume-connector", one: "volume connector", path: "/v1/volume/connectors", key: "connectors", can: canAll, narrow: true, whole: "detail=true", filters: "node",
	columns: []column{{title: "UUID", path: "uuid"}, {title: "NODE", path: "node_uuid"}, {title: "TYPE", path: "type"}, {title: "ID", path: "connector_id"}},
	front:   []string{"uuid", "node_uuid", "type", "connector_id"},
	fields: []field{
		{name: "node_uuid", flag: "node", usage: "`UUID` of the node", must: true, only: toCreate | toSet},
		{name: "type", usage: "`type`: iqn, ip, mac, wwnn, wwpn, port, portgroup", must: true, only: toCreate | toSet},
		{name: "connector_id", flag: "id", usage: "the connector's `ID` of that type", must: true, only: toCreate | toSet},
		extra,
	},
}

var target = &resource{
	name: "volume-target", one: "volume target", path: "/v1/volume/targets", key: "targets", can: canAll, narrow: true, whole: "detail=true", filters: "node",
	columns: []column{
		{title: "UUID", path: "uuid"}, {title: "NODE", path: "node_uuid"}, {title: "TYPE", path: "volume_type"}, {title: "VOLUME", path: "volume_id"},
		{title: "BOOT INDEX", path: "boot_index"},
	},
	front: []string{"uuid", "node_uuid", "volume_type", "volume_id", "boot_index"},
	fields: []field{
		{name: "node_uuid", flag: "node", usage: "`UUID` of the node", must: true, only: toCreate | toSet},
		{name: "volume_type", flag: "type", usage: "`type` of the volume, such as iscsi", must: true, only: toCreate | toSet},
		{name: "volume_id", flag: "volume", usage: "`ID` of the volume", must: true, only: toCreate | toSet},
		{name: "boot_index", usage: "`number` of the volume in the order of boot, from 0", kind: integer, must: true, only: toCreate | toSet},
		{name: "properties", flag: "property", usage: "`KEY=VALUE` of the volume's properties; may be repeated", kind: pairs},
		extra,
	},
}

var driver = &resource{
	name: "driver", path: "/v1/drivers", key: "drivers", can: canList | canShow, whole: "detail=true", filters: "type",
	columns: []column{{title: "NAME", path: "name"}, {title: "CONDUCTORS", path: "hosts"}},
	front:   []string{"name", "type", "hosts"},
}

var conductor = &resource{
	name: "conductor", path: "/v1/conductors", key: "conductors", can: canList | canShow, whole: "detail=true",
	columns: []column{{title: "HOST", path: "hostname"}, {title: "GROUP", path: "conductor_group"}, {title: "ALIVE", path: "alive", paint: painted}},
	front:   []string{"hostname", "alive", "conductor_group"},
}

var shard = &resource{
	name: "shard", path: "/v1/shards", key: "shards", can: canList,
	columns: []column{{title: "NAME", path: "name"}, {title: "NODES", path: "count"}},
}

var extra = field{name: "extra", usage: "`KEY=VALUE` of your own; may be repeated. KEY:=JSON and KEY=@FILE do, too", kind: pairs}

// catalogTable lists the resources that stand on their own, in the order of the help.
var catalogTable = []*resource{driver, conductor, runbook, template, allocation, inspectionRule, chassis, connector, target, shard}

// painted is the colour of a state, whichever resource it is of.
func painted(state string) color {
	s := node.State(state)
	switch {
	case s.Failed() || strings.Contains(strings.ToLower(state), "error") || strings.Contains(state, "failed") || state == "unknown" || state == "false":
		return red
	case s.Busy() || s.Waiting() || strings.HasSuffix(state, " hold") || state == "BUILD" || state == "waiting" || state == "running" || state == "allocating":
		return yellow
	case state == "power on" || state == "ACTIVE" || state == "active" || state == "done" || state == "true" || state == "plugged":
		return green
	}
	return plain
}

// stepNames writes a list of steps.
func stepNames(v any) string {
	list, _ := v.([]any)
	names := make([]any, len(list))
	for i, e := range list {
		o, _ := e.(object)
		names[i] = brief(o["interface"]) + "." + brief(o["step"])
	}
	return brief(names)
}
