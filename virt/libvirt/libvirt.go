// Package libvirt is the virt driver for hosts with libvirt, over libvirt's own RPC on a Unix socket of the machine.
//
// A function of a card becomes <interface type='hostdev' managed='yes'> with the port's MAC and no VLAN: libvirt sets the MAC through the host's PF,
// takes the VF from its driver, and gives it back when the domain has ended. The driver keeps one connection and makes a new one when libvirtd was
// restarted; domains go on meanwhile. It touches only domains that it has defined.
package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"github.com/google/uuid"
	"libvirt.org/go/libvirtxml"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/virt"
)

// Options says how a host's libvirt is used. The zero value is good for a host with KVM.
type Options struct {
	// URI is one of libvirt's for this machine, such as qemu:///system, with the path of the daemon's socket if it is not libvirtd's own:
	// qemu:///system?socket=/run/libvirt/virtqemud-sock. Empty means qemu:///system.
	URI string

	// Type is libvirt's type of domains: kvm, qemu (no acceleration) or test. Empty means what fits the URI: test for test:///, else kvm.
	Type string

	// Images is the folder of the images that domains boot from. A domain reads its image and writes to an overlay that ends with the domain's
	// run. Empty means /var/lib/libvirt/images.
	Images string
}

// defaultSocket is where libvirtd listens.
const defaultSocket = "/run/libvirt/libvirt-sock"

// Driver is a virt.Driver on libvirt. It is safe for concurrent use.
type Driver struct {
	uri    libvirt.ConnectURI
	socket string
	kind   string
	images string

	mu     sync.Mutex
	conn   *conn
	closed bool

	defining sync.Mutex // between the look whether a function is free and the definition that takes it
}

var _ virt.Driver = (*Driver)(nil)

// Open returns a Driver. It connects when it is first used. The error says what is wrong with the options.
func Open(o Options) (*Driver, error) {
	if o.URI == "" {
		o.URI = "qemu:///system"
	}
	u, err := url.Parse(o.URI)
	if err != nil {
		return nil, fmt.Errorf("libvirt URI: %w", err)
	}
	name, transport, named := strings.Cut(u.Scheme, "+")
	if name == "" || named && transport != "unix" || u.Host != "" {
		return nil, fmt.Errorf("libvirt URI %q: want one on this machine, such as qemu:///system", o.URI)
	}
	d := &Driver{uri: libvirt.ConnectURI((&url.URL{Scheme: name, Path: u.Path}).String()), socket: u.Query().Get("socket"), kind: o.Type, images: o.Images}
	if d.socket == "" {
		d.socket = defaultSocket
	}
	if d.kind == "" {
		d.kind = map[bool]string{true: "test", false: "kvm"}[name == "test"]
	}
	if d.images == "" {
		d.images = "/var/lib/libvirt/images"
	}
	if !filepath.IsAbs(d.images) {
		return nil, fmt.Errorf("folder of images %q: want an absolute path", o.Images)
	}
	return d, nil
}

// Name is "libvirt".
func (d *Driver) Name() string { return "libvirt" }

// Version returns the version of the host's libvirt, as in "9.0.0".
func (d *Driver) Version(ctx context.Context) (string, error) {
	var n uint64
	err := d.do(ctx, "read its version", func(rpc *libvirt.Libvirt) (err error) {
		n, err = rpc.ConnectGetLibVersion()
		return err
	})
	return fmt.Sprintf("%d.%d.%d", n/1000000, n/1000%1000, n%1000), err
}

// Close ends the connection. Domains go on.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.conn == nil {
		return nil
	}
	return d.conn.close()
}

// conn is a connection to libvirtd.
type conn struct {
	rpc    *libvirt.Libvirt
	socket net.Conn
}

func (c *conn) close() error {
	if err := c.socket.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (c *conn) lost() bool {
	select {
	case <-c.rpc.Disconnected():
		return true
	default:
		return false
	}
}

// connected returns the connection, made anew if the last one has ended.
func (d *Driver) connected(ctx context.Context) (*conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, fault.New(fault.Unavailable, "libvirt: the driver is closed")
	case d.conn != nil && !d.conn.lost():
		return d.conn, nil
	}
	socket, err := new(net.Dialer).DialContext(ctx, "unix", d.socket)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "libvirt: %w", err)
	}
	c := &conn{libvirt.NewWithDialer(dialers.NewAlreadyConnected(socket)), socket}
	stop := context.AfterFunc(ctx, func() { _ = c.close() })
	err = c.rpc.ConnectToURI(d.uri)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "libvirt %s: %w", d.uri, errors.Join(err, c.close()))
	}
	d.conn = c
	return c, nil
}

// do calls libvirt. What is done is said in errors: "libvirt could not start domain ...". A call that outlasts ctx goes on in libvirt, and nothing may be
// assumed about it.
func (d *Driver) do(ctx context.Context, what string, call func(*libvirt.Libvirt) error) error {
	c, err := d.connected(ctx)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- call(c.rpc) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		return fmt.Errorf("libvirt: %s: %w", what, ctx.Err())
	}
	var refused libvirt.Error
	var known *fault.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case !errors.As(err, &refused):
		return fault.New(fault.Unavailable, "libvirt: %s: %w", what, err)
	case code(err) == libvirt.ErrNoDomain:
		return fault.New(fault.NotFound, "libvirt: %s: %w", what, err)
	}
	return fmt.Errorf("libvirt: %s: %w", what, err)
}

// code returns libvirt's number of an error, or 0.
func code(err error) libvirt.ErrorNumber {
	var e libvirt.Error
	if errors.As(err, &e) {
		return libvirt.ErrorNumber(e.Code)
	}
	return 0
}

// prefix starts the names of the domains that are riser's.
const prefix = "riser-"

// lookup returns the domain with this UUID.
func lookup(rpc *libvirt.Libvirt, id string) (libvirt.Domain, error) {
	u, err := uuid.Parse(id)
	if err != nil {
		return libvirt.Domain{}, fault.New(fault.Invalid, "domain %q: its name is not a UUID", id)
	}
	dom, err := rpc.DomainLookupByUUID(libvirt.UUID(u))
	if err == nil && !strings.HasPrefix(dom.Name, prefix) {
		err = fault.New(fault.Conflict, "domain %s is %s, which is not riser's", id, dom.Name)
	}
	return dom, err
}

// within calls f with the domain. A domain that is not there is absent's matter: an error, or nothing to do.
func (d *Driver) within(ctx context.Context, what, id string, f func(*libvirt.Libvirt, libvirt.Domain) error) error {
	return d.do(ctx, what+" domain "+id, func(rpc *libvirt.Libvirt) error {
		dom, err := lookup(rpc, id)
		if err != nil {
			return err
		}
		return f(rpc, dom)
	})
}

// document returns a domain as libvirt has it: as it runs, or as it starts the next time.
func document(rpc *libvirt.Libvirt, dom libvirt.Domain, next bool) (*libvirtxml.Domain, error) {
	flags := libvirt.DomainXMLFlags(0)
	if next {
		flags = libvirt.DomainXMLInactive
	}
	text, err := rpc.DomainGetXMLDesc(dom, flags)
	if err != nil {
		return nil, err
	}
	x := &libvirtxml.Domain{}
	return x, x.Unmarshal(text)
}
