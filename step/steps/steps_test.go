package steps_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/step/steps"
)

func find(t *testing.T, name string) *step.Definition {
	t.Helper()
	all := steps.All()
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	t.Fatalf("there is no step %s", name)
	return nil
}

func TestEveryStepSaysWhatItIs(t *testing.T) {
	step.NewCatalog(steps.All()) // panics on a name that stands twice
	for _, d := range steps.All() {
		if d.Summary == "" || d.Run == nil || len(d.Flows) == 0 {
			t.Errorf("%s lacks a summary, flows or Run", d.FullName())
		}
		args := node.Object{}
		for _, a := range d.Args {
			args[a.Name] = "pxe"
			if a.Description == "" {
				t.Errorf("%s: argument %s has no description", d.FullName(), a.Name)
			}
		}
		if lines := d.Plan(args); len(lines) == 0 {
			t.Errorf("%s has no plan", d.FullName())
		}
	}
	for _, name := range []string{"power_on", "power_off", "reboot", "hold", "wait"} {
		if !node.Reserved(name) {
			t.Errorf("%s is not reserved", name)
		}
		if d := find(t, name); len(d.Impls) != 0 {
			t.Errorf("%s is only for %v", name, d.Impls)
		}
	}
}

func TestPowerStepsUseTheEnginesPower(t *testing.T) {
	for name, want := range map[string]node.PowerState{"power_on": node.PowerOn, "power_off": node.PowerOff, "reboot": node.Rebooting} {
		var got node.PowerState
		broken := errors.New("broken")
		result, err := find(t, name).Run(t.Context(), &step.Task{Power: func(_ context.Context, target node.PowerState) error { got = target; return broken }})
		if got != want || !errors.Is(err, broken) || result != step.Done {
			t.Errorf("%s: target %q, %v, %v", name, got, result, err)
		}
	}
}

func TestHold(t *testing.T) {
	if result, err := find(t, "hold").Run(t.Context(), &step.Task{}); result != step.Hold || err != nil {
		t.Errorf("%v, %v", result, err)
	}
}

func TestWait(t *testing.T) {
	tests := map[string]struct {
		args node.Object
		want step.Result
		took time.Duration
		bad  bool
	}{
		"without a time it is the agent's to end": {want: step.Wait},
		"a number":            {args: node.Object{"seconds": 2.5}, took: 2500 * time.Millisecond},
		"a number of JSON":    {args: node.Object{"seconds": json.Number("3")}, took: 3 * time.Second},
		"a number in text":    {args: node.Object{"seconds": "4"}, took: 4 * time.Second},
		"no time":             {args: node.Object{"seconds": 0}},
		"a long time is cut":  {args: node.Object{"seconds": 3600}, took: 30 * time.Second},
		"a negative time":     {args: node.Object{"seconds": -1}, bad: true},
		"a time that is none": {args: node.Object{"seconds": "NaN"}, bad: true},
		"a list":              {args: node.Object{"seconds": []any{1}}, bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := find(t, "wait")
			if faults := d.CheckArgs(tt.args); (len(faults) > 0) != tt.bad {
				t.Errorf("faults %q", faults)
			}
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				result, err := d.Run(t.Context(), &step.Task{Args: tt.args, Evidence: func(string) {}})
				if tt.bad {
					if !fault.Is(err, fault.Invalid) {
						t.Errorf("%v is not invalid", err)
					}
					return
				}
				if err != nil || result != tt.want || time.Since(start) != tt.took {
					t.Errorf("%v, %v after %s", result, err, time.Since(start))
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := find(t, "wait").Run(ctx, &step.Task{Args: node.Object{"seconds": 20}})
		if !fault.Is(err, fault.Timeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v is no time-out", err)
		}
	})
}

// task runs a step on a simulated card.
func task(t *testing.T, args node.Object) (*step.Task, *bmc.Machine, *[]string) {
	t.Helper()
	s, err := bmc.NewServer(bmc.Options{Cards: 1, On: true})
	if err != nil {
		t.Fatal(err)
	}
	card := s.Cards[0]
	n := &node.Node{UUID: "6a2f5ad1-0d9c-4f9e-9a4e-7d7f7c1f0003", DriverInfo: node.Object{
		"redfish_address": card.Controller.URL, "redfish_username": "root", "redfish_password": "0penBmc",
	}}
	c, err := redfish.New(redfish.Options{Poll: time.Millisecond}).Open(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(c.Close(), s.Close()) })
	var evidence []string
	return &step.Task{
		Node: n, Args: args, Conn: func(context.Context) (driver.Conn, error) { return c, nil },
		Evidence: func(text string) { evidence = append(evidence, text) },
	}, card, &evidence
}

func TestSetBootDevice(t *testing.T) {
	d := find(t, "set_boot_device")
	tk, card, evidence := task(t, node.Object{"device": "pxe", "persistent": "true"})
	if faults := d.CheckArgs(tk.Args); len(faults) > 0 {
		t.Errorf("faults %q", faults)
	}
	if result, err := d.Run(t.Context(), tk); result != step.Done || err != nil {
		t.Fatalf("%v, %v", result, err)
	}
	changes := card.Controller.Changes()
	if len(changes) != 1 || changes[0].Body != `{"Boot":{"BootSourceOverrideEnabled":"Continuous","BootSourceOverrideTarget":"Pxe"}}` {
		t.Errorf("the controller received %+v", changes)
	}
	if diff := cmp.Diff([]string{"boot device is pxe, for every boot"}, *evidence); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
	tk.Args = node.Object{"device": "cdrom"}
	if _, err := d.Run(t.Context(), tk); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "The node has pxe") {
		t.Errorf("cdrom: %v", err)
	}
	for _, args := range []node.Object{{}, {"device": ""}, {"device": 1}, {"device": "pxe", "persistent": "perhaps"}, {"device": "pxe", "more": 1}} {
		if len(d.CheckArgs(args)) == 0 {
			t.Errorf("arguments %v are accepted", args)
		}
	}
}

func TestAStepSaysWhatTheDriverLacks(t *testing.T) {
	tk, _, _ := task(t, node.Object{"raw_bytes": "0x00 0x01"})
	if _, err := find(t, "send_raw").Run(t.Context(), tk); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "raw commands") {
		t.Errorf("%v", err)
	}
}

// shell is a connection with raw commands.
type shell struct {
	driver.Conn
	got []byte
}

func (s *shell) SendRaw(_ context.Context, request []byte) ([]byte, error) {
	s.got = request
	return []byte{0x01, 0xff}, nil
}

func TestSendRaw(t *testing.T) {
	s := &shell{}
	var evidence string
	result, err := find(t, "send_raw").Run(t.Context(), &step.Task{
		Args: node.Object{"raw_bytes": "0x32 0x6a 0x01"}, Evidence: func(text string) { evidence = text },
		Conn: func(context.Context) (driver.Conn, error) { return s, nil },
	})
	if err != nil || result != step.Done {
		t.Fatalf("%v, %v", result, err)
	}
	if diff := cmp.Diff([]byte{0x32, 0x6a, 0x01}, s.got); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
	if evidence != "raw 0x32 0x6a 0x01 answered [0x01 0xff]" {
		t.Errorf("evidence %q", evidence)
	}
}
