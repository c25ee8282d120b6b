package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/pci"
)

// NewReport makes the report of a host: every card that has SR-IOV functions or a serial number, with its VFs as ranges and what the rules
// say of them. Of each PF, the VFs under one rule are reported: the first that makes VFs remote-managed, else the first that matches any.
// Where no rule matches, all VFs are reported, and Reason says why none may be handed out. VFs whose number is unknown, and VFs whose own VPD
// has another serial number than their PF's card, are left out.
func NewReport(found *pci.Host, rules pci.Rules, virt wire.Virt) *wire.HostReport {
	r := &wire.HostReport{Version: wire.Version, SystemUUID: found.SystemUUID, SystemSerial: found.SystemSerial, Virt: virt, Cards: []wire.Card{}}
	physical := map[pci.Address]*pci.Function{}
	vfs := map[pci.Address][]*pci.Function{}
	for i := range found.Functions {
		f := &found.Functions[i]
		if f.Kind == pci.VF {
			vfs[f.Parent] = append(vfs[f.Parent], f)
		} else {
			physical[f.Address] = f
		}
	}
	for _, card := range found.Cards {
		c := wire.Card{Serial: card.Serial, UUID: card.UUID, PartNumber: card.PartNumber, Name: card.Name, Problem: card.Problem}
		worth := card.Serial != ""
		for _, a := range card.PFs {
			worth = worth || physical[a].Kind == pci.PF
			c.PFs = append(c.PFs, newPF(physical[a], vfs[a], rules))
		}
		if worth {
			r.Cards = append(r.Cards, c)
		}
	}
	r.Fingerprint = fingerprint(r)
	return r
}

// fingerprint is the same for equal reports and differs for others.
func fingerprint(r *wire.HostReport) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // the types of package wire can all be written
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

func newPF(f *pci.Function, vfs []*pci.Function, rules pci.Rules) wire.PF {
	p := wire.PF{
		Address: f.Address.String(), Vendor: f.Vendor.String(), Product: f.Product.String(), MAC: f.MAC, Netdev: f.Netdev, NUMANode: f.NUMA, TotalVFs: f.TotalVFs,
	}
	if f.VFDevice != 0 {
		p.VFProduct = f.VFDevice.String()
	}
	var usable []*pci.Function
	for _, v := range vfs {
		if v.Number >= 0 && v.Card == f.Card {
			usable = append(usable, v)
		}
	}
	slices.SortFunc(usable, func(a, b *pci.Function) int { return a.Number - b.Number })
	chosen, verdict := choose(usable, rules)
	switch {
	case len(usable) == 0:
		p.Reason = noVFs(f, vfs)
		return p
	case verdict.Spec == nil:
		p.Reason = "no device_spec rule takes its VFs: " + verdict.Reason
	default:
		p.RemoteManaged = verdict.Spec.RemoteManaged
		if name := verdict.Spec.PhysicalNetwork; name != "" {
			p.PhysicalNetwork = &name
		}
		p.Reason = fmt.Sprintf("rule %d: %s", verdict.Rule, verdict.Reason)
	}
	if left := len(vfs) - len(chosen); left > 0 {
		p.Reason += fmt.Sprintf("; %d of %d VFs are left out, which this rule does not take or which are not known well enough", left, len(vfs))
	}
	p.VFs = ranges(chosen)
	return p
}

func noVFs(f *pci.Function, vfs []*pci.Function) string {
	switch {
	case len(vfs) > 0:
		return "the numbers of its VFs are unknown, or their own VPD names another card"
	case f.Kind != pci.PF:
		return "it has no SR-IOV"
	}
	return "it has no VFs enabled: write their number to its sriov_numvfs"
}

// choose returns the VFs under the rule that counts for their PF, and that rule's verdict; all of them, and why no rule takes the first, if
// none matches.
func choose(vfs []*pci.Function, rules pci.Rules) (chosen []*pci.Function, best pci.Verdict) {
	under := map[int][]*pci.Function{}
	for i, f := range vfs {
		v := rules.Match(*f)
		under[v.Rule] = append(under[v.Rule], f)
		if i == 0 || better(v, best) {
			best = v
		}
	}
	return under[best.Rule], best
}

// better tells whether verdict a goes before b.
func better(a, b pci.Verdict) bool {
	switch {
	case a.Spec == nil || b.Spec == nil:
		return a.Spec != nil
	case a.Spec.RemoteManaged != b.Spec.RemoteManaged:
		return a.Spec.RemoteManaged
	}
	return a.Rule < b.Rule
}

// ranges packs VFs, sorted by number, into runs of consecutive numbers whose addresses rise by a constant stride.
func ranges(vfs []*pci.Function) []wire.Range {
	var out []wire.Range
	for start := 0; start < len(vfs); {
		first := vfs[start]
		r := wire.Range{First: first.Number, Count: 1, Address: first.Address.String(), Stride: 1, Product: first.Product.String()}
		for next := start + 1; next < len(vfs); next++ {
			f, last := vfs[next], vfs[next-1]
			step := int(f.Address.RoutingID()) - int(last.Address.RoutingID())
			if f.Number != last.Number+1 || f.Product != first.Product || f.Address.Domain != first.Address.Domain || step < 1 || r.Count > 1 && step != r.Stride {
				break
			}
			r.Stride = step
			r.Count++
		}
		out = append(out, r)
		start += r.Count
	}
	return out
}
