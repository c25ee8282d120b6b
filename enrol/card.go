package enrol

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/google/uuid"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// sight is all that is known under one serial: who reports it, and the node that has it.
type sight struct {
	serial string
	cards  []*store.HostCard
	hosts  map[string]*store.Host // of cards
	dpus   []*store.DPU
	node   *node.Node // nil when no node has the serial

	refusedCard map[*store.HostCard]string
	refusedDPU  map[*store.DPU]string
}

// card draws the conclusions about one serial: it refuses what contradicts itself, and makes or completes the child node.
func (e *Enroller) card(ctx context.Context, tx *store.Tx, serial string) error {
	s, err := look(ctx, tx, serial)
	if err != nil {
		return err
	}
	if err := s.dropReplacedDPU(ctx, tx); err != nil {
		return err
	}
	s.judgeDPUs()
	s.judgeHosts()
	for _, c := range s.cards {
		if s.refusedCard[c] != "" {
			continue
		}
		if err := e.pair(ctx, tx, s, c); err != nil {
			return err
		}
	}
	return s.record(ctx, tx)
}

func look(ctx context.Context, tx *store.Tx, serial string) (*sight, error) {
	s := &sight{
		serial: serial, hosts: map[string]*store.Host{}, refusedCard: map[*store.HostCard]string{}, refusedDPU: map[*store.DPU]string{},
	}
	var err error
	if s.cards, err = tx.HostCards(ctx, store.CardQuery{Serials: []string{serial}}); err != nil {
		return nil, err
	}
	for _, c := range s.cards {
		if s.hosts[c.Host], err = tx.Host(ctx, c.Host); err != nil {
			return nil, err
		}
	}
	if s.dpus, err = tx.DPUs(ctx, []string{serial}); err != nil {
		return nil, err
	}
	if s.node, err = tx.NodeByCard(ctx, serial); fault.Is(err, fault.NotFound) {
		s.node, err = nil, nil
	}
	return s, err
}

// dropReplacedDPU forgets a silent reporter whose card UUID another one has: the card's Linux was installed anew.
func (s *sight) dropReplacedDPU(ctx context.Context, tx *store.Tx) error {
	if len(s.dpus) < 2 {
		return nil
	}
	newest := s.dpus[0]
	for _, d := range s.dpus {
		if d.ReportedAt.After(newest.ReportedAt) {
			newest = d
		}
	}
	kept := s.dpus[:0]
	for _, d := range s.dpus {
		if d == newest || d.Alive || d.UUID == "" || d.UUID != newest.UUID {
			kept = append(kept, d)
			continue
		}
		if err := tx.DeleteDPU(ctx, d.Serial, d.System); err != nil {
			return err
		}
		if s.node == nil {
			continue
		}
		if err := note(ctx, tx, s.node, "INFO", fmt.Sprintf("the card's Linux was installed anew: %s replaces %s", names(newest), names(d))); err != nil {
			return err
		}
	}
	s.dpus = kept
	return nil
}

// judgeDPUs refuses all reporters of a serial when there is more than one.
func (s *sight) judgeDPUs() {
	if len(s.dpus) < 2 {
		return
	}
	why := fmt.Sprintf("card %s is reported by DPU %s and by DPU %s: no port is bound to either until an operator approves one",
		s.serial, names(s.dpus[0]), names(s.dpus[1]))
	for _, d := range s.dpus {
		s.refusedDPU[d] = why
	}
}

// judgeHosts refuses cards with a serial that several slots report. A card that is paired already stays with its host, so that naming somebody
// else's serial harms nobody but the liar.
func (s *sight) judgeHosts() {
	if len(s.cards) < 2 {
		return
	}
	perHost := map[string]int{}
	for _, c := range s.cards {
		perHost[c.Host]++
	}
	for _, c := range s.cards {
		if s.owns(c) && perHost[c.Host] == 1 {
			continue
		}
		s.refusedCard[c] = fmt.Sprintf("serial number %s is on two cards: %s, and %s", s.serial, place(c), place(s.rival(c)))
	}
}

// owns reports whether the serial's node is a child of the node of the card's host.
func (s *sight) owns(c *store.HostCard) bool {
	h := s.hosts[c.Host]
	return s.node != nil && h.Node != "" && s.node.Parent == h.Node
}

// rival returns another card with the serial, one that is paired if there is such.
func (s *sight) rival(c *store.HostCard) *store.HostCard {
	var rival *store.HostCard
	for _, o := range s.cards {
		if o != c && (rival == nil || s.owns(o)) {
			rival = o
		}
	}
	return rival
}

func place(c *store.HostCard) string { return fmt.Sprintf("host %s at %s", c.Host, c.Slot) }

func names(d *store.DPU) string {
	if d.System == d.Chassis {
		return d.Chassis
	}
	return fmt.Sprintf("%s (system-id %s)", d.Chassis, d.System)
}

// dpu returns the one reporter that may be believed, or nil.
func (s *sight) dpu() *store.DPU {
	if len(s.dpus) == 1 && s.refusedDPU[s.dpus[0]] == "" {
		return s.dpus[0]
	}
	return nil
}

// pair makes the node of the card that host c.Host reports, or completes it, or refuses the card.
func (e *Enroller) pair(ctx context.Context, tx *store.Tx, s *sight, c *store.HostCard) error {
	h, d := s.hosts[c.Host], s.dpu()
	if d != nil && d.UUID != "" && c.UUID != "" && d.UUID != c.UUID {
		why := fmt.Sprintf("card %s has the UUID %s according to %s, and %s according to DPU %s: they are not the same card", s.serial, c.UUID, place(c), d.UUID, names(d))
		s.refusedCard[c], s.refusedDPU[d] = why, why
		return nil
	}
	if h.Node == "" || h.Refused != "" {
		return nil // Facts.Blocked tells
	}
	parent, err := tx.Node(ctx, h.Node)
	if err != nil {
		return err
	}
	if s.node == nil {
		if err := s.adopt(ctx, tx, parent); err != nil {
			return err
		}
	}
	switch {
	case s.node == nil && d != nil:
		return e.create(ctx, tx, s, c, parent, d)
	case s.node == nil:
		return nil // waits for the DPU's own report
	case s.node.Parent != parent.UUID:
		return e.foreign(ctx, tx, s, c, parent, d)
	}
	return s.complete(ctx, tx, c, d)
}

// adopt takes the child that an operator registered with the serial in its properties.
func (s *sight) adopt(ctx context.Context, tx *store.Tx, parent *node.Node) error {
	children, err := tx.Children(ctx, parent.UUID)
	if err != nil {
		return err
	}
	for _, n := range children {
		if text, _ := n.Properties["card_serial_number"].(string); n.Card.Serial == "" && text == s.serial {
			s.node = n
			return nil
		}
	}
	return nil
}

// foreign deals with a card whose node is not a child of the host that reports it: a claim to another host's card, or a card that was moved.
func (e *Enroller) foreign(ctx context.Context, tx *store.Tx, s *sight, c *store.HostCard, parent *node.Node, d *store.DPU) error {
	n := s.node
	if n.Parent == "" {
		s.refusedCard[c] = fmt.Sprintf("card %s of %s is node %s, which has no parent: set its parent_node to %s", s.serial, place(c), n.Label(), parent.UUID)
		return nil
	}
	old, err := tx.Node(ctx, n.Parent)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	was := n.Parent
	if old != nil {
		was = old.Label()
	}
	claims, err := tx.Claims(ctx, store.ClaimQuery{Card: s.serial})
	if err != nil {
		return err
	}
	op, err := tx.OpenOp(ctx, n.UUID)
	if err != nil {
		return err
	}
	if gone, err := e.left(ctx, tx, s, n.Parent); err != nil {
		return err
	} else if e.o.FollowMoves && gone && d != nil && d.Alive && len(claims) == 0 && op == nil {
		return s.move(ctx, tx, c, parent, was)
	}
	s.refusedCard[c] = fmt.Sprintf("card %s is node %s, a child of node %s, and now %s reports it: if the card was moved, set the node's parent_node to %s",
		s.serial, n.Label(), was, place(c), parent.UUID)
	return nil
}

// left reports whether the host of the old parent has reported since and no longer has the card.
func (e *Enroller) left(ctx context.Context, tx *store.Tx, s *sight, oldParent string) (bool, error) {
	hosts, err := tx.Hosts(ctx, store.HostQuery{Node: oldParent})
	if err != nil || len(hosts) == 0 {
		return false, err
	}
	for _, c := range s.cards {
		if c.Host == hosts[0].Name {
			return false, nil
		}
	}
	return true, nil
}

// move makes the card's node a child of another host's node.
func (s *sight) move(ctx context.Context, tx *store.Tx, c *store.HostCard, parent *node.Node, was string) error {
	s.node.Parent = parent.UUID
	if err := tx.SaveNode(ctx, s.node); err != nil {
		return err
	}
	text := fmt.Sprintf("card %s was moved from node %s to node %s: %s reports it, and its former host no longer does", s.serial, was, parent.Label(), place(c))
	if err := note(ctx, tx, s.node, "INFO", text); err != nil {
		return err
	}
	return note(ctx, tx, parent, "INFO", text)
}

// create makes the child node.
func (e *Enroller) create(ctx context.Context, tx *store.Tx, s *sight, c *store.HostCard, parent *node.Node, d *store.DPU) error {
	if c.Problem != "" {
		return nil
	}
	name, err := childName(ctx, tx, parent, c.Host, d)
	if err != nil {
		return err
	}
	n := &node.Node{
		UUID: uuid.NewString(), Name: name, Driver: e.o.Driver, Parent: parent.UUID, Owner: parent.Owner, ConductorGroup: parent.ConductorGroup,
		Provision:          node.Enroll,
		DriverInternalInfo: node.Object{enrolledBy: c.Host},
		Card:               node.Card{Serial: s.serial},
	}
	fill(n, c, d)
	if e.o.DriverInfo != nil {
		n.DriverInfo = e.o.DriverInfo(d)
	}
	if e.o.Prepare != nil {
		if err := e.o.Prepare(n); err != nil {
			return fmt.Errorf("node of card %s: %w", s.serial, err)
		}
	}
	if err := tx.InsertNode(ctx, n); err != nil {
		return err
	}
	s.node = n
	text := fmt.Sprintf("card %s of %s and DPU %s name the same serial: the card is node %s", s.serial, place(c), names(d), n.Label())
	if err := note(ctx, tx, n, "INFO", text); err != nil {
		return err
	}
	tx.Wake(store.TopicHosts)
	return note(ctx, tx, parent, "INFO", text)
}

// fill sets what the host and the DPU say of the card, and reports whether that changed the node.
func fill(n *node.Node, c *store.HostCard, d *store.DPU) bool {
	card := n.Card
	if c.UUID != "" {
		card.UUID = c.UUID
	}
	if c.PartNumber != "" {
		card.PartNumber = c.PartNumber
	}
	if d != nil {
		card.Chassis = d.Chassis
		if card.PartNumber == "" {
			card.PartNumber = d.PartNumber
		}
		if card.UUID == "" {
			card.UUID = d.UUID
		}
	}
	properties := maps.Clone(n.Properties)
	if properties == nil {
		properties = node.Object{}
	}
	for key, value := range map[string]string{"card_serial_number": card.Serial, "part_number": card.PartNumber, "chassis_name": card.Chassis} {
		if value != "" {
			properties[key] = value
		}
	}
	if card == n.Card && maps.EqualFunc(properties, n.Properties, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		return false
	}
	n.Card, n.Properties = card, properties
	return true
}

// complete brings the node of a paired card up to date.
func (s *sight) complete(ctx context.Context, tx *store.Tx, c *store.HostCard, d *store.DPU) error {
	before := s.node.Card
	s.node.Card.Serial = s.serial
	if !fill(s.node, c, d) && before == s.node.Card {
		return nil
	}
	if err := tx.SaveNode(ctx, s.node); err != nil {
		return err
	}
	tx.Wake(store.TopicHosts)
	switch after := s.node.Card; {
	case before.Serial == "":
		return note(ctx, tx, s.node, "INFO", fmt.Sprintf("card %s of %s is this node", s.serial, place(c)))
	case before.Chassis != after.Chassis:
		return note(ctx, tx, s.node, "INFO", fmt.Sprintf("the chassis name of card %s is %s, it was %s", s.serial, after.Chassis, orUnknown(before.Chassis)))
	}
	return nil
}

// record stores the refusals that are new and takes back those that no longer hold; a new one is an event of the nodes concerned.
func (s *sight) record(ctx context.Context, tx *store.Tx) error {
	for _, c := range s.cards {
		why := s.refusedCard[c]
		if why == c.Refused {
			continue
		}
		if err := tx.RefuseCard(ctx, c.Host, c.Slot, why); err != nil {
			return err
		}
		if err := s.alarm(ctx, tx, why, s.hosts[c.Host].Node); err != nil {
			return err
		}
	}
	for _, d := range s.dpus {
		why := s.refusedDPU[d]
		if why == d.Refused {
			continue
		}
		if err := tx.RefuseDPU(ctx, d.Serial, d.System, why); err != nil {
			return err
		}
		if err := s.alarm(ctx, tx, why, ""); err != nil {
			return err
		}
	}
	return nil
}

func (s *sight) alarm(ctx context.Context, tx *store.Tx, why, hostNode string) error {
	if why == "" {
		return nil
	}
	if s.node != nil {
		if err := note(ctx, tx, s.node, "ERROR", why); err != nil {
			return err
		}
	}
	if hostNode == "" {
		return nil
	}
	n, err := tx.Node(ctx, hostNode)
	if err != nil {
		return err
	}
	return note(ctx, tx, n, "ERROR", why)
}

// childName returns the short host name of the card's Linux when no node has it, else the host's name with "-dpu-" and the first free number.
func childName(ctx context.Context, tx *store.Tx, parent *node.Node, host string, d *store.DPU) (string, error) {
	short, _, _ := strings.Cut(d.Chassis, ".")
	if parent.Name != "" {
		host = parent.Name
	}
	for n := 0; ; n++ {
		name := fmt.Sprintf("%s-dpu-%d", host, n)
		if n == 0 {
			name = short
		}
		if node.ValidName(name) != nil {
			if n > 0 {
				return "", nil
			}
			continue
		}
		_, err := tx.Node(ctx, name)
		if fault.Is(err, fault.NotFound) {
			return name, nil
		}
		if err != nil {
			return "", err
		}
	}
}
