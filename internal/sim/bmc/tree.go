package bmc

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const root = "/redfish/v1"

// names are the ids that differ between hosts and cards.
type names struct {
	system, manager, chassis string
	resets                   []string
	targets                  []string // of the boot override
	storage                  []string
}

var (
	hostNames = names{
		system: root + "/Systems/1", manager: root + "/Managers/1", chassis: root + "/Chassis/1",
		resets:  []string{"On", "ForceOff", "ForceRestart", "GracefulRestart", "GracefulShutdown", "PushPowerButton", "Nmi", "PowerCycle"},
		targets: []string{"None", "Pxe", "Floppy", "Cd", "Usb", "Hdd", "BiosSetup", "UefiHttp"},
		storage: []string{root + "/Systems/1/Storage/1"},
	}
	cardNames = names{
		system: root + "/Systems/Bluefield", manager: root + "/Managers/Bluefield_BMC", chassis: root + "/Chassis/Card1",
		resets:  []string{"On", "ForceOff", "ForceOn", "ForceRestart", "GracefulRestart", "GracefulShutdown", "PowerCycle", "Nmi"},
		targets: []string{"None", "Pxe", "UefiHttp", "UefiShell", "UefiTarget", "UefiBootNext"},
	}
)

func (m *Machine) names() *names {
	if m.Slot > 0 {
		return &cardNames
	}
	return &hostNames
}

func link(path string) obj { return obj{"@odata.id": path} }

func links(paths ...string) []any {
	l := make([]any, len(paths))
	for i, p := range paths {
		l[i] = link(p)
	}
	return l
}

// resource makes a resource (DSP0266, section Resources).
func resource(path, kind, name string, fields obj) obj {
	o := obj{"@odata.id": path, "@odata.type": "#" + kind, "Id": path[strings.LastIndex(path, "/")+1:], "Name": name}
	maps.Copy(o, fields)
	return o
}

func collection(path, kind string, members ...string) obj {
	return obj{"@odata.id": path, "@odata.type": "#" + kind + "." + kind, "Name": kind, "Members": links(members...), "Members@odata.count": len(members)}
}

func children(path string, ids ...string) []string {
	l := make([]string, len(ids))
	for i, id := range ids {
		l[i] = path + "/" + id
	}
	return l
}

// get returns the resource at path. The server's lock is held.
func (c *Controller) get(path string, now time.Time) (obj, bool) {
	m, n := c.machine, c.machine.names()
	switch path {
	case root:
		return c.root(), true
	case root + "/Systems":
		return collection(path, "ComputerSystemCollection", n.system), true
	case root + "/Managers":
		return collection(path, "ManagerCollection", n.manager), true
	case n.system:
		return c.system(now), true
	case n.system + "/Settings":
		return resource(path, "ComputerSystem.v1_17_0.ComputerSystem", "Pending Settings", obj{"Boot": m.bootBody()}), m.Slot > 0
	case n.system + "/ResetActionInfo":
		return resource(path, "ActionInfo.v1_1_2.ActionInfo", "Reset Action Info", obj{"Parameters": []any{
			obj{"Name": "ResetType", "Required": true, "DataType": "String", "AllowableValues": n.resets},
		}}), true
	case n.system + "/Bios":
		return c.bios(), true
	case n.system + "/Bios/Settings":
		return resource(path, "Bios.v1_2_0.Bios", "BIOS Configuration", obj{"Attributes": orEmpty(m.config.biosNext)}), true
	case n.system + "/SecureBoot":
		return c.secureBoot(), true
	case n.system + "/Storage":
		return collection(path, "StorageCollection", m.names().storage...), true
	case n.manager:
		return c.manager(), true
	case root + "/UpdateService":
		return c.updateService(), true
	case root + "/UpdateService/FirmwareInventory":
		return collection(path, "SoftwareInventoryCollection", children(path, slices.Sorted(maps.Keys(m.config.firmware))...)...), true
	case root + "/SessionService":
		return resource(path, "SessionService.v1_1_8.SessionService", "Session Service", obj{"ServiceEnabled": true, "SessionTimeout": 1800,
			"Sessions": link(sessionsPath)}), true
	case sessionsPath:
		return c.sessionList(), true
	case root + "/TaskService":
		return resource(path, "TaskService.v1_1_4.TaskService", "Task Service", obj{"ServiceEnabled": true, "Tasks": link(tasksPath)}), true
	case tasksPath:
		return c.taskList(), true
	}
	if id, ok := strings.CutPrefix(path, root+"/UpdateService/FirmwareInventory/"); ok {
		return c.firmware(path, id)
	}
	if strings.HasPrefix(path, tasksPath+"/") {
		return c.taskBody(path)
	}
	if strings.HasPrefix(path, sessionsPath+"/") {
		return c.session(path)
	}
	if m.Slot > 0 {
		return c.cardResource(path)
	}
	return c.hostResource(path)
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

func (c *Controller) root() obj {
	n := c.machine.names()
	o := resource(root, "ServiceRoot.v1_15_0.ServiceRoot", "Root Service", obj{
		"RedfishVersion": "1.17.0", "UUID": c.machine.UUID, "Id": "RootService",
		"Systems": link(root + "/Systems"), "Managers": link(root + "/Managers"), "Chassis": link(root + "/Chassis"),
		"SessionService": link(root + "/SessionService"), "UpdateService": link(root + "/UpdateService"), "Tasks": link(root + "/TaskService"),
		"Links": obj{"Sessions": link(sessionsPath), "ManagerProvidingService": link(n.manager)},
	})
	if c.machine.Slot > 0 {
		o["Product"], o["Vendor"] = "Nvidia-BMCMezz", "Nvidia"
	} else {
		o["Vendor"] = c.machine.Manufacturer
	}
	return o
}

func (m *Machine) bootBody() obj {
	return obj{
		"BootSourceOverrideEnabled": m.boot.enabled, "BootSourceOverrideTarget": m.boot.target, "BootSourceOverrideMode": m.boot.mode,
		"BootSourceOverrideEnabled@Redfish.AllowableValues": []string{"Once", "Continuous", "Disabled"},
		"BootSourceOverrideMode@Redfish.AllowableValues":    []string{"Legacy", "UEFI"},
		"BootSourceOverrideTarget@Redfish.AllowableValues":  m.names().targets,
	}
}

func (m *Machine) powerWord() string {
	// A card in a slot with power says On, whether its processor runs or not; only standby shows.
	if m.powered() {
		return "On"
	}
	return "Off"
}

func (c *Controller) system(now time.Time) obj {
	m, n := c.machine, c.machine.names()
	reset := obj{"target": n.system + "/Actions/ComputerSystem.Reset"}
	o := resource(n.system, "ComputerSystem.v1_22_0.ComputerSystem", m.Name, obj{
		"SystemType": "Physical", "Manufacturer": m.Manufacturer, "Model": m.Model, "SerialNumber": m.Serial, "PowerState": m.powerWord(),
		"Status": obj{"Health": "OK", "State": "Enabled"}, "Boot": m.bootBody(), "Actions": obj{"#ComputerSystem.Reset": reset},
		"Bios": link(n.system + "/Bios"), "SecureBoot": link(n.system + "/SecureBoot"), "Storage": link(n.system + "/Storage"),
		"LocationIndicatorActive": m.config.lamp,
		"Links":                   obj{"Chassis": links(n.chassis), "ManagedBy": links(n.manager)},
	})
	if m.Slot > 0 {
		reset["@Redfish.ActionInfo"] = n.system + "/ResetActionInfo"
		o["BootProgress"] = obj{"LastState": "OEM", "LastStateTime": "1970-01-21T01:08:26.189979+00:00", "OemLastState": m.progress(now)}
		if m.progress(now) == "None" {
			o["BootProgress"] = obj{"LastState": "None", "LastStateTime": "1970-01-01T00:00:00+00:00"}
		}
		o["LastResetTime"] = "1970-01-01T00:00:00+00:00"
		o["ProcessorSummary"], o["MemorySummary"] = obj{"Count": 0}, obj{"TotalSystemMemoryGiB": 0}
		o["@Redfish.Settings"] = obj{"SettingsObject": link(n.system + "/Settings")}
		o["Oem"] = obj{"Nvidia": link(n.system + "/Oem/Nvidia")}
		return o
	}
	reset["ResetType@Redfish.AllowableValues"] = n.resets
	o["UUID"], o["PartNumber"], o["BiosVersion"] = m.UUID, m.PartNumber, m.config.firmware["BIOS"]
	o["BootProgress"] = obj{"LastState": m.progress(now), "LastStateTime": m.reset.UTC().Format(time.RFC3339Nano)}
	o["LastResetTime"] = m.reset.UTC().Format(time.RFC3339Nano)
	o["ProcessorSummary"], o["MemorySummary"] = obj{"Count": 2, "Model": "Simulated 32-core processor"}, obj{"TotalSystemMemoryGiB": 256}
	o["Processors"], o["EthernetInterfaces"] = link(n.system+"/Processors"), link(n.system+"/EthernetInterfaces")
	return o
}

func (c *Controller) manager() obj {
	m, n := c.machine, c.machine.names()
	o := resource(n.manager, "Manager.v1_14_0.Manager", "Manager", obj{
		"ManagerType": "BMC", "FirmwareVersion": m.Version, "LastResetTime": c.lastReset().UTC().Format(time.RFC3339Nano),
		"DateTime": time.Now().Add(m.config.clock).UTC().Format(time.RFC3339), "DateTimeLocalOffset": "+00:00",
		"PowerState": "On", "Status": obj{"Health": "OK", "State": "Enabled"},
		"Actions": obj{"#Manager.Reset": obj{"target": n.manager + "/Actions/Manager.Reset",
			"ResetType@Redfish.AllowableValues": []string{"GracefulRestart", "ForceRestart"}}},
		"Links": obj{"ManagerForServers": links(n.system)},
	})
	if m.Slot > 0 {
		o["Oem"] = obj{"Nvidia": link(n.manager + "/Oem/Nvidia")}
	} else {
		o["VirtualMedia"] = link(n.manager + "/VirtualMedia")
	}
	return o
}

func (c *Controller) bios() obj {
	n := c.machine.names()
	return resource(n.system+"/Bios", "Bios.v1_2_0.Bios", "BIOS Configuration", obj{
		"Attributes":        c.machine.config.bios,
		"@Redfish.Settings": obj{"SettingsObject": link(n.system + "/Bios/Settings")},
		"Actions":           obj{"#Bios.ResetBios": obj{"target": n.system + "/Bios/Actions/Bios.ResetBios"}},
	})
}

func (c *Controller) secureBoot() obj {
	n, cfg := c.machine.names(), c.machine.config
	current := "Disabled"
	if cfg.secure {
		current = "Enabled"
	}
	return resource(n.system+"/SecureBoot", "SecureBoot.v1_1_0.SecureBoot", "UEFI Secure Boot", obj{
		"SecureBootCurrentBoot": current, "SecureBootEnable": cfg.secureNext, "SecureBootMode": "UserMode",
		"Actions": obj{"#SecureBoot.ResetKeys": obj{"target": n.system + "/SecureBoot/Actions/SecureBoot.ResetKeys",
			"ResetKeysType@Redfish.AllowableValues": []string{"ResetAllKeysToDefault", "DeleteAllKeys"}}},
	})
}

func (c *Controller) updateService() obj {
	path := root + "/UpdateService"
	return resource(path, "UpdateService.v1_11_0.UpdateService", "Update Service", obj{
		"ServiceEnabled": true, "MaxImageSizeBytes": 209715200, "HttpPushUri": path + "/update", "MultipartHttpPushUri": path + "/update-multipart",
		"FirmwareInventory": link(path + "/FirmwareInventory"),
		"Actions": obj{"#UpdateService.SimpleUpdate": obj{"target": path + "/Actions/UpdateService.SimpleUpdate",
			"TransferProtocol@Redfish.AllowableValues": []string{"HTTP", "HTTPS", "SCP"}}},
	})
}

func (c *Controller) firmware(path, id string) (obj, bool) {
	version, ok := c.machine.config.firmware[id]
	return resource(path, "SoftwareInventory.v1_4_0.SoftwareInventory", "Software Inventory", obj{
		"Version": version, "Updateable": !strings.HasPrefix(id, "golden"), "Status": obj{"Health": "OK", "State": "Enabled"},
	}), ok
}

func (c *Controller) sessionList() obj {
	c.mu.Lock()
	defer c.mu.Unlock()
	return collection(sessionsPath, "SessionCollection", children(sessionsPath, slices.Sorted(maps.Keys(c.sessions))...)...)
}

func padded(s string) string { return fmt.Sprintf("%-29s", s) }
