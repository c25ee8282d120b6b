// Package drivertest is the contract of package driver as tests. Every driver runs it over its own simulator.
package drivertest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Machine is a simulated machine of its own, on and well, for one test.
type Machine struct {
	Node   *node.Node        // reaches the machine with the right credentials
	Secret string            // the password in it; empty when there is none
	Sent   func() int        // changing commands the machine received so far
	Hang   func()            // from now on the controller answers nothing; nil when there is no wire
	Wrong  func() *node.Node // reaches the machine with a wrong password; nil when there are no credentials
	Logins func() int        // attempts to log in so far; goes with Wrong
	Open   func() int        // sessions the controller holds; nil when it has none
}

// Run runs the suite for d. machine makes a machine for each test.
func Run(t *testing.T, d driver.Driver, machine func(t *testing.T) Machine) {
	t.Run("the names and lists are there", func(t *testing.T) { lists(t, d, machine(t)) })
	t.Run("opening and reading change nothing", func(t *testing.T) { reading(t, d, machine(t)) })
	t.Run("an absolute command may be repeated", func(t *testing.T) { repeated(t, d, machine(t)) })
	t.Run("the guard is asked for each command that leaves", func(t *testing.T) { guarded(t, d, machine(t)) })
	t.Run("a guard that refuses keeps the command from leaving", func(t *testing.T) { refused(t, d, machine(t)) })
	t.Run("a cancelled context ends every call at once", func(t *testing.T) { cancelled(t, d, machine(t)) })
	t.Run("power can be changed and is seen", func(t *testing.T) { power(t, d, machine(t)) })
	t.Run("identity has no blanks around it", func(t *testing.T) { identity(t, d, machine(t)) })
	t.Run("a controller that hangs is a time-out that names it", func(t *testing.T) { hanging(t, d, machine(t)) })
	t.Run("a refused password is unauthorized and tried once", func(t *testing.T) { unauthorized(t, d, machine(t)) })
	t.Run("close may be called twice and gives the session back", func(t *testing.T) { closing(t, d, machine(t)) })
}

func open(t *testing.T, d driver.Driver, n *node.Node) driver.Conn {
	t.Helper()
	c, err := d.Open(t.Context(), n)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func must[T any](t *testing.T, c driver.Conn) T {
	t.Helper()
	v, ok := driver.As[T](c)
	if !ok {
		t.Skipf("the driver has no %T", new(T))
	}
	return v
}

func lists(t *testing.T, d driver.Driver, m Machine) {
	if d.Name() == "" {
		t.Error("the driver has no name")
	}
	for _, kind := range node.AllInterfaces {
		if len(d.Interfaces()[kind]) == 0 {
			t.Errorf("there is no %s interface", kind)
		}
	}
	for _, p := range d.Properties() {
		if p.Key == "" || p.Description == "" {
			t.Errorf("property %q has no description", p.Key)
		}
	}
	if err := d.Validate(m.Node.DriverInfo); err != nil {
		t.Errorf("validate: %v", err)
	}
	if m.Hang != nil && d.Address(m.Node.DriverInfo) == "" {
		t.Error("the machine has no address")
	}
	secretFree(t, m, d.Address(m.Node.DriverInfo))
}

func secretFree(t *testing.T, m Machine, text string) {
	t.Helper()
	if m.Secret != "" && strings.Contains(text, m.Secret) {
		t.Errorf("%q holds the password", text)
	}
}

func reading(t *testing.T, d driver.Driver, m Machine) {
	before := m.Sent()
	ctx := driver.WithGuard(t.Context(), func(_ context.Context, cmd driver.Command) error {
		t.Errorf("%s command %q was about to leave", cmd.Class, cmd.Text)
		return nil
	})
	c, err := d.Open(ctx, m.Node)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for _, read := range readings(c) {
		if err := read(ctx); err != nil {
			t.Error(err)
		}
	}
	if n := m.Sent() - before; n != 0 {
		t.Errorf("the machine received %d commands", n)
	}
}

// readings are the calls that change nothing, of the abilities that c has.
func readings(c driver.Conn) (calls []func(context.Context) error) {
	if p, ok := driver.As[driver.Power](c); ok {
		calls = append(calls,
			func(ctx context.Context) error { _, err := p.PowerState(ctx); return err },
			func(ctx context.Context) error { _, err := p.PowerCommands(ctx); return err })
	}
	if b, ok := driver.As[driver.Boot](c); ok {
		calls = append(calls, func(ctx context.Context) error { _, err := b.BootState(ctx); return err })
	}
	if b, ok := driver.As[driver.BootDevice](c); ok {
		calls = append(calls,
			func(ctx context.Context) error { _, err := b.BootDevices(ctx); return err },
			func(ctx context.Context) error { _, _, err := b.BootDevice(ctx); return err })
	}
	if i, ok := driver.As[driver.Identifier](c); ok {
		calls = append(calls, func(ctx context.Context) error { _, err := i.Identity(ctx); return err })
	}
	return calls
}

func repeated(t *testing.T, d driver.Driver, m Machine) {
	c := open(t, d, m.Node)
	p := must[driver.Power](t, c)
	for range 3 {
		if err := p.SendPower(t.Context(), driver.PowerOn); err != nil {
			t.Errorf("On: %v", err)
		}
	}
	b := must[driver.BootDevice](t, c)
	for range 3 {
		if err := b.SetBootDevice(t.Context(), "pxe", false); err != nil {
			t.Errorf("boot device: %v", err)
		}
	}
	if device, _, err := b.BootDevice(t.Context()); err != nil || device != "pxe" {
		t.Errorf("boot device %q, %v", device, err)
	}
}

// commands are the calls that change something.
func commands(c driver.Conn) map[string]func(context.Context) error {
	calls := map[string]func(context.Context) error{}
	if p, ok := driver.As[driver.Power](c); ok {
		for _, cmd := range []driver.PowerCommand{driver.PowerOn, driver.ForceRestart} {
			calls[string(cmd)] = func(ctx context.Context) error { return p.SendPower(ctx, cmd) }
		}
	}
	if b, ok := driver.As[driver.BootDevice](c); ok {
		calls["boot device"] = func(ctx context.Context) error { return b.SetBootDevice(ctx, "pxe", false) }
	}
	return calls
}

func guarded(t *testing.T, d driver.Driver, m Machine) {
	c := open(t, d, m.Node)
	for name, call := range commands(c) {
		asked := 0
		ctx := driver.WithGuard(t.Context(), func(_ context.Context, cmd driver.Command) error {
			asked++
			if cmd.Text == "" || cmd.Class == driver.Read {
				t.Errorf("%s: the guard was shown %+v", name, cmd)
			}
			secretFree(t, m, cmd.Text)
			return nil
		})
		before := m.Sent()
		if err := call(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if sent := m.Sent() - before; asked == 0 || m.Hang != nil && asked != sent {
			t.Errorf("%s: the guard was asked %d times, the machine received %d commands", name, asked, sent)
		}
	}
}

func refused(t *testing.T, d driver.Driver, m Machine) {
	c := open(t, d, m.Node)
	no := fault.New(fault.Lost, "the lease is gone")
	ctx := driver.WithGuard(t.Context(), func(context.Context, driver.Command) error { return no })
	before := m.Sent()
	for name, call := range commands(c) {
		if err := call(ctx); !errors.Is(err, no) {
			t.Errorf("%s: %v, want the guard's own error", name, err)
		}
	}
	if n := m.Sent() - before; n != 0 {
		t.Errorf("the machine received %d commands", n)
	}
}

func cancelled(t *testing.T, d driver.Driver, m Machine) {
	if m.Hang == nil {
		t.Skip("there is no wire")
	}
	c := open(t, d, m.Node)
	if len(readings(c)) == 0 {
		t.Skip("there is nothing to read")
	}
	m.Hang()
	onWire := 0
	for i, call := range readings(c) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		start := time.Now()
		err := call(ctx)
		cancel()
		if err == nil {
			continue // answered without the controller
		}
		onWire++
		if !fault.Is(err, fault.Timeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("reading %d: %v, want a time-out that wraps the context's error", i, err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("reading %d returned after %s", i, took)
		}
	}
	if onWire == 0 {
		t.Error("no reading needed the controller")
	}
}

func power(t *testing.T, d driver.Driver, m Machine) {
	c := open(t, d, m.Node)
	p := must[driver.Power](t, c)
	boot, _ := driver.As[driver.Boot](c)
	pace := driver.Pace{Poll: 5 * time.Millisecond, Rest: 20 * time.Millisecond, Off: 5 * time.Second, On: 5 * time.Second, SoftOff: 5 * time.Second,
		Restart: 5 * time.Second, Boot: 5 * time.Second, Hint: 50 * time.Millisecond}
	for _, step := range []struct{ target, end node.PowerState }{
		{node.PowerOff, node.PowerOff}, {node.PowerOn, node.PowerOn}, {node.Rebooting, node.PowerOn}, {node.SoftPowerOff,
			node.PowerOff}, {node.PowerOn, node.PowerOn},
	} {
		evidence, err := driver.ChangePower(t.Context(), p, boot, step.target, pace)
		if err != nil {
			t.Fatalf("%s: %v\n%s", step.target, err, strings.Join(evidence, "\n"))
		}
		if state, err := p.PowerState(t.Context()); err != nil || state != step.end {
			t.Fatalf("after %s: state %q, %v\n%s", step.target, state, err, strings.Join(evidence, "\n"))
		}
	}
}

func identity(t *testing.T, d driver.Driver, m Machine) {
	i := must[driver.Identifier](t, open(t, d, m.Node))
	id, err := i.Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range append([]string{id.SystemUUID, id.Manufacturer, id.Model, id.Serial, id.PartNumber, id.BaseMAC}, id.CardSerials...) {
		if text != strings.TrimSpace(text) {
			t.Errorf("%q has blanks around it", text)
		}
	}
	if id.Serial == "" && id.SystemUUID == "" {
		t.Errorf("%+v identifies nothing", id)
	}
}

func hanging(t *testing.T, d driver.Driver, m Machine) {
	if m.Hang == nil {
		t.Skip("there is no wire")
	}
	m.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c, err := d.Open(ctx, m.Node)
	if err == nil {
		defer func() { _ = c.Close() }()
		for _, read := range readings(c) {
			err = errors.Join(err, read(ctx))
		}
	}
	if !fault.Is(err, fault.Timeout) {
		t.Fatalf("%v is no time-out", err)
	}
	if !strings.Contains(err.Error(), d.Address(m.Node.DriverInfo)) {
		t.Errorf("%q does not name %s", err, d.Address(m.Node.DriverInfo))
	}
	secretFree(t, m, err.Error())
}

func unauthorized(t *testing.T, d driver.Driver, m Machine) {
	if m.Wrong == nil {
		t.Skip("there are no credentials")
	}
	before := m.Logins()
	c, err := d.Open(t.Context(), m.Wrong())
	if err == nil {
		defer func() { _ = c.Close() }()
		t.Fatal("a wrong password was let in")
	}
	if !fault.Is(err, fault.Unauthorized) {
		t.Errorf("%v is not unauthorized", err)
	}
	if n := m.Logins() - before; n != 1 {
		t.Errorf("the wrong password was tried %d times", n)
	}
	secretFree(t, m, err.Error())
}

func closing(t *testing.T, d driver.Driver, m Machine) {
	c := open(t, d, m.Node)
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	if m.Open != nil {
		if n := m.Open(); n != 0 {
			t.Errorf("%d sessions are still open", n)
		}
	}
}
