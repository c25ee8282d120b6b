package compute

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/riser-project/riser/api/rest"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
)

// vmStates are the words of OS-EXT-STS:vm_state.
var vmStates = map[store.ServerState]string{
	store.ServerBuild: "building", store.ServerActive: "active", store.ServerStopped: "stopped", store.ServerResized: "resized",
	store.ServerError: "error",
}

// powerStates are the numbers of OS-EXT-STS:power_state.
var powerStates = map[string]int{string(virt.Running): 1, string(virt.Paused): 3, string(virt.Stopped): 4, string(virt.Crashed): 6}

// taskStatus are the statuses that tasks show as.
var taskStatus = map[string]string{
	store.TaskRebooting: "REBOOT", store.TaskMigrating: "RESIZE", store.TaskFinishing: "RESIZE", store.TaskReverting: "REVERT_RESIZE",
	store.TaskRebuilding: "REBUILD", store.TaskEvacuating: "REBUILD",
}

// status is the API's status of a server, which shows some tasks too.
func status(s *store.Server) string {
	switch shown := taskStatus[s.Task]; {
	case s.Task == store.TaskFinishing && s.Move != nil && s.Move.Kind == store.MoveRevert:
		return "REVERT_RESIZE"
	case shown != "":
		return shown
	}
	return string(s.State)
}

// view returns a server as a version of the API shows it.
func (a *api) view(ctx context.Context, tx *store.Tx, r *rest.Request, s *store.Server) (map[string]any, error) {
	addresses, err := addressesOf(ctx, tx, s)
	if err != nil {
		return nil, err
	}
	v := map[string]any{
		"id": s.UUID, "name": s.Name, "status": status(s), "tenant_id": s.Project, "user_id": s.Owner, "metadata": metadata(s), "hostId": hostID(s),
		"image": image(r, s), "flavor": flavorOf(r, s), "created": stamp(s.CreatedAt), "updated": stamp(s.UpdatedAt), "addresses": addresses,
		"links": links(r, "servers", s.UUID), "accessIPv4": "", "accessIPv6": "", "config_drive": "", "key_name": nil, "OS-DCF:diskConfig": "MANUAL",
		"OS-EXT-AZ:availability_zone": zoneOf(s), "OS-EXT-SRV-ATTR:host": orNull(s.Host), "OS-EXT-SRV-ATTR:hypervisor_hostname": orNull(s.Host),
		"OS-EXT-SRV-ATTR:instance_name": s.Name, "OS-EXT-STS:task_state": orNull(s.Task), "OS-EXT-STS:vm_state": vmStates[s.State],
		"OS-EXT-STS:power_state": powerStates[s.Power], "OS-SRV-USG:launched_at": launched(s.LaunchedAt), "OS-SRV-USG:terminated_at": nil,
		"os-extended-volumes:volumes_attached": []any{}, "riser:waits_for": nil, "riser:waits_until": stamp(s.WaitUntil),
	}
	switch {
	case s.State == store.ServerError:
		v["fault"] = map[string]any{"code": 500, "created": stamp(s.UpdatedAt), "message": s.Reason}
	case s.State == store.ServerBuild || s.State == store.ServerActive:
		v["progress"] = map[bool]int{true: 100}[s.State == store.ServerActive]
	}
	if s.Task != "" {
		v["riser:waits_for"] = orNull(s.Reason)
	}
	for _, f := range []struct {
		since int
		key   string
		value any
	}{
		{vLocked, "locked", false}, {vHostStatus, "host_status", "UP"}, {vDescription, "description", orNull(s.Description)}, {vTags, "tags", []any{}},
		{vCertificates, "trusted_image_certificates", nil}, {vServerGroups, "server_groups", []any{}}, {vLockedReason, "locked_reason", nil},
		{96, "pinned_availability_zone", nil},
	} {
		if r.Version >= f.since {
			v[f.key] = f.value
		}
	}
	return v, nil
}

// launched writes a time as Nova writes those of OS-SRV-USG: without a zone.
func launched(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000")
}

func metadata(s *store.Server) map[string]any {
	m := map[string]any{}
	for k, v := range s.Metadata {
		m[k] = v
	}
	return m
}

// hostID hides the name of the host from those who may not know it.
func hostID(s *store.Server) string {
	if s.Host == "" {
		return ""
	}
	sum := sha256.Sum224([]byte(s.Project + s.Host))
	return hex.EncodeToString(sum[:])
}

func zoneOf(s *store.Server) string {
	if s.Host == "" {
		return ""
	}
	return zone
}

func image(r *rest.Request, s *store.Server) any {
	if s.Image == "" {
		return ""
	}
	return map[string]any{"id": s.Image, "links": []any{map[string]any{"rel": "bookmark", "href": r.Endpoint() + "/compute/images/" + s.Image}}}
}

func flavorOf(r *rest.Request, s *store.Server) map[string]any {
	if r.Version < vFlavorInside {
		return map[string]any{"id": s.Flavor.ID, "links": links(r, "flavors", s.Flavor.ID)[1:]}
	}
	return map[string]any{
		"original_name": s.Flavor.Name, "vcpus": s.Flavor.VCPUs, "ram": s.Flavor.MemoryMB, "disk": s.Flavor.DiskGB, "ephemeral": 0, "swap": 0,
		"extra_specs": specs(s.Flavor.ExtraSpecs),
	}
}

func specs(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func addressesOf(ctx context.Context, tx *store.Tx, s *store.Server) (map[string]any, error) {
	out := map[string]any{}
	ids := make([]string, len(s.Ports))
	for i, p := range s.Ports {
		ids[i] = p.ID
	}
	ports, err := tx.VPorts(ctx, store.VPortQuery{UUIDs: ids})
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		n, err := tx.Network(ctx, p.NetworkID)
		if err != nil {
			return nil, err
		}
		list, _ := out[n.Name].([]any)
		for _, ip := range p.FixedIPs {
			version := 4
			if address, err := netip.ParseAddr(ip.Address); err == nil && address.Is6() {
				version = 6
			}
			list = append(list, map[string]any{"addr": ip.Address, "version": version, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": p.MAC})
		}
		if list != nil {
			out[n.Name] = list
		}
	}
	return out, nil
}
