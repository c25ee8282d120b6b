package node

// Interface is the kind of a hardware interface, as in the API field "<kind>_interface".
type Interface string

// The thirteen kinds, in the API's alphabetical order.
const (
	BIOS       Interface = "bios"
	Boot       Interface = "boot"
	Console    Interface = "console"
	Deploy     Interface = "deploy"
	Firmware   Interface = "firmware"
	Inspect    Interface = "inspect"
	Management Interface = "management"
	Network    Interface = "network"
	Power      Interface = "power"
	RAID       Interface = "raid"
	Rescue     Interface = "rescue"
	Storage    Interface = "storage"
	Vendor     Interface = "vendor"
)

// AllInterfaces lists the kinds in the API's order.
var AllInterfaces = [...]Interface{BIOS, Boot, Console, Deploy, Firmware, Inspect, Management, Network, Power, RAID, Rescue, Storage, Vendor}

// Interfaces names the implementation that a node uses for each kind ("fake", "redfish", "no-bios").
type Interfaces map[Interface]string
