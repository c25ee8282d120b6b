package pci

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// AddressPattern is the address of a device_spec rule, in one of two forms.
//
// As text, it is [[[domain]:][bus]:][slot][.[function]] in hex, where a missing or empty part, and "*", match anything: "0000:82:*.*",
// ":82:", ".0". As an object with the keys domain, bus, slot and function it has regular expressions (RE2) for the parts as Linux
// writes them ("0000", "82", "1f", "7"). An expression MUST match at the start of the part but need not reach its end, as in Nova:
// {"bus":"8"} also matches bus 82. Missing keys match anything.
type AddressPattern struct {
	text  string
	parts [parts]part
}

// part matches one part of an address: by expr if that is not nil, else by value.
type part struct {
	value  int64 // or anyValue
	expr   *regexp.Regexp
	source string // of expr, as written
}

func (p part) match(i int, v int64) bool {
	if p.expr != nil {
		return p.expr.MatchString(fmt.Sprintf(partFormat[i], v))
	}
	return p.value == anyValue || p.value == v
}

func newPattern(text string) *AddressPattern {
	p := &AddressPattern{text: text}
	for i := range p.parts {
		p.parts[i].value = anyValue
	}
	return p
}

const (
	partDomain = iota
	partBus
	partSlot
	partFunction
	parts
)

// anyValue as the value of a part matches everything.
const anyValue = -1

var (
	partNames  = [parts]string{"domain", "bus", "slot", "function"}
	partMost   = [parts]uint64{0xffff, 0xff, maxSlot, maxFunction}
	partFormat = [parts]string{"%04x", "%02x", "%02x", "%x"}
)

func parseAddressPattern(raw json.RawMessage) (*AddressPattern, error) {
	if len(raw) > 0 && raw[0] == '{' {
		return parseExpressions(raw)
	}
	text, err := stringValue(raw)
	if err != nil {
		return nil, fmt.Errorf("want a string such as \"0000:82:*.*\", or an object with domain, bus, slot and function, not %s", raw)
	}
	return parseGlob(text)
}

func parseGlob(text string) (*AddressPattern, error) {
	p := newPattern(text)
	front, function, _ := strings.Cut(text, ".")
	fields := strings.Split(front, ":")
	if len(fields) > partFunction {
		return nil, fmt.Errorf("%q has more than three parts before the function: want [[[domain]:][bus]:][slot][.[function]]", text)
	}
	var given [parts]string
	copy(given[partFunction-len(fields):], fields)
	given[partFunction] = function
	for i, value := range given {
		value = strings.TrimSpace(value)
		if value == "" || value == "*" {
			continue
		}
		v, err := parseHex(value, partMost[i])
		if err != nil {
			return nil, fmt.Errorf("%s %q %w", partNames[i], value, err)
		}
		p.parts[i].value = int64(v)
	}
	return p, nil
}

func parseExpressions(raw json.RawMessage) (*AddressPattern, error) {
	objects, err := readObjects(raw)
	if err != nil {
		return nil, err
	}
	p := newPattern(compact(objects[0]))
	for _, m := range objects[0] {
		i := slices.Index(partNames[:], m.key)
		if i < 0 {
			return nil, fmt.Errorf("unknown part %q: want domain, bus, slot or function", m.key)
		}
		part := &p.parts[i]
		if part.source, err = stringValue(m.value); err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
		if part.expr, err = anchor(part.source, ""); err != nil {
			return nil, fmt.Errorf("%s: %w", m.key, err)
		}
	}
	return p, nil
}

// anchor compiles an expression to match at the start, with tail after it.
func anchor(text, tail string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(text); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return regexp.Compile(`\A(?:` + text + `)` + tail)
}

// String returns the pattern as it was written.
func (p *AddressPattern) String() string { return p.text }

// Match reports whether the pattern matches an address.
func (p *AddressPattern) Match(a Address) bool {
	values := [parts]int64{int64(a.Domain), int64(a.Bus), int64(a.Slot), int64(a.Function)}
	for i, v := range values {
		if !p.parts[i].match(i, v) {
			return false
		}
	}
	return true
}

// Single returns the one address the pattern names, if it is text with all four parts given. If that is a PF, the rule is meant
// for the PF and its VFs.
func (p *AddressPattern) Single() (Address, bool) {
	for _, part := range p.parts {
		if part.value == anyValue {
			return Address{}, false
		}
	}
	value := func(i int) uint8 { return uint8(p.parts[i].value) }
	return Address{Domain: uint32(p.parts[partDomain].value), Bus: value(partBus), Slot: value(partSlot), Function: value(partFunction)}, true
}

// notes names values that an expression matches only because it need not reach the end of the part.
func (p *AddressPattern) notes() []string {
	var notes []string
	for i, part := range p.parts {
		if part.expr == nil {
			continue
		}
		whole, err := anchor(part.source, `\z`)
		if err != nil {
			continue
		}
		var surprise []string
		for v := uint64(0); v <= min(partMost[i], 0xff); v++ {
			value := fmt.Sprintf(partFormat[i], v)
			if part.expr.MatchString(value) && !whole.MatchString(value) {
				surprise = append(surprise, value)
			}
		}
		if len(surprise) > 0 {
			notes = append(notes, fmt.Sprintf("address %s %q is matched at the start only, so it also matches %s; end it with $ to prevent that",
				partNames[i], part.source, several(surprise)))
		}
	}
	return notes
}

// several names values, at most two of them.
func several(values []string) string {
	if n := len(values); n > 2 {
		return fmt.Sprintf("%d values such as %s and %s", n, values[0], values[n-1])
	}
	return strings.Join(values, " and ")
}
