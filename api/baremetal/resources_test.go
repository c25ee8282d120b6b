package baremetal_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

const nobody = "11111111-1111-1111-1111-111111111111"

func (s *server) create(path string, body obj) string {
	s.Helper()
	id, _ := s.must(http.StatusCreated, http.MethodPost, path, body)["uuid"].(string)
	return id
}

func TestPorts(t *testing.T) {
	s := newServer(t).idle()
	a, b := s.node(obj{"name": "a", "shard": "s1"}), s.node(obj{"name": "b"})
	first := s.create("/v1/ports", obj{"node_uuid": a, "address": "52-54-00-AA-BB-01", "name": "p1", "description": "Uplink"})
	second := s.create("/v1/ports", obj{"node_ident": "b", "address": "52:54:00:aa:bb:02"})
	for query, want := range map[string][]string{
		"": {first, second}, "node=a": {first}, "node_uuid=" + b: {second}, "address=52:54:00:AA:BB:01": {first}, "shard=s1": {first},
		"description_contains=up": {first}, "conductor_groups=x": {}, "sort_key=address&sort_dir=desc": {second, first}, "detail=true&node=b": {second},
	} {
		if d := cmp.Diff(want, names(s.must(http.StatusOK, http.MethodGet, "/v1/ports?"+query, nil), "ports", "uuid")); d != "" {
			t.Errorf("%s: %s", query, d)
		}
	}
	for _, path := range []string{"/v1/nodes/a/ports", "/v1/nodes/" + a + "/ports/detail"} {
		if d := cmp.Diff([]string{first}, names(s.must(http.StatusOK, http.MethodGet, path, nil), "ports", "uuid")); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	o := s.must(http.StatusOK, http.MethodPatch, "/v1/ports/"+first, list{
		patch("replace", "/address", "52:54:00:AA:BB:03"), patch("remove", "/name"), patch("replace", "/pxe_enabled", false), patch("add", "/extra/k", 1),
		patch("add", "/local_link_connection", obj{"port_id": "rep0", "hostname": "dpu"}), patch("replace", "/is_smartnic", true),
	})
	if o["address"] != "52:54:00:aa:bb:03" || o["name"] != nil || o["pxe_enabled"] != false || o["is_smartnic"] != true {
		t.Errorf("patched: %v", o)
	}
	if o := s.must(http.StatusOK, http.MethodPatch, "/v1/ports/"+first, list{patch("remove", "/pxe_enabled")}); o["pxe_enabled"] != true {
		t.Errorf("pxe_enabled after its removal: %v", o["pxe_enabled"])
	}
	s.edit("b", func(n *node.Node) { n.Provision = node.Active })
	port := func(method, path string, body any, status int, says string) refusal {
		return refusal{"", method, path, body, status, says}
	}
	s.refuses(t, map[string]refusal{
		"no address":                        port("POST", "/v1/ports", obj{"node_uuid": a}, 400, "'address' is a required property"),
		"no node":                           port("POST", "/v1/ports", obj{"address": "52:54:00:aa:bb:09"}, 400, "'node_uuid' is a required property"),
		"an address that is none":           port("POST", "/v1/ports", obj{"node_uuid": a, "address": "x"}, 400, "Expected a MAC address but received x."),
		"an address that is taken":          port("POST", "/v1/ports", obj{"node_uuid": a, "address": "52:54:00:AA:BB:02"}, 409, "A port with MAC address 52:54:00:aa:bb:02 already exists."),
		"a node that is not there":          port("POST", "/v1/ports", obj{"node_uuid": nobody, "address": "52:54:00:aa:bb:09"}, 400, "Node "+nobody+" could not be found."),
		"a node by name as its UUID":        port("POST", "/v1/ports", obj{"node_uuid": "a", "address": "52:54:00:aa:bb:09"}, 400, "'a' is not a 'uuid'"),
		"a node by name, too early":         {"1.93", "POST", "/v1/ports", obj{"node_ident": "a", "address": "52:54:00:aa:bb:09"}, 406, "1.94"},
		"a smart NIC without its host":      port("POST", "/v1/ports", obj{"node_uuid": a, "address": "52:54:00:aa:bb:09", "is_smartnic": true, "local_link_connection": obj{"port_id": "x", "switch_id": "0a:1b:2c:3d:4e:5f"}}, 400, "Smart NIC port must have port_id and hostname in local_link_connection"),
		"an empty physical network":         port("POST", "/v1/ports", obj{"node_uuid": a, "address": "52:54:00:aa:bb:09", "physical_network": ""}, 400, "'' should be non-empty"),
		"a port group that is not there":    port("POST", "/v1/ports", obj{"node_uuid": a, "address": "52:54:00:aa:bb:09", "portgroup_uuid": nobody}, 400, "Portgroup "+nobody),
		"a name by which it is deleted":     port("DELETE", "/v1/ports/p1", nil, 400, "Expected a UUID but received p1."),
		"a port that is not there":          port("GET", "/v1/ports/"+nobody, nil, 404, "Port "+nobody+" could not be found."),
		"a name before names":               {"1.87", "GET", "/v1/ports/p1", nil, 400, "Expected a UUID"},
		"another node":                      port("PATCH", "/v1/ports/"+first, list{patch("replace", "/node_uuid", b)}, 400, "can not be moved to another node"),
		"removing the address":              port("PATCH", "/v1/ports/"+first, list{patch("remove", "/address")}, 400, "/address is mandatory"),
		"rewiring an active node":           port("PATCH", "/v1/ports/"+second, list{patch("replace", "/pxe_enabled", false)}, 409, "must be in state enroll"),
		"a list of a node that is not":      port("GET", "/v1/ports?node=nosuch", nil, 404, "Node nosuch could not be found."),
		"a list by an address that is none": port("GET", "/v1/ports?address=x", nil, 400, "Expected a MAC address"),
	})
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/ports/"+first, nil)
	s.must(http.StatusNotFound, http.MethodDelete, "/v1/ports/"+first, nil)
}

func TestPortgroups(t *testing.T) {
	s := newServer(t).idle()
	a, b := s.node(obj{"name": "a"}), s.node(obj{"name": "b"})
	g := s.create("/v1/portgroups", obj{"node_uuid": a, "name": "bond0", "address": "52:54:00:00:00:01", "mode": "802.3ad"})
	p := s.create("/v1/ports", obj{"node_uuid": a, "address": "52:54:00:00:00:02", "portgroup_uuid": g})
	for _, path := range []string{"/v1/portgroups", "/v1/nodes/a/portgroups", "/v1/portgroups/detail?node=a"} {
		if d := cmp.Diff([]string{g}, names(s.must(http.StatusOK, http.MethodGet, path, nil), "portgroups", "uuid")); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	for _, path := range []string{"/v1/portgroups/bond0/ports", "/v1/ports?portgroup=bond0", "/v1/portgroups/" + g + "/ports/detail"} {
		if d := cmp.Diff([]string{p}, names(s.must(http.StatusOK, http.MethodGet, path, nil), "ports", "uuid")); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	o := s.must(http.StatusOK, http.MethodPatch, "/v1/portgroups/bond0", list{patch("remove", "/mode"), patch("replace", "/name", "bond1"), patch("add", "/properties/miimon", "100")})
	if o["mode"] != "active-backup" || o["name"] != "bond1" || !cmp.Equal(o["properties"], obj{"miimon": "100"}) {
		t.Errorf("patched: %v", o)
	}
	alone := s.create("/v1/portgroups", obj{"node_uuid": a, "standalone_ports_supported": false})
	s.refuses(t, map[string]refusal{
		"a name that is taken":           {"", "POST", "/v1/portgroups", obj{"node_uuid": b, "name": "bond1"}, 409, "A portgroup with name bond1 already exists."},
		"an address that is taken":       {"", "POST", "/v1/portgroups", obj{"node_uuid": b, "address": "52:54:00:00:00:01"}, 409, "A portgroup with MAC address"},
		"deleting it with its ports":     {"", "DELETE", "/v1/portgroups/bond1", nil, 400, "is not empty"},
		"a port of another node in it":   {"", "POST", "/v1/ports", obj{"node_uuid": b, "address": "52:54:00:00:00:03", "portgroup_uuid": g}, 400, "is of node"},
		"a port that boots and may not":  {"", "POST", "/v1/ports", obj{"node_uuid": a, "address": "52:54:00:00:00:03", "portgroup_uuid": alone}, 409, "pxe_enabled"},
		"another node":                   {"", "PATCH", "/v1/portgroups/bond1", list{patch("replace", "/node_uuid", b)}, 400, "can not be moved"},
		"what only the server writes":    {"", "POST", "/v1/portgroups", obj{"node_uuid": a, "dynamic_portgroup": true}, 400, "'dynamic_portgroup' was unexpected"},
		"before there were any":          {"1.22", "GET", "/v1/portgroups", nil, 404, ""},
		"a mode before there were modes": {"1.25", "POST", "/v1/portgroups", obj{"node_uuid": a, "mode": "802.3ad"}, 406, ""},
	})
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/ports/"+p, nil)
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/portgroups/bond1", nil)
}

func TestChassis(t *testing.T) {
	s := newServer(t).idle()
	c := s.create("/v1/chassis", obj{"description": "rack 7"})
	s.node(obj{"name": "in", "chassis_uuid": c})
	s.node(obj{"name": "out"})
	for _, path := range []string{"/v1/chassis/" + c + "/nodes", "/v1/chassis/" + c + "/nodes/detail", "/v1/nodes?chassis_uuid=" + c} {
		if d := cmp.Diff([]string{"in"}, names(s.must(http.StatusOK, http.MethodGet, path, nil), "nodes", "name")); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	s.must(http.StatusOK, http.MethodPatch, "/v1/chassis/"+c, list{patch("replace", "/description", "rack 8")})
	s.refuses(t, map[string]refusal{
		"deleting it with its nodes": {"", "DELETE", "/v1/chassis/" + c, nil, 400, "Cannot complete the requested action because chassis " + c + " contains nodes."},
		"nodes of two chassis":       {"", "GET", "/v1/chassis/" + c + "/nodes?chassis_uuid=" + nobody, nil, 400, "another"},
		"a chassis that is not":      {"", "GET", "/v1/chassis/" + nobody, nil, 404, "Chassis " + nobody + " could not be found."},
		"a chassis by name":          {"", "GET", "/v1/chassis/rack", nil, 400, "Expected a UUID"},
	})
	s.must(http.StatusOK, http.MethodPatch, "/v1/nodes/in", list{patch("remove", "/chassis_uuid")})
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/chassis/"+c, nil)
}

func TestTraitsOfNodes(t *testing.T) {
	s := newServer(t).idle()
	s.node(obj{"name": "n"})
	s.must(http.StatusNoContent, http.MethodPut, "/v1/nodes/n/traits", obj{"traits": list{"CUSTOM_B", "CUSTOM_A", "CUSTOM_B"}})
	s.must(http.StatusNoContent, http.MethodPut, "/v1/nodes/n/traits/CUSTOM_C", nil)
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n/traits/CUSTOM_A", nil)
	o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes?fields=traits", nil)
	if d := cmp.Diff(list{"CUSTOM_B", "CUSTOM_C"}, o["nodes"].([]any)[0].(map[string]any)["traits"]); d != "" {
		t.Error(d)
	}
	many := list{}
	for i := range 51 {
		many = append(many, fmt.Sprintf("CUSTOM_T%d", i))
	}
	s.refuses(t, map[string]refusal{
		"too many":                {"", "PUT", "/v1/nodes/n/traits", obj{"traits": many}, 400, "at most 50"},
		"a trait that is none":    {"", "PUT", "/v1/nodes/n/traits/gold", nil, 400, "'gold' does not match '^CUSTOM_[A-Z0-9_]+$'"},
		"one with a body":         {"", "PUT", "/v1/nodes/n/traits/CUSTOM_D", obj{}, 400, "No body should be provided"},
		"a trait that is not":     {"", "DELETE", "/v1/nodes/n/traits/CUSTOM_X", nil, 404, "doesn't have a trait 'CUSTOM_X'"},
		"no traits":               {"", "PUT", "/v1/nodes/n/traits", obj{}, 400, "'traits' is a required property"},
		"traits that are no list": {"", "PUT", "/v1/nodes/n/traits", obj{"traits": "CUSTOM_A"}, 400, "is not of type 'array'"},
		"before there were any":   {"1.36", "GET", "/v1/nodes/n/traits", nil, 404, ""},
	})
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n/traits", nil)
	if a := s.do(http.MethodGet, "/v1/nodes/n/traits", nil); a.text != `{"traits":[]}` {
		t.Error(a.text)
	}
	s.edit("n", func(n *node.Node) { n.Reservation = "c9" })
	s.refuses(t, map[string]refusal{"a locked node": {"", "PUT", "/v1/nodes/n/traits/CUSTOM_D", nil, 409, "is locked"}})
}

func TestTemplatesAndRunbooks(t *testing.T) {
	s := newServer(t).idle()
	step := obj{"interface": "bios", "step": "x", "args": obj{}, "priority": 10}
	s.create("/v1/deploy_templates", obj{"name": "CUSTOM_A", "steps": list{step}})
	o := s.must(http.StatusOK, http.MethodPatch, "/v1/deploy_templates/CUSTOM_A", list{patch("replace", "/steps/0/priority", "20"), patch("add", "/steps/-", obj{"interface": "raid", "step": "y", "args": obj{"a": 1}, "priority": 1, "execute_on_child_nodes": true})})
	if d := cmp.Diff(list{obj{"interface": "bios", "step": "x", "args": obj{}, "priority": 20.0}, obj{"interface": "raid", "step": "y", "args": obj{"a": 1.0}, "priority": 1.0, "execute_on_child_nodes": true}}, o["steps"]); d != "" {
		t.Error(d)
	}
	run := obj{"interface": "power", "step": "power_on", "order": 1}
	s.create("/v1/runbooks", obj{"name": "CUSTOM_B", "steps": list{run}, "owner": "p1"})
	s.create("/v1/runbooks", obj{"name": "wipe-all", "steps": list{run}, "public": true, "description": "d"})
	s.must(http.StatusNoContent, http.MethodPut, "/v1/runbooks/wipe-all/traits", obj{"traits": list{"CUSTOM_D", "CUSTOM_C"}})
	s.must(http.StatusNoContent, http.MethodPut, "/v1/runbooks/wipe-all/traits/CUSTOM_E", nil)
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/runbooks/wipe-all/traits/CUSTOM_D", nil)
	if a := s.do(http.MethodGet, "/v1/runbooks/wipe-all/traits", nil); a.text != `{"traits":["CUSTOM_C","CUSTOM_E"]}` {
		t.Error(a.text)
	}
	if o := s.must(http.StatusOK, http.MethodPatch, "/v1/runbooks/CUSTOM_B", list{patch("replace", "/public", true)}); o["owner"] != nil || o["public"] != true {
		t.Errorf("made public: %v", o)
	}
	s.refuses(t, map[string]refusal{
		"a template that is no trait":     {"", "POST", "/v1/deploy_templates", obj{"name": "gold", "steps": list{step}}, 400, "'gold' is not valid"},
		"a template's name taken":         {"", "POST", "/v1/deploy_templates", obj{"name": "CUSTOM_A", "steps": list{step}}, 409, "A deploy template with name CUSTOM_A already exists."},
		"a template without steps":        {"", "POST", "/v1/deploy_templates", obj{"name": "CUSTOM_X", "steps": list{}}, 400, "at least one step"},
		"a template's step twice":         {"", "POST", "/v1/deploy_templates", obj{"name": "CUSTOM_X", "steps": list{step, step}}, 400, "duplicate step"},
		"a template's step without args":  {"", "POST", "/v1/deploy_templates", obj{"name": "CUSTOM_X", "steps": list{obj{"interface": "bios", "step": "x", "priority": 1}}}, 400, `steps[0]: "args" is a required property`},
		"a template without its steps":    {"", "PATCH", "/v1/deploy_templates/CUSTOM_A", list{patch("remove", "/steps")}, 400, "/steps is mandatory"},
		"a template that is not there":    {"", "GET", "/v1/deploy_templates/CUSTOM_Z", nil, 404, "Deploy template CUSTOM_Z could not be found."},
		"a runbook's step without order":  {"", "POST", "/v1/runbooks", obj{"name": "CUSTOM_X", "steps": list{obj{"interface": "bios", "step": "x"}}}, 400, `"order" is a required property`},
		"a runbook's free name too early": {"1.111", "POST", "/v1/runbooks", obj{"name": "wipe", "steps": list{run}}, 400, "'wipe' is not valid"},
		"a runbook's name with a blank":   {"", "POST", "/v1/runbooks", obj{"name": "wipe it", "steps": list{run}}, 400, "is not a valid name"},
		"a public runbook with an owner":  {"", "POST", "/v1/runbooks", obj{"name": "x", "steps": list{run}, "public": true, "owner": "p"}, 400, "can not have an owner"},
		"a runbook's trait too early":     {"1.111", "GET", "/v1/runbooks/CUSTOM_B/traits", nil, 404, ""},
		"a runbook's trait that is not":   {"", "DELETE", "/v1/runbooks/CUSTOM_B/traits/CUSTOM_Z", nil, 404, "doesn't have a trait 'CUSTOM_Z'"},
	})
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/runbooks/wipe-all/traits", nil)
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/runbooks/wipe-all", nil)
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/deploy_templates/CUSTOM_A", nil)
}

func TestInspectionRules(t *testing.T) {
	s := newServer(t).idle()
	action := obj{"op": "fail", "args": obj{"msg": "x"}}
	id := s.create("/v1/inspection_rules", obj{"actions": list{action}, "conditions": list{obj{"op": "! is-true", "args": obj{"value": "x"}, "multiple": "all"}}, "priority": 7})
	o := s.must(http.StatusOK, http.MethodPatch, "/v1/inspection_rules/"+id, list{patch("replace", "/sensitive", true)})
	if o["actions"] != nil || o["conditions"] != nil {
		t.Errorf("sensitive: %v", o)
	}
	rule := func(body obj, says string) refusal {
		return refusal{"", "POST", "/v1/inspection_rules", body, 400, says}
	}
	s.refuses(t, map[string]refusal{
		"no action":                {"", "POST", "/v1/inspection_rules", obj{"actions": list{}}, 400, "non-empty"},
		"an action that is none":   rule(obj{"actions": list{obj{"op": "explode", "args": obj{}}}}, "'explode' is not one of"),
		"an action without args":   rule(obj{"actions": list{obj{"op": "fail"}}}, "'args' is a required property"),
		"a condition that is none": rule(obj{"actions": list{action}, "conditions": list{obj{"op": "like", "args": obj{}}}}, "'like' is not one of"),
		"a priority too high":      rule(obj{"actions": list{action}, "priority": 10000}, "greater than the maximum of 9999"),
		"a priority with a half":   rule(obj{"actions": list{action}, "priority": 1.5}, "is not of type 'integer'"),
		"a phase that is none":     rule(obj{"actions": list{action}, "phase": "early"}, "'early' is not one of"),
		"no longer sensitive":      {"", "PATCH", "/v1/inspection_rules/" + id, list{patch("replace", "/sensitive", false)}, 400, "can not be unset"},
		"a rule by name":           {"", "GET", "/v1/inspection_rules/x", nil, 400, "Expected a UUID"},
	})
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/inspection_rules/"+id, nil)
}

func TestVolumes(t *testing.T) {
	s := newServer(t).idle()
	n := s.node(obj{"name": "n"})
	c := s.create("/v1/volume/connectors", obj{"node_uuid": n, "type": "iqn", "connector_id": "a"})
	v := s.create("/v1/volume/targets", obj{"node_uuid": n, "volume_type": "iscsi", "volume_id": "v", "boot_index": "0", "properties": obj{"auth_password": "s3cret"}})
	if a := s.do(http.MethodGet, "/v1/volume/targets/"+v, nil); strings.Contains(a.text, "s3cret") || !strings.Contains(a.text, node.Masked) {
		t.Error(a.text)
	}
	for path, id := range map[string]string{
		"/v1/volume/connectors?node=n": c, "/v1/nodes/n/volume/connectors": c, "/v1/volume/targets?detail=true": v, "/v1/nodes/" + n + "/volume/targets": v,
	} {
		key := "targets"
		if strings.Contains(path, "connectors") {
			key = "connectors"
		}
		if d := cmp.Diff([]string{id}, names(s.must(http.StatusOK, http.MethodGet, path, nil), key, "uuid")); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	if a := s.do(http.MethodGet, "/v1/nodes/n/volume", nil); !strings.Contains(a.text, "/v1/nodes/"+n+"/volume/targets") {
		t.Error(a.text)
	}
	s.refuses(t, map[string]refusal{
		"a type that is none":          {"", "POST", "/v1/volume/connectors", obj{"node_uuid": n, "type": "x", "connector_id": "a"}, 400, "'x' is not one of"},
		"a connector that is taken":    {"", "POST", "/v1/volume/connectors", obj{"node_uuid": n, "type": "iqn", "connector_id": "a"}, 409, "already exists"},
		"a boot index that is taken":   {"", "POST", "/v1/volume/targets", obj{"node_uuid": n, "volume_type": "x", "volume_id": "x", "boot_index": 0}, 409, "boot index 0"},
		"a boot index that is none":    {"", "POST", "/v1/volume/targets", obj{"node_uuid": n, "volume_type": "x", "volume_id": "x", "boot_index": "one"}, 400, "'one' is not of type 'integer'"},
		"a change of what may be used": {"", "PATCH", "/v1/volume/targets/" + v, list{patch("replace", "/volume_id", "w")}, 400, `The requested action "volume target update" can not be performed`},
		"a deletion of what may be":    {"", "DELETE", "/v1/volume/connectors/" + c, nil, 400, `The requested action "volume connector deletion"`},
		"a connector that is not":      {"", "GET", "/v1/volume/connectors/" + nobody, nil, 404, "could not be found"},
	})
	s.edit(n, func(n *node.Node) { n.Power = node.PowerOff })
	if o := s.must(http.StatusOK, http.MethodPatch, "/v1/volume/targets/"+v, list{patch("replace", "/boot_index", 3), patch("add", "/properties/lun", 1)}); o["boot_index"] != 3.0 {
		t.Errorf("%v", o)
	}
	s.must(http.StatusOK, http.MethodPatch, "/v1/volume/connectors/"+c, list{patch("replace", "/connector_id", "b")})
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/volume/connectors/"+c, nil)
	s.must(http.StatusNoContent, http.MethodDelete, "/v1/volume/targets/"+v, nil)
}

func TestVIFs(t *testing.T) {
	s := newServer(t).idle()
	n := s.node(obj{"name": "n", "network_interface": "flat"})
	s.create("/v1/ports", obj{"node_uuid": n, "address": "52:54:00:00:00:01", "pxe_enabled": false})
	boots := s.create("/v1/ports", obj{"node_uuid": n, "address": "52:54:00:00:00:02"})
	third := s.create("/v1/ports", obj{"node_uuid": n, "address": "52:54:00:00:00:03"})
	attach := func(body obj) answer { return s.do(http.MethodPost, "/v1/nodes/n/vifs", body) }
	if a := attach(obj{"id": "v1"}); a.status != http.StatusNoContent {
		t.Fatal(a.text)
	}
	o := s.must(http.StatusOK, http.MethodGet, "/v1/ports/"+boots, nil)
	if !cmp.Equal(o["internal_info"], obj{"tenant_vif_port_id": "v1"}) {
		t.Errorf("a port that boots is taken first: %v", o["internal_info"])
	}
	if a := attach(obj{"id": "v3", "port_uuid": third}); a.status != http.StatusNoContent {
		t.Fatal(a.text)
	}
	group := s.create("/v1/portgroups", obj{"node_uuid": n})
	if a := attach(obj{"id": "v4", "portgroup_uuid": group}); a.status != http.StatusNoContent {
		t.Fatal(a.text)
	}
	if d := cmp.Diff([]string{"v4", "v1", "v3"}, names(s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/vifs", nil), "vifs", "id")); d != "" {
		t.Error(d)
	}
	s.refuses(t, map[string]refusal{
		"the same again":         {"", "POST", "/v1/nodes/n/vifs", obj{"id": "v1"}, 409, "Unable to attach VIF because VIF v1 is already attached to Ironic Port " + boots},
		"to a port and a group":  {"", "POST", "/v1/nodes/n/vifs", obj{"id": "v5", "port_uuid": third, "portgroup_uuid": group}, 400, "Cannot specify both"},
		"to a port that has one": {"", "POST", "/v1/nodes/n/vifs", obj{"id": "v5", "port_uuid": third}, 400, "not enough free physical ports"},
		"without an ID":          {"", "POST", "/v1/nodes/n/vifs", obj{}, 400, "'id' is a required property"},
		"to a port before 1.67":  {"1.66", "POST", "/v1/nodes/n/vifs", obj{"id": "v5", "port_uuid": third}, 406, "1.67"},
		"detaching what is not":  {"", "DELETE", "/v1/nodes/n/vifs/v9", nil, 400, "Unable to detach VIF v9"},
	})
	s.must(http.StatusNoContent, http.MethodPost, "/v1/nodes/n/vifs", obj{"id": "v6"})
	s.refuses(t, map[string]refusal{"when none is left": {"", "POST", "/v1/nodes/n/vifs", obj{"id": "v7"}, 400, "Unable to attach VIF v7, not enough free physical ports."}})
	for _, id := range []string{"v1", "v4"} {
		s.must(http.StatusNoContent, http.MethodDelete, "/v1/nodes/n/vifs/"+id, nil)
	}
	if d := cmp.Diff([]string{"v6", "v3"}, names(s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/vifs", nil), "vifs", "id")); d != "" {
		t.Error(d)
	}
	s.node(obj{"name": "plain"})
	s.must(http.StatusNoContent, http.MethodPost, "/v1/nodes/plain/vifs", obj{"id": "v1"})
	if a := s.do(http.MethodGet, "/v1/nodes/plain/vifs", nil); a.text != `{"vifs":[]}` {
		t.Errorf("a network that is left alone: %s", a.text)
	}
}

func TestWhatAMachineIsMadeOf(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "n"})
	low := 0
	err := s.db.Write(t.Context(), func(tx *store.Tx) error {
		ctx := t.Context()
		if err := tx.SetBIOSSettings(ctx, id, []*node.BIOSSetting{{Name: "SriovGlobalEnable", Value: "Enabled", AttributeType: "Enumeration", AllowableValues: []any{"Enabled", "Disabled"}, LowerBound: &low}}); err != nil {
			return err
		}
		if err := tx.SetFirmware(ctx, id, []*node.FirmwareComponent{{Component: "bmc", CurrentVersion: "24.10", Vendor: "NVIDIA"}}); err != nil {
			return err
		}
		return tx.SetInventory(ctx, id, &node.Inventory{Inventory: obj{"cpu": obj{"count": 16.0}}, PluginData: obj{"x": 1.0}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/bios", nil)["bios"].([]any)[0].(map[string]any); o["value"] != "Enabled" || len(o) != 5 {
		t.Errorf("bios: %v", o)
	}
	o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/bios/SriovGlobalEnable", nil)["SriovGlobalEnable"].(map[string]any)
	if !cmp.Equal(o["allowable_values"], list{"Enabled", "Disabled"}) || o["lower_bound"] != 0.0 || o["upper_bound"] != nil || len(o) != 14 {
		t.Errorf("the setting: %v", o)
	}
	if o := at(t, s, "1.73", http.MethodGet, "/v1/nodes/n/bios/SriovGlobalEnable", nil).object()["SriovGlobalEnable"].(map[string]any); len(o) != 5 {
		t.Errorf("the setting at 1.73: %v", o)
	}
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/firmware", nil)["firmware"].([]any)[0].(map[string]any); o["vendor"] != "NVIDIA" || o["initial_version"] != nil {
		t.Errorf("firmware: %v", o)
	}
	if o := at(t, s, "1.113", http.MethodGet, "/v1/nodes/n/firmware", nil).object()["firmware"].([]any)[0].(map[string]any); o["vendor"] != nil {
		t.Errorf("firmware at 1.113: %v", o)
	}
	if a := s.do(http.MethodGet, "/v1/nodes/n/inventory", nil); a.text != `{"inventory":{"cpu":{"count":16}},"plugin_data":{"x":1}}` {
		t.Error(a.text)
	}
	s.node(obj{"name": "m"})
	s.refuses(t, map[string]refusal{
		"a setting that is not":   {"", "GET", "/v1/nodes/n/bios/Nosuch", nil, 404, "doesn't have a BIOS setting 'Nosuch'"},
		"an inventory of nothing": {"", "GET", "/v1/nodes/m/inventory", nil, 404, "Node inventory for node"},
		"a shard by its name":     {"", "GET", "/v1/shards/x", nil, 404, ""},
		"BIOS details too early":  {"1.73", "GET", "/v1/nodes/n/bios?detail=true", nil, 406, "1.74"},
	})
}

func TestEvents(t *testing.T) {
	s := newServer(t).idle()
	event := obj{"event": "network.bind_port", "port_id": nobody, "mac_address": "52:54:00:00:00:01", "status": "ACTIVE", "binding:vnic_type": "baremetal"}
	s.must(http.StatusNoContent, http.MethodPost, "/v1/events", obj{"events": list{event}})
	s.refuses(t, map[string]refusal{
		"no events":             {"", "POST", "/v1/events", obj{"events": list{}}, 400, "non-empty"},
		"an event that is none": {"", "POST", "/v1/events", obj{"events": list{obj{"event": "x"}}}, 400, "'x' is not one of"},
		"an event that lacks":   {"", "POST", "/v1/events", obj{"events": list{obj{"event": "network.bind_port"}}}, 400, "'port_id' is a required property"},
		"before 1.54":           {"1.53", "POST", "/v1/events", obj{"events": list{event}}, 404, ""},
	})
}

func TestDriversAndConductors(t *testing.T) {
	s := newServer(t).idle()
	for path, want := range map[string][]string{
		"/v1/drivers": {"fake-hardware", "redfish"}, "/v1/drivers?type=dynamic": {"fake-hardware", "redfish"}, "/v1/drivers?type=classic": {},
		"/v1/drivers?fields=name": {"fake-hardware", "redfish"},
	} {
		if d := cmp.Diff(want, names(s.must(http.StatusOK, http.MethodGet, path, nil), "drivers", "name")); d != "" {
			t.Errorf("%s: %s", path, d)
		}
	}
	o := s.must(http.StatusOK, http.MethodGet, "/v1/drivers/fake-hardware", nil)
	if o["default_network_interface"] != "noop" || !cmp.Equal(o["enabled_network_interfaces"], list{"flat", "noop"}) || o["default_firmware_interface"] != "fake" {
		t.Errorf("%v", o)
	}
	if o := at(t, s, "1.30", http.MethodGet, "/v1/drivers/fake-hardware", nil).object(); o["default_power_interface"] != "fake" || o["default_firmware_interface"] != nil {
		t.Errorf("at 1.30: %v", o)
	}
	if o := at(t, s, "1.29", http.MethodGet, "/v1/drivers/fake-hardware", nil).object(); o["type"] != nil || o["properties"] == nil {
		t.Errorf("at 1.29: %v", o)
	}
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/drivers/fake-hardware/properties", nil); o["B1"] == nil {
		t.Errorf("%v", o)
	}
	s.must(http.StatusOK, http.MethodGet, "/v1/drivers/fake-hardware/raid/logical_disk_properties", nil)
	if c := s.must(http.StatusOK, http.MethodGet, "/v1/conductors/"+host, nil); c["alive"] != true || !cmp.Equal(c["drivers"], list{"fake-hardware", "redfish"}) {
		t.Errorf("%v", c)
	}
	if c := s.must(http.StatusOK, http.MethodGet, "/v1/conductors?fields=hostname", nil); !cmp.Equal(names(c, "conductors", "hostname"), []string{host}) {
		t.Errorf("%v", c)
	}
	s.refuses(t, map[string]refusal{
		"a driver that is not":     {"", "GET", "/v1/drivers/nosuch", nil, 404, "Could not find the following driver(s) or hardware type(s): nosuch."},
		"its properties":           {"", "GET", "/v1/drivers/nosuch/properties", nil, 404, "nosuch"},
		"RAID where there is none": {"", "GET", "/v1/drivers/redfish/raid/logical_disk_properties", nil, 404, "does not support raid"},
		"a type that is none":      {"", "GET", "/v1/drivers?type=x", nil, 400, "must be one of"},
		"a type too early":         {"1.29", "GET", "/v1/drivers?type=dynamic", nil, 406, "1.30"},
		"fields of the whole":      {"", "GET", "/v1/drivers?detail=true&fields=name", nil, 400, "Can't fetch"},
		"a field that is none":     {"", "GET", "/v1/drivers/redfish?fields=x", nil, 400, "Field x is not a valid field."},
		"a conductor that is not":  {"", "GET", "/v1/conductors/nosuch", nil, 404, "Conductor nosuch could not be found."},
		"conductors too early":     {"1.48", "GET", "/v1/conductors", nil, 404, ""},
	})
}
