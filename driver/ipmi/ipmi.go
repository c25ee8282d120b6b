// Package ipmi is the hardware type "ipmi": machines whose management controller speaks IPMI 2.0 over LAN (RMCP+).
//
// The cipher suite is pinned, and none is used that leaves out authentication, integrity or encryption. A refused password is not tried with
// another suite. A request is put on the wire once; readings may be asked again, and what became of a command without an answer is left
// to driver.ChangePower, or to the operator, to find out.
package ipmi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
)

// Options of the driver. The zero value is good.
type Options struct {
	Timeout time.Duration // of one command, from the request to its answer; 5 s
	Attempt time.Duration // of one attempt at a reading or at logging in, of which there are three; 2 s
	Allow   driver.Allow  // the addresses that may be spoken to; driver.AllowUnicast
	Linger  time.Duration // how long a session is kept for the next connection after the last one was closed; 0 ends it at once

	AllowRaw []driver.RawRule // raw commands that may be sent beyond those of driver.NewRawList
}

// attempts is how often a reading, or a step of logging in, is asked for: datagrams get lost.
const attempts = 3

// Driver is the hardware type. It keeps the sessions that connections share, one for each controller.
type Driver struct {
	options Options
	raw     driver.RawList

	mu       sync.Mutex
	sessions map[settings]*session
	suites   map[string]bool // controllers that lack suite 17, by address
}

// New makes the driver.
func New(o Options) *Driver {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Attempt == 0 {
		o.Attempt = 2 * time.Second
	}
	if o.Allow == nil {
		o.Allow = driver.AllowUnicast
	}
	return &Driver{options: o, raw: driver.NewRawList(o.AllowRaw...), sessions: map[settings]*session{}, suites: map[string]bool{}}
}

// Name returns "ipmi".
func (d *Driver) Name() string { return "ipmi" }

// Interfaces lists the implementations of the type, the default first.
func (d *Driver) Interfaces() map[node.Interface][]string {
	return map[node.Interface][]string{
		node.BIOS:       {"no-bios"},
		node.Boot:       {"ipxe", "pxe", "http-ipxe", "http"},
		node.Console:    {"no-console", "ipmitool-socat"},
		node.Deploy:     {"autodetect", "direct", "ansible", "ramdisk", "anaconda", "bootc", "custom-agent"},
		node.Firmware:   {"no-firmware"},
		node.Inspect:    {"agent", "no-inspect"},
		node.Management: {"ipmitool", "noop"},
		node.Network:    {"flat", "neutron", "ironic-networking", "noop"},
		node.Power:      {"ipmitool"},
		node.RAID:       {"no-raid", "agent"},
		node.Rescue:     {"no-rescue", "agent"},
		node.Storage:    {"noop", "cinder", "external"},
		node.Vendor:     {"ipmitool", "no-vendor"},
	}
}

// Properties lists the driver_info keys.
func (d *Driver) Properties() []driver.Property { return properties }

// Validate checks driver_info.
func (d *Driver) Validate(info node.Object) error {
	_, err := d.parse(info)
	return err
}

// Address returns "ipmi://host:port".
func (d *Driver) Address(info node.Object) string {
	s, err := d.parse(info)
	if err != nil {
		return ""
	}
	return s.address()
}

// Open logs in, or shares the session of another connection with the same settings.
func (d *Driver) Open(ctx context.Context, n *node.Node) (driver.Conn, error) {
	set, err := d.parse(n.DriverInfo)
	if err != nil {
		return nil, err
	}
	s := d.share(set)
	if err := s.enter(ctx); err != nil {
		d.leave(s)
		return nil, err
	}
	err = s.login(ctx)
	s.exit()
	if err != nil {
		d.leave(s)
		return nil, err
	}
	return &Conn{driver: d, session: s, uefi: n.BootMode == "uefi"}, nil
}

func (d *Driver) share(set settings) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sessions[set]
	if !ok {
		s = &session{driver: d, set: set, gate: make(chan struct{}, 1)}
		d.sessions[set] = s
	}
	s.users++
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	return s
}

// leave is the end of a user. The last one ends the session, at once or after the linger time.
func (d *Driver) leave(s *session) {
	d.mu.Lock()
	s.users--
	last := s.users == 0
	if last && d.options.Linger > 0 {
		s.idle = time.AfterFunc(d.options.Linger, func() { d.drop(s) })
		last = false
	}
	if last {
		delete(d.sessions, s.set)
	}
	d.mu.Unlock()
	if last {
		s.logout()
	}
}

func (d *Driver) drop(s *session) {
	d.mu.Lock()
	unused := s.users == 0 && d.sessions[s.set] == s
	if unused {
		delete(d.sessions, s.set)
	}
	d.mu.Unlock()
	if unused {
		s.logout()
	}
}

// Close ends the sessions that linger. Connections that are open stay usable.
func (d *Driver) Close() error {
	d.mu.Lock()
	var idle []*session
	for set, s := range d.sessions {
		if s.users == 0 {
			s.idle.Stop()
			idle = append(idle, s)
			delete(d.sessions, set)
		}
	}
	d.mu.Unlock()
	for _, s := range idle {
		s.logout()
	}
	return nil
}

// VendorMethods lists the methods of the implementation "ipmitool".
func (d *Driver) VendorMethods(implementation string) []driver.VendorMethod {
	if implementation != "ipmitool" {
		return nil
	}
	return []driver.VendorMethod{
		{Name: "bmc_reset", Description: "Restart the controller. Argument warm: true or false.", Methods: []string{http.MethodPost}, Async: true},
		{Name: "send_raw", Description: `Send a raw command that the node's hardware profile allows. Argument raw_bytes: "0x00 0x01".`, Methods: []string{http.MethodPost}, Async: true},
	}
}
