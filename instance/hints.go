package instance

import (
	"context"
	"maps"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/placement"
	"github.com/riser-project/riser/store"
)

// Scheduler hints that servers may be made with, besides those that riser does not interpret.
const (
	hintHost       = "riser:host"        // the host to take
	hintCard       = "riser:card"        // the serial of the card to take
	hintUplink     = "riser:uplink"      // the PF to take, by address or netdev
	hintCardPolicy = "riser:card_policy" // affinity, anti-affinity
	hintNUMANode   = "riser:numa_node"   // of the server
	hintNUMAPolicy = "riser:numa_policy" // required, preferred, legacy, socket
)

// hinted is what the hints of a server say.
type hinted struct {
	host, card, uplink, cardPolicy, numaPolicy string
	numaNode                                   int
}

func hints(m map[string]any) (hinted, error) {
	h := hinted{numaNode: -1}
	texts := map[string]*string{
		hintHost: &h.host, hintCard: &h.card, hintUplink: &h.uplink, hintCardPolicy: &h.cardPolicy, hintNUMAPolicy: &h.numaPolicy,
	}
	for key, value := range m {
		if dest := texts[key]; dest != nil {
			text, ok := value.(string)
			if !ok {
				return h, fault.New(fault.Invalid, "Scheduler hint %s: want a text.", key)
			}
			*dest = text
		}
	}
	if n, ok := m[hintNUMANode]; ok {
		f, ok := n.(float64)
		if !ok || f < 0 || f != float64(int(f)) {
			return h, fault.New(fault.Invalid, "Scheduler hint %s: want the number of a NUMA node, 0 or more.", hintNUMANode)
		}
		h.numaNode = int(f)
	}
	switch h.cardPolicy {
	case "", placement.CardAffinity, placement.CardAntiAffinity:
	default:
		return h, fault.New(fault.Invalid, "Scheduler hint %s: %q is neither %s nor %s.", hintCardPolicy, h.cardPolicy, placement.CardAffinity, placement.CardAntiAffinity)
	}
	switch h.numaPolicy {
	case "", placement.NUMARequired, placement.NUMAPreferred, placement.NUMALegacy, placement.NUMASocket:
	default:
		return h, fault.New(fault.Invalid, "Scheduler hint %s: %q is none of required, preferred, legacy, socket.", hintNUMAPolicy, h.numaPolicy)
	}
	return h, nil
}

func withHint(m map[string]any, key string, value any) map[string]any {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]any{}
	}
	m[key] = value
	return m
}

// request returns what the server asks of placement.
func (r *Runner) request(ctx context.Context, tx *store.Tx, s *store.Server) (placement.Request, error) {
	h, err := hints(s.Hints)
	if err != nil {
		return placement.Request{}, err
	}
	q := placement.Request{
		Key: s.ClaimKey, Server: s.UUID, Host: h.host, CardPolicy: h.cardPolicy, NUMANode: h.numaNode, NUMAPolicy: h.numaPolicy,
	}
	if s.Host == "" { // else its size is counted already
		q.VCPUs, q.MemoryMB = s.Flavor.VCPUs, s.Flavor.MemoryMB
	}
	for _, key := range []string{"hw:pci_numa_affinity_policy", "hw_pci_numa_affinity_policy"} {
		if v := s.Flavor.ExtraSpecs[key]; v != "" && q.NUMAPolicy == "" {
			q.NUMAPolicy = v
		}
	}
	for _, sp := range s.Ports {
		if sp.Detaching {
			continue
		}
		p, err := tx.VPort(ctx, sp.ID)
		if err != nil {
			return placement.Request{}, err
		}
		n, err := tx.Network(ctx, p.NetworkID)
		if err != nil {
			return placement.Request{}, err
		}
		q.Ports = append(q.Ports, placement.Port{ID: p.ID, PhysicalNetwork: n.Physical, Card: h.card, PF: h.uplink, NUMAPolicy: p.NUMAPolicy})
	}
	return q, nil
}
