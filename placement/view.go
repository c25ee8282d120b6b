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
	Facts   *enrol.Facts // nil when its card names no serial
	Claimed store.PFClaims
}

// free returns the number of VFs that nobody has claimed.
func (p *pfView) free() int {
	if p.Claimed.Whole {
		return 0
	}
	return max(p.VFs-p.Claimed.Count, 0)
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
	if h.canAttach() && h.remoteManaged() {
		traits = append(traits, TraitRemoteManaged)
	}
	return traits
}

// canAttach reports whether the host has a virt driver; every virt driver of riser can attach PCI functions.
func (h *hostView) canAttach() bool { return h.Virt.Driver != "" && h.Virt.Driver != "none" }

func (p *Placer) hosts(ctx context.Context, name string) ([]*hostView, error) {
	q := store.HostQuery{}
	if name != "" {
		q.Names = []string{name}
	}
	var list []*hostView
	err := p.db.Read(ctx, func(tx *store.Tx) (err error) {
		list, err = load(ctx, tx, q)
		return err
	})
	return list, err
}

// load reads the hosts that q selects with all that the filters ask for.
func load(ctx context.Context, tx *store.Tx, q store.HostQuery) ([]*hostView, error) {
	hosts, err := tx.Hosts(ctx, q)
	if err != nil || len(hosts) == 0 {
		return nil, err
	}
	one := ""
	if len(hosts) == 1 {
		one = hosts[0].Name
	}
	loads, err := tx.ServerLoads(ctx, one)
	if err != nil {
		return nil, err
	}
	views := make([]*hostView, len(hosts))
	byName := make(map[string]*hostView, len(hosts))
	for i, h := range hosts {
		views[i] = &hostView{Host: h, Load: loads[h.Name]}
		byName[h.Name] = views[i]
	}
	if err := loadNodes(ctx, tx, views); err != nil {
		return nil, err
	}
	return views, loadPFs(ctx, tx, one, byName)
}

// nodeColumns are the columns of nodes that the filters look at.
var nodeColumns = []string{"name", "parent_node", "provision_state", "maintenance", "maintenance_reason", "card_serial", "card_chassis"}

// manyNodes is the number of nodes from which on reading all of a kind is cheaper than naming each.
const manyNodes = 500

func loadNodes(ctx context.Context, tx *store.Tx, views []*hostView) error {
	q := store.NodeQuery{Columns: nodeColumns}
	if len(views) < manyNodes {
		q.UUIDs = []string{}
		for _, v := range views {
			if v.Host.Node != "" {
				q.UUIDs = append(q.UUIDs, v.Host.Node)
			}
		}
	}
	nodes, err := tx.Nodes(ctx, q)
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

func loadPFs(ctx context.Context, tx *store.Tx, one string, byName map[string]*hostView) error {
	var names []string
	if one != "" {
		names = []string{one}
	}
	pfs, err := tx.HostPFs(ctx, store.PFQuery{Hosts: names})
	if err != nil {
		return err
	}
	claimed, err := tx.ClaimCounts(ctx, one)
	if err != nil {
		return err
	}
	facts, err := loadCards(ctx, tx, one, byName)
	if err != nil {
		return err
	}
	for _, pf := range pfs {
		if h := byName[pf.Host]; h != nil {
			h.PFs = append(h.PFs, &pfView{HostPF: pf, Facts: facts[[2]string{pf.Host, pf.Slot}], Claimed: claimed[[2]string{pf.Host, pf.Address}]})
		}
	}
	return nil
}

// loadCards returns the facts of the cards of the hosts, by host and slot.
func loadCards(ctx context.Context, tx *store.Tx, one string, byName map[string]*hostView) (map[[2]string]*enrol.Facts, error) {
	cards, err := tx.HostCards(ctx, store.CardQuery{Host: one})
	if err != nil {
		return nil, err
	}
	facts := make(map[[2]string]*enrol.Facts, len(cards))
	bySerial := map[string][]*enrol.Facts{}
	var serials []string
	for _, c := range cards {
		h := byName[c.Host]
		if h == nil || c.Serial == "" {
			continue
		}
		f := &enrol.Facts{Host: h.Host, Card: c}
		facts[[2]string{c.Host, c.Slot}] = f
		bySerial[c.Serial] = append(bySerial[c.Serial], f)
		serials = append(serials, c.Serial)
	}
	some := serials
	if len(serials) >= manyNodes {
		some = nil
	}
	if len(serials) == 0 {
		return facts, nil
	}
	dpus, err := tx.DPUs(ctx, some)
	if err != nil {
		return nil, err
	}
	for _, d := range dpus {
		for _, f := range bySerial[d.Serial] {
			f.DPUs = append(f.DPUs, d)
		}
	}
	nodes, err := tx.CardNodes(ctx, some, nodeColumns)
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
