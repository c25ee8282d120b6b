//go:build integration

package ovn_test

import (
	"strings"
	"testing"

	real "github.com/riser-project/riser/internal/lab"
	"github.com/riser-project/riser/network"
	"github.com/riser-project/riser/network/networktest"
	"github.com/riser-project/riser/ovsdb"
)

// realLab is Debian's OVN with two cards.
type realLab struct {
	ovn   *real.OVN
	cards map[string]*ovsdb.Switch // by host name
	nb    *ovsdb.Northbound
}

func newRealLab(t *testing.T) *realLab {
	t.Helper()
	l := &realLab{ovn: real.StartOVN(t), cards: map[string]*ovsdb.Switch{}}
	for _, name := range []string{"dpu1", "dpu2"} {
		chassis := l.ovn.StartChassis(t, real.ChassisConfig{SystemID: "system-" + name, Hostname: name})
		card, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: chassis.Database})
		must(t, err)
		closed(t, card)
		must(t, card.Ready(t.Context()))
		l.cards[name] = card
	}
	var err error
	l.nb, err = ovsdb.OpenNorthbound(ovsdb.Config{Endpoint: l.ovn.Northbound})
	must(t, err)
	closed(t, l.nb)
	must(t, l.nb.Ready(t.Context()))
	return l
}

// empty removes what an earlier test left.
func (l *realLab) empty(t *testing.T) {
	t.Helper()
	for _, id := range strings.Fields(l.ovn.Nbctl(t, "--columns=_uuid", "--bare", "list", "Logical_Switch")) {
		l.ovn.Nbctl(t, "ls-del", id)
	}
	for _, card := range l.cards {
		list, err := card.Interfaces()
		must(t, err)
		for _, i := range list {
			_, err := card.Unplug(t.Context(), i.IfaceID, ovsdb.AnyGeneration)
			must(t, err)
		}
	}
}

// option reads an option of a port from the database itself, which a replica follows a moment later.
func (l *realLab) option(t *testing.T, id, key string) string {
	t.Helper()
	return strings.Trim(strings.TrimSpace(l.ovn.Nbctl(t, "--if-exists", "get", "Logical_Switch_Port", id, "options:"+key)), `"`)
}

// setUp plugs a port on the chassis that it requests, or takes it out there.
func (l *realLab) setUp(t *testing.T, id string, up bool) {
	t.Helper()
	card := l.cards[l.option(t, id, ovsdb.OptionRequestedChassis)]
	if card == nil {
		t.Fatalf("port %s is not bound to a card", id)
	}
	if !up {
		_, err := card.Unplug(t.Context(), id, ovsdb.AnyGeneration)
		must(t, err)
		return
	}
	_, err := card.Plug(t.Context(), ovsdb.Attachment{
		Bridge: "br-int", Interface: "rep-" + id[len(id)-2:], IfaceID: id, IfaceIDVer: l.option(t, id, ovsdb.OptionIfaceIDVer),
	})
	must(t, err)
}

func TestContractOnRealOVN(t *testing.T) {
	l := newRealLab(t)
	networktest.Run(t, func(t *testing.T) networktest.Harness {
		l.empty(t)
		return networktest.Harness{Backend: open(t, l.ovn.Northbound), SetUp: l.setUp}
	})
}

func TestRealOVNLetsGoOfAnUnboundPort(t *testing.T) {
	l := newRealLab(t)
	backend := open(t, l.ovn.Northbound)
	up := func(want bool) func() bool {
		return func() bool {
			p, err := l.nb.Port(portID)
			return err == nil && p.Up == want
		}
	}
	must(t, backend.EnsureNetwork(t.Context(), blue, []network.Subnet{sub4, sub6}))
	must(t, backend.EnsurePort(t.Context(), port, &bind))
	l.setUp(t, portID, true)
	until(t, "up", up(true))
	unbound := port
	unbound.Generation = 2
	must(t, backend.EnsurePort(t.Context(), unbound, nil))
	until(t, "down, though its representor is still plugged", up(false))

	bound := bind
	bound.Generation = 3
	must(t, backend.EnsurePort(t.Context(), port, &bound))
	until(t, "the binding is read", func() bool { p, err := l.nb.Port(portID); return err == nil && p.Generation == 3 })
	if up(true)() {
		t.Error("the representor of the first order is claimed for the third")
	}
	l.setUp(t, portID, true)
	until(t, "up", up(true))
}
