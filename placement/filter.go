package placement

import (
	"fmt"
	"slices"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// filter takes a host out, or lets it pass. It returns why, for people; an empty text lets it pass.
type filter struct {
	name  string
	check func(r *Request, h *hostView) string
}

// filters are asked in this order; the first that takes a host out decides. Functions are looked at last.
var filters = [...]filter{
	{"requested-host", requestedHost},
	{"host-alive", hostAlive},
	{"host-enabled", hostEnabled},
	{"host-node", hostNode},
	{"virt-driver", virtDriver},
	{"service-version", serviceVersion},
	{"capacity", capacity},
	{"remote-managed", remoteManaged},
}

// functionsFilter is the name under which missing functions are reported.
const functionsFilter = "functions"

// check asks all filters about a host. It returns the PF for each port of the request when the host can take it; then the refusal has no filter.
func check(r *Request, h *hostView) ([]*pfView, Refusal) {
	for _, f := range filters {
		if why := f.check(r, h); why != "" {
			return nil, Refusal{Host: h.Name, Filter: f.name, Reason: why}
		}
	}
	plan, details := assign(r, h)
	if plan == nil && len(r.Ports) > 0 {
		return nil, Refusal{Host: h.Name, Filter: functionsFilter, Reason: missing(len(r.Ports)), Details: details}
	}
	return plan, Refusal{Host: h.Name, Reason: "can take the server"}
}

func missing(ports int) string {
	if ports == 1 {
		return "no function for the port"
	}
	return fmt.Sprintf("no functions for %d ports together", ports)
}

func requestedHost(r *Request, h *hostView) string {
	if r.Host != "" && r.Host != h.Name {
		return fmt.Sprintf("host %s was asked for", r.Host)
	}
	if slices.Contains(r.Avoid, h.Name) {
		return "the request is to avoid this host"
	}
	return ""
}

func hostAlive(_ *Request, h *hostView) string {
	if !h.Alive {
		return fmt.Sprintf("the host's agent is silent: its lease ended at %s", h.ExpiresAt.Format("2006-01-02T15:04:05Z"))
	}
	return ""
}

func hostEnabled(_ *Request, h *hostView) string {
	if h.Disabled != "" {
		return "the host is disabled: " + h.Disabled
	}
	return ""
}

// hostNode takes out hosts whose node is worked on. A host without a node can still run servers that need no card.
func hostNode(_ *Request, h *hostView) string {
	switch {
	case h.Node == nil:
		return ""
	case h.Node.Maintenance:
		return fmt.Sprintf("node %s is in maintenance: %s", h.Node.Label(), h.Node.MaintenanceReason)
	case h.Node.Provision != node.Verifying && (h.Node.Provision.Busy() || h.Node.Provision.Waiting()):
		return fmt.Sprintf("node %s is in state %q", h.Node.Label(), h.Node.Provision)
	}
	return ""
}

func virtDriver(_ *Request, h *hostView) string {
	if h.Virt.Driver == "" || h.Virt.Driver == "none" {
		return "the host reports no virt driver"
	}
	return ""
}

func serviceVersion(r *Request, h *hostView) string {
	if len(r.Ports) > 0 && h.Service < MinService {
		return fmt.Sprintf("its agent speaks version %d of the protocol, and remote-managed ports need %d", h.Service, MinService)
	}
	return ""
}

func capacity(r *Request, h *hostView) string {
	if total := h.Virt.VCPUs; total > 0 && h.Load.VCPUs+r.VCPUs > total {
		return fmt.Sprintf("%d VCPUs of %d are in use, %d more are asked for", h.Load.VCPUs, total, r.VCPUs)
	}
	if total := h.Virt.MemoryMB; total > 0 && h.Load.MemoryMB+r.MemoryMB > total {
		return fmt.Sprintf("%d MB of memory of %d are in use, %d more are asked for", h.Load.MemoryMB, total, r.MemoryMB)
	}
	return ""
}

// remoteManaged takes out hosts without the trait, and says which half of it they lack.
func remoteManaged(r *Request, h *hostView) string {
	if len(r.Ports) == 0 || slices.Contains(h.Traits(), TraitRemoteManaged) {
		return ""
	}
	if why := unable(&h.Virt); why != "" {
		return fmt.Sprintf("the host lacks trait %s: %s", TraitRemoteManaged, why)
	}
	return fmt.Sprintf("the host lacks trait %s: no device spec makes a function of a card with a serial number remote-managed", TraitRemoteManaged)
}

// leastLibvirt is the first libvirt that reads the serial numbers of cards.
var leastLibvirt = [3]int{7, 9, 0}

// unable says why a virt driver cannot attach functions whose representor is elsewhere. A driver that does not say its version can.
func unable(v *store.Virt) string {
	var have [3]int
	if n, _ := fmt.Sscanf(v.DriverVersion, "%d.%d.%d", &have[0], &have[1], &have[2]); v.Driver != "libvirt" || n < 2 {
		return ""
	}
	if slices.Compare(have[:], leastLibvirt[:]) < 0 {
		return fmt.Sprintf("libvirt %s is older than 7.9.0, which is the first that knows the serial numbers of cards", v.DriverVersion)
	}
	return ""
}
