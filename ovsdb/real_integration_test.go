//go:build integration

package ovsdb_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/riser-project/riser/ovsdb"
)

// Files of Debian's packages openvswitch-switch and ovn-central.
const (
	switchSchema     = "/usr/share/openvswitch/vswitch.ovsschema"
	northboundSchema = "/usr/share/ovn/ovn-nb.ovsschema"
	southboundSchema = "/usr/share/ovn/ovn-sb.ovsschema"
)

// need skips the test where a program or file is not installed, and fails it where RISER_INTEGRATION=1 promises it.
func need(t testing.TB, paths ...string) {
	t.Helper()
	for _, p := range paths {
		_, err := exec.LookPath(p)
		if filepath.IsAbs(p) {
			_, err = os.Stat(p)
		}
		switch {
		case err == nil:
		case os.Getenv("RISER_INTEGRATION") == "1":
			t.Fatalf("RISER_INTEGRATION=1, and %s is missing: %v", p, err)
		default:
			t.Skipf("%s is missing; Debian's openvswitch-switch, ovn-central and ovn-host have it", p)
		}
	}
}

// daemon runs a program until the test ends.
func daemon(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, filepath.Base(name)+".out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+dir, "OVS_LOGDIR="+dir, "OVS_DBDIR="+dir, "OVN_RUNDIR="+dir, "OVN_LOGDIR="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
		if t.Failed() {
			if out, err := os.ReadFile(log.Name()); err == nil && len(out) > 0 {
				t.Logf("%s:\n%s", name, out)
			}
		}
	})
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// serveDB starts an ovsdb-server with an empty database and returns its endpoint.
func serveDB(t testing.TB, dir, name, schema string) string {
	t.Helper()
	file, socket := filepath.Join(dir, name+".db"), filepath.Join(dir, name+".sock")
	run(t, "ovsdb-tool", "create", file, schema)
	daemon(t, dir, "ovsdb-server", file, "--remote=punix:"+socket, "-vconsole:warn", "--no-chdir", "--unixctl="+filepath.Join(dir, name+".ctl"))
	await(t, "socket "+socket, func() bool {
		nc, err := net.Dial("unix", socket)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	})
	return "unix:" + socket
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in time", what)
		}
	}
}

func realCard(t *testing.T) card {
	need(t, "ovsdb-server", "ovsdb-tool", switchSchema)
	endpoint := serveDB(t, shortDir(t), "conf", switchSchema)
	r := dialRaw(t, endpoint, "Open_vSwitch")
	r.transact(
		op{"op": "insert", "table": "Bridge", "uuid-name": "b1", "row": op{"name": "br-int"}},
		op{"op": "insert", "table": "Bridge", "uuid-name": "b2", "row": op{"name": "br-ex"}},
		op{"op": "insert", "table": "Open_vSwitch", "row": op{
			"external_ids": dict("system-id", "chassis-dpu1", "hostname", "dpu1.example"),
			"bridges":      []any{"set", []any{[]any{"named-uuid", "b1"}, []any{"named-uuid", "b2"}}},
		}},
	)
	return card{endpoint: endpoint, raw: r}
}

func TestSwitchOnOVSDBServer(t *testing.T) { switchSuite.run(t, realCard) }

func realCentral(t *testing.T) central {
	need(t, "ovsdb-server", "ovsdb-tool", northboundSchema)
	endpoint := serveDB(t, shortDir(t), "nb", northboundSchema)
	r := dialRaw(t, endpoint, "OVN_Northbound")
	r.transact(op{"op": "insert", "table": "NB_Global", "row": op{}})
	return central{endpoint: endpoint, raw: r}
}

func TestNorthboundOnOVSDBServer(t *testing.T) { northboundSuite.run(t, realCentral) }

// realChassis starts Open vSwitch with a datapath that needs no kernel, and an ovn-controller on it.
func realChassis(t *testing.T, name, southbound string) string {
	dir := shortDir(t)
	endpoint := serveDB(t, dir, "conf", switchSchema)
	socket := "--db=" + endpoint
	run(t, "ovs-vsctl", socket, "--no-wait", "init", "--", "set", "Open_vSwitch", ".", "external_ids:system-id=chassis-"+name,
		"external_ids:hostname="+name+".example", "external_ids:ovn-remote="+southbound, "external_ids:ovn-encap-type=geneve",
		"external_ids:ovn-encap-ip=127.0.1."+name[len(name)-1:])
	daemon(t, dir, "ovs-vswitchd", endpoint, "--enable-dummy=override", "--disable-system", "-vconsole:warn", "--no-chdir",
		"--unixctl="+filepath.Join(dir, "vswitchd.ctl"))
	daemon(t, dir, "ovn-controller", endpoint, "-vconsole:warn", "--no-chdir")
	s := openSwitch(t, endpoint)
	until(t, s, "br-int", func(ovsdb.Health) bool {
		id, err := s.Identity()
		return err == nil && slices.Contains(id.Bridges, "br-int")
	})
	return endpoint
}

func TestOVNOnDebiansOVN(t *testing.T) {
	need(t, "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-vswitchd", "ovn-controller", "ovn-northd", "ovn-nbctl", "ovn-sbctl",
		switchSchema, northboundSchema, southboundSchema)
	dir := shortDir(t)
	nb, sb := serveDB(t, dir, "nb", northboundSchema), serveDB(t, dir, "sb", southboundSchema)
	run(t, "ovn-nbctl", "--db="+nb, "init")
	run(t, "ovn-sbctl", "--db="+sb, "init")
	daemon(t, dir, "ovn-northd", "--ovnnb-db="+nb, "--ovnsb-db="+sb, "-vconsole:warn", "--no-chdir", "--unixctl="+filepath.Join(dir, "northd.ctl"))
	runOVNSuite(t, lab{northbound: nb, dpu1: realChassis(t, "dpu1", sb), dpu2: realChassis(t, "dpu2", sb)})
	checkSouthbound(t, sb)
}

func checkSouthbound(t *testing.T, endpoint string) {
	t.Helper()
	s, err := ovsdb.OpenSouthbound(ovsdb.Config{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := s.Chassis()
	if err != nil || len(list) != 2 || list[0].Name != "chassis-dpu1" || list[1].Hostname != "dpu2.example" {
		t.Errorf("chassis %+v, %v", list, err)
	}
	b, err := s.PortBinding("up2")
	if err != nil || b.Chassis != "chassis-dpu2" || b.RequestedChassis != "chassis-dpu2" || !b.Up {
		t.Errorf("binding %+v, %v", b, err)
	}
}

func TestAWrongValueIsNotTakenForAConflict(t *testing.T) {
	n := openNorthbound(t, realCentral(t).endpoint)
	_, err := n.SetPortGroup(t.Context(), ovsdb.PortGroup{Name: "pg", ACLs: []ovsdb.ACL{{Direction: "to-lport", Priority: 99999, Action: "drop"}}})
	if err == nil || errors.Is(err, ovsdb.ErrConflict) || !strings.Contains(err.Error(), "99999") {
		t.Errorf("got %v, want a refusal that names the value", err)
	}
}

func TestARestartedOVSDBServerIsReadAnew(t *testing.T) {
	need(t, "ovsdb-server", "ovsdb-tool", switchSchema)
	dir := shortDir(t)
	file, socket := filepath.Join(dir, "conf.db"), filepath.Join(dir, "db.sock")
	run(t, "ovsdb-tool", "create", file, switchSchema)
	start := func() *exec.Cmd {
		cmd := exec.Command("ovsdb-server", file, "--remote=punix:"+socket, "-vconsole:off", "--no-chdir", "--unixctl="+filepath.Join(dir, "ctl"))
		cmd.Env = append(os.Environ(), "OVS_RUNDIR="+dir, "OVS_LOGDIR="+dir, "OVS_DBDIR="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	server := start()
	s := openSwitch(t, "unix:"+socket)
	r := dialRaw(t, "unix:"+socket, "Open_vSwitch")
	r.transact(
		op{"op": "insert", "table": "Bridge", "uuid-name": "b", "row": op{"name": "br-int"}},
		op{"op": "insert", "table": "Open_vSwitch", "row": op{"bridges": []any{"named-uuid", "b"}}},
	)
	for round := range 5 {
		await(t, "an order", func() bool {
			_, err := s.Plug(t.Context(), attach("pf0vf3", "a", int64(round)))
			return err == nil
		})
		_ = server.Process.Kill()
		_ = server.Wait()
		until(t, s, "the loss", func(h ovsdb.Health) bool { return !h.Connected })
		server = start()
		until(t, s, "a new connection", func(h ovsdb.Health) bool { return h.Connected })
		if list, err := s.Interfaces(); err != nil || len(list) != 1 || list[0].Generation != int64(round) {
			t.Errorf("after restart %d: %+v, %v", round, list, err)
		}
	}
}

func BenchmarkPlugOnOVSDBServer(b *testing.B) {
	for _, there := range []int{0, 1000} {
		b.Run(fmt.Sprintf("into a bridge of %d", there), func(b *testing.B) {
			need(b, "ovsdb-server", "ovsdb-tool", switchSchema)
			endpoint := serveDB(b, shortDir(b), "conf", switchSchema)
			r := dialRaw(b, endpoint, "Open_vSwitch")
			r.transact(
				op{"op": "insert", "table": "Bridge", "uuid-name": "b", "row": op{"name": "br-int"}},
				op{"op": "insert", "table": "Open_vSwitch", "row": op{"bridges": []any{"named-uuid", "b"}}},
			)
			s := openSwitch(b, endpoint)
			began := time.Now()
			for i := range there {
				mustPlug(b, s, attach(fmt.Sprintf("rep%d", i), fmt.Sprintf("port%d", i), 1))
			}
			filled := time.Since(began)
			for b.Loop() {
				mustPlug(b, s, attach("pf0vf3", "a", 1))
				b.StopTimer()
				if _, err := s.Unplug(b.Context(), "a", 1); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(filled.Seconds(), "s/before")
		})
	}
}
