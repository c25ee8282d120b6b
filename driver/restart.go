package driver

import (
	"context"
	"slices"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// restart tries ways in turn and takes the first that the controller has. ForceOff and GracefulShutdown as a way stand for off, pause, on.
func (c *change) restart(ctx context.Context, ways ...PowerCommand) error {
	state, err := c.steady(ctx)
	if err != nil {
		return err
	}
	before, err := c.bootBefore(ctx)
	if err != nil {
		return err
	}
	if state == node.PowerOff {
		c.note("power is off: a restart is a power on")
		return c.onFrom(ctx, before)
	}
	has, err := c.power.PowerCommands(ctx)
	if err != nil {
		return err
	}
	for i, way := range ways {
		last := i == len(ways)-1
		if !last && len(has) > 0 && !slices.Contains(has, way) {
			c.note("%s does not list %s", c.who, way)
			continue
		}
		if last {
			return c.offAndOn(ctx, way)
		}
		switch sent := c.power.SendPower(ctx, way); {
		case sent == nil:
			c.note("%s accepted", way)
			return c.restarted(ctx, way, before, false)
		case ctx.Err() != nil:
			return c.interrupted(ctx, sent)
		case fault.Is(sent, fault.Timeout):
			c.note("%s: the answer was lost, looking for signs of a restart", way)
			return c.restarted(ctx, way, before, true)
		case fault.Is(sent, fault.Unsupported) || fault.Is(sent, fault.Invalid):
			c.note("%s refused: %v", way, sent)
		default:
			return sent
		}
	}
	return nil
}

func (c *change) offAndOn(ctx context.Context, way PowerCommand) error {
	within := c.pace.Off
	if way == GracefulShutdown {
		within = c.pace.SoftOff
	}
	if err := c.off(ctx, way, within); err != nil {
		return err
	}
	before, err := c.bootState(ctx)
	if err != nil {
		return err
	}
	c.note("resting %s between off and on", c.pace.Rest)
	if err := c.sleep(ctx, c.pace.Rest); err != nil {
		return err
	}
	return c.onFrom(ctx, before)
}

// restarted looks for signs that the restart happened: an off edge, a later reset time, another boot progress.
func (c *change) restarted(ctx context.Context, way PowerCommand, before BootState, lost bool) error {
	sign, err := c.sign(ctx, before)
	if err != nil {
		return err
	}
	switch {
	case sign != "":
		c.note("restart seen: %s", sign)
	case lost:
		return fault.New(fault.Timeout, "%s did not answer %s, and no sign of a restart was seen within %s: it is unknown whether the machine restarted; "+
			"look at its console, then ask again if it did not", c.who, way, c.pace.Restart)
	case tells(before):
		return fault.New(fault.Timeout, "%s accepted %s but neither its reset time nor its boot progress (%s) changed within %s; the machine did not "+
			"restart, or only in part: a power off and power on, or a power cycle by hand, is needed", c.who, way, word(before), c.pace.Restart)
	default:
		c.note("%s offers no sign of a restart (no reset time, no boot progress): its answer is believed", c.who)
		return nil
	}
	ok, err := c.await(ctx, node.PowerOn, c.pace.On)
	if err != nil {
		return err
	}
	if !ok {
		c.note("still off %s after %s", c.pace.On, way)
		if err := c.absolute(ctx, PowerOn, node.PowerOn, c.pace.On); err != nil {
			return err
		}
	}
	return c.life(ctx, BootState{Reports: before.Reports})
}

// tells reports whether a controller with this boot state before a restart would show it afterwards.
func tells(before BootState) bool { return before.Booted || !before.Reset.IsZero() }

// sign polls until the machine shows that it restarted since before, and says how; "" when pace.Restart ran out.
func (c *change) sign(ctx context.Context, before BootState) (string, error) {
	deadline := time.Now().Add(c.pace.Restart)
	if !tells(before) {
		deadline = time.Now().Add(c.pace.Hint)
	}
	offs := 0
	for {
		state, err := c.power.PowerState(ctx)
		if err := c.fatal(ctx, err); err != nil {
			return "", err
		}
		if err == nil && state == node.PowerOff {
			if offs++; offs == 2 {
				return "power off, twice in a row", nil
			}
		} else {
			offs = 0
		}
		now, err := c.bootState(ctx)
		switch {
		case err != nil:
			return "", err
		case !before.Reset.IsZero() && now.Reset.After(before.Reset):
			return "last reset " + now.Reset.UTC().Format(time.RFC3339), nil
		case now.State != "" && (before.Booted && !now.Booted || before.Alive && !now.Alive):
			return "boot progress " + word(before) + " -> " + word(now), nil
		}
		if !time.Now().Before(deadline) {
			return "", nil
		}
		if err := c.sleep(ctx, c.pace.Poll); err != nil {
			return "", err
		}
	}
}
