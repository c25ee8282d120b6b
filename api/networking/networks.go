package networking

import (
	"encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// Defaults and limits of a network.
const (
	defaultMTU  = 1442 // of an overlay: 1500 less what Geneve adds
	defaultType = "geneve"
	minMTU      = 68 // RFC 791
	maxMTU      = 65535
	maxVLAN     = 4094
)

// networkAttributes are the attributes that a body may set. Those that riser keeps no choice of are accepted with their only value.
var networkAttributes = set("name", "admin_state_up", "shared", "router:external", "mtu", "provider:network_type", "provider:physical_network",
	"provider:segmentation_id", "port_security_enabled", "tenant_id", "project_id", "description", "availability_zone_hints")

func (a *api) networkView(n *store.Network, subnets []string) map[string]any {
	return map[string]any{
		"id": n.ID, "name": n.Name, "description": "", "tenant_id": n.Project, "project_id": n.Project, "admin_state_up": true, "shared": false,
		"router:external": false, "status": network.StatusActive, "mtu": n.MTU, "subnets": list(subnets), "port_security_enabled": true,
		"provider:network_type": n.Type, "provider:physical_network": orNull(n.Physical), "provider:segmentation_id": numberOrNull(n.Segment),
		"availability_zones": []any{}, "availability_zone_hints": []any{}, "tags": []any{}, "created_at": stamp(n.CreatedAt), "updated_at": stamp(n.UpdatedAt),
		"riser:trouble": orNull(n.Trouble),
	}
}

func (a *api) listNetworks(r *rest.Request) (*rest.Response, error) {
	var views []map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		networks, err := tx.Networks(r.Context(), store.NetworkQuery{UUIDs: r.Query()["id"]})
		if err != nil {
			return err
		}
		subnets, err := tx.Subnets(r.Context(), "")
		if err != nil {
			return err
		}
		of := map[string][]string{}
		for _, s := range subnets {
			of[s.NetworkID] = append(of[s.NetworkID], s.ID)
		}
		for _, n := range networks {
			if p := scope(r); p == "" || p == n.Project {
				views = append(views, a.networkView(n, of[n.ID]))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return answerList(r, "networks", views)
}

// network returns a network that the subject may see, with the ids of its subnets.
func (a *api) network(r *rest.Request, tx *store.Tx, id string) (*store.Network, []string, error) {
	n, err := tx.Network(r.Context(), id)
	if err == nil {
		if p := scope(r); p != "" && p != n.Project {
			err = fault.New(fault.NotFound, "Network %s could not be found.", id)
		}
	}
	if err != nil {
		return nil, nil, as(err, "NetworkNotFound", "")
	}
	subnets, err := tx.Subnets(r.Context(), id)
	ids := make([]string, len(subnets))
	for i, s := range subnets {
		ids[i] = s.ID
	}
	return n, ids, err
}

func (a *api) showNetwork(r *rest.Request) (*rest.Response, error) {
	var n *store.Network
	var subnets []string
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) (err error) {
		n, subnets, err = a.network(r, tx, r.PathValue("id"))
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerOne(r, "network", a.networkView(n, subnets)), nil
}

func (a *api) createNetwork(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "network", networkAttributes)
	if err != nil {
		return nil, err
	}
	n := &store.Network{Network: network.Network{ID: uuid.NewString(), MTU: defaultMTU, Type: defaultType, Project: r.Subject.Project}}
	if err := setNetwork(n, attributes); err != nil {
		return nil, err
	}
	if err := setProvider(n, attributes); err != nil {
		return nil, err
	}
	if err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error { return tx.InsertNetwork(r.Context(), n) }); err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusCreated, Body: object("network", a.networkView(n, nil))}, nil
}

// setNetwork sets what may be changed later too.
func setNetwork(n *store.Network, attributes map[string]json.RawMessage) error {
	if _, err := get(attributes, "name", &n.Name); err != nil {
		return err
	}
	if _, err := get(attributes, "mtu", &n.MTU); err != nil {
		return err
	}
	if n.MTU < minMTU || n.MTU > maxMTU {
		return invalid("mtu: %d is not between %d and %d", n.MTU, minMTU, maxMTU)
	}
	for _, only := range []struct {
		name string
		want bool
	}{{"admin_state_up", true}, {"shared", false}, {"router:external", false}, {"port_security_enabled", true}} {
		got := only.want
		if _, err := get(attributes, only.name, &got); err != nil {
			return err
		}
		if got != only.want {
			return invalid("%s: networks of riser have %v", only.name, only.want)
		}
	}
	return nil
}

// setProvider sets what stays for the life of a network.
func setProvider(n *store.Network, attributes map[string]json.RawMessage) error {
	for name, dest := range map[string]any{
		"project_id": &n.Project, "tenant_id": &n.Project, "provider:network_type": &n.Type, "provider:physical_network": &n.Physical,
		"provider:segmentation_id": &n.Segment,
	} {
		if _, err := get(attributes, name, dest); err != nil {
			return err
		}
	}
	switch n.Type {
	case "geneve":
		if n.Physical != "" {
			return invalid("provider:physical_network specified for geneve network")
		}
	case "flat", "vlan":
		if n.Physical == "" {
			return invalid("provider:physical_network required for %s network", n.Type)
		}
		if _, ok := attributes["mtu"]; !ok {
			n.MTU = 1500
		}
	default:
		return invalid("provider:network_type: %q is none of flat, geneve, vlan", n.Type)
	}
	if n.Type == "vlan" && (n.Segment < 1 || n.Segment > maxVLAN) {
		return invalid("provider:segmentation_id out of range (1 through %d)", maxVLAN)
	}
	if n.Type != "vlan" && n.Segment != 0 {
		return invalid("provider:segmentation_id cannot be specified for %s network", n.Type)
	}
	return nil
}

func (a *api) updateNetwork(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "network", set("name", "admin_state_up", "shared", "router:external", "mtu", "port_security_enabled", "description"))
	if err != nil {
		return nil, err
	}
	var n *store.Network
	var subnets []string
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) (err error) {
		if n, subnets, err = a.network(r, tx, r.PathValue("id")); err != nil {
			return err
		}
		if err := setNetwork(n, attributes); err != nil {
			return err
		}
		return tx.SaveNetwork(r.Context(), n)
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("network", a.networkView(n, subnets))), nil
}

func (a *api) deleteNetwork(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		if _, _, err := a.network(r, tx, r.PathValue("id")); err != nil {
			return err
		}
		return as(tx.DeleteNetwork(r.Context(), r.PathValue("id")), "NetworkNotFound", "NetworkInUse")
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
