package node_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

func TestMove(t *testing.T) {
	tests := map[string]struct {
		from   node.State
		target node.State
		on     node.Event
		ask    node.State
		want   node.State
		wantT  node.State
		ok     bool
	}{
		"manage verifies on the way to manageable":            {from: node.Enroll, on: node.EvManage, want: node.Verifying, wantT: node.Manageable, ok: true},
		"a stable state has no target":                        {from: node.Verifying, target: node.Manageable, on: node.EvDone, want: node.Manageable, ok: true},
		"provide cleans towards available":                    {from: node.Manageable, on: node.EvProvide, want: node.Cleaning, wantT: node.Available, ok: true},
		"a manual clean says manageable":                      {from: node.Manageable, on: node.EvClean, ask: node.Manageable, want: node.Cleaning, wantT: node.Manageable, ok: true},
		"waiting keeps the manual clean's target":             {from: node.Cleaning, target: node.Manageable, on: node.EvWait, want: node.CleanWait, wantT: node.Manageable, ok: true},
		"resuming keeps it too":                               {from: node.CleanWait, target: node.Manageable, on: node.EvResume, want: node.Cleaning, wantT: node.Manageable, ok: true},
		"a failure keeps what was aimed at":                   {from: node.Cleaning, target: node.Manageable, on: node.EvFail, want: node.CleanFail, wantT: node.Manageable, ok: true},
		"undeploy aims at available":                          {from: node.Active, on: node.EvDelete, want: node.Deleting, wantT: node.Available, ok: true},
		"a deploy after a failed one aims at active":          {from: node.DeployFail, target: node.Active, on: node.EvDeploy, want: node.Deploying, wantT: node.Active, ok: true},
		"an event that the table lacks changes nothing":       {from: node.Manageable, on: node.EvDeploy, want: node.Manageable},
		"unhold of a manual clean goes on towards manageable": {from: node.CleanHold, target: node.Manageable, on: node.EvUnhold, want: node.CleanWait, wantT: node.Manageable, ok: true},
		"aborting a failed service returns to active":         {from: node.ServiceFail, target: node.Active, on: node.EvAbort, want: node.Active, ok: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := node.Node{Provision: tt.from, TargetProvision: tt.target}
			ok := n.Move(tt.on, tt.ask)
			if ok != tt.ok || n.Provision != tt.want || n.TargetProvision != tt.wantT {
				t.Errorf("Move(%s) from %q: %v, %q -> %q; want %v, %q -> %q", tt.on, tt.from, ok, n.Provision, n.TargetProvision, tt.ok, tt.want, tt.wantT)
			}
		})
	}
}

func TestStateTableIsSound(t *testing.T) {
	seen := map[[2]string]bool{}
	reached := map[node.State]bool{node.Enroll: true}
	for _, row := range node.Transitions {
		key := [2]string{string(row.From), string(row.On)}
		if seen[key] {
			t.Errorf("%s on %s stands twice", row.From, row.On)
		}
		seen[key] = true
		reached[row.To] = true
		if !row.From.Known() || !row.To.Known() {
			t.Errorf("%v names a state that is not known", row)
		}
	}
	for _, row := range node.Transitions {
		if !reached[row.From] {
			t.Errorf("no row leads to %s", row.From)
		}
	}
	for s := range reached {
		if s.Busy() {
			if _, ok := node.Next(s, node.EvFail); !ok {
				t.Errorf("%s cannot fail", s)
			}
		}
		if s.Waiting() {
			if _, ok := node.Next(s, node.EvFail); !ok {
				t.Errorf("%s cannot time out", s)
			}
		}
	}
}

func TestParseSteps(t *testing.T) {
	tests := map[string]struct {
		body   string
		need   []string
		want   []node.Step
		faults []string
	}{
		"a step on two children": {
			body: `[{"interface":"power","step":"power_on","execute_on_child_nodes":true,"limit_child_node_execution":["dpu-1","dpu-2"]}]`,
			want: []node.Step{{Interface: node.Power, Step: "power_on", OnChildren: true, LimitToChildren: []string{"dpu-1", "dpu-2"}}},
		},
		"digits in text are a number": {
			body: `[{"interface":"bios","step":"factory_reset","order":"3"}]`, need: []string{"order"},
			want: []node.Step{{Interface: node.BIOS, Step: "factory_reset", Order: 3}},
		},
		"an object is no list": {body: `{}`, faults: []string{"clean_steps must be a list of objects, each with interface and step"}},
		"an empty list":        {body: `[]`, faults: []string{"clean_steps must hold at least one step"}},
		"every fault of every step is told": {
			body: `[{"step":"x"},{"interface":"network","step":"","bogus":1}]`,
			faults: []string{
				`clean_steps[0]: "interface" is a required property`,
				`clean_steps[1]: additional properties are not allowed ("bogus" was unexpected)`,
				`clean_steps[1]: interface "network" is not one of bios, deploy, firmware, management, power, raid, vendor`,
				`clean_steps[1]: step "" must be a name`,
			},
		},
		"a limit without children": {
			body:   `[{"interface":"power","step":"power_on","limit_child_node_execution":["a"]}]`,
			faults: []string{"clean_steps[0]: limit_child_node_execution needs execute_on_child_nodes: true"},
		},
		"hold is not for children": {
			body:   `[{"interface":"power","step":"hold","execute_on_child_nodes":true}]`,
			faults: []string{"clean_steps[0]: step hold cannot run on child nodes: it stops the flow of the node that runs it"},
		},
		"a negative order": {
			body: `[{"interface":"bios","step":"x","order":-1}]`, faults: []string{"clean_steps[0]: order -1 must be a whole number, 0 or more"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, faults := node.ParseSteps("clean_steps", json.RawMessage(tt.body), tt.need...)
			if d := cmp.Diff(tt.faults, faults); d != "" {
				t.Fatalf("faults (-want +got):\n%s", d)
			}
			if len(faults) > 0 {
				return
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("steps (-want +got):\n%s", d)
			}
		})
	}
}

func FuzzParseSteps(f *testing.F) {
	f.Add([]byte(`[{"interface":"power","step":"power_on","args":{"a":1},"order":"2"}]`))
	f.Add([]byte(`[null,{}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		steps, faults := node.ParseSteps("steps", b)
		if len(faults) == 0 && len(steps) == 0 {
			t.Error("neither steps nor faults")
		}
	})
}

func TestCheckParent(t *testing.T) {
	parent := &node.Node{UUID: "p", Owner: "a"}
	tests := map[string]struct {
		child  *node.Node
		has    bool
		parent *node.Node
		ok     bool
	}{
		"a lone node":            {&node.Node{UUID: "c", Owner: "a"}, false, parent, true},
		"no such parent":         {&node.Node{UUID: "c", Owner: "a"}, false, nil, false},
		"itself":                 {parent, false, parent, false},
		"another owner":          {&node.Node{UUID: "c"}, false, parent, false},
		"a parent that is child": {&node.Node{UUID: "c", Owner: "a"}, false, &node.Node{UUID: "q", Owner: "a", Parent: "p"}, false},
		"a node with children":   {&node.Node{UUID: "c", Owner: "a"}, true, parent, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := node.CheckParent(tt.child, tt.has, tt.parent, "asked")
			if (err == nil) != tt.ok {
				t.Fatalf("CheckParent: %v", err)
			}
			if err != nil && (!fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), "Unable to apply the requested parent_node 'asked'. Requested value was invalid.")) {
				t.Errorf("error %q has not the API's text", err)
			}
		})
	}
}

func TestSecretsLeaveAndReturn(t *testing.T) {
	o := node.Object{"redfish_address": "https://bmc", "redfish_password": "s3cret", "x_password": ""}
	clear, secrets := node.SplitSecrets(o)
	if d := cmp.Diff(node.Object{"redfish_address": "https://bmc", "redfish_password": node.Masked, "x_password": ""}, clear); d != "" {
		t.Errorf("clear (-want +got):\n%s", d)
	}
	if d := cmp.Diff(node.Object{"redfish_password": "s3cret"}, secrets); d != "" {
		t.Errorf("secrets (-want +got):\n%s", d)
	}
	if d := cmp.Diff(o, node.JoinSecrets(clear, secrets)); d != "" {
		t.Errorf("joined (-want +got):\n%s", d)
	}
}

func TestSlotPowered(t *testing.T) {
	tests := map[string]struct {
		parent string
		info   node.Object
		want   bool
	}{
		"a host is not":                                   {"", nil, false},
		"a card is":                                       {"p", nil, true},
		"a card with its own supply is not":               {"p", node.Object{"has_dedicated_power_supply": true}, false},
		"the text false is false":                         {"p", node.Object{"has_dedicated_power_supply": "false"}, true},
		"the text True is true":                           {"p", node.Object{"has_dedicated_power_supply": "True"}, false},
		"nonsense does not make a supply out of thin air": {"p", node.Object{"has_dedicated_power_supply": "perhaps"}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := node.Node{Parent: tt.parent, DriverInfo: tt.info}
			if got := n.SlotPowered(); got != tt.want {
				t.Errorf("SlotPowered() = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestValidName(t *testing.T) {
	for name, ok := range map[string]bool{
		"host-1.example_~": true, "": false, "a b": false, "states": false, "detail": false,
		"0feee06e-f75a-41b5-a696-d7350eff4051": false, "0feee06ef75a41b5a696d7350eff4051": false, strings.Repeat("a", 256): false,
	} {
		if err := node.ValidName(name); (err == nil) != ok {
			t.Errorf("ValidName(%q) = %v", name, err)
		}
	}
}
