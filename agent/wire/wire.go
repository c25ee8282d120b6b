// Package wire is what riser's agents and its server say to each other: JSON over HTTP, under /agents/v1.
//
//	POST /agents/v1/hosts/{host}/report      HostReport  -> Reply
//	POST /agents/v1/hosts/{host}/heartbeat   Heartbeat   -> Reply
//	POST /agents/v1/dpus/{serial}/report     DPUReport   -> Reply
//	POST /agents/v1/dpus/{serial}/heartbeat  Heartbeat   -> Reply
//	GET  /agents/v1/dpus/{serial}/orders?after=N&wait=20s -> Orders
//	POST /agents/v1/dpus/{serial}/status     StatusReport -> Reply
//
// A host agent has no way to order a DPU: it reports what its own host holds. Orders are made by the server alone, and a DPU agent sees those
// of its own card only. An error is answered with a status of 4xx or 5xx and an Error.
package wire

import "time"

// Version is the version of this protocol. A host's service version is compared across the fleet before remote-managed ports are used.
//
//	1: inventory as ranges per PF, orders with generations
const Version = 1

// Error is the body of an answer that is not 2xx.
type Error struct {
	Error string `json:"error"`
}

// Reply is the server's answer to a report.
type Reply struct {
	Node       string        `json:"node,omitempty"`       // UUID of the node that the reporter belongs to, once it is known
	Interval   time.Duration `json:"interval"`             // nanoseconds until the next heartbeat is due
	Lease      time.Duration `json:"lease"`                // nanoseconds after which a silent agent counts as dead
	Rediscover bool          `json:"rediscover,omitempty"` // send a whole report now
	Problems   []string      `json:"problems,omitempty"`   // what the server could not take, and why; for the agent's log and its operator
}

// Heartbeat says that an agent lives.
type Heartbeat struct {
	Version     int    `json:"version"`
	Fingerprint string `json:"fingerprint"` // of the last report the agent sent; the server asks for a new one when it has another
}

// HostReport is everything a hypervisor has: what is not in it is gone.
type HostReport struct {
	Version      int    `json:"version"`
	Fingerprint  string `json:"fingerprint"`
	SystemUUID   string `json:"system_uuid"` // DMI system UUID, lower case with hyphens
	SystemSerial string `json:"system_serial,omitempty"`
	Cards        []Card `json:"cards"`
	Virt         Virt   `json:"virt"`
}

// Virt is what the hypervisor's virtualization can do.
type Virt struct {
	Driver        string   `json:"driver"` // libvirt, fake, none
	VCPUs         int      `json:"vcpus,omitempty"`
	MemoryMB      int      `json:"memory_mb,omitempty"`
	Traits        []string `json:"traits,omitempty"`
	DriverVersion string   `json:"driver_version,omitempty"`
}

// Card is a PCI card with SR-IOV functions. Serial, UUID and part number are as its VPD says, blanks trimmed; Problem says why a card cannot
// be used ("VPD: bad checksum", "serial N/A is a placeholder").
type Card struct {
	Serial     string `json:"serial"`
	UUID       string `json:"uuid,omitempty"`
	PartNumber string `json:"part_number,omitempty"`
	Name       string `json:"name,omitempty"`
	Problem    string `json:"problem,omitempty"`
	PFs        []PF   `json:"pfs"`
}

// PF is a physical function with its VFs as ranges.
type PF struct {
	Address         string  `json:"address"` // "0000:82:00.0"
	Vendor          string  `json:"vendor"`  // four hexadecimal digits
	Product         string  `json:"product"`
	VFProduct       string  `json:"vf_product,omitempty"`
	MAC             string  `json:"mac,omitempty"`    // of the PF's netdev, lower case with colons
	Netdev          string  `json:"netdev,omitempty"` // its name
	NUMANode        int     `json:"numa_node"`        // -1 when there is none
	TotalVFs        int     `json:"total_vfs"`
	VFs             []Range `json:"vfs,omitempty"`
	PhysicalNetwork *string `json:"physical_network"` // of the device spec that matched its VFs
	RemoteManaged   bool    `json:"remote_managed"`   // its VFs matched a device spec that says so
	Reason          string  `json:"reason,omitempty"` // which spec matched, or why none did
}

// Range is a run of VFs with consecutive numbers whose addresses rise by a constant stride.
type Range struct {
	First   int    `json:"first"`   // number of the first VF
	Count   int    `json:"count"`   // at least 1
	Address string `json:"address"` // of the first VF
	Stride  int    `json:"stride"`  // between two addresses, in routing IDs (PCI 9.3.3.10, VF Stride)
	Product string `json:"product"` // four hexadecimal digits
}

// DPUReport is what a card's own Linux says of the card.
type DPUReport struct {
	Version     int          `json:"version"`
	Fingerprint string       `json:"fingerprint"`
	Serial      string       `json:"serial"`
	Source      string       `json:"source"` // where the serial was read: devlink, vpd, config
	UUID        string       `json:"uuid,omitempty"`
	PartNumber  string       `json:"part_number,omitempty"`
	Chassis     string       `json:"chassis"`             // host name of this Linux: OVN's chassis host name
	SystemID    string       `json:"system_id,omitempty"` // Open vSwitch external_ids:system-id
	BMCAddress  string       `json:"bmc_address,omitempty"`
	Bridge      string       `json:"bridge"` // integration bridge
	Uplinks     []Uplink     `json:"uplinks,omitempty"`
	Controllers []Controller `json:"controllers,omitempty"`
	Problems    []string     `json:"problems,omitempty"`
}

// Uplink is a physical port of the card.
type Uplink struct {
	Handle          string `json:"handle"` // devlink handle, "pci/0000:03:00.0"
	Number          int    `json:"number"`
	Netdev          string `json:"netdev,omitempty"`
	PhysicalNetwork string `json:"physical_network,omitempty"`
}

// Controller is a host that the card serves.
type Controller struct {
	Number   int    `json:"number"`
	External bool   `json:"external"`
	PFs      []Host `json:"pfs"`
}

// Host is a host's PF as the card sees it.
type Host struct {
	Handle string `json:"handle"`
	Number int    `json:"number"`
	MAC    string `json:"mac"` // of the host's PF
	VFs    int    `json:"vfs"` // representors present
	SFs    int    `json:"sfs,omitempty"`
}

// Actions of an order.
const (
	Plug   = "plug"
	Unplug = "unplug"
)

// Kinds of a function.
const (
	KindVF = "vf"
	KindPF = "pf"
	KindSF = "sf"
)

// Order says what the card must do about one port. An order replaces every earlier one for the same port; an agent refuses one with a lower
// generation than it has carried out.
type Order struct {
	Port       string `json:"port"` // UUID; also the interface's iface-id
	Generation int64  `json:"generation"`
	Revision   int64  `json:"revision"`
	Action     string `json:"action"`
	Kind       string `json:"kind"`
	PFMAC      string `json:"pf_mac"` // of the host's PF
	Number     int    `json:"number"` // VF or SF number; 0 for a PF
	MAC        string `json:"mac"`    // of the port
	MTU        int    `json:"mtu,omitempty"`
	ByOVN      bool   `json:"by_ovn,omitempty"` // ovn-controller plugs; the agent only reports
}

// Orders are the orders of a card after a revision, or all of them.
type Orders struct {
	Revision int64   `json:"revision"` // give it as after in the next request
	Full     bool    `json:"full"`     // the list is complete: what the agent owns beyond it is to be unplugged
	Orders   []Order `json:"orders"`
}

// States of a port on its card.
const (
	Plugged   = "plugged"
	Waiting   = "waiting"
	Failed    = "failed"
	Unplugged = "unplugged"
)

// PortStatus is what a card did about an order. It is believed only together with the generation it speaks of.
type PortStatus struct {
	Port        string `json:"port"`
	Generation  int64  `json:"generation"`
	State       string `json:"state"`
	Reason      string `json:"reason,omitempty"` // what is waited for, or why it failed
	Representor string `json:"representor,omitempty"`
	Installed   bool   `json:"installed,omitempty"` // OVN reports the flows as installed
}

// StatusReport carries the status of some ports.
type StatusReport struct {
	Ports []PortStatus `json:"ports"`
}
