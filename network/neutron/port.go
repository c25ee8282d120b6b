package neutron

import (
	"context"
	"encoding/json"
	"net/url"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// port is a port of Neutron's.
type port struct {
	found
	Status      string          `json:"status"`
	AdminUp     bool            `json:"admin_state_up"`
	Device      string          `json:"device_id"`
	DeviceOwner string          `json:"device_owner"`
	Host        string          `json:"binding:host_id"`
	VIFType     string          `json:"binding:vif_type"`
	VNICType    string          `json:"binding:vnic_type"`
	Profile     json.RawMessage `json:"binding:profile"`
}

func (b *Backend) port(ctx context.Context, id string) (*port, bool, error) {
	p, own, err := find(ctx, b, "ports", "port", id, func(p *port) string { return p.Description })
	if p != nil {
		b.mu.Lock()
		b.names[p.ID] = id
		b.mu.Unlock()
	}
	return p, own, err
}

// EnsurePort makes the port exist as p says, and binds it to the function that p.Profile names on the hypervisor p.HostID while bound is not nil. The
// error is fault.NotFound without the network, and fault.Conflict with the reason when Neutron cannot bind the port.
func (b *Backend) EnsurePort(ctx context.Context, p network.Port, bound *network.Binding) error {
	have, own, err := b.port(ctx, p.ID)
	if err != nil {
		return err
	}
	if have == nil {
		if have, err = b.createPort(ctx, p); err != nil {
			return err
		}
		own = true
	}
	defer b.changed(p.ID)
	if own && (have.Name != p.Name || have.AdminUp == p.AdminDown) {
		if err := b.put(ctx, "ports/"+have.ID, object{"port": object{"name": p.Name, "admin_state_up": !p.AdminDown}}, nil); err != nil {
			return err
		}
	}
	if bound == nil || !p.Profile.Bound {
		return b.unbind(ctx, have)
	}
	return b.bind(ctx, have, p)
}

func (b *Backend) createPort(ctx context.Context, p network.Port) (*port, error) {
	home, _, err := b.segment(ctx, p.NetworkID)
	if err != nil {
		return nil, err
	}
	if home == nil {
		return nil, fault.New(fault.NotFound, "port %s: Neutron has no network for %s", p.ID, p.NetworkID)
	}
	body := object{
		"network_id": home.ID, "name": p.Name, "description": mark(p.ID), "mac_address": p.MAC, "admin_state_up": !p.AdminDown,
		"binding:vnic_type": p.VNICType,
	}
	if p.Project != "" {
		body["project_id"] = p.Project
	}
	if !p.PortSecurity {
		body["port_security_enabled"] = false
	}
	if body["fixed_ips"], err = b.addresses(ctx, home.ID, p); err != nil {
		return nil, err
	}
	var made map[string]*port
	if err := b.post(ctx, "ports", object{"port": body}, &made); err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.names[made["port"].ID] = p.ID
	b.mu.Unlock()
	return made["port"], nil
}

// addresses are the port's, with Neutron's names of the subnets.
func (b *Backend) addresses(ctx context.Context, networkID string, p network.Port) ([]object, error) {
	ips := []object{}
	if len(p.FixedIPs) == 0 {
		return ips, nil
	}
	var list map[string][]*subnet
	if err := b.get(ctx, "subnets", url.Values{"network_id": {networkID}}, &list); err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, s := range list["subnets"] {
		names[s.ID] = s.ID
		if id := marked(s.Description); id != "" {
			names[id] = s.ID
		}
	}
	for _, ip := range p.FixedIPs {
		o := object{"ip_address": ip.Address}
		if id := names[ip.SubnetID]; id != "" {
			o["subnet_id"] = id
		}
		ips = append(ips, o)
	}
	return ips, nil
}

// bind binds a port of Neutron's as p says: by a second binding where it moves from one host to another and Neutron has those, else by an update.
func (b *Backend) bind(ctx context.Context, have *port, p network.Port) error {
	profile, err := json.Marshal(p.Profile)
	if err != nil {
		return err
	}
	same := have.Host == p.HostID && sameJSON(have.Profile, profile) && have.Device == p.DeviceID
	if same && have.VIFType != network.VIFFailed && have.VIFType != network.VIFUnbound {
		return nil
	}
	if have.Host != "" && have.Host != p.HostID && have.VIFType == network.VIFOVS {
		switch ok, err := b.hasExtended(ctx); {
		case err != nil:
			return err
		case ok:
			return b.move(ctx, have, p, profile)
		}
	}
	if have.VIFType == network.VIFFailed {
		// Neutron tries again only when something changes.
		if err := b.unbind(ctx, have); err != nil {
			return err
		}
	}
	var now map[string]*port
	err = b.put(ctx, "ports/"+have.ID, object{"port": object{
		"device_id": p.DeviceID, "device_owner": p.DeviceOwner, "binding:host_id": p.HostID, "binding:vnic_type": p.VNICType, "binding:profile": json.RawMessage(profile),
	}}, &now)
	if err != nil {
		return err
	}
	if now["port"].VIFType == network.VIFFailed {
		return fault.New(fault.Conflict, "Neutron could not bind port %s to host %s: its log says why; the usual causes are that no chassis has card-serial-number=%s in its ovn-cms-options, or that the chassis is not alive",
			p.ID, p.HostID, p.Profile.CardSerial)
	}
	return nil
}

// move makes a binding to the new host beside the old one, puts it in force and removes the old one (extension binding-extended).
func (b *Backend) move(ctx context.Context, have *port, p network.Port, profile []byte) error {
	path := "ports/" + have.ID + "/bindings"
	err := b.post(ctx, path, object{"binding": object{"host": p.HostID, "vnic_type": p.VNICType, "profile": json.RawMessage(profile)}}, nil)
	if err != nil && !fault.Is(err, fault.Conflict) { // a conflict: it was made before
		return err
	}
	if err := b.put(ctx, path+"/"+url.PathEscape(p.HostID)+"/activate", nil, nil); err != nil && !fault.Is(err, fault.Conflict) {
		return err
	}
	if err := b.remove(ctx, path+"/"+url.PathEscape(have.Host)); err != nil {
		return err
	}
	if have.Device == p.DeviceID {
		return nil
	}
	return b.put(ctx, "ports/"+have.ID, object{"port": object{"device_id": p.DeviceID, "device_owner": p.DeviceOwner}}, nil)
}

// hasExtended asks once whether Neutron has bindings to several hosts.
func (b *Backend) hasExtended(ctx context.Context) (bool, error) {
	b.mu.Lock()
	known := b.extended
	b.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	err := b.get(ctx, "extensions/binding-extended", nil, nil)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return false, err
	}
	has := err == nil
	b.mu.Lock()
	b.extended = &has
	b.mu.Unlock()
	return has, nil
}

func (b *Backend) unbind(ctx context.Context, have *port) error {
	if have.Host == "" && have.Device == "" && sameJSON(have.Profile, []byte(`{}`)) {
		return nil
	}
	return b.put(ctx, "ports/"+have.ID, object{"port": object{
		"device_id": "", "device_owner": "", "binding:host_id": "", "binding:profile": object{},
	}}, nil)
}

// sameJSON compares two objects by their values.
func sameJSON(a, b []byte) bool {
	norm := func(text []byte) string {
		var v map[string]any
		if len(text) > 0 && json.Unmarshal(text, &v) != nil {
			return string(text)
		}
		out, err := json.Marshal(v)
		if err != nil || v == nil {
			return "{}"
		}
		return string(out)
	}
	return norm(a) == norm(b)
}

// RemovePort removes the port that this package made, and only unbinds somebody else's.
func (b *Backend) RemovePort(ctx context.Context, id string) error {
	have, own, err := b.port(ctx, id)
	if err != nil || have == nil {
		return err
	}
	if !own {
		return b.unbind(ctx, have)
	}
	if err := b.remove(ctx, "ports/"+have.ID); err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.names, have.ID)
	b.mu.Unlock()
	return nil
}
