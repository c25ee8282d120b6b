package node

import (
	"fmt"
	"regexp"
)

// MaxTraits is the number of traits a node may have.
const MaxTraits = 50

// CustomTrait is the form of a trait that operators make up.
var CustomTrait = regexp.MustCompile(`^CUSTOM_[A-Z0-9_]+$`)

// standardTrait is the form of the names in the os-traits catalogue: a known first word, and more words of capitals and digits.
var standardTrait = regexp.MustCompile(`^(COMPUTE|HW|STORAGE|MISC|OWNER|HOST|SRIOV|COMMON|HYPERV|VMWARE)_[A-Z0-9_]+$`)

// ValidTrait returns an error unless s may be a trait: CUSTOM_ and capitals, digits or underscores, or a name of the form of the os-traits
// catalogue; 255 characters at most.
func ValidTrait(s string) error {
	if len(s) <= 255 && (CustomTrait.MatchString(s) || standardTrait.MatchString(s)) {
		return nil
	}
	return fmt.Errorf("%q is not a trait: use CUSTOM_ and capital letters, digits and _, or a name of the os-traits catalogue", s)
}
