package ipmi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/bougou/go-ipmi/pkg/client"
	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Conn is a connection to one machine.
type Conn struct {
	driver  *Driver
	session *session
	uefi    bool // the node boots by UEFI
	once    sync.Once
}

var (
	_ driver.Addressed  = (*Conn)(nil)
	_ driver.Power      = (*Conn)(nil)
	_ driver.BootDevice = (*Conn)(nil)
	_ driver.Identifier = (*Conn)(nil)
	_ driver.Raw        = (*Conn)(nil)
	_ driver.NMI        = (*Conn)(nil)
	_ driver.Sensors    = (*Conn)(nil)
	_ driver.Vendor     = (*Conn)(nil)
)

// Close gives the session back.
func (c *Conn) Close() error {
	c.once.Do(func() { c.driver.leave(c.session) })
	return nil
}

// Address returns "ipmi://host:port".
func (c *Conn) Address() string { return c.session.set.address() }

// Network functions and commands (IPMI 2.0, appendix G).
const (
	chassis = 0x00
	app     = 0x06

	chassisStatus  = 0x01
	chassisControl = 0x02
	setBoot        = 0x08
	getBoot        = 0x09
	coldReset      = 0x02
	warmReset      = 0x03
	systemGUID     = 0x37
)

// ask reads by a raw command.
func (c *Conn) ask(ctx context.Context, what string, netFn, command byte, data ...byte) ([]byte, error) {
	var answer []byte
	err := c.session.read(ctx, what, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.RawCommand(ctx, types.NetFn(netFn), command, data, what)
		if err == nil {
			answer = r.Response
		}
		return err
	})
	return answer, err
}

// PowerState reads the chassis status (section 28.2).
func (c *Conn) PowerState(ctx context.Context) (node.PowerState, error) {
	status, err := c.ask(ctx, "chassis status", chassis, chassisStatus)
	switch {
	case err != nil:
		return "", err
	case len(status) < 3:
		return "", nil
	case status[0]&1 == 1:
		return node.PowerOn, nil
	}
	return node.PowerOff, nil
}

// controls are the chassis controls (table 28-4).
var controls = map[driver.PowerCommand]byte{
	driver.ForceOff: 0, driver.PowerOn: 1, driver.PowerCycle: 2, driver.ForceRestart: 3, driver.GracefulShutdown: 5,
}

// PowerCommands lists what chassis control has. A controller does not say which of them it carries out.
func (c *Conn) PowerCommands(context.Context) ([]driver.PowerCommand, error) {
	return []driver.PowerCommand{driver.PowerOn, driver.ForceOff, driver.GracefulShutdown, driver.ForceRestart, driver.PowerCycle}, nil
}

// SendPower sends chassis control (section 28.3).
func (c *Conn) SendPower(ctx context.Context, cmd driver.PowerCommand) error {
	control, ok := controls[cmd]
	if !ok {
		return fault.New(fault.Unsupported, "BMC %s: IPMI has no %s", c.Address(), cmd)
	}
	class := driver.Relative
	if cmd == driver.PowerOn || cmd == driver.ForceOff {
		class = driver.Absolute
	}
	_, err := c.session.send(ctx, driver.Command{Class: class, Text: "chassis control " + string(cmd)}, chassis, chassisControl, []byte{control})
	return err
}

// InjectNMI sends chassis control "pulse diagnostic interrupt".
func (c *Conn) InjectNMI(ctx context.Context) error {
	_, err := c.session.send(ctx, driver.Command{Class: driver.Relative, Text: "chassis control diagnostic interrupt"}, chassis, chassisControl, []byte{4})
	return err
}

// devices pairs the API's words with device selectors of the boot flags (table 28-14).
var devices = []struct {
	name     string
	selector byte
}{{"pxe", 1}, {"disk", 2}, {"cdrom", 5}, {"bios", 6}, {"safe", 3}}

// BootDevices lists the devices that IPMI has.
func (c *Conn) BootDevices(context.Context) ([]string, error) {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = d.name
	}
	return names, nil
}

const (
	flagValid      = 0x80
	flagPersistent = 0x40
	flagEFI        = 0x20
)

// bootFlags reads the boot flags (parameter 5 of section 28.13): the first byte of flags, and the device, "" for one that is not known.
func (c *Conn) bootFlags(ctx context.Context) (flags byte, device string, err error) {
	answer, err := c.ask(ctx, "boot flags", chassis, getBoot, 5, 0, 0)
	if err != nil || len(answer) < 4 {
		return 0, "", err
	}
	selector := answer[3] >> 2 & 0x0f
	for _, d := range devices {
		if d.selector == selector {
			return answer[2], d.name, nil
		}
	}
	return answer[2], "", nil
}

// BootDevice reads the boot flags. Flags that are not valid, as after the boot they were for, are no device.
func (c *Conn) BootDevice(ctx context.Context) (device string, persistent bool, err error) {
	flags, device, err := c.bootFlags(ctx)
	if err != nil || flags&flagValid == 0 || device == "" {
		return "", false, err
	}
	return device, flags&flagPersistent != 0, nil
}

// SetBootDevice writes the boot flags, with the UEFI bit for a node that boots so, and reads them back. A device that the controller
// accepted and forgot is fault.Unavailable; one that it keeps for the next boot alone is fault.Unsupported.
func (c *Conn) SetBootDevice(ctx context.Context, device string, persistent bool) error {
	i := slices.IndexFunc(devices, func(d struct {
		name     string
		selector byte
	}) bool {
		return d.name == device
	})
	if i < 0 {
		return fault.New(fault.Invalid, "Invalid boot device %s specified.", device)
	}
	if c.session.set.keepBoot {
		// Parameter 3: do not clear the flags when the boot takes longer than 60 s. Controllers without it say so, and need no more.
		_, err := c.session.send(ctx, driver.Command{Class: driver.Absolute, Text: "keep boot flags beyond 60 s"}, chassis, setBoot, []byte{3, 8})
		if err != nil && !fault.Is(err, fault.Unsupported) && !fault.Is(err, fault.Invalid) {
			return err
		}
	}
	flags := byte(flagValid)
	if persistent {
		flags |= flagPersistent
	}
	if c.uefi {
		flags |= flagEFI
	}
	cmd := driver.Command{Class: driver.Absolute, Text: fmt.Sprintf("boot flags %s, persistent %v", device, persistent)}
	_, sent := c.session.send(ctx, cmd, chassis, setBoot, []byte{5, flags, devices[i].selector << 2, 0, 0, 0})
	if sent != nil && (!fault.Is(sent, fault.Timeout) || ctx.Err() != nil) {
		return sent
	}
	// The valid bit is not looked at: some controllers never show it.
	now, got, err := c.bootFlags(ctx)
	kept := now&flagPersistent != 0
	switch {
	case fault.Is(err, fault.Unsupported) || fault.Is(err, fault.NotFound):
		return sent // the controller cannot be asked
	case err != nil:
		return err
	case got == device && (kept || !persistent):
		return nil
	case sent != nil:
		return sent
	case got == device:
		return fault.New(fault.Unsupported, "BMC %s keeps the boot device %s for the next boot alone, not for every boot; set it without "+
			"persistent, or set ipmi_force_boot_device", c.Address(), device)
	}
	return fault.New(fault.Unavailable, "BMC %s accepted the boot device %s but still has %q; try again, and if it stays so, restart the controller",
		c.Address(), device, got)
}

// SendRaw sends a raw command to the controller itself (LUN 0). One that the hardware profile of the node does not allow is not sent, and is
// fault.Forbidden.
func (c *Conn) SendRaw(ctx context.Context, request []byte) ([]byte, error) {
	if err := c.driver.raw.Check(c.session.set.profile, request); err != nil {
		return nil, err
	}
	return c.session.send(ctx, driver.Command{Class: driver.Relative, Text: "raw " + driver.FormatRaw(request)}, request[0], request[1], request[2:])
}

// CallVendor calls send_raw or bmc_reset.
func (c *Conn) CallVendor(ctx context.Context, method, httpMethod string, args node.Object) (any, error) {
	known := map[string]string{"send_raw": "raw_bytes", "bmc_reset": "warm"}
	arg, ok := known[method]
	switch {
	case !ok:
		return nil, fault.New(fault.Invalid, "No handler for method %.40s; the node has bmc_reset, send_raw", method)
	case !strings.EqualFold(httpMethod, "POST"):
		return nil, fault.New(fault.Invalid, "vendor method %s does not support HTTP %.10s; it has POST", method, httpMethod)
	}
	for k := range args {
		if k != arg && k != "http_method" {
			return nil, fault.New(fault.Invalid, "vendor method %s has no argument %.40s; it has %s", method, k, arg)
		}
	}
	if method == "send_raw" {
		request, err := driver.ParseRaw(args["raw_bytes"])
		if err != nil {
			return nil, err
		}
		answer, err := c.SendRaw(ctx, request)
		return driver.FormatRaw(answer), err
	}
	warm := true
	if v, has := args["warm"]; has {
		b, err := node.ParseBool(v)
		if err != nil {
			return nil, fault.New(fault.Invalid, "warm: %w", err)
		}
		warm = b
	}
	return nil, c.resetController(ctx, warm)
}

func (c *Conn) resetController(ctx context.Context, warm bool) error {
	command, word := byte(coldReset), "cold"
	if warm {
		command, word = warmReset, "warm"
	}
	_, err := c.session.send(ctx, driver.Command{Class: driver.Relative, Text: word + " reset of the controller"}, app, command, nil)
	return err
}

func hasText(err error, text string) bool { return strings.Contains(err.Error(), text) }

// plain is a network error without addresses and internals.
func plain(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return "its name cannot be resolved"
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			break
		}
		err = next
	}
	text := err.Error()
	return text[:min(len(text), 120)]
}
