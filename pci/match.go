package pci

import (
	"fmt"
	"strings"
)

// Match reports whether the rule matches a function, and a sentence that says why or why not.
//
// A rule with a single address, or a devname, that is a PF's also matches that PF's VFs. A remote-managed rule matches only VFs, and
// only if the card's serial number is known and valid, since nothing else tells which card's system has to plug the VF.
func (s *Spec) Match(f Function) (bool, string) {
	if s.Vendor != nil && *s.Vendor != f.Vendor {
		return false, fmt.Sprintf("its vendor is %s, not %s", f.Vendor, *s.Vendor)
	}
	if s.Product != nil && *s.Product != f.Product {
		return false, fmt.Sprintf("its product is %s, not %s", f.Product, *s.Product)
	}
	where, ok := s.place(&f)
	if !ok {
		return false, where
	}
	if s.RemoteManaged {
		switch {
		case f.Kind == PF:
			return false, "a PF is never remote-managed, only its VFs are"
		case f.Kind != VF:
			return false, "only a VF can be remote-managed"
		}
		if err := f.NoSerial(); err != nil {
			return false, "a remote-managed VF needs its card's serial number: " + err.Error()
		}
		where += fmt.Sprintf(", remote-managed by card %s", f.Card.Serial)
	}
	return true, where
}

// place compares address and devname, and says what matched or did not.
func (s *Spec) place(f *Function) (string, bool) {
	switch {
	case s.Devname != "" && s.Devname == f.Netdev:
		return "it is network device " + f.Netdev, true
	case s.Devname != "" && f.Kind == VF && s.Devname == f.PFNetdev:
		return "it is a VF of network device " + f.PFNetdev, true
	case s.Devname != "":
		return "it is not network device " + s.Devname + " nor a VF of it", false
	case s.Address == nil:
		return "the rule has no address, so any matches", true
	case s.Address.Match(f.Address):
		return fmt.Sprintf("address %s matches", s.Address), true
	}
	if pf, single := s.Address.Single(); single && f.Kind == VF && f.Parent == pf {
		return fmt.Sprintf("it is a VF of %s", pf), true
	}
	return fmt.Sprintf("its address does not match %s", s.Address), false
}

// Check compares the rule with the functions of a host, and returns an error if it cannot mean what it says there: a remote-managed
// rule whose devname is not on the host, or that names a single PF with an identifier that is not its VFs'.
func (s *Spec) Check(host []Function) error {
	if !s.RemoteManaged {
		return nil
	}
	pf, err := s.named(host)
	if err != nil || pf == nil || pf.Kind != PF {
		return err
	}
	if s.Vendor != nil && *s.Vendor != pf.Vendor {
		return fmt.Errorf("device_spec %s: vendor_id is %s, but PF %s has %s", s.Text, *s.Vendor, pf.Address, pf.Vendor)
	}
	switch {
	case s.Product == nil:
		return fmt.Errorf("device_spec %s: a PF is never remote-managed: PF %s needs the product_id of its VFs%s", s.Text, pf.Address, vfDeviceHint(pf))
	case pf.VFDevice != 0 && *s.Product == pf.VFDevice:
		return nil
	case *s.Product == pf.Product:
		return fmt.Errorf("device_spec %s: a PF is never remote-managed: product_id %s is that of PF %s, not of its VFs%s", s.Text, *s.Product, pf.Address, vfDeviceHint(pf))
	case pf.VFDevice == 0:
		return nil
	}
	return fmt.Errorf("device_spec %s: product_id %s is not that of the VFs of PF %s%s", s.Text, *s.Product, pf.Address, vfDeviceHint(pf))
}

func vfDeviceHint(pf *Function) string {
	if pf.VFDevice == 0 {
		return ""
	}
	return ", which is " + pf.VFDevice.String()
}

// named returns the one function a rule names by devname or by a single address; nil if it names none.
func (s *Spec) named(host []Function) (*Function, error) {
	address, single := Address{}, false
	if s.Address != nil {
		address, single = s.Address.Single()
	}
	for i := range host {
		f := &host[i]
		if s.Devname != "" && f.Netdev == s.Devname || single && f.Address == address {
			return f, nil
		}
	}
	if s.Devname != "" {
		return nil, fmt.Errorf("device_spec %s: no network device %s with a PCI function is on this host", s.Text, s.Devname)
	}
	return nil, nil
}

// Rules are the device_spec rules of a host in the order of its configuration.
type Rules []Spec

// ParseRules reads several device_spec values, as a configuration has them. The error counts values and rules from 1.
func ParseRules(values ...[]byte) (Rules, error) {
	var rules Rules
	for i, v := range values {
		specs, err := ParseSpec(v)
		if err != nil {
			return nil, fmt.Errorf("value %d: %w", i+1, err)
		}
		rules = append(rules, specs...)
	}
	return rules, nil
}

// Check is Spec.Check of every rule; it returns the first error.
func (r Rules) Check(host []Function) error {
	for i := range r {
		if err := r[i].Check(host); err != nil {
			return err
		}
	}
	return nil
}

// Verdict says which rule a function falls under.
type Verdict struct {
	Spec   *Spec  // the first rule that matches; nil if none does
	Rule   int    // its number, counted from 1; 0 if none matches
	Reason string // why that rule matches, or why each does not
}

// Match finds the first rule that matches a function.
func (r Rules) Match(f Function) Verdict {
	if len(r) == 0 {
		return Verdict{Reason: "there are no device_spec rules"}
	}
	reasons := make([]string, 0, len(r))
	for i := range r {
		ok, why := r[i].Match(f)
		if ok {
			return Verdict{Spec: &r[i], Rule: i + 1, Reason: why}
		}
		reasons = append(reasons, fmt.Sprintf("rule %d: %s", i+1, why))
	}
	return Verdict{Reason: strings.Join(reasons, "; ")}
}
