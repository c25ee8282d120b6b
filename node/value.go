package node

import (
	"fmt"
	"regexp"
	"strings"
)

// ParseBool reads a boolean as the API and its command lines write it: true and false, 0 and 1, and in any case t, true, y, yes, on, f, false,
// n, no, off.
func ParseBool(v any) (bool, error) {
	switch v := v.(type) {
	case bool:
		return v, nil
	case float64:
		if v == 0 || v == 1 {
			return v == 1, nil
		}
	case int:
		if v == 0 || v == 1 {
			return v == 1, nil
		}
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "1", "t", "true", "y", "yes", "on":
			return true, nil
		case "0", "f", "false", "n", "no", "off":
			return false, nil
		}
	}
	return false, fmt.Errorf("%v is not a boolean: use true or false", v)
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$`)

// IsUUID reports whether s has the form of a UUID, with or without hyphens (RFC 9562, section 4).
func IsUUID(s string) bool { return uuidForm.MatchString(s) }

var nameForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,255}$`)

var reservedNames = map[string]bool{
	"maintenance": true, "management": true, "states": true, "vendor_passthru": true, "detail": true, "validate": true,
}

// ValidName returns an error unless s may be a node's name: 1 to 255 unreserved characters of RFC 3986, not of the form of a UUID, and none of
// the words that are parts of the API's own paths.
func ValidName(s string) error {
	switch {
	case !nameForm.MatchString(s):
		return fmt.Errorf("name %q must be 1 to 255 characters of A-Z a-z 0-9 - . _ ~", s)
	case IsUUID(s):
		return fmt.Errorf("name %q has the form of a UUID", s)
	case reservedNames[s]:
		return fmt.Errorf("name %q is reserved: it is a part of the API's paths", s)
	}
	return nil
}
