//go:build integration

package ipmi_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/ipmi"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
)

func labNode(b *lab.BMC, more node.Object) *node.Node {
	info := node.Object{"ipmi_address": b.Host, "ipmi_port": b.Port, "ipmi_username": b.User, "ipmi_password": b.Password}
	for k, v := range more {
		info[k] = v
	}
	return &node.Node{DriverInfo: info}
}

func TestOpenIPMIsBMCAgreesWithIpmitool(t *testing.T) {
	b := lab.StartBMCs(t, 1)[0]
	d := newDriver()
	start := time.Now()
	c := open(t, d, labNode(b, nil)) // it lacks suite 17, and we find out
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("logging in took %s", took)
	}
	for _, step := range []struct {
		target node.PowerState
		status string
	}{{node.PowerOn, "Chassis Power is on"}, {node.PowerOff, "Chassis Power is off"}, {node.PowerOn, "Chassis Power is on"}} {
		if evidence, err := driver.ChangePower(t.Context(), c, nil, step.target, driver.Pace{Poll: 20 * time.Millisecond, Rest: 50 * time.Millisecond}); err != nil {
			t.Fatalf("%s: %v\n%q", step.target, err, evidence)
		}
		if status, err := b.Ipmitool(t, "chassis", "power", "status"); err != nil || status != step.status {
			t.Errorf("after %s ipmitool says %q, %v", step.target, status, err)
		}
	}
	if err := c.SetBootDevice(t.Context(), "pxe", false); err != nil {
		t.Error(err)
	}
	if b.Boot(t) != "pxe" {
		t.Errorf("the machine boots from %q", b.Boot(t))
	}
	if said, err := b.Ipmitool(t, "chassis", "bootparam", "get", "5"); err != nil || !strings.Contains(said, "Force PXE") {
		t.Errorf("ipmitool says %q, %v", said, err)
	}
	if device, _, err := c.BootDevice(t.Context()); device != "" || err != nil {
		t.Errorf("we say %q, %v; ipmitool says that the flags are invalid", device, err)
	}
	if err := c.SetBootDevice(t.Context(), "disk", true); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "for the next boot alone") {
		t.Errorf("a persistent device, which it forgets: %v", err)
	}
}

func TestRawAnswersAreThoseOfIpmitool(t *testing.T) {
	b := lab.StartBMCs(t, 1)[0]
	c := open(t, newDriver(), labNode(b, node.Object{"ipmi_hardware_profile": "bluefield"}))
	for _, raw := range []string{"0x06 0x01", "0x00 0x01", "0x06 0x37", "0x0a 0x20"} {
		want, err := b.Ipmitool(t, append([]string{"raw"}, strings.Fields(raw)...)...)
		if err != nil {
			t.Logf("ipmitool raw %s: %v", raw, err)
			continue
		}
		request, err := driver.ParseRaw(raw)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.SendRaw(t.Context(), request)
		got := strings.ReplaceAll(driver.FormatRaw(answer), "0x", "")
		if d := cmp.Diff(strings.Join(strings.Fields(want), " "), got); d != "" || err != nil {
			t.Errorf("raw %s (-ipmitool +ours):\n%s%v", raw, d, err)
		}
	}
	if _, err := c.SendRaw(t.Context(), []byte{0x32, 0x6a, 1}); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "0xc1") {
		t.Errorf("an unknown command: %v", err)
	}
}

func TestOpenIPMIRefusesAWrongPasswordAtOnce(t *testing.T) {
	b := lab.StartBMCs(t, 1)[0]
	start := time.Now()
	_, err := newDriver().Open(t.Context(), labNode(b, node.Object{"ipmi_password": "wrong"}))
	if !fault.Is(err, fault.Unauthorized) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestManyBMCsAtOnce(t *testing.T) {
	bmcs := lab.StartBMCs(t, 20)
	d := ipmi.New(ipmi.Options{})
	ends := make(chan error, len(bmcs))
	for _, b := range bmcs {
		go func() {
			c, err := d.Open(t.Context(), labNode(b, nil))
			if err == nil {
				p, _ := driver.As[driver.Power](c)
				_, err = driver.ChangePower(t.Context(), p, nil, node.PowerOn, driver.Pace{Poll: 20 * time.Millisecond})
				_ = c.Close()
			}
			ends <- err
		}()
	}
	for range bmcs {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
}

// The simulator speaks to ipmitool as well as to us.
func TestIpmitoolUnderstandsTheSimulator(t *testing.T) {
	if _, err := exec.LookPath("ipmitool"); err != nil {
		t.Skip("ipmitool is not installed")
	}
	s := server(t, bmc.Options{})
	for _, tt := range []struct {
		m    *bmc.Machine
		args string
		want string
	}{
		{s.Host, "chassis power status", "Chassis Power is on"},
		{s.Host, "chassis bootdev pxe options=persistent,efiboot", "Set Boot Device to pxe"},
		{s.Host, "chassis bootparam get 5", "Force PXE"},
		{s.Host, "fru print 0", s.Host.Serial},
		{s.Host, "sdr list", "CPU1 Temp"},
		{s.Cards[0], "raw 0x32 0x9a", "00 00 00 00 00 00 00 00"},
	} {
		args := append([]string{"-I", "lanplus", "-C", "17", "-H", tt.m.IPMI.Host, "-p", strconv.Itoa(tt.m.IPMI.Port), "-U", "root", "-E"}, strings.Fields(tt.args)...)
		cmd := exec.CommandContext(t.Context(), "ipmitool", args...)
		cmd.Env = append(os.Environ(), "IPMI_PASSWORD="+password)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("ipmitool %s: %v\n%s", tt.args, err, out)
		}
	}
}
