package redfish

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// PowerState reads ComputerSystem.PowerState. On its way a machine still has the state it comes from: PoweringOn is off, PoweringOff and
// Paused are on. It is empty when the controller does not know.
func (c *Conn) PowerState(ctx context.Context) (node.PowerState, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return "", err
	}
	return sys.power(), nil
}

func (s *system) power() node.PowerState {
	switch s.PowerState {
	case "On", "PoweringOff", "Paused":
		return node.PowerOn
	case "Off", "PoweringOn":
		return node.PowerOff
	}
	return ""
}

// PowerCommands lists the reset types that the controller allows, from the action itself or its ActionInfo. ForceOn counts as On.
func (c *Conn) PowerCommands(ctx context.Context) ([]driver.PowerCommand, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return nil, err
	}
	allowed, err := c.allowed(ctx, sys)
	if err != nil {
		return nil, err
	}
	var list []driver.PowerCommand
	for _, cmd := range []driver.PowerCommand{driver.PowerOn, driver.ForceOff, driver.GracefulShutdown, driver.ForceRestart, driver.GracefulRestart,
		driver.PowerCycle} {
		if slices.Contains(allowed, string(cmd)) || cmd == driver.PowerOn && slices.Contains(allowed, "ForceOn") {
			list = append(list, cmd)
		}
	}
	return list, nil
}

// allowed returns the reset types that the controller lists; none when it lists none.
func (c *Conn) allowed(ctx context.Context, sys *system) ([]string, error) {
	reset := sys.Actions.Reset
	if len(reset.Allowable) > 0 || reset.Info == "" {
		return reset.Allowable, nil
	}
	var info struct {
		Parameters []struct {
			Name            string
			AllowableValues words
		}
	}
	if _, err := c.service.read(ctx, reset.Info, &info); err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, nil
		}
		return nil, err
	}
	for _, p := range info.Parameters {
		if p.Name == "ResetType" {
			return p.AllowableValues, nil
		}
	}
	return nil, nil
}

// SendPower sends ComputerSystem.Reset. A type that the controller does not list is fault.Unsupported and not sent.
func (c *Conn) SendPower(ctx context.Context, cmd driver.PowerCommand) error {
	sys, err := c.read(ctx)
	if err != nil {
		return err
	}
	allowed, err := c.allowed(ctx, sys)
	if err != nil {
		return err
	}
	kind := string(cmd)
	if cmd == driver.PowerOn && !slices.Contains(allowed, kind) && slices.Contains(allowed, "ForceOn") {
		kind = "ForceOn"
	}
	if len(allowed) > 0 && !slices.Contains(allowed, kind) {
		return fault.New(fault.Unsupported, "BMC %s has no reset type %s; it has %s", c.Address(), kind, clip(strings.Join(allowed, ", "), 200))
	}
	target := sys.Actions.Reset.Target
	if target == "" {
		target = c.path + "/Actions/ComputerSystem.Reset"
	}
	class := driver.Relative
	if cmd == driver.PowerOn || cmd == driver.ForceOff {
		class = driver.Absolute
	}
	_, err = c.service.send(ctx, driver.Command{Class: class, Text: "ComputerSystem.Reset " + kind},
		request{method: http.MethodPost, path: target, body: object{"ResetType": kind}})
	return err
}

// BootState reads BootProgress and LastResetTime. A machine whose power is off is not alive, whatever its last progress was.
func (c *Conn) BootState(ctx context.Context) (driver.BootState, error) {
	sys, err := c.read(ctx)
	if err != nil {
		return driver.BootState{}, err
	}
	return sys.bootState(), nil
}

func (s *system) bootState() driver.BootState {
	b := driver.BootState{Reset: resetTime(s.LastResetTime)}
	if s.BootProgress == nil {
		return b
	}
	b.State = s.BootProgress.LastState
	if s.BootProgress.OemLastState != "" && (b.State == "OEM" || b.State == "") {
		b.State = s.BootProgress.OemLastState
	}
	b.Reports = s.BootProgress.LastStateTime != "" || s.BootProgress.OemLastState != ""
	switch b.State {
	case "", "None", "Invalid", "LowPowerStandby":
	default:
		b.Alive = s.power() != node.PowerOff
	}
	b.Booted = b.Alive && (b.State == "OSRunning" || b.State == "OsIsRunning")
	return b
}

// resetTime parses LastResetTime. The first day of the epoch and other nonsense stand for a clock that was never set.
func resetTime(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Unix() < 86400 {
		return time.Time{}
	}
	return t
}
