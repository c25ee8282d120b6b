package cli

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
)

// The resources of the networking and the compute API. Both know an object by its UUID only.

const (
	networking = "/networking/v2.0"
	compute    = "/compute/v2.1"
)

var networks = &resource{
	name: "network", path: networking + "/networks", key: "networks", wrap: "network", can: canAll &^ canUndo, names: "name", lookUp: byFilter, put: true,
	filters: "any attribute",
	columns: []column{
		{title: "NAME", path: "name"}, {title: "ID", path: "id"}, {title: "STATUS", path: "status", paint: painted}, {title: "TYPE", path: "provider:network_type"},
		{title: "MTU", path: "mtu"}, {title: "SUBNETS", path: "subnets"},
	},
	front: []string{"name", "id", "status", "provider:network_type", "provider:physical_network", "provider:segmentation_id", "mtu", "subnets"},
	fields: []field{
		{name: "name", usage: "the network's `name`", only: toSet},
		{name: "mtu", usage: "largest packet, in `bytes`", kind: integer},
		{name: "provider:network_type", flag: "type", usage: "`type` of the network: geneve, vlan, flat", only: toCreate},
		{name: "provider:physical_network", flag: "physical-network", usage: "`name` of the physical network of a vlan or flat network", only: toCreate},
		{name: "provider:segmentation_id", flag: "segment", usage: "`number` of the VLAN", kind: integer, only: toCreate},
	},
}

var subnets = &resource{
	name: "subnet", path: networking + "/subnets", key: "subnets", wrap: "subnet", can: canAll &^ canUndo, names: "name", lookUp: byFilter, put: true,
	filters: "any attribute",
	columns: []column{
		{title: "NAME", path: "name"}, {title: "ID", path: "id"}, {title: "NETWORK", path: "network_id"}, {title: "CIDR", path: "cidr"},
		{title: "GATEWAY", path: "gateway_ip"}, {title: "DHCP", path: "enable_dhcp"},
	},
	front: []string{"name", "id", "network_id", "cidr", "gateway_ip", "enable_dhcp"},
	fields: []field{
		{name: "name", usage: "the subnet's `name`", only: toSet},
		{name: "network_id", flag: "network", usage: "the `network` that the addresses are of", kind: reference, of: networks, must: true, only: toCreate},
		{name: "cidr", usage: "the `addresses`, such as 192.0.2.0/24", must: true, only: toCreate},
		{name: "gateway_ip", flag: "gateway", usage: "`address` of the gateway"},
		{name: "enable_dhcp", flag: "dhcp", usage: "give the addresses out by DHCP", kind: boolean},
		{name: "dns_nameservers", flag: "dns", usage: "`address` of a name server; may be repeated", kind: texts},
	},
}

var ports = &resource{
	name: "port", path: networking + "/ports", key: "ports", wrap: "port", can: canAll &^ canUndo, names: "name", lookUp: byFilter, put: true,
	filters: "any attribute",
	columns: []column{
		{title: "NAME", path: "name"}, {title: "ID", path: "id"}, {title: "STATUS", path: "status", paint: painted}, {title: "TYPE", path: "binding:vnic_type"},
		{title: "HOST", path: "binding:host_id"}, {title: "MAC", path: "mac_address"}, {title: "ADDRESSES", path: "fixed_ips", show: addresses},
	},
	front: []string{
		"name", "id", "status", "riser:status_reason", "network_id", "mac_address", "fixed_ips", "device_id", "binding:vnic_type", "binding:host_id",
		"binding:vif_type", "binding:profile",
	},
	fields: []field{
		{name: "name", usage: "the port's `name`", only: toSet},
		{name: "network_id", flag: "network", usage: "the `network` that the port is on", kind: reference, of: networks, must: true, only: toCreate},
		{name: "binding:vnic_type", flag: "vnic-type", usage: "`type` of the port: normal, or remote-managed for one on a DPU"},
		{name: "mac_address", flag: "mac", usage: "`MAC` address", only: toCreate},
		{name: "fixed_ips", flag: "fixed-ip", usage: "`file` with the list of addresses, each with subnet_id, ip_address or both, or -", kind: document},
		{name: "binding:host_id", flag: "host", usage: "`host` to bind the port on"},
		{name: "binding:profile", flag: "profile", usage: "`KEY=VALUE` of the binding profile, KEY:=JSON for a number such as vf_num:=3; may be repeated", kind: pairs},
		{name: "device_id", flag: "device", usage: "`UUID` of what uses the port"},
		{name: "device_owner", usage: "`kind` of what uses the port"},
		{name: "numa_affinity_policy", flag: "numa-policy", usage: "`policy` for the function's NUMA node: required, preferred, legacy, socket"},
	},
}

// addresses writes the fixed IPs of a port.
func addresses(v any) string {
	list, _ := v.([]any)
	var ips []any
	for _, e := range list {
		o, _ := e.(object)
		ips = append(ips, o["ip_address"])
	}
	return brief(ips)
}

var flavors = &resource{
	name: "flavor", path: compute + "/flavors", key: "flavors", wrap: "flavor", can: canShow | canCreate | canErase, names: "name", lookUp: inAll,
	columns: []column{{title: "NAME", path: "name"}, {title: "ID", path: "id"}, {title: "VCPUS", path: "vcpus"}, {title: "MEMORY", path: "ram"}, {title: "DISK", path: "disk"}},
	front:   []string{"name", "id", "vcpus", "ram", "disk"},
	fields: []field{
		{name: "id", usage: "the flavor's `ID`, when it is given from outside"},
		{name: "vcpus", usage: "`number` of processors", kind: integer, must: true},
		{name: "ram", flag: "memory", usage: "memory in `MiB`", kind: integer, must: true},
		{name: "disk", usage: "disk in `GiB`", kind: integer, must: true},
	},
}

// detailed is a resource for its list alone, which Nova has at a path of its own.
func detailed(r *resource) *resource {
	list := *r
	list.path, list.can = r.path+"/detail", canList
	return &list
}

// attachment returns the commands of the second job: networks, ports, instances.
func (a *app) attachment() []*cobra.Command {
	list := a.groups([]*resource{networks, subnets, ports})
	for _, cmd := range list {
		if cmd.Name() == ports.name {
			cmd.AddCommand(a.explaining(ports, "hops", "Show how far a port has come, hop by hop, from its claim to its representor", []column{
				{title: "HOP", path: "name"}, {title: "OK", path: "ok", paint: painted}, {title: "WHAT", path: "text"},
			}))
		}
	}
	sizes := group(flavors.name, "Sizes of instances", append(a.commands(detailed(flavors)), a.commands(flavors)...)...)
	return append(list, a.servers(), sizes, a.hosts(), a.dpus(), a.agents())
}

// catalog returns the resources that stand on their own.
func (a *app) catalog() []*cobra.Command { return a.groups(catalogTable) }

// explaining is a command that asks the API to explain an object.
func (a *app) explaining(r *resource, key, short string, columns []column) *cobra.Command {
	return &cobra.Command{Use: "explain " + r.argument(), Short: short, RunE: a.with(
		func(ctx context.Context, c *client.Client, args []string) error {
			what := "explain " + r.noun() + " " + args[0]
			at, err := a.at(ctx, c, r, args[0])
			if err != nil {
				return cannot(what, err)
			}
			items, err := client.List[json.RawMessage](ctx, c, at+"/explain", key, 0)
			if err != nil {
				return cannot(what, err)
			}
			return a.list(columns, items)
		})}
}
