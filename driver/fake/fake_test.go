package fake_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/drivertest"
	"github.com/riser-project/riser/driver/fake"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

func fakeNode() *node.Node {
	return &node.Node{UUID: "6a2f5ad1-0d9c-4f9e-9a4e-7d7f7c1f0002", Driver: "fake-hardware", Power: node.PowerOn}
}

func TestContract(t *testing.T) {
	drivertest.Run(t, fake.New(fake.Options{}), func(*testing.T) drivertest.Machine {
		return drivertest.Machine{Node: fakeNode(), Sent: func() int { return 0 }}
	})
}

func TestANewNodeHasNoPowerStateUntilItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := fakeNode()
		n.Power = ""
		c := open(t, fake.New(fake.Options{}), n)
		p, _ := driver.As[driver.Power](c)
		if state, err := p.PowerState(t.Context()); state != "" || err != nil {
			t.Errorf("state %q, %v", state, err)
		}
		if _, err := driver.ChangePower(t.Context(), p, nil, node.PowerOff, driver.Pace{}); err != nil {
			t.Error(err)
		}
		if state, _ := p.PowerState(t.Context()); state != node.PowerOff {
			t.Errorf("state %q after power off", state)
		}
	})
}

func open(t *testing.T, d driver.Driver, n *node.Node) driver.Conn {
	t.Helper()
	c, err := d.Open(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyPxeIsABootDevice(t *testing.T) {
	b, _ := driver.As[driver.BootDevice](open(t, fake.New(fake.Options{}), fakeNode()))
	err := b.SetBootDevice(t.Context(), "disk", false)
	if !fault.Is(err, fault.Invalid) || err.Error() != "Invalid boot device disk specified." {
		t.Errorf("disk: %v", err)
	}
}

func TestDelays(t *testing.T) {
	tests := map[string]struct {
		text string
		want fake.Delay
		bad  bool
	}{
		"a number":           {text: "2", want: fake.Delay{Min: 2 * time.Second, Max: 2 * time.Second}},
		"a range":            {text: "0.5, 1.5", want: fake.Delay{Min: 500 * time.Millisecond, Max: 1500 * time.Millisecond}},
		"a range turned":     {text: "3,1", want: fake.Delay{Min: 3 * time.Second, Max: 3 * time.Second}},
		"no number":          {text: "soon", bad: true},
		"a negative number":  {text: "-1", bad: true},
		"not a number":       {text: "NaN", bad: true},
		"three numbers":      {text: "1,2,3", bad: true},
		"nothing":            {text: "", bad: true},
		"an endless time":    {text: "inf", bad: true},
		"half of a range":    {text: "1,", bad: true},
		"a number too large": {text: "1e9", bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := fake.ParseDelay(tt.text)
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("ParseDelay(%q) = %v, %v", tt.text, got, err)
			}
		})
	}
}

func TestPowerTakesItsDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := fake.New(fake.Options{Delays: map[node.Interface]fake.Delay{node.Power: {Min: 3 * time.Second, Max: 5 * time.Second}}})
		p, _ := driver.As[driver.Power](open(t, d, fakeNode()))
		start := time.Now()
		if err := p.SendPower(t.Context(), driver.ForceOff); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.SendPower(ctx, driver.PowerOn); !fault.Is(err, fault.Timeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is no time-out", err)
		}
	})
}

func TestVendorMethods(t *testing.T) {
	d := fake.New(fake.Options{})
	v, _ := driver.As[driver.Vendor](open(t, d, fakeNode()))
	var names []string
	for _, m := range d.VendorMethods("fake") {
		names = append(names, m.Name)
	}
	if diff := cmp.Diff([]string{"fourth_method_shared_lock", "log_passthrough", "second_method", "third_method_sync"}, names); diff != "" {
		t.Errorf("methods (-want +got):\n%s", diff)
	}
	if d.VendorMethods("no-vendor") != nil {
		t.Error("no-vendor has methods")
	}
	tests := map[string]struct {
		method, http string
		args         node.Object
		want         any
		says         string
	}{
		"the method's word":      {method: "third_method_sync", http: "POST", args: node.Object{"bar": "meow"}, want: true},
		"another word":           {method: "second_method", http: "POST", args: node.Object{"bar": "meow"}, want: false},
		"without the argument":   {method: "second_method", http: "POST", says: "Parameter 'bar' not passed to method 'second_method'."},
		"another HTTP method":    {method: "second_method", http: "GET", says: "does not support HTTP GET"},
		"a method there is not":  {method: "first_method", http: "POST", says: "No handler for method first_method"},
		"a message for the logs": {method: "log_passthrough", http: "POST"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := v.CallVendor(t.Context(), tt.method, tt.http, tt.args)
			if tt.says == "" && (err != nil || got != tt.want) || tt.says != "" && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%v, %v; want %v, %q", got, err, tt.want, tt.says)
			}
		})
	}
}

func TestSteps(t *testing.T) {
	d := fake.New(fake.Options{Delays: map[node.Interface]fake.Delay{node.BIOS: {Min: time.Second, Max: time.Second}}})
	c := step.NewCatalog(fake.Steps())
	n := fakeNode()
	n.Interfaces = node.Interfaces{node.BIOS: "fake", node.Vendor: "fake", node.Deploy: "fake", node.Firmware: "fake"}
	want := map[node.Flow][]string{
		node.FlowClean:   {"vendor.log_passthrough", "bios.apply_configuration", "bios.factory_reset", "bios.cache_bios_settings", "firmware.update"},
		node.FlowDeploy:  {"deploy.deploy"},
		node.FlowService: {"vendor.log_passthrough", "vendor.trigger_servicewait"},
	}
	for flow, names := range want {
		var got []string
		for _, def := range c.For(n, flow) {
			got = append(got, def.FullName())
			run(t, d, n, def)
		}
		if diff := cmp.Diff(names, got); diff != "" {
			t.Errorf("%s steps (-want +got):\n%s", flow, diff)
		}
	}
}

func run(t *testing.T, d driver.Driver, n *node.Node, def *step.Definition) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		result, err := def.Run(t.Context(), &step.Task{
			Node: n, Evidence: func(string) {},
			Conn: func(ctx context.Context) (driver.Conn, error) { return d.Open(ctx, n) },
		})
		wantResult, wantTime := step.Done, time.Duration(0)
		if def.Name == "trigger_servicewait" {
			wantResult = step.Wait
		}
		if def.Interface == node.BIOS {
			wantTime = time.Second
		}
		if err != nil || result != wantResult || time.Since(start) != wantTime {
			t.Errorf("%s: %v, %v after %s", def.FullName(), result, err, time.Since(start))
		}
	})
}

func TestManualMachinesHavePowerOnlyWithTheFakeInterface(t *testing.T) {
	d := fake.NewManual()
	n := &node.Node{Driver: d.Name(), Power: node.PowerOff, Interfaces: node.Interfaces{node.Power: "agent"}}
	if _, ok := driver.As[driver.Power](open(t, d, n)); ok {
		t.Error("power interface agent can power the machine")
	}
	n.Interfaces[node.Power] = "fake"
	p, ok := driver.As[driver.Power](open(t, d, n))
	if !ok {
		t.Fatal("power interface fake cannot power the machine")
	}
	if state, err := p.PowerState(t.Context()); err != nil || state != node.PowerOff {
		t.Errorf("state %q, %v", state, err)
	}
}
