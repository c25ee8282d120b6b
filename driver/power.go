package driver

import (
	"context"
	"fmt"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Pace is how patient ChangePower is with a machine. A zero duration stands for the default.
type Pace struct {
	Poll    time.Duration // between two looks at the machine; 1 s
	Rest    time.Duration // between Off seen and On sent, and before a refused command is repeated; 10 s
	Off     time.Duration // from ForceOff until Off is seen; 60 s
	SoftOff time.Duration // from GracefulShutdown until Off is seen; 10 min
	On      time.Duration // from On until On is seen; 60 s
	Restart time.Duration // from a restart until its first sign; 2 min
	Boot    time.Duration // from On until the first sign of life, of a machine that reports each boot; 5 min
	Hint    time.Duration // the same of a machine that may not report it; 10 s
}

func (p Pace) withDefaults() Pace {
	for _, d := range []struct {
		v    *time.Duration
		want time.Duration
	}{
		{&p.Poll, time.Second}, {&p.Rest, 10 * time.Second}, {&p.Off, time.Minute}, {&p.SoftOff, 10 * time.Minute}, {&p.On, time.Minute},
		{&p.Restart, 2 * time.Minute}, {&p.Boot, 5 * time.Minute}, {&p.Hint, 10 * time.Second},
	} {
		if *d.v == 0 {
			*d.v = d.want
		}
	}
	return p
}

// Paced is a connection to a machine that needs less patience than others: ChangePower's caller uses its pace in place of its own.
type Paced interface {
	Pace() Pace
}

// Evidence is what was sent and seen while power changed, a line each, for the operator.
type Evidence []string

// ChangePower brings the machine behind p to target, which may be any power target, and believes only what it has seen:
//
//   - a state counts when it was read twice in a row, so a controller that flaps is waited for;
//   - a target that is already there sends nothing;
//   - On is sent only after Off was seen and a pause, and is done when the machine shows life, if boot can tell;
//   - a restart is GracefulRestart or ForceRestart, else PowerCycle, else ForceOff and On; it is sent once, and a restart without a sign is
//     told, not repeated.
//
// boot may be nil. A lost answer to an absolute command is settled by looking, and the command repeated when nothing happened. The error is
// fault.Timeout when the change was not seen; its text says what was sent and what the controller still reports. The evidence is good with an
// error too. When ctx ends, the error wraps its cause.
func ChangePower(ctx context.Context, p Power, boot Boot, target node.PowerState, pace Pace) (Evidence, error) {
	c := &change{power: p, boot: boot, pace: pace.withDefaults(), who: "the controller"}
	if a, ok := p.(Addressed); ok && a.Address() != "" {
		c.who = "BMC " + a.Address()
	}
	var err error
	switch target {
	case node.PowerOn:
		err = c.on(ctx)
	case node.PowerOff:
		err = c.off(ctx, ForceOff, c.pace.Off)
	case node.SoftPowerOff:
		err = c.off(ctx, GracefulShutdown, c.pace.SoftOff)
	case node.Rebooting:
		err = c.restart(ctx, ForceRestart, PowerCycle, ForceOff)
	case node.SoftRebooting:
		err = c.restart(ctx, GracefulRestart, GracefulShutdown)
	default:
		err = fault.New(fault.Invalid, "power target %q is not one of power on, power off, rebooting, soft power off, soft rebooting", target)
	}
	return c.seen, err
}

// change is one power change on its way.
type change struct {
	power Power
	boot  Boot
	pace  Pace
	who   string
	seen  Evidence
	last  node.PowerState // the last reading that was not the state waited for
}

func (c *change) note(format string, args ...any) {
	c.seen = append(c.seen, fmt.Sprintf(format, args...))
}

func (c *change) on(ctx context.Context) error {
	state, err := c.steady(ctx)
	if err != nil {
		return err
	}
	before, err := c.bootState(ctx)
	if err != nil {
		return err
	}
	if state == node.PowerOn {
		c.note("power is on already, nothing sent")
		if before.Alive || !before.Reports {
			return nil
		}
		return c.life(ctx, before)
	}
	return c.onFrom(ctx, before)
}

// onFrom sends On to a machine that was seen off and waits for the power and for a sign of life. before is the boot state while it was off.
func (c *change) onFrom(ctx context.Context, before BootState) error {
	if err := c.absolute(ctx, PowerOn, node.PowerOn, c.pace.On); err != nil {
		return err
	}
	return c.life(ctx, before)
}

func (c *change) off(ctx context.Context, cmd PowerCommand, within time.Duration) error {
	state, err := c.steady(ctx)
	if err != nil {
		return err
	}
	if state == node.PowerOff {
		c.note("power is off already, nothing sent")
		return nil
	}
	if cmd == ForceOff {
		return c.absolute(ctx, cmd, node.PowerOff, within)
	}
	return c.shutdown(ctx, within)
}

// absolute sends cmd until want is seen: once when it is accepted, and again when it was refused for the moment or its answer was lost and
// nothing happened.
func (c *change) absolute(ctx context.Context, cmd PowerCommand, want node.PowerState, within time.Duration) error {
	const tries = 3
	for try := 1; ; try++ {
		start := time.Now()
		sent := c.power.SendPower(ctx, cmd)
		wait := within
		switch kind := fault.KindOf(sent); {
		case sent == nil:
			c.note("%s accepted", cmd)
		case ctx.Err() != nil:
			return c.interrupted(ctx, sent)
		case kind == fault.Timeout:
			c.note("%s: the answer was lost, looking what happened", cmd)
		case kind == fault.Conflict || kind == fault.Locked || kind == fault.Unavailable || kind == fault.Invalid:
			c.note("%s refused: %v", cmd, sent)
			wait = c.pace.Rest
		default:
			return sent
		}
		ok, err := c.await(ctx, want, wait)
		if err != nil {
			return err
		}
		if ok {
			c.note("%s seen after %s", want, time.Since(start).Round(10*time.Millisecond))
			return nil
		}
		if sent == nil {
			return c.ignored(cmd, within)
		}
		if try == tries || fault.Is(sent, fault.Invalid) {
			return sent
		}
	}
}

func (c *change) ignored(cmd PowerCommand, within time.Duration) error {
	still := string(c.last)
	if still == "" {
		still = "no power state"
	}
	return fault.New(fault.Timeout, "%s accepted %s but still reports %s after %s; look at the machine's own power lamp and its controller's log, "+
		"reset the controller if the two disagree, then try again", c.who, cmd, still, within)
}

// shutdown asks the operating system to end. The command is relative: it is not repeated.
func (c *change) shutdown(ctx context.Context, within time.Duration) error {
	start := time.Now()
	err := c.power.SendPower(ctx, GracefulShutdown)
	switch {
	case err == nil:
		c.note("%s accepted", GracefulShutdown)
	case fault.Is(err, fault.Timeout) && ctx.Err() == nil:
		c.note("%s: the answer was lost, looking what happened", GracefulShutdown)
	default:
		return c.interrupted(ctx, err)
	}
	ok, err := c.await(ctx, node.PowerOff, within)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Timeout, "%s was asked for a soft power off, but the machine is still on after %s; its system may ignore the request: "+
			"use \"power off\" to cut the power", c.who, within)
	}
	c.note("%s seen after %s", node.PowerOff, time.Since(start).Round(10*time.Millisecond))
	return nil
}
