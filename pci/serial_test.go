package pci_test

import (
	"strings"
	"testing"

	"github.com/riser-project/riser/pci"
)

func TestValidSerial(t *testing.T) {
	for _, tt := range []struct {
		name, in, err string
	}{
		{"a BlueField's serial number is valid", "MT2113X00042", ""},
		{"padding with blanks is ignored", "MT2313XZ0L2P            ", ""},
		{"padding with NUL is ignored", "AB\x00\x00", ""},
		{"punctuation that vendors use is valid", "s12/34-ab.c", ""},
		{"a single character can be a serial number", "7", ""},
		{"an empty text is no serial number", "", "empty"},
		{"blanks alone are empty", "  \t ", "empty"},
		{"NULs alone are empty", "\x00\x00", "empty"},
		{"N/A is a placeholder", "N/A", "placeholder"},
		{"n/a with blanks is a placeholder", " n/a ", "placeholder"},
		{"None is a placeholder", "None", "placeholder"},
		{"Default string is a placeholder", "Default string", "placeholder"},
		{"what the ERoT of a card says is a placeholder", "Unspecified Serial Number", "placeholder"},
		{"To Be Filled By O.E.M. is a placeholder", "To Be Filled By O.E.M.", "placeholder"},
		{"zeros are filler", "0000000000", "filler"},
		{"one zero is filler", "0", "filler"},
		{"an erased flash in text is filler", "FFFFFFFF", "filler"},
		{"dashes are filler", "----", "filler"},
		{"a comma would end an entry of ovn-cms-options", "MT1,MT2", "comma"},
		{"devlink would cut at the inner blank", "MT2113 X00042", "blank inside"},
		{"a control character is not printable", "MT\x012", "0x01"},
		{"bytes beyond ASCII are not printable", "S\xff1", "0xff"},
		{"an inner NUL is not printable", "A\x00B", "0x00"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := pci.ValidSerial(tt.in)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("ValidSerial(%q) = %v; want %q", tt.in, err, tt.err)
			}
		})
	}
}

func TestCardUUID(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"3c53d07eec484d8aab34dabd24fe575a", "3c53d07eec484d8aab34dabd24fe575a"},
		{"3C53D07E-EC48-4D8A-AB34-DABD24FE575A ", "3c53d07eec484d8aab34dabd24fe575a"},
		{"3c53d07eec484d8aab34dabd24fe575aa", "3c53d07eec484d8aab34dabd24fe575aa"},
		{"2.8.20", ""},
		{"", ""},
		{"00000000000000000000000000000000", ""},
		{"3c53d07eec484d8aab34dabd24fe575", ""},
		{"3c53d07eec484d8aab34dabd24fe575aaa", ""},
		{"gc53d07eec484d8aab34dabd24fe575a", ""},
	} {
		got, err := pci.CardUUID(tt.in)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("CardUUID(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

func TestSystemUUID(t *testing.T) {
	for in, want := range map[string]string{
		"4C4C4544-0038-3510-8052-B4C04F4E4B32\n": "4c4c4544-0038-3510-8052-b4c04f4e4b32",
		"":                                       "",
		"Not Settable":                           "",
		"00000000-0000-0000-0000-000000000000":   "",
		"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF":   "",
		"03000200-0400-0500-0006-000700080009":   "",
		"4c4c4544003835108052b4c04f4e4b32":       "",
		"4c4c45440-038-3510-8052-b4c04f4e4b32":   "",
	} {
		got, err := pci.SystemUUID(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("SystemUUID(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestIdentifyKeepsOnlyWhatNamesACard(t *testing.T) {
	got := pci.Identify("MT2113X00042   ", "3C53D07EEC484D8AAB34DABD24FE575A", "MBF2H332A-AEEOT ", " B1", "BlueField-2")
	want := pci.Identity{Serial: "MT2113X00042", UUID: "3c53d07eec484d8aab34dabd24fe575a", PartNumber: "MBF2H332A-AEEOT", EngineeringChange: "B1", Name: "BlueField-2"}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	got = pci.Identify("N/A", "2.8.20", "N/A", "N/A", "HP Ethernet")
	if got.Serial != "" || got.UUID != "" || !strings.Contains(got.Problem, `"N/A"`) {
		t.Errorf("junk became %+v", got)
	}
}
