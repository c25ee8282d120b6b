package conductor_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/conductor"
	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// template adds a deploy template.
func (b *bench) template(name string, steps ...node.Step) {
	b.t.Helper()
	b.must(b.db.Write(b.t.Context(), func(tx *store.Tx) error {
		return tx.InsertTemplate(b.t.Context(), &node.DeployTemplate{Record: node.Record{UUID: uuid.NewString()}, Name: name, Steps: steps})
	}))
}

// deployable makes a node that can be deployed, with the driver's deploy steps early (90) and late (10).
func deployable(n *node.Node) {
	n.Provision, n.Interfaces[node.Deploy] = node.Available, "rack"
}

func (b *bench) plan(ref, target string, steps ...node.Step) ([]string, error) {
	v, _ := node.VerbOf(target)
	plan, err := b.intake.DryRun(b.t.Context(), ref, conductor.Request{Verb: v, Steps: steps})
	if err != nil {
		return nil, err
	}
	var list []string
	for _, s := range plan.Steps {
		list = append(list, fmt.Sprintf("%s %s", s.Name, s.Step))
	}
	return list, nil
}

func TestStepsOfADeployment(t *testing.T) {
	b := newBench(t)
	host := b.family("dpu-1", "dpu-2")
	b.edit("host", deployable)
	b.edit("host", func(n *node.Node) { n.InstanceInfo = node.Object{"traits": []any{"CUSTOM_DPU", "CUSTOM_OTHER"}} })
	b.template("CUSTOM_DPU",
		node.Step{Interface: node.Power, Step: "power_on", Priority: 95, OnChildren: true},
		node.Step{Interface: node.Power, Step: "reboot", Priority: 50, OnChildren: true, LimitToChildren: []string{"dpu-2"}},
	)
	b.template("CUSTOM_UNUSED", node.Step{Interface: node.Power, Step: "power_off", Priority: 99})
	tests := map[string]struct {
		steps []node.Step
		want  []string
	}{
		"the driver's and the template's by priority": {nil, []string{"dpu-1 power_on", "dpu-2 power_on", "host early", "dpu-2 reboot", "host late"}},
		"a request's come over them": {[]node.Step{{Interface: node.Power, Step: "power_on", Priority: 5, OnChildren: true}, {Interface: node.Deploy, Step: "late"}},
			[]string{"host early", "dpu-2 reboot", "dpu-1 power_on", "dpu-2 power_on"}},
		"the same step on the node itself is another": {[]node.Step{{Interface: node.Power, Step: "power_on", Priority: 1}},
			[]string{"dpu-1 power_on", "dpu-2 power_on", "host early", "dpu-2 reboot", "host late", "host power_on"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := b.plan("host", "active", tt.steps...)
			b.must(err)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	b.must(b.ask("host", "active"))
	b.until("host", node.Active)
	b.received("dpu-2", "On", "ForceRestart")
	b.received("dpu-1", "On")
	if got := b.history(host); !slices.Contains(got, "deployment_start") {
		t.Errorf("history %v", got)
	}
}

func TestPlansRefuse(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1")
	b.edit("host", func(n *node.Node) { n.DisablePowerOff = true })
	b.node("fake", func(n *node.Node) {
		n.Driver, n.Provision = "fake-hardware", node.Available
		n.Interfaces = node.Interfaces{node.Deploy: "fake", node.Power: "fake", node.Rescue: "agent", node.Inspect: "no-inspect"}
	})
	configureChild := manage("configure", nil)
	configureChild.OnChildren = true
	yes := true
	tests := map[string]struct {
		ref, verb string
		steps     []node.Step
		ramdisk   *bool
		want      string
	}{
		"a replaced core step":                        {"fake", "active", []node.Step{{Interface: node.Deploy, Step: "deploy", Priority: 5}}, nil, "is a core step and cannot be overridden by user steps"},
		"a power off that is switched off":            {"host", "clean", []node.Step{power("power_off")}, nil, "the node has disable_power_off set"},
		"a child's step that would wait":              {"host", "clean", []node.Step{configureChild}, nil, "permit_child_node_step_async_result"},
		"a ramdisk step without a ramdisk":            {"host", "clean", []node.Step{manage("in_ramdisk", nil)}, &yes, "requires booting a ramdisk"},
		"a vendor method that the node does not have": {"host", "clean", []node.Step{{Interface: node.Vendor, Step: "second_method"}}, nil, "does not have step vendor.second_method"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v, _ := node.VerbOf(tt.verb)
			err := b.intake.Provision(t.Context(), tt.ref, conductor.Request{Verb: v, Steps: tt.steps, DisableRamdisk: tt.ramdisk})
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
	b.edit("fake", func(n *node.Node) { n.Provision = node.Active })
	if err := b.ask("fake", "rescue"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "does not support rescue") {
		t.Errorf("rescue: %v", err)
	}
	b.edit("fake", func(n *node.Node) { n.Provision = node.Manageable })
	if err := b.ask("fake", "inspect"); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "does not support inspect") {
		t.Errorf("inspect: %v", err)
	}
}

func TestAVendorMethodIsAStep(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) {
		n.Driver, n.Interfaces = "fake-hardware", node.Interfaces{node.Vendor: "fake"}
	})
	b.must(b.ask("n", "clean", node.Step{Interface: node.Vendor, Step: "second_method", Args: node.Object{"bar": "kazoo"}}))
	b.until("n", node.Manageable)
	b.must(b.ask("n", "clean", node.Step{Interface: node.Vendor, Step: "second_method"}))
	if n := b.until("n", node.CleanFail); !strings.Contains(n.LastError, "Parameter 'bar' not passed to method") {
		t.Errorf("last_error %q", n.LastError)
	}
}

func TestRescueOfAFakeMachine(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) {
		n.Driver, n.Provision, n.Interfaces = "fake-hardware", node.Active, node.Interfaces{node.Rescue: "fake"}
	})
	v, _ := node.VerbOf("rescue")
	b.must(b.intake.Provision(t.Context(), "n", conductor.Request{Verb: v, RescuePassword: "s3cret-canary"}))
	b.until("n", node.RescueState)
	b.must(b.ask("n", "unrescue"))
	b.until("n", node.Active)
	b.absent("s3cret-canary")
}

func TestInspection(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) { n.Interfaces[node.Inspect], n.Properties = "rack", node.Object{"kept": "yes"} })
	b.node("waits", func(n *node.Node) { n.Interfaces[node.Inspect] = "agent" })
	b.must(b.ask("n", "inspect"))
	n := b.until("n", node.Manageable)
	want := node.Object{"kept": "yes", "cpus": 8.0, "memory_mb": 4096.0, "local_gb": 100.0, "cpu_arch": "x86_64"}
	if d := cmp.Diff(want, n.Properties); d != "" || n.InspectionStartedAt.IsZero() || n.InspectionFinishedAt.Before(n.InspectionStartedAt) {
		t.Errorf("inspected from %v to %v, properties (-want +got):\n%s", n.InspectionStartedAt, n.InspectionFinishedAt, d)
	}
	b.must(b.db.Read(t.Context(), func(tx *store.Tx) error {
		ports, err := tx.Ports(t.Context(), store.PortQuery{NodeUUID: n.UUID})
		if err == nil && (len(ports) != 1 || ports[0].Address != "52:54:00:00:00:01") {
			t.Errorf("ports %v", ports)
		}
		_, missing := tx.Inventory(t.Context(), n.UUID)
		return cmpErr(err, missing)
	}))
	b.must(b.ask("n", "inspect"))
	b.until("n", node.Manageable)
	b.must(b.ask("waits", "inspect"))
	b.until("waits", node.InspectWait)
	b.say("waits", "resume")
	b.until("waits", node.Manageable)
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestAFailedDeploymentPowersTheMachineOff(t *testing.T) {
	b := newBench(t)
	no := false
	for _, name := range []string{"host", "keeps"} {
		b.node(name, deployable)
		b.rack.with(func() { b.rack.machines[name].state = node.PowerOn })
	}
	bad := node.Step{Interface: node.Management, Step: "set_boot_device", Args: node.Object{"device": "tape"}, Priority: 50}
	b.must(b.ask("host", "active", bad))
	n := b.until("host", node.DeployFail)
	b.received("host", "early", "ForceOff")
	if n.Power != node.PowerOff || n.Maintenance || !strings.Contains(n.LastError, "Invalid boot device tape") {
		t.Errorf("the node is %s, maintenance %v: %s", n.Power, n.Maintenance, n.LastError)
	}
	b.intake.Config.PowerOffAfterDeployFailure = &no
	b.stop()
	b.start()
	b.must(b.ask("keeps", "active", bad))
	b.until("keeps", node.DeployFail)
	b.received("keeps", "early")
}

func TestTheRetryOfAListOnFewerChildren(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1", "dpu-2", "dpu-3")
	b.rack.with(func() { b.rack.machines["dpu-2"].fail = fault.New(fault.Timeout, "no answer") })
	b.must(b.ask("host", "clean", onChildren("power_on"), onChildren("reboot")))
	b.until("host", node.CleanFail)
	b.rack.with(func() { b.rack.machines["dpu-2"].fail = nil })
	b.mend("host")
	verb, _ := node.VerbOf("clean")
	request := conductor.Request{Verb: verb, Steps: []node.Step{onChildren("power_on", "dpu-1", "dpu-2"), onChildren("reboot", "dpu-1", "dpu-2")}}
	plan, err := b.intake.DryRun(t.Context(), "host", request)
	b.must(err)
	var skipped []string
	for _, s := range plan.Steps {
		if s.Skipped != "" {
			skipped = append(skipped, s.Name+" "+s.Step)
		}
	}
	if d := cmp.Diff([]string{"dpu-1 power_on"}, skipped); d != "" {
		t.Errorf("the dry run skips (-want +got):\n%s", d)
	}
	b.must(b.intake.Provision(t.Context(), "host", request))
	b.until("host", node.Manageable)
	b.received("dpu-1", "On", "ForceRestart")
	b.received("dpu-2", "On", "ForceRestart")
	b.received("dpu-3", "On")
}

func TestTheServersPowerTouchesThePowerOfItsCardsAlone(t *testing.T) {
	b := newBench(t)
	b.family("dpu-1", "dpu-2")
	boot := node.Step{Interface: node.Management, Step: "set_boot_device", Args: node.Object{"device": "pxe"}, OnChildren: true}
	b.rack.with(func() { b.rack.machines["dpu-2"].deaf = true })
	list := []node.Step{boot, onChildren("power_on")}
	b.must(b.ask("host", "clean", list...))
	b.until("host", node.CleanFail)
	b.rack.with(func() { b.rack.machines["dpu-2"].deaf = false })
	b.mend("host")
	b.must(b.intake.Power(t.Context(), "host", node.PowerOff, 0, ""))
	b.when("host", "off", func(n *node.Node) bool { return n.Power == node.PowerOff && n.Reservation == "" })
	b.must(b.ask("host", "clean", list...))
	b.until("host", node.Manageable)
	b.received("dpu-1", "boot pxe", "On", "ForceOff", "On")
	if got := b.rack.commands("dpu-2"); slices.Index(got, "boot pxe") != 0 || slices.Contains(got[1:], "boot pxe") {
		t.Errorf("dpu-2 received %v", got)
	}
}

// absent fails when text stands in clear in the database.
func (b *bench) absent(text string) {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dir, "*"))
	b.must(err)
	for _, f := range files {
		data, err := os.ReadFile(f)
		b.must(err)
		if strings.Contains(string(data), text) {
			b.t.Errorf("%s holds %q", filepath.Base(f), text)
		}
	}
}

func TestSecretsStayOutOfTheRecord(t *testing.T) {
	b := newBench(t)
	b.node("n", func(n *node.Node) { n.DriverInfo["rack_password"] = "canary-of-node" })
	b.must(b.ask("n", "clean", power("hold"), manage("log_in", node.Object{"password": "canary-of-step"})))
	b.until("n", node.CleanHold)
	b.must(b.ask("n", "unhold"))
	n := b.until("n", node.CleanFail)
	if !strings.Contains(n.LastError, "the machine does not know "+node.Masked) {
		t.Errorf("last_error %q", n.LastError)
	}
	s := b.steps("n", "clean")[1]
	if d := cmp.Diff([]string{"tried " + node.Masked + " and " + node.Masked}, s.Evidence); d != "" || s.Args["password"] != node.Masked {
		t.Errorf("arguments %v, evidence (-want +got):\n%s", s.Args, d)
	}
	b.absent("canary-of-")
}

func TestAnErrorOnManyChildrenFitsIntoLastError(t *testing.T) {
	b := newBench(t)
	var cards []string
	for i := range 200 {
		cards = append(cards, fmt.Sprintf("dpu-%03d", i))
	}
	b.family(cards...)
	b.rack.with(func() {
		for _, c := range cards {
			b.rack.machines[c].fail = fault.New(fault.Timeout, "BMC %s did not answer within 30 s, and this is a long text: %s", c, strings.Repeat("é", 50))
		}
	})
	b.must(b.ask("host", "clean", node.Step{Interface: node.Management, Step: "set_boot_device", Args: node.Object{"device": "pxe"}, OnChildren: true}))
	n := b.until("host", node.CleanFail)
	if got := utf8.RuneCountInString(n.LastError); got > 4096 {
		t.Errorf("last_error has %d characters", got)
	}
	for _, want := range []string{"failed on 200 of 200 child nodes: dpu-000: BMC", "more", "send the same clean again"} {
		if !strings.Contains(n.LastError, want) {
			t.Errorf("last_error lacks %q: %s", want, n.LastError)
		}
	}
}

func TestConductorsOfAGroup(t *testing.T) {
	b := newBench(t)
	b.node("first")
	b.must(b.ask("first", "clean", power("power_on")))
	b.until("first", node.Manageable)
	b.node("n", func(n *node.Node) { n.ConductorGroup = "rack-7" })
	if err := b.ask("n", "clean", power("power_on")); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), `No conductor service registered which supports driver rack for conductor group "rack-7"`) {
		t.Errorf("a group without a conductor: %v", err)
	}
	if err := b.intake.Power(t.Context(), "n", node.PowerOn, 0, ""); !fault.Is(err, fault.Unavailable) {
		t.Errorf("power in a group without a conductor: %v", err)
	}
	if n := b.get("n"); n.Reservation != "" || n.Provision != node.Manageable {
		t.Errorf("the node is %s, reserved by %q", n.Provision, n.Reservation)
	}
	b.stop()
	b.node("later")
	b.must(b.ask("later", "clean", power("power_on"))) // no conductor is alive at all: it waits for one
	if n := b.get("later"); n.Reservation != "unassigned" {
		t.Errorf("reserved by %q", n.Reservation)
	}
	b.start()
	b.until("later", node.Manageable)
}

var _ driver.Inspector = (*rackConn)(nil)

func TestAllocationsEndWithTheirInstance(t *testing.T) {
	b := newBench(t)
	id := uuid.NewString()
	b.node("n", func(n *node.Node) { n.Provision, n.AllocationUUID, n.InstanceUUID = node.Active, id, id })
	b.must(b.db.Write(t.Context(), func(tx *store.Tx) error {
		return tx.InsertAllocation(t.Context(), &node.Allocation{Record: node.Record{UUID: id}, NodeUUID: b.nodeUUID(t.Context(), tx, "n"), ResourceClass: "x", State: "active"})
	}))
	b.must(b.ask("n", "deleted"))
	n := b.until("n", node.Available)
	if n.AllocationUUID != "" || n.InstanceUUID != "" {
		t.Errorf("the node still has allocation %q, instance %q", n.AllocationUUID, n.InstanceUUID)
	}
	b.must(b.db.Read(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Allocation(t.Context(), id); !fault.Is(err, fault.NotFound) {
			t.Errorf("the allocation: %v", err)
		}
		return nil
	}))
}

func (b *bench) nodeUUID(ctx context.Context, tx *store.Tx, ref string) string {
	n, err := tx.Node(ctx, ref)
	b.must(err)
	return n.UUID
}
