package binding

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// nodeKey begins the key of a claim for a bare-metal machine; Claim.Host is the UUID of the machine's node then.
const nodeKey = "node/"

// ofNode tells whether a claim is for a bare-metal machine.
func ofNode(c *store.Claim) bool { return strings.HasPrefix(c.Key, nodeKey) }

// BindNode binds a port to a whole PF of a card in the bare-metal machine n, within tx: what the machine's own system sends through that PF is on the
// port's network. pfMAC chooses the PF by its MAC (of the bare-metal port that the VIF is attached to); empty takes the first that is free and usable.
// The port takes the PF's MAC, as Neutron's do when Ironic attaches them. Binding again what is bound changes nothing.
//
// The error is fault.NotFound when there is no such port, and fault.Conflict when it is bound elsewhere or no PF can take it, with the reason for each.
func (b *Binder) BindNode(ctx context.Context, tx *store.Tx, n *node.Node, port, pfMAC string, d Device) error {
	p, err := tx.VPortForUpdate(ctx, port)
	if err != nil {
		return err
	}
	switch {
	case p.HostID == n.UUID && p.VIFType == network.VIFOVS:
		return nil
	case p.HostID != "" && p.HostID != n.UUID:
		return fault.New(fault.Conflict, "port %s is bound to host %s already", p.ID, p.HostID)
	}
	home, err := tx.Network(ctx, p.NetworkID)
	if err != nil {
		return err
	}
	children, err := tx.Children(ctx, n.UUID)
	if err != nil {
		return err
	}
	var reasons []string
	for _, child := range children {
		if child.Card.Serial == "" {
			continue
		}
		c, why, err := nodePF(ctx, tx, n, child.Card.Serial, pfMAC, home, p)
		if err != nil {
			return err
		}
		if c == nil {
			reasons = append(reasons, why)
			continue
		}
		c.Server = d.ID
		if err := tx.ClaimPF(ctx, c); err != nil {
			return err
		}
		p.MAC, p.VNICType = c.PFMAC, network.VNICBaremetal
		if err := tx.SaveVPort(ctx, p); err != nil {
			return err
		}
		return b.Bind(ctx, tx, c, d.Owner)
	}
	if len(reasons) == 0 {
		reasons = []string{"it has no DPU card as a child"}
	}
	return fault.New(fault.Conflict, "port %s cannot be bound to node %s: %s", p.ID, n.Label(), strings.Join(reasons, "; "))
}

// nodePF returns a claim on a PF of the card that can take a port of the network, or why there is none.
func nodePF(ctx context.Context, tx *store.Tx, n *node.Node, serial, pfMAC string, home *store.Network, p *store.VPort) (*store.Claim, string, error) {
	claims, err := tx.Claims(ctx, store.ClaimQuery{Card: serial})
	if err != nil {
		return nil, "", err
	}
	taken := map[string]bool{}
	for _, c := range claims {
		taken[c.PFMAC] = true
	}
	dpus, err := tx.DPUs(ctx, []string{serial})
	if err != nil {
		return nil, "", err
	}
	reasons := []string{fmt.Sprintf("no DPU of card %s has reported a PF of the machine's", serial)}
	for _, d := range dpus {
		for _, ctl := range d.Controllers {
			for _, pf := range ctl.PFs {
				if pf.MAC == "" || pfMAC != "" && pf.MAC != pfMAC || !ctl.External && served(d) {
					continue
				}
				name := fmt.Sprintf("c%dpf%d", ctl.Number, pf.Number)
				if taken[pf.MAC] {
					reasons[0] = fmt.Sprintf("functions of PF %s of card %s are claimed", name, serial)
					continue
				}
				c := &store.Claim{
					UUID: uuid.NewString(), Key: nodeKey + n.UUID + "/" + p.ID, Host: n.UUID, Card: serial, PF: name, PFMAC: pf.MAC, VF: store.WholePF,
					NUMA: -1, Port: p.ID, State: store.ClaimClaimed,
				}
				if home.Physical != "" {
					c.PhysicalNetwork = &home.Physical
				}
				err := usable(ctx, tx, c, home)
				if err == nil {
					return c, "", nil
				}
				if !fault.Is(err, fault.Conflict) {
					return nil, "", err
				}
				reasons[0] = err.Error()
			}
		}
	}
	return nil, reasons[0], nil
}

// served tells whether a card serves a host that is not its own Linux.
func served(d *store.DPU) bool {
	for _, c := range d.Controllers {
		if c.External {
			return true
		}
	}
	return false
}

// UnbindNode takes a port off the bare-metal machine n, within tx. The PF is free once the card has confirmed that. A port that is not bound there
// is left as it is.
func (b *Binder) UnbindNode(ctx context.Context, tx *store.Tx, n *node.Node, port string) error {
	p, err := tx.VPortForUpdate(ctx, port)
	if err != nil || p.HostID != n.UUID {
		return err
	}
	if err := b.Unbind(ctx, tx, port); err != nil {
		return err
	}
	if p, err = tx.VPortForUpdate(ctx, port); err != nil {
		return err
	}
	// The machine's own MAC stays with the machine: the next port on this network may need it.
	mac := [3]byte{}
	if _, err := rand.Read(mac[:]); err != nil {
		return err
	}
	p.MAC = fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", mac[0], mac[1], mac[2])
	return tx.SaveVPort(ctx, p)
}
