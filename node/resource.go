package node

import "time"

// Record is what every resource of the API has besides its own fields.
type Record struct {
	ID        int64 // row number, rising with creation; never shown
	UUID      string
	CreatedAt time.Time
	UpdatedAt time.Time // zero until the first change
}

// Chassis groups nodes by the box they are in.
type Chassis struct {
	Record
	Description string
	Extra       Object
}

// Port is a network interface of a node, as the bare-metal API knows it.
type Port struct {
	Record
	NodeUUID       string
	Address        string // MAC, lower case with colons; unique
	Name           string
	Extra          Object
	InternalInfo   Object // tenant_vif_port_id names the attached VIF
	LocalLink      Object // local_link_connection: the switch port, or the smart NIC, behind the port
	PXEEnabled     bool
	PortgroupUUID  string
	PhysicalNet    string
	SmartNIC       bool // the port is one of a smart NIC, which has to be up for the node to boot from the network
	Description    string
	Vendor         string
	Category       string
	DynamicAllowed bool // may be taken into a dynamic port group
}

// Portgroup is several ports bound into one.
type Portgroup struct {
	Record
	NodeUUID        string
	Name            string
	Address         string // MAC or empty
	Extra           Object
	InternalInfo    Object
	StandalonePorts bool // its ports may be used alone
	Mode            string
	Properties      Object
	PhysicalNet     string
	Category        string
	Dynamic         bool
}

// VIFKey is the key in the internal_info of a port or port group that names the attached VIF.
const VIFKey = "tenant_vif_port_id"

// VIF returns the ID of the VIF that is attached to the port, or "".
func (p *Port) VIF() string { return vifIn(p.InternalInfo) }

// VIF returns the ID of the VIF that is attached to the port group, or "".
func (p *Portgroup) VIF() string { return vifIn(p.InternalInfo) }

func vifIn(o Object) string {
	id, _ := o[VIFKey].(string)
	return id
}

// VolumeConnector is an initiator of a node: the identity with which it reaches volumes.
type VolumeConnector struct {
	Record
	NodeUUID    string
	Type        string // iqn, ip, mac, wwnn, wwpn, port, portgroup
	ConnectorID string // unique with Type
	Extra       Object
}

// VolumeTarget is a volume that a node boots from or uses.
type VolumeTarget struct {
	Record
	NodeUUID   string
	VolumeType string
	VolumeID   string
	BootIndex  int // unique in a node; 0 is the volume it boots from
	Properties Object
	Extra      Object
}

// BIOSSetting is a setting of a node's BIOS with what its registry says of it (DSP0268, AttributeRegistry).
type BIOSSetting struct {
	Name            string    `json:"name"`
	Value           any       `json:"value"`
	AttributeType   string    `json:"attribute_type,omitempty"`
	AllowableValues []any     `json:"allowable_values,omitempty"`
	LowerBound      *int      `json:"lower_bound,omitempty"`
	UpperBound      *int      `json:"upper_bound,omitempty"`
	MinLength       *int      `json:"min_length,omitempty"`
	MaxLength       *int      `json:"max_length,omitempty"`
	ReadOnly        *bool     `json:"read_only,omitempty"`
	ResetRequired   *bool     `json:"reset_required,omitempty"`
	Unique          *bool     `json:"unique,omitempty"`
	CreatedAt       time.Time `json:"-"`
	UpdatedAt       time.Time `json:"-"`
}

// FirmwareComponent is a piece of firmware of a node.
type FirmwareComponent struct {
	Component      string    `json:"component"` // bios, bmc, nic:1, ...
	InitialVersion string    `json:"initial_version,omitempty"`
	CurrentVersion string    `json:"current_version,omitempty"`
	LastFlashed    string    `json:"last_version_flashed,omitempty"`
	Vendor         string    `json:"vendor,omitempty"`
	Model          string    `json:"model,omitempty"`
	SerialNumber   string    `json:"serial_number,omitempty"`
	CreatedAt      time.Time `json:"-"`
	UpdatedAt      time.Time `json:"-"`
}

// Inventory is what an inspection found.
type Inventory struct {
	Inventory  Object
	PluginData Object
}
