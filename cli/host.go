package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
)

const services = compute + "/os-services"

// hosts returns the command "host": the hypervisors as their agents report them.
func (a *app) hosts() *cobra.Command {
	list := &resource{
		name: "host", path: services, key: "services", can: canList, filters: "host",
		columns: []column{
			{title: "HOST", path: "host"}, {title: "STATE", path: "state", paint: painted}, {title: "STATUS", path: "status"},
			{title: "SEEN (UTC)", path: "updated_at", show: moment}, {title: "DISABLED FOR", path: "disabled_reason"}, {title: "REFUSED FOR", path: "riser:refused"},
		},
	}
	one := &resource{
		name: "host", path: compute + "/os-hypervisors", key: "hypervisors", wrap: "hypervisor", can: canShow,
		front: []string{"hypervisor_hostname", "id", "state", "status", "hypervisor_type"},
	}
	disable := &cobra.Command{Use: "disable HOST...", Short: "Place no more instances on hosts"}
	reason := disable.Flags().String("reason", "", "`why`, for others")
	disable.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		body := object{"status": "disabled"}
		if *reason != "" {
			body["disabled_reason"] = *reason
		}
		return a.eachHost(ctx, c, args, "disable", body)
	})
	enable := &cobra.Command{Use: "enable HOST...", Short: "Place instances on hosts again", RunE: a.with(
		func(ctx context.Context, c *client.Client, args []string) error {
			return a.eachHost(ctx, c, args, "enable", object{"status": "enabled"})
		})}
	cmd := group("host", "Hypervisors", a.commands(list)...)
	cmd.AddCommand(a.commands(one)...)
	cmd.AddCommand(disable, enable)
	return cmd
}

// eachHost puts the same to the service of each host.
func (a *app) eachHost(ctx context.Context, c *client.Client, hosts []string, what string, body object) error {
	return each(hosts, func(host string) error {
		list, err := client.List[struct{ ID any }](ctx, c, services+suffix(url.Values{"host": {host}}), "services", 0)
		switch {
		case err != nil:
			return cannot(what+" host "+host, err)
		case len(list) == 0:
			return fmt.Errorf("cannot %s host %s: there is none with that name: \"riser host list\" shows what there is", what, host)
		}
		if err := c.Do(ctx, http.MethodPut, services+"/"+url.PathEscape(fmt.Sprint(list[0].ID)), body, nil); err != nil {
			return cannot(what+" host "+host, err)
		}
		a.say("host %s: %sd", host, what)
		return nil
	})
}

// dpus returns the command "dpu": the child nodes, by the cards that they stand for.
func (a *app) dpus() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the DPU cards of all servers", RunE: a.with(func(ctx context.Context, c *client.Client, _ []string) error {
		query := url.Values{"include_children": {"true"}, "fields": {"uuid,name,power_state,provision_state,parent_node,properties,maintenance"}}
		all, err := client.List[json.RawMessage](ctx, c, "/v1/nodes"+suffix(query), "nodes", 0)
		if err != nil {
			return cannot("list DPUs", err)
		}
		names := map[string]string{}
		cards := []json.RawMessage{}
		for _, raw := range all {
			var n client.Node
			if err := json.Unmarshal(raw, &n); err != nil {
				return fmt.Errorf("the answer is not the JSON that was expected: %w", err)
			}
			names[n.UUID] = n.Label()
			if n.Parent != "" {
				cards = append(cards, raw)
			}
		}
		return a.list([]column{
			{title: "NAME", path: "name"}, {title: "SERVER", path: "parent_node", show: func(v any) string {
				if name := names[brief(v)]; name != "" {
					return name
				}
				return brief(v)
			}},
			{title: "SERIAL", path: "properties.card_serial_number"}, {title: "PART", path: "properties.part_number"}, {title: "CHASSIS", path: "properties.chassis_name"},
			{title: "POWER", path: "power_state", paint: painted}, {title: "PROVISION", path: "provision_state", paint: painted},
		}, cards)
	})}
	card := *machine
	card.one = "DPU"
	return group("dpu", "DPU cards: the child nodes of servers", list, a.showing(&card))
}
