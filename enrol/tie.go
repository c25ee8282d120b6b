package enrol

import (
	"context"
	"fmt"
	"strings"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// host ties a host to its node and then looks at its cards; more are serials that it reported before and that need another look.
func (e *Enroller) host(ctx context.Context, tx *store.Tx, name string, more []string) error {
	h, err := tx.Host(ctx, name)
	if err != nil {
		return err
	}
	n, refused, err := findNode(ctx, tx, h)
	if err != nil {
		return err
	}
	tied := ""
	if n != nil {
		tied = n.UUID
	}
	if tied != h.Node || refused != h.Refused {
		if err := tx.TieHost(ctx, name, tied, refused); err != nil {
			return err
		}
		if err := noteTie(ctx, tx, h, n, refused); err != nil {
			return err
		}
	}
	cards, err := tx.HostCards(ctx, store.CardQuery{Host: name})
	if err != nil {
		return err
	}
	if err := refuseNameless(ctx, tx, cards); err != nil {
		return err
	}
	for _, serial := range serialsOf(cards, asCards(more)) {
		if err := e.card(ctx, tx, serial); err != nil {
			return err
		}
	}
	return nil
}

func asCards(serials []string) []*store.HostCard {
	cards := make([]*store.HostCard, len(serials))
	for i, s := range serials {
		cards[i] = &store.HostCard{Serial: s}
	}
	return cards
}

func noteTie(ctx context.Context, tx *store.Tx, h *store.Host, n *node.Node, refused string) error {
	switch {
	case n == nil:
		return nil
	case refused != "":
		return note(ctx, tx, n, "ERROR", refused)
	case h.Node != n.UUID:
		return note(ctx, tx, n, "INFO", fmt.Sprintf("host %s runs on this node", h.Name))
	}
	return nil
}

// findNode returns the node that a host runs on, or nil, and why it is not or not wholly believed. A host stays tied to the node it was first
// tied to as long as that exists.
func findNode(ctx context.Context, tx *store.Tx, h *store.Host) (n *node.Node, refused string, err error) {
	if h.Node != "" {
		n, err = tx.Node(ctx, h.Node)
		if err == nil {
			return n, contradiction(h, n), nil
		}
		if !fault.Is(err, fault.NotFound) {
			return nil, "", err
		}
	}
	if h.SystemUUID != "" {
		uuids, err := tx.NodesBySystemUUID(ctx, h.SystemUUID)
		switch {
		case err != nil:
			return nil, "", err
		case len(uuids) > 1:
			return nil, fmt.Sprintf("host %s is tied to no node: nodes %s both have its system UUID %s", h.Name, strings.Join(uuids, " and "), h.SystemUUID), nil
		case len(uuids) == 1:
			if n, err = tx.Node(ctx, uuids[0]); err != nil {
				return nil, "", err
			}
			return takenNode(ctx, tx, h, n)
		}
	}
	n, err = tx.Node(ctx, h.Name)
	switch {
	case fault.Is(err, fault.NotFound):
		return nil, fmt.Sprintf("host %s is tied to no node: none has its system UUID %s or its name", h.Name, orUnknown(h.SystemUUID)), nil
	case err != nil:
		return nil, "", err
	case n.IsChild():
		return nil, fmt.Sprintf("host %s is tied to no node: the node of its name is a child of node %s", h.Name, n.Parent), nil
	}
	if why := contradiction(h, n); why != "" {
		return nil, why, nil
	}
	return takenNode(ctx, tx, h, n)
}

// takenNode refuses a node that another host is tied to already.
func takenNode(ctx context.Context, tx *store.Tx, h *store.Host, n *node.Node) (*node.Node, string, error) {
	others, err := tx.Hosts(ctx, store.HostQuery{Node: n.UUID})
	if err != nil {
		return nil, "", err
	}
	for _, o := range others {
		if o.Name != h.Name {
			return nil, fmt.Sprintf("host %s is tied to no node: host %s already runs on node %s with system UUID %s", h.Name, o.Name, n.Label(), orUnknown(h.SystemUUID)), nil
		}
	}
	return n, "", nil
}

// contradiction says how what a host reports differs from what is known of its node.
func contradiction(h *store.Host, n *node.Node) string {
	known := systemUUID(n)
	if known == "" || h.SystemUUID == "" || known == h.SystemUUID {
		return ""
	}
	return fmt.Sprintf("host %s reports system UUID %s, and node %s has %s: its cards are not believed until both agree", h.Name, h.SystemUUID, n.Label(), known)
}

// systemUUID returns the system UUID that an operator or the node's own controller has given, or nothing.
func systemUUID(n *node.Node) string {
	for _, o := range []node.Object{n.DriverInternalInfo, n.Properties} {
		if s, ok := o["system_uuid"].(string); ok && s != "" {
			return strings.ToLower(s)
		}
	}
	return ""
}

func orUnknown(s string) string {
	if s == "" {
		return "(unknown)"
	}
	return s
}

// refuseNameless refuses the cards that name no serial.
func refuseNameless(ctx context.Context, tx *store.Tx, cards []*store.HostCard) error {
	for _, c := range cards {
		if c.Serial != "" {
			continue
		}
		why := fmt.Sprintf("%s is not used: %s", c, c.Problem)
		if c.Problem == "" {
			why = fmt.Sprintf("%s is not used: it has no serial number", c)
		}
		if c.Refused == why {
			continue
		}
		if err := tx.RefuseCard(ctx, c.Host, c.Slot, why); err != nil {
			return err
		}
	}
	return nil
}
