package baremetal_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/node"
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
