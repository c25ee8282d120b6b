package pci

import (
	"cmp"
	"fmt"
	"slices"
)

// Function is one PCI function as its host sees it.
type Function struct {
	Address Address
	Kind    Kind
	Vendor  ID
	Product ID
	NUMA    int    // NUMA node, -1 if the host does not say
	Driver  string // name of the bound driver, empty if there is none
	Netdev  string // name of the function's own network device, empty if it has none
	MAC     string // address of Netdev, lower-case with colons

	// Of a PF.

	TotalVFs int // VFs the hardware can have
	NumVFs   int // VFs enabled (sriov_numvfs)
	VFDevice ID  // device identifier its VFs have, 0 if unknown

	// Of a VF.

	Parent   Address // the PF
	Number   int     // VF number, counted from 0 within the PF; -1 for anything but a VF, and for a VF whose number could not be found
	PFNetdev string  // network device of the PF
	PFMAC    string  // address of PFNetdev, lower-case with colons

	// Card is the card the function is on. It is nil only where nothing at all is known of the card, as for a VF without its PF.
	Card *Card
}

// PF returns the address of the physical function: of a VF its parent, of any other function itself.
func (f *Function) PF() Address {
	if f.Kind == VF {
		return f.Parent
	}
	return f.Address
}

// NoSerial says why the function cannot be told to sit on a certain card, or returns nil if its card has a valid serial number.
func (f *Function) NoSerial() error {
	switch {
	case f.Card == nil && f.Kind == VF:
		return fmt.Errorf("no serial number: its PF %s was not found", f.Parent)
	case f.Card == nil:
		return fmt.Errorf("no serial number: nothing is known of its card")
	case f.Card.Problem != "":
		return fmt.Errorf("no serial number: %s", f.Card.Problem)
	}
	if err := ValidSerial(f.Card.Serial); err != nil {
		return fmt.Errorf("no serial number: %w", err)
	}
	return nil
}

// Card is one card of a host.
type Card struct {
	Identity
	PFs []Address // its functions that are no VFs, in order
}

// Host is what one look at a machine found.
type Host struct {
	SystemUUID   string     // SMBIOS UUID in the form of SystemUUID, empty if unknown
	SystemSerial string     // SMBIOS serial number, trimmed, empty if unknown
	Functions    []Function // by address
	Cards        []*Card    // by the address of their first function
	Problems     []string   // what could not be read or made no sense, each naming the file or device
}

// Problem notes something that could not be read or made no sense. The format follows fmt.Sprintf.
func (h *Host) Problem(format string, args ...any) {
	h.Problems = append(h.Problems, fmt.Sprintf(format, args...))
}

// SetSystem takes over the SMBIOS identity of the machine. A UUID that names no machine is a problem; a serial number that is a placeholder
// is left out.
func (h *Host) SetSystem(uuid, serial string) {
	u, err := SystemUUID(uuid)
	if err != nil {
		h.Problem("%v", err)
	}
	h.SystemUUID = u
	if ValidSerial(serial) == nil {
		h.SystemSerial = TrimSerial(serial)
	}
}

// Found is a function as it was read, before it is put in its place among the others.
type Found struct {
	Function
	// Identity is what the function's own VPD says; nil if it has no VPD. A VPD that cannot be read is an Identity with a Problem.
	Identity *Identity
}

// NewHost puts functions together: VFs to their PFs, PFs to cards. It sets Card, PFNetdev and PFMAC of each function.
// The cost is that of sorting the functions.
//
// Functions that are no VFs share a card if they share a slot, or have the same serial number and also the same bus or the same UUID.
// The same serial number without that evidence makes two cards, and a problem that names both. A VF is on its PF's card, unless its
// own VPD has another valid serial number.
func NewHost(found []Found) *Host {
	found = slices.Clone(found)
	slices.SortStableFunc(found, func(a, b Found) int { return a.Address.Compare(b.Address) })
	b := builder{
		host:   &Host{Functions: make([]Function, 0, len(found))},
		at:     make(map[Address]int, len(found)),
		inSlot: map[slotSerial]*Card{}, onBus: map[busSerial]*Card{}, byUUID: map[serialUUID]*Card{},
		bySerial: map[string]*Card{}, nameless: map[slot]*Card{}, slotCards: map[slot][]*Card{},
	}
	b.index(found)
	b.placeNamed()
	b.placeNameless()
	b.placeVFs()
	slices.SortFunc(b.host.Cards, func(x, y *Card) int { return x.PFs[0].Compare(y.PFs[0]) })
	return b.host
}

type slot struct {
	domain    uint32
	bus, slot uint8
}

func slotOf(a Address) slot { return slot{a.Domain, a.Bus, a.Slot} }

type (
	slotSerial struct {
		slot
		serial string
	}
	busSerial struct {
		domain uint32
		bus    uint8
		serial string
	}
	serialUUID struct{ serial, uuid string }
)

type builder struct {
	host       *Host
	identities []*Identity     // parallel to host.Functions
	at         map[Address]int // index into host.Functions

	inSlot    map[slotSerial]*Card
	onBus     map[busSerial]*Card
	byUUID    map[serialUUID]*Card
	bySerial  map[string]*Card
	slotCards map[slot][]*Card // the cards with a serial number
	nameless  map[slot]*Card   // the card without one
}

// index takes the functions over, each address once.
func (b *builder) index(found []Found) {
	for _, f := range found {
		if _, twice := b.at[f.Address]; twice {
			b.host.Problem("%s: found twice; the second is ignored", f.Address)
			continue
		}
		b.at[f.Address] = len(b.host.Functions)
		b.host.Functions = append(b.host.Functions, f.Function)
		b.identities = append(b.identities, f.Identity)
	}
}

// placeNamed makes the cards that have a serial number.
func (b *builder) placeNamed() {
	for i := range b.host.Functions {
		f, id := &b.host.Functions[i], b.identities[i]
		if f.Kind == VF || id == nil || id.Serial == "" {
			continue
		}
		card := b.lookup(f.Address, *id)
		if card == nil {
			card = &Card{Identity: *id}
			b.host.Cards = append(b.host.Cards, card)
			if other := b.bySerial[id.Serial]; other != nil {
				b.host.Problem("serial number %s is on two cards: at %s and at %s", id.Serial, other.PFs[0], f.Address)
			} else {
				b.bySerial[id.Serial] = card
			}
		}
		card.UUID = cmp.Or(card.UUID, id.UUID)
		b.place(f, card)
	}
}

// lookup finds the card with a serial number that a function at a belongs to, or nil.
func (b *builder) lookup(a Address, id Identity) *Card {
	if card := b.inSlot[slotSerial{slotOf(a), id.Serial}]; card != nil {
		return card
	}
	if id.UUID != "" {
		if card := b.byUUID[serialUUID{id.Serial, id.UUID}]; card != nil {
			return card
		}
	}
	if card := b.onBus[busSerial{a.Domain, a.Bus, id.Serial}]; card != nil && (card.UUID == "" || id.UUID == "" || card.UUID == id.UUID) {
		return card
	}
	return nil
}

func (b *builder) place(f *Function, card *Card) {
	a, serial := f.Address, card.Serial
	f.Card = card
	card.PFs = append(card.PFs, a)
	here := slotSerial{slotOf(a), serial}
	if b.inSlot[here] == nil {
		b.inSlot[here] = card
		b.slotCards[here.slot] = append(b.slotCards[here.slot], card)
	}
	b.onBus[busSerial{a.Domain, a.Bus, serial}] = card
	b.byUUID[serialUUID{serial, card.UUID}] = card
}

// placeNameless puts functions without a serial number on the card of their slot if there is exactly one.
func (b *builder) placeNameless() {
	for i := range b.host.Functions {
		f, id := &b.host.Functions[i], b.identities[i]
		if f.Kind == VF || f.Card != nil {
			continue
		}
		what := Identity{Problem: fmt.Sprintf("%s: there is no VPD", f.Address)}
		if id != nil {
			what = *id
			what.Problem = fmt.Sprintf("%s: %s", f.Address, id.Problem)
		}
		here := slotOf(f.Address)
		card := b.nameless[here]
		switch named := b.slotCards[here]; {
		case len(named) == 1:
			card = named[0]
			if id != nil {
				b.host.Problem("%s", what.Problem)
			}
		case card == nil:
			card = &Card{Identity: what}
			b.nameless[here] = card
			b.host.Cards = append(b.host.Cards, card)
		}
		f.Card = card
		card.PFs = append(card.PFs, f.Address)
		slices.SortFunc(card.PFs, Address.Compare)
	}
}

// placeVFs ties VFs to their PFs and cards, and refuses a VF number that another VF has.
func (b *builder) placeVFs() {
	type place struct {
		pf     Address
		number int
	}
	taken := make(map[place]Address)
	strangers := map[slotSerial]*Card{}
	for i := range b.host.Functions {
		f := &b.host.Functions[i]
		if f.Kind != VF {
			f.Number = -1
			continue
		}
		at, ok := b.at[f.Parent]
		if !ok || b.host.Functions[at].Kind == VF {
			b.host.Problem("%s: its PF %s was not found", f.Address, f.Parent)
			continue
		}
		pf := &b.host.Functions[at]
		f.PFNetdev, f.PFMAC, f.Card = pf.Netdev, pf.MAC, pf.Card
		switch own := b.identities[i]; {
		case own == nil || own.Serial == pf.Card.Serial && own.Serial != "":
		case own.Serial == "":
			b.host.Problem("%s: its own VPD is passed over: %s", f.Address, own.Problem)
		default:
			key := slotSerial{slotOf(f.Parent), own.Serial}
			f.Card = cmp.Or(b.bySerial[own.Serial], strangers[key], &Card{Identity: *own, PFs: []Address{f.Parent}})
			strangers[key] = f.Card
		}
		if f.Number < 0 {
			continue
		}
		if other, used := taken[place{f.Parent, f.Number}]; used {
			b.host.Problem("%s: is VF %d of %s, as is %s", f.Address, f.Number, f.Parent, other)
			f.Number = -1
			continue
		}
		taken[place{f.Parent, f.Number}] = f.Address
	}
}
