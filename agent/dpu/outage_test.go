package dpu_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mdlayher/genetlink"

	"github.com/riser-project/riser/agent/dpu"
	"github.com/riser-project/riser/agent/wire"
	"github.com/riser-project/riser/internal/sim/devlinksim"
)

func TestSettingsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]dpu.Config{
		`want a URL such as`:                         {Server: "riser.example:6385", OVSDB: "unix:/run/db.sock"},
		`the endpoint of Open vSwitch's database is`: {Server: "http://riser.example"},
		`want unix:/absolute/path or tcp:host:port`:  {Server: "http://riser.example", OVSDB: "/run/db.sock"},
		`configured serial number "None" is a`:       {Server: "http://riser.example", OVSDB: "unix:/run/db.sock", Serial: "None"},
	} {
		if err := dpu.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v, want %q", c, err, name)
		}
	}
}

func TestTheServerIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	away := func(code int) func(string) (int, string) {
		return func(string) (int, string) { return code, "not now" }
	}
	t.Run("at the start", func(t *testing.T) {
		l := newLab(t)
		l.server.refuse = away(503)
		log := l.keepLog()
		l.start()
		log.until(t, "the server answers 503 Service Unavailable: not now")
		l.server.do(func() { l.server.refuse = nil })
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("no orders are asked for before it took a report", func(t *testing.T) {
		l := newLab(t)
		tries := 0
		l.server.refuse = func(what string) (int, string) {
			if what != "report" {
				return 0, ""
			}
			tries++
			return 503, "not now"
		}
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.start()
		l.server.until("two tries", func() bool { return tries == 2 })
		l.server.do(func() {
			if l.server.polls != 0 {
				t.Errorf("%d requests for orders", l.server.polls)
			}
			l.server.refuse = nil
		})
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("a status is sent once it is back", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0), plugVF("port-2", 1, hostMAC(0, 0), 9))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.server.wantStatus("port-2", 1, wire.Waiting)
		tried := 0
		l.server.do(func() {
			l.server.refuse = func(what string) (int, string) {
				if what == "status" {
					tried++
				}
				return 500, ""
			}
		})
		l.kernel.RemovePort(devlinksim.FunctionPort(pf(1, 0).VF(0), "").ID)
		l.kernel.SetPort(devlinksim.FunctionPort(pf(1, 0).VF(9), "c1pf0vf9"))
		l.until("the plug, and an attempt to tell of it", func() bool {
			l.server.mu.Lock()
			defer l.server.mu.Unlock()
			return tried > 0 && l.rows()["port-2"].name == "c1pf0vf9"
		})
		l.server.do(func() { l.server.refuse = nil })
		l.server.wantStatus("port-1", 1, wire.Waiting)
		l.server.wantStatus("port-2", 1, wire.Plugged)
	})
	t.Run("nothing answers at all", func(t *testing.T) {
		l := newLab(t)
		var broken atomic.Bool
		broken.Store(true)
		l.config.Client = &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
			if broken.Load() {
				return nil, errors.New("connection refused")
			}
			return http.DefaultTransport.RoundTrip(r)
		})}
		log := l.keepLog()
		l.start()
		log.until(t, "connection refused")
		broken.Store(false)
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("it has forgotten everything", func(t *testing.T) {
		l := newLab(t)
		l.server.interval = 50e6
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.server.do(func() {
			clear(l.server.status)
			l.server.stale = true
		})
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("it is back with an older database", func(t *testing.T) {
		l := newLab(t)
		l.start()
		old := plugVF("port-1", 1, hostMAC(0, 0), 0)
		l.server.order(old)
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.server.order(plugVF("port-1", 3, hostMAC(0, 0), 1), plugVF("port-2", 1, hostMAC(0, 0), 2))
		l.server.wantStatus("port-1", 3, wire.Plugged)
		l.server.wantStatus("port-2", 1, wire.Plugged)
		l.server.do(func() {
			l.server.revision, l.server.given = 0, map[string]int64{}
			clear(l.server.orders)
			clear(l.server.status)
		})
		l.server.order(old)
		l.server.wantStatus("port-1", 3, wire.Plugged) // which says that an order above 3 is needed
		l.wantPlugged("port-1", "c1pf0vf1", 3)
		l.until("port-2 unplugged", func() bool { return l.rows()["port-2"] == row{} })
	})
	t.Run("one status that it does not take keeps up no other", func(t *testing.T) {
		l := newLab(t)
		l.server.bad = "port-1"
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0), plugVF("port-2", 1, hostMAC(0, 0), 1), plugVF("port-3", 1, hostMAC(0, 0), 9))
		l.server.wantStatus("port-2", 1, wire.Plugged)
		l.server.wantStatus("port-3", 1, wire.Waiting)
	})
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOpenVSwitchIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	t.Run("at the start", func(t *testing.T) {
		l := newLab(t)
		l.vswitch.Stop()
		log := l.keepLog()
		l.start()
		log.until(t, "not connected to the OVSDB server")
		must(t, l.vswitch.Listen(""))
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("orders wait and are carried out when it is back", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		for i := range int64(5) {
			l.vswitch.Stop()
			l.server.order(plugVF("port-1", i+2, hostMAC(0, 0), int(i)%4))
			l.server.wantReason("port-1", wire.Waiting, "Open vSwitch of the card")
			must(t, l.vswitch.Listen(""))
			l.server.wantStatus("port-1", i+2, wire.Plugged)
			l.wantPlugged("port-1", fmt.Sprintf("c1pf0vf%d", i%4), i+2)
		}
	})
	t.Run("it has no integration bridge yet", func(t *testing.T) {
		l := newLab(t)
		l.config.Bridge = "br-late"
		l.start()
		l.server.report("the trouble", func(r *wire.DPUReport) bool {
			return len(r.Problems) == 1 && r.Problems[0] == "Open vSwitch has no bridge br-late"
		})
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantReason("port-1", wire.Waiting, "bridge br-late")
		l.addBridge("br-late")
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.server.report("no trouble", func(r *wire.DPUReport) bool { return len(r.Problems) == 0 })
	})
	t.Run("somebody takes out what was plugged", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		before := l.uuid("c1pf0vf0")
		_, err := l.twin().Unplug(t.Context(), "port-1", 1)
		must(t, err)
		l.until("the plug", func() bool {
			rows, err := l.vswitch.Rows("Interface", map[string]any{"name": "c1pf0vf0"})
			return err == nil && len(rows) == 1 && rows[0].UUID() != before
		})
	})
}

func TestManyFunctionsAreUsedAgainWhileTheSwitchRestarts(t *testing.T) {
	t.Parallel()
	l := newLabOf(t, devlinksim.Card{Serial: serial, VFs: 16, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0)}}})
	l.start()
	generation := int64(0)
	for round := range 10 {
		if round%3 == 1 {
			l.vswitch.Stop()
		}
		if round%4 == 2 {
			l.vswitch.DropConnections()
		}
		for range 5 {
			generation++
			var list []wire.Order
			for port := range 16 {
				list = append(list, plugVF(fmt.Sprintf("port-%d", port), generation, hostMAC(0, 0), (port+int(generation))%16))
			}
			l.server.order(list...)
		}
		if round%3 == 1 {
			must(t, l.vswitch.Listen(""))
		}
	}
	for port := range 16 {
		id := fmt.Sprintf("port-%d", port)
		l.server.wantStatus(id, generation, wire.Plugged)
		l.wantPlugged(id, fmt.Sprintf("c1pf0vf%d", (port+int(generation))%16), generation)
	}
	if rows := l.rows(); len(rows) != 16 {
		t.Errorf("%d ports are plugged: %v", len(rows), rows)
	}
	for port := range 16 {
		if id := fmt.Sprintf("port-%d", port); slices.Contains(l.server.ever(id), wire.Failed) {
			t.Errorf("port %s was said to have failed, and it had to wait: %s", id, l.server.history())
		}
	}
}

func TestDevlinkIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	t.Run("at the start", func(t *testing.T) {
		l := newLab(t)
		var broken atomic.Bool
		broken.Store(true)
		l.config.Devlink = func() (*genetlink.Conn, error) {
			if broken.Load() {
				return nil, errors.New("no buffer space")
			}
			return l.kernel.Dial()
		}
		l.config.Serial = serial
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantReason("port-1", wire.Waiting, "devlink, which cannot be read", "no buffer space")
		l.server.report("the trouble", func(r *wire.DPUReport) bool {
			return len(r.Problems) == 1 && strings.Contains(r.Problems[0], "no buffer space")
		})
		broken.Store(false)
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
	t.Run("a kernel without devlink takes nothing out", func(t *testing.T) {
		l := newLab(t)
		stop := l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		stop()
		unloaded := devlinksim.New()
		unloaded.Unload()
		l.config.Devlink, l.config.Serial = unloaded.Dial, serial
		l.start()
		l.server.wantReason("port-1", wire.Waiting, "no generic netlink family devlink")
		l.wantPlugged("port-1", "c1pf0vf0", 1)
	})
	t.Run("a driver that is unloaded takes nothing out, and nothing is plugged by what was there before", func(t *testing.T) {
		l := newLab(t)
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
		l.kernel.Unload()
		l.kernel.Overflow(nil)
		l.server.wantReason("port-1", wire.Waiting, "no generic netlink family devlink")
		l.server.order(plugVF("port-2", 1, hostMAC(0, 0), 1))
		l.server.wantReason("port-2", wire.Waiting, "no generic netlink family devlink")
		l.wantPlugged("port-1", "c1pf0vf0", 1)
		l.wantUnplugged("port-2")
	})
	t.Run("a dump that changes disturb is repeated", func(t *testing.T) {
		l := newLab(t)
		l.kernel.InterruptDumps(12)
		l.start()
		l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
		l.server.wantStatus("port-1", 1, wire.Plugged)
	})
}

func TestTheAgentRestarts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var before map[string]string
	for restart := range 5 {
		stop := l.start()
		if restart == 0 {
			for vf := range 4 {
				l.server.order(plugVF(fmt.Sprintf("port-%d", vf), 1, hostMAC(0, 0), vf))
			}
		}
		uuids := map[string]string{}
		for vf := range 4 {
			l.server.wantStatus(fmt.Sprintf("port-%d", vf), 1, wire.Plugged)
			name := fmt.Sprintf("c1pf0vf%d", vf)
			uuids[name] = l.uuid(name)
			if restart > 0 && uuids[name] != before[name] {
				t.Errorf("restart %d: interface %s was made anew", restart, name)
			}
		}
		before = uuids
		stop()
		l.server.do(func() { clear(l.server.status) })
	}
}

func TestTheCardRestarts(t *testing.T) {
	t.Parallel()
	card := devlinksim.Card{Serial: serial, VFs: 25, Hosts: [][]net.HardwareAddr{{hostMAC(0, 0)}}}
	l := newLabOf(t, card)
	stop := l.start()
	var list []wire.Order
	for vf := range 25 {
		list = append(list, plugVF(fmt.Sprintf("port-%d", vf), 1, hostMAC(0, 0), vf))
	}
	l.server.order(list...)
	for range 8 {
		for _, o := range list {
			l.server.wantStatus(o.Port, 1, wire.Plugged)
		}
		stop()
		l.kernel.RemoveDevice(pf(1, 0).Handle)
		l.server.do(func() { clear(l.server.status) })
		stop = l.start() // as a card that is up before its driver
		l.kernel.AddCard(card)
	}
	for _, o := range list {
		l.server.wantStatus(o.Port, 1, wire.Plugged)
		l.wantPlugged(o.Port, fmt.Sprintf("c1pf0vf%d", o.Number), 1)
	}
	if rows := l.rows(); len(rows) != 25 {
		t.Errorf("%d ports are plugged: %v", len(rows), rows)
	}
}

func TestASecondAgentTakesTheSwitchOver(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	log := l.keepLog()
	l.start()
	l.server.order(plugVF("port-1", 1, hostMAC(0, 0), 0))
	l.server.wantStatus("port-1", 1, wire.Plugged)
	rival := l.twin()
	must(t, rival.Claim(t.Context(), "rival"))
	l.server.order(plugVF("port-1", 2, hostMAC(0, 0), 1))
	log.until(t, "another agent works on this card")
	l.wantPlugged("port-1", "c1pf0vf0", 1)
	l.server.wantStatus("port-1", 2, wire.Plugged) // after the pause, with the orders of that time
	if _, err := rival.Unplug(context.Background(), "port-1", 9); err == nil {
		t.Error("the rival was not told that it has lost the switch")
	}
}

func TestTheAgentEndsWhateverItWaitsFor(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*lab){
		"for devlink to answer":      func(l *lab) { l.kernel.Hang() },
		"for Open vSwitch":           func(l *lab) { l.vswitch.Stop() },
		"for Open vSwitch to answer": func(l *lab) { l.vswitch.Freeze() },
		"for the server":             func(l *lab) { l.server.refuse = func(string) (int, string) { return 503, "" } },
		"for a serial number":        func(l *lab) { l.kernel.RemoveDevice(pf(1, 0).Handle); l.kernel.RemoveDevice(pf(1, 1).Handle) },
		"for orders":                 func(*lab) {},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			prepare(l)
			stop := l.start()
			stop()
		})
	}
}
