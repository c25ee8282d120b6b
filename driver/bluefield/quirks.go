package bluefield

import (
	"fmt"
	"slices"
	"strings"
)

// version is that of a card's controller: "BF-24.10-10" is 24, 10, 10. The zero version is not known.
type version [3]int

// parseVersion reads the version in a text such as "BF-24.10-10" or "bf-23.10-5.lts". Missing parts are 0.
func parseVersion(text string) version {
	var v version
	i := strings.IndexAny(text, "0123456789")
	if i < 0 {
		return v
	}
	_, _ = fmt.Sscanf(strings.ReplaceAll(text[i:], "-", "."), "%d.%d.%d", &v[0], &v[1], &v[2]) // as much as there is
	return v
}

func (v version) before(w version) bool { return slices.Compare(v[:], w[:]) < 0 }

func (v version) known() bool { return v != version{} }

func (v version) String() string { return fmt.Sprintf("BF-%02d.%02d-%d", v[0], v[1], v[2]) }

// quirk is something that controllers of certain versions do.
type quirk int

const (
	noModeReading    quirk = iota // the mode cannot be read
	oemHangsInNIC                 // the vendor's part of the system does not answer in NIC mode
	biosBrokenInNIC               // the BIOS resource answers 500 in NIC mode
	scpOnly                       // images are fetched by SCP alone
	noHTTPS                       // and never by HTTPS
	blanksInNames                 // BIOS attribute names have blanks: "Host Privilege Level"
	attributesVanish              // BIOS attributes are missing until the UEFI is updated too
)

// quirks is the table: a controller has a quirk from one version, if there is a lower bound, until another that no longer has it.
var quirks = []struct {
	quirk    quirk
	from, to version // to is the first without it; zero for no bound
	tell     string
}{
	{noModeReading, version{}, version{23, 10, 5}, "the mode cannot be read before BF-23.10-5"},
	{oemHangsInNIC, version{24, 4, 5}, version{24, 4, 6}, "BF-24.04-5 does not answer for its mode in NIC mode"},
	{biosBrokenInNIC, version{}, version{24, 7, 14}, "BIOS settings cannot be read in NIC mode before BF-24.07-14"},
	{scpOnly, version{}, version{24, 7, 0}, "images are fetched by SCP alone before BF-24.07"},
	{noHTTPS, version{}, version{24, 7, 0}, "images are not fetched by HTTPS before BF-24.07"},
	{blanksInNames, version{}, version{24, 10, 0}, "BIOS attribute names have blanks before BF-24.10"},
	{attributesVanish, version{25, 10, 20}, version{}, "BIOS attributes may be missing from BF-25.10-20 on until the UEFI is as new as the controller"},
}

// has reports whether a controller of version v has the quirk, and how to tell it. A version that is not known has none.
func (v version) has(q quirk) (string, bool) {
	if !v.known() {
		return "", false
	}
	for _, row := range quirks {
		if row.quirk == q && !v.before(row.from) && (!row.to.known() || v.before(row.to)) {
			return row.tell, true
		}
	}
	return "", false
}

// family is a generation of cards, with what differs between them.
type family struct {
	generation int
	models     []string // parts of Model that name the generation, lower case
	chassis    []string // that may hold the card's serial and part number, best first
	modeAction bool     // the mode is set by an action of the vendor's part; else by a BIOS attribute
	image      []string // parts of an image's name that are for another generation
}

var families = []family{
	{generation: 2, models: []string{"bluefield-2", "bluefield 2", "mbf2"}, chassis: []string{"Card1", "Bluefield_BMC"},
		image: []string{"bf3", "bf4", "bluefield3", "bluefield4"}},
	{generation: 3, models: []string{"bluefield-3", "bluefield 3", "900-9d3"}, chassis: []string{"Card1", "Bluefield_BMC"}, modeAction: true,
		image: []string{"bf2", "bf4", "bluefield2", "bluefield4"}},
	{generation: 4, models: []string{"bluefield-4", "bluefield 4"}, chassis: []string{"BlueField_0", "BlueField_BMC_0", "Bluefield_BMC"},
		image: []string{"bf2", "bf3", "bluefield2", "bluefield3"}},
}

// familyOf finds the family by what the card says of itself; nil when it says nothing that is known.
func familyOf(chassisIDs []string, words ...string) *family {
	for i := range families {
		for _, word := range words {
			for _, model := range families[i].models {
				if strings.Contains(strings.ToLower(word), model) {
					return &families[i]
				}
			}
		}
	}
	if slices.ContainsFunc(chassisIDs, func(id string) bool { return strings.HasPrefix(id, "BlueField_") }) {
		return &families[2]
	}
	return nil
}
