// Package node holds the bare-metal node and its rules: states and verbs, parent and child, requested steps, secrets. It is pure: it reads no
// clock, no store and no network.
//
// Names, fields and rules follow the Bare Metal API of OpenStack Ironic, microversions 1.1 to 1.115.
package node

import (
	"time"
)

// Object is a JSON object of free form. A nil Object is written as {}.
type Object = map[string]any

// Node is a machine with a management controller: a server, or a DPU card inside one (then Parent is set). A DPU's node carries the card's
// identity too, so that the card behind a serial number and the node are one record.
//
// An empty string stands for the API's null, a zero time for "never", a nil pointer for "not set".
type Node struct {
	ID      int64 // row number, rising with creation; never shown
	Version int64 // row version, rising with each write; a write names the version it read
	Lease   int   // shard of the lease that covers the node: the shard of its root

	UUID   string
	Name   string
	Driver string // hardware type

	DriverInfo         Object
	DriverInternalInfo Object
	Properties         Object
	InstanceInfo       Object
	Extra              Object
	NetworkData        Object
	RAIDConfig         Object
	TargetRAIDConfig   Object

	InstanceUUID   string
	InstanceName   string
	ChassisUUID    string
	AllocationUUID string
	Parent         string // UUID of the parent node

	Power                PowerState
	TargetPower          PowerState
	Provision            State
	TargetProvision      State
	ProvisionUpdatedAt   time.Time
	CreatedAt            time.Time
	UpdatedAt            time.Time
	InspectionStartedAt  time.Time
	InspectionFinishedAt time.Time

	LastError         string
	Reservation       string // host name of the conductor that holds the node
	Maintenance       bool
	MaintenanceReason string
	Fault             string
	Health            string // OK, WARNING, CRITICAL

	ConsoleEnabled bool
	CleanStep      Object
	DeployStep     Object
	ServiceStep    Object

	ResourceClass  string
	Interfaces     Interfaces
	Traits         []string // sorted; filled on demand
	ConductorGroup string
	AutomatedClean *bool

	Protected       bool
	ProtectedReason string
	Retired         bool
	RetiredReason   string
	Owner           string
	Lessee          string
	Description     string
	Shard           string // the API's own shard label, for clients; not the lease shard
	BootMode        string // bios, uefi
	SecureBoot      *bool
	DisablePowerOff bool

	Card Card
}

// Card is the identity of the DPU card that a child node stands for. Serial is unique among nodes.
type Card struct {
	Serial     string // VPD keyword SN, blanks trimmed
	UUID       string // VPD keyword V3, the card's own UUID, if it has one
	PartNumber string // VPD keyword PN, blanks trimmed
	Chassis    string // host name of the card's own Linux: the OVN chassis host name
}

// IsChild reports whether the node has a parent.
func (n *Node) IsChild() bool { return n.Parent != "" }

// Root returns the UUID of the node whose lease covers n: its parent, or n itself.
func (n *Node) Root() string {
	if n.Parent != "" {
		return n.Parent
	}
	return n.UUID
}

// Label returns the name a person knows the node by: its name, else its UUID.
func (n *Node) Label() string {
	if n.Name != "" {
		return n.Name
	}
	return n.UUID
}

// PowerState is a power state as the API spells it.
type PowerState string

// Power states, and the targets that a power request may name besides them.
const (
	PowerOn       PowerState = "power on"
	PowerOff      PowerState = "power off"
	PowerError    PowerState = "error"
	Rebooting     PowerState = "rebooting"
	SoftPowerOff  PowerState = "soft power off"
	SoftRebooting PowerState = "soft rebooting"
)

// Known faults of a node (API field fault).
const (
	FaultPower   = "power failure"
	FaultClean   = "clean failure"
	FaultService = "service failure"
	FaultRescue  = "rescue abort failure"
)

// DedicatedSupply reports whether the child has a power supply of its own, so that its power does not follow its parent's slot. The key is
// driver_info has_dedicated_power_supply; text forms of a boolean count as what they say ("false" is false), anything else as false.
func (n *Node) DedicatedSupply() bool {
	b, err := ParseBool(n.DriverInfo["has_dedicated_power_supply"])
	return err == nil && b
}

// SlotPowered reports whether the node is a child that draws its power from its parent's slot.
func (n *Node) SlotPowered() bool { return n.IsChild() && !n.DedicatedSupply() }
