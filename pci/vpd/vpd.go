// Package vpd reads and writes Vital Product Data, the little database on a PCI card that holds its part and serial number (PCI 2.2
// appendix I, PCIe 6.27).
//
// Parse accepts and rejects exactly what libvirt does, so that riser and an OpenStack compute service know the same cards. ParseLenient
// reads what can be read and says what it forgave; it is for people, not for identity: bytes whose checksum is wrong name no card.
package vpd

import (
	"fmt"
	"strings"

	"github.com/riser-project/riser/pci"
)

// Space is the size of the VPD address space in bytes. What lies beyond is never read.
const Space = 1 << 15

// VPD is the content of a card's Vital Product Data.
type VPD struct {
	// Name is the identifier string, trimmed.
	Name string
	// Fields are the fields of VPD-R and VPD-W in their order, without RV and RW.
	Fields []Field
	// Free is how many bytes RW says are left in VPD-W.
	Free int
}

// Section is the part of a VPD that a field is in.
type Section uint8

// The sections.
const (
	ReadOnly  Section = iota // VPD-R
	ReadWrite                // VPD-W
)

// String returns "VPD-R" or "VPD-W".
func (s Section) String() string {
	if s == ReadOnly {
		return "VPD-R"
	}
	return "VPD-W"
}

// Keyword names a field: two characters, by the specification of 0-9 and A-Z.
type Keyword [2]byte

// Keywords of the specification. Vendor-specific ones are V0 to VZ, system-specific ones Y0 to YZ without YA.
var (
	PartNumber        = Keyword{'P', 'N'}
	EngineeringChange = Keyword{'E', 'C'}
	ManufactureID     = Keyword{'M', 'N'}
	SerialNumber      = Keyword{'S', 'N'}
	AssetTag          = Keyword{'Y', 'A'} // in VPD-W
	Capability        = Keyword{'C', 'P'} // binary

	checksum  = Keyword{'R', 'V'}
	remaining = Keyword{'R', 'W'}
)

// String returns the keyword's two characters, quoted where they are not printable.
func (k Keyword) String() string {
	if printable(k[:]) {
		return string(k[:])
	}
	return fmt.Sprintf("%q", string(k[:]))
}

// isText tells whether the keyword's value is text: those of the specification but CP. The legacy FG, LC and PG are none.
func (k Keyword) isText() bool {
	switch k {
	case PartNumber, EngineeringChange, ManufactureID, SerialNumber:
		return true
	}
	return (k[0] == 'V' || k[0] == 'Y') && alphanumeric(k[1])
}

func alphanumeric(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' }

// Field is one keyword with its value.
type Field struct {
	Section Section
	Keyword Keyword
	// Text is true for printable text of a keyword that has text. Value is then trimmed, and ends before the first NUL.
	// Else Value holds the bytes as they are.
	Text  bool
	Value string
}

// Text returns the value of a text field, and whether there is one. Of a repeated keyword the last counts, as in libvirt; values that
// are not printable are passed over.
func (v *VPD) Text(s Section, k Keyword) (string, bool) {
	for i := len(v.Fields) - 1; i >= 0; i-- {
		if f := &v.Fields[i]; f.Text && f.Section == s && f.Keyword == k {
			return f.Value, true
		}
	}
	return "", false
}

func (v *VPD) text(s Section, k Keyword) string {
	value, _ := v.Text(s, k)
	return value
}

// SerialNumber returns SN of VPD-R, or an empty text. It may be a placeholder; Identity knows.
func (v *VPD) SerialNumber() string { return v.text(ReadOnly, SerialNumber) }

// PartNumber returns PN of VPD-R, or an empty text.
func (v *VPD) PartNumber() string { return v.text(ReadOnly, PartNumber) }

// EngineeringChange returns EC of VPD-R, or an empty text.
func (v *VPD) EngineeringChange() string { return v.text(ReadOnly, EngineeringChange) }

// ManufactureID returns MN of VPD-R, or an empty text.
func (v *VPD) ManufactureID() string { return v.text(ReadOnly, ManufactureID) }

// Vendor returns the vendor-specific field Vx of VPD-R, or an empty text. x is '0' to '9' or 'A' to 'Z'.
func (v *VPD) Vendor(x byte) string { return v.text(ReadOnly, Keyword{'V', x}) }

// AssetTag returns YA of VPD-W, or an empty text.
func (v *VPD) AssetTag() string { return v.text(ReadWrite, AssetTag) }

// System returns the system-specific field Yx of VPD-W, or an empty text. x is '0' to '9' or 'B' to 'Z'.
func (v *VPD) System(x byte) string { return v.text(ReadWrite, Keyword{'Y', x}) }

// UUID returns the card's UUID in the form of pci.CardUUID, or an empty text. It is in V3, unless a map of the vendor fields in VA, such
// as "MLX:MN=MLNX:CSKU=V2:UUID=V3:PCI=V0", points elsewhere.
func (v *VPD) UUID() string {
	where := byte('3')
	if list, ok := strings.CutPrefix(v.Vendor('A'), "MLX:"); ok {
		for entry := range strings.SplitSeq(list, ":") {
			if field, ok := strings.CutPrefix(entry, "UUID=V"); ok && len(field) == 1 {
				where = field[0]
			}
		}
	}
	uuid, err := pci.CardUUID(v.Vendor(where))
	if err != nil {
		return ""
	}
	return uuid
}

// Identity returns what the VPD says about its card: the serial number only if it may name a card, else why not.
func (v *VPD) Identity() pci.Identity {
	return pci.Identify(v.SerialNumber(), v.UUID(), v.PartNumber(), v.EngineeringChange(), v.Name)
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
