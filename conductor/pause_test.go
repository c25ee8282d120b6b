package conductor_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func power(name string) node.Step { return node.Step{Interface: node.Power, Step: name} }

func TestWhileAnOperationIsHeldItsNodesAreFree(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	b.must(b.ask("host", "clean", power("hold"), onChildren("power_on")))
	b.until("host", node.CleanHold)
	b.must(b.intake.Power(t.Context(), "dpu-1", node.Rebooting, 0, ""))
	b.when("dpu-1", "on", func(n *node.Node) bool { return n.Power == node.PowerOn && n.Reservation == "" })
	m := b.gate("dpu-1")
	b.must(b.intake.Power(t.Context(), "dpu-1", node.PowerOff, 0, ""))
	<-m.entered
	b.must(b.ask("host", "unhold"))
	time.Sleep(300 * time.Millisecond)
	if n := b.get("host"); n.Provision != node.CleanWait || n.Reservation != "" {
		t.Errorf("while a child is somebody else's the node is %s, reserved by %q", n.Provision, n.Reservation)
	}
	b.open(m)
	b.until("host", node.Manageable)
	b.received("dpu-1", "On", "ForceOff", "On")
}

func TestHeldOperationsTakeNoRoom(t *testing.T) {
	b := newBench(t, func(c *conductor.Config) { c.Workers = 1 })
	b.node("held")
	b.node("other")
	b.must(b.ask("held", "clean", power("hold"), power("power_on")))
	b.until("held", node.CleanHold)
	b.must(b.ask("other", "clean", power("power_on")))
	b.until("other", node.Manageable)
	b.must(b.ask("held", "unhold"))
	b.until("held", node.Manageable)
}

func TestAnAbortEndsAHeldOperationAndNotTheOneAtTheNode(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) { n.Provision = node.Active })
	b.must(b.ask("n", "service", power("hold")))
	b.until("n", node.ServiceHold)
	m := b.gate("n")
	b.must(b.intake.Power(t.Context(), "n", node.PowerOn, 0, ""))
	<-m.entered
	if err := b.ask("n", "abort"); !fault.Is(err, fault.Locked) {
		t.Errorf("abort while somebody else is at the node: %v", err)
	}
	b.must(b.db.Write(t.Context(), func(tx *store.Tx) error { // an abort that was taken in a moment before the request for power
		op, err := tx.OpenOp(t.Context(), b.get("n").UUID, "service")
		if err != nil {
			return err
		}
		return tx.ControlOp(t.Context(), op, store.WordAbort)
	}))
	time.Sleep(200 * time.Millisecond)
	if n := b.get("n"); n.Reservation == "" || n.Provision != node.ServiceHold {
		t.Errorf("the abort took the node from the operation at work on it: it is %s, reserved by %q", n.Provision, n.Reservation)
	}
	b.open(m)
	b.until("n", node.Active)
	b.received("n", "On")
}

func TestAnAbortWaitsForAStepThatCannotBeAborted(t *testing.T) {
	b := newBench(t)
	b.node("n")
	b.must(b.ask("n", "clean", manage("patient", nil), power("power_on")))
	b.until("n", node.CleanWait)
	b.must(b.ask("n", "abort"))
	b.when("n", "abort_after", func(n *node.Node) bool { return n.CleanStep["abort_after"] == true })
	b.stop()
	b.start()
	b.say("n", "resume")
	n := b.until("n", node.CleanFail)
	if !strings.Contains(n.LastError, "aborted by an operator, after step management.patient") || n.Maintenance {
		t.Errorf("last_error %q, maintenance %v", n.LastError, n.Maintenance)
	}
	b.received("n")
}

func TestAnotherRequestTakesThePlaceOfAnOperationThatWaits(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	b.edit("host", func(n *node.Node) { n.Provision = node.Active })
	b.must(b.ask("host", "service", manage("patient", nil), onChildren("power_on")))
	b.until("host", node.ServiceWait)
	b.must(b.ask("host", "deleted"))
	b.until("host", node.Available)
	b.must(b.db.Read(t.Context(), func(tx *store.Tx) error {
		op, err := tx.LastOp(t.Context(), b.get("host").UUID, "service")
		if err == nil && (op.State != store.OpAborted || !strings.Contains(op.Error, `the target "deleted" was asked for`)) {
			t.Errorf("the service is %s: %s", op.State, op.Error)
		}
		return err
	}))
	if got := b.rack.commands("dpu-1"); slices.Contains(got, "On") {
		t.Errorf("a step of the old operation was run: dpu-1 received %v", got)
	}
	if n := b.get("dpu-1"); n.Reservation != "" {
		t.Errorf("the child is reserved by %q", n.Reservation)
	}
}

func TestServiceInTheMiddleOfAHeldService(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) { n.Provision = node.Active })
	b.must(b.ask("n", "service", power("hold"), power("power_off")))
	b.until("n", node.ServiceHold)
	b.must(b.ask("n", "service", power("power_on")))
	b.until("n", node.Active)
	b.received("n", "On")
}

func TestAnAbortedServiceLeavesTheNodeActive(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) { n.Provision = node.Active })
	b.must(b.ask("n", "service", power("hold"), power("power_off")))
	b.until("n", node.ServiceHold)
	b.must(b.ask("n", "abort"))
	n := b.until("n", node.Active)
	if !strings.Contains(n.LastError, "aborted by an operator") || n.TargetProvision != "" {
		t.Errorf("last_error %q, target %q", n.LastError, n.TargetProvision)
	}
}

func TestAnAgentEndsAWait(t *testing.T) {
	b := newBench(t)
	b.node("good")
	b.node("bad", func(n *node.Node) { n.DriverInternalInfo = node.Object{"agent_status_message": "no disk"} })
	for _, name := range []string{"good", "bad"} {
		b.must(b.ask(name, "clean", power("wait"), power("power_on")))
		b.until(name, node.CleanWait)
	}
	for name, status := range map[string]string{"good": "", "bad": "error"} {
		b.must(b.db.Write(t.Context(), func(tx *store.Tx) error {
			n, err := tx.NodeForUpdate(t.Context(), name)
			if err != nil {
				return err
			}
			return conductor.Heard(t.Context(), tx, n, status)
		}))
	}
	b.until("good", node.Manageable)
	b.received("good", "On")
	if n := b.until("bad", node.CleanFail); !strings.Contains(n.LastError, "the node's agent reports an error: no disk") {
		t.Errorf("last_error %q", n.LastError)
	}
}

func TestAHeartbeatDoesNotEndAStepThatIsLookedAt(t *testing.T) {
	b := newBench(t, func(c *conductor.Config) { c.PollInterval = time.Hour })
	b.node("n")
	b.must(b.ask("n", "clean", manage("update", nil)))
	b.until("n", node.CleanWait)
	b.say("n", "resume") // a look at once instead
	b.when("n", "the next update", func(*node.Node) bool { return len(b.rack.commands("n")) == 2 })
	if n := b.get("n"); n.Provision != node.CleanWait {
		t.Errorf("the node is %s", n.Provision)
	}
}

func TestEveryWaitHasAnEnd(t *testing.T) {
	tests := map[string]struct {
		verb  string
		steps []node.Step
		from  node.State
		wait  node.State
		to    node.State
	}{
		"a clean":       {"clean", []node.Step{manage("patient", nil)}, node.Manageable, node.CleanWait, node.CleanFail},
		"a service":     {"service", []node.Step{manage("patient", nil)}, node.Active, node.ServiceWait, node.ServiceFail},
		"a deployment":  {"active", []node.Step{{Interface: node.Management, Step: "patient", Priority: 1}}, node.Available, node.DeployWait, node.DeployFail},
		"an inspection": {"inspect", nil, node.Manageable, node.InspectWait, node.InspectFail},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *conductor.Config) { c.WaitTimeout = 300 * time.Millisecond })
			b.node("n", func(n *node.Node) { n.Provision, n.Interfaces[node.Inspect] = tt.from, "agent" })
			b.must(b.ask("n", tt.verb, tt.steps...))
			b.until("n", tt.wait)
			b.stop()
			b.start() // the wait goes on in the next conductor, and ends there
			if n := b.until("n", tt.to); !strings.Contains(n.LastError, "Timeout reached while waiting for callback") {
				t.Errorf("last_error %q", n.LastError)
			}
		})
	}
}

func TestADeletedNodeTakesItsHeldOperationAlong(t *testing.T) {
	b := newBench(t)
	n := b.node("n")
	b.must(b.ask("n", "clean", power("hold")))
	b.until("n", node.CleanHold)
	b.must(b.db.Write(t.Context(), func(tx *store.Tx) error { return tx.DeleteNode(t.Context(), n.UUID) }))
	b.node("other")
	b.must(b.ask("other", "clean", power("power_on")))
	b.until("other", node.Manageable)
}

func TestWordsAreRefusedWhereNothingWaits(t *testing.T) {
	b := newBench(t)
	b.node("n")
	for _, verb := range []string{"abort", "unhold"} {
		if err := b.ask("n", verb); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s of a node at rest: %v", verb, err)
		}
	}
	b.node("failed", func(n *node.Node) { n.Provision, n.LastError = node.ServiceFail, "broken" })
	b.must(b.ask("failed", "abort"))
	if n := b.get("failed"); n.Provision != node.Active || n.LastError != "" {
		t.Errorf("after the abort of a failed service the node is %s: %s", n.Provision, n.LastError)
	}
}
