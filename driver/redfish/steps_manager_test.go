package redfish_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

func TestARestartOfTheControllerActivatesItsFirmware(t *testing.T) {
	b := newBench(t, card)
	if err := b.run(t, "firmware.update", object(t, `{"settings":[{"component":"BMC_Firmware","url":"http://images.example/bmc-24.10-20.fwpkg"}]}`)); err != nil {
		t.Fatal(err)
	}
	b.evidence = nil
	b.machine.Controller.Forget()
	if err := b.run(t, "management.reset_bmc", node.Object{}); err != nil {
		t.Fatal(err)
	}
	wantSent(t, b.machine, `POST /Managers/Bluefield_BMC/Actions/Manager.Reset {"ResetType":"GracefulRestart"}`)
	if d := cmp.Diff([]string{"the controller has restarted: BF-24.10-10 -> BF-24.10-20"}, b.evidence); d != "" {
		t.Errorf("evidence (-want +got):\n%s", d)
	}
	d := definition(t, "management.reset_bmc")
	if result, err := d.Run(t.Context(), b.task(nil)); result != step.Wait || err != nil { // as after a crash
		t.Errorf("%v, %v", result, err)
	}
	wantSent(t, b.machine)
}

// looked is a controller as one look finds it.
type looked struct {
	driver.Conn
	version, reset string
	err            error
}

func (l looked) ResetManager(context.Context) error { return nil }

func (l looked) ManagerStatus(context.Context) (version, lastReset string, err error) {
	return l.version, l.reset, l.err
}

func TestWhenAControllerCountsAsRestarted(t *testing.T) {
	silence := fault.New(fault.Timeout, "no answer")
	tests := map[string]struct {
		ago    time.Duration // since the restart was sent
		before string        // its last restart, as it told before
		silent bool
		now    looked
		want   step.Result
		kind   fault.Kind
		says   string // of the evidence or the error
	}{
		"its last restart is a new one":             {ago: time.Second, before: "1", now: looked{reset: "2", version: "v2"}, want: step.Done, says: "has restarted: v1 -> v2"},
		"it was silent and answers":                 {ago: time.Second, silent: true, now: looked{version: "v1"}, want: step.Done, says: "has restarted: v1 -> v1"},
		"not while its last restart is the old one": {ago: time.Minute, before: "1", now: looked{reset: "1"}, want: step.Wait},
		"not while it is silent":                    {ago: time.Minute, now: looked{err: silence}, want: step.Wait},
		"still silent":                              {ago: time.Minute, silent: true, now: looked{err: silence}, want: step.Wait},
		"not soon when it tells nothing":            {ago: time.Second, now: looked{}, want: step.Wait},
		"after a while when it tells nothing":       {ago: time.Minute, now: looked{version: "v1"}, want: step.Done, says: "does not tell whether it did"},
		"never when it has long been silent":        {ago: time.Hour, silent: true, now: looked{err: silence}, kind: fault.Timeout, says: "does not answer 10m0s after"},
		"never when it did nothing":                 {ago: time.Hour, before: "1", now: looked{reset: "1"}, kind: fault.Conflict, says: "says that its last one was at 1"},
		"not when it refuses us":                    {ago: time.Second, now: looked{err: fault.New(fault.Unauthorized, "refused")}, kind: fault.Unauthorized, says: "refused"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			memory, err := json.Marshal(map[string]any{"Version": "v1", "Reset": tt.before, "Sent": time.Now().Add(-tt.ago), "Silent": tt.silent})
			if err != nil {
				t.Fatal(err)
			}
			var told string
			task := &step.Task{
				Conn:     func(context.Context) (driver.Conn, error) { return tt.now, nil },
				Evidence: func(text string) { told = text },
				Keep:     func(context.Context, string, any) error { return nil },
				Kept:     func(string) (v any) { _ = json.Unmarshal(memory, &v); return v },
			}
			result, err := definition(t, "management.reset_bmc").Poll(t.Context(), task)
			if err != nil {
				told = err.Error()
			}
			if (err != nil) != (tt.kind != fault.Internal) || err != nil && !fault.Is(err, tt.kind) || err == nil && result != tt.want || !strings.Contains(told, tt.says) {
				t.Errorf("%v, %q, %v", result, told, err)
			}
		})
	}
	nothing := &step.Task{Kept: func(string) any { return nil }}
	if _, err := definition(t, "management.reset_bmc").Poll(t.Context(), nothing); !fault.Is(err, fault.Conflict) {
		t.Errorf("without a memory: %v", err)
	}
}
