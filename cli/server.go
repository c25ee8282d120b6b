package cli

import (
	"context"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
)

var servers = &resource{
	name: "server", path: compute + "/servers", key: "servers", wrap: "server", lookUp: byPattern, can: canShow,
	columns: []column{
		{title: "NAME", path: "name"}, {title: "ID", path: "id"}, {title: "STATUS", path: "status", paint: painted}, {title: "TASK", path: "OS-EXT-STS:task_state"},
		{title: "HOST", path: "OS-EXT-SRV-ATTR:host"},
	},
	front:   []string{"name", "id", "status", "OS-EXT-STS:task_state", "riser:waits_for", "fault", "OS-EXT-SRV-ATTR:host", "addresses"},
	filters: "name, status, host, and others of the Compute API",
}

// servers returns the command "server".
func (a *app) servers() *cobra.Command {
	cmd := group("server", "Instances", a.commands(detailed(servers))...)
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
			if _, err := c.WaitServer(wait, s.ID, "ACTIVE", a.waitsFor(args[0])); err != nil {
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

// waitsFor tells what a server waits for, whenever that is something else.
func (a *app) waitsFor(name string) func(*client.Server) {
	last := ""
	return func(s *client.Server) {
		if s.Waits != last && s.Waits != "" {
			a.say("server %s: waits for %s", name, s.Waits)
		}
		last = s.Waits
	}
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
