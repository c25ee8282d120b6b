package ovn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/ovsdb"
)

// Keys of external_ids in the row of a logical switch.
const (
	idMTU  = "riser-mtu"
	idDHCP = "riser-dhcp" // ids of the subnets that have a row of DHCP options, separated by blanks
)

// localnetPrefix is before a network's id in the name of the port that joins it to a physical network.
const localnetPrefix = "riser-localnet-"

// leaseTime is how long an address is lent, in seconds: half a day.
const leaseTime = "43200"

func switchName(network string) string { return "riser-" + network }

// EnsureNetwork makes the logical switch exist as n says, with DHCP options for the subnets that have DHCP, and with a localnet port if it is on a
// physical network. The error is fault.Unsupported for a VLAN, and fault.Conflict if a switch of that name is somebody else's.
func (b *Backend) EnsureNetwork(ctx context.Context, n network.Network, subnets []network.Subnet) error {
	if n.Type == "vlan" {
		return fault.New(fault.Unsupported, "network %s: VLAN networks are not supported on OVN; want geneve or flat", n.ID)
	}
	var served []string
	for _, s := range subnets {
		if s.DHCP {
			served = append(served, s.ID)
		}
	}
	before, err := b.network(n.ID)
	if err != nil && !errors.Is(err, ovsdb.ErrNotFound) {
		return kinded(err)
	}
	// The switch names every subnet that may have DHCP options, so that those can be found again whatever happens in between.
	had := dhcpSubnets(before)
	for _, id := range served {
		had[id] = true
	}
	if err := b.setSwitch(ctx, n, slices.Collect(maps.Keys(had))); err != nil {
		return err
	}
	for _, s := range subnets {
		delete(had, s.ID)
		if err := b.setDHCP(ctx, n, s); err != nil {
			return err
		}
	}
	for id := range had {
		if _, err := b.nb.DeleteDHCPOptions(ctx, id); err != nil {
			return kinded(err)
		}
	}
	if err := b.setSwitch(ctx, n, served); err != nil {
		return err
	}
	return b.setLocalnet(ctx, n)
}

func (b *Backend) setSwitch(ctx context.Context, n network.Network, served []string) error {
	l := ovsdb.LogicalSwitch{Name: switchName(n.ID), ExternalIDs: map[string]string{}}
	slices.Sort(served)
	for key, value := range map[string]string{idName: n.Name, idProject: n.Project, idDHCP: strings.Join(served, " ")} {
		if value != "" {
			l.ExternalIDs[key] = value
		}
	}
	if n.MTU > 0 {
		l.ExternalIDs[idMTU] = strconv.Itoa(n.MTU)
	}
	_, err := b.nb.SetSwitch(ctx, l)
	return kinded(err)
}

// network reads a network's logical switch. The error is ovsdb.ErrNotFound if there is none.
func (b *Backend) network(id string) (ovsdb.LogicalSwitch, error) {
	list, err := b.nb.Switches()
	if err != nil {
		return ovsdb.LogicalSwitch{}, err
	}
	for _, l := range list {
		if l.Name == switchName(id) {
			return l, nil
		}
	}
	return ovsdb.LogicalSwitch{}, fmt.Errorf("network %s: %w", id, ovsdb.ErrNotFound)
}

// dhcpSubnets returns the subnets of a network that may have DHCP options.
func dhcpSubnets(l ovsdb.LogicalSwitch) map[string]bool {
	out := map[string]bool{}
	for _, id := range strings.Fields(l.ExternalIDs[idDHCP]) {
		out[id] = true
	}
	return out
}

// setDHCP makes the DHCP options of a subnet as it says, or removes them.
func (b *Backend) setDHCP(ctx context.Context, n network.Network, s network.Subnet) error {
	if !s.DHCP {
		_, err := b.nb.DeleteDHCPOptions(ctx, s.ID)
		return kinded(err)
	}
	options, err := dhcpOptions(n, s)
	if err != nil {
		return err
	}
	_, err = b.nb.SetDHCPOptions(ctx, ovsdb.DHCPOptions{ID: s.ID, CIDR: s.CIDR, Options: options})
	return kinded(err)
}

// dhcpOptions are those of ovn-nb(5), table DHCP_Options.
func dhcpOptions(n network.Network, s network.Subnet) (map[string]string, error) {
	prefix, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return nil, fault.New(fault.Invalid, "subnet %s: %q is no prefix such as 192.0.2.0/24", s.ID, s.CIDR)
	}
	o := map[string]string{}
	mac := serverMAC(s.ID).String()
	if len(s.DNS) > 0 {
		o["dns_server"] = "{" + strings.Join(s.DNS, ", ") + "}"
	}
	if prefix.Addr().Is6() {
		o["server_id"] = mac
		return o, nil
	}
	server := prefix.Masked().Addr().Next().String()
	if s.Gateway != "" {
		server, o["router"] = s.Gateway, s.Gateway
	}
	o["server_id"], o["server_mac"], o["lease_time"] = server, mac, leaseTime
	if n.MTU > 0 {
		o["mtu"] = strconv.Itoa(n.MTU)
	}
	return o, nil
}

// serverMAC is the address of a subnet's DHCP server: always the same, and locally administered.
func serverMAC(subnet string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(subnet))
	return net.HardwareAddr{0x0a, 0x52, sum[0], sum[1], sum[2], sum[3]}
}

// setLocalnet joins a flat network to its physical network, and no other.
func (b *Backend) setLocalnet(ctx context.Context, n network.Network) error {
	name := localnetPrefix + n.ID
	if n.Physical == "" {
		_, err := b.nb.DeletePort(ctx, name, ovsdb.AnyGeneration)
		return kinded(err)
	}
	_, err := b.nb.SetPort(ctx, ovsdb.LogicalPort{
		Name: name, Switch: switchName(n.ID), Type: "localnet", Addresses: []string{"unknown"}, Options: map[string]string{"network_name": n.Physical},
	})
	return kinded(err)
}

// RemoveNetwork removes the logical switch with what EnsureNetwork has made for it.
func (b *Backend) RemoveNetwork(ctx context.Context, id string) error {
	l, err := b.network(id)
	if errors.Is(err, ovsdb.ErrNotFound) {
		return nil
	}
	if err != nil {
		return kinded(err)
	}
	ports, err := b.nb.Ports()
	if err != nil {
		return kinded(err)
	}
	used := 0
	for _, p := range ports {
		if p.Switch == l.Name && p.Name != localnetPrefix+id {
			used++
		}
	}
	if used > 0 {
		return fault.New(fault.Conflict, "network %s has %d ports", id, used)
	}
	for subnet := range dhcpSubnets(l) {
		if _, err := b.nb.DeleteDHCPOptions(ctx, subnet); err != nil {
			return kinded(err)
		}
	}
	if _, err := b.nb.DeletePort(ctx, localnetPrefix+id, ovsdb.AnyGeneration); err != nil {
		return kinded(err)
	}
	_, err = b.nb.DeleteSwitch(ctx, l.Name)
	return kinded(err)
}
