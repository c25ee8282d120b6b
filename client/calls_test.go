package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/client"
	"github.com/riser-project/riser/node"
)

func TestCallsOnTheWire(t *testing.T) {
	ctx := t.Context()
	step := node.Step{Interface: node.Power, Step: "power_on", OnChildren: true, LimitToChildren: []string{"dpu-1"}}
	tests := map[string]struct {
		call   func(c *client.Client) error
		want   string // method, path and query, body
		answer string
	}{
		"show a node whose name needs escapes": {
			func(c *client.Client) error { _, err := c.Node(ctx, "a/b c"); return err }, "GET /v1/nodes/a%2Fb%20c ", `{}`,
		},
		"list nodes": {
			func(c *client.Client) error { _, err := c.Nodes(ctx, url.Values{"driver": {"redfish"}}); return err },
			"GET /v1/nodes?driver=redfish ", `{"nodes": []}`,
		},
		"create a node": {
			func(c *client.Client) error { _, err := c.CreateNode(ctx, node.Object{"driver": "ipmi"}); return err },
			`POST /v1/nodes {"driver":"ipmi"}`, `{}`,
		},
		"patch a node": {
			func(c *client.Client) error {
				_, err := c.PatchNode(ctx, "n", []client.Change{{Op: "add", Path: "/extra/a", Value: false}, {Op: "remove", Path: "/owner"}})
				return err
			}, `PATCH /v1/nodes/n [{"op":"add","path":"/extra/a","value":false},{"op":"remove","path":"/owner"}]`, `{}`,
		},
		"delete a node":     {func(c *client.Client) error { return c.DeleteNode(ctx, "n") }, "DELETE /v1/nodes/n ", ""},
		"start maintenance": {func(c *client.Client) error { return c.SetMaintenance(ctx, "n", true, "fan") }, `PUT /v1/nodes/n/maintenance {"reason":"fan"}`, ""},
		"end maintenance":   {func(c *client.Client) error { return c.SetMaintenance(ctx, "n", false, "") }, "DELETE /v1/nodes/n/maintenance ", ""},
		"power": {
			func(c *client.Client) error { return c.SetPower(ctx, "n", client.Power{Target: node.PowerOn}) },
			`PUT /v1/nodes/n/states/power {"target":"power on"}`, "",
		},
		"power in time": {
			func(c *client.Client) error {
				return c.SetPower(ctx, "n", client.Power{Target: node.SoftPowerOff, Timeout: 90 * time.Second})
			}, `PUT /v1/nodes/n/states/power {"target":"soft power off","timeout":90}`, "",
		},
		"clean": {
			func(c *client.Client) error {
				return c.SetProvision(ctx, "n", client.Provision{Target: "clean", Steps: []node.Step{step}, DisableRamdisk: true})
			},
			`PUT /v1/nodes/n/states/provision {"clean_steps":[{"interface":"power","step":"power_on","execute_on_child_nodes":true,"limit_child_node_execution":["dpu-1"]}],"disable_ramdisk":true,"target":"clean"}`, "",
		},
		"service by a runbook": {
			func(c *client.Client) error {
				return c.SetProvision(ctx, "n", client.Provision{Target: "service", Runbook: "update"})
			}, `PUT /v1/nodes/n/states/provision {"runbook":"update","target":"service"}`, "",
		},
		"deploy steps have their arguments and priority": {
			func(c *client.Client) error {
				return c.SetProvision(ctx, "n", client.Provision{Target: "active", Steps: []node.Step{{Interface: node.BIOS, Step: "reset"}}, ConfigDrive: "aGk="})
			},
			`PUT /v1/nodes/n/states/provision {"configdrive":"aGk=","deploy_steps":[{"interface":"bios","step":"reset","args":{},"priority":0}],"target":"active"}`, "",
		},
		"rescue": {
			func(c *client.Client) error {
				return c.SetProvision(ctx, "n", client.Provision{Target: "rescue", RescuePassword: "s3cret"})
			}, `PUT /v1/nodes/n/states/provision {"rescue_password":"s3cret","target":"rescue"}`, "",
		},
		"a plan": {
			func(c *client.Client) error {
				plan, err := c.PlanProvision(ctx, "n", client.Provision{Target: "manage"})
				if d := cmp.Diff(&client.Plan{Steps: []client.PlannedStep{{Seq: 1, Node: "u", Name: "dpu-1", Commands: []string{"power on"}}}}, plan); d != "" {
					t.Error(d)
				}
				return err
			}, `PUT /v1/nodes/n/states/provision?dry_run=true {"target":"manage"}`,
			`{"steps": [{"seq": 1, "node": "u", "node_name": "dpu-1", "commands": ["power on"]}]}`,
		},
		"operations": {
			func(c *client.Client) error { _, err := c.Operations(ctx, "n", 1); return err }, "GET /v1/nodes/n/operations?limit=1 ", `{"operations": []}`,
		},
		"an operation": {
			func(c *client.Client) error { _, err := c.Operation(ctx, "n", "o"); return err }, "GET /v1/nodes/n/operations/o ", `{}`,
		},
		"create a network": {
			func(c *client.Client) error {
				_, err := c.CreateNetwork(ctx, node.Object{"name": "blue"})
				return err
			}, `POST /networking/v2.0/networks {"network":{"name":"blue"}}`, `{"network": {"id": "1"}}`,
		},
		"create a subnet": {
			func(c *client.Client) error {
				_, err := c.CreateSubnet(ctx, node.Object{"cidr": "10.0.0.0/24"})
				return err
			}, `POST /networking/v2.0/subnets {"subnet":{"cidr":"10.0.0.0/24"}}`, `{"subnet": {"id": "1"}}`,
		},
		"create a port": {
			func(c *client.Client) error {
				_, err := c.CreatePort(ctx, node.Object{"network_id": "1"})
				return err
			}, `POST /networking/v2.0/ports {"port":{"network_id":"1"}}`, `{"port": {"id": "1"}}`,
		},
		"show a port": {
			func(c *client.Client) error {
				p, err := c.Port(ctx, "p")
				if err == nil && (!p.Profile.Bound || p.Profile.VF != 3 || p.HostID != "cmp1") {
					t.Errorf("port %+v", p)
				}
				return err
			}, "GET /networking/v2.0/ports/p ",
			`{"port": {"id": "p", "binding:host_id": "cmp1", "binding:profile": {"pci_vendor_info": "15b3:101e", "pci_slot": "0000:82:00.4", "physical_network": null,
				"card_serial_number": "MT1", "pf_mac_address": "00:53:00:00:00:42", "vf_num": 3}}}`,
		},
		"list ports":  {func(c *client.Client) error { _, err := c.Ports(ctx, nil); return err }, "GET /networking/v2.0/ports ", `{"ports": []}`},
		"delete port": {func(c *client.Client) error { return c.DeletePort(ctx, "p") }, "DELETE /networking/v2.0/ports/p ", ""},
		"create a server": {
			func(c *client.Client) error {
				_, err := c.CreateServer(ctx, node.Object{"name": "vm"})
				return err
			}, `POST /compute/v2.1/servers {"server":{"name":"vm"}}`, `{"server": {"id": "1"}}`,
		},
		"list servers": {
			func(c *client.Client) error { _, err := c.Servers(ctx, url.Values{"name": {"vm"}}); return err },
			"GET /compute/v2.1/servers/detail?name=vm ", `{"servers": []}`,
		},
		"delete a server": {func(c *client.Client) error { return c.DeleteServer(ctx, "s") }, "DELETE /compute/v2.1/servers/s ", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got string
			err := tt.call(served(func(w http.ResponseWriter, r *http.Request) {
				var body []byte
				if r.Body != nil {
					body, _ = io.ReadAll(r.Body)
				}
				got = r.Method + " " + r.URL.RequestURI() + " " + string(body)
				if tt.answer == "" {
					w.WriteHeader(http.StatusAccepted)
				}
				w.Write([]byte(tt.answer))
			}))
			if err != nil || got != tt.want {
				t.Errorf("%v, sent\n%s\nwant\n%s", err, got, tt.want)
			}
		})
	}
}

func TestAnEnvelopeWithoutItsObject(t *testing.T) {
	h, _ := answers(`200 {"ports": []}`)
	if _, err := served(h).Port(t.Context(), "p"); err == nil || err.Error() != `GET /networking/v2.0/ports/p: the answer has no "port"` {
		t.Errorf("error %v", err)
	}
}

func TestChildren(t *testing.T) {
	c := served(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RequestURI() {
		case "/v1/nodes/host-1":
			fmt.Fprint(w, `{"uuid": "u1"}`)
		case "/v1/nodes?detail=true&parent_node=u1":
			fmt.Fprint(w, `{"nodes": [{"uuid": "c1", "properties": {"card_serial_number": "MT1", "chassis_name": "dpu-1.example"}}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	list, err := c.Children(t.Context(), "host-1")
	if err != nil || len(list) != 1 || list[0].Label() != "c1" || list[0].CardSerial() != "MT1" || list[0].Chassis() != "dpu-1.example" {
		t.Errorf("%v, %+v", err, list)
	}
}

// states serves a node that passes through these states, each "provision/target/power/target power/last error", one for each look.
func states(t *testing.T, list ...string) (*client.Client, *int) {
	n := 0
	return served(func(w http.ResponseWriter, r *http.Request) {
		text := list[min(n, len(list)-1)]
		n++
		if text == "away" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		f := strings.Split(text, "/")
		if !strings.Contains(r.URL.RawQuery, "fields=") {
			t.Errorf("a wait asks for the whole node: %s", r.URL)
		}
		object := map[string]any{"uuid": "u", "name": "host-1"}
		for i, key := range []string{"provision_state", "target_provision_state", "power_state", "target_power_state", "last_error"} {
			object[key] = nil
			if f[i] != "" {
				object[key] = f[i]
			}
		}
		json.NewEncoder(w).Encode(object)
	}), &n
}

func TestWaitProvision(t *testing.T) {
	tests := map[string]struct {
		states []string
		want   node.State
		err    string
	}{
		"until the state is there":     {[]string{"cleaning/manageable///", "clean wait/manageable///", "manageable////"}, node.Manageable, ""},
		"a hold is not the end":        {[]string{"clean hold/manageable///", "clean hold/manageable///", "manageable////"}, node.Manageable, ""},
		"a failed state is":            {[]string{"cleaning/manageable///", "clean failed/manageable///BMC of dpu-1 is silent"}, node.Manageable, "it ended in state clean failed: BMC of dpu-1 is silent"},
		"so is falling back to enroll": {[]string{"verifying/manageable///", "enroll////wrong password"}, node.Manageable, "it ended in state enroll: wrong password"},
		"without a word":               {[]string{"error////"}, node.Available, "it ended in state error instead of available, and the server does not say why"},
		"any end will do":              {[]string{"cleaning/manageable///", "clean failed/manageable///aborted"}, "", ""},
		"a failed state may be wanted": {[]string{"clean failed/manageable///aborted"}, node.CleanFail, ""},
		"through a restart of riser":   {[]string{"cleaning/available///", "away", "away", "away", "away", "away", "available////"}, node.Available, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, asked := states(t, tt.states...)
				seen := 0
				n, err := c.WaitProvision(t.Context(), "host-1", tt.want, func(*client.Node) { seen++ })
				if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				if *asked != len(tt.states) || seen == 0 || n.Label() != "host-1" {
					t.Errorf("asked %d times, shown %d times; want %d", *asked, seen, len(tt.states))
				}
			})
		})
	}
}

func TestAWaitEndsWhenNobodyAnswersForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := states(t, "cleaning/available///", "away")
		start := time.Now()
		_, err := c.WaitProvision(t.Context(), "host-1", node.Available, nil)
		if took := time.Since(start); err == nil || took < 30*time.Second || took > 40*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := states(t, "cleaning/available///")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.WaitProvision(ctx, "host-1", node.Available, nil); err != context.DeadlineExceeded { //nolint:errorlint // the very value
			t.Errorf("error %v", err)
		}
	})
}

func TestWaitPower(t *testing.T) {
	tests := map[string]struct {
		target node.PowerState
		states []string
		err    string
	}{
		"on":                            {node.PowerOn, []string{"//power off/power on/", "//power on//"}, ""},
		"off, softly":                   {node.SoftPowerOff, []string{"//power on/power off/", "//power off//"}, ""},
		"an old error does not count":   {node.PowerOn, []string{"//power on//clean failed yesterday"}, ""},
		"a reboot that failed":          {node.Rebooting, []string{"//power on/power on/", "//power on//BMC does not answer"}, "its power state is power on: BMC does not answer"},
		"off that did not come":         {node.PowerOff, []string{"//power on//BMC does not answer"}, "its power state is power on: BMC does not answer"},
		"on of which nothing is known":  {node.PowerOn, []string{"////"}, "its power state is unknown instead of power on, and the server does not say why"},
		"a reboot that has left it off": {node.SoftRebooting, []string{"//power off//"}, "its power state is power off instead of power on, and the server does not say why"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := states(t, tt.states...)
				_, err := c.WaitPower(t.Context(), "host-1", tt.target)
				if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
			})
		})
	}
}

func TestWaitServer(t *testing.T) {
	tests := map[string]struct {
		answers []string
		err     string
	}{
		"until it runs": {[]string{
			`200 {"server": {"status": "BUILD", "OS-EXT-STS:task_state": "networking"}}`, `200 {"server": {"status": "ACTIVE", "OS-EXT-STS:task_state": "spawning"}}`,
			`200 {"server": {"status": "ACTIVE"}}`,
		}, ""},
		"until it failed":          {[]string{`200 {"server": {"status": "ERROR", "fault": {"message": "No valid host was found."}}}`}, "its status is ERROR: No valid host was found."},
		"until it is another":      {[]string{`200 {"server": {"status": "SHUTOFF"}}`}, "its status is SHUTOFF instead of ACTIVE, and the server does not say why"},
		"until somebody ended it":  {[]string{`404 {"itemNotFound": {"message": "Instance could not be found."}}`}, "Instance could not be found."},
		"an answer of other shape": {[]string{`200 {}`}, `GET /compute/v2.1/servers/s: the answer has no "server"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := answers(tt.answers...)
				_, err := served(h).WaitServer(t.Context(), "s", "ACTIVE", func(*client.Server) {})
				if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
			})
		})
	}
}

func TestWaitServerGone(t *testing.T) {
	tests := map[string]struct {
		answers []string
		err     string
	}{
		"until it is not found": {[]string{`200 {"server": {"status": "ACTIVE", "OS-EXT-STS:task_state": "deleting"}}`, `404 {}`}, ""},
		"until it failed":       {[]string{`200 {"server": {"status": "ERROR", "fault": {"message": "dpu-1 does not confirm"}}}`}, "its status is ERROR: dpu-1 does not confirm"},
		"an error without word": {[]string{`200 {"server": {"status": "ERROR"}}`}, "its status is ERROR, and the server does not say why"},
		"another error":         {[]string{`403 {"error": "no"}`}, "no"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, _ := answers(tt.answers...)
				err := served(h).WaitServerGone(t.Context(), "s")
				if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
			})
		})
	}
}

func TestOperationsOnTheWire(t *testing.T) {
	h, _ := answers(`200 {"operations": [{"uuid": "o", "kind": "clean", "state": "failed", "error": null, "created_at": "2026-11-20T16:48:53+00:00",
		"started_at": "2026-11-20T16:48:53.5+00:00", "ended_at": null, "steps": [{"seq": 0, "node_uuid": "u", "node_name": null, "interface": "power", "step": "power_on",
		"child": true, "state": "failed", "attempt": 2, "error": "silent", "started_at": "2026-11-20T16:48:53+00:00", "ended_at": "2026-11-20T16:48:54.25+00:00"}]}]}`)
	list, err := served(h).Operations(t.Context(), "n", 0)
	if err != nil || len(list) != 1 || list[0].Took() != 0 || len(list[0].Steps) != 1 {
		t.Fatalf("%v: %+v", err, list)
	}
	s := list[0].Steps[0]
	if s.Name() != "power.power_on" || s.Label() != "u" || !s.Final() || s.Took() != 1250*time.Millisecond {
		t.Errorf("step %+v", s)
	}
}
