package baremetal_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/riser-project/riser/api/baremetal"
	"github.com/riser-project/riser/api/rest"
)

// words are texts that mean something to the API somewhere, and some that mean nothing anywhere.
var words = []string{
	"", "host-1", "dpu-1", "fake-hardware", "redfish", "power on", "power off", "rebooting", "manage", "provide", "clean", "active", "deleted", "abort",
	"inspect", "rescue", "unrescue", "service", "unhold", "adopt", "true", "false", "0", "1", "-1", "1.5", "uuid", "name", "id", "asc", "desc",
	"driver_info", "extra", "CUSTOM_A", "bad", "52:54:00:00:00:01", "cdrom", "bios", "uefi", "pxe", "led@system", "\x00", "\xff", "%", "'", `"`,
	"\u2028", "11111111-1111-1111-1111-111111111111", strings.Repeat("x", 300), "../..", "nosuch", "None", "null", "2026-01-01",
	"2147483648", "9223372036854775808", "http://x/y", "CUSTOM_T", "rb", "main", "iqn", "MAX", "~1", "/extra/a", "/parent_node", "/name",
}

// keys are those of bodies.
var keys = []string{
	"driver", "name", "uuid", "node_uuid", "node_ident", "node", "address", "target", "timeout", "reason", "extra", "properties", "driver_info", "parent_node",
	"instance_uuid", "instance_info", "network_data", "links", "networks", "services", "traits", "steps", "interface", "step", "args", "priority",
	"order", "clean_steps", "deploy_steps", "service_steps", "execute_on_child_nodes", "limit_child_node_execution", "runbook", "configdrive",
	"rescue_password", "disable_ramdisk", "resource_class", "candidate_nodes", "owner", "local_link_connection", "port_id", "switch_id", "hostname",
	"is_smartnic", "pxe_enabled", "portgroup_uuid", "physical_network", "mode", "actions", "conditions", "op", "path", "value", "id", "enabled",
	"boot_device", "persistent", "device_type", "image_url", "callback_url", "agent_token", "agent_version", "inventory", "interfaces", "events",
	"event", "mac_address", "status", "type", "connector_id", "volume_type", "volume_id", "boot_index", "logical_disks", "size_gb", "raid_level",
	"public", "description", "chassis_uuid", "maintenance", "protected", "retired", "shard", "automated_clean", "power_interface", "state",
}

// anyJSON is a JSON value of up to some depth.
func anyJSON(t *rapid.T, depth int, refs []string) any {
	kind := rapid.IntRange(0, 7).Draw(t, "kind")
	if depth == 0 && kind > 4 {
		kind -= 5
	}
	switch kind {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.SampledFrom([]any{0, 1, -1, 2.5, 1e300, 1 << 40}).Draw(t, "number")
	case 3, 4:
		return rapid.SampledFrom(append(refs, words...)).Draw(t, "text")
	case 5:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			list = append(list, anyJSON(t, depth-1, refs))
		}
		return list
	}
	o := map[string]any{}
	for range rapid.IntRange(0, 5).Draw(t, "size") {
		o[rapid.SampledFrom(keys).Draw(t, "key")] = anyJSON(t, depth-1, refs)
	}
	return o
}

// anyPatch is a JSON patch.
func anyPatch(t *rapid.T, refs []string) any {
	list := []any{}
	for range rapid.IntRange(0, 3).Draw(t, "ops") {
		op := map[string]any{
			"op":   rapid.SampledFrom([]string{"add", "replace", "remove", "test", "move"}).Draw(t, "op"),
			"path": "/" + rapid.SampledFrom(keys).Draw(t, "root") + rapid.SampledFrom([]string{"", "/a", "/0", "/-", "/a/b", "/a~1b"}).Draw(t, "rest"),
		}
		if rapid.IntRange(0, 9).Draw(t, "has") > 0 {
			op["value"] = anyJSON(t, 2, refs)
		}
		list = append(list, op)
	}
	return list
}

// anyBody is a body that may make sense to the route.
func anyBody(t *rapid.T, r rest.Route, refs []string) []byte {
	var v any
	switch kind := rapid.IntRange(0, 9).Draw(t, "body"); {
	case kind == 0:
		return []byte(rapid.SampledFrom([]string{"", "{", "nonsense", "[[", `{"a":1}{`, "\xff", "null", `"x"`, "1e999"}).Draw(t, "raw"))
	case r.Method == http.MethodPatch && kind > 1:
		v = anyPatch(t, refs)
	case r.Method == http.MethodGet && kind > 1:
		return nil
	default:
		o := map[string]any{}
		for range rapid.IntRange(0, 6).Draw(t, "size") {
			o[rapid.SampledFrom(keys).Draw(t, "key")] = anyJSON(t, 3, refs)
		}
		switch {
		case r.Pattern == "/v1/nodes":
			o["driver"] = rapid.SampledFrom([]string{"fake-hardware", "redfish", "nosuch"}).Draw(t, "driver")
		case strings.HasSuffix(r.Pattern, "/provision"), strings.HasSuffix(r.Pattern, "/power"):
			o = map[string]any{"target": rapid.SampledFrom(words).Draw(t, "target")}
			if rapid.Bool().Draw(t, "more") {
				o[rapid.SampledFrom(keys).Draw(t, "key")] = anyJSON(t, 3, refs)
			}
		}
		v = o
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// anyRequest is a request for a route, or for something near it.
func anyRequest(t *rapid.T, r rest.Route, refs []string) *http.Request {
	segments := strings.Split(r.Pattern, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = url.PathEscape(rapid.SampledFrom(append(refs, words...)).Draw(t, s))
		}
	}
	q := url.Values{}
	for range rapid.IntRange(0, 3).Draw(t, "queries") {
		if len(r.Query) > 0 {
			q.Add(rapid.SampledFrom(r.Query).Draw(t, "query"), rapid.SampledFrom(append(refs, words...)).Draw(t, "value"))
		}
	}
	target := strings.Join(segments, "/")
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	body := anyBody(t, r, refs)
	req := httptest.NewRequest(r.Method, target, strings.NewReader(string(body)))
	req.Header.Set("X-OpenStack-Ironic-API-Version", versions.Format(rapid.IntRange(1, 115).Draw(t, "version")))
	return req
}

var versions = rest.Versions{Major: 1}

func TestNoRequestIsAnsweredWithAServerError(t *testing.T) {
	s := newServer(t).conducted()
	id := s.node(obj{"name": "host-1"})
	child := s.node(obj{"name": "dpu-1", "parent_node": "host-1"})
	refs := []string{id, child, "host-1", "dpu-1"}
	for _, o := range []struct {
		path string
		body obj
	}{
		{"/v1/ports", obj{"node_uuid": id, "address": "52:54:00:00:00:01"}}, {"/v1/portgroups", obj{"node_uuid": id}}, {"/v1/chassis", obj{}},
		{"/v1/volume/connectors", obj{"node_uuid": id, "type": "iqn", "connector_id": "a"}},
		{"/v1/volume/targets", obj{"node_uuid": id, "volume_type": "iscsi", "volume_id": "a", "boot_index": 0}},
		{"/v1/deploy_templates", obj{"name": "CUSTOM_T", "steps": list{obj{"interface": "bios", "step": "x", "args": obj{}, "priority": 1}}}},
		{"/v1/runbooks", obj{"name": "CUSTOM_A", "steps": list{obj{"interface": "power", "step": "power_on", "order": 1}}}},
		{"/v1/inspection_rules", obj{"actions": list{obj{"op": "fail", "args": obj{}}}}}, {"/v1/allocations", obj{"resource_class": "x"}},
	} {
		made, _ := s.must(http.StatusCreated, http.MethodPost, o.path, o.body)["uuid"].(string)
		refs = append(refs, made)
	}
	routes := baremetal.Routes()
	seen := map[int]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 25 {
			route := rapid.SampledFrom(routes).Draw(t, "route")
			if route.Method == http.MethodDelete && rapid.IntRange(0, 9).Draw(t, "spare") > 0 {
				continue // or there is soon nothing left to ask about
			}
			req := anyRequest(t, route, refs)
			a := send(s, req)
			seen[a.status/100]++
			if a.status >= 500 {
				t.Fatalf("%s %s: %d: %s", req.Method, req.URL, a.status, a.text)
			}
			if a.header.Get("Content-Type") == "application/json" && !json.Valid([]byte(a.text)) {
				t.Fatalf("%s %s: not JSON: %s", req.Method, req.URL, a.text)
			}
		}
	})
	if seen[2] < seen[4]/20 {
		t.Errorf("the requests make no sense to the API: answers by hundreds are %v", seen)
	}
}

// FuzzRequest sends what no client would to every route.
func FuzzRequest(f *testing.F) {
	s := newServer(f).conducted()
	s.node(obj{"name": "host-1", "extra": obj{"k": "v"}})
	routes := baremetal.Routes()
	f.Add(uint(7), "host-1", "", []byte(`[{"op": "add", "path": "/extra/a", "value": {"b": [1, null]}}]`), uint(115))
	f.Add(uint(3), "", "", []byte(`{"driver": "fake-hardware", "network_data": {"links": [], "networks": []}}`), uint(115))
	f.Add(uint(2), "", "fields=uuid&sort_key=name&limit=3&marker=x", []byte(nil), uint(50))
	for i, r := range routes {
		if strings.HasSuffix(r.Pattern, "/states/provision") {
			f.Add(uint(i), "host-1", "dry_run=1", []byte(`{"target": "clean", "clean_steps": [{"interface": "power", "step": "reboot", "args": {}}]}`), uint(115))
		}
	}
	f.Fuzz(func(t *testing.T, route uint, name, query string, body []byte, minor uint) {
		r := routes[route%uint(len(routes))]
		segments := strings.Split(r.Pattern, "/")
		for i, part := range segments {
			if strings.HasPrefix(part, "{") {
				segments[i] = url.PathEscape(name)
			}
		}
		req := httptest.NewRequest(r.Method, strings.Join(segments, "/"), strings.NewReader(string(body)))
		req.URL.RawQuery = query
		req.Header.Set("X-OpenStack-Ironic-API-Version", versions.Format(int(minor%115)+1))
		if a := send(s, req); a.status >= 500 {
			t.Fatalf("%s %s: %d: %s", r.Method, req.URL, a.status, a.text)
		}
	})
}
