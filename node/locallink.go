package node

import (
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/riser-project/riser/fault"
)

// localLinkKeys are the keys of local_link_connection, each a text.
var localLinkKeys = []string{
	"port_id", "switch_id", "hostname", "switch_info", "network_type",
	"vtep-logical-switch", "vtep-physical-switch", "physical_network",
}

// datapathID is the OpenFlow datapath identifier of a switch: 64 bits in hexadecimal, with or without 0x or colons.
var datapathID = regexp.MustCompile(`^(0x)?[0-9A-Fa-f]{16}$|^([0-9A-Fa-f]{2}:){7}[0-9A-Fa-f]{2}$`)

// ParseLocalLink checks a port's local_link_connection and returns it with its switch_id in lower case. It names a switch port (port_id and
// switch_id), a port of a smart NIC (port_id and hostname), a network that nobody manages (network_type unmanaged), or nothing. The port of a
// smart NIC that names anything has to name its port_id and hostname. The error is fault.Invalid.
func ParseLocalLink(o Object, smartNIC bool) (Object, error) {
	if len(o) == 0 {
		return nil, nil
	}
	link := maps.Clone(o)
	for k, v := range link {
		s, ok := v.(string)
		if !slices.Contains(localLinkKeys, k) || (!ok && v != nil) {
			return nil, fault.New(fault.Invalid, "Schema error for local_link_connection: %s is not a known key with a text", k)
		}
		if k == "switch_id" && ok {
			id, err := switchID(s)
			if err != nil {
				return nil, err
			}
			link[k] = id
		}
	}
	has := func(keys ...string) bool {
		return !slices.ContainsFunc(keys, func(k string) bool { s, _ := link[k].(string); return s == "" })
	}
	kind, named := link["network_type"]
	switch {
	case named && kind != "managed" && kind != "unmanaged":
		return nil, fault.New(fault.Invalid, "Schema error for local_link_connection: network_type must be managed or unmanaged")
	case smartNIC && !has("port_id", "hostname"):
		return nil, fault.New(fault.Invalid, "Smart NIC port must have port_id and hostname in local_link_connection")
	case has("port_id", "switch_id"), has("port_id", "hostname"), kind == "unmanaged", has("vtep-logical-switch", "vtep-physical-switch"):
		return link, nil
	}
	return nil, fault.New(fault.Invalid, "Missing mandatory keys in local_link_connection: port_id and switch_id, or port_id and hostname for a smart NIC")
}

func switchID(s string) (string, error) {
	if hw, err := net.ParseMAC(s); err == nil && len(hw) == 6 {
		return strings.ReplaceAll(hw.String(), "-", ":"), nil
	}
	if datapathID.MatchString(s) {
		return strings.ToLower(s), nil
	}
	return "", fault.New(fault.Invalid, "Expected a MAC address or OpenFlow datapath ID but received %s.", s)
}
