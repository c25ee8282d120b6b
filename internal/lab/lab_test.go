//go:build integration

package lab_test

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/riser-project/riser/internal/lab"
)

func TestEachDatabaseOfAPostgreSQLServerIsNewAndEmpty(t *testing.T) {
	pg := lab.StartPostgreSQL(t)
	for range 2 {
		db, err := sql.Open("pgx", pg.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE node (id int PRIMARY KEY)"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOVNMarksAPortUpOnlyOnTheRequestedChassis(t *testing.T) {
	ovn := lab.StartOVN(t)
	right := ovn.StartChassis(t, lab.ChassisConfig{SystemID: "chassis-1", Hostname: "dpu1.example", CardSerial: "MT1"})
	wrong := ovn.StartChassis(t, lab.ChassisConfig{SystemID: "chassis-2", Hostname: "dpu2.example", CardSerial: "MT2"})

	options := ovn.Sbctl(t, "get", "Chassis", "chassis-1", "other_config:ovn-cms-options")
	if options != `"card-serial-number=MT1"` {
		t.Errorf("other_config:ovn-cms-options is %s", options)
	}

	ovn.Nbctl(t, "ls-add", "net")
	ovn.Nbctl(t, "lsp-add", "net", "port", "--", "lsp-set-options", "port", "requested-chassis=dpu1.example")
	plug := []string{"add-port", "br-int", "rep0", "--", "set", "Interface", "rep0", "external_ids:iface-id=port"}
	wrong.Vsctl(t, plug...)
	if up := ovn.Nbctl(t, "--wait=hv", "get", "Logical_Switch_Port", "port", "up"); up != "false" {
		t.Errorf("up is %s while the port is plugged on the wrong chassis", up)
	}
	right.Vsctl(t, plug...)
	ovn.Nbctl(t, "--timeout=30", "wait-until", "Logical_Switch_Port", "port", "up=true")
	right.Vsctl(t, "--timeout=30", "wait-until", "Interface", "rep0", "external_ids:ovn-installed=true")
}

func TestABMCPassesOnWhatItIsTold(t *testing.T) {
	for _, bmc := range lab.StartBMCs(t, 3) {
		for _, command := range []string{"chassis bootdev pxe", "chassis power on", "raw 0x06 0x01"} {
			if _, err := bmc.Ipmitool(t, strings.Fields(command)...); err != nil {
				t.Error(err)
			}
		}
		if status, err := bmc.Ipmitool(t, "chassis", "power", "status"); err != nil || status != "Chassis Power is on" || !bmc.On(t) {
			t.Errorf("power status is %q, error %v", status, err)
		}
		if diff := cmp.Diff([]string{"boot pxe", "power 1"}, bmc.Log(t)); diff != "" || bmc.Boot(t) != "pxe" {
			t.Errorf("log differs (-want +got):\n%s", diff)
		}
		if _, err := bmc.Ipmitool(t, "raw", "0x32", "0x6a"); err == nil || !strings.Contains(err.Error(), "rsp=0xc1") {
			t.Errorf("an unknown raw command gives %v, want completion code 0xc1", err)
		}
	}
}

const testNode = `<node>
  <cpu><mhz>2000</mhz><model>i686</model><active>4</active><nodes>1</nodes><sockets>1</sockets><cores>4</cores><threads>1</threads></cpu>
  <memory>8192000</memory>
  <device>
    <name>computer</name>
    <capability type='system'><hardware><uuid>11111111-2222-3333-4444-555555555555</uuid></hardware><firmware/></capability>
  </device>
  <device>
    <name>pci_0000_3b_00_0</name>
    <parent>computer</parent>
    <capability type='pci'>
      <class>0x020000</class><domain>0</domain><bus>59</bus><slot>0</slot><function>0</function>
      <product id='0xa2dc'>BlueField-3</product><vendor id='0x15b3'>Mellanox</vendor>
      <capability type='vpd'><name>card</name><fields access='readonly'><serial_number>MT1</serial_number></fields></capability>
    </capability>
  </device>
</node>
`

func TestLibvirtsTestDriverHasTheDevicesItIsGiven(t *testing.T) {
	l := lab.StartLibvirt(t, "")
	client := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(l.Socket)))
	if err := client.ConnectToURI(libvirt.ConnectURI(l.TestDriver(t, testNode))); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Disconnect(); err != nil {
			t.Error(err)
		}
	}()
	xml, err := client.NodeDeviceGetXMLDesc("pci_0000_3b_00_0", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(xml, "<serial_number>MT1</serial_number>") {
		t.Errorf("no serial number in\n%s", xml)
	}
}

func TestLibvirtsNodeDevicesAreThoseOfTheGivenSysfs(t *testing.T) {
	sysfs := t.TempDir()
	device := filepath.Join(sysfs, "devices/pci0000:3a/0000:3b:00.0")
	for _, dir := range []string{device, filepath.Join(sysfs, "bus/pci/devices"), filepath.Join(sysfs, "bus/pci/drivers"), filepath.Join(sysfs, "class/net")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config := make([]byte, 256)
	copy(config, []byte{0xb3, 0x15, 0xdc, 0xa2})
	for name, content := range map[string]string{
		"vendor": "0x15b3\n", "device": "0xa2dc\n", "class": "0x020000\n", "config": string(config),
		"uevent": "PCI_CLASS=20000\nPCI_ID=15B3:A2DC\nPCI_SUBSYS_ID=15B3:0009\nPCI_SLOT_NAME=0000:3b:00.0\n",
	} {
		if err := os.WriteFile(filepath.Join(device, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		filepath.Join(device, "subsystem"):                   "../../../bus/pci",
		filepath.Join(sysfs, "bus/pci/devices/0000:3b:00.0"): "../../../devices/pci0000:3a/0000:3b:00.0",
	} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	l := lab.StartLibvirt(t, sysfs)
	if got := l.Virsh(t, "nodedev", "/system", "nodedev-list", "--cap", "pci"); strings.TrimSpace(got) != "pci_0000_3b_00_0" {
		t.Errorf("PCI devices are %q", got)
	}
}

// bareMetalAPI answers as an API with one node that has one child.
func bareMetalAPI(t *testing.T) *httptest.Server {
	const parent = "11111111-2222-4333-8444-555555555555"
	version := map[string]any{"id": "v1", "status": "CURRENT", "min_version": "1.1", "version": "1.115", "links": []any{}}
	answers := map[string]any{
		"/":                                 map[string]any{"default_version": version, "versions": []any{version}},
		"/v1":                               map[string]any{"id": "v1", "version": version},
		"/v1/nodes":                         map[string]any{"nodes": []any{map[string]any{"uuid": parent, "name": "host"}}},
		"/v1/nodes/" + parent + "/children": map[string]any{"children": []string{"dpu-1"}},
	}
	mux := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimSuffix(r.URL.Path, "/")
		if path == "" {
			path = "/"
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-OpenStack-Ironic-API-Version", "1.115")
		w.Header().Set("X-OpenStack-Ironic-API-Minimum-Version", "1.1")
		w.Header().Set("X-OpenStack-Ironic-API-Maximum-Version", "1.115")
		answer, ok := answers[path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			answer = map[string]string{"error_message": r.URL.Path}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

func TestTheClientsReachAnAPIOnLoopback(t *testing.T) {
	api := bareMetalAPI(t)
	const parent = "11111111-2222-4333-8444-555555555555"
	for name, client := range map[string]func(testing.TB) lab.OpenStack{"of the release": lab.OpenStackOfRelease, "newest": lab.NewestOpenStack} {
		t.Run(name, func(t *testing.T) {
			out, err := client(t).Baremetal(t, api.URL, "node", "list", "-f", "value", "-c", "UUID", "-c", "Name")
			if err != nil || out != parent+" host" {
				t.Errorf("node list printed %q, error %v", out, err)
			}
		})
	}
	t.Run("the newest lists children", func(t *testing.T) {
		out, err := lab.NewestOpenStack(t).Baremetal(t, api.URL, "node", "children", "list", "-f", "value", parent)
		if err != nil || !strings.Contains(out, "dpu-1") {
			t.Errorf("node children list printed %q, error %v", out, err)
		}
	})
	t.Run("an error has the client's text", func(t *testing.T) {
		_, err := lab.NewestOpenStack(t).Baremetal(t, api.URL, "node", "show", "none")
		if err == nil || !strings.Contains(err.Error(), "/v1/nodes/none") {
			t.Errorf("error is %v", err)
		}
	})
}
