package bluefield_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/driver/bluefield"
	"github.com/riser-project/riser/driver/drivertest"
	"github.com/riser-project/riser/driver/ipmi"
	"github.com/riser-project/riser/driver/redfish"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/internal/sim/bmc"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

const password = "S3cret-of-the-BMC"

var quick = bmc.Timing{On: 5 * time.Millisecond, Off: 5 * time.Millisecond, Shutdown: 10 * time.Millisecond, Boot: 60 * time.Millisecond, Update: 40 * time.Millisecond, Copy: time.Minute}

func server(t *testing.T, o bmc.Options) *bmc.Server {
	t.Helper()
	o.Cards, o.On, o.Password, o.Timing = 1, true, password, quick
	s, err := bmc.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newDriver() *bluefield.Driver {
	base := redfish.New(redfish.Options{ReadTimeout: 10 * time.Second, SendTimeout: 5 * time.Second, Poll: 5 * time.Millisecond})
	return bluefield.New(base, ipmi.New(ipmi.Options{}), bluefield.Options{Poll: 2 * time.Millisecond, Rshim: 200 * time.Millisecond})
}

func nodeOf(m *bmc.Machine) *node.Node {
	info := node.Object{"redfish_address": m.Controller.URL, "redfish_username": "root", "redfish_password": password}
	if m.IPMI != nil {
		info["ipmi_address"], info["ipmi_port"], info["ipmi_username"], info["ipmi_password"] = m.IPMI.Host, m.IPMI.Port, "root", password
	}
	return &node.Node{UUID: "6a2f5ad1-0d9c-4f9e-9a4e-7d7f7c1f0005", DriverInfo: info}
}

func open(t *testing.T, n *node.Node) *bluefield.Conn {
	t.Helper()
	c, err := newDriver().Open(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	conn, ok := c.(*bluefield.Conn)
	if !ok {
		t.Fatalf("%T is no connection of a BlueField", c)
	}
	return conn
}

func wantSent(t *testing.T, m *bmc.Machine, want ...string) {
	t.Helper()
	var list []string
	for _, r := range m.Controller.Changes() {
		list = append(list, r.Method+" "+strings.TrimPrefix(r.Path, "/redfish/v1")+" "+r.Body)
	}
	m.Controller.Forget()
	if d := cmp.Diff(want, list); d != "" {
		t.Errorf("the controller received (-want +got):\n%s", d)
	}
}

func TestContract(t *testing.T) {
	drivertest.Run(t, newDriver(), func(t *testing.T) drivertest.Machine {
		m := server(t, bmc.Options{}).Cards[0]
		return drivertest.Machine{
			Node: nodeOf(m), Secret: password,
			Sent: func() int { return len(m.Controller.Changes()) },
			Hang: func() { _ = m.Controller.Tell("hang") },
			Open: m.Controller.Sessions,
		}
	})
}

func TestIdentity(t *testing.T) {
	m := server(t, bmc.Options{}).Cards[0]
	id, err := open(t, nodeOf(m)).Identity(t.Context())
	want := driver.Identity{Manufacturer: m.Manufacturer, Model: m.Model, Serial: m.Serial, PartNumber: m.PartNumber, BaseMAC: m.BaseMAC}
	if d := cmp.Diff(want, id); d != "" || err != nil {
		t.Errorf("identity (-want +got):\n%s%v", d, err)
	}
}

// resources is a controller that has nothing but these.
func resources(t *testing.T, list map[string]string) *node.Node {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := list[strings.TrimPrefix(strings.TrimSuffix(r.URL.Path, "/"), "/redfish/v1")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return &node.Node{DriverInfo: node.Object{"redfish_address": s.URL}}
}

func member(paths ...string) string {
	var l []string
	for _, p := range paths {
		l = append(l, `{"@odata.id":"/redfish/v1`+p+`"}`)
	}
	return `{"Members":[` + strings.Join(l, ",") + `]}`
}

func TestGenerationsKeepTheirIdentityInDifferentPlaces(t *testing.T) {
	tests := map[string]struct {
		resources map[string]string
		want      driver.Identity
	}{
		"a BlueField-4 without Card1, system serial and base MAC": {
			resources: map[string]string{
				"": `{}`, "/Systems": member("/Systems/Bluefield"), "/Systems/Bluefield": `{"Model":"BlueField-4","Manufacturer":"NVIDIA","Links":{"ManagedBy":[]}}`,
				"/Chassis": member("/Chassis/BlueField_0", "/Chassis/BlueField_BMC_0"), "/Chassis/BlueField_0": `{"SerialNumber":"MT4000X00001  ","PartNumber":"900-9D4X0-00CV-AA0 "}`,
				"/Chassis/BlueField_BMC_0": `{"SerialNumber":"other"}`,
				"/Chassis/BlueField_0/NetworkAdapters/BlueField_NIC_0/NetworkDeviceFunctions/0": `{"Ethernet":{"MACAddress":"5C:25:73:00:00:10"}}`,
			},
			want: driver.Identity{Manufacturer: "NVIDIA", Model: "BlueField-4", Serial: "MT4000X00001", PartNumber: "900-9D4X0-00CV-AA0", BaseMAC: "5c:25:73:00:00:00"},
		},
		"a BlueField-3 that has not booted": {
			resources: map[string]string{
				"": `{}`, "/Systems": member("/Systems/Bluefield"),
				"/Systems/Bluefield":            `{"Model":"Bluefield 3 SmartNIC Main Card","PowerState":"On","BootProgress":{"LastState":"None"},"SerialNumber":"MT2313XZ0L2P            "}`,
				"/Chassis":                      member("/Chassis/Bluefield_BMC", "/Chassis/Bluefield_ERoT", "/Chassis/Card1", "/Chassis/CPU_0"),
				"/Chassis/Card1":                `{"ChassisType":"Card","SerialNumber":"MT2313XZ0L2P            ","PartNumber":"900-9D3B6-00CV-AA0   ","UUID":""}`,
				"/Chassis/CPU_0":                `{"SerialNumber":"Unspecified Serial Number"}`,
				"/Systems/Bluefield/Oem/Nvidia": `{"Mode":""}`,
				"/UpdateService/FirmwareInventory/DPU_SYS_IMAGE": `{"Version":"946d:ae03:0076:6e6a"}`,
			},
			want: driver.Identity{Model: "Bluefield 3 SmartNIC Main Card", Serial: "MT2313XZ0L2P", PartNumber: "900-9D3B6-00CV-AA0", BaseMAC: "94:6d:ae:76:6e:6a"},
		},
		"a BlueField-2 with an empty image GUID": {
			resources: map[string]string{
				"": `{}`, "/Systems": member("/Systems/Bluefield"), "/Systems/Bluefield": `{"Model":"BlueField-2 DPU"}`,
				"/Chassis": member("/Chassis/Card1"), "/Chassis/Card1": `{"ChassisType":"Card","Model":"Bluefield 2","SerialNumber":"MT2113X00000","PartNumber":"MBF2H516A"}`,
				"/UpdateService/FirmwareInventory/DPU_SYS_IMAGE": `{"Version":""}`,
			},
			want: driver.Identity{Model: "BlueField-2 DPU", Serial: "MT2113X00000", PartNumber: "MBF2H516A"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			id, err := open(t, resources(t, tt.resources)).Identity(t.Context())
			if d := cmp.Diff(tt.want, id); d != "" || err != nil {
				t.Errorf("identity (-want +got):\n%s%v", d, err)
			}
		})
	}
}

func TestMode(t *testing.T) {
	s := server(t, bmc.Options{})
	m := s.Cards[0]
	c := open(t, nodeOf(m))
	if mode, err := c.Mode(t.Context()); mode != bluefield.DPU || err != nil {
		t.Errorf("mode %q, %v", mode, err)
	}
	if err := c.SetMode(t.Context(), bluefield.NIC); err != nil {
		t.Fatal(err)
	}
	wantSent(t, m, `POST /Systems/Bluefield/Oem/Nvidia/Actions/Mode.Set {"Mode":"NicMode"}`)
	if mode, err := c.Mode(t.Context()); mode != bluefield.DPU || err != nil {
		t.Errorf("mode %q before its host lost power, %v", mode, err)
	}
	s.SetAC(false)
	s.SetAC(true)
	if mode, err := open(t, nodeOf(m)).Mode(t.Context()); mode != bluefield.NIC || err != nil {
		t.Errorf("mode %q after its host lost power, %v", mode, err)
	}
	if err := c.SetMode(t.Context(), "RouterMode"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a mode there is not: %v", err)
	}
}

func TestControllersOfCertainVersionsAreKnown(t *testing.T) {
	base := func(version, mode string) map[string]string {
		return map[string]string{
			"": `{}`, "/Systems": member("/Systems/Bluefield"),
			"/Systems/Bluefield":            `{"Model":"BlueField-3","Bios":{"@odata.id":"/redfish/v1/Systems/Bluefield/Bios"},"BootProgress":{"LastState":"OEM","OemLastState":"UEFI"},"PowerState":"On","Links":{"ManagedBy":[{"@odata.id":"/redfish/v1/Managers/Bluefield_BMC"}]}}`,
			"/Managers/Bluefield_BMC":       `{"FirmwareVersion":"` + version + `"}`,
			"/Chassis":                      member("/Chassis/Card1"),
			"/Chassis/Card1":                `{"ChassisType":"Card"}`,
			"/Systems/Bluefield/Oem/Nvidia": `{"Mode":"` + mode + `"}`,
			"/Systems/Bluefield/Bios":       `{"Attributes":{}}`,
		}
	}
	tests := map[string]struct {
		version, mode string
		image         string // for a pre-flight; else the mode is read
		says          string
	}{
		"the mode of an old one":            {"BF-23.09-1", "", "", "the mode cannot be read before BF-23.10-5"},
		"attributes that vanish":            {"BF-25.10-20", "", "", "until the UEFI is as new as the controller"},
		"an old one that fetches by SCP":    {"BF-23.10-5", "DpuMode", "http://a/b.bfb", "images are fetched by SCP alone before BF-24.07"},
		"a new one with an HTTPS image":     {"BF-24.10-10", "DpuMode", "https://a/b.bfb", ""},
		"a new one whose version is absent": {"", "DpuMode", "http://a/b.bfb", ""},
		"an image for another generation":   {"BF-24.10-10", "DpuMode", "http://a/bf2-bundle-2.9.bfb", "is on a BlueField-3; bf2-bundle-2.9.bfb looks like an image for bf2"},
		"an image that is none":             {"BF-24.10-10", "DpuMode", "http://a/b.iso", "is no .bfb file"},
		"an image with a query":             {"BF-24.10-10", "DpuMode", "http://a/b.bfb?sig=1", "must end with the file's name"},
		"an image with credentials":         {"BF-24.10-10", "DpuMode", "http://u:p@a/b.bfb", "must not hold a user or password"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := open(t, resources(t, base(tt.version, tt.mode)))
			var err error
			if tt.image == "" {
				_, err = c.Mode(t.Context())
			} else {
				err = c.PreFlight(t.Context(), tt.image)
			}
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
	for mode, booted := range map[string]bool{"NicMode": true, "DpuMode": false} {
		b, err := open(t, resources(t, base("BF-24.10-10", mode))).BootState(t.Context())
		if err != nil || b.Booted != booted || !b.Alive {
			t.Errorf("at UEFI in %s: %+v, %v", mode, b, err)
		}
	}
}

func TestRshimChangesHands(t *testing.T) {
	m := server(t, bmc.Options{}).Cards[0]
	c := open(t, nodeOf(m))
	if err := c.SetControllerRshim(t.Context(), true); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "its host has it") {
		t.Errorf("while the host has it: %v", err)
	}
	if err := c.SetHostRshim(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if err := c.SetControllerRshim(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if on, err := c.ControllerRshim(t.Context()); !on || err != nil {
		t.Errorf("the controller has it: %v, %v", on, err)
	}
}

func TestRawCommandsGoOverIPMI(t *testing.T) {
	m := server(t, bmc.Options{IPMI: true}).Cards[0]
	c, err := newDriver().Open(t.Context(), nodeOf(m))
	if err != nil {
		t.Fatal(err)
	}
	r, ok := driver.As[driver.Raw](c)
	if !ok {
		t.Fatal("there are no raw commands")
	}
	if _, err := r.SendRaw(t.Context(), []byte{0x32, 0x66}); !fault.Is(err, fault.Forbidden) || !strings.Contains(err.Error(), `hardware profile "bluefield"`) {
		t.Errorf("a reset to factory defaults: %v", err)
	}
	if _, err := r.SendRaw(t.Context(), []byte{0x32, 0x9b, 1, 1}); err != nil {
		t.Error(err)
	}
	if _, ok := driver.As[driver.BIOS](c); !ok {
		t.Error("what Redfish offers is hidden")
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, ok := driver.As[driver.Raw](open(t, nodeOf(server(t, bmc.Options{}).Cards[0]))); ok {
		t.Error("there are raw commands without an IPMI address")
	}
}

// run runs a step on a card to its end, as the engine does, with a process that restarts between all looks.
func run(t *testing.T, m *bmc.Machine, name, args string) ([]string, error) {
	t.Helper()
	var d *step.Definition
	for _, def := range bluefield.Steps() {
		if def.FullName() == name {
			d = &def
		}
	}
	if d == nil {
		t.Fatalf("there is no step %s", name)
	}
	var o node.Object
	if err := json.Unmarshal([]byte(args), &o); err != nil {
		t.Fatal(err)
	}
	if faults := d.CheckArgs(o); len(faults) > 0 {
		t.Fatalf("%s: %q", name, faults)
	}
	var evidence []string
	memory := map[string][]byte{}
	task := func() *step.Task {
		return &step.Task{
			Node: nodeOf(m), Args: o, Evidence: func(text string) { evidence = append(evidence, text) },
			Conn: func(context.Context) (driver.Conn, error) { return open(t, nodeOf(m)), nil },
			Keep: func(_ context.Context, key string, v any) error {
				raw, err := json.Marshal(v)
				memory[key] = raw
				return err
			},
			Kept: func(key string) (v any) { _ = json.Unmarshal(memory[key], &v); return v },
		}
	}
	result, err := d.Run(t.Context(), task())
	for end := time.Now().Add(20 * time.Second); err == nil && result == step.Wait; {
		if time.Now().After(end) {
			t.Fatalf("%s does not end; %q", name, evidence)
		}
		time.Sleep(5 * time.Millisecond)
		result, err = d.Poll(t.Context(), task())
	}
	return evidence, err
}

func TestInstallBFB(t *testing.T) {
	m := server(t, bmc.Options{}).Cards[0]
	evidence, err := run(t, m, "firmware.install_bfb", `{"url":"http://192.0.2.7:8080/images/bf-bundle-2.9.1-40.bfb"}`)
	if err != nil {
		t.Fatalf("%v; %q", err, evidence)
	}
	wantSent(t, m,
		`POST /Systems/Bluefield/Oem/Nvidia/Actions/HostRshim.Set {"HostRshim":"Disabled"}`,
		`PATCH /Managers/Bluefield_BMC/Oem/Nvidia {"BmcRShim":{"BmcRShimEnabled":true}}`,
		`POST /UpdateService/Actions/UpdateService.SimpleUpdate {"ImageURI":"192.0.2.7:8080//images/bf-bundle-2.9.1-40.bfb","Targets":["redfish/v1/UpdateService/FirmwareInventory/DPU_OS"],"TransferProtocol":"HTTP"}`)
	last := evidence[len(evidence)-1]
	if last != "the card runs: OsIsRunning, bf-bundle-2.9.0-90_24.10_ubuntu-22.04_prod -> bf-bundle-2.9.1-40" {
		t.Errorf("evidence %q", evidence)
	}
	if m.State().Boots != 2 {
		t.Errorf("the card started %d times", m.State().Boots)
	}
}

// The specification's own story: open the card's access by a raw command, update its controller, close the access.
func TestFirmwareUpdateBetweenRawCommands(t *testing.T) {
	m := server(t, bmc.Options{IPMI: true}).Cards[0]
	c, err := newDriver().Open(t.Context(), nodeOf(m))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	raw, _ := driver.As[driver.Raw](c)
	firmware, _ := driver.As[driver.Firmware](c)
	if _, err := raw.SendRaw(t.Context(), []byte{0x32, 0x9b, 0x01, 0x01}); err != nil {
		t.Fatal(err)
	}
	u, err := firmware.UpdateFirmware(t.Context(), "BMC_Firmware", "http://images.example/bf3-bmc-24.10-20.fwpkg")
	for end := time.Now().Add(20 * time.Second); err == nil && !u.Done && time.Now().Before(end); {
		u, err = firmware.UpdateState(t.Context(), u.Task)
	}
	if err != nil || !u.Done {
		t.Fatalf("%+v, %v", u, err)
	}
	restart, _ := driver.As[interface{ ResetManager(context.Context) error }](c)
	if err := restart.ResetManager(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := raw.SendRaw(t.Context(), []byte{0x32, 0x9b, 0x01, 0x02}); err != nil {
		t.Fatal(err)
	}
	wantSent(t, m, "IPMI 0x32 0x9b 01 01",
		`POST /UpdateService/Actions/UpdateService.SimpleUpdate {"ImageURI":"http://images.example/bf3-bmc-24.10-20.fwpkg","Targets":["/redfish/v1/UpdateService/FirmwareInventory/BMC_Firmware"],"TransferProtocol":"HTTP"}`,
		`POST /Managers/Bluefield_BMC/Actions/Manager.Reset {"ResetType":"GracefulRestart"}`, "IPMI 0x32 0x9b 01 02")
	// Now its copy of the new firmware runs, and an installation has to wait.
	n := nodeOf(m)
	delete(n.DriverInfo, "ipmi_address")
	err = open(t, n).PreFlight(t.Context(), "http://a/b.bfb")
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "copies firmware in the background") {
		t.Errorf("%v", err)
	}
}

func TestInstallBFBFails(t *testing.T) {
	for lie, says := range map[string]string{"task-fails": "Transfer of image", "task-vanishes": "404"} {
		m := server(t, bmc.Options{}).Cards[0]
		if err := m.Controller.Tell(lie); err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, m, "firmware.install_bfb", `{"url":"http://a/b.bfb"}`); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", lie, err)
		}
	}
}

func TestOtherSteps(t *testing.T) {
	tests := map[string]struct {
		step, args string
		sent       []string
		told       string
	}{
		"the mode": {"management.set_dpu_mode", `{"mode":"NicMode"}`, []string{`POST /Systems/Bluefield/Oem/Nvidia/Actions/Mode.Set {"Mode":"NicMode"}`},
			"NicMode is set: it takes effect after two restarts of the card and a power off and on of its host"},
		"the host's rshim":       {"management.set_host_rshim", `{"enabled":false}`, []string{`POST /Systems/Bluefield/Oem/Nvidia/Actions/HostRshim.Set {"HostRshim":"Disabled"}`}, "the host's rshim is set to false"},
		"the controller's rshim": {"management.set_bmc_rshim", `{"enabled":"false"}`, []string{`PATCH /Managers/Bluefield_BMC/Oem/Nvidia {"BmcRShim":{"BmcRShimEnabled":false}}`}, "the controller's rshim is false"},
		"what the host may do": {"management.set_host_privileges", `{"privileges":{"HostPrivFwUpdate":"Enabled","HostPrivFlashAccess":"Disabled"}}`,
			[]string{`POST /Systems/Bluefield/Oem/Nvidia/Connectx/ExternalHostPrivileges/Actions/ExternalHostPrivileges.Set {"HostPrivFlashAccess":"Disabled","HostPrivFwUpdate":"Enabled"}`}, "HostPrivFwUpdate Default -> Enabled"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := server(t, bmc.Options{}).Cards[0]
			evidence, err := run(t, m, tt.step, tt.args)
			if err != nil {
				t.Fatal(err)
			}
			wantSent(t, m, tt.sent...)
			if len(evidence) == 0 || evidence[len(evidence)-1] != tt.told {
				t.Errorf("evidence %q", evidence)
			}
		})
	}
}

func TestStepsSayWhatTheyAreAndRefuseNonsense(t *testing.T) {
	step.NewCatalog(bluefield.Steps(), redfish.Steps()) // panics on a name that stands twice
	bad := map[string][]string{
		"firmware.install_bfb":           {`{}`, `{"url":1}`, `{"url":"ftp://a/b.bfb"}`, `{"url":"http://a/b.bfb","more":1}`},
		"management.set_dpu_mode":        {`{}`, `{"mode":"dpu"}`},
		"management.set_host_rshim":      {`{}`, `{"enabled":"perhaps"}`},
		"management.set_bmc_rshim":       {`{}`},
		"management.set_host_privileges": {`{}`, `{"privileges":{}}`, `{"privileges":{"Root":"Enabled"}}`, `{"privileges":{"HostPrivFwUpdate":"Yes"}}`, `{"privileges":[1]}`},
	}
	for _, d := range bluefield.Steps() {
		if d.Summary == "" || d.Run == nil || d.Plan == nil {
			t.Errorf("%s lacks something", d.FullName())
		}
		d.Plan(node.Object{})
		for _, args := range bad[d.FullName()] {
			var o node.Object
			if err := json.Unmarshal([]byte(args), &o); err != nil {
				t.Fatal(err)
			}
			if len(d.CheckArgs(o)) == 0 {
				t.Errorf("%s accepts %s", d.FullName(), args)
			}
		}
	}
}
