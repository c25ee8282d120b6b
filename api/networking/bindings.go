package networking

import (
	"encoding/json"
	"net/http"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/store"
)

// bindingView is a binding of a port (extension binding-extended).
func bindingView(host, vnic, vif, status string, profile network.Profile) map[string]any {
	return map[string]any{
		"host": host, "vnic_type": vnic, "vif_type": vif, "vif_details": vifDetails(vif), "status": status, "profile": profile, "project_id": "",
	}
}

func activeBinding(p *store.VPort) map[string]any {
	return bindingView(p.HostID, p.VNICType, p.VIFType, "ACTIVE", p.Profile)
}

func inactiveBinding(b *store.PortBinding) map[string]any {
	return bindingView(b.Host, b.VNICType, b.VIFType, "INACTIVE", b.Profile)
}

// bindingsOf returns the bindings of a port: the one in force first.
func bindingsOf(r *rest.Request, tx *store.Tx, p *store.VPort) ([]map[string]any, error) {
	var views []map[string]any
	if p.HostID != "" {
		views = append(views, activeBinding(p))
	}
	list, err := tx.PortBindings(r.Context(), p.ID, "")
	for _, b := range list {
		views = append(views, inactiveBinding(b))
	}
	return views, err
}

func (a *api) listBindings(r *rest.Request) (*rest.Response, error) {
	var views []map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		p, err := a.port(r, tx, false)
		if err != nil {
			return err
		}
		views, err = bindingsOf(r, tx, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerList(r, "bindings", views)
}

func (a *api) showBinding(r *rest.Request) (*rest.Response, error) {
	var found map[string]any
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		p, err := a.port(r, tx, false)
		if err != nil {
			return err
		}
		views, err := bindingsOf(r, tx, p)
		for _, v := range views {
			if v["host"] == r.PathValue("host") {
				found = v
			}
		}
		if err == nil && found == nil {
			err = typed{"PortBindingNotFound", fault.New(fault.NotFound, "Binding for port %s for host %s could not be found.", p.ID, r.PathValue("host"))}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return answerOne(r, "binding", found), nil
}

func (a *api) createBinding(r *rest.Request) (*rest.Response, error) {
	attributes, err := body(r, "binding", set("host", "vnic_type", "profile", "project_id", "tenant_id"))
	if err != nil {
		return nil, err
	}
	var made *store.PortBinding
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		p, err := a.port(r, tx, true)
		if err != nil {
			return err
		}
		host, vnic, profile := "", p.VNICType, network.Profile{}
		for name, dest := range map[string]any{"host": &host, "vnic_type": &vnic} {
			if _, err := get(attributes, name, dest); err != nil {
				return err
			}
		}
		if raw, ok := attributes["profile"]; ok {
			if err := json.Unmarshal(raw, &profile); err != nil {
				return typed{"InvalidInput", err}
			}
		}
		if host == "" {
			return typed{"HTTPBadRequest", fault.New(fault.Invalid, "Failed to parse request. Required attribute 'host' not specified")}
		}
		made, err = a.o.Binding.Prepare(r.Context(), tx, p.ID, host, vnic, profile)
		return err
	})
	if fault.Is(err, fault.Unsupported) {
		// Neutron answers 500 to a binding that no mechanism can make, and Nova waits for just that.
		return nil, &rest.Failure{Status: http.StatusInternalServerError, Text: err.Error(), Err: typed{"PortBindingError", err}}
	}
	if err != nil {
		return nil, as(err, "PortNotFound", "PortBindingAlreadyExists")
	}
	return &rest.Response{Status: http.StatusCreated, Body: object("binding", inactiveBinding(made))}, nil
}

func (a *api) activateBinding(r *rest.Request) (*rest.Response, error) {
	var now *store.VPort
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		p, err := a.port(r, tx, true)
		if err != nil {
			return err
		}
		if err := a.o.Binding.Activate(r.Context(), tx, p.ID, r.PathValue("host")); err != nil {
			return as(err, "PortBindingNotFound", "PortBindingAlreadyActive")
		}
		now, err = tx.VPort(r.Context(), p.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("binding", activeBinding(now))), nil
}

func (a *api) deleteBinding(r *rest.Request) (*rest.Response, error) {
	err := a.o.DB.Write(r.Context(), func(tx *store.Tx) error {
		p, err := a.port(r, tx, true)
		if err != nil {
			return err
		}
		if p.HostID == r.PathValue("host") {
			if err := notInUse(r.Context(), tx, p.ID, p.DeviceID); err != nil {
				return err
			}
		}
		return as(a.o.Binding.Drop(r.Context(), tx, p.ID, r.PathValue("host")), "PortBindingNotFound", "")
	})
	if err != nil {
		return nil, err
	}
	return rest.NoContent(), nil
}
