package networking

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/binding"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

var (
	portCreate = set("network_id", "name", "description", "admin_state_up", "mac_address", "fixed_ips", "device_id", "device_owner", "tenant_id", "project_id",
		"binding:vnic_type", "binding:profile", "binding:host_id", "port_security_enabled", "security_groups", "numa_affinity_policy",
		"allowed_address_pairs", "extra_dhcp_opts", "dns_name")
	portUpdate = set("name", "description", "admin_state_up", "fixed_ips", "device_id", "device_owner", "binding:vnic_type", "binding:profile",
		"binding:host_id", "port_security_enabled", "security_groups", "numa_affinity_policy", "allowed_address_pairs", "extra_dhcp_opts", "dns_name")
)

func portView(p *store.VPort) map[string]any {
	ips := make([]any, len(p.FixedIPs))
	for i, ip := range p.FixedIPs {
		ips[i] = map[string]any{"subnet_id": ip.SubnetID, "ip_address": ip.Address}
	}
	return map[string]any{
		"id": p.ID, "network_id": p.NetworkID, "name": p.Name, "description": "", "tenant_id": p.Project, "project_id": p.Project, "mac_address": p.MAC,
		"fixed_ips": ips, "admin_state_up": !p.AdminDown, "status": p.Status, "device_id": p.DeviceID, "device_owner": p.DeviceOwner,
		"binding:vnic_type": p.VNICType, "binding:host_id": p.HostID, "binding:profile": p.Profile, "binding:vif_type": p.VIFType,
		"binding:vif_details": vifDetails(p.VIFType), "port_security_enabled": p.PortSecurity, "security_groups": list(p.Groups),
		"numa_affinity_policy": orNull(p.NUMAPolicy), "allowed_address_pairs": []any{}, "extra_dhcp_opts": []any{}, "dns_name": "", "dns_assignment": []any{},
		"qos_policy_id": nil, "tags": []any{}, "revision_number": p.Version, "created_at": stamp(p.CreatedAt), "updated_at": stamp(p.UpdatedAt),
		"riser:status_reason": orNull(p.StatusReason), "riser:generation": p.Generation,
	}
}

func vifDetails(vif string) map[string]any {
	if vif != network.VIFOVS {
		return map[string]any{}
	}
	return map[string]any{
		"port_filter": true, "connectivity": "l2", "bridge_name": "br-int", "datapath_type": "system", "bound_drivers": map[string]any{"0": "riser"},
	}
}

func (a *api) listPorts(r *rest.Request) (*rest.Response, error) {
	q := r.Query()
	query := store.VPortQuery{
		UUIDs: q["id"], NetworkID: single(q["network_id"]), DeviceID: single(q["device_id"]), HostID: single(q["binding:host_id"]), Name: single(q["name"]),
		MAC: single(q["mac_address"]), Project: scope(r),
	}
	var views []map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		ports, err := tx.VPorts(r.Context(), query)
		for _, p := range ports {
			views = append(views, portView(p))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerList(r, "ports", views)
}

// single returns the only value of a filter, which the store can look for; several are left to answerList.
func single(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return ""
}

// port returns a port that the subject may see, held against other writers when lock is set.
func (a *api) port(r *rest.Request, tx *store.Tx, lock bool) (*store.VPort, error) {
	read := tx.VPort
	if lock {
		read = tx.VPortForUpdate
	}
	p, err := read(r.Context(), r.PathValue("id"))
	if err == nil {
		if project := scope(r); project != "" && project != p.Project {
			err = store.PortNotFound(p.ID)
		}
	}
	return p, as(err, "PortNotFound", "")
}

func (a *api) showPort(r *rest.Request) (*rest.Response, error) {
	var p *store.VPort
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) (err error) {
		p, err = a.port(r, tx, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerOne(r, "port", portView(p)), nil
}

func (a *api) createPort(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "port", portCreate)
	if err != nil {
		return nil, err
	}
	p := &store.VPort{Port: network.Port{
		ID: uuid.NewString(), VNICType: network.VNICNormal, VIFType: network.VIFUnbound, Status: network.StatusDown, PortSecurity: true,
		Project: r.Subject.Project,
	}}
	for name, dest := range map[string]any{"network_id": &p.NetworkID, "mac_address": &p.MAC, "project_id": &p.Project, "tenant_id": &p.Project} {
		if _, err := get(attributes, name, dest); err != nil {
			return nil, err
		}
	}
	if p.MAC, err = macOf(p.MAC); err != nil {
		return nil, err
	}
	if err := setPort(p, attributes); err != nil {
		return nil, err
	}
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		if _, _, err := a.network(r, tx, p.NetworkID); err != nil {
			return err
		}
		if err := tx.InsertVPort(r.Context(), p); err != nil {
			return as(err, "", "MacAddressInUse")
		}
		if err := takeAddresses(r.Context(), tx, p, attributes["fixed_ips"]); err != nil {
			return err
		}
		if err := a.takeGroups(r, tx, p, attributes, true); err != nil {
			return err
		}
		if err := tx.SaveVPort(r.Context(), p); err != nil {
			return err
		}
		return a.rebind(r, tx, &p, attributes)
	})
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusCreated, Body: object("port", portView(p))}, nil
}

// macOf checks a MAC, or makes one (base MAC fa:16:3e, as Neutron's default).
func macOf(text string) (string, error) {
	if text == "" {
		b := []byte{0xfa, 0x16, 0x3e, 0, 0, 0}
		if _, err := rand.Read(b[3:]); err != nil {
			return "", err
		}
		return net.HardwareAddr(b).String(), nil
	}
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 {
		return "", invalid("mac_address: '%s' is not a valid MAC address", text)
	}
	return mac.String(), nil
}

// setPort sets what may be changed later too, except addresses.
func setPort(p *store.VPort, attributes map[string]json.RawMessage) error {
	up, vnic, profile := !p.AdminDown, p.VNICType, p.Profile
	for name, dest := range map[string]any{
		"name": &p.Name, "admin_state_up": &up, "device_id": &p.DeviceID, "device_owner": &p.DeviceOwner, "binding:vnic_type": &vnic,
		"port_security_enabled": &p.PortSecurity, "security_groups": &p.Groups, "numa_affinity_policy": &p.NUMAPolicy,
	} {
		if _, err := get(attributes, name, dest); err != nil {
			return err
		}
	}
	p.AdminDown = !up
	if !slices.Contains(network.VNICTypes[:], vnic) {
		return invalid("binding:vnic_type: '%s' is not in %s", vnic, strings.Join(network.VNICTypes[:], ", "))
	}
	if vnic != p.VNICType && p.HostID != "" {
		return typed{"PortBound", fault.New(fault.Conflict, "Unable to change binding:vnic_type of port %s while it is bound to host %s.", p.ID, p.HostID)}
	}
	p.VNICType = vnic
	if raw, ok := attributes["binding:profile"]; ok {
		if err := json.Unmarshal(raw, &profile); err != nil {
			return typed{"InvalidInput", err}
		}
		if p.VIFType == network.VIFOVS && !sameBinding(profile, p.Profile) {
			return typed{"PortBound", fault.New(fault.Conflict, "Unable to change binding:profile of port %s while it is bound to host %s.", p.ID, p.HostID)}
		}
		p.Profile = profile
	}
	return checkNUMA(p.NUMAPolicy)
}

func sameBinding(a, b network.Profile) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func checkNUMA(policy string) error {
	switch policy {
	case "", placement.NUMARequired, placement.NUMAPreferred, placement.NUMALegacy, placement.NUMASocket:
		return nil
	}
	return invalid("numa_affinity_policy: '%s' is not in required, preferred, legacy, socket", policy)
}

// takeAddresses gives the port the addresses that a body asks for: one of each IP version without a wish, none for an empty list.
func takeAddresses(ctx context.Context, tx *store.Tx, p *store.VPort, raw json.RawMessage) error {
	subnets, err := tx.Subnets(ctx, p.NetworkID)
	if err != nil {
		return err
	}
	var wishes []network.FixedIP
	if raw == nil || string(raw) == "null" {
		wishes = oneOfEach(subnets)
	} else if err := json.Unmarshal(raw, &wishes); err != nil {
		return invalid("fixed_ips: want a list of objects with subnet_id, ip_address or both")
	}
	had := p.FixedIPs
	p.FixedIPs = nil
	for _, wish := range wishes {
		if i := slices.Index(had, wish); i >= 0 {
			p.FixedIPs, had = append(p.FixedIPs, wish), slices.Delete(slices.Clone(had), i, i+1)
			continue
		}
		s, err := subnetFor(subnets, wish, p.NetworkID)
		if err != nil {
			return err
		}
		ip, err := tx.TakeAddress(ctx, s, p.ID, wish.Address)
		if err != nil {
			if wish.Address == "" {
				return as(err, "", "IpAddressGenerationFailure")
			}
			return as(err, "", "IpAddressAlreadyAllocated")
		}
		p.FixedIPs = append(p.FixedIPs, ip)
	}
	for _, ip := range had {
		if err := tx.DropAddress(ctx, ip); err != nil {
			return err
		}
	}
	return nil
}

func oneOfEach(subnets []*store.Subnet) []network.FixedIP {
	var wishes []network.FixedIP
	seen := map[bool]bool{}
	for _, s := range subnets {
		p, err := netip.ParsePrefix(s.CIDR)
		if err == nil && !seen[p.Addr().Is4()] {
			seen[p.Addr().Is4()] = true
			wishes = append(wishes, network.FixedIP{SubnetID: s.ID})
		}
	}
	return wishes
}

// subnetFor returns the subnet that a wish for an address means.
func subnetFor(subnets []*store.Subnet, wish network.FixedIP, networkID string) (*store.Subnet, error) {
	var address netip.Addr
	if wish.Address != "" {
		var err error
		if address, err = netip.ParseAddr(wish.Address); err != nil || address.String() != wish.Address {
			return nil, invalid("fixed_ips: '%s' is not a valid IP address", wish.Address)
		}
	}
	for _, s := range subnets {
		p, err := netip.ParsePrefix(s.CIDR)
		inside := err == nil && (wish.Address == "" || p.Contains(address))
		switch {
		case wish.SubnetID == s.ID && !inside:
			return nil, typed{"InvalidIpForSubnet", fault.New(fault.Invalid, "IP address %s is not a valid IP for the specified subnet.", wish.Address)}
		case wish.SubnetID == s.ID, wish.SubnetID == "" && wish.Address != "" && inside:
			return s, nil
		}
	}
	if wish.SubnetID == "" && wish.Address == "" {
		return nil, invalid("fixed_ips: IP allocation requires subnet_id or ip_address")
	}
	return nil, typed{"InvalidIpForNetwork", fault.New(fault.Invalid, "IP address %s is not a valid IP for any of the subnets on network %s.", wish.Address, networkID)}
}

func (a *api) updatePort(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "port", portUpdate)
	if err != nil {
		return nil, err
	}
	var p *store.VPort
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) (err error) {
		if p, err = a.port(r, tx, true); err != nil {
			return err
		}
		device := p.DeviceID
		if err := a.unbind(r, tx, &p, attributes); err != nil {
			return err
		}
		if err := setPort(p, attributes); err != nil {
			return err
		}
		if p.DeviceID != device {
			if err := notInUse(r.Context(), tx, p.ID, device); err != nil {
				return err
			}
		}
		if err := a.takeGroups(r, tx, p, attributes, false); err != nil {
			return err
		}
		if raw, ok := attributes["fixed_ips"]; ok {
			if err := takeAddresses(r.Context(), tx, p, raw); err != nil {
				return err
			}
		}
		if err := tx.SaveVPort(r.Context(), p); err != nil {
			return err
		}
		return a.rebind(r, tx, &p, attributes)
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("port", portView(p))), nil
}

// hostOf returns the host that a body binds the port to, and whether it says anything about that.
func hostOf(attributes map[string]json.RawMessage) (host string, set bool, err error) {
	set, err = get(attributes, "binding:host_id", &host)
	return host, set, err
}

// unbind unbinds a port that a body binds to another host, or to none.
func (a *api) unbind(r *rest.Request, tx *store.Tx, p **store.VPort, attributes map[string]json.RawMessage) error {
	host, given, err := hostOf(attributes)
	if err != nil || !given || (*p).HostID == "" || (*p).HostID == host {
		return err
	}
	if err := notInUse(r.Context(), tx, (*p).ID, (*p).DeviceID); err != nil {
		return err
	}
	if err := a.o.Binding.Unbind(r.Context(), tx, (*p).ID); err != nil {
		return err
	}
	*p, err = tx.VPortForUpdate(r.Context(), (*p).ID)
	return err
}

// rebind binds a port to the host that a body names, when it is not bound yet.
func (a *api) rebind(r *rest.Request, tx *store.Tx, p **store.VPort, attributes map[string]json.RawMessage) error {
	host, given, err := hostOf(attributes)
	if err != nil || !given && (*p).HostID == "" {
		return err
	}
	if !given {
		host = (*p).HostID
	}
	if host == "" || (*p).VIFType == network.VIFOVS {
		return nil
	}
	device := binding.Device{ID: (*p).DeviceID, Owner: (*p).DeviceOwner}
	if err := a.o.Binding.BindProfile(r.Context(), tx, (*p).ID, host, device); err != nil {
		return err
	}
	*p, err = tx.VPortForUpdate(r.Context(), (*p).ID)
	return err
}

// notInUse refuses to take a port from a server behind its back: the guest would keep a function that somebody else can claim.
func notInUse(ctx context.Context, tx *store.Tx, port, device string) error {
	if device == "" {
		return nil
	}
	_, err := tx.Server(ctx, device)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return typed{"PortInUse", fault.New(fault.Conflict, "Unable to complete operation on port %s: it is attached to server %s. Detach it from the server first.", port, device)}
}

func (a *api) deletePort(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		p, err := a.port(r, tx, false)
		if err != nil {
			return err
		}
		if err := notInUse(r.Context(), tx, p.ID, p.DeviceID); err != nil {
			return err
		}
		return as(a.o.Binding.Delete(r.Context(), tx, p.ID), "PortNotFound", "")
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}

func (a *api) explainPort(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		_, err := a.port(r, tx, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	hops, err := a.o.Binding.Explain(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return rest.OK(object("hops", hops)), nil
}
