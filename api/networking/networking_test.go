package networking_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/riser-project/riser/api/networking"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/store"
)

type cloud struct {
	*attachsim.World
	dpus   [2]*attachsim.DPU
	url    string
	client *gophercloud.ServiceClient
}

func open(t *testing.T) *cloud {
	t.Helper()
	w, dpus := attachsim.Standard(t)
	server := httptest.NewServer(networking.New(networking.Options{DB: w.DB, Binding: w.Binder}))
	t.Cleanup(server.Close)
	return &cloud{w, dpus, server.URL, &gophercloud.ServiceClient{
		ProviderClient: &gophercloud.ProviderClient{HTTPClient: *server.Client()},
		Endpoint:       server.URL + "/networking/", ResourceBase: server.URL + "/networking/v2.0/", Type: "network",
	}}
}

// call sends a request and returns the status and the answer.
func (c *cloud) call(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.url+"/networking/v2.0"+path, strings.NewReader(body))
	c.Must(err)
	resp, err := http.DefaultClient.Do(req)
	c.Must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	c.Must(err)
	var out map[string]any
	if len(text) > 0 {
		c.Must(json.Unmarshal(text, &out))
	}
	return resp.StatusCode, out
}

func (c *cloud) network(t *testing.T, cidr string) string {
	t.Helper()
	n, err := networks.Create(t.Context(), c.client, networks.CreateOpts{Name: "blue"}).Extract()
	c.Must(err)
	if cidr != "" {
		_, err = subnets.Create(t.Context(), c.client, subnets.CreateOpts{NetworkID: n.ID, CIDR: cidr, IPVersion: 4}).Extract()
		c.Must(err)
	}
	return n.ID
}

type ReasonExt struct {
	Reason string `json:"riser:status_reason"`
}

type boundPort struct {
	ports.Port
	portsbinding.PortsBindingExt
	ReasonExt
}

func (c *cloud) get(t *testing.T, id string) boundPort {
	t.Helper()
	var p boundPort
	c.Must(ports.Get(t.Context(), c.client, id).ExtractInto(&p))
	return p
}

func TestErrorsAreNeutrons(t *testing.T) {
	c := open(t)
	n := c.network(t, "192.0.2.0/29")
	p := c.Port(n)
	const six = `"card_serial_number":"MT2113X00001","pci_slot":"0000:81:01.3","pci_vendor_info":"15b3:101e","pf_mac_address":"0c:42:a1:00:00:00","physical_network":null`
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		kind, text         string
	}{
		"a network that is not":        {"GET", "/networks/x", "", 404, "NetworkNotFound", "Network x could not be found."},
		"a subnet that is not":         {"GET", "/subnets/x", "", 404, "SubnetNotFound", "Subnet x could not be found."},
		"a port that is not":           {"GET", "/ports/x", "", 404, "PortNotFound", "Port x could not be found."},
		"a network with ports":         {"DELETE", "/networks/" + n, "", 409, "NetworkInUse", "one or more ports still in use"},
		"an attribute that is not":     {"POST", "/networks", `{"network":{"colour":"blue"}}`, 400, "HTTPBadRequest", "Unrecognized attribute(s) 'colour'"},
		"a body for something else":    {"POST", "/networks", `{"port":{}}`, 400, "HTTPBadRequest", "Unable to find 'network' in request body"},
		"a type that is not":           {"POST", "/networks", `{"network":{"provider:network_type":"vxlan"}}`, 400, "InvalidInput", "none of flat, geneve, vlan"},
		"a flat one without a network": {"POST", "/networks", `{"network":{"provider:network_type":"flat"}}`, 400, "InvalidInput", "provider:physical_network required for flat network"},
		"an MTU that is none":          {"POST", "/networks", `{"network":{"mtu":1}}`, 400, "InvalidInput", "mtu: 1 is not between"},
		"a subnet that overlaps":       {"POST", "/subnets", `{"subnet":{"network_id":"` + n + `","cidr":"192.0.2.0/24"}}`, 400, "InvalidInput", "overlaps with another subnet"},
		"a subnet with host bits":      {"POST", "/subnets", `{"subnet":{"network_id":"` + n + `","cidr":"10.0.0.1/24"}}`, 400, "InvalidInput", "host bits are set"},
		"a VNIC type that is not":      {"POST", "/ports", `{"port":{"network_id":"` + n + `","binding:vnic_type":"fast"}}`, 400, "InvalidInput", "binding:vnic_type: 'fast' is not in"},
		"a MAC in use":                 {"POST", "/ports", `{"port":{"network_id":"` + n + `","mac_address":"` + p.MAC + `"}}`, 409, "MacAddressInUse", "is in use"},
		"a MAC that is none":           {"POST", "/ports", `{"port":{"network_id":"` + n + `","mac_address":"x"}}`, 400, "InvalidInput", "'x' is not a valid MAC address"},
		"an address outside":           {"POST", "/ports", `{"port":{"network_id":"` + n + `","fixed_ips":[{"ip_address":"10.0.0.1"}]}}`, 400, "InvalidIpForNetwork", "10.0.0.1 is not a valid IP"},
		"a VF number in text":          {"PUT", "/ports/" + p.ID, `{"port":{"binding:profile":{` + six + `,"vf_num":"3"}}}`, 400, "InvalidInput", `Invalid binding:profile. vf_num "3" value invalid type`},
		"a profile with a key missing": {"PUT", "/ports/" + p.ID, `{"port":{"binding:profile":{` + six + `}}}`, 400, "InvalidInput", "are all required."},
		"a NUMA policy that is not":    {"PUT", "/ports/" + p.ID, `{"port":{"numa_affinity_policy":"near"}}`, 400, "InvalidInput", "'near' is not in required, preferred, legacy, socket"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := c.call(t, tt.method, tt.path, tt.body)
			e, _ := body["NeutronError"].(map[string]any)
			if status != tt.status || e["type"] != tt.kind || !strings.Contains(fmt.Sprint(e["message"]), tt.text) || e["detail"] != "" {
				t.Errorf("%d %v, want %d, %s with %q", status, body, tt.status, tt.kind, tt.text)
			}
		})
	}
}

func TestAddressesAreGivenAndTakenBack(t *testing.T) {
	c := open(t)
	n := c.network(t, "192.0.2.0/29") // .1 is the gateway: five are left
	var ids []string
	for want := 2; want <= 6; want++ {
		p, err := ports.Create(t.Context(), c.client, ports.CreateOpts{NetworkID: n}).Extract()
		c.Must(err)
		if got := p.FixedIPs[0].IPAddress; got != fmt.Sprintf("192.0.2.%d", want) {
			t.Errorf("address %s, want 192.0.2.%d", got, want)
		}
		ids = append(ids, p.ID)
	}
	if _, err := ports.Create(t.Context(), c.client, ports.CreateOpts{NetworkID: n}).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("a sixth address of five: %v, want 409", err)
	}
	c.Must(ports.Delete(t.Context(), c.client, ids[1]).ExtractErr())
	p, err := ports.Create(t.Context(), c.client, ports.CreateOpts{NetworkID: n}).Extract()
	c.Must(err)
	if got := p.FixedIPs[0].IPAddress; got != "192.0.2.3" {
		t.Errorf("address %s, want the one that was given back", got)
	}
}

func TestListsAreFilteredSortedAndPaged(t *testing.T) {
	c := open(t)
	n := c.network(t, "")
	for _, name := range []string{"b", "a", "c"} {
		_, err := ports.Create(t.Context(), c.client, ports.CreateOpts{NetworkID: n, Name: name, DeviceID: "dev-" + name}).Extract()
		c.Must(err)
	}
	for query, want := range map[string]string{
		"?sort_key=name": "a b c", "?sort_key=name&sort_dir=desc": "c b a", "?name=b": "b", "?device_id=dev-c": "c", "?name=a&name=b&sort_key=name": "a b",
		"?sort_key=name&limit=2": "a b", "?admin_state_up=False": "", "?network_id=nope": "", "?binding:vnic_type=normal&sort_key=name": "a b c",
	} {
		_, body := c.call(t, "GET", "/ports"+query, "")
		var names []string
		for _, p := range body["ports"].([]any) {
			names = append(names, fmt.Sprint(p.(map[string]any)["name"]))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	_, body := c.call(t, "GET", "/ports?fields=name&name=a", "")
	if got := fmt.Sprint(body["ports"]); got != "[map[name:a]]" {
		t.Errorf("one field: %s", got)
	}
}

// novas is the profile that Nova would write for a VF of the first card.
func novas(vf int, slot string) map[string]any {
	return map[string]any{
		"pci_vendor_info": "15b3:101e", "pci_slot": slot, "physical_network": nil, "card_serial_number": "MT2113X00001",
		"pf_mac_address": attachsim.MAC("MT2113X00001", 0), "vf_num": vf,
	}
}

func (c *cloud) bind(t *testing.T, id, host string, profile map[string]any) boundPort {
	t.Helper()
	device := "5f1c6d0e-0d8a-4a53-8d5d-6f5f7c0a0009"
	var p boundPort
	c.Must(ports.Update(t.Context(), c.client, id, portsbinding.UpdateOptsExt{
		UpdateOptsBuilder: ports.UpdateOpts{DeviceID: &device}, HostID: &host, Profile: profile,
	}).ExtractInto(&p))
	return p
}

func TestANovaBindsAndUnbindsAPort(t *testing.T) {
	c := open(t)
	p := c.Port(c.network(t, ""))
	bound := c.bind(t, p.ID, "cmp1", novas(3, "0000:81:01.3"))
	if bound.VIFType != "ovs" || bound.HostID != "cmp1" || bound.Status != "BUILD" {
		t.Fatalf("bound %+v", bound)
	}
	c.Must(c.Binder.Reconcile(t.Context()))
	c.Must(c.Poll(t.Context()))
	if got := c.get(t, p.ID); got.Status != "ACTIVE" {
		t.Fatalf("port %s: %s", got.Status, got.Reason)
	}
	if o := c.dpus[0].Plugged()[p.ID]; o.Number != 3 {
		t.Errorf("plugged %+v, want VF 3", o)
	}
	status, body := c.call(t, "PUT", "/ports/"+p.ID, `{"port":{"binding:vnic_type":"normal"}}`)
	if status != http.StatusConflict {
		t.Errorf("changing the VNIC type of a bound port: %d %v, want 409", status, body)
	}
	empty, none := "", map[string]any{}
	var after boundPort
	c.Must(ports.Update(t.Context(), c.client, p.ID, portsbinding.UpdateOptsExt{
		UpdateOptsBuilder: ports.UpdateOpts{DeviceID: &empty, DeviceOwner: &empty}, HostID: &empty, Profile: none,
	}).ExtractInto(&after))
	if after.VIFType != "unbound" || after.HostID != "" || len(after.Profile) != 0 || after.Status != "DOWN" {
		t.Errorf("after unbinding %+v", after)
	}
	if list := c.Claims(store.ClaimQuery{}); len(list) != 1 || list[0].State != store.ClaimReleasing {
		t.Errorf("claims %+v, want one that waits for the DPU", list)
	}
	c.Must(c.Poll(t.Context()))
	if list := c.Claims(store.ClaimQuery{}); len(list) != 0 {
		t.Errorf("claims %+v, want none", list)
	}
}

func TestABindingThatFailsSaysWhy(t *testing.T) {
	for name, tt := range map[string]struct {
		host    string
		profile map[string]any
		want    string
	}{
		"a card of another host": {"cmp9", novas(3, "0000:81:01.3"), "host cmp9 reports no PF"},
		"a VF that is not there": {"cmp1", novas(99, "0000:81:01.3"), "VF 99 of PF 0000:81:00.0 on host cmp1"},
		"a slot of another VF":   {"cmp1", novas(3, "0000:81:01.2"), `is at "0000:81:01.3", not at pci_slot 0000:81:01.2`},
		"a VF that is taken":     {"cmp1", novas(0, "0000:81:01.0"), "VF 0 of PF 0000:81:00.0 of host cmp1 is claimed already"},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t)
			n := c.network(t, "")
			first := c.Port(n)
			c.bind(t, first.ID, "cmp1", novas(0, "0000:81:01.0"))
			p := c.bind(t, c.Port(n).ID, tt.host, tt.profile)
			if p.VIFType != "binding_failed" || p.Status != "DOWN" || !strings.Contains(p.Reason, tt.want) {
				t.Errorf("vif_type %s, status %s, reason %q; want %q", p.VIFType, p.Status, p.Reason, tt.want)
			}
			if n := len(c.Claims(store.ClaimQuery{})); n != 1 {
				t.Errorf("%d claims, want that of the first port alone", n)
			}
		})
	}
}

func TestExplainEndsAtTheFirstBrokenHop(t *testing.T) {
	c := open(t)
	p := c.Port(c.network(t, ""))
	explain := func() string {
		_, body := c.call(t, "GET", "/ports/"+p.ID+"/explain", "")
		var names []string
		for _, h := range body["hops"].([]any) {
			hop := h.(map[string]any)
			names = append(names, fmt.Sprintf("%s:%v", hop["name"], hop["ok"]))
		}
		return strings.Join(names, " ")
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "port:false"},
		{func() { c.bind(t, p.ID, "cmp1", novas(3, "0000:81:01.3")) }, "port:true claim:true card:true dpu:true order:true report:false"},
		{func() { c.Must(c.Poll(t.Context())) }, "port:true claim:true card:true dpu:true order:true report:true backend:false"},
		{func() { c.Must(c.Binder.Reconcile(t.Context())) }, "port:true claim:true card:true dpu:true order:true report:true backend:true"},
	} {
		step.do()
		if got := explain(); got != step.want {
			t.Errorf("hops %s, want %s", got, step.want)
		}
	}
}

func TestDiscovery(t *testing.T) {
	c := open(t)
	status, body := c.call(t, "GET", "/extensions/binding", "")
	if e, _ := body["extension"].(map[string]any); status != 200 || e["alias"] != "binding" {
		t.Errorf("%d %v", status, body)
	}
	if status, _ := c.call(t, "GET", "", ""); status != 200 {
		t.Errorf("the root of v2.0: %d", status)
	}
	if status, body := c.call(t, "GET", "/routers", ""); status != 404 || body["NeutronError"] == nil {
		t.Errorf("a resource that is not there: %d %v", status, body)
	}
}
