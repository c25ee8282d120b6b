package pci

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"net"
	"slices"
)

// Inventory is what a host reports of itself: its cards with their physical functions, and the VFs as ranges. Its size grows with
// the number of PFs, not of VFs. As JSON it is what the host agent sends.
type Inventory struct {
	SystemUUID   string          `json:"system_uuid,omitempty"`   // SMBIOS UUID in the form of SystemUUID
	SystemSerial string          `json:"system_serial,omitempty"` // SMBIOS serial number
	Cards        []InventoryCard `json:"cards"`                   // by the address of their first PF
	Problems     []string        `json:"problems,omitempty"`      // what could not be read, for a person
}

// InventoryCard is a card and its physical functions.
type InventoryCard struct {
	Identity
	PFs []PFRange `json:"pfs"`
}

// PFRange is a physical function with its VFs as ranges. A function without SR-IOV is one too, of kind pci and without VFs.
type PFRange struct {
	Address  Address   `json:"address"`
	Kind     Kind      `json:"kind"`
	Vendor   ID        `json:"vendor"`
	Product  ID        `json:"product"`
	NUMA     int       `json:"numa"` // NUMA node, -1 if unknown
	Driver   string    `json:"driver,omitempty"`
	Netdev   string    `json:"netdev,omitempty"`
	MAC      string    `json:"mac,omitempty"` // lower-case with colons
	TotalVFs int       `json:"total_vfs,omitempty"`
	NumVFs   int       `json:"num_vfs,omitempty"`
	VFDevice ID        `json:"vf_device,omitempty"`
	VFs      []VFRange `json:"vfs,omitempty"` // by number, without overlap
}

// VFRange is a run of VFs with consecutive numbers. Their addresses are computed as SR-IOV does (PCIe 9.2.1.2): the VF numbered
// First+i has the routing ID of the PF plus Offset plus i times Stride. Where they follow no such rule, Addresses lists them.
type VFRange struct {
	First     int       `json:"first"`
	Count     int       `json:"count"`
	Offset    int       `json:"offset,omitempty"`
	Stride    int       `json:"stride,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
	Serial    string    `json:"serial,omitempty"` // serial number in these VFs' own VPD, where it is not the card's
	UUID      string    `json:"uuid,omitempty"`   // UUID in that VPD
}

// Address returns the address of the VF with that number, given its PF's. It reports false if the number is not in the range.
func (r VFRange) Address(pf Address, number int) (Address, bool) {
	i := number - r.First
	switch {
	case i < 0 || i >= r.Count:
		return Address{}, false
	case len(r.Addresses) > 0:
		if i >= len(r.Addresses) {
			return Address{}, false
		}
		return r.Addresses[i], true
	}
	return pf.Offset(r.Offset + i*r.Stride)
}

// VF returns the address of the VF with that number. It reports false if there is no such VF.
func (p *PFRange) VF(number int) (Address, bool) {
	for _, r := range p.VFs {
		if a, ok := r.Address(p.Address, number); ok {
			return a, true
		}
	}
	return Address{}, false
}

// Inventory returns what the host reports of itself. VFs whose number is unknown are left out.
func (h *Host) Inventory() Inventory {
	inv := Inventory{SystemUUID: h.SystemUUID, SystemSerial: h.SystemSerial, Problems: slices.Clone(h.Problems), Cards: make([]InventoryCard, 0, len(h.Cards))}
	vfs := map[Address][]*Function{}
	physical := make(map[Address]*Function)
	for i := range h.Functions {
		f := &h.Functions[i]
		switch {
		case f.Kind != VF:
			physical[f.Address] = f
		case f.Number >= 0:
			vfs[f.Parent] = append(vfs[f.Parent], f)
		}
	}
	for _, card := range h.Cards {
		c := InventoryCard{Identity: card.Identity, PFs: make([]PFRange, 0, len(card.PFs))}
		for _, a := range card.PFs {
			f := physical[a]
			c.PFs = append(c.PFs, PFRange{
				Address: a, Kind: f.Kind, Vendor: f.Vendor, Product: f.Product, NUMA: f.NUMA, Driver: f.Driver, Netdev: f.Netdev, MAC: f.MAC,
				TotalVFs: f.TotalVFs, NumVFs: f.NumVFs, VFDevice: f.VFDevice, VFs: ranges(a, card, vfs[a]),
			})
		}
		inv.Cards = append(inv.Cards, c)
	}
	return inv
}

// ranges packs the VFs of one PF: a range ends where a number is missing or the serial number changes.
func ranges(pf Address, card *Card, vfs []*Function) []VFRange {
	slices.SortFunc(vfs, func(a, b *Function) int { return a.Number - b.Number })
	var out []VFRange
	for start := 0; start < len(vfs); {
		end := start + 1
		for end < len(vfs) && vfs[end].Number == vfs[end-1].Number+1 && vfs[end].Card == vfs[start].Card {
			end++
		}
		r := pack(pf, vfs[start:end])
		if own := vfs[start].Card; own != card {
			r.Serial, r.UUID = own.Serial, own.UUID
		}
		out = append(out, r)
		start = end
	}
	return out
}

// pack makes one range of VFs with consecutive numbers, with offset and stride if they have one.
func pack(pf Address, run []*Function) VFRange {
	r := VFRange{First: run[0].Number, Count: len(run)}
	distance := func(i int) int { return int(run[i].Address.RoutingID()) - int(pf.RoutingID()) }
	offset, stride := distance(0), 0
	if len(run) > 1 {
		stride = distance(1) - offset
	}
	for i, f := range run {
		if f.Address.Domain != pf.Domain || distance(i) != offset+i*stride {
			for _, f := range run {
				r.Addresses = append(r.Addresses, f.Address)
			}
			return r
		}
	}
	r.Offset, r.Stride = offset, stride
	return r
}

// Limits of a reported inventory. A host with 32 cards of 16 PFs stays far below them.
const (
	maxFunctions = 1 << 16
	maxVFs       = 1 << 16 // of a PF; the routing IDs of a domain end there
)

// Check says whether an inventory that came from elsewhere can be relied on: serial numbers, UUIDs and MACs are valid and canonical, VF ranges
// stay within their PF and do not overlap, and no address is that of two functions. The error names the card or function.
func (inv *Inventory) Check() error {
	if inv.SystemUUID != "" {
		if u, err := SystemUUID(inv.SystemUUID); err != nil || u != inv.SystemUUID {
			return fmt.Errorf("inventory: system UUID %q is not canonical", inv.SystemUUID)
		}
	}
	used := make(map[Address]bool)
	for i := range inv.Cards {
		card := &inv.Cards[i]
		if err := checkIdentity(card.Serial, card.UUID); err != nil {
			return fmt.Errorf("inventory: card %d: %w", i, err)
		}
		if len(card.PFs) == 0 {
			return fmt.Errorf("inventory: card %d has no functions", i)
		}
		for j := range card.PFs {
			if err := card.PFs[j].check(used); err != nil {
				return fmt.Errorf("inventory: %s: %w", card.PFs[j].Address, err)
			}
		}
	}
	return nil
}

func checkIdentity(serial, uuid string) error {
	if serial != "" {
		if err := ValidSerial(serial); err != nil {
			return err
		}
		if serial != TrimSerial(serial) {
			return fmt.Errorf("serial number %q is padded", serial)
		}
	}
	if uuid != "" {
		if u, err := CardUUID(uuid); err != nil || u != uuid {
			return fmt.Errorf("UUID %q is not canonical: want 32 lower-case hex digits", uuid)
		}
	}
	return nil
}

// check checks one PF and marks the addresses it and its VFs use.
func (p *PFRange) check(used map[Address]bool) error {
	switch {
	case p.Kind != PF && p.Kind != Device:
		return fmt.Errorf("kind %s is not that of a physical function", p.Kind)
	case p.Kind == Device && len(p.VFs) > 0:
		return fmt.Errorf("a function without SR-IOV has VFs")
	case p.TotalVFs < 0 || p.NumVFs < 0 || p.NumVFs > maxVFs || p.TotalVFs > maxVFs:
		return fmt.Errorf("impossible number of VFs: %d of %d", p.NumVFs, p.TotalVFs)
	case p.NUMA < -1:
		return fmt.Errorf("impossible NUMA node %d", p.NUMA)
	case used[p.Address]:
		return fmt.Errorf("is listed twice")
	case len(used) == maxFunctions:
		return fmt.Errorf("is one more than the %d functions a host may report", maxFunctions)
	}
	if p.MAC != "" {
		if mac, err := net.ParseMAC(p.MAC); err != nil || mac.String() != p.MAC {
			return fmt.Errorf("MAC %q is not canonical: want lower-case with colons", p.MAC)
		}
	}
	used[p.Address] = true
	next := 0
	for _, r := range p.VFs {
		if r.First < next || r.Count < 1 || r.Count > maxVFs || r.First > maxVFs-r.Count {
			return fmt.Errorf("VF range of %d from %d is out of order or impossible", r.Count, r.First)
		}
		next = r.First + r.Count
		if err := r.check(p.Address, used); err != nil {
			return err
		}
	}
	return nil
}

func (r VFRange) check(pf Address, used map[Address]bool) error {
	if len(r.Addresses) > 0 && len(r.Addresses) != r.Count {
		return fmt.Errorf("VF range of %d from %d lists %d addresses", r.Count, r.First, len(r.Addresses))
	}
	if r.Offset < -maxVFs || r.Offset > maxVFs || r.Stride < -maxVFs || r.Stride > maxVFs {
		return fmt.Errorf("VF offset %d or stride %d is impossible", r.Offset, r.Stride)
	}
	if err := checkIdentity(r.Serial, r.UUID); err != nil {
		return err
	}
	for number := r.First; number < r.First+r.Count; number++ {
		a, ok := r.Address(pf, number)
		if !ok {
			return fmt.Errorf("VF %d has no address within the domain", number)
		}
		if used[a] {
			return fmt.Errorf("VF %d has address %s, which another function has", number, a)
		}
		if len(used) == maxFunctions {
			return fmt.Errorf("VF %d is one more than the %d functions a host may report", number, maxFunctions)
		}
		used[a] = true
	}
	return nil
}

// Functions yields every function, each PF followed by its VFs, as far as an inventory knows them: VFs have neither driver nor network
// device of their own, and the NUMA node and vendor of their PF.
func (inv *Inventory) Functions() iter.Seq[Function] {
	return func(yield func(Function) bool) {
		for i := range inv.Cards {
			reported := &inv.Cards[i]
			card := &Card{Identity: reported.Identity}
			for j := range reported.PFs {
				card.PFs = append(card.PFs, reported.PFs[j].Address)
			}
			for j := range reported.PFs {
				if !reported.PFs[j].yield(card, yield) {
					return
				}
			}
		}
	}
}

func (p *PFRange) yield(card *Card, yield func(Function) bool) bool {
	pf := Function{
		Address: p.Address, Kind: p.Kind, Vendor: p.Vendor, Product: p.Product, NUMA: p.NUMA, Driver: p.Driver, Netdev: p.Netdev, MAC: p.MAC,
		TotalVFs: p.TotalVFs, NumVFs: p.NumVFs, VFDevice: p.VFDevice, Number: -1, Card: card,
	}
	if !yield(pf) {
		return false
	}
	for _, r := range p.VFs {
		on := card
		if r.Serial != "" {
			on = &Card{Identity: Identity{Serial: r.Serial, UUID: r.UUID}, PFs: []Address{p.Address}}
		}
		for number := r.First; number < r.First+r.Count; number++ {
			a, ok := r.Address(p.Address, number)
			if !ok {
				continue
			}
			if !yield(Function{
				Address: a, Kind: VF, Vendor: p.Vendor, Product: p.VFDevice, NUMA: p.NUMA,
				Parent: p.Address, Number: number, PFNetdev: p.Netdev, PFMAC: p.MAC, Card: on,
			}) {
				return false
			}
		}
	}
	return true
}

// Fingerprint returns a short text that is the same for equal inventories and differs for others.
func (inv *Inventory) Fingerprint() string {
	text, err := json.Marshal(inv)
	if err != nil {
		return "" // only an inventory with an impossible Kind, which Check refuses
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}
