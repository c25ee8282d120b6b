// Package ssh is the hardware type "ssh": machines that are reached by a shell, such as a card without a controller of its own, through the
// host that owns its rshim.
//
// What may be run is a closed list of commands with fixed arguments, chosen by who runs the service and not by who runs the steps. The machine's
// key is pinned, output is bounded, and secrets in it are masked. Such a machine has no power that could be switched: a card in a slot
// follows its host.
package ssh

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Options of the driver. The zero value is good.
type Options struct {
	Timeout time.Duration // of connecting, and of one command; 30 s

	Allow driver.Allow // the addresses that may be dialled; driver.AllowUnicast

	// Commands may be run by the step vendor.ssh_command, by name: the program and its arguments. Nil stands for DefaultCommands.
	Commands map[string][]string
}

// DefaultCommands look at a machine and change nothing.
var DefaultCommands = map[string][]string{
	"uptime":     {"uptime"},
	"kernel":     {"uname", "-a"},
	"pci":        {"lspci", "-nn"},
	"rshim-misc": {"cat", "/dev/rshim0/misc"},
	"devlink":    {"devlink", "-j", "port", "show"},
}

// Driver is the hardware type.
type Driver struct {
	options Options
}

// New makes the driver.
func New(o Options) *Driver {
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Allow == nil {
		o.Allow = driver.AllowUnicast
	}
	if o.Commands == nil {
		o.Commands = DefaultCommands
	}
	return &Driver{o}
}

// Name returns "ssh".
func (d *Driver) Name() string { return "ssh" }

// Interfaces lists the implementations of the type, the default first.
func (d *Driver) Interfaces() map[node.Interface][]string {
	return map[node.Interface][]string{
		node.BIOS:       {"no-bios"},
		node.Boot:       {"pxe", "ipxe"},
		node.Console:    {"no-console"},
		node.Deploy:     {"direct", "ramdisk", "noop"},
		node.Firmware:   {"ssh", "no-firmware"},
		node.Inspect:    {"no-inspect", "agent"},
		node.Management: {"noop"},
		node.Network:    {"noop", "flat", "neutron"},
		node.Power:      {"agent"},
		node.RAID:       {"no-raid"},
		node.Rescue:     {"no-rescue"},
		node.Storage:    {"noop"},
		node.Vendor:     {"ssh", "no-vendor"},
	}
}

// Properties lists the driver_info keys.
func (d *Driver) Properties() []driver.Property { return properties }

// Validate checks driver_info.
func (d *Driver) Validate(info node.Object) error {
	_, err := parse(info)
	return err
}

// Address returns "ssh://host:port".
func (d *Driver) Address(info node.Object) string {
	s, err := parse(info)
	if err != nil {
		return ""
	}
	return s.address()
}

// Open connects, checks the machine's key and logs in.
func (d *Driver) Open(ctx context.Context, n *node.Node) (driver.Conn, error) {
	s, err := parse(n.DriverInfo)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	dialer := net.Dialer{Control: d.options.Allow.Control}
	line, err := dialer.DialContext(within, "tcp", s.endpoint())
	if err != nil {
		return nil, unreachable(ctx, s, err)
	}
	// The handshake knows no context: closing the line is what ends it.
	stop := context.AfterFunc(within, func() { _ = line.Close() })
	client, err := handshake(line, s)
	if !stop() && err == nil {
		err = errors.Join(context.Cause(within), client.Close())
	}
	if err != nil {
		_ = line.Close()
		return nil, refused(ctx, within, s, err)
	}
	return &Conn{client: client, set: s, options: d.options}, nil
}

func handshake(line net.Conn, s *settings) (*ssh.Client, error) {
	auth := []ssh.AuthMethod{ssh.Password(s.password)}
	if s.signer != nil {
		auth = []ssh.AuthMethod{ssh.PublicKeys(s.signer)}
	}
	conn, channels, requests, err := ssh.NewClientConn(line, s.endpoint(), &ssh.ClientConfig{User: s.username, Auth: auth, HostKeyCallback: s.trusted,
		ClientVersion: "SSH-2.0-riser"})
	if err != nil {
		return nil, err
	}
	return ssh.NewClient(conn, channels, requests), nil
}

func unreachable(ctx context.Context, s *settings, err error) error {
	var timeout interface{ Timeout() bool }
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return fault.New(known.Kind, "%s: %s", s.address(), known.Text)
	case ctx.Err() != nil:
		return fault.New(fault.Timeout, "%s: connecting was given up: %w", s.address(), context.Cause(ctx))
	case errors.As(err, &timeout) && timeout.Timeout():
		return fault.New(fault.Timeout, "%s did not answer; check ssh_address, ssh_port and the network", s.address())
	}
	return fault.New(fault.Unavailable, "%s cannot be reached: %s; check ssh_address, ssh_port, and that its SSH service runs", s.address(), last(err))
}

func refused(ctx, within context.Context, s *settings, err error) error {
	var known *fault.Error
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Timeout, "%s: logging in was given up: %w", s.address(), context.Cause(ctx))
	case within.Err() != nil:
		return fault.New(fault.Timeout, "%s did not end the log-in in time", s.address())
	case errors.As(err, &known):
		return known
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fault.New(fault.Unauthorized, "%s refused the credentials; correct ssh_username, ssh_password or ssh_private_key (they are not "+
			"tried again)", s.address())
	}
	return fault.New(fault.Unavailable, "%s broke off the log-in: %.120s", s.address(), last(err))
}

func last(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// Conn is a connection to one machine.
type Conn struct {
	client  *ssh.Client
	set     *settings
	options Options
	once    sync.Once
	err     error
}

var (
	_ driver.Conn      = (*Conn)(nil)
	_ driver.Addressed = (*Conn)(nil)
)

// Address returns "ssh://host:port".
func (c *Conn) Address() string { return c.set.address() }

// Close ends the connection.
func (c *Conn) Close() error {
	c.once.Do(func() {
		if err := c.client.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			c.err = err
		}
	})
	return c.err
}

// Commands lists the names that Run knows, sorted.
func (c *Conn) Commands() []string { return slices.Sorted(maps.Keys(c.options.Commands)) }
