package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/node"
)

// machine is the node. Its list is its own: it can be a tree.
var machine = &resource{
	name: "node", path: "/v1/nodes", key: "nodes", can: canAll &^ canList, names: "name",
	columns: []column{
		{title: "NAME", path: "name"}, {title: "UUID", path: "uuid"}, {title: "DRIVER", path: "driver"}, {title: "POWER", path: "power_state", paint: painted},
		{title: "PROVISION", path: "provision_state", paint: painted}, {title: "MAINTENANCE", path: "maintenance"},
	},
	front: []string{
		"name", "uuid", "parent_node", "driver", "power_state", "target_power_state", "provision_state", "target_provision_state", "last_error", "fault",
		"maintenance", "maintenance_reason", "reservation", "conductor", "instance_uuid",
	},
	narrow:  true,
	whole:   "detail=true",
	fields:  nodeFields(),
	filters: nodeFilters,
}

const nodeFilters = "driver, provision_state, maintenance, associated, fault, owner, lessee, resource_class, conductor_group, conductor, parent_node, " +
	"instance_uuid, instance_name, chassis_uuid, description_contains, retired, shard, sharded"

func nodeFields() []field {
	list := []field{
		{name: "uuid", usage: "the node's `UUID`, when it is given from outside", only: toCreate},
		{name: "name", usage: "the node's `name`", only: toSet | toUnset},
		{name: "driver", usage: "hardware `type`: \"riser driver list\" has them", must: true, only: toCreate | toSet},
		{name: "driver_info", usage: "`KEY=VALUE` for the driver; may be repeated. KEY:=JSON and KEY=@FILE do, too", kind: pairs},
		{name: "properties", flag: "property", usage: "`KEY=VALUE` of the hardware; may be repeated", kind: pairs},
		{name: "instance_info", usage: "`KEY=VALUE` of the instance; may be repeated", kind: pairs},
		extra,
		{name: "parent_node", flag: "parent", usage: "the `node` that this one is a child of: the server with the card"},
		{name: "resource_class", usage: "`class` that allocations ask for"},
		{name: "conductor_group", usage: "`group` of conductors that may work on the node"},
		{name: "owner", usage: "`project` that owns the node"},
		{name: "lessee", usage: "`project` that the node is lent to"},
		{name: "description", usage: "`text` for people"},
		{name: "shard", usage: "`label` for clients that share the nodes among them"},
		{name: "chassis_uuid", flag: "chassis", usage: "`UUID` of the chassis"},
		{name: "instance_uuid", usage: "`UUID` of the instance"},
		{name: "instance_name", usage: "`name` of the instance"},
		{name: "network_data", usage: "`file` with the network data, or -", kind: document},
		{name: "automated_clean", usage: "clean the node whenever it becomes available", kind: boolean},
		{name: "disable_power_off", usage: "never power the node off", kind: boolean},
		{name: "protected", usage: "refuse to undeploy or rebuild the node", kind: boolean, only: toSet | toUnset},
		{name: "protected_reason", usage: "`why` it is protected", only: toSet | toUnset},
		{name: "retired", usage: "keep the node from becoming available", kind: boolean, only: toSet | toUnset},
		{name: "retired_reason", usage: "`why` it is retired", only: toSet | toUnset},
	}
	for _, kind := range node.AllInterfaces {
		list = append(list, field{name: string(kind) + "_interface", usage: "`implementation` of the " + string(kind) + " interface"})
	}
	return list
}

// nodePorts and nodePortgroups are the bare-metal ports; "port" without a node is of a network.
var nodePorts = &resource{
	name: "port", one: "bare-metal port", path: "/v1/ports", key: "ports", can: canAll, narrow: true, whole: "detail=true", filters: "node, node_uuid, address, portgroup, shard",
	columns: []column{
		{title: "UUID", path: "uuid"}, {title: "ADDRESS", path: "address"}, {title: "NODE", path: "node_uuid"}, {title: "PXE", path: "pxe_enabled"},
		{title: "NETWORK", path: "physical_network"}, {title: "SMARTNIC", path: "is_smartnic"},
	},
	front: []string{"uuid", "name", "address", "node_uuid"},
	fields: []field{
		{name: "node_ident", flag: "node", usage: "the `node` that has the port", must: true, only: toCreate},
		{name: "node_uuid", flag: "node", usage: "`UUID` of the node that has the port", only: toSet},
		{name: "address", usage: "`MAC` address", must: true, only: toCreate | toSet},
		{name: "name", usage: "the port's `name`"},
		{name: "local_link_connection", flag: "link", usage: "`KEY=VALUE` of the switch's side; may be repeated", kind: pairs},
		{name: "physical_network", usage: "`name` of the physical network"},
		{name: "portgroup_uuid", flag: "portgroup", usage: "`UUID` of the port's group"},
		{name: "pxe_enabled", flag: "pxe", usage: "the node may boot from the port", kind: boolean},
		{name: "is_smartnic", flag: "smartnic", usage: "the port is one of a smart NIC", kind: boolean},
		{name: "description", usage: "`text` for people"},
		{name: "vendor", usage: "`vendor` of the card"},
		{name: "category", usage: "`category` of the port"},
		extra,
	},
}

var nodePortgroups = &resource{
	name: "portgroup", one: "port group", path: "/v1/portgroups", key: "portgroups", can: canAll, narrow: true, whole: "detail=true", names: "name", filters: "node, address",
	columns: []column{
		{title: "NAME", path: "name"}, {title: "UUID", path: "uuid"}, {title: "ADDRESS", path: "address"}, {title: "NODE", path: "node_uuid"}, {title: "MODE", path: "mode"},
	},
	front: []string{"name", "uuid", "address", "node_uuid"},
	fields: []field{
		{name: "node_uuid", flag: "node", usage: "`UUID` of the node", must: true, only: toCreate | toSet},
		{name: "name", usage: "the group's `name`", only: toSet | toUnset},
		{name: "address", usage: "`MAC` address"},
		{name: "mode", usage: "`mode` of the bond, such as active-backup or 802.3ad"},
		{name: "properties", flag: "property", usage: "`KEY=VALUE` of the bond; may be repeated", kind: pairs},
		{name: "standalone_ports_supported", flag: "standalone-ports", usage: "its ports may be used on their own", kind: boolean},
		{name: "physical_network", usage: "`name` of the physical network"},
		{name: "category", usage: "`category` of the group"},
		extra,
	},
}

// nodes returns the command "node".
func (a *app) nodes() []*cobra.Command {
	cmd := group("node", "Servers, and the DPUs inside them", a.nodeList(), a.children())
	cmd.AddCommand(a.commands(machine)...)
	cmd.AddCommand(a.power())
	cmd.AddCommand(a.verbs()...)
	cmd.AddCommand(a.operations(), a.history(), a.maintenance(), a.validate(), a.traits(), a.vifs(), a.bootDevice(), a.console(), a.inventory())
	cmd.AddCommand(a.groups([]*resource{nodePorts, nodePortgroups})...)
	for _, c := range cmd.Commands() {
		a.completeNodes(c)
	}
	return []*cobra.Command{cmd}
}

// completeNodes has the shell complete the names of nodes where the command takes some.
func (a *app) completeNodes(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if cmd.Name() != "port" && cmd.Name() != "portgroup" {
			a.completeNodes(c)
		}
	}
	u := readUse(cmd.Use)
	if len(u.names) == 0 || u.names[0] != "NODE" {
		return
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !u.endless {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		list, err := c.Nodes(cmd.Context(), url.Values{"fields": {"uuid,name"}, "include_children": {"true"}})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := make([]string, len(list))
		for i := range list {
			names[i] = list[i].Label()
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func nodeURL(ref, part string) string { return "/v1/nodes/" + url.PathEscape(ref) + part }

func (a *app) children() *cobra.Command {
	return &cobra.Command{Use: "children NODE", Short: "List the child nodes of a node: its DPU cards", RunE: a.with(
		func(ctx context.Context, c *client.Client, args []string) error {
			parent, err := c.Node(ctx, args[0])
			if err != nil {
				return cannot("list the children of node "+args[0], err)
			}
			query := url.Values{"parent_node": {parent.UUID}}
			a.narrow(machine, query, childColumns, false)
			items, err := client.List[json.RawMessage](ctx, c, "/v1/nodes"+suffix(query), "nodes", 0)
			if err != nil {
				return cannot("list the children of node "+args[0], err)
			}
			return a.list(childColumns, items)
		})}
}

var childColumns = []column{
	{title: "NAME", path: "name"}, {title: "UUID", path: "uuid"}, {title: "DRIVER", path: "driver"}, {title: "POWER", path: "power_state", paint: painted},
	{title: "PROVISION", path: "provision_state", paint: painted}, {title: "SERIAL", path: "properties.card_serial_number"},
	{title: "CHASSIS", path: "properties.chassis_name"},
}

// maintenance is "node maintenance set" and "unset".
func (a *app) maintenance() *cobra.Command {
	set := &cobra.Command{Use: "set NODE...", Short: "Keep riser from working on nodes"}
	reason := set.Flags().String("reason", "", "`why`, for others")
	set.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		return each(args, func(ref string) error {
			err := c.SetMaintenance(ctx, ref, true, *reason)
			if err == nil {
				a.say("node %s: in maintenance", ref)
			}
			return cannot("put node "+ref+" into maintenance", err)
		})
	})
	unset := &cobra.Command{Use: "unset NODE...", Short: "Let riser work on nodes again", RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
		return each(args, func(ref string) error {
			err := c.SetMaintenance(ctx, ref, false, "")
			if err == nil {
				a.say("node %s: out of maintenance", ref)
			}
			return cannot("take node "+ref+" out of maintenance", err)
		})
	})}
	return group("maintenance", "Keep riser from working on a node, or let it again", set, unset)
}

// validate shows which interfaces of a node could be used.
func (a *app) validate() *cobra.Command {
	return &cobra.Command{Use: "validate NODE", Short: "Check whether a node has all that its driver needs", RunE: a.with(
		func(ctx context.Context, c *client.Client, args []string) error {
			var raw json.RawMessage
			if err := c.Do(ctx, http.MethodGet, nodeURL(args[0], "/validate"), nil, &raw); err != nil {
				return cannot("validate node "+args[0], err)
			}
			if format, err := a.format(); err != nil || format != "table" {
				return a.data(format, raw)
			}
			o, err := readObject(raw)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, name := range keys(o) {
				v, _ := o[name].(object)
				rows = append(rows, []string{name, a.cell(column{path: "result", paint: painted}, v), a.cell(column{path: "reason"}, v)})
			}
			a.table([]string{"INTERFACE", "USABLE", "REASON"}, rows)
			return nil
		})}
}
