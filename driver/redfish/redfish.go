// Package redfish is the hardware type "redfish": machines whose management controller speaks Redfish (DMTF DSP0266 and DSP0268).
//
// It reads leniently, since controllers send texts for numbers and lists in lists, and writes strictly: a command leaves on a connection of its
// own and is never sent again by any layer below ChangePower. What a controller says about the far side of a link is not followed to another
// host, and no answer is read beyond a limit of size and time.
package redfish

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
)

// Options of the driver. The zero value is good.
type Options struct {
	ReadTimeout time.Duration // of one reading; 30 s
	SendTimeout time.Duration // of one command, from the connection to the end of its answer; 10 s
	MaxBody     int64         // bytes of one answer; 4 MiB
	Linger      time.Duration // how long a session is kept for the next connection after the last one was closed; 0 ends it at once
	Poll        time.Duration // between two looks at a task or at a setting that is slow to show; 1 s

	Allow driver.Allow // the addresses that may be dialled; driver.AllowUnicast
}

// Driver is the hardware type. It keeps the sessions that connections share.
type Driver struct {
	options Options
	dialer  net.Dialer

	mu     sync.Mutex
	shared map[settings]*service
	lines  map[tlsSettings]line
}

// line is the pair of transports of one TLS setting.
type line struct {
	read *http.Transport // keeps connections
	send *http.Transport // a fresh connection for each command
}

// New makes the driver.
func New(o Options) *Driver {
	for _, t := range []struct {
		v    *time.Duration
		want time.Duration
	}{{&o.ReadTimeout, 30 * time.Second}, {&o.SendTimeout, 10 * time.Second}, {&o.Poll, time.Second}} {
		if *t.v == 0 {
			*t.v = t.want
		}
	}
	if o.MaxBody == 0 {
		o.MaxBody = 4 << 20
	}
	if o.Allow == nil {
		o.Allow = driver.AllowUnicast
	}
	d := &Driver{options: o, shared: map[settings]*service{}, lines: map[tlsSettings]line{}}
	d.dialer = net.Dialer{Timeout: min(o.SendTimeout, o.ReadTimeout), Control: o.Allow.Control}
	return d
}

// Name returns "redfish".
func (d *Driver) Name() string { return "redfish" }

// Interfaces lists the implementations of the type, the default first.
func (d *Driver) Interfaces() map[node.Interface][]string {
	return map[node.Interface][]string{
		node.BIOS:       {"redfish", "no-bios"},
		node.Boot:       {"ipxe", "pxe", "http-ipxe", "http", "redfish-virtual-media", "redfish-https"},
		node.Console:    {"no-console"},
		node.Deploy:     {"autodetect", "direct", "ansible", "ramdisk", "anaconda", "bootc", "custom-agent"},
		node.Firmware:   {"redfish", "no-firmware"},
		node.Inspect:    {"redfish", "agent", "no-inspect"},
		node.Management: {"redfish", "noop"},
		node.Network:    {"flat", "neutron", "ironic-networking", "noop"},
		node.Power:      {"redfish"},
		node.RAID:       {"redfish", "no-raid", "agent"},
		node.Rescue:     {"no-rescue", "agent"},
		node.Storage:    {"noop", "cinder", "external"},
		node.Vendor:     {"redfish", "no-vendor"},
	}
}

// Properties lists the driver_info keys.
func (d *Driver) Properties() []driver.Property { return properties }

// Validate checks driver_info.
func (d *Driver) Validate(info node.Object) error {
	_, err := parse(info)
	return err
}

// Address returns scheme, host and port of the controller.
func (d *Driver) Address(info node.Object) string {
	raw, ok := info["redfish_address"].(string)
	if !ok {
		return ""
	}
	base, err := parseAddress(strings.TrimSpace(raw))
	if err != nil {
		return ""
	}
	return base
}

// Open logs in and finds the machine's ComputerSystem. With a session left by an earlier connection (Options.Linger) it sends nothing.
func (d *Driver) Open(ctx context.Context, n *node.Node) (driver.Conn, error) {
	return d.Connect(ctx, n)
}

// Connect is Open with the driver's own type.
func (d *Driver) Connect(ctx context.Context, n *node.Node) (*Conn, error) {
	set, err := parse(n.DriverInfo)
	if err != nil {
		return nil, err
	}
	s, err := d.share(set)
	if err != nil {
		return nil, err
	}
	if err := s.find(ctx); err != nil {
		d.leave(s)
		return nil, err
	}
	return &Conn{driver: d, service: s, path: s.system}, nil
}

// share returns the service of these settings and counts its user.
func (d *Driver) share(set settings) (*service, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.shared[set]
	if !ok {
		l, err := d.line(set.tls)
		if err != nil {
			return nil, err
		}
		s = newService(d, set, l)
		d.shared[set] = s
	}
	s.users++
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	return s, nil
}

// leave is the end of a user. The last one ends the session, at once or after the linger time.
func (d *Driver) leave(s *service) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.users--
	if s.users > 0 {
		return
	}
	if d.options.Linger > 0 {
		s.idle = time.AfterFunc(d.options.Linger, func() { d.drop(s) })
		return
	}
	delete(d.shared, s.set)
	d.mu.Unlock()
	s.logout()
	d.mu.Lock()
}

func (d *Driver) drop(s *service) {
	d.mu.Lock()
	if s.users > 0 || d.shared[s.set] != s {
		d.mu.Unlock()
		return
	}
	delete(d.shared, s.set)
	d.mu.Unlock()
	s.logout()
}

// Close ends the sessions that linger. Connections that are open stay usable.
func (d *Driver) Close() error {
	d.mu.Lock()
	var idle []*service
	for set, s := range d.shared {
		if s.users == 0 {
			s.idle.Stop()
			idle = append(idle, s)
			delete(d.shared, set)
		}
	}
	d.mu.Unlock()
	for _, s := range idle {
		s.logout()
	}
	return nil
}

// line returns the transports for a TLS setting. HTTP/2 stays off: its streams are re-sent when a server goes away.
func (d *Driver) line(set tlsSettings) (line, error) {
	if l, ok := d.lines[set]; ok {
		return l, nil
	}
	cfg, err := set.config()
	if err != nil {
		return line{}, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	read := &http.Transport{
		DialContext: d.dialer.DialContext, TLSClientConfig: cfg, Protocols: protocols, TLSHandshakeTimeout: d.options.SendTimeout,
		MaxIdleConns: 1024, MaxIdleConnsPerHost: 1, IdleConnTimeout: 20 * time.Second, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
	}
	send := read.Clone()
	send.DisableKeepAlives = true
	l := line{read, send}
	d.lines[set] = l
	return l, nil
}
