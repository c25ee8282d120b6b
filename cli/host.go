package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
)

// The operators' part of the agents' API: hosts and DPUs as their agents report them, and the agents themselves.

const (
	services   = compute + "/os-services"
	agents     = "/agents/v1"
	hostsPath  = agents + "/hosts"
	dpusPath   = agents + "/dpus"
	tokensPath = agents + "/tokens"
)

var hosts = &resource{
	name: "host", path: hostsPath, key: "hosts", can: canList | canErase, filters: "name",
	columns: []column{
		{title: "HOST", path: "name"}, {title: "ALIVE", path: "alive", paint: painted}, {title: "VIRT", path: "virt.driver"},
		{title: "CARDS", path: "cards", show: serials}, {title: "SEEN (UTC)", path: "reported_at", show: moment},
		{title: "DISABLED FOR", path: "disabled_reason"}, {title: "REFUSED FOR", path: "refused"},
	},
}

// serials names the cards of a host.
func serials(v any) string {
	list, _ := v.([]any)
	var names []any
	for _, e := range list {
		card, _ := e.(object)
		name := brief(card["serial"])
		if name == "-" {
			name = brief(card["slot"])
		}
		names = append(names, name)
	}
	return brief(names)
}

// hosts returns the command "host".
func (a *app) hosts() *cobra.Command {
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
	cmd := group("host", "Hypervisors, as their agents report them", a.commands(hosts)...)
	cmd.AddCommand(a.showHost(), a.devices(), disable, enable, a.approve("host", hostsPath), a.revoke("host", hostsPath))
	return cmd
}

// eachHost puts the same to the compute service of each host.
func (a *app) eachHost(ctx context.Context, c *client.Client, names []string, what string, body object) error {
	return each(names, func(host string) error {
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

// host returns a host with its cards.
func host(ctx context.Context, c *client.Client, name string) (json.RawMessage, error) {
	var raw json.RawMessage
	return raw, c.Do(ctx, http.MethodGet, hostsPath+"/"+url.PathEscape(name), nil, &raw)
}

func (a *app) showHost() *cobra.Command {
	return &cobra.Command{Use: "show HOST", Short: "Show a host", RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
		raw, err := host(ctx, c, args[0])
		if err != nil {
			return cannot("show host "+args[0], err)
		}
		o, err := a.shown(raw)
		if err != nil || o == nil {
			return err
		}
		o["cards"] = serials(o["cards"])
		a.fields(o, keys(o))
		return nil
	})}
}

// devices explains each function of a host: which device spec matched it, or why none did.
func (a *app) devices() *cobra.Command {
	return &cobra.Command{
		Use: "devices HOST", Short: "Show the functions of a host's cards, and why each may be used or not",
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			raw, err := host(ctx, c, args[0])
			if err != nil {
				return cannot("show the devices of host "+args[0], err)
			}
			var h struct{ Cards json.RawMessage }
			if err := json.Unmarshal(raw, &h); err != nil {
				return fmt.Errorf("the answer is not the JSON that was expected: %w", err)
			}
			if format, err := a.format(); err != nil || format != "table" {
				return a.data(format, h.Cards)
			}
			o, err := readObject(raw)
			if err != nil {
				return err
			}
			cards, _ := o["cards"].([]any)
			a.table([]string{"CARD", "PF", "NETDEV", "VFS", "CLAIMED", "NETWORK", "REMOTE", "REMARK"}, a.functions(cards))
			return nil
		}),
	}
}

// functions returns a row for each PF of the cards, and one for a card without any.
func (a *app) functions(cards []any) [][]string {
	var rows [][]string
	for _, e := range cards {
		card, _ := e.(object)
		name := serials([]any{card})
		remark := remarks(card["refused"], card["problem"])
		pfs, _ := card["pfs"].([]any)
		if len(pfs) == 0 {
			rows = append(rows, []string{printable(name, false), printable(brief(card["slot"]), false), "-", "-", "-", "-", "-", printable(brief(remark), false)})
		}
		for _, e := range pfs {
			pf, _ := e.(object)
			row := []string{printable(name, false)}
			for _, c := range []column{
				{path: "address"}, {path: "netdev"}, {path: "vfs"}, {path: "claimed"}, {path: "physical_network"}, {path: "remote_managed"},
			} {
				row = append(row, a.cell(c, pf))
			}
			rows = append(rows, append(row, printable(brief(remarks(remark, pf["reason"])), false)))
		}
	}
	return rows
}

// remarks joins the texts that are not empty.
func remarks(list ...any) string {
	var texts []string
	for _, v := range list {
		if text, _ := v.(string); text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "; ")
}

var dpus = &resource{
	name: "dpu", one: "DPU", path: dpusPath, key: "dpus", can: canList,
	columns: []column{
		{title: "SERIAL", path: "serial"}, {title: "CHASSIS", path: "chassis"}, {title: "ALIVE", path: "alive", paint: painted}, {title: "NODE", path: "node_uuid"},
		{title: "ORDERS", path: "orders"}, {title: "SEEN (UTC)", path: "reported_at", show: moment}, {title: "PROBLEMS", path: "problems"},
		{title: "REFUSED FOR", path: "refused"},
	},
}

// dpus returns the command "dpu": what the agents on the cards report. As machines the cards are nodes.
func (a *app) dpus() *cobra.Command {
	show := &cobra.Command{Use: "show SERIAL", Short: "Show what the agent on a card reports", RunE: a.with(
		func(ctx context.Context, c *client.Client, args []string) error {
			list, err := client.List[json.RawMessage](ctx, c, dpusPath+"/"+url.PathEscape(args[0]), "dpus", 0)
			if err != nil {
				return cannot("show DPU "+args[0], err)
			}
			if format, err := a.format(); err != nil || format != "table" {
				return a.list(nil, list)
			}
			for i, raw := range list { // a serial that several report is shown as often
				if i > 0 {
					a.say("")
				}
				if err := a.show([]string{"serial", "system", "chassis", "alive", "refused", "node_uuid"}, raw); err != nil {
					return err
				}
			}
			return nil
		})}
	reset := &cobra.Command{
		Use: "reset SERIAL...", Short: "Tell riser that cards were reset: nothing is plugged on them any more",
		RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
			return each(args, func(serial string) error {
				err := c.Do(ctx, http.MethodPost, dpusPath+"/"+url.PathEscape(serial)+"/reset", nil, nil)
				if err == nil {
					a.say("DPU %s: its ports will be plugged anew", serial)
				}
				return cannot("reset what riser knows of DPU "+serial, err)
			})
		}),
	}
	approve := a.approve("dpu", dpusPath)
	cmd := group("dpu", "DPU cards, as their agents report them", a.commands(dpus)...)
	cmd.AddCommand(show, reset, approve, a.revoke("dpu", dpusPath))
	return cmd
}

// approve lets an agent in whose name another one has, or had.
func (a *app) approve(kind, path string) *cobra.Command {
	cmd := &cobra.Command{Use: "approve NAME", Short: "Believe the agent that waits for this, or one of those that contradict each other"}
	key := cmd.Flags().String("key", "", "`beginning` of the hash of the key that waits, where several do: \"riser agent list\" shows them")
	system := new(string)
	if kind == "dpu" {
		cmd.Use = "approve SERIAL"
		cmd.Flags().StringVar(system, "system", "", "believe this `reporter` of a serial that several report: \"riser dpu show\" has them")
	}
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		body := object{}
		if *key != "" {
			body["key"] = *key
		}
		if *system != "" {
			body["system"] = *system
		}
		err := c.Do(ctx, http.MethodPost, path+"/"+url.PathEscape(args[0])+"/approve", body, nil)
		if err == nil {
			a.say("%s %s: approved", kind, args[0])
		}
		return cannot("approve "+kind+" "+args[0], err)
	})
	return cmd
}

// revoke takes an agent's certificates back.
func (a *app) revoke(kind, path string) *cobra.Command {
	cmd := &cobra.Command{Use: "revoke NAME...", Short: "Take the certificates of agents back: they must join anew"}
	if kind == "dpu" {
		cmd.Use = "revoke SERIAL..."
	}
	reason := cmd.Flags().String("reason", "", "`why`, for others")
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		return each(args, func(name string) error {
			err := c.Do(ctx, http.MethodPost, path+"/"+url.PathEscape(name)+"/revoke", object{"reason": *reason}, nil)
			if err == nil {
				a.say("%s %s: revoked", kind, name)
			}
			return cannot("revoke "+kind+" "+name, err)
		})
	})
	return cmd
}
