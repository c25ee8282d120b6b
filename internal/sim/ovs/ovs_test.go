package ovs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	db "github.com/ovn-kubernetes/libovsdb/ovsdb"
	"go.uber.org/goleak"

	"github.com/riser-project/riser/internal/sim/ovs"
	"github.com/riser-project/riser/ovsdb"
)

const anyPort = "tcp:127.0.0.1:0"

type lab struct {
	t   *testing.T
	ovn *ovs.OVN
	sim *ovs.Switch
	sw  *ovsdb.Switch
	nb  *ovsdb.Northbound
}

func start(t *testing.T, cfg ovs.SwitchConfig) *lab {
	t.Helper()
	cfg.Endpoint = anyPort
	sim, err := ovs.StartSwitch(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	ovn, err := ovs.StartOVN(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ovn.Close() })
	if err := ovn.AddChassis(sim); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, ovn: ovn, sim: sim}
	if l.sw, err = ovsdb.OpenSwitch(ovsdb.Config{Endpoint: sim.Endpoint()}); err != nil {
		t.Fatal(err)
	}
	if l.nb, err = ovsdb.OpenNorthbound(ovsdb.Config{Endpoint: ovn.Endpoint()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = l.sw.Close(), l.nb.Close() })
	for _, c := range []interface{ Ready(context.Context) error }{l.sw, l.nb} {
		if err := c.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.nb.SetSwitch(t.Context(), ovsdb.LogicalSwitch{Name: "net-1"}); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lab) port(name string, options map[string]string) {
	l.t.Helper()
	if _, err := l.nb.SetPort(l.t.Context(), ovsdb.LogicalPort{Name: name, Switch: "net-1", Options: options}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) plug(a ovsdb.Attachment) {
	l.t.Helper()
	if a.Bridge == "" {
		a.Bridge = "br-int"
	}
	if _, err := l.sw.Plug(l.t.Context(), a); err != nil {
		l.t.Fatal(err)
	}
}

// await waits until ok; the simulators act in goroutines of their own.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func (l *lab) up(name string) func() bool {
	return func() bool {
		p, err := l.nb.Port(name)
		return err == nil && p.Up
	}
}

func TestWhatAChassisDoesNotClaim(t *testing.T) {
	l := start(t, ovs.SwitchConfig{SystemID: "chassis-dpu1", Hostname: "dpu1", Bridges: []string{"br-int", "br-ex"}})
	on := func(chassis string, more ...string) map[string]string {
		o := map[string]string{"requested-chassis": chassis}
		for i := 0; i < len(more); i += 2 {
			o[more[i]] = more[i+1]
		}
		return o
	}
	l.port("elsewhere", on("dpu2"))
	l.plug(ovsdb.Attachment{Interface: "r1", IfaceID: "elsewhere"})
	l.port("other-bridge", on("dpu1"))
	l.plug(ovsdb.Attachment{Bridge: "br-ex", Interface: "r2", IfaceID: "other-bridge"})
	l.port("other-version", on("dpu1", "iface-id-ver", "v2"))
	l.plug(ovsdb.Attachment{Interface: "r3", IfaceID: "other-version", IfaceIDVer: "v1"})
	l.port("second-of-list", on("dpu2,dpu1"))
	l.plug(ovsdb.Attachment{Interface: "r4", IfaceID: "second-of-list"})
	l.port("anywhere", nil)
	l.plug(ovsdb.Attachment{Interface: "r5", IfaceID: "anywhere"})
	l.port("same-version", on("chassis-dpu1", "iface-id-ver", "v2"))
	l.plug(ovsdb.Attachment{Interface: "r6", IfaceID: "same-version", IfaceIDVer: "v2"})
	l.port("first-of-list", on("dpu1,dpu2"))
	l.plug(ovsdb.Attachment{Interface: "r7", IfaceID: "first-of-list"})
	for _, name := range []string{"anywhere", "same-version", "first-of-list"} {
		await(t, name+" up", l.up(name))
	}
	for _, name := range []string{"elsewhere", "other-bridge", "other-version", "second-of-list"} {
		if l.up(name)() {
			t.Errorf("%s is up", name)
		}
	}
	rows, err := l.ovn.Rows("Logical_Switch_Port", ovs.Row{"name": "elsewhere"})
	if err != nil || len(rows) != 1 || rows[0]["up"] != false {
		t.Errorf("northd says nothing of a port that is not up: %v, %v", rows, err)
	}
}

func TestAnInterfaceThatWasThereBeforeItsPortIsClaimed(t *testing.T) {
	l := start(t, ovs.SwitchConfig{SystemID: "chassis-dpu1", Hostname: "dpu1"})
	l.plug(ovsdb.Attachment{Interface: "r1", IfaceID: "p"})
	l.port("p", map[string]string{"requested-chassis": "dpu1"})
	await(t, "up", l.up("p"))
}

func TestADeviceThatIsNotThereIsAnErrorUntilItIs(t *testing.T) {
	var there atomic.Bool
	l := start(t, ovs.SwitchConfig{Netdev: func(string) bool { return there.Load() }})
	l.plug(ovsdb.Attachment{Interface: "pf0vf3", IfaceID: "p"})
	one := func() ovsdb.Interface {
		list, err := l.sw.Interfaces()
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0]
	}
	await(t, "the error", func() bool { return one().OFPort == -1 })
	if i := one(); !strings.Contains(i.Error, "could not open network device pf0vf3") || i.LinkUp {
		t.Errorf("%+v", i)
	}
	there.Store(true)
	if err := l.sim.SyncNetdevs(); err != nil {
		t.Fatal(err)
	}
	await(t, "the port number", func() bool { return one().OFPort > 0 })
	if i := one(); i.Error != "" || !i.LinkUp {
		t.Errorf("%+v", i)
	}
	there.Store(false)
	if err := l.sim.SyncNetdevs(); err != nil {
		t.Fatal(err)
	}
	await(t, "the error again", func() bool { return one().OFPort == -1 })
}

func TestServersEndAndStartAgain(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := t.TempDir()
	endpoint := "unix:" + filepath.Join(dir, "db.sock")
	s, err := ovs.StartSwitch(ovs.SwitchConfig{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	if s.Endpoint() != endpoint {
		t.Errorf("endpoint %s, want %s", s.Endpoint(), endpoint)
	}
	if err := s.Listen(endpoint); err == nil {
		t.Error("it listens twice")
	}
	for range 3 {
		nc, err := net.Dial("unix", filepath.Join(dir, "db.sock"))
		if err != nil {
			t.Fatal(err)
		}
		await(t, "the connection", func() bool { return s.Connections() == 1 })
		s.Freeze()
		s.Stop()
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections after Stop", n)
		}
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Error("the connection was not closed")
		}
		_ = nc.Close()
		if err := s.Listen(""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
	for _, bad := range []string{"", "ssl:127.0.0.1:1", "unix:/does/not/exist/db.sock", "tcp:256.0.0.1:1"} {
		if _, err := ovs.StartNorthbound(bad); err == nil {
			t.Errorf("it listens at %q", bad)
		}
	}
}

func TestWhatTheServerDoesNotKnowIsAnError(t *testing.T) {
	s, err := ovs.StartNorthbound(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nc, err := net.Dial("tcp", strings.TrimPrefix(s.Endpoint(), "tcp:"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answers := json.NewDecoder(nc)
	ask := func(method, params string) (result string, failed bool) {
		t.Helper()
		if _, err := fmt.Fprintf(nc, `{"method":%q,"params":%s,"id":1}`, method, params); err != nil {
			t.Fatal(err)
		}
		var m struct {
			Result json.RawMessage
			Error  any
		}
		if err := answers.Decode(&m); err != nil {
			t.Fatal(err)
		}
		return string(m.Result), m.Error != nil
	}
	for _, tt := range []struct{ method, params string }{
		{"steal", `["x"]`}, {"get_schema", `["Other"]`}, {"transact", `["Other"]`}, {"transact", `[]`}, {"monitor_cond", `["OVN_Northbound"]`},
		{"monitor_cond", `["OVN_Northbound","m",{"None":[{}]}]`}, {"transact", `["OVN_Northbound",{"op":"select","table":"None","where":[]}]`},
	} {
		if result, failed := ask(tt.method, tt.params); !failed {
			t.Errorf("%s %s: %s", tt.method, tt.params, result)
		}
	}
	for _, tt := range []struct{ method, params, want string }{
		{"list_dbs", `[]`, `["OVN_Northbound"]`}, {"echo", `["hello"]`, `["hello"]`},
		{"transact", `["OVN_Northbound",{"op":"comment","comment":"hello"},{"op":"select","table":"NB_Global","where":[],"columns":["name","nb_cfg"]}]`,
			`[{},{"rows":[{"name":"riser-sim","nb_cfg":0}]}]`},
		{"transact", `["OVN_Northbound",{"op":"wait","table":"NB_Global","where":[],"columns":["nb_cfg"],"until":"==","rows":[{"nb_cfg":1}],"timeout":0},{"op":"delete","table":"NB_Global","where":[]}]`,
			`[{"details":"\"wait\" on NB_Global timed out","error":"timed out"},null]`},
	} {
		if got, failed := ask(tt.method, tt.params); failed || got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.method, tt.params, got, tt.want)
		}
	}
	if err := s.Transact(db.Operation{Op: "insert", Table: "None"}); err == nil {
		t.Error("a table that is not there was written")
	}
	if err := s.Transact(db.Operation{Op: "update", Table: "NB_Global", Row: db.Row{"name": 7}}); err == nil {
		t.Error("a number was taken for a name")
	}
	if _, err := s.Rows("None", nil); err == nil {
		t.Error("a table that is not there was read")
	}
}
