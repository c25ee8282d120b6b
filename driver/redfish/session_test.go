package redfish_test

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
)

func TestConnectionsToOneControllerShareASession(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	d := newDriver()
	var conns []*redfish.Conn
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			c, err := d.Connect(t.Context(), nodeOf(m, nil))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, c)
		})
	}
	group.Wait()
	if n := m.Controller.Sessions(); n != 1 {
		t.Errorf("%d sessions for %d connections", n, len(conns))
	}
	for _, c := range conns {
		if _, err := c.PowerState(t.Context()); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
	if n := m.Controller.Sessions(); n != 0 {
		t.Errorf("%d sessions after the last connection", n)
	}
}

func TestASessionLingers(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	d := redfish.New(redfish.Options{Linger: time.Hour})
	for range 50 {
		c, err := d.Connect(t.Context(), nodeOf(m, nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.PowerState(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	if n := len(m.Controller.Requests()); n > 50+3 {
		t.Errorf("%d requests for 50 readings", n)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if n := m.Controller.Sessions(); n != 0 {
		t.Errorf("%d sessions after the driver's end", n)
	}
}

func TestRestartsOfTheProcessDoNotLockOutAControllerWithFourSessions(t *testing.T) {
	m := server(t, bmc.Options{Sessions: 4}).Host
	for i := range 100 {
		c, err := newDriver().Connect(t.Context(), nodeOf(m, nil)) // never closed, as by kill -9
		if err != nil {
			t.Fatalf("start %d: %v", i+1, err)
		}
		if err := c.SetBootDevice(t.Context(), "pxe", false); err != nil {
			t.Fatalf("start %d: %v", i+1, err)
		}
	}
	if n := m.Controller.Sessions(); n > 4 {
		t.Errorf("%d sessions", n)
	}
}

func TestSessionAloneSaysWhenThereIsNone(t *testing.T) {
	tests := map[string]struct {
		lie  string
		says string
	}{
		"left":  {"session-full", "sessions exceeding the limit"},
		"token": {"no-token", "set redfish_auth_type to basic"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := server(t, bmc.Options{}).Host
			if err := m.Controller.Tell(tt.lie); err != nil {
				t.Fatal(err)
			}
			_, err := newDriver().Connect(t.Context(), nodeOf(m, node.Object{"redfish_auth_type": "session"}))
			if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestBasicAuthenticationOpensNoSession(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := connect(t, newDriver(), nodeOf(m, node.Object{"redfish_auth_type": "basic"}))
	if _, err := c.PowerState(t.Context()); err != nil {
		t.Error(err)
	}
	for _, r := range m.Controller.Requests() {
		if r.Method == http.MethodPost {
			t.Errorf("the controller received %s %s", r.Method, r.Path)
		}
	}
}

func TestTLS(t *testing.T) {
	m := server(t, bmc.Options{TLS: true}).Host
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	other := filepath.Join(t.TempDir(), "other.pem")
	err := errors.Join(os.WriteFile(ca, m.Controller.Cert, 0o600), os.WriteFile(other, server(t, bmc.Options{TLS: true}).Host.Controller.Cert, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		verify any
		says   string // empty when the connection is made
	}{
		"the CA's file":         {ca, ""},
		"a folder with it":      {dir, ""},
		"no check":              {false, ""},
		"no check, as text":     {"false", ""},
		"the system's CAs":      {true, "its certificate cannot be trusted"},
		"by default":            {nil, "its certificate cannot be trusted"},
		"another CA":            {other, "its certificate cannot be trusted"},
		"a file that is none":   {"/dev/null", "holds no certificate in PEM form"},
		"a file there is not":   {filepath.Join(dir, "x"), "cannot be read"},
		"an endless file":       {"/dev/zero", "holds no certificate in PEM form"},
		"a folder without a CA": {t.TempDir(), "holds no certificate in PEM form"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := newDriver().Connect(t.Context(), nodeOf(m, node.Object{"redfish_verify_ca": tt.verify, "redfish_tls_minimum_version": "1.3"}))
			if err == nil {
				defer func() { _ = c.Close() }()
			}
			if tt.says == "" && err != nil || tt.says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
	for _, r := range m.Controller.Requests() {
		if r.Status == http.StatusUnauthorized {
			t.Errorf("%s %s was sent without trust", r.Method, r.Path)
		}
	}
}

func TestAddressesThatMayNotBeDialled(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	only := redfish.New(redfish.Options{Allow: func(a netip.AddrPort) error {
		return fault.New(fault.Forbidden, "address %s is not in the networks of management controllers", a.Addr())
	}})
	if _, err := only.Open(t.Context(), nodeOf(m, nil)); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), "is not in the networks") {
		t.Errorf("%v", err)
	}
	if n := len(m.Controller.Requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
	for _, address := range []string{"http://169.254.169.254", "http://[fe80::1]", "http://0.0.0.0", "http://224.0.0.1", "http://[::ffff:169.254.1.1]"} {
		if _, err := newDriver().Open(t.Context(), nodeOf(m, node.Object{"redfish_address": address})); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAControllerThatIsNotThereIsNamed(t *testing.T) {
	s := server(t, bmc.Options{})
	n := nodeOf(s.Host, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := newDriver().Open(t.Context(), n)
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), s.Host.Controller.URL+" cannot be reached: connection refused; check redfish_address") {
		t.Errorf("%v", err)
	}
}
