package ovsdb_test

import (
	"fmt"
	"testing"

	"github.com/riser-project/riser/internal/sim/ovs"
)

// anyPort is an endpoint at a port that nobody uses.
const anyPort = "tcp:127.0.0.1:0"

func startSwitch(t testing.TB, cfg ovs.SwitchConfig) *ovs.Switch {
	t.Helper()
	if cfg.Endpoint == "" {
		cfg.Endpoint = anyPort
	}
	s, err := ovs.StartSwitch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func simCard(t *testing.T) card {
	sim := startSwitch(t, ovs.SwitchConfig{SystemID: "chassis-dpu1", Hostname: "dpu1.example", Bridges: []string{"br-int", "br-ex"}})
	return card{endpoint: sim.Endpoint(), raw: dialRaw(t, sim.Endpoint(), "Open_vSwitch")}
}

func simCentral(t *testing.T) central {
	sim, err := ovs.StartNorthbound(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return central{endpoint: sim.Endpoint(), raw: dialRaw(t, sim.Endpoint(), "OVN_Northbound")}
}

func TestOVNOnTheSimulator(t *testing.T) {
	dpu1 := startSwitch(t, ovs.SwitchConfig{SystemID: "chassis-dpu1", Hostname: "dpu1.example"})
	dpu2 := startSwitch(t, ovs.SwitchConfig{SystemID: "chassis-dpu2", Hostname: "dpu2.example"})
	ovn, err := ovs.StartOVN(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ovn.Close() })
	for _, s := range []*ovs.Switch{dpu1, dpu2} {
		if err := ovn.AddChassis(s); err != nil {
			t.Fatal(err)
		}
	}
	runOVNSuite(t, lab{northbound: ovn.Endpoint(), dpu1: dpu1.Endpoint(), dpu2: dpu2.Endpoint()})
}

func TestNorthboundOnTheSimulator(t *testing.T) { northboundSuite.run(t, simCentral) }

func TestSwitchOnTheSimulator(t *testing.T) { switchSuite.run(t, simCard) }

func BenchmarkPlug(b *testing.B) {
	for _, there := range []int{0, 1000} {
		b.Run(fmt.Sprintf("into a bridge of %d", there), func(b *testing.B) {
			sim := startSwitch(b, ovs.SwitchConfig{})
			s := openSwitch(b, sim.Endpoint())
			for i := range there {
				mustPlug(b, s, attach(fmt.Sprintf("rep%d", i), fmt.Sprintf("port%d", i), 1))
			}
			for b.Loop() {
				mustPlug(b, s, attach("pf0vf3", "a", 1))
				b.StopTimer()
				if _, err := s.Unplug(b.Context(), "a", 1); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
