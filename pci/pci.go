// Package pci models the PCI functions of one host: addresses, physical and virtual functions, the cards they sit on, the
// device_spec rules that say which of them may be handed out, and the inventory a host reports, held per physical function.
//
// Everything here is pure. What reads a machine is in pci/sysfs and pci/nodedev, what reads a card's Vital Product Data in pci/vpd.
package pci

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind says what sort of function a Function is.
type Kind uint8

// The kinds. Device is the zero value: a function without SR-IOV.
const (
	Device Kind = iota // a plain PCI function, written "pci"
	PF                 // a physical function with SR-IOV, written "pf"
	VF                 // a virtual function, written "vf"
	SF                 // a scalable function (subfunction), written "sf"
)

var kindNames = [...]string{"pci", "pf", "vf", "sf"}

// String returns "pci", "pf", "vf" or "sf".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// MarshalText writes the kind as String does, and refuses a value that is no kind.
func (k Kind) MarshalText() ([]byte, error) {
	if int(k) >= len(kindNames) {
		return nil, fmt.Errorf("%s is not a kind of PCI function", k)
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText reads "pci", "pf", "vf" or "sf".
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if string(text) == name {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a kind of PCI function: want one of %s", text, strings.Join(kindNames[:], ", "))
}

// ID is a PCI vendor or device (product) identifier. As text it is four lower-case hex digits.
type ID uint16

// ParseID reads one to four hex digits, with or without a leading 0x.
func ParseID(s string) (ID, error) {
	v, err := parseHex(s, 0xffff)
	if err != nil {
		return 0, fmt.Errorf("PCI identifier %q: %w", s, err)
	}
	return ID(v), nil
}

// String returns the identifier as four lower-case hex digits, such as "15b3".
func (id ID) String() string { return fmt.Sprintf("%04x", uint16(id)) }

// MarshalText writes the identifier as String does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what ParseID does.
func (id *ID) UnmarshalText(text []byte) error {
	v, err := ParseID(string(text))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// parseHex reads hex digits, with or without 0x, up to the value most.
func parseHex(s string, most uint64) (uint64, error) {
	digits := strings.TrimPrefix(s, "0x")
	v, err := strconv.ParseUint(digits, 16, 32)
	switch {
	case err != nil && isHex(digits):
		return 0, fmt.Errorf("is greater than the largest allowed value %X", most)
	case err != nil:
		return 0, fmt.Errorf("is not a hex number")
	case v > most:
		return 0, fmt.Errorf("is greater than the largest allowed value %X", most)
	}
	return v, nil
}

func isHex(s string) bool {
	for i := range len(s) {
		if !isHexDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
