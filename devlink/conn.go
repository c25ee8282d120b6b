package devlink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// dumpTries bounds how often a dump is repeated that the kernel marks as interrupted by a change.
const dumpTries = 5

// Dialer opens one generic netlink connection. Tests and simulators give one that ends in a kernel of their own.
type Dialer func() (*genetlink.Conn, error)

// Conn asks the kernel for ports and device information and sets the MAC address of a port's function. It may be used by several goroutines;
// they take turns.
type Conn struct {
	dial Dialer

	mu     sync.Mutex
	nl     *genetlink.Conn // nil after a cancelled request, whose late answer nobody may read
	family genetlink.Family
	closed bool
}

// Dial connects to the running kernel's devlink family. The error is [ErrNoFamily] where the kernel has none.
func Dial() (*Conn, error) {
	return New(func() (*genetlink.Conn, error) { return genetlink.Dial(nil) })
}

// New connects by dial, which is called again for each [Conn.Watch] and after a cancelled request. The error is
// [ErrNoFamily] where the far end has no devlink family.
func New(dial Dialer) (*Conn, error) {
	c := &Conn{dial: dial}
	nl, family, err := open(dial)
	if err != nil {
		return nil, err
	}
	c.nl, c.family = nl, family
	return c, nil
}

func open(dial Dialer) (*genetlink.Conn, genetlink.Family, error) {
	nl, err := dial()
	if err != nil {
		return nil, genetlink.Family{}, fmt.Errorf("devlink: open generic netlink socket: %w", err)
	}
	// Only makes refusals more readable; old kernels lack it.
	_ = nl.SetOption(netlink.ExtendedAcknowledge, true)
	family, err := nl.GetFamily(familyName)
	if err != nil {
		_ = nl.Close()
		if errors.Is(err, os.ErrNotExist) {
			return nil, genetlink.Family{}, fmt.Errorf("devlink: %w", ErrNoFamily)
		}
		return nil, genetlink.Family{}, fmt.Errorf("devlink: look up family: %w", err)
	}
	return nl, family, nil
}

// Close ends the connection; watchers have connections of their own and live on.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.nl == nil {
		return nil
	}
	nl := c.nl
	c.nl = nil
	return nl.Close()
}

// Ports returns all ports of all devlink instances, in the kernel's order, as one consistent dump: a dump that the
// kernel marks as interrupted by a change is repeated.
func (c *Conn) Ports(ctx context.Context) ([]Port, error) {
	for range dumpTries {
		msgs, whole, err := c.request(ctx, cmdPortGet, netlink.Request|netlink.Dump, nil)
		if err != nil {
			return nil, fmt.Errorf("devlink: list ports: %w", err)
		}
		if !whole {
			continue
		}
		ports := make([]Port, 0, len(msgs))
		for _, m := range msgs {
			p, err := decodePort(m.Data)
			if err != nil {
				return nil, fmt.Errorf("devlink: list ports: %w", err)
			}
			ports = append(ports, p)
		}
		return ports, nil
	}
	return nil, fmt.Errorf("devlink: list ports: the ports changed during each of %d dumps", dumpTries)
}

// SetHWAddr sets the MAC address of the function behind a port, as "devlink port function set ... hw_addr" does
// (kernel 5.9). The error is syscall.EOPNOTSUPP, by errors.Is, for a port whose function has no address that this
// side may set, and syscall.ENODEV for a port that does not exist.
func (c *Conn) SetHWAddr(ctx context.Context, port PortID, mac net.HardwareAddr) error {
	if len(mac) != 6 || isZero(mac) || mac[0]&1 != 0 {
		return fmt.Errorf("devlink: port %s: set hw_addr %q: want a unicast Ethernet address", port, mac)
	}
	_, _, err := c.request(ctx, cmdPortSet, netlink.Request|netlink.Acknowledge, func(e *netlink.AttributeEncoder) {
		encodeHandle(e, port.Handle)
		e.Uint32(attrPortIndex, port.Index)
		e.Nested(attrPortFunction, func(e *netlink.AttributeEncoder) error {
			e.Bytes(attrFunctionHWAddr, mac)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("devlink: port %s: set hw_addr %s: %w", port, mac, err)
	}
	return nil
}

func encodeHandle(e *netlink.AttributeEncoder, h Handle) {
	e.String(attrBusName, h.Bus)
	e.String(attrDevName, h.Device)
}

// request sends one command and returns the answers, and whether they form a dump that nothing interrupted.
func (c *Conn) request(ctx context.Context, command uint8, flags netlink.HeaderFlags, attrs func(*netlink.AttributeEncoder)) ([]genetlink.Message, bool, error) {
	e := netlink.NewAttributeEncoder()
	if attrs != nil {
		attrs(e)
	}
	data, err := e.Encode()
	if err != nil {
		return nil, false, fmt.Errorf("encode request: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	nl, err := c.connection()
	if err != nil {
		return nil, false, err
	}
	// Closing is the only way to interrupt a read that a late answer cannot spoil for the next request.
	stop := context.AfterFunc(ctx, func() { _ = nl.Close() })
	msgs, whole, err := roundTrip(nl, c.family, command, flags, data)
	if !stop() {
		c.nl = nil
		return nil, false, ctx.Err()
	}
	return msgs, whole, err
}

func (c *Conn) connection() (*genetlink.Conn, error) {
	if c.closed {
		return nil, net.ErrClosed
	}
	if c.nl != nil {
		return c.nl, nil
	}
	nl, family, err := open(c.dial)
	if err != nil {
		return nil, err
	}
	c.nl, c.family = nl, family
	return nl, nil
}

func roundTrip(nl *genetlink.Conn, family genetlink.Family, command uint8, flags netlink.HeaderFlags, data []byte) ([]genetlink.Message, bool, error) {
	m := genetlink.Message{Header: genetlink.Header{Command: command, Version: family.Version}, Data: data}
	req, err := nl.Send(m, family.ID, flags)
	if err != nil {
		return nil, false, err
	}
	msgs, raw, err := nl.Receive()
	if err != nil {
		return nil, false, err
	}
	if err := netlink.Validate(req, raw); err != nil {
		return nil, false, err
	}
	for _, r := range raw {
		if r.Header.Flags&netlink.DumpInterrupted != 0 {
			return nil, false, nil
		}
	}
	return msgs, true, nil
}
