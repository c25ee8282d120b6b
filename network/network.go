// Package network holds the virtual network port and how it is bound to a function of a card: VNIC types, the binding profile, and the contract
// of a network backend. It is pure.
//
// Names follow the Networking API v2.0 of OpenStack Neutron (extensions binding and binding-extended).
package network

import (
	"context"
	"time"
)

// VNIC types (attribute binding:vnic_type) that riser treats differently from a plain port.
const (
	VNICNormal        = "normal"
	VNICDirect        = "direct"
	VNICRemoteManaged = "remote-managed" // the function's representor lives on the card's own Linux
	VNICBaremetal     = "baremetal"
	VNICSmartNIC      = "smart-nic"
)

// VNICTypes lists every value that binding:vnic_type may have.
var VNICTypes = [...]string{
	"accelerator-direct", "accelerator-direct-physical", VNICBaremetal, VNICDirect, "direct-physical", "macvtap", VNICNormal,
	VNICRemoteManaged, VNICSmartNIC, "vdpa", "virtio-forwarder",
}

// VIF types (attribute binding:vif_type).
const (
	VIFUnbound = "unbound"
	VIFFailed  = "binding_failed"
	VIFOVS     = "ovs"
)

// Port statuses.
const (
	StatusDown   = "DOWN"
	StatusBuild  = "BUILD"
	StatusActive = "ACTIVE"
	StatusError  = "ERROR"
)

// Network is an isolated layer-2 segment.
type Network struct {
	ID        string
	Name      string
	MTU       int    // bytes
	Type      string // geneve, flat, vlan
	Physical  string // physical network of a flat or vlan network
	Segment   int    // VLAN or geneve id, 0 when there is none
	Project   string
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Subnet is an address range of a network.
type Subnet struct {
	ID        string
	NetworkID string
	Name      string
	CIDR      string // IPv4 or IPv6 prefix
	Gateway   string
	DHCP      bool
	DNS       []string
	Project   string
	CreatedAt time.Time
	UpdatedAt time.Time
}

// FixedIP is an address of a port.
type FixedIP struct {
	SubnetID string `json:"subnet_id"`
	Address  string `json:"ip_address"`
}

// Port is a virtual network port.
type Port struct {
	ID           string
	NetworkID    string
	Name         string
	MAC          string // lower case with colons
	FixedIPs     []FixedIP
	VNICType     string
	AdminDown    bool
	DeviceID     string // instance that uses the port
	DeviceOwner  string
	HostID       string // binding:host_id: the hypervisor
	Profile      Profile
	VIFType      string
	Status       string
	StatusReason string // why the status is not ACTIVE, for people
	Generation   int64  // of the last order for this port; rises with each
	PortSecurity bool
	Groups       []string // security groups
	Project      string
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Binding is what a backend is told about a bound port: where its representor is, and which one it is.
type Binding struct {
	Chassis    string // host name of the card's own Linux
	PFMAC      string // MAC of the host's PF, lower case with colons
	VF         int    // VF number; -1 for the PF itself
	MTU        int    // bytes; 0 leaves it
	Generation int64
	PlugByOVN  bool // ovn-controller's representor provider plugs, not riser's agent
}

// State is a backend's answer about a port.
type State struct {
	Port   string
	Up     bool
	Reason string // when not up
}

// Backend programs a network's control plane. Every method is idempotent: repeating it changes nothing, and it leaves what it does not own alone.
//
// A backend MUST NOT report a port as up unless its control plane says so.
type Backend interface {
	// Name is the backend's name in the configuration.
	Name() string

	// EnsureNetwork makes the segment exist as n says.
	EnsureNetwork(ctx context.Context, n Network, subnets []Subnet) error

	// RemoveNetwork removes the segment. It is fault.Conflict while it has ports.
	RemoveNetwork(ctx context.Context, id string) error

	// EnsurePort makes the port exist as p says, bound as b says; nil b means unbound.
	EnsurePort(ctx context.Context, p Port, b *Binding) error

	// RemovePort removes the port.
	RemovePort(ctx context.Context, id string) error

	// State reads whether the port is up. The error is fault.NotFound when the backend does not know the port.
	State(ctx context.Context, id string) (State, error)

	// Watch calls fn for each change of a port's state until ctx ends, and for every port once at the start and after each reconnection.
	Watch(ctx context.Context, fn func(State)) error

	// Close ends the backend's connections.
	Close() error
}
