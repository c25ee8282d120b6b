package fake_test

import (
	"testing"

	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/network/fake"
	"github.com/riser-project/riser/network/networktest"
)

func TestContract(t *testing.T) {
	networktest.Run(t, func(t *testing.T) networktest.Harness {
		b := fake.New()
		b.Manual()
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
		return networktest.Harness{Backend: b, SetUp: func(_ *testing.T, port string, up bool) { b.Up(port, up, "the test says so") }}
	})
}

func TestABoundPortIsUpAtOnce(t *testing.T) {
	b := fake.New()
	n := network.Network{ID: "n"}
	if err := b.EnsureNetwork(t.Context(), n, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.EnsurePort(t.Context(), network.Port{ID: "p", NetworkID: "n"}, &network.Binding{Chassis: "dpu1"}); err != nil {
		t.Fatal(err)
	}
	if s, err := b.State(t.Context(), "p"); err != nil || !s.Up {
		t.Errorf("state %+v, error %v: want the port up", s, err)
	}
}
