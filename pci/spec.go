package pci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Spec is one device_spec rule: which functions may be handed out, and how. The grammar is that of Nova's [pci] device_spec, with
// stricter values: a boolean is true or false, as JSON or in quotes, and nothing else; a tag is a string; an unknown part of an
// address object, a key that occurs twice, and text after the value are errors.
type Spec struct {
	Text string // the rule as written, as compact JSON

	Vendor  *ID // vendor_id; nil matches any
	Product *ID // product_id; nil matches any

	// At most one of Address and Devname is given; with neither the rule matches every address.
	Address *AddressPattern
	Devname string // name of a host network device: matches its function, and if that is a PF its VFs too

	PhysicalNetwork string            // physical_network; empty is JSON null: an overlay network, the form for remote-managed VFs
	RemoteManaged   bool              // remote_managed: the VF's switch port is on the card's own system
	Trusted         bool              // trusted
	Managed         bool              // managed, default true: the hypervisor binds and unbinds the driver
	LiveMigratable  *bool             // live_migratable; nil leaves it open
	OneTimeUse      bool              // one_time_use
	ResourceClass   string            // resource_class, upper-case with _ for other characters, without a prefix
	Traits          []string          // traits, spelled likewise
	Tags            map[string]string // all other keys

	// Notes say what in the rule is easily misunderstood, for a person to read.
	Notes []string
}

// ParseSpec reads one device_spec value: a JSON object, or a list of them. The error names the rule, counted from 1, and the key.
func ParseSpec(data []byte) ([]Spec, error) {
	objects, err := readObjects(data)
	if err != nil {
		return nil, fmt.Errorf("device_spec: %w", err)
	}
	specs := make([]Spec, 0, len(objects))
	for i, members := range objects {
		s, err := newSpec(members)
		if err != nil {
			return nil, fmt.Errorf("device_spec: rule %d: %w", i+1, err)
		}
		specs = append(specs, s)
	}
	return specs, nil
}

// member is one key of a JSON object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// readObjects reads an object or a list of objects, keeping the order of keys.
func readObjects(data []byte) ([][]member, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	first, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", noEOF(err))
	}
	var objects [][]member
	switch first {
	case json.Delim('{'):
		members, err := readMembers(dec)
		if err != nil {
			return nil, err
		}
		objects = append(objects, members)
	case json.Delim('['):
		for dec.More() {
			if t, err := dec.Token(); err != nil {
				return nil, fmt.Errorf("not JSON: %w", noEOF(err))
			} else if t != json.Delim('{') {
				return nil, fmt.Errorf("rule %d: want a JSON object", len(objects)+1)
			}
			members, err := readMembers(dec)
			if err != nil {
				return nil, fmt.Errorf("rule %d: %w", len(objects)+1, err)
			}
			objects = append(objects, members)
		}
		if _, err := dec.Token(); err != nil {
			return nil, fmt.Errorf("not JSON: %w", noEOF(err))
		}
	default:
		return nil, errors.New("want a JSON object or a list of objects")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the value")
	}
	return objects, nil
}

// readMembers reads the rest of an object whose brace has been read.
func readMembers(dec *json.Decoder) ([]member, error) {
	var members []member
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON: %w", noEOF(err))
		}
		key, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("not JSON: %v where a key should be", t)
		}
		m := member{key: key}
		if seen[m.key] {
			return nil, fmt.Errorf("key %q occurs twice", m.key)
		}
		seen[m.key] = true
		if err := dec.Decode(&m.value); err != nil {
			return nil, fmt.Errorf("not JSON: %w", noEOF(err))
		}
		members = append(members, m)
	}
	_, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", noEOF(err))
	}
	return members, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func newSpec(members []member) (Spec, error) {
	s := Spec{Text: compact(members), Managed: true}
	for _, m := range members {
		if err := s.set(m); err != nil {
			return Spec{}, fmt.Errorf("%q: %w", m.key, err)
		}
	}
	if s.Address != nil && s.Devname != "" {
		return Spec{}, errors.New("devname and address exclude each other: give one of them")
	}
	if s.Address != nil {
		s.Notes = s.Address.notes()
	}
	if s.RemoteManaged && s.PhysicalNetwork != "" {
		s.Notes = append(s.Notes, fmt.Sprintf("remote_managed with physical_network %q serves only ports of that physical network; an overlay network needs null", s.PhysicalNetwork))
	}
	return s, nil
}

func compact(members []member) string {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		key, _ := json.Marshal(m.key) // a string always has a JSON form
		b.Write(key)
		b.WriteByte(':')
		_ = json.Compact(&b, m.value) // the decoder has checked the value
	}
	b.WriteByte('}')
	return b.String()
}

// set takes one key over.
func (s *Spec) set(m member) (err error) {
	switch m.key {
	case "vendor_id":
		s.Vendor, err = idValue(m.value)
	case "product_id":
		s.Product, err = idValue(m.value)
	case "address":
		s.Address, err = parseAddressPattern(m.value)
	case "devname":
		if s.Devname, err = stringValue(m.value); err == nil && s.Devname == "" {
			err = errors.New("is empty: give the name of a network device, or leave the key out")
		}
	case "physical_network":
		if string(m.value) == "null" {
			return nil
		}
		if s.PhysicalNetwork, err = stringValue(m.value); err != nil || s.PhysicalNetwork == "" {
			err = errors.New("want the name of a physical network, or null for an overlay network")
		}
	case "remote_managed":
		s.RemoteManaged, err = boolValue(m.value)
	case "trusted":
		s.Trusted, err = boolValue(m.value)
	case "managed":
		s.Managed, err = boolValue(m.value)
	case "live_migratable":
		var v bool
		v, err = boolValue(m.value)
		s.LiveMigratable = &v
	case "one_time_use":
		s.OneTimeUse, err = boolValue(m.value)
	case "resource_class":
		var name string
		if name, err = stringValue(m.value); err == nil {
			s.ResourceClass, err = placementName(name)
		}
	case "traits":
		s.Traits, err = traitsValue(m.value)
	default:
		var v string
		if v, err = stringValue(m.value); err != nil {
			return errors.New("is a free tag, and a tag wants a string")
		}
		if s.Tags == nil {
			s.Tags = map[string]string{}
		}
		s.Tags[m.key] = v
	}
	return err
}

func stringValue(raw json.RawMessage) (string, error) {
	var v *string
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		return "", fmt.Errorf("want a string, not %s", raw)
	}
	return *v, nil
}

func idValue(raw json.RawMessage) (*ID, error) {
	text, err := stringValue(raw)
	if err != nil {
		return nil, fmt.Errorf("want a string of hex digits or \"*\", not %s", raw)
	}
	if text == "*" {
		return nil, nil
	}
	id, err := ParseID(text)
	if err != nil {
		return nil, err
	}
	return &id, nil
}

func boolValue(raw json.RawMessage) (bool, error) {
	switch strings.ToLower(strings.Trim(string(raw), `"`)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("want true or false, not %s", raw)
}

func traitsValue(raw json.RawMessage) ([]string, error) {
	text, err := stringValue(raw)
	if err != nil {
		return nil, fmt.Errorf("want trait names in one string, separated by commas, not %s", raw)
	}
	var traits []string
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		trait, err := placementName(name)
		if err != nil {
			return nil, err
		}
		traits = append(traits, trait)
	}
	return traits, nil
}

// placementName returns the name of a trait or resource class as Placement spells it: upper-case, with _ for every other character.
func placementName(name string) (string, error) {
	if name == "" || len(name) > 255 {
		return "", fmt.Errorf("name %q: want 1 to 255 characters", name)
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name)), nil
}
