package placement

import (
	"fmt"
	"slices"
)

// assign finds a PF for each port of the request, or says for each PF of the host why it does not do. It tries the PFs with the most free
// functions first and goes back when a choice leaves nothing for a later port.
func assign(r *Request, h *hostView) (plan []*pfView, details []string) {
	a := assignment{r: r, numa: r.NUMANode, used: map[*pfView]int{}}
	a.usable = make([][]*pfView, len(r.Ports))
	for i := range r.Ports {
		for _, p := range h.PFs {
			why := unfit(r, &r.Ports[i], p)
			if why == "" {
				a.usable[i] = append(a.usable[i], p)
				continue
			}
			text := fmt.Sprintf("PF %s: %s", p.Address, why)
			if len(r.Ports) > 1 {
				text = fmt.Sprintf("port %s: %s", r.Ports[i].ID, text)
			}
			details = append(details, text)
		}
		if len(a.usable[i]) == 0 {
			return nil, details
		}
		slices.SortStableFunc(a.usable[i], func(x, y *pfView) int { return y.Free - x.Free })
	}
	if a.place(0) {
		return a.plan, nil
	}
	return nil, append(details, a.conflict())
}

type assignment struct {
	r      *Request
	usable [][]*pfView // for each port
	plan   []*pfView
	used   map[*pfView]int // functions of the plan
	numa   int             // of the server; -1 while it is open
	tries  int
}

// maxTries bounds the search; it is far beyond what hosts with a handful of cards need.
const maxTries = 10000

func (a *assignment) place(i int) bool {
	if i == len(a.r.Ports) {
		return true
	}
	port := &a.r.Ports[i]
	for _, strict := range []bool{true, false} {
		for _, p := range a.usable[i] {
			if a.tries++; a.tries > maxTries {
				return false
			}
			if !a.fits(port, p, strict) {
				continue
			}
			before := a.numa
			if n := policy(a.r, port); a.numa < 0 && (n == NUMARequired || n == NUMASocket) {
				a.numa = p.NUMA // a server without a NUMA node gets that of its first port which requires one
			}
			a.plan, a.used[p] = append(a.plan, p), a.used[p]+need(port, p)
			if a.place(i + 1) {
				return true
			}
			a.plan, a.used[p], a.numa = a.plan[:i], a.used[p]-need(port, p), before
		}
	}
	return false
}

// need returns how many functions of a PF the port takes.
func need(port *Port, p *pfView) int {
	if port.Whole {
		return max(p.VFs, 1)
	}
	return 1
}

// fits reports whether the PF can take the port beside what is planned. Strict wants the NUMA node to be the server's whatever the policy.
func (a *assignment) fits(port *Port, p *pfView, strict bool) bool {
	if port.Whole && a.used[p] > 0 || !port.Whole && a.used[p] >= p.Free {
		return false
	}
	others := slices.Clone(a.r.held)
	for _, other := range a.plan {
		others = append(others, other.Serial)
	}
	for _, other := range others {
		if a.r.CardPolicy == CardAffinity && other != p.Serial || a.r.CardPolicy == CardAntiAffinity && other == p.Serial {
			return false
		}
	}
	if a.numa < 0 || p.NUMA == a.numa {
		return true
	}
	switch policy(a.r, port) {
	case NUMAPreferred:
		return !strict
	case NUMALegacy:
		return !strict && p.NUMA < 0
	}
	return false
}

func (a *assignment) conflict() string {
	switch {
	case a.r.CardPolicy == CardAffinity:
		return "no single card has enough free functions"
	case a.r.CardPolicy == CardAntiAffinity:
		return "there are not enough cards to give each port its own"
	}
	return "the ports exclude each other: too few free functions, or no common NUMA node"
}

func policy(r *Request, port *Port) string {
	switch {
	case port.NUMAPolicy != "":
		return port.NUMAPolicy
	case r.NUMAPolicy != "":
		return r.NUMAPolicy
	}
	return NUMALegacy
}

// unfit says why a PF cannot take the port, whatever the other ports get.
func unfit(r *Request, port *Port, p *pfView) string {
	switch {
	case port.Card != "" && port.Card != p.Serial:
		return fmt.Sprintf("card %s was asked for", port.Card)
	case port.PF != "" && port.PF != p.Address && port.PF != p.Netdev:
		return fmt.Sprintf("uplink %s was asked for", port.PF)
	case p.Serial == "" || p.Facts == nil:
		return "its card names no serial number"
	case !p.RemoteManaged && p.Reason != "":
		return "not remote-managed: " + p.Reason
	case !p.RemoteManaged:
		return "no device spec makes it remote-managed"
	case p.MAC == "":
		return "it has no network device, so its MAC is not known"
	}
	if why := p.Facts.Blocked(); why != "" {
		return why
	}
	if why := wrongNetwork(port, p); why != "" {
		return why
	}
	if why := full(port, p); why != "" {
		return why
	}
	if n := policy(r, port); (n == NUMARequired || n == NUMASocket) && r.NUMANode >= 0 && p.NUMA != r.NUMANode {
		return fmt.Sprintf("it is on NUMA node %d, and the server on %d", p.NUMA, r.NUMANode)
	}
	return ""
}

func wrongNetwork(port *Port, p *pfView) string {
	have := ""
	if p.PhysicalNetwork != nil {
		have = *p.PhysicalNetwork
	}
	switch {
	case have == port.PhysicalNetwork && (have == "" || p.Facts.DPU().HasUplink(have)):
		return ""
	case have == port.PhysicalNetwork:
		return fmt.Sprintf("no uplink of DPU %s is on physical network %s", p.Facts.DPU().Chassis, have)
	case have == "":
		return fmt.Sprintf("its device spec is for overlay networks, and the port is on physical network %s", port.PhysicalNetwork)
	case port.PhysicalNetwork == "":
		return fmt.Sprintf("its device spec is for physical network %s, and the port is on an overlay network", have)
	}
	return fmt.Sprintf("it is on physical network %s, and the port on %s", have, port.PhysicalNetwork)
}

func full(port *Port, p *pfView) string {
	switch {
	case port.Whole && p.Claimed > 0:
		return fmt.Sprintf("%d of its functions are claimed", p.Claimed)
	case port.Whole:
		return ""
	case p.Whole:
		return "it is claimed as a whole"
	case p.VFs == 0:
		return "it has no VFs: sriov_numvfs is 0"
	case p.Free == 0:
		return fmt.Sprintf("all of its %d VFs are claimed", p.VFs)
	}
	return ""
}
