package ovsdb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/riser-project/riser/ovsdb"
)

// lab is OVN with the chassis dpu1.example (system-id chassis-dpu1) and dpu2.example (chassis-dpu2), each with br-int.
type lab struct {
	northbound string
	dpu1, dpu2 string
}

// ovnSuite is what OVN, the real one and the simulated one, makes of the rows that riser writes.
var ovnSuite = suite[*bench]{
	{"a port goes up on the chassis that is named by host name, and down when it is unplugged", func(t *testing.T, b *bench) {
		b.port("up1", 1, "dpu1.example")
		b.plug(b.dpu1, "rep-up1", "up1", 1)
		b.wait("up1", 1, true)
		b.installed(b.dpu1, "up1", true)
		b.unplug(b.dpu1, "up1", 2)
		b.wait("up1", 1, false)
	}},
	{"a port goes up on the chassis that is named by system-id", func(_ *testing.T, b *bench) {
		b.port("up2", 1, "chassis-dpu2")
		b.plug(b.dpu2, "rep-up2", "up2", 1)
		b.wait("up2", 1, true)
	}},
	{"an interface on the wrong chassis is not claimed", func(_ *testing.T, b *bench) {
		b.port("wrong", 1, "dpu1.example")
		b.plug(b.dpu2, "rep-wrong", "wrong", 1)
		b.port("after", 1, "dpu2.example")
		b.plug(b.dpu2, "rep-after", "after", 1)
		b.wait("after", 1, true) // so the chassis has had its turn
		b.is("wrong", false)
		b.installed(b.dpu2, "wrong", false)
		b.port("wrong", 2, "dpu2.example")
		b.wait("wrong", 2, true)
	}},
	{"a representor that goes to another port takes the link with it", func(_ *testing.T, b *bench) {
		b.port("from", 1, "dpu1.example")
		b.port("to", 1, "dpu1.example")
		b.plug(b.dpu1, "rep-hand", "from", 1)
		b.wait("from", 1, true)
		a := attach("rep-hand", "to", 1)
		a.Replaces = "from"
		mustPlug(b.t, b.dpu1, a)
		b.wait("to", 1, true)
		b.wait("from", 1, false)
		b.installed(b.dpu1, "to", true)
	}},
	{"a port that moves to another representor comes up again", func(_ *testing.T, b *bench) {
		b.port("move", 1, "dpu1.example")
		b.plug(b.dpu1, "rep-move1", "move", 1)
		b.wait("move", 1, true)
		b.plug(b.dpu1, "rep-move2", "move", 2)
		b.installed(b.dpu1, "move", true)
		b.wait("move", 1, true)
	}},
	{"a deleted port is gone and its interface is not claimed any more", func(t *testing.T, b *bench) {
		b.port("gone", 1, "dpu1.example")
		b.plug(b.dpu1, "rep-gone", "gone", 1)
		b.wait("gone", 1, true)
		if _, err := b.nb.DeletePort(t.Context(), "gone", 1); err != nil {
			t.Fatal(err)
		}
		b.installed(b.dpu1, "gone", false)
	}},
}

// bench holds connections to a lab.
type bench struct {
	t          *testing.T
	nb         *ovsdb.Northbound
	dpu1, dpu2 *ovsdb.Switch
}

func runOVNSuite(t *testing.T, l lab) {
	b := &bench{t: t, nb: openNorthbound(t, l.northbound), dpu1: openSwitch(t, l.dpu1), dpu2: openSwitch(t, l.dpu2)}
	set(t, b.nb.SetSwitch, ovsdb.LogicalSwitch{Name: "net-1"}, true)
	ovnSuite.run(t, func(t *testing.T) *bench {
		b.t = t
		return b
	})
}

func (b *bench) port(name string, generation int64, chassis string) {
	b.t.Helper()
	set(b.t, b.nb.SetPort, ovsdb.LogicalPort{
		Name: name, Switch: "net-1", Generation: generation, Addresses: []string{"unknown"},
		Options: map[string]string{ovsdb.OptionRequestedChassis: chassis},
	}, true)
}

func (b *bench) plug(s *ovsdb.Switch, name, port string, generation int64) {
	b.t.Helper()
	mustPlug(b.t, s, attach(name, port, generation))
}

func (b *bench) unplug(s *ovsdb.Switch, port string, generation int64) {
	b.t.Helper()
	if _, err := s.Unplug(b.t.Context(), port, generation); err != nil {
		b.t.Fatal(err)
	}
}

// wait watches until a port is up or down.
func (b *bench) wait(name string, generation int64, up bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	var last ovsdb.PortEvent
	err := b.nb.WatchPorts(ctx, func(e ovsdb.PortEvent) {
		if e.Name == name {
			if last = e; e.Up == up && e.Generation == generation {
				cancel()
			}
		}
	})
	if !errors.Is(err, context.Canceled) {
		b.t.Fatalf("port %s: %v; last seen %+v, want generation %d, up %v", name, err, last, generation, up)
	}
}

func (b *bench) is(name string, up bool) {
	b.t.Helper()
	if p, err := b.nb.Port(name); err != nil || p.Up != up {
		b.t.Errorf("port %s: up %v, %v; want %v", name, p.Up, err, up)
	}
}

func (b *bench) installed(s *ovsdb.Switch, port string, want bool) {
	b.t.Helper()
	until(b.t, s, "port "+port+" installed", func(ovsdb.Health) bool {
		list, err := s.Interfaces()
		if err != nil {
			b.t.Fatal(err)
		}
		for _, i := range list {
			if i.IfaceID == port {
				return i.Installed == want
			}
		}
		return !want
	})
}
