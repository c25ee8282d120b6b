// Package fake is the hardware types without hardware: "fake-hardware", which does everything in an instant or after set delays, and
// "manual-management", whose machines a person powers.
package fake

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Delay is how long something takes: a time between Min and Max, each equally likely. The zero value is no time.
type Delay struct {
	Min, Max time.Duration
}

// ParseDelay reads a delay as Ironic's [fake] options have it: seconds, "a", or "a,b" for a time between the two. A "b" that is below "a" counts
// as "a".
func ParseDelay(text string) (Delay, error) {
	low, high, two := strings.Cut(text, ",")
	if !two {
		high = low
	}
	var d Delay
	for _, p := range []struct {
		text string
		d    *time.Duration
	}{{low, &d.Min}, {high, &d.Max}} {
		n, err := strconv.ParseFloat(strings.TrimSpace(p.text), 64)
		if err != nil || !(n >= 0 && n < 1e6) {
			return Delay{}, fmt.Errorf(`delay %q must be seconds, "a" or "a,b"`, text)
		}
		*p.d = time.Duration(n * float64(time.Second))
	}
	d.Max = max(d.Min, d.Max)
	return d, nil
}

func (d Delay) pause(ctx context.Context) error {
	wait := d.Min
	if d.Max > d.Min {
		wait += rand.N(d.Max - d.Min) //nolint:gosec // no secret
	}
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Timeout, "the fake machine was given up: %w", context.Cause(ctx))
	}
}

// Options are the delays of each interface. The zero value has none.
type Options struct {
	Delays map[node.Interface]Delay
}

// Driver is the hardware type "fake-hardware". It keeps nothing: the power state of a machine is the one in its node, as in Ironic, so a new
// node has none until the first power request.
type Driver struct {
	options Options
}

// New makes the driver.
func New(o Options) *Driver { return &Driver{o} }

// Name returns "fake-hardware".
func (d *Driver) Name() string { return "fake-hardware" }

// Interfaces lists the implementations of the type, the default first.
func (d *Driver) Interfaces() map[node.Interface][]string {
	return map[node.Interface][]string{
		node.BIOS:       {"fake", "no-bios"},
		node.Boot:       {"fake", "ipxe", "pxe", "http-ipxe", "http"},
		node.Console:    {"fake", "no-console", "fake-graphical"},
		node.Deploy:     {"fake", "autodetect", "direct", "ansible", "ramdisk", "anaconda", "bootc", "custom-agent"},
		node.Firmware:   {"fake", "no-firmware"},
		node.Inspect:    {"fake", "agent", "no-inspect"},
		node.Management: {"fake"},
		node.Network:    {"flat", "neutron", "ironic-networking", "noop"},
		node.Power:      {"fake"},
		node.RAID:       {"fake", "no-raid", "agent"},
		node.Rescue:     {"fake", "no-rescue", "agent"},
		node.Storage:    {"fake", "noop", "cinder", "external"},
		node.Vendor:     {"fake", "no-vendor"},
	}
}

// Properties lists the keys that the type's vendor interface names. Nothing reads them.
func (d *Driver) Properties() []driver.Property {
	return []driver.Property{{Key: "B1", Description: "B1 description. Required."}, {Key: "B2", Description: "B2 description. Required."}}
}

// Validate accepts everything.
func (d *Driver) Validate(node.Object) error { return nil }

// Address returns "": there is no controller.
func (d *Driver) Address(node.Object) string { return "" }

// Open returns a connection to a machine whose power is n's.
func (d *Driver) Open(_ context.Context, n *node.Node) (driver.Conn, error) {
	return &Conn{delays: d.options.Delays, node: n, power: n.Power}, nil
}

// Conn is a connection to a machine that does not exist.
type Conn struct {
	delays map[node.Interface]Delay
	node   *node.Node
	power  node.PowerState
}

var (
	_ driver.Paced      = (*Conn)(nil)
	_ driver.Power      = (*Conn)(nil)
	_ driver.BootDevice = (*Conn)(nil)
	_ driver.Identifier = (*Conn)(nil)
	_ driver.Indicators = (*Conn)(nil)
	_ driver.Sensors    = (*Conn)(nil)
	_ driver.Vendor     = (*Conn)(nil)
)

// Pace is that of a machine without physics: all of the time it takes is in its delays.
func (c *Conn) Pace() driver.Pace {
	const now = time.Millisecond
	return driver.Pace{Poll: now, Rest: now, Off: time.Second, SoftOff: time.Second, On: time.Second, Restart: now, Boot: now, Hint: now}
}

// Close does nothing.
func (c *Conn) Close() error { return nil }

// pause takes the time of an interface.
func (c *Conn) pause(ctx context.Context, kind node.Interface) error {
	return c.delays[kind].pause(ctx)
}

// PowerState returns the node's power state, "" for a node that was never powered.
func (c *Conn) PowerState(context.Context) (node.PowerState, error) { return c.power, nil }

// PowerCommands lists every command.
func (c *Conn) PowerCommands(context.Context) ([]driver.PowerCommand, error) {
	return []driver.PowerCommand{driver.PowerOn, driver.ForceOff, driver.GracefulShutdown, driver.ForceRestart, driver.GracefulRestart,
		driver.PowerCycle}, nil
}

// SendPower changes the power after the power delay.
func (c *Conn) SendPower(ctx context.Context, cmd driver.PowerCommand) error {
	class, to := driver.Relative, node.PowerOn
	switch cmd {
	case driver.PowerOn:
		class = driver.Absolute
	case driver.ForceOff:
		class, to = driver.Absolute, node.PowerOff
	case driver.GracefulShutdown:
		to = node.PowerOff
	case driver.ForceRestart, driver.GracefulRestart, driver.PowerCycle:
	default:
		return fault.New(fault.Unsupported, "the fake machine has no power command %s", cmd)
	}
	if err := driver.Sending(ctx, driver.Command{Class: class, Text: "fake power " + string(cmd)}); err != nil {
		return err
	}
	if err := c.pause(ctx, node.Power); err != nil {
		return err
	}
	c.power = to
	return nil
}

// BootDevices lists pxe.
func (c *Conn) BootDevices(context.Context) ([]string, error) { return []string{"pxe"}, nil }

// BootDevice returns pxe, not persistent, whatever was set.
func (c *Conn) BootDevice(context.Context) (string, bool, error) { return "pxe", false, nil }

// SetBootDevice accepts pxe.
func (c *Conn) SetBootDevice(ctx context.Context, device string, _ bool) error {
	if device != "pxe" {
		return fault.New(fault.Invalid, "Invalid boot device %s specified.", device)
	}
	if err := driver.Sending(ctx, driver.Command{Class: driver.Absolute, Text: "fake boot device " + device}); err != nil {
		return err
	}
	return c.pause(ctx, node.Management)
}

// Identity returns what the node itself holds.
func (c *Conn) Identity(context.Context) (driver.Identity, error) {
	return driver.Identity{SystemUUID: strings.ToLower(c.node.UUID), Model: "fake-hardware", Serial: c.node.Card.Serial,
		PartNumber: c.node.Card.PartNumber}, nil
}

// Indicators lists a lamp of the chassis, which cannot be set, and one of the system.
func (c *Conn) Indicators(context.Context) ([]driver.Indicator, error) {
	states := []string{"off", "on"}
	return []driver.Indicator{
		{Component: "chassis", ID: "led-0", Readonly: true, States: states}, {Component: "system", ID: "led", States: states},
	}, nil
}

// Indicator returns "on" for every lamp.
func (c *Conn) Indicator(context.Context, string, string) (string, error) { return "on", nil }

// SetIndicator accepts a state of the system's lamp.
func (c *Conn) SetIndicator(ctx context.Context, component, id, state string) error {
	switch {
	case component != "system" || id != "led":
		return fault.New(fault.Invalid, "indicator %s of %s cannot be set", id, component)
	case state != "on" && state != "off":
		return fault.New(fault.Invalid, "indicator state %q is not one of on, off", state)
	}
	return driver.Sending(ctx, driver.Command{Class: driver.Absolute, Text: "fake indicator " + state})
}

// Sensors returns none.
func (c *Conn) Sensors(context.Context) ([]driver.Sensor, error) { return nil, nil }
