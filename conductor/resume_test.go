package conductor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func manage(name string, args node.Object) node.Step {
	return node.Step{Interface: node.Management, Step: name, Args: args}
}

// TestACrashInAPowerChange stops the conductor at each command of a power change. Nothing relative is sent twice, and what can be known is known.
func TestACrashInAPowerChange(t *testing.T) {
	tests := map[string]struct {
		target  node.PowerState
		noReset bool
		at      int
		want    []string
	}{
		"a shutdown that was sent is waited for":       {node.SoftPowerOff, false, 1, []string{"GracefulShutdown"}},
		"a power off is looked at":                     {node.PowerOff, false, 1, []string{"ForceOff"}},
		"a restart is found by the last reset":         {node.Rebooting, false, 1, []string{"ForceRestart"}},
		"a restart by off and on goes on with on":      {node.Rebooting, true, 1, []string{"ForceOff", "On"}},
		"a restart that was switched on again is done": {node.Rebooting, true, 2, []string{"ForceOff", "On"}},
		"a soft restart goes on with on":               {node.SoftRebooting, true, 1, []string{"GracefulShutdown", "On"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.node("n", func(n *node.Node) { n.Power = node.PowerOn })
			b.rack.with(func() { b.rack.machines["n"].state, b.rack.machines["n"].noReset = node.PowerOn, tt.noReset })
			m := b.gate("n")
			b.must(b.intake.Power(t.Context(), "n", tt.target, 0, ""))
			b.crashAt(m, tt.at)
			b.start()
			n := b.when("n", "rest", func(n *node.Node) bool { return n.TargetPower == "" && n.Reservation == "" })
			b.received("n", tt.want...)
			if n.LastError != "" || n.Power != m.state {
				t.Errorf("the node is %q, the machine %q, last error %q", n.Power, m.state, n.LastError)
			}
		})
	}
}

func TestARestartThatNeverArrivedIsSentAgain(t *testing.T) {
	b := newBench(t, func(c *conductor.Config) { c.CommandLimit = 10 * time.Millisecond })
	b.node("n")
	b.rack.with(func() { b.rack.machines["n"].state, b.rack.machines["n"].swallow = node.PowerOn, true })
	m := b.gate("n")
	b.must(b.intake.Power(t.Context(), "n", node.Rebooting, 0, ""))
	<-m.entered
	b.stop()
	b.rack.with(func() { m.gate = nil })
	b.start()
	n := b.when("n", "rest", func(n *node.Node) bool { return n.TargetPower == "" && n.Reservation == "" })
	b.received("n", "ForceRestart")
	evidence := strings.Join(b.steps("n", "power")[0].Evidence, "; ")
	if n.LastError != "" || !strings.Contains(evidence, "was not carried out, as the machine's last reset shows; it is sent again") {
		t.Errorf("last_error %q, evidence %s", n.LastError, evidence)
	}
}

func TestACrashInAStepOfSeveralCommands(t *testing.T) {
	for at, what := range []string{1: "the setting", 2: "the restart"} {
		if what == "" {
			continue
		}
		t.Run(what, func(t *testing.T) {
			b := newBench(t)
			b.node("n")
			b.rack.with(func() { b.rack.machines["n"].state = node.PowerOn })
			m := b.gate("n")
			b.must(b.ask("n", "clean", manage("configure", nil)))
			b.crashAt(m, at)
			b.start()
			b.until("n", node.Manageable)
			if got := strings.Count(strings.Join(b.rack.commands("n"), " "), "ForceRestart"); got != 1 {
				t.Errorf("the machine was restarted %d times: %v", got, b.rack.commands("n"))
			}
		})
	}
}

// TestACrashWhileAStepWaits has a step that sends a relative command at each look. A command that was answered is not held against it later.
func TestACrashWhileAStepWaits(t *testing.T) {
	b := newBench(t, func(c *conductor.Config) { c.PollInterval = 20 * time.Millisecond })
	b.node("n")
	m := b.gate("n")
	b.must(b.ask("n", "clean", manage("update", nil)))
	<-m.entered
	m.gate <- struct{}{}
	b.until("n", node.CleanWait)
	b.stop()
	b.start()
	b.crashAt(m, 2)
	b.start()
	n := b.until("n", node.CleanFail)
	b.received("n", "update", "update")
	if !strings.Contains(n.LastError, "It was not sent again. Look at the machine") {
		t.Errorf("last_error %q", n.LastError)
	}
	if got := b.steps("n", "clean")[0]; got.State != store.StepUnknown {
		t.Errorf("the step is %s", got.State)
	}
}

func TestAStepThatWaitsGoesOnAfterEachRestart(t *testing.T) {
	b := newBench(t, func(c *conductor.Config) { c.PollInterval = 100 * time.Millisecond })
	b.node("n")
	b.must(b.ask("n", "clean", manage("update", nil)))
	for range 3 {
		b.until("n", node.CleanWait)
		b.stop()
		b.start()
	}
	b.until("n", node.Manageable)
	b.received("n", "update", "update", "update")
}

func TestALostAnswerToARelativeCommandIsUnknown(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	b.rack.with(func() { b.rack.machines["dpu-1"].lost = fault.New(fault.Timeout, "BMC dpu-1 did not answer within 1s") })
	b.must(b.ask("host", "clean", node.Step{Interface: node.Vendor, Step: "send_raw", Args: node.Object{"raw_bytes": "0x32 0x01"}, OnChildren: true}))
	n := b.until("host", node.CleanFail)
	b.received("dpu-1", "raw 3201")
	if got := b.steps("host", "clean")[0]; got.State != store.StepUnknown || !strings.Contains(n.LastError, "what came of it is unknown: BMC dpu-1 did not answer") {
		t.Errorf("the step is %s, last_error %q", got.State, n.LastError)
	}
}

func TestAStepThatPanicsFailsAlone(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	s := manage("panics", nil)
	s.OnChildren = true
	b.must(b.ask("host", "clean", s))
	if n := b.until("host", node.CleanFail); !strings.Contains(n.LastError, "the step panicked; see the log of here") {
		t.Errorf("last_error %q", n.LastError)
	}
}

func TestAStopWaitsForTheStepAndTheNextConductorGoesOn(t *testing.T) {
	b := newBench(t)
	b.drain = 5 * time.Second
	b.stop()
	b.start()
	b.family("dpu-1")
	m := b.gate("dpu-1")
	b.must(b.ask("host", "clean", onChildren("power_on"), onChildren("reboot")))
	<-m.entered
	stopped := make(chan struct{})
	go func() { b.stop(); close(stopped) }()
	time.Sleep(50 * time.Millisecond)
	select {
	case <-stopped:
		t.Fatal("the conductor stopped inside a step")
	default:
	}
	m.gate <- struct{}{}
	<-stopped
	b.received("dpu-1", "On")
	if got := b.steps("host", "clean"); got[0].State != store.StepDone || got[1].State != store.StepPlanned {
		t.Errorf("when it had stopped the steps were %s and %s", got[0].State, got[1].State)
	}
	b.rack.with(func() { m.gate = nil })
	b.start()
	b.until("host", node.Manageable)
	b.received("dpu-1", "On", "ForceRestart")
}
