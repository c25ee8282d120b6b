package compute

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/instance"
	"github.com/riser-project/riser/store"
)

func interfaceView(r *rest.Request, p *store.VPort, tag string) map[string]any {
	ips := make([]any, len(p.FixedIPs))
	for i, ip := range p.FixedIPs {
		ips[i] = map[string]any{"ip_address": ip.Address, "subnet_id": ip.SubnetID}
	}
	v := map[string]any{"port_id": p.ID, "net_id": p.NetworkID, "mac_addr": p.MAC, "port_state": p.Status, "fixed_ips": ips}
	if r.Version >= vAttachTag {
		v["tag"] = orNull(tag)
	}
	return v
}

func (a *api) interfaces(r *rest.Request) (map[string]map[string]any, []any, error) {
	byPort, list := map[string]map[string]any{}, []any{}
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		s, err := a.server(r, tx)
		if err != nil {
			return err
		}
		for _, sp := range s.Ports {
			p, err := tx.VPort(r.Context(), sp.ID)
			if fault.Is(err, fault.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			v := interfaceView(r, p, sp.Tag)
			byPort[p.ID], list = v, append(list, v)
		}
		return nil
	})
	return byPort, list, err
}

func (a *api) listInterfaces(r *rest.Request) (*rest.Response, error) {
	_, list, err := a.interfaces(r)
	if err != nil {
		return nil, err
	}
	return rest.OK(object("interfaceAttachments", list)), nil
}

func (a *api) showInterface(r *rest.Request) (*rest.Response, error) {
	byPort, _, err := a.interfaces(r)
	if err != nil {
		return nil, err
	}
	v, ok := byPort[r.PathValue("port")]
	if !ok {
		return nil, fault.New(fault.NotFound, "Instance %s does not have a port with id %s", r.PathValue("id"), r.PathValue("port"))
	}
	return rest.OK(object("interfaceAttachment", v)), nil
}

// attachPatience is how long an attach waits for the guest to have the interface before it answers.
const attachPatience = 30 * time.Second

func (a *api) attachInterface(r *rest.Request) (*rest.Response, error) {
	if err := a.visible(r); err != nil {
		return nil, err
	}
	var b struct {
		Attachment struct {
			Port    string `json:"port_id"`
			Network string `json:"net_id"`
			Tag     string `json:"tag"`
		} `json:"interfaceAttachment"`
	}
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	in := b.Attachment
	if in.Port != "" && in.Network != "" {
		return nil, invalid("Must not input both network_id and port_id")
	}
	if in.Port == "" && in.Network == "" {
		return nil, invalid("A port_id is needed: make a port of VNIC type remote-managed first.")
	}
	id := r.PathValue("id")
	if err := a.o.Runner.Attach(r.Context(), id, instance.Attachment{Port: in.Port, Network: in.Network, Tag: in.Tag}); err != nil {
		return nil, err
	}
	if err := a.await(r.Context(), id); err != nil {
		return nil, err
	}
	byPort, _, err := a.interfaces(r)
	if err != nil {
		return nil, err
	}
	return rest.OK(object("interfaceAttachment", byPort[in.Port])), nil
}

// await waits until the server's task is done, or patience is over. A server that failed in it is a conflict.
func (a *api) await(ctx context.Context, id string) error {
	woken, cancel := a.o.DB.Subscribe(store.TopicServer(id))
	defer cancel()
	over := time.NewTimer(attachPatience)
	defer over.Stop()
	for {
		var s *store.Server
		err := a.o.DB.Read(ctx, func(tx *store.Tx) (err error) {
			s, err = tx.Server(ctx, id)
			return err
		})
		switch {
		case err != nil:
			return err
		case s.State == store.ServerError:
			return fault.New(fault.Conflict, "Failed to attach the interface to instance %s: %s", id, s.Reason)
		case s.Task == "":
			return nil
		}
		select {
		case <-woken:
		case <-over.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *api) detachInterface(r *rest.Request) (*rest.Response, error) {
	var has bool
	err := a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		s, err := a.server(r, tx)
		if err == nil {
			has = slices.ContainsFunc(s.Ports, func(p store.ServerPort) bool { return p.ID == r.PathValue("port") })
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !has {
		return nil, fault.New(fault.NotFound, "Port %s is not attached to instance %s.", r.PathValue("port"), r.PathValue("id"))
	}
	if err := a.o.Runner.Detach(r.Context(), r.PathValue("id"), r.PathValue("port")); err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusAccepted}, nil
}
