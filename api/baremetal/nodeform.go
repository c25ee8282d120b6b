package baremetal

import (
	"slices"
	"strings"

	"github.com/riser-project/riser/node"
)

type nn = node.Node

// nodeForm is what a client may write of a node.
var nodeForm = form[nn]{name: "node", fields: append([]field[nn]{
	textField("uuid", 1, onCreate, isUUID, func(n *nn) *string { return &n.UUID }),
	textField("name", mvNames, always, textRule(0, 255), func(n *nn) *string { return &n.Name }),
	required(textField("driver", 1, always, mustText(1, 255), func(n *nn) *string { return &n.Driver })),
	objectField("driver_info", 1, always, func(n *nn) *node.Object { return &n.DriverInfo }),
	objectField("properties", 1, always, func(n *nn) *node.Object { return &n.Properties }),
	objectField("extra", 1, always, func(n *nn) *node.Object { return &n.Extra }),
	objectField("instance_info", 1, always, func(n *nn) *node.Object { return &n.InstanceInfo }),
	objectField("network_data", 66, always, func(n *nn) *node.Object { return &n.NetworkData }),
	textField("instance_uuid", 1, always, isUUID, func(n *nn) *string { return &n.InstanceUUID }),
	textField("instance_name", mvInstanceName, always, textRule(1, 255), func(n *nn) *string { return &n.InstanceName }),
	textField("chassis_uuid", 1, always, isUUID, func(n *nn) *string { return &n.ChassisUUID }),
	textField("parent_node", mvChildren, always, textRule(0, 255), func(n *nn) *string { return &n.Parent }),
	boolField("maintenance", 1, always, func(n *nn) *bool { return &n.Maintenance }),
	{
		name: "console_enabled", since: 1, when: onCreate, check: isMaybeBool, // taken and ignored
		get: func(n *nn) any { return n.ConsoleEnabled }, set: func(*nn, any) {},
	},
	textField("resource_class", mvResourceClass, always, textRule(0, 80), func(n *nn) *string { return &n.ResourceClass }),
	{
		name: "conductor_group", since: mvConductorGroup, when: always, check: textRule(0, 255),
		get: func(n *nn) any { return n.ConductorGroup },
		set: func(n *nn, v any) { s, _ := v.(string); n.ConductorGroup = strings.ToLower(s) },
	},
	{
		name: "automated_clean", since: 47, when: always, check: isMaybeBool,
		get: func(n *nn) any { return maybe(n.AutomatedClean) },
		set: func(n *nn, v any) {
			n.AutomatedClean = nil
			if b, err := node.ParseBool(v); err == nil {
				n.AutomatedClean = &b
			}
		},
	},
	boolField("protected", 48, onPatch, func(n *nn) *bool { return &n.Protected }),
	textField("protected_reason", 48, onPatch, isText, func(n *nn) *string { return &n.ProtectedReason }),
	boolField("retired", mvRetired, always, func(n *nn) *bool { return &n.Retired }),
	textField("retired_reason", mvRetired, always, isText, func(n *nn) *string { return &n.RetiredReason }),
	textField("owner", mvOwner, always, isText, func(n *nn) *string { return &n.Owner }),
	textField("lessee", mvLessee, always, isText, func(n *nn) *string { return &n.Lessee }),
	textField("description", mvDescription, always, textRule(0, 4096), func(n *nn) *string { return &n.Description }),
	textField("shard", mvShards, always, isText, func(n *nn) *string { return &n.Shard }),
	boolField("disable_power_off", 95, always, func(n *nn) *bool { return &n.DisablePowerOff }),
}, interfaceFields()...)}

// interfaceSince is the microversion of each interface field.
var interfaceSince = map[node.Interface]int{
	node.BIOS: 40, node.Firmware: 86, node.Network: 20, node.Rescue: 38, node.Storage: 33,
	node.Boot: 31, node.Console: 31, node.Deploy: 31, node.Inspect: 31, node.Management: 31, node.Power: 31, node.RAID: 31, node.Vendor: 31,
}

func interfaceFields() []field[nn] {
	var fields []field[nn]
	for _, kind := range node.AllInterfaces {
		fields = append(fields, field[nn]{
			name: interfaceField(kind), since: interfaceSince[kind], when: always, check: isText,
			get: func(n *nn) any { return orNil(n.Interfaces[kind]) },
			set: func(n *nn, v any) {
				if n.Interfaces == nil {
					n.Interfaces = node.Interfaces{}
				}
				if s, _ := v.(string); s != "" {
					n.Interfaces[kind] = s
				} else {
					delete(n.Interfaces, kind)
				}
			},
		})
	}
	return fields
}

// interfaceField is the API field of an interface kind: "power_interface".
func interfaceField(kind node.Interface) string { return string(kind) + "_interface" }

func maybe(b *bool) any {
	if b == nil {
		return nil
	}
	return *b
}

// ownRules are the fields with a policy rule of their own, "baremetal:node:update:" and the field.
var ownRules = []string{
	"driver_info", "properties", "chassis_uuid", "instance_uuid", "lessee", "owner", "network_data", "conductor_group", "name", "retired",
	"parent_node", "shard", "disable_power_off",
}

// updateRule is the policy rule of patching a field.
func updateRule(field string) string {
	const update = "baremetal:node:update"
	switch {
	case slices.Contains(ownRules, field):
		return update + ":" + field
	case field == "retired_reason":
		return update + ":retired"
	case strings.HasSuffix(field, "_interface"):
		return update + ":driver_interfaces"
	case field == "automated_clean":
		return "baremetal:node:disable_cleaning"
	case field == "extra", field == "instance_info":
		return update + "_" + field
	}
	return update
}
