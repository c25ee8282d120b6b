package conductor_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// rack is a driver whose machines are in memory: the far end of the wire for tests of the engine alone.
type rack struct {
	mu       sync.Mutex
	machines map[string]*machine
}

// machine is what is behind one address.
type machine struct {
	address string
	state   node.PowerState
	device  string
	raw     [][]byte
	reset   time.Time
	id      driver.Identity
	cmds    []string // that arrived
	fail    error    // of every request
	swallow bool     // the next command is lost on its way
	hangs   bool     // takes connections and never answers
	lost    error    // what comes in place of the answers to commands, which are carried out
	gate    chan struct{}
	entered chan struct{} // gets a value when a command waits at the gate
	slots   []*machine    // lose their power with it
	deaf    bool          // accepts power commands and does nothing
	noReset bool          // has no restart that keeps the slots powered
	peak    int           // connections at the same time
	open    int
}

func newRack() *rack { return &rack{machines: map[string]*machine{}} }

func (r *rack) add(address string) *machine {
	m := &machine{address: address, state: node.PowerOff, reset: time.Unix(1, 0)}
	r.machines[address] = m
	return m
}

func (r *rack) Name() string { return "rack" }

func (r *rack) Interfaces() map[node.Interface][]string {
	return map[node.Interface][]string{node.Power: {"rack"}, node.Management: {"rack"}, node.Vendor: {"rack"}}
}

func (r *rack) Properties() []driver.Property { return nil }

func (r *rack) Validate(info node.Object) error {
	if r.Address(info) == "" {
		return fault.New(fault.Invalid, "driver_info is missing address")
	}
	return nil
}

func (r *rack) Address(info node.Object) string {
	s, _ := info["address"].(string)
	return s
}

func (r *rack) Open(_ context.Context, n *node.Node) (driver.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.machines[r.Address(n.DriverInfo)]
	if !ok {
		return nil, fault.New(fault.Timeout, "BMC %s does not answer", r.Address(n.DriverInfo))
	}
	if m.open++; m.open > m.peak {
		m.peak = m.open
	}
	return &rackConn{r, m}, nil
}

type rackConn struct {
	r *rack
	m *machine
}

func (c *rackConn) Close() error {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.m.open--
	return nil
}

// arrive is a changing command on its way: it waits at the gate, and is carried out when it came through.
func (c *rackConn) arrive(ctx context.Context, class driver.Class, text string, do func(m *machine)) error {
	if err := driver.Sending(ctx, driver.Command{Class: class, Text: text}); err != nil {
		return err
	}
	c.r.mu.Lock()
	gate, fail, lost := c.m.gate, c.m.fail, c.m.lost
	c.r.mu.Unlock()
	if fail != nil {
		return fail
	}
	c.r.mu.Lock()
	if !c.m.swallow {
		c.m.cmds = append(c.m.cmds, text)
		do(c.m)
	}
	c.m.swallow = false
	c.r.mu.Unlock()
	if gate != nil {
		select {
		case c.m.entered <- struct{}{}:
		default:
		}
		select {
		case <-gate:
		case <-ctx.Done():
			return fault.New(fault.Timeout, "BMC %s: no answer: %w", c.m.address, context.Cause(ctx))
		}
	}
	return lost
}

func (c *rackConn) PowerState(ctx context.Context) (node.PowerState, error) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if c.m.hangs {
		c.r.mu.Unlock()
		<-ctx.Done()
		c.r.mu.Lock()
		return "", fault.New(fault.Timeout, "BMC %s does not answer", c.m.address)
	}
	return c.m.state, c.m.fail
}

func (c *rackConn) PowerCommands(context.Context) ([]driver.PowerCommand, error) {
	if c.m.noReset {
		return []driver.PowerCommand{driver.PowerOn, driver.ForceOff, driver.GracefulShutdown}, nil
	}
	return []driver.PowerCommand{driver.PowerOn, driver.ForceOff, driver.GracefulShutdown, driver.ForceRestart}, nil
}

func (c *rackConn) SendPower(ctx context.Context, cmd driver.PowerCommand) error {
	class := driver.Absolute
	if cmd == driver.ForceRestart {
		class = driver.Relative
	}
	return c.arrive(ctx, class, string(cmd), func(m *machine) {
		if m.deaf {
			return
		}
		switch cmd {
		case driver.PowerOn:
			m.state = node.PowerOn
		case driver.ForceOff, driver.GracefulShutdown:
			m.state = node.PowerOff
			for _, s := range m.slots {
				s.state = node.PowerOff
			}
		case driver.ForceRestart:
			m.reset = time.Now()
		}
	})
}

func (c *rackConn) BootState(context.Context) (driver.BootState, error) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return driver.BootState{Booted: c.m.state == node.PowerOn, Alive: c.m.state == node.PowerOn, Reset: c.m.reset}, c.m.fail
}

func (c *rackConn) BootDevices(context.Context) ([]string, error) {
	return []string{"pxe", "disk"}, nil
}

func (c *rackConn) BootDevice(context.Context) (string, bool, error) {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	return c.m.device, false, c.m.fail
}

func (c *rackConn) SetBootDevice(ctx context.Context, device string, _ bool) error {
	return c.arrive(ctx, driver.Absolute, "boot "+device, func(m *machine) { m.device = device })
}

func (c *rackConn) SendRaw(ctx context.Context, request []byte) ([]byte, error) {
	return []byte{0x01}, c.arrive(ctx, driver.Relative, fmt.Sprintf("raw %x", request), func(m *machine) { m.raw = append(m.raw, request) })
}

func (c *rackConn) Identity(context.Context) (driver.Identity, error) { return c.m.id, nil }

// Inventory implements driver.Inspector.
func (c *rackConn) Inventory(context.Context) (driver.Inventory, error) {
	return driver.Inventory{Processors: 8, Arch: "x86_64", MemoryMiB: 4096, Disks: []driver.Disk{{Name: "sda", Bytes: 100 << 30}}, MACs: []string{"52:54:00:00:00:01"}}, c.m.fail
}

func (r *rack) with(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
}

func (r *rack) commands(address string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.machines[address].cmds...)
}
