package baremetal

import "github.com/riser-project/riser/node"

// anything lets every value pass.
func anything(any) string { return "" }

// openObject lets objects pass that have the required properties as described; further keys are free.
func openObject(properties ...property) rule {
	return func(v any) string {
		if why := mustObject(v); why != "" {
			return why
		}
		o, _ := v.(map[string]any)
		for _, p := range properties {
			value, ok := o[p.name]
			switch {
			case !ok && p.required:
				return repr(p.name) + " is a required property"
			case ok:
				if why := p.check(value); why != "" {
					return why
				}
			}
		}
		return ""
	}
}

// networkDataRule is the form of network_data: that of Nova's network_data.json, as metadata services hand it out.
var networkDataRule = objectRule(
	property{"links", true, listRule(openObject(
		property{"id", true, mustText(1, 255)},
		property{"type", true, mustText(1, 255)},
		property{"ethernet_mac_address", false, orNull(mustText(0, 64))},
	), 0)},
	property{"networks", true, listRule(openObject(
		property{"id", true, mustText(1, 255)},
		property{"link", true, mustText(1, 255)},
		property{"type", true, oneOf("ipv4", "ipv4_dhcp", "ipv6", "ipv6_dhcp", "ipv6_slaac", "ipv6_dhcpv6-stateless", "ipv6_dhcpv6-stateful")},
		property{"routes", false, listRule(mustObject, 0)},
	), 0)},
	property{"services", false, listRule(openObject(
		property{"type", true, mustText(1, 255)},
		property{"address", false, anything},
	), 0)},
)

func checkNetworkData(o node.Object) error {
	if len(o) == 0 {
		return nil
	}
	if why := networkDataRule(o); why != "" {
		return invalid("Invalid network_data: %s", why)
	}
	return nil
}
