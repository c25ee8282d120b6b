// Package networktest is the contract of a network backend as tests. Every backend passes the same suite.
package networktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// Harness is a backend under test with a hand on its control plane.
type Harness struct {
	Backend network.Backend

	// SetUp makes the control plane bring a bound port up, or down.
	SetUp func(t *testing.T, port string, up bool)
}

// patience is how long the suite waits for what a backend tells by itself.
const patience = 5 * time.Second

// Run runs the suite. open gives a fresh backend whose control plane has nothing, and in which the chassis "dpu1" and "dpu2" can be bound to; what
// it opened must be closed by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, Harness){
		"a bound port is up when the control plane says so, and not before": upWhenSaid,
		"an unbound port is down":                          unboundIsDown,
		"every change can be repeated":                     repeat,
		"a port can be bound to another chassis":           move,
		"a network with ports is not removed":              networkInUse,
		"removing what is not there is no error":           removeAbsent,
		"the state of an unknown port is not found":        unknownState,
		"a watcher hears of every port at the start":       watchStart,
		"a watcher hears of each change":                   watchChange,
		"a watcher ends with its context":                  watchEnds,
		"a port of a network that is not there is faulted": noNetwork,
		"a port is in groups that exist":                   groupMembers,
		"a security group can be changed and repeated":     groupChanges,
		"a name is given": func(t *testing.T, h Harness) {
			if h.Backend.Name() == "" {
				t.Error("the backend has no name")
			}
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// Values that the suite uses. The ids are UUIDs, since some control planes want them.
var (
	net1 = network.Network{ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0001", Name: "blue", MTU: 1442, Type: "geneve"}
	sub1 = network.Subnet{ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0002", NetworkID: net1.ID, CIDR: "192.0.2.0/24", Gateway: "192.0.2.1", DHCP: true}
	bind = network.Binding{Chassis: "dpu1", PFMAC: "0c:42:a1:00:00:00", VF: 0, MTU: 1442, Generation: 1}
)

// Serials has the serial numbers of the cards that the chassis of the suite are on.
var Serials = map[string]string{"dpu1": "MT2113X00001", "dpu2": "MT2113X00002"}

func port(n byte) network.Port {
	digit := string('0' + n)
	return network.Port{
		ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a010" + digit, NetworkID: net1.ID, MAC: "fa:16:3e:00:00:0" + digit, VNICType: network.VNICRemoteManaged,
		FixedIPs: []network.FixedIP{{SubnetID: sub1.ID, Address: "192.0.2.1" + digit}}, PortSecurity: true,
	}
}

// ensure makes the port exist, with the binding profile that goes with the binding.
func ensure(t *testing.T, h Harness, p network.Port, b *network.Binding) {
	t.Helper()
	if b != nil {
		p.HostID, p.DeviceID, p.DeviceOwner, p.VIFType = "cmp1", "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0301", "compute:nova", network.VIFOVS
		p.Profile = network.Profile{
			PCIVendorInfo: "15b3:101e", PCISlot: fmt.Sprintf("0000:82:00.%d", b.VF+3), CardSerial: Serials[b.Chassis], PFMAC: b.PFMAC, VF: b.VF, Bound: true,
		}
	}
	if err := h.Backend.EnsureNetwork(t.Context(), net1, []network.Subnet{sub1}); err != nil {
		t.Fatal(err)
	}
	if err := h.Backend.EnsurePort(t.Context(), p, b); err != nil {
		t.Fatal(err)
	}
}

// wantUp waits until the port is up or not, as up says.
func wantUp(t *testing.T, h Harness, id string, up bool) network.State {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		s, err := h.Backend.State(t.Context(), id)
		switch {
		case err != nil:
			t.Fatal(err)
		case s.Up == up:
			if s.Port != id {
				t.Errorf("the state is of port %q, want %q", s.Port, id)
			}
			if !up && s.Reason == "" {
				t.Error("a port that is not up has no reason")
			}
			return s
		case time.Now().After(deadline):
			t.Fatalf("port %s: up is %v (%s), want %v", id, s.Up, s.Reason, up)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func upWhenSaid(t *testing.T, h Harness) {
	p := port(1)
	ensure(t, h, p, &bind)
	wantUp(t, h, p.ID, false)
	h.SetUp(t, p.ID, true)
	wantUp(t, h, p.ID, true)
	h.SetUp(t, p.ID, false)
	wantUp(t, h, p.ID, false)
}

func unboundIsDown(t *testing.T, h Harness) {
	p := port(1)
	ensure(t, h, p, nil)
	wantUp(t, h, p.ID, false)
	ensure(t, h, p, &bind)
	h.SetUp(t, p.ID, true)
	wantUp(t, h, p.ID, true)
	ensure(t, h, p, nil)
	wantUp(t, h, p.ID, false)
}

func repeat(t *testing.T, h Harness) {
	p := port(1)
	for range 2 {
		ensure(t, h, p, &bind)
	}
	h.SetUp(t, p.ID, true)
	wantUp(t, h, p.ID, true)
	ensure(t, h, p, &bind)
	wantUp(t, h, p.ID, true)
	for range 2 {
		if err := h.Backend.RemovePort(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := h.Backend.RemoveNetwork(t.Context(), net1.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func move(t *testing.T, h Harness) {
	p := port(1)
	ensure(t, h, p, &bind)
	other := bind
	other.Chassis, other.VF, other.Generation = "dpu2", 3, 2
	ensure(t, h, p, &other)
	h.SetUp(t, p.ID, true)
	wantUp(t, h, p.ID, true)
}

func networkInUse(t *testing.T, h Harness) {
	p := port(1)
	ensure(t, h, p, nil)
	if err := h.Backend.RemoveNetwork(t.Context(), net1.ID); !fault.Is(err, fault.Conflict) {
		t.Fatalf("removing a network with a port: %v, want a conflict", err)
	}
	if err := h.Backend.RemovePort(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if err := h.Backend.RemoveNetwork(t.Context(), net1.ID); err != nil {
		t.Fatal(err)
	}
}

func removeAbsent(t *testing.T, h Harness) {
	if err := h.Backend.RemovePort(t.Context(), port(1).ID); err != nil {
		t.Error(err)
	}
	if err := h.Backend.RemoveNetwork(t.Context(), net1.ID); err != nil {
		t.Error(err)
	}
}

func unknownState(t *testing.T, h Harness) {
	if _, err := h.Backend.State(t.Context(), port(1).ID); !fault.Is(err, fault.NotFound) {
		t.Errorf("state of an unknown port: %v, want not found", err)
	}
}

func noNetwork(t *testing.T, h Harness) {
	if err := h.Backend.EnsurePort(t.Context(), port(1), nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("port of an unknown network: %v, want not found", err)
	}
}

// ear collects what a watcher hears.
type ear struct {
	mu     sync.Mutex
	states []network.State
}

func (e *ear) hear(s network.State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.states = append(e.states, s)
}

// heard waits until the watcher has heard that the port is up or not.
func (e *ear) heard(t *testing.T, id string, up bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		e.mu.Lock()
		found := slices.ContainsFunc(e.states, func(s network.State) bool { return s.Port == id && s.Up == up })
		if found {
			e.states = nil
		}
		e.mu.Unlock()
		if found {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the watcher did not hear that port %s is up=%v", id, up)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func watch(t *testing.T, h Harness) *ear {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e, done := &ear{}, make(chan struct{})
	go func() {
		defer close(done)
		_ = h.Backend.Watch(ctx, e.hear)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return e
}

func watchStart(t *testing.T, h Harness) {
	ensure(t, h, port(1), &bind)
	ensure(t, h, port(2), nil)
	h.SetUp(t, port(1).ID, true)
	wantUp(t, h, port(1).ID, true)
	e := watch(t, h)
	e.heard(t, port(1).ID, true)
	e = watch(t, h)
	e.heard(t, port(2).ID, false)
}

func watchChange(t *testing.T, h Harness) {
	ensure(t, h, port(1), &bind)
	e := watch(t, h)
	e.heard(t, port(1).ID, false)
	h.SetUp(t, port(1).ID, true)
	e.heard(t, port(1).ID, true)
	ensure(t, h, port(1), nil)
	e.heard(t, port(1).ID, false)
}

func watchEnds(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Backend.Watch(ctx, func(network.State) {}) }()
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v, want the context's error", err)
		}
	case <-time.After(patience):
		t.Error("Watch goes on after its context has ended")
	}
}

// Security groups that the suite uses.
var (
	web   = 80
	group = network.SecurityGroup{ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0201", Name: "web", Rules: []network.Rule{
		{ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0211", Direction: network.Egress, EtherType: network.IPv4},
		{ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0212", Direction: network.Ingress, EtherType: network.IPv4, Protocol: "tcp", PortMin: &web, PortMax: &web},
		{ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0213", Direction: network.Ingress, EtherType: network.IPv6, Protocol: "ipv6-icmp", RemotePrefix: "2001:db8::/32"},
		{ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0214", Direction: network.Ingress, EtherType: network.IPv4, RemoteGroup: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0202"},
	}}
	other = network.SecurityGroup{ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0202", Name: "other", Stateless: true}
)

// policies returns the backend as one that enforces security groups, or skips the test.
func policies(t *testing.T, h Harness) network.Policies {
	t.Helper()
	p, ok := h.Backend.(network.Policies)
	if !ok {
		t.Skipf("backend %s enforces no security groups", h.Backend.Name())
	}
	return p
}

func groupMembers(t *testing.T, h Harness) {
	b := policies(t, h)
	if err := b.EnsureNetwork(t.Context(), net1, []network.Subnet{sub1}); err != nil {
		t.Fatal(err)
	}
	p := port(1)
	p.Groups = []string{group.ID}
	if err := b.EnsurePort(t.Context(), p, nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("a port in a group that is not there: %v, want not found", err)
	}
	for _, g := range []network.SecurityGroup{group, other} {
		if err := b.EnsureGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	ensure(t, h, p, nil)
	if err := b.RemoveGroup(t.Context(), group.ID); !fault.Is(err, fault.Conflict) {
		t.Errorf("removing a group with a port: %v, want a conflict", err)
	}
	p.Groups = []string{other.ID}
	for range 2 {
		ensure(t, h, p, nil)
	}
	if err := b.RemoveGroup(t.Context(), group.ID); err != nil {
		t.Errorf("removing a group that its port has left: %v", err)
	}
	if err := b.RemovePort(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.RemoveGroup(t.Context(), other.ID); err != nil {
		t.Errorf("removing a group whose port is gone: %v", err)
	}
}

func groupChanges(t *testing.T, h Harness) {
	b := policies(t, h)
	changed := group
	changed.Rules = append(slices.Clone(group.Rules[1:]), network.Rule{
		ID: "0b0a2b8e-6a3c-4b7e-9a35-2d1f1f0a0215", Direction: network.Egress, EtherType: network.IPv6, Protocol: "udp",
	})
	for _, g := range []network.SecurityGroup{group, group, changed, changed, {ID: group.ID, Name: "empty"}} {
		if err := b.EnsureGroup(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := b.RemoveGroup(t.Context(), group.ID); err != nil {
			t.Errorf("removing a group: %v", err)
		}
	}
}
