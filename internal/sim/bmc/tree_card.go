package bmc

import (
	"strings"
	"time"
)

// cardResource returns the resources that only a BlueField-3 has.
func (c *Controller) cardResource(path string) (obj, bool) {
	m, n := c.machine, c.machine.names()
	adapter := n.chassis + "/NetworkAdapters/NvidiaNetworkAdapter"
	switch path {
	case root + "/Chassis":
		return collection(path, "ChassisCollection", children(path, "Bluefield_BMC", "Bluefield_ERoT", "Card1")...), true
	case n.chassis:
		return resource(path, "Chassis.v1_22_0.Chassis", "Card1", obj{
			"ChassisType": "Card", "Manufacturer": m.Manufacturer, "Model": m.Model, "PowerState": m.powerWord(), "UUID": "", "AssetTag": "N/A",
			"SerialNumber": m.Serial + "            ", "PartNumber": m.PartNumber + "   ",
			"NetworkAdapters": link(n.chassis + "/NetworkAdapters"), "Sensors": link(path + "/Sensors"),
			"Links": obj{"ComputerSystems": links(n.system), "ManagedBy": links(n.manager)},
		}), true
	case root + "/Chassis/Bluefield_BMC":
		return resource(path, "Chassis.v1_22_0.Chassis", "Bluefield_BMC", obj{"ChassisType": "Module", "SerialNumber": m.Serial}), true
	case root + "/Chassis/Bluefield_ERoT":
		status := "Completed"
		if time.Now().Before(m.config.copying) {
			status = "InProgress"
		}
		return resource(path, "Chassis.v1_22_0.Chassis", "Bluefield_ERoT", obj{
			"ChassisType": "Component", "SerialNumber": "", "Oem": obj{"Nvidia": obj{"AutomaticBackgroundCopyEnabled": true,
				"BackgroundCopyStatus": status}},
		}), true
	case n.chassis + "/Sensors":
		return collection(path, "SensorCollection", children(path, "soc_temperature")...), true
	case n.chassis + "/Sensors/soc_temperature":
		return sensor(path, "soc temperature", "Temperature", "Cel", 58), true
	case n.chassis + "/NetworkAdapters":
		return collection(path, "NetworkAdapterCollection", adapter), true
	case adapter:
		return resource(path, "NetworkAdapter.v1_9_0.NetworkAdapter", "NvidiaNetworkAdapter", obj{
			"Manufacturer": "Nvidia", "NetworkDeviceFunctions": link(path + "/NetworkDeviceFunctions"),
		}), true
	case adapter + "/NetworkDeviceFunctions":
		return collection(path, "NetworkDeviceFunctionCollection", children(path, "eth0f0")...), true
	case adapter + "/NetworkDeviceFunctions/eth0f0":
		return resource(path, "NetworkDeviceFunction.v1_9_0.NetworkDeviceFunction", "eth0f0", obj{"Ethernet": obj{"MACAddress": m.BaseMAC,
			"MTUSize": 1500}}), true
	case n.manager + "/Oem/Nvidia":
		return obj{"BmcRShim": obj{"BmcRShimEnabled": m.config.bmcRshim && m.config.hostRshim == "Disabled"}}, true
	case n.system + "/Oem/Nvidia":
		return c.nvidiaSystem(path), true
	case n.system + "/Oem/Nvidia/Connectx/ExternalHostPrivileges":
		return resource(path, "NvidiaExternalHostPrivileges.v1_0_0", "External Host Privileges", obj{
			"ExternalHostPrivilege": m.config.privileges,
			"Actions":               obj{"#ExternalHostPrivilege.Set": obj{"target": path + "/Actions/ExternalHostPrivileges.Set"}},
		}), true
	}
	return nil, false
}

func (c *Controller) nvidiaSystem(path string) obj {
	m := c.machine
	mac := strings.ReplaceAll(m.BaseMAC, ":", "")
	return obj{
		"@odata.id": path, "@odata.type": "#NvidiaComputerSystem.v1_0_0.NvidiaComputerSystem",
		"BaseGUID": mac[:6] + "0300" + mac[6:], "BaseMAC": mac, "HostRshim": m.config.hostRshim, "Mode": m.config.mode,
		"Description": "NVIDIA BlueField-3 B3220 P-Series FHHL DPU; 200GbE (default mode) / NDR200 IB; Dual-port QSFP112; 16 Arm cores; 32GB on-board DDR",
		"Connectx":    obj{"ExternalHostPrivilege": link(path + "/Connectx/ExternalHostPrivileges")},
		"Actions": obj{
			"#HostRshim.Set":  obj{"target": path + "/Actions/HostRshim.Set"},
			"#Mode.Set":       obj{"target": path + "/Actions/Mode.Set"},
			"#SOC.ForceReset": obj{"target": path + "/SOC.ForceReset"},
		},
	}
}
