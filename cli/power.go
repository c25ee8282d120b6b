package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/node"
)

// power is "node power on", "off" and "reboot".
func (a *app) power() *cobra.Command {
	return group("power", "Change the power of nodes",
		a.powerTo("on", "Power nodes on. A card that draws its power from its host needs the host on: that is done first.", node.PowerOn, ""),
		a.powerTo("off", "Power nodes off, the cards that draw their power from them first", node.PowerOff, node.SoftPowerOff),
		a.powerTo("reboot", "Restart nodes", node.Rebooting, node.SoftRebooting))
}

func (a *app) powerTo(name, short string, hard, soft node.PowerState) *cobra.Command {
	cmd := &cobra.Command{Use: name + " NODE...", Short: short}
	f := cmd.Flags()
	timeout := f.Duration("timeout", 0, "how `long` the change may take; at least 1s")
	softly := new(bool)
	if soft != "" {
		f.BoolVar(softly, "soft", false, "ask the operating system to do it")
	}
	w := waitFlags(cmd)
	cmd.RunE = a.with(func(ctx context.Context, c *client.Client, args []string) error {
		p := client.Power{Target: hard, Timeout: *timeout}
		if *softly {
			p.Target = soft
		}
		if *timeout != 0 && *timeout < time.Second {
			return Usagef("--timeout %s must be 1s or more", *timeout)
		}
		ctx, cancel := w.context(ctx)
		defer cancel()
		asked := func(ref string) error { return cannot("power "+name+" node "+ref, c.SetPower(ctx, ref, p)) }
		return a.askThenWait("node", args, *w, asked, func(ref string) error {
			n, err := c.WaitPower(ctx, ref, p.Target)
			if err == nil {
				a.say("node %s: %s", ref, n.Power)
			}
			return w.cannot("power "+name+" node "+ref, err)
		})
	})
	return cmd
}

// askThenWait asks the same for all objects of a kind, so that they go on side by side, and then waits for each that did not refuse, if w says so.
func (a *app) askThenWait(kind string, refs []string, w waiting, ask, wait func(ref string) error) error {
	var taken []string
	refused := each(refs, func(ref string) error {
		err := ask(ref)
		if err == nil {
			taken = append(taken, ref)
		}
		return err
	})
	return joined(refused, each(taken, func(ref string) error {
		if w.on {
			return wait(ref)
		}
		a.say("%s %s: accepted", kind, ref)
		return nil
	}))
}
