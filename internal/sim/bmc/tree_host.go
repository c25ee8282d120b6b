package bmc

import (
	"fmt"
	"strings"
	"time"
)

// hostResource returns the resources that only a host has: its chassis with the cards in its slots, sensors, virtual media.
func (c *Controller) hostResource(path string) (obj, bool) {
	m, n := c.machine, c.machine.names()
	devices, adapters := n.chassis+"/PCIeDevices", n.chassis+"/NetworkAdapters"
	media := n.manager + "/VirtualMedia"
	switch path {
	case root + "/Chassis":
		return collection(path, "ChassisCollection", n.chassis), true
	case n.chassis:
		return resource(path, "Chassis.v1_22_0.Chassis", "Computer System Chassis", obj{
			"ChassisType": "RackMount", "Manufacturer": m.Manufacturer, "Model": m.Model, "SerialNumber": m.Serial, "PowerState": m.powerWord(),
			"PCIeDevices": link(devices), "NetworkAdapters": link(adapters), "Sensors": link(path + "/Sensors"),
			"Links": obj{"ComputerSystems": links(n.system), "ManagedBy": links(n.manager)},
		}), true
	case devices:
		return collection(path, "PCIeDeviceCollection", children(path, m.server.slots("%d-0", "0-31")...)...), true
	case devices + "/0-31":
		return resource(path, "PCIeDevice.v1_11_1.PCIeDevice", "Host bridge", obj{"Manufacturer": "Simulated", "SerialNumber": nil, "Model": nil}), true
	case adapters:
		return collection(path, "NetworkAdapterCollection", children(path, m.server.slots("NIC.Slot.%d")...)...), true
	case n.chassis + "/Sensors":
		return collection(path, "SensorCollection", children(path, "inlet", "cpu1", "psu1")...), true
	case media:
		return collection(path, "VirtualMediaCollection", children(path, "CD", "RemovableDisk")...), true
	case media + "/CD", media + "/RemovableDisk":
		return c.virtualMedia(path), true
	}
	if o, ok := c.parts(path); ok {
		return o, true
	}
	if s, ok := c.sensor(path, n.chassis+"/Sensors/"); ok {
		return s, true
	}
	for _, card := range m.server.Cards {
		if path == fmt.Sprintf("%s/%d-0", devices, card.Slot) || path == fmt.Sprintf("%s/NIC.Slot.%d", adapters, card.Slot) {
			return cardInSlot(path, card), true
		}
	}
	return nil, false
}

// parts are what a host is made of, for its inventory.
func (c *Controller) parts(path string) (obj, bool) {
	m, n := c.machine, c.machine.names()
	mac := fmt.Sprintf("D0:8E:79:%02X:%02X:", m.number>>8&0xff, m.number&0xff)
	switch path {
	case n.system + "/Processors":
		return collection(path, "ProcessorCollection", children(path, "CPU1", "CPU2")...), true
	case n.system + "/Processors/CPU1", n.system + "/Processors/CPU2":
		return resource(path, "Processor.v1_18_0.Processor", "CPU", obj{"ProcessorType": "CPU", "InstructionSet": "x86-64", "TotalCores": 32,
			"TotalThreads": 64}), true
	case n.system + "/EthernetInterfaces":
		return collection(path, "EthernetInterfaceCollection", children(path, "NIC.1", "NIC.2")...), true
	case n.system + "/EthernetInterfaces/NIC.1", n.system + "/EthernetInterfaces/NIC.2":
		return resource(path, "EthernetInterface.v1_10_0.EthernetInterface", "NIC", obj{"MACAddress": mac + "0" + path[len(path)-1:],
			"LinkStatus": "LinkUp"}), true
	case n.system + "/Storage/1":
		return resource(path, "Storage.v1_15_0.Storage", "Storage", obj{"Drives": links(path + "/Drives/0"), "Volumes": link(path + "/Volumes")}), true
	case n.system + "/Storage/1/Volumes":
		return collection(path, "VolumeCollection", path+"/0"), true
	case n.system + "/Storage/1/Volumes/0":
		return resource(path, "Volume.v1_9_0.Volume", "Virtual Disk 0", obj{
			"RAIDType": "RAID1", "CapacityBytes": 960197124096, "Status": obj{"Health": "OK"}, "Links": obj{"Drives": links(n.system + "/Storage/1/Drives/0")},
		}), true
	case n.system + "/Storage/1/Drives/0":
		return resource(path, "Drive.v1_17_0.Drive", "Drive 0", obj{"CapacityBytes": 960197124096, "SerialNumber": "DRV" + m.Serial,
			"MediaType": "SSD"}), true
	}
	return nil, false
}

// slots returns an id of the form for each card, and others after them.
func (s *Server) slots(form string, others ...string) []string {
	var ids []string
	for _, card := range s.Cards {
		ids = append(ids, fmt.Sprintf(form, card.Slot))
	}
	return append(ids, others...)
}

// cardInSlot is a card as its host's controller sees it, texts padded with blanks.
func cardInSlot(path string, card *Machine) obj {
	kind := "PCIeDevice.v1_11_1.PCIeDevice"
	if strings.Contains(path, "/NetworkAdapters/") {
		kind = "NetworkAdapter.v1_9_0.NetworkAdapter"
	}
	return resource(path, kind, "MT43244 BlueField-3 integrated ConnectX-7 network controller", obj{
		"Manufacturer": "Mellanox Technologies", "Model": card.Model, "PartNumber": card.PartNumber + "   ", "SerialNumber": padded(card.Serial),
		"FirmwareVersion": card.config.firmware["DPU_NIC"], "Status": obj{"Health": "OK", "State": "Enabled"},
		"Slot": obj{"Lanes": 16, "SlotType": "FullLength", "Location": obj{"PartLocation": obj{"LocationOrdinalValue": card.Slot, "LocationType": "Slot"}}},
	})
}

func (c *Controller) sensor(path, under string) (obj, bool) {
	id, ok := strings.CutPrefix(path, under)
	if !ok {
		return nil, false
	}
	warm := 0.0
	if c.machine.powered() {
		warm = 20
	}
	switch id {
	case "inlet":
		return sensor(path, "Inlet Temp", "Temperature", "Cel", 21), true
	case "cpu1":
		return sensor(path, "CPU1 Temp", "Temperature", "Cel", 22+warm), true
	case "psu1":
		return sensor(path, "PSU1 Input Power", "Power", "W", 12+10*warm), true
	}
	return nil, false
}

func sensor(path, name, kind, unit string, reading float64) obj {
	return resource(path, "Sensor.v1_7_0.Sensor", name, obj{
		"Reading": reading, "ReadingType": kind, "ReadingUnits": unit, "Status": obj{"Health": "OK", "State": "Enabled"},
		"ReadingTime": time.Now().UTC().Format(time.RFC3339),
	})
}

func (c *Controller) virtualMedia(path string) obj {
	id := path[strings.LastIndex(path, "/")+1:]
	image, in := c.machine.config.media[id]
	kinds := []string{"CD", "DVD"}
	if id == "RemovableDisk" {
		kinds = []string{"USBStick"}
	}
	o := resource(path, "VirtualMedia.v1_6_2.VirtualMedia", "Virtual "+id, obj{
		"MediaTypes": kinds, "Inserted": in, "Image": nil, "WriteProtected": true, "ConnectedVia": "NotConnected",
		"Actions": obj{
			"#VirtualMedia.InsertMedia": obj{"target": path + "/Actions/VirtualMedia.InsertMedia"},
			"#VirtualMedia.EjectMedia":  obj{"target": path + "/Actions/VirtualMedia.EjectMedia"},
		},
	})
	if in {
		o["Image"], o["ConnectedVia"] = image, "URI"
	}
	return o
}
