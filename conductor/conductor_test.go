package conductor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/fake"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/shard"
	"github.com/riser-project/riser/step"
	"github.com/riser-project/riser/step/steps"
	"github.com/riser-project/riser/store"
)

// bench is a store, a rack of machines and a conductor that can be stopped and started.
type bench struct {
	t      *testing.T
	dir    string // of the database
	db     *store.DB
	rack   *rack
	intake *conductor.Intake
	stop   func()
	starts int
	drain  time.Duration // 0 ends a conductor as a crash would
}

var quick = driver.Pace{
	Poll: time.Millisecond, Rest: time.Millisecond, Off: time.Second, SoftOff: time.Second, On: time.Second, Restart: time.Second, Boot: time.Second, Hint: time.Millisecond,
}

func newBench(t *testing.T, change ...func(*conductor.Config)) *bench {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "riser.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := conductor.Config{
		PollInterval: 5 * time.Millisecond, StepTimeout: 5 * time.Second, SyncInterval: -1,
		Disallowed: map[node.Flow][]string{node.FlowService: {"vendor.send_raw"}},
	}
	for _, c := range change {
		c(&cfg)
	}
	b := &bench{t: t, dir: dir, db: db, rack: newRack()}
	b.intake = &conductor.Intake{
		DB: db, Config: cfg, Catalog: step.NewCatalog(steps.All(), fake.Steps(), rackSteps()),
		Drivers: map[string]driver.Driver{"rack": b.rack, "fake-hardware": fake.New(fake.Options{})},
	}
	b.start()
	t.Cleanup(func() {
		b.stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// start runs a new conductor; stop ends it as a crash would: nothing is waited for.
func (b *bench) start() {
	b.starts++
	h := shard.New(b.db, shard.Options{ID: fmt.Sprint("conductor-", b.starts), Hostname: "here"})
	c := conductor.New(conductor.Options{DB: b.db, Holder: h, Catalog: b.intake.Catalog, Drivers: b.intake.Drivers, Config: b.intake.Config, Pace: quick})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	drain := b.drain
	wg.Go(func() {
		if err := c.Run(ctx, drain); err != nil {
			b.t.Error(err)
		}
	})
	b.stop = func() { cancel(); wg.Wait(); b.stop = func() {} }
}

func (b *bench) node(name string, change ...func(*node.Node)) *node.Node {
	b.t.Helper()
	n := &node.Node{
		UUID: uuid.NewString(), Name: name, Driver: "rack", Provision: node.Manageable, DriverInfo: node.Object{"address": name},
		Interfaces: node.Interfaces{node.Power: "rack", node.Management: "rack", node.Vendor: "bluefield"},
	}
	for _, c := range change {
		c(n)
	}
	b.rack.with(func() { b.rack.add(name) })
	if err := b.db.Write(b.t.Context(), func(tx *store.Tx) error { return tx.InsertNode(b.t.Context(), n) }); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// family is a host that is on, with the given cards in its slots.
func (b *bench) family(cards ...string) *node.Node {
	host := b.node("host", func(n *node.Node) { n.Power = node.PowerOn })
	b.rack.with(func() { b.rack.machines["host"].state = node.PowerOn })
	for _, name := range cards {
		b.node(name, func(n *node.Node) { n.Parent = host.UUID })
		b.rack.with(func() {
			b.rack.machines["host"].slots = append(b.rack.machines["host"].slots, b.rack.machines[name])
		})
	}
	return host
}

func (b *bench) get(ref string) *node.Node {
	b.t.Helper()
	var n *node.Node
	if err := b.db.Read(b.t.Context(), func(tx *store.Tx) (err error) { n, err = tx.Node(b.t.Context(), ref); return err }); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *bench) ask(ref, target string, list ...node.Step) error {
	v, ok := node.VerbOf(target)
	if !ok {
		b.t.Fatalf("no verb %s", target)
	}
	return b.intake.Provision(b.t.Context(), ref, conductor.Request{Verb: v, Steps: list})
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// mend clears the maintenance that a failure left, and sets the node to manage.
func (b *bench) mend(ref string) {
	b.t.Helper()
	b.edit(ref, func(n *node.Node) { n.Maintenance, n.MaintenanceReason, n.Fault = false, "", "" })
	b.must(b.ask(ref, "manage"))
}

func (b *bench) edit(ref string, change func(n *node.Node)) {
	b.t.Helper()
	b.must(b.db.Write(b.t.Context(), func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(b.t.Context(), ref)
		if err != nil {
			return err
		}
		change(n)
		return tx.SaveNode(b.t.Context(), n)
	}))
}

// say leaves a word for the operation on a node, as an agent's heartbeat does.
func (b *bench) say(ref, word string) {
	b.t.Helper()
	b.must(b.db.Write(b.t.Context(), func(tx *store.Tx) error {
		op, err := tx.OpenOp(b.t.Context(), b.get(ref).UUID)
		if err != nil {
			return err
		}
		return tx.ControlOp(b.t.Context(), op, word)
	}))
}

// received compares what arrived at a machine.
func (b *bench) received(name string, want ...string) {
	b.t.Helper()
	if d := cmp.Diff(append([]string{}, want...), b.rack.commands(name)); d != "" {
		b.t.Errorf("%s received (-want +got):\n%s", name, d)
	}
}

// until waits for a node to be at rest in a state.
func (b *bench) until(ref string, want node.State) *node.Node {
	b.t.Helper()
	return b.when(ref, string(want), func(n *node.Node) bool { return n.Provision == want && n.Reservation == "" })
}

func (b *bench) when(ref, what string, ok func(*node.Node) bool) *node.Node {
	b.t.Helper()
	var n *node.Node
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if n = b.get(ref); ok(n) {
			return n
		}
	}
	b.t.Fatalf("node %s did not come to %s: it is %q, reserved by %q, last error %q", ref, what, n.Provision, n.Reservation, n.LastError)
	return nil
}

func (b *bench) steps(ref, kind string) []*store.OpStep {
	b.t.Helper()
	var list []*store.OpStep
	b.must(b.db.Read(b.t.Context(), func(tx *store.Tx) error {
		op, err := tx.LastOp(b.t.Context(), b.get(ref).UUID, kind)
		if err != nil || op == nil {
			return err
		}
		list, err = tx.Steps(b.t.Context(), op.ID)
		return err
	}))
	return list
}

func onChildren(name string, only ...string) node.Step {
	return node.Step{Interface: node.Power, Step: name, OnChildren: true, LimitToChildren: only}
}

func TestManageReadsTheMachine(t *testing.T) {
	b := newBench(t)
	b.node("host", func(n *node.Node) { n.Provision = node.Enroll })
	b.rack.with(func() {
		b.rack.machines["host"].state = node.PowerOn
		b.rack.machines["host"].id = driver.Identity{SystemUUID: "u-1", CardSerials: []string{"MT1"}}
	})
	b.must(b.ask("host", "manage"))
	n := b.until("host", node.Manageable)
	if n.Power != node.PowerOn || n.DriverInternalInfo["system_uuid"] != "u-1" || n.TargetProvision != "" || n.LastError != "" {
		t.Errorf("after manage: power %q, internal info %v, target %q, error %q", n.Power, n.DriverInternalInfo, n.TargetProvision, n.LastError)
	}
}

func TestManageRefusesAnotherCard(t *testing.T) {
	b := newBench(t)
	b.node("dpu", func(n *node.Node) { n.Provision, n.Card.Serial = node.Enroll, "MT1" })
	b.rack.with(func() { b.rack.machines["dpu"].id = driver.Identity{Serial: "MT2"} })
	b.must(b.ask("dpu", "manage"))
	n := b.when("dpu", "an error", func(n *node.Node) bool { return n.LastError != "" && n.Reservation == "" })
	if n.Provision != node.Enroll || !strings.Contains(n.LastError, `its card has serial "MT1", but the controller at dpu says "MT2"`) {
		t.Errorf("node is %s: %s", n.Provision, n.LastError)
	}
}

func TestManageTellsWhyItFailed(t *testing.T) {
	b := newBench(t)
	b.node("host", func(n *node.Node) { n.Provision = node.Enroll })
	b.rack.with(func() { b.rack.machines["host"].fail = fault.New(fault.Timeout, "BMC host does not answer") })
	b.must(b.ask("host", "manage"))
	n := b.when("host", "an error", func(n *node.Node) bool { return n.LastError != "" && n.Reservation == "" })
	if n.Provision != node.Enroll || !strings.Contains(n.LastError, "BMC host does not answer") || n.Maintenance {
		t.Errorf("node is %s, maintenance %v: %s", n.Provision, n.Maintenance, n.LastError)
	}
}

func TestProvideCleansAndDeleteCleansAgain(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) {
		n.Driver, n.Interfaces = "fake-hardware", node.Interfaces{node.Deploy: "fake", node.Power: "fake"}
	})
	b.must(b.ask("n", "provide"))
	b.until("n", node.Available)
	b.must(b.ask("n", "active"))
	n := b.until("n", node.Active)
	if got := b.steps("n", "deploy"); len(got) != 1 || got[0].Name() != "deploy.deploy" || got[0].State != store.StepDone {
		t.Errorf("deploy ran %v", got)
	}
	if n.DeployStep != nil {
		t.Errorf("a deploy step is left: %v", n.DeployStep)
	}
	b.must(b.ask("n", "deleted"))
	b.until("n", node.Available)
}

func TestStepsOnChildrenAndParent(t *testing.T) {
	b := newBench(t)
	host := b.family("dpu-1", "dpu-2", "dpu-3")
	device := func(only ...string) node.Step {
		return node.Step{Interface: node.Management, Step: "set_boot_device", Args: node.Object{"device": "pxe"}, OnChildren: true, LimitToChildren: only}
	}
	b.must(b.ask("host", "clean", onChildren("power_on"), device(), onChildren("reboot", "dpu-2"), node.Step{Interface: node.Power, Step: "reboot"}))
	n := b.get("host")
	if n.Provision != node.Cleaning || n.TargetProvision != node.Manageable || n.Reservation == "" {
		t.Errorf("when the request returns the node is %s towards %s, reserved by %q", n.Provision, n.TargetProvision, n.Reservation)
	}
	b.until("host", node.Manageable)
	want := map[string][]string{
		"host":  {"ForceRestart"},
		"dpu-1": {"On", "boot pxe"},
		"dpu-2": {"On", "boot pxe", "ForceRestart"},
		"dpu-3": {"On", "boot pxe"},
	}
	for name, cmds := range want {
		if d := cmp.Diff(cmds, b.rack.commands(name)); d != "" {
			t.Errorf("%s received (-want +got):\n%s", name, d)
		}
		if n := b.get(name); n.Reservation != "" || n.Provision != node.Manageable || n.Power != node.PowerOn {
			t.Errorf("%s is %s, %s, reserved by %q", name, n.Provision, n.Power, n.Reservation)
		}
	}
	steps := b.steps("host", "clean")
	if len(steps) != 8 {
		t.Fatalf("%d steps on record, want 8", len(steps))
	}
	for _, s := range steps {
		if s.State != store.StepDone || s.Attempt != 1 || s.Started.IsZero() || s.Ended.IsZero() || len(s.Sent) != 1 {
			t.Errorf("step %s on %s: %+v", s.Name(), s.Node, s)
		}
	}
	if history := b.history(host); !slices.Contains(history, "manual_cleaning_start") || !slices.Contains(history, "manual_cleaning_end") {
		t.Errorf("history has %v", history)
	}
}

func (b *bench) history(n *node.Node) []string {
	var types []string
	b.must(b.db.Read(b.t.Context(), func(tx *store.Tx) error {
		events, err := tx.Events(b.t.Context(), n.UUID, "", 0, false)
		for _, e := range events {
			types = append(types, e.Type)
		}
		return err
	}))
	return types
}

func TestAFailedChildFailsAloneAndTheRetryRunsOnlyThere(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1", "dpu-2")
	b.rack.with(func() { b.rack.machines["dpu-2"].fail = fault.New(fault.Timeout, "BMC dpu-2 did not answer within 1s") })
	list := []node.Step{onChildren("power_on"), onChildren("reboot")}
	b.must(b.ask("host", "clean", list...))
	n := b.until("host", node.CleanFail)
	for _, want := range []string{"Node host: clean step power.power_on failed on 1 of 2 child nodes: dpu-2: BMC dpu-2 did not answer within 1s.", "It is done on dpu-1.", "send the same clean again"} {
		if !strings.Contains(n.LastError, want) {
			t.Errorf("last_error %q lacks %q", n.LastError, want)
		}
	}
	if !n.Maintenance || n.Fault != node.FaultClean || n.TargetProvision != node.Manageable {
		t.Errorf("maintenance %v, fault %q, target %q", n.Maintenance, n.Fault, n.TargetProvision)
	}
	if got := b.rack.commands("dpu-1"); !slices.Equal(got, []string{"On"}) {
		t.Errorf("dpu-1 received %v", got)
	}
	b.rack.with(func() { b.rack.machines["dpu-2"].fail = nil })
	b.must(b.db.Write(t.Context(), func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(t.Context(), "host")
		n.Maintenance, n.Fault = false, ""
		if err == nil {
			err = tx.SaveNode(t.Context(), n)
		}
		return err
	}))
	b.must(b.ask("host", "manage"))
	b.must(b.ask("host", "clean", list...))
	b.until("host", node.Manageable)
	if d := cmp.Diff([]string{"On", "ForceRestart"}, b.rack.commands("dpu-1")); d != "" {
		t.Errorf("dpu-1 received (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"On", "ForceRestart"}, b.rack.commands("dpu-2")); d != "" {
		t.Errorf("dpu-2 received (-want +got):\n%s", d)
	}
	states := map[store.StepState]int{}
	for _, s := range b.steps("host", "clean") {
		states[s.State]++
	}
	if states[store.StepSkipped] != 1 || states[store.StepDone] != 3 {
		t.Errorf("states of the second operation: %v", states)
	}
}

func TestARetryRunsAgainWhatSomebodyHasChangedSince(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1", "dpu-2")
	b.rack.with(func() { b.rack.machines["dpu-2"].fail = fault.New(fault.Timeout, "no answer") })
	b.must(b.ask("host", "clean", onChildren("power_on")))
	b.until("host", node.CleanFail)
	b.must(b.intake.Power(t.Context(), "dpu-1", node.PowerOff, 0, ""))
	b.when("dpu-1", "off", func(n *node.Node) bool { return n.Power == node.PowerOff && n.Reservation == "" })
	b.rack.with(func() { b.rack.machines["dpu-2"].fail = nil })
	b.must(b.db.Write(t.Context(), func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(t.Context(), "host")
		n.Maintenance = false
		if err == nil {
			err = tx.SaveNode(t.Context(), n)
		}
		return err
	}))
	b.must(b.ask("host", "manage"))
	b.must(b.ask("host", "clean", onChildren("power_on")))
	b.until("host", node.Manageable)
	if d := cmp.Diff([]string{"On", "ForceOff", "On"}, b.rack.commands("dpu-1")); d != "" {
		t.Errorf("dpu-1 received (-want +got):\n%s", d)
	}
}

func TestProvisionRefuses(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	b.node("other")
	b.node("broken", func(n *node.Node) { n.Maintenance = true })
	b.node("held", func(n *node.Node) { n.Reservation = "elsewhere" })
	b.node("kept", func(n *node.Node) { n.Provision, n.Protected = node.Active, true })
	tests := map[string]struct {
		ref, verb string
		steps     []node.Step
		kind      fault.Kind
		want      []string
	}{
		"a verb the state does not allow": {"host", "active", nil, fault.Invalid, []string{`The requested action "active" can not be performed on node "`, `while it is in state "manageable".`}},
		"an unknown node":                 {"nosuch", "manage", nil, fault.NotFound, []string{"Node nosuch could not be found."}},
		"a locked node":                   {"held", "clean", []node.Step{onChildren("power_on")}, fault.Locked, []string{"is locked by host elsewhere, please retry after the current operation is completed."}},
		"clean in maintenance":            {"broken", "clean", []node.Step{onChildren("power_on")}, fault.Invalid, []string{"maintenance mode"}},
		"a protected instance":            {"kept", "deleted", nil, fault.Forbidden, []string{"is protected"}},
		"every fault of every step": {"host", "clean", []node.Step{
			{Interface: node.BIOS, Step: "nosuch"},
			{Interface: node.Management, Step: "set_boot_device", Args: node.Object{"devise": "pxe"}},
			onChildren("power_on", "other"),
			{Interface: node.Vendor, Step: "nosuch", OnChildren: true},
		}, fault.Invalid, []string{
			"node host (driver rack) does not have step bios.nosuch; it has ",
			"set_boot_device on node host is missing these required arguments: device", "has these unexpected arguments: devise",
			"step power.power_on: other is not a child of node host",
			"node dpu-1 (driver rack) does not have step vendor.nosuch",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := b.state(tt.ref)
			err := b.ask(tt.ref, tt.verb, tt.steps...)
			if !fault.Is(err, tt.kind) {
				t.Fatalf("error %v is %v, want %v", err, fault.KindOf(err), tt.kind)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if d := cmp.Diff(before, b.state(tt.ref)); d != "" {
				t.Errorf("the refused request changed the node:\n%s", d)
			}
		})
	}
}

func (b *bench) state(ref string) any {
	if ref == "nosuch" {
		return nil
	}
	return b.get(ref)
}

func TestAStepThatTheOperatorDisallowsSaysWhichSetting(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) { n.Provision = node.Active })
	err := b.ask("n", "service", node.Step{Interface: node.Vendor, Step: "send_raw", Args: node.Object{"raw_bytes": "0x06 0x01"}})
	if want := "service step 'vendor.send_raw' is not allowed. Disallowed by operator configuration [api]disallow_service_steps."; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

func TestALockedChildRefusesTheWholeRequest(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1", "dpu-2")
	b.must(b.db.Write(t.Context(), func(tx *store.Tx) error {
		n, err := tx.NodeForUpdate(t.Context(), "dpu-2")
		n.Reservation = "elsewhere"
		if err == nil {
			err = tx.SaveNode(t.Context(), n)
		}
		return err
	}))
	err := b.ask("host", "clean", onChildren("power_on"))
	if !fault.Is(err, fault.Locked) || !strings.Contains(err.Error(), "child_node "+b.get("dpu-2").UUID+" is presently locked") {
		t.Errorf("error %v", err)
	}
	for _, name := range []string{"host", "dpu-1"} {
		if n := b.get(name); n.Reservation != "" || n.Provision != node.Manageable {
			t.Errorf("%s was left %s, reserved by %q", name, n.Provision, n.Reservation)
		}
	}
}

func TestDryRunSaysWhatWouldBeSentAndChangesNothing(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1", "dpu-2")
	verb, _ := node.VerbOf("clean")
	plan, err := b.intake.DryRun(t.Context(), "host", conductor.Request{Verb: verb, Steps: []node.Step{
		onChildren("power_on"), {Interface: node.Management, Step: "set_boot_device", Args: node.Object{"device": "pxe"}, OnChildren: true, LimitToChildren: []string{"dpu-2"}},
	}})
	b.must(err)
	var got []string
	for _, s := range plan.Steps {
		got = append(got, fmt.Sprintf("%d %s %s %d", s.Seq, s.Name, s.Step, min(len(s.Commands), 1)))
	}
	if d := cmp.Diff([]string{"0 dpu-1 power_on 1", "0 dpu-2 power_on 1", "1 dpu-2 set_boot_device 1"}, got); d != "" {
		t.Errorf("plan (-want +got):\n%s", d)
	}
	if n := b.get("host"); n.Provision != node.Manageable || n.Reservation != "" {
		t.Errorf("the dry run left the node %s, reserved by %q", n.Provision, n.Reservation)
	}
}

func TestHoldAndUnhold(t *testing.T) {
	b := newBench(t)
	b.node("n")
	b.must(b.ask("n", "clean", node.Step{Interface: node.Power, Step: "hold"}, node.Step{Interface: node.Power, Step: "power_on"}))
	n := b.until("n", node.CleanHold)
	if n.TargetProvision != node.Manageable {
		t.Errorf("while held it aims at %q", n.TargetProvision)
	}
	b.stop()
	b.start()
	time.Sleep(20 * time.Millisecond)
	if got := b.rack.commands("n"); len(got) != 0 {
		t.Errorf("while held, across a restart, the machine received %v", got)
	}
	b.must(b.ask("n", "unhold"))
	b.until("n", node.Manageable)
	if got := b.rack.commands("n"); !slices.Equal(got, []string{"On"}) {
		t.Errorf("the machine received %v", got)
	}
}

func TestAbortOfAHeldClean(t *testing.T) {
	b := newBench(t)
	b.node("n")
	b.must(b.ask("n", "clean", node.Step{Interface: node.Power, Step: "hold"}, node.Step{Interface: node.Power, Step: "power_on"}))
	b.until("n", node.CleanHold)
	b.must(b.ask("n", "abort"))
	n := b.until("n", node.CleanFail)
	if !strings.Contains(n.LastError, "aborted by an operator") || n.Maintenance || len(b.rack.commands("n")) != 0 {
		t.Errorf("last_error %q, maintenance %v, received %v", n.LastError, n.Maintenance, b.rack.commands("n"))
	}
}

func TestAWaitEndsWhenTheAgentReportsOrItsTimeIsOver(t *testing.T) {
	b := newBench(t, func(c *conductor.Config) { c.WaitTimeout = 100 * time.Millisecond })
	b.node("n")
	b.must(b.ask("n", "clean", node.Step{Interface: node.Power, Step: "wait"}))
	n := b.until("n", node.CleanFail)
	if !strings.Contains(n.LastError, "Timeout reached while waiting for callback") {
		t.Errorf("last_error %q", n.LastError)
	}
}

func TestChildOnBringsItsServerUpFirst(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	b.rack.with(func() { b.rack.machines["host"].state = node.PowerOff })
	b.must(b.intake.Power(t.Context(), "dpu-1", node.PowerOn, 0, ""))
	b.when("dpu-1", "on", func(n *node.Node) bool { return n.Power == node.PowerOn && n.TargetPower == "" })
	if got := b.rack.commands("host"); !slices.Equal(got, []string{"On"}) {
		t.Errorf("the server received %v", got)
	}
	if n := b.get("host"); n.Power != node.PowerOn {
		t.Errorf("the server is %q", n.Power)
	}
}

func TestServerOffShutsItsCardsDownFirst(t *testing.T) {
	for _, target := range []node.PowerState{node.PowerOff, node.SoftPowerOff} {
		b := newBench(t)
		b.family("dpu-1", "dpu-2")
		b.node("own", func(n *node.Node) {
			n.Parent = b.get("host").UUID
			n.DriverInfo["has_dedicated_power_supply"] = "true"
		})
		b.rack.with(func() {
			for _, name := range []string{"dpu-1", "dpu-2", "own"} {
				b.rack.machines[name].state = node.PowerOn
			}
		})
		b.must(b.intake.Power(t.Context(), "host", target, 0, ""))
		b.when("host", "off", func(n *node.Node) bool { return n.Power == node.PowerOff && n.TargetPower == "" })
		cmd := []string{"ForceOff"}
		if target == node.SoftPowerOff {
			cmd = []string{"GracefulShutdown"}
		}
		for _, name := range []string{"host", "dpu-1", "dpu-2"} {
			if got := b.rack.commands(name); !slices.Equal(got, cmd) {
				t.Errorf("%s: %s received %v", target, name, got)
			}
			if n := b.get(name); n.Power != node.PowerOff {
				t.Errorf("%s: %s is recorded as %q", target, name, n.Power)
			}
		}
		if got := b.rack.commands("own"); len(got) != 0 {
			t.Errorf("%s: the card with its own supply received %v", target, got)
		}
	}
}

func TestRestartOfAServerThatCutsItsSlotsShutsTheCardsDown(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	b.rack.with(func() {
		b.rack.machines["dpu-1"].state = node.PowerOn
		b.rack.machines["host"].noReset = true
	})
	b.must(b.intake.Power(t.Context(), "host", node.Rebooting, 0, ""))
	b.when("host", "on", func(n *node.Node) bool { return n.TargetPower == "" && n.Reservation == "" })
	if got := b.rack.commands("dpu-1"); !slices.Equal(got, []string{"GracefulShutdown"}) {
		t.Errorf("the card received %v", got)
	}
	if got := b.rack.commands("host"); !slices.Equal(got, []string{"ForceOff", "On"}) {
		t.Errorf("the server received %v", got)
	}
}

func TestARequestsTimeoutIsTheLimitOfItsPowerChange(t *testing.T) {
	b := newBench(t)
	b.node("n")
	b.rack.with(func() { b.rack.machines["n"].state, b.rack.machines["n"].deaf = node.PowerOn, true })
	b.must(b.intake.Power(t.Context(), "n", node.SoftPowerOff, 2*time.Second, ""))
	n := b.when("n", "an error", func(n *node.Node) bool { return n.LastError != "" && n.Reservation == "" })
	if !strings.Contains(n.LastError, "2s") {
		t.Errorf("last_error %q does not tell the limit of 2s", n.LastError)
	}
}

func TestPowerRefuses(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) { n.DisablePowerOff = true })
	b.node("cleaning", func(n *node.Node) { n.Provision = node.CleanWait })
	for name, tt := range map[string]struct {
		ref    string
		target node.PowerState
		kind   fault.Kind
	}{
		"a state that is none":       {"n", "sideways", fault.Invalid},
		"off where it is disabled":   {"n", node.PowerOff, fault.Conflict},
		"anything during a clean":    {"cleaning", node.PowerOn, fault.Invalid},
		"a node that does not exist": {"nosuch", node.PowerOn, fault.NotFound},
	} {
		if err := b.intake.Power(t.Context(), tt.ref, tt.target, 0, ""); !fault.Is(err, tt.kind) {
			t.Errorf("%s: %v, want %v", name, err, tt.kind)
		}
	}
}

func TestACallAnswers(t *testing.T) {
	b := newBench(t)
	b.node("n")
	_, err := b.intake.Call(t.Context(), "n", conductor.Call{Name: "set_boot_device", Args: node.Object{"boot_device": "disk"}})
	b.must(err)
	raw, err := b.intake.Call(t.Context(), "n", conductor.Call{Name: "get_boot_device"})
	b.must(err)
	var got map[string]any
	b.must(json.Unmarshal(raw, &got))
	if d := cmp.Diff(map[string]any{"boot_device": "disk", "persistent": false}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	_, err = b.intake.Call(t.Context(), "n", conductor.Call{Name: "set_boot_device", Args: node.Object{"boot_device": "tape"}})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "tape") {
		t.Errorf("a device that is none: %v", err)
	}
	if _, err = b.intake.Call(t.Context(), "n", conductor.Call{Name: "explode"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a call that is none: %v", err)
	}
}

func TestCallsOfAMachineWithEveryAbility(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) {
		n.Driver, n.Interfaces = "fake-hardware", node.Interfaces{node.Power: "fake", node.Management: "fake", node.Vendor: "fake"}
	})
	for name, tt := range map[string]struct {
		call string
		args node.Object
		want string
	}{
		"the lamps":        {"get_indicators", nil, "led"},
		"a lamp":           {"get_indicator", node.Object{"component": "system", "indicator": "led"}, `"state":"on"`},
		"setting a lamp":   {"set_indicator", node.Object{"component": "system", "indicator": "led", "state": "off"}, ""},
		"the sensors":      {"get_sensors", nil, ""},
		"a vendor's words": {"call_vendor", node.Object{"method": "third_method_sync", "http_method": "POST", "args": node.Object{"bar": "meow"}}, "true"},
	} {
		raw, err := b.intake.Call(t.Context(), "n", conductor.Call{Name: tt.call, Args: tt.args})
		if err != nil || !strings.Contains(string(raw), tt.want) {
			t.Errorf("%s: %s, %v; want %q", name, raw, err, tt.want)
		}
	}
	for _, call := range []string{"get_virtual_media", "attach_virtual_media", "detach_virtual_media", "set_secure_boot", "inject_nmi"} {
		b.node("rack-" + call)
		if _, err := b.intake.Call(t.Context(), "rack-"+call, conductor.Call{Name: call}); !fault.Is(err, fault.Unsupported) {
			t.Errorf("%s on a machine without it: %v", call, err)
		}
	}
}

// TestACrashAtEachCommandLosesAndRepeatsNothing stops the conductor while the machine has the command and the answer is on its way, for each
// command of a clean in turn.
func TestACrashAtEachCommandLosesAndRepeatsNothing(t *testing.T) {
	list := []node.Step{onChildren("power_on"), onChildren("reboot"), {Interface: node.Vendor, Step: "send_raw", Args: node.Object{"raw_bytes": "0x32 0x01"}, OnChildren: true}}
	for crash, want := range map[string]struct {
		state node.State
		cmds  []string
	}{
		"On":           {node.Manageable, []string{"On", "ForceRestart", "raw 3201"}},
		"ForceRestart": {node.Manageable, []string{"On", "ForceRestart", "raw 3201"}},
		"raw 3201":     {node.CleanFail, []string{"On", "ForceRestart", "raw 3201"}},
	} {
		t.Run(crash, func(t *testing.T) {
			b := newBench(t)
			b.family("dpu-1")
			m := b.rack.machines["dpu-1"]
			b.rack.with(func() { m.gate, m.entered = make(chan struct{}), make(chan struct{}, 10) })
			b.must(b.ask("host", "clean", list...))
			for {
				<-m.entered
				if cmds := b.rack.commands("dpu-1"); cmds[len(cmds)-1] == crash {
					break
				}
				m.gate <- struct{}{}
			}
			b.stop()
			b.rack.with(func() { m.gate = nil })
			b.start()
			n := b.until("host", want.state)
			if d := cmp.Diff(want.cmds, b.rack.commands("dpu-1")); d != "" {
				t.Errorf("the machine received (-want +got):\n%s", d)
			}
			if want.state == node.CleanFail && !strings.Contains(n.LastError, "It was not sent again. Look at the machine") {
				t.Errorf("last_error %q", n.LastError)
			}
			if want.state == node.CleanFail && b.steps("host", "clean")[2].State != store.StepUnknown {
				t.Errorf("the raw command is on record as %s", b.steps("host", "clean")[2].State)
			}
		})
	}
}

func TestAControllerServesOneCommandAtATime(t *testing.T) {
	b := newBench(t)
	host := b.family()
	for i := range 8 {
		b.node(fmt.Sprint("dpu-", i), func(n *node.Node) { n.Parent, n.DriverInfo = host.UUID, node.Object{"address": "shared"} })
	}
	b.rack.with(func() { b.rack.add("shared").state = node.PowerOn })
	b.must(b.ask("host", "clean", onChildren("power_on")))
	b.until("host", node.Manageable)
	if peak := b.rack.machines["shared"].peak; peak != 1 {
		t.Errorf("%d connections at the same time", peak)
	}
}

func TestPowerSyncRecordsAndNeverCommands(t *testing.T) {
	b := newBench(t, func(c *conductor.Config) { c.SyncInterval = 10 * time.Millisecond })
	b.node("n")
	dead := b.node("dead")
	b.rack.with(func() {
		b.rack.machines["n"].state = node.PowerOn
		b.rack.machines["dead"].fail = fault.New(fault.Timeout, "BMC dead does not answer")
	})
	b.when("n", "power on", func(n *node.Node) bool { return n.Power == node.PowerOn })
	b.rack.with(func() { b.rack.machines["n"].state = node.PowerOff })
	b.when("n", "power off", func(n *node.Node) bool { return n.Power == node.PowerOff })
	b.when("dead", "maintenance", func(n *node.Node) bool {
		return n.Maintenance && n.Fault == node.FaultPower && strings.Contains(n.LastError, "max retries exceeded for node "+dead.UUID)
	})
	b.rack.with(func() { b.rack.machines["dead"].fail = nil })
	b.when("dead", "well again", func(n *node.Node) bool { return !n.Maintenance && n.Fault == "" && n.Power == node.PowerOff })
	if got := b.rack.commands("n"); len(got) != 0 {
		t.Errorf("the machine received %v", got)
	}
}

func BenchmarkStepOn64Children(b *testing.B) {
	db, err := store.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "riser.db"), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	r := newRack()
	noop := step.Definition{Interface: node.Vendor, Name: "noop", Flows: []node.Flow{node.FlowClean}, Run: func(ctx context.Context, t *step.Task) (step.Result, error) {
		c, err := t.Conn(ctx)
		if err != nil {
			return step.Done, err
		}
		raw, _ := driver.As[driver.Raw](c)
		_, err = raw.SendRaw(ctx, []byte{1, 2})
		return step.Done, err
	}}
	in := &conductor.Intake{DB: db, Catalog: step.NewCatalog([]step.Definition{noop}), Drivers: map[string]driver.Driver{"rack": r}}
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	c := conductor.New(conductor.Options{DB: db, Holder: shard.New(db, shard.Options{ID: "a", Hostname: "here"}), Catalog: in.Catalog, Drivers: in.Drivers})
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx, 0) })
	defer wg.Wait()
	defer cancel()
	host := &node.Node{UUID: uuid.NewString(), Name: "host", Driver: "rack", Provision: node.Manageable}
	all := []*node.Node{host}
	for i := range 64 {
		address := fmt.Sprint("dpu-", i)
		r.add(address)
		all = append(all, &node.Node{UUID: uuid.NewString(), Driver: "rack", Provision: node.Manageable, Parent: host.UUID, DriverInfo: node.Object{"address": address}})
	}
	err = db.Write(ctx, func(tx *store.Tx) error {
		for _, n := range all {
			if err := tx.InsertNode(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	verb, _ := node.VerbOf("clean")
	for b.Loop() {
		err := in.Provision(ctx, "host", conductor.Request{Verb: verb, Steps: []node.Step{{Interface: node.Vendor, Step: "noop", OnChildren: true}}})
		if err != nil {
			b.Fatal(err)
		}
		for {
			var n *node.Node
			if err := db.Read(ctx, func(tx *store.Tx) (err error) { n, err = tx.Node(ctx, "host"); return err }); err != nil {
				b.Fatal(err)
			}
			if n.Provision == node.Manageable && n.Reservation == "" {
				break
			}
			time.Sleep(500 * time.Microsecond)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/64, "µs/child")
}
