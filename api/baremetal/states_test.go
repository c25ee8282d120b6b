package baremetal_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/store"
)

func TestProvisionRefuses(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "n"})
	s.node(obj{"name": "child", "parent_node": "n"})
	s.edit(id, func(n *node.Node) { n.Provision = node.Manageable })
	set := func(state node.State, more ...func(*node.Node)) string {
		name := strings.ReplaceAll(string(state), " ", "-") + strings.Repeat("x", len(more))
		s.edit(s.node(obj{"name": name}), func(n *node.Node) {
			n.Provision = state
			for _, f := range more {
				f(n)
			}
		})
		return name
	}
	put := func(version, ref string, body any, status int, says string) refusal {
		return refusal{version, http.MethodPut, "/v1/nodes/" + ref + "/states/provision", body, status, says}
	}
	available, active, inspecting, waiting := set(node.Available), set(node.Active), set(node.InspectWait), set(node.DeployWait)
	held, broken, resting := set(node.CleanHold), set(node.Available, func(n *node.Node) { n.Maintenance = true }), set(node.Active, func(n *node.Node) { n.Protected = true })
	clean := list{obj{"interface": "power", "step": "power_on"}}
	deploy := list{obj{"interface": "deploy", "step": "deploy", "args": obj{}, "priority": 0}}
	s.refuses(t, map[string]refusal{
		"no target":                                 put("", "n", obj{}, 400, "target"),
		"a target that is none":                     put("", "n", obj{"target": "delete"}, 400, `The requested action "delete" could not be understood.`),
		"a key that nobody knows":                   put("", "n", obj{"target": "manage", "bogus": 1}, 400, "Unexpected arguments: bogus"),
		"manage before 1.4":                         put("1.3", "n", obj{"target": "manage"}, 406, "1.4"),
		"inspect before 1.6":                        put("1.5", "n", obj{"target": "inspect"}, 406, "1.6"),
		"clean before 1.15":                         put("1.14", "n", obj{"target": "clean", "clean_steps": clean}, 406, "1.15"),
		"adopt before 1.17":                         put("1.16", "n", obj{"target": "adopt"}, 406, "1.17"),
		"rescue before 1.38":                        put("1.37", active, obj{"target": "rescue", "rescue_password": "x"}, 406, "1.38"),
		"deploy before 1.73":                        put("1.72", available, obj{"target": "deploy"}, 406, "1.73"),
		"unhold before 1.85":                        put("1.84", held, obj{"target": "unhold"}, 406, "1.85"),
		"service before 1.87":                       put("1.86", active, obj{"target": "service", "service_steps": clean}, 406, "1.87"),
		"abort of an inspection before 1.41":        put("1.40", inspecting, obj{"target": "abort"}, 406, "1.41"),
		"abort of a deployment before 1.110":        put("1.109", waiting, obj{"target": "abort"}, 406, "1.110"),
		"a state that does not have the verb":       put("", "n", obj{"target": "active"}, 400, `The requested action "active" can not be performed on node "`+id+`" while it is in state "manageable".`),
		"deployment in maintenance":                 put("", broken, obj{"target": "active"}, 400, "because it's in maintenance mode."),
		"undeployment of what is protected":         put("", resting, obj{"target": "deleted"}, 403, "is protected"),
		"clean without steps":                       put("", "n", obj{"target": "clean"}, 400, `"clean_steps" is required when setting target provision state to clean`),
		"service without steps":                     put("", active, obj{"target": "service"}, 400, `"service_steps" is required`),
		"steps of another verb":                     put("", "n", obj{"target": "provide", "clean_steps": clean}, 400, `"clean_steps" is only valid`),
		"deploy steps with deploy":                  put("", available, obj{"target": "deploy", "deploy_steps": deploy}, 400, `"deploy_steps" is only valid`),
		"deploy steps before 1.69":                  put("1.68", available, obj{"target": "active", "deploy_steps": deploy}, 406, "1.69"),
		"deploy steps twice the same":               put("", available, obj{"target": "active", "deploy_steps": append(deploy, deploy...)}, 400, "duplicate deploy step"),
		"steps that are no list":                    put("", "n", obj{"target": "clean", "clean_steps": obj{}}, 400, "must be a list of objects"),
		"every fault of the steps":                  put("", "n", obj{"target": "clean", "clean_steps": list{obj{"interface": "x", "step": "", "args": 1}}}, 400, "clean_steps[0]: args 1 must be an object; clean_steps[0]: interface"),
		"a child that is not there":                 put("", "n", obj{"target": "clean", "clean_steps": list{obj{"interface": "power", "step": "power_on", "execute_on_child_nodes": true, "limit_child_node_execution": list{"nosuch"}}}}, 404, "Node nosuch could not be found."),
		"a child of another":                        put("", "n", obj{"target": "clean", "clean_steps": list{obj{"interface": "power", "step": "power_on", "execute_on_child_nodes": true, "limit_child_node_execution": list{available}}}}, 400, available+" is not a child of node"),
		"a config drive with another verb":          put("", "n", obj{"target": "provide", "configdrive": "x"}, 400, "Adding a config drive is only supported"),
		"a config drive with deploy":                put("", available, obj{"target": "deploy", "configdrive": "x"}, 400, "Adding a config drive is only supported"),
		"a config drive to rebuild before 1.35":     put("1.34", active, obj{"target": "rebuild", "configdrive": "x"}, 406, "1.35"),
		"a config drive of an object before 1.56":   put("1.55", available, obj{"target": "active", "configdrive": obj{"meta_data": obj{}}}, 406, "1.56"),
		"a config drive with vendor data before":    put("1.58", available, obj{"target": "active", "configdrive": obj{"vendor_data": obj{}}}, 406, "1.59"),
		"a config drive with what nobody knows":     put("", available, obj{"target": "active", "configdrive": obj{"x": 1}}, 400, "'x' was unexpected"),
		"a config drive that is a number":           put("", available, obj{"target": "active", "configdrive": 1}, 400, "must be a text or an object"),
		"a rescue without password":                 put("", active, obj{"target": "rescue", "rescue_password": "  "}, 400, "rescue_password"),
		"a password without rescue":                 put("", "n", obj{"target": "provide", "rescue_password": "x"}, 400, "rescue_password"),
		"a ramdisk switch with another verb":        put("", "n", obj{"target": "provide", "disable_ramdisk": true}, 400, "disable_ramdisk is only supported"),
		"a ramdisk switch before 1.70":              put("1.69", "n", obj{"target": "clean", "clean_steps": clean, "disable_ramdisk": true}, 406, "1.70"),
		"a ramdisk switch for service before 1.108": put("1.107", active, obj{"target": "service", "service_steps": clean, "disable_ramdisk": true}, 406, "1.108"),
		"a ramdisk switch that is none":             put("", "n", obj{"target": "clean", "clean_steps": clean, "disable_ramdisk": "perhaps"}, 400, "Invalid disable_ramdisk"),
		"a runbook that is not there":               put("", "n", obj{"target": "clean", "runbook": "nosuch"}, 404, "Runbook nosuch could not be found."),
		"a runbook before 1.92":                     put("1.91", "n", obj{"target": "clean", "runbook": "x"}, 406, "1.92"),
		"a runbook with another verb":               put("", "n", obj{"target": "provide", "runbook": "x"}, 400, "A runbook can only be used"),
		"a runbook beside steps":                    put("", "n", obj{"target": "clean", "runbook": "x", "clean_steps": clean}, 400, "can not be used together"),
		"a node that is not there":                  put("", "nosuch", obj{"target": "manage"}, 404, "Node nosuch could not be found."),
		"a dry run that is none":                    {"", "PUT", "/v1/nodes/n/states/provision?dry_run=perhaps", obj{"target": "manage"}, 400, "Invalid dry_run"},
	})
}

func TestPowerRefuses(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "n", "disable_power_off": true})
	s.edit(s.node(obj{"name": "busy"}), func(n *node.Node) { n.Provision = node.Cleaning })
	s.edit(s.node(obj{"name": "locked"}), func(n *node.Node) { n.Reservation = "c9" })
	put := func(version, ref string, body obj, status int, says string) refusal {
		return refusal{version, http.MethodPut, "/v1/nodes/" + ref + "/states/power", body, status, says}
	}
	s.refuses(t, map[string]refusal{
		"no target":                   put("", "n", obj{}, 400, "target"),
		"a target that is none":       put("", "n", obj{"target": "on"}, 400, `The requested action "on" can not be performed on node "`+id+`"`),
		"a key that nobody knows":     put("", "n", obj{"target": "power on", "x": 1}, 400, "Unexpected arguments: x"),
		"soft off before 1.27":        put("1.26", "n", obj{"target": "soft power off"}, 406, "1.27"),
		"a timeout before 1.27":       put("1.26", "n", obj{"target": "power on", "timeout": 1}, 406, "1.27"),
		"a timeout of nothing":        put("", "n", obj{"target": "power on", "timeout": 0}, 400, "timeout"),
		"a timeout that is no number": put("", "n", obj{"target": "power on", "timeout": "soon"}, 400, "timeout"),
		"off where that is disabled":  put("", "n", obj{"target": "power off"}, 409, "Failed to set node power state to power off."),
		"while it is cleaned":         put("", "busy", obj{"target": "power on"}, 400, `while it is in state "cleaning"`),
		"while it is locked":          put("", "locked", obj{"target": "power on"}, 409, "is locked by host c9"),
		"a node that is not there":    put("", "nosuch", obj{"target": "power on"}, 404, ""),
	})
}

func TestMaintenance(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "n"})
	s.must(http.StatusAccepted, http.MethodPut, "/v1/nodes/n/maintenance", obj{"reason": "fan"})
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n", nil); o["maintenance"] != true || o["maintenance_reason"] != "fan" {
		t.Errorf("%v, %v", o["maintenance"], o["maintenance_reason"])
	}
	s.edit(id, func(n *node.Node) { n.Fault = node.FaultPower })
	s.must(http.StatusAccepted, http.MethodPut, "/v1/nodes/n/maintenance", nil)
	s.must(http.StatusAccepted, http.MethodDelete, "/v1/nodes/n/maintenance", nil)
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n", nil); o["maintenance"] != false || o["maintenance_reason"] != nil || o["fault"] != nil {
		t.Errorf("%v, %v, %v", o["maintenance"], o["maintenance_reason"], o["fault"])
	}
	s.refuses(t, map[string]refusal{
		"a reason that is no text": {"", "PUT", "/v1/nodes/n/maintenance", obj{"reason": 1}, 400, "Invalid reason"},
		"a key that nobody knows":  {"", "PUT", "/v1/nodes/n/maintenance", obj{"why": "x"}, 400, "Unexpected arguments: why"},
	})
}

func TestStatesAreShownAsTheirVersionSpellsThem(t *testing.T) {
	s := newServer(t).idle()
	for state, c := range map[node.State]struct {
		version string
		want    any
	}{
		node.Available: {"1.1", nil}, node.InspectWait: {"1.38", "inspecting"}, node.Enroll: {"1.1", "enroll"},
	} {
		name := strings.ReplaceAll(string(state), " ", "-")
		s.edit(s.node(obj{"name": name}), func(n *node.Node) { n.Provision = state })
		for _, path := range []string{"/v1/nodes/" + name, "/v1/nodes/" + name + "/states"} {
			if o := at(t, s, c.version, http.MethodGet, path, nil).object(); o["provision_state"] != c.want {
				t.Errorf("%s at %s: %v", path, c.version, o["provision_state"])
			}
			if o := s.must(http.StatusOK, http.MethodGet, path, nil); o["provision_state"] != string(state) {
				t.Errorf("%s: %v", path, o["provision_state"])
			}
		}
	}
}

func TestValidateTellsWhatIsMissing(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "n", "driver": "redfish"})
	for _, path := range []string{"/v1/nodes/n/validate", "/v1/nodes/validate?node=n", "/v1/nodes/validate?node_uuid=" + id} {
		o := s.must(http.StatusOK, http.MethodGet, path, nil)
		for kind, want := range map[string]obj{
			"power": {"result": false, "reason": "driver_info lacks redfish_address"}, "network": {"result": true},
			"raid": {"result": false, "reason": "Driver redfish does not support raid (disabled or not implemented)."},
		} {
			if d := cmp.Diff(want, o[kind]); d != "" {
				t.Errorf("%s: %s: %s", path, kind, d)
			}
		}
		if o["vendor"] != nil {
			t.Errorf("%s has vendor", path)
		}
	}
	s.refuses(t, map[string]refusal{"no node": {"", "GET", "/v1/nodes/validate", nil, 400, "node"}})
}

func TestStatesThatAreOnlyRecorded(t *testing.T) {
	s := newServer(t).idle()
	s.node(obj{"name": "n"})
	s.node(obj{"name": "plain", "driver": "redfish"})
	target := obj{"logical_disks": list{obj{"size_gb": "MAX", "raid_level": "1", "is_root_volume": true}}}
	s.must(http.StatusNoContent, http.MethodPut, "/v1/nodes/n/states/raid", target)
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n", nil); !cmp.Equal(o["target_raid_config"], target) {
		t.Errorf("target_raid_config: %v", o["target_raid_config"])
	}
	s.must(http.StatusNoContent, http.MethodPut, "/v1/nodes/n/states/raid", obj{})
	if a := s.do(http.MethodGet, "/v1/nodes/n/states/console", nil); a.text != `{"console_enabled":false,"console_info":null}` {
		t.Error(a.text)
	}
	disk := obj{"size_gb": 1, "raid_level": "0"}
	s.refuses(t, map[string]refusal{
		"a level that is none":        {"", "PUT", "/v1/nodes/n/states/raid", obj{"logical_disks": list{obj{"size_gb": 1, "raid_level": "9"}}}, 400, "RAID config validation error: '9' is not one of"},
		"no disks":                    {"", "PUT", "/v1/nodes/n/states/raid", obj{"logical_disks": list{}}, 400, "should be non-empty"},
		"two roots":                   {"", "PUT", "/v1/nodes/n/states/raid", obj{"logical_disks": list{obj{"size_gb": 1, "raid_level": "0", "is_root_volume": true}, obj{"size_gb": 1, "raid_level": "0", "is_root_volume": true}}}, 400, "more than one root volume"},
		"a driver without RAID":       {"", "PUT", "/v1/nodes/plain/states/raid", obj{"logical_disks": list{disk}}, 404, "does not support raid"},
		"RAID before 1.12":            {"1.11", "PUT", "/v1/nodes/n/states/raid", obj{"logical_disks": list{disk}}, 404, ""},
		"a mode that is none":         {"", "PUT", "/v1/nodes/n/states/boot_mode", obj{"target": "grub"}, 400, "Invalid boot mode 'grub'"},
		"a switch that is none":       {"", "PUT", "/v1/nodes/n/states/secure_boot", obj{"target": "perhaps"}, 400, "Invalid target"},
		"a console that is no switch": {"", "PUT", "/v1/nodes/n/states/console", obj{"enabled": "perhaps"}, 400, "Invalid enabled"},
	})
	s.edit("n", func(n *node.Node) { n.Provision = node.Cleaning })
	s.refuses(t, map[string]refusal{"a mode on the way": {"", "PUT", "/v1/nodes/n/states/boot_mode", obj{"target": "uefi"}, 409, `while it is in state "cleaning"`}})
}

// TestAFamilyIsCleanedOverTheAPI goes the whole way: a real conductor carries out what the API takes in.
func TestAFamilyIsCleanedOverTheAPI(t *testing.T) {
	s := newServer(t).conducted()
	id := s.node(obj{"name": "host"})
	s.node(obj{"name": "dpu-1", "parent_node": "host"})
	second := s.node(obj{"name": "dpu-2", "parent_node": "host"})
	state := func(name, key string) any { return s.must(http.StatusOK, http.MethodGet, "/v1/nodes/"+name, nil)[key] }
	rest := func(name, want string) {
		t.Helper()
		s.until(name+" is "+want, func() bool { return state(name, "provision_state") == want && state(name, "reservation") == nil })
	}
	for _, name := range []string{"host", "dpu-1", "dpu-2"} {
		s.must(http.StatusAccepted, http.MethodPut, "/v1/nodes/"+name+"/states/provision", obj{"target": "manage"})
		rest(name, "manageable")
	}
	steps := list{
		obj{"interface": "power", "step": "power_on", "execute_on_child_nodes": true},
		obj{"interface": "power", "step": "power_off", "execute_on_child_nodes": true, "limit_child_node_execution": list{"dpu-2"}},
	}
	plan := s.must(http.StatusOK, http.MethodPut, "/v1/nodes/host/states/provision?dry_run=true", obj{"target": "clean", "clean_steps": steps})
	if d := cmp.Diff([]string{"dpu-1", "dpu-2", "dpu-2"}, names(plan, "steps", "node_name")); d != "" {
		t.Errorf("the plan: %s", d)
	}
	s.must(http.StatusAccepted, http.MethodPut, "/v1/nodes/host/states/provision", obj{"target": "clean", "clean_steps": steps})
	rest("host", "manageable")
	for name, want := range map[string]string{"host": "power on", "dpu-1": "power on", "dpu-2": "power off"} {
		if got := state(name, "power_state"); got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
	ops := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/host/operations?limit=1", nil)
	op, _ := ops["operations"].([]any)[0].(map[string]any)
	if d := cmp.Diff([]string{"dpu-1", "dpu-2", "dpu-2"}, names(op, "steps", "node_name")); d != "" || op["kind"] != "clean" || op["state"] != "done" || op["node_uuid"] != id {
		t.Errorf("operation %v of kind %v is %v: %s", op["uuid"], op["kind"], op["state"], d)
	}
	for i, want := range []string{"done", "done", "done"} {
		if got := names(op, "steps", "state")[i]; got != want {
			t.Errorf("step %d is %s", i, got)
		}
	}
	one := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/host/operations/"+op["uuid"].(string), nil)
	if d := cmp.Diff(op, one); d != "" {
		t.Errorf("the operation alone: %s", d)
	}
	if next, _ := ops["next"].(string); s.do(http.MethodGet, strings.TrimPrefix(next, "http://api.example:6385"), nil).status != http.StatusOK {
		t.Errorf("the next page %q", next)
	}
	history := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/host/history?detail=true", nil)
	if len(names(history, "history", "event_type")) < 2 {
		t.Errorf("history: %v", history)
	}
	s.refuses(t, map[string]refusal{
		"another node's operation": {"", "GET", "/v1/nodes/" + second + "/operations/" + op["uuid"].(string), nil, 404, "could not be found"},
		"no operation":             {"", "GET", "/v1/nodes/host/operations/x", nil, 404, "could not be found"},
	})
}

func TestCallsToTheMachine(t *testing.T) {
	s := newServer(t).conducted()
	s.node(obj{"name": "n"})
	if a := s.do(http.MethodGet, "/v1/nodes/n/management/boot_device/supported", nil); a.text != `{"supported_boot_devices":["pxe"]}` {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	for _, c := range []struct {
		path string
		body any
	}{{"", obj{"boot_device": "pxe", "persistent": true}}, {"?boot_device=pxe&persistent=false", nil}} {
		if a := s.do(http.MethodPut, "/v1/nodes/n/management/boot_device"+c.path, c.body); a.status != http.StatusNoContent || a.text != "" {
			t.Errorf("status %d: %s", a.status, a.text)
		}
	}
	if o := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/management/boot_device", nil); o["boot_device"] != "pxe" {
		t.Errorf("boot device: %v", o)
	}
	lamps := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/management/indicators", nil)
	if d := cmp.Diff([]string{"led-0@chassis", "led@system"}, slices.Sorted(slices.Values(names(lamps, "indicators", "name")))); d != "" {
		t.Error(d)
	}
	if a := s.do(http.MethodGet, "/v1/nodes/n/management/indicators/led@system", nil); a.text != `{"state":"on"}` {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	s.must(http.StatusNoContent, http.MethodPut, "/v1/nodes/n/management/indicators/led@system", obj{"state": "off"})
	methods := s.must(http.StatusOK, http.MethodGet, "/v1/nodes/n/vendor_passthru/methods", nil)
	want := obj{"http_methods": list{"POST"}, "async": false, "attach": false, "require_exclusive_lock": true, "description": "A vendor method that is answered at once."}
	if d := cmp.Diff(want, methods["third_method_sync"]); d != "" {
		t.Error(d)
	}
	if a := s.do(http.MethodPost, "/v1/nodes/n/vendor_passthru/third_method_sync", obj{"bar": "meow"}); a.status != http.StatusOK || a.text != "true" {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	if a := s.do(http.MethodPost, "/v1/nodes/n/vendor_passthru?method=second_method&bar=kazoo", nil); a.status != http.StatusAccepted || a.text != "" {
		t.Errorf("status %d: %s", a.status, a.text)
	}
	s.refuses(t, map[string]refusal{
		"a method by another verb":   {"", "GET", "/v1/nodes/n/vendor_passthru/second_method", nil, 400, "does not support HTTP GET: it takes POST"},
		"media that it has not":      {"", "GET", "/v1/nodes/n/vmedia", nil, 400, "does not support"},
		"a mode that it has not":     {"", "PUT", "/v1/nodes/n/states/boot_mode", obj{"target": "uefi"}, 400, "does not support"},
		"an interrupt that it lacks": {"", "PUT", "/v1/nodes/n/management/inject_nmi", obj{}, 400, "does not support"},
		"a console that it has not":  {"", "PUT", "/v1/nodes/n/states/console", obj{"enabled": true}, 400, "Driver fake-hardware does not support console"},
		"a device that it has not":   {"", "PUT", "/v1/nodes/n/management/boot_device", obj{"boot_device": "disk"}, 400, "Invalid boot device disk specified."},
		"no device":                  {"", "PUT", "/v1/nodes/n/management/boot_device", obj{}, 400, "boot_device"},
		"an indicator without @":     {"", "GET", "/v1/nodes/n/management/indicators/led", nil, 400, "Invalid indicator led"},
		"an indicator's odd state":   {"", "PUT", "/v1/nodes/n/management/indicators/led@system", obj{"state": "red"}, 400, "Invalid state"},
		"a drive that is none":       {"", "POST", "/v1/nodes/n/vmedia", obj{"device_type": "tape", "image_url": "http://x/y"}, 400, "'tape' is not one of"},
		"an image without a URL":     {"", "POST", "/v1/nodes/n/vmedia", obj{"device_type": "cdrom", "image_url": "/etc/passwd"}, 400, "Invalid image_url"},
		"drives that are none":       {"", "DELETE", "/v1/nodes/n/vmedia?device_types=cdrom,tape", nil, 400, "Invalid device type tape"},
		"media before 1.89":          {"1.88", "POST", "/v1/nodes/n/vmedia", obj{"device_type": "cdrom", "image_url": "http://x/y"}, 404, ""},
		"a method that is none":      {"", "POST", "/v1/nodes/n/vendor_passthru/nosuch", obj{}, 400, "No handler for method nosuch"},
		"a method of a driver":       {"", "POST", "/v1/drivers/fake-hardware/vendor_passthru?method=nosuch", obj{}, 400, "No handler for method nosuch"},
		"no method":                  {"", "POST", "/v1/nodes/n/vendor_passthru", obj{}, 400, "Method not specified"},
		"no method of a driver":      {"", "POST", "/v1/drivers/fake-hardware/vendor_passthru", obj{}, 400, "Method not specified"},
		"an interrupt before 1.29":   {"1.28", "PUT", "/v1/nodes/n/management/inject_nmi", obj{}, 404, ""},
		"an interrupt with a body":   {"", "PUT", "/v1/nodes/n/management/inject_nmi", obj{"x": 1}, 400, "Unexpected arguments: x"},
	})
}

func TestARunbookRunsOnNodesThatItSuits(t *testing.T) {
	s := newServer(t).idle()
	id := s.node(obj{"name": "n"})
	s.edit(id, func(n *node.Node) { n.Provision = node.Manageable })
	s.must(http.StatusCreated, http.MethodPost, "/v1/runbooks", obj{"name": "CUSTOM_R", "disable_ramdisk": true, "steps": list{
		obj{"interface": "power", "step": "power_off", "order": 2}, obj{"interface": "power", "step": "power_on", "order": 1},
	}})
	s.refuses(t, map[string]refusal{
		"a node without the trait": {"", "PUT", "/v1/nodes/n/states/provision", obj{"target": "clean", "runbook": "CUSTOM_R"}, 400, "Runbook CUSTOM_R is not allowed on node"},
	})
	s.must(http.StatusNoContent, http.MethodPut, "/v1/nodes/n/traits/CUSTOM_R", nil)
	s.must(http.StatusAccepted, http.MethodPut, "/v1/nodes/n/states/provision", obj{"target": "clean", "runbook": "CUSTOM_R"})
	err := s.db.Read(t.Context(), func(tx *store.Tx) error {
		op, err := tx.OpenOp(t.Context(), id)
		if err != nil {
			return err
		}
		steps, err := tx.Steps(t.Context(), op.ID)
		if err == nil && (len(steps) != 2 || steps[0].Step != "power_on" || steps[1].Step != "power_off") {
			t.Errorf("steps: %v", steps)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
