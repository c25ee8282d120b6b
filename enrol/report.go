package enrol

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/pci"
	"github.com/riser-project/riser/store"
)

// Limits of a report. A host with 32 cards of 16 PFs stays far below them.
const (
	maxCards = 256
	maxPFs   = 4096
	maxVFs   = 1 << 16 // of a PF; the routing IDs of a PCI domain end there
	maxText  = 1024
)

func invalid(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }

// readHost checks a host's report and turns it into rows. An unusable serial is kept as the card's problem.
func readHost(name string, r *wire.HostReport) (*store.Host, []*store.HostCard, []*store.HostPF, error) {
	if err := node.ValidName(name); err != nil {
		return nil, nil, nil, invalid("host report: %w", err)
	}
	if len(r.Cards) > maxCards {
		return nil, nil, nil, invalid("host %s: report of %d cards, at most %d are taken", name, len(r.Cards), maxCards)
	}
	h := &store.Host{
		Name: name, SystemSerial: clip(r.SystemSerial), Service: r.Version, Fingerprint: clip(r.Fingerprint),
		Virt: store.Virt{
			Driver: clip(r.Virt.Driver), VCPUs: r.Virt.VCPUs, MemoryMB: r.Virt.MemoryMB, Traits: r.Virt.Traits, DriverVersion: clip(r.Virt.DriverVersion),
		},
	}
	if u, err := pci.SystemUUID(r.SystemUUID); err == nil {
		h.SystemUUID = u
	}
	var cards []*store.HostCard
	var pfs []*store.HostPF
	seen := map[string]bool{}
	for i := range r.Cards {
		card, functions, err := readCard(name, &r.Cards[i], seen)
		if err != nil {
			return nil, nil, nil, err
		}
		cards = append(cards, card)
		if pfs = append(pfs, functions...); len(pfs) > maxPFs {
			return nil, nil, nil, invalid("host %s: report of more than %d PFs", name, maxPFs)
		}
	}
	return h, cards, pfs, nil
}

func readCard(host string, w *wire.Card, seen map[string]bool) (*store.HostCard, []*store.HostPF, error) {
	if len(w.PFs) == 0 {
		return nil, nil, invalid("host %s: card %q has no functions", host, w.Serial)
	}
	card := &store.HostCard{
		Host: host, Slot: w.PFs[0].Address, Serial: pci.TrimSerial(w.Serial), PartNumber: clip(w.PartNumber), Name: clip(w.Name), Problem: clip(w.Problem),
	}
	if err := pci.ValidSerial(card.Serial); err != nil {
		if card.Problem == "" {
			card.Problem = err.Error()
		}
		card.Serial = ""
	}
	if u, err := pci.CardUUID(w.UUID); err == nil {
		card.UUID = u
	}
	var pfs []*store.HostPF
	for i := range w.PFs {
		p, err := readPF(&w.PFs[i])
		if err != nil {
			return nil, nil, invalid("host %s: %w", host, err)
		}
		if seen[p.Address] {
			return nil, nil, invalid("host %s: PF %s is reported twice", host, p.Address)
		}
		seen[p.Address] = true
		p.Host, p.Slot, p.Serial = host, card.Slot, card.Serial
		pfs = append(pfs, p)
	}
	return card, pfs, nil
}

func readPF(w *wire.PF) (*store.HostPF, error) {
	if _, err := pci.ParseAddress(w.Address); err != nil {
		return nil, invalid("PF: %w", err)
	}
	for _, id := range []string{w.Vendor, w.Product} {
		if parsed, err := pci.ParseID(id); err != nil || parsed.String() != id {
			return nil, invalid("PF %s: %q is not a PCI identifier of four lower-case hexadecimal digits", w.Address, id)
		}
	}
	mac, err := readMAC(w.MAC)
	if err != nil {
		return nil, invalid("PF %s: %w", w.Address, err)
	}
	p := &store.HostPF{
		Address: w.Address, Vendor: w.Vendor, Product: w.Product, VFProduct: clip(w.VFProduct), MAC: mac, Netdev: clip(w.Netdev), NUMA: max(w.NUMANode, -1),
		TotalVFs: w.TotalVFs, PhysicalNetwork: w.PhysicalNetwork, RemoteManaged: w.RemoteManaged, Reason: clip(w.Reason),
	}
	next := 0
	for _, r := range w.VFs {
		vf := store.VFRange{First: r.First, Count: r.Count, Address: r.Address, Stride: r.Stride, Product: r.Product}
		if r.First < next || r.Count < 1 || r.Count > maxVFs || r.First > maxVFs-r.Count {
			return nil, invalid("PF %s: the range of %d VFs from %d is out of order or impossible", w.Address, r.Count, r.First)
		}
		next = r.First + r.Count
		if _, ok := vf.At(next - 1); !ok {
			return nil, invalid("PF %s: the range of %d VFs from %d at %q with stride %d leaves its PCI domain", w.Address, r.Count, r.First, r.Address, r.Stride)
		}
		p.Ranges, p.VFs = append(p.Ranges, vf), p.VFs+r.Count
	}
	return p, nil
}

func readMAC(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	mac, err := net.ParseMAC(s)
	if err != nil || len(mac) != 6 {
		return "", invalid("%q is not a MAC address", s)
	}
	return mac.String(), nil
}

// readDPU checks a DPU's report and turns it into a row.
func readDPU(serial string, r *wire.DPUReport) (*store.DPU, error) {
	trimmed := pci.TrimSerial(r.Serial)
	if err := pci.ValidSerial(trimmed); err != nil {
		return nil, invalid("DPU %s: %w: configure the agent with the serial that the host reads from the card's VPD", r.Chassis, err)
	}
	if trimmed != serial {
		return nil, &forgedError{named: serial, claimed: trimmed, chassis: clip(r.Chassis)}
	}
	if r.Chassis == "" || len(r.Chassis) > 253 || clip(r.Chassis) != r.Chassis {
		return nil, invalid("DPU of card %s: the chassis name must be the host name of its Linux", serial)
	}
	if len(r.Uplinks) > maxPFs || len(r.Controllers) > maxCards {
		return nil, invalid("DPU of card %s: report of %d uplinks and %d controllers is too large", serial, len(r.Uplinks), len(r.Controllers))
	}
	d := &store.DPU{
		Serial: serial, System: clip(r.SystemID), PartNumber: clip(r.PartNumber), Source: clip(r.Source), Chassis: r.Chassis,
		BMCAddress: clip(r.BMCAddress), Bridge: clip(r.Bridge), Service: r.Version, Fingerprint: clip(r.Fingerprint), Problems: r.Problems,
	}
	if d.System == "" {
		d.System = r.Chassis
	}
	if u, err := pci.CardUUID(r.UUID); err == nil {
		d.UUID = u
	}
	for _, u := range r.Uplinks {
		d.Uplinks = append(d.Uplinks, store.Uplink{Handle: u.Handle, Number: u.Number, Netdev: u.Netdev, PhysicalNetwork: u.PhysicalNetwork})
	}
	for _, c := range r.Controllers {
		out := store.Controller{Number: c.Number, External: c.External}
		for _, p := range c.PFs {
			mac, err := readMAC(p.MAC)
			if err != nil {
				return nil, invalid("DPU of card %s: PF %d of controller %d: %w", serial, p.Number, c.Number, err)
			}
			out.PFs = append(out.PFs, store.CardPF{Handle: p.Handle, Number: p.Number, MAC: mac, VFs: p.VFs, SFs: p.SFs})
		}
		d.Controllers = append(d.Controllers, out)
	}
	return d, nil
}

// clip bounds a text that is kept for people only, and takes out what no database keeps.
func clip(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(strings.TrimSpace(s), "?"), "\x00", "?")
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}

// serialsOf returns the serials of two lists of cards, each once.
func serialsOf(lists ...[]*store.HostCard) []string {
	var serials []string
	for _, list := range lists {
		for _, c := range list {
			if c.Serial != "" {
				serials = append(serials, c.Serial)
			}
		}
	}
	slices.Sort(serials)
	return slices.Compact(serials)
}

// forgedError is a DPU that reports a card which is not the one that it is known by.
type forgedError struct{ named, claimed, chassis string }

func (e *forgedError) Error() string {
	return fmt.Sprintf("DPU %s, which is known as that of card %s, reports to be that of card %s", e.chassis, e.named, e.claimed)
}
