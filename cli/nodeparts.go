package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
)

// part is a command that shows what the API has at one path below a node.
func (a *app) part(use, short, path, key string, columns []column) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
		what := "show the " + strings.ToLower(strings.TrimPrefix(short, "Show the ")) + " " + args[0]
		if columns == nil {
			var raw json.RawMessage
			if err := c.Do(ctx, http.MethodGet, nodeURL(args[0], path), nil, &raw); err != nil {
				return cannot(what, err)
			}
			return a.showAll(raw)
		}
		items, err := client.List[json.RawMessage](ctx, c, nodeURL(args[0], path), key, 0)
		if err != nil {
			return cannot(what, err)
		}
		return a.list(columns, items)
	})}
}

// told is a command that tells the API something about a node. what is the sentence for people, in which %s is the node.
func (a *app) told(use, short, what string, request func(args []string) (method, path string, body any)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
		method, path, body := request(args)
		if err := c.Do(ctx, method, nodeURL(args[0], path), body, nil); err != nil {
			return cannot(fmt.Sprintf(what, args[0]), err)
		}
		a.say("node %s: done", args[0])
		return nil
	})}
}

func (a *app) history() *cobra.Command {
	return a.part("history NODE", "Show the history of node", "/history?detail=true", "history", []column{
		{title: "TIME (UTC)", path: "created_at", show: moment}, {title: "SEVERITY", path: "severity"}, {title: "STATE", path: "state", paint: painted}, {title: "EVENT", path: "event"},
	})
}

func (a *app) inventory() *cobra.Command {
	return a.part("inventory NODE", "Show the inventory of node", "/inventory", "", nil)
}

// traits is "node traits list", "add", "remove".
func (a *app) traits() *cobra.Command {
	list := &cobra.Command{Use: "list NODE", Short: "List the traits of a node", RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
		traits, err := client.List[json.RawMessage](ctx, c, nodeURL(args[0], "/traits"), "traits", 0)
		if err != nil {
			return cannot("list the traits of node "+args[0], err)
		}
		objects := make([]json.RawMessage, len(traits))
		for i, t := range traits {
			objects[i] = json.RawMessage(`{"trait": ` + string(t) + `}`)
		}
		if format, err := a.format(); err == nil && format != "table" {
			objects = traits
		}
		return a.list([]column{{title: "TRAIT", path: "trait"}}, objects)
	})}
	add := &cobra.Command{Use: "add NODE TRAIT...", Short: "Add traits to a node", RunE: a.with(func(ctx context.Context, c *client.Client, args []string) error {
		return a.eachTrait(ctx, c, http.MethodPut, "add trait %s to node %s", args)
	})}
	remove := &cobra.Command{Use: "remove NODE [TRAIT]...", Short: "Remove traits from a node"}
	all := remove.Flags().Bool("all", false, "remove all of its traits")
	remove.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		switch {
		case *all == (len(args) > 1):
			return Usagef("name the traits to remove, or say --all")
		case *all:
			err := c.Do(ctx, http.MethodDelete, nodeURL(args[0], "/traits"), nil, nil)
			return cannot("remove the traits of node "+args[0], err)
		}
		return a.eachTrait(ctx, c, http.MethodDelete, "remove trait %s from node %s", args)
	})
	return group("traits", "Traits of a node", list, add, remove)
}

// eachTrait does the same to the traits that follow the node in args.
func (a *app) eachTrait(ctx context.Context, c *client.Client, method, what string, args []string) error {
	return each(args[1:], func(trait string) error {
		err := c.Do(ctx, method, nodeURL(args[0], "/traits/"+url.PathEscape(trait)), nil, nil)
		return cannot(fmt.Sprintf(what, trait, args[0]), err)
	})
}

// vifs is "node vif list", "attach", "detach".
func (a *app) vifs() *cobra.Command {
	attach := &cobra.Command{Use: "attach NODE PORT", Short: "Attach a network's port to a node"}
	onPort := attach.Flags().String("port", "", "to the bare-metal port with this `UUID`")
	onGroup := attach.Flags().String("portgroup", "", "to the port group with this `UUID`")
	attach.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		body := object{"id": args[1]}
		switch {
		case *onPort != "" && *onGroup != "":
			return Usagef("--port and --portgroup exclude each other")
		case *onPort != "":
			body["port_uuid"] = *onPort
		case *onGroup != "":
			body["portgroup_uuid"] = *onGroup
		}
		err := c.Do(ctx, http.MethodPost, nodeURL(args[0], "/vifs"), body, nil)
		return cannot("attach port "+args[1]+" to node "+args[0], err)
	})
	return group("vif", "Network ports attached to a node",
		a.part("list NODE", "Show the attached ports of node", "/vifs", "vifs", []column{{title: "PORT", path: "id"}}), attach,
		a.told("detach NODE PORT", "Detach a network's port from a node", "detach the port from node %s", func(args []string) (string, string, any) {
			return http.MethodDelete, "/vifs/" + url.PathEscape(args[1]), nil
		}))
}

// bootDevice is "node boot-device show", "set", "supported".
func (a *app) bootDevice() *cobra.Command {
	var persistent bool
	set := a.told("set NODE DEVICE", "Set what a node boots from", "set the boot device of node %s", func(args []string) (string, string, any) {
		return http.MethodPut, "/management/boot_device", object{"boot_device": args[1], "persistent": persistent}
	})
	set.Flags().BoolVar(&persistent, "persistent", false, "for every boot, not for the next one alone")
	return group("boot-device", "What a node boots from",
		a.part("show NODE", "Show the boot device of node", "/management/boot_device", "", nil), set,
		a.part("supported NODE", "Show the supported boot devices of node", "/management/boot_device/supported", "", nil))
}

// console is "node console show", "enable", "disable".
func (a *app) console() *cobra.Command {
	enable := func(on bool) func([]string) (string, string, any) {
		return func([]string) (string, string, any) { return http.MethodPut, "/states/console", object{"enabled": on} }
	}
	return group("console", "The serial console of a node",
		a.part("show NODE", "Show the console of node", "/states/console", "", nil),
		a.told("enable NODE", "Start the console of a node", "start the console of node %s", enable(true)),
		a.told("disable NODE", "Stop the console of a node", "stop the console of node %s", enable(false)))
}

// operations lists what was done to a node, or shows one operation step by step.
func (a *app) operations() *cobra.Command {
	cmd := &cobra.Command{
		Use: "operations NODE [OPERATION]", Short: "Show what was done on a node, newest first, or one operation step by step",
		Long: "Show what was done on a node, newest first. With the UUID of an operation, or \"last\", show its steps on each machine.",
	}
	limit := cmd.Flags().Int("limit", 20, "list at most this `many`")
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		switch {
		case *limit < 1:
			return Usagef("--limit %d must be 1 or more", *limit)
		case len(args) == 2:
			return cannot("show operation "+args[1]+" on node "+args[0], a.showOperation(ctx, c, args[0], args[1]))
		}
		list, err := client.List[json.RawMessage](ctx, c, nodeURL(args[0], "/operations"), "operations", *limit)
		if err != nil {
			return cannot("list the operations on node "+args[0], err)
		}
		return a.listOperations(list)
	})
	return cmd
}

// showOperation shows the operation with a UUID, or the last.
func (a *app) showOperation(ctx context.Context, c *client.Client, ref, which string) error {
	if which == "last" {
		list, err := c.Operations(ctx, ref, 1)
		switch {
		case err != nil:
			return err
		case len(list) == 0:
			return errors.New("nothing was done on it so far")
		}
		which = list[0].UUID
	}
	var raw json.RawMessage
	if err := c.Do(ctx, http.MethodGet, nodeURL(ref, "/operations/"+url.PathEscape(which)), nil, &raw); err != nil {
		return err
	}
	if format, err := a.format(); err != nil || format != "table" {
		return a.data(format, raw)
	}
	var op client.Operation
	if err := json.Unmarshal(raw, &op); err != nil {
		return fmt.Errorf("the answer is not the JSON that was expected: %w", err)
	}
	a.operation(&op)
	return nil
}

func (a *app) listOperations(list []json.RawMessage) error {
	if format, err := a.format(); err == nil && format != "table" {
		return a.list(nil, list)
	}
	var rows [][]string
	for _, raw := range list {
		var op client.Operation
		if err := json.Unmarshal(raw, &op); err != nil {
			return fmt.Errorf("the answer is not the JSON that was expected: %w", err)
		}
		rows = append(rows, []string{
			op.UUID, printable(op.Kind, false), a.state(op.State), op.CreatedAt.UTC().Format(time.DateTime), duration(op.Took()),
			printable(brief(short(op.Error)), false),
		})
	}
	a.table([]string{"OPERATION", "KIND", "STATE", "ASKED (UTC)", "TOOK", "ERROR"}, rows)
	return nil
}

// operation writes the steps of an operation.
func (a *app) operation(op *client.Operation) {
	a.say("%s %s: %s", op.Kind, op.UUID, op.State)
	if op.Error != "" {
		a.say("%s", op.Error)
	}
	var rows [][]string
	for i := range op.Steps {
		s := &op.Steps[i]
		remark := s.Error
		if remark == "" {
			remark = strings.Join(s.Evidence, "; ")
		}
		rows = append(rows, []string{
			fmt.Sprint(s.Seq + 1), printable(s.Label(), false), printable(s.Name(), false), a.state(s.State), fmt.Sprint(s.Attempt), duration(s.Took()),
			printable(brief(remark), false),
		})
	}
	a.table([]string{"STEP", "NODE", "RUNS", "STATE", "ATTEMPT", "TOOK", "REMARK"}, rows)
}

// short cuts a text that the object itself shows whole.
func short(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// moment writes a time of the API to the second, in UTC. Nova leaves out the zone, which is UTC.
func moment(v any) string {
	text, _ := v.(string)
	for _, form := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC().Format(time.DateTime)
		}
	}
	return brief(v)
}
