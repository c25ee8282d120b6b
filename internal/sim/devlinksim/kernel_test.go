package devlinksim_test

import (
	"net"
	"slices"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"github.com/riser-project/riser/devlink"
	"github.com/riser-project/riser/internal/sim/devlinksim"
)

func TestACardLooksLikeOneFromItsOwnLinux(t *testing.T) {
	k := devlinksim.New()
	host := func(last byte) net.HardwareAddr { return net.HardwareAddr{8, 0xc0, 0xeb, 0, 0, last} }
	k.AddCard(devlinksim.Card{Serial: "MT2113X00042", VFs: 2, Hosts: [][]net.HardwareAddr{{host(1), host(2)}, {host(3)}}})
	c, err := devlink.New(k.Dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ports, err := c.Ports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	ids := map[devlink.PortID]bool{}
	for _, p := range ports {
		names = append(names, p.Netdev)
		ids[p.ID] = true
	}
	slices.Sort(names)
	want := []string{"c1pf0", "c1pf0vf0", "c1pf0vf1", "c1pf1", "c1pf1vf0", "c1pf1vf1", "c2pf0", "c2pf0vf0", "c2pf0vf1", "p0", "p1"}
	if !slices.Equal(names, want) || len(ids) != len(want) {
		t.Errorf("ports %v with %d IDs, want %v", names, len(ids), want)
	}
	if !k.HasNetdev("c2pf0vf1") || k.HasNetdev("c2pf1vf1") || k.HasNetdev("") {
		t.Error("HasNetdev does not tell what is there")
	}
}

func TestAResetTellsOfEveryPort(t *testing.T) {
	k := devlinksim.New()
	k.AddCard(devlinksim.Card{VFs: 3, Hosts: [][]net.HardwareAddr{{{8, 0, 0, 0, 0, 1}}}})
	c, err := devlink.New(k.Dial)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w, err := c.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	k.RemoveDevice(devlink.Handle{Bus: "pci", Device: "0000:03:00.0"})
	for range 5 {
		if e, err := w.Next(); err != nil || e.Kind != devlink.PortDel {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	if ports, err := c.Ports(t.Context()); err != nil || len(ports) != 0 {
		t.Errorf("after the reset: %v, %v", ports, err)
	}
}

func TestWhatTheKernelDoesNotKnowIsRefused(t *testing.T) {
	k := devlinksim.New()
	nl, err := k.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	if _, err := nl.GetFamily("nl80211"); err == nil {
		t.Error("a family that is not there was found")
	}
	for name, request := range map[string]netlink.HeaderFlags{"a port without dump": netlink.Request, "an acknowledged get": netlink.Request | netlink.Acknowledge} {
		family, err := nl.GetFamily("devlink")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nl.Execute(genetlink.Message{Header: genetlink.Header{Command: 5, Version: 1}}, family.ID, request); err == nil {
			t.Errorf("%s was answered", name)
		}
	}
}
