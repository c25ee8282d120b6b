package compute_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/attachinterfaces"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/hypervisors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/services"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsbinding"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/api/compute"
	"github.com/riser-project/riser/api/networking"
	"github.com/riser-project/riser/instance"
	"github.com/riser-project/riser/internal/sim/attachsim"
	"github.com/riser-project/riser/store"
	"github.com/riser-project/riser/virt"
	fakevirt "github.com/riser-project/riser/virt/fake"
)

// cloud is a world with the APIs in front, and OpenStack's client for them.
type cloud struct {
	*attachsim.World
	dpus    [2]*attachsim.DPU
	virt    *fakevirt.Driver
	url     string
	compute *gophercloud.ServiceClient
	network *gophercloud.ServiceClient
}

func open(t *testing.T, change ...func(*instance.Options)) *cloud {
	t.Helper()
	w, dpus := attachsim.Standard(t)
	c := &cloud{World: w, dpus: dpus, virt: fakevirt.New()}
	options := instance.Options{DB: w.DB, Placer: w.Placer, Binder: w.Binder, Virt: func(string) (virt.Driver, error) { return c.virt, nil }}
	for _, f := range change {
		f(&options)
	}
	runner := instance.New(options)
	mux := http.NewServeMux()
	mux.Handle(compute.Prefix, compute.New(compute.Options{DB: w.DB, Runner: runner, Placer: w.Placer}))
	mux.Handle(networking.Prefix, networking.New(networking.Options{DB: w.DB, Binding: w.Binder}))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.Start(w.Binder.Run)
	w.Start(runner.Run)
	provider := &gophercloud.ProviderClient{HTTPClient: *server.Client()}
	c.url = server.URL
	c.compute = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: server.URL + "/compute/v2.1/", Type: "compute", Microversion: "2.90"}
	c.network = &gophercloud.ServiceClient{ProviderClient: provider, Endpoint: server.URL + "/networking/", ResourceBase: server.URL + "/networking/v2.0/", Type: "network"}
	return c
}

func (c *cloud) agents() {
	for _, d := range c.dpus {
		c.Start(d.Run)
	}
}

func (c *cloud) port(t *testing.T, networkID string) *ports.Port {
	t.Helper()
	p, err := ports.Create(t.Context(), c.network, portsbinding.CreateOptsExt{
		CreateOptsBuilder: ports.CreateOpts{NetworkID: networkID}, VNICType: "remote-managed",
	}).Extract()
	c.Must(err)
	return p
}

func (c *cloud) blue(t *testing.T) string {
	t.Helper()
	n, err := networks.Create(t.Context(), c.network, networks.CreateOpts{Name: "blue"}).Extract()
	c.Must(err)
	_, err = subnets.Create(t.Context(), c.network, subnets.CreateOpts{NetworkID: n.ID, CIDR: "192.0.2.0/24", IPVersion: 4}).Extract()
	c.Must(err)
	return n.ID
}

func (c *cloud) boot(t *testing.T, port string) *servers.Server {
	t.Helper()
	s, err := servers.Create(t.Context(), c.compute, servers.CreateOpts{
		Name: "web", FlavorRef: "1", Networks: []servers.Network{{Port: port}},
	}, nil).Extract()
	c.Must(err)
	return s
}

// until waits until ok says so, looking again whenever the store wakes topics.
func (c *cloud) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	woken, cancel := c.DB.Subscribe(store.TopicServers, store.TopicHosts, store.TopicPorts)
	defer cancel()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-woken:
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("in vain: waited for %s", what)
		}
	}
}

func (c *cloud) untilStatus(t *testing.T, id, status string) *servers.Server {
	t.Helper()
	var s *servers.Server
	c.until(t, "server "+status, func() bool {
		var err error
		s, err = servers.Get(t.Context(), c.compute, id).Extract()
		c.Must(err)
		return s.Status == status
	})
	return s
}

func TestAServerFromCreateToDelete(t *testing.T) {
	c := open(t)
	c.agents()
	p := c.port(t, c.blue(t))
	if len(p.FixedIPs) != 1 || p.FixedIPs[0].IPAddress != "192.0.2.2" {
		t.Errorf("fixed IPs %+v, want the first address after the gateway", p.FixedIPs)
	}
	s := c.boot(t, p.ID)
	got := c.untilStatus(t, s.ID, "ACTIVE")
	if got.Addresses["blue"] == nil || got.HypervisorHostname != "cmp1" {
		t.Errorf("server on %s with addresses %v", got.HypervisorHostname, got.Addresses)
	}
	d, ok := c.virt.Domain(s.ID)
	if !ok || len(d.Functions) != 1 || d.Functions[0].Address != "0000:81:01.0" || d.Functions[0].MAC != p.MACAddress {
		t.Errorf("domain %+v", d)
	}
	var bound struct {
		ports.Port
		portsbinding.PortsBindingExt
	}
	c.Must(ports.Get(t.Context(), c.network, p.ID).ExtractInto(&bound))
	if bound.Status != "ACTIVE" || bound.VIFType != "ovs" || bound.HostID != "cmp1" || bound.Profile["vf_num"] != 0.0 {
		t.Errorf("port %s, vif_type %s, host %s, profile %v", bound.Status, bound.VIFType, bound.HostID, bound.Profile)
	}
	c.Must(servers.Delete(t.Context(), c.compute, s.ID).ExtractErr())
	c.until(t, "everything given back", func() bool { return len(c.Claims(store.ClaimQuery{})) == 0 })
	if _, ok := c.virt.Domain(s.ID); ok {
		t.Error("the domain is still there")
	}
	if n := len(c.dpus[0].Plugged()); n != 0 {
		t.Errorf("%d representors are still plugged", n)
	}
	if _, err := servers.Get(t.Context(), c.compute, s.ID).Extract(); !gophercloud.ResponseCodeIs(err, http.StatusNotFound) {
		t.Errorf("the deleted server: %v, want 404", err)
	}
	bound.Profile = nil
	c.Must(ports.Get(t.Context(), c.network, p.ID).ExtractInto(&bound))
	if bound.Status != "DOWN" || bound.DeviceID != "" || bound.HostID != "" || len(bound.Profile) != 0 {
		t.Errorf("the port afterwards: %+v", bound)
	}
	c.Must(ports.Delete(t.Context(), c.network, p.ID).ExtractErr())
}

func TestAServerSaysWhatItWaitsFor(t *testing.T) {
	c := open(t)
	p := c.port(t, c.blue(t))
	s := c.boot(t, p.ID)
	var view struct {
		Status string `json:"status"`
		Waits  string `json:"riser:waits_for"`
		Until  string `json:"riser:waits_until"`
	}
	c.until(t, "the wait", func() bool {
		c.Must(servers.Get(t.Context(), c.compute, s.ID).ExtractInto(&view))
		return view.Waits != ""
	})
	if view.Status != "BUILD" || !strings.Contains(view.Waits, "waiting for DPU dpu-a to carry out order 1") || view.Until == "" {
		t.Errorf("%+v", view)
	}
	c.agents()
	c.untilStatus(t, s.ID, "ACTIVE")
}

func TestAfterTheDeadlineTheServerFailsWithTheReason(t *testing.T) {
	c := open(t, func(o *instance.Options) { o.PlugTimeout, o.Resync = time.Millisecond, 10*time.Millisecond })
	p := c.port(t, c.blue(t))
	s := c.untilStatus(t, c.boot(t, p.ID).ID, "ERROR")
	if !strings.Contains(s.Fault.Message, "waiting for DPU dpu-a") {
		t.Errorf("fault %q does not say what was waited for", s.Fault.Message)
	}
}

func TestWithoutWaitingTheServerIsActiveBeforeItsPort(t *testing.T) {
	c := open(t, func(o *instance.Options) { o.NoWait = true })
	p := c.port(t, c.blue(t))
	c.untilStatus(t, c.boot(t, p.ID).ID, "ACTIVE")
	if got := c.ReadPort(p.ID); got.Status == "ACTIVE" {
		t.Error("the port is ACTIVE although no DPU has said anything")
	}
}

func TestStopStartAndReboot(t *testing.T) {
	c := open(t)
	c.agents()
	s := c.boot(t, c.port(t, c.blue(t)).ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	if err := servers.Start(t.Context(), c.compute, s.ID).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("start of a running server: %v, want 409", err)
	}
	c.Must(servers.Stop(t.Context(), c.compute, s.ID).ExtractErr())
	c.untilStatus(t, s.ID, "SHUTOFF")
	if state, _ := c.virt.State(t.Context(), s.ID); state != virt.Stopped {
		t.Errorf("the domain is %s", state)
	}
	c.Must(servers.Start(t.Context(), c.compute, s.ID).ExtractErr())
	c.untilStatus(t, s.ID, "ACTIVE")
	c.Must(servers.Reboot(t.Context(), c.compute, s.ID, servers.RebootOpts{Type: servers.HardReboot}).ExtractErr())
	c.untilStatus(t, s.ID, "ACTIVE")
}

func TestInterfacesAreAttachedAndDetached(t *testing.T) {
	c := open(t)
	c.agents()
	blue := c.blue(t)
	s := c.boot(t, c.port(t, blue).ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	second := c.port(t, blue)
	got, err := attachinterfaces.Create(t.Context(), c.compute, s.ID, attachinterfaces.CreateOpts{PortID: second.ID}).Extract()
	c.Must(err)
	if got.PortID != second.ID || got.MACAddr != second.MACAddress || got.PortState != "ACTIVE" {
		t.Errorf("attached %+v", got)
	}
	if d, _ := c.virt.Domain(s.ID); len(d.Functions) != 2 {
		t.Errorf("the domain has functions %+v, want two", d.Functions)
	}
	pages, err := attachinterfaces.List(c.compute, s.ID).AllPages(t.Context())
	c.Must(err)
	list, err := attachinterfaces.ExtractInterfaces(pages)
	c.Must(err)
	if len(list) != 2 {
		t.Errorf("%d interfaces, want 2", len(list))
	}
	_, err = attachinterfaces.Create(t.Context(), c.compute, s.ID, attachinterfaces.CreateOpts{PortID: second.ID}).Extract()
	if !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("attaching a port twice: %v, want 409", err)
	}
	if err := ports.Delete(t.Context(), c.network, second.ID).ExtractErr(); !gophercloud.ResponseCodeIs(err, http.StatusConflict) {
		t.Errorf("deleting a port that a guest has: %v, want 409", err)
	}
	c.Must(attachinterfaces.Delete(t.Context(), c.compute, s.ID, second.ID).ExtractErr())
	c.until(t, "the VF to be free", func() bool { return len(c.Claims(store.ClaimQuery{})) == 1 })
	if d, _ := c.virt.Domain(s.ID); len(d.Functions) != 1 {
		t.Errorf("the domain has functions %+v, want one", d.Functions)
	}
}

func TestRefusalsOfACreate(t *testing.T) {
	c := open(t)
	c.agents()
	used := c.port(t, c.blue(t))
	c.untilStatus(t, c.boot(t, used.ID).ID, "ACTIVE")
	for name, tt := range map[string]struct {
		opts   servers.CreateOpts
		status int
		text   string
	}{
		"a port in use":          {servers.CreateOpts{Name: "x", FlavorRef: "1", Networks: []servers.Network{{Port: used.ID}}}, 409, "is still in use"},
		"a port that is not":     {servers.CreateOpts{Name: "x", FlavorRef: "1", Networks: []servers.Network{{Port: "nope"}}}, 400, "Port id nope could not be found"},
		"a flavor that is not":   {servers.CreateOpts{Name: "x", FlavorRef: "99", Networks: "none"}, 400, "Flavor 99 could not be found"},
		"networks automatically": {servers.CreateOpts{Name: "x", FlavorRef: "1", Networks: "auto"}, 400, "cannot be allocated automatically"},
		"no name":                {servers.CreateOpts{Name: " ", FlavorRef: "1", Networks: "none"}, 400, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := servers.Create(t.Context(), c.compute, tt.opts, nil).Extract()
			var code gophercloud.ErrUnexpectedResponseCode
			if !errors.As(err, &code) || code.Actual != tt.status || !strings.Contains(string(code.Body), tt.text) {
				t.Errorf("error %v, want %d with %q", err, tt.status, tt.text)
			}
		})
	}
}

func TestRemoteManagedPortsWaitUntilEveryHostIsUpgraded(t *testing.T) {
	const text = "Remote-managed ports are not supported until an upgrade is fully finished."
	c := open(t)
	c.agents()
	blue := c.blue(t)
	s := c.boot(t, c.port(t, blue).ID)
	c.untilStatus(t, s.ID, "ACTIVE")
	_, err := c.Enrol.HostReport(t.Context(), "cmp2", &wire.HostReport{Version: 0, Virt: wire.Virt{Driver: "fake"}})
	c.Must(err)
	p := c.port(t, blue)
	wantRefusal := func(err error) {
		t.Helper()
		var code gophercloud.ErrUnexpectedResponseCode
		if !errors.As(err, &code) || code.Actual != http.StatusBadRequest || !strings.Contains(string(code.Body), text) {
			t.Errorf("error %v, want 400 with %q", err, text)
		}
	}
	_, err = servers.Create(t.Context(), c.compute, servers.CreateOpts{Name: "x", FlavorRef: "1", Networks: []servers.Network{{Port: p.ID}}}, nil).Extract()
	wantRefusal(err)
	_, err = attachinterfaces.Create(t.Context(), c.compute, s.ID, attachinterfaces.CreateOpts{PortID: p.ID}).Extract()
	wantRefusal(err)
	_, err = servers.Create(t.Context(), c.compute, servers.CreateOpts{Name: "y", FlavorRef: "1", Networks: "none"}, nil).Extract()
	c.Must(err)
}

func TestAServerThatFitsNowhereSaysWhy(t *testing.T) {
	c := open(t)
	p := c.port(t, c.blue(t))
	s, err := servers.Create(t.Context(), c.compute, servers.CreateOpts{Name: "x", FlavorRef: "1", Networks: []servers.Network{{Port: p.ID}}},
		servers.SchedulerHintOpts{AdditionalProperties: map[string]any{"riser:card": "MT2113X99999"}}).Extract()
	c.Must(err)
	got := c.untilStatus(t, s.ID, "ERROR")
	if !strings.Contains(got.Fault.Message, "No valid host was found. cmp1: no function for the port") {
		t.Errorf("fault %q", got.Fault.Message)
	}
}

func TestFlavorsHypervisorsAndServices(t *testing.T) {
	c := open(t)
	pages, err := flavors.ListDetail(c.compute, nil).AllPages(t.Context())
	c.Must(err)
	list, err := flavors.ExtractFlavors(pages)
	c.Must(err)
	if len(list) != 4 || list[0].Name != "m1.tiny" || list[0].RAM != 512 {
		t.Errorf("flavors %+v", list)
	}
	pages, err = hypervisors.List(c.compute, nil).AllPages(t.Context())
	c.Must(err)
	hosts, err := hypervisors.ExtractHypervisors(pages)
	c.Must(err)
	if len(hosts) != 1 || hosts[0].HypervisorHostname != "cmp1" || hosts[0].State != "up" {
		t.Errorf("hypervisors %+v", hosts)
	}
	pages, err = services.List(c.compute, nil).AllPages(t.Context())
	c.Must(err)
	found, err := services.ExtractServices(pages)
	c.Must(err)
	if len(found) != 1 || found[0].Status != "enabled" {
		t.Fatalf("services %+v", found)
	}
	_, err = services.Update(t.Context(), c.compute, found[0].ID, services.UpdateOpts{Status: services.ServiceDisabled, DisabledReason: "new fans"}).Extract()
	c.Must(err)
	p := c.port(t, c.blue(t))
	s := c.untilStatus(t, c.boot(t, p.ID).ID, "ERROR")
	if !strings.Contains(s.Fault.Message, "the host is disabled: new fans") {
		t.Errorf("fault %q", s.Fault.Message)
	}
}
