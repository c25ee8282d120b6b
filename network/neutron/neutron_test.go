package neutron_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/neutronsim"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/network/networktest"
	"github.com/riser-project/riser/network/neutron"
)

var chassis = map[string]string{"MT2113X00001": "dpu1", "MT2113X00002": "dpu2"}

func open(t *testing.T, poll time.Duration) (*neutronsim.Neutron, *neutron.Backend) {
	t.Helper()
	sim := neutronsim.New(chassis)
	t.Cleanup(sim.Close)
	b, err := neutron.Open(t.Context(), neutron.Options{Endpoint: sim.URL, Poll: poll})
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	return sim, b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestContract(t *testing.T) {
	networktest.Run(t, func(t *testing.T) networktest.Harness {
		sim, b := open(t, 10*time.Millisecond)
		return networktest.Harness{Backend: b, SetUp: func(t *testing.T, port string, up bool) { must(t, sim.SetUp("riser:"+port, up)) }}
	})
}

const netID, portID = "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0001", "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0101"

func boundPort(host, serial string, vf int) (network.Port, *network.Binding) {
	p := network.Port{
		ID: portID, NetworkID: netID, MAC: "fa:16:3e:00:00:01", VNICType: network.VNICRemoteManaged, HostID: host, DeviceID: "server", DeviceOwner: "compute:nova",
		Profile: network.Profile{PCIVendorInfo: "15b3:101e", PCISlot: "0000:82:00.3", CardSerial: serial, PFMAC: "0c:42:a1:00:00:00", VF: vf, Bound: true},
	}
	return p, &network.Binding{Chassis: chassis[serial], PFMAC: p.Profile.PFMAC, VF: vf, Generation: 1}
}

func TestABindingIsNovas(t *testing.T) {
	sim, b := open(t, time.Hour)
	must(t, b.EnsureNetwork(t.Context(), network.Network{ID: netID, Name: "blue"}, nil))
	p, bound := boundPort("cmp1", "MT2113X00001", 0)
	must(t, b.EnsurePort(t.Context(), p, bound))
	got := sim.Port("riser:" + portID)
	profile, err := json.Marshal(got["binding:profile"])
	must(t, err)
	want := `{"card_serial_number":"MT2113X00001","pci_slot":"0000:82:00.3","pci_vendor_info":"15b3:101e","pf_mac_address":"0c:42:a1:00:00:00","physical_network":null,"vf_num":0}`
	if string(profile) != want || got["binding:host_id"] != "cmp1" || got["device_id"] != "server" || got["binding:vif_type"] != "ovs" {
		t.Errorf("Neutron has %v with profile %s", got, profile)
	}
	sim.Calls()
	must(t, b.EnsurePort(t.Context(), p, bound))
	if calls := sim.Calls(); len(calls) != 0 {
		t.Errorf("binding again what is bound: %v", calls)
	}
	must(t, b.EnsurePort(t.Context(), p, nil))
	if got := sim.Port("riser:" + portID); got["binding:vif_type"] != "unbound" || got["binding:host_id"] != "" || got["device_id"] != "" {
		t.Errorf("after unbinding Neutron has %v", got)
	}
}

func TestAMoveIsASecondBindingWhereNeutronHasThose(t *testing.T) {
	for name, without := range map[string][]string{"binding-extended": nil, "a plain update": {"binding-extended"}} {
		t.Run(name, func(t *testing.T) {
			sim, b := open(t, time.Hour)
			sim.Without(without...)
			must(t, b.EnsureNetwork(t.Context(), network.Network{ID: netID}, nil))
			p, bound := boundPort("cmp1", "MT2113X00001", 0)
			must(t, b.EnsurePort(t.Context(), p, bound))
			sim.Calls()
			p, bound = boundPort("cmp2", "MT2113X00002", 3)
			must(t, b.EnsurePort(t.Context(), p, bound))
			calls := strings.Join(sim.Calls(), ", ")
			if strings.Contains(calls, "/cmp2/activate, DELETE") != (without == nil) {
				t.Errorf("calls %s", calls)
			}
			if got := sim.Port("riser:" + portID); got["binding:host_id"] != "cmp2" || got["binding:vif_type"] != "ovs" {
				t.Errorf("Neutron has %v", got)
			}
		})
	}
}

func TestABindingThatFailsIsTriedAgain(t *testing.T) {
	sim, b := open(t, time.Hour)
	must(t, b.EnsureNetwork(t.Context(), network.Network{ID: netID}, nil))
	p, bound := boundPort("cmp1", "MT9", 0)
	for range 2 {
		err := b.EnsurePort(t.Context(), p, bound)
		if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "card-serial-number=MT9") {
			t.Fatalf("error %v, want a conflict that names the serial", err)
		}
	}
	if s, err := b.State(t.Context(), portID); err != nil || s.Up || !strings.Contains(s.Reason, "could not bind") {
		t.Errorf("state %+v, %v", s, err)
	}
	p, bound = boundPort("cmp1", "MT2113X00001", 0)
	must(t, b.EnsurePort(t.Context(), p, bound))
	if got := sim.Port("riser:" + portID); got["binding:vif_type"] != "ovs" {
		t.Errorf("Neutron has %v", got)
	}
}

func TestWhatIsSomebodyElsesIsOnlyBound(t *testing.T) {
	sim, b := open(t, time.Hour)
	sim.Insert("networks", map[string]any{"id": netID, "name": "theirs"})
	sim.Insert("ports", map[string]any{"id": portID, "network_id": netID, "name": "theirs", "binding:vnic_type": "remote-managed"})
	must(t, b.EnsureNetwork(t.Context(), network.Network{ID: netID, Name: "ours"}, []network.Subnet{{ID: "s", CIDR: "192.0.2.0/24"}}))
	p, bound := boundPort("cmp1", "MT2113X00001", 0)
	p.Name = "ours"
	must(t, b.EnsurePort(t.Context(), p, bound))
	if got := sim.Port(portID); got["name"] != "theirs" || got["binding:vif_type"] != "ovs" {
		t.Errorf("Neutron has %v, want it bound and else as it was", got)
	}
	must(t, b.RemovePort(t.Context(), portID))
	must(t, b.RemoveNetwork(t.Context(), netID))
	if got := sim.Port(portID); got == nil || got["binding:vif_type"] != "unbound" {
		t.Errorf("Neutron has %v, want it unbound and there", got)
	}
}

func TestEventsOfNeutronAreHeardAtOnce(t *testing.T) {
	sim, b := open(t, time.Hour)
	nova := httptest.NewServer(b.Events())
	defer nova.Close()
	sim.Notify(nova.URL)
	must(t, b.EnsureNetwork(t.Context(), network.Network{ID: netID}, nil))
	p, bound := boundPort("cmp1", "MT2113X00001", 0)
	must(t, b.EnsurePort(t.Context(), p, bound))
	heard := make(chan network.State, 16)
	go func() { _ = b.Watch(t.Context(), func(s network.State) { heard <- s }) }()
	if s := <-heard; s.Up {
		t.Fatalf("heard %+v at the start", s)
	}
	must(t, sim.SetUp("riser:"+portID, true))
	select {
	case s := <-heard:
		if !s.Up || s.Port != portID {
			t.Errorf("heard %+v", s)
		}
	case <-time.After(5 * time.Second):
		t.Error("nothing is heard of an event")
	}
	for body, want := range map[string]int{
		`{`: 400, `{"events":[]}`: 400,
		`{"events":[{"name":"network-vif-plugged","server_uuid":"s","tag":"nobody"}]}`: 207,
		`{"events":[{"name":"volume-extended","server_uuid":"s"}]}`:                    207,
		`{"events":[{"name":"network-changed","server_uuid":"s"}]}`:                    200,
	} {
		resp, err := http.Post(nova.URL, "application/json", strings.NewReader(body))
		must(t, err)
		must(t, resp.Body.Close())
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", body, resp.StatusCode, want)
		}
	}
}

func TestErrorsHaveKinds(t *testing.T) {
	sim, b := open(t, time.Hour)
	for status, want := range map[int]fault.Kind{
		400: fault.Invalid, 403: fault.Forbidden, 409: fault.Conflict, 500: fault.Internal, 503: fault.Unavailable,
	} {
		sim.Break(status)
		if err := b.EnsureNetwork(t.Context(), network.Network{ID: netID}, nil); fault.KindOf(err) != want || !strings.Contains(err.Error(), "the test says so") {
			t.Errorf("%d: %v, want %s with Neutron's words", status, err, want)
		}
		if err := b.Watch(t.Context(), func(network.State) {}); err == nil {
			t.Errorf("%d: Watch ended without an error", status)
		}
	}
	sim.Close()
	if err := b.EnsureNetwork(t.Context(), network.Network{ID: netID}, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a Neutron that is gone: %v", err)
	}
	if _, err := neutron.Open(t.Context(), neutron.Options{Endpoint: "neutron.example"}); err == nil {
		t.Error("an endpoint that is no URL was taken")
	}
}
