package redfish

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

var properties = []driver.Property{
	{Key: "redfish_address", Description: "URL of the Redfish controller: scheme, host and port; https is assumed without a scheme. Required."},
	{Key: "redfish_system_id", Description: "Path of the ComputerSystem, e.g. /redfish/v1/Systems/1. Needed only when the controller has more than one."},
	{Key: "redfish_username", Description: "User name of an account at the controller."},
	{Key: "redfish_password", Description: "Password of that account."},
	{Key: "redfish_verify_ca", Description: "true (the default) to check the controller's certificate with the system's CAs, false not to check " +
		"it, or the path of a CA file or folder."},
	{Key: "redfish_auth_type", Description: "basic, session or auto (the default): a session, and basic when the controller offers no session."},
	{Key: "redfish_tls_minimum_version", Description: "1.2 (the default) or 1.3."},
	{Key: "redfish_tls_ciphers", Description: "Cipher suites for TLS 1.2, by their IANA names, separated by commas."},
	{Key: "firmware_update_unresponsive_bmc_wait", Description: "Seconds to wait for a controller that does not answer after its own update. Default 300."},
}

// settings are the driver_info keys of a node, checked. They are comparable, so that connections with equal settings share a session.
type settings struct {
	base     string // "https://bmc-1.example:8443"
	system   string // path, or empty for the only one
	username string
	password string
	auth     string // basic, session, auto
	tls      tlsSettings
}

type tlsSettings struct {
	verify  bool
	ca      string // path
	minimum uint16
	ciphers string // ids, separated by commas
}

// parse reads driver_info. The error names every fault.
func parse(info node.Object) (settings, error) {
	s := settings{auth: "auto", tls: tlsSettings{verify: true, minimum: tls.VersionTLS12}}
	var faults []string
	bad := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	text := func(key string) string {
		v, ok := info[key]
		if !ok || v == nil {
			return ""
		}
		t, ok := v.(string)
		if !ok {
			bad("%s must be a text", key)
		}
		return strings.TrimSpace(t)
	}
	base, err := parseAddress(text("redfish_address"))
	if err != nil {
		bad("%v", err)
	}
	s.base = base
	s.system = text("redfish_system_id")
	if s.system != "" && !strings.HasPrefix(s.system, "/") {
		s.system = "/redfish/v1/Systems/" + s.system
	}
	if s.system != "" && localPath(s.system) != nil {
		bad("redfish_system_id %q must be the path of a ComputerSystem below /redfish/", s.system)
	}
	s.system = strings.TrimSuffix(s.system, "/")
	s.username = text("redfish_username")
	if p, ok := info["redfish_password"].(string); ok {
		s.password = p
	} else if info["redfish_password"] != nil {
		bad("redfish_password must be a text")
	}
	if s.password != "" && s.username == "" {
		bad("redfish_password needs redfish_username")
	}
	if a := text("redfish_auth_type"); a != "" {
		s.auth = a
	}
	if !slices.Contains([]string{"basic", "session", "auto"}, s.auth) {
		bad("redfish_auth_type %q is not one of basic, session, auto", s.auth)
	}
	if s.auth != "auto" && s.username == "" {
		bad("redfish_auth_type %s needs redfish_username", s.auth)
	}
	faults = append(faults, s.tls.parse(info, text)...)
	if _, err := unresponsiveWait(info); err != nil {
		bad("%v", err)
	}
	if len(faults) > 0 {
		return settings{}, fault.New(fault.Invalid, "driver_info for driver redfish: %s", strings.Join(faults, "; "))
	}
	return s, nil
}

func parseAddress(raw string) (string, error) {
	if raw == "" {
		return "", fmt.Errorf("redfish_address is missing: it is the URL of the controller, e.g. https://192.0.2.1")
	}
	if !strings.Contains(raw, "://") {
		raw = "https://" + raw
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "", fmt.Errorf("redfish_address must be a URL with a host, e.g. https://192.0.2.1")
	case u.User != nil:
		return "", fmt.Errorf("redfish_address must not hold a user or password: use redfish_username and redfish_password")
	case u.Scheme != "https" && u.Scheme != "http":
		return "", fmt.Errorf("redfish_address has the scheme %q: use https, or http", u.Scheme)
	case u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("redfish_address must hold scheme, host and port alone")
	}
	if p := strings.TrimRight(u.Path, "/"); p != "" && p != "/redfish/v1" && p != "/redfish" {
		return "", fmt.Errorf("redfish_address must not hold a path: use redfish_system_id for the system")
	}
	return u.Scheme + "://" + u.Host, nil
}

func (t *tlsSettings) parse(info node.Object, text func(string) string) (faults []string) {
	if v, ok := info["redfish_verify_ca"]; ok && v != nil {
		if b, err := node.ParseBool(v); err == nil {
			t.verify = b
		} else if path, ok := v.(string); ok && path != "" {
			t.ca = path
		} else {
			faults = append(faults, "redfish_verify_ca must be true, false, or the path of a CA file or folder")
		}
	}
	switch v := text("redfish_tls_minimum_version"); v {
	case "", "1.2", "TLSv1.2":
	case "1.3", "TLSv1.3":
		t.minimum = tls.VersionTLS13
	default:
		faults = append(faults, fmt.Sprintf("redfish_tls_minimum_version %q is not one of 1.2, 1.3", v))
	}
	var ids []string
	for name := range strings.SplitSeq(text("redfish_tls_ciphers"), ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		i := slices.IndexFunc(tls.CipherSuites(), func(c *tls.CipherSuite) bool { return c.Name == name })
		if i < 0 {
			faults = append(faults, fmt.Sprintf("redfish_tls_ciphers: %q is not a cipher suite that is safe to use, e.g. "+
				"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", name))
			continue
		}
		ids = append(ids, fmt.Sprint(tls.CipherSuites()[i].ID))
	}
	t.ciphers = strings.Join(ids, ",")
	return faults
}

func unresponsiveWait(info node.Object) (seconds int, err error) {
	switch v := info["firmware_update_unresponsive_bmc_wait"].(type) {
	case nil:
		return 300, nil
	case int:
		seconds = v
	case float64:
		seconds = int(v)
	case string:
		if _, err := fmt.Sscanf(v, "%d", &seconds); err != nil {
			seconds = -1
		}
	default:
		seconds = -1
	}
	if seconds < 0 {
		return 0, fmt.Errorf("firmware_update_unresponsive_bmc_wait must be a number of seconds, 0 or more")
	}
	return seconds, nil
}

// localPath returns an error unless p is a plain path below /redfish/: controllers must not lead elsewhere.
func localPath(p string) error {
	u, err := url.Parse(p)
	switch {
	case err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.HasPrefix(p, "//") || !strings.HasPrefix(p, "/redfish/"):
		return fmt.Errorf("%q is not a path below /redfish/", clip(p, 80))
	case strings.Contains(u.Path, "/../") || strings.HasSuffix(u.Path, "/..") || strings.ContainsAny(p, "\r\n\x00\\"):
		return fmt.Errorf("%q is not a plain path", clip(p, 80))
	}
	return nil
}
