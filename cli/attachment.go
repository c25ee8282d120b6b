package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

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
	name: "flavor", path: compute + "/flavors", key: "flavors", wrap: "flavor", can: canList | canShow, lookUp: inAll,
	columns: []column{{title: "NAME", path: "name"}, {title: "ID", path: "id"}, {title: "VCPUS", path: "vcpus"}, {title: "MEMORY", path: "ram"}, {title: "DISK", path: "disk"}},
	front:   []string{"name", "id", "vcpus", "ram", "disk"},
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
	detailed := *flavors
	detailed.path, detailed.can = flavors.path+"/detail", canList
	flavor := group("flavor", "Sizes of instances", append(a.commands(&detailed), a.showing(flavors))...)
	return append(list, a.servers(), flavor)
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

var servers = &resource{
	name: "server", path: compute + "/servers", key: "servers", wrap: "server", lookUp: byFilter, can: canShow,
	columns: []column{
		{title: "NAME", path: "name"}, {title: "ID", path: "id"}, {title: "STATUS", path: "status", paint: painted}, {title: "TASK", path: "OS-EXT-STS:task_state"},
		{title: "HOST", path: "OS-EXT-SRV-ATTR:host"},
	},
	front: []string{"name", "id", "status", "OS-EXT-STS:task_state", "fault", "OS-EXT-SRV-ATTR:host"},
}

// servers returns the command "server".
func (a *app) servers() *cobra.Command {
	detailed := *servers
	detailed.path, detailed.can = servers.path+"/detail", canList
	detailed.filters = "name, status, host, and others of the Compute API"
	cmd := group("server", "Instances", a.commands(&detailed)...)
	cmd.AddCommand(a.commands(servers)...)
	cmd.AddCommand(a.createServer(), a.deleteServer(),
		a.act("start", "Start instances", "os-start", nil, "ACTIVE"), a.act("stop", "Stop instances", "os-stop", nil, "SHUTOFF"),
		a.act("reboot", "Restart instances", "reboot", object{"type": "HARD"}, "ACTIVE"),
		a.explaining(servers, "hosts", "Say for each host why it could not be taken, or that it could", []column{
			{title: "HOST", path: "host"}, {title: "REFUSED BY", path: "filter"}, {title: "REASON", path: "reason"}, {title: "DETAILS", path: "details"},
		}))
	return cmd
}

func (a *app) createServer() *cobra.Command {
	cmd := &cobra.Command{Use: "create NAME", Short: "Make an instance"}
	f := cmd.Flags()
	onPorts := f.StringArray("port", nil, "attach this `port`; may be repeated")
	onNetworks := f.StringArray("network", nil, "attach a new port of this `network`; may be repeated")
	flavor := f.String("flavor", "", "`size` of the instance")
	image := f.String("image", "", "`UUID` of the image to boot")
	host := f.String("host", "", "take this `host`, and no other")
	w := waitFlags(cmd)
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		what := "make server " + args[0]
		body := object{"name": args[0], "imageRef": *image}
		nics, err := a.nics(ctx, c, *onPorts, *onNetworks)
		if err != nil {
			return cannot(what, err)
		}
		body["networks"] = nics
		if *flavor == "" {
			return Usagef("--flavor is missing")
		}
		if body["flavorRef"], err = a.resolve(ctx, c, flavors, *flavor); err != nil {
			return cannot(what, err)
		}
		if *host != "" {
			body["host"] = *host
		}
		s, err := c.CreateServer(ctx, body)
		if err != nil {
			return cannot(what, err)
		}
		if w.on {
			wait, cancel := w.context(ctx)
			defer cancel()
			if _, err := c.WaitServer(wait, s.ID, "ACTIVE", nil); err != nil {
				return w.cannot(what, err)
			}
		}
		raw, err := call(ctx, c, servers, http.MethodGet, servers.path+"/"+url.PathEscape(s.ID), nil)
		if err != nil {
			return cannot("show server "+args[0], err)
		}
		return a.show(servers.front, raw)
	})
	return cmd
}

// nics returns what an instance is to be attached to: "none" when that is nothing.
func (a *app) nics(ctx context.Context, c *client.Client, onPorts, onNetworks []string) (any, error) {
	list := []object{}
	for _, ref := range onPorts {
		id, err := a.resolve(ctx, c, ports, ref)
		if err != nil {
			return nil, err
		}
		list = append(list, object{"port": id})
	}
	for _, ref := range onNetworks {
		id, err := a.resolve(ctx, c, networks, ref)
		if err != nil {
			return nil, err
		}
		list = append(list, object{"uuid": id})
	}
	if len(list) == 0 {
		return "none", nil
	}
	return list, nil
}

// onServers is a command that asks the same for several instances, and may wait for all of them.
func (a *app) onServers(name, short string, ask func(ctx context.Context, c *client.Client, id string) error, wait func(ctx context.Context, c *client.Client, id string) (string, error)) *cobra.Command {
	cmd := &cobra.Command{Use: name + " SERVER...", Short: short}
	w := waitFlags(cmd)
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		ctx, cancel := w.context(ctx)
		defer cancel()
		ids := map[string]string{}
		asked := func(ref string) error {
			id, err := a.resolve(ctx, c, servers, ref)
			if err == nil {
				ids[ref] = id
				err = ask(ctx, c, id)
			}
			return cannot(name+" server "+ref, err)
		}
		return a.askThenWait("server", args, *w, asked, func(ref string) error {
			state, err := wait(ctx, c, ids[ref])
			if err == nil {
				a.say("server %s: %s", ref, state)
			}
			return w.cannot(name+" server "+ref, err)
		})
	})
	return cmd
}

func (a *app) deleteServer() *cobra.Command {
	return a.onServers("delete", "Delete instances",
		func(ctx context.Context, c *client.Client, id string) error { return c.DeleteServer(ctx, id) },
		func(ctx context.Context, c *client.Client, id string) (string, error) {
			return "deleted", c.WaitServerGone(ctx, id)
		})
}

// act is a command for an action of the Compute API (POST /servers/{id}/action).
func (a *app) act(name, short, action string, args any, want string) *cobra.Command {
	return a.onServers(name, short,
		func(ctx context.Context, c *client.Client, id string) error {
			return c.Do(ctx, http.MethodPost, servers.path+"/"+url.PathEscape(id)+"/action", object{action: args}, nil)
		},
		func(ctx context.Context, c *client.Client, id string) (string, error) {
			_, err := c.WaitServer(ctx, id, want, nil)
			return want, err
		})
}
