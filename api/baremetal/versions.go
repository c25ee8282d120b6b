package baremetal

import (
	"fmt"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
)

// Microversions that a call, a field or a value asks for by name. The history below says what each brought.
const (
	mvAvailable          = 2
	mvInternalInfo       = 3
	mvNames              = 5
	mvFields             = 8
	mvProvisionFilter    = 9
	mvFreeNames          = 10
	mvEnroll             = 11
	mvRAID               = 12
	mvStatesLink         = 14
	mvDriverFilter       = 16
	mvPortInternal       = 18
	mvResourceClass      = 21
	mvLookup             = 22
	mvPortgroups         = 23
	mvPortgroupLinks     = 24
	mvChassisUnset       = 25
	mvSoftPower          = 27
	mvVIFs               = 28
	mvNMI                = 29
	mvDynamicDrivers     = 30
	mvInterfaces         = 31
	mvVolume             = 32
	mvRebuildConfigDrive = 35
	mvAgentVersion       = 36
	mvTraits             = 37
	mvInspectWait        = 39
	mvBIOS               = 40
	mvAbortInspect       = 41
	mvFault              = 42
	mvDetail             = 43
	mvResetInterfaces    = 45
	mvConductorGroup     = 46
	mvConductors         = 49
	mvOwner              = 50
	mvDescription        = 51
	mvAllocations        = 52
	mvEvents             = 54
	mvTemplates          = 55
	mvConfigDriveObject  = 56
	mvAllocationPatch    = 57
	mvBackfill           = 58
	mvVendorData         = 59
	mvAllocationOwner    = 60
	mvRetired            = 61
	mvAgentToken         = 62
	mvNetworkType        = 64
	mvLessee             = 65
	mvVIFPorts           = 67
	mvVerifyCA           = 68
	mvDeploySteps        = 69
	mvDisableRamdisk     = 70
	mvAgentStatus        = 72
	mvBIOSRegistry       = 74
	mvBootMode           = 75
	mvSetBootMode        = 76
	mvDriverFields       = 77
	mvHistory            = 78
	mvNameAffinity       = 79
	mvInventory          = 81
	mvShards             = 82
	mvChildren           = 83
	mvContinue           = 84
	mvFirmware           = 86
	mvService            = 87
	mvPortNames          = 88
	mvVirtualMedia       = 89
	mvNoJSONSuffix       = 91
	mvRunbooks           = 92
	mvVirtualMediaRead   = 93
	mvPortNodeName       = 94
	mvInspectionRules    = 96
	mvPortDescription    = 97
	mvPatchEscapes       = 98
	mvGroupFilters       = 99
	mvInstanceName       = 104
	mvPortgroupShards    = 106
	mvServiceRamdisk     = 108
	mvAbortDeploy        = 110
	mvRunbookTraits      = 112
	mvLatest             = 115
)

// history has a sentence for each microversion from 1.1 on.
var history = [...]string{
	1:   "The base: nodes, ports, chassis and drivers.",
	2:   "A node that may be deployed is in state available, which was null before.",
	3:   "Nodes show driver_internal_info.",
	4:   "The state manageable, and the verbs manage and provide.",
	5:   "Nodes may have names.",
	6:   "The verb inspect, inspection_started_at and inspection_finished_at.",
	7:   "Nodes show clean_step.",
	8:   "fields= cuts answers to the named fields.",
	9:   "Nodes are filtered by provision_state.",
	10:  "Names of nodes may have any unreserved character of a URL.",
	11:  "New nodes start in enroll.",
	12:  "RAID configuration of nodes, and the properties of logical disks of drivers.",
	13:  "The verb abort, in clean wait.",
	14:  "Nodes link to their states, drivers to their properties.",
	15:  "Manual cleaning: the verb clean with clean_steps.",
	16:  "Nodes are filtered by driver.",
	17:  "The verb adopt.",
	18:  "Ports show internal_info.",
	19:  "Ports have local_link_connection and pxe_enabled.",
	20:  "Nodes have network_interface.",
	21:  "Nodes have resource_class, and are filtered by it.",
	22:  "Look-up and heartbeat of the agent.",
	23:  "Port groups.",
	24:  "Port groups of a node, ports of a port group, portgroup_uuid of ports.",
	25:  "A node's chassis_uuid may be unset.",
	26:  "Port groups have mode and properties.",
	27:  "Soft power off, soft reboot, and a timeout for power requests.",
	28:  "Virtual interfaces of a node: vifs.",
	29:  "Inject a non-maskable interrupt.",
	30:  "Drivers show their type, their interfaces and the defaults of those.",
	31:  "Nodes have interfaces for boot, console, deploy, inspect, management, power, RAID and vendor calls.",
	32:  "Volume connectors and targets.",
	33:  "Nodes have storage_interface.",
	34:  "Ports have physical_network.",
	35:  "rebuild takes a config drive.",
	36:  "The agent's heartbeat carries its version.",
	37:  "Traits of nodes.",
	38:  "The verbs rescue and unrescue, and rescue_interface.",
	39:  "The state inspect wait is shown.",
	40:  "BIOS settings of nodes, and bios_interface.",
	41:  "abort in inspect wait.",
	42:  "Nodes show fault, and are filtered by it.",
	43:  "detail= asks lists for whole objects.",
	44:  "Nodes show deploy_step.",
	45:  "reset_interfaces= when a node's driver is changed.",
	46:  "Nodes have conductor_group, and are filtered by it.",
	47:  "Nodes have automated_clean.",
	48:  "Nodes have protected and protected_reason.",
	49:  "Conductors; nodes show their conductor and are filtered by it.",
	50:  "Nodes have owner, and are filtered by it.",
	51:  "Nodes have description, and are filtered by text in it.",
	52:  "Allocations.",
	53:  "Ports have is_smartnic.",
	54:  "Events from other services.",
	55:  "Deploy templates.",
	56:  "A config drive may be an object.",
	57:  "Allocations may be changed.",
	58:  "Allocations may be made for a node that is in use.",
	59:  "A config drive may have vendor_data.",
	60:  "Allocations have owner.",
	61:  "Nodes have retired and retired_reason, and are filtered by retired.",
	62:  "The agent proves itself by a token.",
	63:  "Indicators of a node.",
	64:  "network_type in local_link_connection.",
	65:  "Nodes have lessee, and are filtered by it.",
	66:  "Nodes have network_data.",
	67:  "A VIF may name the port or port group to attach to.",
	68:  "The agent's heartbeat carries its certificate.",
	69:  "deploy_steps with the verbs active and rebuild.",
	70:  "disable_ramdisk with the verb clean.",
	71:  "Access by scope: system and project.",
	72:  "The agent's heartbeat carries its status.",
	73:  "The verbs deploy and undeploy.",
	74:  "BIOS settings show the registry's facts about them.",
	75:  "Nodes show boot_mode and secure_boot.",
	76:  "boot_mode and secure_boot may be changed.",
	77:  "fields= for drivers.",
	78:  "History of nodes.",
	79:  "An allocation prefers the node that has its name.",
	80:  "Projects may create and delete nodes of their own.",
	81:  "Inventory of nodes.",
	82:  "Nodes have shard, and are filtered by it; the list of shards.",
	83:  "Nodes have parent_node; lists hide children unless asked; the children of a node.",
	84:  "The agent hands in its inspection.",
	85:  "The verb unhold.",
	86:  "Firmware components of nodes, and firmware_interface.",
	87:  "The verb service with service_steps, and service_step.",
	88:  "Ports may have names.",
	89:  "Attach and detach virtual media.",
	90:  "OVN VTEP keys in local_link_connection.",
	91:  "A name may end in .json.",
	92:  "Runbooks.",
	93:  "Virtual media are listed.",
	94:  "A port may be created with its node's name.",
	95:  "Nodes have disable_power_off.",
	96:  "Inspection rules.",
	97:  "Ports have description, and are filtered by text in it.",
	98:  "~0 and ~1 in the paths of a JSON patch.",
	99:  "Ports and port groups are filtered by conductor_groups.",
	100: "Ports have vendor.",
	101: "Ports have category.",
	102: "Port groups have physical_network.",
	103: "Port groups have category.",
	104: "Nodes have instance_name, and are filtered by it.",
	105: "OVN VTEP keys are gone from local_link_connection.",
	106: "Port groups are filtered by shard.",
	107: "Answers carry X-OpenStack-Request-Id.",
	108: "disable_ramdisk with the verb service.",
	109: "Nodes show health.",
	110: "abort in wait call-back.",
	111: "Ports have available_for_dynamic_portgroup, port groups show dynamic_portgroup.",
	112: "Runbooks have traits and description, and free names.",
	113: "History shows project.",
	114: "Firmware components show vendor, model and serial_number.",
	115: "History shows state, target_provision_state and duration_seconds.",
}

// History returns every microversion with what it brought, oldest first.
func History() []rest.Change {
	list := make([]rest.Change, 0, len(history))
	for minor := 1; minor < len(history); minor++ {
		list = append(list, rest.Change{Minor: minor, Text: history[minor]})
	}
	return list
}

var versions = rest.Versions{
	Service:   "baremetal",
	Header:    "X-OpenStack-Ironic-API-Version",
	MinHeader: "X-OpenStack-Ironic-API-Minimum-Version",
	MaxHeader: "X-OpenStack-Ironic-API-Maximum-Version",
	Major:     1, Min: 1, Max: mvLatest, Default: 1,
}

// need refuses what the version in force does not have yet.
func need(r *rest.Request, minor int) error {
	if r.Version >= minor {
		return nil
	}
	return fault.New(fault.NotAcceptable, "Request not acceptable. The minimal required API version should be %s", versions.Format(minor))
}

// notAcceptable is the answer to a field of a request that the version in force does not have.
func notAcceptable() error { return fault.New(fault.NotAcceptable, "Request not acceptable.") }

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

func conflict(format string, args ...any) error {
	return &fault.Error{Kind: fault.Conflict, Text: fmt.Sprintf(format, args...)}
}
