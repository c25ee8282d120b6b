package compute

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/store"
)

// zone is the only availability zone.
const zone = "nova"

// hostUUID is the UUID of a host for the API, which knows hosts by name alone: made of the name (RFC 9562, version 5).
func hostUUID(name string) string {
	return uuid.NewSHA1(uuid.NameSpaceDNS, []byte("host/"+name)).String()
}

// hosts reads the hosts with what runs on them.
func (a *api) hosts(r *rest.Request, each func(i int, h *store.Host, load store.ServerLoad)) error {
	return a.o.DB.Read(r.Context(), func(tx *store.Tx) error {
		list, err := tx.Hosts(r.Context(), store.HostQuery{})
		if err != nil {
			return err
		}
		loads, err := tx.ServerLoads(r.Context(), nil)
		for i, h := range list {
			each(i+1, h, loads[h.Name])
		}
		return err
	})
}

func state(h *store.Host) string {
	if h.Alive {
		return "up"
	}
	return "down"
}

func enabled(h *store.Host) string {
	if h.Disabled != "" {
		return "disabled"
	}
	return "enabled"
}

// idOf is a host's id in this version: a number, later a UUID.
func idOf(r *rest.Request, number int, h *store.Host) any {
	if r.Version >= vServiceUUID {
		return hostUUID(h.Name)
	}
	return number
}

func hypervisorView(r *rest.Request, number int, h *store.Host, load store.ServerLoad) map[string]any {
	v := map[string]any{
		"id": idOf(r, number, h), "hypervisor_hostname": h.Name, "state": state(h), "status": enabled(h), "hypervisor_type": h.Virt.Driver,
		"hypervisor_version": 0, "host_ip": "", "service": map[string]any{"id": idOf(r, number, h), "host": h.Name, "disabled_reason": orNull(h.Disabled)},
	}
	if r.Version < vLeanHypervisor {
		for key, value := range map[string]any{
			"vcpus": h.Virt.VCPUs, "vcpus_used": load.VCPUs, "memory_mb": h.Virt.MemoryMB, "memory_mb_used": load.MemoryMB,
			"free_ram_mb": h.Virt.MemoryMB - load.MemoryMB, "local_gb": 0, "local_gb_used": 0, "free_disk_gb": 0, "disk_available_least": 0,
			"current_workload": 0, "running_vms": load.Servers, "cpu_info": "",
		} {
			v[key] = value
		}
	}
	return v
}

func (a *api) listHypervisors(r *rest.Request) (*rest.Response, error) {
	list := []any{}
	err := a.hosts(r, func(i int, h *store.Host, _ store.ServerLoad) {
		list = append(list, map[string]any{"id": idOf(r, i, h), "hypervisor_hostname": h.Name, "state": state(h), "status": enabled(h)})
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("hypervisors", list)), nil
}

func (a *api) detailHypervisors(r *rest.Request) (*rest.Response, error) {
	list := []any{}
	err := a.hosts(r, func(i int, h *store.Host, load store.ServerLoad) { list = append(list, hypervisorView(r, i, h, load)) })
	if err != nil {
		return nil, err
	}
	return rest.OK(object("hypervisors", list)), nil
}

func (a *api) showHypervisor(r *rest.Request) (*rest.Response, error) {
	var v map[string]any
	err := a.hosts(r, func(i int, h *store.Host, load store.ServerLoad) {
		if id := r.PathValue("id"); id == hostUUID(h.Name) || id == strconv.Itoa(i) || id == h.Name {
			v = hypervisorView(r, i, h, load)
		}
	})
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, fault.New(fault.NotFound, "Hypervisor with ID '%s' could not be found.", r.PathValue("id"))
	}
	return rest.OK(object("hypervisor", v)), nil
}

func serviceView(r *rest.Request, number int, h *store.Host) map[string]any {
	v := map[string]any{
		"id": idOf(r, number, h), "binary": "nova-compute", "host": h.Name, "zone": zone, "status": enabled(h), "state": state(h),
		"updated_at": launched(h.ReportedAt), "disabled_reason": orNull(h.Disabled), "riser:service_version": h.Service, "riser:refused": orNull(h.Refused),
	}
	if r.Version >= vServiceUUID {
		v["forced_down"] = false
	}
	return v
}

func (a *api) listServices(r *rest.Request) (*rest.Response, error) {
	list := []any{}
	q := r.Query()
	err := a.hosts(r, func(i int, h *store.Host, _ store.ServerLoad) {
		if (q.Get("host") == "" || q.Get("host") == h.Name) && (q.Get("binary") == "" || q.Get("binary") == "nova-compute") {
			list = append(list, serviceView(r, i, h))
		}
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("services", list)), nil
}

func (a *api) updateService(r *rest.Request) (*rest.Response, error) {
	var b struct {
		Status string `json:"status"`
		Reason string `json:"disabled_reason"`
	}
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	reason := ""
	switch {
	case b.Status == "disabled" && b.Reason == "":
		reason = "no reason given"
	case b.Status == "disabled":
		reason = b.Reason
	case b.Status != "enabled":
		return nil, invalid("Invalid input for field/attribute status: want enabled or disabled.")
	}
	name, number := "", 0
	err := a.hosts(r, func(i int, h *store.Host, _ store.ServerLoad) {
		if hostUUID(h.Name) == r.PathValue("id") {
			name, number = h.Name, i
		}
	})
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, fault.New(fault.NotFound, "Service %s could not be found.", r.PathValue("id"))
	}
	var h *store.Host
	err = a.o.DB.Write(r.Context(), func(tx *store.Tx) (err error) {
		if err = tx.DisableHost(r.Context(), name, reason); err != nil {
			return err
		}
		h, err = tx.Host(r.Context(), name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rest.OK(object("service", serviceView(r, number, h))), nil
}

func (a *api) zones(*rest.Request) (*rest.Response, error) {
	return rest.OK(object("availabilityZoneInfo", []any{
		map[string]any{"zoneName": zone, "zoneState": map[string]any{"available": true}, "hosts": nil},
	})), nil
}
