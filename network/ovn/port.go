package ovn

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/ovsdb"
)

// Keys of external_ids in riser's rows, for people and for other tools.
const (
	idName    = "riser-name"
	idProject = "riser-project"
	idDevice  = "riser-device" // id of the server that uses a port
	idHost    = "riser-host"   // the hypervisor
)

// Values of options that let nobody have an unbound port.
const (
	noVersion = "unbound"       // of iface-id-ver
	noChassis = "riser-unbound" // of requested-chassis
)

// plugType is the VIF plug provider of OVN that finds representors.
const plugType = "representor"

// EnsurePort makes the logical switch port exist as p says. The error is fault.NotFound without the network, and fault.Conflict if a newer
// generation was written, or the port is somebody else's.
func (b *Backend) EnsurePort(ctx context.Context, p network.Port, bind *network.Binding) error {
	before, err := b.nb.Port(p.ID)
	if err != nil && !errors.Is(err, ovsdb.ErrNotFound) {
		return kinded(err)
	}
	row := ovsdb.LogicalPort{
		Name: p.ID, Switch: switchName(p.NetworkID), Generation: p.Generation, Disabled: p.AdminDown, ExternalIDs: map[string]string{},
	}
	row.Addresses, row.PortSecurity = addresses(p)
	for key, value := range map[string]string{idName: p.Name, idProject: p.Project, idDevice: p.DeviceID, idHost: p.HostID} {
		if value != "" {
			row.ExternalIDs[key] = value
		}
	}
	if row.DHCPv4, row.DHCPv6, err = b.dhcpOf(p); err != nil {
		return kinded(err)
	}
	if bind != nil {
		row.Generation, row.Options = bind.Generation, boundOptions(bind)
	} else {
		row.Options = unboundOptions(p, before.LogicalPort)
		if p.Generation == 0 {
			row.Generation = max(before.Generation, 0) // the caller knows of no order
		}
	}
	_, err = b.nb.SetPort(ctx, row)
	return kinded(err)
}

// boundOptions are the options of a port that is bound.
func boundOptions(b *network.Binding) map[string]string {
	o := map[string]string{ovsdb.OptionRequestedChassis: b.Chassis}
	if !b.PlugByOVN {
		o[ovsdb.OptionIfaceIDVer] = strconv.FormatInt(b.Generation, 10)
		return o
	}
	o[ovsdb.OptionPlugType] = plugType
	o[ovsdb.OptionPlugPFMAC] = b.PFMAC
	if b.VF >= 0 {
		o[ovsdb.OptionPlugVF] = strconv.Itoa(b.VF)
	}
	if b.MTU > 0 {
		o[ovsdb.OptionPlugMTU] = strconv.Itoa(b.MTU)
	}
	return o
}

// unboundOptions are the options of a port that is not bound, which none of the places that it was bound to may have. A port that riser does not
// bind may be claimed by anybody who plugs it.
func unboundOptions(p network.Port, before ovsdb.LogicalPort) map[string]string {
	o := map[string]string{}
	if p.VNICType != network.VNICNormal && p.VNICType != "" || bound(before) {
		o[ovsdb.OptionIfaceIDVer] = noVersion
	}
	if before.Options[ovsdb.OptionPlugType] != "" || before.Options[ovsdb.OptionRequestedChassis] == noChassis {
		o[ovsdb.OptionRequestedChassis] = noChassis
	}
	return o
}

// bound tells whether a port is bound to a chassis.
func bound(p ovsdb.LogicalPort) bool {
	chassis := p.Options[ovsdb.OptionRequestedChassis]
	return chassis != "" && chassis != noChassis
}

// addresses returns the columns addresses and port_security. A port without port security may have any address.
func addresses(p network.Port) (all, secured []string) {
	parts := []string{p.MAC}
	for _, ip := range p.FixedIPs {
		parts = append(parts, ip.Address)
	}
	own := strings.Join(parts, " ")
	if p.PortSecurity {
		return []string{own}, []string{own}
	}
	return []string{own, "unknown"}, nil
}

// dhcpOf returns the DHCP options of a port: those of the subnets of its first addresses, where these have DHCP.
func (b *Backend) dhcpOf(p network.Port) (v4, v6 string, err error) {
	if len(p.FixedIPs) == 0 {
		return "", "", nil
	}
	home, err := b.network(p.NetworkID)
	if err != nil {
		return "", "", err
	}
	served := dhcpSubnets(home)
	for _, ip := range p.FixedIPs {
		addr, err := netip.ParseAddr(ip.Address)
		switch {
		case err != nil || !served[ip.SubnetID]:
		case addr.Is4() && v4 == "":
			v4 = ip.SubnetID
		case addr.Is6() && v6 == "":
			v6 = ip.SubnetID
		}
	}
	return v4, v6, nil
}

// RemovePort removes the logical switch port, whatever its generation.
func (b *Backend) RemovePort(ctx context.Context, id string) error {
	_, err := b.nb.DeletePort(ctx, id, ovsdb.AnyGeneration)
	return kinded(err)
}
