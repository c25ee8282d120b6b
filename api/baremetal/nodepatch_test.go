package baremetal_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func patch(op, path string, value ...any) obj {
	o := obj{"op": op, "path": path}
	if len(value) > 0 {
		o["value"] = value[0]
	}
	return o
}

func TestPatchNode(t *testing.T) {
	s := newServer(t).idle()
	parent := s.node(obj{"name": "parent"})
	for name, c := range map[string]struct {
		ops  list
		want map[string]any
	}{
		"add a key":                   {list{patch("add", "/extra/a", 1)}, obj{"extra": obj{"a": 1.0, "k": "v", "l": list{"x"}}}},
		"add over a key":              {list{patch("add", "/extra/k", "w")}, obj{"extra": obj{"k": "w", "l": list{"x"}}}},
		"replace a key":               {list{patch("replace", "/extra/k", nil)}, obj{"extra": obj{"k": nil, "l": list{"x"}}}},
		"remove a key":                {list{patch("remove", "/extra/k")}, obj{"extra": obj{"l": list{"x"}}}},
		"add to a list":               {list{patch("add", "/extra/l/-", "y"), patch("add", "/extra/l/0", "w")}, obj{"extra": obj{"k": "v", "l": list{"w", "x", "y"}}}},
		"change a list":               {list{patch("add", "/extra/l/1", "y"), patch("replace", "/extra/l/0", "z"), patch("remove", "/extra/l/1")}, obj{"extra": obj{"k": "v", "l": list{"z"}}}},
		"a key with a slash":          {list{patch("add", "/extra/a~1b~0c", 1)}, obj{"extra": obj{"a/b~c": 1.0, "k": "v", "l": list{"x"}}}},
		"remove an object":            {list{patch("remove", "/extra")}, obj{"extra": obj{}}},
		"remove a text":               {list{patch("remove", "/description")}, obj{"description": nil}},
		"remove a boolean":            {list{patch("remove", "/maintenance")}, obj{"maintenance": false, "maintenance_reason": nil, "fault": nil}},
		"a test that holds":           {list{patch("test", "/extra/k", "v"), patch("replace", "/name", "other")}, obj{"name": "other"}},
		"the group in lower case":     {list{patch("replace", "/conductor_group", "")}, obj{"conductor_group": ""}},
		"the parent by its name":      {list{patch("add", "/parent_node", "parent")}, obj{"parent_node": "PARENT"}},
		"the display name is taken":   {list{patch("add", "/instance_info/display_name", "web")}, obj{"instance_name": "web"}},
		"a boolean written as a text": {list{patch("replace", "/disable_power_off", "yes")}, obj{"disable_power_off": true}},
		"nothing":                     {list{}, obj{"name": nil}},
		"the same interface":          {list{patch("replace", "/boot_interface", "ipxe")}, obj{"boot_interface": "ipxe"}},
		"an interface's default":      {list{patch("remove", "/boot_interface")}, obj{"boot_interface": "fake"}},
	} {
		t.Run(name, func(t *testing.T) {
			id := s.node(obj{"description": "d", "extra": obj{"k": "v", "l": list{"x"}}, "maintenance": true})
			s.edit(id, func(n *node.Node) { n.MaintenanceReason, n.Fault = "why", node.FaultPower })
			o := s.must(http.StatusOK, http.MethodPatch, "/v1/nodes/"+id, c.ops)
			for key, want := range c.want {
				if want == "PARENT" {
					want = parent
				}
				if d := cmp.Diff(want, o[key]); d != "" {
					t.Errorf("%s: %s", key, d)
				}
			}
		})
	}
}

func TestPatchNodeRefuses(t *testing.T) {
	s := newServer(t).idle()
	parent := s.node(obj{"name": "parent"})
	s.node(obj{"name": "child", "parent_node": "parent"})
	s.node(obj{"name": "n", "extra": obj{"k": "v", "l": list{"x"}}, "driver_info": obj{"bmc_password": "s3cret"}})
	s.edit("n", func(n *node.Node) { n.Provision = node.Available })
	many := list{}
	for range 101 {
		many = append(many, patch("add", "/extra/a", 1))
	}
	on := func(ref string, status int, says string, ops ...any) refusal {
		return refusal{"", http.MethodPatch, "/v1/nodes/" + ref, ops, status, says}
	}
	old := func(version string, status int, says string, ops ...any) refusal {
		return refusal{version, http.MethodPatch, "/v1/nodes/n", ops, status, says}
	}
	s.refuses(t, map[string]refusal{
		"no list":                             {"", "PATCH", "/v1/nodes/n", obj{}, 400, "cannot be read as JSON"},
		"an operation that is none":           on("n", 400, "'move' is not one of", patch("move", "/extra/a")),
		"an operation without a path":         on("n", 400, "'path' is a required property", obj{"op": "add", "value": 1}),
		"an operation without an op":          on("n", 400, "'op' is a required property", obj{"path": "/extra", "value": 1}),
		"an operation without a value":        on("n", 400, "'value' is a required property", patch("add", "/extra/a")),
		"a key that nobody knows":             on("n", 400, "('why' was unexpected)", obj{"op": "remove", "path": "/extra", "why": 1}),
		"the root":                            on("n", 400, "does not match", patch("add", "", 1)),
		"a path without a slash":              on("n", 400, "does not match", patch("add", "extra", 1)),
		"an escape that is none":              on("n", 400, "does not match", patch("add", "/extra/a~2", 1)),
		"escapes before there were any":       old("1.97", 400, "does not match", patch("add", "/extra/a~1b", 1)),
		"a dot before escapes":                old("1.97", 400, "does not match", patch("add", "/extra/a.b", 1)),
		"too many operations":                 {"", "PATCH", "/v1/nodes/n", many, 400, "at most 100 operations"},
		"too much":                            on("n", 413, "64 KiB", patch("add", "/extra/a", strings.Repeat("x", 65<<10))),
		"a field that may not be changed":     on("n", 400, "Cannot patch /uuid. Only the following can be updated: /automated_clean, ", patch("replace", "/uuid", "x")),
		"a field that is none":                on("n", 400, "Cannot patch /bogus/a.", patch("add", "/bogus/a", 1)),
		"a field of a later version":          old("1.49", 406, "", patch("add", "/owner", "o")),
		"removing what is not there":          on("n", 400, "Couldn't apply patch '{'op': 'remove', 'path': '/extra/nosuch'}'. Reason: can't remove a non-existent object 'nosuch'", patch("remove", "/extra/nosuch")),
		"a path through what is not there":    on("n", 400, "member 'a' not found in {", patch("add", "/extra/a/b", 1)),
		"a path through a text":               on("n", 400, "member 'a' not found in 'v'", patch("add", "/extra/k/a", 1)),
		"an index that is none":               on("n", 400, "'x' is not a valid sequence index", patch("add", "/extra/l/x", 1)),
		"an index with a zero in front":       on("n", 400, "'00' is not a valid sequence index", patch("replace", "/extra/l/00", 1)),
		"an index outside":                    on("n", 400, "can't insert outside of list", patch("add", "/extra/l/7", 1)),
		"an index of nothing":                 on("n", 400, "can't remove outside of list", patch("remove", "/extra/l/-")),
		"a test that fails":                   on("n", 400, "'v' is not equal to tested value 'w'", patch("test", "/extra/k", "w")),
		"a test of a secret":                  on("n", 400, "'******' is not equal", patch("test", "/driver_info/bmc_password", "s3cret")),
		"removing the driver":                 on("n", 400, "/driver is mandatory and can not be removed", patch("remove", "/driver")),
		"a driver that is none":               on("n", 400, "No valid host was found.", patch("replace", "/driver", "nosuch")),
		"a driver that the interfaces refuse": on("n", 400, "is not supported by hardware type redfish", patch("replace", "/driver", "redfish")),
		"a name that is null":                 on("n", 400, "to 'None'", patch("replace", "/name", nil)),
		"a name that is none":                 on("n", 400, "Cannot change name for node", patch("replace", "/name", "a b")),
		"a name that is taken":                on("n", 409, "A node with name parent already exists.", patch("replace", "/name", "parent")),
		"itself as its parent":                on("parent", 400, "Unable to apply the requested parent_node 'parent'.", patch("add", "/parent_node", "parent")),
		"its child as its parent":             on("parent", 400, "Unable to apply the requested parent_node 'child'.", patch("add", "/parent_node", "child")),
		"a child as a parent":                 on("n", 400, "only one level is allowed", patch("add", "/parent_node", "child")),
		"a parent as a child":                 on("parent", 400, "only one level is allowed", patch("add", "/parent_node", "n")),
		"a parent that is not there":          on("n", 400, "Requested value was invalid.", patch("replace", "/parent_node", "11111111-1111-1111-1111-111111111111")),
		"a parent at an older version":        old("1.82", 406, "", patch("add", "/parent_node", parent)),
		"protection where there is none":      on("n", 409, "can not have protected set", patch("replace", "/protected", true)),
		"a reason without protection":         on("n", 400, "protected_reason", patch("add", "/protected_reason", "x")),
		"retiring what is available":          on("n", 409, "can not have retired set", patch("replace", "/retired", true)),
		"resetting without a driver":          {"", "PATCH", "/v1/nodes/n?reset_interfaces=true", list{patch("add", "/extra/a", 1)}, 400, "can only be used when changing the node's driver"},
		"resetting at an older version":       {"1.44", "PATCH", "/v1/nodes/n?reset_interfaces=true", list{patch("replace", "/driver", "redfish")}, 406, "1.45"},
		"the chassis before it could":         old("1.24", 406, "", patch("remove", "/chassis_uuid")),
		"a node that is not there":            on("nosuch", 404, "Node nosuch could not be found.", patch("add", "/extra/a", 1)),
	})
	if a := s.do(http.MethodGet, "/v1/nodes/n", nil); strings.Contains(a.text, "s3cret") || !strings.Contains(a.text, `"k":"v"`) {
		t.Errorf("after all that: %s", a.text)
	}
}

func TestWhenANodeMayBePatched(t *testing.T) {
	s := newServer(t).idle()
	extra := list{patch("add", "/extra/a", 1)}
	instance := func(n *node.Node) { n.InstanceUUID = uuid.NewString() }
	for name, c := range map[string]struct {
		edit   func(*node.Node)
		ops    list
		status int
		says   string
	}{
		"locked":                           {func(n *node.Node) { n.Reservation = "c9" }, extra, 409, "is locked by host c9, please retry after the current operation is completed."},
		"in transition":                    {func(n *node.Node) { n.Provision, n.TargetProvision = node.Cleaning, node.Available }, extra, 409, "can not be updated while a state transition is in progress."},
		"failed":                           {func(n *node.Node) { n.Provision, n.TargetProvision = node.CleanFail, node.Available }, extra, 200, ""},
		"freed in maintenance":             {func(n *node.Node) { n.Provision, n.TargetProvision, n.Maintenance = node.DeployWait, node.Active, true }, list{patch("remove", "/instance_uuid")}, 200, ""},
		"inspecting":                       {func(n *node.Node) { n.Provision, n.TargetProvision = node.Inspecting, node.Manageable }, extra, 409, `while it is in state "inspecting"`},
		"an interface while active":        {func(n *node.Node) { n.Provision = node.Active }, list{patch("replace", "/boot_interface", "pxe")}, 409, "boot_interface"},
		"an interface in maintenance":      {func(n *node.Node) { n.Provision, n.Maintenance = node.Active, true }, list{patch("replace", "/boot_interface", "pxe")}, 200, ""},
		"the driver with a console":        {func(n *node.Node) { n.ConsoleEnabled = true }, list{patch("replace", "/driver", "redfish")}, 409, "console"},
		"another instance":                 {instance, list{patch("replace", "/instance_uuid", "55555555-5555-5555-5555-555555555555")}, 409, "is associated with instance "},
		"the same instance":                {func(n *node.Node) { n.InstanceUUID = "44444444-4444-4444-4444-444444444444" }, list{patch("replace", "/instance_uuid", "44444444-4444-4444-4444-444444444444")}, 200, ""},
		"protection of what is active":     {func(n *node.Node) { n.Provision = node.Active }, list{patch("replace", "/protected", "true"), patch("add", "/protected_reason", "mine")}, 200, ""},
		"retirement of what is manageable": {func(n *node.Node) { n.Provision = node.Manageable }, list{patch("replace", "/retired", true), patch("add", "/retired_reason", "old")}, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			id := s.node(obj{})
			s.edit(id, c.edit)
			if a := s.do(http.MethodPatch, "/v1/nodes/"+id, c.ops); a.status != c.status || !strings.Contains(a.fault(), c.says) {
				t.Errorf("status %d, want %d: %s", a.status, c.status, a.text)
			}
		})
	}
}

func TestAChangedDriverMayResetTheInterfaces(t *testing.T) {
	s := newServer(t).idle()
	s.node(obj{"name": "n"})
	o := s.must(http.StatusOK, http.MethodPatch, "/v1/nodes/n?reset_interfaces=true", list{patch("replace", "/driver", "redfish"), patch("replace", "/boot_interface", "pxe")})
	if o["driver"] != "redfish" || o["power_interface"] != "redfish" || o["boot_interface"] != "pxe" {
		t.Errorf("driver %v, power %v, boot %v", o["driver"], o["power_interface"], o["boot_interface"])
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	s := newServer(t).idle()
	a := s.do(http.MethodPost, "/v1/nodes", obj{"driver": "fake-hardware", "name": "n", "driver_info": obj{
		"redfish_password": "s3cret", "deep": obj{"token": "s3cret", "list": list{}}, "redfish_username": "root",
	}, "instance_info": obj{"configdrive": "s3cret"}})
	answers := []answer{a}
	for _, ops := range []list{
		{patch("add", "/driver_info/x", 1)}, {patch("replace", "/driver_info/redfish_password", "******")},
		{patch("replace", "/driver_info", obj{"redfish_password": "******", "redfish_username": "admin"})},
	} {
		answers = append(answers, s.do(http.MethodPatch, "/v1/nodes/n", ops))
	}
	answers = append(answers, s.do(http.MethodGet, "/v1/nodes/n", nil), s.do(http.MethodGet, "/v1/nodes/detail", nil))
	for _, a := range answers {
		if a.status >= 300 || strings.Contains(a.text, "s3cret") || !strings.Contains(a.text, node.Masked) {
			t.Errorf("status %d: %s", a.status, a.text)
		}
	}
	err := s.db.Read(t.Context(), func(tx *store.Tx) error {
		n, err := tx.Node(t.Context(), "n")
		if err != nil {
			return err
		}
		if err := tx.Unseal(t.Context(), n); err != nil {
			return err
		}
		if n.DriverInfo["redfish_password"] != "s3cret" || n.DriverInfo["redfish_username"] != "admin" {
			t.Errorf("the secret was lost: %v", n.DriverInfo)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestARequestWaitsForALockedNode(t *testing.T) {
	s := newServer(t, func(o *baremetal.Options) { o.Config.LockWait = 5 * time.Second }).idle()
	id := s.node(obj{"name": "n"})
	s.edit(id, func(n *node.Node) { n.Reservation = "c9" })
	done := make(chan answer)
	go func() { done <- s.do(http.MethodPatch, "/v1/nodes/n", list{patch("add", "/extra/a", 1)}) }()
	select {
	case a := <-done:
		t.Fatalf("it did not wait: %d", a.status)
	case <-time.After(50 * time.Millisecond):
	}
	s.edit(id, func(n *node.Node) { n.Reservation = "" })
	if a := <-done; a.status != http.StatusOK {
		t.Errorf("status %d: %s", a.status, a.text)
	}
}

func TestConcurrentPatchesLoseNothing(t *testing.T) {
	s := newServer(t).idle()
	s.node(obj{"name": "n"})
	const writers = 8
	done := make(chan int)
	for i := range writers {
		go func() {
			done <- s.do(http.MethodPatch, "/v1/nodes/n", list{patch("add", fmt.Sprintf("/extra/k%d", i), i)}).status
		}()
	}
	for range writers {
		if status := <-done; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	}
	extra, _ := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n", nil)["extra"].(map[string]any)
	if len(extra) != writers {
		t.Errorf("extra: %v", extra)
	}
}
