package networking

import (
	"encoding/json"
	"net/http"
	"net/netip"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

var subnetAttributes = set("network_id", "name", "cidr", "ip_version", "gateway_ip", "enable_dhcp", "dns_nameservers", "tenant_id", "project_id",
	"description", "host_routes", "allocation_pools", "ipv6_address_mode", "ipv6_ra_mode")

func subnetView(s *store.Subnet) map[string]any {
	p, err := netip.ParsePrefix(s.CIDR)
	version, pools := 4, []any{}
	if err == nil {
		if p.Addr().Is6() {
			version = 6
		}
		pools = append(pools, map[string]any{"start": p.Masked().Addr().Next().String(), "end": lastAddress(p).String()})
	}
	return map[string]any{
		"id": s.ID, "network_id": s.NetworkID, "name": s.Name, "description": "", "tenant_id": s.Project, "project_id": s.Project, "cidr": s.CIDR,
		"ip_version": version, "gateway_ip": orNull(s.Gateway), "enable_dhcp": s.DHCP, "dns_nameservers": list(s.DNS), "host_routes": []any{},
		"allocation_pools": pools, "ipv6_address_mode": nil, "ipv6_ra_mode": nil, "tags": []any{}, "created_at": stamp(s.CreatedAt),
		"updated_at": stamp(s.UpdatedAt),
	}
}

// lastAddress returns the highest address that can be given to a port.
func lastAddress(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	last, _ := netip.AddrFromSlice(b)
	if last.Is4() && p.Bits() < 31 {
		return last.Prev()
	}
	return last
}

func (a *api) listSubnets(r *rest.Request) (*rest.Response, error) {
	var views []map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		subnets, err := tx.Subnets(r.Context(), r.Query().Get("network_id"))
		for _, s := range subnets {
			if p := scope(r); p == "" || p == s.Project {
				views = append(views, subnetView(s))
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerList(r, "subnets", views)
}

func (a *api) subnet(r *rest.Request, tx *store.Tx) (*store.Subnet, error) {
	s, err := tx.Subnet(r.Context(), r.PathValue("id"))
	if err == nil {
		if p := scope(r); p != "" && p != s.Project {
			err = fault.New(fault.NotFound, "Subnet %s could not be found.", s.ID)
		}
	}
	return s, as(err, "SubnetNotFound", "")
}

func (a *api) showSubnet(r *rest.Request) (*rest.Response, error) {
	var s *store.Subnet
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) (err error) {
		s, err = a.subnet(r, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerOne(r, "subnet", subnetView(s)), nil
}

func (a *api) createSubnet(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "subnet", subnetAttributes)
	if err != nil {
		return nil, err
	}
	s := &store.Subnet{Subnet: network.Subnet{ID: uuid.NewString(), DHCP: true, Project: r.Subject.Project}}
	version := 0
	for name, dest := range map[string]any{
		"network_id": &s.NetworkID, "cidr": &s.CIDR, "ip_version": &version, "project_id": &s.Project, "tenant_id": &s.Project,
	} {
		if _, err := get(attributes, name, dest); err != nil {
			return nil, err
		}
	}
	p, err := checkCIDR(s.CIDR, version)
	if err != nil {
		return nil, err
	}
	s.CIDR, s.Gateway = p.String(), p.Addr().Next().String()
	if err := setSubnet(s, p, attributes); err != nil {
		return nil, err
	}
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		if _, _, err := a.network(r, tx, s.NetworkID); err != nil {
			return err
		}
		others, err := tx.Subnets(r.Context(), s.NetworkID)
		if err != nil {
			return err
		}
		for _, o := range others {
			if other, err := netip.ParsePrefix(o.CIDR); err == nil && other.Overlaps(p) {
				return invalid("Requested subnet with cidr: %s for network: %s overlaps with another subnet", s.CIDR, s.NetworkID)
			}
		}
		return tx.InsertSubnet(r.Context(), s)
	})
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusCreated, Body: object("subnet", subnetView(s))}, nil
}

func checkCIDR(cidr string, version int) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(cidr)
	switch {
	case err != nil:
		return p, invalid("cidr: '%s' is not a valid IP subnet", cidr)
	case version != 0 && version != 4 && version != 6, version == 4 && p.Addr().Is6(), version == 6 && p.Addr().Is4():
		return p, invalid("ip_version: %d does not match the cidr %s", version, cidr)
	case p != p.Masked():
		return p, invalid("cidr: '%s' is not a valid IP subnet: host bits are set, '%s' has none", cidr, p.Masked())
	}
	return p, nil
}

// setSubnet sets what may be changed later too.
func setSubnet(s *store.Subnet, p netip.Prefix, attributes map[string]json.RawMessage) error {
	gateway := &s.Gateway
	given, err := get(attributes, "gateway_ip", &gateway)
	if err != nil {
		return err
	}
	if given && string(attributes["gateway_ip"]) == "null" {
		s.Gateway = ""
	}
	if s.Gateway != "" {
		if g, err := netip.ParseAddr(s.Gateway); err != nil || !p.Contains(g) {
			return invalid("gateway_ip: %q is not an address of %s", s.Gateway, p)
		}
	}
	for name, dest := range map[string]any{"name": &s.Name, "enable_dhcp": &s.DHCP, "dns_nameservers": &s.DNS} {
		if _, err := get(attributes, name, dest); err != nil {
			return err
		}
	}
	for _, d := range s.DNS {
		if _, err := netip.ParseAddr(d); err != nil {
			return invalid("dns_nameservers: '%s' is not a valid IP address", d)
		}
	}
	for _, name := range []string{"host_routes", "allocation_pools"} {
		var entries []any
		if _, err := get(attributes, name, &entries); err != nil {
			return err
		}
		if len(entries) > 0 {
			return invalid("%s: cannot be chosen: all addresses of the subnet are used", name)
		}
	}
	return nil
}

func (a *api) updateSubnet(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "subnet", set("name", "gateway_ip", "enable_dhcp", "dns_nameservers", "description", "host_routes", "allocation_pools"))
	if err != nil {
		return nil, err
	}
	var s *store.Subnet
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) (err error) {
		if s, err = a.subnet(r, tx); err != nil {
			return err
		}
		p, err := netip.ParsePrefix(s.CIDR)
		if err != nil {
			return err
		}
		if err := setSubnet(s, p, attributes); err != nil {
			return err
		}
		return tx.SaveSubnet(r.Context(), s)
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("subnet", subnetView(s))), nil
}

func (a *api) deleteSubnet(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		s, err := a.subnet(r, tx)
		if err != nil {
			return err
		}
		return as(tx.DeleteSubnet(r.Context(), s), "SubnetNotFound", "SubnetInUse")
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
