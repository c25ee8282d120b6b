package pci

import (
	"errors"
	"fmt"
	"strings"
)

// blanks are what pads serial numbers in the field: VPD and Redfish fill up with blanks, VPD also with NUL.
const blanks = " \t\r\n\f\x00"

// TrimSerial removes the padding around a serial number: blanks and NULs.
func TrimSerial(s string) string { return strings.Trim(s, blanks) }

// placeholders are texts that firmware writes where it has no serial number, in lower case.
var placeholders = map[string]bool{
	"n/a": true, "na": true, "none": true, "null": true, "nil": true, "unknown": true, "unspecified": true,
	"default": true, "default string": true, "to be filled by o.e.m.": true, "to be filled by oem": true,
	"not specified": true, "not available": true, "not applicable": true, "not present": true,
	"serial number": true, "unspecified serial number": true, "system serial number": true, "chassis serial number": true,
	"0123456789": true, "123456789": true, "1234567890": true,
}

// fillers are characters of which a serial number never consists alone.
const fillers = "0fFxX-._*#?"

// ValidSerial says whether a card's serial number may name the card. Padding around it is ignored, see TrimSerial. The error says
// why not: it is empty, a placeholder, filler such as zeros, or has a character that some reader of it would stumble over:
// a comma separates the entries of OVN's ovn-cms-options, and the kernel's devlink cuts a serial number at the first blank.
func ValidSerial(s string) error {
	s = TrimSerial(s)
	switch {
	case s == "":
		return errors.New("the serial number is empty")
	case placeholders[strings.ToLower(s)]:
		return fmt.Errorf("serial number %q is a placeholder", s)
	case strings.IndexByte(fillers, s[0]) >= 0 && strings.Count(s, s[:1]) == len(s):
		return fmt.Errorf("serial number %q is only filler", s)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == ',':
			return fmt.Errorf("serial number %q has a comma", s)
		case c == ' ':
			return fmt.Errorf("serial number %q has a blank inside", s)
		case c < ' ' || c > '~':
			return fmt.Errorf("serial number %q has the byte %#02x, which is not printable ASCII", s, c)
		}
	}
	return nil
}

// CardUUID returns the canonical form of a card's UUID, the second key of a card beside its serial number: lower-case hex digits
// without dashes. BlueField cards keep it in the VPD field V3, and the kernel's devlink shows it as serial_number. It has 32 digits;
// 33 occur in the field and are kept. The error says why the text is no UUID.
func CardUUID(s string) (string, error) {
	u := strings.ToLower(strings.ReplaceAll(TrimSerial(s), "-", ""))
	switch {
	case u == "":
		return "", errors.New("the UUID is empty")
	case !isHex(u) || len(u) < 32 || len(u) > 33:
		return "", fmt.Errorf("UUID %q: want 32 hex digits", s)
	case strings.Count(u, u[:1]) == len(u):
		return "", fmt.Errorf("UUID %q is only filler", s)
	}
	return u, nil
}

// Identity is what Vital Product Data says about the card that a function is on.
type Identity struct {
	// Serial is the card's serial number. It is valid by ValidSerial, or empty, and then Problem says why.
	Serial string `json:"serial,omitempty"`
	// UUID is the card's UUID in the form of CardUUID, or empty.
	UUID              string `json:"uuid,omitempty"`
	PartNumber        string `json:"part_number,omitempty"`
	EngineeringChange string `json:"engineering_change,omitempty"`
	// Name is the identifier string, the card's marketing name.
	Name string `json:"name,omitempty"`
	// Problem says why there is no serial number, for a person to read. It is empty when there is one.
	Problem string `json:"problem,omitempty"`
}

// Identify makes an Identity of the texts found: it trims them, and keeps a serial number and a UUID only if they are valid.
func Identify(serial, uuid, partNumber, engineeringChange, name string) Identity {
	id := Identity{
		Serial:            TrimSerial(serial),
		PartNumber:        TrimSerial(partNumber),
		EngineeringChange: TrimSerial(engineeringChange),
		Name:              TrimSerial(name),
	}
	if err := ValidSerial(serial); err != nil {
		id.Serial, id.Problem = "", err.Error()
	}
	if u, err := CardUUID(uuid); err == nil {
		id.UUID = u
	}
	return id
}

// sampleSystemUUID is what many boards carry that were never given a UUID.
const sampleSystemUUID = "03000200-0400-0500-0006-000700080009"

// SystemUUID returns the canonical form of a machine's SMBIOS UUID (DSP0134 7.2.1): lower-case hex digits in groups of 8-4-4-4-12.
// The error says why the text names no machine.
func SystemUUID(s string) (string, error) {
	u := strings.ToLower(TrimSerial(s))
	if u == "" {
		return "", errors.New("the system UUID is empty")
	}
	digits := strings.ReplaceAll(u, "-", "")
	if len(u) != len(sampleSystemUUID) || len(digits) != 32 || !isHex(digits) || u[8] != '-' || u[13] != '-' || u[18] != '-' || u[23] != '-' {
		return "", fmt.Errorf("system UUID %q: want hex digits in groups of 8-4-4-4-12", s)
	}
	if strings.Count(digits, digits[:1]) == len(digits) || u == sampleSystemUUID {
		return "", fmt.Errorf("system UUID %q is a placeholder", s)
	}
	return u, nil
}
