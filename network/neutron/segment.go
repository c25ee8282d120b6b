package neutron

import (
	"context"
	"net/netip"
	"net/url"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

type object = map[string]any

type segment struct {
	found
	Subnets []string `json:"subnets"`
}

func (b *Backend) segment(ctx context.Context, id string) (*segment, bool, error) {
	return find(ctx, b, "networks", "network", id, func(s *segment) string { return s.Description })
}

// EnsureNetwork makes the network and its subnets exist as n says. A network of somebody else's with the same id is left as it is.
func (b *Backend) EnsureNetwork(ctx context.Context, n network.Network, subnets []network.Subnet) error {
	have, own, err := b.segment(ctx, n.ID)
	if err != nil || have != nil && !own {
		return err
	}
	if have == nil {
		body := object{"name": n.Name, "description": mark(n.ID), "admin_state_up": true}
		if n.Project != "" {
			body["project_id"] = n.Project
		}
		if n.Physical != "" {
			body["provider:network_type"], body["provider:physical_network"], body["mtu"] = n.Type, n.Physical, n.MTU
		}
		if n.Segment != 0 {
			body["provider:segmentation_id"] = n.Segment
		}
		var made map[string]*segment
		if err := b.post(ctx, "networks", object{"network": body}, &made); err != nil {
			return err
		}
		have = made["network"]
	} else if have.Name != n.Name {
		if err := b.put(ctx, "networks/"+have.ID, object{"network": object{"name": n.Name}}, nil); err != nil {
			return err
		}
	}
	return b.ensureSubnets(ctx, have.ID, subnets)
}

// subnet is a subnet of Neutron's.
type subnet struct {
	found
	Gateway *string  `json:"gateway_ip"`
	DHCP    bool     `json:"enable_dhcp"`
	DNS     []string `json:"dns_nameservers"`
}

func (b *Backend) ensureSubnets(ctx context.Context, networkID string, want []network.Subnet) error {
	var list map[string][]*subnet
	if err := b.get(ctx, "subnets", url.Values{"network_id": {networkID}}, &list); err != nil {
		return err
	}
	have := map[string]*subnet{}
	for _, s := range list["subnets"] {
		if id := marked(s.Description); id != "" {
			have[id] = s
		}
	}
	for _, s := range want {
		if err := b.ensureSubnet(ctx, networkID, s, have[s.ID]); err != nil {
			return err
		}
		delete(have, s.ID)
	}
	for _, s := range have {
		if err := b.remove(ctx, "subnets/"+s.ID); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) ensureSubnet(ctx context.Context, networkID string, want network.Subnet, have *subnet) error {
	var gateway *string
	if want.Gateway != "" {
		gateway = &want.Gateway
	}
	dns := want.DNS
	if dns == nil {
		dns = []string{}
	}
	body := object{"name": want.Name, "gateway_ip": gateway, "enable_dhcp": want.DHCP, "dns_nameservers": dns}
	if have != nil {
		if have.Name == want.Name && have.DHCP == want.DHCP && (have.Gateway == nil) == (gateway == nil) && (gateway == nil || *gateway == *have.Gateway) && len(have.DNS) == len(dns) {
			return nil
		}
		return b.put(ctx, "subnets/"+have.ID, object{"subnet": body}, nil)
	}
	p, err := netip.ParsePrefix(want.CIDR)
	if err != nil {
		return fault.New(fault.Invalid, "subnet %s: %w", want.ID, err)
	}
	body["ip_version"] = 4
	if p.Addr().Is6() {
		body["ip_version"] = 6
	}
	body["network_id"], body["cidr"], body["description"] = networkID, want.CIDR, mark(want.ID)
	return b.post(ctx, "subnets", object{"subnet": body}, nil)
}

// RemoveNetwork removes the network that this package made. The error is fault.Conflict while it has ports.
func (b *Backend) RemoveNetwork(ctx context.Context, id string) error {
	have, own, err := b.segment(ctx, id)
	if err != nil || !own {
		return err
	}
	return b.remove(ctx, "networks/"+have.ID)
}
