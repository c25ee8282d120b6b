package dpu_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/internal/sim/devlinksim"
	"github.com/riser-project/riser/ovsdb"
)

// The tests of this file are named after the gaps that other systems leave between an order and its representor.

func TestGapNoReadBack(t *testing.T) {
	t.Parallel()
	t.Run("the server is told of the plug, and when OVN has installed the flows", func(t *testing.T) {
		l := newLab(t)
		nb := l.startOVN()
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		if status := l.server.wantStatus("port-1", 1, wire.Plugged); status.Installed {
			t.Errorf("OVN knows no such port, and the status is %+v", status)
		}
		l.logicalPort(nb, "port-1", "1")
		l.server.until("installed flows", func() bool { return l.server.status["port-1"].Installed })
	})
	t.Run("a representor that Open vSwitch cannot open is a failure", func(t *testing.T) {
		l := newLab(t)
		l.forbid("c1pf0vf0")
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0), plugVF("port-2", 1, hostMAC(0, 0), 1))
		l.server.wantReason("port-1", wire.Failed, "c1pf0vf0", "No such device")
		l.server.wantStatus("port-2", 1, wire.Plugged)
		if slices.Contains(l.server.ever("port-1"), wire.Plugged) {
			t.Errorf("it was told to be plugged: %s", l.server.history())
		}
		l.allow("c1pf0vf0")
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("a switch whose daemon does not run leaves the port waiting", func(t *testing.T) {
		l := newLab(t)
		l.hangDaemon()
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantReason("port-1", wire.Waiting, "ovs-vswitchd to open c1pf0vf0")
	})
}

func TestGapUnbindLeavesTheRepresentorPlugged(t *testing.T) {
	t.Parallel()
	t.Run("unplugged is said when the database has it, and not while that is away", func(t *testing.T) {
		l := newLab(t)
		l.start()
		o := plugVF("port-1", 1, hostMAC(0, 0), 0)
		l.server.order(o)
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.vswitch.Stop()
		l.server.order(unplug(o, 2))
		l.server.wantReason("port-1", wire.Waiting, "Open vSwitch")
		l.wantPlugged("port-1", "c1pf0vf0", 1)
		must(t, l.vswitch.Listen(""))
		l.server.wantStatus("port-1", 2, wire.Unplugged)
		l.wantUnplugged("port-1")
	})
	t.Run("what is already unplugged is confirmed too", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(unplug(plugVF("port-1", 1, hostMAC(0, 0), 0), 2))
		l.server.wantStatus("port-1", 2, wire.Unplugged)
	})
	t.Run("what nobody orders any more is unplugged", func(t *testing.T) {
		l := newLab(t)
		stop := l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0), plugVF("port-2", 1, hostMAC(0, 0), 1))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.server.wantStatus("port-2", 1, wire.Plugged)
		stop()
		l.server.withdraw("port-1")
		l.start()
		l.until("port-1 unplugged", func() bool { return l.rows()["port-1"] == row{} })
		l.wantPlugged("port-2", "c1pf0vf1", 1)
	})
	t.Run("an order that is done is forgotten", func(t *testing.T) {
		l := newLab(t)
		l.start()
		o := unplug(plugVF("port-1", 1, hostMAC(0, 0), 0), 2)
		l.server.order(o)
		l.server.wantStatus("port-1", 2, wire.Unplugged)
		l.server.order(plugVF("port-2", 1, hostMAC(0, 0), 1))
		l.server.wantStatus("port-2", 1, wire.Plugged) // and so the agent knows that the server knows of port-1
		_, err := l.twin().Plug(t.Context(), ovsdb.Attachment{Bridge: "br-int", Interface: "c1pf0vf0", IfaceID: "port-1", Generation: 9})
		must(t, err)
		l.until("what comes back is unplugged whatever its generation", func() bool { return l.rows()["port-1"] == row{} })
	})
	t.Run("before the server has answered nothing is unplugged", func(t *testing.T) {
		l := newLab(t)
		stop := l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		stop()
		refused := 0
		l.server.do(func() {
			l.server.refuse = func(what string) (int, string) {
				if what == "orders" {
					refused++
					return 409, "two DPUs report this card"
				}
				return 0, ""
			}
		})
		l.start()
		l.kernel.RemovePort(devlinksim.FunctionPort(pf(1, 0).VF(0), "").ID)
		l.server.report("a VF less", func(r *wire.DPUReport) bool { return len(r.Controllers) > 0 && r.Controllers[0].PFs[0].VFs == 3 })
		l.server.until("a refused request for orders", func() bool { return refused > 0 })
		l.wantPlugged("port-1", "c1pf0vf0", 1)
	})
}

func TestGapOrdersWithoutGeneration(t *testing.T) {
	t.Parallel()
	t.Run("a lower generation than the one in force is refused", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(plugVF("port-1", 7, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 7, wire.Plugged)
		l.server.do(func() { delete(l.server.status, "port-1") })
		l.server.order(plugVF("port-1", 6, hostMAC(0, 0), 3))
		l.server.wantStatus("port-1", 7, wire.Plugged) // so that the server gives the next one
		l.wantPlugged("port-1", "c1pf0vf0", 7)
	})
	t.Run("a lower generation than the one that still waits is refused", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(plugVF("port-1", 7, hostMAC(0, 0), 9))
		l.server.wantStatus("port-1", 7, wire.Waiting)
		l.server.do(func() { delete(l.server.status, "port-1") })
		l.server.order(plugVF("port-1", 6, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 7, wire.Waiting)
		l.wantUnplugged("port-1")
	})
	t.Run("a lower generation than the one that an earlier agent carried out is refused", func(t *testing.T) {
		l := newLab(t)
		stop := l.start()
		l.server.order(plugVF("port-1", 7, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 7, wire.Plugged)
		stop()
		for _, o := range []wire.Order{plugVF("port-1", 6, hostMAC(0, 0), 3), unplug(plugVF("port-1", 6, hostMAC(0, 0), 0), 6)} {
			l.server.order(o)
			stop := l.start()
			l.server.wantReason("port-1", wire.Failed, "a newer order was carried out before", "generation 7")
			if status := l.server.wantStatus("port-1", 7, wire.Failed); status.Generation != 7 {
				t.Errorf("the status is of generation %d", status.Generation)
			}
			l.wantPlugged("port-1", "c1pf0vf0", 7)
			stop()
		}
		l.server.order(plugVF("port-1", 8, hostMAC(0, 0), 3))
		l.start()
		l.server.wantStatus("port-1", 8, wire.Plugged)
		l.wantPlugged("port-1", "c1pf0vf3", 8)
	})
	t.Run("the interface tells OVN of which generation it is", func(t *testing.T) {
		l := newLab(t)
		nb := l.startOVN()
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.logicalPort(nb, "port-1", "2")
		l.server.order(plugVF("port-1", 2, hostMAC(0, 0), 1))
		l.server.until("installed flows", func() bool { return l.server.status["port-1"].Installed })
		if status := l.server.wantStatus("port-1", 2, wire.Plugged); status.Representor != "c1pf0vf1" {
			t.Errorf("the status is %+v", status)
		}
	})
}

func TestGapHandOverWedges(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	a := plugVF("port-a", 1, hostMAC(0, 0), 0)
	l.server.order(a)
	l.server.wantStatus("port-a", 1, wire.Plugged)
	before := l.uuid("c1pf0vf0")
	// The order for port-a is gone without a word, as after a reset of the card, and its VF is port-b's.
	l.server.do(func() {
		delete(l.server.orders, "port-a")
		l.server.full = true
		l.server.give(plugVF("port-b", 1, hostMAC(0, 0), 0))
	})
	l.server.wantStatus("port-b", 1, wire.Plugged)
	l.wantPlugged("port-b", "c1pf0vf0", 1)
	l.wantUnplugged("port-a")
	if after := l.uuid("c1pf0vf0"); after != before {
		t.Error("the interface was taken out and put back, not handed over")
	}
}

func TestGapTwoPortsOnOneFunction(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	l.server.order(plugVF("port-a", 1, hostMAC(0, 0), 0))
	l.server.wantStatus("port-a", 1, wire.Plugged)
	before := l.uuid("c1pf0vf0")
	l.server.order(plugVF("port-b", 1, hostMAC(0, 0), 0))
	l.server.wantStatus("port-b", 1, wire.Plugged)
	l.server.wantReason("port-a", wire.Failed, "is ordered for port port-b too")
	l.wantUnplugged("port-a")
	if after := l.uuid("c1pf0vf0"); after != before {
		t.Error("the interface was taken out and put back, not handed over")
	}
	l.server.order(unplug(plugVF("port-b", 1, hostMAC(0, 0), 0), 2))
	l.server.wantStatus("port-a", 1, wire.Plugged)
}

func TestGapFunctionsThatChangePlaces(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	l.server.order(plugVF("port-a", 1, hostMAC(0, 0), 0), plugVF("port-b", 1, hostMAC(0, 0), 1), plugVF("port-c", 1, hostMAC(0, 0), 2))
	l.server.wantStatus("port-c", 1, wire.Plugged)
	l.server.order(plugVF("port-a", 2, hostMAC(0, 0), 1), plugVF("port-b", 2, hostMAC(0, 0), 2), plugVF("port-c", 2, hostMAC(0, 0), 0))
	for port, vf := range map[string]int{"port-a": 1, "port-b": 2, "port-c": 0} {
		l.server.wantStatus(port, 2, wire.Plugged)
		l.wantPlugged(port, fmt.Sprintf("c1pf0vf%d", vf), 2)
	}
}

func TestGapControllersAreIgnored(t *testing.T) {
	t.Parallel()
	// Two hosts behind one card, PF 0 of each under the same instance and number; and the card's own PF with a VF of the same numbers.
	l := newLabOf(t, devlinksim.Card{Serial: serial, VFs: 2, Hosts: [][]net.HardwareAddr{{hostMAC(1, 0)}, {hostMAC(2, 0)}}})
	local := pf(0, 0)
	local.External = false
	port := devlinksim.FunctionPort(local, "pf0hpf")
	port.HWAddr = hostMAC(1, 0) // an address that a host has too must not lead here
	l.kernel.SetPort(port)
	l.kernel.SetPort(devlinksim.FunctionPort(local.VF(0), "pf0vf0"))
	l.start()
	l.server.order(plugVF("port-1", 1, hostMAC(1, 0), 0), plugVF("port-2", 1, hostMAC(2, 0), 0))
	for i, want := range []string{"c1pf0vf0", "c2pf0vf0"} {
		id := fmt.Sprintf("port-%d", i+1)
		if status := l.server.wantStatus(id, 1, wire.Plugged); status.Representor != want {
			t.Errorf("host %d's VF is %+v, want %s", i+1, status, want)
		}
		l.wantPlugged(id, want, 1)
	}
	report := l.server.report("three controllers", func(r *wire.DPUReport) bool { return len(r.Controllers) == 3 })
	for i, want := range []wire.Controller{
		{Number: 0, External: false, PFs: []wire.Host{{Handle: "pci/0000:03:00.0", MAC: hostMAC(1, 0).String(), VFs: 1}}},
		{Number: 1, External: true, PFs: []wire.Host{{Handle: "pci/0000:03:00.0", MAC: hostMAC(1, 0).String(), VFs: 2}}},
		{Number: 2, External: true, PFs: []wire.Host{{Handle: "pci/0000:03:00.0", MAC: hostMAC(2, 0).String(), VFs: 2}}},
	} {
		if got := report.Controllers[i]; got.Number != want.Number || got.External != want.External || !slices.Equal(got.PFs, want.PFs) {
			t.Errorf("controller %d is reported as %+v, want %+v", i, got, want)
		}
	}
}

func TestGapOtherKindsThanVFs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.kernel.SetPort(devlinksim.FunctionPort(pf(1, 1).SF(88), "c1pf1sf88"))
	l.start()
	whole := wire.Order{Port: "metal", Generation: 1, Action: wire.Plug, Kind: wire.KindPF, PFMAC: hostMAC(0, 0).String(), MAC: "fa:16:3e:00:00:09"}
	sub := wire.Order{Port: "container", Generation: 1, Action: wire.Plug, Kind: wire.KindSF, PFMAC: hostMAC(0, 1).String(), Number: 88}
	l.server.order(whole, sub)
	l.server.wantStatus("metal", 1, wire.Plugged)
	l.server.wantStatus("container", 1, wire.Plugged)
	l.wantPlugged("metal", "c1pf0", 1)
	l.wantPlugged("container", "c1pf1sf88", 1)
	if p := l.port(pf(1, 0)); p.HWAddr.String() != hostMAC(0, 0).String() {
		t.Errorf("the host's PF was given the address %s, by which no order finds it any more", p.HWAddr)
	}
}

func TestGapOneBadOrderTakesAllDown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*wire.Order)
		state  string
		reason string
	}{
		{"a VF that is not there yet", func(o *wire.Order) { o.Number = 9 }, wire.Waiting, "its PF has 4 VFs and SFs here"},
		{"an SF that is not there yet", func(o *wire.Order) { o.Kind = wire.KindSF }, wire.Waiting, "sf 0: no such port"},
		{"a number below 0", func(o *wire.Order) { o.Number = -1 }, wire.Failed, "that of a vf is from 0 to 65535"},
		{"a number above all VFs", func(o *wire.Order) { o.Number = 1 << 16 }, wire.Failed, "that of a vf is from 0 to 65535"},
		{"a number for a PF", func(o *wire.Order) { o.Kind, o.Number = wire.KindPF, 1 }, wire.Failed, "that of a pf is from 0 to 0"},
		{"a PF that no host has", func(o *wire.Order) { o.PFMAC = "08:c0:eb:00:00:99" }, wire.Failed, "PFs here: pci/0000:03:00.0 controller 1 external pf 0 (08:c0:eb:aa:00:00)"},
		{"an address that is none", func(o *wire.Order) { o.PFMAC = "pf0" }, wire.Failed, `pf_mac "pf0" is no Ethernet address`},
		{"an address of a PF that is InfiniBand's", func(o *wire.Order) { o.PFMAC = "08:c0:eb:00:00:99:00:01" }, wire.Failed, "is no Ethernet address"},
		{"a kind that is none", func(o *wire.Order) { o.Kind = "vif" }, wire.Failed, `kind "vif" is unknown`},
		{"an action that is none", func(o *wire.Order) { o.Action = "replug" }, wire.Failed, `action "replug" is unknown`},
		{"a generation below 0", func(o *wire.Order) { o.Generation = -1 }, wire.Failed, "generation -1 is negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.start()
			bad := plugVF("bad", 1, hostMAC(0, 0), 0)
			tt.change(&bad)
			l.server.order(plugVF("before", 1, hostMAC(0, 0), 1), bad, plugVF("after", 1, hostMAC(0, 0), 2))
			l.server.wantReason("bad", tt.state, tt.reason)
			l.server.wantStatus("before", 1, wire.Plugged)
			l.server.wantStatus("after", 1, wire.Plugged)
			l.wantUnplugged("bad")
		})
	}
	t.Run("two PFs with the same address", func(t *testing.T) {
		l := newLabOf(t, devlinksim.Card{Serial: serial, VFs: 1, Hosts: [][]net.HardwareAddr{{hostMAC(1, 0), hostMAC(1, 1)}, {hostMAC(1, 0)}}})
		l.start()
		l.server.order(plugVF("bad", 1, hostMAC(1, 0), 0), plugVF("good", 1, hostMAC(1, 1), 0))
		l.server.wantReason("bad", wire.Failed, "more than one port matches", "controller 1", "controller 2")
		l.server.wantStatus("good", 1, wire.Plugged)
	})
	t.Run("two ports that claim the same function", func(t *testing.T) {
		l := newLab(t)
		twin := devlinksim.FunctionPort(pf(1, 0).VF(0), "twin")
		twin.ID.Index++
		twin.ID.Index |= 1 << 30
		l.kernel.SetPort(twin)
		l.start()
		l.server.order(plugVF("bad", 1, hostMAC(0, 0), 0), plugVF("good", 1, hostMAC(0, 0), 1))
		l.server.wantReason("bad", wire.Failed, "more than one port matches")
		l.server.wantStatus("good", 1, wire.Plugged)
	})
}

func TestGapGarbageIsReadAsZero(t *testing.T) {
	t.Parallel()
	const good = `{"port":"good","generation":1,"action":"plug","kind":"vf","pf_mac":"08:c0:eb:aa:00:00","number":2}`
	for _, tt := range []struct{ name, text string }{
		{"a number as text", `"number":"3"`},
		{"a number with more behind it", `"number":"3abc"`},
		{"a number that is none", `"number":"abc"`},
		{"a fraction", `"number":1.5`},
		{"an address that is a list", `"pf_mac":["08:c0:eb:aa:00:00"]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.start()
			l.server.orderText("bad", `{"port":"bad","generation":4,"action":"plug","kind":"vf","pf_mac":"08:c0:eb:aa:00:00",`+tt.text+`}`)
			l.server.orderText("good", good)
			l.server.wantReason("bad", wire.Failed, "the order cannot be read")
			l.server.wantStatus("bad", 4, wire.Failed)
			l.server.wantStatus("good", 1, wire.Plugged)
			l.wantUnplugged("bad")
		})
	}
	t.Run("what is not an order at all", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.orderText("bad", `["port"]`)
		l.server.orderText("nameless", `{"generation":1,"action":"plug"}`)
		l.server.orderText("good", good)
		l.server.wantStatus("good", 1, wire.Plugged)
	})
	t.Run("garbage does not keep a port plugged", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.orderText("port-1", strings.ReplaceAll(good, `"good"`, `"port-1"`))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.server.orderText("port-1", `{"port":"port-1","generation":2,"action":"unplug","number":"?"}`)
		l.server.wantStatus("port-1", 2, wire.Unplugged)
		l.wantUnplugged("port-1")
	})
}

func TestGapHotplugAndRenames(t *testing.T) {
	t.Parallel()
	wanted := plugVF("port-1", 1, hostMAC(0, 0), 3)
	function := pf(1, 0).VF(3)
	id := devlinksim.FunctionPort(function, "").ID
	t.Run("a representor that comes later", func(t *testing.T) {
		l := newLab(t)
		l.kernel.RemovePort(id)
		l.start()
		l.server.order(wanted)
		l.server.wantReason("port-1", wire.Waiting, "the representor", function.String())
		l.kernel.SetPort(devlinksim.FunctionPort(function, "eth7"))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.wantPlugged("port-1", "eth7", 1)
	})
	t.Run("a representor without a network device", func(t *testing.T) {
		l := newLab(t)
		l.kernel.Rename(id, "")
		l.start()
		l.server.order(wanted)
		l.server.wantReason("port-1", wire.Waiting, "no network device yet")
		l.kernel.Rename(id, "eth7")
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("a rename after the plug", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(wanted)
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.kernel.Rename(id, "c1pf0vf3-new")
		l.server.until("the new name", func() bool { return l.server.status["port-1"].Representor == "c1pf0vf3-new" })
		l.wantPlugged("port-1", "c1pf0vf3-new", 1)
	})
	t.Run("a rename that no event tells shows when Open vSwitch loses the device", func(t *testing.T) {
		l := newLab(t)
		l.deaf()
		l.start()
		l.server.order(wanted)
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.kernel.Rename(id, "c1pf0vf3-new")
		must(t, l.vswitch.SyncNetdevs())
		l.server.until("the new name", func() bool { return l.server.status["port-1"].Representor == "c1pf0vf3-new" })
		l.wantPlugged("port-1", "c1pf0vf3-new", 1)
	})
	t.Run("a rename that no event tells shows in time", func(t *testing.T) {
		l := newLab(t)
		l.deaf()
		l.config.Resync = 20 * time.Millisecond
		l.start()
		l.server.order(wanted)
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.kernel.Rename(id, "c1pf0vf3-new")
		l.server.until("the new name", func() bool { return l.server.status["port-1"].Representor == "c1pf0vf3-new" })
	})
	t.Run("a name that another device has got is not plugged", func(t *testing.T) {
		l := newLab(t)
		l.config.Sysfs = t.TempDir()
		dir := filepath.Join(l.config.Sysfs, "class", "net", "c1pf0vf3")
		must(t, os.MkdirAll(dir, 0o750))
		ifindex := l.port(function).Ifindex
		must(t, os.WriteFile(filepath.Join(dir, "ifindex"), fmt.Appendln(nil, ifindex+100), 0o600))
		l.start()
		l.server.order(wanted, plugVF("port-2", 1, hostMAC(0, 0), 2))
		l.server.wantReason("port-1", wire.Waiting, "c1pf0vf3 is not the representor any more")
		l.server.wantStatus("port-2", 1, wire.Plugged)
		l.wantUnplugged("port-1")
		must(t, os.WriteFile(filepath.Join(dir, "ifindex"), fmt.Appendln(nil, ifindex), 0o600))
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("two representors that change names", func(t *testing.T) {
		l := newLab(t)
		l.start()
		other := plugVF("port-2", 1, hostMAC(0, 0), 2)
		l.server.order(wanted, other)
		l.server.wantStatus("port-2", 1, wire.Plugged)
		otherID := devlinksim.FunctionPort(pf(1, 0).VF(2), "").ID
		l.kernel.Overflow(func() {
			l.kernel.Rename(id, "c1pf0vf2")
			l.kernel.Rename(otherID, "c1pf0vf3")
		})
		l.server.until("changed names", func() bool {
			return l.server.status["port-1"].Representor == "c1pf0vf2" && l.server.status["port-2"].Representor == "c1pf0vf3"
		})
		l.wantPlugged("port-1", "c1pf0vf2", 1)
		l.wantPlugged("port-2", "c1pf0vf3", 1)
	})
	t.Run("lost events", func(t *testing.T) {
		l := newLab(t)
		l.kernel.RemovePort(id)
		l.start()
		l.server.order(wanted)
		l.server.wantStatus("port-1", 1, wire.Waiting)
		l.kernel.Overflow(func() { l.kernel.SetPort(devlinksim.FunctionPort(function, "c1pf0vf3")) })
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("a VF that is announced before its PF", func(t *testing.T) {
		l := newLab(t)
		l.kernel.RemoveDevice(id.Handle)
		l.start()
		l.server.order(wanted)
		l.server.wantReason("port-1", wire.Failed, "no host that this card serves")
		l.kernel.SetPort(devlinksim.FunctionPort(function, "c1pf0vf3"))
		port := devlinksim.FunctionPort(pf(1, 0), "c1pf0")
		port.HWAddr = hostMAC(0, 0)
		l.kernel.SetPort(port)
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("a VF that vanishes is unplugged, and plugged when it is back", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(wanted)
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.kernel.RemovePort(id)
		l.server.wantReason("port-1", wire.Waiting, "the representor")
		l.wantUnplugged("port-1") // else whoever gets the name is on the port
		l.kernel.SetPort(devlinksim.FunctionPort(function, "c1pf0vf3"))
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
}

func TestGapSerialNumbers(t *testing.T) {
	t.Parallel()
	t.Run("the board's serial number names the card", func(t *testing.T) {
		l := newLab(t)
		l.start()
		r := l.server.report("two PFs", func(r *wire.DPUReport) bool { return len(r.Controllers) == 1 && len(r.Controllers[0].PFs) == 2 })
		if r.Serial != serial || r.Source != "devlink" || r.PartNumber != "900-9D3B6-00CV-A" || r.Chassis != "dpu1.example" ||
			r.SystemID != "chassis-dpu1" || len(r.Problems) != 0 || len(r.Uplinks) != 2 || r.Uplinks[1].Netdev != "p1" || r.Uplinks[1].Number != 1 {
			t.Errorf("the report is %+v", r)
		}
	})
	t.Run("a placeholder names no card", func(t *testing.T) {
		l := newLabOf(t, devlinksim.Card{Serial: "N/A", VFs: 1, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0)}}})
		log := l.keepLog()
		l.start()
		log.until(t, "is a placeholder")
		l.config.Serial = serial
		l.start()
		if r := l.server.report("a serial number", func(*wire.DPUReport) bool { return true }); r.Serial != serial || r.Source != "config" || len(r.Problems) != 0 {
			t.Errorf("the report is %+v", r)
		}
	})
	t.Run("two cards in one Linux are not told apart by guessing", func(t *testing.T) {
		l := newLabOf(t, devlinksim.Card{Serial: serial, VFs: 1, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0)}}},
			devlinksim.Card{Serial: "MT2113X00043", Address: "0000:04:00", VFs: 1, Hosts: [][]net.HardwareAddr{{hostMAC(1, 0)}}})
		log := l.keepLog()
		l.start()
		log.until(t, "two cards are seen here, MT2113X00042 and MT2113X00043")
	})
	t.Run("a configured serial number that contradicts the card is told", func(t *testing.T) {
		l := newLab(t)
		l.config.Serial = " MT9999X00001 "
		l.start()
		r := l.server.report("a serial number", func(*wire.DPUReport) bool { return true })
		if r.Serial != "MT9999X00001" || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "(devlink) is "+serial) {
			t.Errorf("the report is %+v", r)
		}
	})
	t.Run("a driver that tells nothing leaves the VPD", func(t *testing.T) {
		l := newLabOf(t, devlinksim.Card{VFs: 1, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0)}}})
		l.config.Sysfs = vpdTree(t, 3, "MT2113X00077")
		l.start()
		r := l.server.report("a serial number", func(*wire.DPUReport) bool { return true })
		if r.Serial != "MT2113X00077" || r.Source != "vpd" || r.UUID == "" || r.PartNumber == "" {
			t.Errorf("the report is %+v", r)
		}
	})
	t.Run("a card whose driver comes later", func(t *testing.T) {
		l := newLabOf(t)
		log := l.keepLog()
		l.start()
		log.until(t, "no instance tells a board's serial number")
		l.kernel.AddCard(devlinksim.Card{Serial: serial, VFs: 1, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0)}}})
		l.server.report("its serial number", func(r *wire.DPUReport) bool { return r.Serial == serial })
	})
}

func TestGapSerialSetByHand(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cmsOptions("enable-chassis-as-gw")
	l.start()
	l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
	l.server.wantStatus("port-1", 1, wire.Plugged)
	if got := l.identity().CMSOptions; !slices.Equal(got, []string{"enable-chassis-as-gw"}) {
		t.Errorf("without need ovn-cms-options became %v", got)
	}
	byOVN := plugVF("port-2", 1, hostMAC(0, 0), 1)
	byOVN.ByOVN = true
	l.server.order(byOVN)
	want := []string{"enable-chassis-as-gw", "card-serial-number=" + serial}
	l.until("the serial number in ovn-cms-options", func() bool { return slices.Equal(l.identity().CMSOptions, want) })

	asked := newLab(t)
	asked.cmsOptions("a,b")
	asked.config.AnnounceSerial = true
	asked.start()
	asked.until("the serial number in ovn-cms-options", func() bool {
		return slices.Equal(asked.identity().CMSOptions, []string{"a", "b", "card-serial-number=" + serial})
	})
}

func TestGapLiveness(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.server.interval = 10 * time.Millisecond
	l.start()
	l.server.until("heartbeats", func() bool { return l.server.beats > 3 })
	l.server.do(func() { l.server.stale = true })
	l.server.until("a second report", func() bool { return len(l.server.reports) > 1 })
	before := l.server.count()
	l.kernel.SetPort(devlinksim.FunctionPort(pf(1, 0).VF(9), "c1pf0vf9"))
	r := l.server.report("the new VF", func(r *wire.DPUReport) bool { return r.Controllers[0].PFs[0].VFs == 5 })
	beats := l.server.countBeats()
	l.server.until("more heartbeats", func() bool { return l.server.beats > beats+2 })
	if n := l.server.count() - before; n != 1 {
		t.Errorf("%d reports of the change, the last is %+v", n, r)
	}
}

func TestGapAddressOfTheFunction(t *testing.T) {
	t.Parallel()
	t.Run("the VF has the port's address before it is plugged", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		if p := l.port(pf(1, 0).VF(0)); p.HWAddr.String() != "fa:16:3e:00:00:01" {
			t.Errorf("the VF's address is %s", p.HWAddr)
		}
	})
	t.Run("a kernel that does not let the card set it is no failure", func(t *testing.T) {
		l := newLab(t)
		attempts := l.refuseAddresses()
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		if status := l.server.wantStatus("port-1", 1, wire.Plugged); !strings.Contains(status.Reason, "operation not supported") {
			t.Errorf("the status is %+v", status)
		}
		l.server.order(plugVF("port-2", 1, hostMAC(0, 0), 1))
		l.server.wantStatus("port-2", 1, wire.Plugged)
		if n := attempts.Load(); n != 2 {
			t.Errorf("the kernel was asked %d times for two functions", n)
		}
	})
	t.Run("an address that is none is told and not set", func(t *testing.T) {
		l := newLab(t)
		l.start()
		o := plugVF("port-1", 1, hostMAC(0, 0), 0)
		o.MAC = "blue"
		l.server.order(o)
		if status := l.server.wantStatus("port-1", 1, wire.Plugged); !strings.Contains(status.Reason, `"blue" is no Ethernet address`) {
			t.Errorf("the status is %+v", status)
		}
	})
}

func TestGapChangedOrders(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	for i, change := range []func(*wire.Order){
		func(o *wire.Order) {},
		func(o *wire.Order) { o.Number = 2 },
		func(o *wire.Order) { o.PFMAC = hostMAC(0, 1).String() },
		func(o *wire.Order) { o.MTU = 8942 },
		func(o *wire.Order) {},
	} {
		o := plugVF("port-1", int64(i+1), hostMAC(0, 0), 0)
		change(&o)
		l.server.order(o)
		status := l.server.wantStatus("port-1", o.Generation, wire.Plugged)
		l.wantPlugged("port-1", status.Representor, o.Generation)
		if mtu := l.mtu(status.Representor); mtu != o.MTU {
			t.Errorf("generation %d: MTU %d, want %d", o.Generation, mtu, o.MTU)
		}
	}
	l.server.order(plugVF("port-1", 9, hostMAC(0, 0), 77))
	l.server.wantStatus("port-1", 9, wire.Waiting)
	l.wantUnplugged("port-1") // and not still up on the function of an older order
}

func TestWhatOthersPluggedIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, device, port string
	}{
		{"the representor", "c1pf0vf0", "somebody-else"},
		{"an interface of the same port", "tap0", "port-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			others, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: l.vswitch.Endpoint(), Owner: "others"})
			must(t, err)
			t.Cleanup(func() { _ = others.Close() })
			must(t, others.Ready(t.Context()))
			_, err = others.Plug(t.Context(), ovsdb.Attachment{Bridge: "br-int", Interface: tt.device, IfaceID: tt.port})
			must(t, err)
			l.start()
			o := plugVF("port-1", 1, hostMAC(0, 0), 0)
			l.server.order(o, plugVF("port-2", 1, hostMAC(0, 0), 1))
			l.server.wantReason("port-1", wire.Failed, tt.device, "riser-owner others", "left alone")
			l.server.wantStatus("port-2", 1, wire.Plugged)
			if got := l.rows()[tt.port]; got.name != tt.device || got.owner != "others" {
				t.Errorf("the interface became %+v", got)
			}
			_, err = others.Unplug(t.Context(), tt.port, 0)
			must(t, err)
			l.server.wantStatus("port-1", 1, wire.Plugged)
		})
	}
}

func TestAFunctionIsNotFreeWhileSomebodyElseHasThePort(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	others, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: l.vswitch.Endpoint(), Owner: "others"})
	must(t, err)
	t.Cleanup(func() { _ = others.Close() })
	must(t, others.Ready(t.Context()))
	_, err = others.Plug(t.Context(), ovsdb.Attachment{Bridge: "br-int", Interface: "c1pf0vf0", IfaceID: "port-1"})
	must(t, err)
	l.start()
	l.server.order(unplug(plugVF("port-1", 1, hostMAC(0, 0), 0), 2))
	l.server.wantReason("port-1", wire.Failed, "c1pf0vf0", "left alone")
	_, err = others.Unplug(t.Context(), "port-1", 0)
	must(t, err)
	l.server.wantStatus("port-1", 2, wire.Unplugged)
}

func TestAPFWhoseAddressIsUnknownForAWhileLosesNoPort(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.config.Sysfs = filepath.Join(t.TempDir(), "sys")
	l.start()
	l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
	l.server.wantStatus("port-1", 1, wire.Plugged)
	port := l.port(pf(1, 0))
	known := port.HWAddr
	port.HWAddr = make(net.HardwareAddr, 6)
	l.kernel.SetPort(port)
	l.server.wantReason("port-1", wire.Waiting, "address unknown")
	l.wantPlugged("port-1", "c1pf0vf0", 1)
	l.server.report("the trouble", func(r *wire.DPUReport) bool {
		return len(r.Problems) == 1 && strings.Contains(r.Problems[0], "the address of the PF is unknown") && len(r.Controllers[0].PFs) == 1
	})
	port.HWAddr = known
	l.kernel.SetPort(port)
	l.server.wantStatus("port-1", 1, wire.Plugged)
}
