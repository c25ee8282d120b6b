package ipmi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bougou/go-ipmi/pkg/types"
	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/drivertest"
	"github.com/riser-project/riser/driver/ipmi"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
)

const password = "S3cret-of-the-BMC"

var quick = bmc.Timing{On: 5 * time.Millisecond, Off: 5 * time.Millisecond, Shutdown: 10 * time.Millisecond, Boot: 50 * time.Millisecond}

func server(t *testing.T, o bmc.Options) *bmc.Server {
	t.Helper()
	o.IPMI, o.On, o.Password, o.Timing = true, true, password, quick
	o.Cards = max(o.Cards, 1)
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
	info := node.Object{"ipmi_address": m.IPMI.Host, "ipmi_port": m.IPMI.Port, "ipmi_username": "root", "ipmi_password": password}
	for k, v := range more {
		info[k] = v
	}
	return &node.Node{UUID: "6a2f5ad1-0d9c-4f9e-9a4e-7d7f7c1f0004", DriverInfo: info}
}

func newDriver() *ipmi.Driver {
	return ipmi.New(ipmi.Options{Timeout: 5 * time.Second, Attempt: 3 * time.Second})
}

// impatient is for controllers that never answer.
func impatient() *ipmi.Driver {
	return ipmi.New(ipmi.Options{Timeout: 300 * time.Millisecond, Attempt: 200 * time.Millisecond})
}

func open(t *testing.T, d *ipmi.Driver, n *node.Node) *ipmi.Conn {
	t.Helper()
	c, err := d.Open(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	conn, _ := c.(*ipmi.Conn)
	return conn
}

func sent(m *bmc.Machine) []string {
	var list []string
	for _, r := range m.Controller.Changes() {
		list = append(list, r.Path+": "+r.Body)
	}
	m.Controller.Forget()
	return list
}

func wantSent(t *testing.T, m *bmc.Machine, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, sent(m)); d != "" {
		t.Errorf("the controller received (-want +got):\n%s", d)
	}
}

func tell(t *testing.T, m *bmc.Machine, lies ...string) {
	t.Helper()
	if err := m.Controller.Tell(lies...); err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	drivertest.Run(t, newDriver(), func(t *testing.T) drivertest.Machine {
		m := server(t, bmc.Options{}).Host
		return drivertest.Machine{
			Node: nodeOf(m, nil), Secret: password,
			Sent:   func() int { return len(m.Controller.Changes()) },
			Hang:   func() { _ = m.Controller.Tell("hang") },
			Wrong:  func() *node.Node { return nodeOf(m, node.Object{"ipmi_password": "wrong"}) },
			Logins: func() int { return m.IPMI.Logins() },
			Open:   m.IPMI.Sessions,
		}
	})
}

func TestPowerCommandsAreChassisControls(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := open(t, newDriver(), nodeOf(m, nil))
	for _, cmd := range []driver.PowerCommand{driver.PowerOn, driver.ForceOff, driver.PowerCycle, driver.ForceRestart, driver.GracefulShutdown} {
		if err := c.SendPower(t.Context(), cmd); err != nil {
			t.Errorf("%s: %v", cmd, err)
		}
	}
	if err := c.InjectNMI(t.Context()); err != nil {
		t.Error(err)
	}
	wantSent(t, m, "0x00 0x02: 01", "0x00 0x02: 00", "0x00 0x02: 02", "0x00 0x02: 03", "0x00 0x02: 05", "0x00 0x02: 04")
	if err := c.SendPower(t.Context(), driver.GracefulRestart); !fault.Is(err, fault.Unsupported) {
		t.Errorf("a graceful restart: %v", err)
	}
}

func TestNoLayerSendsACommandAgain(t *testing.T) {
	for _, lie := range []string{"lost-answer", "lost-request"} {
		m := server(t, bmc.Options{}).Host
		d := impatient()
		tell(t, m, lie)
		for range 3 {
			if err := open(t, d, nodeOf(m, nil)).SendPower(t.Context(), driver.ForceRestart); !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "it is unknown whether it was carried out") {
				t.Errorf("%s: %v", lie, err)
			}
		}
		if got := sent(m); len(got) != 3 {
			t.Errorf("%s: 3 commands were received as %q", lie, got)
		}
	}
}

func TestSetBootDevice(t *testing.T) {
	tests := map[string]struct {
		more       node.Object
		uefi       bool
		device     string
		persistent bool
		sent       []string
	}{
		"for the next boot":       {device: "pxe", sent: []string{"0x00 0x08: 03 08", "0x00 0x08: 05 80 04 00 00 00"}},
		"for every boot, by UEFI": {uefi: true, device: "disk", persistent: true, sent: []string{"0x00 0x08: 03 08", "0x00 0x08: 05 e0 08 00 00 00"}},
		"with the 60 s limit left": {
			more: node.Object{"ipmi_disable_boot_timeout": "false"}, device: "bios", sent: []string{"0x00 0x08: 05 80 18 00 00 00"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := server(t, bmc.Options{}).Host
			n := nodeOf(m, tt.more)
			if tt.uefi {
				n.BootMode = "uefi"
			}
			c := open(t, newDriver(), n)
			if err := c.SetBootDevice(t.Context(), tt.device, tt.persistent); err != nil {
				t.Fatal(err)
			}
			wantSent(t, m, tt.sent...)
			if device, persistent, err := c.BootDevice(t.Context()); device != tt.device || persistent != tt.persistent || err != nil {
				t.Errorf("%q, %v, %v", device, persistent, err)
			}
		})
	}
	m := server(t, bmc.Options{}).Host
	c := open(t, newDriver(), nodeOf(m, nil))
	if err := c.SetBootDevice(t.Context(), "tape", false); !fault.Is(err, fault.Invalid) {
		t.Errorf("tape: %v", err)
	}
	tell(t, m, "boot-forgotten")
	if err := c.SetBootDevice(t.Context(), "cdrom", false); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "accepted the boot device cdrom but still has") {
		t.Errorf("a forgotten device: %v", err)
	}
}

func TestIdentityAndSensors(t *testing.T) {
	m := server(t, bmc.Options{Number: 5}).Host
	c := open(t, newDriver(), nodeOf(m, nil))
	id, err := c.Identity(t.Context())
	want := driver.Identity{SystemUUID: m.UUID, Manufacturer: m.Manufacturer, Model: m.Model, Serial: m.Serial, PartNumber: m.PartNumber}
	if d := cmp.Diff(want, id); d != "" || err != nil {
		t.Errorf("identity (-want +got):\n%s%v", d, err)
	}
	sensors, err := c.Sensors(t.Context())
	if d := cmp.Diff([]driver.Sensor{{ID: "1", Name: "CPU1 Temp", Kind: "Temperature", Reading: 42, Unit: "Cel", Health: "OK"}}, sensors); d != "" || err != nil {
		t.Errorf("sensors (-want +got):\n%s%v", d, err)
	}
}

// The specification's own story: open the card's access, update, close it again, by raw commands.
func TestRawCommandsOfACard(t *testing.T) {
	m := server(t, bmc.Options{}).Cards[0]
	d := ipmi.New(ipmi.Options{Timeout: 5 * time.Second, Attempt: 3 * time.Second, AllowRaw: []driver.RawRule{{Profile: "bluefield", NetFn: 0x32, Command: 0x01}}})
	c := open(t, d, nodeOf(m, node.Object{"ipmi_hardware_profile": "bluefield"}))
	for _, step := range []struct {
		request, answer []byte
	}{
		{[]byte{0x32, 0x9b, 1, 1}, nil},
		{[]byte{0x32, 0x9a}, []byte{0, 1, 0, 0, 0, 0, 0, 0}},
		{[]byte{0x32, 0x9b, 1, 2}, nil},
		{[]byte{0x32, 0x9a}, []byte{0, 2, 0, 0, 0, 0, 0, 0}},
		{[]byte{0x32, 0xa3}, []byte{1}},
	} {
		answer, err := c.SendRaw(t.Context(), step.request)
		if err != nil || !cmp.Equal(step.answer, answer, cmp.Transformer("bytes", func(b []byte) string { return string(b) })) {
			t.Errorf("raw %x: %x, %v; want %x", step.request, answer, err, step.answer)
		}
	}
	for name, tt := range map[string]struct {
		request []byte
		kind    fault.Kind
		says    string
	}{
		"a command there is not": {[]byte{0x32, 0x01}, fault.Unsupported, "completion code 0xc1"},
		"data that is wrong":     {[]byte{0x32, 0x9b, 99, 0}, fault.Invalid, "completion code 0xcc"},
		"no command":             {[]byte{0x32}, fault.Invalid, "a raw command is"},
		"an answer's function":   {[]byte{0x33, 0x9a}, fault.Invalid, "a raw command is"},
		"one not on the list":    {[]byte{0x32, 0x66}, fault.Forbidden, "--allow-raw"},
	} {
		if _, err := c.SendRaw(t.Context(), tt.request); !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A command that is not on the list of the node's hardware profile never leaves.
func TestRawCommandsThatAProfileDoesNotAllow(t *testing.T) {
	m := server(t, bmc.Options{}).Cards[0]
	c := open(t, newDriver(), nodeOf(m, nil))
	_, err := c.SendRaw(t.Context(), []byte{0x32, 0x9b, 1, 1})
	_, called := c.CallVendor(t.Context(), "send_raw", "POST", node.Object{"raw_bytes": "0x32 0x9b 0x01 0x01"})
	for how, err := range map[string]error{"step": err, "vendor passthru": called} {
		if !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), `hardware profile "generic"`) || !strings.Contains(err.Error(), "--allow-raw") {
			t.Errorf("%s: %v", how, err)
		}
	}
	wantSent(t, m)
	d := ipmi.New(ipmi.Options{AllowRaw: []driver.RawRule{{Profile: "acme", NetFn: 0x32, Command: 0x9b}}})
	if _, err := open(t, d, nodeOf(m, node.Object{"ipmi_hardware_profile": "acme"})).SendRaw(t.Context(), []byte{0x32, 0x9b, 1, 1}); err != nil {
		t.Errorf("an operator's own profile: %v", err)
	}
	wantSent(t, m, "0x32 0x9b: 01 01")
}

func TestVendorMethods(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	c := open(t, newDriver(), nodeOf(m, nil))
	if got, err := c.CallVendor(t.Context(), "send_raw", "POST", node.Object{"raw_bytes": "0x06 0x01"}); err != nil || !strings.HasPrefix(got.(string), "0x20 0x01") {
		t.Errorf("send_raw: %v, %v", got, err)
	}
	for name, call := range map[string]struct {
		method, http string
		args         node.Object
	}{
		"another method":        {"run", "POST", nil},
		"another HTTP method":   {"send_raw", "DELETE", node.Object{"raw_bytes": "0x00 0x01"}},
		"another argument":      {"send_raw", "POST", node.Object{"raw_bytes": "0x00 0x01", "bridge": 1}},
		"no bytes":              {"send_raw", "POST", nil},
		"neither warm nor cold": {"bmc_reset", "POST", node.Object{"warm": "tepid"}},
	} {
		if _, err := c.CallVendor(t.Context(), call.method, call.http, call.args); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	names := newDriver().VendorMethods("ipmitool")
	if len(names) != 2 || names[0].Name != "bmc_reset" || newDriver().VendorMethods("no-vendor") != nil {
		t.Errorf("methods %+v", names)
	}
}

func TestCipherSuites(t *testing.T) {
	tests := map[string]struct {
		has  []types.CipherSuiteID
		node any
		kind fault.Kind // 0 when it connects
	}{
		"17 by default":               {[]types.CipherSuiteID{17, 3}, nil, 0},
		"3 where there is no 17":      {[]types.CipherSuiteID{3}, nil, 0},
		"the node's suite":            {[]types.CipherSuiteID{3, 17}, "3", 0},
		"a pinned suite stays pinned": {[]types.CipherSuiteID{3}, 17, fault.Invalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := server(t, bmc.Options{Ciphers: tt.has}).Host
			c, err := newDriver().Open(t.Context(), nodeOf(m, node.Object{"ipmi_cipher_suite": tt.node}))
			if err == nil {
				defer func() { _ = c.Close() }()
			}
			if tt.kind == 0 && err != nil || tt.kind != 0 && (!fault.Is(err, tt.kind) || !strings.Contains(err.Error(), "set ipmi_cipher_suite")) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAWrongPasswordIsTriedWithOneSuiteAlone(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	start := time.Now()
	for _, more := range []node.Object{{"ipmi_password": "wrong"}, {"ipmi_username": "nobody"}} {
		before := m.IPMI.Logins()
		_, err := newDriver().Open(t.Context(), nodeOf(m, more))
		if !fault.Is(err, fault.Unauthorized) || !strings.Contains(err.Error(), "refused the credentials") {
			t.Errorf("%v: %v", more, err)
		}
		if n := m.IPMI.Logins() - before; n != 1 {
			t.Errorf("%v: %d attempts", more, n)
		}
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestConnectionsShareASession(t *testing.T) {
	m := server(t, bmc.Options{}).Host
	d := ipmi.New(ipmi.Options{Linger: time.Hour})
	for range 10 {
		c, err := d.Open(t.Context(), nodeOf(m, nil))
		if err != nil {
			t.Fatal(err)
		}
		p, _ := driver.As[driver.Power](c)
		if _, err := p.PowerState(t.Context()); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	}
	if n := m.IPMI.Logins(); n != 1 {
		t.Errorf("%d sessions for 10 connections", n)
	}
	_ = d.Close()
	if n := m.IPMI.Sessions(); n != 0 {
		t.Errorf("%d sessions after the driver's end", n)
	}
}

func TestASessionThatTheControllerForgotIsOpenedAgain(t *testing.T) {
	s := server(t, bmc.Options{})
	c := open(t, impatient(), nodeOf(s.Host, nil))
	s.Host.IPMI.ForgetSessions()
	_, first := c.PowerState(t.Context())
	if _, err := c.PowerState(t.Context()); err != nil {
		t.Errorf("%v, then %v", first, err)
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	d := newDriver()
	tests := map[string]struct {
		info node.Object
		want []string
	}{
		"an address alone": {info: node.Object{"ipmi_address": "192.0.2.1"}},
		"all keys":         {info: node.Object{"ipmi_address": "bmc-1.example", "ipmi_port": 6230, "ipmi_username": "u", "ipmi_password": "p", "ipmi_priv_level": "operator", "ipmi_cipher_suite": "17", "ipmi_protocol_version": "2.0", "ipmi_bridging": "no", "ipmi_force_boot_device": true, "ipmi_disable_boot_timeout": "True", "ipmi_terminal_port": "8023"}},
		"nothing":          {want: []string{"ipmi_address is missing"}},
		"several at once": {
			info: node.Object{"ipmi_address": "http://x", "ipmi_port": "70000", "ipmi_priv_level": "ROOT", "ipmi_cipher_suite": 0, "ipmi_protocol_version": "1.5", "ipmi_bridging": "single", "ipmi_password": strings.Repeat("hunter2", 4), "ipmi_username": strings.Repeat("u", 17), "ipmi_hex_kg_key": strings.Repeat("00", 20), "ipmi_force_boot_device": "perhaps", "ipmi_hardware_profile": "acme"},
			want: []string{"ipmi_address must", "ipmi_port", "ipmi_priv_level", "ipmi_cipher_suite 0", "ipmi_protocol_version", "ipmi_bridging", "ipmi_password is longer", "ipmi_username is longer", "ipmi_hex_kg_key", "ipmi_force_boot_device", "ipmi_hardware_profile is not one of bluefield, generic"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := d.Validate(tt.info)
			if len(tt.want) == 0 && err != nil || len(tt.want) > 0 && !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v", err)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q holds the password", err)
			}
		})
	}
	for _, suite := range []any{0, 1, 2, 6, 7, 11, 15, 16, "x"} { // those that leave something out
		if err := d.Validate(node.Object{"ipmi_address": "bmc", "ipmi_cipher_suite": suite}); !fault.Is(err, fault.Invalid) {
			t.Errorf("suite %v: %v", suite, err)
		}
	}
}

func TestAControllerThatIsNotThereIsNamed(t *testing.T) {
	s := server(t, bmc.Options{})
	n := nodeOf(s.Host, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := impatient().Open(t.Context(), n)
	if !fault.Is(err, fault.Unavailable) && !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), newDriver().Address(n.DriverInfo)) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s2 := server(t, bmc.Options{})
	tell(t, s2.Host, "hang")
	start := time.Now()
	_, err = newDriver().Open(ctx, nodeOf(s2.Host, nil))
	if !fault.Is(err, fault.Timeout) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func TestAddressesThatMayNotBeSpokenTo(t *testing.T) {
	for _, address := range []string{"169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:169.254.1.1"} {
		if _, err := newDriver().Open(t.Context(), &node.Node{DriverInfo: node.Object{"ipmi_address": address}}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "cannot be that of a management controller") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAnIPv6Address(t *testing.T) {
	s, err := bmc.NewServer(bmc.Options{IPMI: true, On: true, Password: password, Listen: "::1"})
	if err != nil {
		t.Skipf("there is no IPv6 here: %v", err)
	}
	defer func() { _ = s.Close() }()
	if state, err := open(t, newDriver(), nodeOf(s.Host, nil)).PowerState(t.Context()); state != node.PowerOn || err != nil {
		t.Errorf("%q, %v", state, err)
	}
}

func FuzzValidate(f *testing.F) {
	f.Add("192.0.2.1", "623", "17", "ADMINISTRATOR")
	f.Add("fe80::1%eth0", "0x10", "+3", "user")
	d := newDriver()
	f.Fuzz(func(t *testing.T, address, port, suite, level string) {
		info := node.Object{"ipmi_address": address, "ipmi_port": port, "ipmi_cipher_suite": suite, "ipmi_priv_level": level}
		if d.Validate(info) == nil && !strings.HasPrefix(d.Address(info), "ipmi://") {
			t.Errorf("%q is valid and has the address %q", address, d.Address(info))
		}
	})
}
