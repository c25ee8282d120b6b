//go:build integration

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

const (
	ovsSchema        = "/usr/share/openvswitch/vswitch.ovsschema"
	northboundSchema = "/usr/share/ovn/ovn-nb.ovsschema"
	southboundSchema = "/usr/share/ovn/ovn-sb.ovsschema"
)

// OpenVSwitch is the switch of one host: its database and ovs-vswitchd on the dummy datapath, which takes any port name and forwards
// nothing to the machine's network.
type OpenVSwitch struct {
	Database string // endpoint of the Open_vSwitch database, "unix:/..."

	dir string
}

// StartOpenVSwitch starts a switch without bridges. It takes no root.
func StartOpenVSwitch(t testing.TB) *OpenVSwitch {
	t.Helper()
	need(t, "ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ovs-vsctl")
	dir := folder(t)
	ovs := &OpenVSwitch{Database: startDatabase(t, dir, "conf", ovsSchema), dir: dir}
	ovs.Vsctl(t, "--no-wait", "init")
	ovs.start(t, "ovs-vswitchd", ovs.Database, "--enable-dummy=override", "--disable-system", "--no-chdir",
		"--unixctl="+filepath.Join(dir, "vswitchd.ctl"), "--pidfile="+filepath.Join(dir, "vswitchd.pid"))
	return ovs
}

// Vsctl runs ovs-vsctl on the switch and returns what it printed.
func (ovs *OpenVSwitch) Vsctl(t testing.TB, args ...string) string {
	t.Helper()
	return output(t, "ovs-vsctl", append([]string{"--db=" + ovs.Database}, args...)...)
}

// start starts a daemon of the switch's host. The daemons look for each other's files in folders that the environment names.
func (ovs *OpenVSwitch) start(t testing.TB, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = os.Environ()
	for _, name := range []string{"OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVN_RUNDIR", "OVN_LOGDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ovs.dir)
	}
	daemon(t, ovs.dir, syscall.SIGTERM, cmd)
}

// OVN is OVN's central part: the two databases and ovn-northd.
type OVN struct {
	Northbound string // endpoint, "unix:/..."
	Southbound string // endpoint, "unix:/..."

	chassis int
}

// Chassis is a host under OVN: a switch and its ovn-controller.
type Chassis struct {
	*OpenVSwitch
	SystemID string
}

// ChassisConfig says who a chassis is.
type ChassisConfig struct {
	SystemID   string // the chassis' name in the southbound database
	Hostname   string // what requested-chassis may name
	CardSerial string // card-serial-number of ovn-cms-options; none if empty
}

// StartOVN starts a central part without networks. It takes no root.
func StartOVN(t testing.TB) *OVN {
	t.Helper()
	need(t, "ovsdb-server", "ovsdb-tool", "ovn-northd", "ovn-nbctl", "ovn-sbctl")
	dir := folder(t)
	ovn := &OVN{
		Northbound: startDatabase(t, dir, "nb", northboundSchema),
		Southbound: startDatabase(t, dir, "sb", southboundSchema),
	}
	ovn.Nbctl(t, "init")
	ovn.Sbctl(t, "init")
	daemon(t, dir, syscall.SIGTERM, exec.Command("ovn-northd", "--ovnnb-db="+ovn.Northbound, "--ovnsb-db="+ovn.Southbound, "--no-chdir",
		"--unixctl="+filepath.Join(dir, "northd.ctl"), "--pidfile="+filepath.Join(dir, "northd.pid")))
	return ovn
}

// Nbctl runs ovn-nbctl and returns what it printed.
func (ovn *OVN) Nbctl(t testing.TB, args ...string) string {
	t.Helper()
	return output(t, "ovn-nbctl", append([]string{"--db=" + ovn.Northbound}, args...)...)
}

// Sbctl runs ovn-sbctl and returns what it printed.
func (ovn *OVN) Sbctl(t testing.TB, args ...string) string {
	t.Helper()
	return output(t, "ovn-sbctl", append([]string{"--db=" + ovn.Southbound}, args...)...)
}

// StartChassis starts a switch and its ovn-controller, and waits until the controller has registered and made br-int.
func (ovn *OVN) StartChassis(t testing.TB, config ChassisConfig) *Chassis {
	t.Helper()
	need(t, "ovn-controller")
	ovn.chassis++
	c := &Chassis{OpenVSwitch: StartOpenVSwitch(t), SystemID: config.SystemID}
	set := []string{"--no-wait", "set", "Open_vSwitch", ".",
		"external_ids:system-id=" + config.SystemID,
		"external_ids:hostname=" + config.Hostname,
		"external_ids:ovn-remote=" + ovn.Southbound,
		"external_ids:ovn-encap-type=geneve",
		fmt.Sprintf("external_ids:ovn-encap-ip=127.0.1.%d", ovn.chassis),
	}
	if config.CardSerial != "" {
		set = append(set, "external_ids:ovn-cms-options=card-serial-number="+config.CardSerial)
	}
	c.Vsctl(t, set...)
	c.start(t, "ovn-controller", c.Database, "--no-chdir", "--pidfile="+filepath.Join(c.dir, "ovn-controller.pid"))
	ovn.Sbctl(t, "--timeout=30", "wait-until", "Chassis", config.SystemID, "name="+config.SystemID)
	c.Vsctl(t, "--timeout=30", "wait-until", "Bridge", "br-int")
	return c
}

// startDatabase starts an ovsdb-server on a new database and returns its endpoint.
func startDatabase(t testing.TB, dir, name, schema string) string {
	t.Helper()
	if _, err := os.Stat(schema); err != nil {
		unavailable(t, "the schema %s is not installed", schema)
	}
	file := filepath.Join(dir, name+".db")
	socket := filepath.Join(dir, name+".sock")
	output(t, "ovsdb-tool", "create", file, schema)
	daemon(t, dir, syscall.SIGTERM, exec.Command("ovsdb-server", file, "--remote=punix:"+socket, "--no-chdir",
		"--unixctl="+filepath.Join(dir, name+".ctl"), "--pidfile="+filepath.Join(dir, name+".pid"))).awaitSocket(t, socket)
	return "unix:" + socket
}
