package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/node"
)

// verb is a command for a provision verb.
type verb struct {
	name   string
	short  string
	target string     // of the API
	want   node.State // where the node comes to rest when all went well; empty for any
	takes  parts      // flags beyond those of all verbs
}

// parts of a request that a verb may have.
type parts uint8

const (
	takesSteps parts = 1 << iota // --step and its like, --runbook
	takesDeploySteps
	takesConfigDrive
	takesPassword
)

// verbTable lists the verbs in the order of the help.
var verbTable = []verb{
	{name: "manage", short: "Verify that nodes can be managed, or take them out of use", target: "manage", want: node.Manageable},
	{name: "inspect", short: "Find out what hardware nodes have", target: "inspect", want: node.Manageable},
	{name: "clean", short: "Run steps on nodes that are not in use, and on their DPUs", target: "clean", want: node.Manageable, takes: takesSteps},
	{name: "provide", short: "Clean nodes, and make them available", target: "provide", want: node.Available},
	{name: "deploy", short: "Put available nodes into use", target: "active", want: node.Active, takes: takesDeploySteps | takesConfigDrive},
	{name: "adopt", short: "Take nodes over that are in use already", target: "adopt", want: node.Active},
	{name: "service", short: "Run steps on nodes in use, and on their DPUs", target: "service", want: node.Active, takes: takesSteps},
	{name: "rebuild", short: "Deploy nodes again", target: "rebuild", want: node.Active, takes: takesDeploySteps | takesConfigDrive},
	{name: "rescue", short: "Start the rescue system of nodes", target: "rescue", want: node.RescueState, takes: takesPassword},
	{name: "unrescue", short: "Leave the rescue system", target: "unrescue", want: node.Active},
	{name: "undeploy", short: "Take nodes out of use, and clean them", target: "deleted", want: node.Available},
	{name: "abort", short: "Stop what nodes wait for", target: "abort"},
	{name: "unhold", short: "Let nodes that were told to hold go on", target: "unhold"},
}

func (a *app) verbs() []*cobra.Command {
	list := make([]*cobra.Command, len(verbTable))
	for i, v := range verbTable {
		list[i] = a.verb(v)
	}
	return list
}

// request is the flags of a verb.
type request struct {
	verb     verb
	steps    stepFlags
	drive    string
	password string
	p        client.Provision
	dry      bool
	wait     *waiting
}

func (a *app) verb(v verb) *cobra.Command {
	cmd := &cobra.Command{Use: v.name + " NODE...", Short: v.short}
	r := &request{verb: v, p: client.Provision{Target: v.target}}
	f := cmd.Flags()
	if v.takes&(takesSteps|takesDeploySteps) != 0 {
		r.steps.register(f)
	}
	if v.takes&takesSteps != 0 {
		cmd.Long = v.short + ". The steps run in their order; one that runs on child nodes runs on all of them side by side."
		cmd.Example = "  riser node " + v.name + " host-1 --step power.power_on --children \\\n" +
			"    --step management.set_boot_device --only dpu-1 --arg device=pxe --wait"
		f.StringVar(&r.p.Runbook, "runbook", "", "run the steps of this `runbook`")
		f.BoolVar(&r.p.DisableRamdisk, "disable-ramdisk", false, "run the steps without the node's agent")
	}
	if v.takes&takesConfigDrive != 0 {
		f.StringVar(&r.drive, "config-drive", "", "`file` with the config drive, or -: JSON or YAML with meta_data, user_data ..., or an image in Base64")
	}
	if v.takes&takesPassword != 0 {
		f.StringVar(&r.password, "rescue-password", "", "`file` with the password of the rescue system's user, or -")
	}
	f.BoolVar(&r.dry, "dry-run", false, "show what would be done, step by step, and do nothing")
	r.wait = waitFlags(cmd)
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		if err := a.fill(r); err != nil {
			return err
		}
		if r.dry {
			return each(args, func(ref string) error { return a.plan(ctx, c, ref, r) })
		}
		ctx, cancel := r.wait.context(ctx)
		defer cancel()
		followers := map[string]*follower{}
		ask := func(ref string) error {
			followers[ref] = a.follower(ctx, c, ref, r.wait.on)
			return cannot(v.name+" node "+ref, c.SetProvision(ctx, ref, r.p))
		}
		return a.askThenWait("node", args, *r.wait, ask, func(ref string) error {
			return r.wait.cannot(v.name+" node "+ref, followers[ref].wait(ctx, v.want))
		})
	})
	return cmd
}

// fill completes the body of the request from the flags.
func (a *app) fill(r *request) error {
	var need []string
	if r.verb.takes&takesDeploySteps != 0 {
		need = []string{"args", "priority"}
	}
	var err error
	if r.p.Steps, err = r.steps.read(a, need...); err != nil {
		return err
	}
	switch {
	case r.verb.takes&takesSteps == 0:
	case r.p.Runbook != "" && len(r.p.Steps) > 0:
		return Usagef("--runbook brings its own steps: leave out the others")
	case r.p.Runbook == "" && len(r.p.Steps) == 0:
		return Usagef("say which steps to run, by --step, --steps or --runbook")
	}
	if r.drive != "" {
		if r.p.ConfigDrive, err = a.configDrive(r.drive); err != nil {
			return err
		}
	}
	if r.verb.takes&takesPassword == 0 {
		return nil
	}
	if r.password == "" {
		return Usagef("--rescue-password is missing")
	}
	b, err := a.read(r.password)
	r.p.RescuePassword = strings.TrimRight(string(b), "\r\n")
	return err
}

// configDrive reads a config drive: an object, or else the text of an image.
func (a *app) configDrive(name string) (any, error) {
	b, err := a.read(name)
	if err != nil {
		return nil, err
	}
	raw, err := readYAML(strings.NewReader(string(b)))
	var o map[string]any
	if err == nil && json.Unmarshal(raw, &o) == nil && o != nil {
		return o, nil
	}
	return strings.TrimSpace(string(b)), nil
}

// plan shows what the verb would do.
func (a *app) plan(ctx context.Context, c *client.Client, ref string, r *request) error {
	plan, err := c.PlanProvision(ctx, ref, r.p)
	if err != nil {
		return cannot("plan to "+r.verb.name+" node "+ref, err)
	}
	if format, err := a.format(); err != nil || format != "table" {
		raw, err := json.Marshal(plan)
		if err != nil {
			return err
		}
		return a.data(format, raw)
	}
	var rows [][]string
	for _, s := range plan.Steps {
		label := s.Name
		if label == "" {
			label = s.Node
		}
		what := strings.Join(s.Commands, "; ")
		if s.Skipped != "" {
			what = "skipped: " + s.Skipped
		}
		rows = append(rows, []string{
			fmt.Sprint(s.Seq + 1), printable(label, false), printable(string(s.Interface)+"."+s.Step, false), printable(brief(s.Args), false),
			printable(brief(what), false),
		})
	}
	a.table([]string{"STEP", "NODE", "RUNS", "ARGUMENTS", "SENDS"}, rows)
	return nil
}
