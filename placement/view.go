package placement

import (
	"context"

	"github.com/riser-project/riser/enrol"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// hostView is a host as the filters see it.
type hostView struct {
	*store.Host
	Node *node.Node // nil when it is tied to none
	Load store.ServerLoad
	PFs  []*pfView
}

// pfView is a PF of a host with its card.
type pfView struct {
	*store.HostPF
	Facts *enrol.Facts // nil when its card names no serial
}

// count notes a claim that was made on the PF, or released.
func (p *pfView) count(vf, change int) {
	p.Claimed += change
	switch {
	case vf == store.WholePF && change > 0:
		p.Whole, p.Free = true, 0
	case vf == store.WholePF:
		p.Whole, p.Free = false, p.VFs
	default:
		p.Free = max(p.Free-change, 0)
	}
}

// remoteManaged reports whether some VFs of the host are handed out by remote-managed device specs.
func (h *hostView) remoteManaged() bool {
	for _, p := range h.PFs {
		if p.RemoteManaged && p.Serial != "" {
			return true
		}
	}
	return false
}

// Traits returns the traits of a host: those that its virt driver reports, and TraitRemoteManaged if the driver can attach PCI functions and the
// host has a remote-managed one.
func (h *hostView) Traits() []string {
	traits := []string{}
	for _, t := range h.Virt.Traits {
		if t != TraitRemoteManaged {
			traits = append(traits, t)
		}
	}
	if unable(&h.Virt) == "" && h.remoteManaged() {
		traits = append(traits, TraitRemoteManaged)
	}
	return traits
}

// load reads the hosts that q selects with all that the filters ask for.
func load(ctx context.Context, tx *store.Tx, q store.HostQuery) ([]*hostView, error) {
	hosts, err := tx.Hosts(ctx, q)
	if err != nil || len(hosts) == 0 {
		return nil, err
	}
	views := make([]*hostView, len(hosts))
	names := make([]string, len(hosts))
	byName := make(map[string]*hostView, len(hosts))
	for i, h := range hosts {
		views[i] = &hostView{Host: h}
		names[i], byName[h.Name] = h.Name, views[i]
	}
	loads, err := tx.ServerLoads(ctx, names)
	if err != nil {
		return nil, err
	}
	for name, sum := range loads {
		byName[name].Load = sum
	}
	if err := loadNodes(ctx, tx, views); err != nil {
		return nil, err
	}
	facts, err := loadCards(ctx, tx, names, byName)
	if err != nil {
		return nil, err
	}
	pfs, err := tx.HostPFs(ctx, store.PFQuery{Hosts: names, Lean: true})
	for _, pf := range pfs {
		h := byName[pf.Host]
		h.PFs = append(h.PFs, &pfView{HostPF: pf, Facts: facts[[2]string{pf.Host, pf.Slot}]})
	}
	return views, err
}

// nodeColumns are the columns of nodes that the filters look at.
var nodeColumns = []string{"name", "parent_node", "provision_state", "maintenance", "maintenance_reason", "card_serial", "card_chassis"}

func loadNodes(ctx context.Context, tx *store.Tx, views []*hostView) error {
	uuids := []string{}
	for _, v := range views {
		if v.Host.Node != "" {
			uuids = append(uuids, v.Host.Node)
		}
	}
	nodes, err := tx.Nodes(ctx, store.NodeQuery{Columns: nodeColumns, UUIDs: uuids})
	if err != nil {
		return err
	}
	byUUID := make(map[string]*node.Node, len(nodes))
	for _, n := range nodes {
		byUUID[n.UUID] = n
	}
	for _, v := range views {
		v.Node = byUUID[v.Host.Node]
	}
	return nil
}

// loadCards returns the facts of the cards of the hosts, by host and slot.
func loadCards(ctx context.Context, tx *store.Tx, names []string, byName map[string]*hostView) (map[[2]string]*enrol.Facts, error) {
	cards, err := tx.HostCards(ctx, store.CardQuery{Hosts: names})
	if err != nil {
		return nil, err
	}
	facts := make(map[[2]string]*enrol.Facts, len(cards))
	bySerial := map[string][]*enrol.Facts{}
	var serials []string
	for _, c := range cards {
		if c.Serial == "" {
			continue
		}
		f := &enrol.Facts{Host: byName[c.Host].Host, Card: c}
		facts[[2]string{c.Host, c.Slot}] = f
		bySerial[c.Serial] = append(bySerial[c.Serial], f)
		serials = append(serials, c.Serial)
	}
	if len(serials) == 0 {
		return facts, nil
	}
	dpus, err := tx.DPUs(ctx, serials)
	if err != nil {
		return nil, err
	}
	for _, d := range dpus {
		for _, f := range bySerial[d.Serial] {
			f.DPUs = append(f.DPUs, d)
		}
	}
	nodes, err := tx.CardNodes(ctx, serials, nodeColumns)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		for _, f := range bySerial[n.Card.Serial] {
			f.Node = n
		}
	}
	return facts, nil
}
