package ssh

import (
	"crypto/subtle"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

var properties = []driver.Property{
	{Key: "ssh_address", Description: "IP address or host name. Required."},
	{Key: "ssh_port", Description: "TCP port. Default 22."},
	{Key: "ssh_username", Description: "User name. Required."},
	{Key: "ssh_password", Description: "Password, unless a key is given."},
	{Key: "ssh_private_key", Description: "Private key in PEM form, without a passphrase."},
	{Key: "ssh_host_key", Description: `The machine's own key: its fingerprint ("SHA256:...") or the key as in known_hosts ("ssh-ed25519 AAAA..."). Required.`},
	{Key: "ssh_rshim", Description: "The rshim device on that machine through which its card is reached. Default rshim0."},
}

// settings are the driver_info keys of a node, checked.
type settings struct {
	host     string
	port     int
	username string
	password string
	signer   ssh.Signer
	hostKey  string // SHA256 fingerprint
	rshim    string
}

func (s *settings) endpoint() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

func (s *settings) address() string { return "ssh://" + s.endpoint() }

var (
	hostForm        = regexp.MustCompile(`^[0-9A-Za-z._:-]{1,255}$`)
	rshimForm       = regexp.MustCompile(`^rshim[0-9]{1,3}$`)
	fingerprintForm = regexp.MustCompile(`^SHA256:[0-9A-Za-z+/]{43}$`)
)

// parse reads driver_info. The error names every fault.
func parse(info node.Object) (*settings, error) {
	var faults []string
	bad := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	text := func(key string) string {
		switch v := info[key].(type) {
		case nil:
		case string:
			return v
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		case int:
			return strconv.Itoa(v)
		default:
			bad("%s must be a text", key)
		}
		return ""
	}
	s := &settings{host: strings.TrimSpace(text("ssh_address")), port: 22, username: text("ssh_username"), password: text("ssh_password"), rshim: "rshim0"}
	if !hostForm.MatchString(s.host) {
		bad("ssh_address is missing or wrong: it is an IP address or host name")
	}
	if port := text("ssh_port"); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			bad("ssh_port must be a number from 1 to 65535")
		}
		s.port = int(n)
	}
	if s.username == "" {
		bad("ssh_username is missing")
	}
	switch key := text("ssh_private_key"); {
	case key != "":
		signer, err := ssh.ParsePrivateKey([]byte(key))
		if err != nil {
			bad("ssh_private_key is no private key in PEM form without a passphrase")
		}
		s.signer = signer
	case s.password == "":
		bad("ssh_password or ssh_private_key is missing")
	}
	key, err := fingerprint(strings.TrimSpace(text("ssh_host_key")))
	if err != nil {
		bad("%v", err)
	}
	s.hostKey = key
	if r := text("ssh_rshim"); r != "" {
		if !rshimForm.MatchString(r) {
			bad("ssh_rshim must be a device such as rshim0")
		}
		s.rshim = r
	}
	if len(faults) > 0 {
		return nil, fault.New(fault.Invalid, "driver_info for driver ssh: %s", strings.Join(faults, "; "))
	}
	return s, nil
}

func fingerprint(text string) (string, error) {
	if fingerprintForm.MatchString(text) {
		return text, nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if text == "" || err != nil {
		return "", fmt.Errorf("ssh_host_key is missing or wrong: it is the machine's own key, as ssh-keyscan prints it, or its fingerprint, as " +
			"ssh-keygen -l prints it")
	}
	return ssh.FingerprintSHA256(key), nil
}

// trusted is the check of the machine's key.
func (s *settings) trusted(_ string, _ net.Addr, key ssh.PublicKey) error {
	if got := ssh.FingerprintSHA256(key); subtle.ConstantTimeCompare([]byte(got), []byte(s.hostKey)) != 1 {
		return fault.New(fault.Unauthorized, "%s showed the key %s, not the one in ssh_host_key; if the machine was installed anew, correct "+
			"ssh_host_key, else somebody else answers in its place",
			s.address(), got)
	}
	return nil
}
