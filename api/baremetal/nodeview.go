package baremetal

import (
	"strings"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/node"
)

// nodeView is a node as the API shows it.
type nodeView struct {
	UUID                 string          `json:"uuid"`
	CreatedAt            time.Time       `json:"created_at"`
	UpdatedAt            time.Time       `json:"updated_at"`
	AutomatedClean       *bool           `json:"automated_clean" since:"47"`
	BIOSInterface        string          `json:"bios_interface" since:"40" zero:"null"`
	BootInterface        string          `json:"boot_interface" since:"31" zero:"null"`
	BootMode             string          `json:"boot_mode" since:"75" zero:"null"`
	CleanStep            node.Object     `json:"clean_step" since:"7"`
	ConductorGroup       string          `json:"conductor_group" since:"46"`
	ConsoleEnabled       bool            `json:"console_enabled"`
	ConsoleInterface     string          `json:"console_interface" since:"31" zero:"null"`
	DisablePowerOff      bool            `json:"disable_power_off" since:"95"`
	DeployInterface      string          `json:"deploy_interface" since:"31" zero:"null"`
	DeployStep           node.Object     `json:"deploy_step" since:"44"`
	Description          string          `json:"description" since:"51" zero:"null"`
	Driver               string          `json:"driver"`
	DriverInfo           node.Object     `json:"driver_info"`
	DriverInternalInfo   node.Object     `json:"driver_internal_info" since:"3"`
	Extra                node.Object     `json:"extra"`
	Fault                string          `json:"fault" since:"42" zero:"null"`
	FirmwareInterface    string          `json:"firmware_interface" since:"86" zero:"null"`
	Health               string          `json:"health" since:"109" zero:"null"`
	InspectionFinishedAt time.Time       `json:"inspection_finished_at" since:"6"`
	InspectionStartedAt  time.Time       `json:"inspection_started_at" since:"6"`
	InspectInterface     string          `json:"inspect_interface" since:"31" zero:"null"`
	InstanceInfo         node.Object     `json:"instance_info"`
	InstanceName         string          `json:"instance_name" since:"104" zero:"null"`
	InstanceUUID         string          `json:"instance_uuid" zero:"null"`
	LastError            string          `json:"last_error" zero:"null"`
	Lessee               string          `json:"lessee" since:"65" zero:"null"`
	Maintenance          bool            `json:"maintenance"`
	MaintenanceReason    string          `json:"maintenance_reason" zero:"null"`
	ManagementInterface  string          `json:"management_interface" since:"31" zero:"null"`
	Name                 string          `json:"name" since:"5" zero:"null"`
	NetworkData          node.Object     `json:"network_data" since:"66"`
	NetworkInterface     string          `json:"network_interface" since:"20" zero:"null"`
	Owner                string          `json:"owner" since:"50" zero:"null"`
	Parent               string          `json:"parent_node" since:"83" zero:"null"`
	PowerInterface       string          `json:"power_interface" since:"31" zero:"null"`
	Power                node.PowerState `json:"power_state" zero:"null"`
	Properties           node.Object     `json:"properties"`
	Protected            bool            `json:"protected" since:"48"`
	ProtectedReason      string          `json:"protected_reason" since:"48" zero:"null"`
	Provision            node.State      `json:"provision_state" zero:"null"`
	ProvisionUpdatedAt   time.Time       `json:"provision_updated_at"`
	RAIDConfig           node.Object     `json:"raid_config" since:"12"`
	RAIDInterface        string          `json:"raid_interface" since:"31" zero:"null"`
	RescueInterface      string          `json:"rescue_interface" since:"38" zero:"null"`
	Reservation          string          `json:"reservation" zero:"null"`
	ResourceClass        string          `json:"resource_class" since:"21" zero:"null"`
	Retired              bool            `json:"retired" since:"61"`
	RetiredReason        string          `json:"retired_reason" since:"61" zero:"null"`
	SecureBoot           *bool           `json:"secure_boot" since:"75"`
	ServiceStep          node.Object     `json:"service_step" since:"87"`
	Shard                string          `json:"shard" since:"82" zero:"null"`
	StorageInterface     string          `json:"storage_interface" since:"33" zero:"null"`
	TargetPower          node.PowerState `json:"target_power_state" zero:"null"`
	TargetProvision      node.State      `json:"target_provision_state" zero:"null"`
	TargetRAIDConfig     node.Object     `json:"target_raid_config" since:"12"`
	Traits               []string        `json:"traits" since:"37"`
	VendorInterface      string          `json:"vendor_interface" since:"31" zero:"null"`
	Links                links           `json:"links"`
	Conductor            string          `json:"conductor" since:"49" zero:"null"`
	AllocationUUID       string          `json:"allocation_uuid" since:"52" zero:"null"`
	ChassisUUID          string          `json:"chassis_uuid" zero:"null"`
	Ports                links           `json:"ports" with:"all"`
	States               links           `json:"states" since:"14" with:"all"`
	Portgroups           links           `json:"portgroups" since:"24" with:"all"`
	Volume               links           `json:"volume" since:"32" with:"all"`
}

var nodes = rest.NewView[nodeView]()

// nodeListFields are the fields of a list that was not asked for others.
var nodeListFields = []string{"instance_uuid", "maintenance", "power_state", "provision_state", "uuid", "name", "links"}

// show fills the view of n as the given version shows it. host is the host name of the conductor that holds n.
func (v *nodeView) show(n *node.Node, version int, base, host string) {
	i := n.Interfaces
	*v = nodeView{
		UUID: n.UUID, CreatedAt: n.CreatedAt, UpdatedAt: n.UpdatedAt, AutomatedClean: n.AutomatedClean,
		BIOSInterface: i[node.BIOS], BootInterface: i[node.Boot], BootMode: n.BootMode, CleanStep: n.CleanStep,
		ConductorGroup: n.ConductorGroup, ConsoleEnabled: n.ConsoleEnabled, ConsoleInterface: i[node.Console],
		DisablePowerOff: n.DisablePowerOff, DeployInterface: i[node.Deploy], DeployStep: n.DeployStep, Description: n.Description,
		Driver: n.Driver, DriverInfo: masked(n.DriverInfo), DriverInternalInfo: masked(n.DriverInternalInfo), Extra: n.Extra, Fault: n.Fault,
		FirmwareInterface: i[node.Firmware], Health: n.Health, InspectionFinishedAt: n.InspectionFinishedAt,
		InspectionStartedAt: n.InspectionStartedAt, InspectInterface: i[node.Inspect], InstanceInfo: masked(n.InstanceInfo),
		InstanceName: n.InstanceName, InstanceUUID: n.InstanceUUID, LastError: n.LastError, Lessee: n.Lessee, Maintenance: n.Maintenance,
		MaintenanceReason: n.MaintenanceReason, ManagementInterface: i[node.Management], Name: n.Name, NetworkData: n.NetworkData,
		NetworkInterface: i[node.Network], Owner: n.Owner, Parent: n.Parent, PowerInterface: i[node.Power], Power: n.Power,
		Properties: n.Properties, Protected: n.Protected, ProtectedReason: n.ProtectedReason, Provision: shownState(n.Provision, version),
		ProvisionUpdatedAt: n.ProvisionUpdatedAt, RAIDConfig: n.RAIDConfig, RAIDInterface: i[node.RAID], RescueInterface: i[node.Rescue],
		Reservation: n.Reservation, ResourceClass: n.ResourceClass, Retired: n.Retired, RetiredReason: n.RetiredReason,
		SecureBoot: n.SecureBoot, ServiceStep: n.ServiceStep, Shard: n.Shard, StorageInterface: i[node.Storage], TargetPower: n.TargetPower,
		TargetProvision: shownState(n.TargetProvision, version), TargetRAIDConfig: n.TargetRAIDConfig, Traits: n.Traits,
		VendorInterface: i[node.Vendor], Conductor: host, AllocationUUID: n.AllocationUUID, ChassisUUID: n.ChassisUUID,
		Links:      links{base: base, path: "nodes", id: n.UUID},
		Ports:      links{base: base, path: "nodes", id: n.UUID, part: "/ports"},
		States:     links{base: base, path: "nodes", id: n.UUID, part: "/states"},
		Portgroups: links{base: base, path: "nodes", id: n.UUID, part: "/portgroups"},
		Volume:     links{base: base, path: "nodes", id: n.UUID, part: "/volume"},
	}
}

// shownState is a state as a version spells it: one that came later is shown as what it was before.
func shownState(s node.State, version int) node.State {
	switch {
	case s == node.Available && version < mvAvailable:
		return ""
	case s == node.InspectWait && version < mvInspectWait:
		return node.Inspecting
	}
	return s
}

// masked returns o with every secret in it hidden, at any depth. o itself stays as it is.
func masked(o node.Object) node.Object {
	for k, v := range o {
		if hidden := maskedValue(k, v); hidden != nil {
			c := make(node.Object, len(o))
			for k, v := range o {
				if hidden := maskedValue(k, v); hidden != nil {
					v = hidden
				}
				c[k] = v
			}
			return c
		}
	}
	return o
}

// maskedValue returns what is shown in place of v under key k, or nil when v may be shown.
func maskedValue(k string, v any) any {
	switch v := v.(type) {
	case string:
		if v != "" && v != node.Masked && node.SecretKey(k) {
			return node.Masked
		}
	case map[string]any:
		if containsSecret(v) {
			return masked(v)
		}
	}
	return nil
}

func containsSecret(o map[string]any) bool {
	for k, v := range o {
		if maskedValue(k, v) != nil {
			return true
		}
	}
	return false
}

// nodeColumns returns the columns of the store that the named fields need; nil means all.
func nodeColumns(fields []string) []string {
	if fields == nil {
		return nil
	}
	columns := []string{"uuid", "owner", "lessee"} // the owner and lessee are what a policy asks for
	for _, f := range fields {
		switch {
		case strings.HasSuffix(f, "_interface"):
			columns = append(columns, "interfaces")
		case f == "conductor":
			columns = append(columns, "lease_shard")
		case f == "links" || f == "traits":
		default:
			columns = append(columns, f)
		}
	}
	return columns
}
