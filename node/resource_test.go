package node_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
)

func TestLocalLinks(t *testing.T) {
	for name, c := range map[string]struct {
		link     node.Object
		smartNIC bool
		want     node.Object // nil: refused
	}{
		"a switch port":                       {node.Object{"port_id": "e1", "switch_id": "0A:1B:2C:3D:4E:5F"}, false, node.Object{"port_id": "e1", "switch_id": "0a:1b:2c:3d:4e:5f"}},
		"a switch with hyphens":               {node.Object{"port_id": "e1", "switch_id": "0a-1b-2c-3d-4e-5f"}, false, node.Object{"port_id": "e1", "switch_id": "0a:1b:2c:3d:4e:5f"}},
		"an OpenFlow datapath":                {node.Object{"port_id": "e1", "switch_id": "0xAABBCCDDEEFF0011"}, false, node.Object{"port_id": "e1", "switch_id": "0xaabbccddeeff0011"}},
		"a switch with its facts":             {node.Object{"port_id": "e1", "switch_id": "0a:1b:2c:3d:4e:5f", "switch_info": "tor", "network_type": "managed"}, false, node.Object{"port_id": "e1", "switch_id": "0a:1b:2c:3d:4e:5f", "switch_info": "tor", "network_type": "managed"}},
		"a smart NIC":                         {node.Object{"port_id": "rep0", "hostname": "dpu-1"}, true, node.Object{"port_id": "rep0", "hostname": "dpu-1"}},
		"a network that nobody manages":       {node.Object{"network_type": "unmanaged"}, false, node.Object{"network_type": "unmanaged"}},
		"a VTEP":                              {node.Object{"vtep-logical-switch": "l", "vtep-physical-switch": "p"}, false, node.Object{"vtep-logical-switch": "l", "vtep-physical-switch": "p"}},
		"a smart NIC without a host":          {node.Object{"port_id": "rep0", "switch_id": "0a:1b:2c:3d:4e:5f"}, true, nil},
		"a smart NIC on an unmanaged network": {node.Object{"network_type": "unmanaged"}, true, nil},
		"a port without its switch":           {node.Object{"port_id": "e1"}, false, nil},
		"a switch without its port":           {node.Object{"switch_id": "0a:1b:2c:3d:4e:5f"}, false, nil},
		"an empty port":                       {node.Object{"port_id": "", "switch_id": "0a:1b:2c:3d:4e:5f"}, false, nil},
		"a switch that is no address":         {node.Object{"port_id": "e1", "switch_id": "tor-1"}, false, nil},
		"an EUI-64 is no switch":              {node.Object{"port_id": "e1", "switch_id": "02:00:5e:10:00:00:00:01:02"}, false, nil},
		"a key that nobody knows":             {node.Object{"port_id": "e1", "switch_id": "0a:1b:2c:3d:4e:5f", "rack": "7"}, false, nil},
		"a value that is no text":             {node.Object{"port_id": 1.0, "switch_id": "0a:1b:2c:3d:4e:5f"}, false, nil},
		"a network type that nobody knows":    {node.Object{"port_id": "e1", "switch_id": "0a:1b:2c:3d:4e:5f", "network_type": "x"}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := node.Object{}
			for k, v := range c.link {
				before[k] = v
			}
			got, err := node.ParseLocalLink(c.link, c.smartNIC)
			if c.want == nil && !fault.Is(err, fault.Invalid) {
				t.Errorf("got %v, %v", got, err)
			}
			if c.want != nil && (err != nil || !cmp.Equal(c.want, got)) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
			if !cmp.Equal(before, c.link) {
				t.Error("the client's own object was changed")
			}
		})
	}
	if got, err := node.ParseLocalLink(node.Object{}, true); got != nil || err != nil {
		t.Errorf("no link: %v, %v", got, err)
	}
}

func TestTraits(t *testing.T) {
	long := "CUSTOM_"
	for len(long) < 256 {
		long += "A"
	}
	for trait, ok := range map[string]bool{
		"CUSTOM_A": true, "CUSTOM_A_1": true, "HW_CPU_X86_VMX": true, "COMPUTE_NET_VIF_MODEL_E1000": true, long[:255]: true,
		"": false, "CUSTOM_": false, "CUSTOM_a": false, "custom_A": false, "GOLD": false, long: false, "CUSTOM_A\n": false, "HW_": false,
	} {
		if err := node.ValidTrait(trait); (err == nil) != ok {
			t.Errorf("%q: %v", trait, err)
		}
	}
}

func TestWhatAnAllocationFits(t *testing.T) {
	free := node.Node{UUID: "n", Provision: node.Available, Power: node.PowerOff, ResourceClass: "gold", Owner: "p", Traits: []string{"CUSTOM_A", "CUSTOM_B"}}
	want := node.Allocation{ResourceClass: "gold"}
	for name, c := range map[string]struct {
		change func(*node.Node, *node.Allocation)
		fits   bool
	}{
		"a free node of the class":        {func(*node.Node, *node.Allocation) {}, true},
		"another class":                   {func(n *node.Node, _ *node.Allocation) { n.ResourceClass = "iron" }, false},
		"a node that is not available":    {func(n *node.Node, _ *node.Allocation) { n.Provision = node.Manageable }, false},
		"a node that is taken":            {func(n *node.Node, _ *node.Allocation) { n.InstanceUUID = "i" }, false},
		"a node in maintenance":           {func(n *node.Node, _ *node.Allocation) { n.Maintenance = true }, false},
		"a node whose power nobody knows": {func(n *node.Node, _ *node.Allocation) { n.Power = "" }, false},
		"a child":                         {func(n *node.Node, _ *node.Allocation) { n.Parent = "p" }, false},
		"a child that is named":           {func(n *node.Node, a *node.Allocation) { n.Parent, a.CandidateNodes = "p", []string{"n"} }, true},
		"one of the candidates":           {func(_ *node.Node, a *node.Allocation) { a.CandidateNodes = []string{"m", "n"} }, true},
		"none of the candidates":          {func(_ *node.Node, a *node.Allocation) { a.CandidateNodes = []string{"m"} }, false},
		"the owner's own node":            {func(_ *node.Node, a *node.Allocation) { a.Owner = "p" }, true},
		"a node that the owner leases":    {func(n *node.Node, a *node.Allocation) { a.Owner, n.Owner, n.Lessee = "q", "", "q" }, true},
		"another's node":                  {func(_ *node.Node, a *node.Allocation) { a.Owner = "q" }, false},
		"all traits are there":            {func(_ *node.Node, a *node.Allocation) { a.Traits = []string{"CUSTOM_B", "CUSTOM_A"} }, true},
		"a trait is missing":              {func(_ *node.Node, a *node.Allocation) { a.Traits = []string{"CUSTOM_A", "CUSTOM_C"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			n, a := free, want
			c.change(&n, &a)
			if a.Fits(&n) != c.fits {
				t.Errorf("fits: %v", !c.fits)
			}
		})
	}
}

func TestRunbooksSuitNodesWithTheirTraits(t *testing.T) {
	for name, c := range map[string]struct {
		book   node.Runbook
		traits []string
		suits  bool
	}{
		"its name is a trait of the node":  {node.Runbook{Name: "CUSTOM_R"}, []string{"CUSTOM_A", "CUSTOM_R"}, true},
		"one of its traits is the node's":  {node.Runbook{Name: "wipe", Traits: []string{"CUSTOM_A", "CUSTOM_B"}}, []string{"CUSTOM_B"}, true},
		"none of its traits is the node's": {node.Runbook{Name: "wipe", Traits: []string{"CUSTOM_A"}}, []string{"CUSTOM_B"}, false},
		"the node has no trait":            {node.Runbook{Name: "CUSTOM_R"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.book.Suits(c.traits) != c.suits {
				t.Errorf("suits: %v", !c.suits)
			}
		})
	}
}

func TestARunbooksStepsRunInTheirOrder(t *testing.T) {
	b := node.Runbook{Steps: []node.Step{{Step: "c", Order: 3}, {Step: "a", Order: 1}, {Step: "d", Order: 3}, {Step: "b", Order: 2}}}
	var names []string
	for _, s := range b.Ordered() {
		names = append(names, s.Step)
	}
	if !slices.Equal(names, []string{"a", "b", "c", "d"}) || b.Steps[0].Step != "c" {
		t.Errorf("ran %v; the runbook has %v first", names, b.Steps[0].Step)
	}
}

func TestTheVIFOfAPort(t *testing.T) {
	for want, o := range map[string]node.Object{"v": {node.VIFKey: "v"}, "": {"other": "v"}} {
		p, g := node.Port{InternalInfo: o}, node.Portgroup{InternalInfo: o}
		if p.VIF() != want || g.VIF() != want {
			t.Errorf("%v: %q, %q", o, p.VIF(), g.VIF())
		}
	}
}
