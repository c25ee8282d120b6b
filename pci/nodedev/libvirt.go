package nodedev

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"

	"github.com/riser-project/riser/pci"
)

// DefaultTimeout is how long libvirt may take for one device. In it, libvirt reads the device's VPD.
const DefaultTimeout = 2 * time.Second

// defaultSocket is where libvirtd listens.
const defaultSocket = "/run/libvirt/libvirt-sock"

// Conn is a connection to a libvirt daemon. Its methods may be called from several goroutines.
type Conn struct {
	// Timeout is how long List waits for one device before it goes on without. It must be set before the first call.
	Timeout time.Duration

	rpc  *libvirt.Libvirt
	conn net.Conn

	mu    sync.Mutex
	held  map[string]*answer // devices whose XML was given up and is still to come
	late  int                // answers that came after all
	known map[string]string  // the last XML of devices with VPD, as long as they are listed
}

// answer is the XML of a device, asked for or here.
type answer struct {
	done chan struct{} // closed when the fields below are set
	xml  string
	err  error
}

// Dial connects to libvirt on this machine. The URI is one of libvirt's, such as qemu:///system, nodedev:///system or test:///default, with
// the path of the daemon's socket if it is not libvirtd's own: qemu:///system?socket=/run/libvirt/virtnodedevd-sock. Other transports than
// the Unix socket are refused: a host's functions are read on the host.
func Dial(ctx context.Context, uri string) (*Conn, error) {
	driver, socket, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("libvirt %s: %w", uri, err)
	}
	c := &Conn{Timeout: DefaultTimeout, rpc: libvirt.NewWithDialer(dialers.NewAlreadyConnected(conn)), conn: conn, held: map[string]*answer{}, known: map[string]string{}}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = c.rpc.ConnectToURI(libvirt.ConnectURI(driver))
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("libvirt %s: %w", uri, err), closed(conn.Close()))
	}
	return c, nil
}

// parseURI splits a URI into the one for the daemon and the path of its socket.
func parseURI(uri string) (driver, socket string, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", "", fmt.Errorf("libvirt URI: %w", err)
	}
	name, transport, named := strings.Cut(u.Scheme, "+")
	if name == "" || named && transport != "unix" || u.Host != "" {
		return "", "", fmt.Errorf("libvirt URI %q: want one on this machine, such as qemu:///system", uri)
	}
	socket = u.Query().Get("socket")
	if socket == "" {
		socket = defaultSocket
	}
	return (&url.URL{Scheme: name, Path: u.Path}).String(), socket, nil
}

// closed passes over the error of closing what is closed already.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Close ends the connection, and every call that still waits for libvirt.
func (c *Conn) Close() error {
	return closed(c.conn.Close())
}

// Done returns a channel that is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.rpc.Disconnected() }

// wanted are the node devices that matter. Flags beyond those of capabilities are unknown to libvirt's test driver.
const wanted = libvirt.ConnectListNodeDevicesCapSystem | libvirt.ConnectListNodeDevicesCapPciDev | libvirt.ConnectListNodeDevicesCapNet

// names returns libvirt's names of the node devices, sorted.
func (c *Conn) names(ctx context.Context) ([]string, error) {
	type result struct {
		devices []libvirt.NodeDevice
		err     error
	}
	done := make(chan result, 1)
	go func() {
		devices, _, err := c.rpc.ConnectListAllNodeDevices(1, uint32(wanted))
		done <- result{devices, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("libvirt: list node devices: %w", r.err)
		}
		names := make([]string, 0, len(r.devices))
		for _, d := range r.devices {
			names = append(names, d.Name)
		}
		slices.Sort(names)
		return names, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("libvirt: list node devices: %w", ctx.Err())
	}
}

// parallel is how many documents are asked for at a time. libvirtd takes five calls of a client at once.
const parallel = 4

// List returns the XML of the node devices. A device that libvirt does not answer for within Timeout has an error, beside the XML it had
// before if it has VPD, whose reading may be what hangs; until the answer comes it is not asked for again. Devices that vanish meanwhile
// are left out.
func (c *Conn) List(ctx context.Context) ([]Document, error) {
	names, err := c.names(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	maps.DeleteFunc(c.known, func(name, _ string) bool {
		_, listed := slices.BinarySearch(names, name)
		return !listed
	})
	c.mu.Unlock()
	documents := make([]Document, len(names))
	next := make(chan int)
	var wait sync.WaitGroup
	for range min(parallel, len(names)) {
		wait.Go(func() {
			for i := range next {
				documents[i] = c.document(ctx, names[i])
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	wait.Wait()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("libvirt: %w", err)
	}
	select {
	case <-c.Done():
		return nil, errors.New("libvirt: the connection ended")
	default:
	}
	return slices.DeleteFunc(documents, func(d Document) bool { return gone(d.Err) }), nil
}

func gone(err error) bool {
	var e libvirt.Error
	return errors.As(err, &e) && libvirt.ErrorNumber(e.Code) == libvirt.ErrNoNodeDevice
}

func (c *Conn) document(ctx context.Context, name string) Document {
	c.mu.Lock()
	a, waiting := c.held[name]
	if !waiting {
		a = &answer{done: make(chan struct{})}
		go c.ask(name, a)
	}
	c.mu.Unlock()
	timeout := c.Timeout
	if waiting {
		timeout = 0
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-a.done:
		return Document{name, a.xml, a.err}
	case <-timer.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-a.done: // just now
		return Document{name, a.xml, a.err}
	default:
	}
	c.held[name] = a
	return Document{name, c.known[name], fmt.Errorf("libvirt gave no answer within %v", c.Timeout)}
}

// ask ends with libvirt's answer or with the connection.
func (c *Conn) ask(name string, a *answer) {
	xml, err := c.rpc.NodeDeviceGetXMLDesc(name, 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	a.xml, a.err = xml, err
	if err == nil && strings.Contains(xml, vpdCapability) {
		c.known[name] = xml
	} else if err == nil {
		delete(c.known, name)
	}
	close(a.done)
	if c.held[name] == a {
		delete(c.held, name)
		c.late++
	}
}

// fingerprint returns a text that changes when devices come or go, or when a late answer has come.
func (c *Conn) fingerprint(ctx context.Context) (string, error) {
	names, err := c.names(ctx)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	late := c.late
	c.mu.Unlock()
	sum := fnv.New64a()
	for _, name := range append(names, strconv.Itoa(late)) {
		_, _ = sum.Write([]byte(name + "\x00")) // a hash takes everything
	}
	return strconv.FormatUint(sum.Sum64(), 16), nil
}

// Daemon is the libvirt daemon of this machine, to which a connection is made when it is needed, and again when it was lost.
// Its methods may be called from several goroutines.
type Daemon struct {
	uri string

	mu   sync.Mutex
	conn *Conn
}

// Open returns the daemon at a URI as Dial takes it, without connecting yet.
func Open(uri string) (*Daemon, error) {
	if _, _, err := parseURI(uri); err != nil {
		return nil, err
	}
	return &Daemon{uri: uri}, nil
}

// Close ends the connection, if there is one.
func (d *Daemon) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil {
		return nil
	}
	conn := d.conn
	d.conn = nil
	return conn.Close()
}

// connection returns a connection that has not ended.
func (d *Daemon) connection(ctx context.Context) (*Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		select {
		case <-d.conn.Done():
			if err := d.conn.Close(); err != nil {
				return nil, fmt.Errorf("libvirt %s: %w", d.uri, err)
			}
			d.conn = nil
		default:
			return d.conn, nil
		}
	}
	conn, err := Dial(ctx, d.uri)
	if err != nil {
		return nil, err
	}
	d.conn = conn
	return conn, nil
}

// drop ends a connection after a call that failed for another reason than libvirt's own or the end of ctx, so that the next call makes a
// new one at once and does not wait until the loss is noticed.
func (d *Daemon) drop(ctx context.Context, conn *Conn, err error) error {
	var own libvirt.Error
	if err == nil || errors.As(err, &own) || ctx.Err() != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == conn {
		d.conn = nil
	}
	return errors.Join(err, conn.Close())
}

// Scan is Scan of the daemon's node devices.
func (d *Daemon) Scan(ctx context.Context) (*pci.Host, error) {
	conn, err := d.connection(ctx)
	if err != nil {
		return nil, err
	}
	host, err := Scan(ctx, conn.List)
	return host, d.drop(ctx, conn, err)
}

// Fingerprint returns a short text that changes when devices came or went since the last call, among them network devices with another
// name or MAC. It asks libvirt for names only. A change of a driver or NUMA node does not show.
func (d *Daemon) Fingerprint(ctx context.Context) (string, error) {
	conn, err := d.connection(ctx)
	if err != nil {
		return "", err
	}
	fingerprint, err := conn.fingerprint(ctx)
	return fingerprint, d.drop(ctx, conn, err)
}
