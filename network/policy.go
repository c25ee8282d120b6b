package network

import "context"

// Directions of a rule, as the port sees them.
const (
	Ingress = "ingress" // to the port
	Egress  = "egress"  // from the port
)

// Ether types of a rule.
const (
	IPv4 = "IPv4"
	IPv6 = "IPv6"
)

// SecurityGroup is a set of rules for the ports that are in it (Networking API v2.0, extension security-group). It allows what its rules say; what no
// rule of any of a port's groups allows is dropped, DHCP, ARP and neighbour discovery aside.
type SecurityGroup struct {
	ID        string
	Name      string
	Project   string
	Stateless bool // answers to what a rule allows need a rule of their own
	Rules     []Rule
}

// Rule allows some traffic.
type Rule struct {
	ID           string
	Direction    string // Ingress, Egress
	EtherType    string // IPv4, IPv6
	Protocol     string // tcp, udp, icmp, ipv6-icmp, another name of IANA's or a number; empty is every one
	PortMin      *int   // first destination port of tcp, udp, sctp, dccp and udplite, or ICMP type; nil is every one
	PortMax      *int   // last destination port, or ICMP code
	RemotePrefix string // the far end's addresses; empty is all
	RemoteGroup  string // the far end is a port in this group; empty is anybody
}

// Policies is a Backend that enforces security groups. Its EnsurePort puts the port into exactly the groups that Port.Groups names, and is
// fault.NotFound when one of them does not exist; a port with PortSecurity lets through what its groups allow and nothing else, even if it has none.
// Methods are idempotent as a Backend's are.
type Policies interface {
	Backend

	// EnsureGroup makes the group exist with these rules. A rule may name a RemoteGroup that is only made later: it allows nobody until then.
	EnsureGroup(ctx context.Context, g SecurityGroup) error

	// RemoveGroup removes the group. It is fault.Conflict while ports are in it.
	RemoveGroup(ctx context.Context, id string) error
}
