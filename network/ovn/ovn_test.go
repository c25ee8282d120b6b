package ovn_test

import (
	"testing"
	"time"

	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/network/networktest"
	"github.com/riser-project/riser/network/ovn"
	"github.com/riser-project/riser/ovsdb"
)

// anyPort is an endpoint at a port that nobody uses.
const anyPort = "tcp:127.0.0.1:0"

// lab is an OVN with two cards, and a backend on it.
type lab struct {
	ovn     *ovs.OVN
	cards   map[string]*ovsdb.Switch // by host name
	backend *ovn.Backend
	nb      *ovsdb.Northbound // what others may write
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func closed(t testing.TB, c interface{ Close() error }) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{cards: map[string]*ovsdb.Switch{}}
	var switches []*ovs.Switch
	for _, name := range []string{"dpu1", "dpu2"} {
		s, err := ovs.StartSwitch(ovs.SwitchConfig{Endpoint: anyPort, SystemID: "system-" + name, Hostname: name})
		must(t, err)
		closed(t, s)
		switches = append(switches, s)
		card, err := ovsdb.OpenSwitch(ovsdb.Config{Endpoint: s.Endpoint()})
		must(t, err)
		closed(t, card)
		must(t, card.Ready(t.Context()))
		l.cards[name] = card
	}
	var err error
	l.ovn, err = ovs.StartOVN(anyPort)
	must(t, err)
	closed(t, l.ovn)
	for _, s := range switches {
		must(t, l.ovn.AddChassis(s))
	}
	l.backend = open(t, l.ovn.Endpoint())
	l.nb, err = ovsdb.OpenNorthbound(ovsdb.Config{Endpoint: l.ovn.Endpoint()})
	must(t, err)
	closed(t, l.nb)
	must(t, l.nb.Ready(t.Context()))
	return l
}

// open returns a backend that is connected.
func open(t testing.TB, endpoint string) *ovn.Backend {
	t.Helper()
	b, err := ovn.Open(ovn.Options{Endpoint: endpoint})
	must(t, err)
	closed(t, b)
	until(t, "the backend is healthy", func() bool { return b.Healthy() == nil })
	return b
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// options returns the options of a port in the database.
func (l *lab) options(t testing.TB, id string) map[string]string {
	t.Helper()
	rows, err := l.ovn.Rows("Logical_Switch_Port", ovs.Row{"name": id})
	must(t, err)
	if len(rows) != 1 {
		t.Fatalf("%d rows of port %s", len(rows), id)
	}
	return rows[0].Map("options")
}

// setUp plugs a port on the chassis that it requests, or takes it out there.
func (l *lab) setUp(t *testing.T, id string, up bool) {
	t.Helper()
	options := l.options(t, id)
	card := l.cards[options["requested-chassis"]]
	if card == nil {
		t.Fatalf("port %s is not bound to a card: %v", id, options)
	}
	if !up {
		_, err := card.Unplug(t.Context(), id, ovsdb.AnyGeneration)
		must(t, err)
		return
	}
	_, err := card.Plug(t.Context(), ovsdb.Attachment{Bridge: "br-int", Interface: "rep-" + id[len(id)-2:], IfaceID: id, IfaceIDVer: options["iface-id-ver"]})
	must(t, err)
}

func TestContract(t *testing.T) {
	networktest.Run(t, func(t *testing.T) networktest.Harness {
		l := newLab(t)
		return networktest.Harness{Backend: l.backend, SetUp: l.setUp}
	})
}
