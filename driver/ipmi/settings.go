package ipmi

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/bougou/go-ipmi/pkg/types"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

var properties = []driver.Property{
	{Key: "ipmi_address", Description: "IP address or host name of the controller. Required."},
	{Key: "ipmi_username", Description: "User name; at most 16 characters. Without one, the null user."},
	{Key: "ipmi_password", Description: "Password; at most 20 characters."},
	{Key: "ipmi_port", Description: "UDP port. Default 623."},
	{Key: "ipmi_priv_level", Description: "Privilege level of the session: ADMINISTRATOR (the default), OPERATOR, USER or CALLBACK."},
	{Key: "ipmi_cipher_suite", Description: "Cipher suite: 3, 8, 12 or 17. Without it 17, and 3 where the controller lacks 17."},
	{Key: "ipmi_protocol_version", Description: "2.0. Version 1.5 sends commands in the clear and is not supported."},
	{Key: "ipmi_bridging", Description: "no. Bridged controllers are not supported."},
	{Key: "ipmi_force_boot_device", Description: "true when the controller forgets its boot device at each boot. It is set before each boot then."},
	{Key: "ipmi_disable_boot_timeout", Description: "true (the default) to have the controller keep a boot device for longer than 60 s."},
	{Key: "ipmi_hardware_profile", Description: "Whose raw commands the machine may be sent: generic (the default), bluefield, or one of --allow-raw."},
	{Key: "ipmi_terminal_port", Description: "Accepted for compatibility: consoles need no port."},
}

// settings are the driver_info keys of a node, checked. They are comparable, so that connections with equal settings share a session.
type settings struct {
	host      string
	port      int
	username  string
	password  string
	privilege types.PrivilegeLevel
	suite     types.CipherSuiteID // 0 for the default
	keepBoot  bool
	profile   string // whose raw commands may be sent
}

// The suites that authenticate, protect and encrypt what is sent (IPMI 2.0, table 22-20). All others are refused.
var suites = map[string]types.CipherSuiteID{"3": types.CipherSuiteID3, "8": types.CipherSuiteID8, "12": types.CipherSuiteID12, "17": types.CipherSuiteID17}

var privileges = map[string]types.PrivilegeLevel{
	"CALLBACK": types.PrivilegeLevelCallback, "USER": types.PrivilegeLevelUser, "OPERATOR": types.PrivilegeLevelOperator, "ADMINISTRATOR": types.PrivilegeLevelAdministrator,
}

// address is how texts name the controller.
func (s settings) address() string { return "ipmi://" + net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

// parse reads driver_info. The error names every fault.
func (d *Driver) parse(info node.Object) (settings, error) {
	r := reader{info: info}
	s := settings{host: r.text("ipmi_address"), port: 623, username: r.text("ipmi_username"), privilege: types.PrivilegeLevelAdministrator, keepBoot: true, profile: driver.GenericRaw}
	if s.host == "" {
		r.bad("ipmi_address is missing: it is the IP address or host name of the controller")
	} else if _, err := netip.ParseAddr(s.host); err != nil && strings.ContainsAny(s.host, "/:@? \t\r\n") {
		r.bad("ipmi_address must be an IP address or host name, without port: use ipmi_port for that")
	}
	if port := r.text("ipmi_port"); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			r.bad("ipmi_port must be a number from 1 to 65535")
		}
		s.port = int(n)
	}
	s.password = r.secret("ipmi_password")
	if len(s.username) > 16 {
		r.bad("ipmi_username is longer than 16 characters")
	}
	if len(s.password) > 20 {
		r.bad("ipmi_password is longer than 20 characters")
	}
	if level := strings.ToUpper(r.text("ipmi_priv_level")); level != "" {
		p, ok := privileges[level]
		if !ok {
			r.bad("ipmi_priv_level is not one of ADMINISTRATOR, OPERATOR, USER, CALLBACK")
		}
		s.privilege = p
	}
	if suite := r.text("ipmi_cipher_suite"); suite != "" {
		id, ok := suites[suite]
		if !ok {
			r.bad("ipmi_cipher_suite %s is not one of 3, 8, 12, 17: other suites do not authenticate, protect and encrypt what is sent", suite)
		}
		s.suite = id
	}
	if v := r.text("ipmi_protocol_version"); v != "" && v != "2.0" {
		r.bad("ipmi_protocol_version must be 2.0: version 1.5 sends commands in the clear and is not supported")
	}
	if v := r.text("ipmi_bridging"); v != "" && v != "no" {
		r.bad("ipmi_bridging must be no: bridged controllers are not supported")
	}
	if info["ipmi_hex_kg_key"] != nil {
		r.bad("ipmi_hex_kg_key is not supported: use a controller without a BMC key")
	}
	if profile := r.text("ipmi_hardware_profile"); profile != "" {
		if known := d.raw.Profiles(); !slices.Contains(known, profile) {
			r.bad("ipmi_hardware_profile is not one of %s; an operator makes another with --allow-raw", strings.Join(known, ", "))
		}
		s.profile = profile
	}
	r.flag("ipmi_force_boot_device", new(bool))
	r.flag("ipmi_disable_boot_timeout", &s.keepBoot)
	if len(r.faults) > 0 {
		return settings{}, fault.New(fault.Invalid, "driver_info for driver ipmi: %s", strings.Join(r.faults, "; "))
	}
	return s, nil
}

// reader reads values of driver_info and gathers their faults.
type reader struct {
	info   node.Object
	faults []string
}

func (r *reader) bad(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// text returns a text or a whole number.
func (r *reader) text(key string) string {
	switch v := r.info[key].(type) {
	case nil:
		return ""
	case string:
		return strings.TrimSpace(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int:
		return strconv.Itoa(v)
	}
	r.bad("%s must be a text", key)
	return ""
}

func (r *reader) secret(key string) string {
	switch v := r.info[key].(type) {
	case nil:
	case string:
		return v
	default:
		r.bad("%s must be a text", key)
	}
	return ""
}

func (r *reader) flag(key string, to *bool) {
	v, ok := r.info[key]
	if !ok || v == nil {
		return
	}
	b, err := node.ParseBool(v)
	if err != nil {
		r.bad("%s must be true or false", key)
		return
	}
	*to = b
}
