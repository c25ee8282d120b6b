package baremetal_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

// refusal is a request that has to be refused.
type refusal struct {
	version      string // latest if empty
	method, path string
	body         any
	status       int
	says         string // a part of the text
}

// refuses sends each request and holds the answer against what is expected of it.
func (s *server) refuses(t *testing.T, list map[string]refusal) {
	t.Helper()
	for name, c := range list {
		t.Run(name, func(t *testing.T) {
			version := c.version
			if version == "" {
				version = "1.115"
			}
			a := at(t, s, version, c.method, c.path, c.body)
			if a.status != c.status || !strings.Contains(a.fault(), c.says) {
				t.Errorf("status %d, want %d with %q: %s", a.status, c.status, c.says, a.text)
			}
		})
	}
}

// names returns the values of a field in a list.
func names(o map[string]any, key, field string) []string {
	items, _ := o[key].([]any)
	out := []string{}
	for _, i := range items {
		item, _ := i.(map[string]any)
		text, _ := item[field].(string)
		out = append(out, text)
	}
	return out
}

func TestCreateNodeRefuses(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "host-1", "instance_uuid": "22222222-2222-2222-2222-222222222222"})
	create := func(body obj, status int, says string, version ...string) refusal {
		r := refusal{method: http.MethodPost, path: "/v1/nodes", body: body, status: status, says: says}
		if len(version) > 0 {
			r.version = version[0]
		}
		if _, has := body["driver"]; !has {
			body["driver"] = "fake-hardware"
		}
		return r
	}
	s.refuses(t, map[string]refusal{
		"no driver":                            {"", "POST", "/v1/nodes", obj{}, 400, "Schema error for node: 'driver' is a required property"},
		"a list":                               {"", "POST", "/v1/nodes", list{}, 400, "cannot be read as JSON"},
		"not JSON":                             {"", "POST", "/v1/nodes", "{", 400, "ends too early"},
		"a field that only the server writes":  create(obj{"provision_state": "active"}, 400, "Additional properties are not allowed ('provision_state' was unexpected)"),
		"two fields that nobody knows":         create(obj{"b": 1, "a": 1}, 400, "('a', 'b' were unexpected)"),
		"a field of a later version":           create(obj{"owner": "o"}, 406, "Request not acceptable.", "1.49"),
		"a driver of the wrong type":           create(obj{"driver": 1}, 400, "1 is not of type 'string'"),
		"a description that is too long":       create(obj{"description": strings.Repeat("d", 4097)}, 400, "is too long"),
		"a resource class that is too long":    create(obj{"resource_class": strings.Repeat("r", 81)}, 400, "is too long"),
		"an object that is none":               create(obj{"properties": "x"}, 400, "'x' is not of type 'object', 'null'"),
		"a boolean that is none":               create(obj{"maintenance": "perhaps"}, 400, "Unrecognized value 'perhaps', acceptable values are: '0', '1'"),
		"a UUID that is none":                  create(obj{"uuid": "x"}, 400, "'x' is not a 'uuid'"),
		"a text with NUL":                      create(obj{"description": "a\x00b"}, 400, "NUL"),
		"a name with a blank":                  create(obj{"name": "a b"}, 400, "Cannot create node with invalid name 'a b'"),
		"a name that is a word of the API":     create(obj{"name": "detail"}, 400, "invalid name 'detail'"),
		"a name like a UUID":                   create(obj{"name": id}, 400, "invalid name"),
		"a name that is no host name, before":  create(obj{"name": "a~b"}, 400, "invalid name", "1.9"),
		"a name that is taken":                 create(obj{"name": "host-1"}, 409, "A node with name host-1 already exists."),
		"a UUID that is taken":                 create(obj{"uuid": id}, 409, "A node with UUID "+id+" already exists."),
		"an instance that is taken":            create(obj{"instance_uuid": "22222222-2222-2222-2222-222222222222"}, 409, "Instance 22222222-2222-2222-2222-222222222222 is already associated with a node"),
		"a chassis that is not there":          create(obj{"chassis_uuid": "11111111-1111-1111-1111-111111111111"}, 400, "Chassis 11111111-1111-1111-1111-111111111111 could not be found."),
		"a group without a conductor":          create(obj{"conductor_group": "Rack-7"}, 400, `for conductor group "rack-7"`),
		"an interface that nobody has":         create(obj{"deploy_interface": "nosuch"}, 400, "Could not find the following interface in the 'ironic.hardware.interfaces.deploy' entrypoint: nosuch. Valid interfaces are ["),
		"an interface of another driver":       create(obj{"power_interface": "redfish"}, 400, "power interface implementation 'redfish' is not supported by hardware type fake-hardware."),
		"an interface that is not enabled":     create(obj{"network_interface": "neutron"}, 400, "Valid interfaces are ['flat', 'noop']"),
		"network data without networks":        create(obj{"network_data": obj{"links": list{}}}, 400, "Invalid network_data: 'networks' is a required property"),
		"a reason to retire that is not to be": create(obj{"retired_reason": "old"}, 400, "retired"),
		"a parent that is not there":           create(obj{"parent_node": "nosuch"}, 400, "Unable to apply the requested parent_node 'nosuch'. Requested value was invalid."),
		"a parent of another owner":            create(obj{"parent_node": "host-1", "owner": "o"}, 400, "Unable to apply the requested parent_node 'host-1'. Requested value was invalid."),
		"a parent at an older version":         create(obj{"parent_node": "host-1"}, 406, "", "1.82"),
	})
}

func TestANewNodeHasItsDefaults(t *testing.T) {
	s := newServer(t, func(o *baremetal.Options) { o.Config.DefaultResourceClass = "gold" }).idle()
	n := s.must(http.StatusCreated, http.MethodPost, "/v1/nodes", obj{
		"driver": "redfish", "uuid": "AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE", "instance_info": obj{"display_name": "web-1"}, "conductor_group": nil, "automated_clean": "no",
	})
	for key, want := range map[string]any{
		"uuid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "provision_state": "enroll", "resource_class": "gold", "conductor_group": "", "instance_name": "web-1",
		"power_interface": "redfish", "bios_interface": "no-bios", "network_interface": "noop", "storage_interface": "noop", "automated_clean": false,
		"conductor": host, "maintenance": false, "name": nil, "parent_node": nil,
	} {
		if n[key] != want {
			t.Errorf("%s: %v, want %v", key, n[key], want)
		}
	}
	if a := at(t, s, "1.10", http.MethodPost, "/v1/nodes", obj{"driver": "fake-hardware"}); a.object()["provision_state"] != "available" {
		t.Errorf("before 1.11: %s", a.text)
	}
	if a := at(t, s, "1.1", http.MethodPost, "/v1/nodes", obj{"driver": "fake-hardware"}); a.object()["provision_state"] != nil {
		t.Errorf("before 1.2: %s", a.text)
	}
}

func TestWithoutAConductorNothingIsCreated(t *testing.T) {
	a := newServer(t).do(http.MethodPost, "/v1/nodes", obj{"driver": "fake-hardware"})
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("status %d: %s", a.status, a.text)
	}
}

// fleet is a store of nodes for lists: three parents, and two children of the first.
func fleet(t *testing.T) (*server, string) {
	s := newServer(t).idle()
	first := s.node(obj{"name": "a", "owner": "p1", "shard": "s1", "description": "The 100% host", "resource_class": "gold"})
	s.node(obj{"name": "b", "lessee": "p1", "shard": "s2", "driver": "redfish"})
	s.node(obj{"name": "c", "instance_uuid": "33333333-3333-3333-3333-333333333333", "instance_name": "web"})
	s.node(obj{"name": "a1", "parent_node": "a", "owner": "p1", "shard": "s1"})
	s.node(obj{"name": "a2", "parent_node": first, "owner": "p1"})
	s.edit(first, func(n *node.Node) {
		n.Provision, n.Fault, n.Maintenance, n.Retired = node.Manageable, node.FaultPower, true, true
	})
	return s, first
}

func TestListsOfNodes(t *testing.T) {
	s, first := fleet(t)
	for query, want := range map[string][]string{
		"":                       {"a", "b", "c"},
		"include_children=true":  {"a", "b", "c", "a1", "a2"},
		"include_children=false": {"a", "b", "c"},
		"parent_node=" + first:   {"a1", "a2"},
		"parent_node=a":          {"a1", "a2"},
		"parent_node=nosuch":     {},
		"parent_node=11111111-1111-1111-1111-111111111111": {},
		"parent_node=a&include_children=true":              {"a", "b", "c", "a1", "a2"},
		"owner=p1":                                         {"a"},
		"owner=p1&include_children=1":                      {"a", "a1", "a2"},
		"project=p1":                                       {"a", "b"},
		"lessee=p1":                                        {"b"},
		"shard=s1,s2":                                      {"a", "b"},
		"sharded=false":                                    {"c"},
		"driver=redfish":                                   {"b"},
		"driver=":                                          {},
		"provision_state=manageable":                       {"a"},
		"provision_state=enroll":                           {"b", "c"},
		"associated=true":                                  {"c"},
		"associated=no":                                    {"a", "b"},
		"maintenance=on":                                   {"a"},
		"retired=true":                                     {"a"},
		"fault=power%20failure":                            {"a"},
		"resource_class=gold":                              {"a"},
		"description_contains=100%25":                      {"a"},
		"description_contains=HOST":                        {"a"},
		"instance_name=web":                                {"c"},
		"instance_uuid=33333333-3333-3333-3333-333333333333": {"c"},
		"instance_uuid=11111111-1111-1111-1111-111111111111": {},
		"conductor_group=":                                  {"a", "b", "c"},
		"conductor_group=x":                                 {},
		"conductor=" + host:                                 {"a", "b", "c"},
		"conductor=elsewhere":                               {},
		"sort_key=name&sort_dir=desc":                       {"c", "b", "a"},
		"sort_dir=desc&limit=2":                             {"c", "b"},
		"maintenance=false&sort_key=description":            {"b", "c"},
		"chassis_uuid=11111111-1111-1111-1111-111111111111": {},
	} {
		t.Run(query, func(t *testing.T) {
			o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes?"+query, nil)
			if d := cmp.Diff(want, names(o, "nodes", "name")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestListsOfNodesRefuse(t *testing.T) {
	s, _ := fleet(t)
	get := func(query string, status int, says string, version ...string) refusal {
		r := refusal{method: http.MethodGet, path: "/v1/nodes?" + query, status: status, says: says}
		if len(version) > 0 {
			r.version = version[0]
		}
		return r
	}
	s.refuses(t, map[string]refusal{
		"a limit of nothing":              get("limit=0", 400, "Limit must be positive"),
		"a limit below":                   get("limit=-1", 400, "Limit must be positive"),
		"a limit that is no number":       get("limit=many", 400, "Expected an integer for limit: many"),
		"a marker that is no UUID":        get("marker=x", 400, "Expected UUID for marker: x"),
		"a marker that is not there":      get("marker=11111111-1111-1111-1111-111111111111", 404, "Node 11111111-1111-1111-1111-111111111111 could not be found."),
		"a direction that is none":        get("sort_dir=up", 400, "Acceptable values are 'asc' or 'desc'"),
		"a key that is JSON":              get("sort_key=driver_info", 400, "The sort_key value \"driver_info\" is an invalid field for sorting"),
		"a key that is a secret":          get("sort_key=secrets", 400, "is an invalid field for sorting"),
		"a key of a later version":        get("sort_key=owner", 406, "", "1.49"),
		"a field that is none":            get("fields=uuid,bogus", 400, "Field bogus is not a valid field."),
		"a field of a later version":      get("fields=parent_node", 406, "", "1.82"),
		"fields before there were any":    get("fields=uuid", 406, "1.8", "1.7"),
		"fields of the whole":             get("fields=uuid&detail=true", 400, "Can't fetch a subset of fields with 'detail' set"),
		"detail before there was any":     get("detail=True", 400, "Invalid query parameter ?detail=True received.", "1.42"),
		"a state that is none":            get("provision_state=happy", 400, "Provision state \"happy\" is not valid"),
		"a fault that is none":            get("fault=mine", 400, "Unrecognized fault \"mine\" is specified"),
		"a boolean that is none":          get("associated=perhaps", 400, "Invalid associated: Unrecognized value 'perhaps'"),
		"an instance that is no UUID":     get("instance_uuid=x", 400, "Expected UUID for instance_uuid: x"),
		"children before there were any":  get("include_children=true", 406, "The minimal required API version should be 1.83", "1.82"),
		"children that are no boolean":    get("include_children=perhaps", 400, "Invalid include_children"),
		"shards before there were any":    get("shard=x", 406, "1.82", "1.81"),
		"an argument that nobody knows":   get("bogus=1", 400, "Unexpected arguments: bogus"),
		"a shard's list on a single node": {"", "GET", "/v1/nodes/a?shard=x", nil, 400, "Unexpected arguments: shard"},
		"a single field that is none":     {"", "GET", "/v1/nodes/a?fields=bogus", nil, 400, "Field bogus is not a valid field."},
		"a name that can be none":         {"", "GET", "/v1/nodes/a%20b", nil, 400, "Expected a logical name or UUID"},
		"a child of nobody":               {"", "GET", "/v1/nodes/nosuch/children", nil, 404, "Node nosuch could not be found."},
		"a child that is asked for":       {"", "GET", "/v1/nodes/a/children/a1", nil, 404, ""},
		"a child that is put":             {"", "POST", "/v1/nodes/a/children", obj{}, 405, ""},
	})
}

func TestTheNextPageKeepsTheQuestion(t *testing.T) {
	s, _ := fleet(t)
	path, seen := "/v1/nodes?include_children=true&fields=name,uuid&limit=2&sort_key=name&sort_dir=desc", []string{}
	for path != "" {
		o := s.must(http.StatusOK, http.MethodGet, path, nil)
		seen = append(seen, names(o, "nodes", "name")...)
		next, _ := o["next"].(string)
		path = strings.TrimPrefix(next, "http://api.example:6385")
	}
	if d := cmp.Diff([]string{"c", "b", "a2", "a1", "a"}, seen); d != "" {
		t.Error(d)
	}
}

func TestNamesMayLackTheirSuffixAsTheyOnceDid(t *testing.T) {
	s, _ := fleet(t)
	s.node(obj{"name": "x.json"})
	for path, want := range map[string]int{"/v1/nodes/a.json": 200, "/v1/nodes/x.json": 200, "/v1/nodes/nosuch.json": 404} {
		if a := at(t, s, "1.90", http.MethodGet, path, nil); a.status != want {
			t.Errorf("%s at 1.90: %d", path, a.status)
		}
	}
	if a := s.do(http.MethodGet, "/v1/nodes/a.json", nil); a.status != http.StatusNotFound {
		t.Errorf("at 1.91 and later: %d", a.status)
	}
}

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

func TestDeleteNode(t *testing.T) {
	s := newServer(t).idle()
	for name, c := range map[string]struct {
		edit   func(*node.Node)
		status int
		says   string
	}{
		"enroll":                {func(*node.Node) {}, 204, ""},
		"available":             {func(n *node.Node) { n.Provision = node.Available }, 204, ""},
		"active":                {func(n *node.Node) { n.Provision = node.Active }, 409, `while it is in provision state "active"`},
		"active in maintenance": {func(n *node.Node) { n.Provision, n.Maintenance = node.Active, true }, 204, ""},
		"with an instance":      {func(n *node.Node) { n.InstanceUUID = "44444444-4444-4444-4444-444444444444" }, 409, "is associated with instance"},
		"protected":             {func(n *node.Node) { n.Protected, n.Maintenance = true, true }, 403, "is protected"},
		"locked":                {func(n *node.Node) { n.Reservation = "c9" }, 409, "is locked by host c9"},
	} {
		t.Run(name, func(t *testing.T) {
			id := s.node(obj{})
			s.edit(id, c.edit)
			if a := s.do(http.MethodDelete, "/v1/nodes/"+id, nil); a.status != c.status || !strings.Contains(a.fault(), c.says) {
				t.Errorf("status %d: %s", a.status, a.text)
			}
			if left := s.do(http.MethodGet, "/v1/nodes/"+id, nil).status == http.StatusOK; left != (c.status != 204) {
				t.Errorf("the node is left: %v", left)
			}
		})
	}
}

func TestWhatBecomesOfChildren(t *testing.T) {
	for name, c := range map[string]struct {
		setting string
		child   func(*node.Node)
		status  int
		says    string
		left    []string // of parent, first, second
	}{
		"they are deleted":                 {"", func(*node.Node) {}, 204, "", nil},
		"they are deleted on request":      {baremetal.Cascade, func(*node.Node) {}, 204, "", nil},
		"an active one keeps all":          {"", func(n *node.Node) { n.Provision = node.Active }, 409, "The node's child second can not be deleted with it: Can not delete node", []string{"parent", "first", "second"}},
		"a locked one keeps all":           {"", func(n *node.Node) { n.Reservation = "c9" }, 409, "The node's child second can not be deleted with it", []string{"parent", "first", "second"}},
		"a protected one keeps all":        {"", func(n *node.Node) { n.Protected = true }, 409, "child second", []string{"parent", "first", "second"}},
		"they forbid it":                   {baremetal.Refuse, func(*node.Node) {}, 409, "has 2 child nodes", []string{"parent", "first", "second"}},
		"they are set free":                {baremetal.Orphan, func(*node.Node) {}, 204, "", []string{"first", "second"}},
		"even an active one is set free":   {baremetal.Orphan, func(n *node.Node) { n.Provision = node.Active }, 204, "", []string{"first", "second"}},
		"a locked one can not be set free": {baremetal.Orphan, func(n *node.Node) { n.Reservation = "c9" }, 409, "is locked by host c9", []string{"parent", "first", "second"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(o *baremetal.Options) { o.Config.Children = c.setting }).idle()
			s.node(obj{"name": "parent"})
			s.node(obj{"name": "first", "parent_node": "parent"})
			s.edit(s.node(obj{"name": "second", "parent_node": "parent"}), c.child)
			if a := s.do(http.MethodDelete, "/v1/nodes/parent", nil); a.status != c.status || !strings.Contains(a.fault(), c.says) {
				t.Errorf("status %d: %s", a.status, a.text)
			}
			left := names(s.must(http.StatusOK, http.MethodGet, "/v1/nodes?include_children=true", nil), "nodes", "name")
			if !slices.Equal(left, c.left) && len(left)+len(c.left) > 0 {
				t.Errorf("left: %v, want %v", left, c.left)
			}
			if c.setting == baremetal.Orphan && c.status == 204 {
				if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/first", nil); o["parent_node"] != nil {
					t.Errorf("first still has parent %v", o["parent_node"])
				}
			}
		})
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
