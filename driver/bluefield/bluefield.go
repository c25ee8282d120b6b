// Package bluefield is the hardware type "bluefield": DPU cards of NVIDIA, generations 2 to 4, behind their own controllers.
//
// It adds to a Redfish connection what only a BlueField has: its identity as a card, the mode, who owns the rshim, what its host may do, the
// installation of its software (BFB), and, where the node names an IPMI address too, raw commands. What differs between generations and
// controller versions stands in tables (quirks.go), not in code.
package bluefield

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// Options of the driver. The zero value is good.
type Options struct {
	Poll  time.Duration // between two looks at the rshim while it changes hands; 2 s
	Rshim time.Duration // how long to wait for that; 30 s
}

// Driver is the hardware type.
type Driver struct {
	redfish driver.Driver
	ipmi    driver.Driver
	options Options
}

// New makes the driver over one that opens Redfish connections, and one for raw commands, which may be nil.
func New(redfish, ipmi driver.Driver, o Options) *Driver {
	if o.Poll == 0 {
		o.Poll = 2 * time.Second
	}
	if o.Rshim == 0 {
		o.Rshim = 30 * time.Second
	}
	return &Driver{redfish: redfish, ipmi: ipmi, options: o}
}

// Name returns "bluefield".
func (d *Driver) Name() string { return "bluefield" }

// Interfaces lists the implementations of the type, the default first.
func (d *Driver) Interfaces() map[node.Interface][]string {
	list := d.redfish.Interfaces()
	list[node.Firmware] = []string{"bluefield", "no-firmware"}
	list[node.Management] = []string{"bluefield", "noop"}
	list[node.Vendor] = []string{"bluefield", "no-vendor"}
	list[node.Boot] = []string{"http", "pxe", "ipxe", "http-ipxe"}
	return list
}

// Properties lists the driver_info keys: those of Redfish, and for raw commands those of IPMI.
func (d *Driver) Properties() []driver.Property {
	list := d.redfish.Properties()
	if d.ipmi == nil {
		return list
	}
	list = append([]driver.Property(nil), list...)
	for _, p := range d.ipmi.Properties() {
		if p.Key == profileKey {
			continue
		}
		p.Description = "For raw commands: " + p.Description
		list = append(list, p)
	}
	return list
}

// Validate checks driver_info.
func (d *Driver) Validate(info node.Object) error {
	err := d.redfish.Validate(info)
	if d.hasIPMI(info) {
		err = errors.Join(err, d.ipmi.Validate(info))
	}
	if err != nil {
		return fault.New(fault.Invalid, "%s", err.Error())
	}
	return nil
}

func (d *Driver) hasIPMI(info node.Object) bool { return d.ipmi != nil && info["ipmi_address"] != nil }

// Address returns the address of the card's Redfish service.
func (d *Driver) Address(info node.Object) string { return d.redfish.Address(info) }

// Open connects to the card's controller.
func (d *Driver) Open(ctx context.Context, n *node.Node) (driver.Conn, error) {
	base, err := d.redfish.Open(ctx, n)
	if err != nil {
		return nil, err
	}
	s, ok := base.(service)
	if !ok {
		return nil, errors.Join(fault.New(fault.Internal, "the driver under bluefield has no Redfish service"), base.Close())
	}
	c := &Conn{service: s, driver: d}
	if d.hasIPMI(n.DriverInfo) {
		return &rawConn{Conn: c, node: d.rawNode(n)}, nil
	}
	return c, nil
}

// profileKey is the driver_info key of IPMI that says whose raw commands the machine may be sent.
const profileKey = "ipmi_hardware_profile"

// rawNode is n as the IPMI driver shall see it: what a card may be sent is no question of its driver_info.
func (d *Driver) rawNode(n *node.Node) *node.Node {
	seen := *n
	seen.DriverInfo = maps.Clone(n.DriverInfo)
	seen.DriverInfo[profileKey] = driver.BlueFieldRaw
	return &seen
}

// VendorMethods lists none: everything is a step.
func (d *Driver) VendorMethods(string) []driver.VendorMethod { return nil }

// service is what is needed of a Redfish connection.
type service interface {
	driver.Conn
	driver.Addressed
	driver.Boot
	driver.Identifier
	driver.BIOS
	Get(ctx context.Context, path string, into any) error
	Members(ctx context.Context, path string) ([]string, error)
	Post(ctx context.Context, cmd driver.Command, path string, body map[string]any) (driver.Update, error)
	Patch(ctx context.Context, cmd driver.Command, path string, body map[string]any) error
	SimpleUpdate(ctx context.Context, protocol string, body map[string]any) (driver.Update, error)
	ManagerVersion(ctx context.Context) (string, error)
}

// Conn is a connection to one card. Abilities that it does not have itself are those of the Redfish connection.
type Conn struct {
	service
	driver *Driver

	card *card // once read
}

var (
	_ driver.Boot       = (*Conn)(nil)
	_ driver.Identifier = (*Conn)(nil)
)

// Unwrap returns the Redfish connection.
func (c *Conn) Unwrap() driver.Conn { return c.service }

// rawConn adds raw commands over IPMI, on a connection that is opened when the first is sent.
type rawConn struct {
	*Conn
	node *node.Node

	mu  sync.Mutex
	raw driver.Conn
}

var _ driver.Raw = (*rawConn)(nil)

// SendRaw sends a raw command, e.g. 0x32 0x9b for what the host may do. It is relative.
func (c *rawConn) SendRaw(ctx context.Context, request []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw == nil {
		raw, err := c.driver.ipmi.Open(ctx, c.node)
		if err != nil {
			return nil, err
		}
		c.raw = raw
	}
	r, ok := driver.As[driver.Raw](c.raw)
	if !ok {
		return nil, driver.Unsupported("raw commands")
	}
	return r.SendRaw(ctx, request)
}

// Close closes both connections.
func (c *rawConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if c.raw != nil {
		err = c.raw.Close()
		c.raw = nil
	}
	return errors.Join(err, c.Conn.Close())
}
