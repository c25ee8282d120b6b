package redfish_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/drivertest"
	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
)

const password = "S3cret-of-the-BMC"

// server starts a simulated server that is on, with two cards.
func server(t *testing.T, o bmc.Options) *bmc.Server {
	t.Helper()
	o.On, o.Password = true, password
	if o.Cards == 0 {
		o.Cards = 2
	}
	s, err := bmc.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func nodeOf(m *bmc.Machine, more node.Object) *node.Node {
	info := node.Object{"redfish_address": m.Controller.URL, "redfish_username": "root", "redfish_password": password}
	for k, v := range more {
		info[k] = v
	}
	return &node.Node{UUID: "6a2f5ad1-0d9c-4f9e-9a4e-7d7f7c1f0001", DriverInfo: info}
}

// newDriver is patient: the machine that runs the tests may be busy.
func newDriver() *redfish.Driver {
	return redfish.New(redfish.Options{ReadTimeout: 10 * time.Second, SendTimeout: 10 * time.Second, Poll: 5 * time.Millisecond})
}

// impatient is for controllers that never answer.
func impatient() *redfish.Driver {
	return redfish.New(redfish.Options{ReadTimeout: time.Second, SendTimeout: 800 * time.Millisecond, Poll: 5 * time.Millisecond})
}

func connect(t *testing.T, d *redfish.Driver, n *node.Node) *redfish.Conn {
	t.Helper()
	c, err := d.Connect(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestContract(t *testing.T) {
	for name, pick := range map[string]func(*bmc.Server) *bmc.Machine{
		"host": func(s *bmc.Server) *bmc.Machine { return s.Host },
		"card": func(s *bmc.Server) *bmc.Machine { return s.Cards[0] },
	} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, newDriver(), func(t *testing.T) drivertest.Machine {
				m := pick(server(t, bmc.Options{}))
				logins := func() (n int) {
					for _, r := range m.Controller.Requests() {
						if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/Sessions") || r.Status == http.StatusUnauthorized {
							n++
						}
					}
					return n
				}
				return drivertest.Machine{
					Node: nodeOf(m, nil), Secret: password,
					Sent:   func() int { return len(m.Controller.Changes()) },
					Hang:   func() { _ = m.Controller.Tell("hang") },
					Wrong:  func() *node.Node { return nodeOf(m, node.Object{"redfish_password": password + "x"}) },
					Logins: logins,
					Open:   m.Controller.Sessions,
				}
			})
		})
	}
}

func TestIdentity(t *testing.T) {
	s := server(t, bmc.Options{Number: 3})
	d := newDriver()
	host, err := connect(t, d, nodeOf(s.Host, nil)).Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := driver.Identity{
		SystemUUID: s.Host.UUID, Manufacturer: s.Host.Manufacturer, Model: s.Host.Model, Serial: s.Host.Serial, PartNumber: s.Host.PartNumber,
		CardSerials: []string{s.Cards[0].Serial, s.Cards[1].Serial},
	}
	if d := cmp.Diff(want, host); d != "" {
		t.Errorf("host (-want +got):\n%s", d)
	}
	card, err := connect(t, d, nodeOf(s.Cards[1], nil)).Identity(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := s.Cards[1]
	if d := cmp.Diff(driver.Identity{Manufacturer: c.Manufacturer, Model: c.Model, Serial: c.Serial, PartNumber: c.PartNumber, BaseMAC: c.BaseMAC}, card); d != "" {
		t.Errorf("card (-want +got):\n%s", d)
	}
}

func TestNoLayerSendsACommandAgain(t *testing.T) {
	for _, lie := range []string{"lost-answer", "lost-request", "hang-on-reset"} {
		t.Run(lie, func(t *testing.T) {
			s := server(t, bmc.Options{})
			d := newDriver()
			if lie == "hang-on-reset" {
				d = impatient()
			}
			c := connect(t, d, nodeOf(s.Host, nil))
			if _, err := c.PowerState(t.Context()); err != nil { // leaves a connection that could be used again
				t.Fatal(err)
			}
			if err := s.Host.Controller.Tell(lie); err != nil {
				t.Fatal(err)
			}
			const commands = 50
			for range commands {
				if err := c.SendPower(t.Context(), driver.ForceRestart); !fault.Is(err, fault.Timeout) {
					t.Fatalf("%v, want a time-out: the outcome is unknown", err)
				}
				if lie == "hang-on-reset" {
					break // each takes the whole time limit
				}
			}
			posts, want := len(s.Host.Controller.Changes()), commands
			if lie == "hang-on-reset" {
				want = 1
			}
			if posts != want {
				t.Errorf("%d commands were received as %d requests", want, posts)
			}
		})
	}
}

func TestSetBootDevice(t *testing.T) {
	for name, pick := range map[string]func(*bmc.Server) *bmc.Machine{
		"of a host": func(s *bmc.Server) *bmc.Machine { return s.Host },
		"of a card": func(s *bmc.Server) *bmc.Machine { return s.Cards[0] },
	} {
		for _, lie := range []string{"", "etag-required", "settings-only", "nested-allowable", "session-forgotten", "no-token", "no-sessions", "session-full"} {
			t.Run(name+" "+lie, func(t *testing.T) {
				m := pick(server(t, bmc.Options{}))
				if lie != "" {
					if err := m.Controller.Tell(lie); err != nil {
						t.Fatal(err)
					}
				}
				c := connect(t, newDriver(), nodeOf(m, nil))
				if err := c.SetBootDevice(t.Context(), "pxe", true); err != nil {
					t.Fatal(err)
				}
				if device, persistent, err := c.BootDevice(t.Context()); err != nil || device != "pxe" || !persistent {
					t.Errorf("boot device %q, persistent %v, %v", device, persistent, err)
				}
				if err := c.SetBootDevice(t.Context(), "tape", false); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "Invalid boot device tape specified.") {
					t.Errorf("tape: %v", err)
				}
			})
		}
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	d := newDriver()
	tests := map[string]struct {
		info node.Object
		want []string // parts of the error; none means valid
	}{
		"an address alone":             {info: node.Object{"redfish_address": "bmc-1.example:8443"}},
		"all keys":                     {info: node.Object{"redfish_address": "https://[2001:db8::1]/", "redfish_system_id": "/redfish/v1/Systems/1", "redfish_username": "u", "redfish_password": "p", "redfish_verify_ca": "/etc/ssl/ca.pem", "redfish_auth_type": "session", "redfish_tls_minimum_version": "1.3", "redfish_tls_ciphers": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "firmware_update_unresponsive_bmc_wait": "60"}},
		"nothing":                      {info: nil, want: []string{"redfish_address is missing"}},
		"a password in the address":    {info: node.Object{"redfish_address": "https://u:hunter2@bmc"}, want: []string{"must not hold a user or password"}},
		"another scheme":               {info: node.Object{"redfish_address": "file:///etc/passwd"}, want: []string{"must be a URL with a host"}},
		"a path":                       {info: node.Object{"redfish_address": "https://bmc/redfish/v1/Systems/1"}, want: []string{"must not hold a path"}},
		"a number for an address":      {info: node.Object{"redfish_address": 5}, want: []string{"redfish_address must be a text", "redfish_address is missing"}},
		"a system on another host":     {info: node.Object{"redfish_address": "bmc", "redfish_system_id": "//evil/redfish/v1"}, want: []string{"redfish_system_id"}},
		"a password without a user":    {info: node.Object{"redfish_address": "bmc", "redfish_password": "hunter2"}, want: []string{"redfish_password needs redfish_username"}},
		"an authentication unheard of": {info: node.Object{"redfish_address": "bmc", "redfish_auth_type": "oauth"}, want: []string{`redfish_auth_type "oauth" is not one of basic, session, auto`}},
		"several at once": {
			info: node.Object{"redfish_tls_minimum_version": "1.0", "redfish_tls_ciphers": "RC4", "redfish_verify_ca": 3, "firmware_update_unresponsive_bmc_wait": -1},
			want: []string{"redfish_address is missing", "redfish_tls_minimum_version", "RC4", "redfish_verify_ca", "firmware_update_unresponsive_bmc_wait"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := d.Validate(tt.info)
			if len(tt.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v is not invalid", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q holds the password", err)
			}
		})
	}
}

// update installs firmware and waits for its end, for a short time.
func update(t *testing.T, c *redfish.Conn) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	u, err := c.UpdateFirmware(ctx, "", "http://images.example/bmc-24.10-20.fwpkg")
	for err == nil && !u.Done {
		select {
		case <-ctx.Done():
			return fault.New(fault.Timeout, "BMC %s: given up while waiting for the update", c.Address())
		case <-time.After(10 * time.Millisecond):
		}
		u, err = c.UpdateState(ctx, u.Task)
	}
	return err
}
