package pci

import (
	"cmp"
	"fmt"
)

// Address is where a function sits: domain, bus, slot (called device by the PCI specification) and function.
// Addresses compare with ==, and can be map keys. The zero value is the valid address 0000:00:00.0.
type Address struct {
	Domain   uint32 // more than FFFF only behind controllers such as Intel VMD
	Bus      uint8
	Slot     uint8 // 0 to 1f
	Function uint8 // 0 to 7
}

// maxAddressLen is the length of an address whose domain needs all of its 32 bits.
const maxAddressLen = len("ffffffff:ff:1f.7")

// ParseAddress reads an address as Linux writes it, dddd:bb:ss.f, in hex digits of either case. The domain has four digits, or five
// to eight without a leading zero. Short forms without a domain are refused.
func ParseAddress(s string) (Address, error) {
	bad := func(why string) (Address, error) {
		return Address{}, fmt.Errorf("PCI address %q: %s; want dddd:bb:ss.f in hex, such as 0000:82:00.3", s, why)
	}
	n := len(s) - len(":bb:ss.f")
	if n < 4 || len(s) > maxAddressLen || s[n] != ':' || s[n+3] != ':' || s[n+6] != '.' {
		return bad("wrong form")
	}
	if n > 4 && s[0] == '0' {
		return bad("a domain of more than four digits has no leading zero")
	}
	domain, ok0 := hexValue(s[:n])
	bus, ok1 := hexValue(s[n+1 : n+3])
	slot, ok2 := hexValue(s[n+4 : n+6])
	function, ok3 := hexValue(s[n+7:])
	switch {
	case !ok0 || !ok1 || !ok2 || !ok3:
		return bad("not hex digits")
	case slot > maxSlot:
		return bad("slot is greater than 1f")
	case function > maxFunction:
		return bad("function is greater than 7")
	}
	return Address{Domain: domain, Bus: uint8(bus), Slot: uint8(slot), Function: uint8(function)}, nil
}

const (
	maxSlot     = 0x1f
	maxFunction = 7
)

// hexValue reads at most eight hex digits and nothing else.
func hexValue(s string) (uint32, bool) {
	var v uint32
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint32(c)
	}
	return v, true
}

// String returns the canonical form, lower-case dddd:bb:ss.f.
func (a Address) String() string {
	var buf [maxAddressLen]byte
	return string(a.append(buf[:0]))
}

const hexDigits = "0123456789abcdef"

func (a Address) append(b []byte) []byte {
	shift := 12
	for shift < 28 && a.Domain>>(shift+4) != 0 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[a.Domain>>shift&0xf])
	}
	return append(b, ':', hexDigits[a.Bus>>4], hexDigits[a.Bus&0xf], ':', hexDigits[a.Slot>>4], hexDigits[a.Slot&0xf], '.', hexDigits[a.Function&0xf])
}

// MarshalText writes the canonical form.
func (a Address) MarshalText() ([]byte, error) {
	return a.append(make([]byte, 0, maxAddressLen)), nil
}

// UnmarshalText reads what ParseAddress does.
func (a *Address) UnmarshalText(text []byte) error {
	v, err := ParseAddress(string(text))
	if err != nil {
		return err
	}
	*a = v
	return nil
}

// Compare orders addresses by domain, bus, slot and function. It returns -1, 0 or 1.
func (a Address) Compare(b Address) int {
	return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.RoutingID(), b.RoutingID()))
}

// RoutingID returns bus, slot and function as the 16 bits that SR-IOV computes with (PCIe 9.2.1.2).
func (a Address) RoutingID() uint16 {
	return uint16(a.Bus)<<8 | uint16(a.Slot)<<3 | uint16(a.Function)
}

// Offset returns the address whose routing ID is n further on in the same domain, which may be on a later bus. It reports false
// when that would leave the domain.
func (a Address) Offset(n int) (Address, bool) {
	id := int(a.RoutingID()) + n
	if id < 0 || id > 0xffff {
		return Address{}, false
	}
	return Address{Domain: a.Domain, Bus: uint8(id >> 8), Slot: uint8(id>>3) & maxSlot, Function: uint8(id) & maxFunction}, true
}
