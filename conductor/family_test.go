package conductor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

// rest waits until nothing is at the node and it has no power target.
func (b *bench) rest(ref string) *node.Node {
	b.t.Helper()
	return b.when(ref, "rest", func(n *node.Node) bool { return n.TargetPower == "" && n.Reservation == "" })
}

func TestCardsFollowTheirServersPowerAndNotItsRequests(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	card := b.rack.machines["dpu-1"]
	b.must(b.intake.Power(t.Context(), "dpu-1", node.PowerOn, 0, ""))
	b.rest("dpu-1")
	b.must(b.intake.Power(t.Context(), "dpu-1", node.PowerOff, 0, "")) // held in standby; its server stays on
	b.rest("dpu-1")
	for _, target := range []node.PowerState{node.PowerOn, node.Rebooting} {
		b.must(b.intake.Power(t.Context(), "host", target, 0, ""))
		b.rest("host")
		if n := b.get("dpu-1"); n.Power != node.PowerOff {
			t.Errorf("after %q of a server that was on, its card is recorded as %q and is %q", target, n.Power, card.state)
		}
	}
	b.must(b.intake.Power(t.Context(), "host", node.PowerOff, 0, ""))
	b.rest("host")
	b.rack.with(func() { card.state = node.PowerOn }) // as the slot will have it
	b.must(b.intake.Power(t.Context(), "host", node.PowerOn, 0, ""))
	b.rest("host")
	if n := b.get("dpu-1"); n.Power != node.PowerOn {
		t.Errorf("after the server came on its card is recorded as %q", n.Power)
	}
}

func TestAServerAndItsCardsDoNotWaitForEachOther(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1", "dpu-2", "dpu-3")
	b.rack.with(func() { b.rack.machines["host"].noReset = true })
	for range 10 {
		for name, target := range map[string]node.PowerState{"host": node.Rebooting, "dpu-1": node.PowerOn, "dpu-2": node.Rebooting, "dpu-3": node.PowerOn} {
			if err := b.intake.Power(t.Context(), name, target, 0, ""); err != nil && !fault.Is(err, fault.Locked) {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"host", "dpu-1", "dpu-2", "dpu-3"} {
			b.rest(name)
		}
	}
}

func TestACardBehindItsServersControllerIsShutDownWithIt(t *testing.T) {
	b := newBench(t)
	host := b.family()
	b.node("dpu-1", func(n *node.Node) { n.Parent, n.DriverInfo = host.UUID, node.Object{"address": "host"} })
	b.rack.with(func() { b.rack.machines["host"].noReset = true })
	b.must(b.intake.Power(t.Context(), "host", node.Rebooting, 0, ""))
	b.rest("host")
}

func TestPowerOffIsRefusedWhereItIsDisabled(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	b.edit("dpu-1", func(n *node.Node) { n.DisablePowerOff = true })
	b.must(b.intake.Power(t.Context(), "host", node.PowerOff, 0, ""))
	if n := b.rest("host"); !strings.Contains(n.LastError, "child node dpu-1: Failed to set node power state to power off") {
		t.Errorf("last_error %q", n.LastError)
	}
	b.received("host")
	b.node("alone", func(n *node.Node) { n.DisablePowerOff = true })
	b.rack.with(func() { b.rack.machines["alone"].state, b.rack.machines["alone"].noReset = node.PowerOn, true })
	b.must(b.intake.Power(t.Context(), "alone", node.Rebooting, 0, ""))
	if n := b.rest("alone"); !strings.Contains(n.LastError, "no restart that leaves the power on") {
		t.Errorf("last_error %q", n.LastError)
	}
	b.received("alone")
}

func TestAMachineThatHangsDelaysNoOther(t *testing.T) {
	b := newBench(t, func(c *conductor.Config) { c.SyncInterval, c.SyncWidth = 100*time.Millisecond, 2 })
	for _, name := range []string{"hangs-1", "hangs-2", "hangs-3", "hangs-4", "hangs-5"} {
		b.node(name)
		b.rack.with(func() { b.rack.machines[name].hangs = true })
	}
	b.node("well")
	for _, want := range []node.PowerState{node.PowerOn, node.PowerOff, node.PowerOn} {
		b.rack.with(func() { b.rack.machines["well"].state = want })
		b.when("well", string(want), func(n *node.Node) bool { return n.Power == want })
	}
}
