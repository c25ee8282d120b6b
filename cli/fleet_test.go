package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

type object = map[string]any

// fleet is a server that speaks the APIs on the wire: a host with two cards, and a host without. Its clock and its UUIDs count, so that what
// it says can be compared to the letter. It keeps the rules of the APIs only as far as the command line can break them.
type fleet struct {
	mu    sync.Mutex
	mux   *http.ServeMux
	log   []string
	made  int
	lists map[string][]object // by path of the collection
	ops   []object            // newest first
	soon  map[string]*change  // by UUID of the object that will change
	locks int                 // how often host-2 is locked when its power is to change
}

// change happens to an object at the second look at it.
type change struct {
	looks  int
	happen func()
}

const began = "2026-11-20T10:00:00+00:00"

func id(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func newFleet() *fleet {
	f := &fleet{mux: http.NewServeMux(), lists: map[string][]object{}, soon: map[string]*change{}, made: 100, locks: 2}
	for i, n := range []object{
		{"name": "host-1", "driver": "redfish"}, {"name": "dpu-10", "driver": "redfish", "parent_node": id(1), "properties": object{"card_serial_number": "MT2333XZ0AAB"}},
		{"name": "dpu-2", "driver": "redfish", "parent_node": id(1), "properties": object{"card_serial_number": "MT2333XZ0AAA", "chassis_name": "dpu-2.example"}},
		{"name": "host-2", "driver": "ipmi", "power_state": "power off", "provision_state": "available", "maintenance": true, "maintenance_reason": "fan"},
	} {
		node := object{
			"uuid": id(i + 1), "power_state": "power on", "target_power_state": nil, "provision_state": "manageable", "target_provision_state": nil,
			"last_error": nil, "maintenance": false, "maintenance_reason": nil, "parent_node": nil, "properties": object{}, "extra": object{},
			"driver_info": object{"redfish_address": "https://bmc", "redfish_password": "******"}, "traits": []any{}, "instance_uuid": nil, "owner": nil,
			"links": []any{object{"rel": "self", "href": "http://h/v1/nodes/" + id(i+1)}}, "reservation": nil, "created_at": began,
		}
		for k, v := range n {
			node[k] = v
		}
		f.lists["/v1/nodes"] = append(f.lists["/v1/nodes"], node)
	}
	f.lists["/compute/v2.1/flavors"] = []object{{"id": "1", "name": "small", "vcpus": 1, "ram": 512, "disk": 1}}
	f.lists["/v1/drivers"] = []object{{"name": "redfish", "hosts": []any{"c-1", "c-2"}, "type": "dynamic"}}
	f.lists["/v1/conductors"] = []object{{"hostname": "c-1", "conductor_group": "", "alive": true}, {"hostname": "c-2", "conductor_group": "lab", "alive": false}}
	f.lists["/v1/shards"] = []object{{"name": "a", "count": 2}}
	f.lists["/compute/v2.1/os-services"] = []object{
		{"id": id(70), "host": "cmp1", "state": "up", "status": "enabled", "updated_at": "2026-11-20T10:00:00.123456", "disabled_reason": nil, "riser:refused": nil},
	}
	f.lists["/agents/v1/hosts"] = []object{{
		"name": "cmp1", "node_uuid": id(1), "alive": true, "virt": object{"driver": "libvirt"}, "reported_at": began, "service_version": 1, "cards": []any{
			object{"serial": "MT2333XZ0AAA", "slot": "0000:82:00.0", "pfs": []any{
				object{"address": "0000:82:00.0", "netdev": "ens1f0np0", "vfs": 4, "total_vfs": 8, "claimed": 1, "physical_network": nil, "remote_managed": true, "reason": "device_spec[0]"},
				object{"address": "0000:82:00.1", "vfs": 0, "total_vfs": 8, "claimed": 0, "physical_network": "physnet1", "remote_managed": false, "reason": "no device_spec matches"},
			}},
			object{"serial": "", "slot": "0000:a2:00.0", "problem": "serial number \"N/A\" is a placeholder", "pfs": []any{}},
		},
	}}
	f.lists["/agents/v1/dpus"] = []object{
		{"serial": "MT2333XZ0AAA", "system": "s1", "chassis": "dpu-2.example", "alive": true, "node_uuid": id(3), "orders": 2, "reported_at": began, "problems": []any{}},
		{"serial": "MT2333XZ0AAA", "system": "s2", "chassis": "liar", "alive": false, "orders": 0, "reported_at": began, "problems": []any{"no uplink"}, "refused": "two report it"},
	}
	f.lists["/agents/v1/identities"] = []object{
		{"uuid": id(60), "kind": "host", "name": "cmp1", "state": "waiting", "key": "0123456789abcdef0123456789abcdef", "certificate_expires_at": began, "reason": "cmp1 has another key"},
	}
	f.routes()
	return f
}

func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Openstack-Request-Id", "req-7")
	user, password, _ := r.BasicAuth()
	if r.Header.Get("X-Auth-Token") == "expired" || user != "" && password != "s3cret" {
		answer(w, http.StatusUnauthorized, object{"error": object{"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}})
		return
	}
	f.mux.ServeHTTP(w, r)
}

// asked returns the requests for changes since it was last called.
func (f *fleet) asked() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	text := strings.Join(f.log, "")
	f.log = nil
	return text
}

// body reads the body of a request for a change, and keeps it for asked.
func (f *fleet) body(r *http.Request) any {
	b, _ := io.ReadAll(r.Body)
	var v any
	if len(b) > 0 {
		if err := json.Unmarshal(b, &v); err != nil {
			v = err.Error()
		}
	}
	line := r.Method + " " + r.URL.RequestURI()
	if v != nil {
		b, _ = json.Marshal(v)
		line += " " + string(b)
	}
	f.log = append(f.log, line+"\n")
	return v
}

func (f *fleet) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	w.WriteHeader(status)
	switch {
	case strings.HasPrefix(r.URL.Path, "/networking"):
		json.NewEncoder(w).Encode(object{"NeutronError": object{"type": "X", "message": text, "detail": ""}})
	case strings.HasPrefix(r.URL.Path, "/compute"):
		json.NewEncoder(w).Encode(object{"itemNotFound": object{"code": status, "message": text}})
	default:
		inner, _ := json.Marshal(object{"faultcode": "Client", "faultstring": text, "debuginfo": nil})
		json.NewEncoder(w).Encode(object{"error_message": string(inner)})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	if v != nil {
		json.NewEncoder(w).Encode(v)
	}
}

// find returns the object of a collection by its name or identifier, or writes a 404.
func (f *fleet) find(w http.ResponseWriter, r *http.Request, path, ref string) object {
	names := []string{"uuid", "id", "hostname", "name"}
	if strings.HasPrefix(path, "/networking") || strings.HasPrefix(path, "/compute") {
		names = []string{"id"}
	}
	for _, o := range f.lists[path] {
		for _, k := range names {
			if o[k] == ref {
				return o
			}
		}
	}
	kind := strings.TrimSuffix(path[strings.LastIndexByte(path, '/')+1:], "s")
	f.fail(w, r, http.StatusNotFound, strings.ToUpper(kind[:1])+kind[1:]+" "+ref+" could not be found.")
	return nil
}

// serve gives a collection its calls. wrap is the key of single objects in bodies, if there is one.
func (f *fleet) serve(path, key, wrap string) {
	one := func(o object) any {
		if wrap != "" {
			return object{wrap: o}
		}
		return o
	}
	f.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { f.list(w, r, path, key) })
	f.mux.HandleFunc("GET "+path+"/detail", func(w http.ResponseWriter, r *http.Request) { f.list(w, r, path, key) })
	f.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		o, _ := f.body(r).(object)
		if wrap != "" {
			o, _ = o[wrap].(object)
		}
		if taken := wrap == "" && slices.ContainsFunc(f.lists[path], func(x object) bool { return o["name"] != nil && x["name"] == o["name"] }); taken {
			f.fail(w, r, http.StatusConflict, fmt.Sprintf("One with name %s already exists.", o["name"]))
			return
		}
		f.made++
		o["uuid"] = id(f.made)
		if wrap == "" && o["extra"] == nil {
			o["extra"] = object{}
		}
		if wrap != "" {
			delete(o, "uuid")
			o["id"] = id(f.made)
		}
		f.lists[path] = append(f.lists[path], o)
		if strings.HasSuffix(path, "/servers") {
			f.boot(o)
		}
		answer(w, http.StatusCreated, one(o))
	})
	f.mux.HandleFunc("GET "+path+"/{ref}", func(w http.ResponseWriter, r *http.Request) {
		if o := f.find(w, r, path, r.PathValue("ref")); o != nil {
			f.look(o)
			answer(w, http.StatusOK, one(cut(o, r.URL.Query().Get("fields"))))
		}
	})
	f.mux.HandleFunc("PUT "+path+"/{ref}", func(w http.ResponseWriter, r *http.Request) {
		o := f.find(w, r, path, r.PathValue("ref"))
		changes, _ := f.body(r).(object)[wrap].(object)
		for k, v := range changes {
			o[k] = v
		}
		answer(w, http.StatusOK, one(o))
	})
	f.mux.HandleFunc("PATCH "+path+"/{ref}", func(w http.ResponseWriter, r *http.Request) { f.patch(w, r, path) })
	f.mux.HandleFunc("DELETE "+path+"/{ref}", func(w http.ResponseWriter, r *http.Request) {
		f.body(r)
		if o := f.find(w, r, path, r.PathValue("ref")); o != nil {
			f.lists[path] = slices.DeleteFunc(f.lists[path], func(x object) bool { return x["uuid"] == o["uuid"] && x["id"] == o["id"] })
			w.WriteHeader(http.StatusNoContent)
		}
	})
}

func (f *fleet) later(o object, happen func()) { f.soon[key(o)] = &change{happen: happen} }

func key(o object) string { return fmt.Sprint(o["uuid"], o["id"]) }

// look counts a look at an object that may change by itself.
func (f *fleet) look(o object) {
	if c := f.soon[key(o)]; c != nil {
		if c.looks++; c.looks == 2 {
			c.happen()
			delete(f.soon, key(o))
		}
	}
}

func (f *fleet) list(w http.ResponseWriter, r *http.Request, path, key string) {
	q := r.URL.Query()
	items := []object{}
	for _, o := range f.lists[path] {
		if o["parent_node"] != nil && q.Get("include_children") != "true" && q.Get("parent_node") == "" {
			continue
		}
		keep := true
		for k, want := range q {
			if v, ok := o[k]; ok && !matches(path, k, fmt.Sprint(v), want[0]) {
				keep = false
			}
		}
		if keep {
			items = append(items, cut(o, q.Get("fields")))
		}
	}
	answer(w, http.StatusOK, object{key: items})
}

// matches reports whether a value passes a filter, which is a regular expression for the names of instances, as in Nova.
func matches(path, key, value, want string) bool {
	if key == "name" && strings.HasPrefix(path, "/compute") {
		ok, err := regexp.MatchString(want, value)
		return err == nil && ok
	}
	return value == want
}

func cut(o object, fields string) object {
	if fields == "" {
		return o
	}
	c := object{}
	for k := range strings.SplitSeq(fields, ",") {
		if v, ok := o[k]; ok {
			c[k] = v
		}
	}
	return c
}

func (f *fleet) patch(w http.ResponseWriter, r *http.Request, path string) {
	list, _ := f.body(r).([]any)
	o := f.find(w, r, path, r.PathValue("ref"))
	if o == nil {
		return
	}
	for _, e := range list {
		op := e.(object)
		name, key, nested := strings.Cut(strings.TrimPrefix(op["path"].(string), "/"), "/")
		at := o
		if nested {
			at = o[name].(object)
			name = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		}
		if op["op"] == "remove" {
			delete(at, name)
		} else {
			at[name] = op["value"]
		}
	}
	answer(w, http.StatusOK, o)
}

func (f *fleet) routes() {
	f.serve("/v1/nodes", "nodes", "")
	for _, name := range []string{"ports", "portgroups", "chassis", "allocations", "deploy_templates", "runbooks", "inspection_rules", "drivers", "conductors", "shards"} {
		f.serve("/v1/"+name, name, "")
	}
	f.serve("/v1/volume/connectors", "connectors", "")
	f.serve("/v1/volume/targets", "targets", "")
	for _, name := range []string{"network", "subnet", "port"} {
		f.serve("/networking/v2.0/"+name+"s", name+"s", name)
	}
	f.serve("/compute/v2.1/flavors", "flavors", "flavor")
	f.nodeParts()
	f.nodeStates()
	f.instances()
}

// done accepts a request for a change that has no further part in the scripts.
func (f *fleet) done(pattern string, status int) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		f.body(r)
		w.WriteHeader(status)
	})
}

// says answers a request with what never changes.
func (f *fleet) says(pattern string, v any) {
	f.mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, v) })
}

func (f *fleet) nodeParts() {
	const node = "/v1/nodes/{node}"
	f.says("GET "+node+"/validate", object{
		"power": object{"result": true}, "console": object{"result": false, "reason": "Driver redfish does not support console (disabled or not implemented)."},
	})
	f.says("GET "+node+"/history", object{"history": []any{
		object{"uuid": id(900), "created_at": began, "severity": "ERROR", "state": "clean failed", "event": "BMC of dpu-2 is silent\x1b[2J"},
	}})
	f.says("GET "+node+"/inventory", object{"inventory": object{"cpu": object{"count": 8}}, "plugin_data": object{}})
	f.says("GET "+node+"/traits", object{"traits": []string{"CUSTOM_A", "HW_CPU_X86_VMX"}})
	f.says("GET "+node+"/vifs", object{"vifs": []any{object{"id": id(7)}}})
	f.says("GET "+node+"/management/boot_device", object{"boot_device": "pxe", "persistent": false})
	f.says("GET "+node+"/management/boot_device/supported", object{"supported_boot_devices": []string{"pxe", "disk"}})
	f.says("GET "+node+"/states/console", object{"console_enabled": true, "console_info": object{"type": "socat", "url": "tcp://192.0.2.1:8023"}})
	for _, pattern := range []string{
		"PUT " + node + "/traits/{trait}", "DELETE " + node + "/traits/{trait}", "DELETE " + node + "/traits", "POST " + node + "/vifs", "DELETE " + node + "/vifs/{vif}",
		"PUT " + node + "/management/boot_device",
	} {
		f.done(pattern, http.StatusNoContent)
	}
	f.done("PUT "+node+"/states/console", http.StatusAccepted)
	f.done("PUT "+node+"/maintenance", http.StatusAccepted)
	f.done("DELETE "+node+"/maintenance", http.StatusAccepted)
}

func (f *fleet) nodeStates() {
	const node = "/v1/nodes/{node}"
	f.mux.HandleFunc("PUT "+node+"/states/power", f.power)
	f.mux.HandleFunc("PUT "+node+"/states/provision", f.provision)
	f.mux.HandleFunc("GET "+node+"/operations", func(w http.ResponseWriter, r *http.Request) {
		n := f.find(w, r, "/v1/nodes", r.PathValue("node"))
		if n == nil {
			return
		}
		ops := []object{}
		for _, op := range f.ops {
			if op["node_uuid"] == n["uuid"] {
				ops = append(ops, op)
			}
		}
		if r.URL.Query().Get("limit") == "1" && len(ops) > 1 {
			ops = ops[:1]
		}
		answer(w, http.StatusOK, object{"operations": ops})
	})
	f.mux.HandleFunc("GET "+node+"/operations/{op}", func(w http.ResponseWriter, r *http.Request) {
		for _, op := range f.ops {
			if op["uuid"] == r.PathValue("op") {
				answer(w, http.StatusOK, op)
				return
			}
		}
		f.fail(w, r, http.StatusNotFound, "Operation "+r.PathValue("op")+" could not be found.")
	})
}

func (f *fleet) power(w http.ResponseWriter, r *http.Request) {
	o, _ := f.body(r).(object)
	n := f.find(w, r, "/v1/nodes", r.PathValue("node"))
	switch {
	case n == nil:
		return
	case n["name"] == "host-2" && f.locks > 0:
		f.locks--
		f.fail(w, r, http.StatusConflict, fmt.Sprintf("Node %s is locked by host c-1, please retry after the current operation is completed.", n["uuid"]))
		return
	}
	target := "power on"
	if strings.Contains(o["target"].(string), "off") {
		target = "power off"
	}
	n["target_power_state"] = target
	f.later(n, func() {
		n["target_power_state"] = nil
		if n["name"] == "dpu-10" {
			n["last_error"] = "Failed to change power state to 'power off': BMC of dpu-10 is silent"
			return
		}
		n["power_state"] = target
	})
	w.WriteHeader(http.StatusAccepted)
}

// verbs are the state that each verb passes, and the one it ends in.
var verbs = map[string][2]string{
	"manage": {"verifying", "manageable"}, "provide": {"cleaning", "available"}, "clean": {"cleaning", "manageable"}, "active": {"deploying", "active"},
	"service": {"servicing", "active"}, "deleted": {"deleting", "available"}, "rescue": {"rescuing", "rescue"}, "abort": {"clean wait", "clean failed"},
	"unhold": {"clean hold", "manageable"},
}

func (f *fleet) provision(w http.ResponseWriter, r *http.Request) {
	o, _ := f.body(r).(object)
	n := f.find(w, r, "/v1/nodes", r.PathValue("node"))
	if n == nil {
		return
	}
	verb := o["target"].(string)
	if n["maintenance"] == true {
		f.fail(w, r, http.StatusBadRequest, fmt.Sprintf("The %s operation can't be performed on node %s because it's in maintenance mode.", verb, n["uuid"]))
		return
	}
	var steps []any
	for _, key := range []string{"clean_steps", "service_steps", "deploy_steps"} {
		list, _ := o[key].([]any)
		steps = append(steps, list...)
	}
	rows := f.rows(n, steps)
	if r.URL.Query().Get("dry_run") == "true" {
		answer(w, http.StatusOK, object{"steps": rows})
		return
	}
	f.made++
	op := object{
		"uuid": id(f.made), "node_uuid": n["uuid"], "kind": verb, "state": "running", "error": nil, "created_at": began, "started_at": began, "ended_at": nil,
		"steps": rows,
	}
	f.ops = append([]object{op}, f.ops...)
	end := verbs[verb]
	n["provision_state"], n["target_provision_state"], n["last_error"] = end[0], end[1], nil
	f.later(n, func() { f.finish(n, op, end[1]) })
	w.WriteHeader(http.StatusAccepted)
}

// rows returns the steps of an operation on each node that they touch.
func (f *fleet) rows(n object, steps []any) []object {
	rows := []object{}
	for seq, s := range steps {
		step := s.(object)
		for _, on := range f.lists["/v1/nodes"] {
			only, _ := step["limit_child_node_execution"].([]any)
			child := step["execute_on_child_nodes"] == true && on["parent_node"] == n["uuid"] && (len(only) == 0 || slices.Contains(only, on["name"]))
			if !child && (step["execute_on_child_nodes"] == true || on["uuid"] != n["uuid"]) {
				continue
			}
			rows = append(rows, object{
				"seq": seq, "node": on["uuid"], "node_uuid": on["uuid"], "node_name": on["name"], "interface": step["interface"], "step": step["step"],
				"args": step["args"], "child": child, "state": "planned", "attempt": 1, "error": nil, "evidence": []string{},
				"commands": []string{"POST ComputerSystem.Reset " + step["step"].(string)}, "started_at": nil, "ended_at": nil,
			})
		}
	}
	return rows
}

// finish ends an operation: dpu-10 has a BMC that is silent when it is told to reboot.
func (f *fleet) finish(n, op object, state string) {
	at, _ := time.Parse(time.RFC3339, began)
	n["provision_state"], n["target_provision_state"] = state, nil
	op["state"] = "done"
	for i, row := range op["steps"].([]object) {
		row["started_at"] = at.Format(time.RFC3339Nano)
		at = at.Add(time.Duration(i+1) * 1100 * time.Millisecond)
		row["state"], row["ended_at"], row["evidence"] = "done", at.Format(time.RFC3339Nano), []string{"PowerState On"}
		if row["step"] == "reboot" && row["node_name"] == "dpu-10" {
			text := "BMC of dpu-10 does not answer: check its network, then ask again"
			row["state"], row["error"], op["state"], op["error"] = "failed", text, "failed", text
			n["provision_state"], n["target_provision_state"], n["last_error"] = "clean failed", state, text
		}
	}
	op["ended_at"] = at.Format(time.RFC3339Nano)
}

// boot starts an instance; one that is called doomed finds no host.
func (f *fleet) boot(o object) {
	o["status"] = "BUILD"
	f.later(o, func() {
		o["status"], o["OS-EXT-SRV-ATTR:host"] = "ACTIVE", "cmp1"
		if o["name"] == "doomed" {
			o["status"], o["fault"] = "ERROR", object{"code": 500, "message": "No valid host was found: cmp1 has no free function."}
		}
	})
}

func (f *fleet) instances() {
	const path = "/compute/v2.1/servers"
	f.serve(path, "servers", "server")
	f.mux.HandleFunc("POST "+path+"/{ref}/action", func(w http.ResponseWriter, r *http.Request) {
		o := f.find(w, r, path, r.PathValue("ref"))
		action, _ := f.body(r).(object)
		o["status"] = "ACTIVE"
		if _, stop := action["os-stop"]; stop {
			o["status"] = "SHUTOFF"
		}
		w.WriteHeader(http.StatusAccepted)
	})
	f.says("GET "+path+"/{ref}/explain", object{"hosts": []any{
		object{"host": "cmp1", "filter": "", "reason": "it could be taken"},
		object{"host": "cmp2", "filter": "remote_managed", "reason": "it has no free function", "details": []string{"0000:82:00.0: all 4 are claimed"}},
	}})
	f.serve("/compute/v2.1/os-services", "services", "service")
	f.serve("/agents/v1/hosts", "hosts", "")
	f.serve("/agents/v1/tokens", "tokens", "")
	f.says("GET /agents/v1/dpus", object{"dpus": f.lists["/agents/v1/dpus"]})
	f.says("GET /agents/v1/dpus/{serial}", object{"dpus": f.lists["/agents/v1/dpus"]})
	f.says("GET /agents/v1/identities", object{"identities": f.lists["/agents/v1/identities"]})
	for _, what := range []string{"hosts/{name}/approve", "hosts/{name}/revoke", "dpus/{name}/approve", "dpus/{name}/revoke", "dpus/{name}/reset"} {
		f.done("POST /agents/v1/"+what, http.StatusNoContent)
	}
	f.says("GET /networking/v2.0/ports/{ref}/explain", object{"hops": []any{
		object{"name": "port", "ok": true, "text": "bound to host cmp1"}, object{"name": "card", "ok": false, "text": "card MT1 is no child of cmp1's node"},
	}})
}
