package fake

import (
	"context"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/node"
)

// Manual is the hardware type "manual-management": machines without a controller, powered by a person. What they are told is believed, as
// with fake power.
type Manual struct{}

// NewManual makes the driver.
func NewManual() *Manual { return &Manual{} }

// Name returns "manual-management".
func (m *Manual) Name() string { return "manual-management" }

// Interfaces lists the implementations of the type, the default first.
func (m *Manual) Interfaces() map[node.Interface][]string {
	return map[node.Interface][]string{
		node.BIOS:       {"no-bios"},
		node.Boot:       {"ipxe", "pxe", "http-ipxe", "http"},
		node.Console:    {"no-console", "fake-graphical"},
		node.Deploy:     {"autodetect", "direct", "ansible", "ramdisk", "anaconda", "bootc", "custom-agent", "noop"},
		node.Firmware:   {"no-firmware"},
		node.Inspect:    {"agent", "no-inspect"},
		node.Management: {"noop", "fake"},
		node.Network:    {"flat", "neutron", "ironic-networking", "noop"},
		node.Power:      {"agent", "fake"},
		node.RAID:       {"no-raid", "agent"},
		node.Rescue:     {"no-rescue", "agent"},
		node.Storage:    {"noop", "cinder", "external"},
		node.Vendor:     {"no-vendor"},
	}
}

// Properties lists none.
func (m *Manual) Properties() []driver.Property { return nil }

// Validate accepts everything.
func (m *Manual) Validate(node.Object) error { return nil }

// Address returns "": there is no controller.
func (m *Manual) Address(node.Object) string { return "" }

// Open returns a connection that can do nothing but what the node's power interface "fake" does.
func (m *Manual) Open(_ context.Context, n *node.Node) (driver.Conn, error) {
	if n.Interfaces[node.Power] == "fake" {
		return powered{Power: &Conn{node: n, power: n.Power}}, nil
	}
	return nothing{}, nil
}

type nothing struct{}

func (nothing) Close() error { return nil }

// powered has power and nothing else.
type powered struct {
	nothing
	driver.Power
}
