package redfish_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// bench runs steps on a simulated machine as the engine does, with a memory that survives restarts of the process.
type bench struct {
	machine  *bmc.Machine
	conn     *redfish.Conn
	memory   map[string][]byte
	evidence []string
}

func newBench(t *testing.T, pick func(*bmc.Server) *bmc.Machine) *bench {
	t.Helper()
	m := pick(server(t, bmc.Options{Timing: quick}))
	return &bench{machine: m, conn: connect(t, newDriver(), nodeOf(m, nil)), memory: map[string][]byte{}}
}

func (b *bench) task(args node.Object) *step.Task {
	return &step.Task{
		Node: nodeOf(b.machine, nil), Args: args, Flow: node.FlowClean, Attempt: 1,
		Conn:     func(context.Context) (driver.Conn, error) { return b.conn, nil },
		Evidence: func(text string) { b.evidence = append(b.evidence, text) },
		Power: func(ctx context.Context, target node.PowerState) error {
			_, err := driver.ChangePower(ctx, b.conn, b.conn, target, hasty)
			return err
		},
		Keep: func(_ context.Context, key string, v any) error {
			raw, err := json.Marshal(v)
			b.memory[key] = raw
			return err
		},
		Kept: func(key string) (v any) {
			_ = json.Unmarshal(b.memory[key], &v)
			return v
		},
	}
}

func definition(t *testing.T, name string) *step.Definition {
	t.Helper()
	for _, d := range redfish.Steps() {
		if d.FullName() == name {
			return &d
		}
	}
	t.Fatalf("there is no step %s", name)
	return nil
}

// run runs a step to its end.
func (b *bench) run(t *testing.T, name string, args node.Object) error {
	t.Helper()
	d := definition(t, name)
	if faults := d.CheckArgs(args); len(faults) > 0 {
		t.Fatalf("%s: %q", name, faults)
	}
	result, err := d.Run(t.Context(), b.task(args))
	for end := time.Now().Add(20 * time.Second); err == nil && result == step.Wait; {
		if time.Now().After(end) {
			t.Fatalf("%s does not end; %q", name, b.evidence)
		}
		time.Sleep(5 * time.Millisecond)
		result, err = d.Poll(t.Context(), b.task(args))
	}
	return err
}

func object(t *testing.T, text string) node.Object {
	t.Helper()
	var o node.Object
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func host(s *bmc.Server) *bmc.Machine { return s.Host }
func card(s *bmc.Server) *bmc.Machine { return s.Cards[0] }

func TestStepsSayWhatTheyAre(t *testing.T) {
	step.NewCatalog(redfish.Steps()) // panics on a name that stands twice
	for _, d := range redfish.Steps() {
		if d.Summary == "" || d.Run == nil || d.Plan == nil || len(d.Impls) == 0 {
			t.Errorf("%s lacks something", d.FullName())
		}
		d.Plan(node.Object{}) // must not panic on what CheckArgs refuses
	}
}

func TestApplyConfiguration(t *testing.T) {
	b := newBench(t, host)
	args := object(t, `{"settings":[{"name":"LogicalProc","value":"Disabled"},{"name":"NumLock","value":"Off"}]}`)
	if err := b.run(t, "bios.apply_configuration", args); err != nil {
		t.Fatal(err)
	}
	wantSent(t, b.machine, `PATCH /Systems/1/Bios/Settings {"Attributes":{"LogicalProc":"Disabled","NumLock":"Off"}}`,
		`POST /Systems/1/Actions/ComputerSystem.Reset {"ResetType":"ForceRestart"}`)
	if d := cmp.Diff([]string{"BIOS LogicalProc is Disabled", "BIOS NumLock is Off"}, b.evidence); d != "" {
		t.Errorf("evidence (-want +got):\n%s", d)
	}
	if err := b.run(t, "bios.apply_configuration", args); err != nil {
		t.Fatal(err)
	}
	wantSent(t, b.machine)
	if plan := definition(t, "bios.apply_configuration").Plan(args); cmp.Diff([]string{"BIOS LogicalProc = Disabled", "BIOS NumLock = Off", "reboot"}, plan) != "" {
		t.Errorf("plan %q", plan)
	}
}

func TestOtherSteps(t *testing.T) {
	tests := map[string]struct {
		step string
		args string
		sent []string
	}{
		"factory reset": {"bios.factory_reset", `{}`, []string{"POST /Systems/1/Bios/Actions/Bios.ResetBios {}", `POST /Systems/1/Actions/ComputerSystem.Reset {"ResetType":"ForceRestart"}`}},
		"default keys":  {"management.reset_secure_boot_keys_to_default", `{}`, []string{`POST /Systems/1/SecureBoot/Actions/SecureBoot.ResetKeys {"ResetKeysType":"ResetAllKeysToDefault"}`}},
		"no keys":       {"management.clear_secure_boot_keys", `{}`, []string{`POST /Systems/1/SecureBoot/Actions/SecureBoot.ResetKeys {"ResetKeysType":"DeleteAllKeys"}`}},
		"clock":         {"management.set_bmc_clock", `{"target_datetime":"2030-01-02T03:04:05Z"}`, []string{`PATCH /Managers/1 {"DateTime":"2030-01-02T03:04:05Z","DateTimeLocalOffset":"+00:00"}`}},
		"clock, read":   {"management.verify_bmc_clock", `{}`, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, host)
			if err := b.run(t, tt.step, object(t, tt.args)); err != nil {
				t.Fatal(err)
			}
			wantSent(t, b.machine, tt.sent...)
		})
	}
}

func TestFirmwareUpdateStep(t *testing.T) {
	b := newBench(t, card)
	args := object(t, `{"settings":[{"component":"BMC_Firmware","url":"http://images.example/bmc-24.10-20.fwpkg"},{"component":"Bluefield_FW_ERoT","url":"https://images.example/erot-1.2.3"}]}`)
	if err := b.run(t, "firmware.update", args); err != nil {
		t.Fatal(err)
	}
	if got := len(sent(b.machine)); got != 2 {
		t.Errorf("%d requests for 2 updates: %q", got, sent(b.machine))
	}
	told := strings.Join(b.evidence, "\n")
	for _, want := range []string{"update 1 of 2 accepted", "update 2 of 2 accepted", "BMC_Firmware is done and still says BF-24.10-10: the new version counts from the next restart"} {
		if !strings.Contains(told, want) {
			t.Errorf("evidence lacks %q:\n%s", want, told)
		}
	}
}

func TestFirmwareUpdateStepFails(t *testing.T) {
	tests := map[string]struct {
		lie  string
		kind fault.Kind
		says string
	}{
		"when the controller says so":         {"task-fails", fault.Conflict, "Transfer of image"},
		"when the controller forgot the task": {"task-vanishes", fault.Conflict, "it is unknown whether the update is done"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, card)
			if err := b.machine.Controller.Tell(tt.lie); err != nil {
				t.Fatal(err)
			}
			err := b.run(t, "firmware.update", object(t, `{"settings":[{"component":"BMC_Firmware","url":"http://images.example/x-1.2"}]}`))
			if !fault.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			if got := len(sent(b.machine)); got != 1 {
				t.Errorf("%d requests for 1 update", got)
			}
		})
	}
}

func TestAnUpdateIsNotStartedTwice(t *testing.T) {
	b := newBench(t, card)
	args := object(t, `{"firmware_images":[{"url":"http://images.example/x-1.2"}]}`)
	d := definition(t, "management.update_firmware")
	for range 3 { // as after crashes
		if result, err := d.Run(t.Context(), b.task(args)); result != step.Wait || err != nil {
			t.Fatalf("%v, %v", result, err)
		}
	}
	if got := len(sent(b.machine)); got != 1 {
		t.Errorf("%d requests for 1 update", got)
	}
}

func TestAControllerMayBeSilentWhileItIsUpdated(t *testing.T) {
	b := newBench(t, card)
	args := object(t, `{"firmware_images":[{"url":"http://images.example/x-1.2"}]}`)
	d := definition(t, "management.update_firmware")
	if _, err := d.Run(t.Context(), b.task(args)); err != nil {
		t.Fatal(err)
	}
	if err := b.machine.Controller.Tell("closed"); err != nil {
		t.Fatal(err)
	}
	if result, err := d.Poll(t.Context(), b.task(args)); result != step.Wait || err != nil {
		t.Errorf("at first: %v, %v", result, err)
	}
	tk := b.task(args)
	tk.Node.DriverInfo["firmware_update_unresponsive_bmc_wait"] = 0
	if _, err := d.Poll(t.Context(), tk); !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "has not answered for 0 s while it was updated") {
		t.Errorf("at last: %v", err)
	}
}

func TestStepArguments(t *testing.T) {
	bad := map[string][]string{
		"bios.apply_configuration": {`{}`, `{"settings":{}}`, `{"settings":[]}`, `{"settings":[{"name":"x"}]}`, `{"settings":[{"name":"x","value":1,"more":2}]}`},
		"firmware.update": {`{"settings":[{"url":"http://a/b"}]}`, `{"settings":[{"component":"bmc"}]}`, `{"settings":[{"component":"bmc","url":"file:///b"}]}`,
			`{"settings":[{"component":"bmc","url":"http://u:p@a/b"}]}`, `{"settings":[{"component":"bmc","url":"http://a/b","wait":-1}]}`, `{"settings":["http://a/b"]}`},
		"management.update_firmware": {`{"firmware_images":[{"component":"bmc","url":"http://a/b"}]}`, `{"firmware_images":"http://a/b"}`},
		"management.set_bmc_clock":   {`{"target_datetime":"noon"}`},
	}
	for name, list := range bad {
		for _, args := range list {
			if len(definition(t, name).CheckArgs(object(t, args))) == 0 {
				t.Errorf("%s accepts %s", name, args)
			}
		}
	}
}
