package networking_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"

	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/network"
)

func TestSecurityGroupsReachTheBackend(t *testing.T) {
	c := open(t)
	n := c.network(t, "192.0.2.0/24")
	g, err := groups.Create(t.Context(), c.client, groups.CreateOpts{Name: "web", Description: "HTTP"}).Extract()
	c.Must(err)
	if len(g.Rules) != 2 || g.Rules[0].Direction != network.Egress || !g.Stateful {
		t.Errorf("a new group is %+v, want it stateful with two egress rules", g)
	}
	rule, err := rules.Create(t.Context(), c.client, rules.CreateOpts{
		SecGroupID: g.ID, Direction: rules.DirIngress, EtherType: rules.EtherType4, Protocol: rules.ProtocolTCP, PortRangeMin: 80, PortRangeMax: 81,
		RemoteIPPrefix: "198.51.100.7/24",
	}).Extract()
	c.Must(err)
	if rule.RemoteIPPrefix != "198.51.100.0/24" || rule.PortRangeMax != 81 {
		t.Errorf("rule %+v", rule)
	}
	p, err := ports.Create(t.Context(), c.client, ports.CreateOpts{NetworkID: n, SecurityGroups: &[]string{g.ID}}).Extract()
	c.Must(err)
	c.Must(c.Binder.Reconcile(t.Context()))
	told, ok := c.Backend.Group(g.ID)
	if !ok || len(told.Rules) != 3 || told.Rules[2].Protocol != "tcp" || *told.Rules[2].PortMin != 80 {
		t.Errorf("the backend was told %+v", told)
	}
	if got, _ := c.Backend.Port(p.ID); len(got.Groups) != 1 || got.Groups[0] != g.ID {
		t.Errorf("the backend has the port in %v", got.Groups)
	}
	if err := groups.Delete(t.Context(), c.client, g.ID).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("deleting a group with a port: %v, want 409", err)
	}
	c.Must(rules.Delete(t.Context(), c.client, rule.ID).ExtractErr())
	c.Must(ports.Delete(t.Context(), c.client, p.ID).ExtractErr())
	c.Must(groups.Delete(t.Context(), c.client, g.ID).ExtractErr())
	c.Must(c.Binder.Reconcile(t.Context()))
	if _, ok := c.Backend.Group(g.ID); ok {
		t.Error("the backend still has the group")
	}
}

func TestEveryPortIsInAGroupUnlessItAsksForNone(t *testing.T) {
	c := open(t)
	n := c.network(t, "192.0.2.0/24")
	create := func(attributes string) map[string]any {
		t.Helper()
		status, body := c.call(t, "POST", "/ports", `{"port":{"network_id":"`+n+`"`+attributes+`}}`)
		if status != http.StatusCreated {
			t.Fatalf("%d %v", status, body)
		}
		return body["port"].(map[string]any)
	}
	first, second := create(""), create("")
	id := fmt.Sprint(first["security_groups"].([]any)[0])
	if fmt.Sprint(second["security_groups"]) != "["+id+"]" {
		t.Errorf("groups %v and %v, want one for both", first["security_groups"], second["security_groups"])
	}
	_, body := c.call(t, "GET", "/security-groups/"+id, "")
	g := body["security_group"].(map[string]any)
	if g["name"] != "default" || len(g["security_group_rules"].([]any)) != 4 {
		t.Errorf("default group %v", g)
	}
	for attributes, want := range map[string]string{`,"security_groups":[]`: "[]", `,"port_security_enabled":false`: "[]"} {
		if got := fmt.Sprint(create(attributes)["security_groups"]); got != want {
			t.Errorf("with %s: groups %s, want %s", attributes, got, want)
		}
	}
	status, body := c.call(t, "PUT", "/ports/"+fmt.Sprint(first["id"]), `{"port":{"security_groups":[]}}`)
	if status != 200 || fmt.Sprint(body["port"].(map[string]any)["security_groups"]) != "[]" {
		t.Errorf("leaving all groups: %d %v", status, body)
	}
}

func TestWrongRulesAreRefusedInNeutronsWords(t *testing.T) {
	c := open(t)
	_, body := c.call(t, "POST", "/security-groups", `{"security_group":{"name":"a"}}`)
	id := fmt.Sprint(body["security_group"].(map[string]any)["id"])
	rule := func(rest string) string {
		return `{"security_group_rule":{"security_group_id":"` + id + `","direction":"ingress"` + rest + `}}`
	}
	if status, body := c.call(t, "POST", "/security-group-rules", rule(`,"protocol":"tcp","port_range_min":22,"port_range_max":22`)); status != 201 {
		t.Fatalf("a good rule: %d %v", status, body)
	}
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		kind, text         string
	}{
		"the same rule twice":       {"POST", "/security-group-rules", rule(`,"protocol":"tcp","port_range_min":22,"port_range_max":22`), 409, "SecurityGroupRuleExists", "already exists. Rule id is"},
		"ports out of order":        {"POST", "/security-group-rules", rule(`,"protocol":"tcp","port_range_min":23,"port_range_max":22`), 400, "SecurityGroupInvalidPortRange", "must be <="},
		"ports without a protocol":  {"POST", "/security-group-rules", rule(`,"port_range_min":22,"port_range_max":22`), 400, "SecurityGroupProtocolRequiredWithPorts", "specify protocol"},
		"ports of GRE":              {"POST", "/security-group-rules", rule(`,"protocol":"gre","port_range_min":22,"port_range_max":22`), 400, "SecurityGroupInvalidProtocolForPort", "gre"},
		"an ICMP code alone":        {"POST", "/security-group-rules", rule(`,"protocol":"icmp","port_range_max":0`), 400, "SecurityGroupMissingIcmpType", "type"},
		"an ICMP type too high":     {"POST", "/security-group-rules", rule(`,"protocol":"icmp","port_range_min":256`), 400, "SecurityGroupInvalidIcmpValue", "0 to 255"},
		"a protocol that is none":   {"POST", "/security-group-rules", rule(`,"protocol":"ip9"`), 400, "SecurityGroupRuleInvalidProtocol", "ip9"},
		"a protocol number too big": {"POST", "/security-group-rules", rule(`,"protocol":256`), 400, "SecurityGroupRuleInvalidProtocol", "256"},
		"an ether type that is not": {"POST", "/security-group-rules", rule(`,"ethertype":"ARP"`), 400, "SecurityGroupRuleInvalidEtherType", "ARP"},
		"IPv6 in an IPv4 rule":      {"POST", "/security-group-rules", rule(`,"remote_ip_prefix":"2001:db8::/32"`), 400, "SecurityGroupRuleParameterConflict", "2001:db8::/32"},
		"a prefix that is none":     {"POST", "/security-group-rules", rule(`,"remote_ip_prefix":"x"`), 400, "InvalidInput", "'x' is not a valid IP subnet"},
		"two far ends":              {"POST", "/security-group-rules", rule(`,"remote_ip_prefix":"10.0.0.0/8","remote_group_id":"` + id + `"`), 400, "SecurityGroupRemoteGroupAndRemoteIpPrefix", "Only remote_ip_prefix or"},
		"a far group that is not":   {"POST", "/security-group-rules", rule(`,"remote_group_id":"x"`), 404, "SecurityGroupNotFound", "Security group x does not exist"},
		"no direction":              {"POST", "/security-group-rules", `{"security_group_rule":{"security_group_id":"` + id + `"}}`, 400, "InvalidInput", "direction"},
		"no group":                  {"POST", "/security-group-rules", `{"security_group_rule":{"direction":"ingress"}}`, 400, "HTTPBadRequest", "security_group_id"},
		"a group that is not":       {"GET", "/security-groups/x", "", 404, "SecurityGroupNotFound", "Security group x does not exist"},
		"a rule that is not":        {"DELETE", "/security-group-rules/x", "", 404, "SecurityGroupRuleNotFound", "Security group rule x does not exist"},
		"another default":           {"POST", "/security-groups", `{"security_group":{"name":"default"}}`, 409, "SecurityGroupDefaultAlreadyExists", "already exists"},
		"a name that is taken away": {"PUT", "/security-groups/" + id, `{"security_group":{"name":"default"}}`, 409, "SecurityGroupCannotUpdateDefault", "not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := c.call(t, tt.method, tt.path, tt.body)
			e, _ := body["NeutronError"].(map[string]any)
			if status != tt.status || e["type"] != tt.kind || !strings.Contains(fmt.Sprint(e["message"]), tt.text) {
				t.Errorf("%d %v, want %d, %s with %q", status, body, tt.status, tt.kind, tt.text)
			}
		})
	}
	for path, want := range map[string]int{"/security-groups?name=a": 1, "/security-group-rules?security_group_id=" + id: 3, "/security-group-rules?protocol=tcp": 1} {
		_, body := c.call(t, "GET", path, "")
		for key, list := range body {
			if got := len(list.([]any)); got != want {
				t.Errorf("GET %s: %d %s, want %d", path, got, key, want)
			}
		}
	}
}

func TestAPortMovesBetweenHostsByItsBindings(t *testing.T) {
	c := open(t)
	c.Node("cmp2")
	c.Report("cmp2", attachsim.Card("MT2113X00003", 0x83, 2, 4))
	c.DPU("MT2113X00003", "dpu-c")
	p := c.Port(c.network(t, ""))
	c.bind(t, p.ID, "cmp1", novas(0, "0000:81:01.0"))
	path := "/ports/" + p.ID + "/bindings"
	there := fmt.Sprintf(`{"binding":{"host":"cmp2","vnic_type":"remote-managed","profile":{"pci_vendor_info":"15b3:101e","pci_slot":"0000:83:01.0",
		"physical_network":null,"card_serial_number":"MT2113X00003","pf_mac_address":"%s","vf_num":0}}}`, attachsim.MAC("MT2113X00003", 0))
	want := func(method, path, body string, status int, word string) {
		t.Helper()
		got, answer := c.call(t, method, path, body)
		if got != status || !strings.Contains(fmt.Sprint(answer), word) {
			t.Errorf("%s %s: %d %v, want %d with %q", method, path, got, answer, status, word)
		}
	}
	want("POST", path, there, 201, "status:INACTIVE")
	want("POST", path, there, 409, "PortBindingAlreadyExists")
	want("POST", path, strings.Replace(there, "cmp2", "cmp3", 1), 500, "PortBindingError")
	want("POST", path, `{"binding":{}}`, 400, "'host' not specified")
	want("GET", path+"/cmp1", "", 200, "status:ACTIVE")
	want("GET", path+"/cmp2", "", 200, "vif_type:ovs")
	want("GET", path+"/cmp9", "", 404, "PortBindingNotFound")
	want("PUT", path+"/cmp9/activate", "", 404, "PortBindingNotFound")
	want("PUT", path+"/cmp2/activate", "", 200, "status:ACTIVE")
	want("PUT", path+"/cmp2/activate", "", 409, "PortBindingAlreadyActive")
	if got := c.get(t, p.ID); got.HostID != "cmp2" || got.Profile["card_serial_number"] != "MT2113X00003" {
		t.Errorf("the port is on %s with %v", got.HostID, got.Profile)
	}
	want("DELETE", path+"/cmp1", "", 204, "")
	want("GET", path, "", 200, "host:cmp2")
	want("DELETE", path+"/cmp1", "", 404, "PortBindingNotFound")
}
